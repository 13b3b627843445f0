//! The rows of a fit: a dataset of any size reduced to as few as its variant allows.
//!
//! Absolute and relative residuals reduce exactly to one row per `S_K/S`, and with T₀ to two (the
//! module [`reduction`] derives it; relative residuals have weights 1/T). Logarithms reduce to a row
//! per `S_K/S` without T₀, where `ln T̂ − ln F` depends on it alone, and with T₀ to one per distinct
//! `(S_K/S, F)`.
//!
//! [`reduction`]: super::reduction

use std::collections::BTreeMap;

use super::Variant;
use super::reduction::Reduction;
use super::sample::{Cluster, GroupSample};
use crate::model::Objective;

/// One row of the reduced problem.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// `S_K/S`.
    pub ratio: f64,
    /// Millions of FLOPs; of several configurations, the root of the sum of their squares.
    pub flops: f64,
    /// Coefficient of T₀; for logarithms, the weight of the residual: the root of the number of
    /// configurations.
    pub weight: f64,
    /// The latency in milliseconds, as reduced; for logarithms, the mean of `ln T`, or of
    /// `ln T − ln F` where `flops` is 1.
    pub measured: f64,
}

/// The rows, and the part of the sum of squares that no parameter changes.
pub(super) fn points(sample: &GroupSample, variant: Variant) -> (Vec<Point>, f64) {
    match variant.objective {
        Objective::Absolute => {
            linear(sample.clusters.iter().map(|c| (c, c.sums)), variant.constant)
        }
        Objective::Relative => {
            let mut sums = vec![Reduction::default(); sample.clusters.len()];
            for row in &sample.rows {
                sums[row.cluster as usize].add(row.flops, row.measured_ms, 1.0 / row.measured_ms);
            }
            linear(sample.clusters.iter().zip(sums), variant.constant)
        }
        Objective::Log => logarithmic(sample, variant.constant),
    }
}

fn linear<'a>(
    clusters: impl Iterator<Item = (&'a Cluster, Reduction)>,
    constant: bool,
) -> (Vec<Point>, f64) {
    let (mut points, mut rest) = (Vec::new(), 0.0);
    for (Cluster { ratio, .. }, sums) in clusters {
        let ([first, second], [a, b]) = (sums.constant, sums.measured_ms);
        let point = |flops, weight, measured| Point { ratio: *ratio, flops, weight, measured };
        points.push(point(sums.flops, first, a));
        if constant {
            points.push(point(0.0, second, b));
            rest += sums.residual_sum;
        } else {
            rest += sums.rest_without_constant();
        }
    }
    (points, rest)
}

/// A mean and the sum of squared deviations from it, by Welford's method.
#[derive(Default)]
struct Mean {
    n: f64,
    mean: f64,
    squares: f64,
}

fn logarithmic(sample: &GroupSample, constant: bool) -> (Vec<Point>, f64) {
    let mut means: BTreeMap<(u32, u64), Mean> = BTreeMap::new();
    for row in &sample.rows {
        // without T₀ the logarithm of F is but a summand
        let flops = if constant { row.flops } else { 1.0 };
        let value = (row.measured_ms / row.flops * flops).ln();
        let mean = means.entry((row.cluster, flops.to_bits())).or_default();
        mean.n += 1.0;
        let before = value - mean.mean;
        mean.mean += before / mean.n;
        mean.squares += before * (value - mean.mean);
    }
    let rest = means.values().map(|mean| mean.squares).sum();
    let point = |((cluster, flops), mean): ((u32, u64), Mean)| Point {
        ratio: sample.clusters[cluster as usize].ratio,
        flops: f64::from_bits(flops),
        weight: mean.n.sqrt(),
        measured: mean.mean,
    };
    (means.into_iter().map(point).collect(), rest)
}
