//! A run of experiments A–G: all configurations in a random order, in several passes, resumed where a
//! process was killed, and measured again where that may improve them.
//!
//! A configuration is not measured in one burst, since its launches would share one state of the
//! machine and one place in memory: the latency that they agree on so well may be another the next
//! minute. Each pass visits every configuration, in an order of its own and on memory allocated anew,
//! so that the passes' medians show how much the latency varies within a run.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::backend::{Backend, BackendError, Probe};
use crate::budget::{CostModel, Shares};
use crate::disturbance::{Disturbance, Threads};
use crate::experiment::{Configuration, Experiment};
use crate::file_error::FileError;
use crate::measure::{MeasureError, Measurement, Method, SampleTimes, does_not_fit, measure};
use crate::protocol::Clocks;
use crate::random::random_bits;
use crate::record::{
    ConfigurationRecord, GpuGone, Measured, Outcome, Part, PassedOver, RunFolder, RunPlan, Session,
    check_gpu, now, passed_over, remove_empty, tidy_up,
};
use crate::settings::Settings;
use crate::statistics::{Summary, quantile, sorted};

/// A run that this process measures.
#[allow(missing_docs, reason = "the names say it")]
pub struct Run {
    pub folder: RunFolder,
    /// In the order measured: every configuration once in each pass.
    pub visits: Vec<PlannedVisit>,
    /// Number of visits that have an outcome from an earlier process.
    pub done_before: usize,
    /// What is wrong with damaged parts: what was in them is measured again.
    pub damaged: Vec<String>,
    /// Where it is new: the unfinished run that is nearest to it and not resumed, after those that cannot be read.
    pub passed_over: Vec<PassedOver>,
    /// Ramped once this process has measured anything.
    clocks: Cell<Clocks>,
}

/// One configuration in one pass.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PlannedVisit {
    /// From 1.
    pub pass: u32,
    pub configuration: Configuration,
}

/// What happened, for whoever shows progress.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RunEvent<'a> {
    /// The outputs of so many configurations agree with direct sums.
    Verified(usize),
    Started(&'a PlannedVisit),
    /// A visit has an outcome, its first if [`ConfigurationRecord::attempts`] is 1.
    Done {
        pass: u32,
        record: &'a ConfigurationRecord,
        /// What all passes give, where this was the last one of its configuration.
        of_all_passes: Option<&'a ConfigurationRecord>,
        /// The time that the rest should take, if that can be told already.
        time_left: Option<Duration>,
    },
}

/// Why a run cannot go on. What was measured before is safe.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the other fields are")]
pub enum RunError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    GpuGone(#[from] GpuGone),
    #[error("nothing to measure: no configuration of the chosen experiments passes the filter")]
    Empty,
    /// The backend computes something else than a convolution.
    #[error(
        "{0}\nnothing was measured: times of wrong results mean nothing\n\
         hint: report this as a bug of alpha-flops"
    )]
    Wrong(BackendError),
    /// The device can no longer be used by this process.
    #[error(
        "{reason}\n\
         hint: repeat the command to resume: {id} is tried again last, and what was measured is safe"
    )]
    DeviceLost {
        id: String,
        reason: String,
        /// Whether it has work that never ends: the system's libraries may wait for that when the
        /// process ends.
        hangs: bool,
    },
}

/// Most attempts at a visit: another may be better where the device was throttled or lost, or other
/// programs disturbed it.
pub const MOST_ATTEMPTS: u32 = 3;

/// The part of a time budget that is left for further attempts.
const KEPT_FOR_MORE_ATTEMPTS: f64 = 0.1;

