//! Where a convolution runs: the one seam between measuring and computing.

use std::num::NonZeroU32;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::disturbance::Threads;
use crate::protocol::Convolution;
use crate::reference::{self, Arithmetic};
use crate::shape::ConvShape;
use crate::units::Bytes;

pub mod cpu;
pub mod cudnn;
pub mod device;
mod error;
mod kind;
pub mod plan;
mod registry;

use device::{Device, DeviceSample};
pub use error::BackendError;
pub(crate) use kind::SettingTexts;
pub use kind::{BackendKind, BackendOptions, Check};
use plan::PlanRecord;
pub use registry::{BACKENDS, BackendSettings};

/// The time of one launch, or the mean over several launches back to back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchTime {
    /// From before the launch until the device is idle again, by the host's clock, in nanoseconds.
    pub host_ns: f64,
    /// Between events before and after the launch on the device's stream, in nanoseconds; `None`
    /// for a backend that has none.
    pub device_ns: Option<f64>,
    /// The time that the host took to submit it, in nanoseconds; `None` where a launch is a function
    /// call that computes.
    pub submission_ns: Option<f64>,
}

/// What state a machine is in: quick measurements that have nothing to do with convolutions. What a
/// backend cannot measure is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Time of a multiply–add where many are independent, on the slowest of the computing cores while
    /// all compute: how fast cores are clocked, and whether they share what computes.
    pub multiply_add_ns: Option<f64>,
    /// Time of a round trip of a cache line between computing cores, the slowest pair's: how far apart
    /// they are.
    pub ping_pong_ns: Option<f64>,
    /// Rate at which a core reads memory that is in no cache.
    pub read_gb_s: Option<f64>,
    /// Rate at which a device copies memory that is in no cache of its own: read and written, counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_gb_s: Option<f64>,
    /// How long measuring all this took; `None` in older records.
    pub took_ns: Option<f64>,
}

/// Something that can prepare convolutions: a CPU or a GPU library.
pub trait Backend {
    /// What computes.
    fn device(&self) -> Device;

    /// What a user should know of how it computes here, a line each.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Whether launches can be queued before the device begins with them, see [`PreparedConv::time_queued`].
    ///
    /// # Errors
    /// Why not.
    fn queues(&self) -> Result<(), BackendError> {
        Err(BackendError::Unsupported { what: "hold launches back until they are queued" })
    }

    /// The device memory that `shape` needs, as far as is known before it is prepared: on a CPU tensors
    /// and workspace, on a GPU the tensors.
    fn required_memory(&self, shape: ConvShape) -> Bytes;

    /// The device's free memory, where it can be read.
    fn available_memory(&self) -> Option<Bytes>;

    /// The launch overhead: the median time of many launches that launch nothing.
    fn empty_launch(&mut self) -> Result<LaunchTime, BackendError>;

    /// Checks that the device can still be used: after some faults, nothing works on it any more in
    /// this process.
    fn check(&mut self) -> Result<(), BackendError>;

    /// Measures what state the machine is in, in a few milliseconds at most.
    ///
    /// # Errors
    /// [`BackendError`] where the device cannot be used any more.
    fn probe(&mut self) -> Result<Probe, BackendError> {
        Ok(Probe::default())
    }

    /// Turns reuse of buffers on or off: a convolution then takes the memory of an earlier one where
    /// that suffices. Allocation is most of the cost of preparing many. A backend may ignore it.
    fn reuse_buffers(&mut self, _reuse: bool) {}

    /// Allocates tensors and workspace, fills input and weights from `seed`, and plans the
    /// algorithm, so that a launch does nothing but compute.
    ///
    /// # Errors
    /// [`BackendError`] where memory runs out or no algorithm takes the shape.
    fn prepare(
        &mut self,
        shape: ConvShape,
        seed: u64,
    ) -> Result<Box<dyn PreparedConv + '_>, BackendError>;
}

/// One convolution, ready to be launched any number of times.
pub trait PreparedConv {
    /// Enqueues (or, on a CPU, completes) one forward pass.
    fn launch(&mut self) -> Result<(), BackendError>;

