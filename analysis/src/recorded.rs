//! Runs as they were recorded: what was measured, with every launch. What reads launches reads them
//! here, one configuration at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use alpha_flops::file_error::FileError;
use alpha_flops::measure::SampleTimes;
use alpha_flops::protocol::{Clock, EVENT_STEP_NS};
use alpha_flops::record::{Comparable, ConfigurationRecord, FinishedRun, Outcome, RunHeader};
use alpha_flops::statistics::Summary;
use rayon::prelude::*;
use thiserror::Error;

use crate::dataset::Provenance;

/// A finished run whose record is sound, launches not yet looked at.
#[derive(Debug)]
pub struct Recorded {
    run: FinishedRun,
}

/// Why a record cannot be used.
#[derive(Debug, Error)]
pub enum RecordedError {
    /// There is no finished run.
    #[error(
        "{0}\nhint: give the folder that `cargo bench` names at its end, e.g. \
         target/alpha-flops/2026-01-31t12-00-00z-5eed"
    )]
    Record(#[source] FileError),
    /// The launches are missing or damaged; the error names the file.
    #[error(transparent)]
    Launches(#[from] FileError),
    /// A configuration's record contradicts itself or its launches.
    #[error("{path}: {id}: {reason}")]
    Configuration {
        /// The file that is wrong.
        path: PathBuf,
        /// The configuration.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Recorded {
    /// Opens the run in a folder and checks its record.
    ///
    /// # Errors
    /// [`RecordedError`] where there is no finished run, or a configuration has another name than its
    /// shape gives it.
    pub fn open(folder: &Path) -> Result<Self, RecordedError> {
        let run = FinishedRun::open(folder).map_err(RecordedError::Record)?;
        for record in &run.header.configurations {
            let expected = format!("{}/{}", record.experiment.name, record.shape);
            if record.id != expected {
                return Err(RecordedError::Configuration {
                    path: folder.join("run.json"),
                    id: record.id.clone(),
                    reason: format!("experiment and shape are those of {expected}"),
                });
            }
        }
        Ok(Self { run })
    }

    /// What `run.json` says.
    pub fn header(&self) -> &RunHeader {
        &self.run.header
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.run.path
    }

    /// Calls `of` with every measured configuration and its latencies in nanoseconds, by the
    /// protocol's clock and in the order launched; results are in the suite's order. Configurations
    /// are handled in parallel, and few are in memory at a time.
    ///
    /// # Errors
    /// [`RecordedError`] where launches are missing, damaged, or not those that the record sums up.
    pub fn map_launches<T: Send>(
        &self,
        of: impl Fn(&ConfigurationRecord, &[f64]) -> T + Sync,
    ) -> Result<Vec<T>, RecordedError> {
        let clock = self.header().plan.settings.protocol.clock;
        let records = self.in_suite_order();
        let position: HashMap<&str, usize> =
            records.iter().enumerate().map(|(index, record)| (record.id.as_str(), index)).collect();
        let of_one = |(id, times): (String, SampleTimes)| {
            let Some(&index) = position.get(id.as_str()) else {
                return Err(self.launches_of(&id, "is in launches.parquet, but not in run.json"));
            };
            self.check(records[index], times.by(clock))?;
            Ok((index, of(records[index], times.by(clock))))
        };
        let file = self.run.launches_file()?;
        let groups: Vec<Result<Vec<(usize, T)>, RecordedError>> = (0..file.groups())
            .into_par_iter()
            .map(|group| file.read(group)?.into_par_iter().map(of_one).collect())
            .collect();
        let mut results: Vec<Option<T>> = records.iter().map(|_| None).collect();
        for group in groups {
            for (index, result) in group? {
                if results[index].replace(result).is_some() {
                    let id = &records[index].id;
                    return Err(self.launches_of(id, "comes back after another configuration"));
                }
            }
        }
        for (record, result) in records.iter().zip(&results) {
            if result.is_none() && summary(record).is_some() {
                return Err(self.launches_of(&record.id, NO_LAUNCHES));
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Configurations in the experiments' order, not the random one they were measured in.
    fn in_suite_order(&self) -> Vec<&ConfigurationRecord> {
        let RunHeader { plan, configurations, .. } = self.header();
        let position: HashMap<&str, usize> =
            plan.ids.iter().enumerate().map(|(index, id)| (id.as_str(), index)).collect();
        let mut records: Vec<_> = configurations.iter().collect();
        records.sort_by_key(|record| position.get(record.id.as_str()));
        records
    }

    /// Whether the launches are those that the record sums up.
    fn check(
        &self,
        record: &ConfigurationRecord,
        latencies_ns: &[f64],
    ) -> Result<(), RecordedError> {
        let Some(expected) = summary(record) else {
            return Err(self.launches_of(&record.id, "has launches, but run.json has no summary"));
        };
        match Summary::from_latencies(latencies_ns) {
            None => Err(self.launches_of(&record.id, NO_LAUNCHES)),
            Some(found) if found == *expected => Ok(()),
            Some(found) => Err(self.launches_of(
                &record.id,
                &format!(
                    "{} launches with a median of {} ns, expected {} with {} ns as run.json says: \
                     the two files are of different runs",
                    found.launches, found.median_ns, expected.launches, expected.median_ns
                ),
            )),
        }
    }

    fn launches_of(&self, id: &str, reason: &str) -> RecordedError {
        RecordedError::Configuration {
            path: self.run.path.join("launches.parquet"),
            id: id.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// Why a record with a summary is not usable.
const NO_LAUNCHES: &str = "has no launches by the protocol's clock, but run.json has a summary";

/// Statistics of a configuration, where it was measured.
fn summary(record: &ConfigurationRecord) -> Option<&Summary> {
    match &record.outcome {
        Outcome::Measured { summary, .. } => Some(summary),
        Outcome::Skipped { .. } | Outcome::Failed { .. } => None,
    }
}

/// The smallest difference of two latencies that a run's clock can tell, in nanoseconds.
pub fn clock_step_ns(header: &RunHeader) -> f64 {
    let protocol = header.plan.settings.protocol;
    let steps = header.sessions.iter().map(|session| session.conditions.timer_resolution_ns);
    let step_ns = match protocol.clock {
        Clock::Host => steps.fold(1.0, f64::max),
        Clock::Device => EVENT_STEP_NS,
    };
    step_ns / f64::from(protocol.launches.get())
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

/// The same of comparable runs, of which there is one at least: of several, the source says how many, the
/// first and the last, and what is not equal in all stands side by side.
pub fn provenance_of_all(headers: &[&RunHeader]) -> Provenance {
    let mut common = provenance(headers[0]);
    for other in headers.iter().map(|header| provenance(header)) {
        for (all, one) in
            [(&mut common.versions, other.versions), (&mut common.protocol, other.protocol)]
        {
            if !all.split(" | ").any(|known| known == one) {
                *all += &format!(" | {one}");
            }
        }
    }
    if let [first, .., last] = headers {
        common.source = format!("{} runs, {} to {}", headers.len(), first.run_id, last.run_id);
    }
    common
}

#[cfg(test)]
mod tests;
