//! The `alpha-flops` command: finds the command that is asked for, and says how it ended. Nothing is
//! computed here.

use std::process::ExitCode;

use alpha_flops::host::leave_without_waiting;
use alpha_flops::sweep::SweepError;
use anyhow::Error;
pub(crate) use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

mod commands;
mod output;
mod progress;
mod values;

use commands::{
    archive, compare, crossvalidate, evaluate, experiments, fit, history, import, replicate,
    report, selftest, sweep, uncertainty, variance,
};

/// What FLOPs hide: fits α-FLOPs to measured convolutions and judges it.
#[derive(Parser)]
#[command(name = "alpha-flops", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Replicate(replicate::ReplicateArgs),
    Experiments(experiments::ExperimentsArgs),
    Fit(fit::FitArgs),
    Evaluate(evaluate::EvaluateArgs),
    Crossvalidate(crossvalidate::CrossvalidateArgs),
    Uncertainty(uncertainty::UncertaintyArgs),
    #[command(subcommand)]
    Import(import::ImportCommand),
    Report(report::ReportArgs),
    Sweep(sweep::SweepArgs),
    Compare(compare::CompareArgs),
    Selftest(selftest::SelftestArgs),
    Archive(archive::ArchiveArgs),
    History(history::HistoryArgs),
    Variance(variance::VarianceArgs),
}

/// How a command ended, as the exit status says it. Clap's own, for arguments that it cannot read, is 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    /// It went wrong, or a part of it did; of `compare`: something is slower.
    Failure = 1,
    /// `compare` and `selftest`, whatever went wrong: 1 would say that something is slower.
    NotComparable = 2,
    /// The sweep has ended and some configurations failed: repeated, it has nothing to do.
    SomeFailed = 3,
    /// The device was lost: the same command continues. It is the system's `EX_TEMPFAIL`.
    DeviceLost = 75,
}

impl Exit {
    pub(crate) fn success_if(success: bool) -> Self {
        if success { Self::Success } else { Self::Failure }
    }
}

fn main() -> ExitCode {
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
            _ => Exit::Failure,
        };
        if lost == Some(true) {
            // the device has work that never ends, for which the process would wait at its end
            leave_without_waiting(exit as u8);
        }
        exit
    });
    ExitCode::from(exit as u8)
}

fn run(command: &Command) -> Result<Exit> {
    match command {
        Command::Replicate(args) => replicate::run(args),
        Command::Experiments(args) => experiments::run(args),
        Command::Fit(args) => fit::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Crossvalidate(args) => crossvalidate::run(args),
        Command::Uncertainty(args) => uncertainty::run(args),
        Command::Import(command) => import::run(command),
        Command::Report(args) => report::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Selftest(args) => selftest::run(args),
        Command::Archive(args) => archive::run(args),
        Command::History(args) => history::run(args),
        Command::Variance(args) => variance::run(args),
    }
}

/// Says what went wrong, and what caused it where that is not said yet.
pub(crate) fn complain(error: &Error) {
    let mut message = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message += &format!("\n  caused by: {cause}");
        }
    }
    output::say(&message);
}
