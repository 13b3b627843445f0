//! A run: every planned configuration measured or accounted for, in a random order, resumable.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

use crate::backend::cudnn::GpuError;
use crate::backend::{Backend, BackendError};
use crate::environment::Platform;
use crate::experiment::{Configuration, Experiment};
use crate::host::Timer;
use crate::measure::{MeasureError, Measurement, Method, SampleTimes, measure};
use crate::protocol::{Clock, EVENT_STEP_NS, Protocol};
use crate::record::{
    ConfigurationRecord, Outcome, Part, Plan, RecordError, RunFolder, Session, now, tidy_up,
};
use crate::settings::{BackendSettings, Settings};
use crate::statistics::Summary;
use crate::units::Bytes;

/// A run, ready to measure.
pub struct Run {
    /// Where it is kept.
    pub folder: RunFolder,
    /// What is measured, in the order measured.
    pub order: Vec<Configuration>,
    /// How many of them an interrupted process has already measured.
    pub done_before: usize,
    /// Files of configurations that were damaged, and are measured again.
    pub damaged: Vec<String>,
}

/// What happened, for whoever shows progress.
#[derive(Debug)]
pub enum Event<'a> {
    /// Outputs of so many configurations agree with direct sums.
    Verified(usize),
    /// A configuration is begun.
    Started(&'a Configuration),
    /// A configuration has an outcome, its first if [`ConfigurationRecord::attempts`] is 1.
    Done {
        /// What became of it.
        record: &'a ConfigurationRecord,
        /// What the rest is expected to take, where anything is known yet.
        time_left: Option<Duration>,
    },
}

/// Why a run cannot go on. What was measured before is kept.
#[derive(Debug, Error)]
pub enum RunError {
    /// The record cannot be written or read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The filter or the selection leaves nothing.
    #[error("nothing to measure: no configuration of the chosen experiments passes the filter")]
    Empty,
    /// The backend computes something else than a convolution.
    #[error("{0}; nothing was measured: times of wrong results mean nothing, please report it")]
    Wrong(BackendError),
    /// The device can no longer be used by this process.
    #[error(
        "{reason}\n{id} is tried again last; what was measured is safe: repeat the command to resume"
    )]
    DeviceLost {
        /// The configuration that was launched.
        id: String,
        /// What happened.
        reason: String,
        /// Whether it has work that never ends, for which the system's libraries may wait when the
        /// process ends.
        hangs: bool,
    },
}

/// How often a configuration is tried: while its device is throttled, and where it failed with its
/// device, there may be better times.
pub const MOST_ATTEMPTS: u32 = 3;

