//! How often `compare` is wrong, and what it finds, where sides are measured in blocks or in turns, clocks
//! have steps, one side is noisier, or only one run a side is at hand. Simulated: no machine has taken these
//! times.
//!
//! ```sh
//! cargo run --release -p alpha-flops-analysis --example compare_calibration -- [PAIRS] [ROWS THAT CONTAIN]
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example that prints")]

use alpha_flops_analysis::compare::estimate::Design;
use alpha_flops_analysis::compare::grouping::Grouping;
use alpha_flops_analysis::compare::hypothesis_tests::{Decisions, Verdict};
use rayon::prelude::*;

#[path = "../src/compare/tests/generators.rs"]
mod generators;
#[path = "../tests/integration/fixtures/random.rs"]
mod random;

use generators::{Own, Truth, blocks, few_or_all, turns};
use random::Random;

/// One row: a truth, a layout of runs in time, and what is slower after.
struct Row {
    what: String,
    runs: String,
    truth: Truth,
    is_after: Vec<bool>,
    slowed: Slowed,
}

#[derive(Clone, Copy, PartialEq)]
enum Slowed {
    Nothing,
    /// All by so much.
    All(f64),
    /// One configuration in fifty by so much.
    Few(f64),
}

impl Slowed {
    fn factor(self, index: usize) -> f64 {
        match self {
            Self::All(by) => 1.0 + by,
            Self::Few(by) if index % 50 == 7 => 1.0 + by,
            _ => 1.0,
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let pairs: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(400);
    let wanted = arguments.next().unwrap_or_default();
    println!(
        "% of {pairs} pairs of sides, ± standard error; 591 configurations, threshold 2%, false \
         discovery rate 5%\n"
    );
    println!(
        "{:<44} {:<18} {:>12} {:>12} {:>12} {:>12} {:>8}",
        "truth", "runs", "any verdict", "exit 1", "found", "found beyond", "wrong"
    );
    let grouping = few_or_all(591);
    for row in rows().iter().filter(|row| row.what.contains(&wanted)) {
        row.print(&grouping, pairs);
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |what: &str, layout: &str, is_after: Vec<bool>, truth: Truth, slowed: Slowed| {
        let after = is_after.iter().filter(|is| **is).count();
        let runs = format!("{} v {after} {layout}", is_after.len() - after);
        rows.push(Row { what: what.to_owned(), runs, truth, is_after, slowed });
    };
    let normal = Truth::default();
    let of = |own: Own| Truth { own, ..normal };
    for (n, both) in [(5, true), (10, false), (3, false)] {
        for (layout, is_after) in [("in turns", turns(n)), ("blocks", blocks(n, n))] {
            let mut row = |what: &str, truth: Truth| {
                row(what, layout, is_after.clone(), truth, Slowed::Nothing);
            };
            row("A/A, normal", normal);
            if both {
                row("A/A, lognormal", of(Own::Lognormal));
                row("A/A, t3", of(Own::HeavyTails));
                row("A/A, two speeds of 10%", of(Own::TwoSpeeds(0.5)));
                row("A/A, runs disturbed with 0.1", Truth { disturbed: 0.1, ..normal });
                row("A/A, experiments share 1%", Truth { common: 0.01, ..normal });
            }
            if n > 3 {
                for correlation in [0.1, 0.2, 0.5] {
                    let truth = Truth { correlation, ..normal };
                    row(&format!("A/A, AR(1) {correlation} between runs"), truth);
                }
                row("A/A, own drift of 1%", Truth { own_drift: 0.01, ..normal });
                row("A/A, common drift of 1%", Truth { common_drift: 0.01, ..normal });
                row("A/A, two speeds kept with 0.7", of(Own::TwoSpeeds(0.7)));
            } else {
                row("A/A, clusters of 25 share 1%", Truth { clusters: 0.01, ..normal });
            }
        }
    }
    for (before, after) in [(10, 3), (8, 2), (5, 5), (3, 10)] {
        let truth = Truth { after_times: 3.0, ..normal };
        row("A/A, after 3 times as noisy", "blocks", blocks(before, after), truth, Slowed::Nothing);
    }
    let lognormal = of(Own::Lognormal);
    for slowed in [0.01, 0.02, 0.03, 0.05, 0.1] {
        for (layout, is_after) in [("in turns", turns(5)), ("blocks", blocks(5, 5))] {
            let what = |noise| format!("+{:.0}% in 1 of 50, {noise}", 100.0 * slowed);
            row(&what("normal"), layout, is_after.clone(), normal, Slowed::Few(slowed));
            row(&what("lognormal"), layout, is_after, lognormal, Slowed::Few(slowed));
        }
    }
    let wide = Truth { own: Own::Lognormal, sd: 0.01, ..normal };
    for slowed in [0.05, 0.1] {
        let what = format!("+{:.0}% in 1 of 50, lognormal 1%", 100.0 * slowed);
        row(&what, "in turns", turns(5), wide, Slowed::Few(slowed));
    }
    for slowed in [0.01, 0.015, 0.019] {
        let what = |which| format!("+{}% in {which}", 100.0 * slowed);
        row(&what("all"), "in turns", turns(5), normal, Slowed::All(slowed));
        row(&what("1 of 50"), "in turns", turns(5), normal, Slowed::Few(slowed));
    }
    rows
}

/// Counts of one pair.
struct Counted {
    any: f64,
    exit: f64,
    found: f64,
    beyond: f64,
    wrong: f64,
}

impl Row {
    fn print(&self, grouping: &Grouping, pairs: u64) {
        let floors = vec![0.0; grouping.len()];
        let counted: Vec<Counted> = (0..pairs)
            .into_par_iter()
            .map(|seed| {
                let mut random = Random::new(seed);
                let factor = |index| self.slowed.factor(index);
                let sides = self.truth.sides(grouping, &self.is_after, &mut random, factor);
                self.count(grouping, &sides.test(grouping, &floors, Design::Independent))
            })
            .collect();
        let mean = |of: fn(&Counted) -> f64| {
            let n = counted.len() as f64;
            let mean = counted.iter().map(of).sum::<f64>() / n;
            let variance = counted.iter().map(|c| (of(c) - mean).powi(2)).sum::<f64>() / (n - 1.0);
            format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * (variance / n).sqrt())
        };
        let is_power = self.slowed != Slowed::Nothing;
        let of_power = |of| if is_power { mean(of) } else { "–".to_owned() };
        println!(
            "{:<44} {:<18} {:>12} {:>12} {:>12} {:>12} {:>8}",
            self.what,
            self.runs,
            mean(|c| c.any),
            mean(|c| c.exit),
            of_power(|c| c.found),
            of_power(|c| c.beyond),
            of_power(|c| c.wrong).split(' ').next().unwrap_or_default()
        );
    }

    fn count(&self, grouping: &Grouping, decisions: &Decisions) -> Counted {
        let is_slowed = |index: usize| self.slowed.factor(index) > 1.0;
        let slowed = (0..grouping.len()).filter(|i| is_slowed(*i)).count().max(1) as f64;
        let changed: Vec<usize> = (0..grouping.len())
            .filter(|i| decisions.configurations[*i].verdict.is_shown_change())
            .collect();
        let all = || decisions.configurations.iter().chain(&decisions.groups);
        let any = all().any(|decision| decision.verdict.is_shown_change());
        let beyond = |i: &&usize| decisions.configurations[**i].beyond;
        let exit = all().any(|d| d.verdict == Verdict::Slower && d.beyond);
        let right = changed.iter().filter(|i| is_slowed(**i)).count() as f64;
        let right_beyond = changed.iter().filter(beyond).filter(|i| is_slowed(**i)).count() as f64;
        Counted {
            any: f64::from(u8::from(any)),
            exit: f64::from(u8::from(exit)),
            found: right / slowed,
            beyond: right_beyond / slowed,
            wrong: (changed.len() as f64 - right) / changed.len().max(1) as f64,
        }
    }
}
