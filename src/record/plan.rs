//! What a run is to measure, and what must be equal for its latencies to be compared with others.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::differences;
use crate::environment::Platform;
use crate::experiment::Configuration;
use crate::settings::Settings;

/// What a run is to measure, and where. Only an unfinished run with such a plan is resumed
/// ([`can_be_continued_by`](Self::can_be_continued_by)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct RunPlan {
    pub settings: Settings,
    pub platform: Platform,
    /// Size and time of the program that measures: a rebuilt one does not continue another's run.
    pub program: String,
    /// Configurations by id, in the experiments' order (not the order measured).
    pub ids: Vec<String>,
    /// The side that it is of, where two take turns, and what distinguishes that one: `A: after `COMMAND``.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
}

/// What must be equal for latencies to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparable {
    /// `cpu`, `cudnn` or `cudnn-stand-in`.
    pub backend: String,
    /// The device's name; of a CPU with the number of threads.
    pub device: String,
    /// What a latency means, [`Settings::method_line`].
    pub method: String,
}

impl RunPlan {
    /// The plan of a run of the configurations `selected`, measured by this program.
    pub fn new(settings: &Settings, platform: Platform, selected: &[Configuration]) -> Self {
        let ids = selected.iter().map(Configuration::id).collect();
        Self { settings: settings.clone(), platform, program: program(), ids, side: None }
    }

    /// Whether a run of this plan can be continued by a process with that one: they are equal but for
    /// which cores threads are pinned to, as long as they are of as many.
    pub fn can_be_continued_by(&self, other: &Self) -> bool {
        *self == other.as_if_pinned_as(self)
    }

    /// What keeps it from that, as [`differences`](fn@differences) has it.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        differences(self, &other.as_if_pinned_as(self))
    }

    /// The same plan on the cores of the other, if those are as many.
    fn as_if_pinned_as(&self, other: &Self) -> Self {
        let cores = |plan: &Self| plan.platform.pinned_cores.as_ref().map(Vec::len);
        let mut elsewhere = self.clone();
        if cores(self) == cores(other) {
            elsewhere.platform.pinned_cores.clone_from(&other.platform.pinned_cores);
        }
        elsewhere
    }

    /// What latencies must share with this run's to be compared with them.
    pub fn comparable(&self) -> Comparable {
        Comparable {
            backend: self.platform.backend.clone(),
            device: self.settings.backend.device_line(&self.platform.device),
            method: self.settings.method_line(),
        }
    }
}

/// [`program_stamp`] of this program.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "unknown".to_owned(), |file| program_stamp(&file))
}

/// A program's size and when its file was written, which tell a rebuilt program from the one before.
pub fn program_stamp(file: &Path) -> String {
    let file = std::fs::metadata(file);
    let written = file.and_then(|file| Ok((file.len(), file.modified()?)));
    match written.map(|(bytes, time)| (bytes, Timestamp::try_from(time))) {
        Ok((bytes, Ok(time))) => format!("{bytes} bytes, written {time}"),
        _ => "unknown".to_owned(),
    }
}

impl Comparable {
    /// The differences because of which latencies cannot be compared with those of `other`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        [
            ("backend", &self.backend, &other.backend),
            ("device", &self.device, &other.device),
            ("protocol", &self.method, &other.method),
        ]
        .into_iter()
        .filter(|(_, this, other)| this != other)
        .map(|(what, this, other)| format!("{what} `{this}` against `{other}`"))
        .collect()
    }
}
