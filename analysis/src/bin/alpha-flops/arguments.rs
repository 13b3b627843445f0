//! The arguments of the `alpha-flops` command, as `--help` shows them.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::settings::parse_budget;
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::order::Shard;
use alpha_flops_analysis::crossvalidate::LeaveOut;
use alpha_flops_analysis::model::{FlopConvention, GroupCoefficients, KernelTerm, Objective};
use alpha_flops_analysis::sweep::SweepProtocol;
use alpha_flops_analysis::table::OutputFormat;
use clap::{Args, Parser, Subcommand};

/// What FLOPs hide: fits α-FLOPs to measured convolutions and judges it.
#[derive(Parser)]
#[command(name = "alpha-flops", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    Replicate(ReplicateArgs),
    Experiments(ExperimentsArgs),
    Fit(FitArgs),
    Evaluate(EvaluateArgs),
    Crossvalidate(CrossvalidateArgs),
    Uncertainty(UncertaintyArgs),
    #[command(subcommand)]
    Import(ImportCommand),
    Report(ReportArgs),
    Sweep(SweepArgs),
    Compare(CompareArgs),
    Selftest(SelftestArgs),
    Archive(ArchiveArgs),
    History(HistoryArgs),
    Variance(VarianceArgs),
}

/// Turn measurements into a dataset
#[derive(Subcommand)]
pub enum ImportCommand {
    Criterion(ImportCriterionArgs),
    Asperti(ImportAspertiArgs),
    Sweep(ImportSweepArgs),
}

/// Measure a sweep and experiments A–G, fit α-FLOPs to the sweep, judge it by A–G, and write figures,
/// tables and answers
///
/// What is measured is set by ALPHA_FLOPS_… variables or bench.toml (see the README). An interrupted
/// run resumes when the command is repeated.
#[derive(Args)]
pub struct ReplicateArgs {
    /// Where the report goes; by default `report` in the run's folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure A–G so many times, each in processes of its own; the runs take turns with half as many
    /// orders (seeds). The sweep is measured once, before; the report is of the first run. The time
    /// budget is that of each run
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Compare outputs of every configuration with a direct sum before measuring it
    #[arg(long)]
    pub verify: bool,
    /// What measuring the sweep may take, e.g. 90s or 2h [default: a quarter of the time budget of
    /// A–G, in addition to it; without one, 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    pub sweep_budget: Option<Budget>,
    /// Measure no sweep: α-FLOPs is fitted to A–G, and judged by what it was fitted to
    #[arg(long, conflicts_with = "sweep_budget")]
    pub no_sweep: bool,
    /// How the fit computes S_K
    #[arg(long, value_enum, default_value_t = KernelTerm::Side)]
    pub s_k: KernelTerm,
    /// What to print at the end; with `json` the progress goes to standard error
    #[arg(long, value_enum, default_value_t)]
    pub format: SummaryFormat,
    /// Measure only configurations whose id matches, e.g. '^D/'
    pub filter: Option<String>,
}

/// List the configurations of the experiments
#[derive(Args)]
pub struct ExperimentsArgs {
    /// `full` (9,105 configurations, as the replication measured) or `original` (591)
    #[arg(long, default_value = "original")]
    pub resolution: Resolution,
    /// Only these experiments, A to G; may be repeated
    #[arg(long, value_name = "LETTER")]
    pub experiment: Vec<Experiment>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
}

/// A run of this project's benchmarks, out of criterion's files
///
/// Benchmarks whose files are cut, mixed or not of this run are left out, each with its reason; the
/// exit status is then 1.
#[derive(Args)]
pub struct ImportCriterionArgs {
    /// The run's folder, as `cargo bench` names it at its end
    pub run: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Also write the run's settings and environment, as JSON
    #[arg(long, value_name = "FILE")]
    pub environment: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: SummaryFormat,
}

// What is fitted, and by which conventions. No doc comment: it would become that of the command.
#[derive(Args)]
pub struct DataArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    pub dataset: PathBuf,
    /// How S_K is computed
    #[arg(long, value_enum)]
    pub s_k: KernelTerm,
    /// How FLOPs, in millions, are counted
    #[arg(long, value_enum)]
    pub flops: FlopConvention,
}

// Which fit.
#[derive(Args)]
pub struct VariantArgs {
    /// What the fit makes small
    #[arg(long, value_enum, default_value_t)]
    pub objective: Objective,
    /// Also fit T₀ ≥ 0 (ms), a time that every convolution takes: T = T₀ + final · α · FLOPs
    #[arg(long)]
    pub constant: bool,
}

