//! A bounded Newton method for two parameters, as an argmin solver.

use argmin::core::{Error, IterState, KV, Problem, Solver, TerminationReason, TerminationStatus};

use super::BOUNDS;
use super::group::{Derivatives, GroupProblem};

/// What argmin carries from one iteration to the next: `[β, γ]` and the cost.
pub(super) type FitState = IterState<[f64; 2], (), (), (), (), f64>;

/// More than any fit has been seen to take, by a factor of ten.
pub(super) const MAX_ITERATIONS: u64 = 500;

/// Damped Newton steps on the free parameters, projected onto the box [`BOUNDS`].
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

/// A step, and what it promises.
struct Step {
    direction: [f64; 2],
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
        cost: f64,
        noise: f64,
        derivatives: &Derivatives,
    ) -> Result<([f64; 2], f64), Error> {
        for _ in 0..60 {
            let step = newton_step(position, derivatives, self.damping);
            let next = [0, 1].map(|i| (position[i] + step.direction[i]).clamp(BOUNDS.0, BOUNDS.1));
            let next_cost = problem.cost(&next)?;
            if next_cost <= cost + noise {
                self.damping = if self.damping < 1e-9 { 0.0 } else { self.damping / 10.0 };
                return Ok((next, next_cost));
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
        let derivatives = problem
            .problem("derivative_count", |p| Ok((p.derivatives(position), p.square_sum())))?;
        let (Some(derivatives), square_sum) = derivatives else {
            let reason = TerminationReason::SolverExit("the formula has no value there".into());
            self.outcome = Some(reason);
            return Ok((state.param(position), None));
        };
        let cost = problem.cost(&position)?;
        // rounding in the sum, which must neither stop nor steer the last steps
        let noise = 1e-13 * cost + 1e-27 * square_sum;
        let undamped = newton_step(position, &derivatives, 0.0);
        // at the noise floor the last steps no longer shrink
        let settled = undamped.promise <= noise && undamped.size >= self.previous_step / 2.0;
        self.previous_step = undamped.size;
        if undamped.size <= 1e-13 || settled {
            self.outcome = Some(TerminationReason::SolverConverged);
            return Ok((state.param(position).cost(cost), None));
        }
        let (position, cost) = self.advance(problem, position, cost, noise, &derivatives)?;
        Ok((state.param(position).cost(cost), None))
    }

    fn terminate(&mut self, _state: &FitState) -> TerminationStatus {
        match self.outcome.take() {
            Some(reason) => TerminationStatus::Terminated(reason),
            None => TerminationStatus::NotTerminated,
        }
    }
}

/// The step that minimises the quadratic model over the free parameters, with the curvature's
/// absolute value plus `damping` (relative to the model's own curvature).
fn newton_step(position: [f64; 2], derivatives: &Derivatives, damping: f64) -> Step {
    let Derivatives { gradient, hessian, lengths } = derivatives;
    let is_free = |i: usize| {
        let (at_low, at_high) = (position[i] <= BOUNDS.0, position[i] >= BOUNDS.1);
        !(at_low && gradient[i] >= 0.0 || at_high && gradient[i] <= 0.0)
    };
    // in units in which the model's own curvature is 1 on the diagonal
    let unit = lengths.map(|length| if length > 0.0 { length } else { 1.0 });
    let g = [0, 1].map(|i| if is_free(i) { gradient[i] / unit[i] } else { 0.0 });
    let h = |i: usize, j: usize| match is_free(i) && is_free(j) {
        true => hessian[i][j] / (unit[i] * unit[j]),
        false => f64::from(u8::from(i == j)),
    };
    let mut scaled = [0.0; 2];
    let mut promise = 0.0;
    for (curvature, vector) in eigenpairs(h(0, 0), h(0, 1), h(1, 1)) {
        // below 1e-12 of the diagonal, curvature is rounding
        let stiffness = curvature.abs().max(1e-12) + damping;
        let slope = vector[0] * g[0] + vector[1] * g[1];
        scaled = [0, 1].map(|i| scaled[i] - vector[i] * slope / stiffness);
        promise += slope * slope / (2.0 * stiffness);
    }
    let direction = [0, 1].map(|i| scaled[i] / unit[i]);
    let relative = [0, 1].map(|i| direction[i].abs() / (position[i] + 1e-9));
    Step { direction, size: relative[0].max(relative[1]), promise }
}

/// Eigenvalues and unit eigenvectors of the symmetric matrix `[[a, b], [b, c]]`.
fn eigenpairs(a: f64, b: f64, c: f64) -> [(f64, [f64; 2]); 2] {
    // Jacobi's rotation that makes the matrix diagonal
    let angle = 0.5 * (2.0 * b).atan2(a - c);
    let (sin, cos) = angle.sin_cos();
    let along = |x: f64, y: f64| a * x * x + 2.0 * b * x * y + c * y * y;
    [(along(cos, sin), [cos, sin]), (along(-sin, cos), [-sin, cos])]
}
