//! The `alpha-flops` binary: dispatches to a command and turns its result into an exit status. Nothing
//! is computed here.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

use std::process::ExitCode;

use alpha_flops::bench::run_as_criterion;
use alpha_flops::host::leave_without_waiting;
use alpha_flops::sweep::SweepError;
use alpha_flops::terminal::remark;
use anyhow::Error;
pub(crate) use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

mod commands;
mod output;
mod progress;
mod values;

use commands::{
    archive, bench, compare, crossvalidate, doctor, evaluate, experiments, export, fit, history,
    import, plans, replicate, report, selftest, sweep, uncertainty, variance,
};

/// Measure convolutions, fit α-FLOPs to their latencies, and evaluate the fit
#[derive(Parser)]
#[command(name = "alpha-flops", version, max_term_width = 80, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Replicate(replicate::ReplicateArgs),
    Bench(bench::BenchArgs),
    Doctor(doctor::DoctorArgs),
    Experiments(experiments::ExperimentsArgs),
    Fit(fit::FitArgs),
    Evaluate(evaluate::EvaluateArgs),
    Crossvalidate(crossvalidate::CrossvalidateArgs),
    Uncertainty(uncertainty::UncertaintyArgs),
    #[command(subcommand)]
    Import(import::ImportCommand),
    Export(export::ExportArgs),
    Report(report::ReportArgs),
    Sweep(sweep::SweepArgs),
    Plans(plans::PlansArgs),
    Compare(compare::CompareArgs),
    Selftest(selftest::SelftestArgs),
    Archive(archive::ArchiveArgs),
    History(history::HistoryArgs),
    Variance(variance::VarianceArgs),
}

/// The exit statuses, for users, as `docs/exit-status.md` explains them; clap itself exits with 2.
const EXIT_STATUS: &str = "\
Exit status:
   0  Success
   1  Error, or a part of the work failed; from `compare` and `history --check`:
      something got slower
   2  Unusable arguments; from `compare`, `selftest` and `history --check`: any
      error; from `history --check`: too few runs to tell
   3  From `sweep`: the sweep has ended, and some configurations failed
  75  From `sweep`: the device was lost; repeat the command to continue";

/// The exit status of a command; see [`EXIT_STATUS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    /// Not 1, which would say that something got slower.
    NotComparable = 2,
    SomeFailed = 3,
    /// `EX_TEMPFAIL` of sysexits.h.
    DeviceLost = 75,
}

impl Exit {
    pub(crate) fn success_if(success: bool) -> Self {
        if success { Self::Success } else { Self::Failure }
    }
}

fn main() -> ExitCode {
    if let Some(status) = run_as_criterion() {
        return status;
    }
    let Cli { command } = Cli::parse();
    let exit = run(&command).unwrap_or_else(|error| {
        complain(&error);
        let lost = match error.downcast_ref() {
            Some(SweepError::DeviceLost { hangs, .. }) => Some(*hangs),
            _ => None,
        };
        let exit = match command {
            Command::Sweep(_) if lost.is_some() => Exit::DeviceLost,
            Command::Compare(_) | Command::Selftest(_) => Exit::NotComparable,
            Command::History(args) if args.check => Exit::NotComparable,
            _ => Exit::Failure,
        };
        if lost == Some(true) {
            // the device has work that never ends, and a normal exit would wait for it
            leave_without_waiting(exit as u8);
        }
        exit
    });
    ExitCode::from(exit as u8)
}

fn run(command: &Command) -> Result<Exit> {
    match command {
        Command::Replicate(args) => replicate::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Experiments(args) => experiments::run(args),
        Command::Fit(args) => fit::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Crossvalidate(args) => crossvalidate::run(args),
        Command::Uncertainty(args) => uncertainty::run(args),
        Command::Import(command) => import::run(command),
        Command::Export(args) => export::run(args),
        Command::Report(args) => report::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Plans(args) => plans::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Selftest(args) => selftest::run(args),
        Command::Archive(args) => archive::run(args),
        Command::History(args) => history::run(args),
        Command::Variance(args) => variance::run(args),
    }
}

/// Prints an error with those of its causes that its text does not contain already.
pub(crate) fn complain(error: &Error) {
    let mut message = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message += &format!(": {cause}");
        }
    }
    remark(&message);
}
