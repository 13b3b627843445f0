//! The main job: measure a short sweep, then A–G in a process of their own, and hand both on.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use alpha_flops::backend::Backend;
use alpha_flops::bench::{ENDS_WITH_PARENT, FINISHED_RUN};
use alpha_flops::file_error::FileError;
use alpha_flops::files;
use alpha_flops::record::{GpuGone, PassedOver};
use alpha_flops::settings::{Requested, Settings, SettingsError};
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::order::Shard;
use alpha_flops::sweep::request::{PrepareError, SweepProtocol, SweepRequest, prepare};
use alpha_flops::sweep::{Sweep, SweepError};
use alpha_flops::terminal::Stream;
use thiserror::Error;

use crate::import;
use crate::import::Imported;

pub mod alternate;
pub mod series;

use alternate::AlternateError;

/// Launches of each of the sweep's configurations if they are timed one by one: in a short time, more
/// configurations tell a fit more than more launches of each.
const SWEEP_LAUNCHES: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// The sweep's time budget as a share of that of A–G, in addition to it.
const SWEEP_SHARE: f64 = 0.25;
/// The sweep's time budget if A–G have none.
const SWEEP_BUDGET: Duration = Duration::from_secs(60);
/// Seed of the sweep's order if the settings name none; it is fixed so that an interrupted sweep
/// continues.
const SWEEP_SEED: u64 = 1;
/// How often the sweep's results are written.
const PART_INTERVAL: Duration = Duration::from_secs(10);

/// Why there is no new run.
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[derive(Debug, Error)]
pub enum ReplicateError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A finished run cannot be read.
    #[error(transparent)]
    Record(FileError),
    /// There is no backend, or it cannot measure the sweep.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// The folder of runs cannot be used.
    #[error(transparent)]
    Runs(FileError),
    #[error(transparent)]
    GpuGone(#[from] GpuGone),
    /// What is measured would be mixed up.
    #[error(
        "another `alpha-flops replicate` works on the same in {runs}\nhint: wait for it, or set \
         ALPHA_FLOPS_RUNS to another folder"
    )]
    Busy { runs: PathBuf },
    #[error("cannot start `alpha-flops bench`: {0}")]
    Start(std::io::Error),
    #[error(transparent)]
    Alternate(#[from] AlternateError),
    #[error(
        "the measurement ended with {status} before the run in {runs} was finished\nhint: what was \
         measured is kept; repeat the command to resume"
    )]
    Unfinished { status: ExitStatus, runs: PathBuf },
}

impl From<FileError> for ReplicateError {
    fn from(error: FileError) -> Self {
        Self::Runs(error.with_hint("set ALPHA_FLOPS_RUNS to a folder that can be written"))
    }
}

/// A sweep that is continued or begun.
#[allow(missing_docs, reason = "the names say it")]
pub struct OpenedSweep {
    pub sweep: Sweep,
    pub backend: Box<dyn Backend>,
    /// Where it is begun: the one that is nearest to it and not continued.
    pub passed_over: Option<PassedOver>,
}

/// Opens the sweep that α-FLOPs is fitted to, in a folder beside the runs. It has the protocol of A–G,
/// and `budget` or a share of the settings' time budget. If it, or the measurement of A–G after it, was
/// interrupted, it continues.
///
/// # Errors
/// [`ReplicateError`] where there is no backend, or what was measured cannot be kept.
pub fn open_sweep(budget: Option<Duration>) -> Result<OpenedSweep, ReplicateError> {
    let runs = runs()?;
    let sweep = prepare(|settings| request(settings, budget))?;
    let folder = runs.join(format!("sweep-{:016x}", sweep.digest()));
    let passed_over = if folder.exists() { None } else { sweep.passed_over(&runs)? };
    let (sweep, backend) = sweep.open(&folder).map_err(|error| match error {
        SweepError::Locked { .. } => ReplicateError::Busy { runs },
        error => error.into(),
    })?;
    Ok(OpenedSweep { sweep, backend, passed_over })
}

