use std::ffi::OsString;
use std::process::ExitCode;

use alpha_flops::bench;
use clap::Args;

use crate::{Exit, Result};

/// Measure, list or test experiments A–G, without analysing them
///
/// Takes the arguments of `cargo bench -- ARGS`: `alpha-flops bench --help` explains them.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct BenchArgs {
    /// A filter, such as '^D/', and criterion's options
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub fn run(args: &BenchArgs) -> Result<Exit> {
    // `cargo bench` passes it, too: without it, criterion only tests
    let given = args.args.iter().filter(|&argument| argument != "--bench").cloned();
    let arguments = std::iter::once("--bench".into()).chain(given);
    Ok(Exit::success_if(bench::run("alpha-flops bench", arguments) == ExitCode::SUCCESS))
}
