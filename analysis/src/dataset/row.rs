//! One row of a dataset file: the columns, and what must hold in them.

use std::path::Path;

use alpha_flops::shape::{ConvShape, ShapeError};
use thiserror::Error;

use super::{DatasetError, Latency, Observation, Provenance};

/// What a column holds. Absent values are empty in CSV and null in Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text, never empty.
    Text,
    /// UTF-8 text, or absent.
    OptionalText,
    /// A finite 64-bit floating-point number.
    Real,
    /// A finite, positive 64-bit floating-point number, or absent.
    OptionalReal,
    /// A positive whole number.
    Whole,
    /// A whole number, or absent.
    OptionalWhole,
}

/// The columns of a dataset file, in order. The first five, its provenance, are equal in all rows.
///
/// Every row has a median or a mean. `x` is the value of the experiment's independent variable;
/// `id` repeats the five dimensions after it in canonical form.
pub const COLUMNS: [(&str, Kind); 22] = [
    ("source", Kind::Text),
    ("backend", Kind::Text),
    ("device", Kind::Text),
    ("versions", Kind::Text),
    ("protocol", Kind::Text),
    ("experiment", Kind::Text),
    ("series", Kind::Text),
    ("x", Kind::Real),
    ("id", Kind::Text),
    ("height", Kind::Whole),
    ("width", Kind::Whole),
    ("in_channels", Kind::Whole),
    ("out_channels", Kind::Whole),
    ("kernel", Kind::Whole),
    ("algorithm", Kind::OptionalText),
    ("median_ns", Kind::OptionalReal),
    ("mean_ns", Kind::OptionalReal),
    ("q1_ns", Kind::OptionalReal),
    ("q3_ns", Kind::OptionalReal),
    ("launches", Kind::OptionalWhole),
    ("outliers_mild", Kind::OptionalWhole),
    ("outliers_severe", Kind::OptionalWhole),
];

/// A row as it is in a file, not yet validated.
#[derive(Clone, Debug)]
pub(super) struct Row {
    source: String,
    backend: String,
    device: String,
    versions: String,
    protocol: String,
    experiment: String,
    series: String,
    x: f64,
    id: String,
    height: u64,
    width: u64,
    in_channels: u64,
    out_channels: u64,
    kernel: u64,
    algorithm: Option<String>,
    latency: Latency,
}

pub(super) enum Cell<'a> {
    Text(&'a str),
    Real(f64),
    Whole(u64),
    Absent,
}

/// How a file format hands out the values of a row.
pub(super) trait Cells {
    fn text(&self, column: &'static str) -> Result<Option<String>, Problem>;
    fn real(&self, column: &'static str) -> Result<Option<f64>, Problem>;
    fn whole(&self, column: &'static str) -> Result<Option<u64>, Problem>;
}

/// What is wrong in a row.
#[derive(Debug, Error, PartialEq)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Problem {
    #[error("{column} is empty")]
    Absent { column: &'static str },
    #[error("{column} is {got}, expected {expected}")]
    Value { column: &'static str, got: String, expected: &'static str },
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("id is `{id}`, but the dimensions are those of `{shape}`")]
    Id { id: String, shape: ConvShape },
    #[error("median_ns and mean_ns are both empty, expected at least one")]
    NoLatency,
    #[error("q1_ns ≤ median_ns ≤ q3_ns does not hold: {q1}, {median}, {q3}")]
    Quartiles { q1: f64, median: f64, q3: f64 },
    #[error("{outliers} outliers among {launches} launches")]
    Outliers { outliers: u64, launches: u64 },
    #[error(
        "{column} is `{got}`, but `{first}` in the first row; a dataset has one origin: split it"
    )]
    Mixed { column: &'static str, got: String, first: String },
    #[error("{id} in series `{series}` repeats {earlier}")]
    Repeated { id: String, series: String, earlier: String },
}

/// Checks that every column is there once, in any order, and no other: a misspelt column must not count
/// as an empty one.
pub(super) fn check_names<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), DatasetError> {
    let problem = |problem| Err(DatasetError::Columns { path: path.to_owned(), problem });
    let mut seen = Vec::new();
    for name in names {
        if !COLUMNS.iter().any(|(column, _)| *column == name) {
            return problem(format!("unknown column `{name}`"));
        }
        if seen.contains(&name) {
            return problem(format!("column `{name}` appears twice"));
        }
        seen.push(name);
    }
    match COLUMNS.iter().find(|(column, _)| !seen.contains(column)) {
        Some((missing, _)) => problem(format!("column `{missing}` is missing")),
        None => Ok(()),
    }
}

