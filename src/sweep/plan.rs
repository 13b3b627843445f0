//! What a sweep sets out to do.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::grid::Grid;
use super::order::Shard;
use crate::environment::Platform;
use crate::protocol::Protocol;
use crate::record::Comparable;
use crate::settings::BackendSettings;
use crate::units::Bytes;

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
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
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
