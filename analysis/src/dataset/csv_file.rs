//! Datasets as CSV: UTF-8, a header, commas, `\n`; numbers in full precision. What spreadsheets make of it
//! is read, too: semicolons or tabs, decimal commas, UTF-16.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use alpha_flops::files;

use super::row::{Column, Problem, Row, check_names, columns};
use super::{DatasetError, Take};

/// Calls `take` with each row and the number of its line. Returns the names of columns that are ignored.
pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<Vec<String>, DatasetError> {
    let refused =
        |reason: String| DatasetError::Format { path: path.to_owned(), format: "CSV", reason };
    let unreadable = |error: csv::Error| refused(error.to_string());
    let bytes = files::read(path)?;
    let bytes = utf8(&bytes).map_err(|what| refused(what.to_owned()))?;
    let (delimiter, begins) = delimiter(&bytes);
    let text = &bytes[begins..];
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text);
    let header = reader.headers().map_err(unreadable)?.clone();
    let ignored = check_names(path, header.iter())?;
    let place = |column: &Column| header.iter().position(|name| name == column.name());
    let columns: Vec<_> = columns().into_iter().filter_map(|c| Some((place(&c)?, c))).collect();
    let mut lines = Lines::new(&bytes, begins);
    let mut decimals = Decimals { commas: delimiter != b',', seen_point: false };
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = lines.at(record.position().map_or(0, csv::Position::byte) as usize);
        let mut row = Row::default();
        let mut cells = columns.iter().map(|(at, column)| (record.get(*at), column));
        cells
            .try_for_each(|(text, column)| {
                let text = decimals.with_point(column, text.unwrap_or_default())?;
                (column.parse)(&mut row, &text)
            })
            .and_then(|()| take(line, &row))
            .map_err(|problem| DatasetError::Row {
                location: format!("{}:{line}", path.display()),
                problem,
            })?;
    }
    Ok(ignored)
}

/// A text in UTF-8, which may be one in UTF-16 with or without a mark of its byte order.
fn utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, &'static str> {
    let (of_pair, units): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xEF, 0xBB, 0xBF, text @ ..] => return Ok(text.into()),
        [0xFF, 0xFE, units @ ..] => (u16::from_le_bytes, units),
        [0xFE, 0xFF, units @ ..] => (u16::from_be_bytes, units),
        [1..128, 0, 1..128, 0, ..] => (u16::from_le_bytes, bytes),
        [0, 1..128, 0, 1..128, ..] => (u16::from_be_bytes, bytes),
        _ => return Ok(bytes.into()),
    };
    let (pairs, rest) = units.as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().copied().map(of_pair)).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok(text.into_bytes().into()),
        _ => Err("it begins as UTF-16, but is not: save it as UTF-8"),
    }
}

/// What stands between the cells, and where the header begins: behind a line `sep=;` if there is one.
fn delimiter(text: &[u8]) -> (u8, usize) {
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter, rest @ ..] = first_line
        && matches!(rest, [] | [b'\r'])
    {
        return (*delimiter, (first_line.len() + 1).min(text.len()));
    }
    let count = |delimiter: u8| first_line.iter().filter(|byte| **byte == delimiter).count();
    let delimiter = [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter));
    (delimiter.unwrap_or(b','), 0)
}

/// Numbers of lines; the library's own are late by one where lines end in `\r\n`.
struct Lines<'a> {
    text: &'a [u8],
    /// Where the header begins.
    begins: usize,
    at: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(text: &'a [u8], begins: usize) -> Self {
        Self { text, begins, at: 0, line: 1 }
    }

    /// The line of a record whose position, from the header's, is not before the last one asked for.
    fn at(&mut self, position: usize) -> u64 {
        let ends = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let position = (self.begins + position).min(self.text.len());
        let position = position + self.text[position..].iter().take_while(ends).count();
        let passed = &self.text[self.at.min(position)..position];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = position;
        self.line
    }
}

/// What is between the whole and the rest of numbers.
struct Decimals {
    /// Whether it can be a comma: no comma stands between cells.
    commas: bool,
    seen_point: bool,
}

impl Decimals {
    /// A cell's text, of a number with a point in it.
    fn with_point<'a>(&mut self, column: &Column, text: &'a str) -> Result<Cow<'a, str>, Problem> {
        if !(self.commas && column.is_number) {
            return Ok(text.into());
        }
        let has_point = text.contains('.');
        self.seen_point |= has_point;
        match text.contains(',') {
            // 1,000 may be a thousand
            true if self.seen_point => {
                Err(Problem::Decimal { column: column.name(), got: text.to_owned() })
            }
            true => Ok(text.replacen(',', ".", 1).into()),
            false => Ok(text.into()),
        }
    }
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
