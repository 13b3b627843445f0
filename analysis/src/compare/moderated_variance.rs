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
//! The variance of `own` is estimated for each configuration from few runs, and moderated: shrunk
//! towards what the configurations have in common, by empirical Bayes. If the variances follow a
//! scaled inverse χ² distribution of d₀ degrees of freedom around s₀², the best estimate from a sample
//! variance s² of d degrees is (d₀·s₀² + d·s²) / (d₀ + d), with d₀ + d degrees (G. K. Smyth, "Linear
//! models and empirical Bayes methods for assessing differential expression in microarray
//! experiments", 2004, sections 3 and 6.2).

use alpha_flops::statistics::{quantile, sorted};
use statrs::function::gamma::digamma;

use super::grouping::{Grouping, LnMedians, mean};

/// A variance with its degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EstimatedVariance {
    /// Of natural logarithms.
    pub value: f64,
    /// Degrees of freedom of the estimate; infinite where it is known.
    pub df: f64,
}

/// What variances of configurations have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// s₀².
    pub value: f64,
    /// d₀; infinite if all configurations seem to have one variance, 0 if they have nothing in common.
    pub df: f64,
}

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
    /// Estimates them from groups of runs, each group measured in one environment. No variance is less than
    /// its floor, what the clock's resolution alone causes. Variances are shrunk towards `prior`, or towards
    /// the one estimated here. `None` if no group has two runs.
    pub fn estimate(
        groups: &[&[LnMedians]],
        grouping: &Grouping,
        floors: &[f64],
        prior: Option<Prior>,
    ) -> Option<Self> {
        let df: usize = groups.iter().map(|runs| runs.len().saturating_sub(1)).sum();
        if df == 0 {
            return None;
        }
        let mut own = vec![Sum::default(); grouping.len()];
        let mut common = vec![0.0; grouping.experiments()];
        for runs in groups.iter().filter(|runs| runs.len() > 1) {
            let deviations = Deviations::new(runs, grouping);
            deviations.add_to(grouping, &mut own, &mut common);
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
struct Deviations {
    /// By run, of each configuration.
    own: Vec<LnMedians>,
    /// By run, of each experiment; 0 where it has too few configurations.
    common: Vec<Vec<f64>>,
}

impl Deviations {
    fn new(runs: &[LnMedians], grouping: &Grouping) -> Self {
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

    fn add_to(&self, grouping: &Grouping, own: &mut [Sum], common: &mut [f64]) {
        for shared in &self.common {
            common.iter_mut().zip(shared).for_each(|(sum, shared)| *sum += shared * shared);
        }
        for (index, sum) in own.iter_mut().enumerate() {
            let experiment = grouping.experiment_of(index);
            let runs = self.own.iter().zip(&self.common);
            let deviations: Vec<f64> =
                runs.filter_map(|(own, common)| Some(own[index]? - common[experiment])).collect();
            if deviations.len() > 1 {
                sum.squares += deviations.iter().map(|z| z * z).sum::<f64>();
                sum.df += (deviations.len() - 1) as f64;
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

impl Prior {
    /// Estimates it from the moments of the logarithms of sample variances (Smyth 2004, section 6.2).
    pub fn estimate(sample: &[EstimatedVariance]) -> Self {
        let usable = || sample.iter().filter(|v| v.df > 0.0 && v.value > 0.0);
        let deviations: Vec<(f64, f64)> = usable()
            .map(|v| (v.value.ln() - digamma(v.df / 2.0) + (v.df / 2.0).ln(), trigamma(v.df / 2.0)))
            .collect();
        let n = deviations.len() as f64;
        if deviations.len() < 2 {
            return Self { value: usable().next().map_or(0.0, |v| v.value), df: 0.0 };
        }
        let mean = deviations.iter().map(|(e, _)| e).sum::<f64>() / n;
        let spread =
            deviations.iter().map(|(e, _)| (e - mean) * (e - mean)).sum::<f64>() / (n - 1.0);
        let excess = spread - deviations.iter().map(|(_, trigamma)| trigamma).sum::<f64>() / n;
        if excess <= 0.0 {
            return Self { value: mean.exp(), df: f64::INFINITY };
        }
        let half = inverse_trigamma(excess);
        Self { value: (mean + digamma(half) - half.ln()).exp(), df: 2.0 * half }
    }

    fn moderate(self, sample: EstimatedVariance) -> EstimatedVariance {
        if self.df.is_infinite() {
            return EstimatedVariance { value: self.value, df: self.df };
        }
        let df = self.df + sample.df;
        let value = match df > 0.0 {
            true => (self.df * self.value + sample.df * sample.value) / df,
            false => self.value,
        };
        EstimatedVariance { value, df }
    }
}

/// ψ′(x) for x > 0: by recurrence to x ≥ 10, then its asymptotic series (Abramowitz and Stegun
/// 6.4.6, 6.4.12).
pub(super) fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 10.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = 1.0 / 6.0
        - square
            * (1.0 / 30.0 - square * (1.0 / 42.0 - square * (1.0 / 30.0 - square * 5.0 / 66.0)));
    sum + 1.0 / x + square / 2.0 + square / x * series
}

/// The x with ψ′(x) = `value` > 0, by Newton's method on 1/ψ′, which is nearly a line (Smyth 2004,
/// appendix).
fn inverse_trigamma(value: f64) -> f64 {
    if value > 1e7 {
        return value.sqrt().recip();
    }
    if value < 1e-6 {
        return value.recip();
    }
    let mut x = 0.5 + value.recip();
    for _ in 0..50 {
        let at = trigamma(x);
        let step = at * (1.0 - at / value) / tetragamma(x);
        x += step;
        if -step / x < 1e-10 {
            break;
        }
    }
    x
}

/// ψ″(x), as [`trigamma`] (Abramowitz and Stegun 6.4.13).
fn tetragamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 10.0 {
        sum -= 2.0 / (x * x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series =
        0.5 - square * (1.0 / 6.0 - square * (1.0 / 6.0 - square * (0.3 - square * 5.0 / 6.0)));
    sum - square - square / x - square * square * series
}
