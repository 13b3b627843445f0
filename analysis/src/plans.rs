//! Files of the plans that cuDNN chooses, and how two of them differ.

use std::path::Path;

use alpha_flops::backend::plan::numerical_note;
use alpha_flops::columns::{self, Column, Packing, ParquetFile, Refused, Unread};
use alpha_flops::file_error::FileError;
use alpha_flops::files::{self, write_atomically};
use alpha_flops::plans::{Asked, PlanOrigin, Planned};
use serde::{Deserialize, Serialize};

mod compare;
mod filter;
mod switches;

pub use compare::{Changed, PlanChange, PlansComparison, compare};
pub use filter::filter_for;
pub use switches::{
    AtReported, REPORTED, Switch, at_reported, reported_table, switches, switches_table,
};

/// One configuration's plan, as a file has it: in CSV by these names, in Parquet as columns of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct PlanRow {
    pub device: String,
    pub compute_capability: String,
    /// `properties`, from public specifications, or `device`: it was there.
    pub asked: String,
    pub cudnn: String,
    pub cudnn_cuda: String,
    pub math: String,
    pub experiment: String,
    pub series: String,
    pub x: u64,
    pub id: String,
    pub height: u64,
    pub width: u64,
    pub in_channels: u64,
    pub out_channels: u64,
    pub kernel: u64,
    /// cuDNN's number of the engine; empty, as what follows, where there is no plan.
    pub engine: Option<u64>,
    /// Names and values, in cuDNN's order of kinds: `tile_size=3 split_k=1`.
    pub knobs: Option<String>,
    pub workspace_bytes: Option<u64>,
    /// Place in the heuristics' answer, from 0.
    pub rank: Option<u64>,
    /// What the engine's arithmetic is like.
    pub numerical_notes: Option<String>,
    /// Why there is no plan.
    pub failure: Option<String>,
}

fn table() -> columns::Table<PlanRow> {
    columns::Table {
        name: "plans",
        text: "STRING",
        packing: Packing::Small,
        columns: vec![
            Column::new("device", |row: &mut PlanRow| &mut row.device),
            Column::new("compute_capability", |row: &mut PlanRow| &mut row.compute_capability),
            Column::new("asked", |row: &mut PlanRow| &mut row.asked),
            Column::new("cudnn", |row: &mut PlanRow| &mut row.cudnn),
            Column::new("cudnn_cuda", |row: &mut PlanRow| &mut row.cudnn_cuda),
            Column::new("math", |row: &mut PlanRow| &mut row.math),
            Column::new("experiment", |row: &mut PlanRow| &mut row.experiment),
            Column::new("series", |row: &mut PlanRow| &mut row.series),
            Column::new("x", |row: &mut PlanRow| &mut row.x),
            Column::new("id", |row: &mut PlanRow| &mut row.id),
            Column::new("height", |row: &mut PlanRow| &mut row.height),
            Column::new("width", |row: &mut PlanRow| &mut row.width),
            Column::new("in_channels", |row: &mut PlanRow| &mut row.in_channels),
            Column::new("out_channels", |row: &mut PlanRow| &mut row.out_channels),
            Column::new("kernel", |row: &mut PlanRow| &mut row.kernel),
            Column::new("engine", |row: &mut PlanRow| &mut row.engine),
            Column::new("knobs", |row: &mut PlanRow| &mut row.knobs),
            Column::new("workspace_bytes", |row: &mut PlanRow| &mut row.workspace_bytes),
            Column::new("rank", |row: &mut PlanRow| &mut row.rank),
            Column::new("numerical_notes", |row: &mut PlanRow| &mut row.numerical_notes),
            Column::new("failure", |row: &mut PlanRow| &mut row.failure),
        ],
    }
}

/// What was planned, as rows of a file.
pub fn rows(origin: &PlanOrigin, planned: &[Planned]) -> Vec<PlanRow> {
    planned.iter().map(|one| row(origin, one)).collect()
}

