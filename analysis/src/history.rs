//! A target's runs over time: how much slower or faster than the first, since when, and what changed
//! then.
//!
//! The run is the unit: a run's number is the mean over configurations of
//! `ln(median latency / median latency in the first run)`, whose exponential is the geometric mean
//! of the ratios. Runs of other configurations are chained to those before them over what both have (see
//! [`index`]). How much a run's number differs by chance is taken from runs in equal environments.

#![allow(missing_docs, reason = "fields whose names say what they are have no docs")]

use std::collections::HashMap;
use std::path::PathBuf;

use alpha_flops::record::{Comparable, RunHeader};
use jiff::Timestamp;
use serde::Serialize;

use crate::dataset::Provenance;
use crate::differences::{
    Difference, Unknown, differences, is_in_another_state, is_machine_known, unknown,
};
use crate::in_order::distinct;
use crate::run::{Run, provenance};

pub mod check;
pub mod index;
pub mod noise;
mod series;
pub mod steps;
pub(crate) mod tables;

use index::{LnLatencies, Mean, chained, ln_latencies};
use noise::PooledNoise;
use series::{Series, interval};
use steps::{Chance, Searched};

/// The probability that a timeline of independent runs without any step or outlier run is said to have one,
/// over all its experiments.
pub const FALSE_ALARMS: f64 = 0.05;

/// The name of what is over all experiments.
pub const ALL: &str = "all";

/// A target's runs: those that can be compared with each other, together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    pub target: String,
    /// The regular expression that configurations were chosen by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How many of the oldest runs were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<usize>,
    /// Archived runs that could not be read.
    pub skipped: Vec<Unreadable>,
    /// One a protocol (and backend and device, should there be several).
    pub timelines: Vec<Timeline>,
}

/// An archived run that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    pub path: PathBuf,
    pub reason: String,
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
    /// What may differ from the run before although the records say the same.
    pub unknown: Vec<Unknown>,
    /// What may have disturbed it.
    pub remarks: Vec<String>,
}

/// How the latencies of an experiment went on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The experiment, or [`ALL`].
    pub experiment: String,
    /// Of each run of the timeline; `None` where the run has no configuration in common with those before.
    pub ratios: Vec<Option<Ratio>>,
    /// How much runs differ by chance: within equal environments, and where steps were found, within
    /// their levels, without outlier runs. `None` where no two runs are in one environment.
    pub noise: Option<PooledNoise>,
    /// Correlation of successive runs, within environments and levels; `None` of too few runs.
    pub autocorrelation: Option<Autocorrelation>,
    pub steps: Steps,
}

/// See [`noise::autocorrelation`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Autocorrelation {
    pub estimate: f64,
    /// By how much it multiplies the variance of a level's mean; 1 where it is no more than independent runs
    /// have by chance. Beyond 1, steps may be drift.
    pub inflation: f64,
}

/// Latencies of a run against those of the first, by a chain of runs (see [`index`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Geometric mean.
    pub ratio: f64,
    /// Where 95% of such ratios lie: `ratio · exp(±t·√2·sd)`, Student's t with the noise's degrees of
    /// freedom. `None` for the first run, and where the noise is unknown.
    pub interval: Option<(f64, f64)>,
    /// Configurations that it has in common with the runs before.
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
        /// Single runs, sometimes two in a row, that belong to no level. Oldest first.
        outliers: Vec<OutlierRun>,
        /// From the fastest of the other levels to the last, over all steps between them; `None` where there
        /// is one level.
        #[serde(skip_serializing_if = "Option::is_none")]
        from_fastest: Option<Step>,
        /// The least step, in percent, that would be found in the middle, were it the only event.
        least_percent: f64,
    },
}

