//! The α-FLOPs formula: coefficients with their conventions in, a latency out.
//!
//! ```text
//! T = T₀ + final · ((S_K + β·(S − S_K)) / S)^γ · FLOPs      T in milliseconds, S = H·W
//! ```
//!
//! T₀ is 0 in the published form.
//!
//! Source: the paper, section 3 (equation of α-FLOPs), with FLOPs and `S_K` as the published code
//! of each study computes them. The paper leaves both open, so a set of coefficients means nothing
//! without [`FlopConvention`] and [`KernelTerm`]: they are part of [`Coefficients`].

use alpha_flops::choice::choices;
use alpha_flops::shape::ConvShape;
use alpha_flops::units::Nanoseconds;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dataset::Provenance;

mod coefficients_file;

pub use coefficients_file::{CoefficientsError, SCHEMA_VERSION};

choices! {
    /// How FLOPs, in millions, are counted.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum FlopConvention {
        /// A multiply–add counts once: `H·W·K²·C_in·C_out / 10⁶`, as both studies' code computes
        Macs = "macs",
        /// A multiply–add counts twice: `2·H·W·K²·C_in·C_out / 10⁶`, as the paper states
        TwoPerMac = "two-per-mac",
    }
}

choices! {
    /// How `S_K`, which "grows slowly with K" (paper, section 3), is computed.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum KernelTerm {
        /// `S_K = ln(K·K) + 1`, by the kernel's area: the original study
        Area = "area",
        /// `S_K = ln(K) + 1`, by the kernel's side: the replication
        Side = "side",
    }
}

choices! {
    /// Kernels of one pixel and larger ones are fitted apart, by the paper and here.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(missing_docs, reason = "the names say what they are")]
    pub enum KernelGroup {
        KEqual1 = "K = 1",
        KAbove1 = "K > 1",
    }
}

choices! {
    /// The residuals whose squares a fit minimises.
    #[derive(Default, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Objective {
        /// Squares of `T̂ − T`, in milliseconds, as both studies do: the longest decide
        #[default]
        Absolute = "absolute",
        /// Squares of `T̂/T − 1`: all count alike, but estimates too low are punished less
        Relative = "relative",
        /// Squares of `ln T̂ − ln T`: half and double are equally wrong
        Log = "log",
    }
}

/// The parameters of one [`KernelGroup`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupCoefficients {
    /// β: how much of a pixel beyond `S_K` costs (dimensionless).
    pub beta: f64,
    /// γ: exponent of the correction (dimensionless).
    pub gamma: f64,
    /// `final`: milliseconds per million FLOPs, FLOPs as in [`FlopConvention`].
    #[serde(rename = "final")]
    pub final_scale: f64,
    /// T₀: what a convolution takes beside its computation, in milliseconds; 0 in the published form.
    #[serde(default)]
    pub constant_ms: f64,
}

/// What coefficients were fitted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say what they are")]
pub struct FittedOn {
    #[serde(flatten)]
    pub provenance: Provenance,
    pub configurations: u64,
}

/// A complete set of α-FLOPs coefficients: parameters, conventions and origin.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Coefficients {
    /// Who determined them, for captions.
    pub source: String,
    /// The device whose latencies they describe, where the source says it.
    pub device: Option<String>,
    /// The data behind them, where this software fitted them.
    pub fitted_on: Option<FittedOn>,
    pub flops: FlopConvention,
    pub s_k: KernelTerm,
    pub objective: Objective,
    /// Parameters for `K = 1`; `None` where there was nothing to fit them on.
    pub k_equal_1: Option<GroupCoefficients>,
    /// Parameters for `K > 1`; `None` where there was nothing to fit them on.
    pub k_above_1: Option<GroupCoefficients>,
}

/// Why there is no estimate for a shape.
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PredictError {
    #[error("the coefficients have no parameters for {group}, which {shape} needs")]
    NoParameters { shape: ConvShape, group: KernelGroup },
    /// The bracket is negative, so that its power γ is no real number.
    #[error(
        "the formula has no value for {shape}: with β = {beta}, S_K = {s_k} exceeds S so far that \
         (S_K + β·(S − S_K))/S is {base}, below zero"
    )]
    NegativeBase { shape: ConvShape, beta: f64, s_k: f64, base: f64 },
    /// Errors of such estimates would be infinite, or no numbers, in tables.
    #[error("the coefficients give {shape} a latency of {ms:e} ms, which is beyond 10 years")]
    BeyondReason { shape: ConvShape, ms: f64 },
}

