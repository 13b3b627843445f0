//! What a sweep is to measure, and what must be equal for another process to continue it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::grid::Grid;
use super::order::Shard;
use crate::backend::BackendSettings;
use crate::environment::Platform;
use crate::protocol::Protocol;
use crate::record::Comparable;
use crate::units::Bytes;

/// What a sweep is to measure, and where. Only a sweep with an equal plan is continued, on the same
/// machine or on another [of its kind](Platform::kind).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct SweepPlan {
    pub grid: Grid,
    /// Seed of the order and of the tensors.
    pub seed: u64,
    pub shard: Shard,
    pub protocol: Protocol,
    /// Launches behind each time.
    pub launches: NonZeroU32,
    pub warm_up_launches: u32,
    /// Time for all of it, in seconds in files; `None`: as long as the grid needs.
    #[serde(rename = "budget_s", with = "seconds")]
    pub budget: Option<Duration>,
    /// A configuration that needs more is skipped.
    pub memory_limit: Option<Bytes>,
    pub backend: BackendSettings,
    /// The machine of the process that began it.
    pub platform: Platform,
}

impl SweepPlan {
    /// Number of configurations in the shard.
    pub fn configurations(&self) -> u32 {
        self.shard.len(self.grid.configurations())
    }

    /// What latencies must share with this sweep's to be compared with them.
    pub fn comparable(&self) -> Comparable {
        Comparable {
            backend: self.platform.backend.clone(),
            device: self.backend.device_line(&self.platform.device),
            method: self.backend.method_line(self.protocol),
        }
    }

    /// What a time means, and the number of launches behind it, in one line.
    pub fn protocol_line(&self) -> String {
        let Self { launches, warm_up_launches, .. } = self;
        let method = self.backend.method_line(self.protocol);
        format!("{method}, {launches} launches after {warm_up_launches}")
    }

    /// The differences because of which `other` cannot continue this plan.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let differing = self.differing(other).into_iter();
        differing.map(|(what, this, that)| format!("{what} is {this} there, {that} here")).collect()
    }

    /// The names of facts that are not equal in both, with their values here and in `other`.
    pub(super) fn differing(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let (mut this, mut that) = (self.facts(), other.facts());
        let names: BTreeSet<&str> = this.keys().chain(that.keys()).copied().collect();
        let mut both = |name| {
            let [this, that] =
                [&mut this, &mut that].map(|facts| facts.remove(name).unwrap_or("none".to_owned()));
            (name, this, that)
        };
        names.into_iter().map(&mut both).filter(|(_, this, that)| this != that).collect()
    }

    /// Everything that must be equal for a sweep to be continued, by its name.
    pub(super) fn facts(&self) -> BTreeMap<&'static str, String> {
        let Self {
            grid,
            seed,
            shard,
            protocol,
            launches,
            warm_up_launches,
            budget,
            memory_limit,
            backend,
            platform,
        } = self;
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let mut facts: BTreeMap<&str, String> = platform.kind().into_iter().collect();
        facts.extend([
            ("grid", grid.to_string()),
            ("seed", seed.to_string()),
            ("shard", shard.number().to_string()),
            ("shards", shard.count().to_string()),
            ("protocol", protocol.to_string()),
            ("launches", launches.to_string()),
            ("warm-up", warm_up_launches.to_string()),
            ("budget", or_none(budget.map(|budget| format!("{} s", budget.as_secs_f64())))),
            // not as `4.0 GiB`: limits that differ are to be told apart
            ("memory limit", or_none(memory_limit.map(|limit| format!("{} B", limit.0)))),
        ]);
        facts.extend(backend.facts());
        facts.extend(backend.limits());
        facts
    }
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
