//! One run on disk: a folder with everything that was measured and under what circumstances.
//!
//! ```text
//! <runs>/<run id>/
//!   run.json           header: schema, settings, platform, conditions, order; status and, once
//!                      finished, every configuration's outcome (without raw launches)
//!   launches.parquet   every sample: id, launch, host_ns, device_ns; written when the run finishes
//!   criterion/         criterion's files of this run, and of no other
//!   parts/             while unfinished: one file for each configuration, launches included
//!   lock
//! ```
//!
//! How it survives being killed is the [folder store](crate::store)'s: a run loses at most the
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
pub struct Session {
    /// When it began.
    pub started: Timestamp,
    /// The machine's state then.
    pub conditions: Conditions,
    /// What timing takes when nothing is launched.
    pub empty_launch: LaunchTime,
    /// Why it ran on the CPU, where it might have run on a GPU.
    pub why_cpu: Option<String>,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// [`SCHEMA_VERSION`] of the code that wrote it.
    pub schema_version: u32,
    /// The folder's name: start in UTC and four random digits.
    pub run_id: String,
    /// Whether everything planned has an outcome.
    pub status: RunStatus,
    /// When the first process began.
    pub started: Timestamp,
    /// When the last configuration was done.
    pub ended: Option<Timestamp>,
    /// Seed of the order within experiments and of the data.
    pub seed: u64,
    /// What was asked for, where.
    pub plan: RunPlan,
    /// The processes that worked on it: more than one where it was interrupted and resumed.
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

/// Whether a run is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Some planned configurations have no outcome yet.
    Unfinished,
    /// Every planned configuration has one.
    Finished,
}

/// What became of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigurationRecord {
    /// `D/h=100_w=640_in=150_out=100_k=3`.
    pub id: String,
    /// The experiment.
    pub experiment: Experiment,
    /// Its line.
    pub series: String,
    /// Value of the independent variable.
    pub x: u32,
    /// What was computed.
    pub shape: ConvShape,
    /// When it was begun, the last time.
    pub started: Timestamp,
    /// What preparing and measuring took that time, in seconds.
    pub wall_s: f64,
    /// How often it was tried: more than once where the device was throttled, or failed.
    pub attempts: u32,
    /// Measured, skipped or failed.
    pub outcome: Outcome,
}

/// What became of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "nearly all are measured")]
pub enum Outcome {
    /// It has launches.
    Measured {
        /// The algorithm that ran.
        algorithm: String,
        /// Which plan a library chose, and why none before it.
        plan: Option<PlanRecord>,
        /// Its scratch memory.
        workspace_bytes: Bytes,
        /// Whether outputs were compared with a direct sum.
        verified: bool,
        /// What came before the counted launches.
        warm_up: WarmUp,
        /// Why there are no more launches.
        stopped: Stopped,
        /// Half the median's 95% interval over the median, the clock's step included.
        relative_interval: Option<f64>,
        /// Median time that the host took to submit a launch, where that is not computing it.
        submission_ns: Option<f64>,
        /// The device's clocks and the like meanwhile, where it tells them.
        device: Option<DeviceStates>,
        /// Their statistics.
        summary: Summary,
    },
    /// It was not tried.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It was tried and has no result.
    Failed {
        /// What happened.
        reason: String,
        /// Whether the device could not be used any more after it.
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

    /// Whether the host took so long to submit a launch that the time by the device's clock may be
    /// its waiting: more than half of it.
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
pub struct Part {
    /// The run it belongs to.
    pub run_id: String,
    /// Position in the order measured.
    pub position: usize,
    /// The outcome.
    pub record: ConfigurationRecord,
    /// Every sample's times; none unless measured.
    pub times: SampleTimes,
}

impl Session {
    /// Begun now.
    pub fn now(empty_launch: LaunchTime, why_cpu: Option<String>) -> Self {
        Self { started: now(), conditions: Conditions::now(), empty_launch, why_cpu }
    }
}

impl ConfigurationRecord {
    /// A record of `configuration` with what became of it.
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

    /// What preparing and measuring took, the last time.
    pub(crate) fn took(&self) -> Duration {
        Duration::try_from_secs_f64(self.wall_s).unwrap_or_default()
    }
}

/// The present, to the millisecond.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now)
}
