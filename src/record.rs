//! One run on disk: a folder with everything that was measured and under what circumstances.
//!
//! ```text
//! <runs>/<run id>/
//!   run.json           header: schema, settings, platform, conditions, order; status and, once
//!                      finished, every configuration's outcome (without raw launches)
//!   launches.parquet   every sample: id, launch, host_ns, device_ns; written when the run finishes
//!   criterion/         criterion's files of this run, and of no other
//!   parts/             while unfinished: one file a configuration, launches included; one that
//!                      cannot be read is set aside as `.damaged` and measured again
//!   lock               held while a process works on the run
//! ```
//!
//! Every file is written to a temporary name, synced and renamed, so a run that is killed loses at
//! most the configuration in flight.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::LaunchTime;
use crate::backend::device::DeviceStates;
use crate::backend::plan::PlanRecord;
use crate::environment::{Conditions, Platform};
use crate::experiment::{Configuration, Experiment};
use crate::file_error::FileError;
use crate::measure::{SampleTimes, Stopped, WarmUp};
use crate::settings::Settings;
use crate::shape::ConvShape;
use crate::statistics::Summary;
use crate::units::Bytes;

mod folder;
mod launches;

pub use folder::{RunFolder, tidy_up, write_finished};
pub use launches::{Launches, LaunchesError, LaunchesFile};

/// Version of the folder's layout and of the fields of `run.json`.
pub const SCHEMA_VERSION: u32 = 2;

/// What a run set out to do, where. Only an unfinished run with an equal plan is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// What was asked for.
    pub settings: Settings,
    /// Where it runs.
    pub platform: Platform,
    /// Size and time of the program that measures: a rebuilt one does not continue another's run.
    pub program: String,
    /// Configurations by id, in the experiments' order (not the order measured).
    pub ids: Vec<String>,
}

/// What has to be equal for latencies to be comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparable {
    /// What computed.
    pub backend: String,
    /// On what: with the number of threads, of a CPU.
    pub device: String,
    /// What a latency means, [`Settings::method_line`].
    pub method: String,
}

impl RunPlan {
    /// What a run of `selected` sets out to do.
    pub fn new(settings: &Settings, platform: Platform, selected: &[Configuration]) -> Self {
        let ids = selected.iter().map(Configuration::id).collect();
        Self { settings: settings.clone(), platform, program: program(), ids }
    }

    /// What others' latencies must have equal to be compared with this plan's.
    pub fn comparable(&self) -> Comparable {
        Comparable {
            backend: self.platform.backend.clone(),
            device: self.settings.backend.device_line(&self.platform.device),
            method: self.settings.method_line(),
        }
    }
}

/// What tells a rebuilt program from the one before: its size and when its file was written.
fn program() -> String {
    let file = std::env::current_exe().and_then(fs::metadata);
    let written = file.and_then(|file| Ok((file.len(), file.modified()?)));
    match written.map(|(bytes, time)| (bytes, Timestamp::try_from(time))) {
        Ok((bytes, Ok(time))) => format!("{bytes} bytes, written {time}"),
        _ => "unknown".to_owned(),
    }
}

impl Comparable {
    /// What keeps latencies from being compared with those of `other`; empty where nothing does.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        [
            ("backend", &self.backend, &other.backend),
            ("device", &self.device, &other.device),
            ("protocol", &self.method, &other.method),
        ]
        .into_iter()
        .filter(|(_, this, other)| this != other)
        .map(|(what, this, other)| format!("{what} `{this}` against `{other}`"))
        .collect()
    }
}

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

/// Why a run's folder cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    File(FileError),
    /// A file is not what this code writes.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process works on the run.
    #[error("{path} is in use by another process; wait for it, or set ALPHA_FLOPS_RUNS elsewhere")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The launches cannot be stored or read.
    #[error(transparent)]
    Launches(#[from] LaunchesError),
}

impl From<FileError> for RecordError {
    fn from(error: FileError) -> Self {
        Self::File(match error.kind() {
            Some(io::ErrorKind::StorageFull) => error.with_hint(
                "what was measured is safe: free some space and repeat the command to resume",
            ),
            Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                error.with_hint("set ALPHA_FLOPS_RUNS to a folder that can be written")
            }
            _ => error,
        })
    }
}

