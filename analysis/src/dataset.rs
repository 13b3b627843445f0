//! A dataset: configurations with their latencies and where they come from. Everything below the
//! importers takes one.
//!
//! On disk it is one table, CSV or Parquet with the same columns (`row.rs`). What is read is
//! validated row by row; what is written is validated the same way, so it can be read back.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use alpha_flops::backend::device::{SIMULATED, SIMULATED_BACKEND, STAND_IN, STAND_IN_BACKEND};
use alpha_flops::experiment::configuration_id;
use alpha_flops::file_error::FileError;
use alpha_flops::files::write_atomically;
use alpha_flops::shape::ConvShape;
use alpha_flops::statistics::Summary;
use alpha_flops::units::Nanoseconds;
use thiserror::Error;

mod csv_file;
mod parquet_file;
mod row;

use row::{Problem, Row, check_text};

/// Where the latencies of a dataset come from; equal for every row, shown by every table and plot.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// Who measured: a run id, or a publication.
    pub source: String,
    /// `cpu`, `cudnn`, … or `unknown`.
    pub backend: String,
    /// The processor or GPU, with what else identifies it (`AMD EPYC, 2 threads`).
    pub device: String,
    /// Versions that decide the numbers (`gemm 0.19.0, rustc 1.95.0`), or `unknown`.
    pub versions: String,
    /// What one timed launch meant (`latency-warm`, …) and how many.
    pub protocol: String,
}

/// What figures, tables and reports of a stand-in say first.
pub const NOT_A_GPU: &str = "NOT A GPU: a stand-in for its libraries computed, on a CPU; these \
                             times are no measurement of anything";

/// What figures, tables and reports of a simulated run say first.
pub const NOT_MEASURED: &str = "SIMULATED: nothing was measured; these times were made up, with \
                                known differences, to test the software";

impl Provenance {
    /// Whether the times come from the stand-in for a GPU's libraries or from a simulation. They mean
    /// nothing, and must not be shown beside measurements.
    pub fn is_stand_in(&self) -> bool {
        self.warning().is_some()
    }

    /// The warning to show first if the times are not measurements.
    pub fn warning(&self) -> Option<&'static str> {
        match (self.backend.as_str(), self.device.as_str()) {
            (STAND_IN_BACKEND, _) | (_, STAND_IN) => Some(NOT_A_GPU),
            (SIMULATED_BACKEND, _) | (_, SIMULATED) => Some(NOT_MEASURED),
            _ => None,
        }
    }

    /// What was measured on, for sentences: `AMD EPYC, 2 threads (cpu)`.
    pub fn place(&self) -> String {
        match self.backend.as_str() {
            // the name says it
            STAND_IN_BACKEND | SIMULATED_BACKEND => self.device.clone(),
            "unknown" => format!("{} (backend unknown)", self.device),
            backend => format!("{} ({backend})", self.device),
        }
    }

    /// The protocol without the number of launches at its end (`, profile standard`, `, 50 samples`,
    /// `, 50 launches after 10`) and that of passes (`, 5 passes`). A median of more launches estimates the same
    /// quantity more precisely.
    pub fn method(&self) -> &str {
        let counts = |text: &str, is_counted: fn(&str) -> bool| {
            let number_of = text.split_once(' ');
            number_of.is_some_and(|(n, what)| n.parse::<u64>().is_ok() && is_counted(what))
        };
        let is_passes = |text: &str| counts(text, |what| what == "passes");
        let is_launches = |text: &str| {
            let of_launches = |what: &str| what == "samples" || what.starts_with("launches after ");
            text.starts_with("profile ") || counts(text, of_launches)
        };
        let without = |text, is_so: &dyn Fn(&str) -> bool| match str::rsplit_once(text, ", ") {
            Some((before, last)) if is_so(last) => before,
            _ => text,
        };
        without(without(&self.protocol, &is_passes), &is_launches)
    }

    fn texts(&self) -> [&str; 5] {
        [&self.source, &self.backend, &self.device, &self.versions, &self.protocol]
    }

    /// Everything but the versions in one line, for the foot of a table.
    pub fn line(&self) -> String {
        format!("{} · {} · {}", self.place(), self.protocol, self.source)
    }
}

