use std::path::PathBuf;

use alpha_flops_analysis::import::sweep;
use clap::Args;

use crate::output::{Format, formats};
use crate::{Exit, Result};

/// Import a sweep, to fit α-FLOPs to it
#[derive(Args)]
pub struct ImportSweepArgs {
    /// Folder of the sweep, which need not be finished
    sweep: PathBuf,
    /// Dataset to write (.csv or .parquet)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Output format
    #[arg(long, value_parser = formats(Format::SUMMARY), default_value = "table")]
    format: Format,
}

pub fn run(args: &ImportSweepArgs) -> Result<Exit> {
    super::write(&sweep::read(&args.sweep)?, &args.out, args.format)
}
