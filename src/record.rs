//! One run on disk: everything that was measured, and in what environment.
//!
//! ```text
//! <runs>/<run id>/
//!   run.json           header: schema, settings, platform, conditions, order; status and, once the
//!                      run is finished, the outcome of every configuration (without raw launches)
//!   launches.parquet   every sample: id, launch, pass, host_ns, device_ns; written when the run finishes
//!   criterion/         criterion's files of this run, and of no other
//!   parts/             while unfinished: one file for each configuration and pass, launches included
//!   lock
//! ```
//!
//! The folder store in `src/store.rs` keeps it whole when a process is killed: a run loses at most the
//! configuration in flight. `run.json`, `launches.parquet` and parts have [checksums](crate::checksum).

use std::path::PathBuf;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::backend::device::DeviceStates;
use crate::backend::plan::PlanRecord;
use crate::backend::{LaunchTime, Probe};
use crate::disturbance::Disturbance;
use crate::environment::Conditions;
use crate::experiment::{Configuration, Experiment};
use crate::files::is_plain_name;
use crate::measure::{SampleTimes, Stopped, WarmUp};
use crate::shape::ConvShape;
use crate::statistics::Summary;
use crate::store::{self, Header};
use crate::units::Bytes;

mod finished;
mod folder;
mod launches;
mod machine;
mod passed_over;
mod passes;
mod plan;
mod quiet;

pub use finished::FinishedRun;
pub(crate) use folder::remove_empty;
pub use folder::{RunFolder, hinted, read_measured, read_part, read_plan, tidy_up, write_finished};
pub use launches::{Launches, LaunchesFile};
pub use machine::{Distance, Distances, MachineState, Quartiles, Stay};
pub(crate) use passed_over::passed_over;
pub use passed_over::{GpuGone, PassedOver, check_gpu, differences};
pub use plan::{Comparable, RunPlan, program_stamp};
pub use quiet::Quiet;

/// Version of the folder's layout and of the fields of `run.json`.
pub const SCHEMA_VERSION: u32 = 3;

/// The oldest version whose finished runs can be read. It has no passes: all was measured in one.
pub const OLDEST_READ: u32 = 2;

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
    /// Why launches were not queued before the device began with them, where they might have been; `None` in
    /// older records, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not_queued: Option<String>,
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
    /// How quiet the machine was; `None` until finished, in older records, and where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// [`Probe::multiply_add_ns`] that the fastest quarter of the visits does not exceed; `None` before
    /// every visit was made once, in older records, and where it is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual_multiply_add_ns: Option<f64>,
    /// What state the machine was in, by its probes; `None` until finished, in older records, and where
    /// nothing was probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineState>,
    /// Outcomes in the order measured; empty until finished.
    pub configurations: Vec<ConfigurationRecord>,
}

impl Header for RunHeader {
    const FILE: &'static str = "run.json";
    const SCHEMA_VERSION: u32 = SCHEMA_VERSION;
    const OLDEST_READ: u32 = OLDEST_READ;
    const ELSEWHERE: &'static str = "set ALPHA_FLOPS_RUNS to a folder that can be written";

    fn check_names(&self) -> Result<(), String> {
        self.check_names()
    }
}

impl RunHeader {
    /// Checks what becomes a part of paths: a record that was read may say anything.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_names(&self) -> Result<(), String> {
        let Self { run_id, criterion_home, criterion_baseline, .. } = self;
        if !is_run_id(run_id) {
            return Err(format!(
                "run_id is {run_id:?}, expected one such as 2026-01-31t12-00-00z-5eed"
            ));
        }
        let home = criterion_home.to_str().unwrap_or_default();
        for (what, name) in
            [("criterion_home", home), ("criterion_baseline", criterion_baseline.as_str())]
        {
            if !is_plain_name(name) {
                return Err(format!("{what} is {name:?}, expected the name of a folder"));
            }
        }
        Ok(())
    }
}

/// Whether an id is a run's, `2026-01-31t12-00-00z-5eed`, or a simulated run's, `simulated-1-2`.
pub fn is_run_id(id: &str) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
    let simulated = id.strip_prefix("simulated-").and_then(|numbers| numbers.split_once('-'));
    store::is_id(id) || simulated.is_some_and(|(seed, run)| is_number(seed) && is_number(run))
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
    /// Start of the last attempt, in the first pass.
    pub started: Timestamp,
    /// Time that preparing and measuring took in the last attempt of each pass, in seconds.
    pub wall_s: f64,
    /// Most attempts in a pass; more than 1 where the device was throttled, or failed.
    pub attempts: u32,
    pub outcome: Outcome,
    /// What became of it in each pass; empty where all was measured in one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub visits: Vec<Visit>,
}

