//! A bounded Newton method for two parameters, as an argmin solver.

use argmin::core::{Error, IterState, KV, Problem, Solver, TerminationReason, TerminationStatus};

use super::BOUNDS;
use super::group::{Derivatives, GroupProblem};

/// What argmin carries from one iteration to the next: `[β, γ]` and the cost.
pub(super) type FitState = IterState<[f64; 2], (), (), (), (), f64>;

/// More than any fit has been seen to take, by a factor of ten.
pub(super) const MAX_ITERATIONS: u64 = 5000;

/// Damped Newton steps, each the minimum of a quadratic model within the box of
/// [`GroupProblem::upper`].
///
/// A parameter at a bound whose gradient points outwards is held there (active set). The step uses
/// the exact Hessian, so that it converges quadratically even where residuals are large, in units
/// that give β and γ equal weight; negative curvature is turned around, so that every step
/// descends; the damping grows until a step is accepted.
///
/// It ends when the undamped step is too small to matter, not when the cost stops falling: along
/// nearly confounded parameters the cost is flat to the last digit long before they are right.
#[derive(Default)]
pub(super) struct BoundedNewton {
    damping: f64,
    previous_step: f64,
    outcome: Option<TerminationReason>,
}

/// Where a step leads, and what it promises.
struct Step {
    next: [f64; 2],
    /// Relative size of the larger component.
    size: f64,
    /// By how much the quadratic model falls.
    promise: f64,
}

impl BoundedNewton {
    pub(super) fn new() -> Self {
        Self { damping: 1e-3, previous_step: f64::INFINITY, outcome: None }
    }

    /// Takes the first step, of growing damping, that does not raise the cost.
    fn advance(
        &mut self,
        problem: &mut Problem<GroupProblem>,
        position: [f64; 2],
        upper: [f64; 2],
        [cost, noise]: [f64; 2],
        derivatives: &Derivatives,
    ) -> Result<([f64; 2], f64), Error> {
        while self.damping < 1e12 {
            let step = newton_step(position, derivatives, upper, self.damping);
            let next_cost = problem.cost(&step.next)?;
            if next_cost <= cost + noise {
                self.damping = if self.damping < 1e-9 { 0.0 } else { self.damping / 10.0 };
                return Ok((step.next, next_cost));
            }
            self.damping = (self.damping * 10.0).max(1e-9);
        }
        let reason = "no step lowers the residual sum, and the gradient is not zero";
        self.outcome = Some(TerminationReason::SolverExit(reason.into()));
        Ok((position, cost))
    }
}

impl Solver<GroupProblem, FitState> for BoundedNewton {
    fn name(&self) -> &str {
        "bounded Newton"
    }

    fn next_iter(
        &mut self,
        problem: &mut Problem<GroupProblem>,
        mut state: FitState,
    ) -> Result<(FitState, Option<KV>), Error> {
        let position = state.take_param().ok_or_else(|| Error::msg("no start was given"))?;
        let (derivatives, square_sum, upper) = problem.problem("derivative_count", |p| {
            Ok((p.derivatives(position), p.square_sum(), p.upper()))
        })?;
        let Some(derivatives) = derivatives else {
            let reason = TerminationReason::SolverExit("the formula has no value there".into());
            self.outcome = Some(reason);
            return Ok((state.param(position), None));
        };
        let cost = problem.cost(&position)?;
        // rounding in the sum, which must neither stop nor steer the last steps
        let noise = 1e-13 * cost + 1e-27 * square_sum;
        let undamped = newton_step(position, &derivatives, upper, 0.0);
        // at the noise floor the last steps no longer shrink
        let settled = undamped.promise <= noise && undamped.size >= self.previous_step / 2.0;
        self.previous_step = undamped.size;
        if undamped.size <= 1e-13 || settled {
            self.outcome = Some(TerminationReason::SolverConverged);
            return Ok((state.param(position).cost(cost), None));
        }
        let (position, cost) =
            self.advance(problem, position, upper, [cost, noise], &derivatives)?;
        Ok((state.param(position).cost(cost), None))
    }

    fn terminate(&mut self, _state: &FitState) -> TerminationStatus {
        match self.outcome.take() {
            Some(reason) => TerminationStatus::Terminated(reason),
            None => TerminationStatus::NotTerminated,
        }
    }
}

