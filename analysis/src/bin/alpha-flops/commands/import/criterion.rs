use std::path::PathBuf;

use alpha_flops_analysis::import::criterion;
use clap::Args;

use crate::output::{Format, summary_formats};
use crate::{Exit, Result};

/// A run of this project's benchmarks, out of criterion's files
///
/// Benchmarks whose files are cut, mixed or not of this run are left out, each with its reason; the
/// exit status is then 1.
#[derive(Args)]
pub struct ImportCriterionArgs {
    /// The run's folder, as `cargo bench` names it at its end
    run: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the run's settings and environment, as JSON
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
    /// What to print
    #[arg(long, value_parser = summary_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &ImportCriterionArgs) -> Result<Exit> {
    let imported = criterion::read(&args.run)?;
    if let Some(path) = &args.environment {
        criterion::write_environment(&args.run, path)?;
    }
    super::write(&imported, &args.out, args.format)
}
