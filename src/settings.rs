//! What a run is asked to do: environment variables, then `bench.toml`, then defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::cpu::AlgorithmChoice;
use crate::backend::cudnn::{CudnnOptions, Math, PlanChoice};
use crate::experiment::{Experiment, Resolution, UnknownName};
use crate::protocol::{Cache, Clock, Profile, Protocol, StoppingRule};
use crate::units::Bytes;

/// Environment variables are these names in capitals behind this prefix.
const PREFIX: &str = "ALPHA_FLOPS_";

/// Every setting there is: name and meaning, as the README documents them.
const NAMES: [&str; 20] = [
    "algorithm",
    "backend",
    "cache",
    "clock",
    "device",
    "experiments",
    "launch_timeout",
    "launches",
    "math",
    "memory_limit_gib",
    "plan",
    "profile",
    "protocol",
    "resolution",
    "runs",
    "seed",
    "threads",
    "throughput_launches",
    "time_budget",
    "verify",
];

/// Time that measuring takes at most on a CPU unless a budget is set: with compiling, criterion
/// and the report, `cargo replicate` then stays under ten minutes on two cores.
const CPU_TIME_BUDGET: Duration = Duration::from_secs(240);

/// The same on a GPU, for all 9,105 configurations.
const GPU_TIME_BUDGET: Duration = Duration::from_secs(3600);

/// What a launch, or a sample of several, may take before the device counts as hanging.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Launches back to back in a sample of `throughput`: as many as the published sweep has.
const THROUGHPUT_LAUNCHES: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// Memory that one configuration may take on a CPU unless a limit is set.
const CPU_MEMORY_LIMIT_GIB: f64 = 3.5;

/// More threads than any machine this is for has; the system refuses to start many more.
const MOST_THREADS: usize = 1024;

/// Samples that `launches` may ask for: criterion takes no fewer than 10.
const LEAST_LAUNCHES: u32 = 10;
const MOST_LAUNCHES: u32 = 1_000_000;

/// Longest time budget; far longer ones overflow the clock.
const LONGEST_BUDGET: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

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
    found: Found,
    default_runs: PathBuf,
}

