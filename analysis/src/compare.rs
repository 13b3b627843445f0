//! Did an update make it slower? Two sides of runs compared, configuration by configuration and group by
//! group, with the false discovery rate under control.
//!
//! ```text
//! sides                  which runs may be compared, and what differs between them
//! aligned                the same configurations in all runs, in one order
//! grouping               all, each experiment, each series
//! contrast               a ratio with its error, and p values of one and of many
//! run_variances          how much runs differ when nothing has changed
//! serial, run_noise      which side is noisier; how runs near in time resemble each other
//! within_run             where launches lie, by a clock with steps
//! candidates             how much two single runs differ
//! estimate               the contrast of every configuration and group
//! permutation            the same contrasts where the sides mean nothing
//! hypothesis_tests       verdicts
//! detectable             which changes would have been found
//! cause                  what the records know of why
//! conditions             what else differed, and how quiet the machine was
//! across, across_tables  two devices side by side, without a verdict
//! ```

use std::collections::HashMap;

use alpha_flops::record::Quiet;
use serde::Serialize;

use crate::dataset::Provenance;
use crate::differences::{Difference, Unknown, unknown};
use crate::run::{Measurement, Run, Status, provenance_of_all};

pub mod across;
pub mod across_tables;
pub(crate) mod aligned;
mod candidates;
pub mod cause;
mod conditions;
pub mod contrast;
pub mod detectable;
mod error;
pub mod estimate;
pub mod grouping;
pub mod hypothesis_tests;
pub(crate) mod permutation;
pub mod run_noise;
pub mod run_variances;
pub mod serial;
pub mod sides;
pub mod tables;
pub mod within_run;

use aligned::{Aligned, Row, rows};
use cause::{Cause, causes};
use contrast::Contrast;
use detectable::{Detectable, RunsNeeded, runs_needed, smallest};
pub use error::CompareError;
use estimate::{Design, Samples};
use grouping::{LnMedians, mean};
use hypothesis_tests::{Decision, Decisions, Levels, Verdict, test};
use run_noise::Layout;
use serial::Serial;

/// Version of the fields of a comparison as JSON.
pub const SCHEMA_VERSION: u32 = 2;

/// How the sides are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What is tested for, and how surely.
    pub levels: Levels,
    /// The i-th run before and the i-th run after were measured together.
    pub paired: bool,
    /// Compare the configurations that both sides have, if they differ.
    pub common: bool,
}

/// Two sides compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Comparison {
    pub schema_version: u32,
    /// The regular expression that configurations were chosen by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Before and after.
    pub sides: [Side; 2],
    pub method: Method,
    /// [`Decisions::permutations`].
    #[serde(rename = "relabellings")]
    pub permutations: usize,
    /// [`Decisions::unconfirmed`].
    pub unconfirmed: usize,
    /// [`Levels::threshold`].
    pub threshold: f64,
    /// [`Levels::false_discovery_rate`].
    pub false_discovery_rate: f64,
    pub differences: Vec<Difference>,
    /// What affects latencies and may differ although the records say the same.
    pub unknown: Vec<Unknown>,
    /// Changes of single configurations that are found with 80%; absent where the noise of runs is unknown.
    pub detectable: Option<Detectable>,
    /// Runs a side that the median configuration takes; empty where a side has a single run.
    pub runs_needed: Vec<RunsNeeded>,
    /// All, each experiment, each series.
    pub groups: Vec<GroupChange>,
    /// Every configuration measured on both sides, in the suite's order.
    pub configurations: Vec<Change>,
    /// The other configurations of any run's plan, those of the first run first.
    pub not_compared: Vec<NotCompared>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Where its latencies come from; the source names all runs.
    pub provenance: Provenance,
    /// Its runs' ids.
    pub runs: Vec<String>,
    /// Least and most load average at a run's start, where known: other work on the same machine.
    pub load_average: Option<[f64; 2]>,
    /// How quiet the machine was during its runs; `None` unless recorded of all of them.
    pub quiet: Option<Quiet>,
}

/// How it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub enum Method {
    /// At least three runs.
    BetweenRuns {
        paired: bool,
        /// Degrees of freedom of a configuration measured in all runs.
        df: f64,
        /// Degrees of freedom of what configurations have in common; absent if infinite.
        prior_df: Option<f64>,
        /// Typical between-run standard deviation of a configuration's ln median.
        typical_sd: f64,
        /// How the runs follow each other in time.
        layout: Layout,
        /// How runs near in time resemble each other.
        serial: Serial,
        /// How many times as large errors are as those of independent runs.
        inflation: f64,
        /// Variance between runs after over that before.
        variance_ratio: f64,
    },
    /// A single run on a side; the noise is estimated from archived runs.
    History {
        runs: usize,
        /// In how many environments they were measured.
        groups: usize,
        /// Typical between-run standard deviation of a configuration's ln median.
        typical_sd: f64,
    },
    /// One run per side, and how runs differ is unknown.
    WithinRuns,
}

