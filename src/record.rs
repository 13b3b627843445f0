//! One run on disk: everything that was measured, and in what environment.
//!
//! ```text
//! <runs>/<run id>/
//!   run.json           header: schema, settings, platform, conditions, order; status and, once the
//!                      run is finished, the outcome of every configuration (without raw launches)
//!   launches.parquet   every sample: id, launch, host_ns, device_ns; written when the run finishes
//!   criterion/         criterion's files of this run, and of no other
//!   parts/             while unfinished: one file for each configuration, launches included
//!   lock
//! ```
//!
//! The folder store in `src/store.rs` keeps it whole when a process is killed: a run loses at most the
//! configuration in flight.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::backend::LaunchTime;
use crate::backend::device::DeviceStates;
use crate::backend::plan::PlanRecord;
use crate::environment::Conditions;
use crate::experiment::{Configuration, Experiment};
use crate::measure::{SampleTimes, Stopped, WarmUp};
use crate::shape::ConvShape;
use crate::statistics::Summary;
use crate::store::Header;
use crate::units::Bytes;

mod finished;
mod folder;
mod launches;
mod plan;

pub use finished::FinishedRun;
pub use folder::{RunFolder, hinted, read_part, read_plan, tidy_up, write_finished};
pub use launches::{Launches, LaunchesFile};
pub use plan::{Comparable, RunPlan};

/// Version of the folder's layout and of the fields of `run.json`.
pub const SCHEMA_VERSION: u32 = 2;

/// One process that worked on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Session {
    pub started: Timestamp,
    pub conditions: Conditions,
    /// The time of a launch that launches nothing: the cost of timing itself.
    pub empty_launch: LaunchTime,
    /// Why it ran on the CPU, where a GPU would have been used.
    pub why_cpu: Option<String>,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct RunHeader {
    /// [`SCHEMA_VERSION`] of the code that wrote it.
    pub schema_version: u32,
    /// The folder's name: start in UTC and four random digits.
    pub run_id: String,
    pub status: RunStatus,
    /// When the first process began.
    pub started: Timestamp,
    /// When the last configuration was done.
    pub ended: Option<Timestamp>,
    /// Seed of the order within experiments and of the tensors.
    pub seed: u64,
    pub plan: RunPlan,
    /// The processes that worked on it: several where it was interrupted and resumed.
    pub sessions: Vec<Session>,
    /// Criterion's home for this run, relative to the folder.
    pub criterion_home: PathBuf,
    /// Name under which criterion keeps this run's measurements: `new`, or the named baseline.
    pub criterion_baseline: String,
    /// Outcomes in the order measured; empty until finished.
    pub configurations: Vec<ConfigurationRecord>,
}

impl Header for RunHeader {
    const FILE: &'static str = "run.json";
    const SCHEMA_VERSION: u32 = SCHEMA_VERSION;
    const ELSEWHERE: &'static str = "set ALPHA_FLOPS_RUNS to a folder that can be written";
}

/// Whether every planned configuration has an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum RunStatus {
    Unfinished,
    Finished,
}

/// One configuration and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct ConfigurationRecord {
    /// `D/h=100_w=640_in=150_out=100_k=3`.
    pub id: String,
    pub experiment: Experiment,
    pub series: String,
    /// Value of the independent variable.
    pub x: u32,
    pub shape: ConvShape,
    /// Start of the last attempt.
    pub started: Timestamp,
    /// Time that preparing and measuring took in the last attempt, in seconds.
    pub wall_s: f64,
    /// More than 1 where the device was throttled, or failed.
    pub attempts: u32,
    pub outcome: Outcome,
}

/// What became of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "nearly all are measured")]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub enum Outcome {
    Measured {
        algorithm: String,
        plan: Option<PlanRecord>,
        workspace_bytes: Bytes,
        /// Whether outputs were compared with a direct sum.
        verified: bool,
        warm_up: WarmUp,
        stopped: Stopped,
        /// Half the median's 95% interval over the median, the clock's step included.
        relative_interval: Option<f64>,
        /// Median time that the host took to submit a launch, where submitting is not computing.
        submission_ns: Option<f64>,
        device: Option<DeviceStates>,
        summary: Summary,
    },
    /// Not tried.
    Skipped { reason: String },
    /// Tried, without a result.
    Failed {
        reason: String,
        /// Whether the device could no longer be used afterwards.
        device_lost: bool,
    },
}

impl Outcome {
    /// Whether the device was throttled while it was measured.
    pub fn is_throttled(&self) -> bool {
        match self {
            Self::Measured { device, .. } => {
                device.as_ref().is_some_and(DeviceStates::is_throttled)
            }
            Self::Skipped { .. } | Self::Failed { .. } => false,
        }
    }

    /// Whether the host took more than half of the median to submit a launch: the device's time may
    /// then be time it waited for the host.
    pub fn is_bound_by_submission(&self) -> bool {
        match self {
            Self::Measured { submission_ns: Some(submission_ns), summary, .. } => {
                summary.median_ns < 2.0 * submission_ns
            }
            _ => false,
        }
    }
}

/// A file under `parts/`: an outcome with its launches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Part {
    pub run_id: String,
    /// Position in the order measured.
    pub position: usize,
    pub record: ConfigurationRecord,
    /// Empty unless the configuration was measured.
    pub times: SampleTimes,
}

impl Session {
    /// A session that begins now.
    pub fn now(empty_launch: LaunchTime, why_cpu: Option<String>) -> Self {
        Self { started: now(), conditions: Conditions::now(), empty_launch, why_cpu }
    }
}

impl ConfigurationRecord {
    /// The record of an attempt at `configuration`.
    pub fn new(
        configuration: &Configuration,
        started: Timestamp,
        wall_s: f64,
        attempts: u32,
        outcome: Outcome,
    ) -> Self {
        Self {
            id: configuration.id(),
            experiment: configuration.experiment,
            series: configuration.series.clone(),
            x: configuration.x,
            shape: configuration.shape,
            started,
            wall_s,
            attempts,
            outcome,
        }
    }

    pub(crate) fn took(&self) -> Duration {
        Duration::try_from_secs_f64(self.wall_s).unwrap_or_default()
    }
}

/// The present, to the millisecond.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}
