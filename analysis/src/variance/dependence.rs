//! How much successive launches depend on each other: autocorrelation and effective sample size.

use alpha_flops::statistics::quantile;
use serde::Serialize;

/// Integrated autocorrelation time, in launches: `τ = 1 + 2·Σ ρ_k`. A mean (or share) of `n`
/// launches is as uncertain as that of `n/τ` independent ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IntegratedTime {
    /// `τ`, at least 1: what alternates is not counted as more than it is.
    pub launches: f64,
    /// Lags that were summed.
    pub window: usize,
}

/// Autocorrelation at a lag: `Σ (x_t − x̄)(x_{t+k} − x̄) / Σ (x_t − x̄)²`, with the same divisor at
/// every lag, as statsmodels' `acf` has it. `None` where values are equal or too few.
pub fn autocorrelation(values: &[f64], lag: usize) -> Option<f64> {
    let centred = Centred::new(values)?;
    (lag < values.len()).then(|| centred.covariance(lag) / centred.covariance(0))
}

/// Geyer's initial monotone sequence (1992, "Practical Markov chain Monte Carlo", section 3.3): sums
/// of two neighbouring lags are added until one is not positive, none counted larger than the one
/// before. The mean is estimated from the same values, which takes about `τ/n` from every lag, so the
/// sum is divided by `1 − window/n`, `window` counting lags on both sides. Equal values have `τ = 1`;
/// so has a single one.
pub fn integrated_time(values: &[f64]) -> IntegratedTime {
    let Some(centred) = Centred::new(values) else { return INDEPENDENT };
    let (mut sum, mut before, mut window) = (0.0, f64::INFINITY, 0);
    while window + 1 < values.len() {
        let pair = centred.covariance(window) + centred.covariance(window + 1);
        if pair <= 0.0 {
            break;
        }
        before = pair.min(before);
        sum += before;
        window += 2;
    }
    let taken_by_mean = (2 * window).saturating_sub(1) as f64 / values.len() as f64;
    // beyond half there is nothing left to correct: such series are too short to be judged
    let time = (2.0 * sum / centred.covariance(0) - 1.0) / (1.0 - taken_by_mean).max(0.5);
    IntegratedTime { launches: time.max(1.0), window }
}

/// How much launches of one configuration depend on those before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dependence {
    /// Integrated time of the [`sign_series`] of the median.
    pub median: IntegratedTime,
    /// The longest of those of the quartiles: by these, launches in a mode that is not the median's
    /// count, too.
    pub quartiles: IntegratedTime,
    /// The longest of these and of those of the 10th and 90th percentile, in launches: a mode that was
    /// visited rarely shows only there.
    pub longest_launches: f64,
}

impl Dependence {
    /// Of values in order, which are also given sorted.
    pub fn new(values: &[f64], sorted: &[f64]) -> Self {
        let time = |p: f64| integrated_time(&sign_series(values, quantile(sorted, p)));
        let longer =
            |a: IntegratedTime, b: IntegratedTime| if b.launches > a.launches { b } else { a };
        let median = time(0.5);
        let quartiles = [0.25, 0.75].map(time).into_iter().fold(median, longer);
        let longest = [0.1, 0.9].map(time).into_iter().fold(quartiles, longer);
        Self { median, quartiles, longest_launches: longest.launches }
    }
}

const INDEPENDENT: IntegratedTime = IntegratedTime { launches: 1.0, window: 0 };

/// The sign of each value's difference from a centre, as −1, 0 and 1: what the rank of a quantile
/// depends on. An outlier weighs no more in it than any other value.
pub fn sign_series(values: &[f64], centre: f64) -> Vec<f64> {
    values.iter().map(|v| f64::from(i8::from(*v > centre) - i8::from(*v < centre))).collect()
}

/// Values less their mean, not all equal.
struct Centred(Vec<f64>);

impl Centred {
    fn new(values: &[f64]) -> Option<Self> {
        let first = values.first()?;
        if values.iter().all(|value| value == first) {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Self(values.iter().map(|value| value - mean).collect()))
    }

    /// Times the number of values.
    fn covariance(&self, lag: usize) -> f64 {
        // several sums at a time: one alone waits for each addition
        let (early, late) = (&self.0[..self.0.len() - lag], &self.0[lag..]);
        let ((early, early_rest), (late, late_rest)) =
            (early.as_chunks::<8>(), late.as_chunks::<8>());
        let mut sums = [0.0; 8];
        for (a, b) in early.iter().zip(late) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        let rest = early_rest.iter().zip(late_rest).map(|(a, b)| a * b);
        sums.into_iter().chain(rest).sum()
    }
}
