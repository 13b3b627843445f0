//! How much runs in one environment differ, steps among them or not.
//!
//! A pooled standard deviation is the best estimate of independent runs without a step. A step inside an
//! environment inflates it, and hides every smaller step: +69% once and 0.15% of noise hid 10%. Successive
//! differences see a step once. So the search believes the pooled one up to what it can be by chance, given
//! the differences, and not beyond.

use std::f64::consts::{SQRT_2, TAU};

use alpha_flops::random::random_bits;

/// How much runs in equal environments differ.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct PooledNoise {
    /// Standard deviation of a run, of the logarithm of a latency.
    pub sd: f64,
    /// Runs behind it, less the groups they are in.
    pub degrees_of_freedom: usize,
}

/// The values of each group, in order.
fn grouped(values: &[f64], groups: &[usize]) -> Vec<Vec<f64>> {
    let mut grouped = vec![Vec::new(); groups.iter().max().map_or(0, |last| last + 1)];
    for (value, &group) in values.iter().zip(groups) {
        grouped[group].push(*value);
    }
    grouped
}

/// The pooled standard deviation within groups: `√(Σ(x − x̄_group)² / (n − groups))`; `None` where no
/// group has two values.
pub fn pooled(values: &[f64], groups: &[usize]) -> Option<PooledNoise> {
    let (mut squares, mut degrees_of_freedom) = (0.0, 0);
    for group in grouped(values, groups).iter().filter(|group| !group.is_empty()) {
        let mean = group.iter().sum::<f64>() / group.len() as f64;
        squares += group.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        degrees_of_freedom += group.len() - 1;
    }
    (degrees_of_freedom > 0).then(|| PooledNoise {
        sd: (squares / degrees_of_freedom as f64).sqrt(),
        degrees_of_freedom,
    })
}

/// Differences of values `lag` apart within their group.
fn differences(values: &[f64], groups: &[usize], lag: usize) -> Vec<f64> {
    let of_group = |group: Vec<f64>| -> Vec<f64> {
        group.iter().zip(group.iter().skip(lag)).map(|(before, after)| after - before).collect()
    };
    grouped(values, groups).into_iter().flat_map(of_group).collect()
}

/// The standard deviation by successive differences within groups: `median|x_{i+1} − x_i| / (0.6745·√2)`,
/// where 0.6745 is the median of |z| of a standard normal z. Up to half of the differences may contain a
/// step (one each) or an outlier run (two each). `None` where no group has two values.
pub fn successive(values: &[f64], groups: &[usize]) -> Option<f64> {
    const MEDIAN_OF_NORMAL: f64 = 0.674_489_750_196_081_7;
    let mut sizes: Vec<f64> = differences(values, groups, 1).iter().map(|d| d.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let n = sizes.len();
    let median = (sizes.get(n / 2)? + sizes.get(n.saturating_sub(1) / 2)?) / 2.0;
    Some(median / (MEDIAN_OF_NORMAL * SQRT_2))
}

/// What the search takes a run's standard deviation to be: the pooled one, at most `ratio` times that of
/// successive differences, unless most of these are zero.
pub fn of_search(pooled: f64, successive: f64, ratio: f64) -> f64 {
    if successive > 0.0 { pooled.min(ratio * successive) } else { pooled }
}

/// The correlation of successive runs within groups: `Σd₂²/n₂ / (Σd₁²/n₁) − 1` with differences of values two
/// and one apart, at most 0.9. In an AR(1) series `E d₂² = 2σ²(1 − φ²)` and `E d₁² = 2σ²(1 − φ)`, so their
/// ratio is `1 + φ`. Cutting a series into levels does not bias it, unlike the correlation about means.
/// `None` for fewer than three pairs two apart.
pub fn autocorrelation(values: &[f64], groups: &[usize]) -> Option<f64> {
    const GREATEST: f64 = 0.9;
    let mean_square = |lag: usize| {
        let differences = differences(values, groups, lag);
        let squares: f64 = differences.iter().map(|d| d * d).sum();
        (differences.len() >= 3).then(|| squares / differences.len() as f64)
    };
    let (one, two) = (mean_square(1)?, mean_square(2)?);
    (one > 0.0).then(|| (two / one - 1.0).min(GREATEST))
}

/// A standard normal number by Box and Muller's formula.
pub(super) fn normal(seed: u64, index: u64) -> f64 {
    let uniform = |at: u64| ((random_bits(seed, at) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    (-2.0 * uniform(2 * index).ln()).sqrt() * (TAU * uniform(2 * index + 1)).cos()
}

#[cfg(test)]
mod tests;
