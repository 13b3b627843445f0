//! Whether latencies move while a configuration is measured.

use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;
use statrs::function::erf::erfc;

use super::dependence::{integrated_time, sign_series};

/// A trend over the launches of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// From the first launch to the last, along the line of [`theil_sen`] through the batches' log
    /// medians, in percent.
    pub trend_percent: f64,
    /// Median of the last quarter of launches over that of the first, less 1, in percent.
    pub quarters_percent: f64,
    /// Two-sided p-value of Mann and Kendall's test of the batches' medians; `None` where launches
    /// resemble each other over such times that there are too few batches.
    pub p_value: Option<f64>,
}

/// Batches at most: the median of fewer launches is too noisy, and slopes of all pairs take long.
const MOST_BATCHES: usize = 40;

/// Under these a test could not find anything: of seven values in order, p is 0.003.
const LEAST_BATCHES: usize = 8;

/// Length of a batch in integrated times of what is left without the trend: then medians of
/// neighbouring batches correlate by 0.1, and the test takes them as independent.
const TIMES_IN_BATCH: f64 = 5.0;

impl Drift {
    /// Of launches in the order made; `None` for fewer than eight.
    pub fn from_launches(latencies_ns: &[f64]) -> Option<Self> {
        let n = latencies_ns.len();
        let logs: Vec<f64> = latencies_ns.iter().map(|ns| ns.ln()).collect();
        let line = theil_sen(&batch_medians(&logs, n.min(MOST_BATCHES))?)?;
        let left: Vec<f64> =
            logs.iter().enumerate().map(|(i, log)| log - line * i as f64 / n as f64).collect();
        let time = integrated_time(&sign_series(&left, quantile(&sorted(&left), 0.5))).launches;
        // what differs by chance from launch to launch needs no longer batches
        let enough = if time > 1.5 { (n as f64 / (TIMES_IN_BATCH * time)) as usize } else { n };
        let batches = batch_medians(&logs, enough.min(MOST_BATCHES));
        let quarter = n.div_ceil(4);
        let median = |part: &[f64]| quantile(&sorted(part), 0.5);
        let (first, last) =
            (median(&latencies_ns[..quarter]), median(&latencies_ns[n - quarter..]));
        Some(Self {
            trend_percent: line.exp_m1() * 100.0,
            quarters_percent: (last / first - 1.0) * 100.0,
            p_value: batches.map(|batches| mann_kendall(&batches)),
        })
    }
}

/// Medians of as many batches of equal length, to one launch; `None` under [`LEAST_BATCHES`].
fn batch_medians(values: &[f64], batches: usize) -> Option<Vec<f64>> {
    let n = values.len();
    (batches >= LEAST_BATCHES).then(|| {
        (0..batches)
            .map(|i| quantile(&sorted(&values[i * n / batches..(i + 1) * n / batches]), 0.5))
            .collect()
    })
}

/// Theil and Sen's slope of values at equal distances: the median of the slopes of all pairs, times
/// the number of values, which is the change from the first to the last and a step. `None` for
/// fewer than two.
pub fn theil_sen(values: &[f64]) -> Option<f64> {
    let slopes: Vec<f64> = pairs(values).map(|(apart, rise)| rise / apart as f64).collect();
    (!slopes.is_empty()).then(|| quantile(&sorted(&slopes), 0.5) * values.len() as f64)
}

/// Mann and Kendall's test for a trend in values that are independent without one: the two-sided
/// p-value of `S = Σ_{i<j} sign(x_j − x_i)` by the normal approximation, with the variance for equal
/// values, as SciPy's `kendalltau` against the order; 1 where all values are equal.
pub fn mann_kendall(values: &[f64]) -> f64 {
    let s: i64 = pairs(values).map(|(_, rise)| i64::from(rise > 0.0) - i64::from(rise < 0.0)).sum();
    let term = |n: usize| (n * (n - 1) * (2 * n + 5)) as f64 / 18.0;
    let ordered = sorted(values);
    let tied: f64 = ordered.chunk_by(|a, b| a == b).map(|ties| term(ties.len())).sum();
    let variance = term(values.len().max(1)) - tied;
    if variance > 0.0 { erfc(s.unsigned_abs() as f64 / (2.0 * variance).sqrt()) } else { 1.0 }
}

/// Of every pair of values how far apart and how different they are.
fn pairs(values: &[f64]) -> impl Iterator<Item = (usize, f64)> {
    values.iter().enumerate().flat_map(move |(i, a)| {
        values[i + 1..].iter().enumerate().map(move |(j, b)| (j + 1, b - a))
    })
}
