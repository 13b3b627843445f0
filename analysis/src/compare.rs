//! Did an update make it slower? Two sides of runs compared, configuration by configuration and group
//! by group, with the share of false alarms under control.
//!
//! [`sides`] reads the runs and refuses what is not comparable, [`judge`] decides by [`noise`] and
//! [`contrast`], [`cause`] says what the records know of why; here they meet.

use std::path::Path;

use alpha_flops::atomic_file::write_texts;
use alpha_flops::file_error::FileError;
use rayon::prelude::*;
use serde::Serialize;

use crate::circumstances::Difference;
use crate::dataset::Provenance;
use crate::plot;
use crate::recorded::provenance_of_all;

pub mod cause;
pub mod contrast;
mod error;
pub mod judge;
pub mod noise;
pub(crate) mod relabel;
pub mod sides;
pub mod tables;

use cause::{Cause, causes};
use contrast::Contrast;
pub use error::CompareError;
use judge::{Answer, Answers, Design, Grouping, Question, Verdict};
use noise::LnMedians;
use sides::{Measured, Run};

/// Of the fields of a comparison as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// How sides are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Changes up to this part are as good as none: 0.02.
    pub threshold: f64,
    /// Share of wrong ones among what is called slower or faster, at most, in expectation.
    pub false_discovery_rate: f64,
    /// The i-th runs of both sides were measured together.
    pub paired: bool,
    /// Where sides have other configurations, those of both suffice.
    pub common: bool,
}

/// Two sides compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The runs before and after.
    pub sides: [Side; 2],
    /// How it was decided.
    pub method: Method,
    /// Other divisions of the runs that what t had found was checked against; 0 where it found nothing.
    pub relabellings: usize,
    /// Configurations and groups that t had found, and that the check did not confirm.
    pub unconfirmed: usize,
    /// Changes up to this part are as good as none.
    pub threshold: f64,
    /// Share of wrong ones among what is called slower or faster, at most, in expectation.
    pub false_discovery_rate: f64,
    /// What is recorded and not equal on both sides.
    pub differences: Vec<Difference>,
    /// All, each experiment, each series.
    pub groups: Vec<GroupChange>,
    /// Every configuration measured on both sides, in the suite's order.
    pub configurations: Vec<Change>,
    /// Those of the first run's plan that are not, in the suite's order.
    pub not_compared: Vec<NotCompared>,
}

/// One side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Where its latencies come from; the source names all runs.
    pub provenance: Provenance,
    /// Its runs' ids.
    pub runs: Vec<String>,
    /// Least and most load average at a run's start, where known: others' work on the same machine.
    pub load_average: Option<[f64; 2]>,
}

/// How it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Method {
    /// Several runs a side, or several on one.
    BetweenRuns {
        /// Whether runs were paired.
        paired: bool,
        /// Degrees of freedom that a configuration measured in all runs has by itself.
        df: f64,
        /// Degrees of freedom that come from what configurations have in common; absent if infinite.
        prior_df: Option<f64>,
        /// Typical standard deviation of a configuration's ln median from run to run.
        typical_sd: f64,
    },
    /// One run a side, judged by how archived runs of equal circumstances differ.
    History {
        /// Archived runs that were used.
        runs: usize,
        /// Groups of equal circumstances that they make.
        groups: usize,
        /// Typical standard deviation of a configuration's ln median from run to run.
        typical_sd: f64,
    },
    /// One run a side, and what runs differ by is unknown.
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
    /// Geometric mean of their ratios, and what is said of it.
    #[serde(flatten)]
    pub effect: Effect,
}

/// A configuration's change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// `D/h=100_w=640_in=150_out=100_k=3`.
    pub id: String,
    /// Its experiment.
    pub experiment: String,
    /// Its line.
    pub series: String,
    /// Value of the independent variable.
    pub x: f64,
    /// Geometric mean of the runs' median latencies before and after, in nanoseconds.
    pub median_ns: [f64; 2],
    /// The ratio, and what is said of it.
    #[serde(flatten)]
    pub effect: Effect,
    /// Of a change: what the records know of why.
    pub causes: Vec<Cause>,
}

