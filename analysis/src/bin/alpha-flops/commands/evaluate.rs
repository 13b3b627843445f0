use std::path::PathBuf;

use alpha_flops_analysis::metrics;
use clap::Args;

use super::data::{coefficients, load};
use crate::output::{Format, formats, print_table};
use crate::{Exit, Result};

/// Compare the latencies that coefficients predict with those of a dataset
///
/// Prints errors over all configurations, per experiment, and per line of its figure.
#[derive(Args)]
pub struct EvaluateArgs {
    /// Folder of a run, or dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    dataset: PathBuf,
    /// `published-t2000`, `published-rtx4090`, or a file written by `fit --out`
    #[arg(long, value_name = "NAME|FILE")]
    coefficients: String,
    /// Output format
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
}

pub fn run(args: &EvaluateArgs) -> Result<Exit> {
    let dataset = load(&args.dataset)?.dataset;
    let coefficients = coefficients(&args.coefficients)?;
    let evaluation = metrics::evaluate(&dataset, &coefficients)?;
    print_table(args.format, &evaluation.table(), &evaluation)
}
