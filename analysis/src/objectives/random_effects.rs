//! Values with noise of known size around a mean or a line, from which they also deviate by themselves:
//!
//! ```text
//! y = mean of the group + slope·x + deviation + noise     deviation ~ N(0, τ²), noise ~ N(0, v)
//! ```
//!
//! as in the meta-analysis of studies, whose results differ by more than their errors. Everything is made of
//! the weighted sum of squared residuals `Q(τ²) = Σ w (y − fit)²` with `w = 1/(v + τ²)`. If all v were known, Q
//! at the true τ² would be χ² with `m` degrees of freedom, values less parameters (Cochran 1954). Of v that
//! are estimates with `d` degrees of freedom, Q is larger: with
//!
//! ```text
//! Λ = Σ (1 − h)² (v/(v + τ²))² / d     h the leverage of a value
//! ```
//!
//! `Q/m/(1 + 2(m − 1)/(m(m + 2))·Λ)` is nearly F with m and `m(m + 2)/(3Λ)` degrees of freedom (Welch 1951, who
//! has τ = 0 and a mean), and E Q is nearly m + 2Λ. Where all d are infinite, this is χ² again.
//!
//! - Test of τ = 0: Q(0).
//! - Estimate of τ²: where Q is as large as expected (Paule and Mandel 1982).
//! - 95% interval of τ: where Q is neither larger nor smaller than in 2.5% (*Q-profile*, Viechtbauer 2007).
//!   Values that differ by less than noise alone makes them differ in 97.5% show that noise is
//!   overestimated; the upper end is then that of values without noise.
//! - Slope: by the weights at the estimate, with the standard error of Knapp and Hartung (2003), which is
//!   multiplied by no less than 1. It contains noise and deviations.

use statrs::distribution::{ChiSquared, ContinuousCDF, FisherSnedecor};

use crate::moderated_variance::EstimatedVariance;

/// Variance that is always there, of rounding.
const ROUNDING: f64 = 1e-24;

/// Degrees of freedom from which on F is χ².
const MANY: f64 = 1e6;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    /// Variance v of y with its degrees of freedom d.
    pub noise: EstimatedVariance,
}

/// Groups of values, each group with a mean of its own, and all with one slope or none.
pub(super) struct RandomEffects<'a> {
    groups: &'a [Vec<Point>],
    has_slope: bool,
    /// m, at least 1.
    df: f64,
}

/// A slope with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SlopeEstimate {
    pub slope: f64,
    pub standard_error: f64,
    /// τ: how far values deviate from the line beyond noise.
    pub deviation: f64,
    pub df: f64,
}

/// Everything at one τ².
struct At {
    q: f64,
    /// Λ.
    uncertainty: f64,
    slope: f64,
    /// Weighted sum of squared distances in x.
    sxx: f64,
    /// Weighted means of the groups.
    means: Vec<f64>,
}

impl<'a> RandomEffects<'a> {
    /// Around the means of groups; `None` where no group has two values.
    pub fn around_means(groups: &'a [Vec<Point>]) -> Option<Self> {
        Self::new(groups, false)
    }

    /// Around lines with a common slope; `None` where no degree of freedom is left or x does not vary.
    pub fn around_lines(groups: &'a [Vec<Point>]) -> Option<Self> {
        let varies = |group: &Vec<Point>| {
            let mean = group.iter().map(|p| p.x).sum::<f64>() / group.len() as f64;
            group.iter().map(|p| (p.x - mean).powi(2)).sum::<f64>()
        };
        let n = groups.iter().map(Vec::len).sum::<usize>() as f64;
        let sxx: f64 = groups.iter().map(varies).sum();
        Self::new(groups, true).filter(|_| sxx.is_finite() && sxx > 1e-12 * n)
    }

    fn new(groups: &'a [Vec<Point>], has_slope: bool) -> Option<Self> {
        let values: usize = groups.iter().map(Vec::len).sum();
        let left = values.checked_sub(groups.len() + usize::from(has_slope))?;
        (left > 0).then_some(Self { groups, has_slope, df: left as f64 })
    }

