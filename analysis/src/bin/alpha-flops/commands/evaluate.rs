use std::path::PathBuf;

use alpha_flops_analysis::import::load;
use alpha_flops_analysis::metrics;
use clap::Args;

use super::data::coefficients;
use crate::output::{Format, print_table, table_formats};
use crate::{Exit, Result};

/// Compare the estimates of coefficients with the latencies of a dataset
///
/// Errors are given over all configurations, per experiment and per line of its figure.
#[derive(Args)]
pub struct EvaluateArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    dataset: PathBuf,
    /// `published-t2000`, `published-rtx4090`, or a file that `fit --out` has written
    #[arg(long, value_name = "NAME|FILE")]
    coefficients: String,
    /// What to print
    #[arg(long, value_parser = table_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &EvaluateArgs) -> Result<Exit> {
    let dataset = load(&args.dataset)?.dataset;
    let coefficients = coefficients(&args.coefficients)?;
    let evaluation = metrics::evaluate(&dataset, &coefficients)?;
    print_table(args.format, &evaluation.table(), &evaluation)
}
