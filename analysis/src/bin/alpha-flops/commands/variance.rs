use std::path::PathBuf;

use alpha_flops::files::{create_folder, write_texts};
use alpha_flops_analysis::plot;
use alpha_flops_analysis::variance::Variance;
use clap::Args;

use crate::output::{Format, formats, json, print};
use crate::{Exit, Result};

/// Show how launches and runs vary
///
/// Shows spread, outliers, autocorrelation, drift, modes, warm-up and the timer's step of every
/// configuration. The confidence interval of each median allows for launches that depend on each other,
/// or is marked as not trustworthy. For several runs of the same kind, it also splits their differences
/// into components: measuring order (runs with the same seed share one), run, and launches within a run.
#[derive(Args)]
pub struct VarianceArgs {
    /// Folders of runs
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<PathBuf>,
    /// Also write variance.csv, variance.json and figures (SVG and PNG) to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Output format; `csv` has one row per configuration and run
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
}

pub fn run(args: &VarianceArgs) -> Result<Exit> {
    let variance = Variance::read(&args.records)?;
    if let Some(out) = &args.out {
        create_folder(out)?;
        let texts =
            [("variance.csv", variance.csv_table().to_csv()), ("variance.json", json(&variance)?)];
        write_texts(out, &texts)?;
        plot::write(&plot::variance::figures(&variance), out)?;
    }
    print(&match args.format {
        Format::Csv => variance.csv_table().to_csv(),
        Format::Json => json(&variance)?,
        Format::Table | Format::Markdown => variance.summary(),
    })
}
