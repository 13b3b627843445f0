//! Other objectives than the published one, and a constant time T₀ for the launch.
//!
//! Least squares of residuals e over β, γ, `final` and, if asked for, T₀ ≥ 0:
//!
//! ```text
//! absolute   e = T̂ − T          as published: the longest convolutions decide
//! relative   e = T̂/T − 1        every convolution counts alike; estimates too low are punished less
//! log        e = ln T̂ − ln T    the same without that lean: half and double are equally wrong
//! ```
//!
//! Absolute and relative residuals reduce to two rows a cluster (see [`reduction`], with weights
//! 1/T). Logarithms reduce to a row per `S_K/S` without T₀, where `ln T̂ − ln F` depends on it alone,
//! and with T₀ to one per distinct `(S_K/S, F)`.
//!
//! The search is Newton's, damped as by Levenberg and Marquardt, within the bounds, from the best
//! places of a grid. Where the objective is not convex, Gauss's approximation of its curvature stands
//! in, which alone would creep: residuals are large, and their curvature counts.
//!
//! [`reduction`]: super::reduction

use std::collections::BTreeMap;

use super::BOUNDS;
use super::reduction::Reduction;
use super::sample::{GroupSample, Row};
use crate::model::{GroupCoefficients, Objective};

/// What is minimised, and whether there is a T₀.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// How residuals are measured.
    pub objective: Objective,
    /// Whether T₀ is fitted; it is 0 otherwise.
    pub constant: bool,
}

impl Variant {
    /// As both studies fit.
    pub const PUBLISHED: Self = Self { objective: Objective::Absolute, constant: false };

    /// Every one, the published first.
    pub const ALL: [Self; 6] = [
        Self::PUBLISHED,
        Self { objective: Objective::Absolute, constant: true },
        Self { objective: Objective::Relative, constant: false },
        Self { objective: Objective::Relative, constant: true },
        Self { objective: Objective::Log, constant: false },
        Self { objective: Objective::Log, constant: true },
    ];
}

/// β, γ, ln `final` (near-linear in logarithms, and never below 0), T₀.
pub(super) type Position = [f64; 4];
type Matrix = [[f64; 4]; 4];

/// Half the objective's derivatives at a position.
struct Local {
    gradient: Position,
    /// The curvature if residuals were straight.
    gauss: Matrix,
    /// The curvature.
    newton: Matrix,
}

/// `final` below this is none.
const SMALLEST_FINAL: f64 = 1e-12;
const MAX_ITERATIONS: usize = 2000;
/// Cosine of the angle between residuals and each derivative at which a minimum is accepted.
const ORTHOGONAL: f64 = 1e-8;
/// The same where rounding ends the search before.
const NEARLY_ORTHOGONAL: f64 = 1e-5;
/// Rows that rank the grid: it only says where to start.
const RANKING_ROWS: usize = 1000;
/// Basins that are descended into, at most.
const STARTS: usize = 24;
const BETA_STEPS: usize = 50;
const GAMMA_STEPS: usize = 36;

/// 0, then logarithmic from 10⁻⁷, and at the end exactly `upper`.
fn beta_at(step: usize, upper: f64) -> f64 {
    match step {
        0 => BOUNDS.0,
        BETA_STEPS => upper,
        step => 1e-7 * (upper / 1e-7).powf((step - 1) as f64 / (BETA_STEPS - 1) as f64),
    }
}

fn gamma_at(step: usize) -> f64 {
    BOUNDS.0 + (BOUNDS.1 - BOUNDS.0) * step as f64 / GAMMA_STEPS as f64
}

/// A row of the reduced problem.
#[derive(Clone, Copy)]
struct Reduced {
    ratio: f64,
    flops: f64,
    /// Of T₀; of a logarithm, the weight of the residual.
    constant: f64,
    /// What is compared with.
    measured: f64,
}

/// The reduced problem of one group.
#[derive(Clone)]
pub(super) struct VariantProblem {
    rows: Vec<Reduced>,
    /// What no parameter changes.
    rest: f64,
    variant: Variant,
    /// Components that are held, and where.
    held: [Option<f64>; 4],
    /// Largest β at which all brackets are above 0.
    upper_beta: f64,
}

