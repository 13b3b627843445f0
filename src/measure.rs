//! Times launches of one prepared convolution: warm-up, then single launches.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::{BackendError, PreparedConv};
use crate::protocol::{StoppingRule, WarmUpRule};
use crate::statistics::{quantile, relative_median_interval, sorted};

/// What was measured of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What came before the first counted launch.
    pub warm_up: WarmUp,
    /// Why there are no more launches.
    pub stopped: Stopped,
    /// Latency of every launch, in nanoseconds, in launch order.
    pub latencies_ns: Vec<f64>,
}

/// Launches made to reach a steady state; their times are not part of any statistic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// How many.
    pub launches: usize,
    /// Whether the times were steady when it ended, by [`WarmUpRule`].
    pub steady: bool,
}

/// Why a configuration has no more launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// The median's interval is as narrow as wanted.
    Precise,
    /// As many as the profile makes at most.
    Cap,
    /// The configuration's share of the time budget is used up.
    Budget,
}

/// Why a configuration has no measurement.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// A launch failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A launch took no time by the clock.
    #[error("launch {launch} took {latency_ns} ns by the clock, expected a finite time above 0")]
    Latency {
        /// Which launch, from 0.
        launch: usize,
        /// What the clock said.
        latency_ns: f64,
    },
}

/// Warms up, then launches until `rule` is met or `allowance` (warm-up included) is used up.
///
/// # Errors
/// [`MeasureError`] where a launch fails or a time is not finite and positive; nothing is kept of
/// the configuration then.
pub fn measure(
    conv: &mut dyn PreparedConv,
    warm_up_rule: WarmUpRule,
    rule: StoppingRule,
    allowance: Option<Duration>,
) -> Result<Measurement, MeasureError> {
    let start = Instant::now();
    // a fifth of the allowance: what warming up takes, the counted launches lack
    let limit = allowance.map_or(warm_up_rule.limit, |all| warm_up_rule.limit.min(all / 5));
    let warm_up = warm_up(conv, WarmUpRule { limit, ..warm_up_rule })?;
    let mut latencies_ns = Vec::with_capacity(rule.cap);
    let mut next_check = rule.judged_from;
    let stopped = loop {
        latencies_ns.push(launch_latency_ns(conv, latencies_ns.len())?);
        let launches = latencies_ns.len();
        if launches >= rule.cap {
            break Stopped::Cap;
        }
        if launches < rule.floor {
            continue;
        }
        if allowance.is_some_and(|all| start.elapsed() >= all) {
            break Stopped::Budget;
        }
        // checked ever more rarely: sorting between launches would cool the caches
        if launches >= next_check {
            next_check = launches + launches / 4 + 1;
            if is_precise(&latencies_ns, rule.relative_interval) {
                break Stopped::Precise;
            }
        }
    };
    Ok(Measurement { warm_up, stopped, latencies_ns })
}

/// Launches until two successive windows have medians within the tolerance of each other, at most
/// until the limit.
fn warm_up(conv: &mut dyn PreparedConv, rule: WarmUpRule) -> Result<WarmUp, MeasureError> {
    let start = Instant::now();
    let mut latencies_ns = Vec::new();
    loop {
        latencies_ns.push(launch_latency_ns(conv, latencies_ns.len())?);
        let steady = latencies_ns.len().is_multiple_of(rule.window)
            && last_windows_agree(&latencies_ns, rule);
        if steady || start.elapsed() >= rule.limit {
            return Ok(WarmUp { launches: latencies_ns.len(), steady });
        }
    }
}

fn last_windows_agree(latencies_ns: &[f64], rule: WarmUpRule) -> bool {
    let mut windows = latencies_ns.rchunks_exact(rule.window).map(|w| quantile(&sorted(w), 0.5));
    let (Some(last), Some(before)) = (windows.next(), windows.next()) else { return false };
    (last - before).abs() <= rule.tolerance * before
}