/// Ten years: no convolution takes longer.
const LONGEST_NS: f64 = 10.0 * 365.25 * 86_400.0 * 1e9;

impl FlopConvention {
    /// Millions of FLOPs of one forward pass of `shape`.
    pub fn millions(self, shape: &ConvShape) -> f64 {
        let count = match self {
            Self::Macs => shape.macs().0,
            Self::TwoPerMac => shape.flops().0,
        };
        count as f64 / 1e6
    }
}

impl KernelTerm {
    /// The definition, for captions.
    pub fn formula(self) -> &'static str {
        match self {
            Self::Area => "ln(K·K) + 1",
            Self::Side => "ln(K) + 1",
        }
    }

    /// `S_K` of a square kernel of side `kernel` (at least 1); `S_1 = 1` under both conventions.
    pub fn s_k(self, kernel: usize) -> f64 {
        let side = kernel as f64;
        match self {
            Self::Area => (side * side).ln() + 1.0,
            Self::Side => side.ln() + 1.0,
        }
    }
}

impl KernelGroup {
    /// The group that `shape` belongs to.
    pub fn from_shape(shape: &ConvShape) -> Self {
        if shape.kernel() == 1 { Self::KEqual1 } else { Self::KAbove1 }
    }
}

impl GroupCoefficients {
    /// The published form's parameters in the formula's order, named as in files.
    pub fn named(&self) -> [(&'static str, f64); 3] {
        [("beta", self.beta), ("gamma", self.gamma), ("final", self.final_scale)]
    }

    /// The bracket `(S_K + β·(S − S_K)) / S`, before the power γ.
    ///
    /// For `S < S_K` (few pixels under a large kernel) it lies above 1, and for β > 1 it can fall
    /// below 0. It is computed as published all the same: the paper gives no other rule.
    pub fn base(&self, pixels: f64, s_k: f64) -> f64 {
        (s_k + self.beta * (pixels - s_k)) / pixels
    }

    /// The correction `((S_K + β·(S − S_K)) / S)^γ`, by which FLOPs become α-FLOPs; `NaN` where the
    /// bracket is negative and γ no integer.
    pub fn alpha(&self, pixels: f64, s_k: f64) -> f64 {
        self.base(pixels, s_k).powf(self.gamma)
    }
}

impl Coefficients {
    /// The original study's, for a Quadro T2000: `S_K` by area, multiply–adds.
    pub fn published_t2000() -> Self {
        Self {
            source: "published, Quadro T2000 (original study)".into(),
            device: Some("Quadro T2000".into()),
            fitted_on: None,
            flops: FlopConvention::Macs,
            s_k: KernelTerm::Area,
            objective: Objective::Absolute,
            k_equal_1: Some(GroupCoefficients {
                beta: 0.02,
                gamma: 0.99,
                final_scale: 0.0375,
                constant_ms: 0.0,
            }),
            k_above_1: Some(GroupCoefficients {
                beta: 0.001,
                gamma: 0.56,
                final_scale: 0.0375,
                constant_ms: 0.0,
            }),
        }
    }

    /// The replication's, for an RTX 4090: `S_K` by side, multiply–adds.
    pub fn published_rtx4090() -> Self {
        Self {
            source: "published, RTX 4090 (replication)".into(),
            device: Some("RTX 4090".into()),
            fitted_on: None,
            flops: FlopConvention::Macs,
            s_k: KernelTerm::Side,
            objective: Objective::Absolute,
            k_equal_1: Some(GroupCoefficients {
                beta: 0.009_725_14,
                gamma: 1.177_923_9,
                final_scale: 0.005_492_17,
                constant_ms: 0.0,
            }),
            k_above_1: Some(GroupCoefficients {
                beta: 0.007_850_36,
                gamma: 1.060_171_1,
                final_scale: 0.004_019_56,
                constant_ms: 0.0,
            }),
        }
    }

