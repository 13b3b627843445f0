use std::path::PathBuf;

use alpha_flops_analysis::variance::Variance;
use clap::Args;

use crate::output::{Format, json, print, table_formats};
use crate::{Exit, Result};

/// Say how launches vary: spread, outliers, dependence, drift, modes, warm-up, the clock's step
///
/// The interval of each median allows for launches that depend on each other, or is marked as not
/// trustworthy. Of several runs of the same kind, also how much of their differences is the measuring
/// order (runs with the same seed have the same one), the run, and chance within it.
#[derive(Args)]
pub struct VarianceArgs {
    /// Runs' folders
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<PathBuf>,
    /// Also write variance.csv, variance.json and figures (SVG and PNG) to a directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print; `csv` has one row a configuration and run
    #[arg(long, value_parser = table_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &VarianceArgs) -> Result<Exit> {
    let variance = Variance::read(&args.records)?;
    if let Some(out) = &args.out {
        variance.write(out)?;
    }
    print(&match args.format {
        Format::Csv => variance.csv_table().to_csv(),
        Format::Json => json(&variance)?,
        Format::Table | Format::Markdown => variance.summary(),
    })
}
