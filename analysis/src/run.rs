//! A finished run, as every analysis reads it: from its own folder, or as it was archived.
//!
//! Header and medians are read when it is opened. Launches are decoded only by [`Run::map_launches`],
//! one configuration at a time, and checked against the header there.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use alpha_flops::backend::device::DeviceStates;
use alpha_flops::experiment::configuration_id;
use alpha_flops::file_error::FileError;
use alpha_flops::measure::SampleTimes;
use alpha_flops::record::{
    Comparable, ConfigurationRecord, FinishedRun, LaunchesFile, Measured, Outcome, RunHeader,
};
use alpha_flops::statistics::Summary;
use alpha_flops::units::Bytes;
use rayon::prelude::*;
use regex::Regex;
use serde::Serialize;

use crate::dataset::{Dataset, Observation, Provenance};
use crate::in_order::try_map;

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its folder, or the file of its archived dataset.
    pub path: PathBuf,
    /// `run.json`; an archived run has no records of single configurations, and no launches.
    pub header: RunHeader,
    /// The latencies of what was measured, in the suite's order.
    pub dataset: Dataset,
    /// What was planned and not measured, in the suite's order.
    pub missing: Vec<Missing>,
}

/// A configuration without latencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// `D/h=100_w=640_in=150_out=100_k=3`.
    pub id: String,
    /// What became of it.
    #[serde(skip_serializing_if = "Status::is_rejected")]
    pub status: Status,
    /// Why, with the path where a file is to blame.
    pub reason: String,
}

/// What became of a configuration without latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say what the others are")]
pub enum Status {
    #[serde(rename = "skipped")]
    Skipped,
    #[serde(rename = "failed")]
    Failed,
    /// One of the two; which is not known, or differs.
    #[serde(rename = "skipped or failed")]
    SkippedOrFailed,
    /// It was measured, but its files are damaged or contradict each other.
    Rejected,
}

impl Status {
    fn is_rejected(&self) -> bool {
        *self == Self::Rejected
    }
}

/// One measured configuration of a run.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Measurement<'a> {
    pub observation: &'a Observation,
    pub median_ns: f64,
    /// Scratch memory of the algorithm; not known of an archived run.
    pub workspace: Option<Bytes>,
    /// The device's clocks and the like, where it tells them; not known of an archived run.
    pub device: Option<&'a DeviceStates>,
}

/// The latencies of a configuration in a run, by the protocol's clock, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies<'a> {
    /// All, in the order launched.
    pub ns: &'a [f64],
    /// The same, pass by pass.
    pub passes: Vec<&'a [f64]>,
}

impl Latencies<'_> {
    /// What a record of them says.
    pub fn summary(&self) -> Option<Summary> {
        Summary::from_passes(self.passes.iter().copied())
    }
}

