//! The columns of a Parquet dataset that a fit needs, a batch of rows at a time.
//!
//! Decoding all 22 columns of a row takes microseconds and hundreds of bytes, and a sweep has millions
//! of rows. This reader keeps only the buffers of one batch, and does not decode texts.

use std::fs::File;
use std::path::Path;

use alpha_flops::file_error::FileError;
use alpha_flops::shape::ConvShape;
use parquet::basic::{Encoding, Repetition};
use parquet::column::page::Page;
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use super::row::{Problem, check_names, check_text, check_time};
use super::{DatasetError, Provenance};

/// Rows decoded at a time: the buffers of all columns stay in the processor's cache.
const BATCH: usize = 8192;

const PROVENANCE: [&str; 5] = ["source", "backend", "device", "versions", "protocol"];
const DIMENSIONS: [&str; 5] = ["height", "width", "in_channels", "out_channels", "kernel"];
const LATENCIES: [&str; 2] = ["median_ns", "mean_ns"];

/// Calls `visit` with the shape and the typical latency (ns) of every row, in order.
///
/// Provenance, dimensions, medians and means are validated as in `Dataset::read`. The other columns are
/// not read, and repeated configurations are not detected. `start` gets the provenance first; the value
/// that it returns is passed to `visit` and returned at the end.
pub(crate) fn for_each_latency<S>(
    path: &Path,
    start: impl FnOnce(Provenance) -> S,
    mut visit: impl FnMut(&mut S, &ConvShape, f64),
) -> Result<S, DatasetError> {
    let unreadable = |error: ParquetError| DatasetError::Format {
        path: path.to_owned(),
        format: "Parquet",
        reason: error.to_string(),
    };
    let file = File::open(path).map_err(|error| FileError::read(path, error))?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let metadata = reader.metadata().file_metadata();
    let schema = metadata.schema_descr();
    check_names(path, metadata.schema().get_fields().iter().map(|field| field.name()))?;
    if metadata.num_rows() == 0 {
        return Err(DatasetError::Empty { path: path.to_owned() });
    }
    let mut texts: [Option<String>; 5] = [const { None }; 5];
    let mut before = 0;
    let groups = || (0..reader.num_row_groups()).map(|index| reader.get_row_group(index));
    for group in groups() {
        let group = group.map_err(unreadable)?;
        for (column, first) in PROVENANCE.into_iter().zip(&mut texts) {
            check_equal(&*group, schema, column, first)
                .map_err(|stop| stop.located(path, before))?;
        }
        before += group.metadata().num_rows() as u64;
    }
    let [source, backend, device, versions, protocol] = texts.map(Option::unwrap_or_default);
    let mut state = start(Provenance { source, backend, device, versions, protocol });
    let mut before = 0;
    for group in groups() {
        let group = group.map_err(unreadable)?;
        let mut columns =
            Columns::new(&*group, schema).map_err(|stop| stop.located(path, before))?;
        let mut left = group.metadata().num_rows() as usize;
        while left > 0 {
            let count = left.min(BATCH);
            columns
                .batch(count, |shape, latency| visit(&mut state, shape, latency))
                .map_err(|stop| stop.located(path, before))?;
            left -= count;
            before += count as u64;
        }
    }
    Ok(state)
}

/// What ended the reading: the file, or a row by its number after those before.
enum Stop {
    File(ParquetError),
    Row(usize, Problem),
}

impl From<ParquetError> for Stop {
    fn from(error: ParquetError) -> Self {
        Self::File(error)
    }
}

impl Stop {
    fn located(self, path: &Path, before: u64) -> DatasetError {
        match self {
            Self::File(error) => DatasetError::Format {
                path: path.to_owned(),
                format: "Parquet",
                reason: error.to_string(),
            },
            Self::Row(index, problem) => DatasetError::Row {
                location: format!("{}, row {}", path.display(), before + index as u64 + 1),
                problem,
            },
        }
    }
}

