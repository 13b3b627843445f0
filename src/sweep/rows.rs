//! A part of a sweep as Parquet: what became of each of its configurations, in the order measured.

use std::path::Path;

use parquet::file::metadata::KeyValue;

use super::header::SweepHeader;
use super::point::{PointOutcome, Skip, Spread, SweepPoint};
use crate::columns::{Column, Packing, ParquetFile, Table, Unread};
use crate::file_error::FileError;
use crate::shape::ConvShape;
use crate::store::parquet::{check_columns, open_parquet, read_parquet, write_parquet};

/// A row is a configuration that was measured, skipped or tried. Times are of one launch, in
/// nanoseconds: with `throughput` the mean over launches back to back, with `latency` the median of
/// single ones. Quartiles are by the protocol's clock, and only present with `latency`.
#[derive(Default)]
struct Row {
    position: u64,
    dimensions: [i32; 5],
    status: String,
    reason: Option<String>,
    detail: Option<String>,
    algorithm: Option<String>,
    launches: Option<i32>,
    host_ns: Option<f64>,
    device_ns: Option<f64>,
    mean_ns: Option<f64>,
    q1_ns: Option<f64>,
    q3_ns: Option<f64>,
    outliers_mild: Option<u64>,
    outliers_severe: Option<u64>,
    wall_s: f64,
    session: i32,
}

fn table() -> Table<Row> {
    let columns = vec![
        Column::<Row>::new("position", |row| &mut row.position),
        Column::<Row>::new("height", |row| &mut row.dimensions[0]),
        Column::<Row>::new("width", |row| &mut row.dimensions[1]),
        Column::<Row>::new("in_channels", |row| &mut row.dimensions[2]),
        Column::<Row>::new("out_channels", |row| &mut row.dimensions[3]),
        Column::<Row>::new("kernel", |row| &mut row.dimensions[4]),
        Column::<Row>::new("status", |row| &mut row.status),
        Column::<Row>::new("reason", |row| &mut row.reason),
        Column::<Row>::new("detail", |row| &mut row.detail),
        Column::<Row>::new("algorithm", |row| &mut row.algorithm),
        Column::<Row>::new("launches", |row| &mut row.launches),
        Column::<Row>::new("host_ns", |row| &mut row.host_ns),
        Column::<Row>::new("device_ns", |row| &mut row.device_ns),
        Column::<Row>::new("mean_ns", |row| &mut row.mean_ns),
        Column::<Row>::new("q1_ns", |row| &mut row.q1_ns),
        Column::<Row>::new("q3_ns", |row| &mut row.q3_ns),
        Column::<Row>::new("outliers_mild", |row| &mut row.outliers_mild),
        Column::<Row>::new("outliers_severe", |row| &mut row.outliers_severe),
        Column::<Row>::new("wall_s", |row| &mut row.wall_s),
        Column::<Row>::new("session", |row| &mut row.session),
    ];
    Table { name: "sweep", text: "UTF8", packing: Packing::Quick, columns }
}

/// More than 30 years, so that sums of such times are durations, too.
const MOST_WALL_S: f64 = 1e9;

/// The key of the file's metadata that says which sweep it is of.
const SWEEP_ID: &str = "sweep_id";

/// Writes a part of the sweep `sweep_id`, whole or not at all.
pub(super) fn write(path: &Path, sweep_id: &str, points: &[SweepPoint]) -> Result<(), FileError> {
    let id = KeyValue::new(SWEEP_ID.to_owned(), sweep_id.to_owned());
    let rows = points.iter().map(Row::from).collect();
    write_parquet::<SweepHeader, _>(path, &table(), vec![id], [rows])
}

