//! What is kept of finished runs: one folder per target, with each run's dataset and environment.
//!
//! ```text
//! <root>/<target>/<run id>.csv                the dataset
//! <root>/<target>/<run id>.environment.json   `run.json` without the configurations' outcomes
//! <root>/<target>/<run id>/                   the run itself, if its launches are kept: `run.json` without
//!                                             single visits, and `launches.parquet`
//! ```
//!
//! The run is written first, then the environment. An interrupted command leaves an environment alone, which readers
//! pass over and the same command completes.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use alpha_flops::file_error::FileError;
use alpha_flops::files;
use alpha_flops::record::{Comparable, RunHeader, is_run_id};
use alpha_flops::workspace;
use serde::Serialize;
use thiserror::Error;

use crate::dataset::{Dataset, DatasetError, Observation, Provenance};
use crate::import::Imported;
use crate::import::criterion::{self, ImportError};
use crate::run::{Missing, Run, Status, provenance};

mod environment;

pub use environment::write as write_environment;

/// A run that was just archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Added {
    /// Its dataset.
    pub path: PathBuf,
    /// Configurations in it.
    pub configurations: usize,
    /// Configurations that were skipped, or that failed.
    pub not_measured: usize,
    /// What it was measured on.
    pub place: String,
    /// Size of `launches.parquet`, in bytes, and whether it was kept.
    pub launches_bytes: u64,
    /// See there.
    pub launches_kept: bool,
    /// What is wrong with archived runs beside it that cannot be read: it may be one of those.
    pub unreadable: Vec<String>,
}

/// Whether the raw launches of a run are archived, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepLaunches {
    /// Where their file has at most [`Self::MOST_BYTES`].
    #[default]
    IfSmall,
    /// Whatever their size.
    Always,
    /// Only what sums them up.
    Never,
}

impl KeepLaunches {
    /// What a repository holds ten times and more: a run of 591 configurations has about a tenth of it.
    pub const MOST_BYTES: u64 = 4 << 20;

    fn keeps(self, bytes: u64) -> bool {
        match self {
            Self::IfSmall => bytes <= Self::MOST_BYTES,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Why a run is not archived, or an archive cannot be read.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ArchiveError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Run(#[from] ImportError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(
        "{run}: {rejected} configurations are not sound, expected none; the first, {id}: {reason}\n\
         hint: measure again, or make a dataset without them by `alpha-flops import criterion`"
    )]
    Unsound { run: PathBuf, rejected: usize, id: String, reason: String },
    #[error(
        "{run}: measured on `{device}`, which is no device: the target's name has to say so\n\
         hint: leave --target out, or name one with `stand-in` or `simulated` in it"
    )]
    NoDevice { run: PathBuf, device: String },
    #[error("target `{name}`: expected a name of a–z, 0–9 and `-`, e.g. `{hint}`")]
    Target { name: String, hint: String },
    #[error("{run}: already archived as {path}")]
    Already { run: PathBuf, path: PathBuf },
    #[error(
        "{run}: {target} holds runs of another target: {}\nhint: name another with --target",
        .differences.join(", ")
    )]
    Foreign { run: PathBuf, target: PathBuf, differences: Vec<String> },
    #[error(
        "{path}: no environment beside it, expected {expected}\nhint: `alpha-flops archive` writes \
         both files; restore the missing one, or remove this one"
    )]
    NoEnvironment { path: PathBuf, expected: PathBuf },
    #[error("{path}: {what} is `{got}`, expected `{expected}`, as in the environment beside it")]
    Mismatch { path: PathBuf, what: &'static str, got: String, expected: String },
}

/// The dataset of an archived run that cannot be read, and why.
pub type UnreadableRun = (PathBuf, ArchiveError);

/// The folder of a target, by its path or, in a checkout, by its name in `target-data`.
pub fn target(target: &Path) -> PathBuf {
    match workspace::archive() {
        Some(targets) if !target.is_dir() => targets.join(target),
        _ => target.to_owned(),
    }
}

