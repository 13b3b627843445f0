//! Datasets as Parquet: one row group, Snappy, texts as UTF-8 strings, counts as 64-bit integers, a checksum.

use std::io;
use std::path::Path;

use alpha_flops::columns::{self, Output, Packing, ParquetFile, Table, Unread};
use alpha_flops::files;

use super::row::{self, Problem, Row};
use super::{DatasetError, Take};

fn table() -> Table<Row> {
    let columns = row::columns().into_iter().map(|column| column.parquet).collect();
    Table { name: "dataset", text: "STRING", packing: Packing::Quick, columns }
}

/// Calls `take` with each row and its number, from 1, a batch in memory at a time. Returns the names of
/// columns that are ignored.
pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<Vec<String>, DatasetError> {
    let file = files::open(path)?;
    let file = ParquetFile::open(file).map_err(|error| refused(path, error.into()))?;
    let schema = file.metadata().file_metadata().schema();
    let ignored = row::check_names(path, schema.get_fields().iter().map(|field| field.name()))?;
    let mut columns = table().columns;
    columns.retain(|column| schema.get_fields().iter().any(|field| field.name() == column.name));
    let mut before = 0;
    columns::read(&file, 0..file.groups(), &columns, row::refuse, |batch| {
        for (index, row) in batch.iter().enumerate() {
            before += 1;
            take(before, row).map_err(|problem| Unread::Row(index, problem))?;
        }
        Ok(())
    })
    .map_err(|unread| refused(path, unread))?;
    Ok(ignored)
}

/// What is wrong with a file, or with one of its rows.
fn refused(path: &Path, unread: Unread<Problem>) -> DatasetError {
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

pub(super) fn write(rows: Vec<Row>, out: Output<'_>) -> io::Result<()> {
    table().write(out, Vec::new(), [rows]).map_err(io::Error::other)
}

/// Writes rows as they are, so that tests have files that must be refused.
#[cfg(test)]
pub(super) fn write_unchecked(dataset: &super::Dataset, path: &Path) {
    let row = |observation| Row::new(&dataset.provenance, observation);
    let rows: Vec<Row> = dataset.observations.iter().map(row).collect();
    write(rows, &mut std::fs::File::create(path).unwrap()).unwrap();
}