/// The columns' names with commas, for messages.
pub(super) fn column_names() -> String {
    COLUMNS.map(|(name, _)| name).join(",")
}

impl Kind {
    /// Whether values may be absent.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::OptionalText | Self::OptionalReal | Self::OptionalWhole)
    }
}

impl Row {
    pub(super) fn new(provenance: &Provenance, observation: &Observation) -> Self {
        let shape = observation.shape;
        Self {
            source: provenance.source.clone(),
            backend: provenance.backend.clone(),
            device: provenance.device.clone(),
            versions: provenance.versions.clone(),
            protocol: provenance.protocol.clone(),
            experiment: observation.experiment.clone(),
            series: observation.series.clone(),
            x: observation.x,
            id: shape.to_string(),
            height: shape.height() as u64,
            width: shape.width() as u64,
            in_channels: shape.in_channels() as u64,
            out_channels: shape.out_channels() as u64,
            kernel: shape.kernel() as u64,
            algorithm: observation.algorithm.clone(),
            latency: observation.latency,
        }
    }

    pub(super) fn from_cells(cells: &impl Cells) -> Result<Self, Problem> {
        let text = |column| cells.text(column)?.ok_or(Problem::Absent { column });
        let whole = |column| cells.whole(column)?.ok_or(Problem::Absent { column });
        Ok(Self {
            source: text("source")?,
            backend: text("backend")?,
            device: text("device")?,
            versions: text("versions")?,
            protocol: text("protocol")?,
            experiment: text("experiment")?,
            series: text("series")?,
            x: cells.real("x")?.ok_or(Problem::Absent { column: "x" })?,
            id: text("id")?,
            height: whole("height")?,
            width: whole("width")?,
            in_channels: whole("in_channels")?,
            out_channels: whole("out_channels")?,
            kernel: whole("kernel")?,
            algorithm: cells.text("algorithm")?,
            latency: Latency {
                median_ns: cells.real("median_ns")?,
                mean_ns: cells.real("mean_ns")?,
                q1_ns: cells.real("q1_ns")?,
                q3_ns: cells.real("q3_ns")?,
                launches: cells.whole("launches")?,
                outliers_mild: cells.whole("outliers_mild")?,
                outliers_severe: cells.whole("outliers_severe")?,
            },
        })
    }

    /// The values in the order of [`COLUMNS`].
    pub(super) fn cells(&self) -> [Cell<'_>; COLUMNS.len()] {
        let real = |value: Option<f64>| value.map_or(Cell::Absent, Cell::Real);
        let whole = |value: Option<u64>| value.map_or(Cell::Absent, Cell::Whole);
        [
            Cell::Text(&self.source),
            Cell::Text(&self.backend),
            Cell::Text(&self.device),
            Cell::Text(&self.versions),
            Cell::Text(&self.protocol),
            Cell::Text(&self.experiment),
            Cell::Text(&self.series),
            Cell::Real(self.x),
            Cell::Text(&self.id),
            Cell::Whole(self.height),
            Cell::Whole(self.width),
            Cell::Whole(self.in_channels),
            Cell::Whole(self.out_channels),
            Cell::Whole(self.kernel),
            self.algorithm.as_deref().map_or(Cell::Absent, Cell::Text),
            real(self.latency.median_ns),
            real(self.latency.mean_ns),
            real(self.latency.q1_ns),
            real(self.latency.q3_ns),
            whole(self.latency.launches),
            whole(self.latency.outliers_mild),
            whole(self.latency.outliers_severe),
        ]
    }