/// A group's change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupChange {
    /// The experiment, or `all`.
    pub experiment: String,
    /// The series, where it is one of several.
    pub series: Option<String>,
    /// Configurations in it.
    pub configurations: usize,
    /// Changes of its configurations, each by itself, that are found with 80%.
    pub detectable_in_one: Option<Detectable>,
    /// The geometric mean of their ratios.
    #[serde(flatten)]
    pub effect: Effect,
}

/// A configuration's change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Change {
    /// `D/h=100_w=640_in=150_out=100_k=3`.
    pub id: String,
    pub experiment: String,
    pub series: String,
    /// Value of the independent variable.
    pub x: f64,
    /// Geometric mean of the runs' median latencies before and after, in nanoseconds.
    pub median_ns: [f64; 2],
    /// The ratio of the two medians.
    #[serde(flatten)]
    pub effect: Effect,
    /// What may explain a change; empty if there is none.
    pub causes: Vec<Cause>,
}

/// A ratio of latencies, after over before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Effect {
    pub ratio: f64,
    /// Its 95% confidence interval; `None` if its error is unknown.
    pub interval: Option<[f64; 2]>,
    /// p value of no change.
    pub p_different: Option<f64>,
    pub verdict: Verdict,
    /// The smallest change that is found with 80%; absent where the noise of runs is unknown.
    pub detectable: Option<f64>,
    /// p value of a change by the threshold or less in its direction.
    pub p_beyond: Option<f64>,
    /// Whether it is a change that significantly exceeds the threshold, in its direction.
    pub beyond_threshold: bool,
}

/// A configuration that was not measured on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotCompared {
    /// Which.
    pub id: String,
    /// Runs before and after that measured it.
    pub measured: [usize; 2],
    /// Whether it was measured before, and failed in every run after; archived runs don't tell.
    pub lost: bool,
    /// Why, according to the first run that lacks it.
    pub reason: String,
}

/// Compares two sides. With a single run on a side, archived runs measured in the same environment (`history`,
/// in groups) tell how runs differ; without any, nothing is called more than a candidate.
///
/// # Errors
/// [`CompareError`] where launches are damaged, or the sides are not comparable.
pub fn compare(
    before: &[Run],
    after: &[Run],
    history: &[Vec<Run>],
    options: Options,
) -> Result<Comparison, CompareError> {
    let (runs, order) = sides::in_time(before, after, options.paired);
    let has_history = history.iter().any(|runs| runs.len() > 1);
    let is_single = before.len() == 1 || after.len() == 1;
    let by_history = is_single && has_history;
    let (ln_errors, located) =
        within_run::of_launches(&runs, runs.len() == 2 && !has_history, !by_history)?;
    sides::check(before, after, options.common)?;
    if options.paired && (before.len() != after.len() || before.len() < 2) {
        return Err(CompareError::NotPaired { before: before.len(), after: after.len() });
    }
    let (compared, not): (Vec<Row<'_>>, _) = rows(&runs).into_iter().partition(|row| {
        let (before, after) = row.runs.split_at(before.len());
        [before, after].iter().all(|side| side.iter().any(Option::is_some))
    });
    let not_compared = not_compared(&not, before, after);
    if compared.is_empty() {
        let reason = not_compared.first().map(|n| format!("{}: {}", n.id, n.reason));
        return Err(CompareError::Nothing { reason: reason.unwrap_or_default() });
    }
    let differences = sides::differences(before, after);
    let Aligned { grouping, mut ln_medians, floors, .. } = Aligned::new(&compared, &runs, &located);
    let ln_medians_after = ln_medians.split_off(before.len());
    let history = of_history(&compared, history);
    let within = ln_errors.map(|errors| {
        [0, 1].map(|run| -> Vec<Option<f64>> {
            compared.iter().map(|row| errors[run].get(row.id).copied()).collect()
        })
    });
    let design = match &within {
        Some([before, after]) => Design::WithinRuns([before, after]),
        None if by_history => Design::History(&history),
        None if options.paired => Design::Paired,
        None => Design::Independent,
    };
    let samples = Samples {
        grouping: &grouping,
        before: &ln_medians,
        after: &ln_medians_after,
        floors: &floors,
        order: &order,
        design,
    };
    let decisions = test(&samples, options.levels);
    let Levels { threshold, false_discovery_rate } = options.levels;
    let ln_threshold = threshold.ln_1p();
    let is_known = !samples.has_only_candidates();
    let detectable = |decisions: &[Decision]| -> Vec<Option<f64>> {
        let smallest = |contrast| smallest(&contrast, decisions.len(), false_discovery_rate);
        let known = decisions.iter().map(|decision| decision.contrast.filter(|_| is_known));
        known.map(|contrast| contrast.map(smallest)).collect()
    };
    let of_one = detectable(&decisions.configurations);
    let of_groups = detectable(&decisions.groups);
    let groups = grouping.groups().iter().zip(&decisions.groups).zip(&of_groups);
    let configurations = compared.iter().zip(&decisions.configurations).zip(&of_one);
    Ok(Comparison {
        schema_version: SCHEMA_VERSION,
        filter: None,
        sides: [before, after].map(Side::new),
        method: Method::new(&samples, &decisions),
        permutations: decisions.permutations,
        unconfirmed: decisions.unconfirmed,
        threshold,
        false_discovery_rate,
        detectable: Detectable::of(of_one.iter().copied().flatten()),
        runs_needed: needed(&samples, &decisions, false_discovery_rate),
        groups: groups
            .map(|((group, decision), detectable)| GroupChange {
                experiment: group.experiment.clone(),
                series: group.series.clone(),
                configurations: group.members.len(),
                detectable_in_one: Detectable::of(group.members.iter().filter_map(|i| of_one[*i])),
                effect: Effect::new(decision, f64::NAN, ln_threshold, *detectable),
            })
            .collect(),
        configurations: configurations
            .map(|((row, decision), detectable)| {
                let sides = row.runs.split_at(before.len());
                Change::new(row.id, sides, decision, ln_threshold, *detectable, &differences)
            })
            .collect(),
        differences,
        unknown: unknown(&runs.iter().map(|run| &run.header).collect::<Vec<_>>()),
        not_compared,
    })
}

