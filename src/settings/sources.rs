//! Where settings come from, the environment and `bench.toml`, and what their values mean.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::Settings;
use crate::backend::{BACKENDS, BackendKind, BackendSettings, SettingTexts};
use crate::choice::UnknownName;
use crate::experiment::{Experiment, Resolution};
use crate::file_error::FileError;
use crate::files;
use crate::protocol::{Cache, Clock, Convolution, LEAST_SAMPLES, Profile, Protocol};
use crate::units::Bytes;

/// An environment variable is this prefix and a setting's name in capitals.
const PREFIX: &str = "ALPHA_FLOPS_";

/// The settings of every backend; those of one alone are in [`BackendKind::settings`].
const COMMON: [&str; 16] = [
    "backend",
    "cache",
    "clock",
    "convolution",
    "experiments",
    "launches",
    "memory_limit_gib",
    "passes",
    "profile",
    "protocol",
    "resolution",
    "runs",
    "seed",
    "throughput_launches",
    "time_budget",
    "verify",
];

/// The names of all settings.
fn names() -> BTreeSet<&'static str> {
    COMMON
        .into_iter()
        .chain(BACKENDS.iter().flat_map(|kind| kind.settings.iter().copied()))
        .collect()
}

/// Launches back to back in a sample of `throughput`: as many as the published sweep has.
const THROUGHPUT_LAUNCHES: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// Samples of a configuration that may be asked for.
const LAUNCHES: RangeInclusive<NonZeroU32> =
    NonZeroU32::new(LEAST_SAMPLES as u32).unwrap()..=NonZeroU32::new(1_000_000).unwrap();

/// Passes that may be asked for: each configuration has a sample in each.
const PASSES: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=*LAUNCHES.start();

/// Launches back to back that may be asked for.
const BATCH: RangeInclusive<NonZeroU32> =
    NonZeroU32::new(2).unwrap()..=NonZeroU32::new(10_000).unwrap();

/// Longest time budget; much longer ones overflow the clock.
const LONGEST_BUDGET: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What the user set, as text.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Texts by the setting's name, each with where it was set.
    values: BTreeMap<String, (String, String)>,
    /// The one setting that need not be UTF-8.
    pub(super) runs: Option<PathBuf>,
}

/// A setting that cannot be used; `origin` is the variable, or the file and key.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum SettingsError {
    #[error("{origin}: {reason}")]
    Value { origin: String, reason: String },
    #[error(
        "{origin} is no setting\nhint: settings are {}", Vec::from_iter(names()).join(", ")
    )]
    Unknown { origin: String },
    #[error(transparent)]
    File(#[from] FileError),
}

