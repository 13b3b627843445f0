use std::path::PathBuf;

use alpha_flops_analysis::archive;
use clap::Args;

use crate::output::print;
use crate::{Exit, Result, complain};

/// Keep finished runs, each as a dataset with its environment, in the folder of their target
///
/// A run that is there already, is not sound, or was measured on another backend or device than the
/// rest of the folder is refused; the others go on, and the exit status is 1.
#[derive(Args)]
pub struct ArchiveArgs {
    /// Runs' folders
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<PathBuf>,
    /// The folder of targets [default: target-data in this workspace]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// The target's name [default: made of backend and device, e.g. cpu-amd-epyc-2-threads]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

pub fn run(args: &ArchiveArgs) -> Result<Exit> {
    let root = args.into.clone().unwrap_or_else(archive::root);
    let mut exit = Exit::Success;
    for record in &args.records {
        match archive::add(record, &root, args.target.as_deref()) {
            Ok(added) => {
                print(&format!("{added}\n"))?;
            }
            Err(error) => {
                exit = Exit::Failure;
                complain(&error.into());
            }
        }
    }
    Ok(exit)
}
