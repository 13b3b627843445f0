//! The two sides of a comparison: runs read, checked to be comparable, and what differs between them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use alpha_flops::backend::device::DeviceStates;
use alpha_flops::record::{ConfigurationRecord, Outcome, RunHeader};
use alpha_flops::statistics::sorted;
use alpha_flops::units::Bytes;
use rayon::prelude::*;

use super::CompareError;
use crate::archive::{self, Archived};
use crate::circumstances::{self, Difference};
use crate::recorded::Recorded;
use crate::variance::dependence::Dependence;
use crate::variance::interval::log_median_error;

/// One run, launches reduced to what a comparison needs.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it was read from.
    pub path: PathBuf,
    /// What `run.json` says, without the configurations.
    pub header: RunHeader,
    /// What was measured, by id.
    pub measured: BTreeMap<String, Measured>,
    /// Why others were not, by id.
    pub not_measured: BTreeMap<String, NotMeasured>,
}

/// One configuration in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// `A` … `G`.
    pub experiment: String,
    /// Its line.
    pub series: String,
    /// Value of the independent variable.
    pub x: f64,
    /// Median latency in nanoseconds.
    pub median_ns: f64,
    /// Standard error of its logarithm from the launches alone, [`log_median_error`]; `None` where it was
    /// not asked for, or there are too few.
    pub ln_se: Option<f64>,
    /// Engine and knobs, or the algorithm, that computed.
    pub algorithm: String,
    /// Its scratch memory, where known.
    pub workspace: Option<Bytes>,
    /// The device's clocks and the like, where it tells them.
    pub device: Option<DeviceStates>,
}

/// A configuration without a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotMeasured {
    /// Whether it was tried and failed; else it was skipped.
    pub failed: bool,
    /// Why.
    pub reason: String,
}

/// A name for each side in messages.
pub const SIDES: [&str; 2] = ["BEFORE", "AFTER"];

impl Run {
    /// Reads a run's folder, or an archived run's dataset; with standard errors from the launches of the
    /// former, if they are wanted: they take as long as all the rest.
    ///
    /// # Errors
    /// [`CompareError`] where there is no sound finished run.
    pub fn read(path: &Path, with_errors: bool) -> Result<Self, CompareError> {
        match path.extension().is_some_and(|extension| extension == "csv") {
            true => Ok(archive::read_run(path)?.into()),
            false => Self::recorded(path, with_errors),
        }
    }

    fn recorded(folder: &Path, with_errors: bool) -> Result<Self, CompareError> {
        let recorded = Recorded::open(folder)?;
        let measured = recorded.map_launches(|record, latencies_ns| {
            let latencies_ns = with_errors.then_some(latencies_ns);
            Measured::of(record, latencies_ns).map(|measured| (record.id.clone(), measured))
        })?;
        let header = recorded.header();
        let not_measured = header.configurations.iter().filter_map(|record| {
            let (failed, reason) = match &record.outcome {
                Outcome::Measured { .. } => return None,
                Outcome::Skipped { reason } => (false, reason.clone()),
                Outcome::Failed { reason, .. } => (true, reason.clone()),
            };
            Some((record.id.clone(), NotMeasured { failed, reason }))
        });
        Ok(Self {
            path: folder.to_owned(),
            measured: measured.into_iter().flatten().collect(),
            not_measured: not_measured.collect(),
            header: RunHeader { configurations: Vec::new(), ..header.clone() },
        })
    }

    /// Variance of ln of this latency that the clock's resolution alone makes: as of a rounding error
    /// of up to half a step either way.
    pub fn resolution_variance(&self, median_ns: f64) -> f64 {
        let relative = crate::recorded::clock_step_ns(&self.header) / median_ns;
        relative * relative / 12.0
    }
}

/// Medians and environment are archived; launches, plans and the device's states are not.
impl From<Archived> for Run {
    fn from(Archived { header, dataset, path }: Archived) -> Self {
        let measured = dataset.observations.into_iter().filter_map(|observation| {
            let measured = Measured {
                median_ns: observation.latency.median_ns?,
                ln_se: None,
                algorithm: observation.algorithm.unwrap_or_else(|| "unknown".to_owned()),
                workspace: None,
                device: None,
                x: observation.x,
                series: observation.series,
                experiment: observation.experiment,
            };
            Some((format!("{}/{}", measured.experiment, observation.shape), measured))
        });
        let measured: BTreeMap<String, Measured> = measured.collect();
        let not_measured = header.plan.ids.iter().filter(|id| !measured.contains_key(*id));
        let reason = "not in the archived dataset: skipped, or failed".to_owned();
        let not_measured = not_measured
            .map(|id| (id.clone(), NotMeasured { failed: false, reason: reason.clone() }))
            .collect();
        Self { path, header, measured, not_measured }
    }
}

/// Archived runs in the folder of a target that may be compared with both, with the same configurations
/// and as many launches by the same rule, in groups of one kind; the two themselves are left out.
///
/// # Errors
/// [`CompareError`] where the archive cannot be read.
pub fn history(target: &Path, before: &Run, after: &Run) -> Result<Vec<Vec<Run>>, CompareError> {
    let own = before.header.plan.comparable();
    let mut groups: Vec<Vec<Run>> = Vec::new();
    for archived in archive::read(target)?.into_iter().map(Run::from) {
        // medians of fewer launches differ more
        let how_many = |run: &Run| {
            let settings = &run.header.plan.settings;
            (settings.profile, settings.launches)
        };
        let is_compared =
            [before, after].iter().any(|run| run.header.run_id == archived.header.run_id);
        let is_alike = archived.header.plan.comparable() == own
            && archived.header.plan.ids == before.header.plan.ids
            && [before, after].iter().all(|run| how_many(&archived) == how_many(run));
        if is_compared || !is_alike {
            continue;
        }
        let is_alike = |group: &&mut Vec<Run>| changed(&group[0], &archived).is_empty();
        match groups.iter_mut().find(is_alike) {
            Some(group) => group.push(archived),
            None => groups.push(vec![archived]),
        }
    }
    groups.retain(|group| group.len() > 1);
    Ok(groups)
}