fn row(origin: &PlanOrigin, Planned { configuration, plan }: &Planned) -> PlanRow {
    let PlanOrigin { device, compute_capability, asked, cudnn, cudnn_cuda, math } = origin;
    let shape = configuration.shape;
    let mut row = PlanRow {
        device: device.clone(),
        compute_capability: compute_capability.clone(),
        asked: match asked {
            Asked::Properties => "properties".to_owned(),
            Asked::Device => "device".to_owned(),
        },
        cudnn: cudnn.clone(),
        cudnn_cuda: cudnn_cuda.clone(),
        math: math.to_string(),
        experiment: configuration.experiment.to_string(),
        series: configuration.series.clone(),
        x: configuration.x.into(),
        id: configuration.id(),
        height: shape.height() as u64,
        width: shape.width() as u64,
        in_channels: shape.in_channels() as u64,
        out_channels: shape.out_channels() as u64,
        kernel: shape.kernel() as u64,
        ..PlanRow::default()
    };
    match plan {
        Ok(plan) => {
            let notes = plan.numerical_notes.iter().map(|note| numerical_note(*note));
            row.engine = u64::try_from(plan.engine).ok();
            // what is empty is not there: CSV knows no difference
            let unless_empty = |text: String| Some(text).filter(|text| !text.is_empty());
            row.knobs = unless_empty(plan.knobs_by_name());
            row.workspace_bytes = Some(plan.workspace_bytes.0);
            row.rank = Some(plan.rank as u64);
            row.numerical_notes = unless_empty(Vec::from_iter(notes).join(", "));
        }
        Err(reason) => row.failure = Some(reason.clone()),
    }
    row
}

/// Writes a file of plans: CSV or Parquet, as its name ends.
///
/// # Errors
/// [`FileError`] where it cannot be written or is named otherwise.
pub fn write(path: &Path, rows: Vec<PlanRow>) -> Result<(), FileError> {
    match is_parquet(path)? {
        true => write_atomically(path, |out| {
            table().write(out, Vec::new(), [rows]).map_err(std::io::Error::other)
        }),
        false => write_atomically(path, |out| {
            let mut writer = csv::Writer::from_writer(out);
            rows.iter().try_for_each(|row| writer.serialize(row))?;
            writer.flush()
        }),
    }
}

/// Reads such a file.
///
/// # Errors
/// [`FileError`] with the row where it is not one.
pub fn read(path: &Path) -> Result<Vec<PlanRow>, FileError> {
    let rows = if is_parquet(path)? { read_parquet(path)? } else { read_csv(path)? };
    match rows.is_empty() {
        true => Err(FileError::read(path, "it has no plan in it")),
        false => Ok(rows),
    }
}

/// Whether a file can be written there, as far as its name and folder go.
///
/// # Errors
/// [`FileError`] where it cannot.
pub fn check_name(path: &Path) -> Result<(), FileError> {
    is_parquet(path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(FileError::write(path, "there is no such folder"))
        }
        _ => Ok(()),
    }
}

fn is_parquet(path: &Path) -> Result<bool, FileError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => Ok(true),
        Some("csv") => Ok(false),
        _ => Err(FileError::new("use", path, "expected a name that ends in .csv or .parquet")),
    }
}

fn read_csv(path: &Path) -> Result<Vec<PlanRow>, FileError> {
    let file = files::open(path)?;
    let rows = csv::Reader::from_reader(file).into_deserialize().collect::<Result<_, _>>();
    rows.map_err(|error| FileError::read(path, error))
}

fn read_parquet(path: &Path) -> Result<Vec<PlanRow>, FileError> {
    let file = files::open(path)?;
    let damaged = |error| FileError::read(path, format!("{error}"));
    let file = ParquetFile::open(file).map_err(damaged)?;
    let refuse = |column, refused: Refused| match refused {
        Some((got, expected)) => format!("{column} is {got}, expected {expected}"),
        None => format!("{column} is empty"),
    };
    let mut rows = Vec::new();
    let read = columns::read(&file, 0..file.groups(), &table().columns, refuse, |batch| {
        rows.append(batch);
        Ok(())
    });
    match read {
        Ok(()) => Ok(rows),
        Err(Unread::File(error)) => Err(damaged(error)),
        Err(Unread::Row(row, reason)) => {
            Err(FileError::read(path, format!("row {}: {reason}", row + 1)))
        }
    }
}

#[cfg(test)]
mod tests;