/// A ratio of latencies, after over before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The ratio.
    pub ratio: f64,
    /// Its 95% interval; `None` where its error is unknown.
    pub interval: Option<[f64; 2]>,
    /// p value of no change.
    pub p_different: Option<f64>,
    /// What is said.
    pub verdict: Verdict,
    /// Whether the ratio is beyond the threshold, in either direction.
    pub beyond_threshold: bool,
}

/// A configuration that a side has not measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotCompared {
    /// Which.
    pub id: String,
    /// Runs before and after that measured it.
    pub measured: [usize; 2],
    /// Whether it was measured before, and failed in every run after; of archived runs it is not known
    /// what failed.
    pub lost: bool,
    /// Why, as the first run without it says.
    pub reason: String,
}

/// Compares two sides. Of one run each, archived runs of equal circumstances (`history`, in groups) say
/// what runs differ by; without any, nothing is called more than a candidate.
///
/// # Errors
/// [`CompareError`] where the sides are not comparable.
pub fn compare(
    before: &[Run],
    after: &[Run],
    history: &[Vec<Run>],
    options: Options,
) -> Result<Comparison, CompareError> {
    sides::check(before, after, options.common)?;
    if options.paired && (before.len() != after.len() || before.len() < 2) {
        return Err(CompareError::NotPaired { before: before.len(), after: after.len() });
    }
    let (compared, not_compared) = pair_up(before, after);
    if compared.is_empty() {
        let reason = not_compared.first().map(|n| format!("{}: {}", n.id, n.reason));
        return Err(CompareError::Nothing { reason: reason.unwrap_or_default() });
    }
    let differences = sides::differences(before, after);
    let answered = answer(before, after, history, options, &compared);
    let ln_threshold = options.threshold.ln_1p();
    let changes = compared
        .iter()
        .zip(&answered.answers.configurations)
        .map(|(pair, answer)| Change::new(pair, answer, ln_threshold, &differences));
    let groups = answered.grouping.groups().iter().zip(&answered.answers.groups);
    Ok(Comparison {
        schema_version: SCHEMA_VERSION,
        sides: [before, after].map(Side::of),
        method: answered.method,
        relabellings: answered.answers.relabellings,
        unconfirmed: answered.answers.unconfirmed,
        threshold: options.threshold,
        false_discovery_rate: options.false_discovery_rate,
        groups: groups
            .map(|(group, answer)| GroupChange {
                experiment: group.experiment.clone(),
                series: group.series.clone(),
                configurations: group.members.len(),
                effect: Effect::of_answer(answer, ln_threshold),
            })
            .collect(),
        configurations: changes.collect(),
        differences,
        not_compared,
    })
}

/// One configuration in all runs of both sides.
struct Pair<'a> {
    id: &'a str,
    sides: [Vec<Option<&'a Measured>>; 2],
}

impl<'a> Pair<'a> {
    fn of(&self, side: usize) -> Vec<&'a Measured> {
        self.sides[side].iter().copied().flatten().collect()
    }
}

/// Configurations of the first run's plan, measured on both sides and not.
fn pair_up<'a>(before: &'a [Run], after: &'a [Run]) -> (Vec<Pair<'a>>, Vec<NotCompared>) {
    let mut compared = Vec::new();
    let mut not_compared = Vec::new();
    let ids = before.first().map_or(&[][..], |run| &run.header.plan.ids);
    for id in ids {
        let sides =
            [before, after].map(|runs| runs.iter().map(|run| run.measured.get(id)).collect());
        let pair = Pair { id, sides };
        let measured = [0, 1].map(|side| pair.of(side).len());
        if measured.iter().all(|n| *n > 0) {
            compared.push(pair);
            continue;
        }
        let mut reasons = before.iter().chain(after).filter_map(|run| run.not_measured.get(id));
        let failed = after.iter().all(|run| run.not_measured.get(id).is_some_and(|n| n.failed));
        not_compared.push(NotCompared {
            id: id.clone(),
            measured,
            lost: measured[0] > 0 && failed,
            reason: reasons.next().map_or_else(
                || "not in the plan of every run".to_owned(),
                |not_measured| not_measured.reason.clone(),
            ),
        });
    }
    (compared, not_compared)
}