/// A setting that cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A value does not parse.
    #[error("{origin}: {reason}")]
    Value {
        /// The variable, or the file and key.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such setting.
    #[error("{origin} is no setting; settings are {}", NAMES.join(", "))]
    Unknown {
        /// The variable, or the file and key.
        origin: String,
    },
    /// `bench.toml` cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Cargo's target directory, as far as this program can tell: where it was built.
pub fn target_directory() -> PathBuf {
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        // records name paths below it, and are read from elsewhere
        return std::path::absolute(&target).unwrap_or_else(|_| target.into());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let profile = |name: &std::ffi::OsStr| name == "release" || name == "debug";
    let built = program.ancestors().find(|path| path.file_name().is_some_and(profile));
    match built.and_then(Path::parent) {
        Some(target) => target.to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
    }
}

/// What was set, before it is understood.
#[derive(Debug, Default)]
struct Found {
    /// Raw values by setting, each with where it was found.
    values: BTreeMap<String, (String, String)>,
    /// The one setting that need not be UTF-8.
    runs: Option<PathBuf>,
}

impl Requested {
    /// What is asked for in this workspace: by this process's environment, `bench.toml` beside
    /// `Cargo.toml`, and runs under cargo's target directory.
    ///
    /// # Errors
    /// As [`Requested::load`].
    pub fn of_workspace() -> Result<Self, SettingsError> {
        let toml = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench.toml");
        Self::load(std::env::vars_os(), &toml, &target_directory().join("alpha-flops"))
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
        let mut found = Found::in_file(toml)?;
        found.add_variables(variables)?;
        let requested = Self { found, default_runs: default_runs.to_owned() };
        // whatever the backend will be, what cannot be read is known now
        requested.found.backend_settings(BackendKind::Cpu)?;
        requested.found.backend_settings(BackendKind::Cudnn)?;
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
        let requested = self.found.parse("backend", |text| match text {
            "auto" => Ok(BackendRequest::Auto),
            "cpu" => Ok(BackendRequest::Only(BackendKind::Cpu)),
            "cudnn" => Ok(BackendRequest::Only(BackendKind::Cudnn)),
            _ => Err(UnknownName::new("backend", "`auto`, `cpu` or `cudnn`")),
        })?;
        Ok(requested.unwrap_or(BackendRequest::Auto))
    }

    /// Folder that holds one folder a run.
    pub fn runs(&self) -> PathBuf {
        self.found.runs.clone().unwrap_or_else(|| self.default_runs.clone())
    }

    /// The settings in force with that backend.
    ///
    /// # Errors
    /// [`SettingsError`] where one has no usable value, or none with that backend.
    pub fn settings(&self, kind: BackendKind) -> Result<Settings, SettingsError> {
        self.found.resolve(kind)
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
        match &self.backend {
            BackendSettings::Cpu { .. } => self.protocol.to_string(),
            BackendSettings::Cudnn(CudnnOptions { math, plan, .. }) => {
                format!("{}, math {math}, plan {plan}", self.protocol)
            }
        }
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

impl Found {
    fn in_file(path: &Path) -> Result<Self, SettingsError> {
        let error = |reason: String| SettingsError::File { path: path.to_owned(), reason };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(error(e.to_string())),
        };
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| error(e.to_string().trim_end().to_owned()))?;
        let mut found = Self::default();
        for (name, value) in table {
            let origin = format!("{}: {name}", path.display());
            if !NAMES.contains(&name.as_str()) {
                return Err(SettingsError::Unknown { origin });
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                // the short form: plain decimals of 1e300 fill lines
                toml::Value::Float(number) => format!("{number:?}"),
                toml::Value::Boolean(yes) => yes.to_string(),
                _ => {
                    let reason = "expected a string, a number, true or false".to_owned();
                    return Err(SettingsError::Value { origin, reason });
                }
            };
            if name == "runs" {
                let beside = path.parent().unwrap_or(Path::new(""));
                found.runs = Some(beside.join(runs_path(text.into(), &origin)?));
            } else {
                found.values.insert(name, (text, origin));
            }
        }
        Ok(found)
    }

    fn add_variables(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), SettingsError> {
        for (variable, value) in variables {
            // what is not UTF-8 in a name becomes U+FFFD, which is in no setting's
            let variable = variable.to_string_lossy().into_owned();
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            let name = name.to_lowercase();
            if !NAMES.contains(&name.as_str()) {
                return Err(SettingsError::Unknown { origin: variable });
            }
            if name == "runs" {
                self.runs = Some(runs_path(value, &variable)?);
                continue;
            }
            let value = value.into_string().map_err(|value| SettingsError::Value {
                origin: variable.clone(),
                reason: format!("`{}`: not UTF-8", value.to_string_lossy()),
            })?;
            self.values.insert(name, (value, variable));
        }
        Ok(())
    }

    fn resolve(&self, kind: BackendKind) -> Result<Settings, SettingsError> {
        let profile = self.parse("profile", Profile::from_str)?.unwrap_or(Profile::Standard);
        let (resolution, budget, gib) = match kind {
            BackendKind::Cpu => (Resolution::Original, CPU_TIME_BUDGET, Some(CPU_MEMORY_LIMIT_GIB)),
            BackendKind::Cudnn => (Resolution::Full, GPU_TIME_BUDGET, None),
        };
        let time_budget = match self.parse("time_budget", parse_budget)? {
            Some(budget) => budget,
            // `paper` and `smoke` say how many launches; a budget would contradict them
            None => (profile == Profile::Standard).then_some(budget),
        };
        let gib = self.parse("memory_limit_gib", parse_gib)?.or(gib);
        Ok(Settings {
            backend: self.backend_settings(kind)?,
            experiments: self
                .parse("experiments", parse_experiments)?
                .unwrap_or_else(|| Experiment::ALL.to_vec()),
            resolution: self.parse("resolution", Resolution::from_str)?.unwrap_or(resolution),
            profile,
            launches: self.parse("launches", parse_launches)?,
            protocol: self.protocol(kind)?,
            seed: self.parse("seed", parse_seed)?,
            time_budget,
            memory_limit: gib.map(|gib| Bytes((gib * f64::from(1 << 30)) as u64)),
            verify: self.parse("verify", parse_bool)?.unwrap_or(false),
        })
    }

    fn backend_settings(&self, kind: BackendKind) -> Result<BackendSettings, SettingsError> {
        Ok(match kind {
            BackendKind::Cpu => {
                let available = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
                let most = NonZeroUsize::new(MOST_THREADS).unwrap_or(available);
                BackendSettings::Cpu {
                    threads: self.parse("threads", parse_threads)?.unwrap_or(available.min(most)),
                    algorithm: self
                        .parse("algorithm", AlgorithmChoice::from_str)?
                        .unwrap_or(AlgorithmChoice::Auto),
                }
            }
            BackendKind::Cudnn => BackendSettings::Cudnn(CudnnOptions {
                device: self.parse("device", parse_device)?.unwrap_or(0),
                math: self.parse("math", Math::from_str)?.unwrap_or(Math::Tf32),
                plan: self.parse("plan", PlanChoice::from_str)?.unwrap_or(PlanChoice::Heuristic),
                launch_timeout: self
                    .parse("launch_timeout", parse_timeout)?
                    .unwrap_or(LAUNCH_TIMEOUT),
            }),
        })
    }

    /// What a sample means, of what the backend can.
    fn protocol(&self, kind: BackendKind) -> Result<Protocol, SettingsError> {
        let clock = self.parse("clock", Clock::from_str)?;
        let cache = self.parse("cache", Cache::from_str)?.unwrap_or(Cache::Warm);
        let batch = self.parse("throughput_launches", parse_batch)?;
        let launches = self.parse("protocol", |text| match text {
            "latency" => Ok(NonZeroU32::MIN),
            "throughput" => Ok(batch.unwrap_or(THROUGHPUT_LAUNCHES)),
            _ => Err(UnknownName::new("protocol", "`latency` or `throughput`")),
        })?;
        let launches = launches.unwrap_or(NonZeroU32::MIN);
        if kind == BackendKind::Cpu && clock == Some(Clock::Device) {
            return Err(self.contradiction("clock", "a CPU has no clock of its own: set `host`"));
        }
        if kind == BackendKind::Cpu && cache == Cache::Cold {
            return Err(self.contradiction("cache", "only the cudnn backend can flush caches"));
        }
        if cache == Cache::Cold && launches > NonZeroU32::MIN {
            let reason = "launches back to back warm the cache for each other: set `warm`, or \
                          protocol `latency`";
            return Err(self.contradiction("cache", reason));
        }
        let default = match kind {
            BackendKind::Cpu => Clock::Host,
            BackendKind::Cudnn => Clock::Device,
        };
        Ok(Protocol { clock: clock.unwrap_or(default), launches, cache })
    }

    /// A value that is one, but not together with the others.
    fn contradiction(&self, name: &str, reason: &str) -> SettingsError {
        let (text, origin) = self.values.get(name).cloned().unwrap_or_default();
        SettingsError::Value { origin, reason: format!("`{text}`: {reason}") }
    }

    fn parse<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingsError> {
        debug_assert!(NAMES.contains(&name), "{name} is not in NAMES");
        let Some((text, origin)) = self.values.get(name) else { return Ok(None) };
        parse(text.trim()).map(Some).map_err(|e| SettingsError::Value {
            origin: origin.clone(),
            reason: format!("`{text}`: {e}"),
        })
    }
}

fn runs_path(text: OsString, origin: &str) -> Result<PathBuf, SettingsError> {
    if text.is_empty() {
        let reason = "``: expected the path of a folder".to_owned();
        return Err(SettingsError::Value { origin: origin.to_owned(), reason });
    }
    Ok(text.into())
}

fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= MOST_THREADS => Ok(threads),
        _ => Err(format!("expected a whole number from 1 to {MOST_THREADS}")),
    }
}

