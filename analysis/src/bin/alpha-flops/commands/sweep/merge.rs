use std::path::PathBuf;

use alpha_flops::sweep::merge::merge;
use alpha_flops_analysis::import::sweep::read_shards;
use clap::Args;

use crate::commands::import;
use crate::output::{Format, print};
use crate::{Exit, Result};

/// Merge the shards of a sweep
///
/// The shards must agree on grid, seed, protocol, kind of machine and versions, and each must be there
/// exactly once.
#[derive(Args)]
pub struct SweepMergeArgs {
    /// Folders of the shards, in any order
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// New folder, or dataset to write (.csv or .parquet)
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
}

pub fn run(args: &SweepMergeArgs) -> Result<Exit> {
    if args.out.extension().is_some_and(|extension| extension == "csv" || extension == "parquet") {
        return import::write(&read_shards(&args.shards)?, &args.out, Format::Table);
    }
    let header = merge(&args.shards, &args.out)?;
    let counts = header.counts.unwrap_or_default();
    print(&super::summary(&counts, header.status, &args.out))
}
