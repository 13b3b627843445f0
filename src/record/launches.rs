//! `launches.parquet`: every raw launch of a run.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader};

use super::RunHeader;
use crate::file_error::FileError;
use crate::measure::SampleTimes;
use crate::protocol::Clock;
use crate::store::parquet::{FileWriter, damaged, open_parquet, write_column, write_parquet};

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

/// Samples by configuration id, in the order taken.
pub type Launches = BTreeMap<String, SampleTimes>;

/// Writes the samples of each configuration, a row group in memory at a time.
pub(super) fn write(
    path: &Path,
    launches: impl Iterator<Item = (impl AsRef<str>, impl Borrow<SampleTimes>)>,
) -> Result<(), FileError> {
    write_parquet::<RunHeader>(path, SCHEMA, None, |file| {
        let mut rows = Rows::default();
        for (id, times) in launches {
            let times = times.borrow();
            rows.ids.extend(std::iter::repeat_n(ByteArray::from(id.as_ref()), times.len()));
            rows.launches.extend(0..times.len() as i32);
            rows.host_ns.extend(&times.host_ns);
            rows.device_ns.extend(&times.device_ns);
            // a device has a clock or has none: all of a configuration's samples, or none
            let defined = i16::from(!times.device_ns.is_empty());
            rows.device_defined.extend(std::iter::repeat_n(defined, times.len()));
            if rows.ids.len() >= ROW_GROUP_ROWS {
                std::mem::take(&mut rows).write(file)?;
            }
        }
        rows.write(file)
    })
}

/// Columns of a row group.
#[derive(Default)]
struct Rows {
    ids: Vec<ByteArray>,
    launches: Vec<i32>,
    host_ns: Vec<f64>,
    /// Only of the rows that have one.
    device_ns: Vec<f64>,
    /// For each row 1 where it has a device time, 0 where it has none.
    device_defined: Vec<i16>,
}

impl Rows {
    fn write(self, file: &mut FileWriter<'_>) -> Result<(), ParquetError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let mut group = file.next_row_group()?;
        write_column::<ByteArrayType>(&mut group, &self.ids, None)?;
        write_column::<Int32Type>(&mut group, &self.launches, None)?;
        write_column::<DoubleType>(&mut group, &self.host_ns, None)?;
        write_column::<DoubleType>(&mut group, &self.device_ns, Some(&self.device_defined))?;
        group.close().map(drop)
    }

    fn read(group: &dyn RowGroupReader) -> Result<Self, ParquetError> {
        let mut rows = Self::default();
        read_column::<ByteArrayType>(group, 0, &mut rows.ids, None)?;
        read_column::<Int32Type>(group, 1, &mut rows.launches, None)?;
        read_column::<DoubleType>(group, 2, &mut rows.host_ns, None)?;
        read_column::<DoubleType>(group, 3, &mut rows.device_ns, Some(&mut rows.device_defined))?;
        Ok(rows)
    }

    /// The samples of each id in turn, or the first wrong row with what is wrong.
    fn configurations(&self) -> Result<Vec<(String, SampleTimes)>, (usize, String)> {
        let mut configurations = Vec::new();
        let mut device_ns = self.device_ns.iter().copied();
        let mut row = 0;
        for rows_of_id in self.ids.chunk_by(same_id) {
            let id = rows_of_id[0].as_utf8().map_err(|error| (row, format!("id: {error}")))?;
            let mut times = SampleTimes::default();
            times.host_ns.reserve_exact(rows_of_id.len());
            for _ in rows_of_id {
                let device_ns = if self.device_defined[row] == 1 { device_ns.next() } else { None };
                let (launch, host_ns) = (self.launches[row], self.host_ns[row]);
                if let Some(reason) = wrong(&times, id, launch, host_ns, device_ns) {
                    return Err((row, reason));
                }
                times.host_ns.push(host_ns);
                times.device_ns.extend(device_ns);
                row += 1;
            }
            configurations.push((id.to_owned(), times));
        }
        Ok(configurations)
    }
}

/// `launches.parquet`, read one row group at a time. Each holds whole configurations, so that threads
/// can read row groups in parallel.
#[derive(Debug)]
pub struct LaunchesFile {
    path: PathBuf,
    /// Rows before each row group.
    rows_before: Vec<usize>,
}

