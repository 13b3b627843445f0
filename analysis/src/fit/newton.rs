//! A bounded Newton method, as an argmin solver.

#![allow(clippy::needless_range_loop, reason = "matrices are written by their indices")]

use argmin::core::{Error, IterState, KV, Problem, Solver, TerminationReason, TerminationStatus};

use super::problem::{Derivatives, FINAL, LeastSquares, Matrix, Position};

/// What argmin carries from one iteration to the next: the position and the cost.
pub(super) type FitState = IterState<Position, (), (), (), (), f64>;

/// More than any fit has been seen to take, by a factor of ten.
pub(super) const MAX_ITERATIONS: u64 = 5000;

/// Damped Newton steps, each the minimum of a quadratic model within the problem's bounds.
///
/// A component at a bound whose gradient points outwards is held there (active set). The step uses
/// the exact Hessian, so that it converges quadratically even where residuals are large (by Gauss's
/// approximation alone it would creep there), in units that give all components equal weight;
/// negative curvature is turned around, so that every step descends; the damping grows until a step
/// is accepted.
///
/// It ends when the undamped step is too small to matter, not when the cost stops falling: along
/// nearly confounded parameters the cost is flat to the last digit long before they are right.
pub(super) struct BoundedNewton {
    damping: f64,
    previous_step: f64,
    outcome: Option<TerminationReason>,
}

/// What a step is made of.
struct Here {
    position: Position,
    derivatives: Derivatives,
    bounds: [(f64, f64); 4],
    searched: &'static [usize],
}

/// Where a step leads, and what it promises.
struct Step {
    next: Position,
    /// Relative size of the largest component.
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
        problem: &mut Problem<LeastSquares>,
        here: &Here,
        highest_cost: f64,
    ) -> Result<Option<(Position, f64)>, Error> {
        while self.damping < 1e12 {
            let Step { next, .. } = here.step(self.damping);
            let next_cost = problem.cost(&next)?;
            if next_cost <= highest_cost {
                self.damping = if self.damping < 1e-9 { 0.0 } else { self.damping / 10.0 };
                return Ok(Some((next, next_cost)));
            }
            self.damping = (self.damping * 10.0).max(1e-9);
        }
        Ok(None)
    }
}

impl Solver<LeastSquares, FitState> for BoundedNewton {
    fn name(&self) -> &str {
        "bounded Newton"
    }

    fn next_iter(
        &mut self,
        problem: &mut Problem<LeastSquares>,
        mut state: FitState,
    ) -> Result<(FitState, Option<KV>), Error> {
        let position = state.take_param().ok_or_else(|| Error::msg("no start was given"))?;
        let (derivatives, square_sum, bounds, searched) = problem.problem("derivatives", |p| {
            Ok((p.derivatives(&position), p.square_sum(), p.bounds(), p.searched()))
        })?;
        let Some(derivatives) = derivatives else {
            let reason = TerminationReason::SolverExit("the formula has no value there".into());
            self.outcome = Some(reason);
            return Ok((state.param(position), None));
        };
        let cost = problem.cost(&position)?;
        // rounding in the sum, which must neither stop nor steer the last steps
        let noise = 1e-13 * cost + 1e-27 * square_sum;
        let here = Here { position, derivatives, bounds, searched };
        let undamped = here.step(0.0);
        // at the noise floor the last steps no longer shrink
        let settled = undamped.promise <= noise && undamped.size >= self.previous_step / 2.0;
        self.previous_step = undamped.size;
        if undamped.size <= 1e-13 || settled {
            self.outcome = Some(TerminationReason::SolverConverged);
            return Ok((state.param(position).cost(cost), None));
        }
        let Some((position, cost)) = self.advance(problem, &here, cost + noise)? else {
            let reason = "no step lowers the sum of squares, and the gradient is not zero";
            self.outcome = Some(TerminationReason::SolverExit(reason.into()));
            return Ok((state.param(position).cost(cost), None));
        };
        Ok((state.param(position).cost(cost), None))
    }

