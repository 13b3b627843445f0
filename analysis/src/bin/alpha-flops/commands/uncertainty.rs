use alpha_flops_analysis::fit::{PUBLISHED_START, intervals};
use clap::Args;

use super::data::{DataArgs, VariantArgs};
use crate::output::{Format, print_table, table_formats};
use crate::{Exit, Result};

/// Give 95% intervals of fitted parameters in three ways, and say which to believe
#[derive(Args)]
pub struct UncertaintyArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    variant: VariantArgs,
    /// Bootstrap samples
    #[arg(long, default_value_t = 999)]
    refits: usize,
    /// Decides which configurations they draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to print
    #[arg(long, value_parser = table_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &UncertaintyArgs) -> Result<Exit> {
    let sample = args.data.sample()?;
    let fit = args.data.fit(&sample, &args.variant, PUBLISHED_START)?;
    let intervals = intervals::intervals(&sample, &fit, args.refits, args.seed);
    print_table(args.format, &intervals::table(&fit, &intervals), &intervals)
}