/// Fit α-FLOPs to a dataset, K = 1 and K > 1 apart
///
/// Least squares, on milliseconds unless --objective says otherwise, with β, γ and final within 0 to 2.
/// Coefficients mean nothing without their conventions, so both have to be chosen and are stored with
/// them. Of a Parquet file only the columns that the fit needs are read and checked.
#[derive(Args)]
pub struct FitArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub variant: VariantArgs,
    /// One more place to search from; the optimum does not depend on it [default: 0.01,0.8,0.3]
    #[arg(long, value_name = "β,γ,final", value_parser = parse_start)]
    pub start: Option<GroupCoefficients>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Write the coefficients, as JSON, to a file that `evaluate --coefficients` takes
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Compare the estimates of coefficients with the latencies of a dataset
///
/// Errors are given over all configurations, per experiment and per line of its figure.
#[derive(Args)]
pub struct EvaluateArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    pub dataset: PathBuf,
    /// `published-t2000`, `published-rtx4090`, or a file that `fit --out` has written
    #[arg(long, value_name = "NAME|FILE")]
    pub coefficients: String,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
}

/// Predict left-out parts of a dataset from the rest, by every objective, with and without T₀
#[derive(Args)]
pub struct CrossvalidateArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// What is left out together
    #[arg(long, value_enum)]
    pub leave_out: LeaveOut,
    /// Only these experiments of the dataset; may be repeated
    #[arg(long, value_name = "NAME")]
    pub experiment: Vec<String>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
}

/// Give 95% intervals of fitted parameters in three ways, and say which to believe
#[derive(Args)]
pub struct UncertaintyArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub variant: VariantArgs,
    /// Bootstrap samples
    #[arg(long, default_value_t = 999)]
    pub refits: usize,
    /// Decides which configurations they draw
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
}

/// The original study's data.pickle (Asperti et al. 2021); no code in it is executed
#[derive(Args)]
pub struct ImportAspertiArgs {
    /// data.pickle, from GitHub asperti/alpha_flops_dataset
    pub file: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: SummaryFormat,
}

/// Write figures, tables and the answers to RO1–RO3 for one or several datasets
///
/// DIR gets report.md, report.json with the same content, and figures/ as SVG and PNG. Of several
/// datasets, there are figures of each and figures with all of them side by side.
#[derive(Args)]
pub struct ReportArgs {
    /// Runs' folders, or datasets (.csv or .parquet)
    #[arg(required = true, value_name = "RUN|DATASET")]
    pub inputs: Vec<PathBuf>,
    /// The directory to write into; it is created
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// `fitted` (to each dataset itself: in-sample), `published-t2000`, `published-rtx4090`, or a
    /// file that `fit --out` has written; may be repeated, the first decides RO3
    #[arg(long, value_name = "NAME|FILE", default_value = "fitted")]
    pub coefficients: Vec<String>,
    /// Fit to these data, before all of --coefficients: a sweep's folder, or a dataset
    #[arg(long, value_name = "SWEEP|DATASET")]
    pub fit_to: Option<PathBuf>,
    /// How what is fitted here computes S_K
    #[arg(long, value_enum, default_value_t = KernelTerm::Side)]
    pub s_k: KernelTerm,
    /// How what is fitted here counts FLOPs
    #[arg(long, value_enum, default_value_t = FlopConvention::Macs)]
    pub flops: FlopConvention,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: SummaryFormat,
}

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
    pub command: Option<SweepCommand>,
    #[command(flatten)]
    pub measure: SweepMeasureArgs,
}

#[derive(Subcommand)]
pub enum SweepCommand {
    Merge(SweepMergeArgs),
}

#[derive(Args)]
pub struct SweepMeasureArgs {
    /// `published` (134,540 configurations, the published code's) or `paper` (1,433,600)
    #[arg(long, required = true)]
    pub grid: Option<Grid>,
    /// What measuring may take, e.g. 90s or 2h; with less time than the grid needs, what is measured
    /// is a balanced sample [default: none]
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    pub budget: Option<Budget>,
    /// Launches of each configuration, after ten to warm up
    #[arg(long, default_value = "50")]
    pub launches: NonZeroU32,
    /// `throughput`: launches back to back and their mean; `latency`: one by one and their median
    #[arg(long, value_enum, default_value_t)]
    pub protocol: SweepProtocol,
    /// Measure only the i-th of n parts, from 1: for several machines or devices
    #[arg(long, value_name = "i/n", default_value = "1/1")]
    pub shard: Shard,
    /// Decides the order, and the tensors; equal for all shards
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The sweep's folder; it is created, or continued
    #[arg(long, value_name = "DIR", required = true)]
    pub out: Option<PathBuf>,
    /// Time after which what was measured is written: what a killed sweep loses at most
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_budget, hide = true)]
    pub part_interval: Budget,
}

