use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops_analysis::suite;
use clap::Args;

use crate::output::{Format, print_table, table_formats};
use crate::{Exit, Result};

/// List the configurations of the experiments
#[derive(Args)]
pub struct ExperimentsArgs {
    /// `full` (9,105 configurations, as the replication measured) or `original` (591)
    #[arg(long, default_value = "original")]
    resolution: Resolution,
    /// Only these experiments, A to G; may be repeated
    #[arg(long, value_name = "LETTER")]
    experiment: Vec<Experiment>,
    /// What to print
    #[arg(long, value_parser = table_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &ExperimentsArgs) -> Result<Exit> {
    let all = Experiment::all().to_vec();
    let chosen = if args.experiment.is_empty() { &all } else { &args.experiment };
    let table = suite::table(chosen, args.resolution);
    print_table(args.format, &table, &suite::list(chosen, args.resolution))
}
