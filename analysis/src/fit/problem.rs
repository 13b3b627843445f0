//! The least-squares problem of one group of kernels, the same for every variant of the fit.
//!
//! ```text
//! T̂ = final·f + T₀,   f = b^γ·F,   b = r + β·(1 − r),   r = S_K/S
//!
//! absolute   e = T̂ − T          as published: the longest convolutions decide
//! relative   e = T̂/T − 1        every convolution counts alike; estimates too low are punished less
//! log        e = ln T̂ − ln T    the same without that lean: half and double are equally wrong
//! ```
//!
//! The sum of e² is minimised within the bounds over β, γ, `final` and, if asked for, T₀ ≥ 0.
//!
//! For given β, γ and T₀ the best `final` is a ratio of two sums (without T₀ also of logarithms, as a
//! mean), so it is eliminated and the search is over the others alone: variable projection (Golub and
//! Pereyra, 1973). This takes away the worst of the confounding, for it is β^γ that `final` trades
//! against. Logarithms with T₀ have no such sums: there ln `final` is searched, too.

#![allow(clippy::needless_range_loop, reason = "matrices are written by their indices")]

use std::rc::Rc;

use argmin::core::{CostFunction, Error};

use super::points::{Point, points};
use super::sample::GroupSample;
use super::{BOUNDS, Variant};
use crate::model::{GroupCoefficients, Objective};

/// β, γ, ln `final`, T₀. The logarithm of `final` is nearly linear in logarithms of latencies, and
/// keeps `final` above 0.
pub(super) type Position = [f64; 4];
pub(super) type Matrix = [[f64; 4]; 4];

/// Index of γ in a [`Position`].
pub(super) const GAMMA: usize = 1;
/// Index of ln `final` in a [`Position`].
pub(super) const FINAL: usize = 2;

/// `final` below this counts as 0, which it cannot be.
pub(super) const SMALLEST_FINAL: f64 = 1e-12;

/// The problem of one group. For argmin its cost is half the sum of squares.
#[derive(Clone, Debug)]
pub(super) struct LeastSquares {
    pub points: Rc<[Point]>,
    /// The part of the sum of squares that no parameter changes.
    pub rest: f64,
    pub variant: Variant,
    /// Components that are held, and at what.
    held: [Option<f64>; 4],
    upper_beta: f64,
}

/// The best `final` at a position, and the sum of squares with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection {
    pub final_scale: f64,
    pub sum: f64,
}

/// Derivatives of the cost, with an eliminated `final` following along.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Derivatives {
    pub gradient: Position,
    pub hessian: Matrix,
    /// Lengths of the residuals' (projected) derivatives: natural units of the components.
    pub lengths: Position,
}

/// Residual of a point and its derivatives.
struct Local {
    residual: f64,
    slopes: Position,
    by_final: f64,
}

impl LeastSquares {
    pub(super) fn new(sample: &GroupSample, variant: Variant) -> Self {
        let (points, rest) = points(sample, variant);
        Self::from_points(points, rest, variant)
    }

    pub(super) fn from_points(points: Vec<Point>, rest: f64, variant: Variant) -> Self {
        let ratio = points.iter().fold(0.0, |max: f64, point| max.max(point.ratio));
        // Where S < S_K the bracket b falls to 0 at β = r/(r − 1), beyond which the formula has no
        // value. A hair inside, b is still above 0.
        let edge = if ratio > 1.0 { ratio / (ratio - 1.0) * (1.0 - 1e-12) } else { BOUNDS.1 };
        let upper_beta = edge.min(BOUNDS.1);
        Self { points: points.into(), rest, variant, held: [None; 4], upper_beta }
    }

    /// The same problem with component `index` held at `value`.
    pub(super) fn holding(&self, index: usize, value: f64) -> Self {
        let mut held = self.clone();
        held.held[index] = Some(value);
        held
    }

    fn is_logarithmic(&self) -> bool {
        self.variant.objective == Objective::Log
    }

