//! What a run sets out to do, and what has to be equal for its latencies to be compared with others.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::environment::Platform;
use crate::experiment::Configuration;
use crate::settings::Settings;

/// What a run set out to do, where. Only an unfinished run with an equal plan is resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// What was asked for.
    pub settings: Settings,
    /// Where it runs.
    pub platform: Platform,
    /// Size and time of the program that measures: a rebuilt one does not continue another's run.
    pub program: String,
    /// Configurations by id, in the experiments' order (not the order measured).
    pub ids: Vec<String>,
}

/// What has to be equal for latencies to be comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparable {
    /// What computed.
    pub backend: String,
    /// On what: with the number of threads, of a CPU.
    pub device: String,
    /// What a latency means, [`Settings::method_line`].
    pub method: String,
}

impl RunPlan {
    /// What a run of `selected` sets out to do.
    pub fn new(settings: &Settings, platform: Platform, selected: &[Configuration]) -> Self {
        let ids = selected.iter().map(Configuration::id).collect();
        Self { settings: settings.clone(), platform, program: program(), ids }
    }

    /// What others' latencies must have equal to be compared with this plan's.
    pub fn comparable(&self) -> Comparable {
        Comparable {
            backend: self.platform.backend.clone(),
            device: self.settings.backend.device_line(&self.platform.device),
            method: self.settings.method_line(),
        }
    }
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

impl Comparable {
    /// What keeps latencies from being compared with those of `other`; empty where nothing does.
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
