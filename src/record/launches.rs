//! `launches.parquet`: every raw launch of a run.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parquet::data_type::ByteArray;

use super::RunHeader;
use crate::columns::{Column, Packing, ParquetFile, Table, Unread};
use crate::file_error::FileError;
use crate::measure::{DroppedSample, SampleTimes};
use crate::protocol::Clock;
use crate::store::parquet::{check_columns, open_parquet, read_parquet, write_parquet, wrong_row};

/// A sample: configuration, position in its sequence from 0, times by both clocks.
#[derive(Default)]
struct Row {
    id: ByteArray,
    launch: i32,
    /// From 1; 0 in files from before there were passes, where all is one.
    pass: i32,
    /// 1 where it does not count.
    dropped: i32,
    host_ns: f64,
    /// A device has a clock or has none: all of a configuration's samples have one, or none.
    device_ns: Option<f64>,
}

fn table() -> Table<Row> {
    let columns = vec![
        Column::<Row>::new("id", |row| &mut row.id),
        Column::<Row>::new("launch", |row| &mut row.launch),
        Column::<Row>::new("pass", |row| &mut row.pass),
        Column::<Row>::new("dropped", |row| &mut row.dropped),
        Column::<Row>::new("host_ns", |row| &mut row.host_ns),
        Column::<Row>::new("device_ns", |row| &mut row.device_ns),
    ];
    Table { name: "launches", text: "UTF8", packing: Packing::Quick, columns }
}

/// The table as it was before there were passes, in runs of schema 2.
fn table_without_passes() -> Table<Row> {
    let mut table = table();
    table.columns.retain(|column| !["pass", "dropped"].contains(&column.name));
    table
}

/// The table that a file is of.
fn table_of(path: &Path, file: &ParquetFile) -> Result<Table<Row>, FileError> {
    let newer = table();
    let Err(error) = check_columns(path, file, &newer) else { return Ok(newer) };
    let older = table_without_passes();
    check_columns(path, file, &older).map(|()| older).map_err(|_| error)
}

/// Rows a row group holds at least, before a new one is begun at a configuration's end: large
/// enough to compress well, small enough to be built in memory.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// Samples by configuration id, in the order taken.
pub type Launches = BTreeMap<String, SampleTimes>;

/// Writes the samples of each configuration, a row group in memory at a time.
pub(super) fn write(
    path: &Path,
    mut launches: impl Iterator<Item = (impl AsRef<str>, impl Borrow<SampleTimes>)>,
) -> Result<(), FileError> {
    let groups = std::iter::from_fn(|| {
        let mut rows = Vec::new();
        while rows.len() < ROW_GROUP_ROWS
            && let Some((id, times)) = launches.next()
        {
            rows.extend(rows_of(id.as_ref(), times.borrow()));
        }
        (!rows.is_empty()).then_some(rows)
    });
    write_parquet::<RunHeader, _>(path, &table(), Vec::new(), groups)
}

/// The samples in the order taken, whether they count or not.
fn rows_of(id: &str, times: &SampleTimes) -> Vec<Row> {
    let id = ByteArray::from(id);
    let row = |pass: u32, dropped, host_ns, device_ns| Row {
        id: id.clone(),
        launch: 0,
        pass: pass as i32,
        dropped,
        host_ns,
        device_ns,
    };
    let mut dropped = times.dropped.iter().peekable();
    let mut rows = Vec::with_capacity(times.len() + times.dropped.len());
    for index in 0..=times.len() {
        while let Some(sample) = dropped.next_if(|sample| sample.after <= index) {
            rows.push(row(sample.pass, 1, sample.host_ns, sample.device_ns));
        }
        if let Some(host_ns) = times.host_ns.get(index) {
            let pass = times.pass.get(index).copied().unwrap_or(1);
            rows.push(row(pass, 0, *host_ns, times.device_ns.get(index).copied()));
        }
    }
    (0..).zip(&mut rows).for_each(|(launch, row)| row.launch = launch);
    rows
}