impl Run {
    /// Resumes the latest unfinished run under `runs` with the same plan, or begins a new one.
    ///
    /// # Errors
    /// [`RunError`] where there is nothing to measure, the folder cannot be written, or the GPU of an unfinished
    /// run is gone.
    pub fn open(
        runs: &Path,
        plan: RunPlan,
        selected: Vec<Configuration>,
        session: Session,
    ) -> Result<Self, RunError> {
        if selected.is_empty() {
            return Err(RunError::Empty);
        }
        check_gpu(runs, &plan.platform, session.why_cpu.as_deref())?;
        tidy_up(runs)?;
        let (folder, passed_over) = match RunFolder::resume(runs, &plan, &session)? {
            Some(folder) => (folder, Vec::new()),
            None => {
                remove_empty(runs)?;
                let passed_over = passed_over(runs, &plan);
                let seed = plan.settings.seed.unwrap_or_else(|| now().as_millisecond() as u64);
                (RunFolder::create(runs, plan, seed, session)?, passed_over)
            }
        };
        let passes = folder.header().plan.settings.passes.get();
        let visits: Vec<PlannedVisit> = (1..=passes)
            .flat_map(|pass| measuring_order(&selected, folder.header().seed, pass))
            .collect();
        let ids_and_passes = visits.iter().map(|visit| (visit.configuration.id(), visit.pass));
        let (done_before, damaged) = folder.check_parts(ids_and_passes)?;
        let clocks = Cell::new(Clocks::Cold);
        Ok(Self { folder, visits, done_before, damaged, passed_over, clocks })
    }

