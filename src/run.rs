//! A run of experiments A–G: configurations measured in a random order, resumed where a process was
//! killed, and measured again where that may improve them.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

use crate::backend::{Backend, BackendError};
use crate::budget::{CostModel, Shares};
use crate::experiment::{Configuration, Experiment};
use crate::file_error::FileError;
use crate::measure::{MeasureError, Measurement, Method, SampleTimes, does_not_fit, measure};
use crate::record::{
    ConfigurationRecord, Outcome, Part, RunFolder, RunPlan, Session, now, tidy_up,
};
use crate::settings::Settings;
use crate::statistics::Summary;

/// A run that this process measures.
#[allow(missing_docs, reason = "the names say it")]
pub struct Run {
    pub folder: RunFolder,
    pub order: Vec<Configuration>,
    /// Number of configurations that have an outcome from an earlier process.
    pub done_before: usize,
    /// What is wrong with damaged parts: their configurations are measured again.
    pub damaged: Vec<String>,
}

/// What happened, for whoever shows progress.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RunEvent<'a> {
    /// The outputs of so many configurations agree with direct sums.
    Verified(usize),
    Started(&'a Configuration),
    /// A configuration has an outcome, its first if [`ConfigurationRecord::attempts`] is 1.
    Done {
        record: &'a ConfigurationRecord,
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

/// Most attempts at a configuration: another may be better where the device was throttled or lost.
pub const MOST_ATTEMPTS: u32 = 3;

impl Run {
    /// Resumes the latest unfinished run under `runs` with the same plan, or begins a new one.
    ///
    /// # Errors
    /// [`RunError`] where there is nothing to measure or the folder cannot be written.
    pub fn open(
        runs: &Path,
        plan: RunPlan,
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
        let ids = order.iter().map(Configuration::id);
        let (done_before, damaged) = folder.check_parts(ids)?;
        Ok(Self { folder, order, done_before, damaged })
    }

    /// Measures the configurations that have no outcome yet, then again those that another attempt may
    /// improve. A configuration that fails is recorded as failed, and the run goes on.
    ///
    /// First, outputs of one configuration of each experiment are verified, unless the settings have
    /// all of them verified.
    ///
    /// # Errors
    /// [`RunError`] where outputs are wrong, an outcome cannot be written, or the device is lost.
    pub fn measure(
        &self,
        backend: &mut dyn Backend,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<(), RunError> {
        let settings = &self.folder.header().plan.settings;
        if !settings.verify && self.done_before < self.order.len() {
            on_event(RunEvent::Verified(self.verify_some(backend)?));
        }
        let model = CostModel::for_run(settings.backend.kind());
        let mut shares = Shares::new(settings.time_budget, model);
        shares.expect(self.order.iter().map(|configuration| configuration.shape));
        let mut again = Vec::new();
        for (position, configuration) in self.order.iter().enumerate() {
            let record = match self.folder.part(&configuration.id())? {
                Some(part) => {
                    shares.account(configuration.shape, part.record.took());
                    part.record
                }
                None => {
                    let allowance = shares.allowance(configuration.shape);
                    self.attempt(backend, position, None, allowance, &mut shares, on_event)?
                }
            };
            again.extend(deserves_attempt(&record).then_some(position));
        }
        while !again.is_empty() {
            again = self.attempt_again(backend, &again, &mut shares, on_event)?;
        }
        Ok(())
    }

    /// Measures configurations again, each for at least as long as before. Returns those that deserve
    /// yet another attempt.
    fn attempt_again(
        &self,
        backend: &mut dyn Backend,
        positions: &[usize],
        shares: &mut Shares,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<Vec<usize>, RunError> {
        shares.expect(positions.iter().map(|&position| self.order[position].shape));
        let mut still = Vec::new();
        for &position in positions {
            let configuration = &self.order[position];
            let before = self.folder.part(&configuration.id())?;
            let took = before.as_ref().map_or(Duration::ZERO, |before| before.record.took());
            let allowance = shares.allowance(configuration.shape).map(|share| share.max(took));
            let record = self.attempt(backend, position, before, allowance, shares, on_event)?;
            still.extend(deserves_attempt(&record).then_some(position));
        }
        Ok(still)
    }

    /// Verifies outputs of the first configuration of each experiment that fits in memory and at which
    /// the device was not lost before. Returns their number.
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
        let part = Part { run_id, position, record, times };
        self.folder.keep(&part)?;
        Ok(part)
    }

    /// Measures one configuration and writes its outcome. If it was measured `before`, a failed attempt
    /// does not replace that measurement.
    fn attempt(
        &self,
        backend: &mut dyn Backend,
        position: usize,
        before: Option<Part>,
        allowance: Option<Duration>,
        shares: &mut Shares,
        on_event: &mut dyn FnMut(RunEvent<'_>),
    ) -> Result<ConfigurationRecord, RunError> {
        let configuration = &self.order[position];
        let (started, clock) = (now(), Instant::now());
        let header = self.folder.header();
        let (settings, seed) = (&header.plan.settings, header.seed);
        on_event(RunEvent::Started(configuration));
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
        shares.account(configuration.shape, part.record.took());
        on_event(RunEvent::Done { record: &part.record, time_left: shares.time_left() });
        lost.map_or(Ok(part.record), Err)
    }
}

/// Whether another attempt is allowed, and may be better.
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
        measure(conv.as_mut(), &Method::from_settings(settings, allowance))?;
    let Some(summary) = Summary::from_latencies(times.by(settings.protocol.clock)) else {
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

/// Experiments in their order; configurations of one in a random order, so that a drift of the
/// machine does not look like an effect of the independent variable.
pub fn measuring_order(selected: Vec<Configuration>, seed: u64) -> Vec<Configuration> {
    let mut order = Vec::with_capacity(selected.len());
    for &experiment in Experiment::all() {
        let mut group: Vec<_> =
            selected.iter().filter(|c| c.experiment == experiment).cloned().collect();
        // a stream for each experiment: leaving one out does not reorder the others
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(experiment.index() as u64);
        group.shuffle(&mut random);
        order.extend(group);
    }
    order
}

#[cfg(test)]
mod tests;