/// A stationary point within the bounds.
#[derive(Clone, Debug)]
pub(super) struct VariantOptimum {
    pub estimate: GroupCoefficients,
    pub objective_sum: f64,
    /// Derivatives of the residuals by β, γ, `final` and T₀, a column each.
    pub columns: [Vec<f64>; 4],
    /// Which parameters the bounds have set.
    pub at_bound: [bool; 4],
}

impl VariantProblem {
    pub(super) fn new(sample: &GroupSample, variant: Variant) -> Self {
        let largest = sample.clusters.iter().fold(0.0, |max: f64, c| max.max(c.ratio));
        let edge = if largest > 1.0 { largest / (largest - 1.0) * (1.0 - 1e-12) } else { BOUNDS.1 };
        let (rows, rest) = match variant.objective {
            Objective::Absolute => linear(sample, |_| 1.0),
            Objective::Relative => linear(sample, |row| 1.0 / row.measured_ms),
            Objective::Log => logarithmic(sample, variant.constant),
        };
        Self { rows, rest, variant, held: [None; 4], upper_beta: edge.min(BOUNDS.1) }
    }

    /// Residual, and its derivatives by the position's components.
    fn row(&self, row: &Reduced, [beta, gamma, log_final, constant]: Position) -> (f64, Position) {
        let base = row.ratio + beta * (1.0 - row.ratio);
        let log = base.ln();
        let part = (log_final + gamma * log).exp() * row.flops;
        let slopes = [part * gamma * (1.0 - row.ratio) / base, part * log, part];
        if self.variant.objective != Objective::Log {
            let residual = part + constant * row.constant - row.measured;
            return (residual, [slopes[0], slopes[1], slopes[2], row.constant]);
        }
        let estimate = part + constant;
        let scale = row.constant / estimate;
        let residual = row.constant * (estimate.ln() - row.measured);
        (residual, [slopes[0] * scale, slopes[1] * scale, slopes[2] * scale, scale])
    }

    pub(super) fn sum(&self, position: Position) -> f64 {
        let squares = self.rows.iter().map(|row| self.row(row, position).0.powi(2));
        let sum = squares.sum::<f64>();
        if sum.is_finite() { sum + self.rest } else { f64::INFINITY }
    }

    /// What a step is made of.
    fn slopes_and_curvature(&self, position: Position) -> Local {
        let mut local = Local { gradient: [0.0; 4], gauss: [[0.0; 4]; 4], newton: [[0.0; 4]; 4] };
        for row in &self.rows {
            let (residual, slopes) = self.row(row, position);
            let bends = self.bends(row, position);
            for i in 0..4 {
                local.gradient[i] += residual * slopes[i];
                for j in 0..4 {
                    let gauss = slopes[i] * slopes[j];
                    local.gauss[i][j] += gauss;
                    local.newton[i][j] += gauss + residual * bends[i][j];
                }
            }
        }
        local
    }

    /// Second derivatives of the residual.
    fn bends(&self, row: &Reduced, [beta, gamma, log_final, constant]: Position) -> Matrix {
        let base = row.ratio + beta * (1.0 - row.ratio);
        let (log, inner) = (base.ln(), (1.0 - row.ratio) / base);
        let part = (log_final + gamma * log).exp() * row.flops;
        let slopes = [part * gamma * inner, part * log, part, 1.0];
        let mut bends = [[0.0; 4]; 4];
        bends[0][0] = slopes[0] * (gamma - 1.0) * inner;
        bends[0][1] = part * inner * (1.0 + gamma * log);
        bends[1][0] = bends[0][1];
        bends[1][1] = slopes[1] * log;
        for i in 0..3 {
            // part is an exponential of log_final
            (bends[i][2], bends[2][i]) = (slopes[i], slopes[i]);
        }
        if self.variant.objective == Objective::Log {
            let estimate = part + constant;
            for (i, bends) in bends.iter_mut().enumerate() {
                for (bend, slope) in bends.iter_mut().zip(slopes) {
                    *bend = row.constant / estimate * (*bend - slopes[i] * slope / estimate);
                }
            }
        }
        bends
    }

    fn bounds(&self) -> [(f64, f64); 4] {
        let most = if self.variant.constant { f64::INFINITY } else { 0.0 };
        let final_scale = (SMALLEST_FINAL.ln(), BOUNDS.1.ln());
        let mut bounds = [(BOUNDS.0, self.upper_beta), BOUNDS, final_scale, (0.0, most)];
        for (bound, held) in bounds.iter_mut().zip(self.held) {
            *bound = held.map_or(*bound, |value| (value, value));
        }
        bounds
    }