/// The place of a column; every one is there, but it may be a structure of others.
fn place(schema: &SchemaDescriptor, column: &'static str) -> Result<usize, Stop> {
    let found = schema.columns().iter().position(|leaf| leaf.path().parts() == [column]);
    found.ok_or_else(|| Stop::Row(0, wrong(column, "a structure", "a single value")))
}

fn wrong(column: &'static str, got: impl ToString, expected: &'static str) -> Problem {
    Problem::Value { column, got: got.to_string(), expected }
}

/// Every text of a column must be `first`, which the first row of the file sets.
fn check_equal(
    group: &dyn RowGroupReader,
    schema: &SchemaDescriptor,
    column: &'static str,
    first: &mut Option<String>,
) -> Result<(), Stop> {
    let at = place(schema, column)?;
    if let Some(text) = only_text(group, at)? {
        return check_one(column, &text, 0, first);
    }
    let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(at)? else {
        return Err(Stop::Row(0, wrong(column, "no text", "a UTF-8 string")));
    };
    let (mut texts, mut levels, mut row) = (Vec::new(), Vec::new(), 0);
    loop {
        texts.clear();
        levels.clear();
        let (count, _, _) = reader.read_records(BATCH, Some(&mut levels), None, &mut texts)?;
        if count == 0 {
            return Ok(());
        }
        let most = schema.column(at).max_def_level();
        if let Some(absent) = levels.iter().position(|level| *level < most) {
            return Err(Stop::Row(row + absent, Problem::Absent { column }));
        }
        for text in &texts {
            check_one(column, text, row, first)?;
            row += 1;
        }
    }
}

/// The text that all rows share, if that can be seen without decoding the pages: the dictionary has one
/// entry, every page uses it, and no row lacks a value. `None` if it cannot be seen.
fn only_text(group: &dyn RowGroupReader, at: usize) -> Result<Option<ByteArray>, ParquetError> {
    let column = group.metadata().column(at);
    let required = column.column_descr().self_type().get_basic_info().repetition();
    let nulls = column.statistics().and_then(|statistics| statistics.null_count_opt());
    if required != Repetition::REQUIRED && nulls != Some(0) {
        return Ok(None);
    }
    let mut text = None;
    for page in group.get_column_page_reader(at)? {
        match page? {
            // a length of 4 bytes, then the text
            Page::DictionaryPage { buf, num_values: 1, .. } if buf.len() >= 4 => {
                text = Some(ByteArray::from(buf.slice(4..)));
            }
            Page::DataPage { encoding, .. } | Page::DataPageV2 { encoding, .. }
                if text.is_some() && is_dictionary(encoding) => {}
            _ => return Ok(None),
        }
    }
    Ok(text)
}

fn is_dictionary(encoding: Encoding) -> bool {
    // both of old writers and of new ones mean it in a data page
    #[allow(deprecated, reason = "files written so exist")]
    let old = Encoding::PLAIN_DICTIONARY;
    encoding == Encoding::RLE_DICTIONARY || encoding == old
}

fn check_one(
    column: &'static str,
    text: &ByteArray,
    row: usize,
    first: &mut Option<String>,
) -> Result<(), Stop> {
    let known = first.as_deref().map(str::as_bytes);
    if known == Some(text.data()) {
        return Ok(());
    }
    let got = text.as_utf8()?;
    check_text(column, got).map_err(|problem| Stop::Row(row, problem))?;
    match first {
        None => *first = Some(got.to_owned()),
        Some(first) => {
            let (got, first) = (got.to_owned(), first.clone());
            return Err(Stop::Row(row, Problem::Mixed { column, got, first }));
        }
    }
    Ok(())
}

/// One column of a row group with its buffers. An absent value takes no place in `values`.
struct Column {
    name: &'static str,
    reader: ColumnReader,
    most: i16,
    levels: Vec<i16>,
    narrow: Narrow,
}

/// Values as stored, before they are 64 bits wide.
#[derive(Default)]
struct Narrow {
    whole: Vec<i32>,
    real: Vec<f32>,
}