impl Run {
    /// Opens the run in a folder and checks its record.
    ///
    /// # Errors
    /// [`FileError`] where there is no finished run, a configuration's id is not that of its shape, or two
    /// records are of one configuration.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let FinishedRun { header, path } =
            FinishedRun::open(folder).map_err(|error| error.with_hint(WHICH_FOLDER))?;
        let (mut observations, mut missing) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for record in in_suite_order(&header) {
            if !seen.insert(record.id.as_str()) {
                let cause = format!("{}: there is more than one record of it", record.id);
                return Err(FileError::read(&path.join("run.json"), cause));
            }
            let expected = configuration_id(record.experiment, &record.shape);
            if record.id != expected {
                let cause = format!("{}: experiment and shape are those of {expected}", record.id);
                return Err(FileError::read(&path.join("run.json"), cause));
            }
            match of_record(record) {
                Ok(observation) => observations.push(observation),
                Err(without) => missing.push(without),
            }
        }
        let dataset = Dataset { provenance: provenance(&header), observations };
        Ok(Self { path, header, dataset, missing })
    }

    /// Leaves out the configurations whose ids do not match. Their launches are still checked.
    pub fn keep_only(&mut self, filter: &Regex) {
        self.header.plan.ids.retain(|id| filter.is_match(id));
        self.missing.retain(|missing| filter.is_match(&missing.id));
        self.dataset.observations.retain(|observation| filter.is_match(&observation.id()));
    }

    /// Every configuration with a median, by id.
    pub fn measurements(&self) -> HashMap<String, Measurement<'_>> {
        let recorded: HashMap<&str, (Bytes, Option<&DeviceStates>)> =
            self.header.configurations.iter().filter_map(recorded).collect();
        let measurement = |observation| {
            let id = Observation::id(observation);
            let recorded = recorded.get(id.as_str());
            let measurement = Measurement {
                observation,
                median_ns: observation.latency.median_ns?,
                workspace: recorded.map(|(workspace, _)| *workspace),
                device: recorded.and_then(|(_, device)| *device),
            };
            Some((id, measurement))
        };
        self.dataset.observations.iter().filter_map(measurement).collect()
    }

    /// Calls `of` with every measured configuration and its latencies; results are in the suite's
    /// order. Configurations are handled in parallel, and few are in memory at a time.
    ///
    /// # Errors
    /// [`FileError`] where launches are missing, damaged, or not those that the record sums up.
    pub fn map_launches<T: Send>(
        &self,
        of: impl Fn(&ConfigurationRecord, &Latencies<'_>) -> T + Sync,
    ) -> Result<Vec<T>, FileError> {
        let results = self.decode(|record, latencies| {
            self.check(record, latencies)?;
            Ok(of(record, latencies))
        })?;
        for (record, result) in &results {
            if result.is_none() && summary(record).is_some() {
                return Err(self.contradiction(&record.id, NO_LAUNCHES));
            }
        }
        Ok(results.into_iter().filter_map(|(_, result)| result).collect())
    }

    /// Every configuration in the suite's order, with what `of` makes of its launches; `None` where it has
    /// none. Nothing is checked but that each has them in one place.
    pub(crate) fn decode<T: Send>(
        &self,
        of: impl Fn(&ConfigurationRecord, &Latencies<'_>) -> Result<T, FileError> + Sync,
    ) -> Result<Vec<(&ConfigurationRecord, Option<T>)>, FileError> {
        let clock = self.header.plan.settings.protocol.clock;
        let records = in_suite_order(&self.header);
        let mut results: Vec<Option<T>> = records.iter().map(|_| None).collect();
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let position: HashMap<&str, usize> =
            records.iter().enumerate().map(|(index, record)| (record.id.as_str(), index)).collect();
        let of_one = |(id, times): &(String, SampleTimes)| {
            let Some(&index) = position.get(id.as_str()) else {
                return Err(self.contradiction(id, "is in launches.parquet, but not in run.json"));
            };
            let latencies = Latencies { ns: times.by(clock), passes: times.by_pass(clock) };
            Ok((index, of(records[index], &latencies)?))
        };
        let file = LaunchesFile::open(&self.launches_path())?;
        let groups: Vec<Result<Vec<(usize, T)>, FileError>> = (0..file.groups())
            .into_par_iter()
            .map(|group| try_map(&file.read(group)?, of_one))
            .collect();
        for group in groups {
            for (index, result) in group? {
                if results[index].replace(result).is_some() {
                    let id = &records[index].id;
                    return Err(self.contradiction(id, "comes back after another configuration"));
                }
            }
        }
        Ok(records.into_iter().zip(results).collect())
    }

    /// Whether the launches are those that the record sums up.
    fn check(
        &self,
        record: &ConfigurationRecord,
        latencies: &Latencies<'_>,
    ) -> Result<(), FileError> {
        let reason = match (summary(record), latencies.summary()) {
            (None, _) => "has launches, but run.json has no summary".to_owned(),
            (Some(_), None) => NO_LAUNCHES.to_owned(),
            (Some(expected), Some(found)) if found == *expected => return Ok(()),
            (Some(expected), Some(found)) => format!(
                "{} launches with a median of {} ns, expected {} with {} ns as run.json says: \
                 the two files are of different runs",
                found.launches, found.median_ns, expected.launches, expected.median_ns
            ),
        };
        Err(self.contradiction(&record.id, &reason))
    }

    fn launches_path(&self) -> PathBuf {
        self.path.join("launches.parquet")
    }

    fn contradiction(&self, id: &str, reason: &str) -> FileError {
        FileError::read(&self.launches_path(), format!("{id}: {reason}"))
    }
}

const WHICH_FOLDER: &str = "give the folder that `cargo bench` names at its end, e.g. \
                            target/alpha-flops/2026-01-31t12-00-00z-5eed";

/// Why a record with a summary is not usable.
const NO_LAUNCHES: &str = "has no launches by the protocol's clock, but run.json has a summary";

/// The configurations' records in the experiments' order, not the random one they were measured in.
fn in_suite_order(header: &RunHeader) -> Vec<&ConfigurationRecord> {
    let position: HashMap<&str, usize> =
        header.plan.ids.iter().enumerate().map(|(index, id)| (id.as_str(), index)).collect();
    let mut records: Vec<_> = header.configurations.iter().collect();
    records.sort_by_key(|record| position.get(record.id.as_str()));
    records
}

fn summary(record: &ConfigurationRecord) -> Option<&Summary> {
    record.outcome.measured().map(|measured| &measured.summary)
}

/// The id of what was measured, its workspace and the device's states.
fn recorded(record: &ConfigurationRecord) -> Option<(&str, (Bytes, Option<&DeviceStates>))> {
    let measured = record.outcome.measured()?;
    Some((&record.id, (measured.workspace_bytes, measured.device.as_ref())))
}

/// What was measured, or why nothing was.
fn of_record(record: &ConfigurationRecord) -> Result<Observation, Missing> {
    let missing =
        |status, reason: &str| Missing { id: record.id.clone(), status, reason: reason.to_owned() };
    match &record.outcome {
        Outcome::Measured(Measured { algorithm, summary, .. }) => Ok(Observation {
            experiment: record.experiment.name.to_owned(),
            series: record.series.clone(),
            x: f64::from(record.x),
            shape: record.shape,
            latency: summary.into(),
            algorithm: Some(algorithm.clone()),
        }),
        Outcome::Skipped { reason } => Err(missing(Status::Skipped, reason)),
        Outcome::Failed { reason, .. } => Err(missing(Status::Failed, reason)),
    }
}

/// `skipped A/h=…: needs 3 GiB`.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Skipped => "skipped",
            Status::Failed => "failed",
            Status::SkippedOrFailed => "skipped or failed",
            Status::Rejected => "left out",
        };
        write!(f, "{status} {}: {}", self.id, self.reason)
    }
}