/// Reads the runs of both sides, several at a time.
///
/// # Errors
/// [`CompareError`] where a side has none, or one cannot be read.
pub fn read(before: &[PathBuf], after: &[PathBuf]) -> Result<[Vec<Run>; 2], CompareError> {
    for (side, folders) in SIDES.into_iter().zip([before, after]) {
        if folders.is_empty() {
            return Err(CompareError::Empty { side });
        }
    }
    let folders: Vec<&PathBuf> = before.iter().chain(after).collect();
    // where there are more runs, they tell
    let with_errors = folders.len() == 2;
    let mut runs: Vec<Run> = folders
        .par_iter()
        .map(|folder| Run::read(folder, with_errors))
        .collect::<Result<_, _>>()?;
    let after = runs.split_off(before.len());
    Ok([runs, after])
}

impl Measured {
    fn of(record: &ConfigurationRecord, latencies_ns: Option<&[f64]>) -> Option<Self> {
        let Outcome::Measured { algorithm, workspace_bytes, device, summary, .. } = &record.outcome
        else {
            return None;
        };
        Some(Self {
            experiment: record.experiment.name.to_owned(),
            series: record.series.clone(),
            x: f64::from(record.x),
            median_ns: summary.median_ns,
            ln_se: latencies_ns.and_then(|latencies_ns| {
                let ordered = sorted(latencies_ns);
                log_median_error(&ordered, &Dependence::of(latencies_ns, &ordered))
            }),
            algorithm: algorithm.clone(),
            workspace: Some(*workspace_bytes),
            device: device.clone(),
        })
    }
}

/// Whether all runs may be compared; if not, why.
///
/// # Errors
/// [`CompareError`] where a run is given twice, a side mixes circumstances, or the sides differ in what
/// a latency means, or in the configurations unless `common` ones suffice.
pub fn check(before: &[Run], after: &[Run], common: bool) -> Result<(), CompareError> {
    let mut seen = HashSet::new();
    if let Some(run) = before.iter().chain(after).find(|run| !seen.insert(&run.header.run_id)) {
        return Err(CompareError::Repeated { run_id: run.header.run_id.clone() });
    }
    let [Some(first), Some(other)] = [before.first(), after.first()] else {
        let side = if before.is_empty() { SIDES[0] } else { SIDES[1] };
        return Err(CompareError::Empty { side });
    };
    for run in before.iter().chain(after) {
        let differences = first.header.plan.comparable().differences(&run.header.plan.comparable());
        if !differences.is_empty() {
            return Err(CompareError::NotComparable {
                before: first.path.clone(),
                after: run.path.clone(),
                differences,
            });
        }
    }
    for (side, runs) in SIDES.into_iter().zip([before, after]) {
        check_alike(runs, side)?;
    }
    let plans = before.iter().chain(after).find(|run| run.header.plan.ids != first.header.plan.ids);
    match plans {
        Some(run) if !common => Err(configurations_differ(first, run)),
        _ => {
            let others: HashSet<&String> = other.header.plan.ids.iter().collect();
            match first.header.plan.ids.iter().any(|id| others.contains(id)) {
                true => Ok(()),
                false => Err(configurations_differ(first, other)),
            }
        }
    }
}

/// Whether runs were measured under circumstances that decide latencies alike.
///
/// # Errors
/// [`CompareError::Mixed`] where not; `side` is what they are together.
pub fn check_alike(runs: &[Run], side: &'static str) -> Result<(), CompareError> {
    let differences: Vec<String> = runs.iter().flat_map(|run| changed(&runs[0], run)).collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(CompareError::Mixed { side, differences }),
    }
}

fn configurations_differ(first: &Run, other: &Run) -> CompareError {
    let ids = |run: &Run| run.header.plan.ids.iter().cloned().collect::<BTreeSet<String>>();
    let (mine, others) = (ids(first), ids(other));
    CompareError::Configurations {
        before: first.path.clone(),
        after: other.path.clone(),
        only_before: mine.difference(&others).cloned().collect(),
        only_after: others.difference(&mine).cloned().collect(),
    }
}

/// What decides latencies and is not equal in two runs of a side.
fn changed(first: &Run, other: &Run) -> Vec<String> {
    let differences = circumstances::differences(&[&first.header], &[&other.header]);
    let deciding = differences.into_iter().filter(|difference| difference.decides_latencies);
    deciding
        .map(|Difference { what, before, after, .. }| {
            let (first, other) = (first.path.display(), other.path.display());
            format!("{what} `{before}` in {first} against `{after}` in {other}")
        })
        .collect()
}

/// What is recorded and differs between the sides, what decides latencies first.
pub fn differences(before: &[Run], after: &[Run]) -> Vec<Difference> {
    let [before, after] =
        [before, after].map(|runs| runs.iter().map(|run| &run.header).collect::<Vec<&RunHeader>>());
    circumstances::differences(&before, &after)
}
