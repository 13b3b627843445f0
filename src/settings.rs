//! What a run is asked to do, by environment variables, else `bench.toml`, else defaults.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::{BACKENDS, BackendKind, BackendSettings};
use crate::choice::UnknownName;
use crate::experiment::{Experiment, Resolution};
use crate::protocol::{Clock, Profile, Protocol, StoppingRule};
use crate::units::Bytes;
use crate::workspace;

mod sources;

use sources::Sources;
pub use sources::{SettingsError, parse_budget};

/// Where the convolutions shall run.
#[derive(Clone, Copy, Debug)]
pub enum BackendRequest {
    /// By the first backend whose device is there.
    Auto,
    /// By this one and no other.
    Only(&'static BackendKind),
}

/// Everything that decides what a run measures. A run is resumed only with equal settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Settings {
    pub backend: BackendSettings,
    pub experiments: Vec<Experiment>,
    pub resolution: Resolution,
    pub profile: Profile,
    /// Exactly so many samples of each configuration, whatever the profile says.
    pub launches: Option<NonZeroU32>,
    /// Passes over all configurations, in each of which a configuration gets its part of the samples.
    #[serde(default = "one_pass")]
    pub passes: NonZeroU32,
    pub protocol: Protocol,
    /// Seed of the order and of the tensors; `None`: a new one for each run. TOML's integers end at
    /// 2⁶³ − 1: in `bench.toml`, a greater seed is written as a string.
    pub seed: Option<u64>,
    /// Time for all measuring; `None`: as long as it needs.
    pub time_budget: Option<Duration>,
    /// A configuration that needs more is skipped; `None`: only one that needs more than is free.
    pub memory_limit: Option<Bytes>,
    /// Compare outputs of every configuration with a direct sum before measuring it.
    pub verify: bool,
}

/// What runs say that were measured before there were passes.
fn one_pass() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// What the user set, before the backend is known on which defaults depend.
#[derive(Debug)]
pub struct Requested {
    sources: Sources,
    /// `None`: where this workspace keeps them.
    default_runs: Option<PathBuf>,
}

impl Requested {
    /// What the user set in this process's environment and in [`workspace::bench_toml`], with runs
    /// in [`workspace::runs`] by default.
    pub fn from_workspace() -> Result<Self, SettingsError> {
        Self::read(std::env::vars_os(), &workspace::bench_toml(), None)
    }

    /// Reads the environment and the file at `toml` (which need not exist).
    ///
    /// # Errors
    /// [`SettingsError`] names the variable or key that is unknown or has no usable value.
    pub fn load(
        variables: impl Iterator<Item = (OsString, OsString)>,
        toml: &Path,
        default_runs: &Path,
    ) -> Result<Self, SettingsError> {
        Self::read(variables, toml, Some(default_runs.to_owned()))
    }

    fn read(
        variables: impl Iterator<Item = (OsString, OsString)>,
        toml: &Path,
        default_runs: Option<PathBuf>,
    ) -> Result<Self, SettingsError> {
        let mut sources = Sources::in_file(toml)?;
        sources.add_variables(variables)?;
        let requested = Self { sources, default_runs };
        // a value without a meaning is an error whatever the backend will be
        for kind in BACKENDS {
            requested.sources.backend_settings(kind)?;
        }
        match requested.backend()? {
            BackendRequest::Only(kind) => requested.settings(kind)?,
            BackendRequest::Auto => requested.settings(BACKENDS[0])?,
        };
        Ok(requested)
    }

    /// Where the convolutions shall run.
    pub fn backend(&self) -> Result<BackendRequest, SettingsError> {
        const AUTO: &str = "auto";
        let requested = self.sources.parse("backend", |text| {
            let named = BACKENDS.into_iter().find(|kind| kind.name == text);
            match named.map(BackendRequest::Only) {
                None if text == AUTO => Ok(BackendRequest::Auto),
                None => {
                    let mut names = BACKENDS.map(|kind| kind.name);
                    names.sort_unstable();
                    Err(UnknownName::expecting("backend", &[&[AUTO], &names[..]].concat()))
                }
                Some(only) => Ok(only),
            }
        })?;
        Ok(requested.unwrap_or(BackendRequest::Auto))
    }

    /// Whether it is said by which clock to tell latencies.
    pub(crate) fn has_clock(&self) -> bool {
        self.sources.has_clock()
    }

    /// The folder that holds a folder for each run.
    pub fn runs(&self) -> PathBuf {
        let set = self.sources.runs.clone().or_else(|| self.default_runs.clone());
        set.unwrap_or_else(workspace::runs)
    }

    /// What a backend is asked to do, whether or not a run with the other settings is possible on it.
    ///
    /// # Errors
    /// [`SettingsError`] where one of its own settings has no usable value.
    pub fn backend_settings(&self, kind: &BackendKind) -> Result<BackendSettings, SettingsError> {
        self.sources.backend_settings(kind)
    }

    /// The settings of a run on that backend.
    ///
    /// # Errors
    /// [`SettingsError`] where one has no usable value, or none with that backend.
    pub fn settings(&self, kind: &BackendKind) -> Result<Settings, SettingsError> {
        self.sources.resolve(kind)
    }
}

impl Settings {
    /// How many samples a configuration gets.
    pub fn stopping_rule(&self) -> StoppingRule {
        match self.launches {
            Some(launches) => StoppingRule::exactly(launches.get() as usize),
            None => self.profile.stopping_rule(),
        }
    }

    /// The smallest difference of two samples that the protocol's clock can tell, in nanoseconds,
    /// where the host's clock has steps of `host_step_ns`.
    pub fn sample_step_ns(&self, host_step_ns: f64) -> f64 {
        let Protocol { clock, launches, .. } = self.protocol;
        let step_ns = match clock {
            Clock::Host => host_step_ns,
            Clock::Device | Clock::DeviceQueued => {
                self.backend.kind().device_clock_step_ns.unwrap_or(host_step_ns)
            }
        };
        // a sample is a part of the time that the clock measured
        step_ns / f64::from(launches.get())
    }

    /// What decides what latencies mean, beside the device: equal in whatever is compared.
    pub fn method_line(&self) -> String {
        self.backend.method_line(self.protocol)
    }

    /// The same with how many samples there are, in how many passes.
    pub fn protocol_line(&self) -> String {
        let method = self.method_line();
        let samples = match self.launches {
            Some(launches) => format!("{launches} samples"),
            None => format!("profile {}", self.profile),
        };
        match self.passes.get() {
            1 => format!("{method}, {samples}"),
            passes => format!("{method}, {samples}, {passes} passes"),
        }
    }
}

/// One line that says what will be measured, echoed when a run starts.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let experiments: Vec<_> = self.experiments.iter().map(|e| e.name).collect();
        write!(
            f,
            "experiments {} at {} resolution, {}, profile {}, ",
            experiments.join(""),
            self.resolution,
            self.protocol,
            self.profile
        )?;
        if let Some(launches) = self.launches {
            write!(f, "{launches} samples each, ")?;
        }
        if self.passes.get() > 1 {
            write!(f, "{} passes, ", self.passes)?;
        }
        match self.time_budget {
            Some(budget) => write!(f, "time budget {}, ", humantime::format_duration(budget))?,
            None => write!(f, "no time budget, ")?,
        }
        f.write_str(&self.backend.description())?;
        match self.memory_limit {
            Some(limit) => write!(f, ", at most {limit} a configuration"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