impl From<&SweepPoint> for Row {
    fn from(point: &SweepPoint) -> Self {
        let mut row = Self {
            position: point.position.into(),
            dimensions: point.shape.dimensions().map(|side| side as i32),
            status: point.outcome.status().to_owned(),
            wall_s: point.wall_s,
            session: point.session as i32,
            ..Self::default()
        };
        match &point.outcome {
            PointOutcome::Measured { algorithm, launches, host_ns, device_ns, spread } => {
                row.algorithm = Some(algorithm.clone());
                row.launches = Some(*launches as i32);
                (row.host_ns, row.device_ns) = (Some(*host_ns), *device_ns);
                if let Some(spread) = spread {
                    row.mean_ns = Some(spread.mean_ns);
                    (row.q1_ns, row.q3_ns) = (Some(spread.q1_ns), Some(spread.q3_ns));
                    row.outliers_mild = Some(spread.outliers_mild);
                    row.outliers_severe = Some(spread.outliers_severe);
                }
            }
            PointOutcome::Skipped { reason, detail } => {
                row.reason = Some(reason.name().to_owned());
                row.detail = Some(detail.clone());
            }
            PointOutcome::Failed { detail } => row.detail = Some(detail.clone()),
        }
        row
    }
}

/// Reads what [`write`] wrote for the sweep `sweep_id`.
pub(super) fn read(path: &Path, sweep_id: &str) -> Result<Vec<SweepPoint>, FileError> {
    let table = table();
    let reader = open_parquet(path, ParquetFile::open)?;
    check_columns(path, &reader, &table)?;
    let metadata = reader.metadata().file_metadata();
    let ids = metadata.key_value_metadata().into_iter().flatten();
    let found = ids.filter(|pair| pair.key == SWEEP_ID).find_map(|pair| pair.value.as_deref());
    if found != Some(sweep_id) {
        let found = found.unwrap_or("none");
        let cause = format!("is of sweep {found}, expected {sweep_id}");
        return Err(FileError::read(path, cause));
    }
    let mut points = Vec::new();
    read_parquet(path, &reader, 0..reader.groups(), &table, |rows| {
        for (index, row) in rows.drain(..).enumerate() {
            points.push(row.understood().map_err(|reason| Unread::Row(index, reason))?);
        }
        Ok(())
    })?;
    Ok(points)
}

impl Row {
    /// The point in the row, which must hold what its status says.
    fn understood(self) -> Result<SweepPoint, String> {
        let spread = self.spread()?;
        let position = u32::try_from(self.position).map_err(|_| "position is out of range")?;
        let side = |index: usize| {
            u64::try_from(self.dimensions[index]).map_err(|_| "a dimension is missing")
        };
        let shape = ConvShape::new(side(0)?, side(1)?, side(2)?, side(3)?, side(4)?)
            .map_err(|error| error.to_string())?;
        let detail = self.detail.unwrap_or_default();
        let outcome = match (self.status.as_str(), self.reason.as_deref()) {
            ("measured", None) => PointOutcome::Measured {
                algorithm: self.algorithm.ok_or("algorithm is missing")?,
                launches: self.launches.and_then(whole).ok_or("launches is missing")?,
                host_ns: time("host_ns", self.host_ns.unwrap_or_default())?,
                device_ns: self.device_ns.map(|ns| time("device_ns", ns)).transpose()?,
                spread,
            },
            ("skipped", Some("memory")) => PointOutcome::Skipped { reason: Skip::Memory, detail },
            ("skipped", Some("budget")) => PointOutcome::Skipped { reason: Skip::Budget, detail },
            ("failed", None) => PointOutcome::Failed { detail },
            (status, reason) => {
                return Err(format!("status {:?} with reason {reason:?}", Some(status)));
            }
        };
        let wall_s = self.wall_s;
        if !(0.0..=MOST_WALL_S).contains(&wall_s) {
            return Err(format!("wall_s is {wall_s}, expected 0 to {MOST_WALL_S}"));
        }
        let session = whole(self.session).ok_or("session is out of range")?;
        Ok(SweepPoint { position, shape, outcome, wall_s, session })
    }