    fn terminate(&mut self, _state: &FitState) -> TerminationStatus {
        match self.outcome.take() {
            Some(reason) => TerminationStatus::Terminated(reason),
            None => TerminationStatus::NotTerminated,
        }
    }
}

impl Here {
    /// The step that minimises the quadratic model within the bounds, with the curvature's absolute
    /// value plus `damping` (relative to the model's own curvature).
    fn step(&self, damping: f64) -> Step {
        let Self { position, bounds, searched, .. } = self;
        let Derivatives { gradient, hessian, lengths } = &self.derivatives;
        let free = [0, 1, 2, 3].map(|i| {
            let (at_low, at_high) = (position[i] <= bounds[i].0, position[i] >= bounds[i].1);
            !(at_low && gradient[i] >= 0.0 || at_high && gradient[i] <= 0.0)
        });
        // in units in which the model's own curvature is 1 on the diagonal
        let unit = lengths.map(|length| if length > 0.0 { length } else { 1.0 });
        let mut curvature = [[0.0; 4]; 4];
        for i in 0..4 {
            // a held component has no slope and no share in the others' curvature
            for j in (0..4).filter(|j| i == *j || free[i] && free[*j]) {
                curvature[i][j] = hessian[i][j] / (unit[i] * unit[j]);
            }
        }
        let to = |bound: f64, i: usize| if free[i] { (bound - position[i]) * unit[i] } else { 0.0 };
        let model = BoxedQuadratic {
            slope: [0, 1, 2, 3].map(|i| if free[i] { gradient[i] / unit[i] } else { 0.0 }),
            curvature: convexified(&curvature, searched, damping),
            low: [0, 1, 2, 3].map(|i| to(bounds[i].0, i)),
            high: [0, 1, 2, 3].map(|i| to(bounds[i].1, i)),
        };
        let minimum = model.minimum(searched, [0.0; 4]);
        let (mut next, mut size) = (*position, 0.0f64);
        for &i in searched.iter().filter(|i| free[**i]) {
            let (low, high) = bounds[i];
            next[i] = match minimum[i] {
                // exactly onto the bound: next to it, a component would count as free
                s if s <= model.low[i] => low,
                s if s >= model.high[i] => high,
                s => (position[i] + s / unit[i]).clamp(low, high),
            };
            // of a logarithm, a difference is relative as it is
            let scale = if i == FINAL { 1.0 } else { position[i] + 1e-9 };
            size = size.max((next[i] - position[i]).abs() / scale);
        }
        Step { next, size, promise: -model.value(&minimum) }
    }
}

/// `slope·s + ½·sᵀ·curvature·s` over a box that contains 0, the curvature positive definite.
struct BoxedQuadratic {
    slope: Position,
    curvature: Matrix,
    low: Position,
    high: Position,
}

impl BoxedQuadratic {
    fn value(&self, at: &Position) -> f64 {
        let linear: f64 = self.slope.iter().zip(at).map(|(slope, s)| slope * s).sum();
        linear + quadratic(&self.curvature, at) / 2.0
    }

    /// The minimum over the components `open`, the others staying `at` theirs: the unconstrained one
    /// where it lies in the box, and else the best on its faces.
    ///
    /// Clipping the unconstrained step instead would leave the other components meant for a point
    /// that is never reached, and the search would zigzag along the bound.
    fn minimum(&self, open: &[usize], at: Position) -> Position {
        let mut slope = self.slope;
        for (slope, row) in slope.iter_mut().zip(&self.curvature) {
            *slope += row.iter().zip(at).map(|(curvature, s)| curvature * s).sum::<f64>();
        }
        let inner = stationary(&self.curvature, &slope, open);
        let mut moved = at;
        open.iter().for_each(|&i| moved[i] = inner[i]);
        if open.iter().all(|&i| self.low[i] <= inner[i] && inner[i] <= self.high[i]) {
            return moved;
        }
        if let [i] = *open {
            moved[i] = inner[i].max(self.low[i]).min(self.high[i]);
            return moved;
        }
        let mut best = [0.0; 4];
        for &fixed in open {
            let others: Vec<usize> = open.iter().copied().filter(|i| *i != fixed).collect();
            for bound in [self.low[fixed], self.high[fixed]].into_iter().filter(|b| b.is_finite()) {
                let mut candidate = at;
                candidate[fixed] = bound;
                candidate = self.minimum(&others, candidate);
                if self.value(&candidate) < self.value(&best) {
                    best = candidate;
                }
            }
        }
        best
    }
}

