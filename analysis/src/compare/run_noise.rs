//! How the noise of runs is shaped: which side is noisier, and how runs near in time resemble each other.
//!
//! The covariance of a configuration's ln medians in runs `i` and `j`, at ranks `tᵢ` and `tⱼ` in time of
//! `n` runs, is taken as
//!
//! ```text
//! σ² · √(wᵢ wⱼ) · (ρ^|tᵢ − tⱼ| + δ · (tᵢ − t̄)(tⱼ − t̄)/n²)
//! ```
//!
//! with `σ²` of the configuration, and `w`, `ρ` and `δ` common to all: they are estimated over all
//! configurations, because one has too few runs for it. `w` is 1/√λ for a run before and √λ for one after,
//! λ being the ratio of the sides' variances. `ρ` is a serial correlation (AR(1)) and `δ` the variance of
//! a configuration's own linear drift over the session. Ranks stand for times, because a pause between runs
//! says little of how much changed in it.
//!
//! Runs in turns hardly suffer from either; if one side was measured after the other (*blocks in time*), both
//! look like an update, and errors have to be larger ([`RunNoise::spread`]).

use alpha_flops::choice::choices;
use alpha_flops::statistics::{quantile, sorted};
use statrs::distribution::{ContinuousCDF, FisherSnedecor};

use super::grouping::{Grouping, LnMedians};
use super::run_variances::{Deviations, own_variances};
use super::serial::Serial;
use crate::moderated_variance::trigamma;

choices! {
    /// How the runs of two sides follow each other in time.
    #[derive(Hash, serde::Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Layout {
        /// First all runs of one side, then all of the other.
        Blocks = "blocks in time",
        /// Never more than two runs of one side after one another.
        Turns = "in turns",
        /// Neither.
        Mixed = "mixed in time",
    }
}

impl Layout {
    /// That of so many runs before, given every run's rank in time, those before first.
    pub fn new(before: usize, order: &[usize]) -> Self {
        let mut is_after = vec![false; order.len()];
        order[before..].iter().for_each(|rank| is_after[*rank] = true);
        let changes = is_after.windows(2).filter(|two| two[0] != two[1]).count();
        match changes {
            0 | 1 => Self::Blocks,
            _ if is_after
                .windows(3)
                .all(|three| three.contains(&true) && three.contains(&false)) =>
            {
                Self::Turns
            }
            _ => Self::Mixed,
        }
    }
}

/// The shape of the noise of runs, by rank in time.
#[derive(Clone, Debug, PartialEq)]
pub struct RunNoise {
    /// Variance of each run, in units of the configuration's; empty if all are alike.
    weights: Vec<f64>,
    /// How runs near in time resemble each other.
    pub serial: Serial,
    /// λ, after over before; 1 where it cannot be estimated.
    pub variance_ratio: f64,
    runs: usize,
}

/// What the noise makes of the variance of a difference between two sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The variance of the difference of the sides' means, over the mean weighted square within sides.
    pub of_difference: f64,
    /// How much of it is due to serial correlation and drift; at least 1.
    pub serial_inflation: f64,
    /// The part of the degrees of freedom that serial correlation leaves (Satterthwaite 1946).
    pub df_share: f64,
}

impl RunNoise {
    /// Independent runs of one variance.
    pub fn independent(runs: usize) -> Self {
        Self { weights: Vec::new(), serial: Serial::default(), variance_ratio: 1.0, runs }
    }

    /// A known one: the variance and the place in time of each run.
    #[cfg(test)]
    pub(super) fn with(weights: Vec<f64>, serial: Serial, runs: usize) -> Self {
        Self { weights, serial, ..Self::independent(runs) }
    }

    /// Estimates it from two sides, whose runs have these ranks in time. Pairs have no ratio of variances:
    /// each of their differences has a run of either side.
    pub fn estimate(
        sides: [&[LnMedians]; 2],
        order: &[usize],
        grouping: &Grouping,
        floors: &[f64],
        paired: bool,
    ) -> Self {
        let [before, after] = sides;
        let runs = before.len() + after.len();
        let mut noise = Self::independent(runs);
        if !paired && before.len() > 1 && after.len() > 1 {
            noise.variance_ratio = variance_ratio(sides, grouping, floors);
            let sd = noise.variance_ratio.sqrt();
            noise.weights = vec![sd; runs];
            order[..before.len()].iter().for_each(|rank| noise.weights[*rank] = sd.recip());
        }
        noise.serial = Serial::estimate(sides, order, &|rank| noise.weight(rank));
        noise
    }

    /// Variance of the run at a rank, in units of the configuration's.
    pub fn weight(&self, rank: usize) -> f64 {
        self.weights.get(rank).copied().unwrap_or(1.0)
    }

