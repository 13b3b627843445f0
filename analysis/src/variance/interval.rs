//! A 95% interval for the median of launches that depend on each other, and when not to believe it.
//!
//! In simulations (`docs/calibration.md` has the table; the example `interval_coverage` prints it), at
//! most 4.3% of all intervals are without a [`Doubt`] and wrong. Where more than one in ten is without
//! doubt, at least 95% of these cover the median. The exception is a mode that lasts longer than the
//! run: a run cannot reveal a mode that it never entered. Drift counts as dependence, which makes the
//! interval wide.

use alpha_flops::choice::choices;
use alpha_flops::statistics::median_interval_ranks;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::dependence::Dependence;
use crate::moderated_variance::EstimatedVariance;

/// A 95% interval for the median of the latencies that a configuration has in this run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MedianInterval {
    pub low_ns: f64,
    pub high_ns: f64,
    /// Why it may not cover what it should; `None` where simulations say that it does.
    pub doubt: Option<Doubt>,
}

choices! {
    /// Why an interval is not to be trusted.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Doubt {
        /// Fewer than [`LEAST_LAUNCHES`]: dependence would not show in them.
        FewLaunches = "few_launches",
        /// Worth fewer than [`LEAST_EFFECTIVE`] independent launches: how much they depend on each
        /// other is not known well enough.
        FewEffectiveLaunches = "few_effective_launches",
        /// The variance between passes has fewer than [`LEAST_FREEDOM`] degrees of freedom.
        FewPasses = "few_passes",
    }
}

/// Launches under which an interval is not trusted.
pub const LEAST_LAUNCHES: usize = 200;

/// Launches over [`Dependence::longest_launches`] under which an interval is not trusted.
pub const LEAST_EFFECTIVE: f64 = 100.0;

/// Degrees of freedom of the variance between passes, those of all configurations together, under which
/// an interval is not trusted.
pub const LEAST_FREEDOM: f64 = 4.0;

/// The interval of sorted launches that depend on each other by as much; `None` for fewer than six.
///
/// With `τ` of [`Dependence::quartiles`], `m = n/τ` independent launches have the interval of [`median_interval_ranks`] between quantiles
/// `p` and `1 − p`; of the `n` launches, it is between those at these quantiles, rounded outwards. As
/// τ is an estimate itself, over `w` lags, `m` is first multiplied by `(z/t)²`, where `t` is the 97.5%
/// quantile of Student's distribution with `n/w` degrees of freedom and `z` that of the normal one.
/// Where `m` is below six, it reaches from the smallest launch to the largest. It is never narrower than
/// that of independent launches.
pub fn median_interval(sorted: &[f64], dependence: &Dependence) -> Option<MedianInterval> {
    let n = sorted.len();
    let (independent, _) = median_interval_ranks(n)?;
    let time = dependence.quartiles;
    let effective = n as f64 / time.launches;
    let worth = (effective * shrinkage(n as f64 / time.window.max(1) as f64)).floor() as usize;
    let mapped = median_interval_ranks(worth).map_or(0, |(low, _)| {
        // the quantile (low + 1)/(worth + 1), in ranks of n
        ((low + 1) * (n + 1) / (worth + 1)).saturating_sub(1)
    });
    let below = mapped.min(independent);
    let doubt = match n {
        _ if n < LEAST_LAUNCHES => Some(Doubt::FewLaunches),
        _ if (n as f64) < LEAST_EFFECTIVE * dependence.longest_launches => {
            Some(Doubt::FewEffectiveLaunches)
        }
        _ => None,
    };
    Some(MedianInterval {
        low_ns: *sorted.get(below)?,
        high_ns: *sorted.get(n - 1 - below)?,
        doubt,
    })
}

/// `(z/t)²` for the degrees of freedom of a variance.
fn shrinkage(freedom: f64) -> f64 {
    const NORMAL: f64 = 1.959_963_984_540_054;
    StudentsT::new(0.0, 1.0, freedom.max(1.0))
        .map_or(0.0, |student| (NORMAL / student.inverse_cdf(0.975)).powi(2))
}

/// The interval of a robust mean of the medians of several passes, and the standard error of its
/// logarithm: `mean · exp(± t·s/√P)`, `s²` being the moderated variance of the logarithms of the passes'
/// medians and `t` Student's quantile with its degrees of freedom, a step of the clock further on either
/// side, because all passes round alike. How much launches depend on each other does not matter, however
/// long a state lasts, as long as it does not last from pass to pass.
pub fn interval_between_passes(
    mean_ns: f64,
    passes: u32,
    variance: EstimatedVariance,
    clock_step_ns: f64,
) -> (MedianInterval, f64) {
    let error = (variance.value / f64::from(passes)).sqrt();
    let t = StudentsT::new(0.0, 1.0, variance.df.clamp(1.0, 1e6))
        .map_or(f64::NAN, |student| student.inverse_cdf(0.975));
    let few = variance.df < LEAST_FREEDOM;
    let interval = MedianInterval {
        low_ns: mean_ns * (-t * error).exp() - clock_step_ns,
        high_ns: mean_ns * (t * error).exp() + clock_step_ns,
        doubt: few.then_some(Doubt::FewPasses),
    };
    (interval, error)
}

/// Standard error of the logarithm of the median of sorted launches: the width that
/// [`median_interval_ranks`] give the logarithm's interval, over 2·1.96, times the root of τ of
/// [`Dependence::median`]. An estimate, where the interval is cautious. `None` for fewer than six.
pub fn log_median_error(sorted: &[f64], dependence: &Dependence) -> Option<f64> {
    let (low, high) = median_interval_ranks(sorted.len())?;
    let width = (sorted.get(high)? / sorted.get(low)?).ln();
    Some(width / (2.0 * 1.96) * dependence.median.launches.sqrt())
}
