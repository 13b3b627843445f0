//! `sweep.json`: what a sweep is to measure, who worked on it, and what became of its configurations.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::SweepPlan;
use super::point::{PointOutcome, SweepPoint};
use crate::environment::Platform;
use crate::record::Session;
use crate::store::Header;

/// The file that makes a folder one of a sweep.
pub const HEADER: &str = "sweep.json";

/// Version of the folder's layout, of `sweep.json` and of the parts' columns.
pub const SCHEMA_VERSION: u32 = 2;

/// `sweep.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct SweepHeader {
    /// [`SCHEMA_VERSION`] of the code that wrote it.
    pub schema_version: u32,
    /// `sweep-` with the start in UTC and four random digits.
    pub sweep_id: String,
    pub status: SweepStatus,
    /// When the first process began.
    pub started: Timestamp,
    /// When the last configuration was done, or the budget used up.
    pub ended: Option<Timestamp>,
    pub plan: SweepPlan,
    /// Present once the sweep has ended.
    pub counts: Option<Counts>,
    /// The processes that worked on it.
    pub sessions: Vec<SweepSession>,
    /// The headers of the shards that a merged sweep was joined from.
    pub shards: Vec<SweepHeader>,
}

impl Header for SweepHeader {
    const FILE: &'static str = HEADER;
    const SCHEMA_VERSION: u32 = SCHEMA_VERSION;
    const ELSEWHERE: &'static str = "choose a folder that can be written with --out";
}

impl SweepHeader {
    /// Number of processes that died while they measured a configuration of the shard.
    pub(super) fn deaths(&self, ordinal: u32) -> usize {
        self.sessions.iter().filter(|session| session.died_at == Some(ordinal)).count()
    }
}

/// A process that worked on a sweep, and its machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct SweepSession {
    #[serde(flatten)]
    pub session: Session,
    pub host: String,
    pub platform: Platform,
    /// Which of the shard's configurations it was measuring when it died, if it did.
    pub died_at: Option<u32>,
}

/// Whether a sweep goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SweepStatus {
    /// The same command continues it.
    Unfinished,
    /// The budget is used up, and some configurations have no outcome.
    BudgetUsed,
    /// Every configuration has an outcome.
    Finished,
    /// Every configuration has an outcome, and none was measured.
    NothingMeasured,
}

/// What became of a sweep's configurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Counts {
    pub measured: u64,
    /// By reason: `memory`, `budget`.
    pub skipped: BTreeMap<String, u64>,
    pub failed: u64,
    /// Configurations without an outcome: not yet, or because the budget was used up before.
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
