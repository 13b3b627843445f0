use std::collections::HashSet;
use std::path::PathBuf;

use alpha_flops_analysis::archive;
use alpha_flops_analysis::model::{FlopConvention, KernelTerm};
use alpha_flops_analysis::report::{self, Input};
use clap::Args;

use super::data::{coefficients, load, warn_of_unreadable};
use crate::output::{Format, formats, print_summary};
use crate::values::{flop_conventions, kernel_terms};
use crate::{Exit, Result};

/// Write a report on datasets, with figures, tables and answers to RO1–RO3
///
/// Writes report.md, report.json (the same content) and figures/ (SVG and PNG) to the folder --out. For
/// several datasets, there are figures of each and figures that show all of them side by side.
#[derive(Args)]
pub struct ReportArgs {
    /// Folders of runs, or datasets (.csv or .parquet)
    #[arg(required = true, value_name = "RUN|DATASET")]
    inputs: Vec<PathBuf>,
    /// Folder to write to; created if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Coefficients to evaluate: `fitted` (to each dataset itself, so in-sample), `published-t2000`,
    /// `published-rtx4090`, or a file written by `fit --out`; may be repeated, the first decides RO3
    #[arg(long, value_name = "NAME|FILE", default_value = "fitted")]
    coefficients: Vec<String>,
    /// Also fit to this sweep's folder or dataset; these coefficients come before --coefficients
    #[arg(long, value_name = "SWEEP|DATASET")]
    fit_to: Option<PathBuf>,
    /// Archived runs to estimate the noise between runs from, for datasets that were not measured in
    /// several passes [default: those of the device in target-data]
    #[arg(long, value_name = "TARGET")]
    history: Option<PathBuf>,
    /// Definition of S_K in fits made here
    #[arg(long, value_parser = kernel_terms(), default_value_t = KernelTerm::Side)]
    s_k: KernelTerm,
    /// How fits made here count FLOPs, in millions
    #[arg(long, value_parser = flop_conventions(), default_value_t = FlopConvention::Macs)]
    flops: FlopConvention,
    /// Output format
    #[arg(long, value_parser = formats(Format::SUMMARY), default_value = "table")]
    format: Format,
}

pub fn run(args: &ReportArgs) -> Result<Exit> {
    let imported = args.inputs.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
    let fit_to = args.fit_to.as_ref().map(|path| load(path)).transpose()?;
    let mut inputs: Vec<Input<'_>> = imported.iter().map(Input::from_import).collect();
    let history = args.history.as_ref().map(|target| archive::target(target));
    let mut warned = HashSet::new();
    for input in &mut inputs {
        for (path, error) in input.find_noise(history.clone())? {
            if warned.insert(path) {
                warn_of_unreadable(error);
            }
        }
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
