//! The main job: measure A–G with `cargo bench`, then hand the run on.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use alpha_flops::settings::{Requested, SettingsError};
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
    /// The folder of runs cannot be made.
    #[error("{path}: {source}; set ALPHA_FLOPS_RUNS to a folder that can be written")]
    Runs {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
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
    let runs = Requested::of_workspace()?.runs();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let runs = std::path::absolute(&runs).unwrap_or(runs);
    let finished = Finished::new(&runs)?;
    let status = Command::new(&program)
        .current_dir(workspace)
        .args(["bench", "--quiet", "--package", "alpha-flops", "--bench", "experiments", "--"])
        .args(arguments)
        // settings are those of this process, wherever it was started
        .env("ALPHA_FLOPS_RUNS", &runs)
        .env("FINISHED_RUN_OF_ALPHA_FLOPS", &finished.file)
        .stdout(if to_stderr { Stdio::from(std::io::stderr()) } else { Stdio::inherit() })
        .status()
        .map_err(|source| ReplicateError::Cargo { program, source })?;
    match finished.run() {
        Some(run) => Ok(Measured { run, complete: status.success() }),
        None => Err(ReplicateError::Unfinished { status, runs }),
    }
}

/// The file in which the benchmarks leave the folder of the run that they have finished. Other runs
/// may be written beside it meanwhile, so nothing less tells which one it is.
struct Finished {
    file: PathBuf,
}

impl Finished {
    fn new(runs: &Path) -> Result<Self, ReplicateError> {
        let error = |source| ReplicateError::Runs { path: runs.to_owned(), source };
        std::fs::create_dir_all(runs).map_err(error)?;
        let file = runs.join(format!(".finished-{}", std::process::id()));
        // of a process that had this number before
        let _ = std::fs::remove_file(&file);
        Ok(Self { file })
    }

    fn run(&self) -> Option<PathBuf> {
        std::fs::read_to_string(&self.file).ok().map(|path| PathBuf::from(path.trim_end()))
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
