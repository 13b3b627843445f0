//! Datasets as CSV: UTF-8, a header, commas, `\n`; numbers in full precision.

use std::io::{self, Write};
use std::path::Path;

use alpha_flops::file_error::FileError;

use super::row::{Column, Row, check_names, columns};
use super::{DatasetError, Take};

/// Calls `take` with each row and the number of its line.
pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<(), DatasetError> {
    let unreadable = |error: csv::Error| DatasetError::Format {
        path: path.to_owned(),
        format: "CSV",
        reason: error.to_string(),
    };
    let bytes = std::fs::read(path).map_err(|error| FileError::read(path, error))?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().map_err(unreadable)?.clone();
    check_names(path, header.iter())?;
    let place = |column: &Column| header.iter().position(|name| name == column.name());
    let columns: Vec<_> = columns().into_iter().filter_map(|c| Some((place(&c)?, c))).collect();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut row = Row::default();
        let mut cells = columns.iter().map(|(at, column)| (record.get(*at), column));
        cells
            .try_for_each(|(text, column)| (column.parse)(&mut row, text.unwrap_or_default()))
            .and_then(|()| take(line, row))
            .map_err(|problem| DatasetError::Row {
                location: format!("{}:{line}", path.display()),
                problem,
            })?;
    }
    Ok(())
}

pub(super) fn write(rows: &mut [Row], out: &mut dyn Write) -> io::Result<()> {
    let columns = columns();
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(columns.iter().map(Column::name))?;
    for row in rows {
        writer.write_record(columns.iter().map(|column| (column.text)(row)))?;
    }
    writer.flush()
}