/// Runs in the form that is judged: configurations and their medians in one order.
pub(crate) struct Aligned {
    /// The configurations' ids.
    pub(crate) ids: Vec<String>,
    /// Where they belong.
    pub(crate) grouping: Grouping,
    /// The independent variable of each.
    pub(crate) x: Vec<f64>,
    /// A run each.
    pub(crate) ln_medians: Vec<LnMedians>,
    /// Variances of ln median that the clock's resolution alone makes.
    pub(crate) floors: Vec<f64>,
}

impl Aligned {
    /// What all runs measured, in the first one's order.
    pub(crate) fn complete(runs: &[&Run]) -> Self {
        let ids = runs.first().map_or(&[][..], |run| &run.header.plan.ids);
        let is_complete = |id: &&String| runs.iter().all(|run| run.measured.contains_key(*id));
        Self::of(runs, ids.iter().filter(is_complete).cloned().collect())
    }

    /// These configurations, each measured in one of the runs at least.
    fn of(runs: &[&Run], ids: Vec<String>) -> Self {
        let first: Vec<&Measured> =
            ids.iter().filter_map(|id| runs.iter().find_map(|run| run.measured.get(id))).collect();
        let floor = |id: &String| {
            let measured = runs.iter().filter_map(|run| Some((run, run.measured.get(id)?)));
            measured.map(|(run, m)| run.resolution_variance(m.median_ns)).fold(0.0, f64::max)
        };
        Self {
            grouping: Grouping::new(
                first.iter().map(|m| (m.experiment.as_str(), m.series.as_str())),
            ),
            x: first.iter().map(|m| m.x).collect(),
            ln_medians: runs
                .iter()
                .map(|run| ln_medians(run, ids.iter().map(String::as_str)))
                .collect(),
            floors: ids.iter().map(floor).collect(),
            ids,
        }
    }
}

fn ln_medians<'a>(run: &Run, ids: impl Iterator<Item = &'a str>) -> LnMedians {
    ids.map(|id| Some(run.measured.get(id)?.median_ns.ln())).collect()
}

struct Answered {
    grouping: Grouping,
    answers: Answers,
    method: Method,
}

