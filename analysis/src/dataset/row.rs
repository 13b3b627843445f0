//! One row of a dataset file: the columns, and what must hold in them.

use std::fmt::Display;
use std::path::Path;

use alpha_flops::columns::{self, Number, Refused, Value};
use alpha_flops::shape::{ConvShape, ShapeError};
use thiserror::Error;

use super::{DatasetError, Latency, Observation, Provenance};

/// The columns of a dataset file, in order. The first five, its provenance, are equal in all rows.
///
/// Every row has a median or a mean. `x` is the value of the experiment's independent variable;
/// `id` repeats the five dimensions after it in canonical form. Absent values are empty in CSV and
/// null in Parquet.
pub(super) fn columns() -> Vec<Column> {
    vec![
        Column::required("source", |row| &mut row.provenance.source),
        Column::required("backend", |row| &mut row.provenance.backend),
        Column::required("device", |row| &mut row.provenance.device),
        Column::required("versions", |row| &mut row.provenance.versions),
        Column::required("protocol", |row| &mut row.provenance.protocol),
        Column::required("experiment", |row| &mut row.experiment),
        Column::required("series", |row| &mut row.series),
        Column::required("x", |row| &mut row.x),
        Column::required("id", |row| &mut row.id),
        Column::required("height", |row| &mut row.dimensions[0]),
        Column::required("width", |row| &mut row.dimensions[1]),
        Column::required("in_channels", |row| &mut row.dimensions[2]),
        Column::required("out_channels", |row| &mut row.dimensions[3]),
        Column::required("kernel", |row| &mut row.dimensions[4]),
        Column::optional("algorithm", |row| &mut row.algorithm),
        Column::optional("median_ns", |row| &mut row.latency.median_ns),
        Column::optional("mean_ns", |row| &mut row.latency.mean_ns),
        Column::optional("q1_ns", |row| &mut row.latency.q1_ns),
        Column::optional("q3_ns", |row| &mut row.latency.q3_ns),
        Column::optional("launches", |row| &mut row.latency.launches),
        Column::optional("outliers_mild", |row| &mut row.latency.outliers_mild),
        Column::optional("outliers_severe", |row| &mut row.latency.outliers_severe),
        Column::optional("passes", |row| &mut row.latency.passes),
        Column::optional("between_pass_sd", |row| &mut row.latency.between_pass_sd),
    ]
}

/// Columns that files lack which were written before there were passes.
const LATER: [&str; 2] = ["passes", "between_pass_sd"];

/// The columns that are equal in all rows, as [`Provenance::texts`] has them.
pub(super) const PROVENANCE: [&str; 5] = ["source", "backend", "device", "versions", "protocol"];

/// A column in each format.
pub(super) struct Column {
    pub parquet: columns::Column<Row>,
    /// The text of a row's value; empty where it is absent.
    pub text: Box<dyn Fn(&mut Row) -> String>,
    /// Sets a row's value from such a text.
    pub parse: Box<Parse>,
    pub is_number: bool,
}

type Parse = dyn Fn(&mut Row, &str) -> Result<(), Problem>;

/// A row as it is in a file, not yet validated.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub provenance: Provenance,
    pub experiment: String,
    pub series: String,
    x: f64,
    id: String,
    dimensions: [u64; 5],
    pub algorithm: Option<String>,
    latency: Latency,
}

/// A value with a text: the shortest one that reads back to the same bits.
trait Text: Value + Display {
    /// What is expected of a text.
    const TEXT: &'static str;
    const IS_NUMBER: bool = true;

    fn from_text(text: &str) -> Option<Self>;
}

impl Text for String {
    const TEXT: &'static str = "a text";
    const IS_NUMBER: bool = false;

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Text for f64 {
    const TEXT: &'static str = "a number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Text for u64 {
    const TEXT: &'static str = "a whole number";

    /// Also of `2000.0`, as tools write whole numbers of columns where some are absent.
    fn from_text(text: &str) -> Option<Self> {
        let real = || Number::Real(text.parse().ok()?).whole()?.try_into().ok();
        text.parse().ok().or_else(real)
    }
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
    #[error(
        "{column} is `{got}`, which has a decimal comma, but numbers before have decimal points; write \
         all with points"
    )]
    Decimal { column: &'static str, got: String },
    #[error("{id} in series `{series}` repeats {earlier}")]
    Repeated { id: String, series: String, earlier: String },
}

