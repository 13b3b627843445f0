//! How often `compare` is wrong, and what it finds, where sides are measured in blocks or in turns, clocks
//! have steps, one side is noisier, or only one run a side is at hand. Simulated: no machine has taken these
//! times.
//!
//! ```sh
//! cargo run --release -p alpha-flops-analysis --example compare_calibration -- [PAIRS] [ROWS THAT CONTAIN]
//! ```
//!
//! `clock` and `order` name the tables of clocks with steps and of the order of runs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example that prints")]

use alpha_flops::statistics::quantile;
use alpha_flops_analysis::compare::estimate::Design;
use alpha_flops_analysis::compare::grouping::{Grouping, LnMedians};
use alpha_flops_analysis::compare::hypothesis_tests::{Decisions, Verdict};
use alpha_flops_analysis::compare::within_run::Location;
use rayon::prelude::*;

#[path = "../src/compare/tests/generators.rs"]
mod generators;
#[path = "../tests/integration/fixtures/random.rs"]
mod random;

use generators::{Own, Sides, Truth, blocks, few_or_all, turns};
use random::Random;

/// As many as the suite has.
const CONFIGURATIONS: usize = 591;

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
    let pairs: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(100);
    let wanted = arguments.next().unwrap_or_default();
    println!(
        "% of {pairs} pairs of sides, ± standard error; 591 configurations, threshold 2%, false \
         discovery rate 5%\n"
    );
    println!(
        "{:<44} {:<18} {:>12} {:>12} {:>12} {:>12} {:>12} {:>6}",
        "truth", "runs", "any verdict", "exit 1", "candidates", "found", "found beyond", "wrong"
    );
    let grouping = few_or_all(CONFIGURATIONS);
    for row in rows().iter().filter(|row| row.what.contains(&wanted)) {
        row.print(&grouping, pairs);
    }
    if "clock".contains(&wanted) {
        print_clocks(&grouping, pairs);
    }
    if "order".contains(&wanted) {
        print_orders(&grouping);
    }
}

/// Latencies of 4 to 40 µs by a clock of 0.5 µs, whose launches scatter by 2%; 5 runs a side.
fn print_clocks(grouping: &Grouping, pairs: u64) {
    const STEP_NS: f64 = 500.0;
    const LAUNCHES: usize = 200;
    println!(
        "\n4 to 40 µs by a clock of 0.5 µs, 5 v 5, runs differ by 0.2%, launches by 2%; % of \
         configurations\n\n{:<8} {:<32} {:>12} {:>16} {:>8}",
        "truth", "read", "slower", "slower beyond 2%", "exit 1"
    );
    let all = grouping.len();
    let true_ns = |index: usize| 4000.0 * 10f64.powf(index as f64 / (all - 1) as f64);
    let location = |index: usize, factor: f64, read: &str, random: &mut Random| {
        let ns = true_ns(index) * factor * (0.002 * random.normal()).exp();
        let mut launches: Vec<f64> = (0..LAUNCHES)
            .map(|_| {
                let launch = ns * (0.02 * random.normal()).exp();
                let start = if read.contains("timestamps") { random.uniform() } else { 0.5 };
                STEP_NS * (start + launch / STEP_NS).floor()
            })
            .collect();
        launches.sort_by(f64::total_cmp);
        let median = Location::of_median(quantile(&launches, 0.5), STEP_NS);
        let of_launches = Location::of_launches(&launches, STEP_NS).unwrap_or(median);
        if read.contains("median") { median } else { of_launches }
    };
    for by in [0.0, 0.004, 0.01, 0.025, 0.05, 0.1] {
        for read in ["timestamps", "durations", "timestamps, medians only"] {
            let counts: Vec<[f64; 3]> = (0..pairs.div_ceil(4))
                .into_par_iter()
                .map(|seed| {
                    let mut random = Random::new(seed);
                    let mut floors = vec![0.0f64; all];
                    let mut run = |factor: f64| -> LnMedians {
                        let mut one = |index: usize| {
                            let location = location(index, factor, read, &mut random);
                            floors[index] = floors[index].max(location.rounding);
                            Some(location.ns.ln())
                        };
                        (0..all).map(&mut one).collect()
                    };
                    let [before, after] =
                        [1.0, 1.0 + by].map(|factor| (0..5).map(|_| run(factor)).collect());
                    let sides = Sides { before, after, order: (0..10).collect() };
                    let decisions = sides.test(grouping, &floors, Design::Independent);
                    let slower = decisions.configurations.iter();
                    let slower = slower.filter(|d| d.verdict == Verdict::Slower);
                    let beyond = slower.clone().filter(|d| d.beyond).count() as f64;
                    let mut groups = decisions.groups.iter();
                    let exits =
                        beyond > 0.0 || groups.any(|d| d.verdict == Verdict::Slower && d.beyond);
                    [
                        slower.count() as f64 / all as f64,
                        beyond / all as f64,
                        f64::from(u8::from(exits)),
                    ]
                })
                .collect();
            let of = |which: usize| written(&counts.iter().map(|c| c[which]).collect::<Vec<_>>());
            let truth = format!("+{:.1}%", 100.0 * by);
            println!("{truth:<8} {read:<32} {:>12} {:>16} {:>8}", of(0), of(1), of(2));
        }
    }
}

