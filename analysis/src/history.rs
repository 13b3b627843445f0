//! A target's runs over time: how much slower or faster than the first, since when, and what changed
//! then.
//!
//! The run is the unit: a run's number is the mean over configurations of
//! `ln(median latency / median latency in the first run)`, whose exponential is the geometric mean
//! of the ratios. How much it differs by chance is taken from runs in equal environments.

#![allow(missing_docs, reason = "fields whose names say what they are have no docs")]

use std::collections::HashMap;

use alpha_flops::record::{Comparable, RunHeader};
use alpha_flops::shape::ConvShape;
use jiff::Timestamp;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::dataset::{Dataset, Provenance};
use crate::differences::{Difference, differences};
use crate::in_order::distinct;
use crate::run::{Run, provenance};

pub mod steps;
pub(crate) mod tables;

use steps::RunNoise;

/// The probability that a timeline without any step is said to have one, over all its experiments.
pub const FALSE_ALARMS: f64 = 0.05;

/// The name of what is over all experiments.
pub const ALL: &str = "all";

/// A target's runs: those that can be compared with each other, together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    pub target: String,
    /// One a protocol (and backend and device, should there be several).
    pub timelines: Vec<Timeline>,
}

/// Runs of one target by one protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// Where the numbers come from: versions are those of the first and the last run.
    pub provenance: Provenance,
    /// Oldest first.
    pub runs: Vec<HistoryRun>,
    /// Over all configurations, then of each experiment.
    pub trends: Vec<Trend>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryRun {
    /// From 1.
    pub number: usize,
    pub run_id: String,
    pub started: Timestamp,
    /// Commit of the sources it was built from.
    pub commit: String,
    pub versions: String,
    pub configurations: usize,
    /// Runs in equal environments have one number, from 1.
    pub environment: usize,
    /// What is not as it was in the run before.
    pub changes: Vec<Difference>,
    /// What may have disturbed it.
    pub remarks: Vec<String>,
}

/// How the latencies of an experiment went on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The experiment, or [`ALL`].
    pub experiment: String,
    /// Of each run of the timeline; `None` where the run and the first have no configuration in
    /// common.
    pub ratios: Vec<Option<Ratio>>,
    /// How much runs differ by chance: within equal environments, and where steps were found, within
    /// their levels. `None` where no two runs are in one environment.
    pub noise: Option<RunNoise>,
    pub steps: Steps,
}

/// Latencies of a run against those of the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Geometric mean.
    pub ratio: f64,
    /// Where 95% of such ratios lie: `ratio · exp(±t·√2·sd)`, Student's t with the noise's degrees of
    /// freedom. `None` for the first run, and where the noise is unknown.
    pub interval: Option<(f64, f64)>,
    /// Configurations that both have.
    pub configurations: usize,
}

/// What was found in a trend.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Steps {
    TooFew {
        /// Why, and what would help.
        reason: String,
    },
    Searched {
        /// Oldest first.
        found: Vec<Step>,
        /// The least step, in percent, that would be found were it in the middle.
        least_percent: f64,
    },
}

/// From one level to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Number of the first run at the new level.
    pub run: usize,
    pub started: Timestamp,
    /// The new level against the old.
    pub ratio: f64,
    /// 95% interval: `ratio · exp(±t·sd·√(1/n + 1/m))` with `n` and `m` runs at the two levels.
    pub interval: Option<(f64, f64)>,
    /// What is not as it was in the run before.
    pub changes: Vec<Difference>,
}

impl History {
    /// Of archived runs, oldest first; `None` where there are none.
    pub fn from_archived(target: &str, archived: &[Run]) -> Option<Self> {
        let mut groups: Vec<(Comparable, Vec<&Run>)> = Vec::new();
        for run in archived {
            let comparable = run.header.plan.comparable();
            match groups.iter_mut().find(|(other, _)| *other == comparable) {
                Some((_, runs)) => runs.push(run),
                None => groups.push((comparable, vec![run])),
            }
        }
        let timelines =
            groups.iter().map(|(_, runs)| Timeline::from_archived(runs)).collect::<Option<_>>()?;
        (!groups.is_empty()).then(|| Self { target: target.to_owned(), timelines })
    }
}

impl Timeline {
    /// Of runs that can be compared, oldest first.
    fn from_archived(archived: &[&Run]) -> Option<Self> {
        let environments = environments(archived);
        let runs: Vec<HistoryRun> = (0..archived.len())
            .map(|index| history_run(archived, index, environments[index]))
            .collect();
        let datasets: Vec<&Dataset> = archived.iter().map(|run| &run.dataset).collect();
        let observations = datasets.iter().flat_map(|dataset| &dataset.observations);
        let experiments = observations.map(|observation| observation.experiment.as_str());
        let names = distinct([ALL].into_iter().chain(experiments));
        let level = FALSE_ALARMS / names.len() as f64;
        let mut penalties = Penalties { level, known: HashMap::new() };
        let mut trends = Vec::new();
        for name in names {
            let latencies: Vec<Latencies<'_>> =
                datasets.iter().map(|dataset| latencies(dataset, name)).collect();
            trends.push(trend(name, &latencies, &environments, &mut penalties, &runs));
        }
        Some(Self { provenance: provenance_of(archived)?, runs, trends })
    }
}