    /// The spread of the difference between two independent sides, of runs at these ranks.
    ///
    /// With centred runs `e = My` (each side's mean taken off) and `S = Σ eᵢ²/wᵢ`, it is
    /// `Var(ȳ_after − ȳ_before) · (n − 2)/E(S)`. Serial correlation never makes it smaller than it is for
    /// independent runs: that runs in turns are more alike than that is not relied on.
    pub fn spread(&self, before: &[usize], after: &[usize]) -> Spread {
        let ranks = [before, after].concat();
        let side = |run: usize| usize::from(run >= before.len());
        let sizes = [before.len() as f64, after.len() as f64];
        let of = |serial: Serial| {
            let covariance = |a: usize, b: usize| {
                let scale = (self.weight(ranks[a]) * self.weight(ranks[b])).sqrt();
                scale * serial.correlation(ranks[a], ranks[b], self.runs)
            };
            Moments::new(ranks.len(), &side, sizes, &covariance, &|run| self.weight(ranks[run]))
        };
        self.compared(of, ranks.len().saturating_sub(2))
    }

    /// The same for pairs, each a run before and one after: of the mean of their differences.
    pub fn spread_of_pairs(&self, before: &[usize], after: &[usize]) -> Spread {
        let n = before.len();
        let of = |serial: Serial| {
            let covariance = |a: usize, b: usize| {
                let of = |x: &[usize], y: &[usize]| serial.correlation(x[a], y[b], self.runs);
                of(after, after) - of(after, before) - of(before, after) + of(before, before)
            };
            Moments::new(n, &|_| 0, [n as f64, 0.0], &covariance, &|_| 1.0)
        };
        self.compared(of, n.saturating_sub(1))
    }

    fn compared(&self, of: impl Fn(Serial) -> Moments, df: usize) -> Spread {
        let df = df as f64;
        let moments = of(Serial::default());
        let independent = moments.variance * df / moments.trace;
        if self.serial == Serial::default() {
            return Spread { of_difference: independent, serial_inflation: 1.0, df_share: 1.0 };
        }
        let moments = of(self.serial);
        let inflation = (moments.variance * df / moments.trace / independent).max(1.0);
        Spread {
            of_difference: independent * inflation,
            serial_inflation: inflation,
            df_share: (moments.trace * moments.trace / moments.trace_of_square / df).min(1.0),
        }
    }
}

/// What the covariance of runs makes of their sides.
struct Moments {
    /// Of the difference of the sides' means; with one side, of its mean.
    variance: f64,
    /// Of the covariance within sides, each row and column over the root of its weight, and of its square.
    trace: f64,
    trace_of_square: f64,
}

impl Moments {
    fn new(
        n: usize,
        side: &dyn Fn(usize) -> usize,
        sizes: [f64; 2],
        covariance: &dyn Fn(usize, usize) -> f64,
        weight: &dyn Fn(usize) -> f64,
    ) -> Self {
        // means of each row, and of all, over each side
        let mut rows = vec![[0.0; 2]; n];
        let mut all = [[0.0; 2]; 2];
        let mut values = vec![0.0; n * n];
        for a in 0..n {
            for b in 0..n {
                let value = covariance(a, b);
                values[a * n + b] = value;
                rows[a][side(b)] += value / sizes[side(b)];
                all[side(a)][side(b)] += value / sizes[side(a)] / sizes[side(b)];
            }
        }
        let (mut trace, mut trace_of_square) = (0.0, 0.0);
        for a in 0..n {
            for b in 0..n {
                let (i, j) = (side(a), side(b));
                let centred = values[a * n + b] - rows[a][j] - rows[b][i] + all[i][j];
                let square = centred * centred / (weight(a) * weight(b));
                trace_of_square += square;
                if a == b {
                    trace += centred / weight(a);
                }
            }
        }
        let variance = all[0][0] + all[1][1] - all[0][1] - all[1][0];
        Self { variance, trace, trace_of_square }
    }
}

/// λ: how many times as large the variance between runs is after as before. The median over configurations
/// of the ratio of sample variances, over the median of F with the sides' degrees of freedom: one
/// disturbed run in a minority of configurations does not move it. Its logarithm is shrunk towards 0 by
/// positive-part James–Stein with the variance of such a median, (π/2)(ψ′(d₁/2) + ψ′(d₂/2))/m.
fn variance_ratio(sides: [&[LnMedians]; 2], grouping: &Grouping, floors: &[f64]) -> f64 {
    let [before, after] =
        sides.map(|runs| own_variances(&Deviations::new(runs, grouping), grouping, floors));
    let [df_before, df_after] = sides.map(|runs| (runs.len() - 1) as f64);
    let is_usable = |(b, a): &(_, _)| {
        let usable =
            |v: &crate::moderated_variance::EstimatedVariance, df: f64| v.value > 0.0 && v.df == df;
        usable(b, df_before) && usable(a, df_after)
    };
    let ratios: Vec<f64> = before
        .iter()
        .copied()
        .zip(after.iter().copied())
        .filter(is_usable)
        .map(|(before, after)| (after.value / before.value).ln())
        .collect();
    let typical = FisherSnedecor::new(df_after, df_before).map(|f| f.inverse_cdf(0.5).ln());
    let (Ok(typical), false) = (typical, ratios.is_empty()) else { return 1.0 };
    let ln_ratio = quantile(&sorted(&ratios), 0.5) - typical;
    let variance = std::f64::consts::FRAC_PI_2
        * (trigamma(df_before / 2.0) + trigamma(df_after / 2.0))
        / ratios.len() as f64;
    match ln_ratio == 0.0 {
        true => 1.0,
        false => (ln_ratio * (1.0 - variance / (ln_ratio * ln_ratio)).max(0.0)).exp(),
    }
}
