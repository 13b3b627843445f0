//! Times launches of one prepared convolution: warm-up, then single launches.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::device::{DeviceSample, DeviceStates};
use crate::backend::{BackendError, LaunchTime, PreparedConv};
use crate::host::Timer;
use crate::protocol::{Cache, Clock, EVENT_STEP_NS, Protocol, StoppingRule, WarmUpRule};
use crate::settings::{BackendSettings, Settings};
use crate::statistics::{quantile, relative_median_interval, sorted};

mod memory;

pub use memory::does_not_fit;
pub(crate) use memory::exceeds;

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
    /// The time of every sample, in the order taken.
    pub times: SampleTimes,
    /// Median time that the host took to submit a launch, where that is not computing it.
    pub submission_ns: Option<f64>,
    /// The device's states meanwhile, where it tells them.
    pub device: Option<DeviceStates>,
}

/// Times of samples by each clock, in nanoseconds, in the order taken: of single launches, or means
/// over as many launches as the protocol has in a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleTimes {
    /// By the host's clock.
    pub host_ns: Vec<f64>,
    /// By the device's; empty for a device that has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_ns: Vec<f64>,
}

impl SampleTimes {
    /// Those by one clock: what a protocol's latencies are.
    pub fn by(&self, clock: Clock) -> &[f64] {
        match clock {
            Clock::Host => &self.host_ns,
            Clock::Device => &self.device_ns,
        }
    }

    /// How many samples.
    pub fn len(&self) -> usize {
        self.host_ns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.host_ns.is_empty()
    }

    /// Takes one more sample in.
    pub(crate) fn push(&mut self, time: LaunchTime) {
        self.host_ns.push(time.host_ns);
        self.device_ns.extend(time.device_ns);
    }
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
    /// A launch took no time by a clock.
    #[error(
        "sample {sample} took {latency_ns} ns by the {clock}'s clock, expected a finite time above \
         0: the clock is at fault, measure the configuration again"
    )]
    Latency {
        /// Which sample, warm-up included, from 0.
        sample: usize,
        /// Which clock.
        clock: Clock,
        /// What it said.
        latency_ns: f64,
    },
}

/// How one configuration is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    /// What a sample means.
    pub protocol: Protocol,
    /// When it is warm.
    pub warm_up: WarmUpRule,
    /// When there are samples enough.
    pub stopping: StoppingRule,
    /// What all of it may take, warm-up included.
    pub allowance: Option<Duration>,
    /// Smallest step of the protocol's clock, in nanoseconds: no median of launches that take a few
    /// steps counts as precise.
    pub clock_step_ns: f64,
}

impl Method {
    /// How `settings` have a configuration measured, within `allowance`.
    pub(crate) fn from_settings(settings: &Settings, allowance: Option<Duration>) -> Self {
        /// Long enough for a GPU's clocks to follow the load.
        const CLOCKS_FOLLOW: Duration = Duration::from_millis(50);
        let window_time = match settings.backend {
            BackendSettings::Cpu { .. } => Duration::ZERO,
            BackendSettings::Cudnn(_) => CLOCKS_FOLLOW,
        };
        let Protocol { clock, launches, .. } = settings.protocol;
        let step_ns = match clock {
            Clock::Host => Timer::of_this_machine().step_ns,
            Clock::Device => EVENT_STEP_NS,
        };
        Self {
            protocol: settings.protocol,
            warm_up: settings.profile.warm_up_rule(window_time),
            stopping: settings.stopping_rule(),
            allowance,
            // a sample is a part of the time that the clock measured
            clock_step_ns: step_ns / f64::from(launches.get()),
        }
    }
}

/// Warms up, then launches until `method`'s rule is met or its allowance used up.
///
/// # Errors
/// [`MeasureError`] where a launch fails or a time is not finite and positive; nothing is kept of
/// the configuration then.
pub fn measure(conv: &mut dyn PreparedConv, method: &Method) -> Result<Measurement, MeasureError> {
    let protocol = method.protocol;
    let mut launcher = Prepared { conv, protocol, start: Instant::now(), samples: 0 };
    collect(&mut launcher, method)
}

/// Where samples and the time they take come from: what decides when to stop sees nothing else.
trait Launcher {
    /// Takes a sample.
    fn sample(&mut self) -> Result<LaunchTime, MeasureError>;
    /// Reads the device's state.
    fn device(&mut self) -> Result<Option<DeviceSample>, MeasureError>;
    /// Time since before the first sample.
    fn elapsed(&self) -> Duration;
}

/// A prepared convolution, launched as the protocol says.
struct Prepared<'a> {
    conv: &'a mut dyn PreparedConv,
    protocol: Protocol,
    start: Instant,
    samples: usize,
}

/// Takes the sample `index`, warm-up included, as the protocol says.
pub(crate) fn sample(
    conv: &mut dyn PreparedConv,
    protocol: Protocol,
    index: usize,
) -> Result<LaunchTime, MeasureError> {
    if protocol.cache == Cache::Cold {
        conv.flush_cache()?;
    }
    let time = conv.time(protocol.launches)?;
    for (clock, latency_ns) in [(Clock::Host, Some(time.host_ns)), (Clock::Device, time.device_ns)]
    {
        if let Some(latency_ns) = latency_ns.filter(|ns| !(ns.is_finite() && *ns > 0.0)) {
            return Err(MeasureError::Latency { sample: index, clock, latency_ns });
        }
    }
    if protocol.clock == Clock::Device && time.device_ns.is_none() {
        return Err(BackendError::Unsupported { what: "time launches by the device" }.into());
    }
    Ok(time)
}