/// `launches.parquet`, read one row group at a time. Each holds whole configurations, so that threads
/// can read row groups in parallel.
#[derive(Debug)]
pub struct LaunchesFile {
    path: PathBuf,
    groups: usize,
}

impl LaunchesFile {
    /// Opens the `launches.parquet` of a finished run.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let file = open_parquet(path, ParquetFile::open)?;
        table_of(path, &file)?;
        let groups = file.groups();
        Ok(Self { path: path.to_owned(), groups })
    }

    /// Number of row groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The configurations of one row group, in the file's order. The caller must check that none of
    /// them is in another group, too.
    ///
    /// # Errors
    /// [`FileError`] where the group is missing or damaged, or a row is not the next of its
    /// configuration.
    pub fn read(&self, group: usize) -> Result<Vec<(String, SampleTimes)>, FileError> {
        if group >= self.groups {
            let cause = format!("no row group {group}, expected one below {}", self.groups);
            return Err(FileError::read(&self.path, cause));
        }
        // opened anew: clones of one `File` share the position they read from
        let reader = open_parquet(&self.path, ParquetFile::open_again)?;
        let table = table_of(&self.path, &reader)?;
        let mut configurations = Vec::new();
        let mut last = None;
        read_parquet(&self.path, &reader, group..group + 1, &table, |rows| {
            collect(rows, &mut last, &mut configurations)
        })?;
        // where all is of the first pass, there is nothing to tell apart
        for (_, times) in &mut configurations {
            if times.pass.last() == Some(&1) {
                times.pass.clear();
            }
        }
        Ok(configurations)
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
                    let reason = format!("{id} comes back after another id");
                    return Err(wrong_row(&self.path, row, &reason));
                }
                launches.insert(id, times);
                row += rows;
            }
        }
        Ok(launches)
    }
}

/// Adds the rows of a batch to the configurations before; the one of the batch before it may go on.
fn collect(
    rows: &[Row],
    last_id: &mut Option<ByteArray>,
    configurations: &mut Vec<(String, SampleTimes)>,
) -> Result<(), Unread<String>> {
    let mut row = 0;
    for rows_of_id in rows.chunk_by(|a, b| same_id(&a.id, &b.id)) {
        let id = &rows_of_id[0].id;
        if last_id.as_ref().is_none_or(|last| !same_id(last, id)) {
            let text = id.as_utf8().map_err(|error| Unread::Row(row, format!("id: {error}")))?;
            configurations.push((text.to_owned(), SampleTimes::default()));
            *last_id = Some(id.clone());
        }
        let Some((id, times)) = configurations.last_mut() else { continue };
        times.host_ns.reserve(rows_of_id.len());
        for sample in rows_of_id {
            if let Some(reason) = wrong(times, id, sample) {
                return Err(Unread::Row(row, reason));
            }
            let Row { host_ns, device_ns, .. } = *sample;
            let pass = sample.pass.max(1) as u32;
            if sample.dropped == 0 {
                times.host_ns.push(host_ns);
                times.device_ns.extend(device_ns);
                times.pass.push(pass);
            } else {
                let after = times.len();
                times.dropped.push(DroppedSample { after, pass, host_ns, device_ns });
            }
            row += 1;
        }
    }
    Ok(())
}

/// Whether two ids are equal; those of one configuration are mostly the same bytes in memory.
fn same_id(a: &ByteArray, b: &ByteArray) -> bool {
    std::ptr::eq(a.data(), b.data()) || a.data() == b.data()
}