/// Checks that every column is there once, in any order; those of [`LATER`] may be missing. Returns the
/// others, which are ignored: indices, and what a user added.
pub(super) fn check_names<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>, DatasetError> {
    let problem = |problem| Err(DatasetError::Columns { path: path.to_owned(), problem });
    let columns: Vec<&str> = columns().iter().map(Column::name).collect();
    let (mut seen, mut others) = (Vec::new(), Vec::new());
    for name in names {
        if !columns.contains(&name) {
            others.push(name.to_owned());
        } else if seen.contains(&name) {
            return problem(format!("column `{name}` appears twice"));
        } else {
            seen.push(name);
        }
    }
    match columns.iter().find(|column| !seen.contains(column) && !LATER.contains(column)) {
        None => Ok(others),
        // a misspelt column must not count as an empty one
        Some(missing) => problem(match others.as_slice() {
            [] => format!("column `{missing}` is missing"),
            [unknown, ..] => format!("column `{missing}` is missing; unknown is `{unknown}`"),
        }),
    }
}

/// The columns' names with commas, for messages.
pub(super) fn column_names() -> String {
    columns().iter().map(Column::name).collect::<Vec<_>>().join(",")
}

impl Column {
    fn required<V: Text>(
        name: &'static str,
        place: impl Fn(&mut Row) -> &mut V + Copy + 'static,
    ) -> Self {
        Self {
            parquet: columns::Column::new(name, place),
            text: Box::new(move |row| place(row).to_string()),
            parse: Box::new(move |row, text| {
                *place(row) = parsed(name, text)?.ok_or(Problem::Absent { column: name })?;
                Ok(())
            }),
            is_number: V::IS_NUMBER,
        }
    }

    fn optional<V: Text + Default>(
        name: &'static str,
        place: impl Fn(&mut Row) -> &mut Option<V> + Copy + 'static,
    ) -> Self {
        Self {
            parquet: columns::Column::new(name, place),
            text: Box::new(move |row| place(row).as_ref().map_or_else(String::new, V::to_string)),
            parse: Box::new(move |row, text| {
                *place(row) = parsed(name, text)?;
                Ok(())
            }),
            is_number: V::IS_NUMBER,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.parquet.name
    }
}

/// The value in a text; `None` where that is empty.
fn parsed<V: Text>(column: &'static str, text: &str) -> Result<Option<V>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || Problem::Value { column, got: format!("`{text}`"), expected: V::TEXT };
    V::from_text(text).map(Some).ok_or_else(wrong)
}

/// What is wrong with a cell that a Parquet file has: it is absent, or holds something else.
pub(super) fn refuse(column: &'static str, got: Refused) -> Problem {
    match got {
        None => Problem::Absent { column },
        Some((got, expected)) => Problem::Value { column, got, expected },
    }
}

impl Row {
    pub(super) fn new(provenance: &Provenance, observation: &Observation) -> Self {
        Self {
            provenance: provenance.clone(),
            experiment: observation.experiment.clone(),
            series: observation.series.clone(),
            x: observation.x,
            id: observation.shape.to_string(),
            dimensions: observation.shape.dimensions().map(u64::from),
            algorithm: observation.algorithm.clone(),
            latency: observation.latency,
        }
    }

    /// The row's provenance must be `first`, the dataset's.
    pub(super) fn check_provenance(&self, first: &Provenance) -> Result<(), Problem> {
        let texts = self.provenance.texts().into_iter().zip(first.texts());
        for (column, (got, first)) in PROVENANCE.into_iter().zip(texts) {
            check_text(column, got)?;
            if got != first {
                let (got, first) = (got.to_owned(), first.to_owned());
                return Err(Problem::Mixed { column, got, first });
            }
        }
        Ok(())
    }

    /// Checks what must hold within one row, but its texts.
    pub(super) fn observation(&self) -> Result<Observation, Problem> {
        if !self.x.is_finite() {
            let got = self.x.to_string();
            return Err(Problem::Value { column: "x", got, expected: "a finite number" });
        }
        let [height, width, in_channels, out_channels, kernel] = self.dimensions;
        let shape = ConvShape::new(height, width, in_channels, out_channels, kernel)?;
        if !shape.has_id(&self.id) {
            return Err(Problem::Id { id: self.id.clone(), shape });
        }
        check_latency(&self.latency)?;
        Ok(Observation {
            experiment: self.experiment.clone(),
            series: self.series.clone(),
            x: self.x,
            shape,
            latency: self.latency,
            algorithm: self.algorithm.clone(),
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
    if let Some(passes) = latency.passes.filter(|passes| !countable.contains(passes)) {
        let got = passes.to_string();
        return Err(Problem::Value { column: "passes", got, expected: "1 to 2^63 − 1" });
    }
    if let Some(sd) = latency.between_pass_sd.filter(|sd| !(sd.is_finite() && *sd >= 0.0)) {
        let (column, got) = ("between_pass_sd", sd.to_string());
        return Err(Problem::Value { column, got, expected: "a finite number of at least 0" });
    }
    let outliers =
        latency.outliers_mild.unwrap_or(0).saturating_add(latency.outliers_severe.unwrap_or(0));
    match latency.launches.unwrap_or(i64::MAX as u64) {
        launches if outliers > launches => Err(Problem::Outliers { outliers, launches }),
        _ => Ok(()),
    }
}
