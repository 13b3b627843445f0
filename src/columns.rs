//! Tables in Parquet files. A column is declared once, as a name and a place in the struct that a row is:
//! the schema, writing and reading follow from that.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescriptor, TypePtr};

mod guard;
mod thrift;

/// Where a file goes.
pub type Output<'a> = &'a mut (dyn io::Write + Send);

type GroupWriter<'a, 'b> = SerializedRowGroupWriter<'a, Output<'b>>;

/// Rows decoded at a time: the buffers of all columns stay in the processor's cache.
pub const BATCH: usize = 8192;

/// A table whose rows are values of `R`.
pub struct Table<R> {
    /// What the file's schema calls it.
    pub name: &'static str,
    /// How the schema marks texts: `UTF8` (of the format's first version) or `STRING`.
    pub text: &'static str,
    /// Its columns, in order.
    pub columns: Vec<Column<R>>,
}

/// A column of rows `R`.
pub struct Column<R> {
    /// Its name.
    pub name: &'static str,
    optional: bool,
    physical: PhysicalType,
    write: Box<WriteColumn<R>>,
    read: Box<ReadColumn<R>>,
}

type WriteColumn<R> = dyn Fn(&mut GroupWriter<'_, '_>, &mut [R]) -> Result<(), ParquetError>;
type ReadColumn<R> = dyn Fn(&mut Cells<'_>, &mut [R]) -> Result<(), Unread<Refused>>;

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

    /// The value of a cell; `None` is an empty one.
    fn from_cell(cell: Option<Self::Cell>) -> Result<Self, Unread<Refused>>;
}

/// The values of some rows as they are decoded, whatever their width in the file.
pub enum Values {
    /// Texts in UTF-8, not yet checked.
    Texts(Vec<ByteArray>),
    /// Whole numbers.
    Wholes(Vec<i64>),
    /// Floating-point numbers.
    Reals(Vec<f64>),
    /// Values of a type that is not accepted, for messages.
    Others(Vec<String>),
}

/// What a refused cell holds and what was expected; nothing where it is empty.
pub type Refused = Option<(String, &'static str)>;

/// What ended the reading: the file, or a row by its number in the file, from 0.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Unread<E> {
    File(ParquetError),
    Row(usize, E),
}

impl<E> Unread<E> {
    fn after(self, rows: usize) -> Self {
        match self {
            Self::Row(row, reason) => Self::Row(rows.saturating_add(row), reason),
            file => file,
        }
    }
}

impl<E> From<ParquetError> for Unread<E> {
    fn from(error: ParquetError) -> Self {
        Self::File(error)
    }
}

impl<R: 'static> Column<R> {
    /// The column `name` of the values in `place` of each row.
    pub fn new<V: Value>(
        name: &'static str,
        place: impl Fn(&mut R) -> &mut V + Copy + 'static,
    ) -> Self {
        Self {
            name,
            optional: V::OPTIONAL,
            physical: V::Stored::get_physical_type(),
            write: Box::new(move |group, rows| {
                let cells: Vec<_> = rows.iter_mut().map(|row| place(row).stored()).collect();
                // an absent value is a definition level of 0
                let levels: Vec<i16> = cells.iter().map(|cell| cell.is_some().into()).collect();
                let values: Vec<_> = cells.into_iter().flatten().collect();
                let levels = V::OPTIONAL.then_some(levels.as_slice());
                let mut column = group.next_column()?.ok_or_else(|| {
                    ParquetError::General("the schema has too few columns".to_owned())
                })?;
                column.typed::<V::Stored>().write_batch(&values, levels, None)?;
                column.close()
            }),
            read: Box::new(move |cells, rows| {
                cells.read(rows.len(), |index, value| *place(&mut rows[index]) = value)
            }),
        }
    }
}

impl<R> Table<R> {
    /// The schema of its files.
    pub fn schema(&self) -> Result<TypePtr, ParquetError> {
        let field = |column: &Column<R>| {
            let repetition = if column.optional { "optional" } else { "required" };
            let text = match column.physical {
                PhysicalType::BYTE_ARRAY => format!(" ({})", self.text),
                _ => String::new(),
            };
            format!("{repetition} {} {}{text};", column.physical, column.name)
        };
        let fields: String = self.columns.iter().map(field).collect();
        Ok(Arc::new(parse_message_type(&format!("message {} {{{fields}}}", self.name))?))
    }