impl Run {
    /// Takes up the latest unfinished run under `runs` with the same plan, or begins a new one.
    ///
    /// # Errors
    /// [`RunError`] where there is nothing to measure or the folder cannot be written.
    pub fn open(
        runs: &Path,
        plan: Plan,
        selected: Vec<Configuration>,
        session: Session,
    ) -> Result<Self, RunError> {
        if selected.is_empty() {
            return Err(RunError::Empty);
        }
        tidy_up(runs)?;
        let folder = match RunFolder::resume(runs, &plan, &session)? {
            Some(folder) => folder,
            None => {
                let seed = plan.settings.seed.unwrap_or_else(|| now().as_millisecond() as u64);
                RunFolder::create(runs, plan, seed, session)?
            }
        };
        let order = measuring_order(selected, folder.header().seed);
        let mut done_before = 0;
        let mut damaged = Vec::new();
        for id in order.iter().map(Configuration::id) {
            match folder.part(&id) {
                Ok(part) => done_before += usize::from(part.is_some()),
                Err(error @ RecordError::Content { .. }) => {
                    folder.set_aside(&id)?;
                    damaged.push(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { folder, order, done_before, damaged })
    }

    /// Measures what has no outcome yet, then again what another attempt may improve. A
    /// configuration that fails is recorded and the rest goes on.
    ///
    /// Before anything is measured, outputs of one configuration of each experiment are verified,
    /// unless all are going to be.
    ///
    /// # Errors
    /// [`RunError`] where outputs are wrong, an outcome cannot be kept, or the device is lost.
    pub fn measure(
        &self,
        backend: &mut dyn Backend,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), RunError> {
        let settings = &self.folder.header().plan.settings;
        if !settings.verify && self.done_before < self.order.len() {
            on_event(Event::Verified(self.verify_some(backend)?));
        }
        let mut pace = Pace::new(settings, &self.order);
        let mut again = Vec::new();
        for (position, configuration) in self.order.iter().enumerate() {
            let record = match self.folder.part(&configuration.id())? {
                Some(part) => {
                    pace.account(configuration, &part.record);
                    part.record
                }
                None => {
                    let allowance = pace.allowance(configuration);
                    self.attempt(backend, position, None, allowance, &mut pace, on_event)?
                }
            };
            again.extend(deserves_attempt(&record).then_some(position));
        }
        while !again.is_empty() {
            again = self.attempt_again(backend, &again, &mut pace, on_event)?;
        }
        Ok(())
    }

    /// Measures configurations again, at least as long as the time before; says which of them
    /// deserve it still.
    fn attempt_again(
        &self,
        backend: &mut dyn Backend,
        positions: &[usize],
        pace: &mut Pace,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<usize>, RunError> {
        pace.expect(positions.iter().map(|&position| &self.order[position]));
        let mut still = Vec::new();
        for &position in positions {
            let configuration = &self.order[position];
            let before = self.folder.part(&configuration.id())?;
            let took_s = before.as_ref().map_or(0.0, |before| before.record.wall_s);
            let took = Duration::try_from_secs_f64(took_s).unwrap_or_default();
            let allowance = pace.allowance(configuration).map(|share| share.max(took));
            let record = self.attempt(backend, position, before, allowance, pace, on_event)?;
            still.extend(deserves_attempt(&record).then_some(position));
        }
        Ok(still)
    }

    /// Verifies outputs of the first configuration of each experiment that fits in memory and has
    /// not taken the device with it before; says of how many.
    fn verify_some(&self, backend: &mut dyn Backend) -> Result<usize, RunError> {
        let header = self.folder.header();
        let mut verified = 0;
        for of_experiment in self.order.chunk_by(|a, b| a.experiment == b.experiment) {
            let Some(configuration) = self.first_to_verify(backend, of_experiment)? else {
                continue;
            };
            let (started, clock) = (now(), Instant::now());
            let verify = |backend: &mut dyn Backend| {
                backend.prepare(configuration.shape, header.seed)?.verify()
            };
            match verify(backend) {
                Ok(()) => verified += 1,
                Err(error @ BackendError::Verification { .. }) => {
                    return Err(RunError::Wrong(error));
                }
                Err(error) => {
                    // what else is wrong with it is recorded when it is measured; a device that is
                    // lost is an attempt at it
                    let Some(lost) = self.loss(backend, configuration, &error) else { continue };
                    let reason = error.to_string();
                    let outcome = Outcome::Failed { reason, device_lost: true };
                    let wall_s = clock.elapsed().as_secs_f64();
                    let record =
                        ConfigurationRecord::new(configuration, started, wall_s, 1, outcome);
                    let position = self.order.iter().position(|other| other == configuration);
                    self.keep(position.unwrap_or(0), record, SampleTimes::default())?;
                    return Err(lost);
                }
            }
        }
        Ok(verified)
    }

    fn first_to_verify<'a>(
        &self,
        backend: &dyn Backend,
        of_experiment: &'a [Configuration],
    ) -> Result<Option<&'a Configuration>, RunError> {
        let settings = &self.folder.header().plan.settings;
        for configuration in of_experiment {
            let lost = self.folder.part(&configuration.id())?.is_some_and(|part| {
                matches!(part.record.outcome, Outcome::Failed { device_lost: true, .. })
            });
            if !lost && does_not_fit(backend, configuration, settings).is_none() {
                return Ok(Some(configuration));
            }
        }
        Ok(None)
    }

    /// The end of the run, if the device did not survive `error`.
    fn loss(
        &self,
        backend: &mut dyn Backend,
        configuration: &Configuration,
        error: &dyn std::error::Error,
    ) -> Option<RunError> {
        let lost = backend.check().err()?;
        let (id, reason) = (configuration.id(), error.to_string());
        let hangs = matches!(lost, BackendError::Gpu { source: GpuError::TimedOut { .. }, .. });
        Some(RunError::DeviceLost { id, reason, hangs })
    }

    fn keep(
        &self,
        position: usize,
        record: ConfigurationRecord,
        times: SampleTimes,
    ) -> Result<Part, RunError> {
        let run_id = self.folder.header().run_id.clone();
        let part = Part { run_id, position, record, times };
        self.folder.keep(&part)?;
        Ok(part)
    }

    /// Measures one configuration and keeps what became of it. Of a configuration that has been
    /// measured, an attempt that fails keeps the measurement.
    fn attempt(
        &self,
        backend: &mut dyn Backend,
        position: usize,
        before: Option<Part>,
        allowance: Option<Duration>,
        pace: &mut Pace,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<ConfigurationRecord, RunError> {
        let configuration = &self.order[position];
        let (started, clock) = (now(), Instant::now());
        let header = self.folder.header();
        let (settings, seed) = (&header.plan.settings, header.seed);
        on_event(Event::Started(configuration));
        let measured = try_measure(backend, configuration, settings, seed, allowance);
        let mut lost = None;
        let (outcome, times) = measured.unwrap_or_else(|error| {
            lost = self.loss(backend, configuration, &error);
            let reason = error.to_string();
            let outcome = match error {
                MeasureError::Backend(error) if error.is_out_of_memory() => {
                    Outcome::Skipped { reason }
                }
                _ => Outcome::Failed { reason, device_lost: lost.is_some() },
            };
            (outcome, SampleTimes::default())
        });
        let wall_s = clock.elapsed().as_secs_f64();
        let attempts = before.as_ref().map_or(0, |before| before.record.attempts) + 1;
        let is_measured = |outcome: &Outcome| matches!(outcome, Outcome::Measured { .. });
        let (outcome, times) = match before {
            Some(before) if !is_measured(&outcome) && is_measured(&before.record.outcome) => {
                (before.record.outcome, before.times)
            }
            _ => (outcome, times),
        };
        let record = ConfigurationRecord::new(configuration, started, wall_s, attempts, outcome);
        let part = self.keep(position, record, times)?;
        pace.account(configuration, &part.record);
        on_event(Event::Done { record: &part.record, time_left: pace.time_left() });
        lost.map_or(Ok(part.record), Err)
    }
}

/// Whether a configuration may be tried once more, and may do better then.
fn deserves_attempt(record: &ConfigurationRecord) -> bool {
    let lost = matches!(record.outcome, Outcome::Failed { device_lost: true, .. });
    record.attempts < MOST_ATTEMPTS && (lost || record.outcome.is_throttled())
}

fn try_measure(
    backend: &mut dyn Backend,
    configuration: &Configuration,
    settings: &Settings,
    seed: u64,
    allowance: Option<Duration>,
) -> Result<(Outcome, SampleTimes), MeasureError> {
    if let Some(reason) = does_not_fit(backend, configuration, settings) {
        return Ok((Outcome::Skipped { reason }, SampleTimes::default()));
    }
    let begun = Instant::now();
    let mut conv = backend.prepare(configuration.shape, seed)?;
    if settings.verify {
        conv.verify()?;
    }
    let allowance = allowance.map(|all| all.saturating_sub(begun.elapsed()));
    let Measurement { warm_up, stopped, relative_interval, times, submission_ns, device } =
        measure(conv.as_mut(), &method(settings, allowance))?;
    let Some(summary) = Summary::of(times.by(settings.protocol.clock)) else {
        let reason = "no launches".to_owned();
        return Ok((Outcome::Failed { reason, device_lost: false }, times));
    };
    let outcome = Outcome::Measured {
        algorithm: conv.algorithm().to_owned(),
        plan: conv.plan().cloned(),
        workspace_bytes: conv.workspace_bytes(),
        verified: settings.verify,
        warm_up,
        stopped,
        relative_interval,
        submission_ns,
        device,
        summary,
    };
    Ok((outcome, times))
}

fn method(settings: &Settings, allowance: Option<Duration>) -> Method {
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
    Method {
        protocol: settings.protocol,
        warm_up: settings.profile.warm_up_rule(window_time),
        stopping: settings.stopping_rule(),
        allowance,
        // a sample is a part of the time that the clock measured
        clock_step_ns: step_ns / f64::from(launches.get()),
    }
}

/// What a run of `selected` sets out to do.
pub fn plan(settings: &Settings, platform: Platform, selected: &[Configuration]) -> Plan {
    Plan {
        settings: settings.clone(),
        platform,
        program: program(),
        ids: selected.iter().map(Configuration::id).collect(),
    }
}

/// What tells a rebuilt program from the one before: its size and when its file was written.
fn program() -> String {
    let file = std::env::current_exe().and_then(std::fs::metadata);
    let written = file.and_then(|file| Ok((file.len(), file.modified()?)));
    match written.map(|(bytes, time)| (bytes, Timestamp::try_from(time))) {
        Ok((bytes, Ok(time))) => format!("{bytes} bytes, written {time}"),
        _ => "unknown".to_owned(),
    }
}

/// Why a configuration is not tried for want of memory.
pub fn does_not_fit(
    backend: &dyn Backend,
    configuration: &Configuration,
    settings: &Settings,
) -> Option<String> {
    let required = backend.required_memory(configuration.shape);
    too_large(required, settings.memory_limit, backend.available_memory())
}

/// Why so many bytes are too many, where they are.
pub(crate) fn too_large(
    required: Bytes,
    limit: Option<Bytes>,
    available: Option<Bytes>,
) -> Option<String> {
    if let Some(limit) = limit.filter(|&limit| required > limit) {
        return Some(format!("needs {required}, memory_limit_gib allows {limit}"));
    }
    let available = available.filter(|&available| required > available)?;
    Some(format!("needs {required}, only {available} of memory is free"))
}

/// Experiments in their order; configurations of one in a random order, so that a drift of the
/// machine does not look like an effect of the independent variable.
pub fn measuring_order(selected: Vec<Configuration>, seed: u64) -> Vec<Configuration> {
    let mut order = Vec::with_capacity(selected.len());
    for experiment in Experiment::ALL {
        let mut group: Vec<_> =
            selected.iter().filter(|c| c.experiment == experiment).cloned().collect();
        // a stream for each experiment: leaving one out does not reorder the others
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(experiment as u64);
        group.shuffle(&mut random);
        order.extend(group);
    }
    order
}

/// Shares a time budget out: each configuration gets a part of what is left, by what a launch of
/// it is expected to cost among those to come.
struct Pace {
    left: Option<Duration>,
    /// What a configuration costs whatever its shape, in units of [`launch_cost`].
    cost_of_any: f64,
    /// Cost of the configurations to come.
    cost_left: f64,
    cost_done: f64,
    time_done: Duration,
}

impl Pace {
    fn new(settings: &Settings, order: &[Configuration]) -> Self {
        let mut pace = Self {
            left: settings.time_budget,
            // enough for the smallest shapes to get launches that say something about noise
            cost_of_any: match settings.backend {
                BackendSettings::Cpu { .. } => 5e7,
                // some 0.1 ms of a GPU: warming up and launching take as long for any shape
                BackendSettings::Cudnn(_) => 2e9,
            },
            cost_left: 0.0,
            cost_done: 0.0,
            time_done: Duration::ZERO,
        };
        pace.expect(order.iter());
        pace
    }

    /// Says what is to come.
    fn expect<'a>(&mut self, to_come: impl Iterator<Item = &'a Configuration>) {
        self.cost_left = to_come.map(|configuration| self.cost(configuration)).sum();
    }

    fn cost(&self, configuration: &Configuration) -> f64 {
        launch_cost(configuration) + self.cost_of_any
    }

    fn allowance(&self, configuration: &Configuration) -> Option<Duration> {
        let share = (self.cost(configuration) / self.cost_left).clamp(0.0, 1.0);
        self.left.map(|left| left.mul_f64(share))
    }

    fn account(&mut self, configuration: &Configuration, record: &ConfigurationRecord) {
        let took = Duration::try_from_secs_f64(record.wall_s).unwrap_or_default();
        self.left = self.left.map(|left| left.saturating_sub(took));
        let cost = self.cost(configuration);
        self.cost_left -= cost;
        self.cost_done += cost;
        self.time_done += took;
    }

    /// By the rate so far: allowances follow the same cost, so it holds with a budget, too.
    fn time_left(&self) -> Option<Duration> {
        let ratio = (self.cost_left / self.cost_done).max(0.0);
        Duration::try_from_secs_f64(self.time_done.as_secs_f64() * ratio).ok()
    }
}

/// What a launch is expected to cost, in multiply–adds: those it makes, and what moving its bytes
/// would have computed meanwhile.
fn launch_cost(configuration: &Configuration) -> f64 {
    /// Multiply–adds in the time a byte moves: about what machines of today balance at.
    const MACS_PER_BYTE: f64 = 10.0;
    let Bytes(bytes) = configuration.shape.min_bytes_moved();
    configuration.shape.macs().0 as f64 + MACS_PER_BYTE * bytes as f64
}

#[cfg(test)]
mod tests;
