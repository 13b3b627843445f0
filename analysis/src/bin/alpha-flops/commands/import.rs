use std::path::{Path, PathBuf};

use alpha_flops_analysis::archive::write_environment;
use alpha_flops_analysis::import::nvbench::{self, Times};
use alpha_flops_analysis::import::{Imported, Summary, asperti, criterion, sweep};
use alpha_flops_analysis::run::Run;
use clap::{Args, Subcommand};

use crate::output::{Format, formats, print_summary};
use crate::values::choice;
use crate::{Exit, Result};

/// Convert measurements into a dataset
#[derive(Subcommand)]
pub enum ImportCommand {
    Criterion(ImportCriterionArgs),
    Asperti(ImportAspertiArgs),
    Nvbench(ImportNvbenchArgs),
    Sweep(ImportSweepArgs),
}

/// Import a run of the benchmarks from criterion's files
///
/// Benchmarks whose files are truncated, inconsistent or from another run are left out. Each is listed
/// with the reason, and the exit status is 1.
#[derive(Args)]
pub struct ImportCriterionArgs {
    /// Folder of the run, which `cargo bench` prints at its end
    run: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    /// Also write the run's settings and environment to this JSON file
    #[arg(long, value_name = "FILE")]
    environment: Option<PathBuf>,
}

/// Import data.pickle of the original study (Asperti et al. 2021), without executing code in it
#[derive(Args)]
pub struct ImportAspertiArgs {
    /// data.pickle from https://github.com/asperti/alpha_flops_dataset
    file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Import the JSON of nvbench, or that of `export --to nvbench`
///
/// Each state becomes a configuration. Its axes must be Height, Width, InChannels, OutChannels and Kernel, in
/// upper or lower case and with or without `_`; Series may name the line. What the file does not say is unknown
/// or absent in the dataset. States whose times or samples are damaged are left out: each is listed with the
/// reason, and the exit status is 1.
#[derive(Args)]
pub struct ImportNvbenchArgs {
    /// JSON file, beside its folder of samples where it has one
    file: PathBuf,
    /// Which times to import
    #[arg(long, value_parser = choice(Times::name, [
        (Times::Cold, "Of isolated launches with a cold cache"),
        (Times::Batch, "Of launches back to back"),
    ]), default_value = "cold")]
    times: Times,
    #[command(flatten)]
    output: OutputArgs,
}

/// Import a sweep, to fit α-FLOPs to it
#[derive(Args)]
pub struct ImportSweepArgs {
    /// Folder of the sweep, which need not be finished
    sweep: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

// No doc comment: it would become the help of the command.
#[derive(Args)]
struct OutputArgs {
    /// Dataset to write (.csv or .parquet)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Output format
    #[arg(long, value_parser = formats(Format::SUMMARY), default_value = "table")]
    format: Format,
}

pub fn run(command: &ImportCommand) -> Result<Exit> {
    let (imported, OutputArgs { out, format }) = match command {
        ImportCommand::Criterion(args) => {
            let run = Run::open(&args.run)?;
            let imported = criterion::import(&run)?;
            if let Some(path) = &args.environment {
                write_environment(&run.header, path)?;
            }
            (imported, &args.output)
        }
        ImportCommand::Asperti(args) => (asperti::read(&args.file)?.into(), &args.output),
        ImportCommand::Nvbench(args) => (nvbench::read(&args.file, args.times)?, &args.output),
        ImportCommand::Sweep(args) => (sweep::read(&args.sweep)?, &args.output),
    };
    write(&imported, out, *format)
}

/// Writes the dataset, and prints what it contains and what was left out.
pub fn write(imported: &Imported, out: &Path, format: Format) -> Result<Exit> {
    imported.dataset.write(out)?;
    let summary = Summary::new(imported, out);
    print_summary(format, &summary.to_string(), &summary)?;
    Ok(Exit::success_if(imported.rejected.is_empty()))
}