/// A configuration in one of several passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "`ConfigurationRecord` has the same fields")]
pub struct Visit {
    /// From 1.
    pub pass: u32,
    /// Place in the order in which all were measured, from 0.
    pub position: usize,
    pub started: Timestamp,
    pub wall_s: f64,
    pub attempts: u32,
    /// Without a plan where that is the configuration's.
    pub outcome: Outcome,
}

/// What became of one configuration, in a pass or in all: it is measured where any pass measured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "nearly all are measured")]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub enum Outcome {
    Measured(Measured),
    /// Not tried.
    Skipped {
        reason: String,
    },
    /// Tried, without a result.
    Failed {
        reason: String,
        /// Whether the device could no longer be used afterwards.
        device_lost: bool,
    },
}

/// What was measured of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say what the other fields are")]
pub struct Measured {
    pub algorithm: String,
    pub plan: Option<PlanRecord>,
    pub workspace_bytes: Bytes,
    /// Whether outputs were compared with a direct sum.
    pub verified: bool,
    pub warm_up: WarmUp,
    pub stopped: Stopped,
    /// Half the median's 95% interval over the median, the clock's step included.
    pub relative_interval: Option<f64>,
    /// Median time that the host took to submit a launch, where submitting is not computing.
    pub submission_ns: Option<f64>,
    pub device: Option<DeviceStates>,
    /// Of all passes together, where there are several; `None` in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbance: Option<Disturbance>,
    /// The state of the machine before it was measured, in each pass; `None` of several passes
    /// together, and in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    pub summary: Summary,
}

impl Outcome {
    /// What was measured, if anything was.
    pub fn measured(&self) -> Option<&Measured> {
        match self {
            Self::Measured(measured) => Some(measured),
            Self::Skipped { .. } | Self::Failed { .. } => None,
        }
    }

    /// Whether the device was throttled while it was measured.
    pub fn is_throttled(&self) -> bool {
        let device = self.measured().and_then(|measured| measured.device.as_ref());
        device.is_some_and(DeviceStates::is_throttled)
    }

    /// Records how fast the cores were, compared with what is usual.
    pub(crate) fn note_core_speed(&mut self, usual_multiply_add_ns: Option<f64>) {
        if let Self::Measured(Measured { disturbance: Some(disturbance), probe, .. }) = self {
            let now = probe.as_ref().and_then(|probe| probe.multiply_add_ns);
            let speed = usual_multiply_add_ns.zip(now).map(|(usual, now)| 100.0 * usual / now);
            disturbance.core_speed_percent = speed;
        }
    }

    /// Whether what else the machine did, or another process on the device, leaves a doubt about what was
    /// measured.
    pub fn is_disturbed(&self) -> bool {
        self.measured().is_some_and(|Measured { disturbance, device, .. }| {
            disturbance.as_ref().is_some_and(Disturbance::is_disturbed)
                || device.as_ref().is_some_and(DeviceStates::is_shared)
        })
    }

    /// Whether the host took more than half of the median to submit a launch: the device's time may
    /// then be time it waited for the host.
    pub fn is_bound_by_submission(&self) -> bool {
        self.measured().is_some_and(|Measured { submission_ns, summary, .. }| {
            submission_ns.is_some_and(|ns| summary.median_ns < 2.0 * ns)
        })
    }
}

/// A file under `parts/`: the outcome of one pass with its launches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Part {
    pub run_id: String,
    /// From 1.
    pub pass: u32,
    /// Place in the order measured, that of all passes, from 0.
    pub position: usize,
    pub record: ConfigurationRecord,
    /// Empty unless the configuration was measured.
    pub times: SampleTimes,
}

impl Session {
    /// A session that begins now.
    pub fn now(empty_launch: LaunchTime, why_cpu: Option<String>) -> Self {
        let (started, conditions) = (now(), Conditions::now());
        Self { started, conditions, empty_launch, why_cpu, why_not_queued: None }
    }

    /// What is to be known of times of launches that were not queued, in one line.
    pub fn note(&self) -> Option<String> {
        let reason = self.why_not_queued.as_ref()?;
        Some(format!(
            "short launches take as long as submitting them, as they cannot be queued: {reason}"
        ))
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
            visits: Vec::new(),
        }
    }

    /// What each visit measured, and how long the visit took, in seconds.
    pub(crate) fn measured_visits(&self) -> Vec<(&Measured, f64)> {
        let all = match self.visits.is_empty() {
            true => vec![(&self.outcome, self.wall_s)],
            false => self.visits.iter().map(|visit| (&visit.outcome, visit.wall_s)).collect(),
        };
        let measured = all
            .into_iter()
            .filter_map(|(outcome, wall_s)| outcome.measured().map(|measured| (measured, wall_s)));
        measured.collect()
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
