//! Why a sweep cannot go on.

use std::path::PathBuf;

use thiserror::Error;

use crate::backend::BackendError;
use crate::file_error::FileError;
use crate::shape::ConvShape;

/// Why a sweep cannot go on, or be read. What was kept before is safe.
#[derive(Debug, Error)]
pub enum SweepError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process works on it.
    #[error("another process works on {path}\nhint: wait for it, or choose another --out")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The sweep in the folder is another one.
    #[error(
        "{path} holds another sweep: {differences}; repeat its command, or choose another --out"
    )]
    OtherPlan {
        /// The folder.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
    /// The device can no longer be used by this process.
    #[error(
        "{shape}: {reason}\nit is recorded as failed, what was measured is safe: repeat the command \
         to continue"
    )]
    DeviceLost {
        /// What was launched.
        shape: ConvShape,
        /// What happened.
        reason: String,
        /// Whether it has work that never ends, for which the system's libraries may wait when the
        /// process ends.
        hangs: bool,
    },
    /// The backend computes something else than a convolution.
    #[error("{0}; nothing was measured: times of wrong results mean nothing, please report it")]
    Wrong(BackendError),
    /// Sweeps that do not belong together.
    #[error("cannot merge: {0}")]
    Merge(String),
}
