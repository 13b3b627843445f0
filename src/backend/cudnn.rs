//! Convolution by cuDNN on a CUDA device.

mod descriptor;
mod error;
pub mod graph;
mod library;

pub use super::plan::RefusedPlan;
pub use error::{GpuError, Library, Status};