    /// How single launches scatter: all of it is there, or nothing.
    fn spread(&self) -> Result<Option<Spread>, String> {
        let times = [self.mean_ns, self.q1_ns, self.q3_ns];
        let outliers = [self.outliers_mild, self.outliers_severe];
        let spread = match (times, outliers) {
            ([None, None, None], [None, None]) => return Ok(None),
            ([Some(mean), Some(q1), Some(q3)], [Some(outliers_mild), Some(outliers_severe)]) => {
                let (mean_ns, q1_ns) = (time("mean_ns", mean)?, time("q1_ns", q1)?);
                let q3_ns = time("q3_ns", q3)?;
                Spread { mean_ns, q1_ns, q3_ns, outliers_mild, outliers_severe }
            }
            _ => return Err("of mean, quartiles and outliers, some are missing".to_owned()),
        };
        let outliers = spread.outliers_mild.saturating_add(spread.outliers_severe);
        let launches = self.launches.and_then(whole).unwrap_or_default();
        if spread.q1_ns > spread.q3_ns || outliers > launches.into() {
            return Err(format!(
                "quartiles {} and {} ns and {outliers} outliers of {launches} launches",
                spread.q1_ns, spread.q3_ns
            ));
        }
        Ok(Some(spread))
    }
}

fn whole(value: i32) -> Option<u32> {
    u32::try_from(value).ok()
}

fn time(name: &str, ns: f64) -> Result<f64, String> {
    match ns.is_finite() && ns > 0.0 {
        true => Ok(ns),
        false => Err(format!("{name} is {ns}, expected finite and > 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> Vec<SweepPoint> {
        let spread =
            Spread { mean_ns: 2.0, q1_ns: 1.0, q3_ns: 3.0, outliers_mild: 1, outliers_severe: 0 };
        let measured = |device_ns, spread| PointOutcome::Measured {
            algorithm: "tiled".to_owned(),
            launches: 50,
            host_ns: 1.5,
            device_ns,
            spread,
        };
        let skipped = |reason| PointOutcome::Skipped { reason, detail: "too large".to_owned() };
        let outcomes = [
            measured(None, None),
            measured(Some(0.5), Some(spread)),
            skipped(Skip::Memory),
            skipped(Skip::Budget),
            PointOutcome::Failed { detail: "lost".to_owned() },
        ];
        let shape = "h=1_w=2_in=10_out=20_k=3".parse().unwrap();
        (7..)
            .zip(outcomes)
            .map(|(position, outcome)| SweepPoint {
                position,
                shape,
                outcome,
                wall_s: 0.25,
                session: position / 9,
            })
            .collect()
    }

    #[test]
    fn visits_read_back_and_those_of_another_sweep_or_a_cut_file_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.parquet");
        write(&path, "this", &points()).unwrap();
        assert_eq!(read(&path, "this").unwrap(), points());
        let error = read(&path, "other").unwrap_err().to_string();
        assert!(error.contains("part.parquet: is of sweep this, expected other"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 3, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = read(&path, "this").unwrap_err().to_string();
            assert!(error.contains("part.parquet: damaged"), "{error}");
        }
    }

    #[test]
    fn rows_that_no_measurement_leaves_are_refused_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.parquet");
        let refused = |change: fn(&mut Row), expected: &str| {
            let mut rows: Vec<Row> = points().iter().map(Row::from).collect();
            change(&mut rows[1]);
            let id = KeyValue::new(SWEEP_ID.to_owned(), "this".to_owned());
            write_parquet::<SweepHeader, _>(&path, &table(), vec![id], [rows]).unwrap();
            let error = read(&path, "this").unwrap_err().to_string();
            assert!(error.contains(&format!("row 1: {expected}")), "{error}");
        };
        refused(|row| row.wall_s = 1.2e19, "wall_s is 12000000000000000000, expected 0 to");
        refused(|row| row.wall_s = f64::NAN, "wall_s is NaN");
        refused(|row| row.host_ns = Some(-1.0), "host_ns is -1, expected finite and > 0");
        refused(|row| row.host_ns = None, "host_ns is 0");
        refused(|row| row.device_ns = Some(f64::INFINITY), "device_ns is inf");
        refused(|row| row.q1_ns = Some(4.0), "quartiles 4 and 3 ns");
        refused(|row| row.q1_ns = None, "of mean, quartiles and outliers, some are missing");
        refused(|row| row.outliers_mild = Some(51), "quartiles 1 and 3 ns and 51 outliers of 50");
        refused(|row| row.launches = Some(-1), "quartiles 1 and 3 ns and 1 outliers of 0");
    }
}
