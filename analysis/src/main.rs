//! The `alpha-flops` command: reads arguments, calls the library, prints. Nothing is computed here.

use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use alpha_flops::atomic_file::write_atomically;
use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::host::leave_without_waiting;
use alpha_flops::settings::parse_budget;
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::merge::merge;
use alpha_flops::sweep::order::Shard;
use alpha_flops_analysis::crossvalidate::{LeaveOut, cross_validate};
use alpha_flops_analysis::fit::{PUBLISHED_START, Sample, Variant, fit_variant, intervals};
use alpha_flops_analysis::import::criterion::Imported;
use alpha_flops_analysis::import::{self, asperti, criterion, load};
use alpha_flops_analysis::metrics::evaluate;
use alpha_flops_analysis::model::{
    Coefficients, FlopConvention, GroupCoefficients, KernelTerm, Objective,
};
use alpha_flops_analysis::replicate;
use alpha_flops_analysis::report::{self, Input};
use alpha_flops_analysis::suite;
use alpha_flops_analysis::sweep::{self, SweepProtocol};
use alpha_flops_analysis::table::OutputFormat;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};

/// What FLOPs hide: fits α-FLOPs to measured convolutions and judges it.
#[derive(Parser)]
#[command(name = "alpha-flops", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
}

/// Turn measurements into a dataset
#[derive(Subcommand)]
enum ImportCommand {
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
struct ReplicateArgs {
    /// Where the report goes; by default `report` in the run's folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compare outputs of every configuration with a direct sum before measuring it
    #[arg(long)]
    verify: bool,
    /// What measuring the sweep may take, e.g. 90s or 2h [default: a quarter of the time budget of
    /// A–G, in addition to it; without one, 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    sweep_budget: Option<Budget>,
    /// Measure no sweep: α-FLOPs is fitted to A–G, and judged by what it was fitted to
    #[arg(long, conflicts_with = "sweep_budget")]
    no_sweep: bool,
    /// How the fit computes S_K
    #[arg(long, value_enum, default_value_t = KernelTerm::Side)]
    s_k: KernelTerm,
    /// What to print at the end; with `json` the progress goes to standard error
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
    /// Measure only configurations whose id matches, e.g. '^D/'
    filter: Option<String>,
}

/// List the configurations of the experiments
#[derive(Args)]
struct ExperimentsArgs {
    /// `full` (9,105 configurations, as the replication measured) or `original` (591)
    #[arg(long, default_value = "original")]
    resolution: Resolution,
    /// Only these experiments, A to G; may be repeated
    #[arg(long, value_name = "LETTER")]
    experiment: Vec<Experiment>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// A run of this project's benchmarks, out of criterion's files
///
/// Benchmarks whose files are cut, mixed or not of this run are left out, each with its reason; the
/// exit status is then 1.
#[derive(Args)]
struct ImportCriterionArgs {
    /// The run's folder, as `cargo bench` names it at its end
    run: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also write the run's settings and environment, as JSON
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
}

/// Fit α-FLOPs to a dataset, K = 1 and K > 1 apart
///
/// Least squares, on milliseconds unless --objective says otherwise, with β, γ and final within 0 to 2. Coefficients mean nothing
/// without their conventions, so both have to be chosen and are stored with them.
#[derive(Args)]
struct FitArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    dataset: PathBuf,
    /// How S_K is computed
    #[arg(long, value_enum)]
    s_k: KernelTerm,
    /// How FLOPs, in millions, are counted
    #[arg(long, value_enum)]
    flops: FlopConvention,
    /// What the fit makes small
    #[arg(long, value_enum, default_value_t)]
    objective: Objective,
    /// Also fit T₀ ≥ 0 (ms), a time that every convolution takes: T = T₀ + final · α · FLOPs
    #[arg(long)]
    constant: bool,
    /// One more place to search from; the optimum does not depend on it [default: 0.01,0.8,0.3]
    #[arg(long, value_name = "β,γ,final", value_parser = parse_start)]
    start: Option<GroupCoefficients>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    /// Write the coefficients, as JSON, to a file that `evaluate --coefficients` takes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Compare the estimates of coefficients with the latencies of a dataset
///
/// Errors are given over all configurations, per experiment and per line of its figure.
#[derive(Args)]
struct EvaluateArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    dataset: PathBuf,
    /// `published-t2000`, `published-rtx4090`, or a file that `fit --out` has written
    #[arg(long, value_name = "NAME|FILE")]
    coefficients: String,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Predict left-out parts of a dataset from the rest, by every objective, with and without T₀
#[derive(Args)]
struct CrossvalidateArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    dataset: PathBuf,
    /// How S_K is computed
    #[arg(long, value_enum)]
    s_k: KernelTerm,
    /// How FLOPs, in millions, are counted
    #[arg(long, value_enum)]
    flops: FlopConvention,
    /// What is left out together
    #[arg(long, value_enum)]
    leave_out: LeaveOut,
    /// Only these experiments of the dataset; may be repeated
    #[arg(long, value_name = "NAME")]
    experiment: Vec<String>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Give 95% intervals of fitted parameters in three ways, and say which to believe
#[derive(Args)]
struct UncertaintyArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    dataset: PathBuf,
    /// How S_K is computed
    #[arg(long, value_enum)]
    s_k: KernelTerm,
    /// How FLOPs, in millions, are counted
    #[arg(long, value_enum)]
    flops: FlopConvention,
    /// What the fit makes small
    #[arg(long, value_enum, default_value_t)]
    objective: Objective,
    /// Also fit T₀ ≥ 0 (ms), a time that every convolution takes: T = T₀ + final · α · FLOPs
    #[arg(long)]
    constant: bool,
    /// Bootstrap samples
    #[arg(long, default_value_t = 999)]
    refits: usize,
    /// Decides which configurations they draw
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// The original study's data.pickle (Asperti et al. 2021); no code in it is executed
#[derive(Args)]
struct ImportAspertiArgs {
    /// data.pickle, from GitHub asperti/alpha_flops_dataset
    file: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
}

/// Write figures, tables and the answers to RO1–RO3 for one or several datasets
///
/// DIR gets report.md, report.json with the same content, and figures/ as SVG and PNG. Of several
/// datasets, there are figures of each and figures with all of them side by side.
#[derive(Args)]
struct ReportArgs {
    /// Runs' folders, or datasets (.csv or .parquet)
    #[arg(required = true, value_name = "RUN|DATASET")]
    inputs: Vec<PathBuf>,
    /// The directory to write into; it is created
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// `fitted` (to each dataset itself: in-sample), `published-t2000`, `published-rtx4090`, or a
    /// file that `fit --out` has written; may be repeated, the first decides RO3
    #[arg(long, value_name = "NAME|FILE", default_value = "fitted")]
    coefficients: Vec<String>,
    /// Fit to these data, before all of --coefficients: a sweep's folder, or a dataset
    #[arg(long, value_name = "SWEEP|DATASET")]
    fit_to: Option<PathBuf>,
    /// How what is fitted here computes S_K
    #[arg(long, value_enum, default_value_t = KernelTerm::Side)]
    s_k: KernelTerm,
    /// How what is fitted here counts FLOPs
    #[arg(long, value_enum, default_value_t = FlopConvention::Macs)]
    flops: FlopConvention,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
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
struct SweepArgs {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    #[command(flatten)]
    measure: SweepMeasureArgs,
}

#[derive(Subcommand)]
enum SweepCommand {
    Merge(SweepMergeArgs),
}

#[derive(Args)]
struct SweepMeasureArgs {
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
    #[arg(long, value_enum, default_value_t)]
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

/// Join all shards of a sweep
///
/// They must agree on grid, seed, protocol, device model and versions, and each must be there once.
#[derive(Args)]
struct SweepMergeArgs {
    /// The shards' folders, in any order
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// The new folder, or a dataset to write (.csv or .parquet)
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
}

/// A sweep's folder, as a dataset to fit to
#[derive(Args)]
struct ImportSweepArgs {
    /// The folder, ended or not
    sweep: PathBuf,
    /// The dataset to write, .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
}

/// As settings have it: none is a budget, too.
type Budget = Option<Duration>;

/// What commands print whose result is in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum SummaryFormat {
    /// A summary for people
    #[default]
    Table,
    /// JSON with stable field names
    Json,
}

fn main() -> ExitCode {
    run(&Cli::parse()).unwrap_or_else(|error| {
        complain(&error);
        let replicate = error.downcast_ref::<replicate::ReplicateError>();
        let sweep = error.downcast_ref::<sweep::SweepCommandError>();
        let lost = sweep.is_some_and(|error| error.is_device_lost());
        let status = if lost { sweep::DEVICE_LOST } else { 1 };
        if sweep.is_some_and(|e| e.hangs()) || replicate.is_some_and(|e| e.hangs()) {
            leave_without_waiting(status);
        }
        ExitCode::from(status)
    })
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Replicate(args) => run_replicate(args),
        Command::Experiments(args) => run_experiments(args),
        Command::Fit(args) => run_fit(args),
        Command::Evaluate(args) => run_evaluate(args),
        Command::Crossvalidate(args) => run_crossvalidate(args),
        Command::Uncertainty(args) => run_uncertainty(args),
        Command::Import(ImportCommand::Criterion(args)) => run_import_criterion(args),
        Command::Import(ImportCommand::Asperti(args)) => run_import_asperti(args),
        Command::Import(ImportCommand::Sweep(args)) => run_import_sweep(args),
        Command::Report(args) => run_report(args),
        Command::Sweep(args) => run_sweep(args),
    }
}

fn run_replicate(args: &ReplicateArgs) -> anyhow::Result<ExitCode> {
    let verify = args.verify.then(|| "--verify".to_owned());
    let arguments: Vec<String> = args.filter.iter().cloned().chain(verify).collect();
    let budget = args.sweep_budget.flatten();
    let swept = (!args.no_sweep).then(|| replicate::measure_sweep(budget)).transpose()?;
    let measured = replicate::measure(&arguments, args.format == SummaryFormat::Json)?;
    let imported = criterion::read(&measured.run)?;
    imported.dataset.write(&measured.run.join("dataset.csv"))?;
    let swept = swept.map(|swept| replicate::keep_sweep(&swept, &measured.run)).transpose()?;
    let out = args.out.clone().unwrap_or_else(|| measured.run.join("report"));
    let mut input = Input::of(&imported);
    if let Some(swept) = &swept {
        input.fit_to(swept, args.s_k, FlopConvention::Macs);
    }
    input.fit_in_sample(args.s_k, FlopConvention::Macs);
    let report = report::write(&[input], &out)?;
    print(&match args.format {
        SummaryFormat::Table => report.summary(&out),
        SummaryFormat::Json => json(&report)?,
    })?;
    Ok(status(measured.complete && imported.rejected.is_empty()))
}

fn run_experiments(args: &ExperimentsArgs) -> anyhow::Result<ExitCode> {
    let all = Experiment::ALL.to_vec();
    let chosen = if args.experiment.is_empty() { &all } else { &args.experiment };
    print(&match args.format {
        OutputFormat::Table => suite::table(chosen, args.resolution).to_text(),
        OutputFormat::Csv => suite::table(chosen, args.resolution).to_csv(),
        OutputFormat::Json => json(&suite::list(chosen, args.resolution))?,
    })
}

fn run_import_criterion(args: &ImportCriterionArgs) -> anyhow::Result<ExitCode> {
    let imported = criterion::read(&args.run)?;
    if let Some(path) = &args.environment {
        criterion::write_environment(&args.run, path)?;
    }
    write_dataset(&imported, &args.out, args.format)
}

fn run_import_asperti(args: &ImportAspertiArgs) -> anyhow::Result<ExitCode> {
    write_dataset(&asperti::read(&args.file)?.into(), &args.out, args.format)
}

fn write_dataset(
    imported: &Imported,
    out: &Path,
    format: SummaryFormat,
) -> anyhow::Result<ExitCode> {
    imported.dataset.write(out)?;
    let summary = import::Summary::new(imported, out);
    print(&match format {
        SummaryFormat::Table => summary.to_string(),
        SummaryFormat::Json => json(&summary)?,
    })?;
    Ok(status(imported.rejected.is_empty()))
}

fn status(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_fit(args: &FitArgs) -> anyhow::Result<ExitCode> {
    let sample = sample(&args.dataset, args.s_k, args.flops)?;
    let start = args.start.unwrap_or(PUBLISHED_START);
    let variant = Variant { objective: args.objective, constant: args.constant };
    let fit = fit_variant(&sample, variant, start)
        .with_context(|| format!("cannot fit {}", args.dataset.display()))?;
    if let Some(path) = &args.out {
        let json = json(&fit)?;
        write_atomically(path, |out| out.write_all(json.as_bytes()))?;
    }
    print(&match args.format {
        OutputFormat::Table => fit.table().to_text(),
        OutputFormat::Csv => fit.precise_table().to_csv(),
        OutputFormat::Json => json(&fit)?,
    })
}

/// Of a Parquet dataset, which may have millions of rows, only the columns that a fit needs.
fn sample(path: &Path, s_k: KernelTerm, flops: FlopConvention) -> anyhow::Result<Sample> {
    if path.extension().is_some_and(|extension| extension == "parquet") && path.is_file() {
        return Ok(Sample::read_parquet(path, s_k, flops)?);
    }
    let Imported { dataset, .. } = load(path)?;
    Sample::of(&dataset, s_k, flops).with_context(|| format!("cannot fit {}", path.display()))
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

fn run_evaluate(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let Imported { dataset, .. } = load(&args.dataset)?;
    let coefficients = coefficients(&args.coefficients)?;
    let evaluation = evaluate(&dataset, &coefficients)?;
    print(&match args.format {
        OutputFormat::Table => evaluation.table().to_text(),
        OutputFormat::Csv => evaluation.table().to_csv(),
        OutputFormat::Json => json(&evaluation)?,
    })
}

fn run_uncertainty(args: &UncertaintyArgs) -> anyhow::Result<ExitCode> {
    let sample = sample(&args.dataset, args.s_k, args.flops)?;
    let variant = Variant { objective: args.objective, constant: args.constant };
    let fit = fit_variant(&sample, variant, PUBLISHED_START)
        .with_context(|| format!("cannot fit {}", args.dataset.display()))?;
    let intervals = intervals::intervals(&sample, &fit, args.refits, args.seed);
    print(&match args.format {
        OutputFormat::Table => intervals::table(&fit, &intervals).to_text(),
        OutputFormat::Csv => intervals::table(&fit, &intervals).to_csv(),
        OutputFormat::Json => json(&intervals)?,
    })
}

fn run_crossvalidate(args: &CrossvalidateArgs) -> anyhow::Result<ExitCode> {
    let Imported { mut dataset, .. } = load(&args.dataset)?;
    let chosen = &args.experiment;
    dataset.observations.retain(|o| chosen.is_empty() || chosen.contains(&o.experiment));
    let validation = cross_validate(&dataset, args.s_k, args.flops, args.leave_out)
        .with_context(|| format!("cannot cross-validate {}", args.dataset.display()))?;
    print(&match args.format {
        OutputFormat::Table => validation.table().to_text(),
        OutputFormat::Csv => validation.table().to_csv(),
        OutputFormat::Json => json(&validation)?,
    })
}

/// Published coefficients by name, or those of a file.
fn coefficients(name: &str) -> anyhow::Result<Coefficients> {
    match name {
        "published-t2000" => Ok(Coefficients::published_t2000()),
        "published-rtx4090" => Ok(Coefficients::published_rtx4090()),
        file => Coefficients::read(Path::new(file)).context(
            "--coefficients takes `published-t2000`, `published-rtx4090` or a coefficients file",
        ),
    }
}

fn run_report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let imported = args.inputs.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
    let fit_to = args.fit_to.as_ref().map(|path| load(path)).transpose()?;
    let mut inputs: Vec<Input<'_>> = imported.iter().map(Input::of).collect();
    for input in &mut inputs {
        if let Some(fit_to) = &fit_to {
            input.fit_to(fit_to, args.s_k, args.flops);
        }
    }
    for name in &args.coefficients {
        for input in &mut inputs {
            match name.as_str() {
                "fitted" => input.fit_in_sample(args.s_k, args.flops),
                name => input.coefficients.push(coefficients(name)?.into()),
            }
        }
    }
    let report = report::write(&inputs, &args.out)?;
    print(&match args.format {
        SummaryFormat::Table => report.summary(&args.out),
        SummaryFormat::Json => json(&report)?,
    })
}

fn run_sweep(args: &SweepArgs) -> anyhow::Result<ExitCode> {
    if let Some(SweepCommand::Merge(args)) = &args.command {
        return run_sweep_merge(args);
    }
    let args = &args.measure;
    let (Some(grid), Some(out)) = (args.grid, &args.out) else {
        anyhow::bail!("--grid and --out say what to measure, and where to keep it");
    };
    let request = sweep::Request {
        grid,
        seed: args.seed,
        shard: args.shard,
        protocol: args.protocol,
        launches: args.launches,
        budget: args.budget.flatten(),
        part_interval: args.part_interval.unwrap_or(Duration::MAX),
    };
    let done = sweep::prepare(|_| request)?.measure(out)?;
    print(&done.to_string())?;
    let failed = done.counts.failed > 0;
    Ok(if failed { ExitCode::from(sweep::SOME_FAILED) } else { ExitCode::SUCCESS })
}

fn run_sweep_merge(args: &SweepMergeArgs) -> anyhow::Result<ExitCode> {
    if args.out.extension().is_some_and(|extension| extension == "csv" || extension == "parquet") {
        let imported = import::sweep::read_shards(&args.shards)?;
        return write_dataset(&imported, &args.out, SummaryFormat::Table);
    }
    let header = merge(&args.shards, &args.out)?;
    let counts = header.counts.unwrap_or_default();
    print(&sweep::Done { folder: args.out.clone(), status: header.status, counts }.to_string())
}

fn run_import_sweep(args: &ImportSweepArgs) -> anyhow::Result<ExitCode> {
    write_dataset(&import::sweep::read(&args.sweep)?, &args.out, args.format)
}

/// Says on standard error what went wrong, and what caused it where that is not said yet.
#[allow(clippy::print_stderr, reason = "the one place that complains")]
fn complain(error: &anyhow::Error) {
    let mut message = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message += &format!("\n  caused by: {cause}");
        }
    }
    eprintln!("{message}");
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
