//! A backend that computes nothing, for what is about measuring and not about convolutions.
//!
//! Included where it is needed, by its path: it is no part of the library.

use std::num::NonZeroU32;

use alpha_flops::backend::device::Device;
use alpha_flops::backend::{Backend, BackendError, LaunchTime, PreparedConv};
use alpha_flops::shape::ConvShape;
use alpha_flops::units::Bytes;

/// Prepares a convolution by asking what a launch of it shall have taken, in nanoseconds.
pub struct Null<F: FnMut(ConvShape) -> Result<f64, BackendError>>(pub F);

struct NullConv {
    launch_ns: f64,
}

/// What the host's clock would say.
pub fn time(host_ns: f64) -> LaunchTime {
    LaunchTime { host_ns, device_ns: None, submission_ns: None }
}

impl<F: FnMut(ConvShape) -> Result<f64, BackendError>> Backend for Null<F> {
    fn device(&self) -> Device {
        Device { backend: "cpu", gpu: None, pinned_cores: None }
    }

    fn required_memory(&self, shape: ConvShape) -> Bytes {
        Bytes(4 * shape.weights_len() as u64)
    }

    fn available_memory(&self) -> Option<Bytes> {
        None
    }

    fn empty_launch(&mut self) -> Result<LaunchTime, BackendError> {
        Ok(time(1.0))
    }

    fn check(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn prepare(
        &mut self,
        shape: ConvShape,
        _: u64,
    ) -> Result<Box<dyn PreparedConv + '_>, BackendError> {
        Ok(Box::new(NullConv { launch_ns: (self.0)(shape)? }))
    }
}

impl PreparedConv for NullConv {
    fn launch(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn time(&mut self, _: NonZeroU32) -> Result<LaunchTime, BackendError> {
        Ok(time(self.launch_ns))
    }

    fn algorithm(&self) -> &str {
        "null"
    }

    fn workspace_bytes(&self) -> Bytes {
        Bytes(0)
    }

    fn verify(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}
