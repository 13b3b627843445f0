//! The main job: measure A–G with `cargo bench`, then hand the run on.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use alpha_flops::record::FinishedRun;
use alpha_flops::settings::{Settings, SettingsError};
use jiff::Timestamp;
use thiserror::Error;

/// A run just measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Its folder.
    pub run: PathBuf,
    /// Whether every configuration was measured or skipped for a reason, and none failed.
    pub complete: bool,
}

/// Why there is no new run.
#[derive(Debug, Error)]
pub enum ReplicateError {
    /// A setting has no usable value.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Cargo could not be started.
    #[error("cannot start {program}: {source}; the benchmarks are built and run by cargo")]
    Cargo {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The benchmarks ended without a finished run.
    #[error(
        "`cargo bench` ended with {status} and no finished run in {runs}; what it measured is \
         kept, and the same command resumes"
    )]
    Unfinished {
        /// How it ended.
        status: ExitStatus,
        /// Where runs are kept.
        runs: PathBuf,
    },
}

/// Runs the benchmarks in a process of their own, with `arguments` for them, and finds the run
/// that they have finished. What they print goes to standard error if standard output is for
/// something else.
///
/// # Errors
/// [`ReplicateError`] where the benchmarks cannot be started or finish no run.
pub fn measure(arguments: &[String], to_stderr: bool) -> Result<Measured, ReplicateError> {
    let runs = Settings::of_workspace()?.runs;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let begun = Timestamp::now();
    let status = Command::new(&program)
        .current_dir(workspace)
        .args(["bench", "--quiet", "--package", "alpha-flops", "--bench", "experiments", "--"])
        .args(arguments)
        // settings are those of this process, wherever it was started
        .env("ALPHA_FLOPS_RUNS", std::path::absolute(&runs).unwrap_or_else(|_| runs.clone()))
        .stdout(if to_stderr { Stdio::from(std::io::stderr()) } else { Stdio::inherit() })
        .status()
        .map_err(|source| ReplicateError::Cargo { program, source })?;
    match FinishedRun::latest(&runs)
        .filter(|run| run.header.ended.is_some_and(|ended| ended >= begun))
    {
        Some(run) => Ok(Measured { run: run.path, complete: status.success() }),
        None => Err(ReplicateError::Unfinished { status, runs }),
    }
}