impl LaunchesFile {
    /// Opens the `launches.parquet` of a finished run.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let reader = open_parquet(path, SCHEMA)?;
        let metadata = reader.metadata();
        let rows_before = metadata.row_groups().iter().scan(0usize, |rows, group| {
            let before = *rows;
            *rows = rows.saturating_add(group.num_rows() as usize);
            Some(before)
        });
        Ok(Self { path: path.to_owned(), rows_before: rows_before.collect() })
    }

    /// Number of row groups.
    pub fn groups(&self) -> usize {
        self.rows_before.len()
    }

    /// The configurations of one row group, in the file's order. The caller must check that none of
    /// them is in another group, too.
    ///
    /// # Errors
    /// [`FileError`] where the group is missing or damaged, or a row is not the next of its
    /// configuration.
    pub fn read(&self, group: usize) -> Result<Vec<(String, SampleTimes)>, FileError> {
        let damaged = |error: ParquetError| damaged(&self.path, &error);
        let Some(rows_before) = self.rows_before.get(group) else {
            let cause = format!("no row group {group}, expected one below {}", self.groups());
            return Err(FileError::read(&self.path, cause));
        };
        // opened anew: clones of one `File` share the position they read from
        let reader = open_parquet(&self.path, SCHEMA)?;
        let group = reader.get_row_group(group).map_err(damaged)?;
        let rows = Rows::read(group.as_ref()).map_err(damaged)?;
        rows.configurations().map_err(|(row, reason)| self.wrong_row(rows_before + row, &reason))
    }

    /// Every configuration in memory.
    ///
    /// # Errors
    /// As [`read`](Self::read), and where the rows of a configuration are not together.
    pub fn read_all(&self) -> Result<Launches, FileError> {
        let mut launches = Launches::new();
        let mut row = 0;
        for group in 0..self.groups() {
            for (id, times) in self.read(group)? {
                let rows = times.len();
                if launches.contains_key(&id) {
                    return Err(self.wrong_row(row, &format!("{id} comes back after another id")));
                }
                launches.insert(id, times);
                row += rows;
            }
        }
        Ok(launches)
    }

    fn wrong_row(&self, row: usize, reason: &str) -> FileError {
        FileError::read(&self.path, format!("row {row}: {reason}"))
    }
}

fn read_column<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    values: &mut Vec<T::T>,
    defined: Option<&mut Vec<i16>>,
) -> Result<(), ParquetError> {
    let expected = group.metadata().num_rows() as usize;
    let chunk = group.metadata().column(column);
    let begins = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    // the library does not check these, and panics
    if begins < 0 || chunk.compressed_size() < 0 {
        return Err(ParquetError::General(format!(
            "column {column} has no valid place in the file"
        )));
    }
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(column)?);
    let (found, _, _) = reader.read_records(expected, defined, None, values)?;
    match found == expected {
        true => Ok(()),
        false => Err(ParquetError::General(format!(
            "column {column} has {found} rows, expected {expected}"
        ))),
    }
}

/// Whether two ids are equal; those of one configuration are mostly the same bytes in memory.
fn same_id(a: &ByteArray, b: &ByteArray) -> bool {
    std::ptr::eq(a.data(), b.data()) || a.data() == b.data()
}

/// What is wrong with a row as the next of its configuration.
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

    fn write_all(path: &Path, launches: &Launches) -> Result<(), FileError> {
        write(path, launches.iter())
    }

    fn read(path: &Path) -> Result<Launches, FileError> {
        LaunchesFile::open(path)?.read_all()
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
        assert!(
            read(&folder.path().join("none")).unwrap_err().kind()
                == Some(std::io::ErrorKind::NotFound)
        );
    }
    /// A thousand launches by both clocks, told apart by `first_ns`.
    fn thousand(first_ns: f64) -> SampleTimes {
        let host_ns: Vec<f64> = (0..1000).map(|launch| first_ns + f64::from(launch)).collect();
        SampleTimes { device_ns: host_ns.iter().map(|ns| ns / 2.0).collect(), host_ns }
    }

    #[test]
    fn each_row_group_holds_whole_configurations_in_the_order_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.parquet");
        // a row group is full with the 263rd
        let expected: Vec<_> =
            (0..300).rev().map(|i| (format!("A/{i}"), thousand(f64::from(i + 1)))).collect();
        write(&path, expected.iter().map(|(id, times)| (id, times))).unwrap();
        let file = LaunchesFile::open(&path).unwrap();
        assert_eq!(file.groups(), 2);
        let groups = [file.read(0).unwrap(), file.read(1).unwrap()];
        assert_eq!(groups[0].len(), 263);
        assert!(groups.concat() == expected, "other launches than were written");
        assert!(file.read(2).is_err());
    }

    #[test]
    fn ids_that_come_back_and_rows_of_later_groups_are_told_by_their_row_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.parquet");
        let small = |ids: [&str; 3]| write(&path, ids.map(|id| (id, thousand(1.0))).into_iter());
        small(["A/x", "A/y", "A/x"]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("row 2000: A/x comes back after another id"), "{error}");
        // the same id twice in a row is one configuration that does not go on
        small(["A/x", "A/x", "A/y"]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("row 1000: launch is 0, expected 1000 for A/x"), "{error}");
        let mut all: Vec<_> = (0..264).map(|i| (format!("A/{i}"), thousand(1.0))).collect();
        all[263].1.host_ns[5] = f64::NAN;
        write(&path, all.into_iter()).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("row 263005: host_ns is NaN"), "{error}");
    }

    #[test]
    fn a_damaged_byte_is_an_error_or_changes_nothing_but_never_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.parquet");
        write_all(&path, &one(&[1.0, 2.0, 3.0], &[0.5, 0.6, 0.7])).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x55;
            std::fs::write(&path, damaged).unwrap();
            let _ = read(&path);
        }
    }
}