    pub(super) fn provenance(&self) -> Provenance {
        Provenance {
            source: self.source.clone(),
            backend: self.backend.clone(),
            device: self.device.clone(),
            versions: self.versions.clone(),
            protocol: self.protocol.clone(),
        }
    }

    /// The row's provenance must be `first`, the dataset's.
    pub(super) fn check_provenance(&self, first: &Provenance) -> Result<(), Problem> {
        let columns = [
            ("source", &self.source, &first.source),
            ("backend", &self.backend, &first.backend),
            ("device", &self.device, &first.device),
            ("versions", &self.versions, &first.versions),
            ("protocol", &self.protocol, &first.protocol),
        ];
        for (column, got, first) in columns {
            check_text(column, got)?;
            if got != first {
                let (got, first) = (got.clone(), first.clone());
                return Err(Problem::Mixed { column, got, first });
            }
        }
        Ok(())
    }

    /// Everything that must hold within one row.
    pub(super) fn into_observation(self) -> Result<Observation, Problem> {
        check_text("experiment", &self.experiment)?;
        check_text("series", &self.series)?;
        if let Some(algorithm) = &self.algorithm {
            check_text("algorithm", algorithm)?;
        }
        if !self.x.is_finite() {
            let got = self.x.to_string();
            return Err(Problem::Value { column: "x", got, expected: "a finite number" });
        }
        let shape = ConvShape::new(
            self.height,
            self.width,
            self.in_channels,
            self.out_channels,
            self.kernel,
        )?;
        if self.id != shape.to_string() {
            return Err(Problem::Id { id: self.id, shape });
        }
        check_latency(&self.latency)?;
        Ok(Observation {
            experiment: self.experiment,
            series: self.series,
            x: self.x,
            shape,
            latency: self.latency,
            algorithm: self.algorithm,
        })
    }
}

/// Checks that a text is one line and not empty, because it goes into legends and tables.
pub(super) fn check_text(column: &'static str, text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(Problem::Absent { column });
    }
    if text.chars().any(char::is_control) {
        let got = format!("{text:?}");
        return Err(Problem::Value {
            column,
            got,
            expected: "one line without control characters",
        });
    }
    Ok(())
}

/// A latency is finite and above 0.
pub(super) fn check_time(column: &'static str, value: f64) -> Result<(), Problem> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    let got = value.to_string();
    Err(Problem::Value { column, got, expected: "a finite number above 0" })
}

fn check_latency(latency: &Latency) -> Result<(), Problem> {
    let columns = [
        ("median_ns", latency.median_ns),
        ("mean_ns", latency.mean_ns),
        ("q1_ns", latency.q1_ns),
        ("q3_ns", latency.q3_ns),
    ];
    for (column, value) in columns {
        value.map_or(Ok(()), |value| check_time(column, value))?;
    }
    if latency.median_ns.or(latency.mean_ns).is_none() {
        return Err(Problem::NoLatency);
    }
    if let (Some(q1), Some(median), Some(q3)) = (latency.q1_ns, latency.median_ns, latency.q3_ns)
        && !(q1 <= median && median <= q3)
    {
        return Err(Problem::Quartiles { q1, median, q3 });
    }
    check_counts(latency)
}

fn check_counts(latency: &Latency) -> Result<(), Problem> {
    // Parquet's whole numbers are signed
    let countable = 1..=i64::MAX as u64;
    if let Some(launches) = latency.launches.filter(|launches| !countable.contains(launches)) {
        let got = launches.to_string();
        return Err(Problem::Value { column: "launches", got, expected: "1 to 2^63 − 1" });
    }
    let outliers =
        latency.outliers_mild.unwrap_or(0).saturating_add(latency.outliers_severe.unwrap_or(0));
    match latency.launches.unwrap_or(i64::MAX as u64) {
        launches if outliers > launches => Err(Problem::Outliers { outliers, launches }),
        _ => Ok(()),
    }
}
