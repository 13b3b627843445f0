//! Why a backend failed.

use thiserror::Error;

use super::cudnn::GpuError;
use crate::shape::ConvShape;
use crate::units::Bytes;

/// Why a convolution could not be prepared, launched or trusted.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages explain the fields")]
pub enum BackendError {
    #[error("{shape} needs {required} of memory, which could not be allocated")]
    OutOfMemory { shape: ConvShape, required: Bytes },
    #[error(
        "{shape}: output[{channel}, {row}, {column}] is {got}, expected {expected} ± {tolerance:e} \
         ({algorithm})"
    )]
    Verification {
        shape: ConvShape,
        algorithm: String,
        channel: usize,
        row: usize,
        column: usize,
        expected: f64,
        got: f32,
        tolerance: f64,
    },
    #[error("{shape}: {tensor} has {got} elements, expected {expected}")]
    TensorLength { shape: ConvShape, tensor: &'static str, expected: usize, got: usize },
    #[error("could not start {threads} compute threads: {reason}")]
    Threads { threads: usize, reason: String },
    #[error("{}{source}", .shape.map(|shape| format!("{shape}: ")).unwrap_or_default())]
    Gpu { shape: Option<ConvShape>, source: GpuError },
    #[error("this backend cannot {what}")]
    Unsupported { what: &'static str },
}

impl BackendError {
    /// Whether it is for want of memory: a smaller configuration may well be measured.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::OutOfMemory { .. } => true,
            Self::Gpu { source, .. } => source.is_out_of_memory(),
            _ => false,
        }
    }

    /// Whether there is no such device, rather than one that does not work.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Gpu { source, .. } if source.is_absence())
    }

    /// Whether the device has work that never ends, for which the system's libraries may wait when
    /// the process ends.
    pub fn is_hang(&self) -> bool {
        matches!(self, Self::Gpu { source, .. } if source.is_hang())
    }
}

impl From<GpuError> for BackendError {
    fn from(source: GpuError) -> Self {
        Self::Gpu { shape: None, source }
    }
}
