//! A run of this project's benchmarks: criterion's files, checked against the run's own record.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use alpha_flops::atomic_file::write_atomically;
use alpha_flops::environment::Platform;
use alpha_flops::file_error::FileError;
use alpha_flops::record::{ConfigurationRecord, FinishedRun, Outcome, RunHeader, Session};
use alpha_flops::statistics::{Fences, Summary};
use alpha_flops::units::Nanoseconds;
use serde::Serialize;
use thiserror::Error;

use crate::criterion_json::{Benchmark, CriterionError, Found, benchmarks};
use crate::dataset::{Dataset, Latency, Observation};
use crate::recorded::provenance;

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
        source: FileError,
    },
    /// Criterion's folder cannot be listed.
    #[error("{0}\nhint: criterion's files of this run are gone; measure again with `cargo bench`")]
    Criterion(CriterionError),
    /// The raw launches cannot be read, or the environment cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
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
    let clock = run.header.plan.settings.protocol.clock;
    let latencies = |id: &str| launches.get(id).map(|times| times.by(clock));
    let home = run.criterion_home();
    let (folders, mut rejected) = index(&home, &run.header.criterion_baseline)?;
    let mut observations = Vec::new();
    let mut not_measured = Vec::new();
    for record in in_suite_order(&run.header) {
        match &record.outcome {
            Outcome::Measured { algorithm, .. } => {
                match check(record, &folders, latencies(&record.id)) {
                    Ok(summary) => observations.push(observation(record, algorithm, &summary)),
                    Err(reason) => rejected.push(Rejected { id: record.id.clone(), reason }),
                }
            }
            Outcome::Skipped { reason } => not_measured.push(not(record, "skipped", reason)),
            Outcome::Failed { reason, .. } => not_measured.push(not(record, "failed", reason)),
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
    })?;
    Ok(())
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
    latencies_ns: Option<&[f64]>,
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
        check_times(&benchmark, latencies_ns).map_err(|reason| at("sample.json", reason))?;
    if !close(summary.median_ns, benchmark.median) {
        let (expected, got) = (summary.median_ns, benchmark.median);
        return Err(at("estimates.json", format!("median is {got}, expected {expected}")));
    }
    let fences = Fences::from_quartiles(summary.q1_ns, summary.q3_ns);
    if !fences_close(&fences, &benchmark.fences, summary.median_ns) {
        let got = &benchmark.fences;
        return Err(at("tukey.json", format!("fences are {got:?}, expected {fences:?}")));
    }
    Ok(summary)
}

