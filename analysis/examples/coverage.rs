//! How often 95% intervals hold the truth: on made-up latencies that meet the assumptions of the
//! standard errors (independent deviations of equal size), and on such that do not (proportional to
//! the latency, and shared by all configurations of one channel count, or of one size).
//!
//! Run: `cargo run --release -p alpha-flops-analysis --example coverage [SIMULATIONS]`

#![allow(clippy::print_stdout, reason = "an example that prints")]

use alpha_flops::shape::ConvShape;
use alpha_flops_analysis::dataset::{Dataset, Latency, Observation, Provenance};
use alpha_flops_analysis::fit::intervals::intervals;
use alpha_flops_analysis::fit::{PUBLISHED_START, Sample, fit_sample};
use alpha_flops_analysis::model::{Coefficients, FlopConvention, KernelTerm};

/// A linear congruential generator (Knuth's MMIX), sums of twelve for a normal distribution.
struct Random(u64);

impl Random {
    fn normal(&mut self) -> f64 {
        let uniform = |state: &mut u64| {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*state >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| uniform(&mut self.0)).sum::<f64>() - 6.0
    }
}

#[derive(Clone, Copy)]
enum Noise {
    Equal,
    Proportional,
    SharedByChannels,
    SharedBySize,
}

fn simulated(noise: Noise, random: &mut Random) -> Result<Dataset, Box<dyn std::error::Error>> {
    let truth = Coefficients::published_t2000();
    let sizes: Vec<f64> = (0..7).map(|_| random.normal()).collect();
    let mut observations = Vec::new();
    for channels in [40, 60, 80, 100, 120, 140] {
        let shared = random.normal();
        for (side, size) in [2, 4, 8, 16, 32, 64, 100].into_iter().zip(&sizes) {
            for kernel in [2, 3, 5, 9] {
                let shape = ConvShape::new(side, side, channels, 100, kernel)?;
                let ms = truth.predict(&shape)?.as_ms();
                let ms = match noise {
                    Noise::Equal => ms + 0.02 * random.normal(),
                    Noise::Proportional => ms * (0.1 * random.normal()).exp(),
                    Noise::SharedByChannels => ms * (0.1 * shared).exp(),
                    Noise::SharedBySize => ms * (0.1 * size).exp(),
                };
                let latency = Latency { mean_ns: Some(ms.max(1e-6) * 1e6), ..Latency::default() };
                let (experiment, series) = ("X".to_owned(), "all".to_owned());
                observations.push(Observation {
                    experiment,
                    series,
                    x: 0.0,
                    shape,
                    latency,
                    algorithm: None,
                });
            }
        }
    }
    let text = || "made up".to_owned();
    let provenance = Provenance {
        source: text(),
        backend: text(),
        device: text(),
        versions: text(),
        protocol: text(),
    };
    Ok(Dataset { provenance, observations })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let simulations = std::env::args().nth(1).map_or(Ok(1000), |text| text.parse())?;
    println!("share of 95% intervals that hold the truth, {simulations} simulations");
    println!("deviations    parameter  asymptotic  profile  bootstrap");
    for (name, noise) in [
        ("equal", Noise::Equal),
        ("proportional", Noise::Proportional),
        ("by channels", Noise::SharedByChannels),
        ("by size", Noise::SharedBySize),
    ] {
        let mut random = Random(4);
        let mut held = [[0u32; 3]; 3];
        for seed in 0..simulations {
            let data = simulated(noise, &mut random)?;
            let sample = Sample::of(&data, KernelTerm::Area, FlopConvention::Macs)?;
            let fit = fit_sample(&sample, PUBLISHED_START)?;
            let rows = intervals(&sample, &fit, 399, seed);
            for ((row, truth), held) in rows.iter().zip([0.001, 0.56, 0.0375]).zip(&mut held) {
                let all = [row.asymptotic, Some(row.profile), row.bootstrap];
                for (interval, held) in all.into_iter().zip(held) {
                    *held += u32::from(interval.is_some_and(|[a, b]| a <= truth && truth <= b));
                }
            }
        }
        for (parameter, held) in ["beta", "gamma", "final"].into_iter().zip(held) {
            let [a, b, c] = held.map(|count| 100.0 * f64::from(count) / simulations as f64);
            println!("{name:<12}  {parameter:<9}  {a:>9.1}%  {b:>6.1}%  {c:>8.1}%");
        }
    }
    Ok(())
}
