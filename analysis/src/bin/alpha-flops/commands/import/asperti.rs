use std::path::PathBuf;

use alpha_flops_analysis::import::asperti;
use clap::Args;

use crate::output::{Format, formats};
use crate::{Exit, Result};

/// Import data.pickle of the original study (Asperti et al. 2021), without executing code in it
#[derive(Args)]
pub struct ImportAspertiArgs {
    /// data.pickle from https://github.com/asperti/alpha_flops_dataset
    file: PathBuf,
    /// Dataset to write (.csv or .parquet)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Output format
    #[arg(long, value_parser = formats(Format::SUMMARY), default_value = "table")]
    format: Format,
}

pub fn run(args: &ImportAspertiArgs) -> Result<Exit> {
    super::write(&asperti::read(&args.file)?.into(), &args.out, args.format)
}