fn answer(
    before: &[Run],
    after: &[Run],
    history: &[Vec<Run>],
    options: Options,
    compared: &[Pair<'_>],
) -> Answered {
    let ids: Vec<String> = compared.iter().map(|pair| pair.id.to_owned()).collect();
    let runs: Vec<&Run> = before.iter().chain(after).collect();
    let Aligned { grouping, ln_medians: mut of_before, floors, .. } = Aligned::of(&runs, ids);
    let of_after = of_before.split_off(before.len());
    let ln_medians = |runs: &[Run]| -> Vec<LnMedians> {
        runs.iter().map(|run| ln_medians(run, compared.iter().map(|pair| pair.id))).collect()
    };
    let history: Vec<Vec<LnMedians>> = history.iter().map(|runs| ln_medians(runs)).collect();
    let known = history.iter().any(|runs| runs.len() > 1);
    let within = [before, after].map(|runs| {
        let se = |pair: &Pair<'_>| runs[0].measured.get(pair.id)?.ln_se;
        compared.iter().map(se).collect::<Vec<Option<f64>>>()
    });
    let design = match (before.len(), after.len()) {
        (1, 1) if known => Design::History(&history),
        (1, 1) => Design::WithinRuns([&within[0], &within[1]]),
        _ if options.paired => Design::Paired,
        _ => Design::Independent,
    };
    let answers = Question {
        grouping: &grouping,
        before: &of_before,
        after: &of_after,
        floors: &floors,
        design,
        threshold: options.threshold,
        false_discovery_rate: options.false_discovery_rate,
    }
    .answer();
    let method = Method::of(design, runs.len(), &answers, &grouping);
    Answered { grouping, answers, method }
}

impl Method {
    fn of(design: Design<'_>, runs: usize, answers: &Answers, grouping: &Grouping) -> Self {
        let Some(noise) = &answers.noise else { return Self::WithinRuns };
        let typical_sd = noise.typical_sd(grouping);
        match design {
            Design::History(groups) => Self::History {
                runs: groups.iter().map(Vec::len).sum(),
                groups: groups.len(),
                typical_sd,
            },
            Design::WithinRuns(_) => Self::WithinRuns,
            Design::Independent | Design::Paired => {
                let paired = matches!(design, Design::Paired);
                let df = if paired { runs / 2 - 1 } else { runs - 2 } as f64;
                let prior_df = noise.prior.df.is_finite().then_some(noise.prior.df);
                Self::BetweenRuns { paired, df, prior_df, typical_sd }
            }
        }
    }
}

impl Change {
    fn new(
        pair: &Pair<'_>,
        answer: &Answer,
        ln_threshold: f64,
        differences: &[Difference],
    ) -> Self {
        let [before, after] = [0, 1].map(|side| pair.of(side));
        let median_ns = [&before, &after].map(|runs| {
            let ln = runs.iter().map(|m| m.median_ns.ln());
            noise::mean(ln).map_or(f64::NAN, f64::exp)
        });
        let effect = match answer.contrast {
            Some(_) => Effect::of_answer(answer, ln_threshold),
            None => Effect::unknown(median_ns[1] / median_ns[0], ln_threshold),
        };
        let first = before[0];
        Self {
            id: pair.id.to_owned(),
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

    /// Whether it is shown to be slower, and by more than the threshold as measured.
    pub fn is_regression(&self) -> bool {
        self.effect.is_regression()
    }
}

impl Effect {
    fn of_answer(answer: &Answer, ln_threshold: f64) -> Self {
        match answer.contrast {
            Some(contrast) => Self::of_contrast(contrast, answer.verdict, ln_threshold),
            None => Self::unknown(f64::NAN, ln_threshold),
        }
    }

    fn of_contrast(contrast: Contrast, verdict: Verdict, ln_threshold: f64) -> Self {
        Self {
            ratio: contrast.ln_ratio.exp(),
            interval: Some(contrast.interval()),
            p_different: Some(contrast.p_different()),
            verdict,
            beyond_threshold: contrast.ln_ratio.abs() > ln_threshold,
        }
    }

    fn unknown(ratio: f64, ln_threshold: f64) -> Self {
        Self {
            ratio,
            interval: None,
            p_different: None,
            verdict: Verdict::Undecided,
            beyond_threshold: ratio.ln().abs() > ln_threshold,
        }
    }

    /// Whether it is shown to be slower, and by more than the threshold as measured.
    pub fn is_regression(&self) -> bool {
        self.verdict == Verdict::Slower && self.beyond_threshold
    }
}

impl Side {
    fn of(runs: &[Run]) -> Self {
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
            provenance: provenance_of_all(&runs.iter().map(|run| &run.header).collect::<Vec<_>>()),
            runs: ids,
            load_average: loads.fold(None, range),
        }
    }
}

impl Comparison {
    /// Writes the comparison as CSV, JSON and Markdown, and its figures, into a directory, which is
    /// created.
    ///
    /// # Errors
    /// [`CompareError`] where that fails.
    pub fn write(&self, directory: &Path) -> Result<(), CompareError> {
        let failed = |error| FileError::create(directory, error);
        std::fs::create_dir_all(directory).map_err(failed)?;
        let json = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))? + "\n";
        let texts = [
            ("comparison.csv", self.to_csv()),
            ("comparison.json", json),
            ("comparison.md", self.to_markdown()),
        ];
        write_texts(directory, &texts)?;
        let figures = plot::compare::figures(self);
        figures.par_iter().try_for_each(|figure| plot::write(figure, directory))?;
        Ok(())
    }

    /// Whether anything is slower beyond the threshold, or was computed before and fails after.
    pub fn has_regression(&self) -> bool {
        self.configurations.iter().any(Change::is_regression)
            || self.groups.iter().any(|group| group.effect.is_regression())
            || self.not_compared.iter().any(|not| not.lost)
    }
}

#[cfg(test)]
mod tests;
