//! Criterion's files: all that is known here about their layout. Checked with criterion 0.8.2.
//!
//! ```text
//! <home>/<group>/<benchmark>/<baseline>/
//!   benchmark.json   ids, as the benchmark was named (the folders are cut and cleaned names)
//!   sample.json      iters and times of every sample, in launch order
//!   estimates.json   mean, median, … with intervals
//!   tukey.json       the four fences
//! ```
//!
//! They carry neither unit nor time nor environment, and criterion overwrites them in place: a
//! killed process leaves cut files, and folders mixed of two runs.

use std::fs;
use std::path::{Path, PathBuf};

use alpha_flops::file_error::FileError;
use alpha_flops::files;
use alpha_flops::statistics::Fences;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One benchmark as criterion stored it.
#[derive(Clone, Debug, PartialEq)]
pub struct Benchmark {
    /// `group/function`, as the benchmark was named.
    pub full_id: String,
    /// Elements of its throughput: multiply–adds.
    pub elements: Option<u64>,
    /// Iterations of every sample.
    pub iterations: Vec<f64>,
    /// Time of every sample, in the measurement's unit.
    pub times: Vec<f64>,
    /// Criterion's median of time per iteration.
    pub median: f64,
    /// Criterion's fences of time per iteration.
    pub fences: Fences,
}

impl Benchmark {
    /// Reads the benchmark that criterion keeps in `folder` (`…/new`, or a named baseline).
    ///
    /// # Errors
    /// [`FileError`] with the path of the file that is missing, cut, or not what is expected.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        #[derive(Deserialize)]
        struct Sample {
            iters: Vec<f64>,
            // criterion stores an infinite time as null
            times: Vec<Option<f64>>,
        }
        #[derive(Deserialize)]
        struct Estimates {
            median: Estimate,
        }
        #[derive(Deserialize)]
        struct Estimate {
            point_estimate: f64,
        }
        let id = Id::read(folder)?;
        let sample: Sample = read_json(&folder.join("sample.json"))?;
        let estimates: Estimates = read_json(&folder.join("estimates.json"))?;
        let [low_severe, low_mild, high_mild, high_severe]: [f64; 4] =
            read_json(&folder.join("tukey.json"))?;
        Ok(Self {
            full_id: id.full_id,
            elements: id.throughput.and_then(|throughput| throughput.elements),
            iterations: sample.iters,
            times: sample.times.into_iter().map(|time| time.unwrap_or(f64::INFINITY)).collect(),
            median: estimates.median.point_estimate,
            fences: Fences { low_severe, low_mild, high_mild, high_severe },
        })
    }
}

#[derive(Deserialize)]
struct Id {
    full_id: String,
    throughput: Option<IdThroughput>,
}

#[derive(Deserialize)]
struct IdThroughput {
    #[serde(rename = "Elements")]
    elements: Option<u64>,
}

impl Id {
    fn read(folder: &Path) -> Result<Self, FileError> {
        read_json(&folder.join("benchmark.json"))
    }
}

/// A folder in which criterion keeps a benchmark.
#[derive(Debug)]
pub struct BenchmarkFolder {
    /// `<home>/<group>/<benchmark>/<baseline>`.
    pub folder: PathBuf,
    /// The id its `benchmark.json` gives, or why that cannot be read.
    pub id: Result<String, FileError>,
}

/// Every benchmark folder of a baseline under `home`, in the order of their paths.
///
/// # Errors
/// [`FileError`] where `home` itself cannot be listed.
pub fn benchmarks(home: &Path, baseline: &str) -> Result<Vec<BenchmarkFolder>, FileError> {
    let mut found = Vec::new();
    for group in folders(home)? {
        for benchmark in folders(&group)? {
            let folder = benchmark.join(baseline);
            if folder.is_dir() {
                let id = Id::read(&folder).map(|id| id.full_id);
                found.push(BenchmarkFolder { folder, id });
            }
        }
    }
    Ok(found)
}

fn folders(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let error = |error| FileError::read(path, error);
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).map_err(error)? {
        let entry = entry.map_err(error)?.path();
        if entry.is_dir() {
            folders.push(entry);
        }
    }
    folders.sort();
    Ok(folders)
}

const NOT_CRITERIONS: &str = "criterion was interrupted, or another version of it wrote this file";

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = files::read(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| FileError::read(path, format!("{error}; {NOT_CRITERIONS}")))
}