    /// Waits until every launch so far has finished.
    ///
    /// # Errors
    /// [`BackendError`] where a launch failed meanwhile.
    fn synchronize(&mut self) -> Result<(), BackendError>;

    /// Synchronises, launches this number of times back to back, and synchronises again: the mean time
    /// of a launch.
    fn time(&mut self, launches: NonZeroU32) -> Result<LaunchTime, BackendError> {
        self.synchronize()?;
        let start = Instant::now();
        for _ in 0..launches.get() {
            self.launch()?;
        }
        self.synchronize()?;
        let host_ns = start.elapsed().as_nanos() as f64 / f64::from(launches.get());
        Ok(LaunchTime { host_ns, device_ns: None, submission_ns: None })
    }

    /// Synchronises, launches once, with the device held back until the launch is queued, and synchronises
    /// again: the device's time is then its own. Not for a plan's first launch.
    ///
    /// # Errors
    /// [`BackendError`] where that cannot be done, or the launch fails.
    fn time_queued(&mut self) -> Result<LaunchTime, BackendError> {
        Err(BackendError::Unsupported { what: "hold launches back until they are queued" })
    }

    /// As [`PreparedConv::time`], with replays of a launch that was captured before: the host submits each at
    /// once, however many kernels it has.
    ///
    /// # Errors
    /// [`BackendError`] where that cannot be done, or a launch fails.
    fn time_replays(&mut self, _launches: NonZeroU32) -> Result<LaunchTime, BackendError> {
        Err(BackendError::Unsupported { what: "replay launches" })
    }

    /// The threads of this process that compute a launch; none where a device does.
    fn threads(&self) -> Threads {
        Threads::default()
    }

    /// Evicts the tensors from the device's last-level cache, for protocols that start cold.
    ///
    /// # Errors
    /// [`BackendError`] where the backend cannot, or the device reports a fault.
    fn flush_cache(&mut self) -> Result<(), BackendError> {
        Err(BackendError::Unsupported { what: "flush the cache" })
    }

    /// The device's clocks, temperature and power while it launches; `None` where they cannot be
    /// read.
    fn device_sample(&mut self) -> Result<Option<DeviceSample>, BackendError> {
        Ok(None)
    }

    /// The plan of a library that chooses among several; `None` where there is no choice.
    fn plan(&self) -> Option<&PlanRecord> {
        None
    }

    /// The algorithm chosen for this shape, in a few words of `[a-z0-9-]`, for the record.
    fn algorithm(&self) -> &str;

    /// Scratch memory that the algorithm uses in addition to the three tensors.
    fn workspace_bytes(&self) -> Bytes;

    /// Poisons the output, launches once, and compares some output values with a direct `f64` sum.
    ///
    /// # Errors
    /// [`BackendError::Verification`] on the first value outside the tolerance.
    fn verify(&mut self) -> Result<(), BackendError>;
}

/// Compares values of an output that was computed from the tensors of `seed` with direct sums, to which the
/// biases of `seed` are added where a launch adds them; `read` gets the value at `[channel, row, column]`.
fn compare_with_direct_sums(
    (shape, convolution): (ConvShape, Convolution),
    seed: u64,
    arithmetic: Arithmetic,
    algorithm: &str,
    mut read: impl FnMut([usize; 3]) -> Result<f32, BackendError>,
) -> Result<(), BackendError> {
    for position in reference::positions_to_check(shape, seed) {
        let got = read(position)?;
        let sum = reference::output_value(
            shape,
            |index| reference::input_value(seed, index),
            |index| reference::weight_value(seed, index),
            arithmetic,
            position,
        );
        let expected = match convolution {
            Convolution::Plain => sum,
            Convolution::Framework => sum.with_bias(reference::bias_value(seed, position[0])),
        };
        if !expected.accepts(got) {
            let [channel, row, column] = position;
            return Err(BackendError::Verification {
                shape,
                algorithm: algorithm.to_owned(),
                channel,
                row,
                column,
                expected: expected.value,
                got,
                tolerance: expected.tolerance,
            });
        }
    }
    Ok(())
}