    /// Writes row groups, with `metadata`.
    pub fn write(
        &self,
        out: Output<'_>,
        metadata: Option<Vec<KeyValue>>,
        groups: impl IntoIterator<Item = Vec<R>>,
    ) -> Result<(), ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(metadata)
            .build();
        let mut file = SerializedFileWriter::new(out, self.schema()?, Arc::new(properties))?;
        for mut rows in groups {
            let mut group = file.next_row_group()?;
            for column in &self.columns {
                (column.write)(&mut group, &mut rows)?;
            }
            group.close()?;
        }
        file.close().map(drop)
    }
}

/// A Parquet file whose metadata is sound.
pub struct ParquetFile {
    reader: SerializedFileReader<File>,
    file: File,
    /// Where its footer begins: everything else is before it.
    end: u64,
}

impl ParquetFile {
    /// Opens a file. Before the library gets it, it is checked that no more is said to be in it than can
    /// be; pages are checked when they are [read].
    pub fn open(file: File) -> Result<Self, ParquetError> {
        let end = guard::footer(&file)?;
        let reader = guard::caught(|| SerializedFileReader::new(file.try_clone()?))?;
        guard::rows(reader.metadata(), file.metadata()?.len())?;
        Ok(Self { reader, file, end })
    }

    /// What the file says of itself.
    pub fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    /// Number of row groups.
    pub fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }
}

/// Reads `columns` of some row groups into rows, a batch at a time. `take` gets each batch, and counts
/// rows from its first; rows that it leaves are overwritten by the next batch. `refuse` says what is
/// wrong with a cell of a column.
pub fn read<R: Default + 'static, E>(
    file: &ParquetFile,
    groups: Range<usize>,
    columns: &[Column<R>],
    refuse: impl Fn(&'static str, Refused) -> E,
    mut take: impl FnMut(&mut Vec<R>) -> Result<(), Unread<E>>,
) -> Result<(), Unread<E>> {
    let rows_of = |group| file.metadata().row_group(group).num_rows() as usize;
    let mut before = (0..groups.start).map(rows_of).fold(0, usize::saturating_add);
    let mut rows = Vec::new();
    for group in groups {
        let mut left = rows_of(group);
        guard::row_group(&file.file, file.end, file.metadata().row_group(group))?;
        let group = guard::caught(|| file.reader.get_row_group(group))?;
        let cells = columns.iter().map(|column| Cells::new(&*group, column.name));
        let mut cells = cells.collect::<Result<Vec<_>, _>>()?;
        while left > 0 {
            let count = left.min(BATCH);
            rows.resize_with(count, R::default);
            let mut wrong: Option<(usize, E)> = None;
            for (column, cells) in columns.iter().zip(&mut cells) {
                match (column.read)(cells, &mut rows) {
                    Err(Unread::File(error)) => return Err(Unread::File(error)),
                    Err(Unread::Row(row, refused))
                        if wrong.as_ref().is_none_or(|(first, _)| row < *first) =>
                    {
                        wrong = Some((row, refuse(column.name, refused)));
                    }
                    _ => {}
                }
            }
            match wrong {
                Some((row, reason)) => Err(Unread::Row(row, reason)),
                None => take(&mut rows),
            }
            .map_err(|unread| unread.after(before))?;
            left -= count;
            before = before.saturating_add(count);
        }
    }
    Ok(())
}

/// What is left to read of a column in a row group.
struct Cells<'a> {
    /// `None` where there is no column of the name with one value in each row.
    source: Option<(ColumnReader, &'a ColumnDescriptor)>,
    /// For each row of a batch, whether it has a value; empty where all must have one.
    levels: Vec<i16>,
}

impl<'a> Cells<'a> {
    fn new(group: &'a dyn RowGroupReader, name: &'static str) -> Result<Self, ParquetError> {
        let columns = group.metadata().columns().iter().map(|chunk| chunk.column_descr());
        let single =
            |leaf: &&ColumnDescriptor| leaf.path().parts() == [name] && leaf.max_rep_level() == 0;
        let source = match columns.enumerate().find(|(_, leaf)| single(leaf)) {
            Some((at, leaf)) => Some((guard::caught(|| group.get_column_reader(at))?, leaf)),
            None => None,
        };
        Ok(Self { source, levels: Vec::new() })
    }

