//! How well a fit determines its parameters: kept apart from the estimate itself.

use serde::Serialize;

use super::PARAMETERS;
use super::problem::LeastSquares;
use super::search::End;
use crate::model::GroupCoefficients;

/// Standard errors and correlations of β, γ and `final`, in this order, from the Jacobian J of the
/// free parameters: covariance `σ²·(JᵀJ)⁻¹` with `σ² = SSR/(n − p)`.
///
/// They hold for independent errors of equal size around a true formula. Latencies of neighbouring
/// shapes share what the formula lacks, so these are lower limits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Uncertainty {
    /// One standard error of each parameter; `None` for one at a bound, and for all where the data
    /// cannot tell them apart.
    pub standard_errors: StandardErrors,
    /// Correlation matrix, rows and columns β, γ, `final`; `None` where there is no standard error.
    pub correlation: [[Option<f64>; 3]; 3],
}

/// One standard error per parameter, in the parameter's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct StandardErrors {
    pub beta: Option<f64>,
    pub gamma: Option<f64>,
    /// Of `final`, in milliseconds per million FLOPs.
    #[serde(rename = "final")]
    pub final_scale: Option<f64>,
    /// Of T₀, in milliseconds.
    pub constant_ms: Option<f64>,
}

/// A parameter that the bounds, not the data, have set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ActiveBound {
    /// `beta`, `gamma`, `final` or `constant_ms`.
    pub parameter: &'static str,
    /// The bound it is at.
    pub bound: f64,
}

/// The parameters that are at a bound, or at the edge of the formula's domain.
pub(super) fn active_bounds(
    problem: &LeastSquares,
    optimum: &End,
    estimate: &GroupCoefficients,
) -> Vec<ActiveBound> {
    let fitted = PARAMETERS.len() + usize::from(problem.variant.constant);
    let within = optimum.position.into_iter().zip(problem.bounds());
    let at_bound = within.map(|(value, (low, high))| value <= low || value >= high);
    let constant = ("constant_ms", estimate.constant_ms);
    let named = estimate.named().into_iter().chain([constant]).zip(at_bound).take(fitted);
    named
        .filter(|(_, at)| *at)
        .map(|((parameter, bound), _)| ActiveBound { parameter, bound })
        .collect()
}

pub(super) const UNKNOWN: Uncertainty = Uncertainty {
    standard_errors: StandardErrors {
        beta: None,
        gamma: None,
        final_scale: None,
        constant_ms: None,
    },
    correlation: [[None; 3]; 3],
};

/// The uncertainty of `estimate`, with the least `sum` of squares over `n` configurations.
pub(super) fn uncertainty(
    problem: &LeastSquares,
    estimate: &GroupCoefficients,
    active_bounds: &[ActiveBound],
    n: usize,
    sum: f64,
) -> Uncertainty {
    let mut result = UNKNOWN;
    let jacobian = problem.jacobian(estimate);
    let names = PARAMETERS.into_iter().chain(problem.variant.constant.then_some("constant_ms"));
    let is_free = |name: &str| active_bounds.iter().all(|at| at.parameter != name);
    let free: Vec<usize> =
        names.enumerate().filter(|(_, name)| is_free(name)).map(|(i, _)| i).collect();
    let columns: Vec<&[f64]> = free.iter().map(|i| jacobian[*i].as_slice()).collect();
    let freedom = n.saturating_sub(free.len());
    let Some(covariance) = inverse_gram(&columns).filter(|_| freedom > 0) else { return result };
    let variance = sum / freedom as f64;
    let spread: Vec<f64> = (0..free.len()).map(|i| covariance[i][i].sqrt()).collect();
    let mut errors = [None; 4];
    for (i, parameter) in free.iter().enumerate() {
        errors[*parameter] = Some(variance.sqrt() * spread[i]);
        for (j, other) in free.iter().enumerate().filter(|(_, other)| **other.max(&parameter) < 3) {
            let correlation = if i == j { 1.0 } else { covariance[i][j] / (spread[i] * spread[j]) };
            result.correlation[*parameter][*other] = Some(correlation);
        }
    }
    let [beta, gamma, final_scale, constant_ms] = errors;
    result.standard_errors = StandardErrors { beta, gamma, final_scale, constant_ms };
    result
}

/// `(JᵀJ)⁻¹` by orthogonalising the columns of J: `J = Q·R`, so the inverse is `R⁻¹·R⁻ᵀ`. `None`
/// where they are dependent to within rounding.
fn inverse_gram(columns: &[&[f64]]) -> Option<Vec<Vec<f64>>> {
    let p = columns.len();
    let mut orthogonal: Vec<Vec<f64>> = columns.iter().map(|column| column.to_vec()).collect();
    // of the inverse of R: column j expresses Q's column j by those of J
    let mut inverse = vec![vec![0.0; p]; p];
    for j in 0..p {
        inverse[j][j] = 1.0;
        let length = norm(&orthogonal[j]);
        // twice is enough to be orthogonal to rounding (Kahan)
        for i in (0..j).chain(0..j) {
            let share = dot(&orthogonal[i], &orthogonal[j]);
            let along = orthogonal[i].clone();
            orthogonal[j].iter_mut().zip(&along).for_each(|(value, a)| *value -= share * a);
            for row in &mut inverse {
                row[j] -= share * row[i];
            }
        }
        let left = norm(&orthogonal[j]);
        if left <= 1e-12 * length || !left.is_finite() {
            return None;
        }
        orthogonal[j].iter_mut().for_each(|value| *value /= left);
        inverse.iter_mut().for_each(|row| row[j] /= left);
    }
    Some((0..p).map(|i| (0..p).map(|j| dot(&inverse[i], &inverse[j])).collect()).collect())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
