use std::path::PathBuf;

use alpha_flops_analysis::archive;
use alpha_flops_analysis::compare::{self, CompareError, Options, sides};
use clap::Args;

use crate::output::{Format, comparison_formats, json, print};
use crate::values::parse_percent;
use crate::{Exit, Result};

/// Say which configurations an update made slower or faster, by how much, and how sure that is
///
/// `compare BEFORE AFTER` compares two runs, `compare B1 B2 B3 --after A1 A2 A3` several a side, which
/// say what runs differ by. Of one run a side, archived runs of equal circumstances do (see `archive`);
/// where there are none, nothing is called more than a candidate.
///
/// The exit status is 0 where nothing is shown to be slower and measured to be so by more than the
/// threshold, 1 where something is or can no longer be computed, 2 where the runs are not comparable,
/// cannot be read, or the result cannot be written.
#[derive(Args)]
pub struct CompareArgs {
    /// Runs' folders, or archived runs' .csv, before the update; without --after, one before and one
    /// after
    #[arg(required = true, value_name = "BEFORE")]
    before: Vec<PathBuf>,
    /// The same after it
    #[arg(long, num_args = 1.., value_name = "AFTER")]
    after: Vec<PathBuf>,
    /// Changes up to this are as good as none
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_percent)]
    threshold: f64,
    /// Share of wrong ones among what is called slower or faster, at most, in expectation
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    fdr: f64,
    /// The i-th runs before and after were measured one after the other: what both share cancels. Of
    /// five pairs three changes or more are confirmed together, of seven a single one
    #[arg(long)]
    paired: bool,
    /// Where runs have other configurations, compare those of all
    #[arg(long)]
    common: bool,
    /// Of one run a side: the archived runs that say what runs differ by [default: those of the
    /// device in target-data]
    #[arg(long, value_name = "TARGET")]
    history: Option<PathBuf>,
    /// Also write comparison.csv, comparison.json, comparison.md and figures to a directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print
    #[arg(long, value_parser = comparison_formats(), default_value = "table")]
    format: Format,
}

pub fn run(args: &CompareArgs) -> Result<Exit> {
    let (before, after) = match (args.before.as_slice(), args.after.as_slice()) {
        ([before, after], []) => (std::slice::from_ref(before), std::slice::from_ref(after)),
        sides => sides,
    };
    let options = Options {
        threshold: args.threshold,
        false_discovery_rate: args.fdr,
        paired: args.paired,
        common: args.common,
    };
    let [before, after] = sides::read(before, after)?;
    let history = match (before.as_slice(), after.as_slice(), &args.history) {
        ([before], [after], named) => {
            let own = archive::root().join(archive::target_name(&before.header));
            let folder = match named {
                Some(target) => Some(archive::target(target)),
                None => own.is_dir().then_some(own),
            };
            folder.map(|folder| sides::history(&folder, before, after)).transpose()?
        }
        _ => None,
    }
    .unwrap_or_default();
    if let (Some(path), true) = (args.history.clone(), history.is_empty()) {
        let reason = match before.len() + after.len() {
            2 => "no two archived runs of one kind have the same protocol and configurations",
            _ => "only one run a side is judged by archived ones",
        };
        return Err(CompareError::History { path, reason }.into());
    }
    let comparison = compare::compare(&before, &after, &history, options)?;
    if let Some(out) = &args.out {
        comparison.write(out)?;
    }
    print(&match args.format {
        Format::Table => comparison.summary(),
        Format::Markdown => comparison.to_markdown(),
        Format::Csv => comparison.to_csv(),
        Format::Json => json(&comparison)?,
    })?;
    Ok(Exit::success_if(!comparison.has_regression()))
}
