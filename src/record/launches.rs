//! `launches.parquet`: every raw launch of a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::RowAccessor;
use parquet::schema::parser::parse_message_type;
use thiserror::Error;

use crate::atomic_file::write_atomically;

/// One row a launch: configuration, position in its sequence from 0, latency.
const SCHEMA: &str = "message launches {
    required byte_array id (UTF8);
    required int32 launch;
    required double latency_ns;
}";

/// Rows a row group holds at least, before a new one is begun at a configuration's end: large
/// enough to compress well, small enough to be built in memory.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// Launches by configuration id, each in launch order.
pub type Launches = BTreeMap<String, Vec<f64>>;

/// `launches.parquet` cannot be written or read.
#[derive(Debug, Error)]
pub enum LaunchesError {
    /// The file cannot be written; the error names it.
    #[error(transparent)]
    Write(io::Error),
    /// The file cannot be opened.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Not a Parquet file, or a damaged one.
    #[error("{path}: {source}; the file is damaged or was not written by this program")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: ParquetError,
    },
    /// Parquet, but not these columns or rows.
    #[error("{path}: row {row}: {reason}")]
    Row {
        /// The file.
        path: PathBuf,
        /// From 0.
        row: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Writes the launches of each `(id, latencies in ns)`.
pub(super) fn write<'a>(
    path: &Path,
    launches: impl Iterator<Item = (&'a str, &'a [f64])>,
) -> Result<(), LaunchesError> {
    write_atomically(path, |out| write_parquet(out, launches).map_err(io::Error::other))
        .map_err(LaunchesError::Write)
}

fn write_parquet<'a>(
    out: &mut (dyn io::Write + Send),
    launches: impl Iterator<Item = (&'a str, &'a [f64])>,
) -> Result<(), ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
    let mut rows = Rows::default();
    for (id, latencies_ns) in launches {
        rows.ids.extend(std::iter::repeat_n(ByteArray::from(id), latencies_ns.len()));
        rows.launches.extend(0..latencies_ns.len() as i32);
        rows.latencies_ns.extend(latencies_ns);
        if rows.ids.len() >= ROW_GROUP_ROWS {
            std::mem::take(&mut rows).write(&mut file)?;
        }
    }
    rows.write(&mut file)?;
    file.close().map(drop)
}

/// Columns of rows not yet written.
#[derive(Default)]
struct Rows {
    ids: Vec<ByteArray>,
    launches: Vec<i32>,
    latencies_ns: Vec<f64>,
}

impl Rows {
    fn write<W: io::Write + Send>(
        self,
        file: &mut SerializedFileWriter<W>,
    ) -> Result<(), ParquetError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let mut group = file.next_row_group()?;
        write_column::<ByteArrayType, W>(&mut group, &self.ids)?;
        write_column::<Int32Type, W>(&mut group, &self.launches)?;
        write_column::<DoubleType, W>(&mut group, &self.latencies_ns)?;
        group.close().map(drop)
    }
}

fn write_column<T: DataType, W: io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has too few columns".to_owned()))?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

/// Reads what [`write`] wrote.
pub(super) fn read(path: &Path) -> Result<Launches, LaunchesError> {
    let damaged = |source| LaunchesError::Parquet { path: path.to_owned(), source };
    let file =
        File::open(path).map_err(|source| LaunchesError::Io { path: path.to_owned(), source })?;
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    let expected = parse_message_type(SCHEMA).map_err(damaged)?;
    let found = reader.metadata().file_metadata().schema_descr();
    if found.root_schema().get_fields() != expected.get_fields() {
        let reason = "the columns are not id, launch and latency_ns".to_owned();
        return Err(LaunchesError::Row { path: path.to_owned(), row: 0, reason });
    }
    let mut launches = Launches::new();
    for (index, row) in reader.get_row_iter(None).map_err(damaged)?.enumerate() {
        let row = row.map_err(damaged)?;
        let id = row.get_string(0).map_err(damaged)?;
        let (launch, latency_ns) =
            (row.get_int(1).map_err(damaged)?, row.get_double(2).map_err(damaged)?);
        // the id is copied once a configuration, not once a launch
        if !launches.contains_key(id) {
            launches.insert(id.clone(), Vec::new());
        }
        let Some(of_id) = launches.get_mut(id) else { continue };
        let reason = if launch as usize != of_id.len() {
            format!("launch is {launch}, expected {} for {id}", of_id.len())
        } else if !(latency_ns.is_finite() && latency_ns > 0.0) {
            format!("latency_ns is {latency_ns}, expected finite and > 0")
        } else {
            of_id.push(latency_ns);
            continue;
        };
        return Err(LaunchesError::Row { path: path.to_owned(), row: index, reason });
    }
    Ok(launches)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write_all(path: &Path, launches: &Launches) -> Result<(), LaunchesError> {
        write(path, launches.iter().map(|(id, latencies)| (id.as_str(), &latencies[..])))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn launches_read_back_to_the_same_bits(
            launches in prop::collection::btree_map(
                "[A-G]/[a-z0-9_=]{1,20}", prop::collection::vec(1e-3f64..1e12, 1..40), 0..12)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("launches.parquet");
            write_all(&path, &launches).unwrap();
            prop_assert_eq!(read(&path).unwrap(), launches);
        }
    }

    #[test]
    fn truncated_files_and_bad_rows_are_refused_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.parquet");
        let good = Launches::from([("A/x".to_owned(), vec![1.0, 2.0])]);
        write_all(&path, &good).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("launches.parquet"), "{error}");
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            write_all(&path, &Launches::from([("A/x".to_owned(), vec![1.0, bad])])).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("row 1: latency_ns is"), "{error}");
        }
        assert!(matches!(read(&folder.path().join("none")), Err(LaunchesError::Io { .. })));
    }
}
