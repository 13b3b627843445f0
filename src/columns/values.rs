//! What columns can hold: values of our types, made of whatever other tools store for the same values.
//! Whole numbers may be stored as real ones and the other way round, and either as decimals.

use std::fmt;

use parquet::basic::ConvertedType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescriptor;

use super::Unread;

/// What a column can hold. An absent value is an `Option`'s `None`.
pub trait Value: Sized {
    /// How it is stored.
    type Stored: DataType;
    /// What a cell is decoded to first.
    type Cell;
    /// What is expected in a cell, for messages.
    const EXPECTED: &'static str;
    /// Whether a value may be absent.
    const OPTIONAL: bool = false;

    /// What is to be stored, if it is not absent.
    fn stored(&self) -> Option<<Self::Stored as DataType>::T>;

    /// The cells, or the values again if none of this kind can be made of them.
    fn cells(values: Values) -> Result<Vec<Self::Cell>, Values>;

    /// Takes the value of a cell; `None` is an empty one.
    fn set(&mut self, cell: Option<Self::Cell>) -> Result<(), Unread<Refused>>;
}

/// The values of some rows as they are decoded, whatever their type in the file.
pub enum Values {
    /// Texts in UTF-8, not yet checked.
    Texts(Vec<ByteArray>),
    /// Numbers.
    Numbers(Vec<Number>),
    /// Values of a type that is not accepted, for messages.
    Others(Vec<String>),
}

/// A number as it is in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Number {
    Whole(i64),
    Real(f64),
}

/// Whole numbers up to here are real numbers, too, one each.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// The same number as a whole one, if it is one.
    pub fn whole(self) -> Option<i64> {
        match self {
            Self::Whole(whole) => Some(whole),
            Self::Real(real) => {
                (real.fract() == 0.0 && real.abs() <= MOST_EXACT).then_some(real as i64)
            }
        }
    }

    /// The same number as a real one, if there is one.
    pub fn real(self) -> Option<f64> {
        match self {
            Self::Real(real) => Some(real),
            Self::Whole(whole) => Some(whole as f64).filter(|real| real.abs() <= MOST_EXACT),
        }
    }

    /// `unscaled` · 10^−`scale`.
    fn decimal(unscaled: i128, scale: i32) -> Self {
        match i64::try_from(unscaled) {
            Ok(whole) if scale == 0 => Self::Whole(whole),
            // rounded once
            _ => Self::Real(format!("{unscaled}e{}", -scale).parse().unwrap_or(f64::NAN)),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Real(real) => real.fmt(f),
        }
    }
}

