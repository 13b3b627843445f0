//! The least-squares problem of one group, with `final` eliminated.
//!
//! `T̂ = final·f`, `f = b^γ·F`, `b = r + β·(1 − r)`, `r = S_K/S`. For given β and γ the best
//! `final` is a ratio of two sums, so the search is over (β, γ) alone: variable projection (Golub
//! and Pereyra, 1973). This takes away the worst of the confounding, for it is β^γ that `final`
//! trades against.

use argmin::core::{CostFunction, Error};

use super::BOUNDS;
use super::sample::{Cluster, GroupSample};

/// One configuration, or all configurations of one `S_K/S` as one (see [`reduction`]).
///
/// [`reduction`]: super::reduction
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// `S_K/S`.
    pub ratio: f64,
    /// Millions of FLOPs; of several configurations, the root of the sum of their squares.
    pub flops: f64,
    /// Latency in milliseconds; of several, what of it lies along their FLOPs.
    pub measured_ms: f64,
}

/// How `final` is chosen for given β and γ.
///
/// Two smooth problems instead of one with a kink where `final` reaches its bound: the constrained
/// optimum is a minimum of the first with `final` within the bounds, or the minimum of the second.
/// (The lower bound is never reached: all latencies are positive.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FinalScale {
    /// The best value, bounds or not.
    Follows,
    /// At its upper bound.
    AtBound,
}

/// The points of one group. As an argmin problem its parameters are `[β, γ]` and its cost is half
/// the residual sum of squares (ms²).
#[derive(Clone, Debug)]
pub(super) struct GroupProblem {
    pub points: Vec<Point>,
    /// Configurations behind the points.
    pub n: usize,
    /// Part of the residual sum that no parameter changes (ms²): latencies of one `S_K/S` that are
    /// not proportional to their FLOPs.
    pub rest: f64,
    pub final_scale: FinalScale,
}

/// What `final` becomes for given β and γ, and what is left over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection {
    pub final_scale: f64,
    pub residual_sum: f64,
}

/// Derivatives of the cost by β and γ, with `final` following along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Derivatives {
    pub gradient: [f64; 2],
    pub hessian: [[f64; 2]; 2],
    /// Lengths of the model's projected derivatives: natural units of β and γ.
    pub lengths: [f64; 2],
}

impl Point {
    fn base(&self, beta: f64) -> f64 {
        self.ratio + beta * (1.0 - self.ratio)
    }
}

impl FinalScale {
    /// From `Σ T·f` and `Σ f²`.
    pub(super) fn choose(self, across: f64, square: f64) -> f64 {
        match self {
            Self::Follows => across / square,
            Self::AtBound => BOUNDS.1,
        }
    }
}

impl GroupProblem {
    /// A point per distinct `S_K/S`: the fit's cost does not depend on the number of rows.
    pub(super) fn new(sample: &GroupSample, final_scale: FinalScale) -> Self {
        let point = |cluster: &Cluster| Point {
            ratio: cluster.ratio,
            flops: cluster.sums.flops,
            measured_ms: cluster.sums.measured_ms[0],
        };
        Self {
            points: sample.clusters.iter().map(point).collect(),
            n: sample.rows.len(),
            rest: sample.clusters.iter().map(|c| c.sums.rest_without_constant()).sum(),
            final_scale,
        }
    }

    /// The upper bounds of β and γ. Where `S < S_K` the bracket falls to 0 at β = r/(r − 1), beyond
    /// which the formula has no value: there β ends, should that be below its bound.
    pub(super) fn upper(&self) -> [f64; 2] {
        let ratio = self.points.iter().fold(0.0, |max: f64, point| max.max(point.ratio));
        // a hair inside, where the bracket is still above 0
        let edge = if ratio > 1.0 { ratio / (ratio - 1.0) * (1.0 - 1e-12) } else { BOUNDS.1 };
        [edge.min(BOUNDS.1), BOUNDS.1]
    }

    /// `final` and the residuals it leaves; `None` where the formula has no value for some point
    /// (a bracket of 0 or below) or no finite one.
    pub(super) fn project(&self, [beta, gamma]: [f64; 2]) -> Option<Projection> {
        let mut shapes = Vec::with_capacity(self.points.len());
        for point in &self.points {
            let base = point.base(beta);
            if base <= 0.0 {
                return None;
            }
            shapes.push(base.powf(gamma) * point.flops);
        }
        let pairs = || self.points.iter().zip(&shapes);
        let across: f64 = pairs().map(|(point, shape)| point.measured_ms * shape).sum();
        let square: f64 = shapes.iter().map(|shape| shape * shape).sum();
        let final_scale = self.final_scale.choose(across, square);
        let squares =
            pairs().map(|(point, shape)| (final_scale * shape - point.measured_ms).powi(2));
        let residual_sum = squares.sum::<f64>() + self.rest;
        residual_sum.is_finite().then_some(Projection { final_scale, residual_sum })
    }

