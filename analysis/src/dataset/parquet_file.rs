//! Datasets as Parquet: one row group, Snappy, texts as UTF-8 strings, counts as 64-bit integers.

use std::fs::File;
use std::io;
use std::path::Path;

use alpha_flops::columns::{self, Column, Output, Table, Unread};
use alpha_flops::file_error::FileError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::DatasetError;
use super::row::{self, Problem, Row};

fn table() -> Table<Row> {
    let columns = row::columns().into_iter().map(|column| column.parquet).collect();
    Table { name: "dataset", text: "STRING", columns }
}

/// A Parquet file with the columns of a dataset.
pub(super) struct ParquetFile<'a> {
    path: &'a Path,
    pub reader: SerializedFileReader<File>,
}

impl<'a> ParquetFile<'a> {
    /// Opens a file with every column once and no others, as in CSV.
    pub(super) fn open(path: &'a Path) -> Result<Self, DatasetError> {
        let file = File::open(path).map_err(|error| FileError::read(path, error))?;
        let reader = columns::open(file).map_err(|error| refused(path, error.into()))?;
        let schema = reader.metadata().file_metadata().schema();
        row::check_names(path, schema.get_fields().iter().map(|field| field.name()))?;
        Ok(Self { path, reader })
    }

    /// Reads columns of all row groups, or of one, a batch of rows at a time.
    pub(super) fn read<R: Default + 'static>(
        &self,
        group: Option<usize>,
        columns: &[Column<R>],
        take: impl FnMut(&mut Vec<R>) -> Result<(), Unread<Problem>>,
    ) -> Result<(), DatasetError> {
        let groups = group.map_or(0..self.reader.num_row_groups(), |group| group..group + 1);
        columns::read(&self.reader, groups, columns, row::refuse, take)
            .map_err(|unread| refused(self.path, unread))
    }
}

/// What is wrong with a file, or with one of its rows.
pub(super) fn refused(path: &Path, unread: Unread<Problem>) -> DatasetError {
    match unread {
        Unread::File(error) => DatasetError::Format {
            path: path.to_owned(),
            format: "Parquet",
            reason: error.to_string(),
        },
        Unread::Row(index, problem) => DatasetError::Row {
            location: super::Format::Parquet.location(path, index as u64 + 1),
            problem,
        },
    }
}

/// Rows with their numbers, from 1.
pub(super) fn read(path: &Path) -> Result<Vec<(u64, Row)>, DatasetError> {
    let mut rows = Vec::new();
    let file = ParquetFile::open(path)?;
    let schema = file.reader.metadata().file_metadata().schema();
    let mut columns = table().columns;
    columns.retain(|column| schema.get_fields().iter().any(|field| field.name() == column.name));
    file.read(None, &columns, |batch| {
        rows.append(batch);
        Ok(())
    })?;
    Ok((1..).zip(rows).collect())
}

pub(super) fn write(rows: Vec<Row>, out: Output<'_>) -> io::Result<()> {
    table().write(out, None, [rows]).map_err(io::Error::other)
}

/// Writes rows as they are, so that tests have files that must be refused.
#[cfg(test)]
pub(super) fn write_unchecked(dataset: &super::Dataset, path: &Path) {
    let row = |observation| Row::new(&dataset.provenance, observation);
    let rows: Vec<Row> = dataset.observations.iter().map(row).collect();
    write(rows, &mut File::create(path).unwrap()).unwrap();
}
