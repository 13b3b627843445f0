//! The sweep that α-FLOPs is fitted on: a large grid, measured in an order that may be stopped
//! anywhere, and kept so that nothing is measured twice.
//!
//! As in the study's code, a configuration gets a few launches to warm up, then a fixed number: with
//! `throughput` back to back and one time for all of them, with `latency` one by one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::cudnn::GpuError;
use crate::backend::{Backend, BackendError, LaunchTime, PreparedConv};
use crate::environment::Platform;
use crate::measure::SampleTimes;
use crate::protocol::{Cache, Clock, Protocol};
use crate::record::{Comparable, Session};
use crate::run::too_large;
use crate::settings::BackendSettings;
use crate::shape::ConvShape;
use crate::statistics::Summary;
use crate::units::Bytes;

pub mod grid;
pub mod merge;
pub mod order;
mod pace;
mod rows;
mod store;

use grid::Grid;
use order::{Order, Shard};
use pace::Pace;
pub use rows::{Skip, Spread, Visit, Visited};
use store::Store;
pub use store::{HEADER, SCHEMA_VERSION};

/// Launches before the counted ones, as in the published code.
pub const WARM_UP_LAUNCHES: u32 = 10;

/// Configurations in a part at most: a bound on what a process holds.
const PART_ROWS: usize = 8192;

/// Tensors of fewer bytes are allocated without asking what is free: asking takes as long as some
/// launches.
const SURELY_FREE: Bytes = Bytes(64 << 20);

/// What a sweep sets out to do, and where. Only an equal one is continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// Which convolutions.
    pub grid: Grid,
    /// Seed of the order and of the tensors.
    pub seed: u64,
    /// Which part of the order.
    pub shard: Shard,
    /// What a time means.
    pub protocol: Protocol,
    /// Launches behind each time.
    pub launches: NonZeroU32,
    /// Launches before them.
    pub warm_up_launches: u32,
    /// What all of it may take, in seconds in files; `None`: as long as the grid needs.
    #[serde(rename = "budget_s", with = "seconds")]
    pub budget: Option<Duration>,
    /// A configuration that needs more is skipped.
    pub memory_limit: Option<Bytes>,
    /// Where the convolutions run, and how.
    pub backend: BackendSettings,
    /// On what machine.
    pub platform: Platform,
}

/// A duration as a number.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(from)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
    }
}

/// `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepHeader {
    /// [`SCHEMA_VERSION`] of the code that wrote it.
    pub schema_version: u32,
    /// `sweep-` with the start in UTC and four random digits.
    pub sweep_id: String,
    /// Whether it goes on.
    pub status: Status,
    /// When the first process began.
    pub started: Timestamp,
    /// When the last configuration was done, or the budget used up.
    pub ended: Option<Timestamp>,
    /// What was asked for, where.
    pub plan: SweepPlan,
    /// What became of the configurations; there once it has ended.
    pub counts: Option<Counts>,
    /// The processes that worked on it.
    pub sessions: Vec<Session>,
    /// Of a sweep that was merged: the headers of its shards.
    pub shards: Vec<SweepHeader>,
}

/// Whether a sweep goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The same command continues it.
    Unfinished,
    /// Its budget is used up, some configurations are unvisited.
    BudgetUsed,
    /// Every configuration was visited.
    Finished,
}

/// What became of a sweep's configurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// They have a time.
    pub measured: u64,
    /// They were not measured, by reason: `memory`, `budget`.
    pub skipped: BTreeMap<String, u64>,
    /// They were tried.
    pub failed: u64,
    /// They have no outcome: not yet, or the budget was used up before.
    pub unvisited: u64,
    /// Time that measuring and skipping took, in seconds.
    pub used_s: f64,
}

