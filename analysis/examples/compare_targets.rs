//! What `compare` gets right where the truth is known: false alarms without a change, and slowdowns found,
//! on simulated launches. Simulated: no machine has taken these times.
//!
//! Five runs a side, 9,105 configurations of 2,000 launches, AR(1) with φ = 0.5, 0.5% from run to run.
//! Criterion's own rule is asked about the same launches, one run a side, of fewer pairs because it takes
//! 10 ms a configuration.
//!
//! ```sh
//! cargo run --release -p alpha-flops-analysis --example compare_targets -- [PAIRS] [CRITERION_PAIRS]
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example that prints")]

use alpha_flops_analysis::compare::grouping::{Grouping, LnMedians};
use alpha_flops_analysis::compare::hypothesis_tests::{Decisions, Levels};
use alpha_flops_analysis::selftest::measured::{Asked, Judged};
use alpha_flops_analysis::selftest::{
    Detection, Division, FalseAlarms, Power, Scenario, Slowed, UnchangedRuns, tables,
};
use alpha_flops_analysis::simulate::{Simulation, Truth};
use rayon::prelude::*;

const A_SIDE: usize = 5;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |default| numbers.next().and_then(Result::ok).unwrap_or(default);
    let (pairs, of_criterion) = (number(200), number(1));
    let simulation = Simulation::new(Truth::default());
    let split = Division {
        before: (0..A_SIDE).collect(),
        after: (A_SIDE..2 * A_SIDE).collect(),
        history: Vec::new(),
    };
    let mut results = Results::default();
    for pair in 0..pairs {
        let runs = simulated(&simulation, pair);
        results.add(&runs, &split, pair);
        eprint!("\r{} of {pairs} pairs", pair + 1);
    }
    eprintln!();
    results.print();
    let criterion: Vec<Asked> = (0..of_criterion)
        .map(|pair| {
            let runs = simulated(&simulation, pair);
            let of = |run: u64| -> Vec<Vec<f64>> {
                let all = 0..simulation.configurations().len();
                all.into_par_iter().map(|index| simulation.launches(run, index, 1.0)).collect()
            };
            let first = pair * 2 * A_SIDE as u64;
            Asked::new(&runs, &of(first), &of(first + A_SIDE as u64), pair)
        })
        .collect();
    let runs = simulated(&simulation, 0);
    let judges = [results.judged(&runs), Asked::judged(&runs, &criterion)];
    println!("{}", tables::false_alarms(&judges).to_text());
    println!("{}", tables::power(&judges, &simulation.provenance()).to_text());
}

/// Of an odd or even number, without sorting all: sorting would take longest here.
fn median(mut values: Vec<f64>) -> f64 {
    let (middle, is_even) = (values.len() / 2, values.len().is_multiple_of(2));
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if is_even => (lower + *upper) / 2.0,
        _ => *upper,
    }
}

/// Ten runs between which nothing changed.
fn simulated(simulation: &Simulation, pair: u64) -> UnchangedRuns {
    let configurations = simulation.configurations();
    let runs = (0..2 * A_SIDE as u64).map(|run| pair * 2 * A_SIDE as u64 + run);
    let ln_medians: Vec<LnMedians> = runs
        .map(|run| {
            let all = (0..configurations.len()).into_par_iter();
            all.map(|index| Some(median(simulation.launches(run, index, 1.0)).ln())).collect()
        })
        .collect();
    UnchangedRuns {
        grouping: Grouping::new(
            configurations.iter().map(|c| (c.experiment.name, c.series.as_str())),
        ),
        x: configurations.iter().map(|c| f64::from(c.x)).collect(),
        ln_medians,
        floors: vec![0.0; configurations.len()],
        levels: Levels { threshold: 0.02, false_discovery_rate: 0.05 },
    }
}

#[derive(Default)]
struct Results {
    unchanged: Vec<Decisions>,
    found: Vec<Vec<Detection>>,
    hundred: Vec<Detection>,
    series: Vec<Detection>,
}

impl Results {
    fn add(&mut self, runs: &UnchangedRuns, split: &Division, seed: u64) {
        let find = |slowed: &Slowed, slowdown: f64| {
            Detection::new(
                &runs.compare(split, &slowed.configurations, slowdown),
                slowed,
                &runs.grouping,
            )
        };
        self.unchanged.push(runs.compare(split, &[], 0.0));
        // slowdowns take longer than none: of a part of the pairs
        if !seed.is_multiple_of(4) {
            return;
        }
        let mut hundred = runs.slowed(Scenario::Scattered, seed);
        hundred.configurations.truncate(100);
        self.hundred.push(find(&hundred, 0.03));
        self.series.push(find(&runs.slowed(Scenario::Series, seed), 0.01));
        if seed.is_multiple_of(20) {
            let tried = runs.tried().into_iter();
            let found =
                tried.map(|(scenario, slowdown)| find(&runs.slowed(scenario, seed), slowdown));
            self.found.push(found.collect());
        }
    }

    fn judged(&self, runs: &UnchangedRuns) -> Judged {
        let power = runs.tried().into_iter().enumerate().map(|(row, (scenario, slowdown))| {
            let found: Vec<Detection> = self.found.iter().map(|found| found[row]).collect();
            Power::new(scenario, slowdown, &found)
        });
        Judged {
            judge: format!("compare, {A_SIDE} runs a side"),
            false_alarms: FalseAlarms::new(&self.unchanged),
            power: power.collect(),
        }
    }

    fn print(&self) {
        let alarms = FalseAlarms::new(&self.unchanged);
        let hundred = Power::new(Scenario::Scattered, 0.03, &self.hundred);
        let series = Power::new(Scenario::Series, 0.01, &self.series);
        let percent = |part: f64| format!("{:.1}%", 100.0 * part);
        println!(
            "pairs without a change with any verdict of slower or faster: {} of {} (target: 1 in 20)",
            alarms.with_any, alarms.comparisons
        );
        println!(
            "3% in 100 scattered configurations: {} found (target: 90%), {} of what is called wrong \
             (target: 5%)",
            percent(hundred.found),
            percent(hundred.wrong)
        );
        println!(
            "1% in one whole series: found in {} of pairs (target: 90%), {} of what is called wrong",
            percent(series.group_found.unwrap_or(f64::NAN)),
            percent(series.wrong)
        );
    }
}
