//! `import`: one file per source.

use std::path::Path;

use alpha_flops_analysis::import::Imported;
use alpha_flops_analysis::import::Summary;
use clap::Subcommand;

use crate::output::{Format, print_summary};
use crate::{Exit, Result};

mod asperti;
mod criterion;
mod sweep;

/// Convert measurements into a dataset
#[derive(Subcommand)]
pub enum ImportCommand {
    Criterion(criterion::ImportCriterionArgs),
    Asperti(asperti::ImportAspertiArgs),
    Sweep(sweep::ImportSweepArgs),
}

pub fn run(command: &ImportCommand) -> Result<Exit> {
    match command {
        ImportCommand::Criterion(args) => criterion::run(args),
        ImportCommand::Asperti(args) => asperti::run(args),
        ImportCommand::Sweep(args) => sweep::run(args),
    }
}

/// Writes the dataset, and prints what it contains and what was left out.
pub fn write(imported: &Imported, out: &Path, format: Format) -> Result<Exit> {
    imported.dataset.write(out)?;
    let summary = Summary::new(imported, out);
    print_summary(format, &summary.to_string(), &summary)?;
    Ok(Exit::success_if(imported.rejected.is_empty()))
}