/// From one level to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Number of the first run at the new level.
    pub run: usize,
    pub started: Timestamp,
    /// The new level against the old, over the configurations that both have.
    pub ratio: f64,
    /// 95% interval: `ratio · exp(±t·sd·√(f/n + f/m))` with `n` and `m` runs at the two levels, and `f` what
    /// autocorrelation multiplies variances by.
    pub interval: Option<(f64, f64)>,
    /// Configurations that both levels have.
    pub configurations: usize,
    /// What is not as it was in the run before.
    pub changes: Vec<Difference>,
}

/// A run too far from its level for chance, and too short for a level of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutlierRun {
    pub run: usize,
    pub started: Timestamp,
    /// Against the level that it stands in.
    pub ratio: f64,
    /// What is not as it was in the run before; of the first run, what is not so in the next.
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
        (!groups.is_empty()).then(|| Self {
            target: target.to_owned(),
            filter: None,
            left_out: None,
            skipped: Vec::new(),
            timelines,
        })
    }
}

impl Timeline {
    /// Of runs that can be compared, oldest first.
    fn from_archived(archived: &[&Run]) -> Option<Self> {
        let environments = environments(archived);
        let runs: Vec<HistoryRun> = (0..archived.len())
            .map(|index| history_run(archived, index, environments[index]))
            .collect();
        let observations = archived.iter().flat_map(|run| &run.dataset.observations);
        let experiments = observations.map(|observation| observation.experiment.as_str());
        let names = distinct([ALL].into_iter().chain(experiments));
        let level = FALSE_ALARMS / names.len() as f64;
        let mut chances = Chances { level, known: HashMap::new() };
        let mut trends = Vec::new();
        for name in names {
            let latencies: Vec<LnLatencies<'_>> =
                archived.iter().map(|run| ln_latencies(&run.dataset, name)).collect();
            trends.push(trend(name, &latencies, &environments, &mut chances, &runs));
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

/// The number, from 0, of each run's environment: device, driver, compiler, commit and the state of the
/// machine, which must not differ from the environment's first run. Sources that no commit has, or an unknown
/// one, are the same only in one build of the program; a machine that was not probed is not the same as one
/// that was.
fn environments(archived: &[&Run]) -> Vec<usize> {
    let mut first: Vec<&RunHeader> = Vec::new();
    let kind = |header: &RunHeader| {
        let build = has_unknown_sources(header).then(|| header.plan.program.clone());
        (header.plan.platform.kind(), build, is_machine_known(header))
    };
    let headers = archived.iter().map(|run| &run.header);
    let number = |header| {
        let is_same =
            |other: &&RunHeader| kind(other) == kind(header) && !is_in_another_state(other, header);
        first.iter().position(is_same).unwrap_or_else(|| {
            first.push(header);
            first.len() - 1
        })
    };
    headers.map(number).collect()
}

/// Whether two programs that name the same commit may have been built from different sources.
fn has_unknown_sources(header: &RunHeader) -> bool {
    let commit = &header.plan.platform.git_commit;
    commit.ends_with("-dirty") || commit == "unknown"
}

/// What differs from the run before. Equal names of commits say nothing where the sources are unknown.
fn changes(before: &RunHeader, header: &RunHeader) -> Vec<Difference> {
    let mut changes = differences(&[before], &[header]);
    let is_unknown = has_unknown_sources(header) && before.plan.program != header.plan.program;
    if is_unknown && changes.iter().all(|change| change.what != "commit") {
        let commit = &header.plan.platform.git_commit;
        changes.push(Difference {
            what: "commit".to_owned(),
            before: commit.clone(),
            after: format!("{commit} (another build, whose sources may differ)"),
            decides_latencies: true,
            slower: None,
        });
    }
    changes
}

/// What may differ from the run before, and is not among the [`changes`]. One build has one commit, known or not.
fn unknown_since(before: &RunHeader, header: &RunHeader) -> Vec<Unknown> {
    let changes = changes(before, header);
    let is_one_build = before.plan.program == header.plan.program;
    let mut found = unknown(&[before, header]);
    found.retain(|unknown| {
        let is_told = changes.iter().any(|change| change.what == unknown.what);
        let is_built = is_one_build && unknown.what == "commit";
        !is_told && !is_built
    });
    found
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
        changes: before.map_or_else(Vec::new, |before| changes(before, header)),
        unknown: before.map_or_else(Vec::new, |before| unknown_since(before, header)),
        remarks: remarks(header),
    }
}

/// What chance does by layout: which of the runs share an environment. Simulated once each.
struct Chances {
    level: f64,
    known: HashMap<Vec<usize>, Option<Chance>>,
}

impl Chances {
    fn get(&mut self, environments: &[usize]) -> Option<Chance> {
        let level = self.level;
        *self.known.entry(environments.to_vec()).or_insert_with(|| Chance::new(environments, level))
    }
}

fn trend(
    experiment: &str,
    latencies: &[LnLatencies<'_>],
    environments: &[usize],
    chances: &mut Chances,
    runs: &[HistoryRun],
) -> Trend {
    let numbers = chained(latencies);
    let present: Vec<usize> = (0..numbers.len()).filter(|&at| numbers[at].is_some()).collect();
    let values: Vec<f64> = numbers.iter().flatten().map(|mean| mean.log).collect();
    let groups: Vec<usize> = present.iter().map(|&index| environments[index]).collect();
    let series = Series { values: &values, groups: &groups, present: &present, latencies, runs };
    let pooled = noise::pooled(&values, &groups);
    let searched = enough(&values, pooled).and_then(|()| {
        chances.get(&groups).and_then(|c| series.search(&c)).ok_or_else(|| UNKNOWN_NOISE.to_owned())
    });
    let (steps, noise, autocorrelation) = match searched {
        Ok((steps, searched)) => {
            let Searched { within, autocorrelation, inflation, .. } = searched;
            let estimated = |estimate| Autocorrelation { estimate, inflation };
            (steps, Some(within), autocorrelation.map(estimated))
        }
        Err(reason) => (Steps::TooFew { reason }, pooled, None),
    };
    let ratio = |index: usize| {
        let Mean { log, configurations } = numbers[index]?;
        let is_first = present.first() == Some(&index);
        let interval = noise.filter(|_| !is_first).and_then(|n| interval(log, n, 2.0, 1));
        Some(Ratio { ratio: log.exp(), interval, configurations })
    };
    let ratios = (0..numbers.len()).map(ratio).collect();
    Trend { experiment: experiment.to_owned(), ratios, noise, autocorrelation, steps }
}

const UNKNOWN_NOISE: &str = "no two runs were measured in one environment, so run-to-run noise is \
                             unknown; measure several runs in one environment, for example with \
                             `cargo replicate --runs 5`";

/// Whether there are runs enough to look for steps at all.
fn enough(values: &[f64], noise: Option<PooledNoise>) -> Result<(), String> {
    let Some(noise) = noise else { return Err(UNKNOWN_NOISE.to_owned()) };
    match (values.len(), noise) {
        (n @ ..=2, _) => Err(format!("{n} runs, expected at least 3")),
        (_, PooledNoise { degrees_of_freedom: 1, .. }) => Err(
            "only two runs were measured in one environment, too few to estimate run-to-run noise; \
             measure more runs in one environment"
                .to_owned(),
        ),
        (_, PooledNoise { sd, .. }) if sd > 0.0 && sd.is_finite() => Ok(()),
        _ => Err("runs in one environment have identical latencies, so they are not \
                  measurements".into()),
    }
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
    if let Some(quiet) = header.quiet.as_ref().filter(|quiet| !quiet.is_enough()) {
        remarks.push(format!("not quiet enough: {}", quiet.in_words()));
    }
    if header.plan.platform.git_commit.ends_with("-dirty") {
        remarks.push("built from uncommitted changes".to_owned());
    }
    remarks
}

#[cfg(test)]
mod tests;
