//! How much runs differ when nothing has changed: the noise that a change has to exceed.
//!
//! The model of the logarithm of a run's median latency is
//!
//! ```text
//! y(configuration, run) = truth(configuration) + common(experiment, run) + own(configuration, run)
//! ```
//!
//! The experiments of a run are measured one after another, each in random order. Something that
//! disturbs a run for a while therefore disturbs the configurations of one experiment together: `common`.
//! Its degrees of freedom come from the number of runs, not of configurations: if configurations counted as
//! independent, one slow run would make thousands of them look significant.
//!
//! The variance of `own` is estimated for each configuration from few runs, and
//! [moderated](crate::moderated_variance).

use alpha_flops::statistics::{quantile, sorted};

use super::grouping::{Grouping, LnMedians, mean};
use crate::moderated_variance::{EstimatedVariance, Prior};

/// How runs in the same environment differ.
#[derive(Clone, Debug, PartialEq)]
pub struct RunVariances {
    /// By experiment: the variance of what its configurations share in a run.
    pub common: Vec<EstimatedVariance>,
    /// By configuration: the moderated variance of what it shares with no other.
    pub own: Vec<EstimatedVariance>,
    /// What `own` was shrunk towards.
    pub prior: Prior,
}

/// The fewest configurations whose shared deviation is estimated: it is their median, and the median of
/// fewer is mostly their own noise.
const ENOUGH_TO_SHARE: usize = 8;

/// With fewer degrees of freedom than this, `common` is too uncertain for Satterthwaite's formula.
const FEW: f64 = 4.0;

impl RunVariances {
    /// Estimates them from groups of runs, each group measured in one environment, with the variance of each
    /// run in units of the configuration's. No variance is less than its floor, what the clock's resolution
    /// alone causes. Variances are shrunk towards `prior`, or towards the one estimated here. `None` if no
    /// group has two runs.
    pub fn estimate(
        groups: &[(&[LnMedians], Vec<f64>)],
        grouping: &Grouping,
        floors: &[f64],
        prior: Option<Prior>,
    ) -> Option<Self> {
        let df: usize = groups.iter().map(|(runs, _)| runs.len().saturating_sub(1)).sum();
        if df == 0 {
            return None;
        }
        let mut own = vec![Sum::default(); grouping.len()];
        let mut common = vec![0.0; grouping.experiments()];
        for (runs, weights) in groups.iter().filter(|(runs, _)| runs.len() > 1) {
            let deviations = Deviations::new(runs, grouping);
            deviations.add_to(grouping, weights, &mut own, &mut common);
        }
        let df = df as f64;
        let common =
            common.into_iter().map(|sum| EstimatedVariance { value: sum / df, df }).collect();
        let sample: Vec<EstimatedVariance> =
            own.iter().zip(floors).map(|(sum, floor)| sum.variance(*floor)).collect();
        let prior = prior.unwrap_or_else(|| Prior::estimate(&sample));
        let own = sample.iter().map(|sample| prior.moderate(*sample)).zip(floors);
        let own =
            own.map(|(v, floor)| EstimatedVariance { value: v.value.max(*floor), ..v }).collect();
        Some(Self { common, own, prior })
    }

    /// Variance of a configuration's ln median in one run: the sum of the two, with the degrees of freedom of
    /// such a sum (Satterthwaite 1946).
    ///
    /// With two runs per side, `common` is often estimated far too small by chance: 8% of comparisons
    /// without a change raised an alarm where 5% were promised. Below four degrees of freedom, the sum
    /// therefore gets those of `common`, the least that it can have.
    pub fn total(&self, configuration: usize, experiment: usize) -> EstimatedVariance {
        let (common, own) = (self.common[experiment], self.own[configuration]);
        let value = common.value + own.value;
        if common.value > 0.0 && common.df < FEW {
            return EstimatedVariance { value, df: common.df };
        }
        if [common, own].iter().any(|v| v.value > 0.0 && v.df == 0.0) {
            return EstimatedVariance { value, df: 0.0 };
        }
        let part = |v: EstimatedVariance| if v.df > 0.0 { v.value * v.value / v.df } else { 0.0 };
        let df = value * value / (part(common) + part(own));
        EstimatedVariance { value, df: if df.is_nan() { 0.0 } else { df } }
    }

