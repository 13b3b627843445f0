//! What a run is asked to do: environment variables, then `bench.toml`, then defaults.

use std::ffi::OsString;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend::cpu::AlgorithmChoice;
use crate::backend::cudnn::CudnnOptions;
use crate::choice::UnknownName;
use crate::experiment::{Experiment, Resolution};
use crate::protocol::{Profile, Protocol, StoppingRule};
use crate::units::Bytes;
use crate::workspace;

mod sources;

use sources::Sources;
pub use sources::{SettingsError, parse_budget};

/// Where the convolutions shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendRequest {
    /// On the GPU where there is one, else on the CPU.
    Auto,
    /// Nowhere else.
    Only(BackendKind),
}

/// Where convolutions can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// The CPU of this machine.
    Cpu,
    /// A CUDA device, by cuDNN.
    Cudnn,
}

/// Where the convolutions run, with what only that backend has settings for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum BackendSettings {
    /// The CPU of this machine.
    Cpu {
        /// Threads that a convolution computes on.
        threads: NonZeroUsize,
        /// How it computes.
        algorithm: AlgorithmChoice,
    },
    /// A CUDA device, by cuDNN.
    Cudnn(CudnnOptions),
}

/// Everything that decides what a run measures. Two runs with equal settings on the same machine
/// and code may continue each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Where the convolutions run.
    pub backend: BackendSettings,
    /// Which experiments.
    pub experiments: Vec<Experiment>,
    /// How many values of each independent variable.
    pub resolution: Resolution,
    /// How many launches.
    pub profile: Profile,
    /// Exactly so many samples a configuration, whatever the profile says.
    pub launches: Option<NonZeroU32>,
    /// What a sample means.
    pub protocol: Protocol,
    /// Seed of the order and of the data; `None`: a new one for each run. TOML's integers end at
    /// 2⁶³ − 1: in `bench.toml`, a greater seed is written as a string.
    pub seed: Option<u64>,
    /// What measuring may take in all; `None`: as long as it needs.
    pub time_budget: Option<Duration>,
    /// A configuration that needs more is skipped; `None`: only one that needs more than is free.
    pub memory_limit: Option<Bytes>,
    /// Compare outputs of every configuration with a direct sum before measuring it.
    pub verify: bool,
}

/// What was asked for, before it is known where the convolutions run: defaults depend on that.
#[derive(Debug)]
pub struct Requested {
    sources: Sources,
    /// `None`: where this workspace keeps them.
    default_runs: Option<PathBuf>,
}

impl Requested {
    /// What is asked for by this process's environment and by [`workspace::bench_toml`], with runs
    /// in [`workspace::runs`] by default.
    ///
    /// # Errors
    /// As [`Requested::load`].
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
        // whatever the backend will be, what cannot be read is known now
        requested.sources.backend_settings(BackendKind::Cpu)?;
        requested.sources.backend_settings(BackendKind::Cudnn)?;
        match requested.backend()? {
            BackendRequest::Only(kind) => requested.settings(kind)?,
            BackendRequest::Auto => requested.settings(BackendKind::Cudnn)?,
        };
        Ok(requested)
    }

    /// Where the convolutions shall run.
    ///
    /// # Errors
    /// [`SettingsError`] where there is no such backend.
    pub fn backend(&self) -> Result<BackendRequest, SettingsError> {
        let requested = self.sources.parse("backend", |text| match text {
            "auto" => Ok(BackendRequest::Auto),
            "cpu" => Ok(BackendRequest::Only(BackendKind::Cpu)),
            "cudnn" => Ok(BackendRequest::Only(BackendKind::Cudnn)),
            _ => Err(UnknownName::new("backend", "`auto`, `cpu` or `cudnn`")),
        })?;
        Ok(requested.unwrap_or(BackendRequest::Auto))
    }

    /// Folder that holds one folder a run.
    pub fn runs(&self) -> PathBuf {
        let set = self.sources.runs.clone().or_else(|| self.default_runs.clone());
        set.unwrap_or_else(workspace::runs)
    }

    /// The settings in force with that backend.
    ///
    /// # Errors
    /// [`SettingsError`] where one has no usable value, or none with that backend.
    pub fn settings(&self, kind: BackendKind) -> Result<Settings, SettingsError> {
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

    /// What decides what latencies mean, beside the device: equal in whatever is compared.
    pub fn method_line(&self) -> String {
        self.backend.method_line(self.protocol)
    }

    /// The same with how many samples there are.
    pub fn protocol_line(&self) -> String {
        let method = self.method_line();
        match self.launches {
            Some(launches) => format!("{method}, {launches} samples"),
            None => format!("{method}, profile {}", self.profile),
        }
    }
}

impl BackendSettings {
    /// What decides what latencies by `protocol` mean, beside the device.
    pub fn method_line(&self, protocol: Protocol) -> String {
        match self {
            Self::Cpu { .. } => protocol.to_string(),
            Self::Cudnn(CudnnOptions { math, plan, .. }) => {
                format!("{protocol}, math {math}, plan {plan}")
            }
        }
    }

    /// A device's name with what else of it computes: of a CPU, the number of threads.
    pub fn device_line(&self, device: &str) -> String {
        match self {
            Self::Cpu { threads, .. } => {
                let plural = if threads.get() == 1 { "" } else { "s" };
                format!("{device}, {threads} thread{plural}")
            }
            Self::Cudnn(_) => device.to_owned(),
        }
    }

    /// Which of the backends they are of.
    pub fn kind(&self) -> BackendKind {
        match self {
            Self::Cpu { .. } => BackendKind::Cpu,
            Self::Cudnn(_) => BackendKind::Cudnn,
        }
    }
}

impl BackendKind {
    /// As settings name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cudnn => "cudnn",
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
        match self.time_budget {
            Some(budget) => write!(f, "time budget {}, ", humantime::format_duration(budget))?,
            None => write!(f, "no time budget, ")?,
        }
        match &self.backend {
            BackendSettings::Cpu { threads, algorithm } => {
                let plural = if threads.get() == 1 { "" } else { "s" };
                write!(f, "cpu with {threads} thread{plural} (algorithm {algorithm})")?;
            }
            BackendSettings::Cudnn(CudnnOptions { device, math, plan, .. }) => {
                write!(f, "cudnn on device {device} (math {math}, plan {plan})")?;
            }
        }
        match self.memory_limit {
            Some(limit) => write!(f, ", at most {limit} a configuration"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
