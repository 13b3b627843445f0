//! A part of a sweep as Parquet: what became of each of its configurations, in the order measured.

use std::path::Path;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::FileReader;
use parquet::record::{Field, Row as Record};

use super::header::SweepHeader;
use super::point::{PointOutcome, Skip, Spread, SweepPoint};
use crate::file_error::FileError;
use crate::shape::ConvShape;
use crate::store::parquet::{GroupWriter, damaged, open_parquet, write_column, write_parquet};

/// A row is a configuration that was measured, skipped or tried. Times are of one launch, in
/// nanoseconds: with `throughput` the mean over launches back to back, with `latency` the median of
/// single ones. Quartiles are by the protocol's clock, and only present with `latency`.
const SCHEMA: &str = "message sweep {
    required int64 position;
    required int32 height;
    required int32 width;
    required int32 in_channels;
    required int32 out_channels;
    required int32 kernel;
    required byte_array status (UTF8);
    optional byte_array reason (UTF8);
    optional byte_array detail (UTF8);
    optional byte_array algorithm (UTF8);
    optional int32 launches;
    optional double host_ns;
    optional double device_ns;
    optional double mean_ns;
    optional double q1_ns;
    optional double q3_ns;
    optional int64 outliers_mild;
    optional int64 outliers_severe;
    required double wall_s;
    required int32 session;
}";

/// The key of the file's metadata that says which sweep it is of.
const SWEEP_ID: &str = "sweep_id";

/// Writes a part of the sweep `sweep_id`, whole or not at all.
pub(super) fn write(path: &Path, sweep_id: &str, points: &[SweepPoint]) -> Result<(), FileError> {
    let id = KeyValue::new(SWEEP_ID.to_owned(), sweep_id.to_owned());
    write_parquet::<SweepHeader>(path, SCHEMA, Some(vec![id]), |file| {
        let mut columns = Columns { group: file.next_row_group()?, points };
        columns.shapes()?;
        columns.outcomes()?;
        columns.required::<DoubleType>(|point| point.wall_s)?;
        columns.required::<Int32Type>(|point| point.session as i32)?;
        columns.group.close().map(drop)
    })
}

/// Writes the columns of [`SCHEMA`], one after the other.
struct Columns<'a, 'b> {
    group: GroupWriter<'a, 'b>,
    points: &'a [SweepPoint],
}

impl Columns<'_, '_> {
    fn shapes(&mut self) -> Result<(), ParquetError> {
        self.required::<Int64Type>(|point| point.position.into())?;
        let dimensions: [fn(&ConvShape) -> usize; 5] = [
            ConvShape::height,
            ConvShape::width,
            ConvShape::in_channels,
            ConvShape::out_channels,
            ConvShape::kernel,
        ];
        dimensions
            .into_iter()
            .try_for_each(|of| self.required::<Int32Type>(|point| of(&point.shape) as i32))
    }

    fn outcomes(&mut self) -> Result<(), ParquetError> {
        self.required::<ByteArrayType>(|point| point.outcome.status().into())?;
        self.optional::<ByteArrayType>(|point| match &point.outcome {
            PointOutcome::Skipped { reason, .. } => Some(reason.name().into()),
            _ => None,
        })?;
        self.optional::<ByteArrayType>(|point| match &point.outcome {
            PointOutcome::Skipped { detail, .. } | PointOutcome::Failed { detail } => {
                Some(detail.as_str().into())
            }
            PointOutcome::Measured { .. } => None,
        })?;
        self.optional::<ByteArrayType>(|point| match &point.outcome {
            PointOutcome::Measured { algorithm, .. } => Some(ByteArray::from(algorithm.as_str())),
            _ => None,
        })?;
        self.optional::<Int32Type>(|point| match point.outcome {
            PointOutcome::Measured { launches, .. } => Some(launches as i32),
            _ => None,
        })?;
        self.optional::<DoubleType>(|point| match point.outcome {
            PointOutcome::Measured { host_ns, .. } => Some(host_ns),
            _ => None,
        })?;
        self.optional::<DoubleType>(|point| match point.outcome {
            PointOutcome::Measured { device_ns, .. } => device_ns,
            _ => None,
        })?;
        self.optional::<DoubleType>(|point| Some(point.spread()?.mean_ns))?;
        self.optional::<DoubleType>(|point| Some(point.spread()?.q1_ns))?;
        self.optional::<DoubleType>(|point| Some(point.spread()?.q3_ns))?;
        self.optional::<Int64Type>(|point| Some(point.spread()?.outliers_mild as i64))?;
        self.optional::<Int64Type>(|point| Some(point.spread()?.outliers_severe as i64))
    }

