//! Timing one prepared convolution: warm-up, then samples until the stopping rule is met.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::device::{DeviceSample, DeviceStates};
use crate::backend::{BackendError, LaunchTime, PreparedConv};
use crate::disturbance::{CoreWaits, Disturbance, MachineReading};
use crate::host::Timer;
use crate::protocol::{Cache, Clock, Clocks, Protocol, StoppingRule, WarmUpRule};
use crate::settings::Settings;
use crate::statistics::{quantile, relative_median_interval, sorted};

mod memory;
mod times;

pub use memory::does_not_fit;
pub(crate) use memory::exceeds;
pub use times::{DroppedSample, SampleTimes};

/// What was measured of one configuration; [`Outcome::Measured`](crate::record::Outcome::Measured) says
/// what the fields mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "`Outcome::Measured` has the same fields")]
pub struct Measurement {
    pub warm_up: WarmUp,
    pub stopped: Stopped,
    /// [`relative_median_interval`]; `None` for too few launches.
    pub relative_interval: Option<f64>,
    pub times: SampleTimes,
    pub submission_ns: Option<f64>,
    pub device: Option<DeviceStates>,
    pub disturbance: Disturbance,
}

/// Launches made to reach a steady state; their times are not part of any statistic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say what they are")]
pub struct WarmUp {
    pub launches: usize,
    pub ended: WarmUpEnd,
}

/// Why a warm-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarmUpEnd {
    /// The times were steady, by [`WarmUpRule`].
    Steady,
    /// They were not steady when the rule's time was over.
    TimeLimit,
    /// They were not steady when [`WARM_UP_SHARE`] of the configuration's time budget, or the least time that
    /// the rule gives, was used up.
    BudgetShare,
}

impl WarmUp {
    /// Whether the times were steady when it ended.
    pub fn is_steady(&self) -> bool {
        self.ended == WarmUpEnd::Steady
    }
}

/// Largest part of a configuration's time budget that goes into warming up; the rest is for launches
/// that count.
pub const WARM_UP_SHARE: f64 = 0.2;

/// Why no more launches of a configuration were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// The median's interval is as narrow as wanted.
    Precise,
    /// There are as many as the profile allows.
    Cap,
    /// The configuration's share of the time budget is used up.
    Budget,
}

/// Why a configuration has no measurement.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the other fields are")]
pub enum MeasureError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(
        "sample {sample} took {latency_ns} ns by the {clock}'s clock, expected a finite time above 0"
    )]
    Latency {
        /// From 0, warm-up included.
        sample: usize,
        clock: Clock,
        latency_ns: f64,
    },
}

/// How one configuration is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Method {
    pub protocol: Protocol,
    pub warm_up: WarmUpRule,
    pub stopping: StoppingRule,
    /// The most time for all of it, warm-up included.
    pub allowance: Option<Duration>,
    /// Smallest step of the protocol's clock, in nanoseconds: no median of launches that take a few
    /// steps counts as precise.
    pub clock_step_ns: f64,
}

impl Method {
    /// How `settings` have a configuration measured in a pass, counted from 1, within `allowance`.
    pub(crate) fn from_settings(
        settings: &Settings,
        pass: u32,
        clocks: Clocks,
        allowance: Option<Duration>,
    ) -> Self {
        Self {
            protocol: settings.protocol,
            warm_up: settings.profile.warm_up_rule(settings.backend.kind().settle_time, clocks),
            stopping: settings.stopping_rule().of_pass(pass, settings.passes),
            allowance,
            clock_step_ns: settings.sample_step_ns(Timer::of_this_machine().step_ns),
        }
    }
}

/// Warms up, then takes samples until `method`'s stopping rule is met or its allowance used up.
pub fn measure(conv: &mut dyn PreparedConv, method: &Method) -> Result<Measurement, MeasureError> {
    let protocol = method.protocol;
    let waits = CoreWaits::new(&conv.threads());
    let mut launcher = Prepared { conv, protocol, start: Instant::now(), samples: 0, waits };
    collect(&mut launcher, method)
}

/// Where samples and the time they take come from. The stopping rule sees nothing else, so that tests
/// can script both.
trait Launcher {
    fn sample(&mut self) -> Result<LaunchTime, MeasureError>;
    fn device(&mut self) -> Result<Option<DeviceSample>, MeasureError>;
    /// Time in nanoseconds that computing threads have waited for a core so far; `None` where the
    /// system does not tell.
    fn waited_ns(&mut self) -> Option<u64>;
    fn machine(&mut self) -> MachineReading;
    /// Time since before the first sample.
    fn elapsed(&self) -> Duration;
}

struct Prepared<'a> {
    conv: &'a mut dyn PreparedConv,
    protocol: Protocol,
    start: Instant,
    samples: usize,
    waits: Option<CoreWaits>,
}

