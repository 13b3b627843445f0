//! What every backend says of itself before it is opened, and how it reads the settings that it alone
//! has.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::{Backend, BackendError};
use crate::experiment::Resolution;
use crate::protocol::{Clock, Protocol};
use crate::shape::ConvShape;
use crate::units::{Bytes, MultiplyAdds};

/// What is known of a backend before it is opened.
#[derive(Debug)]
pub struct BackendKind {
    /// As settings name it.
    pub name: &'static str,
    /// The settings that it alone has.
    pub settings: &'static [&'static str],
    /// How much is measured, unless a setting says otherwise.
    pub resolution: Resolution,
    /// What measuring may take, unless a setting says otherwise.
    pub time_budget: Duration,
    /// In how many passes over all configurations these are measured, unless a setting says otherwise.
    pub passes: NonZeroU32,
    /// Memory that a configuration may take, unless a setting says otherwise.
    pub memory_limit: Option<Bytes>,
    /// The smallest step of the device's own clock, in nanoseconds; `None` where it has none.
    pub device_clock_step_ns: Option<f64>,
    /// Whether a launch can start with cold caches.
    pub flushes_cache: bool,
    /// Whether a launch can be captured and replayed.
    pub replays_graphs: bool,
    /// How long the device's clocks take to follow the load.
    pub settle_time: Duration,
    /// What warming up and measuring cost whatever the shape, in multiply–adds.
    pub constant_cost: MultiplyAdds,
    /// The multiply–adds that a launch executes, as far as they decide its time.
    pub executed_macs: fn(ConvShape) -> MultiplyAdds,
}

impl BackendKind {
    /// The clock by which latencies are told unless a setting says otherwise: the device's, where it
    /// has one.
    pub fn clock(&self) -> Clock {
        if self.device_clock_step_ns.is_some() { Clock::Device } else { Clock::Host }
    }
}

/// What one backend is asked to do.
pub trait BackendOptions {
    /// Which backend that is.
    fn kind(&self) -> &'static BackendKind;

    /// What will compute, in a few words, for people.
    fn description(&self) -> String;

    /// What decides latencies, each by its name.
    fn facts(&self) -> Vec<(&'static str, String)>;

    /// What else is set.
    fn limits(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What decides what latencies by `protocol` mean, beside the device.
    fn method_line(&self, protocol: Protocol) -> String {
        protocol.to_string()
    }

    /// A device's name with what else of it computes.
    fn device_line(&self, device: &str) -> String {
        device.to_owned()
    }

    /// What it needs, each by itself, and whether that is there.
    fn examine(&self) -> Vec<Check>;

    /// Opens the device and its libraries, for launches of what the protocol says, with caches as it says.
    /// A configuration may take at most `memory_limit`.
    ///
    /// # Errors
    /// [`BackendError`] where there is no such device or it does not work;
    /// [`BackendError::is_absence`] tells which.
    fn open(
        &self,
        protocol: Protocol,
        memory_limit: Option<Bytes>,
    ) -> Result<Box<dyn Backend>, BackendError>;
}

/// Something that a backend needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Check {
    pub what: &'static str,
    /// Where it was found and what it is or, as an error, why it cannot be used and what to do.
    pub found: Result<String, String>,
}

impl Check {
    pub(super) fn new<F: fmt::Display, E: fmt::Display>(
        what: &'static str,
        found: Result<F, E>,
    ) -> Self {
        let found = found.map(|found| found.to_string()).map_err(|error| error.to_string());
        Self { what, found }
    }
}

/// What was set, by the names of settings.
#[derive(Clone, Copy)]
pub(crate) struct SettingTexts<'a>(pub(crate) &'a dyn Fn(&str) -> Option<&'a str>);

/// A setting that has no usable value, and why.
pub(crate) struct InvalidSetting {
    pub(crate) name: &'static str,
    pub(crate) reason: String,
}

impl SettingTexts<'_> {
    /// The value of a setting; `None` where it is not set.
    pub(crate) fn parse<T, E: fmt::Display>(
        self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, InvalidSetting> {
        let parsed = (self.0)(name).map(|text| parse(text.trim()));
        parsed.transpose().map_err(|e| InvalidSetting { name, reason: e.to_string() })
    }
}