    /// The median, over configurations, of the between-run standard deviation of ln median.
    pub fn typical_sd(&self, grouping: &Grouping) -> f64 {
        let variance = |index| self.total(index, grouping.experiment_of(index)).value;
        let variances: Vec<f64> = (0..grouping.len()).map(variance).collect();
        quantile(&sorted(&variances), 0.5).sqrt()
    }
}

/// Sample variances of what configurations share with no other, of runs of one variance.
pub(super) fn own_variances(
    deviations: &Deviations,
    grouping: &Grouping,
    floors: &[f64],
) -> Vec<EstimatedVariance> {
    let mut own = vec![Sum::default(); grouping.len()];
    let weights = vec![1.0; deviations.own.len()];
    deviations.add_to(grouping, &weights, &mut own, &mut vec![0.0; grouping.experiments()]);
    own.iter().zip(floors).map(|(sum, floor)| sum.variance(*floor)).collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    squares: f64,
    df: f64,
}

impl Sum {
    fn variance(self, floor: f64) -> EstimatedVariance {
        let value = if self.df > 0.0 { self.squares / self.df } else { 0.0 };
        EstimatedVariance { value: value.max(floor), df: self.df }
    }
}

/// How each run of a group differs from the group's means.
pub(super) struct Deviations {
    /// By run, of each configuration.
    own: Vec<LnMedians>,
    /// By run, of each experiment; 0 where it has too few configurations.
    common: Vec<Vec<f64>>,
}

impl Deviations {
    pub(super) fn new(runs: &[LnMedians], grouping: &Grouping) -> Self {
        let means: Vec<Option<f64>> = (0..grouping.len())
            .map(|index| mean(runs.iter().filter_map(|run| run[index])))
            .collect();
        let own: Vec<LnMedians> = runs
            .iter()
            .map(|run| run.iter().zip(&means).map(|(y, mean)| Some((*y)? - (*mean)?)).collect())
            .collect();
        let is_complete: Vec<bool> =
            (0..grouping.len()).map(|index| runs.iter().all(|run| run[index].is_some())).collect();
        let common = own
            .iter()
            .map(|run| {
                let mut of_experiment = vec![Vec::new(); grouping.experiments()];
                for (index, deviation) in run.iter().enumerate().filter(|(i, _)| is_complete[*i]) {
                    of_experiment[grouping.experiment_of(index)].extend(deviation);
                }
                of_experiment.iter_mut().map(|deviations| shared(deviations)).collect()
            })
            .collect();
        Self { own, common }
    }

    /// Adds squares over the runs' weights.
    fn add_to(&self, grouping: &Grouping, weights: &[f64], own: &mut [Sum], common: &mut [f64]) {
        for (experiment, sum) in common.iter_mut().enumerate() {
            let squares = self.common.iter().zip(weights).map(|(of, w)| of[experiment].powi(2) / w);
            *sum += squares.sum::<f64>();
        }
        for (index, sum) in own.iter_mut().enumerate() {
            let experiment = grouping.experiment_of(index);
            let runs = self.own.iter().zip(&self.common).zip(weights);
            let squares: Vec<f64> = runs
                .filter_map(|((own, common), w)| {
                    Some((own[index]? - common[experiment]).powi(2) / w)
                })
                .collect();
            if squares.len() > 1 {
                sum.squares += squares.iter().sum::<f64>();
                sum.df += (squares.len() - 1) as f64;
            }
        }
    }
}

/// What configurations share: the median of their deviations, because a single disturbed configuration
/// doesn't move it.
fn shared(deviations: &mut [f64]) -> f64 {
    if deviations.len() < ENOUGH_TO_SHARE {
        return 0.0;
    }
    let middle = deviations.len() / 2;
    *deviations.select_nth_unstable_by(middle, f64::total_cmp).1
}
