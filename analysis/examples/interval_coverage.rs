//! How often 95% intervals of medians hold the median: of independent launches, and of such that
//! depend on each other, drift or have two modes. The table is in docs/calibration.md.
//!
//! Run: `cargo run --release -p alpha-flops-analysis --example interval_coverage [SAMPLES [SEED]]`

#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::error::Error;

use rayon::prelude::*;

#[path = "../tests/integration/fixtures/launches.rs"]
mod launches;
#[path = "../tests/integration/fixtures/random.rs"]
mod random;

use launches::{Coverage, SCENARIOS};

const LAUNCHES: [usize; 5] = [20, 50, 200, 500, 2000];

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let samples: u32 = args.next().map_or(Ok(4000), |text| text.parse())?;
    let seed: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    println!("% of 95% intervals that hold the median; {samples} samples each from seed {seed}");
    println!();
    println!(
        "{:<20}  {:>4}  {:>14}  {:>5}  {:>7}  {:>10}  {:>17}",
        "launches", "n", "if independent", "all", "trusted", "of trusted", "trusted and wrong"
    );
    let cases: Vec<_> =
        SCENARIOS.iter().flat_map(|scenario| LAUNCHES.map(|n| (scenario, n))).collect();
    let results: Vec<Coverage> = cases
        .par_iter()
        .map(|((_, launches), n)| Coverage::of(*launches, *n, samples, seed))
        .collect();
    for (((name, _), n), found) in cases.into_iter().zip(results) {
        let percent = |part: u32, of: u32| 100.0 * f64::from(part) / f64::from(of);
        let of = |part: u32, whole: u32| match whole {
            0 => "—".to_owned(),
            _ => format!("{:.1}", percent(part, whole)),
        };
        println!(
            "{name:<20}  {n:>4}  {:>14}  {:>5}  {:>7}  {:>10}  {:>17}",
            of(found.held_if_independent, found.all),
            of(found.held, found.given),
            of(found.unmarked, found.all),
            of(found.unmarked_held, found.unmarked),
            of(found.unmarked - found.unmarked_held, found.all),
        );
    }
    Ok(())
}