    /// Components that the search moves, those held included.
    pub(super) fn searched(&self) -> &'static [usize] {
        match (self.variant.constant, self.is_logarithmic()) {
            (false, _) => &[0, 1],
            (true, false) => &[0, 1, 3],
            (true, true) => &[0, 1, FINAL, 3],
        }
    }

    fn eliminates_final(&self) -> bool {
        self.held[FINAL].is_none() && !self.searched().contains(&FINAL)
    }

    /// Lowest and highest value of each component.
    pub(super) fn bounds(&self) -> [(f64, f64); 4] {
        let most = if self.variant.constant { f64::INFINITY } else { 0.0 };
        let log_final = (SMALLEST_FINAL.ln(), BOUNDS.1.ln());
        let mut bounds = [(BOUNDS.0, self.upper_beta), BOUNDS, log_final, (0.0, most)];
        for (bound, held) in bounds.iter_mut().zip(self.held) {
            *bound = held.map_or(*bound, |value| (value, value));
        }
        bounds
    }

    /// The position of an estimate, moved to within the bounds.
    pub(super) fn position(&self, estimate: &GroupCoefficients) -> Position {
        let GroupCoefficients { beta, gamma, final_scale, constant_ms } = *estimate;
        self.clamp([beta, gamma, final_scale.max(SMALLEST_FINAL).ln(), constant_ms])
    }

    pub(super) fn clamp(&self, position: Position) -> Position {
        let bounds = self.bounds();
        [0, 1, 2, 3].map(|i| position[i].clamp(bounds[i].0, bounds[i].1))
    }

    /// `final` and the sum of squares; `None` where the formula has no value for some point (a
    /// bracket of 0 or below) or no finite one.
    pub(super) fn project(&self, position: &Position) -> Option<Projection> {
        let [beta, gamma, log_final, constant_ms] = *position;
        let mut shapes = Vec::with_capacity(self.points.len());
        for point in &*self.points {
            let bracket = bracket(point.ratio, beta);
            if bracket <= 0.0 {
                return None;
            }
            shapes.push(alpha(bracket, gamma) * point.flops);
        }
        let pairs = || self.points.iter().zip(&shapes);
        let final_scale = match (self.eliminates_final(), self.is_logarithmic()) {
            (false, _) => log_final.exp(),
            (true, false) => {
                let across =
                    pairs().map(|(p, shape)| (p.measured - constant_ms * p.weight) * shape);
                across.sum::<f64>() / shapes.iter().map(|shape| shape * shape).sum::<f64>()
            }
            (true, true) => {
                let weight = |p: &Point| p.weight * p.weight;
                let logs = pairs().map(|(p, shape)| weight(p) * (p.measured - shape.ln()));
                (logs.sum::<f64>() / self.points.iter().map(weight).sum::<f64>()).exp()
            }
        };
        let final_scale = final_scale.clamp(SMALLEST_FINAL, BOUNDS.1);
        let squares = pairs()
            .map(|(point, shape)| self.residual(point, final_scale * shape, constant_ms).powi(2));
        let sum = squares.sum::<f64>() + self.rest;
        sum.is_finite().then_some(Projection { final_scale, sum })
    }

    /// The sum of squares; infinite where the formula has no value.
    pub(super) fn sum(&self, position: &Position) -> f64 {
        self.project(position).map_or(f64::INFINITY, |projection| projection.sum)
    }

    /// Sum of the squared measurements: what rounding errors are relative to.
    pub(super) fn square_sum(&self) -> f64 {
        let weight = |point: &Point| if self.is_logarithmic() { point.weight } else { 1.0 };
        self.points.iter().map(|p| (weight(p) * p.measured).powi(2)).sum::<f64>() + self.rest
    }

    /// `part` is `final·f`.
    fn residual(&self, point: &Point, part: f64, constant_ms: f64) -> f64 {
        match self.is_logarithmic() {
            true => point.weight * ((part + constant_ms).ln() - point.measured),
            false => part + constant_ms * point.weight - point.measured,
        }
    }

    /// Residual and first derivatives of a point; its second derivatives, times the residual, are
    /// added to `curvature`.
    fn local(
        &self,
        point: &Point,
        position: &Position,
        final_scale: f64,
        curvature: &mut Matrix,
    ) -> Local {
        let [beta, gamma, _, constant_ms] = *position;
        let bracket = bracket(point.ratio, beta);
        let log = bracket.ln();
        let inner = (1.0 - point.ratio) / bracket;
        let shape = alpha(bracket, gamma) * point.flops;
        let part = final_scale * shape;
        let residual = self.residual(point, part, constant_ms);
        // e is T̂, or w·ln T̂ with the derivative w/T̂
        let (by_estimate, by_constant) = match self.is_logarithmic() {
            true => (point.weight / (part + constant_ms), 1.0),
            false => (1.0, point.weight),
        };
        let slopes =
            [part * gamma * inner, part * log, part, by_constant].map(|slope| by_estimate * slope);
        // second derivatives of `part`, times `scaled / part`
        let scaled = by_estimate * residual * part;
        let (by_beta, by_gamma) = (scaled * gamma * inner, scaled * log);
        curvature[0][0] += scaled * gamma * (gamma - 1.0) * inner * inner;
        curvature[0][1] += scaled * inner * (1.0 + gamma * log);
        curvature[1][1] += scaled * log * log;
        for (row, value) in [by_beta, by_gamma, scaled].into_iter().enumerate() {
            curvature[row][FINAL] += value;
        }
        if self.is_logarithmic() {
            let share = residual / point.weight;
            for i in 0..4 {
                for j in i..4 {
                    curvature[i][j] -= share * slopes[i] * slopes[j];
                }
            }
        }
        Local { residual, slopes, by_final: by_estimate * shape }
    }

    /// Gradient and Hessian of the cost; `None` as for [`project`](Self::project).
    ///
    /// With q the derivatives of the residuals, q̃ what is left of them after projecting out the
    /// derivative f by `final`, and e the residuals: gradient `q̃ᵀe`; Hessian `q̃ᵀq̃ + Σ e·∂²e −
    /// (a·sᵀ + s·aᵀ + s·sᵀ)/fᵀf`, where `a = qᵀf` and `s = Σ e·∂f` (the Schur complement of the full
    /// Hessian; of logarithms s is 0, and `s = qᵀe/final` of β and γ otherwise).
    ///
    /// Projecting column by column, instead of subtracting the sums, keeps the digits that
    /// cancellation would take.
    pub(super) fn derivatives(&self, position: &Position) -> Option<Derivatives> {
        let Projection { final_scale, .. } = self.project(position)?;
        let mut curvature = [[0.0; 4]; 4];
        let locals =
            self.points.iter().map(|p| self.local(p, position, final_scale, &mut curvature));
        let (mut gradient, mut gram) = ([0.0; 4], [[0.0; 4]; 4]);
        let mut add = |slopes: &Position, residual: f64| {
            for i in 0..4 {
                gradient[i] += slopes[i] * residual;
                for j in i..4 {
                    gram[i][j] += slopes[i] * slopes[j];
                }
            }
        };
        // at its bound `final` does not follow, so that there is nothing to project out
        let follows =
            self.eliminates_final() && SMALLEST_FINAL < final_scale && final_scale < BOUNDS.1;
        let (mut along, mut square) = ([0.0; 4], 1.0);
        if follows {
            let locals: Vec<Local> = locals.collect();
            let dot = |value: &dyn Fn(&Local) -> f64| -> f64 {
                locals.iter().map(|local| value(local) * local.by_final).sum()
            };
            square = dot(&|local| local.by_final);
            along = [0, 1, 2, 3].map(|i| dot(&|local| local.slopes[i]));
            let shares = along.map(|along| along / square);
            for Local { residual, slopes, by_final } in &locals {
                add(&[0, 1, 2, 3].map(|i| slopes[i] - shares[i] * by_final), *residual);
            }
        } else {
            locals.for_each(|local| add(&local.slopes, local.residual));
        }
        let bends = |i: usize| match follows && !self.is_logarithmic() && i < FINAL {
            true => gradient[i] / final_scale,
            false => 0.0,
        };
        let s = [0, 1, 2, 3].map(bends);
        let mut hessian = [[0.0; 4]; 4];
        for i in 0..4 {
            for j in i..4 {
                let schur = (along[i] * s[j] + s[i] * along[j] + s[i] * s[j]) / square;
                hessian[i][j] = gram[i][j] + curvature[i][j] - schur;
                hessian[j][i] = hessian[i][j];
            }
        }
        Some(Derivatives { gradient, hessian, lengths: [0, 1, 2, 3].map(|i| gram[i][i].sqrt()) })
    }

    /// The Jacobian's columns: derivatives of the residuals by β, γ, `final` and T₀, a value per
    /// point.
    pub(super) fn jacobian(&self, estimate: &GroupCoefficients) -> [Vec<f64>; 4] {
        let position = self.position(estimate);
        let mut columns: [Vec<f64>; 4] = Default::default();
        for point in &*self.points {
            let mut ignored = [[0.0; 4]; 4];
            let local = self.local(point, &position, estimate.final_scale, &mut ignored);
            let [by_beta, by_gamma, _, by_constant] = local.slopes;
            let slopes = [by_beta, by_gamma, local.by_final, by_constant];
            columns.iter_mut().zip(slopes).for_each(|(column, slope)| column.push(slope));
        }
        columns
    }
}

/// The formula's bracket b, of a `ratio` r.
pub(super) fn bracket(ratio: f64, beta: f64) -> f64 {
    ratio + beta * (1.0 - ratio)
}

/// The correction α = b^γ.
pub(super) fn alpha(bracket: f64, gamma: f64) -> f64 {
    bracket.powf(gamma)
}

/// ln α by ln b, which a row of the grid computes once for every γ.
pub(super) fn ln_alpha(ln_bracket: f64, gamma: f64) -> f64 {
    gamma * ln_bracket
}

impl CostFunction for LeastSquares {
    type Param = Position;
    type Output = f64;

    /// Infinite where the formula has no value, so that no step goes there.
    fn cost(&self, position: &Position) -> Result<f64, Error> {
        Ok(self.sum(position) / 2.0)
    }
}
