//! An interval for the median that allows for launches that depend on each other, and says when not
//! to believe it.
//!
//! How often it holds the median of a run's launches, in percent of 4,000 simulations each; nominal is
//! 95%. *if independent*: the interval that takes launches as independent; *trusted*: intervals without
//! a [`Doubt`]; *of trusted*: those of them that hold the median. At most 4.3% of all are trusted and
//! wrong, and where more than one in ten is trusted, at least 95% of these are right, except of two modes
//! that a run stays in for longer than it lasts (sticky 0.98, mean stay 167 and 71 launches): from what a
//! run has not seen, nobody can tell. Drift counts as dependence, which makes the interval wide.
//!
//! ```text
//! launches                 n  if independent    all  trusted  of trusted  trusted and wrong
//! independent             20            96.0   99.9      0.0           —                0.0
//! independent             50            97.3   99.6      0.0           —                0.0
//! independent            200            96.3   98.6     93.9        98.5                1.4
//! independent            500            95.9   97.6    100.0        97.6                2.4
//! independent           2000            95.0   95.9    100.0        95.9                4.1
//! AR(1) φ = 0.3           20            89.9   99.6      0.0           —                0.0
//! AR(1) φ = 0.3           50            92.0   99.3      0.0           —                0.0
//! AR(1) φ = 0.3          200            90.0   98.2     53.8        97.4                1.4
//! AR(1) φ = 0.3          500            89.0   96.8    100.0        96.8                3.2
//! AR(1) φ = 0.3         2000            88.0   95.8    100.0        95.8                4.2
//! AR(1) φ = 0.5           20            81.6   99.2      0.0           —                0.0
//! AR(1) φ = 0.5           50            84.6   98.6      0.0           —                0.0
//! AR(1) φ = 0.5          200            82.0   97.8      7.2        91.6                0.6
//! AR(1) φ = 0.5          500            80.9   97.0     99.3        97.0                3.0
//! AR(1) φ = 0.5         2000            79.6   95.7    100.0        95.7                4.3
//! AR(1) φ = 0.7           20            67.4   97.3      0.0           —                0.0
//! AR(1) φ = 0.7           50            71.3   98.1      0.0           —                0.0
//! AR(1) φ = 0.7          200            68.8   97.5      0.0           —                0.0
//! AR(1) φ = 0.7          500            66.3   97.1     63.3        96.0                2.5
//! AR(1) φ = 0.7         2000            66.8   95.8    100.0        95.8                4.2
//! AR(1) φ = 0.9           20            40.1   82.2      0.0           —                0.0
//! AR(1) φ = 0.9           50            43.0   95.0      0.0           —                0.0
//! AR(1) φ = 0.9          200            42.4   96.6      0.0           —                0.0
//! AR(1) φ = 0.9          500            41.4   97.0      0.0         0.0                0.0
//! AR(1) φ = 0.9         2000            42.9   95.9     90.2        95.5                4.0
//! drifting 3%             20            99.0  100.0      0.0           —                0.0
//! drifting 3%             50            99.1  100.0      0.0           —                0.0
//! drifting 3%            200            98.5  100.0      0.0           —                0.0
//! drifting 3%            500            98.5  100.0      0.0           —                0.0
//! drifting 3%           2000            98.2  100.0      0.0           —                0.0
//! bimodal                 20            95.5   99.9      0.0           —                0.0
//! bimodal                 50            96.7   99.2      0.0           —                0.0
//! bimodal                200            96.3   98.6     93.7        98.5                1.4
//! bimodal                500            95.3   97.3    100.0        97.3                2.7
//! bimodal               2000            95.0   96.3    100.0        96.3                3.6
//! bimodal, sticky 0.5     20            86.8   99.5      0.0           —                0.0
//! bimodal, sticky 0.5     50            89.2   99.0      0.0           —                0.0
//! bimodal, sticky 0.5    200            88.2   98.8     12.8        95.5                0.6
//! bimodal, sticky 0.5    500            86.9   98.6     99.0        98.6                1.4
//! bimodal, sticky 0.5   2000            86.0   98.5    100.0        98.5                1.6
//! bimodal, sticky 0.9     20            57.2   88.0      0.0           —                0.0
//! bimodal, sticky 0.9     50            53.7   86.5      0.0           —                0.0
//! bimodal, sticky 0.9    200            51.1   93.8      0.8         0.0                0.8
//! bimodal, sticky 0.9    500            49.7   97.4      0.2        30.0                0.2
//! bimodal, sticky 0.9   2000            50.2   99.0     85.7        98.8                1.1
//! bimodal, sticky 0.98    20            42.3   73.5      0.0           —                0.0
//! bimodal, sticky 0.98    50            23.0   55.1      0.0           —                0.0
//! bimodal, sticky 0.98   200            21.9   63.6     24.9         0.0               24.9
//! bimodal, sticky 0.98   500            23.1   84.8      6.6         0.0                6.6
//! bimodal, sticky 0.98  2000            23.7   96.3      0.1         0.0                0.1
//! ```
//!
//! Printed by `cargo run --release -p alpha-flops-analysis --example interval_coverage`.

use alpha_flops::statistics::median_interval_ranks;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::dependence::Dependence;

/// A 95% interval for the median of the latencies that a configuration has in this run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MedianInterval {
    /// Its lower end, a launch.
    pub low_ns: f64,
    /// Its upper end, a launch.
    pub high_ns: f64,
    /// Why it may not cover what it should; `None` where simulations say that it does.
    pub doubt: Option<Doubt>,
}

/// Why an interval is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Fewer than [`LEAST_LAUNCHES`]: dependence would not show in them.
    FewLaunches,
    /// Worth fewer than [`LEAST_EFFECTIVE`] independent launches: how much they depend on each other
    /// is not known well enough.
    FewEffectiveLaunches,
}

impl Doubt {
    /// As in JSON and CSV.
    pub fn key(self) -> &'static str {
        match self {
            Self::FewLaunches => "few_launches",
            Self::FewEffectiveLaunches => "few_effective_launches",
        }
    }
}

/// Launches under which an interval is not trusted.
pub const LEAST_LAUNCHES: usize = 200;

/// Launches over [`Dependence::longest_launches`] under which an interval is not trusted.
pub const LEAST_EFFECTIVE: f64 = 100.0;

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

/// Standard error of the logarithm of the median of sorted launches: the width that
/// [`median_interval_ranks`] give the logarithm's interval, over 2·1.96, times the root of τ of
/// [`Dependence::median`]. An estimate, where the interval is cautious. `None` for fewer than six.
pub fn log_median_error(sorted: &[f64], dependence: &Dependence) -> Option<f64> {
    let (low, high) = median_interval_ranks(sorted.len())?;
    let width = (sorted.get(high)? / sorted.get(low)?).ln();
    Some(width / (2.0 * 1.96) * dependence.median.launches.sqrt())
}
