use std::path::PathBuf;

use alpha_flops_analysis::compare::hypothesis_tests::Levels;
use alpha_flops_analysis::selftest::measured::SelfTest;
use clap::Args;

use crate::output::{Format, formats, json, print};
use crate::values::parse_percent;
use crate::{Exit, Result, progress};

/// Measure how often `compare` is wrong on a machine, and which slowdowns it finds
///
/// Needs four or more runs of one program on one machine, between which nothing changed, and splits them
/// into two sides in many ways. Whatever is called slower or faster is then a false alarm. Known
/// slowdowns of 0.5 to 10% are inserted into one side, to see how many are found. Criterion's verdicts
/// on the same launches are shown for comparison.
///
/// The exit status is 2 if the runs are of different kinds or cannot be read.
#[derive(Args)]
pub struct SelftestArgs {
    /// Folders of runs
    #[arg(required = true, value_name = "RECORD")]
    runs: Vec<PathBuf>,
    /// Largest change that does not matter
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_percent)]
    threshold: f64,
    /// False discovery rate that `compare` is asked for
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    fdr: f64,
    /// Output format
    #[arg(long, value_parser = formats(Format::ALL), default_value = "table")]
    format: Format,
}

pub fn run(args: &SelftestArgs) -> Result<Exit> {
    let levels = Levels { threshold: args.threshold, false_discovery_rate: args.fdr };
    let test = progress::of(|show| SelfTest::new(&args.runs, levels, show))?;
    print(&match args.format {
        Format::Table => test.summary(),
        Format::Markdown => test.to_markdown(),
        Format::Csv => test.to_csv(),
        Format::Json => json(&test)?,
    })
}