impl Launcher for Prepared<'_> {
    fn sample(&mut self) -> Result<LaunchTime, MeasureError> {
        self.samples += 1;
        sample(self.conv, self.protocol, self.samples - 1)
    }

    fn device(&mut self) -> Result<Option<DeviceSample>, MeasureError> {
        Ok(self.conv.device_sample()?)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

fn collect(launcher: &mut impl Launcher, method: &Method) -> Result<Measurement, MeasureError> {
    let Method { stopping: rule, allowance, clock_step_ns, .. } = *method;
    let clock = method.protocol.clock;
    let warm_up = warm_up(launcher, method)?;
    let interval =
        |times: &SampleTimes| relative_median_interval(&sorted(times.by(clock)), clock_step_ns);
    let is_precise = |times: &SampleTimes| {
        rule.relative_interval
            .is_some_and(|wanted| interval(times).is_some_and(|reached| reached < wanted))
    };
    let mut times = SampleTimes::default();
    let mut submissions_ns = Vec::new();
    let mut device = Observer::begin(launcher)?;
    let mut next_check = rule.judged_from;
    let stopped = loop {
        let time = launcher.sample()?;
        times.push(time);
        submissions_ns.extend(time.submission_ns);
        let samples = times.len();
        if samples >= rule.cap {
            break Stopped::Cap;
        }
        device.look_again(launcher)?;
        if samples < rule.floor {
            continue;
        }
        if allowance.is_some_and(|all| launcher.elapsed() >= all) {
            break Stopped::Budget;
        }
        // checked ever more rarely: sorting between launches would cool the caches
        if samples >= next_check {
            next_check = samples + samples / 4 + 1;
            if is_precise(&times) {
                break Stopped::Precise;
            }
        }
    };
    let relative_interval = interval(&times);
    let submission_ns =
        (!submissions_ns.is_empty()).then(|| quantile(&sorted(&submissions_ns), 0.5));
    let device = device.end(launcher)?;
    Ok(Measurement { warm_up, stopped, relative_interval, times, submission_ns, device })
}

/// Reads the device's state now and then.
struct Observer {
    /// `None` for a device that tells nothing: it is not asked again.
    states: Option<DeviceStates>,
    next: Duration,
}

impl Observer {
    fn begin(launcher: &mut impl Launcher) -> Result<Self, MeasureError> {
        let states = launcher.device()?.map(|sample| {
            let mut states = DeviceStates::default();
            states.add(sample);
            states
        });
        Ok(Self { states, next: launcher.elapsed() + DeviceStates::EVERY })
    }

    fn look_again(&mut self, launcher: &mut impl Launcher) -> Result<(), MeasureError> {
        if self.states.is_some() && launcher.elapsed() >= self.next {
            self.look(launcher)?;
            self.next = launcher.elapsed() + DeviceStates::EVERY;
        }
        Ok(())
    }

    fn look(&mut self, launcher: &mut impl Launcher) -> Result<(), MeasureError> {
        if let Some(states) = &mut self.states
            && let Some(sample) = launcher.device()?
        {
            states.add(sample);
        }
        Ok(())
    }

    fn end(mut self, launcher: &mut impl Launcher) -> Result<Option<DeviceStates>, MeasureError> {
        self.look(launcher)?;
        Ok(self.states)
    }
}

/// Samples until two successive windows have medians, and clocks at their ends, within the
/// tolerance of each other, at most until the rule's limit or the allowance's share.
fn warm_up(launcher: &mut impl Launcher, method: &Method) -> Result<WarmUp, MeasureError> {
    let Method { warm_up: rule, allowance, .. } = *method;
    let share = allowance.map(|all| all.mul_f64(WARM_UP_SHARE)).filter(|&share| share < rule.limit);
    let (limit, at_limit) = match share {
        Some(share) => (share, WarmUpEnd::BudgetShare),
        None => (rule.limit, WarmUpEnd::TimeLimit),
    };
    let (mut launches, mut times) = (0, SampleTimes::default());
    let (mut begun, mut before) = (launcher.elapsed(), None);
    loop {
        times.push(launcher.sample()?);
        launches += 1;
        if times.len() >= rule.window && launcher.elapsed() >= begun + rule.window_time {
            let window = Window::end(&std::mem::take(&mut times), method, launcher)?;
            if before.is_some_and(|before| window.agrees_with(before, rule.tolerance)) {
                return Ok(WarmUp { launches, ended: WarmUpEnd::Steady });
            }
            (begun, before) = (launcher.elapsed(), Some(window));
        }
        if launcher.elapsed() >= limit {
            return Ok(WarmUp { launches, ended: at_limit });
        }
    }
}

/// What two windows of a warm-up are compared by.
#[derive(Clone, Copy)]
struct Window {
    median_ns: f64,
    clock_mhz: Option<f64>,
}

impl Window {
    fn end(
        times: &SampleTimes,
        method: &Method,
        launcher: &mut impl Launcher,
    ) -> Result<Self, MeasureError> {
        let median_ns = quantile(&sorted(times.by(method.protocol.clock)), 0.5);
        let clock_mhz = launcher.device()?.and_then(|device| device.sm_clock_mhz).map(f64::from);
        Ok(Self { median_ns, clock_mhz })
    }

    fn agrees_with(self, before: Self, tolerance: f64) -> bool {
        let near = |now: f64, before: f64| (now - before).abs() <= tolerance * before;
        let clocks = self.clock_mhz.zip(before.clock_mhz);
        near(self.median_ns, before.median_ns)
            && clocks.is_none_or(|(now, before)| near(now, before))
    }
}

#[cfg(test)]
mod tests;
