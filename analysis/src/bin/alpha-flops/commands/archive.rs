use std::path::PathBuf;

use alpha_flops::workspace;
use alpha_flops_analysis::archive::{self, KeepLaunches};
use clap::Args;

use super::data::warn_of_unreadable;
use crate::output::print;
use crate::{Context, Exit, Result, complain};

/// Add finished runs to the archive, which has one folder per target
///
/// The archive keeps each run as a dataset with its environment and, if they take at most 4 MiB, its raw
/// launches: the folder named like the dataset can be given to any command that reads a run. A run is refused if it is archived
/// already, is damaged, or was measured on another backend or device than the rest of the folder. The
/// other runs are still added, and the exit status is 1.
#[derive(Args)]
pub struct ArchiveArgs {
    /// Folders of runs
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<PathBuf>,
    /// Folder of the archive [default: target-data in the checkout]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Target's name [default: from backend and device, such as cpu-amd-epyc-2-threads]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Archive the raw launches, whatever their size
    #[arg(long, conflicts_with = "no_launches")]
    launches: bool,
    /// Archive no raw launches
    #[arg(long)]
    no_launches: bool,
}

pub fn run(args: &ArchiveArgs) -> Result<Exit> {
    let root = args.into.clone().or_else(workspace::archive).context(
        "no archive to add to: target-data exists only in a checkout of alpha-flops\n\
         hint: name the folder with --into DIR",
    )?;
    let launches = match (args.launches, args.no_launches) {
        (true, _) => KeepLaunches::Always,
        (_, true) => KeepLaunches::Never,
        _ => KeepLaunches::IfSmall,
    };
    let mut exit = Exit::Success;
    for record in &args.records {
        match archive::add(record, &root, args.target.as_deref(), launches) {
            Ok(added) => {
                added.unreadable.iter().for_each(warn_of_unreadable);
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