/// Why a sweep cannot go on, or be read. What was kept before is safe.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A file cannot be written; the error names it.
    #[error(transparent)]
    Write(std::io::Error),
    /// A file is not what this code writes.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No sweep there.
    #[error("{path}: no sweep here, expected a folder with a sweep.json")]
    NoSweep {
        /// The folder.
        path: PathBuf,
    },
    /// Another process works on it.
    #[error("{path} is in use by another process; wait for it, or choose another --out")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The sweep in the folder is another one.
    #[error(
        "{path} holds another sweep: {differences}; repeat its command, or choose another --out"
    )]
    OtherPlan {
        /// The folder.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// The device can no longer be used by this process.
    #[error(
        "{shape}: {reason}\nit is recorded as failed, what was measured is safe: repeat the command \
         to continue"
    )]
    DeviceLost {
        /// What was launched.
        shape: ConvShape,
        /// What happened.
        reason: String,
        /// Whether it has work that never ends, for which the system's libraries may wait when the
        /// process ends.
        hangs: bool,
    },
    /// The backend computes something else than a convolution.
    #[error("{0}; nothing was measured: times of wrong results mean nothing, please report it")]
    Wrong(BackendError),
    /// A time means nothing.
    #[error(
        "{shape}: a launch took {got_ns} ns by the {clock}'s clock, expected a finite time above 0"
    )]
    Time {
        /// What was launched.
        shape: ConvShape,
        /// Which clock.
        clock: Clock,
        /// What it said.
        got_ns: f64,
    },
    /// Sweeps that do not belong together.
    #[error("cannot merge: {0}")]
    Merge(String),
}

impl SweepError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    fn content(path: &Path, reason: String) -> Self {
        Self::Content { path: path.to_owned(), reason }
    }
}

impl SweepPlan {
    /// Configurations of its shard.
    pub fn configurations(&self) -> u32 {
        self.shard.len(self.grid.configurations())
    }

    /// What others' latencies must have equal to be compared with this sweep's.
    pub fn comparable(&self) -> Comparable {
        Comparable {
            backend: self.platform.backend.clone(),
            device: self.backend.device_line(&self.platform.device),
            method: self.backend.method_line(self.protocol),
        }
    }

    /// What a time means and how many launches are behind it, in one line.
    pub fn protocol_line(&self) -> String {
        let Self { launches, warm_up_launches, .. } = self;
        let method = self.backend.method_line(self.protocol);
        format!("{method}, {launches} launches after {warm_up_launches}")
    }

    /// What keeps `other` from continuing this plan; empty where nothing does.
    fn differences(&self, other: &Self) -> Vec<String> {
        let json = |plan| match serde_json::to_value(plan) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (mut this, mut that) = (json(self), json(other));
        for fields in [&mut this, &mut that] {
            // its own fields, so that a message does not repeat all the machine
            if let Some(serde_json::Value::Object(platform)) = fields.remove("platform") {
                fields.extend(platform.into_iter().map(|(name, value)| match name.as_str() {
                    "backend" => ("computes".to_owned(), value),
                    _ => (name, value),
                }));
            }
        }
        let there =
            |value: Option<&serde_json::Value>| value.map_or("null".into(), |v| v.to_string());
        let differs = |name: &&String| this.get(*name) != that.get(*name);
        let line = |name: &String| {
            format!("{name} is {} there, {} here", there(this.get(name)), there(that.get(name)))
        };
        this.keys().filter(differs).map(line).collect()
    }
}

/// A sweep, ready to be measured or taken up.
pub struct Sweep {
    store: Store,
    order: Order,
    /// Ordinals of the shard that have an outcome, sorted.
    covered: Vec<Range<u32>>,
    pace: Pace,
    counts: Counts,
    /// How often what was collected is written.
    part_interval: Duration,
    /// Files that could not be read: what was in them is measured again.
    pub damaged: Vec<String>,
}

/// How far a sweep is, for whoever shows progress.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Configurations of the shard.
    pub configurations: u32,
    /// What became of those visited.
    pub counts: &'a Counts,
    /// What the rest is expected to take, or what is left of the budget where that is less.
    pub time_left: Option<Duration>,
}

impl Counts {
    /// Configurations with an outcome.
    pub fn visited(&self) -> u64 {
        self.measured + self.skipped.values().sum::<u64>() + self.failed
    }

    fn add(&mut self, visit: &Visit) {
        match &visit.outcome {
            Visited::Measured { .. } => self.measured += 1,
            // looked up first: a name is copied once a sweep, not once a configuration
            Visited::Skipped { reason, .. } => match self.skipped.get_mut(reason.name()) {
                Some(count) => *count += 1,
                None => drop(self.skipped.insert(reason.name().to_owned(), 1)),
            },
            Visited::Failed { .. } => self.failed += 1,
        }
        self.used_s += visit.wall_s;
    }
}