fn check_times(benchmark: &Benchmark, launches: Option<&[f64]>) -> Result<Summary, String> {
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
    Summary::from_latencies(times).ok_or_else(|| "no samples".to_owned())
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
        experiment: record.experiment.name.to_owned(),
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

/// The run's circumstances, in the order of a methods section.
fn environment(header: &RunHeader) -> Vec<(String, String)> {
    let (plan, platform) = (&header.plan, &header.plan.platform);
    let mut lines = Lines::default();
    let ended = header.ended.map_or_else(|| "unfinished".to_owned(), |time| time.to_string());
    let resumed = header.sessions.len().saturating_sub(1);
    lines.add("run", &header.run_id);
    lines.add("started", header.started);
    lines.add("ended", ended);
    lines.add("interrupted and resumed", format!("{resumed} times"));
    lines.add("settings", &plan.settings);
    lines.add("protocol", plan.settings.protocol);
    lines.add("seed", header.seed);
    lines.add("backend", &platform.backend);
    lines.add("device", &platform.device);
    let verified =
        |c: &&ConfigurationRecord| matches!(c.outcome, Outcome::Measured { verified: true, .. });
    lines.add(
        "outputs compared with direct sums",
        match header.configurations.iter().filter(verified).count() {
            0 => "of one configuration of each experiment".to_owned(),
            verified => format!("of {verified} configurations"),
        },
    );
    lines.add_gpu(header);
    lines.add_host(platform);
    lines.add_conditions(&header.sessions);
    lines.add("compiler", format!("{} for {}", platform.rustc, platform.target));
    lines.add("crates", platform.crates.join(", "));
    lines.add("commit", &platform.git_commit);
    lines.0
}

/// Names and values to show.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    /// A value that could not be read has been asked for all the same.
    fn add_if_known(&mut self, name: &str, value: Option<impl ToString>) {
        self.add(name, value.map_or_else(|| "not readable".to_owned(), |value| value.to_string()));
    }

    /// Of an interrupted run, the state at the start of each process.
    fn add_of_each(&mut self, name: &str, sessions: &[Session], of: impl Fn(&Session) -> String) {
        self.add(name, sessions.iter().map(of).collect::<Vec<_>>().join("; "));
    }

    fn add_gpu(&mut self, header: &RunHeader) {
        let Some(gpu) = &header.plan.platform.gpu else { return };
        let on_off = |on: bool| if on { "on" } else { "off" };
        self.add("GPU", format!("{} in slot {}", gpu.uuid, gpu.pci_bus_id));
        self.add("compute capability", &gpu.compute_capability);
        self.add("multiprocessors", gpu.multiprocessors);
        self.add("level-2 cache", gpu.l2_cache);
        self.add("device memory", gpu.memory);
        self.add_if_known("driver", gpu.driver.as_ref());
        self.add("CUDA of the driver", &gpu.cuda);
        self.add("cuDNN", format!("{}, built with CUDA {}", gpu.cudnn, gpu.cudnn_cuda));
        self.add_if_known("ECC", gpu.ecc.map(on_off));
        self.add_if_known("persistence mode", gpu.persistence.map(on_off));
        self.add_if_known("power limit", gpu.power_limit_w.map(|watts| format!("{watts} W")));
        let variables: Vec<String> =
            gpu.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !variables.is_empty() {
            self.add("variables of CUDA and cuDNN", variables.join(" "));
        }
        let bound = header.configurations.iter().filter(|c| c.outcome.is_bound_by_submission());
        self.add(
            "as short as submitting them",
            match bound.count() {
                0 => "no configuration".to_owned(),
                n => format!(
                    "{n} configurations: half of their time or more may be the device's waiting"
                ),
            },
        );
        if let Some(reason) = &gpu.nvml_missing {
            self.add("clocks and throttling", format!("not recorded: {reason}"));
            return;
        }
        let throttled: Vec<&ConfigurationRecord> =
            header.configurations.iter().filter(|c| c.outcome.is_throttled()).collect();
        self.add(
            "throttled",
            match throttled.first() {
                None => "no configuration".to_owned(),
                Some(first) => {
                    format!("{} configurations, {} the first", throttled.len(), first.id)
                }
            },
        );
    }

    fn add_host(&mut self, platform: &Platform) {
        let cores = match platform.physical_cores {
            Some(physical) => format!("{physical} physical, {} logical", platform.logical_cores),
            None => format!("{} logical", platform.logical_cores),
        };
        if platform.gpu.is_some() {
            self.add("CPU", &platform.cpu);
        }
        self.add("cores", cores);
        if platform.gpu.is_none() {
            let pinned = platform.pinned_cores.as_ref().map_or_else(
                || "not pinned".to_owned(),
                |cores| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
            );
            self.add("threads pinned to cores", pinned);
            self.add("vector extensions", &platform.vector_extensions);
        }
        self.add("memory", platform.memory);
        self.add("operating system", format!("{} (kernel {})", platform.os, platform.kernel));
    }

    fn add_conditions(&mut self, sessions: &[Session]) {
        let unknown = || "not readable".to_owned();
        self.add_of_each("memory available", sessions, |session| {
            session.conditions.memory_available.map_or_else(unknown, |bytes| bytes.to_string())
        });
        self.add_of_each("frequency governor", sessions, |session| {
            session.conditions.governor.clone().unwrap_or_else(unknown)
        });
        self.add_of_each("load average at start", sessions, |session| {
            session.conditions.load_average.map_or_else(unknown, |load| format!("{load:.2}"))
        });
        self.add_of_each("timer resolution", sessions, |session| {
            format!("{} ns", session.conditions.timer_resolution_ns)
        });
        self.add_of_each("timer overhead", sessions, |session| {
            format!("{} ns", session.conditions.timer_overhead_ns)
        });
        self.add_of_each("empty launch", sessions, |Session { empty_launch, .. }| {
            let host = format!("{} by the host", Nanoseconds(empty_launch.host_ns));
            match empty_launch.device_ns {
                Some(device_ns) => format!("{host}, {} by the device", Nanoseconds(device_ns)),
                None => host,
            }
        });
        if sessions.iter().any(|session| session.why_cpu.is_some()) {
            self.add_of_each("why no GPU", sessions, |session| {
                session.why_cpu.clone().unwrap_or_else(|| "the CPU was asked for".to_owned())
            });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
