//! Where a convolution runs: the one seam between measuring and computing.

use thiserror::Error;

use crate::shape::ConvShape;
use crate::units::Bytes;

pub mod cpu;
pub mod cudnn;
pub mod plan;

/// Something that can prepare convolutions: a CPU or a GPU library.
pub trait Backend {
    /// What a launch of `shape` will hold in memory: tensors and workspace together.
    fn required_memory(&self, shape: ConvShape) -> Bytes;

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
    ///
    /// # Errors
    /// [`BackendError`] where the device reports a fault.
    fn launch(&mut self) -> Result<(), BackendError>;

    /// Waits until every launch so far has finished.
    ///
    /// # Errors
    /// [`BackendError`] where a launch failed meanwhile.
    fn synchronize(&mut self) -> Result<(), BackendError>;

    /// The algorithm chosen for this shape, in a few words of `[a-z0-9-]`, for the record.
    fn algorithm(&self) -> &str;

    /// Bytes of scratch memory the algorithm uses beside the three tensors.
    fn workspace_bytes(&self) -> Bytes;

    /// Poisons the output, launches once, and compares some output values with a direct `f64` sum.
    ///
    /// # Errors
    /// [`BackendError::Verification`] on the first value outside the tolerance.
    fn verify(&mut self) -> Result<(), BackendError>;
}

/// Why a convolution could not be prepared, launched or trusted.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The tensors and workspace do not fit.
    #[error("{shape} needs {required}, which could not be allocated")]
    OutOfMemory {
        /// The configuration.
        shape: ConvShape,
        /// What it would take.
        required: Bytes,
    },
    /// An output value is wrong.
    #[error(
        "{shape}: output[{channel}, {row}, {column}] is {got}, expected {expected} ± {tolerance:e} \
         ({algorithm})"
    )]
    Verification {
        /// The configuration.
        shape: ConvShape,
        /// The algorithm that computed it.
        algorithm: String,
        /// Output channel.
        channel: usize,
        /// Output row.
        row: usize,
        /// Output column.
        column: usize,
        /// The direct sum, in `f64`.
        expected: f64,
        /// What the launch wrote.
        got: f32,
        /// The largest difference that rounding explains.
        tolerance: f64,
    },
    /// A given tensor has not as many elements as its shape.
    #[error("{shape}: {tensor} has {got} elements, expected {expected}")]
    TensorLength {
        /// The configuration.
        shape: ConvShape,
        /// `input` or `weights`.
        tensor: &'static str,
        /// Elements by the shape.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// The threads a CPU backend needs could not be started.
    #[error("could not start {threads} compute threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}
