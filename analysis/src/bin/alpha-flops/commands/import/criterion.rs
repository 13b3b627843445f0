use std::path::PathBuf;

use alpha_flops_analysis::archive;
use alpha_flops_analysis::import::criterion;
use alpha_flops_analysis::run::Run;
use clap::Args;

use crate::output::{Format, formats};
use crate::{Exit, Result};

/// Import a run of the benchmarks from criterion's files
///
/// Benchmarks whose files are truncated, inconsistent or from another run are left out. Each is listed
/// with the reason, and the exit status is 1.
#[derive(Args)]
pub struct ImportCriterionArgs {
    /// Folder of the run, which `cargo bench` prints at its end
    run: PathBuf,
    /// Dataset to write (.csv or .parquet)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the run's settings and environment to this JSON file
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
    /// Output format
    #[arg(long, value_parser = formats(Format::SUMMARY), default_value = "table")]
    format: Format,
}

pub fn run(args: &ImportCriterionArgs) -> Result<Exit> {
    let run = Run::open(&args.run)?;
    let imported = criterion::import(&run)?;
    if let Some(path) = &args.environment {
        archive::write_environment(&run.header, path)?;
    }
    super::write(&imported, &args.out, args.format)
}