/// Where `slope·s + ½·sᵀ·matrix·s` is stationary in the components `open`; the others are 0.
fn stationary(matrix: &Matrix, slope: &Position, open: &[usize]) -> Position {
    let mut at = [0.0; 4];
    match *open {
        [] => {}
        [i] => at[i] = -slope[i] / matrix[i][i],
        [i, j] => {
            let (a, b, c) = (matrix[i][i], matrix[i][j], matrix[j][j]);
            let determinant = a * c - b * b;
            at[i] = (b * slope[j] - c * slope[i]) / determinant;
            at[j] = (b * slope[i] - a * slope[j]) / determinant;
        }
        [ref others @ .., last] => {
            // the last component eliminated
            let (mut reduced, mut reduced_slope) = (*matrix, *slope);
            for &i in others {
                let share = matrix[i][last] / matrix[last][last];
                reduced_slope[i] -= share * slope[last];
                others.iter().for_each(|&j| reduced[i][j] -= share * matrix[last][j]);
            }
            at = stationary(&reduced, &reduced_slope, others);
            let along: f64 = others.iter().map(|&i| matrix[last][i] * at[i]).sum();
            at[last] = -(slope[last] + along) / matrix[last][last];
        }
    }
    at
}

/// `sᵀ·matrix·s` of a symmetric matrix.
fn quadratic(matrix: &Matrix, s: &Position) -> f64 {
    let mut sum = 0.0;
    for i in 0..4 {
        for j in 0..i {
            sum += 2.0 * matrix[j][i] * s[j] * s[i];
        }
        sum += matrix[i][i] * s[i] * s[i];
    }
    sum
}

/// The symmetric matrix over the components `open` with the absolute values of its eigenvalues,
/// `damping` added.
fn convexified(matrix: &Matrix, open: &[usize], damping: f64) -> Matrix {
    let vectors = eigenvectors(matrix, open);
    let mut sum = [[0.0; 4]; 4];
    for &k in open {
        let vector = vectors.map(|row| row[k]);
        // below 1e-12 of the diagonal, curvature is rounding
        let stiffness = quadratic(matrix, &vector).abs().max(1e-12) + damping;
        for &i in open {
            for &j in open {
                sum[i][j] += stiffness * vector[i] * vector[j];
            }
        }
    }
    sum
}

/// Orthonormal columns that make the symmetric matrix over the components `open` diagonal, by
/// Jacobi's rotations.
fn eigenvectors(matrix: &Matrix, open: &[usize]) -> Matrix {
    let mut vectors = [[0.0; 4]; 4];
    open.iter().for_each(|&i| vectors[i][i] = 1.0);
    let mut rotated = *matrix;
    // one rotation does for two components, and a handful of rounds for four
    let rounds = if open.len() == 2 { 1 } else { 12 };
    for _ in 0..rounds {
        for (place, &p) in open.iter().enumerate() {
            for &q in &open[place + 1..] {
                let off = 2.0 * rotated[p][q];
                let angle = 0.5 * off.atan2(rotated[p][p] - rotated[q][q]);
                let (sin, cos) = angle.sin_cos();
                let turn = |a: f64, b: f64| (cos * a + sin * b, cos * b - sin * a);
                for row in rotated.iter_mut().chain(&mut vectors) {
                    (row[p], row[q]) = turn(row[p], row[q]);
                }
                for column in 0..4 {
                    (rotated[p][column], rotated[q][column]) =
                        turn(rotated[p][column], rotated[q][column]);
                }
            }
        }
    }
    vectors
}