    fn required<T: DataType>(
        &mut self,
        value: impl Fn(&SweepPoint) -> T::T,
    ) -> Result<(), ParquetError> {
        let values: Vec<T::T> = self.points.iter().map(value).collect();
        write_column::<T>(&mut self.group, &values, None)
    }

    /// An absent value is a definition level of 0.
    fn optional<T: DataType>(
        &mut self,
        value: impl Fn(&SweepPoint) -> Option<T::T>,
    ) -> Result<(), ParquetError> {
        let all: Vec<Option<T::T>> = self.points.iter().map(value).collect();
        let levels: Vec<i16> = all.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<T::T> = all.into_iter().flatten().collect();
        write_column::<T>(&mut self.group, &values, Some(&levels))
    }
}

/// Reads what [`write`] wrote for the sweep `sweep_id`.
pub(super) fn read(path: &Path, sweep_id: &str) -> Result<Vec<SweepPoint>, FileError> {
    let wrong = |cause: String| FileError::read(path, cause);
    let damaged = |error: ParquetError| damaged(path, &error);
    let reader = open_parquet(path, SCHEMA)?;
    let metadata = reader.metadata().file_metadata();
    let ids = metadata.key_value_metadata().into_iter().flatten();
    let found = ids.filter(|pair| pair.key == SWEEP_ID).find_map(|pair| pair.value.as_deref());
    if found != Some(sweep_id) {
        let found = found.unwrap_or("none");
        return Err(wrong(format!("is of sweep {found}, expected {sweep_id}")));
    }
    let rows = reader.get_row_iter(None).map_err(damaged)?.enumerate();
    rows.map(|(index, row)| {
        understood(&row.map_err(damaged)?).map_err(|reason| wrong(format!("row {index}: {reason}")))
    })
    .collect()
}

/// The point in a row, which must hold what its status says.
fn understood(row: &Record) -> Result<SweepPoint, String> {
    let mut cells = row.get_column_iter().map(|(_, field)| field);
    let mut next = || cells.next().unwrap_or(&Field::Null);
    let position = whole(next()).ok_or("position is out of range")?;
    let mut dimension = || whole(next()).map(u64::from).ok_or("a dimension is missing");
    let shape =
        ConvShape::new(dimension()?, dimension()?, dimension()?, dimension()?, dimension()?)
            .map_err(|error| error.to_string())?;
    let (status, reason, detail) = (text(next()), text(next()), text(next()));
    let (algorithm, launches) = (text(next()), whole(next()));
    let (host_ns, device_ns) = (time(next()), time(next()));
    let spread = spread([(); 3].map(|()| time(next())), [(); 2].map(|()| whole(next())));
    let detail = detail.unwrap_or_default();
    let outcome = match (status.as_deref(), reason.as_deref()) {
        (Some("measured"), None) => PointOutcome::Measured {
            algorithm: algorithm.ok_or("algorithm is missing")?,
            launches: launches.ok_or("launches is missing")?,
            host_ns: host_ns.ok_or("host_ns is not finite and > 0")?,
            device_ns,
            spread,
        },
        (Some("skipped"), Some("memory")) => PointOutcome::Skipped { reason: Skip::Memory, detail },
        (Some("skipped"), Some("budget")) => PointOutcome::Skipped { reason: Skip::Budget, detail },
        (Some("failed"), None) => PointOutcome::Failed { detail },
        (status, reason) => return Err(format!("status {status:?} with reason {reason:?}")),
    };
    let wall_s = match next() {
        Field::Double(wall_s) if wall_s.is_finite() && *wall_s >= 0.0 => *wall_s,
        other => return Err(format!("wall_s is {other}, expected finite and ≥ 0")),
    };
    let session = whole(next()).ok_or("session is out of range")?;
    Ok(SweepPoint { position, shape, outcome, wall_s, session })
}

fn spread(times: [Option<f64>; 3], outliers: [Option<u32>; 2]) -> Option<Spread> {
    let ([mean_ns, q1_ns, q3_ns], [mild, severe]) = (times, outliers);
    Some(Spread {
        mean_ns: mean_ns?,
        q1_ns: q1_ns?,
        q3_ns: q3_ns?,
        outliers_mild: mild?.into(),
        outliers_severe: severe?.into(),
    })
}

fn text(field: &Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text.clone()),
        _ => None,
    }
}

fn whole(field: &Field) -> Option<u32> {
    match *field {
        Field::Int(value) => u32::try_from(value).ok(),
        Field::Long(value) => u32::try_from(value).ok(),
        _ => None,
    }
}

fn time(field: &Field) -> Option<f64> {
    match *field {
        Field::Double(value) if value.is_finite() && value > 0.0 => Some(value),
        _ => None,
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
}