impl Column {
    fn new(
        group: &dyn RowGroupReader,
        schema: &SchemaDescriptor,
        name: &'static str,
    ) -> Result<Self, Stop> {
        let at = place(schema, name)?;
        let most = schema.column(at).max_def_level();
        let reader = group.get_column_reader(at)?;
        Ok(Self { name, reader, most, levels: Vec::new(), narrow: Narrow::default() })
    }

    fn wholes(&mut self, count: usize, into: &mut Vec<i64>) -> Result<(), Stop> {
        into.clear();
        self.levels.clear();
        match &mut self.reader {
            ColumnReader::Int64ColumnReader(reader) => fill(reader, count, &mut self.levels, into)?,
            ColumnReader::Int32ColumnReader(reader) => {
                self.narrow.whole.clear();
                fill(reader, count, &mut self.levels, &mut self.narrow.whole)?;
                into.extend(self.narrow.whole.iter().map(|value| i64::from(*value)));
            }
            _ => return Err(Stop::Row(0, wrong(self.name, "of another type", "a whole number"))),
        }
        match self.levels.iter().position(|level| *level < self.most) {
            Some(row) => Err(Stop::Row(row, Problem::Absent { column: self.name })),
            None => Ok(()),
        }
    }

    /// `NaN` where the value is absent; a `NaN` that is there is refused.
    fn reals(&mut self, count: usize, into: &mut Vec<f64>) -> Result<(), Stop> {
        into.clear();
        self.levels.clear();
        match &mut self.reader {
            ColumnReader::DoubleColumnReader(reader) => {
                fill(reader, count, &mut self.levels, into)?;
            }
            ColumnReader::FloatColumnReader(reader) => {
                self.narrow.real.clear();
                fill(reader, count, &mut self.levels, &mut self.narrow.real)?;
                into.extend(self.narrow.real.iter().map(|value| f64::from(*value)));
            }
            _ => return Err(Stop::Row(0, wrong(self.name, "of another type", "a number"))),
        }
        let present = |row: usize| self.most == 0 || self.levels[row] == self.most;
        let mut values = into.iter();
        for row in (0..count).filter(|row| present(*row)) {
            let Some(value) = values.next() else { break };
            check_time(self.name, *value).map_err(|problem| Stop::Row(row, problem))?;
        }
        if into.len() < count {
            // from the back, so that none is overwritten before it has moved
            let mut left = into.len();
            into.resize(count, f64::NAN);
            for row in (0..count).rev() {
                into[row] = match present(row) {
                    true => {
                        left -= 1;
                        into[left]
                    }
                    false => f64::NAN,
                };
            }
        }
        Ok(())
    }
}

/// Reads exactly `count` records.
fn fill<T: DataType>(
    reader: &mut parquet::column::reader::ColumnReaderImpl<T>,
    count: usize,
    levels: &mut Vec<i16>,
    into: &mut Vec<T::T>,
) -> Result<(), ParquetError> {
    let (got, _, _) = reader.read_records(count, Some(levels), None, into)?;
    match got == count {
        true => Ok(()),
        false => Err(ParquetError::EOF(format!("a column ends {} rows early", count - got))),
    }
}

struct Columns {
    dimensions: [Column; 5],
    latencies: [Column; 2],
    wholes: [Vec<i64>; 5],
    reals: [Vec<f64>; 2],
}

impl Columns {
    fn new(group: &dyn RowGroupReader, schema: &SchemaDescriptor) -> Result<Self, Stop> {
        let column = |name| Column::new(group, schema, name);
        let [h, w, i, o, k] = DIMENSIONS;
        let [median, mean] = LATENCIES;
        Ok(Self {
            dimensions: [column(h)?, column(w)?, column(i)?, column(o)?, column(k)?],
            latencies: [column(median)?, column(mean)?],
            wholes: Default::default(),
            reals: Default::default(),
        })
    }

