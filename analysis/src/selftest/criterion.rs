//! Criterion's own verdict on two sets of launches, as criterion 0.8.2 reaches it, to be judged where the
//! truth is known. Its launches are its unit of replication, and it takes them to be independent.
//!
//! 1. Is there a change? Welch's `t` of the two means is compared with its values in resamples of both
//!    sides' launches put together (`stats::univariate::mixed`); `p` is twice the smaller tail.
//! 2. Is it large? The relative change of the mean is resampled, each side from its own launches
//!    (`stats::univariate::bootstrap`), and the ends of its percentile interval are compared with a
//!    noise threshold (`report::compare_to_threshold`).
//!
//! Of `n` resamples in the second step only `√n` of the later side are drawn, each set against `√n` of
//! the earlier: the interval is noisier than `n` says. That is criterion's, and is kept.

use alpha_flops::statistics::{quantile, sorted};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// What a verdict depends on beside the launches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Resamples of each of the two steps.
    pub resamples: usize,
    /// Of the interval of the relative change.
    pub confidence_level: f64,
    /// Largest `p` that is no change.
    pub significance_level: f64,
    /// Relative change that is noise.
    pub noise_threshold: f64,
}

impl Default for Rules {
    /// Criterion's defaults, but for the resamples, of which this project's benchmarks take 1,001:
    /// criterion's 100,000 take seconds for 2,000 launches.
    fn default() -> Self {
        Self {
            resamples: 1001,
            confidence_level: 0.95,
            significance_level: 0.05,
            noise_threshold: 0.01,
        }
    }
}

/// What criterion prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CriterionVerdict {
    /// "No change in performance detected."
    NoChange,
    /// "Change within noise threshold."
    WithinNoise,
    /// "Performance has improved."
    Improved,
    /// "Performance has regressed."
    Regressed,
}

/// A verdict with the numbers behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct CriterionComparison {
    /// Mean after over mean before, less 1.
    pub change: f64,
    pub interval: (f64, f64),
    /// Probability of so large a difference without a change, from 0 to 1; `NaN` where neither side
    /// varies.
    pub p_value: f64,
    pub verdict: CriterionVerdict,
}

/// Compares launches before and after as criterion does; equal seeds give equal results. `None` where a
/// side has fewer than two launches, or one that is not finite and positive.
pub fn compare(
    before_ns: &[f64],
    after_ns: &[f64],
    rules: &Rules,
    seed: u64,
) -> Option<CriterionComparison> {
    let usable = |ns: &[f64]| ns.len() > 1 && ns.iter().all(|ns| ns.is_finite() && *ns > 0.0);
    if !usable(before_ns) || !usable(after_ns) {
        return None;
    }
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let p_value = p_value(before_ns, after_ns, rules.resamples, &mut random);
    let changes = sorted(&resampled_changes(before_ns, after_ns, rules.resamples, &mut random));
    let tail = (1.0 - rules.confidence_level) / 2.0;
    let interval = (quantile(&changes, tail), quantile(&changes, 1.0 - tail));
    let change = mean(after_ns) / mean(before_ns) - 1.0;
    Some(CriterionComparison {
        change,
        interval,
        p_value,
        verdict: verdict(p_value, interval, rules),
    })
}

fn verdict(p_value: f64, (low, high): (f64, f64), rules: &Rules) -> CriterionVerdict {
    // where p is not a number there is no change either
    let is_change = p_value < rules.significance_level;
    match is_change {
        false => CriterionVerdict::NoChange,
        true if high < -rules.noise_threshold => CriterionVerdict::Improved,
        true if low > rules.noise_threshold => CriterionVerdict::Regressed,
        true => CriterionVerdict::WithinNoise,
    }
}

/// Twice the smaller part of the resampled `t` below, or not below, the one observed.
fn p_value(
    before_ns: &[f64],
    after_ns: &[f64],
    resamples: usize,
    random: &mut Xoshiro256PlusPlus,
) -> f64 {
    // t does not depend on the origin: near the values, squares lose no digits
    let origin_ns = before_ns[0];
    let both: Vec<f64> = after_ns.iter().chain(before_ns).map(|ns| ns - origin_ns).collect();
    let (after, before) = both.split_at(after_ns.len());
    let observed = t(Sums::new(after), Sums::new(before));
    let resampled = (0..resamples).map(|_| {
        let after = Sums::resampled(&both, after_ns.len(), random);
        t(after, Sums::resampled(&both, before_ns.len(), random))
    });
    let finite: Vec<f64> = resampled.filter(|t| t.is_finite()).collect();
    let below = finite.iter().filter(|t| **t < observed).count();
    2.0 * below.min(finite.len() - below) as f64 / finite.len() as f64
}

/// Relative changes of the mean in resamples of both sides.
fn resampled_changes(
    before_ns: &[f64],
    after_ns: &[f64],
    resamples: usize,
    random: &mut Xoshiro256PlusPlus,
) -> Vec<f64> {
    let of_after = (resamples as f64).sqrt().ceil().max(1.0) as usize;
    let of_before_each = resamples.div_ceil(of_after);
    let mut changes = Vec::with_capacity(of_after * of_before_each);
    for _ in 0..of_after {
        let after = Sums::resampled(after_ns, after_ns.len(), random).mean();
        for _ in 0..of_before_each.min(resamples - changes.len()) {
            let before = Sums::resampled(before_ns, before_ns.len(), random).mean();
            changes.push(after / before - 1.0);
        }
    }
    changes
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Welch's `t`: the difference of means over its standard error.
fn t(a: Sums, b: Sums) -> f64 {
    let error = (a.variance() / a.count + b.variance() / b.count).sqrt();
    (a.mean() - b.mean()) / error
}

/// What means and variances of a sample are made of.
#[derive(Clone, Copy, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn new(values: &[f64]) -> Self {
        values.iter().fold(Self::default(), |sums, value| sums.and(*value))
    }

    /// Those of `count` values drawn with replacement.
    fn resampled(values: &[f64], count: usize, random: &mut Xoshiro256PlusPlus) -> Self {
        // 32 random bits choose among thousands of values: none is likelier than another by 10⁻⁵
        let drawn =
            |bits: u64| values[(((bits & 0xffff_ffff) * values.len() as u64) >> 32) as usize];
        let (mut one, mut other) = (Self::default(), Self::default());
        for _ in 0..count / 2 {
            let bits = random.next_u64();
            one = one.and(drawn(bits));
            other = other.and(drawn(bits >> 32));
        }
        if count % 2 == 1 {
            one = one.and(drawn(random.next_u64()));
        }
        Self {
            count: one.count + other.count,
            sum: one.sum + other.sum,
            squares: one.squares + other.squares,
        }
    }

    fn and(self, value: f64) -> Self {
        Self {
            count: self.count + 1.0,
            sum: self.sum + value,
            squares: self.squares + value * value,
        }
    }

    fn mean(self) -> f64 {
        self.sum / self.count
    }

    fn variance(self) -> f64 {
        let around_mean = self.squares - self.sum * self.sum / self.count;
        // rounding may leave less than nothing where values are equal
        around_mean.max(0.0) / (self.count - 1.0)
    }
}

#[cfg(test)]
mod tests;