    /// Sum of the squared measurements (ms²): what rounding errors are relative to.
    pub(super) fn square_sum(&self) -> f64 {
        self.points.iter().map(|point| point.measured_ms.powi(2)).sum::<f64>() + self.rest
    }

    /// Gradient and Hessian of the cost at `parameters`; `None` as for [`project`](Self::project).
    pub(super) fn derivatives(&self, parameters: [f64; 2]) -> Option<Derivatives> {
        let Projection { final_scale, .. } = self.project(parameters)?;
        let columns = Columns::new(&self.points, parameters, final_scale);
        // where `final` is fixed there is nothing to project out
        Some(columns.derivatives(self.final_scale == FinalScale::Follows))
    }

    /// The Jacobian's columns `∂T̂/∂β`, `∂T̂/∂γ`, `∂T̂/∂final`, a value per point.
    pub(super) fn jacobian(&self, parameters: [f64; 2], final_scale: f64) -> [Vec<f64>; 3] {
        let Columns { by_beta, by_gamma, shape, .. } =
            Columns::new(&self.points, parameters, final_scale);
        [by_beta, by_gamma, shape]
    }
}

/// Per point: the model's derivatives and the residual.
struct Columns {
    final_scale: f64,
    shape: Vec<f64>,
    by_beta: Vec<f64>,
    by_gamma: Vec<f64>,
    residual: Vec<f64>,
    /// Second derivatives ββ, βγ and γγ, weighted with the residuals and summed.
    curvature: [f64; 3],
}

impl Columns {
    fn new(points: &[Point], [beta, gamma]: [f64; 2], final_scale: f64) -> Self {
        let n = points.len();
        let mut columns = Self {
            final_scale,
            shape: Vec::with_capacity(n),
            by_beta: Vec::with_capacity(n),
            by_gamma: Vec::with_capacity(n),
            residual: Vec::with_capacity(n),
            curvature: [0.0; 3],
        };
        for point in points {
            let base = point.base(beta);
            let log = base.ln();
            let slope = (1.0 - point.ratio) / base;
            let shape = base.powf(gamma) * point.flops;
            let estimate = final_scale * shape;
            let residual = estimate - point.measured_ms;
            columns.shape.push(shape);
            columns.by_beta.push(estimate * gamma * slope);
            columns.by_gamma.push(estimate * log);
            columns.residual.push(residual);
            columns.curvature[0] += residual * estimate * gamma * (gamma - 1.0) * slope * slope;
            columns.curvature[1] += residual * estimate * slope * (1.0 + gamma * log);
            columns.curvature[2] += residual * estimate * log * log;
        }
        columns
    }

    /// With q the columns by β and γ, q̃ what is left of them after projecting out f, e the
    /// residuals: gradient `q̃ᵀe`; Hessian `q̃ᵀq̃ + Σ e·∂²T̂ − (a·sᵀ + s·aᵀ + s·sᵀ)/fᵀf`, where
    /// `a = qᵀf` and `s = qᵀe/final` (the Schur complement of the full Hessian).
    ///
    /// Projecting column by column, instead of subtracting the sums, keeps the digits that
    /// cancellation would take.
    fn derivatives(&self, final_follows: bool) -> Derivatives {
        let square = dot(&self.shape, &self.shape);
        let columns = [&self.by_beta, &self.by_gamma];
        let along = columns.map(|column| dot(column, &self.shape));
        let projected: [Vec<f64>; 2] = [0, 1].map(|j| match final_follows {
            true => {
                let share = along[j] / square;
                columns[j].iter().zip(&self.shape).map(|(q, f)| q - share * f).collect()
            }
            false => columns[j].clone(),
        });
        let gradient = [0, 1].map(|j| dot(&projected[j], &self.residual));
        let mut hessian = [[0.0; 2]; 2];
        for (i, row) in hessian.iter_mut().enumerate() {
            for (j, entry) in row.iter_mut().enumerate() {
                *entry = dot(&projected[i], &projected[j]) + self.curvature[i + j];
                if final_follows {
                    let s = gradient.map(|g| g / self.final_scale);
                    *entry -= (along[i] * s[j] + s[i] * along[j] + s[i] * s[j]) / square;
                }
            }
        }
        let lengths = [0, 1].map(|j| dot(&projected[j], &projected[j]).sqrt());
        Derivatives { gradient, hessian, lengths }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl CostFunction for GroupProblem {
    type Param = [f64; 2];
    type Output = f64;

    /// Infinite where the formula has no value, so that no step goes there.
    fn cost(&self, parameters: &[f64; 2]) -> Result<f64, Error> {
        Ok(self.project(*parameters).map_or(f64::INFINITY, |p| p.residual_sum / 2.0))
    }
}
