//! Measurements as a [`Dataset`]: this project's runs, and other people's data, one module a
//! source.

use std::fmt;
use std::path::{Path, PathBuf};

use alpha_flops::file_error::FileError;
use alpha_flops::record::Quiet;
use alpha_flops::sweep::HEADER;
use alpha_flops::sweep::SweepError;
use serde::Serialize;
use thiserror::Error;

use crate::dataset::{Dataset, DatasetError, Provenance};
use crate::run::Missing;

pub mod asperti;
pub mod criterion;
mod environment;
pub mod nvbench;
mod pickle;
pub mod sweep;

use criterion::ImportError;

/// Measurements to analyse, with what is known beside them.
#[derive(Debug)]
pub struct Imported {
    /// The configurations that were measured and whose files are sound.
    pub dataset: Dataset,
    /// Benchmarks left out because a file of theirs is damaged.
    pub rejected: Vec<Missing>,
    /// Configurations that were skipped, or that failed.
    pub not_measured: Vec<Missing>,
    /// The environment, as names and values to show.
    pub environment: Vec<(String, String)>,
    /// How quiet the machine was, where that is known.
    pub quiet: Option<Quiet>,
    /// Columns of a dataset's file that no dataset has, and that were ignored.
    pub ignored_columns: Vec<String>,
}

/// What an import made, and what it left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "`Imported` says what the other fields are")]
pub struct Summary {
    /// The dataset written.
    pub out: PathBuf,
    pub configurations: usize,
    pub provenance: Provenance,
    pub rejected: Vec<Missing>,
    pub not_measured: Vec<Missing>,
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
        for missing in not_measured.iter().chain(rejected) {
            writeln!(f, "{missing}")?;
        }
        Ok(())
    }
}

/// Neither a run nor a dataset.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the names say what was read")]
pub enum LoadError {
    #[error(transparent)]
    Run(#[from] ImportError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Environment(#[from] FileError),
}

/// Reads the folder of a run or a sweep, or a dataset's file; of the latter nothing but the latencies
/// is known, and, where its environment lies beside it as in an archive, how quiet the machine was.
pub fn load(path: &Path) -> Result<Imported, LoadError> {
    if path.join(HEADER).is_file() {
        return Ok(sweep::read(path)?);
    }
    if path.is_dir() {
        return Ok(criterion::read(path)?);
    }
    let (dataset, ignored_columns) = Dataset::read_with_ignored(path)?;
    let quiet = environment::quiet_of(path, &dataset.provenance)?;
    Ok(Imported { quiet, ignored_columns, ..dataset.into() })
}

/// A dataset by itself: nothing is known to be missing from it.
impl From<Dataset> for Imported {
    fn from(dataset: Dataset) -> Self {
        let (rejected, not_measured, environment, ignored_columns) = Default::default();
        Self { dataset, rejected, not_measured, environment, quiet: None, ignored_columns }
    }
}