    /// What warming up takes where all times are steady, and so what is left takes at least.
    pub fn least_time(&self) -> Duration {
        let settings = &self.folder.header().plan.settings;
        let settle_time = settings.backend.kind().settle_time;
        let windows = 2 * settings.profile.warm_up_rule(settle_time, Clocks::Ramped).window_time;
        let left = self.visits.len() - self.done_before;
        windows * u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Makes the visits that have no outcome yet, then again those that another attempt may improve. A
    /// visit that fails is recorded as failed, and the run goes on.
    ///
    /// First, outputs of one configuration of each experiment are verified, unless the settings have
    /// all of them verified.
    ///
    /// # Errors
    /// [`RunError`] where outputs are wrong, an outcome cannot be written, or the device is lost.
    pub fn measure(
        &mut self,
        backend: &mut dyn Backend,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<(), RunError> {
        let settings = &self.folder.header().plan.settings;
        if !settings.verify && self.done_before < self.visits.len() {
            on_event(RunEvent::Verified(self.verify_some(backend)?));
        }
        let model = CostModel::for_run(settings.backend.kind());
        let mut shares = Shares::new(settings.time_budget, KEPT_FOR_MORE_ATTEMPTS, model);
        shares.expect(self.visits.iter().map(|visit| visit.configuration.shape));
        let mut records = Vec::with_capacity(self.visits.len());
        for (position, PlannedVisit { pass, configuration }) in self.visits.iter().enumerate() {
            let record = match self.folder.part(&configuration.id(), *pass)? {
                Some(part) => {
                    shares.account(configuration.shape, part.record.took());
                    part.record
                }
                None => {
                    let allowance = shares.allowance(configuration.shape);
                    self.attempt(backend, position, None, allowance, &mut shares, on_event)?
                }
            };
            records.push(record);
        }
        shares.release();
        let usual = usual_multiply_add_ns(&records);
        self.folder.set_usual_speed(usual)?;
        let mut again = Vec::new();
        for (position, mut record) in records.into_iter().enumerate() {
            record.outcome.note_core_speed(usual);
            again.extend(deserves_attempt(&record).then_some(position));
        }
        while !again.is_empty() {
            again = self.attempt_again(backend, &again, &mut shares, on_event)?;
        }
        Ok(())
    }

    /// Makes visits again, each for at least as long as before, those first whose configurations have
    /// the fewest sound ones. One that was disturbed is left as it is where the budget does not last.
    /// Returns those that deserve yet another attempt.
    fn attempt_again(
        &self,
        backend: &mut dyn Backend,
        positions: &[usize],
        shares: &mut Shares,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<Vec<usize>, RunError> {
        shares.expect(positions.iter().map(|&place| self.visits[place].configuration.shape));
        let mut still = Vec::new();
        for position in self.most_needed_first(positions)? {
            let PlannedVisit { pass, configuration } = &self.visits[position];
            let before = self.folder.part(&configuration.id(), *pass)?;
            let took = before.as_ref().map_or(Duration::ZERO, |before| before.record.took());
            let is_sound = before.as_ref().is_some_and(|before| is_sound(&before.record.outcome));
            if is_sound && shares.left().is_some_and(|left| left < took) {
                continue;
            }
            let allowance = shares.allowance(configuration.shape).map(|share| share.max(took));
            let record = self.attempt(backend, position, before, allowance, shares, on_event)?;
            still.extend(deserves_attempt(&record).then_some(position));
        }
        Ok(still)
    }

    fn most_needed_first(&self, positions: &[usize]) -> Result<Vec<usize>, FileError> {
        let mut by_need = Vec::with_capacity(positions.len());
        for &position in positions {
            let of_configuration = self.folder.joined(&self.visits[position].configuration.id())?;
            let visits = of_configuration.iter().flat_map(|record| &record.visits);
            let quiet = |outcome: &Outcome| is_sound(outcome) && !outcome.is_disturbed();
            by_need.push((visits.filter(|visit| quiet(&visit.outcome)).count(), position));
        }
        by_need.sort();
        Ok(by_need.into_iter().map(|(_, position)| position).collect())
    }

    /// Verifies outputs of the first configuration of each experiment that fits in memory and at which
    /// the device was not lost before. Returns their number.
    fn verify_some(&self, backend: &mut dyn Backend) -> Result<usize, RunError> {
        let header = self.folder.header();
        let mut verified = 0;
        for &experiment in Experiment::all() {
            let Some(position) = self.first_to_verify(backend, experiment)? else { continue };
            let configuration = &self.visits[position].configuration;
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
                    self.keep(position, record, SampleTimes::default())?;
                    return Err(lost);
                }
            }
        }
        Ok(verified)
    }

    /// The first visit to the experiment, in the first pass, that can be verified.
    fn first_to_verify(
        &self,
        backend: &dyn Backend,
        experiment: Experiment,
    ) -> Result<Option<usize>, RunError> {
        let settings = &self.folder.header().plan.settings;
        for (position, PlannedVisit { pass, configuration }) in self.visits.iter().enumerate() {
            if *pass > 1 || configuration.experiment != experiment {
                continue;
            }
            let lost = self.folder.part(&configuration.id(), 1)?.is_some_and(|part| {
                matches!(part.record.outcome, Outcome::Failed { device_lost: true, .. })
            });
            if !lost && does_not_fit(backend, configuration, settings).is_none() {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// The end of the run, if the device is lost.
    fn loss(
        &self,
        backend: &mut dyn Backend,
        configuration: &Configuration,
        error: &dyn std::error::Error,
    ) -> Option<RunError> {
        let lost = backend.check().err()?;
        let (id, reason) = (configuration.id(), error.to_string());
        Some(RunError::DeviceLost { id, reason, hangs: lost.is_hang() })
    }

    fn keep(
        &self,
        position: usize,
        record: ConfigurationRecord,
        times: SampleTimes,
    ) -> Result<Part, RunError> {
        let run_id = self.folder.header().run_id.clone();
        let pass = self.visits[position].pass;
        let part = Part { run_id, pass, position, record, times };
        self.folder.keep(&part)?;
        Ok(part)
    }

    /// Makes one visit and writes its outcome. If it was measured `before`, a failed attempt does not
    /// replace that measurement.
    fn attempt(
        &self,
        backend: &mut dyn Backend,
        position: usize,
        before: Option<Part>,
        allowance: Option<Duration>,
        shares: &mut Shares,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<ConfigurationRecord, RunError> {
        let visit = &self.visits[position];
        let configuration = &visit.configuration;
        let (started, clock) = (now(), Instant::now());
        let header = self.folder.header();
        let (settings, seed) = (&header.plan.settings, header.seed);
        on_event(RunEvent::Started(visit));
        let clocks = self.clocks.get();
        let measured = try_measure(backend, visit, settings, seed, clocks, allowance);
        let mut lost = None;
        let (mut outcome, times) = measured.unwrap_or_else(|error| {
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
        if outcome.measured().is_some() {
            self.clocks.set(Clocks::Ramped);
        }
        outcome.note_core_speed(header.usual_multiply_add_ns);
        let wall_s = clock.elapsed().as_secs_f64();
        let attempts = before.as_ref().map_or(0, |before| before.record.attempts) + 1;
        let (outcome, times) = match before {
            Some(before) if is_better(&before.record.outcome, &outcome) => {
                (before.record.outcome, before.times)
            }
            _ => (outcome, times),
        };
        let record = ConfigurationRecord::new(configuration, started, wall_s, attempts, outcome);
        let part = self.keep(position, record, times)?;
        shares.account(configuration.shape, part.record.took());
        let joined = match part.pass == settings.passes.get() || attempts > 1 {
            true => self.folder.joined(&part.record.id)?,
            false => None,
        };
        on_event(RunEvent::Done {
            pass: part.pass,
            record: &part.record,
            of_all_passes: joined.as_ref(),
            time_left: shares.time_left(),
        });
        lost.map_or(Ok(part.record), Err)
    }
}

/// What a multiply–add of the probe takes at most in the fastest quarter of the visits. Not the least:
/// processors that have just been idle are faster for a moment than they can be for long.
fn usual_multiply_add_ns(records: &[ConfigurationRecord]) -> Option<f64> {
    let probes = records.iter().filter_map(|record| record.outcome.measured()?.probe);
    let times: Vec<f64> = probes.filter_map(|probe| probe.multiply_add_ns).collect();
    (!times.is_empty()).then(|| quantile(&sorted(&times), 0.25))
}

/// Whether another attempt is allowed, and may be better.
fn deserves_attempt(record: &ConfigurationRecord) -> bool {
    let ConfigurationRecord { outcome, attempts, .. } = record;
    let lost = matches!(outcome, Outcome::Failed { device_lost: true, .. });
    *attempts < MOST_ATTEMPTS && (lost || outcome.is_throttled() || outcome.is_disturbed())
}

/// Whether it was measured at the device's full speed, disturbed or not.
fn is_sound(outcome: &Outcome) -> bool {
    outcome.measured().is_some() && !outcome.is_throttled()
}

/// Whether an attempt is worth more than a later one.
fn is_better(before: &Outcome, after: &Outcome) -> bool {
    let badness = |measured: &Measured| measured.disturbance.as_ref().map(Disturbance::badness);
    match (before.measured(), after.measured()) {
        (Some(before), Some(after)) => badness(before) < badness(after),
        (before, after) => before.is_some() && after.is_none(),
    }
}

fn try_measure(
    backend: &mut dyn Backend,
    PlannedVisit { pass, configuration }: &PlannedVisit,
    settings: &Settings,
    seed: u64,
    clocks: Clocks,
    allowance: Option<Duration>,
) -> Result<(Outcome, SampleTimes), MeasureError> {
    if let Some(reason) = does_not_fit(backend, configuration, settings) {
        return Ok((Outcome::Skipped { reason }, SampleTimes::default()));
    }
    let begun = Instant::now();
    let probe = backend.probe()?;
    let took_ns = Some(begun.elapsed().as_nanos() as f64);
    let mut conv = backend.prepare(configuration.shape, seed)?;
    if settings.verify {
        conv.verify()?;
    }
    let allowance = allowance.map(|all| all.saturating_sub(begun.elapsed()));
    let method = Method::from_settings(settings, *pass, clocks, allowance);
    let Measurement {
        warm_up,
        stopped,
        relative_interval,
        times,
        submission_ns,
        device,
        disturbance,
    } = measure(conv.as_mut(), &method)?;
    let Some(summary) = Summary::from_latencies(times.by(settings.protocol.clock)) else {
        let reason = "no launches".to_owned();
        return Ok((Outcome::Failed { reason, device_lost: false }, times));
    };
    let is_watched = conv.threads() != Threads::default() || probe.multiply_add_ns.is_some();
    let outcome = Outcome::Measured(Measured {
        algorithm: conv.algorithm().to_owned(),
        plan: conv.plan().cloned(),
        workspace_bytes: conv.workspace_bytes(),
        verified: settings.verify,
        warm_up,
        stopped,
        relative_interval,
        submission_ns,
        device,
        disturbance: is_watched.then_some(disturbance),
        probe: (probe != Probe::default()).then_some(Probe { took_ns, ..probe }),
        summary,
    });
    Ok((outcome, times))
}

/// The visits of a pass, in a random order of its own, so that a drift of the machine does not look
/// like an effect of the independent variable. Leaving some out does not reorder the others.
pub fn measuring_order(selected: &[Configuration], seed: u64, pass: u32) -> Vec<PlannedVisit> {
    let stream = random_bits(seed, pass.into());
    let mut visits: Vec<PlannedVisit> = selected
        .iter()
        .map(|configuration| PlannedVisit { pass, configuration: configuration.clone() })
        .collect();
    visits.sort_by_cached_key(|visit| place_by_chance(stream, &visit.configuration.id()));
    visits
}

/// A random number of a text's own in each stream.
fn place_by_chance(stream: u64, text: &str) -> u64 {
    text.bytes().fold(stream, |number, byte| random_bits(number, byte.into()))
}

#[cfg(test)]
mod tests;
