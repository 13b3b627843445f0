//! How often the answers RO1–RO3 take noise for a finding, and how often they find what is there. Simulated:
//! no machine has taken these times.
//!
//! ```sh
//! cargo run --release -p alpha-flops-analysis --example answers_calibration -- RO1 [SIMULATIONS]
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example that prints")]

use alpha_flops_analysis::objectives::{ClaimVerdict, ObjectiveAnswer, answer};
use rayon::prelude::*;

#[path = "../tests/integration/fixtures/proportional.rs"]
mod proportional;
#[path = "../tests/integration/fixtures/random.rs"]
mod random;

use proportional::{Known, Truth};
use random::Random;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let table = arguments.next().unwrap_or_default();
    let simulations = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(400);
    match table.as_str() {
        "RO1" => equal_flops(simulations),
        _ => eprintln!("expected the answer to calibrate: RO1"),
    }
}

const COUNTED: [ClaimVerdict; 4] = [
    ClaimVerdict::Holds,
    ClaimVerdict::PartlyHolds,
    ClaimVerdict::NotShown,
    ClaimVerdict::DoesNotHold,
];

/// RO1, and RO2 beside it.
fn equal_flops(simulations: u64) {
    println!(
        "% of {simulations} simulations; shown: holds or partly holds, of unknown noise only where"
    );
    println!("that would need more noise than there was; ± standard error");
    println!();
    println!(
        "{:<12} {:>5} {:<24} {:>6} {:>7} {:>10} {:>14}  {:>12} {:>12}",
        "truth",
        "noise",
        "known from",
        "holds",
        "partly",
        "not shown",
        "does not hold",
        "RO1 shown",
        "RO2 shown"
    );
    let known = [
        ("5 passes", Known::Passes, 0.0),
        ("5 passes, uneven", Known::Passes, 0.5),
        ("8 archived runs", Known::Archive, 0.0),
        ("8 archived runs, uneven", Known::Archive, 0.5),
        ("unknown", Known::Unknown, 0.0),
    ];
    let truths = [(0.0, 0.01), (0.0, 0.02), (0.0, 0.05), (0.0, 0.1), (0.2, 0.05), (0.2, 0.1)];
    for (tau, noise) in truths {
        for (name, known, uneven) in known {
            row(Truth { tau, noise, uneven, known }, name, simulations);
        }
    }
}

fn row(truth: Truth, known: &str, simulations: u64) {
    let answers: Vec<_> = (0..simulations)
        .into_par_iter()
        .map(|seed| {
            let mut random = Random::new(seed);
            let (dataset, archived) = truth.dataset(|| random.normal());
            let answers = answer(&dataset, archived.as_ref(), None, None);
            let shown = [is_shown(&answers.ro1, truth), is_shown(&answers.ro2, truth)];
            (answers.ro1.verdict, shown)
        })
        .collect();
    let percent = |n: usize| 100.0 * n as f64 / simulations as f64;
    let [holds, partly, not_shown, not] =
        COUNTED.map(|verdict| percent(answers.iter().filter(|(of, _)| *of == verdict).count()));
    let shown = [0, 1].map(|which| {
        let p = percent(answers.iter().filter(|(_, shown)| shown[which]).count());
        format!("{p:.1} ± {:.1}", (p * (100.0 - p) / simulations as f64).sqrt())
    });
    let what = match truth.tau {
        0.0 => "proportional".to_owned(),
        tau => format!("τ = {:.0}%", 100.0 * tau),
    };
    println!(
        "{what:<12} {:>4.0}% {known:<24} {holds:>6.1} {partly:>7.1} {not_shown:>10.1} {not:>14.1}  \
         {:>12} {:>12}",
        100.0 * truth.noise,
        shown[0],
        shown[1]
    );
}

fn is_shown<T>(answer: &ObjectiveAnswer<T>, truth: Truth) -> bool {
    let holds = matches!(answer.verdict, ClaimVerdict::Holds | ClaimVerdict::PartlyHolds);
    holds && answer.undone_by_percent.is_none_or(|percent| percent > 100.0 * truth.noise)
}
