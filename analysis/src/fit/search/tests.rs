use std::path::Path;

use alpha_flops::random::random_bits;

use crate::dataset::{Dataset, Observation};
use crate::fit::{PARAMETERS, PUBLISHED_START, Sample, Variant, fit_variant};
use crate::import::criterion;
use crate::model::{FlopConvention, KernelGroup, KernelTerm, Objective};

/// What the formula takes of a configuration, and its latency in milliseconds.
struct Row {
    pixels: f64,
    s_k: f64,
    mflop: f64,
    measured: f64,
}

/// The sum that a fit minimises, row by row, at ln β, γ, ln `final` and (if there) ln T₀, each moved to
/// within its bounds.
fn sum(rows: &[Row], objective: Objective, at: &[f64]) -> f64 {
    let beta = at[0].exp().min(2.0);
    let gamma = at[1].clamp(0.0, 2.0);
    let final_scale = at[2].exp().min(2.0);
    let constant = at.get(3).map_or(0.0, |log| log.exp());
    let squares = rows.iter().map(|Row { pixels, s_k, mflop, measured }| {
        let bracket = (s_k + beta * (pixels - s_k)) / pixels;
        let estimate = final_scale * bracket.powf(gamma) * mflop + constant;
        match objective {
            Objective::Absolute => (estimate - measured).powi(2),
            Objective::Relative => (estimate / measured - 1.0).powi(2),
            Objective::Log => (estimate / measured).ln().powi(2),
        }
    });
    let sum: f64 = squares.sum();
    if sum.is_nan() { f64::INFINITY } else { sum }
}

/// Where Nelder and Mead's simplex (1965) gets to from `start` in `steps` steps, and the value there.
fn simplex_search(value: impl Fn(&[f64]) -> f64, start: &[f64], steps: usize) -> (f64, Vec<f64>) {
    let vertex = |at: Vec<f64>| (value(&at), at);
    let mut simplex = vec![vertex(start.to_vec())];
    for i in 0..start.len() {
        let mut at = start.to_vec();
        at[i] += 0.5;
        simplex.push(vertex(at));
    }
    for _ in 0..steps {
        simplex.sort_by(|a, b| a.0.total_cmp(&b.0));
        let worst = simplex.pop().unwrap();
        let mean = |i: usize| simplex.iter().map(|(_, at)| at[i]).sum::<f64>() / start.len() as f64;
        let means: Vec<f64> = (0..start.len()).map(mean).collect();
        let along = |share: f64| {
            let pairs = means.iter().zip(&worst.1);
            vertex(pairs.map(|(mean, x)| mean + share * (mean - x)).collect())
        };
        let reflected = along(1.0);
        let next = if reflected.0 < simplex[0].0 {
            let expanded = along(2.0);
            if expanded.0 < reflected.0 { expanded } else { reflected }
        } else if reflected.0 < simplex[simplex.len() - 1].0 {
            reflected
        } else {
            along(if reflected.0 < worst.0 { 0.5 } else { -0.5 })
        };
        if next.0 < worst.0 {
            simplex.push(next);
        } else {
            let best = simplex[0].1.clone();
            simplex.push(worst);
            for (lowest, at) in &mut simplex {
                at.iter_mut().zip(&best).for_each(|(x, best)| *x = f64::midpoint(*x, *best));
                *lowest = value(at);
            }
        }
    }
    simplex.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// The lowest of 40 searches from random starts, the best three of which go on.
fn best_of_random_starts(rows: &[Row], variant: Variant, seed: u64) -> f64 {
    let shortest = rows.iter().fold(f64::INFINITY, |least, row| least.min(row.measured));
    let value = |at: &[f64]| sum(rows, variant.objective, at);
    let starts = (0..40).map(|start| {
        let uniform = |place: u64, low: f64, high: f64| {
            let bits = random_bits(seed, 4 * start + place) >> 11;
            low + (high - low) * bits as f64 / (1u64 << 53) as f64
        };
        let mut at = vec![uniform(0, -14.0, 0.7), uniform(1, 0.0, 2.0), uniform(2, -8.0, 0.7)];
        if variant.constant {
            at.push(shortest.ln() + uniform(3, -3.0, 0.0));
        }
        simplex_search(value, &at, 50)
    });
    let mut ends: Vec<(f64, Vec<f64>)> = starts.collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let finished = ends[..3].iter().map(|(_, at)| simplex_search(value, at, 300).0);
    finished.fold(f64::INFINITY, f64::min)
}

/// Each group of a recorded run; of it, each experiment, and all others.
fn parts() -> Vec<(String, KernelGroup, Dataset)> {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/frozen/fixtures/measured/1");
    let run = criterion::read(Path::new(run)).unwrap().dataset;
    let select = |data: &Dataset, is_in: &dyn Fn(&Observation) -> bool| {
        let observations = data.observations.iter().filter(|o| is_in(o)).cloned().collect();
        Dataset { provenance: data.provenance.clone(), observations }
    };
    let mut parts = Vec::new();
    for group in KernelGroup::ALL {
        let whole = select(&run, &|o| KernelGroup::from_shape(&o.shape) == group);
        for letter in ["A", "B", "C", "D", "E", "F", "G"] {
            let only = select(&whole, &|o| o.experiment == letter);
            let others = select(&whole, &|o| o.experiment != letter);
            if !only.observations.is_empty() {
                parts.push((format!("{group}, only {letter}"), group, only));
                parts.push((format!("{group}, without {letter}"), group, others));
            }
        }
        parts.push((format!("{group}, all"), group, whole));
    }
    parts
}

#[test]
fn no_fit_of_a_small_dataset_is_worse_than_the_best_of_many_random_searches() {
    let mut compared = 0;
    for (part, group, data) in parts() {
        let sample = Sample::from_dataset(&data, KernelTerm::Side, FlopConvention::Macs).unwrap();
        let row = |o: &Observation| Row {
            pixels: o.shape.pixels() as f64,
            s_k: KernelTerm::Side.s_k(o.shape.kernel()),
            mflop: FlopConvention::Macs.millions(&o.shape),
            measured: o.typical().unwrap().as_ms(),
        };
        let rows: Vec<Row> = data.observations.iter().map(row).collect();
        for variant in Variant::ALL {
            if rows.len() < PARAMETERS.len() + usize::from(variant.constant) {
                continue;
            }
            let fit = fit_variant(&sample, variant, PUBLISHED_START).unwrap();
            let ours = fit.group(group).unwrap().objective_sum;
            let plain = best_of_random_starts(&rows, variant, compared);
            // where there are as few rows as parameters the sum is rounding: 1e-20 stands for zero
            assert!(
                ours <= plain * (1.0 + 1e-6) + 1e-20,
                "{part}, {variant:?}: {ours}, but {plain} by random searches"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 90, "parts and variants");
}
