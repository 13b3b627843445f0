//! Writes simulated runs, to try and time what compares runs, or reads the launches of runs and says how
//! long that takes.
//!
//! ```text
//! cargo run --release -p alpha-flops-analysis --example simulated_runs -- write FOLDER --runs 5 \
//!     --slower D/=1.01 --slower A/h=1_w=2_in=100_out=50_k=1=1.03
//! cargo run --release -p alpha-flops-analysis --example simulated_runs -- read FOLDER/before-1
//! ```

#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use alpha_flops::experiment::{Configuration, Resolution};
use alpha_flops::statistics::{quantile, sorted};
use alpha_flops_analysis::run::Run;
use alpha_flops_analysis::simulate::{Simulation, Truth};
use clap::Parser;
use rayon::prelude::*;

/// Makes runs up, or reads them.
#[derive(Parser)]
enum Command {
    /// Writes before-1, before-2, … and after-1, after-2, … into a folder.
    Write(Write),
    /// Takes the median of each configuration's launches, several runs at once.
    Read {
        /// Folders of finished runs.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Write {
    /// Where to.
    folder: PathBuf,
    /// Runs on each side.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Launches of each configuration.
    #[arg(long, default_value_t = 2000)]
    launches: usize,
    /// Configurations: `full` or `original`.
    #[arg(long, default_value = "full")]
    resolution: Resolution,
    /// Seed of all that scatters.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Makes the configurations whose id begins so take so many times as long after.
    #[arg(long, value_name = "START=FACTOR", value_parser = slowdown)]
    slower: Vec<Slowdown>,
}

#[derive(Clone)]
struct Slowdown {
    id_starts: String,
    factor: f64,
}

fn slowdown(text: &str) -> Result<Slowdown, String> {
    let wrong = || format!("`{text}`: expected the start of an id and a factor, e.g. D/=1.01");
    let (id_starts, factor) = text.rsplit_once('=').ok_or_else(wrong)?;
    let factor: f64 = factor.parse().map_err(|_| wrong())?;
    if !(factor.is_finite() && factor > 0.0) {
        return Err(wrong());
    }
    Ok(Slowdown { id_starts: id_starts.to_owned(), factor })
}

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    match Command::parse() {
        Command::Write(arguments) => write(&arguments)?,
        Command::Read { runs } => {
            for line in runs.par_iter().map(|run| read(run)).collect::<Vec<_>>() {
                println!("{}", line?);
            }
        }
    }
    println!("{:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn write(arguments: &Write) -> Result<(), Box<dyn Error>> {
    let Write { folder, runs, launches, resolution, seed, slower } = arguments;
    let truth =
        Truth { launches: *launches, resolution: *resolution, seed: *seed, ..Truth::default() };
    let simulation = Simulation::new(truth);
    let after = |configuration: &Configuration| {
        let id = configuration.id();
        slower.iter().filter(|s| id.starts_with(&s.id_starts)).map(|s| s.factor).product()
    };
    for run in 1..=*runs {
        simulation.write_run(&folder.join(format!("before-{run}")), run, |_| 1.0)?;
        simulation.write_run(&folder.join(format!("after-{run}")), runs + run, after)?;
    }
    Ok(())
}

fn read(run: &Path) -> Result<String, String> {
    let of_run = || {
        let run = Run::open(run)?;
        run.map_launches(|_, of| (of.ns.len(), quantile(&sorted(of.ns), 0.5)))
    };
    let found = of_run().map_err(|error| error.to_string())?;
    let launches: usize = found.iter().map(|(launches, _)| launches).sum();
    let logs: f64 = found.iter().map(|(_, median_ns)| median_ns.ln()).sum();
    let typical_ns = (logs / found.len() as f64).exp();
    let count = found.len();
    Ok(format!(
        "{}: {count} configurations, {launches} launches, geometric mean of medians {typical_ns:.1} ns",
        run.display()
    ))
}