    /// The same problem with component `index` held at `value`.
    pub(super) fn holding(&self, index: usize, value: f64) -> Self {
        let mut held = self.clone();
        held.held[index] = Some(value);
        held
    }

    /// Where an estimate is.
    pub(super) fn position(&self, estimate: &GroupCoefficients) -> Position {
        let GroupCoefficients { beta, gamma, final_scale, constant_ms } = *estimate;
        [beta, gamma, final_scale.max(SMALLEST_FINAL).ln(), constant_ms]
    }

    /// How far component `index` can go from `best` in the direction of `step` until the objective,
    /// minimised over the others, exceeds `threshold`; the bound where it never does.
    pub(super) fn profile_end(
        &self,
        best: Position,
        index: usize,
        mut step: f64,
        threshold: f64,
    ) -> f64 {
        let (low, high) = self.bounds()[index];
        let bound = if step < 0.0 { low } else { high };
        let mut from = best;
        let mut exceeds = |value: f64| {
            let held = self.holding(index, value);
            let (position, _) = held.descend(from);
            let sum = held.sum(position);
            if sum.is_finite() {
                from = position;
            }
            sum > threshold
        };
        let (mut inside, mut outside) = (best[index], bound);
        for _ in 0..60 {
            let next = (inside + step).clamp(low, high);
            if exceeds(next) {
                outside = next;
                break;
            }
            if next == bound {
                return bound;
            }
            (inside, step) = (next, 2.0 * step);
        }
        // to a ten-thousandth of the last step
        for _ in 0..14 {
            let middle = f64::midpoint(inside, outside);
            match exceeds(middle) {
                true => outside = middle,
                false => inside = middle,
            }
        }
        inside
    }

    /// The least objective within the bounds, `start` being one candidate more.
    pub(super) fn optimum(&self, start: &GroupCoefficients) -> Result<VariantOptimum, String> {
        let log_final = start.final_scale.max(SMALLEST_FINAL).ln();
        let users = [start.beta.min(self.upper_beta), start.gamma, log_final, 0.0];
        let mut best: Option<(f64, Result<Position, String>)> = None;
        for start in self.starts().into_iter().chain([users]) {
            let (position, converged) = self.descend(start);
            let sum = self.sum(position);
            // of ends that differ by rounding the first counts
            if best.as_ref().is_none_or(|(least, end)| {
                sum < least * (1.0 - 1e-10) || (end.is_err() && converged && sum <= *least)
            }) {
                let reason = "no step lowers the objective, and the gradient is not zero";
                best = Some((sum, if converged { Ok(position) } else { Err(reason.into()) }));
            }
        }
        let (sum, position) = best.ok_or("the formula has no value there")?;
        Ok(self.finish(position?, sum))
    }

    fn finish(&self, position: Position, objective_sum: f64) -> VariantOptimum {
        let [beta, gamma, log_final, constant_ms] = position;
        let final_scale = log_final.exp().min(BOUNDS.1);
        let mut columns: [Vec<f64>; 4] = Default::default();
        for row in &self.rows {
            let mut slopes = self.row(row, position).1;
            slopes[2] /= final_scale;
            columns.iter_mut().zip(slopes).for_each(|(column, slope)| column.push(slope));
        }
        let bounds = self.bounds();
        VariantOptimum {
            estimate: GroupCoefficients { beta, gamma, final_scale, constant_ms },
            objective_sum,
            columns,
            at_bound: [0, 1, 2, 3]
                .map(|i| position[i] <= bounds[i].0 || position[i] >= bounds[i].1),
        }
    }

