use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use alpha_flops::files::{create_folder, write_texts};
use alpha_flops::workspace;
use alpha_flops_analysis::compare::across::{self, Across};
use alpha_flops_analysis::compare::hypothesis_tests::Levels;
use alpha_flops_analysis::compare::sides::{self, Chosen};
use alpha_flops_analysis::compare::{self, CompareError, Comparison, Options};
use alpha_flops_analysis::run::Run;
use alpha_flops_analysis::{archive, plot};
use clap::Args;
use regex::Regex;

use super::data::without_unreadable;
use crate::output::{Format, formats, json, print};
use crate::values::parse_percent;
use crate::{Exit, Result};

/// The defaults of --threshold and --fdr.
pub const LEVELS: Levels = Levels { threshold: 0.02, false_discovery_rate: 0.05 };

/// Compare two sets of runs and list the configurations that got slower or faster
///
/// `compare BEFORE AFTER` compares two runs. `compare B1 B2 B3 --after A1 A2 A3` compares several runs
/// per side; how much they differ within a side shows the noise between runs. With a single run on a side,
/// the noise is estimated from archived runs in the same environment (see `archive`); without those,
/// changes are only candidates.
///
/// Runs on different devices are refused, unless --across asks for their ratios.
///
/// The exit status is 0 if nothing is slower by significantly more than the threshold, 1 if something
/// is, or fails now and did not before, and 2 if the runs are not comparable or cannot be read, or the
/// result cannot be written.
#[derive(Args)]
pub struct CompareArgs {
    /// Runs before the update: their folders, or .csv files of archived runs. Without --after: one run
    /// before and one run after the update
    #[arg(required = true, value_name = "BEFORE")]
    before: Vec<PathBuf>,
    /// Runs after the update
    #[arg(long, num_args = 1.., value_name = "AFTER")]
    after: Vec<PathBuf>,
    /// Largest change that does not matter
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_percent)]
    threshold: f64,
    /// False discovery rate: the largest expected share of false alarms among the changes
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    fdr: f64,
    /// Treat the i-th runs of both sides as a pair, measured one after the other: what they share
    /// cancels. Five pairs can confirm three or more changes, seven pairs a single one
    #[arg(long)]
    paired: bool,
    /// Compare only the configurations that all runs have, where the runs differ in them
    #[arg(long)]
    common: bool,
    /// Compare two devices, BEFORE on one and AFTER on another: ratios of latencies and figures, with no
    /// verdict; the exit status says nothing of them
    #[arg(long, conflicts_with_all = ["threshold", "fdr", "paired", "history", "last"])]
    across: bool,
    /// Only configurations whose id matches this regular expression, such as '^D/'
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,
    /// Archived runs to estimate the noise between runs from, if a side has a single run [default:
    /// those of the device in target-data]
    #[arg(long, value_name = "TARGET")]
    history: Option<PathBuf>,
    /// Of the archived runs that can tell the noise, only the N newest
    #[arg(long, value_name = "N")]
    last: Option<NonZeroUsize>,
    /// Also write comparison.csv, comparison.json, comparison.md (with --across, across.csv and so on) and
    /// figures to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Output format; `csv` has one row per group and configuration
    #[arg(long, value_parser = formats(Format::ALL), default_value = "table")]
    format: Format,
}

pub fn run(args: &CompareArgs) -> Result<Exit> {
    let (before, after) = match (args.before.as_slice(), args.after.as_slice()) {
        ([before, after], []) => (std::slice::from_ref(before), std::slice::from_ref(after)),
        sides => sides,
    };
    let options = Options {
        levels: Levels { threshold: args.threshold, false_discovery_rate: args.fdr },
        paired: args.paired,
        common: args.common,
    };
    let mut sides = sides::read(before, after)?;
    if let Some(filter) = &args.filter {
        sides::keep_only(&mut sides, filter)?;
    }
    let [before, after] = sides;
    if args.across {
        return run_across(&across::across(&before, &after, args.common)?, args);
    }
    let chosen = Chosen { filter: args.filter.clone(), last: args.last };
    let history = archived(args.history.as_deref(), &before, &after, &chosen)?;
    let mut comparison = compare::compare(&before, &after, &history, options)?;
    comparison.filter = args.filter.as_ref().map(Regex::to_string);
    if let Some(out) = &args.out {
        write(&comparison, out)?;
    }
    print(&match args.format {
        Format::Table => comparison.summary(),
        Format::Markdown => comparison.to_markdown(),
        Format::Csv => comparison.to_csv(),
        Format::Json => json(&comparison)?,
    })?;
    Ok(Exit::success_if(!comparison.has_regression()))
}

fn run_across(across: &Across, args: &CompareArgs) -> Result<Exit> {
    if let Some(out) = &args.out {
        create_folder(out)?;
        let texts = [
            ("across.csv", across.to_csv()),
            ("across.json", json(across)?),
            ("across.md", across.to_markdown()),
        ];
        write_texts(out, &texts)?;
        plot::write(&plot::across::figures(across), out)?;
    }
    print(&match args.format {
        Format::Table => across.summary(),
        Format::Markdown => across.to_markdown(),
        Format::Csv => across.to_csv(),
        Format::Json => json(across)?,
    })
}

/// The archived runs that show how much runs differ, for a comparison with a single run on a side; they are
/// in groups that were measured in the same environment.
fn archived(
    named: Option<&Path>,
    before: &[Run],
    after: &[Run],
    chosen: &Chosen,
) -> Result<Vec<Vec<Run>>, CompareError> {
    let unusable =
        |path: &Path, reason| Err(CompareError::History { path: path.to_owned(), reason });
    let is_single = before.len() == 1 || after.len() == 1;
    match (is_single, named) {
        (true, Some(target)) => {
            let found = sides::history(&archive::target(target), before, after, chosen)?;
            let found = without_unreadable(found);
            if found.is_empty() {
                let reason =
                    "no two archived runs of one kind have the same protocol and configurations";
                return unusable(target, reason);
            }
            Ok(found)
        }
        (true, None) => {
            let own = workspace::archive()
                .map(|targets| targets.join(archive::target_name(&before[0].header)))
                .filter(|own| own.is_dir());
            let found = own.map(|own| sides::history(&own, before, after, chosen)).transpose()?;
            Ok(found.map(without_unreadable).unwrap_or_default())
        }
        (false, Some(target)) => {
            unusable(target, "archived runs are used only with a single run on a side")
        }
        _ => Ok(Vec::new()),
    }
}

/// Writes the comparison as CSV, JSON and Markdown, and its figures, into a folder, which is created.
pub(super) fn write(comparison: &Comparison, out: &Path) -> Result<()> {
    create_folder(out)?;
    let texts = [
        ("comparison.csv", comparison.to_csv()),
        ("comparison.json", json(comparison)?),
        ("comparison.md", comparison.to_markdown()),
    ];
    write_texts(out, &texts)?;
    plot::write(&plot::compare::figures(comparison), out)?;
    Ok(())
}