impl Session {
    /// Begun now.
    pub fn now(empty_launch: LaunchTime, why_cpu: Option<String>) -> Self {
        Self { started: now(), conditions: Conditions::now(), empty_launch, why_cpu }
    }
}

/// What the run in `folder`, finished or not, set out to do.
///
/// # Errors
/// [`RecordError`] where there is no run, or one of another schema.
pub fn read_plan(folder: &Path) -> Result<RunPlan, RecordError> {
    Ok(read_header(folder)?.plan)
}

/// What an unfinished run has of a configuration, if anything.
///
/// # Errors
/// [`RecordError`] where a file is there but cannot be read.
pub fn read_part(folder: &Path, id: &str) -> Result<Option<Part>, RecordError> {
    let path = part_path(folder, id);
    if !path.exists() {
        return Ok(None);
    }
    let part: Part = read_json(&path)?;
    if part.record.id == id {
        return Ok(Some(part));
    }
    let reason = format!("holds {}, expected {id}", part.record.id);
    Err(RecordError::Content { path, reason })
}

fn part_path(folder: &Path, id: &str) -> PathBuf {
    folder.join("parts").join(format!("{}.json", id.replace('/', "-")))
}

/// A finished run, read back.
#[derive(Clone, Debug)]
pub struct FinishedRun {
    /// What `run.json` says.
    pub header: RunHeader,
    /// The folder it came from.
    pub path: PathBuf,
}

impl FinishedRun {
    /// Reads the header of a run that has finished.
    ///
    /// # Errors
    /// [`RecordError`] where there is none, it is of another schema, or unfinished.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let header = read_header(path)?;
        if header.status == RunStatus::Unfinished {
            return Err(RecordError::Content {
                path: path.join("run.json"),
                reason: "the run is unfinished; repeat the command that began it to resume"
                    .to_owned(),
            });
        }
        let mut recorded: Vec<_> = header.configurations.iter().map(|c| &c.id).collect();
        let mut planned: Vec<_> = header.plan.ids.iter().collect();
        recorded.sort();
        planned.sort();
        if recorded != planned {
            let (recorded, planned) = (recorded.len(), planned.len());
            return Err(RecordError::Content {
                path: path.join("run.json"),
                reason: format!("{recorded} configurations, expected the {planned} planned ones"),
            });
        }
        Ok(Self { header, path: path.to_owned() })
    }

    /// The raw launches, to read some at a time.
    ///
    /// # Errors
    /// [`LaunchesError`] where `launches.parquet` is missing or not what this code writes.
    pub fn launches_file(&self) -> Result<LaunchesFile, LaunchesError> {
        LaunchesFile::open(&self.path.join("launches.parquet"))
    }

    /// Every raw launch, all in memory.
    ///
    /// # Errors
    /// [`LaunchesError`] where `launches.parquet` is missing or not what this code writes.
    pub fn launches(&self) -> Result<Launches, LaunchesError> {
        self.launches_file()?.read_all()
    }

    /// Where criterion keeps this run's measurements.
    pub fn criterion_home(&self) -> PathBuf {
        self.path.join(&self.header.criterion_home)
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

/// Folders with a `run.json`, oldest first (their names begin with the time).
fn run_folders(runs: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(runs) else { return Vec::new() };
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("run.json").is_file())
        .collect();
    folders.sort();
    folders
}

fn read_header(folder: &Path) -> Result<RunHeader, RecordError> {
    /// The one field that every schema has.
    #[derive(Deserialize)]
    struct Schema {
        schema_version: u32,
    }
    let path = folder.join("run.json");
    let Schema { schema_version } = read_json(&path)?;
    if schema_version != SCHEMA_VERSION {
        let reason = format!("schema_version is {schema_version}, expected {SCHEMA_VERSION}");
        return Err(RecordError::Content { path, reason });
    }
    read_json(&path)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, RecordError> {
    let bytes = fs::read(path).map_err(|error| FileError::read(path, error))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| RecordError::Content { path: path.to_owned(), reason: e.to_string() })
}
