use std::path::PathBuf;

use alpha_flops_analysis::history::{History, Unreadable};
use alpha_flops_analysis::{archive, plot};
use clap::Args;

use crate::output::{Format, formats, json, print, say};
use crate::{Context, Exit, Result};

/// Show a target's archived runs over time, and the steps between them
///
/// Shows latencies relative to the first run, and for each step what changed in the environment. Runs
/// with different protocols are shown separately. The noise between runs is estimated from runs in the
/// same environment (device, driver, compiler and commit). The output says so if there are too few of
/// them to tell a step from noise. Single odd runs are named as outlier runs. An archived run that cannot
/// be read is left out with a warning.
#[derive(Args)]
pub struct HistoryArgs {
    /// Target's name in target-data, or its folder
    target: PathBuf,
    /// Output format
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
    let (archived, mut unreadable) = archive::read_readable(folder)?;
    if archived.is_empty() && !unreadable.is_empty() {
        return Err(unreadable.swap_remove(0).1.into());
    }
    for (_, error) in &unreadable {
        say(&format!("warning: a run is left out: {error}"));
    }
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
    let mut history = History::from_archived(&name, &archived).with_context(|| {
        format!("no runs in {}\nhint: add some with `alpha-flops archive`", folder.display())
    })?;
    let skipped = unreadable.into_iter();
    history.skipped =
        skipped.map(|(path, error)| Unreadable { path, reason: error.to_string() }).collect();
    if let Some(out) = &args.out {
        plot::write(&plot::history::figures(&history), out)?;
    }
    print(&match args.format {
        Format::Csv => history.to_csv(),
        Format::Json => json(&history)?,
        Format::Table | Format::Markdown => history.to_text(),
    })
}