impl Sweep {
    /// Takes up the sweep in `folder`, or begins one there. What was collected is written every
    /// `part_interval`.
    ///
    /// # Errors
    /// [`SweepError`] where the folder holds another sweep, is in use, or cannot be written.
    pub fn open(
        folder: &Path,
        plan: SweepPlan,
        session: Session,
        part_interval: Duration,
    ) -> Result<Self, SweepError> {
        let order = Order::new(plan.grid, plan.seed);
        let mut pace = Pace::new(plan.backend.kind(), plan.budget);
        let store = Store::open(folder, plan, session)?;
        let mut counts = Counts::default();
        let (covered, damaged) = store.read_parts(|visit| {
            counts.add(visit);
            let took = Duration::try_from_secs_f64(visit.wall_s).unwrap_or_default();
            pace.spend(took);
            if let Visited::Measured { .. } = visit.outcome {
                pace.learn(visit.shape, took);
            }
        })?;
        counts.unvisited = u64::from(store.header.plan.configurations()) - counts.visited();
        Ok(Self { store, order, covered, pace, counts, part_interval, damaged })
    }

    /// What `sweep.json` says.
    pub fn header(&self) -> &SweepHeader {
        &self.store.header
    }

    /// What became of the configurations so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Visits what has no outcome yet, until the grid or the budget ends.
    ///
    /// # Errors
    /// [`SweepError`] where an outcome cannot be kept or the device is lost.
    pub fn measure(
        &mut self,
        backend: &mut dyn Backend,
        on_progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Status, SweepError> {
        backend.reuse_buffers(true);
        if self.store.header.status != Status::Unfinished && self.damaged.is_empty() {
            return Ok(self.store.header.status);
        }
        self.verify(backend)?;
        if self.counts.measured == 0 && self.pace.most().is_some() {
            self.feel_the_way(backend);
        }
        let mut status = Status::Finished;
        for gap in self.gaps() {
            if !self.visit_all(gap, backend, on_progress)? {
                status = Status::BudgetUsed;
                break;
            }
        }
        self.store.header.counts = Some(self.counts.clone());
        store::end(&mut self.store, status)?;
        Ok(status)
    }

    /// Ordinals without an outcome.
    fn gaps(&self) -> Vec<Range<u32>> {
        let mut gaps = Vec::new();
        let mut next = 0;
        for range in &self.covered {
            gaps.push(next..range.start);
            next = range.end;
        }
        gaps.push(next..self.store.header.plan.configurations());
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }

    /// Whether the budget lasted to the end of `gap`.
    fn visit_all(
        &mut self,
        gap: Range<u32>,
        backend: &mut dyn Backend,
        on_progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool, SweepError> {
        let (mut part, mut first, mut begun) = (Vec::new(), gap.start, Instant::now());
        for ordinal in gap {
            if self.pace.is_used_up() {
                self.keep(first, &mut part)?;
                return Ok(false);
            }
            let (visit, lost) = self.visit(ordinal, backend);
            self.counts.add(&visit);
            self.counts.unvisited -= 1;
            part.push(visit);
            if lost.is_some() || part.len() >= PART_ROWS || begun.elapsed() >= self.part_interval {
                let writing = Instant::now();
                self.keep(first, &mut part)?;
                self.pace.spend(writing.elapsed());
                (first, begun) = (ordinal + 1, Instant::now());
            }
            if let Some(lost) = lost {
                return Err(lost);
            }
            on_progress(self.progress());
        }
        self.keep(first, &mut part)?;
        Ok(true)
    }

    fn keep(&self, first: u32, part: &mut Vec<Visit>) -> Result<(), SweepError> {
        if !part.is_empty() {
            self.store.keep(first, part)?;
            part.clear();
        }
        Ok(())
    }

    fn progress(&self) -> Progress<'_> {
        let configurations = self.store.header.plan.configurations();
        let visited = self.counts.visited();
        // the order is such that what is to come is like what was
        let each = self.counts.used_s / visited.max(1) as f64;
        let rest = each * u64::from(configurations).saturating_sub(visited) as f64;
        let rest = Duration::try_from_secs_f64(rest).ok();
        let time_left = match (rest, self.pace.left()) {
            (Some(rest), Some(left)) => Some(rest.min(left)),
            (rest, left) => rest.or(left),
        };
        Progress { configurations, counts: &self.counts, time_left }
    }

    /// Compares outputs of some small convolutions with direct sums. Whatever else is wrong with them
    /// will be with configurations, and recorded there.
    fn verify(&self, backend: &mut dyn Backend) -> Result<(), SweepError> {
        for [side, channels, kernel] in [[1, 100, 1], [8, 50, 4], [32, 20, 3]] {
            let Ok(shape) = ConvShape::new(side, side, channels, channels, kernel) else {
                continue;
            };
            let seed = self.store.header.plan.seed;
            let verified = backend.prepare(shape, seed).and_then(|mut conv| conv.verify());
            if let Err(error @ BackendError::Verification { .. }) = verified {
                return Err(SweepError::Wrong(error));
            }
        }
        Ok(())
    }

    /// Launches some shapes of growing size, once each, so that the first configurations are not
    /// judged by a guess.
    fn feel_the_way(&mut self, backend: &mut dyn Backend) {
        let begun = Instant::now();
        let (plan, most) = (&self.store.header.plan, self.pace.most().unwrap_or_default());
        let launches = f64::from(plan.launches.get() + plan.warm_up_launches);
        for channels in [10, 20, 40, 80, 150, 300, 600, 1050] {
            let Ok(shape) = ConvShape::new(32, 32, channels, channels, 3) else { continue };
            let clock = Instant::now();
            // what fails here is no configuration of the sweep
            let Ok(mut conv) = backend.prepare(shape, plan.seed) else { break };
            let prepared = clock.elapsed();
            let launched = conv.launch().and_then(|()| conv.time(NonZeroU32::MIN));
            let Ok(LaunchTime { host_ns, .. }) = launched else { break };
            let all = Duration::try_from_secs_f64(launches * host_ns / 1e9).unwrap_or_default();
            self.pace.learn(shape, prepared + all);
            if prepared + all > most {
                break;
            }
        }
        let took = begun.elapsed();
        self.pace.spend(took);
    }

    /// Measures one configuration, or says why not; with the end of the sweep, if the device did not
    /// survive it.
    fn visit(&mut self, ordinal: u32, backend: &mut dyn Backend) -> (Visit, Option<SweepError>) {
        let clock = Instant::now();
        let plan = &self.store.header.plan;
        let position = plan.shard.position(ordinal);
        let shape = plan.grid.shape(self.order.index(position));
        let mut lost = None;
        let outcome = match self.try_measure(shape, backend) {
            Ok(outcome) => outcome,
            Err(SampleError::Backend(error)) if error.is_out_of_memory() => {
                Visited::Skipped { reason: Skip::Memory, detail: error.to_string() }
            }
            Err(error) => {
                let detail = error.to_string();
                lost = loss(backend, shape, &detail);
                Visited::Failed { detail }
            }
        };
        let took = clock.elapsed();
        self.pace.spend(took);
        if let Visited::Measured { .. } = outcome {
            self.pace.learn(shape, took);
        }
        (Visit { position, shape, outcome, wall_s: took.as_secs_f64() }, lost)
    }

    fn try_measure(
        &mut self,
        shape: ConvShape,
        backend: &mut dyn Backend,
    ) -> Result<Visited, SampleError> {
        let plan = &self.store.header.plan;
        if let Some(expected_s) = self.pace.hopeless_s(shape) {
            let detail = self.too_long(expected_s);
            return Ok(Visited::Skipped { reason: Skip::Budget, detail });
        }
        let required = backend.required_memory(shape);
        let available = if required > SURELY_FREE { backend.available_memory() } else { None };
        if let Some(detail) = too_large(required, plan.memory_limit, available) {
            return Ok(Visited::Skipped { reason: Skip::Memory, detail });
        }
        let preparing = Instant::now();
        let mut conv = backend.prepare(shape, plan.seed)?;
        if plan.warm_up_launches > 0 {
            // the first launch says whether there can be time for all of them
            let first = conv.time(NonZeroU32::MIN)?;
            let launches = f64::from(plan.launches.get() + plan.warm_up_launches);
            let rest = Duration::try_from_secs_f64(first.host_ns / 1e9 * (launches - 1.0));
            let expected = rest.unwrap_or(Duration::MAX).saturating_add(preparing.elapsed());
            if self.pace.most().is_some_and(|most| expected > most) {
                let detail = self.too_long(expected.as_secs_f64());
                self.pace.learn(shape, expected);
                return Ok(Visited::Skipped { reason: Skip::Budget, detail });
            }
        }
        for _ in 1..plan.warm_up_launches {
            conv.launch()?;
        }
        times_of(conv.as_mut(), plan, shape)
    }

    /// Why so many seconds are too many for one configuration.
    fn too_long(&self, expected_s: f64) -> String {
        let most_s = self.pace.most().unwrap_or_default().as_secs_f64();
        format!("expected to take {expected_s:.3} s, the budget allows {most_s:.3} s")
    }
}

/// Why a configuration has no time.
#[derive(Debug, Error)]
enum SampleError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Time(#[from] SweepError),
}

/// The end of the sweep, if the device did not survive it.
fn loss(backend: &mut dyn Backend, shape: ConvShape, reason: &str) -> Option<SweepError> {
    let error = backend.check().err()?;
    let hangs = matches!(error, BackendError::Gpu { source: GpuError::TimedOut { .. }, .. });
    Some(SweepError::DeviceLost { shape, reason: reason.to_owned(), hangs })
}

fn times_of(
    conv: &mut dyn PreparedConv,
    plan: &SweepPlan,
    shape: ConvShape,
) -> Result<Visited, SampleError> {
    let Protocol { clock, launches: batch, cache } = plan.protocol;
    let mut times = SampleTimes::default();
    for _ in 0..plan.launches.get() / batch {
        if cache == Cache::Cold {
            conv.flush_cache()?;
        }
        let time = conv.time(batch)?;
        for (clock, got_ns) in [(Clock::Host, Some(time.host_ns)), (Clock::Device, time.device_ns)]
        {
            if let Some(got_ns) = got_ns.filter(|ns| !(ns.is_finite() && *ns > 0.0)) {
                return Err(SweepError::Time { shape, clock, got_ns }.into());
            }
        }
        times.push(time);
    }
    let Some(by_clock) = Summary::of(times.by(clock)) else {
        return Err(BackendError::Unsupported { what: "time launches by the device" }.into());
    };
    let spread = plan.protocol.is_latency().then_some(Spread {
        mean_ns: by_clock.mean_ns,
        q1_ns: by_clock.q1_ns,
        q3_ns: by_clock.q3_ns,
        outliers_mild: by_clock.outliers_mild,
        outliers_severe: by_clock.outliers_severe,
    });
    let median = |clock| Summary::of(times.by(clock)).map(|summary| summary.median_ns);
    Ok(Visited::Measured {
        algorithm: conv.algorithm().to_owned(),
        launches: plan.launches.get(),
        host_ns: median(Clock::Host).unwrap_or(by_clock.median_ns),
        device_ns: median(Clock::Device),
        spread,
    })
}

/// A sweep read back.
pub struct SweepFolder {
    /// What `sweep.json` says.
    pub header: SweepHeader,
    /// Where it is.
    pub path: PathBuf,
}

impl SweepFolder {
    /// Reads the header of the sweep in `path`.
    ///
    /// # Errors
    /// [`SweepError`] where there is none, or one of another schema.
    pub fn open(path: &Path) -> Result<Self, SweepError> {
        Ok(Self { header: store::read_header(path)?, path: path.to_owned() })
    }

    /// Hands every configuration visited to `take`, a part at a time, in the order measured.
    ///
    /// # Errors
    /// [`SweepError`] where a part cannot be read, or holds what it should not.
    pub fn read(&self, mut take: impl FnMut(Visit)) -> Result<(), SweepError> {
        let plan = &self.header.plan;
        let order = Order::new(plan.grid, plan.seed);
        let mut end = 0;
        for (range, path) in store::parts(&self.path)? {
            if range.start < end {
                let reason = "covers configurations that another part has, too".to_owned();
                return Err(SweepError::content(&path, reason));
            }
            end = range.end;
            for visit in store::read_part(&path, &self.header, &range)? {
                let expected = plan.grid.shape(order.index(visit.position));
                if visit.shape != expected {
                    let Visit { position, shape, .. } = visit;
                    let reason = format!("position {position} is {shape}, expected {expected}");
                    return Err(SweepError::content(&path, reason));
                }
                take(visit);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
