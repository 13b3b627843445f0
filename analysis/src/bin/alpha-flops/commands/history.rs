use std::path::PathBuf;

use alpha_flops_analysis::history::History;
use alpha_flops_analysis::{archive, plot};
use clap::Args;

use crate::output::{Format, json, print, table_formats};
use crate::{Context, Exit, Result};

/// Show a target's runs over time: latencies against the first run, and steps with what changed then
///
/// Runs by different protocols are shown apart. How much runs differ by chance is taken from those that
/// were measured in equal environments (same device, driver, compiler and commit); where there are too
/// few of them to tell a step from chance, that is said.
#[derive(Args)]
pub struct HistoryArgs {
    /// A target's name in target-data, or its folder
    target: PathBuf,
    /// What to print
    #[arg(long, value_parser = table_formats(), default_value = "table")]
    format: Format,
    /// Also draw figures, as SVG and PNG, into a directory; it is created
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &HistoryArgs) -> Result<Exit> {
    let folder = &archive::target(&args.target);
    folder
        .is_dir()
        .then_some(())
        .with_context(|| format!("{}: no such target; `archive` makes it", folder.display()))?;
    let archived = archive::read(folder)?;
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
    let history = History::of(&name, &archived)
        .with_context(|| format!("no runs in {}; `archive` adds some", folder.display()))?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        for figure in plot::history::figures(&history) {
            plot::write(&figure, out)?;
        }
    }
    print(&match args.format {
        Format::Csv => history.to_csv(),
        Format::Json => json(&history)?,
        Format::Table | Format::Markdown => history.to_text(),
    })
}