    /// Whether they were fitted on data of this very provenance.
    pub fn is_in_sample(&self, provenance: &Provenance) -> bool {
        self.fitted_on.as_ref().is_some_and(|fitted| fitted.provenance == *provenance)
    }

    /// The device they describe, where that is known to be another one than was measured on.
    pub fn other_device(&self, measured: &Provenance) -> Option<&str> {
        let device = self.device.as_deref()?;
        // drivers say `NVIDIA GeForce RTX 4090` where publications say `RTX 4090`
        let is_same = match self.fitted_on {
            Some(_) => measured.device == device,
            None => measured.device.ends_with(device),
        };
        (!is_same).then_some(device)
    }

    /// What keeps their errors against latencies of this provenance from being errors of the
    /// formula, in a sentence; `None` where device, backend and protocol are the same.
    pub fn comparability(&self, measured: &Provenance) -> Option<String> {
        if let Some(device) = self.other_device(measured) {
            return Some(format!(
                "coefficients of {device} against latencies of {}: says how far off they are here, \
                 nothing about {device}",
                measured.place()
            ));
        }
        let Some(FittedOn { provenance: fitted, .. }) = &self.fitted_on else {
            return Some(
                "what these coefficients were fitted on is not part of them: another backend or \
                 protocol than that of the latencies adds to the errors"
                    .to_owned(),
            );
        };
        let differs = |what: &str, theirs: &str, ours: &str| {
            format!(
                "coefficients fitted under {what} `{theirs}` against latencies under `{ours}`: the \
                 difference adds to the errors"
            )
        };
        if fitted.backend != measured.backend {
            return Some(differs("backend", &fitted.backend, &measured.backend));
        }
        (fitted.method() != measured.method())
            .then(|| differs("protocol", &fitted.protocol, &measured.protocol))
    }

    /// The parameters of one group, where there are any.
    pub fn group(&self, group: KernelGroup) -> Option<GroupCoefficients> {
        match group {
            KernelGroup::KEqual1 => self.k_equal_1,
            KernelGroup::KAbove1 => self.k_above_1,
        }
    }

    /// How many numbers they are.
    pub fn parameters(&self) -> usize {
        let groups = KernelGroup::ALL.into_iter().filter_map(|group| self.group(group));
        let constant = |p: &GroupCoefficients| usize::from(p.constant_ms > 0.0);
        groups.map(|parameters| parameters.named().len() + constant(&parameters)).sum()
    }

    /// The correction factor α of `shape` (dimensionless).
    ///
    /// # Errors
    /// [`PredictError`] where the shape's group has no parameters or the formula no value.
    pub fn alpha(&self, shape: &ConvShape) -> Result<f64, PredictError> {
        let group = KernelGroup::from_shape(shape);
        let parameters =
            self.group(group).ok_or(PredictError::NoParameters { shape: *shape, group })?;
        let (pixels, s_k) = (shape.pixels() as f64, self.s_k.s_k(shape.kernel()));
        let base = parameters.base(pixels, s_k);
        if base < 0.0 {
            let beta = parameters.beta;
            return Err(PredictError::NegativeBase { shape: *shape, beta, s_k, base });
        }
        Ok(parameters.alpha(pixels, s_k))
    }

    /// The estimated latency of `shape`: `final · α · FLOPs`.
    ///
    /// # Errors
    /// [`PredictError`] where the shape's group has no parameters, the formula no value, or one that no latency is.
    pub fn predict(&self, shape: &ConvShape) -> Result<Nanoseconds, PredictError> {
        let alpha = self.alpha(shape)?;
        let (scale, constant_ms) = self
            .group(KernelGroup::from_shape(shape))
            .map_or((f64::NAN, f64::NAN), |g| (g.final_scale, g.constant_ms));
        let ns = scale * alpha * self.flops.millions(shape) * 1e6 + constant_ms * 1e6;
        match ns <= LONGEST_NS {
            true => Ok(Nanoseconds(ns)),
            false => Err(PredictError::BeyondReason { shape: *shape, ms: ns / 1e6 }),
        }
    }
}

#[cfg(test)]
mod tests;
