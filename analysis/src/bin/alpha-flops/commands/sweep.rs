use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alpha_flops::settings::parse_budget;
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::order::Shard;
use alpha_flops::sweep::request::{SweepProtocol, SweepRequest, prepare};
use alpha_flops::sweep::{Counts, SweepStatus};
use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};

use crate::output::print;
use crate::values::{Budget, choice};
use crate::{Context, Exit, Result, progress};

mod merge;

/// Measure a grid of convolutions for the regression, as far as a time budget goes
///
/// Where and how the convolutions run is set by ALPHA_FLOPS_BACKEND, _THREADS, _DEVICE and the like
/// (see the README); _PROTOCOL, _LAUNCHES, _SEED and _TIME_BUDGET are of `replicate` alone. Stopped
/// at any moment, the same command continues.
///
/// The exit status is 3 where the sweep has ended and some configurations failed, 75 where the device
/// was lost and the same command continues.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SweepArgs {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    /// `published` (134,540 configurations, the published code's) or `paper` (1,433,600)
    #[arg(long, required = true)]
    grid: Option<Grid>,
    /// What measuring may take, e.g. 90s or 2h; with less time than the grid needs, what is measured
    /// is a balanced sample [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    budget: Option<Budget>,
    /// Launches of each configuration, after ten to warm up
    #[arg(long, default_value = "50")]
    launches: NonZeroU32,
    /// `throughput`: launches back to back and their mean; `latency`: one by one and their median
    #[arg(long, value_parser = protocols(), default_value = "throughput")]
    protocol: SweepProtocol,
    /// Measure only the i-th of n parts, from 1: for several machines or devices
    #[arg(long, value_name = "i/n", default_value = "1/1")]
    shard: Shard,
    /// Decides the order, and the tensors; equal for all shards
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The sweep's folder; it is created, or continued
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// Time after which what was measured is written: what a killed sweep loses at most
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_budget, hide = true)]
    part_interval: Budget,
}

#[derive(Subcommand)]
enum SweepCommand {
    Merge(merge::SweepMergeArgs),
}

fn protocols() -> impl TypedValueParser<Value = SweepProtocol> {
    choice(
        SweepProtocol::name,
        [
            (
                SweepProtocol::Throughput,
                "Launches back to back, one time for all of them, as in the published code",
            ),
            (SweepProtocol::Latency, "Launches one by one"),
        ],
    )
}

pub fn run(args: &SweepArgs) -> Result<Exit> {
    if let Some(SweepCommand::Merge(args)) = &args.command {
        return merge::run(args);
    }
    let (grid, out) = args
        .grid
        .zip(args.out.as_ref())
        .context("--grid and --out say what to measure, and where to keep it")?;
    let request = SweepRequest {
        grid,
        seed: args.seed,
        shard: args.shard,
        protocol: args.protocol,
        launches: args.launches,
        budget: args.budget.flatten(),
        part_interval: args.part_interval.unwrap_or(Duration::MAX),
    };
    let (mut sweep, mut backend) = prepare(|_| request)?.open(out)?;
    let status = progress::measure(&mut sweep, backend.as_mut())?;
    let counts = sweep.counts();
    print(&summary(counts, status, out))?;
    Ok(if counts.failed > 0 { Exit::SomeFailed } else { Exit::Success })
}

/// `measured 412 configurations in 58.9 s, skipped 96 (budget 90, memory 6), …`.
fn summary(counts: &Counts, status: SweepStatus, folder: &Path) -> String {
    let Counts { measured, skipped, failed, unvisited, used_s } = counts;
    let all: u64 = skipped.values().sum();
    let reasons: Vec<String> =
        skipped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let reasons = if all > 0 { format!(" ({})", reasons.join(", ")) } else { String::new() };
    let ended = if status == SweepStatus::BudgetUsed { " (budget used)" } else { "" };
    format!(
        "measured {measured} configurations in {used_s:.1} s, skipped {all}{reasons}, failed \
         {failed}, unvisited {unvisited}{ended}; sweep: {}\n",
        folder.display()
    )
}