/// Join all shards of a sweep
///
/// They must agree on grid, seed, protocol, kind of machine and versions, and each must be there once.
#[derive(Args)]
pub struct SweepMergeArgs {
    /// The shards' folders, in any order
    #[arg(required = true, value_name = "DIR")]
    pub shards: Vec<PathBuf>,
    /// The new folder, or a dataset to write (.csv or .parquet)
    #[arg(long, value_name = "DIR|FILE")]
    pub out: PathBuf,
}

/// A sweep's folder, as a dataset to fit to
#[derive(Args)]
pub struct ImportSweepArgs {
    /// The folder, ended or not
    pub sweep: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: SummaryFormat,
}

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
    pub before: Vec<PathBuf>,
    /// The same after it
    #[arg(long, num_args = 1.., value_name = "AFTER")]
    pub after: Vec<PathBuf>,
    /// Changes up to this are as good as none
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_percent)]
    pub threshold: f64,
    /// Share of wrong ones among what is called slower or faster, at most, in expectation
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    pub fdr: f64,
    /// The i-th runs before and after were measured one after the other: what both share cancels. Of
    /// five pairs three changes or more are confirmed together, of seven a single one
    #[arg(long)]
    pub paired: bool,
    /// Where runs have other configurations, compare those of all
    #[arg(long)]
    pub common: bool,
    /// Of one run a side: the archived runs that say what runs differ by [default: those of the
    /// device in target-data]
    #[arg(long, value_name = "TARGET")]
    pub history: Option<PathBuf>,
    /// Also write comparison.csv, comparison.json, comparison.md and figures to a directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: ComparisonFormat,
}

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
    pub runs: Vec<PathBuf>,
    /// Changes up to this are as good as none
    #[arg(long, value_name = "PERCENT", default_value = "2%", value_parser = parse_percent)]
    pub threshold: f64,
    /// Share of wrong ones among what is called slower or faster, as asked for
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = parse_percent)]
    pub fdr: f64,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: ComparisonFormat,
}

/// Say how launches vary: spread, outliers, dependence, drift, modes, warm-up, the clock's step
///
/// The interval of each median allows for launches that depend on each other, or is marked as not
/// trustworthy. Of several runs of the same kind, also how much of their differences is the measuring
/// order (runs with the same seed have the same one), the run, and chance within it.
#[derive(Args)]
pub struct VarianceArgs {
    /// Runs' folders
    #[arg(required = true, value_name = "RECORD")]
    pub records: Vec<PathBuf>,
    /// Also write variance.csv, variance.json and figures (SVG and PNG) to a directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What to print; `csv` has one row a configuration and run
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
}

/// What a comparison prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ComparisonFormat {
    /// A summary for people
    #[default]
    Table,
    /// The summary for a pull request
    Markdown,
    /// One row a group and a configuration
    Csv,
    /// JSON with stable field names
    Json,
}

/// Keep finished runs, each as a dataset with its environment, in the folder of their target
///
/// A run that is there already, is not sound, or was measured on another backend or device than the
/// rest of the folder is refused; the others go on, and the exit status is 1.
#[derive(Args)]
pub struct ArchiveArgs {
    /// Runs' folders
    #[arg(required = true, value_name = "RECORD")]
    pub records: Vec<PathBuf>,
    /// The folder of targets [default: target-data in this workspace]
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// The target's name [default: made of backend and device, e.g. cpu-amd-epyc-2-threads]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

/// Show a target's runs over time: latencies against the first run, and steps with what changed then
///
/// Runs by different protocols are shown apart. How much runs differ by chance is taken from those that
/// were measured in equal environments (same device, driver, compiler and commit); where there are too
/// few of them to tell a step from chance, that is said.
#[derive(Args)]
pub struct HistoryArgs {
    /// A target's name in target-data, or its folder
    pub target: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Also draw figures, as SVG and PNG, into a directory; it is created
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// As settings have it: none is a budget, too.
pub type Budget = Option<Duration>;

/// What commands print whose result is in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SummaryFormat {
    /// A summary for people
    #[default]
    Table,
    /// JSON with stable field names
    Json,
}

/// `0.01,0.8,0.3`.
fn parse_start(text: &str) -> Result<GroupCoefficients, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[beta, gamma, final_scale]) => {
            Ok(GroupCoefficients { beta, gamma, final_scale, constant_ms: 0.0 })
        }
        _ => Err("expected three numbers, e.g. 0.01,0.8,0.3".into()),
    }
}

/// `2%`, as 0.02.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if percent > 0.0 && percent < 100.0 => Ok(percent / 100.0),
        _ => Err("expected more than 0% and less than 100%, e.g. 2%".into()),
    }
}
