//! Variances that are estimated from few values each, of many configurations, and moderated: shrunk
//! towards what the configurations have in common, by empirical Bayes. If the variances follow a
//! scaled inverse χ² distribution of d₀ degrees of freedom around s₀², the best estimate from a sample
//! variance s² of d degrees is (d₀·s₀² + d·s²) / (d₀ + d), with d₀ + d degrees (G. K. Smyth, "Linear
//! models and empirical Bayes methods for assessing differential expression in microarray
//! experiments", 2004, sections 3 and 6.2).

use statrs::function::gamma::digamma;

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

    /// The moderated variance.
    pub fn moderate(self, sample: EstimatedVariance) -> EstimatedVariance {
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
pub(crate) fn trigamma(mut x: f64) -> f64 {
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
