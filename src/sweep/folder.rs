//! Reading a sweep from its folder.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::header::SweepHeader;
use super::order::Order;
use super::plan::SweepPlan;
use super::point::{PointOutcome, SweepPoint};
use super::rows;
use crate::file_error::FileError;
use crate::store;

/// A sweep, read from its folder.
#[allow(missing_docs, reason = "the names say it")]
pub struct SweepFolder {
    pub header: SweepHeader,
    pub path: PathBuf,
}

impl SweepFolder {
    /// Reads the header of the sweep in `path`.
    ///
    /// # Errors
    /// [`FileError`] where there is none, or one of another schema.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let header = store::read_header(path).map_err(|error| match error.kind() {
            Some(io::ErrorKind::NotFound) => {
                error.with_hint("give the folder of a sweep: --out of `alpha-flops sweep`")
            }
            _ => error,
        })?;
        Ok(Self { header, path: path.to_owned() })
    }

    /// Calls `take` with every configuration that has an outcome, in the order measured.
    pub fn read(&self, mut take: impl FnMut(SweepPoint)) -> Result<(), FileError> {
        let plan = &self.header.plan;
        let order = Order::new(plan.grid, plan.seed);
        for (range, path) in part_files(&self.path, plan)? {
            read_part(&path, &self.header, &order, &range)?.into_iter().for_each(&mut take);
        }
        Ok(())
    }
}

/// Reads a part, which must hold what its name says, of the sweep that it lies in.
pub(super) fn read_part(
    path: &Path,
    header: &SweepHeader,
    order: &Order,
    range: &Range<u32>,
) -> Result<Vec<SweepPoint>, FileError> {
    let points = rows::read(path, &header.sweep_id)?;
    if points.len() != range.len() {
        let cause = format!("{} rows, expected {}", points.len(), range.len());
        return Err(FileError::read(path, cause));
    }
    for (ordinal, point) in range.clone().zip(&points) {
        check(header, order, ordinal, point).map_err(|cause| FileError::read(path, cause))?;
    }
    Ok(points)
}

/// Checks that a point can be what became of a sweep's configuration `ordinal`.
fn check(
    header: &SweepHeader,
    order: &Order,
    ordinal: u32,
    point: &SweepPoint,
) -> Result<(), String> {
    let SweepPoint { position, shape, outcome, session, .. } = point;
    // of a merged sweep, ordinals say nothing about positions
    let expected = header.plan.shard.position(ordinal);
    if header.shards.is_empty() && *position != expected {
        return Err(format!("position {position}, expected {expected}"));
    }
    let configurations = order.grid().configurations();
    if *position >= configurations {
        return Err(format!("position {position}, expected one below {configurations}"));
    }
    let expected = order.grid().shape(order.index(*position));
    if *shape != expected {
        return Err(format!("position {position} is {shape}, expected {expected}"));
    }
    let sessions = header.sessions.len();
    if *session as usize >= sessions {
        return Err(format!("session {session}, expected one below {sessions}"));
    }
    match outcome {
        PointOutcome::Measured { launches, .. } if *launches != header.plan.launches.get() => {
            let expected = header.plan.launches;
            Err(format!("position {position} has {launches} launches, expected {expected}"))
        }
        _ => Ok(()),
    }
}

/// The parts with the ordinals that their names say, which the plan must have, in order.
pub(super) fn part_files(
    folder: &Path,
    plan: &SweepPlan,
) -> Result<Vec<(Range<u32>, PathBuf)>, FileError> {
    let configurations = plan.configurations();
    let mut parts = Vec::new();
    for path in store::entries(&folder.join("parts"))? {
        if path.extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        let range = path.file_stem().and_then(|stem| {
            let (first, last) = stem.to_str()?.split_once('-')?;
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && last < configurations).then_some(first..last + 1)
        });
        let Some(range) = range else {
            let cause = format!(
                "it is not named as parts of a sweep of {configurations} configurations are"
            );
            let error = FileError::read(&path, cause);
            return Err(error.with_hint("move it elsewhere"));
        };
        parts.push((range, path));
    }
    parts.sort_by_key(|(range, _)| range.start);
    match parts.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
        Some(pair) => {
            Err(FileError::read(&pair[1].1, "it covers configurations that another part has, too"))
        }
        None => Ok(parts),
    }
}
