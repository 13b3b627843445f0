use std::path::PathBuf;

use alpha_flops::files::write_atomically;
use alpha_flops::terminal::remark;
use alpha_flops_analysis::export::{Exported, Measurements, Tool};
use alpha_flops_analysis::export::{bencher, github_action_benchmark, nvbench};
use clap::Args;

use crate::output::print;
use crate::values::choice;
use crate::{Context, Exit, Result};

/// Write latencies in the format of another tool
///
/// Medians and quartiles of the launches in nanoseconds; for nvbench also the launches themselves, where they
/// are kept. Device, backend, versions and protocol go along as far as the format has a place for them; what
/// it has none for is printed. Stand-ins and simulated runs are refused. `docs/export.md` says what stands where.
#[derive(Args)]
pub struct ExportArgs {
    /// Folder of a run or a sweep, or dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    data: PathBuf,
    /// The tool
    #[arg(long, value_name = "TOOL", value_parser = choice(Tool::name, [
        (Tool::Bencher, "Bencher's metric format, for `bencher run --adapter json`"),
        (Tool::GithubActionBenchmark, "For `tool: customSmallerIsBetter`"),
        (Tool::Nvbench, "nvbench's JSON, with launches in FILE-bin; needs --out"),
    ]))]
    to: Tool,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE", required_if_eq("to", "nvbench"))]
    out: Option<PathBuf>,
}

pub fn run(args: &ExportArgs) -> Result<Exit> {
    let measurements = Measurements::read(&args.data)?;
    let Exported { text, unsaid } = match args.to {
        Tool::Bencher => bencher::export(&measurements, &args.data)?,
        Tool::GithubActionBenchmark => github_action_benchmark::export(&measurements, &args.data)?,
        Tool::Nvbench => {
            let out = args.out.as_deref().context("--to nvbench needs --out FILE")?;
            let with = nvbench::write(&measurements, out)?;
            let all = measurements.dataset.observations.len();
            let out = out.display();
            return print(&format!("{out}: {all} configurations, {with} of them with launches\n"));
        }
    };
    if let Some(unsaid) = unsaid {
        remark(&format!("note: {unsaid}"));
    }
    match &args.out {
        Some(out) => {
            write_atomically(out, |file| file.write_all(text.as_bytes()))?;
            let n = measurements.dataset.observations.len();
            print(&format!("{}: {n} configurations\n", out.display()))
        }
        None => print(&text),
    }
}
