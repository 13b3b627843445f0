//! `cargo bench`: everything it does is in [`alpha_flops::bench`].

use std::process::ExitCode;

use alpha_flops::bench;

fn main() -> ExitCode {
    bench::run_as_criterion()
        .unwrap_or_else(|| bench::run("cargo bench --", std::env::args_os().skip(1)))
}
