//! The columns of a Parquet dataset that a fit needs, a batch of rows at a time.
//!
//! Decoding all columns of a row takes microseconds and hundreds of bytes, and a sweep has millions
//! of rows. This reader keeps only one batch, and does not decode texts.

use std::path::Path;

use alpha_flops::columns::{Column, Unread};
use alpha_flops::shape::ConvShape;
use parquet::basic::{Encoding, Repetition, Type as PhysicalType};
use parquet::column::page::Page;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};

use super::parquet_file::{ParquetFile, refused};
use super::row::{PROVENANCE, Problem, check_text, check_time};
use super::{DatasetError, Provenance};

/// The columns of a row that a fit needs.
#[derive(Default)]
struct Row {
    dimensions: [u64; 5],
    median_ns: Option<f64>,
    mean_ns: Option<f64>,
}

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
    let file = ParquetFile::open(path)?;
    if file.reader.metadata().file_metadata().num_rows() == 0 {
        return Err(DatasetError::Empty { path: path.to_owned() });
    }
    let mut texts: [Option<String>; 5] = [const { None }; 5];
    let mut before = 0;
    for index in 0..file.reader.num_row_groups() {
        let damaged = |error| refused(path, Unread::File(error));
        let group = file.reader.get_row_group(index).map_err(damaged)?;
        for (column, first) in PROVENANCE.into_iter().zip(&mut texts) {
            match only_text(&*group, column).map_err(damaged)? {
                Some(text) => {
                    check_equal(column, before, &text, first)
                        .map_err(|unread| refused(path, unread))?;
                }
                None => {
                    let texts = [Column::<ByteArray>::new(column, |text| text)];
                    file.read(Some(index), &texts, |texts| {
                        let mut rows = texts.iter().enumerate();
                        rows.try_for_each(|(row, text)| check_equal(column, row, text, first))
                    })?;
                }
            }
        }
        before += group.metadata().num_rows() as usize;
    }
    let [source, backend, device, versions, protocol] = texts.map(Option::unwrap_or_default);
    let mut state = start(Provenance { source, backend, device, versions, protocol });
    let columns = [
        Column::<Row>::new("height", |row| &mut row.dimensions[0]),
        Column::<Row>::new("width", |row| &mut row.dimensions[1]),
        Column::<Row>::new("in_channels", |row| &mut row.dimensions[2]),
        Column::<Row>::new("out_channels", |row| &mut row.dimensions[3]),
        Column::<Row>::new("kernel", |row| &mut row.dimensions[4]),
        Column::<Row>::new("median_ns", |row| &mut row.median_ns),
        Column::<Row>::new("mean_ns", |row| &mut row.mean_ns),
    ];
    file.read(None, &columns, |rows| {
        for (index, row) in rows.iter().enumerate() {
            let (shape, latency) = row.latency().map_err(|problem| Unread::Row(index, problem))?;
            visit(&mut state, &shape, latency);
        }
        Ok(())
    })?;
    Ok(state)
}

impl Row {
    fn latency(&self) -> Result<(ConvShape, f64), Problem> {
        for (column, ns) in [("median_ns", self.median_ns), ("mean_ns", self.mean_ns)] {
            ns.map_or(Ok(()), |ns| check_time(column, ns))?;
        }
        let [height, width, in_channels, out_channels, kernel] = self.dimensions;
        let shape = ConvShape::new(height, width, in_channels, out_channels, kernel)?;
        Ok((shape, self.median_ns.or(self.mean_ns).ok_or(Problem::NoLatency)?))
    }
}

/// The text that all rows share, if that can be seen without decoding the pages: the dictionary has one
/// entry, every page uses it, and no row lacks a value. `None` if it cannot be seen.
fn only_text(group: &dyn RowGroupReader, name: &str) -> Result<Option<ByteArray>, ParquetError> {
    let mut columns = group.metadata().columns().iter();
    let Some(at) = columns.position(|chunk| chunk.column_path().parts() == [name]) else {
        return Ok(None);
    };
    let column = group.metadata().column(at);
    let required = column.column_descr().self_type().get_basic_info().repetition();
    let nulls = column.statistics().and_then(|statistics| statistics.null_count_opt());
    if column.column_type() != PhysicalType::BYTE_ARRAY
        || required != Repetition::REQUIRED && nulls != Some(0)
    {
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

/// A text must be `first`, which the first row of the file sets.
fn check_equal(
    column: &'static str,
    row: usize,
    text: &ByteArray,
    first: &mut Option<String>,
) -> Result<(), Unread<Problem>> {
    let known = first.as_deref().map(str::as_bytes);
    if known == Some(text.data()) {
        return Ok(());
    }
    let got = text.as_utf8()?;
    check_text(column, got).map_err(|problem| Unread::Row(row, problem))?;
    match first {
        None => *first = Some(got.to_owned()),
        Some(first) => {
            let (got, first) = (got.to_owned(), first.clone());
            return Err(Unread::Row(row, Problem::Mixed { column, got, first }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Latency, Observation};
    use super::*;
    use crate::fixtures::datasets::provenance;
    use alpha_flops::columns::BATCH;

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