/// Latencies of one configuration. Imported data often has only a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Latency {
    pub median_ns: Option<f64>,
    pub mean_ns: Option<f64>,
    /// First quartile, in nanoseconds.
    pub q1_ns: Option<f64>,
    pub q3_ns: Option<f64>,
    pub launches: Option<u64>,
    /// Launches outside Tukey's inner fences but inside the outer.
    pub outliers_mild: Option<u64>,
    /// Launches outside Tukey's outer fences.
    pub outliers_severe: Option<u64>,
    /// Passes that the latencies are robust means of, [`Summary`].
    pub passes: Option<u64>,
    /// Standard deviation of the natural logarithm of the passes' medians.
    pub between_pass_sd: Option<f64>,
}

/// One measured configuration.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Observation {
    /// `A` … `G`, or another name where the data has other experiments.
    pub experiment: String,
    /// The line it belongs to, as the legend names it.
    pub series: String,
    /// Value of the independent variable.
    pub x: f64,
    pub shape: ConvShape,
    pub latency: Latency,
    /// The algorithm that ran, where known.
    pub algorithm: Option<String>,
}

/// Observations of one provenance.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Where all of them come from.
    pub provenance: Provenance,
    /// In a stable order: by experiment, series, x.
    pub observations: Vec<Observation>,
}

/// Why a dataset could not be read or written.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum DatasetError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: a dataset's name ends in .csv or .parquet")]
    Extension { path: PathBuf },
    #[error("{path}: no readable {format} file: {reason}")]
    Format { path: PathBuf, format: &'static str, reason: String },
    #[error("{path}: {problem}; expected the columns {}", row::column_names())]
    Columns { path: PathBuf, problem: String },
    #[error("{location}: {problem}")]
    Row { location: String, problem: Problem },
    #[error("{path}: the dataset has no configurations")]
    Empty { path: PathBuf },
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    Parquet,
}

impl Format {
    fn from_path(path: &Path) -> Result<Self, DatasetError> {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(DatasetError::Extension { path: path.to_owned() }),
        }
    }

    /// Where a row is, for messages: lines of a text file, rows (from 1) of a Parquet file.
    fn location(self, path: &Path, position: u64) -> String {
        match self {
            Self::Csv => format!("{}:{position}", path.display()),
            Self::Parquet => format!("{}, row {position}", path.display()),
        }
    }
}

impl Dataset {
    /// Reads a dataset from `.csv` or `.parquet`, and validates every row.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        Ok(Self::read_with_ignored(path)?.0)
    }

    /// Also returns the names of columns that no dataset has, and that were ignored.
    pub(crate) fn read_with_ignored(path: &Path) -> Result<(Self, Vec<String>), DatasetError> {
        let mut observations = Vec::new();
        let (provenance, ignored) =
            Self::for_each(path, |observation| observations.push(observation))?;
        Ok((Self { provenance, observations }, ignored))
    }

    /// Calls `take` with every observation of a dataset in a file, which is validated as by
    /// [`read`](Self::read), but need not be in memory. Returns the names of ignored columns, too.
    pub(crate) fn for_each(
        path: &Path,
        mut take: impl FnMut(Observation),
    ) -> Result<(Provenance, Vec<String>), DatasetError> {
        let format = Format::from_path(path)?;
        let read = |each: &mut Take<'_>| match format {
            Format::Csv => csv_file::read(path, each),
            Format::Parquet => parquet_file::read(path, each),
        };
        checked(path, format, read, &mut take)
    }

    /// Writes the dataset to `.csv` or `.parquet`, whole or not at all.
    ///
    /// # Errors
    /// [`DatasetError`] where a row could not be read back, or the file not be written.
    pub fn write(&self, path: &Path) -> Result<(), DatasetError> {
        let format = Format::from_path(path)?;
        let mut rows: Vec<Row> = self
            .observations
            .iter()
            .map(|observation| Row::new(&self.provenance, observation))
            .collect();
        // the first line of a CSV file is its header
        let first = match format {
            Format::Csv => 2,
            Format::Parquet => 1,
        };
        let all = |take: &mut Take<'_>| {
            (first..).zip(&rows).try_for_each(|(position, row)| {
                let location = || format.location(path, position);
                take(position, row)
                    .map_err(|problem| DatasetError::Row { location: location(), problem })
            })
        };
        checked(path, format, |take| all(take).map(|()| Vec::new()), &mut |_| ())?;
        write_atomically(path, |out: &mut (dyn Write + Send)| match format {
            Format::Csv => csv_file::write(&mut rows, out),
            Format::Parquet => parquet_file::write(rows, out),
        })?;
        Ok(())
    }
}

/// Takes a row and its position in the file: a line of a text, or a number from 1.
type Take<'a> = dyn FnMut(u64, &Row) -> Result<(), Problem> + 'a;

