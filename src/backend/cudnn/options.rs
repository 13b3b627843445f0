//! What the cuDNN backend can be asked, and what is known of it beforehand.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CudnnBackend, doctor};
use crate::backend::kind::{BackendKind, BackendOptions, Check, InvalidSetting, SettingTexts};
use crate::backend::{Backend, BackendError};
use crate::choice::choices;
use crate::experiment::Resolution;
use crate::protocol::Protocol;
use crate::units::{Bytes, MultiplyAdds};

/// The step of a device's clock, in nanoseconds: events of CUDA have "a resolution of around 0.5
/// microseconds" (driver API, `cuEventElapsedTime`). That of newer devices is finer, but undocumented.
pub(super) const EVENT_STEP_NS: f64 = 500.0;

/// What a launch may take, or a sample of several more than is expected of it, before the device counts as
/// hanging.
pub const LAUNCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Far longer ones overflow the clock.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// CUDA devices, by cuDNN.
pub static KIND: BackendKind = BackendKind {
    name: "cudnn",
    settings: &["device", "launch_timeout", "math", "plan"],
    resolution: Resolution::Full,
    // for all 9,105 configurations
    time_budget: Duration::from_secs(3600),
    passes: NonZeroU32::new(4).unwrap(),
    memory_limit: None,
    device_clock_step_ns: Some(EVENT_STEP_NS),
    flushes_cache: true,
    replays_graphs: true,
    settle_time: Duration::from_millis(50),
    // some 0.1 ms of a GPU: warming up and launching take as long for any shape
    constant_cost: MultiplyAdds(2_000_000_000),
    executed_macs: |shape| shape.macs(),
};

choices! {
    /// What arithmetic is allowed on `f32` tensors.
    #[derive(Hash, Serialize, Deserialize)]
    pub enum Math: "math" {
        /// Tensor cores may round inputs to TF32 (10 bits of fraction); sums are in `f32`. PyTorch's
        /// default for convolutions.
        #[serde(rename = "tf32")]
        Tf32 = "tf32",
        /// `f32` throughout.
        #[serde(rename = "fp32")]
        F32 = "fp32",
    }
}

choices! {
    /// How a plan is chosen among those that cuDNN offers.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum PlanChoice: "plan" {
        /// The first of the heuristics' answer that works, as frameworks do by default.
        Heuristic = "heuristic",
        /// The fastest of the first few, each timed.
        Measured = "measured",
    }
}

/// What the backend is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct CudnnOptions {
    /// Index of the CUDA device, as CUDA counts those visible.
    pub device: u32,
    pub math: Math,
    pub plan: PlanChoice,
    /// What a launch may take before the device counts as hanging.
    pub launch_timeout: Duration,
}

impl CudnnOptions {
    pub(crate) fn read(texts: SettingTexts<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            device: texts.parse("device", parse_device)?.unwrap_or(0),
            math: texts.parse("math", Math::from_str)?.unwrap_or(Math::Tf32),
            plan: texts.parse("plan", PlanChoice::from_str)?.unwrap_or(PlanChoice::Heuristic),
            launch_timeout: texts.parse("launch_timeout", parse_timeout)?.unwrap_or(LAUNCH_TIMEOUT),
        })
    }
}

fn parse_device(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "expected the index of a CUDA device, from 0 on")
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() && timeout <= LONGEST_TIMEOUT => Ok(timeout),
        Ok(_) => Err("expected more than zero and at most 10 years".to_owned()),
        Err(e) => Err(format!("{e}; expected e.g. `60s`")),
    }
}

impl BackendOptions for CudnnOptions {
    fn kind(&self) -> &'static BackendKind {
        &KIND
    }

    fn description(&self) -> String {
        let Self { device, math, plan, .. } = self;
        format!("cudnn on device {device} (math {math}, plan {plan})")
    }

    /// Which card it is, the platform says.
    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![("math", self.math.to_string()), ("plan", self.plan.to_string())]
    }

    fn limits(&self) -> Vec<(&'static str, String)> {
        vec![("launch timeout", format!("{} s", self.launch_timeout.as_secs_f64()))]
    }

    fn method_line(&self, protocol: Protocol) -> String {
        format!("{protocol}, math {}, plan {}", self.math, self.plan)
    }

    fn examine(&self) -> Vec<Check> {
        doctor::examine(self.device)
    }

    fn open(
        &self,
        protocol: Protocol,
        memory_limit: Option<Bytes>,
    ) -> Result<Box<dyn Backend>, BackendError> {
        Ok(Box::new(CudnnBackend::open(self.clone(), protocol, memory_limit)?))
    }
}
