//! How much slower each configuration and each group got, and how sure that is: what is tested.

use super::contrast::Contrast;
use super::grouping::{Group, Grouping, LnMedians, mean};
use super::run_variances::RunVariances;
use crate::moderated_variance::Prior;

/// How the runs of the two sides belong together.
#[derive(Clone, Copy, Debug)]
pub enum Design<'a> {
    /// The runs are independent.
    Independent,
    /// The i-th run before and the i-th run after were measured together.
    Paired,
    /// One run per side; variances come from other runs, in groups measured in the same environment.
    History(&'a [Vec<LnMedians>]),
    /// One run per side and no other runs: each configuration's standard errors of ln median within the
    /// run before and the run after.
    WithinRuns([&'a [Option<f64>]; 2]),
}

/// The medians of two sides of runs.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Samples<'a> {
    pub grouping: &'a Grouping,
    /// One entry per run.
    pub before: &'a [LnMedians],
    /// One entry per run.
    pub after: &'a [LnMedians],
    /// Variance of each configuration's ln median from the clock's resolution alone.
    pub floors: &'a [f64],
    pub design: Design<'a>,
}

/// Estimated ratios; `None` where a side has no median, or the error is unknown.
pub(super) struct Contrasts {
    pub(super) configurations: Vec<Option<Contrast>>,
    pub(super) groups: Vec<Option<Contrast>>,
    pub(super) variances: Option<RunVariances>,
}

impl Samples<'_> {
    /// Estimates the ratio of every configuration and every group, with variances shrunk towards `prior`,
    /// or towards the one estimated here.
    pub(super) fn contrasts(&self, prior: Option<Prior>) -> Contrasts {
        let differences = self.differences();
        let variances = self.variances(&differences, prior);
        let configurations: Vec<_> = (0..self.grouping.len())
            .map(|index| self.contrast(index, &differences, variances.as_ref()))
            .collect();
        let groups = self.grouping.groups().iter();
        let groups = groups.map(|group| self.group_contrast(group, &differences, &configurations));
        Contrasts { groups: groups.collect(), configurations, variances }
    }

    fn differences(&self) -> Vec<LnMedians> {
        if !matches!(self.design, Design::Paired) {
            return Vec::new();
        }
        let pairs = self.before.iter().zip(self.after);
        pairs
            .map(|(before, after)| {
                before.iter().zip(after).map(|(b, a)| Some((*a)? - (*b)?)).collect()
            })
            .collect()
    }

    fn variances(&self, differences: &[LnMedians], prior: Option<Prior>) -> Option<RunVariances> {
        let groups: Vec<&[LnMedians]> = match self.design {
            Design::Independent => vec![self.before, self.after],
            Design::Paired => vec![differences],
            Design::History(groups) => groups.iter().map(Vec::as_slice).collect(),
            Design::WithinRuns(_) => return None,
        };
        RunVariances::estimate(&groups, self.grouping, &self.floors(), prior)
    }

    /// Floors of what variances are estimated from: for paired runs, the difference of two.
    fn floors(&self) -> Vec<f64> {
        let times = if matches!(self.design, Design::Paired) { 2.0 } else { 1.0 };
        self.floors.iter().map(|floor| times * floor).collect()
    }

    fn contrast(
        &self,
        index: usize,
        differences: &[LnMedians],
        variances: Option<&RunVariances>,
    ) -> Option<Contrast> {
        let of =
            |runs: &[LnMedians]| -> Vec<f64> { runs.iter().filter_map(|run| run[index]).collect() };
        let (ln_ratio, runs) = match self.design {
            Design::Paired => {
                let differences = of(differences);
                (mean(differences.iter().copied())?, 1.0 / differences.len() as f64)
            }
            _ => {
                let (before, after) = (of(self.before), of(self.after));
                let ln_ratio = mean(after.iter().copied())? - mean(before.iter().copied())?;
                (ln_ratio, 1.0 / before.len() as f64 + 1.0 / after.len() as f64)
            }
        };
        if let Design::WithinRuns([before, after]) = self.design {
            let variance =
                before[index]?.powi(2) + after[index]?.powi(2) + 2.0 * self.floors[index];
            return usable(ln_ratio, variance, f64::INFINITY);
        }
        let variance = variances?.total(index, self.grouping.experiment_of(index));
        usable(ln_ratio, variance.value * runs, variance.df)
    }

    /// Student's t on the runs' means over the configurations that all runs have.
    fn group_contrast(
        &self,
        group: &Group,
        differences: &[LnMedians],
        configurations: &[Option<Contrast>],
    ) -> Option<Contrast> {
        let has = |runs: &[LnMedians], index: usize| runs.iter().all(|run| run[index].is_some());
        let is_in_history = |index: usize| match self.design {
            Design::History(groups) => groups.iter().all(|runs| has(runs, index)),
            _ => true,
        };
        let members: Vec<usize> = group
            .members
            .iter()
            .copied()
            .filter(|i| has(self.before, *i) && has(self.after, *i) && is_in_history(*i))
            .collect();
        if members.len() < 2 {
            return None;
        }
        let of = |runs: &[LnMedians]| -> Vec<f64> {
            runs.iter().filter_map(|run| mean(members.iter().filter_map(|i| run[*i]))).collect()
        };
        let m = members.len() as f64;
        let floors = self.floors();
        let floor = members.iter().map(|i| floors[*i]).sum::<f64>() / (m * m);
        let (before, after) = (of(self.before), of(self.after));
        let ln_ratio = mean(after.iter().copied())? - mean(before.iter().copied())?;
        let unpaired = 1.0 / before.len() as f64 + 1.0 / after.len() as f64;
        let ((squares, df), runs) = match self.design {
            Design::Independent => (total([squares(&before), squares(&after)]), unpaired),
            Design::Paired => (squares(&of(differences)), 1.0 / differences.len() as f64),
            Design::History(groups) => {
                (total(groups.iter().map(|runs| squares(&of(runs)))), unpaired)
            }
            Design::WithinRuns(_) => {
                let of_members = members.iter().map(|i| Some(configurations[*i]?.se.powi(2)));
                let variance = of_members.sum::<Option<f64>>()? / (m * m);
                return usable(ln_ratio, variance, f64::INFINITY);
            }
        };
        usable(ln_ratio, (squares / df).max(floor) * runs, df)
    }
}

/// A contrast; `None` where its error is unknown.
fn usable(ln_ratio: f64, variance: f64, df: f64) -> Option<Contrast> {
    let se = variance.sqrt();
    let is_usable = ln_ratio.is_finite() && se.is_finite() && se > 0.0 && df > 0.0;
    is_usable.then_some(Contrast { ln_ratio, se, df })
}

/// Sum of squared deviations from the mean, and its degrees of freedom.
fn squares(values: &[f64]) -> (f64, f64) {
    let Some(mean) = mean(values.iter().copied()) else { return (0.0, 0.0) };
    (values.iter().map(|v| (v - mean) * (v - mean)).sum(), (values.len() - 1) as f64)
}

fn total(sums: impl IntoIterator<Item = (f64, f64)>) -> (f64, f64) {
    sums.into_iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
}
