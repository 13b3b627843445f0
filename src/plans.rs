//! What cuDNN would run: for each configuration the first plan that finalises, as a measurement takes it
//! where memory suffices. Nothing is launched, so that the device need not be there.

use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::backend::cudnn::graph::{Graph, Target, first_that};
use crate::backend::cudnn::{CudnnBackend, CudnnOptions, DEVICES, GpuError, Math, PlanChoice};
use crate::backend::plan::PlanRecord;
use crate::backend::{Backend, cudnn};
use crate::experiment::Configuration;
use crate::protocol::Protocol;
use crate::shape::ConvShape;
use crate::units::Bytes;

/// What decides plans, beside the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct PlanOrigin {
    pub device: String,
    /// `8.9`.
    pub compute_capability: String,
    pub asked: Asked,
    /// Version of cuDNN: `9.28.0`.
    pub cudnn: String,
    /// Of the CUDA runtime that it was built with.
    pub cudnn_cuda: String,
    pub math: Math,
}

/// How cuDNN knew the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By properties from public specifications.
    Properties,
    /// It was there.
    Device,
}

/// What cuDNN answered for a configuration: the plan, or why there is none.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Planned {
    pub configuration: Configuration,
    pub plan: Result<PlanRecord, String>,
}

/// Why plans cannot be had.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum PlansError {
    #[error(transparent)]
    Gpu(#[from] GpuError),
    #[error("{device}: {reason}, expected the properties of a device as cuDNN writes them in JSON")]
    Properties { device: String, reason: String },
}

/// A device that plans can be asked for.
pub struct Planner {
    origin: PlanOrigin,
    target: Target,
    /// The device that it is of, where there is one.
    _backend: Option<CudnnBackend>,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "deviceName")]
    name: String,
    #[serde(rename = "deviceVer")]
    version: u32,
}

impl Planner {
    /// A device by its properties: one of [`DEVICES`], by its name, or the text of a JSON file. `library` is
    /// cuDNN's file, or the folder that it is in; without it, it is searched for.
    ///
    /// # Errors
    /// [`PlansError`] where there is no cuDNN, it is older than 9.8, or it refuses the properties.
    pub fn described(
        device: &str,
        json: &str,
        library: Option<&Path>,
        math: Math,
    ) -> Result<Self, PlansError> {
        let properties: Properties = serde_json::from_str(json).map_err(|error| {
            PlansError::Properties { device: device.to_owned(), reason: error.to_string() }
        })?;
        let (target, [cudnn, cudnn_cuda]) = Target::from_properties(json, library)?;
        let origin = PlanOrigin {
            device: properties.name,
            // 890 is 8.9, 1200 is 12.0
            compute_capability: format!(
                "{}.{}",
                properties.version / 100,
                properties.version % 100 / 10
            ),
            asked: Asked::Properties,
            cudnn,
            cudnn_cuda,
            math,
        };
        Ok(Self { origin, target, _backend: None })
    }

    /// The device at hand.
    ///
    /// # Errors
    /// [`PlansError`] where it cannot be used.
    pub fn at_hand(device: u32, math: Math) -> Result<Self, PlansError> {
        let options = CudnnOptions {
            device,
            math,
            plan: PlanChoice::Heuristic,
            launch_timeout: cudnn::LAUNCH_TIMEOUT,
        };
        let backend = CudnnBackend::open(options, Protocol::HOST_LATENCY_WARM, None)?;
        let gpu = backend.device().gpu.ok_or_else(|| GpuError::Answer {
            call: "the device",
            got: "no properties".to_owned(),
            expected: "those of a GPU",
        })?;
        let origin = PlanOrigin {
            device: gpu.name,
            compute_capability: gpu.compute_capability,
            asked: Asked::Device,
            cudnn: gpu.cudnn,
            cudnn_cuda: gpu.cudnn_cuda,
            math,
        };
        Ok(Self { origin, target: backend.target(), _backend: Some(backend) })
    }

    /// The described device of the same compute capability, with the same cuDNN: its name, and what it would
    /// be given; `None` where none is described.
    ///
    /// # Errors
    /// [`PlansError`] where cuDNN is older than 9.8, or refuses the properties.
    pub fn like_described(&self) -> Result<Option<(&'static str, Self)>, PlansError> {
        let Some((name, json)) = described_as(&self.origin.compute_capability) else {
            return Ok(None);
        };
        let target = self.target.described(json)?;
        let origin = PlanOrigin { asked: Asked::Properties, ..self.origin.clone() };
        Ok(Some((name, Self { origin, target, _backend: None })))
    }

    /// What decides its plans.
    pub fn origin(&self) -> &PlanOrigin {
        &self.origin
    }

    /// The plan for a shape, whatever its workspace.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn plan(&self, shape: ConvShape) -> Result<PlanRecord, String> {
        let candidates = Graph::new(&self.target, shape).and_then(|graph| graph.candidates());
        let candidates = candidates.map_err(|error| error.to_string())?;
        let any_size = Bytes(u64::MAX);
        match first_that(&candidates, self.origin.math, any_size, |_| Ok(())) {
            Ok((plan, ())) => Ok(plan.into_record()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The plans for some configurations, in their order; `done` is told after each how many there are.
    pub fn plans(
        &self,
        configurations: Vec<Configuration>,
        mut done: impl FnMut(u64),
    ) -> Vec<Planned> {
        let plan = |(index, configuration): (usize, Configuration)| {
            let plan = self.plan(configuration.shape);
            done(index as u64 + 1);
            Planned { configuration, plan }
        };
        configurations.into_iter().enumerate().map(plan).collect()
    }
}

/// The described device of such a compute capability.
fn described_as(compute_capability: &str) -> Option<(&'static str, &'static str)> {
    let version = |json: &str| serde_json::from_str::<Properties>(json).ok().map(|p| p.version);
    let wanted: f64 = compute_capability.parse().ok()?;
    let is_wanted =
        |json| version(json).is_some_and(|v| (f64::from(v) / 100.0 - wanted).abs() < 1e-9);
    DEVICES.into_iter().find(|(_, json)| is_wanted(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn described_devices_have_the_properties_of_their_compute_capability() {
        let capabilities = ["7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"];
        for (capability, (name, _)) in capabilities.into_iter().zip(DEVICES) {
            assert_eq!(described_as(capability).unwrap().0, name);
        }
        assert_eq!(described_as("6.1"), None);
    }
}
