use alpha_flops_analysis::crossvalidate::{LeaveOut, cross_validate};
use alpha_flops_analysis::import::load;
use clap::Args;
use clap::builder::TypedValueParser;

use super::data::DataArgs;
use crate::output::{Format, print_table, table_formats};
use crate::values::choice;
use crate::{Context, Exit, Result};

/// Predict left-out parts of a dataset from the rest, by every objective, with and without T₀
#[derive(Args)]
pub struct CrossvalidateArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What is left out together
    #[arg(long, value_parser = parts())]
    leave_out: LeaveOut,
    /// Only these experiments of the dataset; may be repeated
    #[arg(long, value_name = "NAME")]
    experiment: Vec<String>,
    /// What to print
    #[arg(long, value_parser = table_formats(), default_value = "table")]
    format: Format,
}

fn parts() -> impl TypedValueParser<Value = LeaveOut> {
    choice(
        LeaveOut::name,
        [
            (LeaveOut::Experiment, "An experiment: shapes of another kind"),
            (LeaveOut::Series, "A line of an experiment"),
            (
                LeaveOut::Fold,
                "A tenth of the configurations, chosen by their id: shapes between those known",
            ),
        ],
    )
}

pub fn run(args: &CrossvalidateArgs) -> Result<Exit> {
    let DataArgs { dataset: path, s_k, flops } = &args.data;
    let mut dataset = load(path)?.dataset;
    let chosen = &args.experiment;
    dataset.observations.retain(|o| chosen.is_empty() || chosen.contains(&o.experiment));
    let validation = cross_validate(&dataset, *s_k, *flops, args.leave_out)
        .with_context(|| format!("cannot cross-validate {}", path.display()))?;
    print_table(args.format, &validation.table(), &validation)
}
