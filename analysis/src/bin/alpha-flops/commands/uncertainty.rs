use alpha_flops_analysis::fit::refits::Refits;
use alpha_flops_analysis::fit::{PUBLISHED_START, intervals};
use clap::Args;

use super::data::{DataArgs, VariantArgs};
use crate::output::{Format, formats, print_table};
use crate::{Exit, Result};

/// Compute 95% confidence intervals of the fitted parameters
///
/// There are three kinds, asymptotic, profile and bootstrap; the output says which to trust.
#[derive(Args)]
pub struct UncertaintyArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    variant: VariantArgs,
    /// Number of bootstrap samples
    #[arg(long, default_value_t = 999)]
    refits: usize,
    /// Seed of the bootstrap samples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Output format
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
}

pub fn run(args: &UncertaintyArgs) -> Result<Exit> {
    let sample = args.data.sample()?;
    let fit = args.data.fit(&sample, &args.variant, PUBLISHED_START)?;
    let refits = Refits::draw(&sample, &fit, args.refits, args.seed);
    let intervals = intervals::intervals(&sample, &fit, &refits);
    print_table(args.format, &intervals::table(&fit, &intervals), &intervals)
}
