//! The coefficients file: what `fit --out` writes and `evaluate --coefficients` reads.

use std::path::{Path, PathBuf};

use alpha_flops::file_error::FileError;
use alpha_flops::files;
use alpha_flops::plain_text;
use serde::Deserialize;
use thiserror::Error;

use super::{
    Coefficients, FittedOn, FlopConvention, GroupCoefficients, KernelGroup, KernelTerm, Objective,
};

/// Why a coefficients file was refused.
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[derive(Debug, Error)]
pub enum CoefficientsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: no coefficients file: {source}; write one with `fit … --out FILE`")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path}: schema_version is {got}, expected {FIRST_VERSION} or {SCHEMA_VERSION}")]
    Version { path: PathBuf, got: u32 },
    #[error("{path}: {group}: {parameter} is {value}, expected a finite number of at least 0")]
    Parameter { path: PathBuf, group: KernelGroup, parameter: &'static str, value: f64 },
    #[error("{path}: both groups are null, expected parameters for k_equal_1 or k_above_1")]
    Empty { path: PathBuf },
}

/// Version of the coefficients file.
pub const SCHEMA_VERSION: u32 = 2;

/// Before `objective` and `constant_ms`: absolute, and 0.
const FIRST_VERSION: u32 = 1;

impl Coefficients {
    /// Reads a coefficients file, which is what `fit --out` writes and `fit --format json` prints.
    pub fn read(path: &Path) -> Result<Self, CoefficientsError> {
        let bytes = files::read(path)?;
        let text = plain_text::of_json(&bytes).map_err(|error| FileError::read(path, error))?;
        let file: CoefficientsFile = serde_json::from_str(&text)
            .map_err(|source| CoefficientsError::Json { path: path.to_owned(), source })?;
        file.validate(path)
    }
}

/// The coefficients file. Unknown fields are refused, so that a misspelt group is no absent group;
/// within a group, the statistics of its fit may follow the parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CoefficientsFile {
    schema_version: u32,
    source: String,
    fitted_on: Option<FittedOn>,
    flops: FlopConvention,
    s_k: KernelTerm,
    #[serde(default)]
    objective: Objective,
    /// Said by each group's `constant_ms`, too.
    #[serde(default, rename = "constant")]
    _constant: bool,
    k_equal_1: Option<GroupCoefficients>,
    k_above_1: Option<GroupCoefficients>,
}

impl CoefficientsFile {
    fn validate(self, path: &Path) -> Result<Coefficients, CoefficientsError> {
        if ![FIRST_VERSION, SCHEMA_VERSION].contains(&self.schema_version) {
            let got = self.schema_version;
            return Err(CoefficientsError::Version { path: path.to_owned(), got });
        }
        let coefficients = Coefficients {
            source: self.source,
            device: self.fitted_on.as_ref().map(|fitted| fitted.provenance.device.clone()),
            fitted_on: self.fitted_on,
            flops: self.flops,
            s_k: self.s_k,
            objective: self.objective,
            k_equal_1: self.k_equal_1,
            k_above_1: self.k_above_1,
        };
        if coefficients.k_equal_1.is_none() && coefficients.k_above_1.is_none() {
            return Err(CoefficientsError::Empty { path: path.to_owned() });
        }
        for group in KernelGroup::ALL {
            let Some(parameters) = coefficients.group(group) else { continue };
            let constant = ("constant_ms", parameters.constant_ms);
            for (parameter, value) in parameters.named().into_iter().chain([constant]) {
                if !(value.is_finite() && value >= 0.0) {
                    let path = path.to_owned();
                    return Err(CoefficientsError::Parameter { path, group, parameter, value });
                }
            }
        }
        Ok(coefficients)
    }
}