/// Takes a sample as the protocol says; `index` is its number for errors.
pub(crate) fn sample(
    conv: &mut dyn PreparedConv,
    protocol: Protocol,
    index: usize,
) -> Result<LaunchTime, MeasureError> {
    if protocol.cache == Cache::Cold {
        conv.flush_cache()?;
    }
    let time = match protocol.clock {
        _ if protocol.graph => conv.time_replays(protocol.launches)?,
        Clock::DeviceQueued => conv.time_queued()?,
        Clock::Host | Clock::Device => conv.time(protocol.launches)?,
    };
    for (clock, latency_ns) in [(Clock::Host, Some(time.host_ns)), (Clock::Device, time.device_ns)]
    {
        if let Some(latency_ns) = latency_ns.filter(|ns| !(ns.is_finite() && *ns > 0.0)) {
            return Err(MeasureError::Latency { sample: index, clock, latency_ns });
        }
    }
    if protocol.clock != Clock::Host && time.device_ns.is_none() {
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

    fn waited_ns(&mut self) -> Option<u64> {
        self.waits.as_ref()?.total_ns()
    }

    fn machine(&mut self) -> MachineReading {
        MachineReading::now(&self.conv.threads())
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
    let mut watch = Watch::begin(launcher);
    let mut next_check = rule.judged_from;
    let mut taken = 0;
    let stopped = loop {
        let time = launcher.sample()?;
        taken += 1;
        times.push(time);
        submissions_ns.extend(time.submission_ns);
        watch.look_again(launcher, &mut times);
        let samples = times.len();
        // where too few of them count, there is an end, too
        let are_enough = |some: usize| samples >= some || taken >= MOST_TAKEN * some;
        if are_enough(rule.cap) {
            break Stopped::Cap;
        }
        device.look_again(launcher)?;
        if !are_enough(rule.floor) {
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
    let disturbance = watch.end(launcher, &mut times);
    if times.len() < rule.floor {
        times.take_back();
    }
    let relative_interval = interval(&times);
    let submission_ns =
        (!submissions_ns.is_empty()).then(|| quantile(&sorted(&submissions_ns), 0.5));
    let device = device.end(launcher)?;
    Ok(Measurement {
        warm_up,
        stopped,
        relative_interval,
        times,
        submission_ns,
        device,
        disturbance,
    })
}

/// So many times the samples that a rule asks for are taken where some do not count.
const MOST_TAKEN: usize = 2;

/// Drops samples during which a computing thread was switched out.
struct Watch {
    machine: MachineReading,
    block: Block,
    waited_ns: Option<u64>,
}

/// Samples that are judged together, as short ones are: asking the system takes some microseconds.
#[derive(Clone, Copy)]
struct Block {
    begun: Duration,
    waited_ns: Option<u64>,
    samples: usize,
}

/// Least time of a block.
const BLOCK: Duration = Duration::from_millis(1);

/// Threads that have waited for a core for more than this part of a block's time were switched out in
/// it. Below, what the system itself does in between is no disturbance: on a machine without other
/// programs, a fifth of launches of some 50 ms waited for more than 0.5%, and took 1% longer than others.
const SWITCHED_OUT: f64 = 0.02;

impl Watch {
    fn begin(launcher: &mut impl Launcher) -> Self {
        let machine = launcher.machine();
        let block = Block::begin(launcher);
        Self { machine, block, waited_ns: block.waited_ns }
    }

    fn look_again(&mut self, launcher: &mut impl Launcher, times: &mut SampleTimes) {
        self.block.samples += 1;
        if self.block.waited_ns.is_some() && launcher.elapsed() >= self.block.begun + BLOCK {
            self.look(launcher, times);
        }
    }

    fn look(&mut self, launcher: &mut impl Launcher, times: &mut SampleTimes) {
        let next = Block::begin(launcher);
        let took_ns = (next.begun - self.block.begun).as_nanos() as f64;
        let waited = next.waited_ns.zip(self.block.waited_ns);
        if waited.is_some_and(|(now, then)| (now - then) as f64 > SWITCHED_OUT * took_ns) {
            times.drop_last(self.block.samples);
        }
        self.block = next;
    }

    fn end(mut self, launcher: &mut impl Launcher, times: &mut SampleTimes) -> Disturbance {
        self.look(launcher, times);
        let waited = self.block.waited_ns.zip(self.waited_ns).map(|(now, begun)| now - begun);
        let dropped = times.dropped.len();
        let samples = (times.len() + dropped) as u64;
        launcher.machine().since(&self.machine, dropped as u64, samples, waited)
    }
}

impl Block {
    fn begin(launcher: &mut impl Launcher) -> Self {
        Self { begun: launcher.elapsed(), waited_ns: launcher.waited_ns(), samples: 0 }
    }
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
    let share = allowance.map(|all| all.mul_f64(WARM_UP_SHARE).max(rule.at_least));
    let share = share.filter(|&share| share < rule.limit);
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
            let ended = launcher.elapsed();
            let window = Window::end(&std::mem::take(&mut times), method, launcher)?;
            let agree = before.is_some_and(|before| window.agrees_with(before, rule.tolerance));
            if agree && ended >= rule.from {
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