    /// Where the descent ends, and whether the gradient vanishes there.
    pub(super) fn descend(&self, start: Position) -> (Position, bool) {
        let bounds = self.bounds();
        let mut position = [0, 1, 2, 3].map(|i| start[i].clamp(bounds[i].0, bounds[i].1));
        let (mut sum, mut damping) = (self.sum(position), 1e-3);
        // what rounding errors of a sum of squared residuals are relative to
        let scale = self.rows.iter().map(|row| row.measured.powi(2)).sum::<f64>() + self.rest;
        for _ in 0..MAX_ITERATIONS {
            let Local { gradient, gauss, newton } = self.slopes_and_curvature(position);
            let free = [0, 1, 2, 3].map(|i| {
                let (at_low, at_high) = (position[i] <= bounds[i].0, position[i] >= bounds[i].1);
                gauss[i][i] > 0.0
                    && !(at_low && gradient[i] >= 0.0)
                    && !(at_high && gradient[i] <= 0.0)
            });
            let angle = |i: usize| gradient[i].abs() / (gauss[i][i] * sum).sqrt();
            let angle = (0..4).filter(|i| free[*i]).map(angle).fold(0.0, f64::max);
            if angle <= ORTHOGONAL || sum <= 1e-27 * scale {
                return (position, true);
            }
            loop {
                let step = solve(newton, gradient, free, damping)
                    .or_else(|| solve(gauss, gradient, free, damping));
                let next = step.map_or(position, |step| {
                    [0, 1, 2, 3].map(|i| (position[i] - step[i]).clamp(bounds[i].0, bounds[i].1))
                });
                let next_sum = self.sum(next);
                if next_sum < sum {
                    (position, sum, damping) = (next, next_sum, (damping / 10.0).max(1e-15));
                    break;
                }
                damping *= 10.0;
                if damping > 1e12 {
                    // residuals that are rounding alone have no direction
                    return (position, angle <= NEARLY_ORTHOGONAL || sum <= 1e-20 * scale);
                }
            }
        }
        (position, sum <= 1e-20 * scale)
    }

    /// The places of a grid over (β, γ) that are no higher than their neighbours, lowest first, with
    /// `final` and T₀ roughly fitted at each: each may lie in a basin of its own, where the lowest
    /// places alone would all lie in one.
    fn starts(&self) -> Vec<Position> {
        let stride = self.rows.len().div_ceil(RANKING_ROWS);
        let rows: Vec<Reduced> = self.rows.iter().step_by(stride).copied().collect();
        let few = Self { rows, rest: 0.0, ..self.clone() };
        let best = |i: usize, j: usize| {
            let places = few.linear_part(beta_at(i, self.upper_beta), gamma_at(j));
            let ranked = places.into_iter().map(|position| (few.sum(position), position));
            ranked.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, [0.0; 4]))
        };
        let grid: Vec<Vec<(f64, Position)>> =
            (0..=BETA_STEPS).map(|i| (0..=GAMMA_STEPS).map(|j| best(i, j)).collect()).collect();
        let lowest = |i: usize, j: usize| {
            let near = |k: usize, most: usize| k.saturating_sub(1)..=(k + 1).min(most);
            let mut around =
                near(i, BETA_STEPS).flat_map(|a| near(j, GAMMA_STEPS).map(move |b| (a, b)));
            around.all(|(a, b)| grid[i][j].0 <= grid[a][b].0)
        };
        let places = (0..=BETA_STEPS).flat_map(|i| (0..=GAMMA_STEPS).map(move |j| (i, j)));
        let basins = places.filter(|&(i, j)| grid[i][j].0.is_finite() && lowest(i, j));
        let mut ranked: Vec<(f64, Position)> = basins.map(|(i, j)| grid[i][j]).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.into_iter().take(STARTS).map(|(_, position)| position).collect()
    }

    /// `final` and T₀ for given β and γ, exact but for logarithms with T₀.
    fn linear_part(&self, beta: f64, gamma: f64) -> Vec<Position> {
        let shape = |row: &Reduced| (row.ratio + beta * (1.0 - row.ratio)).powf(gamma) * row.flops;
        let at = |scale: f64, constant: f64| {
            [beta, gamma, scale.clamp(SMALLEST_FINAL, BOUNDS.1).ln(), constant]
        };
        if self.variant.objective == Objective::Log {
            let weight = |row: &Reduced| row.constant * row.constant;
            let weights: f64 = self.rows.iter().map(weight).sum();
            let logs = self.rows.iter().map(|row| weight(row) * (row.measured - shape(row).ln()));
            let scale = (logs.sum::<f64>() / weights).exp();
            let shortest = self.rows.iter().fold(f64::INFINITY, |min, r| min.min(r.measured)).exp();
            let constants = if self.variant.constant { &[0.0, 0.5, 0.95][..] } else { &[0.0] };
            return constants.iter().map(|share| at(scale, share * shortest)).collect();
        }
        let mut all = Reduction::default();
        self.rows.iter().for_each(|row| all.rotate_in(shape(row), row.constant, row.measured));
        let constant = match self.variant.constant && all.constant[1] > 0.0 {
            true => (all.measured_ms[1] / all.constant[1]).max(0.0),
            false => 0.0,
        };
        vec![at((all.measured_ms[0] - all.constant[0] * constant) / all.flops, constant)]
    }
}

