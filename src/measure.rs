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
    /// Half the median's 95% interval over the median, the clock's step included
    /// ([`relative_median_interval`]); `None` for too few launches.
    pub relative_interval: Option<f64>,
    /// Latency of every launch, in nanoseconds, in launch order.
    pub latencies_ns: Vec<f64>,
}

/// Launches made to reach a steady state; their times are not part of any statistic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmUp {
    /// How many.
    pub launches: usize,
    /// Why there are no more.
    pub ended: WarmUpEnd,
}

/// Why a warm-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarmUpEnd {
    /// The times were steady, by [`WarmUpRule`].
    Steady,
    /// They were not when the rule's time was over.
    TimeLimit,
    /// They were not when [`WARM_UP_SHARE`] of the configuration's time budget was used up.
    BudgetShare,
}

impl WarmUp {
    /// Whether the times were steady when it ended.
    pub fn is_steady(&self) -> bool {
        self.ended == WarmUpEnd::Steady
    }
}

/// Largest part of a configuration's time budget that goes into warming up: what that takes, the
/// counted launches lack.
pub const WARM_UP_SHARE: f64 = 0.2;

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
/// `clock_step_ns` is the smallest step of the clock, [`crate::environment::Timer::step_ns`]: no
/// median of launches that take a few steps counts as precise.
///
/// # Errors
/// [`MeasureError`] where a launch fails or a time is not finite and positive; nothing is kept of
/// the configuration then.
pub fn measure(
    conv: &mut dyn PreparedConv,
    warm_up_rule: WarmUpRule,
    rule: StoppingRule,
    allowance: Option<Duration>,
    clock_step_ns: f64,
) -> Result<Measurement, MeasureError> {
    let mut launcher = OnHost { conv, start: Instant::now(), launches: 0 };
    collect(&mut launcher, warm_up_rule, rule, allowance, clock_step_ns)
}

/// Where launches and the time they take come from: what decides when to stop sees nothing else.
trait Launcher {
    /// Launches once.
    fn latency_ns(&mut self) -> Result<f64, MeasureError>;
    /// Time since before the first launch.
    fn elapsed(&self) -> Duration;
}

/// A convolution by the host's monotonic clock.
struct OnHost<'a> {
    conv: &'a mut dyn PreparedConv,
    start: Instant,
    launches: usize,
}

