use std::path::PathBuf;

use alpha_flops_analysis::import::asperti;
use clap::Args;

use crate::output::{Format, summary_formats};
use crate::{Exit, Result};

/// The original study's data.pickle (Asperti et al. 2021); no code in it is executed
#[derive(Args)]
pub struct ImportAspertiArgs {
    /// data.pickle, from GitHub asperti/alpha_flops_dataset
    file: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to print
    #[arg(long, value_parser = summary_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &ImportAspertiArgs) -> Result<Exit> {
    super::write(&asperti::read(&args.file)?.into(), &args.out, args.format)
}
