//! How much slower each configuration and each group got, and how sure that is: what is tested.

use super::candidates;
use super::contrast::Contrast;
use super::grouping::{Group, Grouping, LnMedians, mean};
use super::run_noise::{RunNoise, Spread};
use super::run_variances::RunVariances;
use crate::moderated_variance::{EstimatedVariance, Prior};

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
    /// Variance of each configuration's ln median from the clock's resolution alone. It is the least that runs
    /// differ by; and as rounding is the same in all runs of a side, each side has it once more, however
    /// many they are.
    pub floors: &'a [f64],
    /// The rank in time of each run, those before first.
    pub order: &'a [usize],
    pub design: Design<'a>,
}

/// What is estimated on the two sides, and used for every other division of their runs, so that equal
/// differences have equal p values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shared {
    /// What variances are shrunk towards; `None` where there are none.
    pub(super) prior: Option<Prior>,
    pub(super) noise: RunNoise,
}

/// Estimated ratios; `None` where a side has no median, or the error is unknown.
pub(super) struct Contrasts {
    pub(super) configurations: Vec<Option<Contrast>>,
    pub(super) groups: Vec<Option<Contrast>>,
    pub(super) variances: Option<RunVariances>,
    pub(super) shared: Shared,
    /// Of configurations that all runs have.
    pub(super) spread: Spread,
}

impl Samples<'_> {
    /// Estimates the ratio of every configuration and every group, by what was estimated on the observed
    /// sides, or by what is estimated here.
    pub(super) fn contrasts(&self, shared: Option<&Shared>) -> Contrasts {
        let differences = self.differences();
        let noise = shared.map_or_else(|| self.noise(), |shared| shared.noise.clone());
        let prior = shared.and_then(|shared| shared.prior);
        let variances = self.variances(&differences, &noise, prior);
        let spread = self.spread(&noise, &|_| true);
        let known = Known { differences, noise, variances, spread };
        let mut configurations: Vec<_> =
            (0..self.grouping.len()).map(|index| self.contrast(index, &known)).collect();
        if self.has_only_candidates() {
            candidates::widen(&mut configurations);
        }
        let groups = self.grouping.groups().iter();
        let mut groups: Vec<_> =
            groups.map(|group| self.group_contrast(group, &known, &configurations)).collect();
        if self.has_only_candidates() {
            candidates::widen_groups(&mut groups, self.grouping);
        }
        let Known { noise, variances, .. } = known;
        let prior = variances.as_ref().map(|variances| variances.prior);
        Contrasts { groups, configurations, variances, spread, shared: Shared { prior, noise } }
    }

    /// Whether a side has a single run, and how runs differ is not known from others: whatever happened to that
    /// run looks like the update.
    pub(super) fn has_only_candidates(&self) -> bool {
        let is_single = self.before.len() == 1 || self.after.len() == 1;
        match self.design {
            Design::Independent => is_single,
            Design::WithinRuns(_) => true,
            Design::Paired | Design::History(_) => false,
        }
    }

    fn noise(&self) -> RunNoise {
        let runs = self.before.len() + self.after.len();
        match self.design {
            Design::Independent | Design::Paired => RunNoise::estimate(
                [self.before, self.after],
                self.order,
                self.grouping,
                self.floors,
                matches!(self.design, Design::Paired),
            ),
            Design::History(_) | Design::WithinRuns(_) => RunNoise::independent(runs),
        }
    }

    /// How the difference of the sides spreads, over the runs that have something, by their index.
    fn spread(&self, noise: &RunNoise, has: &dyn Fn(usize) -> bool) -> Spread {
        let n = self.before.len();
        let ranks = |runs: std::ops::Range<usize>| -> Vec<usize> {
            runs.filter(|run| has(*run)).map(|run| self.order[run]).collect()
        };
        match self.design {
            Design::Independent => noise.spread(&ranks(0..n), &ranks(n..self.order.len())),
            Design::Paired => {
                let pairs: Vec<usize> = (0..n).filter(|i| has(*i) && has(n + i)).collect();
                let of = |first: usize| -> Vec<usize> {
                    pairs.iter().map(|pair| self.order[first + pair]).collect()
                };
                noise.spread_of_pairs(&of(0), &of(n))
            }
            // variances come from elsewhere
            Design::History(_) | Design::WithinRuns(_) => {
                let count = |runs: std::ops::Range<usize>| runs.filter(|run| has(*run)).count();
                let sizes = [count(0..n), count(n..n + self.after.len())];
                let of_difference = sizes.map(|n| 1.0 / n as f64).iter().sum();
                Spread { of_difference, serial_inflation: 1.0, df_share: 1.0 }
            }
        }
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

    fn variances(
        &self,
        differences: &[LnMedians],
        noise: &RunNoise,
        prior: Option<Prior>,
    ) -> Option<RunVariances> {
        let alike = |runs: &[LnMedians]| vec![1.0; runs.len()];
        let groups: Vec<(&[LnMedians], Vec<f64>)> = match self.design {
            Design::Independent => {
                let [before, after] = self.weights(noise);
                vec![(self.before, before), (self.after, after)]
            }
            Design::Paired => vec![(differences, alike(differences))],
            Design::History(groups) => {
                groups.iter().map(|runs| (runs.as_slice(), alike(runs))).collect()
            }
            Design::WithinRuns(_) => return None,
        };
        RunVariances::estimate(&groups, self.grouping, &self.floors(), prior)
    }

    /// The variance of each run before and after, in units of the configuration's.
    fn weights(&self, noise: &RunNoise) -> [Vec<f64>; 2] {
        let mut before: Vec<f64> = self.order.iter().map(|rank| noise.weight(*rank)).collect();
        let after = before.split_off(self.before.len());
        [before, after]
    }

    /// Floors of what variances are estimated from: for paired runs, the difference of two.
    fn floors(&self) -> Vec<f64> {
        let times = if matches!(self.design, Design::Paired) { 2.0 } else { 1.0 };
        self.floors.iter().map(|floor| times * floor).collect()
    }

    fn contrast(&self, index: usize, known: &Known) -> Option<Contrast> {
        let of =
            |runs: &[LnMedians]| -> Vec<f64> { runs.iter().filter_map(|run| run[index]).collect() };
        let ln_ratio = match self.design {
            Design::Paired => mean(of(&known.differences).into_iter())?,
            _ => mean(of(self.after).into_iter())? - mean(of(self.before).into_iter())?,
        };
        let rounding = 2.0 * self.floors[index];
        if let Design::WithinRuns([before, after]) = self.design {
            let variance = before[index]?.powi(2) + after[index]?.powi(2) + rounding;
            return usable(ln_ratio, variance, f64::INFINITY);
        }
        let variance = known.variances.as_ref()?.total(index, self.grouping.experiment_of(index));
        let runs = || self.before.iter().chain(self.after);
        let spread = match runs().all(|run| run[index].is_some()) {
            true => known.spread,
            false => {
                let has: Vec<bool> = runs().map(|run| run[index].is_some()).collect();
                self.spread(&known.noise, &|run| has[run])
            }
        };
        let variance = EstimatedVariance {
            value: variance.value * spread.of_difference,
            df: variance.df * spread.df_share,
        };
        with_rounding(ln_ratio, variance, rounding)
    }

    /// Student's t on the runs' means over the configurations that all runs have.
    fn group_contrast(
        &self,
        group: &Group,
        known: &Known,
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
        let alike = |values: &[f64]| squares(values, &vec![1.0; values.len()]);
        let (squares, df) = match self.design {
            Design::Independent => {
                let [of_before, of_after] = self.weights(&known.noise);
                total([squares(&before, &of_before), squares(&after, &of_after)])
            }
            Design::Paired => alike(&of(&known.differences)),
            Design::History(groups) => total(groups.iter().map(|runs| alike(&of(runs)))),
            Design::WithinRuns(_) => {
                let of_members = members.iter().map(|i| Some(configurations[*i]?.se.powi(2)));
                let variance = of_members.sum::<Option<f64>>()? / (m * m);
                return usable(ln_ratio, variance, f64::INFINITY);
            }
        };
        let Spread { of_difference, df_share, .. } = known.spread;
        let value = (squares / df).max(floor) * of_difference;
        let rounding = members.iter().map(|i| 2.0 * self.floors[*i]).sum::<f64>() / (m * m);
        with_rounding(ln_ratio, EstimatedVariance { value, df: df * df_share }, rounding)
    }
}

