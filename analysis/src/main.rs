//! The `alpha-flops` command: reads arguments, calls the library, prints. Nothing is computed here.

use clap::{Parser, Subcommand};

/// What FLOPs hide: fits α-FLOPs to measured convolutions and judges it.
#[derive(Parser)]
#[command(name = "alpha-flops", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {}
}
