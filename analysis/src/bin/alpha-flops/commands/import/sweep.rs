use std::path::PathBuf;

use alpha_flops_analysis::import::sweep;
use clap::Args;

use crate::output::{Format, summary_formats};
use crate::{Exit, Result};

/// A sweep's folder, as a dataset to fit to
#[derive(Args)]
pub struct ImportSweepArgs {
    /// The folder, ended or not
    sweep: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to print
    #[arg(long, value_parser = summary_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &ImportSweepArgs) -> Result<Exit> {
    super::write(&sweep::read(&args.sweep)?, &args.out, args.format)
}
