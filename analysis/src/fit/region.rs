//! The joint 95% region of β and γ, which intervals of each do not show: what one loses the other
//! can make up for.
//!
//! - **profile**: all (β, γ) at which the objective, minimised over the other parameters, stays below
//!   `S·(1 + 2F/m)`, with F the 95% quantile of F(2, m) and m the degrees of freedom (Bates and Watts
//!   1988, section 6.1). For two parameters `1 + 2F/m = 0.05^(−2/m)` exactly.
//! - **ellipse**: `δᵀ·C⁻¹·δ = 2F` with the covariance C of the standard errors, as if the formula were
//!   linear.
//!
//! Where the two differ, standard errors mislead.

use std::f64::consts::FRAC_PI_2;

use serde::Serialize;

use super::intervals::Interval;
use super::problem::LeastSquares;
use super::sample::GroupSample;
use super::{Fit, GroupFit, Sample};
use crate::model::KernelGroup;

/// What is left out of the region.
const OUTSIDE: f64 = 0.05;
/// Values of β on each side of the estimate at which γ's ends are looked for.
const SLICES: usize = 16;
/// Corners of the ellipse.
const CORNERS: usize = 72;

/// The region of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Region {
    pub group: KernelGroup,
    pub configurations: usize,
    /// The estimates of β and γ.
    pub estimate: [f64; 2],
    /// By the objective: β ascending, each with γ's ends.
    pub profile: Vec<Slice>,
    /// By the standard errors: a closed line of (β, γ); empty where one of the two has none.
    pub ellipse: Vec<[f64; 2]>,
}

/// The region at one β.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say what they are")]
pub struct Slice {
    pub beta: f64,
    pub gamma: Interval,
}

impl Region {
    /// The profile's border, closed.
    pub fn border(&self) -> Vec<[f64; 2]> {
        let high = self.profile.iter().map(|slice| [slice.beta, slice.gamma[1]]);
        let low = self.profile.iter().rev().map(|slice| [slice.beta, slice.gamma[0]]);
        let first = self.profile.first().map(|slice| [slice.beta, slice.gamma[1]]);
        high.chain(low).chain(first).collect()
    }
}

/// The regions of `fit`, which was made of `sample`, one a group.
pub fn regions(sample: &Sample, fit: &Fit) -> Vec<Region> {
    let groups = KernelGroup::ALL.into_iter().filter_map(|group| Some((group, fit.group(group)?)));
    groups.map(|(group, fitted)| region(sample.group(group), group, fitted, fit)).collect()
}

fn region(sample: &GroupSample, group: KernelGroup, fitted: &GroupFit, fit: &Fit) -> Region {
    let problem = LeastSquares::new(sample, fit.variant);
    let best = problem.position(&fitted.estimate);
    let free = 3 + usize::from(fit.variant.constant) - fitted.active_bounds.len();
    let freedom = sample.rows.len().saturating_sub(free).max(1) as f64;
    let widening = OUTSIDE.powf(-2.0 / freedom);
    let threshold = problem.sum(&best) * widening;
    let errors = fitted.uncertainty.standard_errors;
    let step = |error: Option<f64>, value: f64| error.unwrap_or(0.1 * value + 1e-6);
    let (beta_step, gamma_step) = (step(errors.beta, best[0]), step(errors.gamma, best[1]));
    let mut profile = Vec::new();
    for sign in [-1.0, 1.0] {
        let end = problem.profile_end(best, 0, sign * beta_step, threshold);
        let mut from = best;
        for slice in 1..=SLICES {
            // denser towards the end, where the border turns
            let share = (FRAC_PI_2 * slice as f64 / SLICES as f64).sin();
            let beta = best[0] + (end - best[0]) * share;
            let held = problem.holding(0, beta);
            from = held.descend(from).map_or(from, |end| end.position);
            let at = |sign: f64| held.profile_end(from, 1, sign * gamma_step, threshold);
            profile.push(Slice { beta, gamma: [at(-1.0), at(1.0)] });
        }
    }
    let held = problem.holding(0, best[0]);
    let at = |sign: f64| held.profile_end(best, 1, sign * gamma_step, threshold);
    profile.push(Slice { beta: best[0], gamma: [at(-1.0), at(1.0)] });
    profile.sort_by(|a, b| a.beta.total_cmp(&b.beta));
    profile.dedup_by_key(|slice| slice.beta.to_bits());
    let radius = (freedom * (widening - 1.0)).sqrt();
    Region {
        group,
        configurations: sample.rows.len(),
        estimate: [best[0], best[1]],
        profile,
        ellipse: ellipse(fitted, radius),
    }
}

fn ellipse(fitted: &GroupFit, radius: f64) -> Vec<[f64; 2]> {
    let uncertainty = &fitted.uncertainty;
    let errors = uncertainty.standard_errors;
    let (Some(beta), Some(gamma), Some(correlation)) =
        (errors.beta, errors.gamma, uncertainty.correlation[0][1])
    else {
        return Vec::new();
    };
    let across = (1.0 - correlation * correlation).max(0.0).sqrt();
    let corner = |index: usize| {
        let (sine, cosine) = (std::f64::consts::TAU * index as f64 / CORNERS as f64).sin_cos();
        let along = [cosine, correlation * cosine + across * sine];
        [
            fitted.estimate.beta + radius * beta * along[0],
            fitted.estimate.gamma + radius * gamma * along[1],
        ]
    };
    (0..=CORNERS).map(corner).collect()
}
