//! Why runs are not compared, and what to do about it.

use std::path::PathBuf;

use alpha_flops::file_error::FileError;
use thiserror::Error;

use crate::archive::ArchiveError;

/// Why sides cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A side has no run.
    #[error("{side} is empty: give two runs, or `B1 B2 … --after A1 A2 …`")]
    Empty {
        /// `BEFORE` or `AFTER`.
        side: &'static str,
    },
    /// A record is not sound.
    #[error(transparent)]
    File(#[from] FileError),
    /// An archived run, or the history, is not sound.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// One run stands twice.
    #[error("run {run_id} is given twice: a run says nothing of how runs differ")]
    Repeated {
        /// Its id.
        run_id: String,
    },
    /// Latencies are different quantities.
    #[error("{} and {} are not comparable: {}", before.display(), after.display(), differences.join("; "))]
    NotComparable {
        /// One run.
        before: PathBuf,
        /// The other.
        after: PathBuf,
        /// What is not equal.
        differences: Vec<String>,
    },
    /// A side has runs of different circumstances.
    #[error("{side} mixes runs that are not of one kind, which would count as noise: {}", differences.join("; "))]
    Mixed {
        /// `BEFORE` or `AFTER`.
        side: &'static str,
        /// What is not equal.
        differences: Vec<String>,
    },
    /// Runs have other configurations.
    #[error(
        "{} and {} have other configurations: {}; --common compares those of both",
        before.display(), after.display(), only(only_before, only_after)
    )]
    Configurations {
        /// One run.
        before: PathBuf,
        /// The other.
        after: PathBuf,
        /// Planned in the one alone.
        only_before: Vec<String>,
        /// Planned in the other alone.
        only_after: Vec<String>,
    },
    /// Runs cannot be paired.
    #[error(
        "--paired needs two runs or more on each side and as many before as after, got {before} and {after}"
    )]
    NotPaired {
        /// Runs before.
        before: usize,
        /// Runs after.
        after: usize,
    },
    /// A folder of archived runs was named, and is of no use.
    #[error("--history {}: {reason}", path.display())]
    History {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A self-test looks at launches.
    #[error("{}: an archived run has no launches; a self-test needs runs' folders", path.display())]
    NoLaunches {
        /// The archived run.
        path: PathBuf,
    },
    /// There are too few runs for a self-test.
    #[error(
        "{runs} runs are too few: a self-test divides them into two sides, and needs {least} or more"
    )]
    TooFew {
        /// Given.
        runs: usize,
        /// Needed.
        least: usize,
    },
    /// No configuration was measured on both sides.
    #[error("no configuration was measured on both sides: {reason}")]
    Nothing {
        /// What became of the first.
        reason: String,
    },
}

fn only(before: &[String], after: &[String]) -> String {
    let some = |ids: &[String], side: &str| match ids {
        [] => None,
        [id] => Some(format!("{id} only in {side}")),
        [id, rest @ ..] => Some(format!("{id} and {} more only in {side}", rest.len())),
    };
    let parts = [some(before, "the first"), some(after, "the second")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "the same ones in another order".to_owned() } else { parts.join(", ") }
}
