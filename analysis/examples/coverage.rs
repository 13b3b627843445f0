//! How often 95% intervals hold the truth: on made-up latencies that meet what the intervals assume,
//! and on such that do not. The table is in docs/calibration.md.
//!
//! Run: `cargo run --release -p alpha-flops-analysis --example coverage [SIMULATIONS [SEED]]`

#![allow(clippy::print_stdout, reason = "an example that prints")]

use std::error::Error;
use std::thread;

use alpha_flops::shape::ConvShape;
use alpha_flops_analysis::dataset::{Dataset, Latency, Observation, Provenance};
use alpha_flops_analysis::fit::intervals::{IntervalMethod, Intervals, intervals};
use alpha_flops_analysis::fit::refits::Refits;
use alpha_flops_analysis::fit::{PUBLISHED_START, Sample, Variant, fit_variant};
use alpha_flops_analysis::model::{Coefficients, FlopConvention, KernelTerm, Objective};

#[path = "../tests/integration/fixtures/random.rs"]
mod random;
use random::Random;

/// Bootstrap samples of each dataset.
const REFITS: usize = 399;

/// Standard deviation of what deviates equally, in milliseconds.
const EQUAL_MS: f64 = 0.02;

/// Standard deviation of logarithms of what deviates proportionally.
const PROPORTIONAL: f64 = 0.1;

/// How latencies deviate from the formula.
#[derive(Clone, Copy)]
enum Deviations {
    Equal,
    /// Student's t of three degrees of freedom.
    HeavyTailed,
    Proportional,
    SharedByChannels,
    SharedBySize,
}

