//! Datasets as Parquet: one row group, Snappy, texts as UTF-8 strings, counts as 64-bit integers.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use alpha_flops::file_error::FileError;
use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::Field;
use parquet::schema::types::{Type, TypePtr};

use super::DatasetError;
use super::row::{COLUMNS, Cell, Cells, Kind, Problem, Row};

/// One row as the decoder hands it out.
struct Record(Vec<(String, Field)>);

/// Rows with their numbers, from 1.
pub(super) fn read(path: &Path) -> Result<Vec<(u64, Row)>, DatasetError> {
    let unreadable = |error: ParquetError| DatasetError::Format {
        path: path.to_owned(),
        format: "Parquet",
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(|error| FileError::read(path, error))?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    check_columns(path, reader.metadata().file_metadata().schema())?;
    let mut rows = Vec::new();
    for (number, record) in (1..).zip(reader.get_row_iter(None).map_err(unreadable)?) {
        let record = Record(record.map_err(unreadable)?.into_columns());
        let row = Row::from_cells(&record).map_err(|problem| DatasetError::Row {
            location: format!("{}, row {number}", path.display()),
            problem,
        })?;
        rows.push((number, row));
    }
    Ok(rows)
}

/// Every column once and no others, as in CSV.
fn check_columns(path: &Path, schema: &Type) -> Result<(), DatasetError> {
    let names = schema.get_fields().iter().map(|field| field.name());
    super::row::check_names(path, names)
}

impl Record {
    fn get(&self, column: &'static str) -> &Field {
        let found = self.0.iter().find(|(name, _)| name == column);
        found.map_or(&Field::Null, |(_, field)| field)
    }
}

impl Cells for Record {
    fn text(&self, column: &'static str) -> Result<Option<String>, Problem> {
        match self.get(column) {
            Field::Null => Ok(None),
            Field::Str(text) => Ok(Some(text.clone())),
            other => Err(wrong_type(column, other, "a UTF-8 string")),
        }
    }

    fn real(&self, column: &'static str) -> Result<Option<f64>, Problem> {
        match *self.get(column) {
            Field::Null => Ok(None),
            Field::Double(value) => Ok(Some(value)),
            Field::Float(value) => Ok(Some(value.into())),
            ref other => Err(wrong_type(column, other, "a 64-bit floating-point number")),
        }
    }

    fn whole(&self, column: &'static str) -> Result<Option<u64>, Problem> {
        let expected = "a whole number of at least 0";
        let value = match *self.get(column) {
            Field::Null => return Ok(None),
            Field::Long(value) => u64::try_from(value).ok(),
            Field::Int(value) => u64::try_from(value).ok(),
            Field::ULong(value) => Some(value),
            Field::UInt(value) => Some(value.into()),
            _ => None,
        };
        value.map(Some).ok_or_else(|| wrong_type(column, self.get(column), expected))
    }
}

fn wrong_type(column: &'static str, got: &Field, expected: &'static str) -> Problem {
    Problem::Value { column, got: got.to_string(), expected }
}

pub(super) fn write(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    // the library wants a `Send` writer, and a dataset is small
    let bytes = encode(rows).map_err(io::Error::other)?;
    out.write_all(&bytes)
}

fn encode(rows: &[Row]) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema()?, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    for (index, (_, kind)) in COLUMNS.into_iter().enumerate() {
        let column = cells.iter().map(|row| &row[index]);
        match kind {
            Kind::Text | Kind::OptionalText => {
                write_column::<ByteArrayType>(&mut group, kind, column, |cell| match cell {
                    Cell::Text(text) => Some(ByteArray::from(*text)),
                    _ => None,
                })?;
            }
            Kind::Real | Kind::OptionalReal => {
                write_column::<DoubleType>(&mut group, kind, column, |cell| match cell {
                    Cell::Real(value) => Some(*value),
                    _ => None,
                })?;
            }
            Kind::Whole | Kind::OptionalWhole => {
                // validation has bounded the counts, so the conversion is lossless
                write_column::<Int64Type>(&mut group, kind, column, |cell| match cell {
                    Cell::Whole(value) => i64::try_from(*value).ok(),
                    _ => None,
                })?;
            }
        }
    }
    group.close()?;
    writer.into_inner()
}

/// Writes the group's next column; an absent value is a definition level of 0.
fn write_column<'a, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    kind: Kind,
    cells: impl Iterator<Item = &'a Cell<'a>>,
    value: impl Fn(&Cell<'a>) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let cells: Vec<Option<T::T>> = cells.map(value).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("more columns than the schema has".into()));
    };
    let levels = kind.is_optional().then_some(levels.as_slice());
    column.typed::<T>().write_batch(&values, levels, None)?;
    column.close()
}

fn schema() -> Result<TypePtr, ParquetError> {
    let fields = COLUMNS.map(|(name, kind)| column_type(name, kind));
    let fields = fields.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Type::group_type_builder("dataset").with_fields(fields).build()?))
}

fn column_type(name: &str, kind: Kind) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Text | Kind::OptionalText => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Real | Kind::OptionalReal => (PhysicalType::DOUBLE, None),
        Kind::Whole | Kind::OptionalWhole => (PhysicalType::INT64, None),
    };
    let repetition = match kind.is_optional() {
        true => Repetition::OPTIONAL,
        false => Repetition::REQUIRED,
    };
    let column = Type::primitive_type_builder(name, physical)
        .with_logical_type(logical)
        .with_repetition(repetition);
    Ok(Arc::new(column.build()?))
}

/// Writes rows as they are, so that tests have files that must be refused.
#[cfg(test)]
pub(super) fn write_unchecked(dataset: &super::Dataset, path: &Path) {
    let row = |observation| Row::new(&dataset.provenance, observation);
    let rows: Vec<Row> = dataset.observations.iter().map(row).collect();
    std::fs::write(path, encode(&rows).unwrap()).unwrap();
}