    /// Calls `set` with the index and the cell of each of the next `count` rows, up to the first that
    /// is refused.
    fn read<V: Value>(
        &mut self,
        count: usize,
        mut set: impl FnMut(usize, V),
    ) -> Result<(), Unread<Refused>> {
        let Some((reader, leaf)) = &mut self.source else {
            return Err(refused("no column of single values", V::EXPECTED));
        };
        let (kind, levels) = (leaf.converted_type(), &mut self.levels);
        let values = guard::caught(|| Values::decode(reader, kind, count, levels))?;
        let most = leaf.max_def_level();
        let is_present = |row: usize| most == 0 || levels[row] == most;
        match V::cells(values) {
            Ok(cells) => {
                let mut cells = cells.into_iter();
                (0..count).try_for_each(|row| {
                    let cell = if is_present(row) { cells.next() } else { None };
                    V::from_cell(cell)
                        .map(|value| set(row, value))
                        .map_err(|unread| unread.after(row))
                })
            }
            // of another type, all must be absent
            Err(values) => (0..count).try_for_each(|row| {
                let cell = match is_present(row) {
                    true => Err(refused(values.first(), V::EXPECTED)),
                    false => V::from_cell(None),
                };
                cell.map(|value| set(row, value)).map_err(|unread| unread.after(row))
            }),
        }
    }
}

fn refused(got: impl ToString, expected: &'static str) -> Unread<Refused> {
    Unread::Row(0, Some((got.to_string(), expected)))
}

impl Values {
    /// The values of the next `count` rows.
    fn decode(
        reader: &mut ColumnReader,
        kind: ConvertedType,
        count: usize,
        levels: &mut Vec<i16>,
    ) -> Result<Self, ParquetError> {
        use ColumnReader as Reader;
        use ConvertedType as Kind;
        Ok(match (reader, kind) {
            (
                Reader::ByteArrayColumnReader(reader),
                Kind::NONE | Kind::UTF8 | Kind::ENUM | Kind::JSON,
            ) => Self::Texts(fill(reader, count, levels, |text| text)?),
            (Reader::Int32ColumnReader(reader), Kind::UINT_8 | Kind::UINT_16 | Kind::UINT_32) => {
                Self::Wholes(fill(reader, count, levels, |value| i64::from(value as u32))?)
            }
            (
                Reader::Int32ColumnReader(reader),
                Kind::NONE | Kind::INT_8 | Kind::INT_16 | Kind::INT_32,
            ) => Self::Wholes(fill(reader, count, levels, i64::from)?),
            (Reader::Int64ColumnReader(reader), Kind::NONE | Kind::INT_64 | Kind::UINT_64) => {
                Self::Wholes(fill(reader, count, levels, |value| value)?)
            }
            (Reader::FloatColumnReader(reader), _) => {
                Self::Reals(fill(reader, count, levels, f64::from)?)
            }
            (Reader::DoubleColumnReader(reader), _) => {
                Self::Reals(fill(reader, count, levels, |value| value)?)
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
    fn first(&self) -> String {
        let text = match self {
            Self::Texts(texts) => {
                texts.first().map(|text| format!("{:?}", String::from_utf8_lossy(text.data())))
            }
            Self::Wholes(numbers) => numbers.first().map(i64::to_string),
            Self::Reals(numbers) => numbers.first().map(f64::to_string),
            Self::Others(texts) => texts.first().cloned(),
        };
        text.unwrap_or_default()
    }
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
    ($($type:ty: $stored:ty, $values:ident($cell:ty), $expected:literal, $store:expr, $load:expr;)+) => {$(
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

            fn from_cell(cell: Option<$cell>) -> Result<Self, Unread<Refused>> {
                match cell {
                    Some(cell) => $load(cell),
                    None => Err(Unread::Row(0, None)),
                }
            }
        }
    )+};
}

values! {
    ByteArray: ByteArrayType, Texts(ByteArray), "a UTF-8 string", Self::clone, Ok;
    String: ByteArrayType, Texts(ByteArray), "a UTF-8 string", |text: &Self| text.as_str().into(), utf8;
    f64: DoubleType, Reals(f64), "a 64-bit floating-point number", Self::clone, Ok;
    u64: Int64Type, Wholes(i64), "a whole number of at least 0", |value: &Self| *value as i64, whole;
    i32: Int32Type, Wholes(i64), "a whole number", Self::clone, whole;
}

fn utf8(text: ByteArray) -> Result<String, Unread<Refused>> {
    String::from_utf8(text.data().to_vec()).map_err(|error| {
        // in the words of the library's own rows
        let bytes = text.data();
        let reason =
            format!("Error reading BYTE_ARRAY as String. Bytes: {bytes:?} Error: {error:?}");
        ParquetError::General(reason).into()
    })
}

fn whole<V: Value + TryFrom<i64>>(cell: i64) -> Result<V, Unread<Refused>> {
    V::try_from(cell).map_err(|_| refused(cell, V::EXPECTED))
}

impl<V: Value> Value for Option<V> {
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

    fn from_cell(cell: Option<V::Cell>) -> Result<Self, Unread<Refused>> {
        cell.map(|cell| V::from_cell(Some(cell))).transpose()
    }
}
