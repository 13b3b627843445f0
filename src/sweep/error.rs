//! Why a sweep cannot go on.

use std::path::PathBuf;

use thiserror::Error;

use crate::backend::BackendError;
use crate::file_error::FileError;
use crate::shape::ConvShape;

/// Why a sweep cannot go on. What was measured before is safe.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the other fields are")]
pub enum SweepError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("another process works on {path}\nhint: wait for it, or choose another --out")]
    Locked { path: PathBuf },
    #[error(
        "{path} holds another sweep: {differences}; a sweep is continued by its own command alone\n\
         hint: repeat that command, or choose another --out"
    )]
    OtherPlan { path: PathBuf, differences: String },
    /// The device can no longer be used by this process.
    #[error(
        "{shape}: {reason}\n\
         hint: repeat the command to continue; {shape} is recorded as failed, and what was measured \
         is safe"
    )]
    DeviceLost {
        shape: ConvShape,
        reason: String,
        /// Whether it has work that never ends: the system's libraries may wait for that when the
        /// process ends.
        hangs: bool,
    },
    #[error(
        "none of the {configurations} configurations of {path} could be measured: {first}\n\
         hint: start another sweep with a longer budget or more memory"
    )]
    NothingMeasured {
        path: PathBuf,
        configurations: u64,
        /// What became of the first.
        first: String,
    },
    /// The backend computes something else than a convolution.
    #[error(
        "{0}\nnothing was measured: times of wrong results mean nothing\n\
         hint: report this as a bug of alpha-flops"
    )]
    Wrong(BackendError),
    /// Sweeps that are not the shards of one.
    #[error("cannot merge: {0}")]
    Merge(String),
}
