//! A run of this project's benchmarks: criterion's files, checked against the run's own record.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use alpha_flops::atomic_file::write_atomically;
use alpha_flops::environment::Conditions;
use alpha_flops::record::{
    ConfigurationRecord, FinishedRun, Launches, LaunchesError, Outcome, RecordError, RunHeader,
};
use alpha_flops::statistics::{Fences, Summary};
use serde::Serialize;
use thiserror::Error;

use crate::criterion_json::{Benchmark, CriterionError, Found, benchmarks};
use crate::dataset::{Dataset, Latency, Observation, Provenance};

/// What a run gives.
#[derive(Debug)]
pub struct Imported {
    /// The configurations whose files are sound.
    pub dataset: Dataset,
    /// Benchmarks left out because a file of theirs is not.
    pub rejected: Vec<Rejected>,
    /// Configurations the run itself skipped, or that failed.
    pub not_measured: Vec<NotMeasured>,
    /// The run's environment, as names and values to show.
    pub environment: Vec<(String, String)>,
}

/// A benchmark that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The configuration, where known.
    pub id: String,
    /// What is wrong, with the path.
    pub reason: String,
}

/// A configuration without measurements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotMeasured {
    /// The configuration.
    pub id: String,
    /// `skipped` or `failed`.
    pub status: String,
    /// Why.
    pub reason: String,
}

/// Why nothing can be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// There is no finished run.
    #[error(
        "{source}\nhint: give the folder that `cargo bench` names at its end, e.g. \
         target/alpha-flops/2026-01-31t12-00-00z-5eed"
    )]
    Record {
        /// What is wrong with the run.
        source: RecordError,
    },
    /// The raw launches cannot be read.
    #[error(transparent)]
    Launches(#[from] LaunchesError),
    /// Criterion's folder cannot be listed.
    #[error("{0}\nhint: criterion's files of this run are gone; measure again with `cargo bench`")]
    Criterion(CriterionError),
    /// The environment cannot be written; the error names the file.
    #[error(transparent)]
    Write(std::io::Error),
    /// Every benchmark was left out.
    #[error("{path}: no sound measurement among {rejected} benchmarks; the first: {first}")]
    Nothing {
        /// Criterion's home.
        path: PathBuf,
        /// How many were left out.
        rejected: usize,
        /// Why, for the first.
        first: String,
    },
}

/// Imports the finished run in `folder`.
///
/// Every configuration that the run measured is looked up among criterion's files by the id in
/// `benchmark.json`, and is left out, with the reason, unless there is exactly one such benchmark,
/// its files parse, every sample is one launch, the times are the run's raw launches (and so of no
/// other run), finite and positive, and median and fences are those of the times.
///
/// # Errors
/// [`ImportError`] where there is no finished run or nothing sound in it.
pub fn read(folder: &Path) -> Result<Imported, ImportError> {
    let run = FinishedRun::open(folder).map_err(|source| ImportError::Record { source })?;
    let launches = run.launches()?;
    let home = run.criterion_home();
    let (folders, mut rejected) = index(&home, &run.header.criterion_baseline)?;
    let mut observations = Vec::new();
    let mut not_measured = Vec::new();
    for record in in_suite_order(&run.header) {
        match &record.outcome {
            Outcome::Measured { algorithm, .. } => match check(record, &folders, &launches) {
                Ok(summary) => observations.push(observation(record, algorithm, &summary)),
                Err(reason) => rejected.push(Rejected { id: record.id.clone(), reason }),
            },
            Outcome::Skipped { reason } => not_measured.push(not(record, "skipped", reason)),
            Outcome::Failed { reason } => not_measured.push(not(record, "failed", reason)),
        }
    }
    match rejected.first() {
        Some(first) if observations.is_empty() => Err(ImportError::Nothing {
            path: home,
            rejected: rejected.len(),
            first: first.reason.clone(),
        }),
        _ => Ok(Imported {
            dataset: Dataset { provenance: provenance(&run.header), observations },
            rejected,
            not_measured,
            environment: environment(&run.header),
        }),
    }
}