fn provenance_of(archived: &[&Run]) -> Option<Provenance> {
    let last = archived.last()?;
    let (oldest, newest) = (provenance(&archived.first()?.header), provenance(&last.header));
    let one_of = |first: String, last: String, between: &str| match first == last {
        true => last,
        false => format!("{first}{between}{last}"),
    };
    let source = match archived.len() {
        1 => newest.source,
        n => format!("{n} runs, {} to {}", oldest.source, newest.source),
    };
    Some(Provenance {
        source,
        versions: one_of(oldest.versions, newest.versions, " (first run); "),
        protocol: last.header.plan.settings.method_line(),
        ..newest
    })
}

/// The number, from 0, of each run's environment.
fn environments(archived: &[&Run]) -> Vec<usize> {
    let mut kinds = Vec::new();
    let number = |run: &&Run| {
        let kind = run.header.plan.platform.kind();
        kinds.iter().position(|other| *other == kind).unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        })
    };
    archived.iter().map(number).collect()
}

fn history_run(archived: &[&Run], index: usize, environment: usize) -> HistoryRun {
    let Run { header, dataset, .. } = archived[index];
    let before: Option<&RunHeader> = index.checked_sub(1).map(|before| &archived[before].header);
    HistoryRun {
        number: index + 1,
        run_id: header.run_id.clone(),
        started: header.started,
        commit: header.plan.platform.git_commit.clone(),
        versions: header.plan.platform.versions(),
        configurations: dataset.observations.len(),
        environment: environment + 1,
        changes: before.map_or_else(Vec::new, |before| differences(&[before], &[header])),
        remarks: remarks(header),
    }
}

/// Typical latencies by configuration.
type Latencies<'a> = HashMap<(&'a str, &'a str, ConvShape), f64>;

fn latencies<'a>(dataset: &'a Dataset, experiment: &str) -> Latencies<'a> {
    let chosen = |name: &str| experiment == ALL || experiment == name;
    let of = dataset.observations.iter().filter(|o| chosen(&o.experiment));
    of.filter_map(|o| Some(((o.experiment.as_str(), o.series.as_str(), o.shape), o.typical()?.0)))
        .collect()
}

/// The mean of the logarithms of the ratios over the configurations that both have, and their number.
fn log_ratio(latencies: &Latencies<'_>, first: &Latencies<'_>) -> Option<(f64, usize)> {
    let mut logs: Vec<f64> = latencies
        .iter()
        .filter_map(|(configuration, latency)| Some((latency / first.get(configuration)?).ln()))
        .collect();
    // in an order of their own: the sum must not depend on that of the table
    logs.sort_by(f64::total_cmp);
    let n = logs.len();
    (n > 0).then(|| (logs.iter().sum::<f64>() / n as f64, n))
}

/// Penalties by layout: which of the runs share an environment. Simulated once each.
struct Penalties {
    level: f64,
    known: HashMap<Vec<usize>, Option<f64>>,
}

impl Penalties {
    fn get(&mut self, environments: &[usize]) -> Option<f64> {
        let level = self.level;
        *self
            .known
            .entry(environments.to_vec())
            .or_insert_with(|| steps::penalty(environments, level))
    }
}

