//! What `history` finds where the truth is known: false steps, odd runs, steps that others mask, in made-up
//! trends. A step counts as found within two runs of where it is. ± is one standard error.
//!
//! ```sh
//! cargo run --release -p alpha-flops-analysis --example history_targets -- [TRENDS]
//! ```

#![allow(clippy::print_stdout, reason = "an example that prints")]

use alpha_flops_analysis::history::FALSE_ALARMS;
use alpha_flops_analysis::history::steps::{Chance, search};
use random::Random;
use rayon::prelude::*;
use trends::Made;

#[path = "../tests/integration/fixtures/random.rs"]
mod random;
#[path = "../tests/integration/fixtures/trends.rs"]
mod trends;

/// `all` and A–G share the false alarms of a history.
const TRENDS_OF_A_HISTORY: f64 = 8.0;

const MADE: [(Made, &str); 6] = [
    (Made::Normal, "independent, normal"),
    (Made::T3, "independent, Student's t with 3 df"),
    (Made::Autocorrelated, "AR(1) φ = 0.5"),
    (Made::OddRun, "one run slower by 20 sd"),
    (Made::Step, "a step of 3 sd"),
    (Made::Masked, "5% after 69%, sd 0.15%"),
];

fn main() {
    let trends = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2_000u64);
    println!("% of {trends} simulated trends; ± one standard error\n");
    println!(
        "{:<34}  {:>4}  {:>11}  {:>11}  {:>11}  {:>11}",
        "runs are", "runs", "any step", "found there", "outlier run", "warned"
    );
    for (made, name) in MADE {
        for runs in [10, 50, 200] {
            let counts = counts(made, runs, trends);
            let [any, there, outlier, warned] = counts.map(|count| percent(count, trends));
            let there = if made.has_step() { there } else { "–".to_owned() };
            println!("{name:<34}  {runs:>4}  {any:>11}  {there:>11}  {outlier:>11}  {warned:>11}");
        }
    }
}

/// In how many trends any step is found, one where it is, an outlier run, and autocorrelation.
fn counts(made: Made, runs: usize, trends: u64) -> [u64; 4] {
    let groups = made.environments(runs);
    let Some(chance) = Chance::new(&groups, FALSE_ALARMS / TRENDS_OF_A_HISTORY) else {
        return [0; 4];
    };
    let one = |seed: u64| {
        let mut random = Random::new(1_000_000 + seed);
        let values = made.values(runs, || random.normal());
        let Some((found, searched)) = search(&values, &groups, &chance) else { return [0; 4] };
        let there = found.begins.iter().any(|begin| begin.abs_diff(runs / 2) <= 2);
        let is =
            [!found.begins.is_empty(), there, !found.outliers.is_empty(), searched.inflation > 1.0];
        is.map(u64::from)
    };
    let add = |a: [u64; 4], b: [u64; 4]| std::array::from_fn(|index| a[index] + b[index]);
    (0..trends).into_par_iter().map(one).reduce(|| [0; 4], add)
}

/// `0.4 ± 0.1`.
fn percent(count: u64, of: u64) -> String {
    let share = count as f64 / of as f64;
    let error = (share * (1.0 - share) / of as f64).sqrt();
    format!("{:.1} ± {:.1}", 100.0 * share, 100.0 * error)
}