fn parse_device(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "expected the index of a CUDA device, from 0 on")
}

fn parse_launches(text: &str) -> Result<NonZeroU32, String> {
    match text.parse::<NonZeroU32>() {
        Ok(launches) if (LEAST_LAUNCHES..=MOST_LAUNCHES).contains(&launches.get()) => Ok(launches),
        _ => Err(format!("expected a whole number from {LEAST_LAUNCHES} to {MOST_LAUNCHES}")),
    }
}

fn parse_batch(text: &str) -> Result<NonZeroU32, &'static str> {
    match text.parse::<NonZeroU32>() {
        Ok(launches) if (2..=10_000).contains(&launches.get()) => Ok(launches),
        _ => Err("expected a whole number from 2 to 10000"),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() && timeout <= LONGEST_BUDGET => Ok(timeout),
        Ok(_) => Err("expected more than zero and at most 10 years".to_owned()),
        Err(e) => Err(format!("{e}; expected e.g. `60s`")),
    }
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

fn parse_experiments(text: &str) -> Result<Vec<Experiment>, UnknownName> {
    let mut experiments =
        text.split(',').map(|name| name.trim().parse()).collect::<Result<Vec<Experiment>, _>>()?;
    experiments.sort();
    experiments.dedup();
    Ok(experiments)
}

fn parse_budget(text: &str) -> Result<Option<Duration>, String> {
    if text == "none" {
        return Ok(None);
    }
    match humantime::parse_duration(text) {
        Ok(budget) if !budget.is_zero() && budget <= LONGEST_BUDGET => Ok(Some(budget)),
        Ok(_) => Err("expected more than zero and at most 10 years, or `none`".to_owned()),
        Err(e) => Err(format!("{e}; expected e.g. `90s`, `5min`, `2h` or `none`")),
    }
}

