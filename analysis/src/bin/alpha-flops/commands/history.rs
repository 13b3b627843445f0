use std::num::NonZeroUsize;
use std::path::PathBuf;

use alpha_flops_analysis::history::check::Check;
use alpha_flops_analysis::history::{History, Unreadable};
use alpha_flops_analysis::{archive, plot};
use anyhow::bail;
use clap::Args;
use regex::Regex;
use serde::Serialize;

use super::data::warn_of_unreadable;
use crate::output::{Format, formats, json, print};
use crate::values::parse_percent;
use crate::{Context, Exit, Result};

/// Show a target's archived runs over time, and the steps between them
///
/// Shows latencies relative to the first run, and for each step what changed in the environment. Runs
/// with different protocols are shown separately. The noise between runs is estimated from runs in the
/// same environment (device, driver, compiler and commit). The output says so if there are too few of
/// them to tell a step from noise. Single odd runs are named as outlier runs. An archived run that cannot
/// be read is left out with a warning.
///
/// With --check, the exit status is 0 if nothing is shown to have got slower, 1 if something has, and 2 if
/// there are too few runs to tell, or on any error.
#[derive(Args)]
pub struct HistoryArgs {
    /// Target's name in target-data, or its folder
    target: PathBuf,
    /// Only configurations whose id matches this regular expression, such as '^D/'
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,
    /// Only the N newest runs
    #[arg(long, value_name = "N")]
    last: Option<NonZeroUsize>,
    /// Also list what got slower and still is: experiments whose last level is slower than the fastest
    /// before it, with the whole 95% interval beyond the threshold
    #[arg(long)]
    pub check: bool,
    /// Largest slowdown that does not matter to --check
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_percent, requires = "check")]
    threshold: f64,
    /// Output format; --check adds nothing to `csv`
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
    /// Also write figures (SVG and PNG) to this folder; created if it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &HistoryArgs) -> Result<Exit> {
    let folder = &archive::target(&args.target);
    folder.is_dir().then_some(()).with_context(|| {
        format!(
            "{}: no such target\nhint: give a folder that `alpha-flops archive` has created, or its \
             name if it is in the target-data of a checkout",
            folder.display()
        )
    })?;
    let (mut archived, mut unreadable) = archive::read(folder)?;
    if archived.is_empty() && !unreadable.is_empty() {
        return Err(unreadable.swap_remove(0).1.into());
    }
    for (_, error) in &unreadable {
        warn_of_unreadable(error);
    }
    let left_out = args.last.map(|last| archived.len().saturating_sub(last.get()));
    archived.drain(..left_out.unwrap_or(0));
    if let Some(filter) = &args.filter {
        archived.iter_mut().for_each(|run| run.keep_only(filter));
        archived.retain(|run| !run.dataset.observations.is_empty());
        if archived.is_empty() {
            bail!("no configuration passes the filter `{filter}`");
        }
    }
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
    let mut history = History::from_archived(&name, &archived).with_context(|| {
        format!("no runs in {}\nhint: add some with `alpha-flops archive`", folder.display())
    })?;
    history.filter = args.filter.as_ref().map(Regex::to_string);
    history.left_out = left_out.filter(|runs| *runs > 0);
    let skipped = unreadable.into_iter();
    history.skipped =
        skipped.map(|(path, error)| Unreadable { path, reason: error.to_string() }).collect();
    if let Some(out) = &args.out {
        plot::write(&plot::history::figures(&history), out)?;
    }
    let check = args.check.then(|| history.check(args.threshold));
    print(&match args.format {
        Format::Csv => history.to_csv(),
        Format::Json => json(&Checked { history: &history, check: check.as_ref() })?,
        Format::Table | Format::Markdown => match &check {
            Some(check) => format!("{}\n{check}", history.to_text()),
            None => history.to_text(),
        },
    })?;
    Ok(check.as_ref().map_or(Exit::Success, exit))
}

/// 0 says that nothing was found although it would have been.
fn exit(check: &Check) -> Exit {
    match (check.has_regression(), check.is_incomplete()) {
        (true, _) => Exit::Failure,
        (false, true) => Exit::NotComparable,
        (false, false) => Exit::Success,
    }
}

#[derive(Serialize)]
struct Checked<'a> {
    #[serde(flatten)]
    history: &'a History,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'a Check>,
}