    fn batch(&mut self, count: usize, mut visit: impl FnMut(&ConvShape, f64)) -> Result<(), Stop> {
        for (column, into) in self.dimensions.iter_mut().zip(&mut self.wholes) {
            column.wholes(count, into)?;
        }
        for (column, into) in self.latencies.iter_mut().zip(&mut self.reals) {
            column.reals(count, into)?;
        }
        let [median, mean] = &self.reals;
        for row in 0..count {
            let at = |problem| Stop::Row(row, problem);
            let mut sides = [0; 5];
            for (side, (values, column)) in sides.iter_mut().zip(self.wholes.iter().zip(DIMENSIONS))
            {
                let refuse = |_| at(wrong(column, values[row], "a whole number of at least 0"));
                *side = u64::try_from(values[row]).map_err(refuse)?;
            }
            let [h, w, i, o, k] = sides;
            let shape = ConvShape::new(h, w, i, o, k).map_err(|error| at(error.into()))?;
            let latency = if median[row].is_nan() { mean[row] } else { median[row] };
            if latency.is_nan() {
                return Err(at(Problem::NoLatency));
            }
            visit(&shape, latency);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Latency, Observation};
    use super::*;
    use crate::fixtures::datasets::provenance;

    /// More rows than a batch, medians missing here and there.
    fn dataset(change: impl Fn(usize, &mut Latency)) -> Dataset {
        let observation = |index: usize| {
            let shape = ConvShape::new(7, 9, 1 + index as u64, 3, 1 + index as u64 % 5).unwrap();
            let (median, mean) = (1.0 + index as f64, 0.5 + index as f64);
            let median_ns = (index % 3 != 1).then_some(median);
            let mean_ns = (!index.is_multiple_of(3)).then_some(mean);
            let mut latency = Latency { median_ns, mean_ns, ..Latency::default() };
            change(index, &mut latency);
            let (experiment, series) = ("X".to_owned(), "all".to_owned());
            Observation { experiment, series, x: 1.0, shape, latency, algorithm: None }
        };
        Dataset {
            provenance: provenance("two cores"),
            observations: (0..2 * BATCH + 5).map(observation).collect(),
        }
    }

    type Read = (Provenance, Vec<(ConvShape, f64)>);

    fn read(path: &Path) -> Result<Read, String> {
        let start = |provenance| (provenance, Vec::new());
        for_each_latency(path, start, |state: &mut Read, shape, ns| state.1.push((*shape, ns)))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn rows_are_those_of_the_whole_dataset() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.parquet");
        let dataset = dataset(|_, _| {});
        dataset.write(&path).unwrap();
        let (provenance, rows) = read(&path).unwrap();
        assert_eq!(provenance, dataset.provenance);
        let expected = dataset.observations.iter().map(|o| (o.shape, o.typical().unwrap().0));
        assert!(rows.into_iter().eq(expected));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_row_as_by_the_whole_reader() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.parquet");
        let bad = dataset(|index, latency| {
            if index == BATCH + 7 {
                *latency = Latency { mean_ns: Some(-2.0), ..Latency::default() };
            }
        });
        super::super::parquet_file::write_unchecked(&bad, &path);
        let whole = Dataset::read(&path).unwrap_err().to_string();
        assert_eq!(read(&path).unwrap_err(), whole);
        assert!(whole.ends_with("row 8200: mean_ns is -2, expected a finite number above 0"));

        let none = dataset(|index, latency| {
            if index == 3 {
                *latency = Latency::default();
            }
        });
        super::super::parquet_file::write_unchecked(&none, &path);
        assert_eq!(read(&path).unwrap_err(), Dataset::read(&path).unwrap_err().to_string());

        std::fs::write(&path, b"PAR1 and no more").unwrap();
        assert!(read(&path).unwrap_err().contains("no readable Parquet file"));
        assert!(read(Path::new("absent.parquet")).unwrap_err().contains("cannot read absent"));
    }
}