fn linear(sample: &GroupSample, weight: impl Fn(&Row) -> f64) -> (Vec<Reduced>, f64) {
    let mut sums = vec![Reduction::default(); sample.clusters.len()];
    for row in &sample.rows {
        sums[row.cluster as usize].add(row.flops, row.measured_ms, weight(row));
    }
    let mut rows = Vec::with_capacity(2 * sums.len());
    let mut rest = 0.0;
    for (sums, cluster) in sums.iter().zip(&sample.clusters) {
        let ratio = cluster.ratio;
        let ([first, second], [a, b]) = (sums.constant, sums.measured_ms);
        rows.push(Reduced { ratio, flops: sums.flops, constant: first, measured: a });
        rows.push(Reduced { ratio, flops: 0.0, constant: second, measured: b });
        rest += sums.residual_sum;
    }
    (rows, rest)
}

/// Means of logarithms by Welford's method.
#[derive(Default)]
struct Mean {
    n: f64,
    mean: f64,
    squares: f64,
}

fn logarithmic(sample: &GroupSample, constant: bool) -> (Vec<Reduced>, f64) {
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
    let row = |((cluster, flops), mean): ((u32, u64), Mean)| Reduced {
        ratio: sample.clusters[cluster as usize].ratio,
        flops: f64::from_bits(flops),
        constant: mean.n.sqrt(),
        measured: mean.mean,
    };
    (means.into_iter().map(row).collect(), rest)
}

/// `(A + damping·diag A)⁻¹·g` over the free components, 0 for the others, by Cholesky's method in
/// units in which A's diagonal is 1; `None` where that is not positive definite.
fn solve(matrix: Matrix, gradient: Position, free: [bool; 4], damping: f64) -> Option<Position> {
    let index: Vec<usize> = (0..4).filter(|i| free[*i]).collect();
    let unit = |i: usize| matrix[i][i].sqrt();
    let mut lower = [[0.0; 4]; 4];
    let mut along = [0.0; 4];
    for (a, &i) in index.iter().enumerate() {
        for (b, &j) in index.iter().enumerate().take(a) {
            let before: f64 = (0..b).map(|c| lower[a][c] * lower[b][c]).sum();
            lower[a][b] = (matrix[i][j] / (unit(i) * unit(j)) - before) / lower[b][b];
        }
        let before: f64 = (0..a).map(|c| lower[a][c] * lower[a][c]).sum();
        let square = 1.0 + damping - before;
        // rounding may take all of it where parameters are confounded
        if !(matrix[i][i] > 0.0 && square > 1e-15) {
            return None;
        }
        lower[a][a] = square.sqrt();
        let before: f64 = (0..a).map(|c| lower[a][c] * along[c]).sum();
        along[a] = (gradient[i] / unit(i) - before) / lower[a][a];
    }
    let mut step = [0.0; 4];
    for a in (0..index.len()).rev() {
        let after: f64 = (a + 1..index.len()).map(|c| lower[c][a] * along[c]).sum();
        along[a] = (along[a] - after) / lower[a][a];
        step[index[a]] = along[a] / unit(index[a]);
    }
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_derivatives_are_differences_of_first_ones() {
        let row = Reduced { ratio: 0.07, flops: 3.0, constant: 1.3, measured: 0.4 };
        let position = [0.2, 0.7, -1.1, 0.3];
        for variant in Variant::ALL {
            let sample = GroupSample::default();
            let problem = VariantProblem::new(&sample, variant);
            let bends = problem.bends(&row, position);
            for (j, bends) in bends.iter().enumerate() {
                let at = |sign: f64| {
                    let mut moved = position;
                    moved[j] += sign * 1e-5;
                    problem.row(&row, moved).1
                };
                let (above, below) = (at(1.0), at(-1.0));
                for i in 0..4 {
                    let difference = (above[i] - below[i]) / 2e-5;
                    assert!((difference - bends[i]).abs() < 1e-8, "{variant:?} {i} {j}");
                }
            }
        }
    }
}
