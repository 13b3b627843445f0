//! Measurements as a [`Dataset`]: this project's runs, and other people's data, one module a
//! source.

use std::fmt;
use std::path::{Path, PathBuf};

use alpha_flops::sweep::HEADER;
use alpha_flops::sweep::SweepError;
use serde::Serialize;
use thiserror::Error;

use crate::dataset::{Dataset, DatasetError, Provenance};

pub mod asperti;
pub mod criterion;
mod pickle;
pub mod sweep;

use criterion::{ImportError, Imported, NotMeasured, Rejected};

/// What an import made, and what it left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The dataset written.
    pub out: PathBuf,
    /// Configurations in it.
    pub configurations: usize,
    /// Where they come from.
    pub provenance: Provenance,
    /// Benchmarks left out because a file of theirs is not sound.
    pub rejected: Vec<Rejected>,
    /// Configurations that the run itself skipped, or that failed.
    pub not_measured: Vec<NotMeasured>,
}

impl Summary {
    /// Of what was imported into the dataset at `out`.
    pub fn new(imported: &Imported, out: &Path) -> Self {
        Self {
            out: out.to_owned(),
            configurations: imported.dataset.observations.len(),
            provenance: imported.dataset.provenance.clone(),
            rejected: imported.rejected.clone(),
            not_measured: imported.not_measured.clone(),
        }
    }
}

/// One line, and one for each configuration that the dataset lacks.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { out, configurations, provenance, rejected, not_measured } = self;
        let device = &provenance.device;
        writeln!(f, "{}: {configurations} configurations on {device}", out.display())?;
        for NotMeasured { id, status, reason } in not_measured {
            writeln!(f, "{status} {id}: {reason}")?;
        }
        for Rejected { id, reason } in rejected {
            writeln!(f, "left out {id}: {reason}")?;
        }
        Ok(())
    }
}

/// Neither a run nor a dataset.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A folder that is no run.
    #[error(transparent)]
    Run(#[from] ImportError),
    /// A folder of a sweep that is not sound.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A file that is no dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

/// Reads the folder of a run or a sweep, or a dataset's file; of the latter nothing but the latencies
/// is known.
///
/// # Errors
/// [`LoadError`] where `path` is neither.
pub fn load(path: &Path) -> Result<Imported, LoadError> {
    if path.join(HEADER).is_file() {
        return Ok(sweep::read(path)?);
    }
    if path.is_dir() {
        return Ok(criterion::read(path)?);
    }
    Ok(Dataset::read(path)?.into())
}

/// A dataset by itself: nothing is known to be missing from it.
impl From<Dataset> for Imported {
    fn from(dataset: Dataset) -> Self {
        Self { dataset, rejected: Vec::new(), not_measured: Vec::new(), environment: Vec::new() }
    }
}