/// What is wrong with a row as the next of its configuration.
fn wrong(before: &SampleTimes, id: &str, row: &Row) -> Option<String> {
    let Row { launch, pass, dropped, host_ns, device_ns, .. } = *row;
    let expected = before.len() + before.dropped.len();
    if launch as usize != expected {
        return Some(format!("launch is {launch}, expected {expected} for {id}"));
    }
    let last_pass = before.pass.iter().copied().chain(before.dropped.iter().map(|one| one.pass));
    let last_pass = last_pass.max().unwrap_or(0) as i32;
    if pass < 0 || pass.max(1) < last_pass {
        return Some(format!("pass is {pass} after {last_pass} for {id}"));
    }
    if ![0, 1].contains(&dropped) {
        return Some(format!("dropped is {dropped}, expected 0 or 1"));
    }
    let had_device_ns = match before.dropped.first() {
        Some(first) => first.device_ns.is_some(),
        None => !before.device_ns.is_empty(),
    };
    if expected > 0 && had_device_ns != device_ns.is_some() {
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
    use crate::flipped_bits::check_flips;

    fn write_all(path: &Path, launches: &Launches) -> Result<(), FileError> {
        write(path, launches.iter())
    }

    fn read(path: &Path) -> Result<Launches, FileError> {
        LaunchesFile::open(path)?.read_all()
    }

    /// Of some passes, some of the samples dropped.
    fn samples() -> impl Strategy<Value = SampleTimes> {
        let time = || 1e-3f64..1e12;
        let sample = (time(), time(), prop::bool::weighted(0.2));
        let passes = prop::collection::vec((1u32..4, prop::collection::vec(sample, 1..9)), 1..6);
        (passes, any::<bool>()).prop_map(|(mut passes, has_device)| {
            passes.sort_by_key(|(pass, _)| *pass);
            let mut times = SampleTimes::default();
            for (pass, samples) in passes {
                for (host_ns, device_ns, is_dropped) in samples {
                    let device_ns = has_device.then_some(device_ns);
                    if is_dropped {
                        let after = times.len();
                        times.dropped.push(DroppedSample { after, pass, host_ns, device_ns });
                    } else {
                        times.host_ns.push(host_ns);
                        times.device_ns.extend(device_ns);
                        times.pass.push(pass);
                    }
                }
            }
            if times.pass.last() == Some(&1) {
                times.pass.clear();
            }
            times
        })
    }

    fn one(host_ns: &[f64], device_ns: &[f64]) -> Launches {
        let times = SampleTimes {
            host_ns: host_ns.to_vec(),
            device_ns: device_ns.to_vec(),
            ..SampleTimes::default()
        };
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
    fn files_from_before_there_were_passes_are_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.parquet");
        let mut rows = rows_of("A/x", &thousand(1.0));
        rows.iter_mut().for_each(|row| row.pass = 0);
        write_parquet::<RunHeader, _>(&path, &table_without_passes(), Vec::new(), [rows]).unwrap();
        assert_eq!(read(&path).unwrap(), Launches::from([("A/x".to_owned(), thousand(1.0))]));
    }

    #[test]
    fn passes_that_go_back_and_other_marks_than_0_and_1_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.parquet");
        let refused = |change: fn(&mut [Row])| {
            let mut rows = rows_of("A/x", &thousand(1.0));
            change(&mut rows);
            write_parquet::<RunHeader, _>(&path, &table(), Vec::new(), [rows]).unwrap();
            read(&path).unwrap_err().to_string()
        };
        let error = refused(|rows| rows[7].pass = 2);
        assert!(error.contains("row 8: pass is 1 after 2 for A/x"), "{error}");
        let error = refused(|rows| rows[7].pass = -1);
        assert!(error.contains("row 7: pass is -1"), "{error}");
        let error = refused(|rows| rows[7].dropped = 2);
        assert!(error.contains("row 7: dropped is 2, expected 0 or 1"), "{error}");
        let error = refused(|rows| rows[7].device_ns = None);
        assert!(
            error.contains("row 7: device_ns is there for some launches of A/x only"),
            "{error}"
        );
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
        SampleTimes {
            device_ns: host_ns.iter().map(|ns| ns / 2.0).collect(),
            host_ns,
            ..SampleTimes::default()
        }
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
    fn a_flipped_bit_changes_no_launch_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launches.parquet");
        write_all(&path, &one(&[1.0, 2.0, 3.0], &[0.5, 0.6, 0.7])).unwrap();
        check_flips(&path, 1500, || read(&path).map_err(|error| error.to_string()));
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
