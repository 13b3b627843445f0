//! Whether the launches made before those that count were enough.

use alpha_flops::measure::WarmUp;
use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;

/// Of one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WarmUpCheck {
    /// Launches made before those that count.
    pub launches: usize,
    /// Whether the times were steady then, by the rule that warmed up.
    pub was_steady: bool,
    /// The first launches that count, against the rest; `None` where there are too few to tell.
    pub first: Option<FirstLaunches>,
}

/// A twentieth of the launches, but 5 to 50: the first of them against all that follow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FirstLaunches {
    pub launches: usize,
    /// Their median over that of the rest, less 1, in percent.
    pub percent: f64,
    /// Whether that is at least [`MATERIAL_PERCENT`], and 4 standard deviations (1.4826 MAD) of the
    /// medians of as many launches later on.
    pub differ: bool,
}

/// Half of what the rule that warms up tolerates from window to window.
pub const MATERIAL_PERCENT: f64 = 1.0;

impl WarmUpCheck {
    /// Of the launches of each pass in the order made: of several passes, the first launches are those
    /// of the pass in which they differ most, and do so only if they do in most.
    pub fn new(warm_up: &WarmUp, passes: &[&[f64]]) -> Self {
        let of_passes = passes.iter().filter_map(|pass| FirstLaunches::from_launches(pass));
        let mut firsts: Vec<FirstLaunches> = of_passes.collect();
        let differ = firsts.iter().filter(|first| first.differ).count();
        firsts.sort_by(|a, b| b.percent.abs().total_cmp(&a.percent.abs()));
        let first = firsts.first().map(|first| FirstLaunches {
            differ: first.differ && 2 * differ > passes.len(),
            ..*first
        });
        Self { launches: warm_up.launches, was_steady: warm_up.is_steady(), first }
    }
}

impl FirstLaunches {
    fn from_launches(latencies_ns: &[f64]) -> Option<Self> {
        const LEAST_WINDOWS: usize = 10;
        const DEVIATIONS: f64 = 4.0;
        let launches = (latencies_ns.len() / 20).clamp(5, 50);
        let (first, rest) = latencies_ns.split_at_checked(launches)?;
        let median = |part: &[f64]| quantile(&sorted(part), 0.5);
        let windows: Vec<f64> = rest.chunks_exact(launches).map(|part| median(part).ln()).collect();
        if windows.len() < LEAST_WINDOWS {
            return None;
        }
        let ratio = median(first) / median(rest);
        let centre = median(&windows);
        let away: Vec<f64> = windows.iter().map(|log| (log - centre).abs()).collect();
        let percent = (ratio - 1.0) * 100.0;
        let differ = percent.abs() >= MATERIAL_PERCENT
            && (median(first).ln() - centre).abs() > DEVIATIONS * 1.4826 * median(&away);
        Some(Self { launches, percent, differ })
    }
}