/// Name, deviations, what the fit makes small, and one in how many configurations is measured.
type Scenario = (&'static str, Deviations, Objective, usize);

/// Those that meet what the intervals assume, then the others.
const SCENARIOS: [Scenario; 8] = [
    ("equal", Deviations::Equal, Objective::Absolute, 1),
    ("equal, few", Deviations::Equal, Objective::Absolute, 6),
    ("proportional", Deviations::Proportional, Objective::Log, 1),
    ("proportional, few", Deviations::Proportional, Objective::Log, 6),
    ("heavy tails", Deviations::HeavyTailed, Objective::Absolute, 1),
    ("proportional", Deviations::Proportional, Objective::Absolute, 1),
    ("by channels", Deviations::SharedByChannels, Objective::Absolute, 1),
    ("by size", Deviations::SharedBySize, Objective::Absolute, 1),
];

/// Student's t of three degrees of freedom, scaled to variance 1.
fn heavy_tailed(random: &mut Random) -> f64 {
    let squares: f64 = (0..3).map(|_| random.normal().powi(2)).sum();
    random.normal() / squares.sqrt()
}

/// Shapes and their latencies by the formula, without those that equal deviations could make
/// negative: these would have to be cut off, and not be equal any more.
fn exact(truth: &Coefficients) -> Result<Vec<(ConvShape, f64)>, Box<dyn Error>> {
    let mut exact = Vec::new();
    for channels in [40, 60, 80, 100, 120, 140] {
        for side in [2, 4, 8, 16, 32, 64, 100] {
            for kernel in [2, 3, 5, 9] {
                let shape = ConvShape::new(side, side, channels, 100, kernel)?;
                exact.push((shape, truth.predict(&shape)?.as_ms()));
            }
        }
    }
    exact.retain(|(_, ms)| *ms > 5.0 * EQUAL_MS);
    Ok(exact)
}

fn simulated(exact: &[(ConvShape, f64)], deviations: Deviations, random: &mut Random) -> Dataset {
    let mut shared = [(); 256].map(|()| random.normal());
    shared.iter_mut().for_each(|value| *value *= PROPORTIONAL);
    let observation = |(shape, ms): &(ConvShape, f64)| {
        let ms = match deviations {
            Deviations::Equal => ms + EQUAL_MS * random.normal(),
            Deviations::HeavyTailed => ms + EQUAL_MS * heavy_tailed(random),
            Deviations::Proportional => ms * (PROPORTIONAL * random.normal()).exp(),
            Deviations::SharedByChannels => ms * shared[shape.in_channels()].exp(),
            Deviations::SharedBySize => ms * shared[shape.height()].exp(),
        };
        let latency = Latency { mean_ns: Some(ms.max(1e-6) * 1e6), ..Latency::default() };
        let (experiment, series) = ("X".to_owned(), "all".to_owned());
        Observation { experiment, series, x: 0.0, shape: *shape, latency, algorithm: None }
    };
    let observations = exact.iter().map(observation).collect();
    let [source, backend, device, versions, protocol] = [(); 5].map(|()| "made up".to_owned());
    let provenance = Provenance { source, backend, device, versions, protocol };
    Dataset { provenance, observations }
}

fn simulate(
    exact: &[(ConvShape, f64)],
    (_, deviations, objective, _): Scenario,
    seed: u64,
) -> Result<Vec<Intervals>, Box<dyn Error>> {
    let data = simulated(exact, deviations, &mut Random::new(seed));
    let sample = Sample::from_dataset(&data, KernelTerm::Area, FlopConvention::Macs)?;
    let fit = fit_variant(&sample, Variant { objective, constant: false }, PUBLISHED_START)?;
    Ok(intervals(&sample, &fit, &Refits::draw(&sample, &fit, REFITS, seed)))
}

/// How often an interval of each parameter held its truth: by each method, and the believed one.
type Held = [[u32; 4]; 3];

fn count(held: &mut Held, rows: &[Intervals], truth: [f64; 3]) {
    for ((row, truth), held) in rows.iter().zip(truth).zip(held) {
        let by_method = IntervalMethod::ALL.map(|method| row.by(method));
        let all = by_method.into_iter().chain([row.by(row.believed)]);
        for (interval, held) in all.zip(held) {
            *held += u32::from(interval.is_some_and(|[low, high]| low <= truth && truth <= high));
        }
    }
}

/// Over seeds from `first`, which alone decide what is drawn, however many processors share them.
fn coverage(scenario: Scenario, simulations: u64, first: u64) -> Result<(usize, Held), String> {
    let truth = Coefficients::published_t2000();
    let mut exact = exact(&truth).map_err(|error| error.to_string())?;
    exact = exact.into_iter().step_by(scenario.3).collect();
    let truth = truth.k_above_1.ok_or("no truth")?.named().map(|(_, value)| value);
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let part = |thread: u64| -> Result<Held, String> {
        let mut held = Held::default();
        for seed in (thread..simulations).step_by(threads as usize) {
            let rows = simulate(&exact, scenario, first + seed);
            count(&mut held, &rows.map_err(|error| error.to_string())?, truth);
        }
        Ok(held)
    };
    let parts: Vec<Result<Held, String>> = thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|i| scope.spawn(move || part(i))).collect();
        started.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("panic".into()))).collect()
    });
    let mut sum = Held::default();
    for part in parts {
        for (sum, part) in sum.iter_mut().flatten().zip(part?.into_iter().flatten()) {
            *sum += part;
        }
    }
    Ok((exact.len(), sum))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let simulations: u64 = args.next().map_or(Ok(1000), |text| text.parse())?;
    let seed: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    println!("% of 95% intervals that hold the truth; {simulations} simulations from seed {seed}");
    println!();
    println!(
        "deviations         fit         n  parameter  asymptotic  profile  bootstrap  believed"
    );
    for scenario in SCENARIOS {
        let (name, _, objective, _) = scenario;
        let (n, held) = coverage(scenario, simulations, seed)?;
        for (parameter, held) in ["beta", "gamma", "final"].into_iter().zip(held) {
            let [a, p, b, e] = held.map(|count| 100.0 * f64::from(count) / simulations as f64);
            println!(
                "{name:<17}  {objective:<8}  {n:>3}  {parameter:<9}  {a:>10.1}  {p:>7.1}  {b:>9.1}  {e:>8.1}"
            );
        }
    }
    Ok(())
}
