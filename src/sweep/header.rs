//! What a sweep says about itself, and what became of its configurations.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::SweepPlan;
use super::rows::{PointOutcome, SweepPoint};
use crate::environment::Platform;
use crate::record::Session;

/// `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepHeader {
    /// [`SCHEMA_VERSION`](super::SCHEMA_VERSION) of the code that wrote it.
    pub schema_version: u32,
    /// `sweep-` with the start in UTC and four random digits.
    pub sweep_id: String,
    /// Whether it goes on.
    pub status: SweepStatus,
    /// When the first process began.
    pub started: Timestamp,
    /// When the last configuration was done, or the budget used up.
    pub ended: Option<Timestamp>,
    /// What was asked for, where.
    pub plan: SweepPlan,
    /// What became of the configurations; there once it has ended.
    pub counts: Option<Counts>,
    /// The processes that worked on it.
    pub sessions: Vec<SweepSession>,
    /// Of a sweep that was merged: the headers of its shards.
    pub shards: Vec<SweepHeader>,
}

impl SweepHeader {
    /// How many processes ended at a configuration of the shard.
    pub(super) fn deaths(&self, ordinal: u32) -> usize {
        self.sessions.iter().filter(|session| session.died_at == Some(ordinal)).count()
    }
}

/// A process that worked on a sweep, and on which machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSession {
    /// When it began, and how things were then.
    #[serde(flatten)]
    pub session: Session,
    /// What the machine is called.
    pub host: String,
    /// The machine, down to which card or cores.
    pub platform: Platform,
    /// Which of the shard's configurations it was at when it ended without an outcome of it, if it did.
    pub died_at: Option<u32>,
}

/// Whether a sweep goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SweepStatus {
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

impl Counts {
    /// Configurations with an outcome.
    pub fn visited(&self) -> u64 {
        self.measured + self.skipped.values().sum::<u64>() + self.failed
    }

    pub(super) fn add(&mut self, point: &SweepPoint) {
        match &point.outcome {
            PointOutcome::Measured { .. } => self.measured += 1,
            // looked up first: a name is copied once a sweep, not once a configuration
            PointOutcome::Skipped { reason, .. } => match self.skipped.get_mut(reason.name()) {
                Some(count) => *count += 1,
                None => drop(self.skipped.insert(reason.name().to_owned(), 1)),
            },
            PointOutcome::Failed { .. } => self.failed += 1,
        }
        self.used_s += point.wall_s;
    }
}
