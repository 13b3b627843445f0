//! Latencies in the formats of other tools.
//!
//! What a format has no field for is lost there: [`Exported::unsaid`] says what, so that nobody mixes devices.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use alpha_flops::choice::choices;
use alpha_flops::file_error::FileError;
use alpha_flops::record::ConfigurationRecord;
use thiserror::Error;

use crate::dataset::{Dataset, Observation};
use crate::import::{LoadError, load};
use crate::run::{Latencies, Run};

pub mod bencher;
pub mod github_action_benchmark;
pub mod nvbench;

choices! {
    /// Whose format it is.
    pub enum Tool {
        /// `https://bencher.dev`
        Bencher = "bencher",
        /// `https://github.com/benchmark-action/github-action-benchmark`
        GithubActionBenchmark = "github-action-benchmark",
        /// `https://github.com/NVIDIA/nvbench`
        Nvbench = "nvbench",
    }
}

/// Why nothing is exported.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ExportError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: {warning}; other tools would show these times as measurements")]
    NotMeasured { path: PathBuf, warning: &'static str },
    #[error(
        "{path}: {id} is there twice, in series `{first}` and `{second}`; {tool} knows names only"
    )]
    Repeated { path: PathBuf, id: String, first: String, second: String, tool: &'static str },
    #[error("{path}: no configuration was measured")]
    Nothing { path: PathBuf },
    #[error("{path}: expected a file name in UTF-8")]
    Name { path: PathBuf },
}

/// What is exported.
#[derive(Clone, Debug)]
pub struct Measurements {
    /// Latencies and where they come from.
    pub dataset: Dataset,
    /// Single launches in nanoseconds, in their order, by id; of datasets there are none.
    pub launches: HashMap<String, Vec<f64>>,
}

/// A text in another tool's format, and what that leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The file's contents.
    pub text: String,
    /// What the file cannot say of where its numbers come from, if anything.
    pub unsaid: Option<String>,
}

impl Measurements {
    /// Reads a run with its launches, a sweep or a dataset.
    ///
    /// # Errors
    /// [`ExportError`] where it cannot be read, is empty, or was not measured.
    pub fn read(path: &Path) -> Result<Self, ExportError> {
        let measurements = match path.join("run.json").is_file() {
            true => Self::of_run(&Run::open(path)?)?,
            false => Self { dataset: load(path)?.dataset, launches: HashMap::new() },
        };
        let path = || path.to_owned();
        if let Some(warning) = measurements.dataset.provenance.warning() {
            return Err(ExportError::NotMeasured { path: path(), warning });
        }
        match measurements.dataset.observations.is_empty() {
            true => Err(ExportError::Nothing { path: path() }),
            false => Ok(measurements),
        }
    }

    fn of_run(run: &Run) -> Result<Self, ExportError> {
        let of = |record: &ConfigurationRecord, launches: &Latencies<'_>| {
            (record.id.clone(), launches.ns.to_vec())
        };
        let launches = run.map_launches(of)?.into_iter().collect();
        Ok(Self { dataset: run.dataset.clone(), launches })
    }

    /// Every configuration by a name of its own.
    ///
    /// # Errors
    /// [`ExportError::Repeated`] where two series have the same configuration.
    fn named(&self, path: &Path, tool: Tool) -> Result<Vec<(String, &Observation)>, ExportError> {
        let mut series: HashMap<String, &str> = HashMap::new();
        let mut all = Vec::new();
        for observation in &self.dataset.observations {
            let id = observation.id();
            if let Some(first) = series.insert(id.clone(), &observation.series) {
                let (first, second) = (first.to_owned(), observation.series.clone());
                let (path, tool) = (path.to_owned(), tool.name());
                return Err(ExportError::Repeated { path, id, first, second, tool });
            }
            all.push((id, observation));
        }
        Ok(all)
    }
}
