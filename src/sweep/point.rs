//! A configuration of a sweep and what became of it.

use crate::choice::choices;
use crate::shape::ConvShape;

/// A configuration of a sweep and what became of it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct SweepPoint {
    /// Its place in the order of the whole grid, from 0.
    pub position: u32,
    pub shape: ConvShape,
    pub outcome: PointOutcome,
    /// Time that it took in all, in seconds.
    pub wall_s: f64,
    /// The process that measured or skipped it: which of the sweep's sessions, from 0.
    pub session: u32,
}

/// What became of a configuration of a sweep.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub enum PointOutcome {
    Measured {
        algorithm: String,
        /// Launches behind the time, without those of the warm-up.
        launches: u32,
        host_ns: f64,
        /// Time of a launch by the device's clock, if it has one.
        device_ns: Option<f64>,
        /// How single launches scatter by the protocol's clock; `None` for launches back to back.
        spread: Option<Spread>,
    },
    /// Not measured.
    Skipped {
        reason: Skip,
        /// The reason in numbers.
        detail: String,
    },
    /// Tried, without a result.
    Failed { detail: String },
}

/// How single launches scatter.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Spread {
    pub mean_ns: f64,
    pub q1_ns: f64,
    pub q3_ns: f64,
    /// Launches between Tukey's inner and outer fences.
    pub outliers_mild: u64,
    /// Launches outside Tukey's outer fences.
    pub outliers_severe: u64,
}

choices! {
    /// Why a configuration was not measured.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Skip {
        /// It needs more memory than is allowed or free.
        Memory = "memory",
        /// It would take too large a part of the time budget.
        Budget = "budget",
    }
}

impl PointOutcome {
    /// `measured`, `skipped` or `failed`.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Measured { .. } => "measured",
            Self::Skipped { .. } => "skipped",
            Self::Failed { .. } => "failed",
        }
    }
}