fn request(settings: &Settings, budget: Option<Duration>) -> SweepRequest {
    let of_settings =
        settings.time_budget.map_or(SWEEP_BUDGET, |budget| budget.mul_f64(SWEEP_SHARE));
    let (protocol, launches) = match settings.protocol.is_latency() {
        true => (SweepProtocol::Latency, SWEEP_LAUNCHES),
        false => (SweepProtocol::Throughput, settings.protocol.launches),
    };
    SweepRequest {
        grid: Grid::Published,
        seed: settings.seed.unwrap_or(SWEEP_SEED),
        shard: Shard::ALL,
        protocol,
        launches,
        budget: Some(budget.unwrap_or(of_settings)),
        part_interval: PART_INTERVAL,
    }
}

/// Moves the sweep into the folder of the run that it was measured for. Until then nobody else may take it.
pub fn keep_sweep(swept: &Sweep, run: &Path) -> Result<(), ReplicateError> {
    Ok(files::rename(swept.folder(), &sweep_of(run))?)
}

/// Reads the sweep that was measured for a run, if there is one.
pub fn kept_sweep(run: &Path) -> Result<Option<Imported>, ReplicateError> {
    let folder = sweep_of(run);
    Ok(folder.exists().then(|| import::sweep::read(&folder)).transpose()?)
}

fn sweep_of(run: &Path) -> PathBuf {
    run.join("sweep")
}

/// The folder of runs, which is created if need be. Its path is UTF-8: the series' file has the paths of runs as
/// JSON.
fn runs() -> Result<PathBuf, ReplicateError> {
    let runs = Requested::from_workspace()?.runs();
    let runs = std::path::absolute(&runs).unwrap_or(runs);
    if runs.to_str().is_none() {
        let error = FileError::new("measure in", &runs, "the path is not UTF-8");
        let hint = "set ALPHA_FLOPS_RUNS to a folder whose path is UTF-8";
        return Err(ReplicateError::Runs(error.with_hint(hint)));
    }
    files::create_folder(&runs)?;
    Ok(runs)
}

fn this_program() -> Result<Command, ReplicateError> {
    std::env::current_exe().map(Command::new).map_err(ReplicateError::Start)
}

/// Runs `alpha-flops bench` in a process of its own, with `seed` instead of what the settings say, and finds
/// the run that it has finished: the file `finished` gets its folder. Other runs may be written beside it
/// meanwhile, so nothing less tells which one it is. With `to_stderr`, what the measurement prints leaves
/// standard output alone.
fn bench(
    mut program: Command,
    runs: &Path,
    finished: &Path,
    arguments: &[String],
    seed: Option<u64>,
    to_stderr: bool,
) -> Result<PathBuf, ReplicateError> {
    program
        .arg("bench")
        .args(arguments)
        .env("ALPHA_FLOPS_RUNS", runs)
        .env(FINISHED_RUN, finished)
        .env(ENDS_WITH_PARENT, "yes")
        .stdin(Stdio::piped())
        .envs(seed.map(|seed| ("ALPHA_FLOPS_SEED", seed.to_string())))
        .stdout(if to_stderr { Stream::Error.stdio() } else { Stdio::inherit() });
    let mut process = program.spawn().map_err(ReplicateError::Start)?;
    // ends with this process, and the child with it; waiting would drop it
    let alive = process.stdin.take();
    let status = process.wait().map_err(ReplicateError::Start)?;
    drop(alive);
    announced(finished).ok_or_else(|| ReplicateError::Unfinished { status, runs: runs.to_owned() })
}

/// The folder of a run that `alpha-flops bench` has finished, as it says in this file.
fn announced(file: &Path) -> Option<PathBuf> {
    path_from_bytes(files::read(file).ok()?)
}

#[cfg(unix)]
fn path_from_bytes(path: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(path).into())
}

#[cfg(not(unix))]
fn path_from_bytes(path: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(path).ok().map(PathBuf::from)
}
