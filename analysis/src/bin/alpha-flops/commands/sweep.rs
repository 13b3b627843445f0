use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alpha_flops::settings::parse_budget;
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::merge::merge;
use alpha_flops::sweep::order::Shard;
use alpha_flops::sweep::request::{SweepProtocol, SweepRequest, prepare};
use alpha_flops::sweep::{Counts, SweepStatus};
use alpha_flops_analysis::import::sweep::read_shards;
use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};

use super::import;
use crate::output::{Format, print};
use crate::values::{Budget, choice};
use crate::{Context, Exit, Result, progress};

/// Measure the grid of convolutions that α-FLOPs is fitted to, within a time budget
///
/// ALPHA_FLOPS_BACKEND, _THREADS, _DEVICE and similar variables set where and how the convolutions run
/// (see docs/settings.md); _PROTOCOL, _LAUNCHES, _SEED and _TIME_BUDGET apply to `replicate` only.
/// Repeat the command to continue a sweep that was stopped, at whatever moment.
///
/// The exit status is 3 if the sweep has ended and some configurations failed, and 75 if the device was
/// lost; then repeat the command to continue.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SweepArgs {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    /// `published` (134,540 configurations, as in the published code) or `paper` (1,433,600)
    #[arg(long, required = true)]
    grid: Option<Grid>,
    /// Time for measuring, such as 90s or 2h; if the grid needs more, a balanced sample of it is
    /// visited [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    budget: Option<Budget>,
    /// Launches per configuration, after ten warm-up launches
    #[arg(long, default_value = "50")]
    launches: NonZeroU32,
    /// How launches are timed
    #[arg(long, value_parser = protocols(), default_value = "throughput")]
    protocol: SweepProtocol,
    /// Measure only part i of n, counted from 1, to share the grid between machines or devices
    #[arg(long, value_name = "i/n", default_value = "1/1")]
    shard: Shard,
    /// Seed of the order and of the tensors; must be equal for all shards
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the sweep; created, or continued if it exists
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// How often measurements are written; a killed sweep loses no more than this
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_budget, hide = true)]
    part_interval: Budget,
}

#[derive(Subcommand)]
enum SweepCommand {
    Merge(SweepMergeArgs),
}

/// Merge the shards of a sweep
///
/// The shards must agree on grid, seed, protocol, kind of machine and versions, and each must be there
/// exactly once.
#[derive(Args)]
struct SweepMergeArgs {
    /// Folders of the shards, in any order
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// New folder, or dataset to write (.csv or .parquet)
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
}

fn protocols() -> impl TypedValueParser<Value = SweepProtocol> {
    choice(
        SweepProtocol::name,
        [
            (
                SweepProtocol::Throughput,
                "Back to back, with one time for all, as in the published code; gives their mean",
            ),
            (SweepProtocol::Latency, "One by one; gives their median"),
        ],
    )
}

pub fn run(args: &SweepArgs) -> Result<Exit> {
    if let Some(SweepCommand::Merge(args)) = &args.command {
        return run_merge(args);
    }
    let (grid, out) = args.grid.zip(args.out.as_ref()).context("--grid and --out are required")?;
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

fn run_merge(args: &SweepMergeArgs) -> Result<Exit> {
    if args.out.extension().is_some_and(|extension| extension == "csv" || extension == "parquet") {
        return import::write(&read_shards(&args.shards)?, &args.out, Format::Table);
    }
    let header = merge(&args.shards, &args.out)?;
    print(&summary(&header.counts.unwrap_or_default(), header.status, &args.out))
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
