//! The sweep that α-FLOPs is fitted on: a large grid, measured in an order that can be stopped
//! anywhere and continued without measuring anything twice.
//!
//! As in the study's code, a configuration gets a few launches to warm up, then a fixed number: with
//! `throughput` back to back and timed as one, with `latency` one by one.

use crate::units::Bytes;

mod error;
mod folder;
pub mod grid;
mod header;
mod measure;
mod measure_point;
pub mod merge;
pub mod order;
mod passed_over;
mod plan;
mod point;
pub mod request;
mod rows;
mod store;

pub use error::SweepError;
pub use folder::SweepFolder;
pub use header::{Counts, HEADER, SCHEMA_VERSION, SweepHeader, SweepSession, SweepStatus};
pub use measure::{Progress, Sweep};
pub use plan::SweepPlan;
pub use point::{PointOutcome, Skip, Spread, SweepPoint};

/// Launches before the counted ones, as in the published code.
pub const WARM_UP_LAUNCHES: u32 = 10;

/// Most configurations in a part, to bound the memory of the process.
const PART_ROWS: usize = 8192;

/// Tensors of fewer bytes are allocated without asking for the free memory, which takes as long as some
/// launches.
const SURELY_FREE: Bytes = Bytes(64 << 20);

#[cfg(test)]
mod tests;