/// Calls `take` with the observation of each row that `read` gives, if no row is wrong or repeats another.
/// Returns the names of ignored columns, too.
fn checked(
    path: &Path,
    format: Format,
    read: impl Fn(&mut Take<'_>) -> Result<Vec<String>, DatasetError>,
    take: &mut dyn FnMut(Observation),
) -> Result<(Provenance, Vec<String>), DatasetError> {
    let mut rows = Rows::default();
    let ignored = read(&mut |_, row: &Row| rows.accept(row).map(&mut *take))?;
    if rows.repeat() {
        // to know where, all positions must be in memory
        let (mut rows, mut positions) = (Rows::default(), HashMap::new());
        read(&mut |position, row: &Row| {
            let observation = rows.accept(row)?;
            match positions.insert(rows.keys.last().copied(), position) {
                None => Ok(()),
                Some(earlier) => Err(Problem::Repeated {
                    id: observation.shape.to_string(),
                    series: observation.series,
                    earlier: format.location(path, earlier),
                }),
            }
        })?;
        return Err(FileError::read(path, "it changed while it was read").into());
    }
    match rows.provenance {
        Some(provenance) => Ok((provenance, ignored)),
        None => Err(DatasetError::Empty { path: path.to_owned() }),
    }
}

/// What the rows before must be remembered for.
#[derive(Default)]
struct Rows {
    /// That of the first row, and of all.
    provenance: Option<Provenance>,
    /// Numbers of texts that were checked, of experiments, series and algorithms: most repeat.
    texts: HashMap<String, u32>,
    /// Numbers of pairs of an experiment and a series.
    lines: HashMap<(u32, u32), u32>,
    /// Of each row, by [`key`].
    keys: Vec<[u64; 2]>,
}

impl Rows {
    /// The observation in a row, if the row may follow those before.
    fn accept(&mut self, row: &Row) -> Result<Observation, Problem> {
        // one that is equal was checked with the first row
        if self.provenance.as_ref() != Some(&row.provenance) {
            let first = self.provenance.get_or_insert_with(|| row.provenance.clone());
            row.check_provenance(first)?;
        }
        let line = (self.text("experiment", &row.experiment)?, self.text("series", &row.series)?);
        if let Some(algorithm) = &row.algorithm {
            self.text("algorithm", algorithm)?;
        }
        let observation = row.observation()?;
        let next = self.lines.len() as u32;
        let line = *self.lines.entry(line).or_insert(next);
        self.keys.push(key(line, &observation.shape));
        Ok(observation)
    }

    /// Whether a row has the shape and line of another one. Keys are sorted then.
    fn repeat(&mut self) -> bool {
        self.keys.sort_unstable();
        self.keys.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// The number of a text that may stand in `column`.
    fn text(&mut self, column: &'static str, text: &str) -> Result<u32, Problem> {
        if let Some(number) = self.texts.get(text) {
            return Ok(*number);
        }
        check_text(column, text)?;
        let number = self.texts.len() as u32;
        self.texts.insert(text.to_owned(), number);
        Ok(number)
    }
}

/// A shape in a line, in few bytes: those of a million rows are in memory.
fn key(line: u32, shape: &ConvShape) -> [u64; 2] {
    let key = u128::from(line) << 96 | shape.packed();
    [(key >> 64) as u64, key as u64]
}

impl From<&Summary> for Latency {
    fn from(summary: &Summary) -> Self {
        Self {
            median_ns: Some(summary.median_ns),
            mean_ns: Some(summary.mean_ns),
            q1_ns: Some(summary.q1_ns),
            q3_ns: Some(summary.q3_ns),
            launches: Some(summary.launches),
            outliers_mild: Some(summary.outliers_mild),
            outliers_severe: Some(summary.outliers_severe),
            passes: Some(summary.passes.into()),
            between_pass_sd: summary.between_pass_sd,
        }
    }
}

impl Observation {
    /// `D/h=100_w=640_in=150_out=100_k=3`, as runs name it.
    pub fn id(&self) -> String {
        configuration_id(&self.experiment, &self.shape)
    }

    /// The latency that fits and evaluations use: the median, or the mean where only that is known.
    /// Importers guarantee that there is one, finite and positive.
    pub fn typical(&self) -> Option<Nanoseconds> {
        self.latency.median_ns.or(self.latency.mean_ns).map(Nanoseconds)
    }
}

#[cfg(test)]
mod tests;
