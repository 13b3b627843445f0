use std::path::PathBuf;

use alpha_flops_analysis::import::load;
use alpha_flops_analysis::model::{FlopConvention, KernelTerm};
use alpha_flops_analysis::report::{self, Input};
use clap::Args;

use super::data::coefficients;
use crate::output::{Format, print_summary, summary_formats};
use crate::values::{flop_conventions, kernel_terms};
use crate::{Exit, Result};

/// Write figures, tables and the answers to RO1–RO3 for one or several datasets
///
/// DIR gets report.md, report.json with the same content, and figures/ as SVG and PNG. Of several
/// datasets, there are figures of each and figures with all of them side by side.
#[derive(Args)]
pub struct ReportArgs {
    /// Runs' folders, or datasets (.csv or .parquet)
    #[arg(required = true, value_name = "RUN|DATASET")]
    inputs: Vec<PathBuf>,
    /// The directory to write into; it is created
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// `fitted` (to each dataset itself: in-sample), `published-t2000`, `published-rtx4090`, or a
    /// file that `fit --out` has written; may be repeated, the first decides RO3
    #[arg(long, value_name = "NAME|FILE", default_value = "fitted")]
    coefficients: Vec<String>,
    /// Fit to these data, before all of --coefficients: a sweep's folder, or a dataset
    #[arg(long, value_name = "SWEEP|DATASET")]
    fit_to: Option<PathBuf>,
    /// How what is fitted here computes S_K
    #[arg(long, value_parser = kernel_terms(), default_value_t = KernelTerm::Side)]
    s_k: KernelTerm,
    /// How what is fitted here counts FLOPs
    #[arg(long, value_parser = flop_conventions(), default_value_t = FlopConvention::Macs)]
    flops: FlopConvention,
    /// What to print
    #[arg(long, value_parser = summary_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &ReportArgs) -> Result<Exit> {
    let imported = args.inputs.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
    let fit_to = args.fit_to.as_ref().map(|path| load(path)).transpose()?;
    let mut inputs: Vec<Input<'_>> = imported.iter().map(Input::of).collect();
    for input in &mut inputs {
        if let Some(fit_to) = &fit_to {
            input.fit_to(fit_to, args.s_k, args.flops);
        }
    }
    for name in &args.coefficients {
        for input in &mut inputs {
            match name.as_str() {
                "fitted" => input.fit_in_sample(args.s_k, args.flops),
                name => input.coefficients.push(coefficients(name)?.into()),
            }
        }
    }
    let report = report::write(&inputs, &args.out)?;
    print_summary(args.format, &report.summary(&args.out), &report)
}