/// How many of 300 comparisons of 7 v 7 depend on the order of runs, or are not mirrored by swapping sides.
fn print_orders(grouping: &Grouping) {
    let floors = vec![0.0; grouping.len()];
    let truth = Truth { own: Own::TwoSpeeds(0.5), ..Truth::default() };
    let verdicts = |sides: &Sides| -> Vec<Verdict> {
        let decisions = sides.test(grouping, &floors, Design::Independent);
        decisions.configurations.iter().chain(&decisions.groups).map(|d| d.verdict).collect()
    };
    let differ: Vec<[bool; 2]> = (0..300u64)
        .into_par_iter()
        .map(|seed| {
            let mut random = Random::new(seed);
            let factor = |index: usize| 1.0 + 0.01 * (index % 8) as f64;
            let Sides { before, after, order } =
                truth.sides(grouping, &turns(7), &mut random, factor);
            let (first, second) = order.split_at(7);
            let reversed = |runs: &[LnMedians]| runs.iter().rev().cloned().collect::<Vec<_>>();
            let other = verdicts(&Sides {
                before: reversed(&before),
                after: reversed(&after),
                order: first.iter().rev().chain(second.iter().rev()).copied().collect(),
            });
            let swapped = verdicts(&Sides {
                before: after.clone(),
                after: before.clone(),
                order: [second, first].concat(),
            });
            let expected = verdicts(&Sides { before, after, order });
            let mirrored = swapped.into_iter().map(|verdict| match verdict {
                Verdict::Slower => Verdict::Faster,
                Verdict::Faster => Verdict::Slower,
                other => other,
            });
            [other != expected, mirrored.collect::<Vec<_>>() != expected]
        })
        .collect();
    let count = |which: usize| differ.iter().filter(|differ| differ[which]).count();
    println!(
        "\n7 v 7, 300 comparisons: {} change a verdict with the order of runs, {} are not mirrored by \
         swapped sides",
        count(0),
        count(1)
    );
}

/// `1.5 ± 0.4`: the mean of parts in percent, with its standard error.
fn written(parts: &[f64]) -> String {
    let n = parts.len() as f64;
    let mean = parts.iter().sum::<f64>() / n;
    let variance = parts.iter().map(|part| (part - mean).powi(2)).sum::<f64>() / (n - 1.0);
    format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * (variance / n).sqrt())
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
    let disturbed = Truth { disturbed: 0.1, ..normal };
    for (before, after) in [(1, 1), (1, 5), (5, 1)] {
        let mut row = |what: &str, truth, slowed| {
            row(what, "no archive", blocks(before, after), truth, slowed);
        };
        row("A/A, normal", normal, Slowed::Nothing);
        row("A/A, lognormal", lognormal, Slowed::Nothing);
        row("A/A, two speeds of 10%", of(Own::TwoSpeeds(0.5)), Slowed::Nothing);
        row("A/A, runs disturbed with 0.1", disturbed, Slowed::Nothing);
        row("+10% in 1 of 50, normal", normal, Slowed::Few(0.1));
        row("+10% in 1 of 50, lognormal", lognormal, Slowed::Few(0.1));
    }
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
    /// Unchanged ones, of all configurations.
    candidates: f64,
    wrong: f64,
}

impl Row {
    fn print(&self, grouping: &Grouping, pairs: u64) {
        let floors = vec![0.0; grouping.len()];
        // 2,000 launches that scatter by 2%
        let errors = vec![Some(0.0006); grouping.len()];
        let counted: Vec<Counted> = (0..pairs)
            .into_par_iter()
            .map(|seed| {
                let mut random = Random::new(seed);
                let factor = |index| self.slowed.factor(index);
                let sides = self.truth.sides(grouping, &self.is_after, &mut random, factor);
                let within = Design::WithinRuns([&errors, &errors]);
                let is_pair = self.is_after.len() == 2;
                let design = if is_pair { within } else { Design::Independent };
                self.count(grouping, &sides.test(grouping, &floors, design))
            })
            .collect();
        let mean = |of: fn(&Counted) -> f64| written(&counted.iter().map(of).collect::<Vec<_>>());
        let is_power = self.slowed != Slowed::Nothing;
        let of_power = |of| if is_power { mean(of) } else { "–".to_owned() };
        println!(
            "{:<44} {:<18} {:>12} {:>12} {:>12} {:>12} {:>12} {:>6}",
            self.what,
            self.runs,
            mean(|c| c.any),
            mean(|c| c.exit),
            if self.runs.contains("1 v") || self.runs.contains("v 1 ") {
                mean(|c| c.candidates)
            } else {
                "–".to_owned()
            },
            of_power(|c| c.found),
            of_power(|c| c.beyond),
            of_power(|c| c.wrong).split(' ').next().unwrap_or_default()
        );
    }

    fn count(&self, grouping: &Grouping, decisions: &Decisions) -> Counted {
        let is_slowed = |index: usize| self.slowed.factor(index) > 1.0;
        let slowed = (0..grouping.len()).filter(|i| is_slowed(*i)).count().max(1) as f64;
        let changed: Vec<usize> = (0..grouping.len())
            .filter(|i| decisions.configurations[*i].verdict.is_change())
            .collect();
        let all = || decisions.configurations.iter().chain(&decisions.groups);
        let any = all().any(|decision| decision.verdict.is_shown_change());
        let beyond = |i: &&usize| decisions.configurations[**i].beyond;
        let exit = all().any(|d| d.verdict == Verdict::Slower && d.beyond);
        let right = changed.iter().filter(|i| is_slowed(**i)).count() as f64;
        let right_beyond = changed.iter().filter(beyond).filter(|i| is_slowed(**i)).count() as f64;
        let is_candidate = |i: &&usize| {
            !decisions.configurations[**i].verdict.is_shown_change() && !is_slowed(**i)
        };
        let wrong_candidates = changed.iter().filter(is_candidate).count() as f64;
        Counted {
            any: f64::from(u8::from(any)),
            exit: f64::from(u8::from(exit)),
            found: right / slowed,
            beyond: right_beyond / slowed,
            candidates: wrong_candidates / grouping.len() as f64,
            wrong: (changed.len() as f64 - right) / changed.len().max(1) as f64,
        }
    }
}
