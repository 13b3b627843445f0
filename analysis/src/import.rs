//! Measurements as a [`Dataset`]: this project's runs, and other people's data, one module a
//! source.

use std::path::Path;

use thiserror::Error;

use crate::dataset::{Dataset, DatasetError};

pub mod asperti;
pub mod criterion;
mod pickle;

use criterion::{ImportError, Imported};

/// Neither a run nor a dataset.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A folder that is no run.
    #[error(transparent)]
    Run(#[from] ImportError),
    /// A file that is no dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

/// Reads a run's folder, or a dataset's file; of the latter nothing but the latencies is known.
///
/// # Errors
/// [`LoadError`] where `path` is neither.
pub fn load(path: &Path) -> Result<Imported, LoadError> {
    if path.is_dir() {
        return Ok(criterion::read(path)?);
    }
    Ok(Imported {
        dataset: Dataset::read(path)?,
        rejected: Vec::new(),
        not_measured: Vec::new(),
        environment: Vec::new(),
    })
}
