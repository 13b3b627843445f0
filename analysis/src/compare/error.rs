//! Why runs cannot be compared, and what to do about it.

use std::path::PathBuf;

use alpha_flops::file_error::FileError;
use thiserror::Error;

use crate::archive::ArchiveError;

/// Why runs cannot be compared or tested.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum CompareError {
    #[error("{side} is empty: give two runs, or `B1 B2 … --after A1 A2 …`")]
    Empty { side: &'static str },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("run {run_id} is given twice: compare different runs")]
    Repeated { run_id: String },
    /// Their latencies are different quantities.
    #[error("{} and {} are not comparable: {}{hint}", before.display(), after.display(), differences.join("; "))]
    NotComparable { before: PathBuf, after: PathBuf, differences: Vec<String>, hint: &'static str },
    #[error(
        "both sides were measured on {device}: --across is for two devices; compare without it"
    )]
    OneDevice { device: String },
    #[error("no configuration passes the filter `{filter}`")]
    NoneChosen { filter: String },
    /// The differences within a side would count as noise.
    #[error("{side} mixes runs from different environments: {}", differences.join("; "))]
    Mixed { side: &'static str, differences: Vec<String> },
    #[error(
        "{} and {} have different configurations: {}\nhint: --common compares those that all have",
        before.display(), after.display(), only(only_before, only_after)
    )]
    Configurations {
        before: PathBuf,
        after: PathBuf,
        only_before: Vec<String>,
        only_after: Vec<String>,
    },
    #[error(
        "--paired needs two runs or more per side and as many before as after, got {before} and {after}"
    )]
    NotPaired { before: usize, after: usize },
    #[error("--history {}: {reason}", path.display())]
    History { path: PathBuf, reason: &'static str },
    #[error("{}: an archived run has no launches; give the folders of runs", path.display())]
    NoLaunches { path: PathBuf },
    #[error(
        "{runs} runs are too few: a self-test needs at least {least}, to divide them into two sides"
    )]
    TooFew { runs: usize, least: usize },
    #[error("no configuration was measured on both sides: {reason}")]
    Nothing { reason: String },
}

fn only(before: &[String], after: &[String]) -> String {
    let some = |ids: &[String], side: &str| match ids {
        [] => None,
        [id] => Some(format!("{id} only in {side}")),
        [id, rest @ ..] => Some(format!("{id} and {} more only in {side}", rest.len())),
    };
    let parts = [some(before, "the first"), some(after, "the second")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "the same ones, in another order".to_owned() } else { parts.join(", ") }
}
