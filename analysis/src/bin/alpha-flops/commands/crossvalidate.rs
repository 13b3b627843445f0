use alpha_flops_analysis::crossvalidate::{LeaveOut, cross_validate};
use clap::Args;
use clap::builder::TypedValueParser;

use super::data::{DataArgs, load};
use crate::output::{Format, formats, print_table};
use crate::values::choice;
use crate::{Context, Exit, Result};

/// Predict left-out parts of a dataset from the rest, with every variant of the fit
///
/// The variants are the objectives of `fit`, each with and without the constant time T₀.
#[derive(Args)]
pub struct CrossvalidateArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What to leave out at a time
    #[arg(long, value_parser = parts())]
    leave_out: LeaveOut,
    /// Use only this experiment of the dataset; may be repeated
    #[arg(long, value_name = "NAME")]
    experiment: Vec<String>,
    /// Output format
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
}

fn parts() -> impl TypedValueParser<Value = LeaveOut> {
    choice(
        LeaveOut::name,
        [
            (LeaveOut::Experiment, "One experiment: predicts shapes of another kind"),
            (LeaveOut::Series, "One line of an experiment's figure"),
            (
                LeaveOut::Fold,
                "A tenth of the configurations, chosen by id: predicts shapes between known ones",
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
