//! Which changes a comparison would have found: its power, so that "nothing found" can be read.
//!
//! A change of one configuration is found if its p value is at most `α = rate/2/m`, what Benjamini and
//! Hochberg ask of a single change among `m`. With the error and the degrees of freedom of its ratio, four of
//! five changes of ln `(t₁₋α/₂ + t₀.₈)·se` are (the usual approximation of the noncentral t).

use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;

use super::contrast::Contrast;

/// The smallest changes of configurations that are found with a probability of 80%.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Detectable {
    /// That of the median configuration: 0.02.
    pub median: f64,
    /// That of the noisiest.
    pub worst: f64,
}

/// Runs that a change takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RunsNeeded {
    /// The change of the median configuration: 0.02.
    pub change: f64,
    /// On each side; absent if a thousand are not enough.
    pub runs: Option<usize>,
}

/// The changes that runs are told for.
const CHANGES: [f64; 4] = [0.01, 0.02, 0.05, 0.1];
const POWER: f64 = 0.8;
const MOST_RUNS: usize = 1000;

/// The smallest change that is found with 80% among so many tests at a false discovery rate.
pub(super) fn smallest(contrast: &Contrast, tests: usize, rate: f64) -> f64 {
    let alpha = rate / 2.0 / tests as f64;
    let t = contrast.quantile(1.0 - alpha / 2.0) + contrast.quantile(POWER);
    (t * contrast.se).exp_m1()
}

impl Detectable {
    /// Of the smallest changes of some configurations; `None` if there are none.
    pub(super) fn of(smallest: impl Iterator<Item = f64>) -> Option<Self> {
        let smallest = sorted(&smallest.collect::<Vec<_>>());
        Some(Self { worst: *smallest.last()?, median: quantile(&smallest, 0.5) })
    }
}

/// How many runs a side it takes to find each change in the median configuration, given the contrasts of
/// `runs` a side (of unequal sides, their harmonic mean) and the part of their variances that does not
/// shrink. At least `least` runs, without which no permutation confirms a single change. Degrees of freedom
/// count as they are, which is cautious for more runs.
pub(super) fn runs_needed(
    contrasts: &[(Contrast, f64)],
    runs: f64,
    least: usize,
    rate: f64,
) -> Vec<RunsNeeded> {
    let median_of = |n: usize| {
        let smallest = contrasts.iter().map(|(contrast, fixed)| {
            let shrinking = (contrast.se * contrast.se - fixed).max(0.0);
            let se = (shrinking * runs / n as f64 + fixed).sqrt();
            self::smallest(&Contrast { se, ..*contrast }, contrasts.len(), rate)
        });
        Detectable::of(smallest).map_or(f64::INFINITY, |detectable| detectable.median)
    };
    let needed = |change: f64| {
        let is_enough = |n: usize| median_of(n) <= change;
        if !is_enough(MOST_RUNS) {
            return None;
        }
        let (mut low, mut high) = (least.saturating_sub(1), MOST_RUNS);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if is_enough(middle) { high = middle } else { low = middle }
        }
        Some(high)
    };
    CHANGES.map(|change| RunsNeeded { change, runs: needed(change) }).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_change_and_the_runs_it_takes_follow_from_the_error() {
        // scipy.stats.norm: ppf(1 - .05/2/100/2) = 3.662259931, ppf(.8) = 0.841621234
        let contrast = Contrast { ln_ratio: 0.0, se: 0.01, df: f64::INFINITY };
        let found = smallest(&contrast, 100, 0.05);
        assert!((found - (0.01f64 * (3.662_259_931 + 0.841_621_234)).exp_m1()).abs() < 1e-9);
        // five runs show 4.61%; others take by the square of the ratio of logarithms as many
        let needed = runs_needed(&[(contrast, 0.0); 100], 5.0, 5, 0.05);
        let runs: Vec<_> = needed.iter().map(|needed| needed.runs).collect();
        assert_eq!(runs, [Some(103), Some(26), Some(5), Some(5)]);
        // rounding by 1% that is in all runs leaves nothing to be found below
        let fixed = runs_needed(&[(contrast, 1e-4); 100], 5.0, 5, 0.05);
        assert_eq!(fixed[1].runs, None);
    }
}