impl Launcher for OnHost<'_> {
    /// Synchronise, launch, synchronise.
    fn latency_ns(&mut self) -> Result<f64, MeasureError> {
        self.conv.synchronize()?;
        let start = Instant::now();
        self.conv.launch()?;
        self.conv.synchronize()?;
        let latency_ns = start.elapsed().as_nanos() as f64;
        let launch = self.launches;
        self.launches += 1;
        if latency_ns > 0.0 {
            Ok(latency_ns)
        } else {
            Err(MeasureError::Latency { launch, latency_ns })
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

fn collect(
    launcher: &mut impl Launcher,
    warm_up_rule: WarmUpRule,
    rule: StoppingRule,
    allowance: Option<Duration>,
    clock_step_ns: f64,
) -> Result<Measurement, MeasureError> {
    let warm_up = warm_up(launcher, warm_up_rule, allowance)?;
    let interval = |latencies: &[f64]| relative_median_interval(&sorted(latencies), clock_step_ns);
    let is_precise = |latencies: &[f64]| {
        rule.relative_interval
            .is_some_and(|wanted| interval(latencies).is_some_and(|reached| reached < wanted))
    };
    let mut latencies_ns = Vec::with_capacity(rule.cap);
    let mut next_check = rule.judged_from;
    let stopped = loop {
        latencies_ns.push(launcher.latency_ns()?);
        let launches = latencies_ns.len();
        if launches >= rule.cap {
            break Stopped::Cap;
        }
        if launches < rule.floor {
            continue;
        }
        if allowance.is_some_and(|all| launcher.elapsed() >= all) {
            break Stopped::Budget;
        }
        // checked ever more rarely: sorting between launches would cool the caches
        if launches >= next_check {
            next_check = launches + launches / 4 + 1;
            if is_precise(&latencies_ns) {
                break Stopped::Precise;
            }
        }
    };
    let relative_interval = interval(&latencies_ns);
    Ok(Measurement { warm_up, stopped, relative_interval, latencies_ns })
}

/// Launches until two successive windows have medians within the tolerance of each other, at most
/// until the rule's limit or the allowance's share.
fn warm_up(
    launcher: &mut impl Launcher,
    rule: WarmUpRule,
    allowance: Option<Duration>,
) -> Result<WarmUp, MeasureError> {
    let share = allowance.map(|all| all.mul_f64(WARM_UP_SHARE)).filter(|&share| share < rule.limit);
    let (limit, at_limit) = match share {
        Some(share) => (share, WarmUpEnd::BudgetShare),
        None => (rule.limit, WarmUpEnd::TimeLimit),
    };
    let mut latencies_ns = Vec::new();
    loop {
        latencies_ns.push(launcher.latency_ns()?);
        let launches = latencies_ns.len();
        if launches.is_multiple_of(rule.window) && last_windows_agree(&latencies_ns, rule) {
            return Ok(WarmUp { launches, ended: WarmUpEnd::Steady });
        }
        if launcher.elapsed() >= limit {
            return Ok(WarmUp { launches, ended: at_limit });
        }
    }
}

fn last_windows_agree(latencies_ns: &[f64], rule: WarmUpRule) -> bool {
    let mut windows = latencies_ns.rchunks_exact(rule.window).map(|w| quantile(&sorted(w), 0.5));
    let (Some(last), Some(before)) = (windows.next(), windows.next()) else { return false };
    (last - before).abs() <= rule.tolerance * before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Profile;
    use crate::units::Bytes;

    /// Launches whose latencies a script says, and time that passes by nothing else.
    struct Scripted<F: FnMut(usize) -> f64> {
        latency_ns: F,
        launches: usize,
        elapsed_ns: f64,
    }

    impl<F: FnMut(usize) -> f64> Launcher for Scripted<F> {
        fn latency_ns(&mut self) -> Result<f64, MeasureError> {
            let latency_ns = (self.latency_ns)(self.launches);
            self.launches += 1;
            self.elapsed_ns += latency_ns;
            Ok(latency_ns)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_nanos(self.elapsed_ns as u64)
        }
    }

    fn scripted<F: FnMut(usize) -> f64>(latency_ns: F) -> Scripted<F> {
        Scripted { latency_ns, launches: 0, elapsed_ns: 0.0 }
    }

    const WARM_UP: WarmUpRule =
        WarmUpRule { window: 5, tolerance: 0.02, limit: Duration::from_secs(1) };

    /// 50 launches and more of the standard profile, warmed up by ten.
    fn standard(
        latency_ns: impl FnMut(usize) -> f64,
        allowance: Option<Duration>,
        clock_step_ns: f64,
    ) -> Measurement {
        let mut launcher = scripted(latency_ns);
        let rule = Profile::Standard.stopping_rule();
        let measured = collect(&mut launcher, WARM_UP, rule, allowance, clock_step_ns).unwrap();
        assert_eq!(launcher.launches, measured.warm_up.launches + measured.latencies_ns.len());
        measured
    }

    #[test]
    fn falling_times_keep_the_warm_up_going_until_they_settle() {
        let falling = |launch: usize| 1e6 / (1 + launch.min(15)) as f64;
        let warm_up = warm_up(&mut scripted(falling), WARM_UP, None).unwrap();
        // launches 16–20 and 21–25 are the first windows whose medians are those of launch 16 on
        assert_eq!(warm_up, WarmUp { launches: 25, ended: WarmUpEnd::Steady });
        assert!(warm_up.is_steady());
    }

    #[test]
    fn a_warm_up_that_never_settles_ends_at_its_limit_and_says_which() {
        // 5 launches of 1 ms, 5 of 2 ms, 5 of 4 ms …: 60 ms are over with the 19th, 20 ms with
        // the 12th
        let doubling = |launch: usize| 1e6 * f64::from(1 << (launch / 5));
        let rule = WarmUpRule { limit: Duration::from_millis(60), ..WARM_UP };
        let ended = |allowance: Option<u64>| {
            let allowance = allowance.map(Duration::from_millis);
            warm_up(&mut scripted(doubling), rule, allowance).unwrap()
        };
        let at_limit = WarmUp { launches: 19, ended: WarmUpEnd::TimeLimit };
        assert_eq!(ended(None), at_limit);
        assert_eq!(ended(Some(300)), at_limit);
        let at_share = WarmUp { launches: 12, ended: WarmUpEnd::BudgetShare };
        assert_eq!(ended(Some(100)), at_share);
        assert!(!at_share.is_steady());
    }

    #[test]
    fn a_used_up_allowance_stops_at_the_floor() {
        let measured = standard(|_| 1e6, Some(Duration::from_nanos(1)), 1.0);
        assert_eq!((measured.latencies_ns.len(), measured.stopped), (10, Stopped::Budget));
        assert_eq!(measured.warm_up.ended, WarmUpEnd::BudgetShare);
    }

    #[test]
    fn an_allowance_stops_between_the_floor_and_the_cap() {
        let two_modes = |launch: usize| if launch.is_multiple_of(2) { 1e6 } else { 2e6 };
        let measured = standard(two_modes, Some(Duration::from_millis(60)), 1.0);
        // 1 ms and 2 ms in turn: 60 ms are over after 40 launches, warm-up included
        assert_eq!(measured.warm_up.launches + measured.latencies_ns.len(), 40);
        assert_eq!(measured.stopped, Stopped::Budget);
    }

    #[test]
    fn a_narrow_interval_stops_where_it_is_first_judged() {
        // 1% between launches, but most of them within 0.4%
        let narrow = |launch: usize| 1e6 + 1e3 * [0.0, 1.0, 2.0, 3.0, 10.0][launch % 5];
        let measured = standard(narrow, None, 1.0);
        assert_eq!((measured.latencies_ns.len(), measured.stopped), (50, Stopped::Precise));
        // of 50 launches the ranks 17 and 32 (from 0) are the second and fourth latency of the
        // five, ten of each
        let interval = measured.relative_interval.unwrap();
        assert_eq!(interval, (2e3 / 2.0 + 1.0) / 1.002e6);
    }

    #[test]
    fn two_modes_are_never_precise() {
        let measured =
            standard(|launch| if launch.is_multiple_of(2) { 1e6 } else { 2e6 }, None, 1.0);
        assert_eq!((measured.latencies_ns.len(), measured.stopped), (2000, Stopped::Cap));
    }

    #[test]
    fn launches_of_few_steps_of_the_clock_are_never_precise_however_equal() {
        let equal = |latency_ns: f64| {
            let measured = standard(|_| latency_ns, None, 10.0);
            assert_eq!(measured.relative_interval, Some(10.0 / latency_ns));
            measured.stopped
        };
        assert_eq!(equal(1000.0), Stopped::Cap);
        assert_eq!(equal(1999.0), Stopped::Cap);
        assert_eq!(equal(2001.0), Stopped::Precise);
    }

    /// A convolution that takes one step of the host's clock.
    struct OneStep {
        launches: usize,
    }

    impl PreparedConv for OneStep {
        fn launch(&mut self) -> Result<(), BackendError> {
            self.launches += 1;
            let start = Instant::now();
            while start.elapsed().is_zero() {}
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

    #[test]
    fn the_paper_profile_makes_exactly_its_launches() {
        let mut conv = OneStep { launches: 0 };
        let measured = measure(&mut conv, WARM_UP, StoppingRule::exactly(50), None, 1.0).unwrap();
        assert_eq!((measured.latencies_ns.len(), measured.stopped), (50, Stopped::Cap));
        assert_eq!(conv.launches, 50 + measured.warm_up.launches);
        assert!(measured.latencies_ns.iter().all(|&latency| latency > 0.0));
    }
}