fn trend(
    experiment: &str,
    latencies: &[Latencies<'_>],
    environments: &[usize],
    penalties: &mut Penalties,
    runs: &[HistoryRun],
) -> Trend {
    let first = latencies.iter().find(|latencies| !latencies.is_empty());
    let logs: Vec<Option<(f64, usize)>> =
        latencies.iter().map(|latencies| log_ratio(latencies, first?)).collect();
    let present: Vec<usize> = (0..logs.len()).filter(|&index| logs[index].is_some()).collect();
    let values: Vec<f64> = logs.iter().flatten().map(|(log, _)| *log).collect();
    let groups: Vec<usize> = present.iter().map(|&index| environments[index]).collect();
    let noise = steps::pooled(&values, &groups);
    let series = Series { values: &values, groups: &groups, present: &present, runs };
    let (steps, noise) = match enough(&values, noise).and_then(|noise| {
        let penalty = penalties.get(&groups).ok_or_else(|| UNKNOWN_NOISE.to_owned())?;
        Ok(series.search(noise, penalty))
    }) {
        Ok((steps, noise)) => (steps, Some(noise)),
        Err(reason) => (Steps::TooFew { reason }, noise),
    };
    let ratio = |index: usize| {
        let (log, configurations) = logs[index]?;
        let is_first = present.first() == Some(&index);
        let interval = noise.filter(|_| !is_first).and_then(|n| interval(log, n, 2.0));
        Some(Ratio { ratio: log.exp(), interval, configurations })
    };
    let ratios = (0..logs.len()).map(ratio).collect();
    Trend { experiment: experiment.to_owned(), ratios, noise, steps }
}

const UNKNOWN_NOISE: &str = "no two runs were measured in one environment, so run-to-run noise is \
                             unknown; measure several runs in one environment, for example with \
                             `cargo replicate --runs 5`";

/// Whether there are runs enough to look for steps at all.
fn enough(values: &[f64], noise: Option<RunNoise>) -> Result<RunNoise, String> {
    let Some(noise) = noise else { return Err(UNKNOWN_NOISE.to_owned()) };
    match (values.len(), noise) {
        (n @ ..=2, _) => Err(format!("{n} runs, expected at least 3")),
        (_, RunNoise { degrees_of_freedom: 1, .. }) => Err(
            "only two runs were measured in one environment, too few to estimate run-to-run noise; \
             measure more runs in one environment"
                .to_owned(),
        ),
        (_, RunNoise { sd, .. }) if sd > 0.0 && sd.is_finite() => Ok(noise),
        _ => Err("runs in one environment have identical latencies, so they are not \
                  measurements".into()),
    }
}

/// The runs of a trend, and what is known of them.
struct Series<'a> {
    values: &'a [f64],
    groups: &'a [usize],
    present: &'a [usize],
    runs: &'a [HistoryRun],
}

impl Series<'_> {
    /// The steps, and the noise within environments and levels.
    fn search(&self, noise: RunNoise, penalty: f64) -> (Steps, RunNoise) {
        let n = self.values.len();
        let begins = steps::cut(self.values, penalty * noise.sd.powi(2));
        let level_of = |index: usize| begins.iter().filter(|begin| **begin <= index).count();
        // an environment and a level together, each with a number
        let groups: Vec<usize> =
            (0..n).map(|index| self.groups[index] * (begins.len() + 1) + level_of(index)).collect();
        let within = steps::pooled(self.values, &groups).unwrap_or(noise);
        let ends = begins.iter().skip(1).copied().chain([n]);
        let befores = std::iter::once(0).chain(begins.iter().copied());
        let found = befores.zip(&begins).zip(ends);
        let found =
            found.map(|((before, &begin), end)| self.step(before, begin, end, within)).collect();
        let (one, other) = (n / 2, n - n / 2);
        let least = noise.sd * (penalty * n as f64 / (one * other) as f64).sqrt();
        (Steps::Searched { found, least_percent: 100.0 * least.exp_m1() }, within)
    }

    /// The step at `begin` from the level that began at `before` to the one that lasts until `end`.
    fn step(&self, before: usize, begin: usize, end: usize, noise: RunNoise) -> Step {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let log = mean(&self.values[begin..end]) - mean(&self.values[before..begin]);
        let run = &self.runs[self.present[begin]];
        let variance = 1.0 / (begin - before) as f64 + 1.0 / (end - begin) as f64;
        Step {
            run: run.number,
            started: run.started,
            ratio: log.exp(),
            interval: interval(log, noise, variance),
            changes: self.changes_until(begin),
        }
    }

    /// What changed since the run before, those that this trend passes over included.
    fn changes_until(&self, begin: usize) -> Vec<Difference> {
        let between = self.present[begin - 1] + 1..=self.present[begin];
        self.runs[between].iter().flat_map(|run| run.changes.clone()).collect()
    }
}

/// 95% interval of the ratio whose logarithm has `variance` times the noise's variance.
fn interval(log: f64, noise: RunNoise, variance: f64) -> Option<(f64, f64)> {
    let t = StudentsT::new(0.0, 1.0, noise.degrees_of_freedom as f64).ok()?.inverse_cdf(0.975);
    let half = t * noise.sd * variance.sqrt();
    Some(((log - half).exp(), (log + half).exp()))
}

/// What may have disturbed a run, or is to be known of it.
fn remarks(header: &RunHeader) -> Vec<String> {
    let mut remarks = Vec::new();
    match header.sessions.len() {
        0 | 1 => {}
        2 => remarks.push("interrupted and resumed once".to_owned()),
        n => remarks.push(format!("interrupted and resumed {} times", n - 1)),
    }
    let cores = header.plan.platform.logical_cores;
    let loads = header.sessions.iter().filter_map(|session| session.conditions.load_average);
    let load = loads.fold(0.0, f64::max);
    // a run just before this one leaves as much as the cores can do
    if load > cores as f64 {
        remarks.push(format!("load average {load:.1} on {cores} logical cores at its start"));
    }
    if header.plan.platform.git_commit.ends_with("-dirty") {
        remarks.push("built from uncommitted changes".to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests;