/// What a refused cell holds and what was expected; nothing where it is empty.
pub type Refused = Option<(String, &'static str)>;

pub(super) fn refused(got: impl ToString, expected: &'static str) -> Unread<Refused> {
    Unread::Row(0, Some((got.to_string(), expected)))
}

impl Values {
    /// The values of the next `count` rows of the column `leaf`.
    pub(super) fn decode(
        reader: &mut ColumnReader,
        leaf: &ColumnDescriptor,
        count: usize,
        levels: &mut Vec<i16>,
    ) -> Result<Self, ParquetError> {
        use ColumnReader as Reader;
        use ConvertedType as Kind;
        let scale = leaf.type_scale();
        Ok(match (reader, leaf.converted_type()) {
            (
                Reader::ByteArrayColumnReader(reader),
                Kind::NONE | Kind::UTF8 | Kind::ENUM | Kind::JSON,
            ) => Self::Texts(fill(reader, count, levels, |text| text)?),
            (Reader::Int32ColumnReader(reader), Kind::UINT_8 | Kind::UINT_16 | Kind::UINT_32) => {
                numbers(reader, count, levels, |value| Number::Whole((value as u32).into()))?
            }
            (
                Reader::Int32ColumnReader(reader),
                Kind::NONE | Kind::INT_8 | Kind::INT_16 | Kind::INT_32,
            ) => numbers(reader, count, levels, |value| Number::Whole(value.into()))?,
            (Reader::Int64ColumnReader(reader), Kind::NONE | Kind::INT_64) => {
                numbers(reader, count, levels, Number::Whole)?
            }
            (Reader::Int64ColumnReader(reader), Kind::UINT_64) => {
                numbers(reader, count, levels, |value| Number::decimal((value as u64).into(), 0))?
            }
            (Reader::FloatColumnReader(reader), _) => {
                numbers(reader, count, levels, |value| Number::Real(value.into()))?
            }
            (Reader::DoubleColumnReader(reader), _) => {
                numbers(reader, count, levels, Number::Real)?
            }
            (Reader::Int32ColumnReader(reader), Kind::DECIMAL) => {
                numbers(reader, count, levels, |value| Number::decimal(value.into(), scale))?
            }
            (Reader::Int64ColumnReader(reader), Kind::DECIMAL) => {
                numbers(reader, count, levels, |value| Number::decimal(value.into(), scale))?
            }
            (Reader::FixedLenByteArrayColumnReader(reader), Kind::DECIMAL)
                if (1..=16).contains(&leaf.type_length()) =>
            {
                numbers(reader, count, levels, |value| decimal(value.data(), scale))?
            }
            (Reader::ByteArrayColumnReader(reader), Kind::DECIMAL) => {
                numbers(reader, count, levels, |value| decimal(value.data(), scale))?
            }
            (Reader::BoolColumnReader(reader), _) => others(reader, count, levels)?,
            (Reader::Int32ColumnReader(reader), _) => others(reader, count, levels)?,
            (Reader::Int64ColumnReader(reader), _) => others(reader, count, levels)?,
            (Reader::Int96ColumnReader(reader), _) => others(reader, count, levels)?,
            (Reader::ByteArrayColumnReader(reader), _) => others(reader, count, levels)?,
            (Reader::FixedLenByteArrayColumnReader(reader), _) => others(reader, count, levels)?,
        })
    }

    /// The first of them, as a text for messages.
    pub(super) fn first(&self) -> String {
        let text = match self {
            Self::Texts(texts) => {
                texts.first().map(|text| format!("{:?}", String::from_utf8_lossy(text.data())))
            }
            Self::Numbers(numbers) => numbers.first().map(Number::to_string),
            Self::Others(texts) => texts.first().cloned(),
        };
        text.unwrap_or_default()
    }
}

/// A decimal of big-endian bytes.
fn decimal(bytes: &[u8], scale: i32) -> Number {
    if bytes.len() > 16 {
        return Number::Real(f64::NAN);
    }
    let sign = if bytes.first().is_some_and(|first| *first > 127) { -1 } else { 0 };
    let unscaled = bytes.iter().fold(sign, |number: i128, byte| number << 8 | i128::from(*byte));
    Number::decimal(unscaled, scale)
}

fn numbers<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    levels: &mut Vec<i16>,
    number: impl Fn(T::T) -> Number,
) -> Result<Values, ParquetError> {
    fill(reader, count, levels, number).map(Values::Numbers)
}

fn others<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    levels: &mut Vec<i16>,
) -> Result<Values, ParquetError> {
    fill(reader, count, levels, |value| format!("`{value}`")).map(Values::Others)
}

/// Reads the next `count` rows of a column.
fn fill<T: DataType, V>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    levels: &mut Vec<i16>,
    widen: impl Fn(T::T) -> V,
) -> Result<Vec<V>, ParquetError> {
    levels.clear();
    let mut values = Vec::with_capacity(count);
    let (rows, _, _) = reader.read_records(count, Some(levels), None, &mut values)?;
    match rows == count {
        true => Ok(values.into_iter().map(widen).collect()),
        false => Err(ParquetError::EOF(format!("a column ends {} rows early", count - rows))),
    }
}

macro_rules! values {
    ($($type:ty: $stored:ty, $values:ident($cell:ty), $expected:literal, $store:expr, $set:expr;)+) => {$(
        impl Value for $type {
            type Stored = $stored;
            type Cell = $cell;
            const EXPECTED: &'static str = $expected;

            fn stored(&self) -> Option<<$stored as DataType>::T> {
                Some($store(self))
            }

            fn cells(values: Values) -> Result<Vec<$cell>, Values> {
                match values {
                    Values::$values(cells) => Ok(cells),
                    others => Err(others),
                }
            }

            fn set(&mut self, cell: Option<$cell>) -> Result<(), Unread<Refused>> {
                match cell {
                    Some(cell) => $set(self, cell),
                    None => Err(Unread::Row(0, None)),
                }
            }
        }
    )+};
}