/// The step that minimises the quadratic model within the box, with the curvature's absolute value
/// plus `damping` (relative to the model's own curvature).
fn newton_step(
    position: [f64; 2],
    derivatives: &Derivatives,
    upper: [f64; 2],
    damping: f64,
) -> Step {
    let Derivatives { gradient, hessian, lengths } = derivatives;
    let is_free = |i: usize| {
        let (at_low, at_high) = (position[i] <= BOUNDS.0, position[i] >= upper[i]);
        !(at_low && gradient[i] >= 0.0 || at_high && gradient[i] <= 0.0)
    };
    let free = [0, 1].map(is_free);
    // in units in which the model's own curvature is 1 on the diagonal
    let unit = lengths.map(|length| if length > 0.0 { length } else { 1.0 });
    // a held parameter has no slope and no share in the other's curvature
    let slope = [0, 1].map(|i| if free[i] { gradient[i] / unit[i] } else { 0.0 });
    let curvature = |i: usize, j: usize| match free[i] && free[j] {
        true => hessian[i][j] / (unit[i] * unit[j]),
        false if i == j => hessian[i][i] / (unit[i] * unit[i]),
        false => 0.0,
    };
    let convex = convexified(curvature(0, 0), curvature(0, 1), curvature(1, 1), damping);
    let model = BoxedQuadratic {
        slope,
        curvature: convex,
        low: [0, 1].map(|i| if free[i] { (BOUNDS.0 - position[i]) * unit[i] } else { 0.0 }),
        high: [0, 1].map(|i| if free[i] { (upper[i] - position[i]) * unit[i] } else { 0.0 }),
    };
    let minimum = model.minimum();
    let next = [0, 1].map(|i| match minimum[i] {
        // exactly onto the bound: next to it, a parameter would count as free
        _ if !free[i] => position[i],
        s if s <= model.low[i] => BOUNDS.0,
        s if s >= model.high[i] => upper[i],
        s => (position[i] + s / unit[i]).clamp(BOUNDS.0, upper[i]),
    });
    let relative = [0, 1].map(|i| (next[i] - position[i]).abs() / (position[i] + 1e-9));
    Step { next, size: relative[0].max(relative[1]), promise: -model.value(minimum) }
}

/// `slope·s + ½·sᵀ·curvature·s` over a box that contains 0, the curvature positive definite.
struct BoxedQuadratic {
    slope: [f64; 2],
    curvature: [[f64; 2]; 2],
    low: [f64; 2],
    high: [f64; 2],
}

impl BoxedQuadratic {
    fn value(&self, [x, y]: [f64; 2]) -> f64 {
        let [[a, b], [_, c]] = self.curvature;
        self.slope[0] * x + self.slope[1] * y + (a * x * x + 2.0 * b * x * y + c * y * y) / 2.0
    }

    /// The unconstrained minimum where it lies in the box, and else the best on the four edges.
    ///
    /// Clipping the unconstrained step instead would leave the other component meant for a point
    /// that is never reached, and the search would zigzag along the bound.
    fn minimum(&self) -> [f64; 2] {
        let [[a, b], [_, c]] = self.curvature;
        let determinant = a * c - b * b;
        let inner = [
            (b * self.slope[1] - c * self.slope[0]) / determinant,
            (b * self.slope[0] - a * self.slope[1]) / determinant,
        ];
        if [0, 1].iter().all(|&i| self.low[i] <= inner[i] && inner[i] <= self.high[i]) {
            return inner;
        }
        let mut best = [0.0; 2];
        for fixed in [0, 1] {
            let other = 1 - fixed;
            for bound in [self.low[fixed], self.high[fixed]] {
                let slope = self.slope[other] + b * bound;
                let along = -slope / self.curvature[other][other];
                let mut candidate = [bound; 2];
                candidate[other] = along.max(self.low[other]).min(self.high[other]);
                if self.value(candidate) < self.value(best) {
                    best = candidate;
                }
            }
        }
        best
    }
}

/// The symmetric matrix `[[a, b], [b, c]]` with the absolute values of its eigenvalues, `damping`
/// added.
fn convexified(a: f64, b: f64, c: f64, damping: f64) -> [[f64; 2]; 2] {
    let mut sum = [[0.0; 2]; 2];
    for (eigenvalue, vector) in eigenpairs(a, b, c) {
        // below 1e-12 of the diagonal, curvature is rounding
        let stiffness = eigenvalue.abs().max(1e-12) + damping;
        for (i, row) in sum.iter_mut().enumerate() {
            for (j, entry) in row.iter_mut().enumerate() {
                *entry += stiffness * vector[i] * vector[j];
            }
        }
    }
    sum
}

/// Eigenvalues and unit eigenvectors of the symmetric matrix `[[a, b], [b, c]]`.
fn eigenpairs(a: f64, b: f64, c: f64) -> [(f64, [f64; 2]); 2] {
    // Jacobi's rotation that makes the matrix diagonal
    let angle = 0.5 * (2.0 * b).atan2(a - c);
    let (sin, cos) = angle.sin_cos();
    let along = |x: f64, y: f64| a * x * x + 2.0 * b * x * y + c * y * y;
    [(along(cos, sin), [cos, sin]), (along(-sin, cos), [-sin, cos])]
}
