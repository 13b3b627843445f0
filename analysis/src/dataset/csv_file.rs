//! Datasets as CSV: UTF-8, a header, commas, `\n`; numbers in full precision.

use std::io::{self, Write};
use std::path::Path;

use alpha_flops::file_error::FileError;

use super::DatasetError;
use super::row::{COLUMNS, Cell, Cells, Problem, Row, check_names};

/// One record with the place of each column in it.
struct Record<'a> {
    header: &'a csv::StringRecord,
    record: csv::StringRecord,
}

/// Rows with their line numbers.
pub(super) fn read(path: &Path) -> Result<Vec<(u64, Row)>, DatasetError> {
    let unreadable = |error: csv::Error| DatasetError::Format {
        path: path.to_owned(),
        format: "CSV",
        reason: error.to_string(),
    };
    let bytes = std::fs::read(path).map_err(|error| FileError::read(path, error))?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().map_err(unreadable)?.clone();
    check_names(path, header.iter())?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row::from_cells(&Record { header: &header, record }).map_err(|problem| {
            DatasetError::Row { location: format!("{}:{line}", path.display()), problem }
        })?;
        rows.push((line, row));
    }
    Ok(rows)
}

impl Record<'_> {
    /// The text of a column; `None` where it is empty.
    fn get(&self, column: &'static str) -> Option<&str> {
        let index = self.header.iter().position(|name| name == column)?;
        self.record.get(index).filter(|text| !text.is_empty())
    }

    fn parse<T: std::str::FromStr>(
        &self,
        column: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(column) else { return Ok(None) };
        let wrong = || Problem::Value { column, got: format!("`{text}`"), expected };
        text.parse().map(Some).map_err(|_| wrong())
    }
}

impl Cells for Record<'_> {
    fn text(&self, column: &'static str) -> Result<Option<String>, Problem> {
        Ok(self.get(column).map(str::to_owned))
    }

    fn real(&self, column: &'static str) -> Result<Option<f64>, Problem> {
        self.parse(column, "a number")
    }

    fn whole(&self, column: &'static str) -> Result<Option<u64>, Problem> {
        self.parse(column, "a whole number")
    }
}

pub(super) fn write(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(COLUMNS.map(|(name, _)| name))?;
    for row in rows {
        writer.write_record(row.cells().map(|cell| match cell {
            Cell::Text(text) => text.to_owned(),
            // the shortest text that reads back to the same bits
            Cell::Real(value) => value.to_string(),
            Cell::Whole(value) => value.to_string(),
            Cell::Absent => String::new(),
        }))?;
    }
    writer.flush()
}