/// Runs a side that changes of the median configuration take. A single change is confirmed where
/// permutations show that it is rarer than half of the rate.
fn needed(samples: &Samples<'_>, decisions: &Decisions, rate: f64) -> Vec<RunsNeeded> {
    let sizes = [samples.before.len() as f64, samples.after.len() as f64];
    let runs = 2.0 / (1.0 / sizes[0] + 1.0 / sizes[1]);
    let others = |n: i32| match samples.design {
        Design::Paired => 2f64.powi(n - 1) - 1.0,
        // C(2n, n)/2 − 1
        _ => (1..=n).fold(0.5, |c, i| c * f64::from(n + i) / f64::from(i)) - 1.0,
    };
    let is_confirmed = |n: &i32| 1.0 / (others(*n) + 1.0) <= rate / 2.0;
    match samples.design {
        Design::Independent | Design::Paired if !samples.has_only_candidates() => {
            let least = (2..64).find(is_confirmed).unwrap_or(64) as usize;
            let known = decisions.configurations.iter().zip(samples.floors);
            let known = known.filter_map(|(d, floor)| Some((d.contrast?, 2.0 * floor)));
            runs_needed(&known.collect::<Vec<_>>(), runs, least, rate)
        }
        _ => Vec::new(),
    }
}

fn of_history(compared: &[Row<'_>], history: &[Vec<Run>]) -> Vec<Vec<LnMedians>> {
    let ln_medians = |run: &Run| -> LnMedians {
        let measured = run.measurements();
        compared.iter().map(|row| Some(measured.get(row.id)?.median_ns.ln())).collect()
    };
    history.iter().map(|runs| runs.iter().map(ln_medians).collect()).collect()
}

fn not_compared(rows: &[Row<'_>], before: &[Run], after: &[Run]) -> Vec<NotCompared> {
    let missing: Vec<HashMap<&str, (Status, &str)>> = before
        .iter()
        .chain(after)
        .map(|run| {
            let missing = run.missing.iter();
            missing.map(|m| (m.id.as_str(), (m.status, m.reason.as_str()))).collect()
        })
        .collect();
    let not_compared = |row: &Row<'_>| {
        let (runs_before, runs_after) = row.runs.split_at(before.len());
        let measured = [runs_before, runs_after].map(|runs| runs.iter().flatten().count());
        let failed = |run: &HashMap<&str, (Status, &str)>| {
            run.get(row.id).is_some_and(|(status, _)| *status == Status::Failed)
        };
        let mut reasons = missing.iter().filter_map(|run| run.get(row.id));
        NotCompared {
            id: row.id.to_owned(),
            measured,
            lost: measured[0] > 0 && missing[before.len()..].iter().all(failed),
            reason: reasons
                .next()
                .map_or("not in the plan of every run", |(_, reason)| reason)
                .to_owned(),
        }
    };
    rows.iter().map(not_compared).collect()
}

impl Method {
    fn new(samples: &Samples<'_>, decisions: &Decisions) -> Self {
        let Some(variances) = &decisions.variances else { return Self::WithinRuns };
        let typical_sd = variances.typical_sd(samples.grouping);
        match samples.design {
            Design::History(groups) => Self::History {
                runs: groups.iter().map(Vec::len).sum(),
                groups: groups.len(),
                typical_sd,
            },
            Design::WithinRuns(_) => Self::WithinRuns,
            Design::Independent | Design::Paired => {
                let paired = matches!(samples.design, Design::Paired);
                let (before, after) = (samples.before.len(), samples.after.len());
                let df = if paired { before - 1 } else { before + after - 2 } as f64;
                let prior_df = variances.prior.df.is_finite().then_some(variances.prior.df);
                Self::BetweenRuns {
                    paired,
                    df,
                    prior_df,
                    typical_sd,
                    layout: Layout::new(before, samples.order),
                    serial: decisions.noise.serial,
                    inflation: decisions.spread.serial_inflation.sqrt(),
                    variance_ratio: decisions.noise.variance_ratio,
                }
            }
        }
    }
}

impl Change {
    fn new(
        id: &str,
        (before, after): (&[Option<Measurement<'_>>], &[Option<Measurement<'_>>]),
        decision: &Decision,
        ln_threshold: f64,
        detectable: Option<f64>,
        differences: &[Difference],
    ) -> Self {
        let [before, after] =
            [before, after].map(|runs| runs.iter().copied().flatten().collect::<Vec<_>>());
        let median_ns = [&before, &after].map(|runs| {
            mean(runs.iter().map(|measured| measured.median_ns.ln())).map_or(f64::NAN, f64::exp)
        });
        let effect = Effect::new(decision, median_ns[1] / median_ns[0], ln_threshold, detectable);
        let first = before[0].observation;
        Self {
            id: id.to_owned(),
            experiment: first.experiment.clone(),
            series: first.series.clone(),
            x: first.x,
            median_ns,
            causes: match effect.verdict.is_change() {
                true => causes(&before, &after, differences, effect.ratio > 1.0),
                false => Vec::new(),
            },
            effect,
        }
    }

    /// Whether it is slower by significantly more than the threshold.
    pub fn is_regression(&self) -> bool {
        self.effect.is_regression()
    }
}

impl Effect {
    /// `ratio` is that of the medians, to be shown where its error is unknown.
    fn new(decision: &Decision, ratio: f64, ln_threshold: f64, detectable: Option<f64>) -> Self {
        Self {
            ratio: decision.contrast.map_or(ratio, |contrast| contrast.ln_ratio.exp()),
            interval: decision.contrast.as_ref().map(Contrast::interval),
            p_different: decision.contrast.as_ref().map(Contrast::p_different),
            verdict: decision.verdict,
            detectable,
            p_beyond: decision.contrast.map(|contrast| contrast.p_beyond(ln_threshold)),
            beyond_threshold: decision.beyond,
        }
    }

    /// Whether it is slower by significantly more than the threshold.
    pub fn is_regression(&self) -> bool {
        self.verdict == Verdict::Slower && self.beyond_threshold
    }
}

impl Side {
    fn new(runs: &[Run]) -> Self {
        let ids: Vec<String> = runs.iter().map(|run| run.header.run_id.clone()).collect();
        let loads = runs
            .iter()
            .flat_map(|run| &run.header.sessions)
            .filter_map(|session| session.conditions.load_average);
        let range = |range: Option<[f64; 2]>, load: f64| match range {
            Some([least, most]) => Some([least.min(load), most.max(load)]),
            None => Some([load, load]),
        };
        Self {
            provenance: provenance_of_all(runs),
            runs: ids,
            load_average: loads.fold(None, range),
            quiet: Quiet::joined(runs.iter().map(|run| run.header.quiet.as_ref())),
        }
    }
}

impl Comparison {
    /// Whether a side has a single run, and how runs differ is not known from archived ones.
    pub fn has_only_candidates(&self) -> bool {
        let is_single = self.sides.iter().any(|side| side.runs.len() == 1);
        is_single && !matches!(self.method, Method::History { .. })
    }

    /// Whether anything got slower by more than the threshold, or can no longer be computed.
    pub fn has_regression(&self) -> bool {
        self.configurations.iter().any(Change::is_regression)
            || self.groups.iter().any(|group| group.effect.is_regression())
            || self.not_compared.iter().any(|not| not.lost)
    }
}

#[cfg(test)]
mod tests;
