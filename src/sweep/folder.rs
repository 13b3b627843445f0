//! A sweep's folder, for whoever reads what was measured.

use std::path::{Path, PathBuf};

use super::error::SweepError;
use super::header::SweepHeader;
use super::order::Order;
use super::rows::Visit;
use super::store;

/// A sweep read back.
pub struct SweepFolder {
    /// What `sweep.json` says.
    pub header: SweepHeader,
    /// Where it is.
    pub path: PathBuf,
}

impl SweepFolder {
    /// Reads the header of the sweep in `path`.
    ///
    /// # Errors
    /// [`SweepError`] where there is none, or one of another schema.
    pub fn open(path: &Path) -> Result<Self, SweepError> {
        Ok(Self { header: store::read_header(path)?, path: path.to_owned() })
    }

    /// Hands every configuration visited to `take`, a part at a time, in the order measured.
    ///
    /// # Errors
    /// [`SweepError`] where a part cannot be read, or holds what it should not.
    pub fn read(&self, mut take: impl FnMut(Visit)) -> Result<(), SweepError> {
        let plan = &self.header.plan;
        let order = Order::new(plan.grid, plan.seed);
        let mut end = 0;
        for (range, path) in store::parts(&self.path)? {
            if range.start < end {
                let reason = "covers configurations that another part has, too".to_owned();
                return Err(SweepError::content(&path, reason));
            }
            end = range.end;
            for visit in store::read_part(&path, &self.header, &range)? {
                let expected = plan.grid.shape(order.index(visit.position));
                if visit.shape != expected {
                    let Visit { position, shape, .. } = visit;
                    let reason = format!("position {position} is {shape}, expected {expected}");
                    return Err(SweepError::content(&path, reason));
                }
                take(visit);
            }
        }
        Ok(())
    }
}