impl Sources {
    pub(super) fn in_file(path: &Path) -> Result<Self, SettingsError> {
        let bytes = match files::read(path) {
            Err(error) if error.kind() == Some(std::io::ErrorKind::NotFound) => {
                return Ok(Self::default());
            }
            read => read?,
        };
        let text = String::from_utf8(bytes).map_err(|error| FileError::read(path, error))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            FileError::read(path, error.to_string().trim_end())
        })?;
        let mut sources = Self::default();
        for (name, value) in table {
            let origin = format!("{}: {name}", path.display());
            if !names().contains(name.as_str()) {
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
                sources.runs = Some(beside.join(runs_path(text.into(), &origin)?));
            } else {
                sources.values.insert(name, (text, origin));
            }
        }
        Ok(sources)
    }

    pub(super) fn add_variables(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<(), SettingsError> {
        for (variable, value) in variables {
            // what is not UTF-8 in a name becomes U+FFFD, which no setting's name contains
            let variable = variable.to_string_lossy().into_owned();
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            let name = name.to_lowercase();
            if !names().contains(name.as_str()) {
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

    pub(super) fn resolve(&self, kind: &BackendKind) -> Result<Settings, SettingsError> {
        let profile = self.parse("profile", Profile::from_str)?.unwrap_or(Profile::Standard);
        let time_budget = match self.parse("time_budget", parse_budget)? {
            Some(budget) => budget,
            // `paper` and `smoke` fix the number of launches, which a budget would cut short
            None => (profile == Profile::Standard).then_some(kind.time_budget),
        };
        Ok(Settings {
            backend: self.backend_settings(kind)?,
            experiments: self
                .parse("experiments", parse_experiments)?
                .unwrap_or_else(|| Experiment::all().to_vec()),
            resolution: self.parse("resolution", Resolution::from_str)?.unwrap_or(kind.resolution),
            profile,
            launches: self.parse("launches", whole(LAUNCHES))?,
            passes: self
                .parse("passes", whole(PASSES))?
                .unwrap_or_else(|| profile.passes(kind.passes)),
            protocol: self.protocol(kind)?,
            seed: self.parse("seed", whole(0..=u64::MAX))?,
            time_budget,
            memory_limit: self.parse("memory_limit_gib", parse_gib)?.or(kind.memory_limit),
            verify: self.parse("verify", parse_bool)?.unwrap_or(false),
        })
    }

    pub(super) fn backend_settings(
        &self,
        kind: &BackendKind,
    ) -> Result<BackendSettings, SettingsError> {
        let text = |name: &str| self.values.get(name).map(|(text, _)| text.as_str());
        BackendSettings::read(kind, SettingTexts(&text))
            .map_err(|invalid| self.unusable(invalid.name, &invalid.reason))
    }

    /// What a sample means, if the backend can measure it.
    fn protocol(&self, kind: &BackendKind) -> Result<Protocol, SettingsError> {
        let clock = self.parse("clock", Clock::from_str)?;
        let cache = self.parse("cache", Cache::from_str)?.unwrap_or(Cache::Warm);
        let batch = self.parse("throughput_launches", whole(BATCH))?;
        let batch = batch.unwrap_or(THROUGHPUT_LAUNCHES);
        let sample = self.parse("protocol", |text| match text {
            "latency" => Ok((NonZeroU32::MIN, false)),
            "throughput" => Ok((batch, false)),
            "graph" => Ok((batch, true)),
            _ => Err(UnknownName::new("protocol", "`latency`, `throughput` or `graph`")),
        })?;
        let (launches, graph) = sample.unwrap_or((NonZeroU32::MIN, false));
        if graph && !kind.replays_graphs {
            let reason = format!("the {} backend has no graphs to replay", kind.name);
            return Err(self.unusable("protocol", &reason));
        }
        if clock.is_some_and(|clock| clock != Clock::Host) && kind.clock() == Clock::Host {
            let reason = format!("the {} backend has no clock of its own: set `host`", kind.name);
            return Err(self.unusable("clock", &reason));
        }
        if cache == Cache::Cold && !kind.flushes_cache {
            let others = BACKENDS.iter().filter(|kind| kind.flushes_cache).map(|kind| kind.name);
            let others = Vec::from_iter(others).join(" and ");
            let reason = format!("only the {others} backend can flush caches");
            return Err(self.unusable("cache", &reason));
        }
        if cache == Cache::Cold && launches > NonZeroU32::MIN {
            let reason = "launches back to back warm the cache for each other: set `warm`, or \
                          protocol `latency`";
            return Err(self.unusable("cache", reason));
        }
        if clock == Some(Clock::DeviceQueued) && launches > NonZeroU32::MIN {
            let reason =
                "launches back to back are queued anyway: set `device`, or protocol `latency`";
            return Err(self.unusable("clock", reason));
        }
        let usual = match kind.clock() {
            Clock::Device => Clock::DeviceQueued,
            clock => clock,
        };
        let clock = clock.unwrap_or(usual);
        let convolution = self.parse("convolution", Convolution::from_str)?;
        let convolution = convolution.unwrap_or(Convolution::Plain);
        Ok(Protocol { clock, launches, cache, graph, convolution }.with_launches(launches))
    }

    /// Whether it is said by which clock to tell latencies.
    pub(super) fn has_clock(&self) -> bool {
        self.values.contains_key("clock")
    }

    /// The error for a value that cannot be used.
    fn unusable(&self, name: &str, reason: &str) -> SettingsError {
        let (text, origin) = self.values.get(name).cloned().unwrap_or_default();
        SettingsError::Value { origin, reason: format!("`{text}`: {reason}") }
    }

    pub(super) fn parse<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingsError> {
        debug_assert!(names().contains(name), "{name} is no setting");
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

/// Reads a whole number in a range.
fn whole<T: FromStr + PartialOrd + fmt::Display>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {} to {}", range.start(), range.end())),
    }
}

fn parse_experiments(text: &str) -> Result<Vec<Experiment>, UnknownName> {
    let mut experiments =
        text.split(',').map(|name| name.trim().parse()).collect::<Result<Vec<Experiment>, _>>()?;
    experiments.sort();
    experiments.dedup();
    Ok(experiments)
}

/// Reads a time budget: `90s`, `2h`, or `none`.
///
/// # Errors
/// What was expected.
pub fn parse_budget(text: &str) -> Result<Option<Duration>, String> {
    if text == "none" {
        return Ok(None);
    }
    match humantime::parse_duration(text) {
        Ok(budget) if !budget.is_zero() && budget <= LONGEST_BUDGET => Ok(Some(budget)),
        Ok(_) => Err("expected more than zero and at most 10 years, or `none`".to_owned()),
        Err(e) => Err(format!("{e}; expected e.g. `90s`, `5min`, `2h` or `none`")),
    }
}

fn parse_gib(text: &str) -> Result<Bytes, String> {
    match text.parse::<f64>() {
        Ok(gib) if gib > 0.0 && gib < 1e6 => Ok(Bytes((gib * f64::from(1 << 30)) as u64)),
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
