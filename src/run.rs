//! A run: every planned configuration measured or accounted for, in a random order, resumable.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

use crate::backend::{Backend, BackendError};
use crate::environment::{Platform, Timer, available_memory};
use crate::experiment::{Configuration, Experiment};
use crate::measure::{MeasureError, Measurement, measure};
use crate::protocol::Protocol;
use crate::record::{
    ConfigurationRecord, Outcome, Part, Plan, RecordError, RunFolder, now, tidy_up,
};
use crate::settings::Settings;
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
    /// A configuration is begun.
    Started(&'a Configuration),
    /// A configuration has an outcome; `of` counts those that had none when the process began.
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
}

impl Run {
    /// Takes up the latest unfinished run with the same plan, or begins a new one.
    ///
    /// # Errors
    /// [`RunError`] where there is nothing to measure or the folder cannot be written.
    pub fn open(
        settings: &Settings,
        platform: Platform,
        selected: Vec<Configuration>,
    ) -> Result<Self, RunError> {
        if selected.is_empty() {
            return Err(RunError::Empty);
        }
        let plan = Plan {
            settings: Settings { runs: Path::new("").to_owned(), ..settings.clone() },
            protocol: Protocol::HostLatencyWarm,
            platform,
            program: program(),
            ids: selected.iter().map(Configuration::id).collect(),
        };
        tidy_up(&settings.runs)?;
        let folder = match RunFolder::resume(&settings.runs, &plan)? {
            Some(folder) => folder,
            None => {
                let seed = settings.seed.unwrap_or_else(|| now().as_millisecond() as u64);
                RunFolder::create(&settings.runs, plan, seed)?
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

    /// Measures what has no outcome yet. A configuration that fails is recorded and the rest goes
    /// on.
    ///
    /// # Errors
    /// [`RunError`] where an outcome cannot be kept.
    pub fn measure(
        &self,
        backend: &mut dyn Backend,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), RunError> {
        let settings = &self.folder.header().plan.settings;
        let mut pace = Pace::new(settings.time_budget, &self.order);
        for (position, configuration) in self.order.iter().enumerate() {
            if let Some(part) = self.folder.part(&configuration.id())? {
                pace.account(configuration, &part.record);
                continue;
            }
            on_event(Event::Started(configuration));
            let part =
                self.measure_one(backend, position, configuration, pace.allowance(configuration));
            self.folder.keep(&part)?;
            pace.account(configuration, &part.record);
            on_event(Event::Done { record: &part.record, time_left: pace.time_left() });
        }
        Ok(())
    }

    fn measure_one(
        &self,
        backend: &mut dyn Backend,
        position: usize,
        configuration: &Configuration,
        allowance: Option<Duration>,
    ) -> Part {
        let (started, clock) = (now(), Instant::now());
        let header = self.folder.header();
        let measured =
            try_measure(backend, configuration, &header.plan.settings, header.seed, allowance);
        let (outcome, latencies_ns) = match measured {
            Ok(measured) => measured,
            Err(MeasureError::Backend(error @ BackendError::OutOfMemory { .. })) => {
                (Outcome::Skipped { reason: error.to_string() }, Vec::new())
            }
            Err(error) => (Outcome::Failed { reason: error.to_string() }, Vec::new()),
        };
        let wall_s = clock.elapsed().as_secs_f64();
        let record = ConfigurationRecord::new(configuration, started, wall_s, outcome);
        Part { run_id: header.run_id.clone(), position, record, latencies_ns }
    }
}

fn try_measure(
    backend: &mut dyn Backend,
    configuration: &Configuration,
    settings: &Settings,
    seed: u64,
    allowance: Option<Duration>,
) -> Result<(Outcome, Vec<f64>), MeasureError> {
    let required = backend.required_memory(configuration.shape);
    if let Some(reason) = too_large(required, settings.memory_limit) {
        return Ok((Outcome::Skipped { reason }, Vec::new()));
    }
    let begun = Instant::now();
    let mut conv = backend.prepare(configuration.shape, seed)?;
    if settings.verify {
        conv.verify()?;
    }
    let Measurement { warm_up, stopped, relative_interval, latencies_ns } = measure(
        conv.as_mut(),
        settings.profile.warm_up_rule(),
        settings.profile.stopping_rule(),
        allowance.map(|all| all.saturating_sub(begun.elapsed())),
        Timer::of_this_machine().step_ns,
    )?;
    let Some(summary) = Summary::of(&latencies_ns) else {
        return Ok((Outcome::Failed { reason: "no launches".to_owned() }, latencies_ns));
    };
    let outcome = Outcome::Measured {
        algorithm: conv.algorithm().to_owned(),
        workspace_bytes: conv.workspace_bytes(),
        verified: settings.verify,
        warm_up,
        stopped,
        relative_interval,
        summary,
    };
    Ok((outcome, latencies_ns))
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

/// Why a configuration that needs so much memory is not tried.
pub fn too_large(required: Bytes, limit: Bytes) -> Option<String> {
    if required > limit {
        return Some(format!("needs {required}, memory_limit_gib allows {limit}"));
    }
    let available = available_memory().filter(|&available| required > available)?;
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
    /// Cost of the configurations to come, in units of [`launch_cost`].
    cost_left: f64,
    cost_done: f64,
    time_done: Duration,
}

impl Pace {
    fn new(budget: Option<Duration>, order: &[Configuration]) -> Self {
        let cost_left = order.iter().map(launch_cost).sum();
        Self { left: budget, cost_left, cost_done: 0.0, time_done: Duration::ZERO }
    }

    fn allowance(&self, configuration: &Configuration) -> Option<Duration> {
        let share = (launch_cost(configuration) / self.cost_left).clamp(0.0, 1.0);
        self.left.map(|left| left.mul_f64(share))
    }

    fn account(&mut self, configuration: &Configuration, record: &ConfigurationRecord) {
        let took = Duration::try_from_secs_f64(record.wall_s).unwrap_or_default();
        self.left = self.left.map(|left| left.saturating_sub(took));
        let cost = launch_cost(configuration);
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

/// What a launch is expected to cost, in multiply–adds: those it makes, what moving its bytes
/// would have computed meanwhile, and a constant that gives the smallest shapes enough launches to
/// say something about noise.
fn launch_cost(configuration: &Configuration) -> f64 {
    /// Multiply–adds in the time a byte moves: about what machines of today balance at.
    const MACS_PER_BYTE: f64 = 10.0;
    const CONSTANT: f64 = 5e7;
    let Bytes(bytes) = configuration.shape.min_bytes_moved();
    configuration.shape.macs().0 as f64 + MACS_PER_BYTE * bytes as f64 + CONSTANT
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::experiment::Resolution;

    fn suite() -> Vec<Configuration> {
        Experiment::ALL.iter().flat_map(|e| e.configurations(Resolution::Original)).collect()
    }

    #[test]
    fn the_order_is_a_permutation_within_each_experiment_and_follows_the_seed() {
        let ids = |seed| -> Vec<String> {
            measuring_order(suite(), seed).iter().map(Configuration::id).collect()
        };
        let sorted: HashSet<_> = suite().iter().map(Configuration::id).collect();
        assert_eq!(ids(1).into_iter().collect::<HashSet<_>>(), sorted);
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        let letters: Vec<char> = ids(1).iter().filter_map(|id| id.chars().next()).collect();
        assert!(letters.is_sorted());
    }

    #[test]
    fn what_exceeds_the_limit_or_the_free_memory_is_not_tried() {
        assert_eq!(too_large(Bytes(1), Bytes(1)), None);
        let reason = too_large(Bytes(2048), Bytes(1024)).unwrap();
        assert_eq!(reason, "needs 2.000 KiB, memory_limit_gib allows 1.000 KiB");
        let reason = too_large(Bytes(u64::MAX / 2), Bytes(u64::MAX)).unwrap();
        assert!(reason.contains("of memory is free"), "{reason}");
    }

    #[test]
    fn leaving_an_experiment_out_does_not_reorder_the_others() {
        let without_b: Vec<_> =
            suite().into_iter().filter(|c| c.experiment != Experiment::B).collect();
        let expected: Vec<_> = measuring_order(suite(), 7)
            .into_iter()
            .filter(|c| c.experiment != Experiment::B)
            .collect();
        assert_eq!(measuring_order(without_b, 7), expected);
    }

    #[test]
    fn allowances_of_configurations_that_use_theirs_add_up_to_the_budget() {
        let order = measuring_order(suite(), 3);
        let budget = Duration::from_secs(100);
        let mut pace = Pace::new(Some(budget), &order);
        let mut total = Duration::ZERO;
        for configuration in &order {
            let allowance = pace.allowance(configuration).unwrap();
            total += allowance;
            let outcome = Outcome::Skipped { reason: String::new() };
            let record =
                ConfigurationRecord::new(configuration, now(), allowance.as_secs_f64(), outcome);
            pace.account(configuration, &record);
        }
        assert!((total.as_secs_f64() - 100.0).abs() < 0.01, "{total:?}");
    }
}
