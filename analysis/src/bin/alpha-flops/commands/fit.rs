use std::path::PathBuf;

use alpha_flops::atomic_file::write_atomically;
use alpha_flops_analysis::fit::PUBLISHED_START;
use alpha_flops_analysis::model::GroupCoefficients;
use clap::Args;

use super::data::{DataArgs, VariantArgs};
use crate::output::{Format, json, print_table, table_formats};
use crate::values::parse_start;
use crate::{Exit, Result};

/// Fit α-FLOPs to a dataset, K = 1 and K > 1 apart
///
/// Least squares, on milliseconds unless --objective says otherwise, with β, γ and final within 0 to 2.
/// Coefficients mean nothing without their conventions, so both have to be chosen and are stored with
/// them. Of a Parquet file only the columns that the fit needs are read and checked.
#[derive(Args)]
pub struct FitArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    variant: VariantArgs,
    /// One more place to search from; the optimum does not depend on it [default: 0.01,0.8,0.3]
    #[arg(long, value_name = "β,γ,final", value_parser = parse_start)]
    start: Option<GroupCoefficients>,
    /// What to print
    #[arg(long, value_parser = table_formats(), default_value = "table")]
    format: Format,
    /// Write the coefficients, as JSON, to a file that `evaluate --coefficients` takes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &FitArgs) -> Result<Exit> {
    let sample = args.data.sample()?;
    let fit = args.data.fit(&sample, &args.variant, args.start.unwrap_or(PUBLISHED_START))?;
    if let Some(path) = &args.out {
        let json = json(&fit)?;
        write_atomically(path, |out| out.write_all(json.as_bytes()))?;
    }
    let table = if args.format == Format::Csv { fit.precise_table() } else { fit.table() };
    print_table(args.format, &table, &fit)
}
