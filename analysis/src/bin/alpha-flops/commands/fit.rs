use std::path::PathBuf;

use alpha_flops::files::write_atomically;
use alpha_flops_analysis::fit::PUBLISHED_START;
use alpha_flops_analysis::model::GroupCoefficients;
use clap::Args;

use super::data::{DataArgs, VariantArgs};
use crate::output::{Format, formats, json, print_table};
use crate::values::parse_start;
use crate::{Exit, Result};

/// Fit α-FLOPs to a dataset, separately for K = 1 and K > 1
///
/// The fit is by least squares, in milliseconds unless --objective says otherwise, with β, γ and final
/// between 0 and 2. Coefficients mean nothing without their conventions (--s-k and --flops), so both are
/// required, and are stored with the coefficients.
#[derive(Args)]
pub struct FitArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    variant: VariantArgs,
    /// Additional starting point; the optimum does not depend on it [default: 0.01,0.8,0.3]
    #[arg(long, value_name = "β,γ,final", value_parser = parse_start)]
    start: Option<GroupCoefficients>,
    /// Output format
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
    /// Write the coefficients to a JSON file, for `evaluate --coefficients`
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
