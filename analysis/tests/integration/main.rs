//! Tests across modules and of the command, as one program: each more would be linked apart.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]
#![allow(clippy::print_stdout, reason = "a test says that it is skipped")]

mod checksums;
mod closed_output;
mod compare;
mod damaged;
mod export;
mod fit_evaluate_import;
mod fixtures;
mod frozen;
mod help;
mod history;
mod hostile_names;
mod import_nvbench;
mod objectives;
mod plans;
mod quiet;
mod raw_flops;
mod replicate;
mod report;
mod variance;