/// Writes what a dataset leaves out of a run, and a reader of it may ask for: settings, platform,
/// conditions and order, as `run.json` has them, without the configurations' outcomes.
///
/// # Errors
/// [`ImportError`] where there is no finished run, or the file cannot be written.
pub fn write_environment(folder: &Path, to: &Path) -> Result<(), ImportError> {
    let run = FinishedRun::open(folder).map_err(|source| ImportError::Record { source })?;
    let header = RunHeader { configurations: Vec::new(), ..run.header };
    write_atomically(to, |out| {
        serde_json::to_writer_pretty(&mut *out, &header)?;
        writeln!(out)
    })
    .map_err(ImportError::Write)
}

/// Criterion's folders by benchmark id: one usually, several where folders were mixed up.
type Folders = HashMap<String, Vec<PathBuf>>;

fn index(home: &Path, baseline: &str) -> Result<(Folders, Vec<Rejected>), ImportError> {
    let mut folders = Folders::new();
    let mut rejected = Vec::new();
    for Found { folder, id } in benchmarks(home, baseline).map_err(ImportError::Criterion)? {
        match id {
            Ok(id) => folders.entry(id).or_default().push(folder),
            Err(error) => {
                let id = folder.display().to_string();
                rejected.push(Rejected { id, reason: error.to_string() });
            }
        }
    }
    Ok((folders, rejected))
}

/// Outcomes in the experiments' order, not the random one they were measured in.
fn in_suite_order(header: &RunHeader) -> Vec<&ConfigurationRecord> {
    let position: HashMap<&str, usize> =
        header.plan.ids.iter().enumerate().map(|(index, id)| (id.as_str(), index)).collect();
    let mut records: Vec<_> = header.configurations.iter().collect();
    records.sort_by_key(|record| position.get(record.id.as_str()));
    records
}

/// The summary of a configuration whose files are sound, or what is wrong with them.
fn check(
    record: &ConfigurationRecord,
    folders: &Folders,
    launches: &Launches,
) -> Result<Summary, String> {
    let id = &record.id;
    let folder = match folders.get(id).map(Vec::as_slice) {
        Some([folder]) => folder,
        Some(several) => {
            let first = several[0].display();
            return Err(format!("{first}: {} folders hold benchmark {id}", several.len()));
        }
        None => return Err(format!("criterion has no benchmark {id}")),
    };
    let at = |file: &str, reason: String| format!("{}: {reason}", folder.join(file).display());
    let benchmark = Benchmark::read(folder).map_err(|error| error.to_string())?;
    if let Some(macs) = benchmark.elements.filter(|&macs| macs != record.shape.macs().0) {
        let expected = record.shape.macs().0;
        return Err(at("benchmark.json", format!("throughput is {macs}, expected {expected}")));
    }
    let summary =
        check_times(&benchmark, launches.get(id)).map_err(|reason| at("sample.json", reason))?;
    if !close(summary.median_ns, benchmark.median) {
        let (expected, got) = (summary.median_ns, benchmark.median);
        return Err(at("estimates.json", format!("median is {got}, expected {expected}")));
    }
    let fences = Fences::of_quartiles(summary.q1_ns, summary.q3_ns);
    if !fences_close(&fences, &benchmark.fences, summary.median_ns) {
        let got = &benchmark.fences;
        return Err(at("tukey.json", format!("fences are {got:?}, expected {fences:?}")));
    }
    Ok(summary)
}

fn check_times(benchmark: &Benchmark, launches: Option<&Vec<f64>>) -> Result<Summary, String> {
    let Benchmark { iterations, times, .. } = benchmark;
    if iterations.len() != times.len() {
        return Err(format!("{} iters for {} times", iterations.len(), times.len()));
    }
    if let Some(index) = iterations.iter().position(|&n| n != 1.0) {
        let got = iterations[index];
        return Err(format!("sample {index} is of {got} iterations, expected one launch"));
    }
    if let Some(index) = times.iter().position(|time| !(time.is_finite() && *time > 0.0)) {
        let got = times[index];
        return Err(format!("time {index} is {got}, expected finite and > 0"));
    }
    match launches {
        None => return Err("the run's launches.parquet has no such configuration".to_owned()),
        Some(launches) if launches != times => {
            return Err(
                "the times are not the run's raw launches: another run wrote this file".to_owned()
            );
        }
        Some(_) => {}
    }
    Summary::of(times).ok_or_else(|| "no samples".to_owned())
}