    fn at(&self, tau2: f64) -> At {
        let weight = |point: &Point| 1.0 / (point.noise.value.max(ROUNDING) + tau2);
        let sum = |group: &[Point], of: &dyn Fn(&Point) -> f64| -> f64 {
            group.iter().map(|point| weight(point) * of(point)).sum()
        };
        let (mut sxx, mut sxy) = (0.0, 0.0);
        let mut centres = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            let total = sum(group, &|_| 1.0);
            let (x, y) = (sum(group, &|p| p.x) / total, sum(group, &|p| p.y) / total);
            sxx += sum(group, &|p| (p.x - x).powi(2));
            sxy += sum(group, &|p| (p.x - x) * (p.y - y));
            centres.push((total, x, y));
        }
        let slope = if self.has_slope { sxy / sxx } else { 0.0 };
        let (mut q, mut uncertainty) = (0.0, 0.0);
        for (group, (total, x, y)) in self.groups.iter().zip(&centres) {
            q += sum(group, &|p| (p.y - y - slope * (p.x - x)).powi(2));
            uncertainty += group
                .iter()
                .map(|point| {
                    let w = weight(point);
                    let of_slope = if self.has_slope { (point.x - x).powi(2) / sxx } else { 0.0 };
                    let rest = 1.0 - w * (1.0 / total + of_slope);
                    let share = (1.0 - tau2 * w) * rest;
                    share * share / point.noise.df.max(1.0)
                })
                .sum::<f64>();
        }
        let means = centres.into_iter().map(|(_, _, y)| y).collect();
        At { q, uncertainty, slope, sxx, means }
    }

    /// Probability of a Q at least as large, if this is the true τ².
    fn tail(&self, at: &At) -> f64 {
        let (m, spread) = (self.df, self.df * (self.df + 2.0));
        let q = at.q / (1.0 + 2.0 * (m - 1.0) / spread * at.uncertainty);
        let second = spread / (3.0 * at.uncertainty);
        let tail = match second < MANY {
            true => FisherSnedecor::new(m, second).map(|f| f.sf(q / m)).ok(),
            false => ChiSquared::new(m).map(|chi| chi.sf(q)).ok(),
        };
        tail.unwrap_or(f64::NAN)
    }

    /// Cochran's Q, and the p value of τ = 0.
    pub fn test(&self) -> (f64, f64) {
        let at = self.at(0.0);
        (at.q, self.tail(&at))
    }

    /// The estimate of τ².
    pub fn variance(&self) -> f64 {
        self.first(|at| at.q <= self.df + 2.0 * at.uncertainty)
    }

    /// The 95% interval of τ².
    pub fn interval(&self) -> [f64; 2] {
        let low = self.first(|at| self.tail(at) >= 0.025);
        let is_above = |at: &At| self.tail(at) >= 0.975;
        let high = match is_above(&self.at(0.0)) {
            false => self.first(is_above),
            true => {
                let noise = EstimatedVariance { value: 0.0, df: f64::INFINITY };
                let exact =
                    |group: &Vec<Point>| group.iter().map(|p| Point { noise, ..*p }).collect();
                let groups: Vec<Vec<Point>> = self.groups.iter().map(exact).collect();
                let exact = RandomEffects { groups: &groups, ..*self };
                exact.first(|at| exact.tail(at) >= 0.975)
            }
        };
        [low, high]
    }

    /// The slope, by the weights at the estimate of τ².
    pub fn slope(&self) -> SlopeEstimate {
        let tau2 = self.variance();
        let at = self.at(tau2);
        let factor = (at.q / self.df).max(1.0);
        SlopeEstimate {
            slope: at.slope,
            standard_error: (factor / at.sxx).sqrt(),
            deviation: tau2.sqrt(),
            df: self.df,
        }
    }

    /// The smallest and the largest deviation from a group's mean, each value shrunk towards it by the
    /// share of noise in its variance (empirical Bayes).
    pub fn shrunk_extremes(&self) -> [f64; 2] {
        let tau2 = self.variance();
        let means = self.at(tau2).means;
        let shrunk = |p: &Point, mean| (p.y - mean) * tau2 / (tau2 + p.noise.value.max(ROUNDING));
        let deviations = self.groups.iter().zip(&means);
        deviations
            .flat_map(|(group, mean)| group.iter().map(move |p| shrunk(p, mean)))
            .fold([0.0f64, 0.0f64], |[low, high], deviation| {
                [low.min(deviation), high.max(deviation)]
            })
    }

    /// The smallest τ² at which something holds that holds for all large ones; 0 if it always does.
    fn first(&self, holds: impl Fn(&At) -> bool) -> f64 {
        let holds = |tau2| holds(&self.at(tau2));
        let mut high = ROUNDING;
        if holds(0.0) {
            return 0.0;
        }
        while !holds(high) {
            high *= 16.0;
            if !high.is_finite() {
                return f64::NAN;
            }
        }
        let mut low = if high > ROUNDING { high / 16.0 } else { 0.0 };
        while high - low > 1e-13 * high {
            let middle = 0.5 * (low + high);
            *(if holds(middle) { &mut high } else { &mut low }) = middle;
        }
        high
    }
}

#[cfg(test)]
mod tests;
