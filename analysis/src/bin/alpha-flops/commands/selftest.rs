use std::path::PathBuf;

use alpha_flops_analysis::compare::Options;
use alpha_flops_analysis::selftest::measured::SelfTest;
use clap::Args;
use indicatif::ProgressBar;

use crate::output::{Format, comparison_formats, json, print};
use crate::values::parse_percent;
use crate::{Exit, Result};

/// Publish how often `compare` is wrong on a machine, and what it finds, by real runs of it
///
/// Four runs or more of one machine and program, between which nothing changed, are divided into two sides
/// in many ways. Whatever is called slower or faster is a false alarm; with known slowdowns of 0.5 to 10%
/// put into one side, what is called slower is a find. Criterion's own verdicts on the same launches
/// stand beside. The exit status is 2 where runs are not alike or cannot be read.
#[derive(Args)]
pub struct SelftestArgs {
    /// Runs' folders
    #[arg(required = true, value_name = "RECORD")]
    runs: Vec<PathBuf>,
    /// Changes up to this are as good as none
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_percent)]
    threshold: f64,
    /// Share of wrong ones among what is called slower or faster, as asked for
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    fdr: f64,
    /// What to print
    #[arg(long, value_parser = comparison_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &SelftestArgs) -> Result<Exit> {
    let options = Options {
        threshold: args.threshold,
        false_discovery_rate: args.fdr,
        paired: false,
        common: false,
    };
    let bar = ProgressBar::new(0);
    let test = SelfTest::of(&args.runs, options, &|done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let test = test?;
    print(&match args.format {
        Format::Table => test.summary(),
        Format::Markdown => test.to_markdown(),
        Format::Csv => test.to_csv(),
        Format::Json => json(&test)?,
    })
}
