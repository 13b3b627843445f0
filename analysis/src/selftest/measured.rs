//! The self-test of a machine on its real runs, with criterion's own verdicts on the same launches.

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use super::criterion::{self, CriterionVerdict, Rules};
use super::{Detection, Division, FalseAlarms, Power, Slowed, UnchangedRuns};
use crate::compare::aligned::{Aligned, Row, rows};
use crate::compare::hypothesis_tests::Levels;
use crate::compare::{CompareError, sides};
use crate::dataset::Provenance;
use crate::in_order::try_map;
use crate::run::{Run, provenance_of_all};

/// Version of the fields of a self-test as JSON.
pub const SCHEMA_VERSION: u32 = 2;

/// The fewest runs that make two sides and leave some to estimate the noise.
const LEAST_RUNS: usize = 4;

/// The most pairs of runs that criterion is asked about: it takes milliseconds per configuration.
const CRITERION_PAIRS: usize = 5;

/// How good comparisons are on one machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelfTest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Where the launches come from; the source names all runs.
    pub provenance: Provenance,
    /// The runs' ids.
    pub runs: Vec<String>,
    /// Configurations that all runs measured.
    pub configurations: usize,
    /// [`Levels::threshold`].
    pub threshold: f64,
    /// [`Levels::false_discovery_rate`].
    pub false_discovery_rate: f64,
    /// One per method of comparing.
    pub judges: Vec<Judged>,
}

/// How good one method of comparing is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Judged {
    /// Which: `compare, 3 runs a side`.
    pub judge: String,
    pub false_alarms: FalseAlarms,
    pub power: Vec<Power>,
}

impl SelfTest {
    /// Tests comparisons on the runs of one machine, in these folders; `on_step` is told how many steps are
    /// done, and of how many.
    ///
    /// # Errors
    /// [`CompareError`] where runs cannot be read, are not comparable, or are too few.
    pub fn new(
        folders: &[PathBuf],
        levels: Levels,
        on_step: &dyn Fn(u64, u64),
    ) -> Result<Self, CompareError> {
        let n = folders.len();
        if n < LEAST_RUNS {
            return Err(CompareError::TooFew { runs: n, least: LEAST_RUNS });
        }
        let archived = folders.iter().find(|path| path.extension().is_some_and(|e| e == "csv"));
        if let Some(path) = archived {
            return Err(CompareError::NoLaunches { path: path.clone() });
        }
        let [mut read, rest] = sides::read(&folders[..1], &folders[1..])?;
        read.extend(rest);
        read.sort_by_key(|run| (run.header.started, run.header.run_id.clone()));
        sides::check(&read[..1], &read[1..], false)?;
        sides::check_alike(&read, "the self-test")?;
        let all: Vec<&Run> = read.iter().collect();
        let mut complete = rows(&all);
        complete.retain(|row| row.runs.iter().all(Option::is_some));
        if complete.is_empty() {
            let reason = "a self-test needs some that all runs measured".to_owned();
            return Err(CompareError::Nothing { reason });
        }
        let Aligned { grouping, x, ln_medians, floors } = Aligned::new(&complete, &all, &[]);
        let runs = UnchangedRuns { grouping, x, ln_medians, floors, levels };
        let pairs = (n / 2).min(CRITERION_PAIRS);
        let steps = 2 + pairs as u64;
        on_step(0, steps);
        // criterion is asked first: it needs launches, and reading them checks them
        try_map(&all[2 * pairs..], |run| run.map_launches(|_, _| ()).map(drop))?;
        let mut asked = Vec::new();
        for (seed, pair) in (1..).zip(all[..2 * pairs].chunks_exact(2)) {
            let [before, after] = [launches(pair[0], &complete)?, launches(pair[1], &complete)?];
            asked.push(Asked::new(&runs, &before, &after, seed));
            on_step(seed, steps);
        }
        let between_sides =
            judged(&runs, &format!("compare, {} runs a side", sides_of(n)), &runs.halves());
        on_step(steps - 1, steps);
        let by_history =
            judged(&runs, &format!("compare, 1 run a side and {} archived", n - 2), &runs.pairs());
        on_step(steps, steps);
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            provenance: provenance_of_all(&read),
            runs: read.iter().map(|run| run.header.run_id.clone()).collect(),
            configurations: runs.grouping.len(),
            threshold: levels.threshold,
            false_discovery_rate: levels.false_discovery_rate,
            judges: vec![
                between_sides,
                alarms_only(&runs, "compare, in turns", &runs.turns()),
                alarms_only(&runs, "compare, blocks in time", &runs.blocks()),
                by_history,
                Asked::judged(&runs, &asked),
            ],
        })
    }
}