/// Synchronise, launch, synchronise, by the host's monotonic clock.
fn launch_latency_ns(conv: &mut dyn PreparedConv, launch: usize) -> Result<f64, MeasureError> {
    conv.synchronize()?;
    let start = Instant::now();
    conv.launch()?;
    conv.synchronize()?;
    let latency_ns = start.elapsed().as_nanos() as f64;
    if latency_ns > 0.0 {
        Ok(latency_ns)
    } else {
        Err(MeasureError::Latency { launch, latency_ns })
    }
}

fn is_precise(latencies_ns: &[f64], wanted: Option<f64>) -> bool {
    let Some(wanted) = wanted else { return false };
    relative_median_interval(&sorted(latencies_ns)).is_some_and(|interval| interval < wanted)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::protocol::Profile;
    use crate::units::Bytes;

    /// Busy-waits as long as `latency` says for each launch.
    struct Scripted<F: FnMut(usize) -> Duration> {
        latency: F,
        launches: usize,
    }

    impl<F: FnMut(usize) -> Duration> PreparedConv for Scripted<F> {
        fn launch(&mut self) -> Result<(), BackendError> {
            let end = Instant::now() + (self.latency)(self.launches);
            self.launches += 1;
            while Instant::now() < end {}
            Ok(())
        }

        fn synchronize(&mut self) -> Result<(), BackendError> {
            Ok(())
        }

        fn algorithm(&self) -> &str {
            "scripted"
        }

        fn workspace_bytes(&self) -> Bytes {
            Bytes(0)
        }

        fn verify(&mut self) -> Result<(), BackendError> {
            Ok(())
        }
    }

    const WARM_UP: WarmUpRule =
        WarmUpRule { window: 5, tolerance: 0.02, limit: Duration::from_secs(1) };

    #[test]
    fn falling_times_keep_the_warm_up_going_until_they_settle() {
        let falling = |launch: usize| Duration::from_micros(1000 / (1 + launch.min(15) as u64));
        let mut conv = Scripted { latency: falling, launches: 0 };
        let warm_up = warm_up(&mut conv, WARM_UP).unwrap();
        assert!(warm_up.launches >= 20, "{warm_up:?}");
    }

    #[test]
    fn a_warm_up_that_never_settles_ends_at_its_limit_and_says_so() {
        let doubling = |launch: usize| Duration::from_micros(10 << (launch / 5).min(10));
        let mut conv = Scripted { latency: doubling, launches: 0 };
        let rule = WarmUpRule { limit: Duration::from_millis(5), ..WARM_UP };
        assert!(!warm_up(&mut conv, rule).unwrap().steady);
    }

    #[test]
    fn the_paper_profile_makes_exactly_its_launches() {
        let mut conv = Scripted { latency: |_| Duration::from_micros(1), launches: 0 };
        let measured = measure(&mut conv, WARM_UP, StoppingRule::exactly(50), None).unwrap();
        assert_eq!((measured.latencies_ns.len(), measured.stopped), (50, Stopped::Cap));
        assert_eq!(conv.launches, 50 + measured.warm_up.launches);
    }

    #[test]
    fn a_used_up_allowance_stops_at_the_floor() {
        let noisy = |launch: usize| {
            Duration::from_micros(200 + (100.0 * (launch as f64 * TAU / 7.3).sin()) as u64)
        };
        let mut conv = Scripted { latency: noisy, launches: 0 };
        let rule = Profile::Standard.stopping_rule();
        let measured = measure(&mut conv, WARM_UP, rule, Some(Duration::from_nanos(1))).unwrap();
        assert_eq!((measured.latencies_ns.len(), measured.stopped), (10, Stopped::Budget));
    }

    #[test]
    fn a_narrow_interval_stops_before_the_cap() {
        assert!(is_precise(&[100.0; 20], Some(0.005)));
        let two_modes: Vec<f64> =
            (0..100).map(|i| if i % 2 == 0 { 100.0 } else { 200.0 }).collect();
        assert!(!is_precise(&two_modes, Some(0.005)));
        assert!(!is_precise(&[100.0; 20], None));
    }
}
