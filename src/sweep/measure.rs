//! Measuring a sweep: from one configuration to the next, until the grid or the budget ends.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use super::PART_ROWS;
use super::error::SweepError;
use super::header::{Counts, SweepHeader, SweepSession, SweepStatus};
use super::order::Order;
use super::plan::SweepPlan;
use super::point::{PointOutcome, SweepPoint};
use super::store::LastBegun;
use crate::backend::Backend;
use crate::budget::{CostModel, MeasuredRates, TimeBudget};
use crate::host;
use crate::record::Session;
use crate::store::Store;

/// A sweep that this process measures.
pub struct Sweep {
    pub(super) store: Store<SweepHeader>,
    last_begun: LastBegun,
    pub(super) order: Order,
    /// Ordinals in the shard that have an outcome, sorted.
    covered: Vec<Range<u32>>,
    pub(super) budget: TimeBudget,
    pub(super) rates: MeasuredRates,
    /// Seconds for launches of configurations that should take too long.
    pub(super) doubt_s: f64,
    counts: Counts,
    /// What became of the first configuration that was not measured.
    first_without: Option<String>,
    /// What was collected is written this often.
    part_interval: Duration,
    /// What is wrong with damaged files: what was in them is measured again.
    pub damaged: Vec<String>,
}

/// How far a sweep is, for whoever shows progress.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Progress<'a> {
    pub configurations: u32,
    pub counts: &'a Counts,
    /// The time that the rest should take, or what is left of the budget if that is less.
    pub time_left: Option<Duration>,
}

impl Sweep {
    /// Continues the sweep in `folder`, or begins one there. What was collected is written every
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
        let mut budget = TimeBudget::new(plan.budget);
        let mut rates = MeasuredRates::new(CostModel::for_sweep(plan.backend.kind()));
        let platform = plan.platform.clone();
        let mut store = Store::open(folder, plan)?;
        let last_begun = LastBegun::open(folder, store.header.sessions.is_empty())?;
        let (mut counts, mut first_without) = (Counts::default(), None);
        let (covered, damaged) = store.read_parts(&order, |point| {
            counts.add(point);
            first_without = first_without.take().or_else(|| without_time(point));
            let took = Duration::try_from_secs_f64(point.wall_s).unwrap_or_default();
            budget.spend(took);
            if let PointOutcome::Measured { .. } = point.outcome {
                rates.learn(point.shape, took);
            }
        })?;
        // a sweep that has ended, and of which all is there, has nothing to add
        let ended_with = store.header.counts.as_ref().map(Counts::visited);
        if ended_with != Some(counts.visited()) {
            let is_kept = |ordinal: &u32| covered.iter().any(|range| range.contains(ordinal));
            let died_at =
                last_begun.get(store.header.sessions.len()).filter(|ordinal| !is_kept(ordinal));
            if let Some(last) = store.header.sessions.last_mut() {
                last.died_at = died_at;
            }
            let host = host::name();
            store.begin_session(SweepSession { session, host, platform, died_at: None })?;
        }
        counts.unvisited = u64::from(store.header.plan.configurations()) - counts.visited();
        Ok(Self {
            store,
            last_begun,
            order,
            covered,
            budget,
            rates,
            doubt_s: 0.0,
            counts,
            first_without,
            part_interval,
            damaged,
        })
    }

    /// Where it is kept.
    pub fn folder(&self) -> &Path {
        &self.store.path
    }

    /// The header in `sweep.json`.
    pub fn header(&self) -> &SweepHeader {
        &self.store.header
    }

    /// What there is to say where nothing keeps other processes from working on it, too.
    pub fn without_lock(&self) -> Option<&'static str> {
        self.store.without_lock()
    }

    /// What became of configurations so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Measures the configurations that have no outcome yet, until the grid or the budget ends.
    pub fn measure(
        &mut self,
        backend: &mut dyn Backend,
        on_progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<SweepStatus, SweepError> {
        backend.reuse_buffers(true);
        if self.store.header.status != SweepStatus::Unfinished {
            return self.ended();
        }
        self.verify(backend)?;
        if self.counts.measured == 0 && self.most().is_some() {
            self.calibrate(backend);
        }
        let mut status = SweepStatus::Finished;
        for gap in self.gaps() {
            if !self.measure_gap(gap, backend, on_progress)? {
                status = SweepStatus::BudgetUsed;
                break;
            }
        }
        if status == SweepStatus::Finished && self.counts.measured == 0 {
            status = SweepStatus::NothingMeasured;
        }
        self.store.header.counts = Some(self.counts.clone());
        self.store.end(status)?;
        self.ended()
    }

    fn ended(&self) -> Result<SweepStatus, SweepError> {
        match self.store.header.status {
            SweepStatus::NothingMeasured => Err(SweepError::NothingMeasured {
                path: self.store.path.clone(),
                configurations: self.counts.visited(),
                first: self.first_without.clone().unwrap_or_default(),
            }),
            status => Ok(status),
        }
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
    fn measure_gap(
        &mut self,
        gap: Range<u32>,
        backend: &mut dyn Backend,
        on_progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool, SweepError> {
        let (mut part, mut first, mut begun) = (Vec::new(), gap.start, Instant::now());
        for ordinal in gap {
            if self.budget.is_used_up() {
                self.keep(first, &mut part)?;
                return Ok(false);
            }
            self.last_begun.set(self.store.header.sessions.len(), ordinal)?;
            let (point, lost) = self.measure_point(ordinal, backend);
            self.counts.add(&point);
            self.counts.unvisited -= 1;
            if self.first_without.is_none() {
                self.first_without = without_time(&point);
            }
            part.push(point);
            if lost.is_some() || part.len() >= PART_ROWS || begun.elapsed() >= self.part_interval {
                let writing = Instant::now();
                self.keep(first, &mut part)?;
                self.budget.spend(writing.elapsed());
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

    fn keep(&self, first: u32, part: &mut Vec<SweepPoint>) -> Result<(), SweepError> {
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
        let time_left = match (rest, self.budget.left()) {
            (Some(rest), Some(left)) => Some(rest.min(left)),
            (rest, left) => rest.or(left),
        };
        Progress { configurations, counts: &self.counts, time_left }
    }
}

/// What became of a configuration, in a line, unless it was measured.
fn without_time(point: &SweepPoint) -> Option<String> {
    let (PointOutcome::Skipped { detail, .. } | PointOutcome::Failed { detail }) = &point.outcome
    else {
        return None;
    };
    Some(format!("{} {}: {detail}", point.shape, point.outcome.status()))
}
