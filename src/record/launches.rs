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
use parquet::record::{Field, RowAccessor};
use parquet::schema::parser::parse_message_type;
use thiserror::Error;

use crate::atomic_file::write_atomically;
use crate::measure::SampleTimes;
use crate::protocol::Clock;

/// One row a sample: configuration, position in its sequence from 0, times by both clocks.
const SCHEMA: &str = "message launches {
    required byte_array id (UTF8);
    required int32 launch;
    required double host_ns;
    optional double device_ns;
}";

/// Rows a row group holds at least, before a new one is begun at a configuration's end: large
/// enough to compress well, small enough to be built in memory.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// Samples by configuration id, each in the order taken.
pub type Launches = BTreeMap<String, SampleTimes>;

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

/// Writes the samples of each configuration.
pub(super) fn write<'a>(
    path: &Path,
    launches: impl Iterator<Item = (&'a str, &'a SampleTimes)>,
) -> Result<(), LaunchesError> {
    write_atomically(path, |out| write_parquet(out, launches).map_err(io::Error::other))
        .map_err(LaunchesError::Write)
}

fn write_parquet<'a>(
    out: &mut (dyn io::Write + Send),
    launches: impl Iterator<Item = (&'a str, &'a SampleTimes)>,
) -> Result<(), ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
    let mut rows = Rows::default();
    for (id, times) in launches {
        rows.ids.extend(std::iter::repeat_n(ByteArray::from(id), times.len()));
        rows.launches.extend(0..times.len() as i32);
        rows.host_ns.extend(&times.host_ns);
        rows.device_ns.extend(&times.device_ns);
        // a device has a clock or has none: all of a configuration's samples, or none
        let defined = i16::from(!times.device_ns.is_empty());
        rows.device_defined.extend(std::iter::repeat_n(defined, times.len()));
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
    host_ns: Vec<f64>,
    device_ns: Vec<f64>,
    /// For each row 1 where it has a device time, 0 where it has none.
    device_defined: Vec<i16>,
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
        write_column::<ByteArrayType, W>(&mut group, &self.ids, None)?;
        write_column::<Int32Type, W>(&mut group, &self.launches, None)?;
        write_column::<DoubleType, W>(&mut group, &self.host_ns, None)?;
        write_column::<DoubleType, W>(&mut group, &self.device_ns, Some(&self.device_defined))?;
        group.close().map(drop)
    }
}

fn write_column<T: DataType, W: io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    defined: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("the schema has too few columns".to_owned()))?;
    column.typed::<T>().write_batch(values, defined, None)?;
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
        let reason = "the columns are not id, launch, host_ns and device_ns".to_owned();
        return Err(LaunchesError::Row { path: path.to_owned(), row: 0, reason });
    }
    let mut launches = Launches::new();
    for (index, row) in reader.get_row_iter(None).map_err(damaged)?.enumerate() {
        let row = row.map_err(damaged)?;
        let id = row.get_string(0).map_err(damaged)?;
        let (launch, host_ns) =
            (row.get_int(1).map_err(damaged)?, row.get_double(2).map_err(damaged)?);
        let device_ns = match row.get_column_iter().nth(3) {
            Some((_, Field::Double(device_ns))) => Some(*device_ns),
            _ => None,
        };
        // the id is copied once a configuration, not once a launch
        if !launches.contains_key(id) {
            launches.insert(id.clone(), SampleTimes::default());
        }
        let Some(of_id) = launches.get_mut(id) else { continue };
        if let Some(reason) = wrong(of_id, id, launch, host_ns, device_ns) {
            return Err(LaunchesError::Row { path: path.to_owned(), row: index, reason });
        }
        of_id.host_ns.push(host_ns);
        of_id.device_ns.extend(device_ns);
    }
    Ok(launches)
}

/// What keeps a row from being the next of its configuration.
fn wrong(
    before: &SampleTimes,
    id: &str,
    launch: i32,
    host_ns: f64,
    device_ns: Option<f64>,
) -> Option<String> {
    if launch as usize != before.len() {
        return Some(format!("launch is {launch}, expected {} for {id}", before.len()));
    }
    if !before.is_empty() && before.device_ns.is_empty() != device_ns.is_none() {
        return Some(format!("device_ns is there for some launches of {id} only"));
    }
    let times = [(Clock::Host, Some(host_ns)), (Clock::Device, device_ns)];
    times.into_iter().find_map(|(clock, time_ns)| {
        let time_ns = time_ns.filter(|ns| !(ns.is_finite() && *ns > 0.0))?;
        Some(format!("{clock}_ns is {time_ns}, expected finite and > 0"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write_all(path: &Path, launches: &Launches) -> Result<(), LaunchesError> {
        write(path, launches.iter().map(|(id, times)| (id.as_str(), times)))
    }

    fn samples() -> impl Strategy<Value = SampleTimes> {
        let time = || 1e-3f64..1e12;
        prop_oneof![
            prop::collection::vec(time(), 1..40)
                .prop_map(|host_ns| SampleTimes { host_ns, device_ns: Vec::new() }),
            prop::collection::vec((time(), time()), 1..40).prop_map(|times| {
                let (host_ns, device_ns) = times.into_iter().unzip();
                SampleTimes { host_ns, device_ns }
            }),
        ]
    }

    fn one(host_ns: &[f64], device_ns: &[f64]) -> Launches {
        let times = SampleTimes { host_ns: host_ns.to_vec(), device_ns: device_ns.to_vec() };
        Launches::from([("A/x".to_owned(), times)])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn launches_read_back_to_the_same_bits(
            launches in prop::collection::btree_map("[A-G]/[a-z0-9_=]{1,20}", samples(), 0..12)
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
        let good = one(&[1.0, 2.0], &[0.5, 0.6]);
        write_all(&path, &good).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("launches.parquet"), "{error}");
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            write_all(&path, &one(&[1.0, bad], &[])).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("row 1: host_ns is"), "{error}");
            write_all(&path, &one(&[1.0, 1.0], &[bad, 1.0])).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("row 0: device_ns is"), "{error}");
        }
        assert!(matches!(read(&folder.path().join("none")), Err(LaunchesError::Io { .. })));
    }
}
