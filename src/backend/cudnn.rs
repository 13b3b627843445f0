//! Convolution by cuDNN on a CUDA device.

mod error;
mod library;

pub use error::{GpuError, Library, RefusedPlan, Status};