/// Equal but for the rounding of another order of operations.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// Fences can be near zero (or below it) where times are not: their error is that of the times.
fn fences_close(a: &Fences, b: &Fences, scale: f64) -> bool {
    [
        (a.low_severe, b.low_severe),
        (a.low_mild, b.low_mild),
        (a.high_mild, b.high_mild),
        (a.high_severe, b.high_severe),
    ]
    .into_iter()
    .all(|(a, b)| (a - b).abs() <= 1e-9 * scale.max(a.abs()))
}

fn observation(record: &ConfigurationRecord, algorithm: &str, summary: &Summary) -> Observation {
    Observation {
        experiment: record.experiment.name().to_owned(),
        series: record.series.clone(),
        x: f64::from(record.x),
        shape: record.shape,
        latency: Latency {
            median_ns: Some(summary.median_ns),
            mean_ns: Some(summary.mean_ns),
            q1_ns: Some(summary.q1_ns),
            q3_ns: Some(summary.q3_ns),
            launches: Some(summary.launches),
            outliers_mild: Some(summary.outliers_mild),
            outliers_severe: Some(summary.outliers_severe),
        },
        algorithm: Some(algorithm.to_owned()),
    }
}

fn not(record: &ConfigurationRecord, status: &str, reason: &str) -> NotMeasured {
    NotMeasured { id: record.id.clone(), status: status.to_owned(), reason: reason.to_owned() }
}

fn threads(header: &RunHeader) -> String {
    let threads = header.plan.settings.threads.get();
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

fn provenance(header: &RunHeader) -> Provenance {
    let plan = &header.plan;
    Provenance {
        source: header.run_id.clone(),
        backend: plan.platform.backend.clone(),
        device: format!("{}, {}", plan.platform.device, threads(header)),
        versions: plan.platform.versions(),
        protocol: format!("{}, profile {}", plan.protocol, plan.settings.profile),
    }
}

/// The run's circumstances, in the order of a methods section.
fn environment(header: &RunHeader) -> Vec<(String, String)> {
    let (plan, platform) = (&header.plan, &header.plan.platform);
    let unknown = || "not readable".to_owned();
    // of an interrupted run, the state at the start of each process
    let each = |of: &dyn Fn(&Conditions) -> String| {
        let sessions: Vec<_> = header.sessions.iter().map(|s| of(&s.conditions)).collect();
        sessions.join("; ")
    };
    let cores = match platform.physical_cores {
        Some(physical) => format!("{physical} physical, {} logical", platform.logical_cores),
        None => format!("{} logical", platform.logical_cores),
    };
    let pinned = platform.pinned_cores.as_ref().map_or_else(
        || "not pinned".to_owned(),
        |cores| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    );
    let ended = header.ended.map_or_else(|| "unfinished".to_owned(), |time| time.to_string());
    [
        ("run", header.run_id.clone()),
        ("started", header.started.to_string()),
        ("ended", ended),
        ("interrupted and resumed", format!("{} times", header.sessions.len().saturating_sub(1))),
        ("settings", plan.settings.to_string()),
        ("protocol", plan.protocol.to_string()),
        ("seed", header.seed.to_string()),
        ("backend", platform.backend.clone()),
        ("device", platform.device.clone()),
        ("cores", cores),
        ("threads pinned to cores", pinned),
        ("vector extensions", platform.vector_extensions.clone()),
        ("memory", platform.memory.to_string()),
        (
            "memory available",
            each(&|now| now.memory_available.map_or_else(unknown, |bytes| bytes.to_string())),
        ),
        ("operating system", format!("{} (kernel {})", platform.os, platform.kernel)),
        ("frequency governor", each(&|now| now.governor.clone().unwrap_or_else(unknown))),
        (
            "load average at start",
            each(&|now| now.load_average.map_or_else(unknown, |load| format!("{load:.2}"))),
        ),
        ("timer resolution", each(&|now| format!("{} ns", now.timer_resolution_ns))),
        ("timer overhead", each(&|now| format!("{} ns", now.timer_overhead_ns))),
        ("compiler", format!("{} for {}", platform.rustc, platform.target)),
        ("crates", platform.crates.join(", ")),
        ("commit", platform.git_commit.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests;
