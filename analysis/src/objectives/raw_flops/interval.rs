//! 95% intervals over the lines of an experiment, of which there are three or four, and over refits.
//!
//! So few lines forbid a bootstrap over lines. Its percentiles never leave the range of the lines, and all
//! of three lines fall on one side by chance in a quarter of cases; a draw of one line three times has no
//! variance for a bootstrap-t to divide by. Student's t, for lines that differ as a normal sample does, needs
//! neither (Cameron and Miller 2015, "A Practitioner's Guide to Cluster-Robust Inference", Journal of Human
//! Resources 50(2), recommend t with one degree less than there are clusters). How much lines differ is
//! known from three no better than within a factor of six; the variances of all experiments are therefore
//! [moderated](crate::moderated_variance), and t has the moderated degrees, though never more than all
//! experiments' lines together (as Smyth's package limma limits them).
//!
//! An estimate x > 0 here is a ratio of mean squared errors, or a mean squared error over a squared range.
//!
//! ```text
//! over lines    x·exp(−t·e) … x·exp(t·e)    e: error of ln x as the lines differ; t: 97.5% quantile
//! over refits   x − w … x·exp(w/x)          w: half of what is between 2.5% and 97.5% of the refits
//! both          x − √(Δ² + Δ²) … x + √(Δ² + Δ²)    Δ: distances of the ends of each from x
//! ```
//!
//! - Two intervals are joined by their distances because refits move all lines at once, and so add to how the
//!   lines differ (Zou and Donner 2008, "Construction of confidence limits about effect measures", Statistics
//!   in Medicine 27(10)).
//! - Quantiles instead of a standard deviation: a few refits that went astray don't count.
//! - Over refits the lower end is on the scale of squares and the upper on that of logarithms: of two ways to
//!   write the same error each end is by the wider. A fit that is off by δ, of z standard errors, adds δ² to the
//!   squares of errors, and refits to drawn data then scatter by δ²·√(2 + 4z²)/z²: x rarely is as far above
//!   its truth as that, while its logarithm often is.

use alpha_flops::statistics::{quantile, sorted};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::fit::intervals::Interval;
use crate::moderated_variance::{EstimatedVariance, Prior};

/// Of `√x`, from the error of ln x over lines with its degrees of freedom, and x of each refit; `None`
/// without a degree of freedom.
pub(super) fn of_root(x: f64, error_of_log: f64, df: f64, refitted: &[f64]) -> Option<Interval> {
    let t = StudentsT::new(0.0, 1.0, df).ok()?.inverse_cdf(0.975);
    let half = half_width(refitted);
    let factor = (-t * error_of_log).exp();
    let below = (x * (1.0 - factor)).hypot(half);
    let above = (x * (t * error_of_log).exp_m1()).hypot(x * (half / x).exp_m1());
    // x − below, without the digits that cancel
    let low = (x * x * factor * (2.0 - factor) - half * half) / (x + below);
    let ends = [low.max(0.0).sqrt(), (x + above).sqrt()];
    (below.is_finite() && above.is_finite()).then_some(ends)
}

/// Of a sample; without a degree of freedom of fewer than two values.
pub(super) fn variance(values: &[f64]) -> EstimatedVariance {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let df = values.len().saturating_sub(1) as f64;
    EstimatedVariance { value: if df > 0.0 { squares / df } else { 0.0 }, df }
}

/// Each moderated by what all have in common.
pub(super) fn moderated(variances: &[EstimatedVariance]) -> Vec<EstimatedVariance> {
    let prior = Prior::estimate(variances);
    let most = variances.iter().map(|variance| variance.df).sum::<f64>();
    let moderate = |own: &EstimatedVariance| {
        let EstimatedVariance { value, df } = prior.moderate(*own);
        EstimatedVariance { value, df: df.min(most) }
    };
    variances.iter().map(moderate).collect()
}

/// Half of what is between the 2.5% and the 97.5% quantile.
fn half_width(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let sorted = sorted(values);
    (quantile(&sorted, 0.975) - quantile(&sorted, 0.025)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::random::Random;

    #[test]
    fn ends_are_those_computed_by_hand_from_a_tabulated_quantile() {
        // Student's t of 2 degrees: 4.302653
        let factor = (4.302_653 * 0.1f64).exp();
        let [low, high] = of_root(4.0, 0.1, 2.0, &[]).unwrap();
        assert!((low * low - 4.0 / factor).abs() < 1e-6, "{low}");
        assert!((high * high - 4.0 * factor).abs() < 1e-6, "{high}");
        // quantiles 3.05 and 4.95
        let refits: Vec<f64> = (0..=1000).map(|i| 3.0 + f64::from(i) / 500.0).collect();
        let [low, high] = of_root(4.0, 0.1, 2.0, &refits).unwrap();
        let below = ((4.0 - 4.0 / factor).powi(2) + 0.95f64.powi(2)).sqrt();
        assert!((low * low - (4.0 - below)).abs() < 1e-6, "{low}");
        let of_refits = 4.0 * (0.95f64 / 4.0).exp() - 4.0;
        let above = ((4.0 * factor - 4.0).powi(2) + of_refits.powi(2)).sqrt();
        assert!((high * high - (4.0 + above)).abs() < 1e-6, "{high}");
    }

    #[test]
    fn a_single_line_has_no_interval_and_lines_without_a_difference_leave_none() {
        let EstimatedVariance { value, df } = variance(&[1.0]);
        assert_eq!(of_root(1.0, value, df, &[]), None);
        assert_eq!(of_root(1.0, 0.0, 1.0, &[]), Some([1.0, 1.0]));
    }

    /// In one of twenty; percentiles of a bootstrap, which stay within the lines, would in one of four.
    #[test]
    fn three_lines_that_differ_by_chance_alone_rarely_show_anything() {
        let mut random = Random::new(1);
        let (mut shown, mut on_one_side) = (0, 0);
        for _ in 0..4000 {
            let lines = [(); 3].map(|()| 0.2 * random.normal());
            let mean = lines.iter().sum::<f64>() / 3.0;
            let EstimatedVariance { value, df } = variance(&lines);
            let [low, high] = of_root(mean.exp(), (value / 3.0).sqrt(), df, &[]).unwrap();
            shown += i32::from(low > 1.0 || high < 1.0);
            let above = lines.iter().filter(|line| **line > 0.0).count();
            on_one_side += i32::from(above == 0 || above == 3);
        }
        // 200 and 1000 expected, with standard errors of 14 and 27
        assert!((150..250).contains(&shown), "{shown}");
        assert!((910..1090).contains(&on_one_side), "{on_one_side}");
    }
}