fn parse_gib(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(gib) if gib > 0.0 && gib < 1e6 => Ok(gib),
        _ => Err("expected a number of GiB above 0 and below 1000000".to_owned()),
    }
}

fn parse_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("expected `true` or `false`"),
    }
}

/// One line that says what will be measured, echoed when a run starts.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let experiments: Vec<_> = self.experiments.iter().map(|e| e.name()).collect();
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
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
        load_for(BackendKind::Cpu, variables, file)
    }

    fn load_for(
        kind: BackendKind,
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        let requested = Requested::load(variables, &path, Path::new("runs"));
        requested.and_then(|requested| requested.settings(kind)).map_err(|e| match e {
            SettingsError::File { reason, .. } => {
                SettingsError::File { path: "bench.toml".into(), reason }
            }
            other => other,
        })
    }

    #[test]
    fn variables_win_over_the_file_and_the_file_over_defaults() {
        let file = "profile = \"paper\"\nthreads = 3\nexperiments = \"g,A,a\"";
        let settings =
            load(&[("ALPHA_FLOPS_PROFILE", "smoke"), ("HOME", "/nowhere")], file).unwrap();
        assert_eq!(settings.profile, Profile::Smoke);
        let BackendSettings::Cpu { threads, .. } = settings.backend else { panic!() };
        assert_eq!(threads.get(), 3);
        assert_eq!(settings.experiments, [Experiment::A, Experiment::G]);
        assert_eq!(settings.resolution, Resolution::Original);
        assert_eq!(settings.time_budget, None);
    }

    #[test]
    fn a_time_budget_is_the_default_of_the_standard_profile_alone() {
        assert_eq!(load(&[], "").unwrap().time_budget, Some(CPU_TIME_BUDGET));
        assert_eq!(load(&[], "profile = \"paper\"").unwrap().time_budget, None);
        let none = load(&[("ALPHA_FLOPS_TIME_BUDGET", "none")], "").unwrap();
        assert_eq!(none.time_budget, None);
        let hours = load(&[("ALPHA_FLOPS_TIME_BUDGET", "2h")], "").unwrap();
        assert_eq!(hours.time_budget, Some(Duration::from_secs(7200)));
    }

    #[test]
    fn errors_name_the_variable_or_the_file_and_key() {
        let message =
            |variables: &[(&str, &str)], file| load(variables, file).unwrap_err().to_string();
        assert_eq!(
            message(&[("ALPHA_FLOPS_PROFILE", "papre")], ""),
            "ALPHA_FLOPS_PROFILE: `papre`: no such profile, expected `paper`, `standard` or `smoke`"
        );
        assert!(
            message(&[("ALPHA_FLOPS_PROFIEL", "x")], "")
                .starts_with("ALPHA_FLOPS_PROFIEL is no setting")
        );
        assert!(message(&[], "threads = 0").contains("bench.toml: threads: `0`"));
        assert!(message(&[], "thread = 1").contains("bench.toml: thread is no setting"));
        assert!(message(&[], "threads = ").contains("line 1"));
        assert!(message(&[("ALPHA_FLOPS_MEMORY_LIMIT_GIB", "-1")], "").contains("above 0"));
    }

    #[test]
    fn a_gpu_measures_everything_by_its_own_clock_unless_told_otherwise() {
        let gpu = |variables: &[(&str, &str)]| load_for(BackendKind::Cudnn, variables, "");
        let settings = gpu(&[]).unwrap();
        assert_eq!(settings.resolution, Resolution::Full);
        assert_eq!(settings.time_budget, Some(GPU_TIME_BUDGET));
        assert_eq!(settings.memory_limit, None);
        assert_eq!(
            settings.protocol_line(),
            "device-latency-warm, math tf32, plan heuristic, profile standard"
        );
        let settings = gpu(&[
            ("ALPHA_FLOPS_CLOCK", "host"),
            ("ALPHA_FLOPS_PROTOCOL", "throughput"),
            ("ALPHA_FLOPS_MATH", "fp32"),
            ("ALPHA_FLOPS_PLAN", "measured"),
            ("ALPHA_FLOPS_LAUNCHES", "10"),
        ]);
        assert_eq!(
            settings.unwrap().protocol_line(),
            "host-throughput-50-warm, math fp32, plan measured, 10 samples"
        );
    }

    #[test]
    fn what_a_backend_cannot_do_is_refused_with_the_reason() {
        let message = |kind, variables: &[(&str, &str)]| {
            load_for(kind, variables, "").unwrap_err().to_string()
        };
        let cold = ("ALPHA_FLOPS_CACHE", "cold");
        assert_eq!(
            message(BackendKind::Cpu, &[cold]),
            "ALPHA_FLOPS_CACHE: `cold`: only the cudnn backend can flush caches"
        );
        let clock = [("ALPHA_FLOPS_CLOCK", "device")];
        assert!(message(BackendKind::Cpu, &clock).contains("a CPU has no clock of its own"));
        let both = [cold, ("ALPHA_FLOPS_PROTOCOL", "throughput")];
        assert!(message(BackendKind::Cudnn, &both).contains("warm the cache for each other"));
        let no_backend = message(BackendKind::Cpu, &[("ALPHA_FLOPS_BACKEND", "rocm")]);
        assert!(no_backend.ends_with("expected `auto`, `cpu` or `cudnn`"), "{no_backend}");
        // also where another backend would be taken
        let math = [("ALPHA_FLOPS_BACKEND", "cpu"), ("ALPHA_FLOPS_MATH", "fp16")];
        assert!(message(BackendKind::Cpu, &math).starts_with("ALPHA_FLOPS_MATH: `fp16`"));
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        for (variable, value, range) in [
            ("ALPHA_FLOPS_THREADS", "0", "from 1 to 1024"),
            ("ALPHA_FLOPS_THREADS", "100000", "from 1 to 1024"),
            ("ALPHA_FLOPS_SEED", "-1", "from 0 to 18446744073709551615"),
            ("ALPHA_FLOPS_TIME_BUDGET", "18446744073709551615s", "at most 10 years"),
            ("ALPHA_FLOPS_TIME_BUDGET", "0s", "more than zero"),
            ("ALPHA_FLOPS_MEMORY_LIMIT_GIB", "nan", "below 1000000"),
            ("ALPHA_FLOPS_DEVICE", "-1", "from 0 on"),
            ("ALPHA_FLOPS_LAUNCHES", "9", "from 10 to 1000000"),
            ("ALPHA_FLOPS_THROUGHPUT_LAUNCHES", "1", "from 2 to 10000"),
            ("ALPHA_FLOPS_LAUNCH_TIMEOUT", "0s", "more than zero"),
        ] {
            let message = load(&[(variable, value)], "").unwrap_err().to_string();
            assert!(message.starts_with(variable) && message.contains(range), "{message}");
        }
        let message = load(&[], "memory_limit_gib = 1e300").unwrap_err().to_string();
        assert!(message.contains("`1e300`: expected a number of GiB above 0"), "{message}");
    }

    #[test]
    fn a_seed_that_toml_has_no_integer_for_is_a_string() {
        let settings = load(&[], "seed = \"18446744073709551615\"").unwrap();
        assert_eq!(settings.seed, Some(u64::MAX));
    }

    #[test]
    fn runs_in_the_file_are_relative_to_its_folder_and_never_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let toml = folder.path().join("bench.toml");
        std::fs::write(&toml, "runs = \"mine\"").unwrap();
        let variable = |value: &str| std::iter::once(("ALPHA_FLOPS_RUNS".into(), value.into()));
        let runs = |variables: &mut dyn Iterator<Item = (OsString, OsString)>| {
            Requested::load(variables, &toml, Path::new("default")).map(|found| found.runs())
        };
        assert_eq!(runs(&mut std::iter::empty()).unwrap(), folder.path().join("mine"));
        assert_eq!(runs(&mut variable("yours")).unwrap(), Path::new("yours"));
        let message = runs(&mut variable("")).unwrap_err().to_string();
        assert_eq!(message, "ALPHA_FLOPS_RUNS: ``: expected the path of a folder");
    }

    #[cfg(unix)]
    #[test]
    fn only_runs_may_be_other_than_utf_8() {
        use std::os::unix::ffi::OsStringExt;
        let garbled = OsString::from_vec(vec![b'a', 0xff]);
        let load = |name: &str| {
            let variables = std::iter::once((name.into(), garbled.clone()));
            Requested::load(variables, Path::new("no such file"), Path::new("runs"))
        };
        assert_eq!(load("ALPHA_FLOPS_RUNS").unwrap().runs(), PathBuf::from(&garbled));
        assert_eq!(load("HOME").unwrap().runs(), Path::new("runs"));
        let message = load("ALPHA_FLOPS_PROFILE").unwrap_err().to_string();
        assert!(message.starts_with("ALPHA_FLOPS_PROFILE: "), "{message}");
        assert!(message.contains("not UTF-8"), "{message}");
    }
}