/// The name of a run's target: backend and device in small letters and digits, anything else one
/// `-` (`cpu-amd-epyc-2-threads`).
pub fn target_name(header: &RunHeader) -> String {
    let Comparable { backend, device, .. } = header.plan.comparable();
    slug(&format!("{backend} {device}"))
}

/// Small letters and digits, anything else between them one `-`.
pub(crate) fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// Archives the finished run in a folder: writes its dataset and environment under `root`, into the folder
/// of its target, or of the target given by name.
///
/// # Errors
/// [`ArchiveError`] if the run is not sound or already archived, or the target is of another backend or
/// device.
pub fn add(
    folder: &Path,
    root: &Path,
    target: Option<&str>,
    launches: KeepLaunches,
) -> Result<Added, ArchiveError> {
    let run = Run::open(folder)?;
    let name = checked(target.unwrap_or(&target_name(&run.header)))?;
    let says_so = name.contains("stand-in") || name.contains("simulated");
    let Provenance { device, .. } = &run.dataset.provenance;
    if run.dataset.provenance.is_stand_in() && !says_so {
        return Err(ArchiveError::NoDevice { run: run.path, device: device.clone() });
    }
    let Imported { dataset, rejected, not_measured, .. } = criterion::import(&run)?;
    if let Some(Missing { id, reason, .. }) = rejected.first() {
        let (id, reason, rejected) = (id.clone(), reason.clone(), rejected.len());
        return Err(ArchiveError::Unsound { run: run.path, rejected, id, reason });
    }
    let target = root.join(name);
    let unreadable = check_place(&run, &target)?;
    files::create_folder(&target)?;
    let path = target.join(format!("{}.csv", run.header.run_id));
    let raw = run.path.join("launches.parquet");
    let launches_bytes = fs::metadata(&raw).map_err(|error| FileError::read(&raw, error))?.len();
    let launches_kept = launches.keeps(launches_bytes);
    if launches_kept {
        write_run(&run, &files::create_folder_in(&target, &run.header.run_id)?)?;
    }
    write_environment(&run.header, &environment_of(&path))?;
    dataset.write(&path)?;
    Ok(Added {
        path,
        configurations: dataset.observations.len(),
        not_measured: not_measured.len(),
        place: dataset.provenance.place(),
        launches_bytes,
        launches_kept,
        unreadable,
    })
}

/// Copies a run into `folder`, as every analysis reads it. Single visits stay out: they are most of
/// `run.json`, and all that analyses need of them is summed up there.
fn write_run(run: &Run, folder: &Path) -> Result<(), FileError> {
    let (from, to) = (run.path.join("launches.parquet"), folder.join("launches.parquet"));
    let mut source = files::open(&from)?;
    files::write_atomically(&to, |out| io::copy(&mut source, out).map(drop))?;
    let mut header = run.header.clone();
    header.configurations.iter_mut().for_each(|record| record.visits.clear());
    environment::write_header(&header, &folder.join("run.json"))
}

fn checked(name: &str) -> Result<String, ArchiveError> {
    let hint = slug(name);
    match !hint.is_empty() && hint == name {
        true => Ok(hint),
        false => {
            let hint = if hint.is_empty() { "cpu-amd-epyc-2-threads".to_owned() } else { hint };
            Err(ArchiveError::Target { name: name.to_owned(), hint })
        }
    }
}

/// Checks that a run may stand beside those of `target`, which need not exist. Returns what is wrong with those
/// that cannot be read.
fn check_place(run: &Run, target: &Path) -> Result<Vec<String>, ArchiveError> {
    let (archived, unreadable) = if target.exists() { read(target)? } else { Default::default() };
    let (own, others): (Vec<UnreadableRun>, _) = unreadable
        .into_iter()
        .partition(|(path, _)| run_id_of(path) == Some(run.header.run_id.as_str()));
    // what is left of this very run is not replaced
    if let Some((_, error)) = own.into_iter().next() {
        return Err(error);
    }
    let unreadable = others.iter().map(|(_, error)| error.to_string()).collect();
    let own = run.header.plan.comparable();
    for other in archived {
        let is_same = other.header.run_id == run.header.run_id
            || other.dataset.observations == run.dataset.observations;
        if is_same {
            return Err(ArchiveError::Already { run: run.path.clone(), path: other.path });
        }
        // a target may have runs of several protocols: readers tell them apart
        let others = Comparable { method: own.method.clone(), ..other.header.plan.comparable() };
        let differences = own.differences(&others);
        if !differences.is_empty() {
            let (run, target) = (run.path.clone(), target.to_owned());
            return Err(ArchiveError::Foreign { run, target, differences });
        }
    }
    Ok(unreadable)
}

