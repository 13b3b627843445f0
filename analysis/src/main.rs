//! The `alpha-flops` command: reads arguments, calls the library, prints. Nothing is computed here.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use alpha_flops::atomic_file::write_atomically;
use alpha_flops_analysis::dataset::Dataset;
use alpha_flops_analysis::fit::{PUBLISHED_START, fit};
use alpha_flops_analysis::import::asperti;
use alpha_flops_analysis::metrics::evaluate;
use alpha_flops_analysis::model::{Coefficients, FlopConvention, GroupCoefficients, KernelTerm};
use alpha_flops_analysis::report::{self, Input};
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
    Fit(FitArgs),
    Evaluate(EvaluateArgs),
    #[command(subcommand)]
    Import(ImportCommand),
    Report(ReportArgs),
}

/// Turn measurements into a dataset
#[derive(Subcommand)]
enum ImportCommand {
    Asperti(ImportAspertiArgs),
}

/// Fit α-FLOPs to a dataset, K = 1 and K > 1 apart
///
/// Least squares on milliseconds with β, γ and final within 0 to 2. Coefficients mean nothing
/// without their conventions, so both have to be chosen and are stored with them.
#[derive(Args)]
struct FitArgs {
    /// The dataset, .csv or .parquet
    dataset: PathBuf,
    /// How S_K is computed
    #[arg(long, value_enum)]
    s_k: KernelTerm,
    /// How FLOPs, in millions, are counted
    #[arg(long, value_enum)]
    flops: FlopConvention,
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
    /// The dataset, .csv or .parquet
    dataset: PathBuf,
    /// `published-t2000`, `published-rtx4090`, or a file that `fit --out` has written
    #[arg(long, value_name = "NAME|FILE")]
    coefficients: String,
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
}

/// Write figures, tables and the answers to RO1–RO3 for one or several datasets
///
/// DIR gets report.md, report.json with the same content, and figures/ as SVG and PNG. Of several
/// datasets, there are figures of each and figures with all of them side by side.
#[derive(Args)]
struct ReportArgs {
    /// Datasets, .csv or .parquet; tell them apart by the device and backend in them
    #[arg(required = true)]
    datasets: Vec<PathBuf>,
    /// The directory to write into; it is created
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// `fitted` (to each dataset itself: in-sample), `published-t2000`, `published-rtx4090`, or a
    /// file that `fit --out` has written; may be repeated, the first decides RO3
    #[arg(long, value_name = "NAME|FILE", default_value = "fitted")]
    coefficients: Vec<String>,
    /// How `fitted` computes S_K
    #[arg(long, value_enum, default_value_t = KernelTerm::Side)]
    s_k: KernelTerm,
    /// How `fitted` counts FLOPs
    #[arg(long, value_enum, default_value_t = FlopConvention::Macs)]
    flops: FlopConvention,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    format: ReportFormat,
}

/// What `report` prints.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum ReportFormat {
    /// The answers, and where the report lies
    #[default]
    Table,
    /// report.json
    Json,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Fit(args) => run_fit(&args),
        Command::Evaluate(args) => run_evaluate(&args),
        Command::Import(ImportCommand::Asperti(args)) => run_import_asperti(&args),
        Command::Report(args) => run_report(&args),
    }
}

fn run_fit(args: &FitArgs) -> anyhow::Result<()> {
    let dataset = Dataset::read(&args.dataset)?;
    let start = args.start.unwrap_or(PUBLISHED_START);
    let fit = fit(&dataset, args.s_k, args.flops, start)
        .with_context(|| format!("cannot fit {}", args.dataset.display()))?;
    if let Some(path) = &args.out {
        let json = json(&fit)?;
        write_atomically(path, |out| out.write_all(json.as_bytes()))?;
    }
    print(&match args.format {
        OutputFormat::Table => fit.table().to_text(),
        OutputFormat::Csv => fit.table().to_csv(),
        OutputFormat::Json => json(&fit)?,
    })
}

/// `0.01,0.8,0.3`.
fn parse_start(text: &str) -> Result<GroupCoefficients, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[beta, gamma, final_scale]) => Ok(GroupCoefficients { beta, gamma, final_scale }),
        _ => Err("expected three numbers, e.g. 0.01,0.8,0.3".into()),
    }
}

fn run_evaluate(args: &EvaluateArgs) -> anyhow::Result<()> {
    let dataset = Dataset::read(&args.dataset)?;
    let coefficients = coefficients(&args.coefficients)?;
    let evaluation = evaluate(&dataset, &coefficients)?;
    print(&match args.format {
        OutputFormat::Table => evaluation.table().to_text(),
        OutputFormat::Csv => evaluation.table().to_csv(),
        OutputFormat::Json => json(&evaluation)?,
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

fn run_import_asperti(args: &ImportAspertiArgs) -> anyhow::Result<()> {
    let dataset = asperti::read(&args.file)?;
    dataset.write(&args.out)?;
    let (count, device) = (dataset.observations.len(), &dataset.provenance.device);
    print(&format!("{}: {count} configurations on {device}\n", args.out.display()))
}

fn run_report(args: &ReportArgs) -> anyhow::Result<()> {
    let read = |path: &PathBuf| Dataset::read(path);
    let datasets = args.datasets.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut inputs: Vec<Input<'_>> = datasets.iter().map(Input::new).collect();
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
        ReportFormat::Table => report.summary(&args.out),
        ReportFormat::Json => json(&report)?,
    })
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