/// A contrast whose error has a known part, with the degrees of freedom of the sum (Satterthwaite 1946).
fn with_rounding(ln_ratio: f64, variance: EstimatedVariance, rounding: f64) -> Option<Contrast> {
    let total = variance.value + rounding;
    let share = if variance.value > 0.0 { total / variance.value } else { 1.0 };
    usable(ln_ratio, total, variance.df * share * share)
}

/// What the contrasts of configurations and groups have in common.
struct Known {
    /// Of paired runs.
    differences: Vec<LnMedians>,
    noise: RunNoise,
    variances: Option<RunVariances>,
    /// Of configurations that all runs have.
    spread: Spread,
}

/// A contrast; `None` where its error is unknown.
fn usable(ln_ratio: f64, variance: f64, df: f64) -> Option<Contrast> {
    let se = variance.sqrt();
    let is_usable = ln_ratio.is_finite() && se.is_finite() && se > 0.0 && df > 0.0;
    is_usable.then_some(Contrast { ln_ratio, se, df })
}

/// Sum of squared deviations from the mean, each over its weight, and its degrees of freedom.
fn squares(values: &[f64], weights: &[f64]) -> (f64, f64) {
    let Some(mean) = mean(values.iter().copied()) else { return (0.0, 0.0) };
    let squares = values.iter().zip(weights).map(|(v, w)| (v - mean) * (v - mean) / w);
    (squares.sum(), (values.len() - 1) as f64)
}

fn total(sums: impl IntoIterator<Item = (f64, f64)>) -> (f64, f64) {
    sums.into_iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
}
