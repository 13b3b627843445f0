//! Parquet files of a folder: written a column at a time, and opened only with the columns expected.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::{Header, write};
use crate::file_error::FileError;

/// Where a file's row groups go.
pub(crate) type FileWriter<'a> = SerializedFileWriter<&'a mut (dyn io::Write + Send)>;

/// Where a row group's columns go.
pub(crate) type GroupWriter<'a, 'b> = SerializedRowGroupWriter<'a, &'b mut (dyn io::Write + Send)>;

/// Writes the row groups that `rows` makes, with `metadata`, whole or not at all.
pub(crate) fn write_parquet<H: Header>(
    path: &Path,
    schema: &str,
    metadata: Option<Vec<KeyValue>>,
    rows: impl FnOnce(&mut FileWriter<'_>) -> Result<(), ParquetError>,
) -> Result<(), FileError> {
    write::<H>(path, |out| {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(metadata)
            .build();
        let written = parse_message_type(schema)
            .and_then(|schema| {
                SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))
            })
            .and_then(|mut file| {
                rows(&mut file)?;
                file.close().map(drop)
            });
        written.map_err(io::Error::other)
    })
}

/// Writes the next column of a row group; a value is absent where its definition level is 0.
pub(crate) fn write_column<T: DataType>(
    group: &mut GroupWriter<'_, '_>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has too few columns".to_owned()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

/// Opens a file that must have the columns of `schema`.
pub(crate) fn open_parquet(
    path: &Path,
    schema: &str,
) -> Result<SerializedFileReader<File>, FileError> {
    let file = File::open(path).map_err(|error| FileError::read(path, error))?;
    let reader = SerializedFileReader::new(file).map_err(|error| damaged(path, &error))?;
    let expected = parse_message_type(schema).map_err(|error| damaged(path, &error))?;
    let found = reader.metadata().file_metadata().schema_descr().root_schema();
    if found.get_fields() != expected.get_fields() {
        let names: Vec<&str> = expected.get_fields().iter().map(|field| field.name()).collect();
        let cause = format!("its columns are not {}", names.join(", "));
        return Err(FileError::read(path, cause));
    }
    Ok(reader)
}

/// A file that is no Parquet file, or was damaged since it was written.
pub(crate) fn damaged(path: &Path, error: &ParquetError) -> FileError {
    FileError::read(path, format!("damaged: {error}"))
}
