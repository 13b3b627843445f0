//! A run of this project's benchmarks: criterion's files, checked against the run's own record.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use alpha_flops::file_error::FileError;
use alpha_flops::record::ConfigurationRecord;
use alpha_flops::statistics::{Fences, Summary};
use thiserror::Error;

use super::{Imported, environment};
use crate::criterion_json::{Benchmark, BenchmarkFolder, benchmarks};
use crate::dataset::{Dataset, Observation};
use crate::run::{Latencies, Missing, Run, Status};

/// Why nothing can be imported.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ImportError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: none of {rejected} benchmarks can be used; the first: {first}")]
    Nothing { path: PathBuf, rejected: usize, first: String },
}

const GONE: &str = "criterion's files of this run are gone; measure again with `cargo bench`";

/// Imports the finished run in `folder`, see [`import`].
///
/// # Errors
/// [`ImportError`] where there is no finished run or nothing sound in it.
pub fn read(folder: &Path) -> Result<Imported, ImportError> {
    import(&Run::open(folder)?)
}

/// Imports a run from its own folder.
///
/// Every configuration that the run measured is looked up among criterion's files by the id in
/// `benchmark.json`, and is left out, with the reason, unless there is exactly one such benchmark,
/// its files parse, every sample is one launch, the times are the run's raw launches (and so of no
/// other run), finite and positive, and median and fences are those of the times.
///
/// # Errors
/// [`ImportError`] where nothing in it is sound.
pub fn import(run: &Run) -> Result<Imported, ImportError> {
    let home = run.path.join(&run.header.criterion_home);
    let (folders, mut rejected) = index(&home, &run.header.criterion_baseline)?;
    let decoded = run.decode(|record, latencies| Ok(check(record, &folders, Some(latencies))))?;
    let measured = decoded.into_iter().filter(|(record, _)| record.outcome.measured().is_some());
    let mut observations = Vec::new();
    for ((record, checked), observation) in measured.zip(&run.dataset.observations) {
        match checked.unwrap_or_else(|| check(record, &folders, None)) {
            Ok(summary) => {
                observations
                    .push(Observation { latency: (&summary).into(), ..observation.clone() });
            }
            Err(reason) => rejected.push(reject(record.id.clone(), reason)),
        }
    }
    match rejected.first() {
        Some(first) if observations.is_empty() => Err(ImportError::Nothing {
            path: home,
            rejected: rejected.len(),
            first: first.reason.clone(),
        }),
        _ => Ok(Imported {
            dataset: Dataset { provenance: run.dataset.provenance.clone(), observations },
            rejected,
            not_measured: run.missing.clone(),
            environment: environment::of_run(&run.header),
            quiet: run.header.quiet.clone(),
            ignored_columns: Vec::new(),
        }),
    }
}

fn reject(id: String, reason: String) -> Missing {
    Missing { id, status: Status::Rejected, reason }
}

/// Criterion's folders by benchmark id: one usually, several where folders were mixed up.
type Folders = HashMap<String, Vec<PathBuf>>;

fn index(home: &Path, baseline: &str) -> Result<(Folders, Vec<Missing>), ImportError> {
    let mut folders = Folders::new();
    let mut rejected = Vec::new();
    for BenchmarkFolder { folder, id } in
        benchmarks(home, baseline).map_err(|error| error.with_hint(GONE))?
    {
        match id {
            Ok(id) => folders.entry(id).or_default().push(folder),
            Err(error) => {
                rejected.push(reject(folder.display().to_string(), error.to_string()));
            }
        }
    }
    Ok((folders, rejected))
}

/// The summary of a configuration whose files are sound, or what is wrong with them.
fn check(
    record: &ConfigurationRecord,
    folders: &Folders,
    latencies: Option<&Latencies<'_>>,
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
    let latencies =
        check_times(&benchmark, latencies).map_err(|reason| at("sample.json", reason))?;
    // criterion knows nothing of passes
    let together = Summary::from_latencies(latencies.ns);
    let together = together.ok_or_else(|| at("sample.json", "no samples".to_owned()))?;
    if !close(together.median_ns, benchmark.median) {
        let (expected, got) = (together.median_ns, benchmark.median);
        return Err(at("estimates.json", format!("median is {got}, expected {expected}")));
    }
    let fences = Fences::from_quartiles(together.q1_ns, together.q3_ns);
    if !fences_close(&fences, &benchmark.fences, together.median_ns) {
        let got = &benchmark.fences;
        return Err(at("tukey.json", format!("fences are {got:?}, expected {fences:?}")));
    }
    latencies.summary().ok_or_else(|| at("sample.json", "no samples".to_owned()))
}

/// The run's latencies, if the benchmark's times are these.
fn check_times<'a>(
    benchmark: &Benchmark,
    latencies: Option<&'a Latencies<'a>>,
) -> Result<&'a Latencies<'a>, String> {
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
    match latencies {
        None => Err("the run's launches.parquet has no such configuration".to_owned()),
        Some(latencies) if latencies.ns != times => {
            Err("the times are not the run's raw launches: another run wrote this file".to_owned())
        }
        Some(latencies) => Ok(latencies),
    }
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

#[cfg(test)]
mod tests;
