use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops_analysis::experiments;
use clap::Args;

use crate::output::{Format, formats, print_table};
use crate::{Exit, Result};

/// List the configurations of the experiments
#[derive(Args)]
pub struct ExperimentsArgs {
    /// `original` (591 configurations) or `full` (9,105, as in the replication)
    #[arg(long, default_value = "original")]
    resolution: Resolution,
    /// Only this experiment, for example A; may be repeated
    #[arg(long, value_name = "LETTER")]
    experiment: Vec<Experiment>,
    /// Output format
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
}

pub fn run(args: &ExperimentsArgs) -> Result<Exit> {
    let all = Experiment::all().to_vec();
    let chosen = if args.experiment.is_empty() { &all } else { &args.experiment };
    let table = experiments::table(chosen, args.resolution);
    print_table(args.format, &table, &experiments::list(chosen, args.resolution))
}
