//! How often RO3 calls α-FLOPs better or worse than raw FLOPs: where latencies are proportional to FLOPs
//! but for noise, so that neither is better, and where they follow α-FLOPs. The table is in
//! docs/calibration.md.
//!
//! Run: `cargo run --release -p alpha-flops-analysis --example raw_flops_calibration [DATASETS]`

#![allow(clippy::print_stdout, reason = "an example that prints")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::error::Error;

use alpha_flops_analysis::objectives::{Accuracy, Advantage, AgainstRawFlops};
use rayon::prelude::*;

use estimates::{Designs, Fitted, Law};

#[path = "../tests/integration/fixtures/data_files.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod data_files;
#[path = "../tests/integration/fixtures/datasets.rs"]
mod datasets;
#[path = "../tests/integration/fixtures/estimates.rs"]
mod estimates;
#[path = "../tests/integration/fixtures/random.rs"]
mod random;

/// As in a report.
const REFITS: usize = 399;

/// Law, fit and noise.
type Case = (Law, Fitted, f64);

/// A verdict, and which rows have it.
type Called = (&'static str, fn(&AgainstRawFlops) -> bool);

const CASES: [Case; 10] = [
    (Law::Proportional, Fitted::Sweep, 0.01),
    (Law::Proportional, Fitted::Sweep, 0.02),
    (Law::Proportional, Fitted::Sweep, 0.05),
    (Law::Proportional, Fitted::Sweep, 0.1),
    (Law::Proportional, Fitted::InSample, 0.01),
    (Law::Proportional, Fitted::InSample, 0.02),
    (Law::Proportional, Fitted::InSample, 0.05),
    (Law::Proportional, Fitted::InSample, 0.1),
    (Law::AlphaFlops, Fitted::Sweep, 0.05),
    (Law::AlphaFlops, Fitted::InSample, 0.05),
];

fn main() -> Result<(), Box<dyn Error>> {
    let datasets: u64 = std::env::args().nth(1).map_or(Ok(400), |text| text.parse())?;
    println!("% of {datasets} simulated datasets in which α-FLOPs is called so; {REFITS} refits\n");
    let names = ["all", "A", "B", "C", "D", "E", "F", "G", "any"];
    let names: String = names.iter().map(|name| format!("{name:>6}")).collect();
    println!("{:<12}  {:<9}  {:>5}  {:<8}{names}", "latencies", "fitted to", "noise", "called");
    let designs = Designs::new(1);
    for (law, fitted, noise) in CASES {
        let seeds = (0..datasets).into_par_iter();
        let rows: Vec<Vec<AgainstRawFlops>> =
            seeds.map(|seed| designs.against_raw_flops(law, fitted, noise, REFITS, seed)).collect();
        let called: [Called; 4] = [
            ("better", |row| row.advantage == Advantage::Better),
            ("worse", |row| row.advantage == Advantage::Worse),
            ("accurate", |row| row.accuracy == Accuracy::Accurate),
            ("not acc.", |row| row.accuracy == Accuracy::NotAccurate),
        ];
        for (name, is_called) in called {
            let percent =
                |number: usize| format!("{:>6.1}", 100.0 * number as f64 / rows.len() as f64);
            let of = |place: usize| rows.iter().filter(|rows| is_called(&rows[place])).count();
            let shares: String = (0..8).map(|place| percent(of(place))).collect();
            let any = rows.iter().filter(|rows| rows[1..].iter().any(is_called)).count();
            println!(
                "{:<12}  {:<9}  {:>4}%  {name:<8}{shares}{}",
                match law {
                    Law::Proportional => "proportional",
                    Law::AlphaFlops => "α-FLOPs",
                },
                match fitted {
                    Fitted::Sweep => "sweep",
                    Fitted::InSample => "A–G",
                },
                100.0 * noise,
                percent(any)
            );
        }
    }
    Ok(())
}