/// Every run in the folder of a target, oldest first, and those that cannot be read: one of them keeps nobody from
/// the others. Sweeps, figures and other files are passed over.
///
/// # Errors
/// [`ArchiveError`] where the folder cannot be read.
pub fn read(target: &Path) -> Result<(Vec<Run>, Vec<UnreadableRun>), ArchiveError> {
    let error = |error| FileError::read(target, error);
    let (mut archived, mut unreadable) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(target).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let is_csv = path.extension().is_some_and(|extension| extension == "csv");
        if is_csv && run_id_of(&path).is_some_and(is_run_id) {
            match read_run(&path) {
                Ok(run) => archived.push(run),
                Err(error) => unreadable.push((path, error)),
            }
        }
    }
    unreadable.sort_by(|a, b| a.0.cmp(&b.0));
    archived.sort_by(|a, b| {
        (a.header.started, &a.header.run_id).cmp(&(b.header.started, &b.header.run_id))
    });
    Ok((archived, unreadable))
}

/// One archived run, by the path of its dataset.
///
/// # Errors
/// [`ArchiveError`] where there is no environment beside it, one of the two is not what this code
/// writes, or they are of different runs.
pub fn read_run(csv: &Path) -> Result<Run, ArchiveError> {
    let environment = environment_of(csv);
    if !environment.is_file() {
        return Err(ArchiveError::NoEnvironment { path: csv.to_owned(), expected: environment });
    }
    let header = environment::read(&environment)?;
    let dataset = Dataset::read(csv)?;
    let name = run_id_of(csv).unwrap_or_default();
    let (found, expected) = (&dataset.provenance, provenance(&header));
    for (what, got, expected) in [
        ("the file's name", name, &header.run_id),
        ("source", &found.source, &expected.source),
        ("backend", &found.backend, &expected.backend),
        ("device", &found.device, &expected.device),
        ("protocol", &found.protocol, &expected.protocol),
    ] {
        if got != expected {
            let (got, expected) = (got.to_owned(), expected.to_owned());
            return Err(ArchiveError::Mismatch { path: csv.to_owned(), what, got, expected });
        }
    }
    let measured: HashSet<String> = dataset.observations.iter().map(Observation::id).collect();
    let missing = header.plan.ids.iter().filter(|id| !measured.contains(*id));
    let missing = missing.map(|id| Missing {
        id: id.clone(),
        status: Status::SkippedOrFailed,
        reason: "not in the archived dataset: skipped, or failed".to_owned(),
    });
    Ok(Run { path: csv.to_owned(), missing: missing.collect(), header, dataset })
}

/// `<run id>.environment.json` beside `<run id>.csv`.
fn environment_of(csv: &Path) -> PathBuf {
    csv.with_extension("environment.json")
}

fn run_id_of(csv: &Path) -> Option<&str> {
    csv.file_stem()?.to_str()
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, configurations, not_measured, place, .. } = self;
        let Self { launches_bytes, launches_kept, .. } = self;
        write!(f, "{}: {configurations} configurations on {place}", path.display())?;
        if *not_measured > 0 {
            write!(f, ", {not_measured} not measured")?;
        }
        let megabytes = *launches_bytes as f64 / 1e6;
        match launches_kept {
            true => write!(f, ", with its launches ({megabytes:.1} MB)"),
            false => write!(f, ", without its launches ({megabytes:.1} MB)"),
        }
    }
}

#[cfg(test)]
mod tests;