fn sides_of(runs: usize) -> String {
    match (runs / 2, runs - runs / 2) {
        (a, b) if a == b => a.to_string(),
        (a, b) => format!("{a} and {b}"),
    }
}

fn judged(runs: &UnchangedRuns, judge: &str, divisions: &[Division]) -> Judged {
    Judged {
        judge: judge.to_owned(),
        false_alarms: runs.false_alarms(divisions),
        power: runs.power(divisions),
    }
}

/// How often comparisons are wrong whose sides follow each other in time in one way; their power is that of all.
fn alarms_only(runs: &UnchangedRuns, judge: &str, divisions: &[Division]) -> Judged {
    let false_alarms = runs.false_alarms(divisions);
    Judged { judge: judge.to_owned(), false_alarms, power: Vec::new() }
}

/// A run's launches of some configurations, in their order.
fn launches(run: &Run, rows: &[Row<'_>]) -> Result<Vec<Vec<f64>>, CompareError> {
    let all = run.map_launches(|record, latencies| (record.id.clone(), latencies.ns.to_vec()))?;
    let mut by_id: HashMap<String, Vec<f64>> = all.into_iter().collect();
    Ok(rows.iter().map(|row| by_id.remove(row.id).unwrap_or_default()).collect())
}

/// Criterion's verdicts on one pair of runs.
pub struct Asked {
    /// By configuration, when nothing changed.
    unchanged: Vec<Option<CriterionVerdict>>,
    /// By scenario and slowdown.
    found: Vec<Detection>,
}

impl Asked {
    /// Asks criterion about all configurations of two runs, and about those that scenarios slow down.
    pub fn new(runs: &UnchangedRuns, before: &[Vec<f64>], after: &[Vec<f64>], seed: u64) -> Self {
        let ask = |index: usize, factor: f64| {
            let slowed: Vec<f64> = after[index].iter().map(|ns| ns * factor).collect();
            let verdict = criterion::compare(&before[index], &slowed, &Rules::default(), seed);
            verdict.map(|comparison| comparison.verdict)
        };
        let unchanged: Vec<_> =
            (0..runs.grouping.len()).into_par_iter().map(|index| ask(index, 1.0)).collect();
        let found = runs.tried().into_iter().map(|(scenario, slowdown)| {
            let slowed = runs.slowed(scenario, seed);
            let verdicts = slowed.configurations.par_iter();
            let verdicts: Vec<_> = verdicts.map(|index| ask(*index, 1.0 + slowdown)).collect();
            found(&unchanged, &slowed, &verdicts)
        });
        Self { found: found.collect(), unchanged }
    }

    /// Counts over all pairs.
    pub fn judged(runs: &UnchangedRuns, asked: &[Self]) -> Judged {
        let called = |asked: &Self| asked.unchanged.iter().filter(|v| is_change(v)).count();
        let counted: Vec<_> = asked.iter().map(|asked| (called(asked), 0)).collect();
        let of_each = asked.first().map_or(1, |asked| asked.unchanged.len());
        let power = runs.tried().into_iter().enumerate().map(|(row, (scenario, slowdown))| {
            let found: Vec<Detection> = asked.iter().map(|asked| asked.found[row]).collect();
            Power::new(scenario, slowdown, &found)
        });
        Judged {
            judge: "criterion, 1 run a side".to_owned(),
            false_alarms: FalseAlarms::counted(&counted, of_each),
            power: power.collect(),
        }
    }
}

fn is_change(verdict: &Option<CriterionVerdict>) -> bool {
    matches!(verdict, Some(CriterionVerdict::Improved | CriterionVerdict::Regressed))
}

/// What criterion detects of a slowdown, given its verdicts on the slowed configurations and on all others.
fn found(
    unchanged: &[Option<CriterionVerdict>],
    slowed: &Slowed,
    verdicts: &[Option<CriterionVerdict>],
) -> Detection {
    let right = verdicts.iter().filter(|v| **v == Some(CriterionVerdict::Regressed)).count();
    let called = verdicts.iter().filter(|v| is_change(v)).count();
    let mut is_slowed = vec![false; unchanged.len()];
    slowed.configurations.iter().for_each(|index| is_slowed[*index] = true);
    let others = unchanged.iter().zip(is_slowed).filter(|(_, is_slowed)| !is_slowed);
    let wrong = others.filter(|(v, _)| is_change(v)).count() + called - right;
    Detection {
        share: right as f64 / verdicts.len().max(1) as f64,
        group: None,
        wrong: wrong as f64 / (wrong + right).max(1) as f64,
    }
}
