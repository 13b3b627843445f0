//! What a sweep costs by itself: the paper's grid on a backend that computes nothing.
//!
//! `cargo run --release --example sweep_cost` prints the time a configuration and the process's memory
//! along the way.

#![allow(clippy::print_stdout, reason = "what it is for")]

use std::error::Error;
use std::time::{Duration, Instant};

use alpha_flops::environment::Platform;
use alpha_flops::record::Session;
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::order::Shard;
use alpha_flops::sweep::{Sweep, SweepPlan};

#[path = "../tests/fixtures/null_backend.rs"]
mod null_backend;
use null_backend::{Null, sweep_plan, time};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("sweep-cost-{}", std::process::id()));
    let platform = Platform::new(&Null(|_| Ok(1.0)));
    let plan = SweepPlan {
        grid: Grid::Paper,
        budget: Some(Duration::from_secs(3600)),
        memory_limit: None,
        ..sweep_plan(1, Shard::ALL, platform)
    };
    let session = Session::now(time(1.0), None);
    let mut sweep = Sweep::open(&folder, plan.clone(), session.clone(), Duration::from_secs(10))?;
    let begun = Instant::now();
    let mut next = 100_000;
    sweep.measure(&mut Null(|_| Ok(1.0)), &mut |progress| {
        if progress.counts.visited() == next {
            report(next, begun.elapsed());
            next += 100_000;
        }
    })?;
    report(sweep.counts().visited(), begun.elapsed());
    drop(sweep);
    let begun = Instant::now();
    let again = Sweep::open(&folder, plan, session, Duration::from_secs(10))?;
    println!("taking up {} configurations:", again.counts().visited());
    report(again.counts().visited(), begun.elapsed());
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn report(configurations: u64, took: Duration) {
    let each_us = took.as_secs_f64() * 1e6 / configurations as f64;
    println!("{configurations:>9} configurations  {each_us:>6.2} µs each  {}", resident());
}

/// What the process has in memory, as Linux tells it.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or("memory not readable".to_owned(), |line| format!("{} resident", line.trim()))
}