values! {
    ByteArray: ByteArrayType, Texts(ByteArray), "a UTF-8 string", Self::clone, bytes;
    String: ByteArrayType, Texts(ByteArray), "a UTF-8 string", |text: &Self| text.as_str().into(), utf8;
    f64: DoubleType, Numbers(Number), "a number", Self::clone, real;
    u64: Int64Type, Numbers(Number), "a whole number of at least 0", |value: &Self| *value as i64, whole;
    i32: Int32Type, Numbers(Number), "a whole number", Self::clone, whole;
}

fn bytes(place: &mut ByteArray, cell: ByteArray) -> Result<(), Unread<Refused>> {
    *place = cell;
    Ok(())
}

fn utf8(place: &mut String, cell: ByteArray) -> Result<(), Unread<Refused>> {
    // most texts repeat, and stand there already from the batch before
    if place.as_bytes() != cell.data() {
        let text = str::from_utf8(cell.data());
        let got =
            |_| refused(format!("{:?}", String::from_utf8_lossy(cell.data())), String::EXPECTED);
        text.map_err(got)?.clone_into(place);
    }
    Ok(())
}

fn real(place: &mut f64, cell: Number) -> Result<(), Unread<Refused>> {
    *place = cell.real().ok_or_else(|| refused(cell, f64::EXPECTED))?;
    Ok(())
}

fn whole<V: Value + TryFrom<i64>>(place: &mut V, cell: Number) -> Result<(), Unread<Refused>> {
    let value = cell.whole().and_then(|whole| V::try_from(whole).ok());
    *place = value.ok_or_else(|| refused(cell, V::EXPECTED))?;
    Ok(())
}

impl<V: Value + Default> Value for Option<V> {
    type Stored = V::Stored;
    type Cell = V::Cell;
    const EXPECTED: &'static str = V::EXPECTED;
    const OPTIONAL: bool = true;

    fn stored(&self) -> Option<<V::Stored as DataType>::T> {
        self.as_ref().and_then(V::stored)
    }

    fn cells(values: Values) -> Result<Vec<V::Cell>, Values> {
        V::cells(values)
    }

    fn set(&mut self, cell: Option<V::Cell>) -> Result<(), Unread<Refused>> {
        match cell {
            Some(_) => self.get_or_insert_default().set(cell),
            None => {
                *self = None;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{Column, Packing, ParquetFile, Table, read};
    use super::*;

    /// What is read of a file with these texts, a row group each list.
    fn read_back(
        packing: Packing,
        groups: Vec<Vec<&[u8]>>,
    ) -> Result<Vec<Option<String>>, Unread<String>> {
        let columns = vec![Column::<ByteArray>::new("text", |row| row)];
        let table = Table { name: "texts", text: "UTF8", packing, columns };
        let groups =
            groups.into_iter().map(|texts| texts.iter().map(|text| text.to_vec().into()).collect());
        let mut bytes = Vec::new();
        table.write(&mut bytes, Vec::new(), groups).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let file = ParquetFile::open(file).unwrap();
        let columns = [Column::<Option<String>>::new("text", |row| row)];
        let refuse = |column, refused: Refused| format!("{column}: {refused:?}");
        let mut texts = Vec::new();
        read(&file, 0..file.groups(), &columns, refuse, |batch| {
            texts.extend_from_slice(batch);
            Ok(())
        })?;
        Ok(texts)
    }

    #[test]
    fn texts_are_read_over_those_of_the_batch_before_and_refused_where_they_are_not_utf8() {
        let batches = [vec!["a", "", "longer", "b"], vec!["a", "b", "", "c"], vec!["x"]];
        let expected: Vec<_> = batches.concat().iter().map(|text| Some(text.to_string())).collect();
        for packing in [Packing::Quick, Packing::Small] {
            let bytes = batches.iter().map(|texts| texts.iter().map(|text| text.as_bytes()));
            let bytes = bytes.map(Iterator::collect).collect();
            assert_eq!(read_back(packing, bytes).unwrap(), expected);
            let wrong = read_back(packing, vec![vec![b"a", b"b"], vec![b"a", b"\xFF!"]]);
            let Unread::Row(3, reason) = wrong.unwrap_err() else { panic!("another error") };
            assert!(reason.contains("!\\\"\", \"a UTF-8 string\""), "{reason}");
        }
    }
}