/// The smallest difference between two latencies that the run's clock can resolve, in nanoseconds.
pub fn clock_step_ns(header: &RunHeader) -> f64 {
    let steps = header.sessions.iter().map(|session| session.conditions.timer_resolution_ns);
    header.plan.settings.sample_step_ns(steps.fold(1.0, f64::max))
}

/// Where the latencies of a run come from, as tables and figures show it.
pub fn provenance(header: &RunHeader) -> Provenance {
    let Comparable { backend, device, .. } = header.plan.comparable();
    Provenance {
        source: header.run_id.clone(),
        backend,
        device,
        versions: header.plan.platform.versions(),
        protocol: header.plan.settings.protocol_line(),
    }
}

/// The provenance of one or more comparable runs: the source says how many, the first and the last, and
/// versions and protocols that differ stand side by side.
pub fn provenance_of_all(runs: &[Run]) -> Provenance {
    let mut common = provenance(&runs[0].header);
    for other in runs.iter().map(|run| provenance(&run.header)) {
        for (all, one) in
            [(&mut common.versions, other.versions), (&mut common.protocol, other.protocol)]
        {
            if !all.split(" | ").any(|known| known == one) {
                *all += &format!(" | {one}");
            }
        }
    }
    if let [Run { header: first, .. }, .., Run { header: last, .. }] = runs {
        common.source = format!("{} runs, {} to {}", runs.len(), first.run_id, last.run_id);
    }
    common
}

#[cfg(test)]
mod tests;
