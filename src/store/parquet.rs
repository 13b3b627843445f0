//! Parquet files of a folder, opened only with the columns expected.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use super::{Header, write};
use crate::columns::{self, ParquetFile, Refused, Table, Unread};
use crate::file_error::FileError;
use crate::files;

/// Writes row groups, with `metadata`, whole or not at all.
pub(crate) fn write_parquet<H: Header, R: 'static>(
    path: &Path,
    table: &Table<R>,
    metadata: Vec<KeyValue>,
    groups: impl IntoIterator<Item = Vec<R>>,
) -> Result<(), FileError> {
    write::<H>(path, |out| table.write(out, metadata, groups).map_err(io::Error::other))
}

/// Opens a file. `open` is [`ParquetFile::open`] or, of one that was opened before, [`ParquetFile::open_again`].
pub(crate) fn open_parquet(
    path: &Path,
    open: impl FnOnce(File) -> Result<ParquetFile, ParquetError>,
) -> Result<ParquetFile, FileError> {
    open(files::open(path)?).map_err(|error| damaged(path, &error))
}

/// Checks that a file has the columns of `table`; it may have others.
pub(crate) fn check_columns<R: 'static>(
    path: &Path,
    file: &ParquetFile,
    table: &Table<R>,
) -> Result<(), FileError> {
    let fields = file.metadata().file_metadata().schema().get_fields();
    let has = |name: &str| fields.iter().any(|field| field.name() == name);
    match table.columns.iter().find(|column| !has(column.name)) {
        Some(missing) => Err(FileError::read(path, format!("it has no column {}", missing.name))),
        None => Ok(()),
    }
}

/// Reads row groups a batch at a time; `take` returns what is wrong with its first wrong row.
pub(crate) fn read_parquet<R: Default + 'static>(
    path: &Path,
    reader: &ParquetFile,
    groups: Range<usize>,
    table: &Table<R>,
    take: impl FnMut(&mut Vec<R>) -> Result<(), Unread<String>>,
) -> Result<(), FileError> {
    let refuse = |column, refused: Refused| match refused {
        Some((got, expected)) => format!("{column} is {got}, expected {expected}"),
        None => format!("{column} is empty"),
    };
    columns::read(reader, groups, &table.columns, refuse, take).map_err(|unread| match unread {
        Unread::File(error) => damaged(path, &error),
        Unread::Row(row, reason) => wrong_row(path, row, &reason),
    })
}

/// A row, from 0, that does not hold what it should.
pub(crate) fn wrong_row(path: &Path, row: usize, reason: &str) -> FileError {
    FileError::read(path, format!("row {row}: {reason}"))
}

/// A file that is no Parquet file, or was damaged since it was written.
fn damaged(path: &Path, error: &ParquetError) -> FileError {
    FileError::read(path, format!("damaged: {error}"))
}
