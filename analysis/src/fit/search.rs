//! The least sum of squares within the bounds: descents from every basin of a grid over (β, γ).

use std::collections::BTreeMap;

use argmin::core::{Executor, State, TerminationReason, TerminationStatus};

use super::BOUNDS;
use super::newton::{BoundedNewton, FitState, MAX_ITERATIONS};
use super::points::Point;
use super::problem::{
    FINAL, LeastSquares, Position, Projection, SMALLEST_FINAL, bracket, ln_alpha,
};
use crate::model::{GroupCoefficients, Objective};

/// β on a logarithmic grid from here to its upper bound, and 0. Pixels number under 10⁹, so that
/// `S_K/S` stays above 10⁻⁹ and a smaller β is as good as none.
const SMALLEST_BETA: f64 = 1e-9;
const BETA_STEPS: usize = 80;
const GAMMA_STEPS: usize = 60;

/// The deepest come first. Where `final` is at its bound the valley of β^γ crosses the grid at an
/// angle, and its points look like so many basins.
const MOST_BASINS: usize = 64;

/// Rows that rank the grid where their number grows with the dataset's: it only says where to start.
const RANKING_ROWS: usize = 200;

/// Where a descent ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// With ln `final` filled in where the search eliminated it.
    pub position: Position,
    pub final_scale: f64,
    /// The sum of squares.
    pub sum: f64,
    /// Why this is no stationary point, if it isn't.
    pub unfinished: Option<String>,
}

impl End {
    pub(super) fn estimate(&self) -> GroupCoefficients {
        let [beta, gamma, _, constant_ms] = self.position;
        GroupCoefficients { beta, gamma, final_scale: self.final_scale, constant_ms }
    }
}

/// Indices of β and γ on the grid.
type Place = (usize, usize);

/// What the grid knows of a place.
#[derive(Clone, Copy)]
struct Node {
    /// The sum of squares; infinite where the formula has no value.
    sum: f64,
    position: Position,
}

impl LeastSquares {
    /// The least sum of squares within the bounds, `start` being one candidate more.
    ///
    /// Of ends that differ by rounding alone the first found counts, so that the start decides
    /// nothing.
    pub(super) fn optimum(&self, start: &GroupCoefficients) -> Result<End, String> {
        let rounding = 1e-26 * self.square_sum();
        let mut best: Option<End> = None;
        for candidate in self.basins().into_iter().chain([self.position(start)]) {
            let Ok(end) = self.descend(candidate) else { continue };
            let is_better = best.as_ref().is_none_or(|best| {
                let alike = (best.sum - end.sum).abs() <= 1e-10 * end.sum + rounding;
                if alike { best.unfinished.is_some() } else { end.sum < best.sum }
            });
            if is_better {
                best = Some(end);
            }
        }
        let best = best.ok_or("the formula has no value there")?;
        best.unfinished.clone().map_or(Ok(best), Err)
    }

    /// The stationary point that lies downhill of `start`; an error where the formula has no value
    /// on the way.
    pub(super) fn descend(&self, start: Position) -> Result<End, String> {
        let start = self.clamp(start);
        let no_value = || "the formula has no value there".to_owned();
        self.project(&start).ok_or_else(no_value)?;
        let result = Executor::new(self.clone(), BoundedNewton::new())
            .configure(|state: FitState| state.param(start).max_iters(MAX_ITERATIONS))
            .timer(false)
            .run()
            .map_err(|error| error.to_string())?;
        // not argmin's best by cost: the last steps refine below the cost's rounding
        let mut position = result.state.get_param().copied().unwrap_or(start);
        let Projection { final_scale, sum } = self.project(&position).ok_or_else(no_value)?;
        position[FINAL] = final_scale.ln();
        let unfinished = match result.state.get_termination_status() {
            TerminationStatus::Terminated(TerminationReason::SolverConverged) => None,
            other => Some(other.to_string()),
        };
        Ok(End { position, final_scale, sum, unfinished })
    }

    /// Grid points no higher than their neighbours, deepest first, and the grid's corners: at least
    /// one, unless the formula has no value anywhere.
    fn basins(&self) -> Vec<Position> {
        let sums = self.ranking().grid();
        let sum = |(i, j): Place| sums[i][j];
        let places = (0..=BETA_STEPS).flat_map(|i| (0..=GAMMA_STEPS).map(move |j| (i, j)));
        // on a plateau, the first of equals
        let is_lowest = |place: &Place| {
            around(*place).all(|other| match other < *place {
                true => sum(*place) < sum(other),
                false => sum(*place) <= sum(other),
            })
        };
        let mut lowest: Vec<Place> =
            places.filter(|place| sum(*place).is_finite() && is_lowest(place)).collect();
        lowest.sort_by(|a, b| sum(*a).total_cmp(&sum(*b)));
        lowest.truncate(MOST_BASINS);
        let mut known = BTreeMap::new();
        let descended = lowest.into_iter().map(|place| self.downhill(place, &mut known));
        let mut deepest: Vec<Node> = descended.collect();
        deepest.sort_by(|a, b| a.sum.total_cmp(&b.sum));
        deepest.dedup_by_key(|node| node.position);
        // where T₀ is but roughly fitted, a minimum in a corner may be none of the grid
        let corners = [0, BETA_STEPS].into_iter().flat_map(|i| [(i, 0), (i, GAMMA_STEPS)]);
        let corners = corners.map(|corner| self.node(corner)).filter(|node| node.sum.is_finite());
        deepest.into_iter().chain(corners).map(|node| node.position).collect()
    }

    /// Downhill from `place` over the grid of all rows, where the ranking was by fewer.
    fn downhill(&self, mut place: Place, known: &mut BTreeMap<Place, Node>) -> Node {
        let mut node = |place: Place| *known.entry(place).or_insert_with(|| self.node(place));
        let mut here = node(place);
        loop {
            let nodes = around(place).map(|other| (other, node(other)));
            let (next, lowest) =
                nodes.fold((place, here), |a, b| if b.1.sum < a.1.sum { b } else { a });
            if next == place {
                return here;
            }
            (place, here) = (next, lowest);
        }
    }

    fn node(&self, (i, j): Place) -> Node {
        let beta = beta_at(i, self.bounds()[0].1);
        self.roughly_fitted(beta, &self.bracket_logs(beta), gamma_at(j))
    }

    /// Sums of squares over the grid, β by rows, with `final` and T₀ roughly fitted at each place;
    /// infinite where the formula has no value.
    fn grid(&self) -> Vec<Vec<f64>> {
        let row = |i: usize| {
            let beta = beta_at(i, self.bounds()[0].1);
            let logs = self.bracket_logs(beta);
            let node = |j| self.roughly_fitted(beta, &logs, gamma_at(j));
            (0..=GAMMA_STEPS).map(|j| node(j).sum).collect()
        };
        (0..=BETA_STEPS).map(row).collect()
    }

    /// Logarithms of the brackets: `NaN` or −∞ where one is not positive.
    fn bracket_logs(&self, beta: f64) -> Vec<f64> {
        self.points.iter().map(|point| bracket(point.ratio, beta).ln()).collect()
    }

    /// The problem of every n-th row where there are more than one per `S_K/S`.
    fn ranking(&self) -> Self {
        let mut few = self.clone();
        if self.searched().contains(&FINAL) {
            let stride = self.points.len().div_ceil(RANKING_ROWS);
            few.points = self.points.iter().step_by(stride).copied().collect();
        }
        few
    }

    /// The sum of squares at β and γ, `logs` being the logarithms of the brackets, with its `final` and
    /// T₀: exact but for logarithms with T₀.
    fn roughly_fitted(&self, beta: f64, logs: &[f64], gamma: f64) -> Node {
        let (sum, final_scale, constant_ms) = match self.variant.objective {
            Objective::Log => self.roughly_fitted_logarithms(logs, gamma),
            Objective::Absolute | Objective::Relative => self.fitted_by_sums(logs, gamma),
        };
        let sum = if sum.is_finite() { sum.max(0.0) } else { f64::INFINITY };
        Node { sum, position: [beta, gamma, final_scale.ln(), constant_ms] }
    }

    /// The best of a few T₀, `final` by two Gauss–Newton steps of its logarithm.
    fn roughly_fitted_logarithms(&self, logs: &[f64], gamma: f64) -> (f64, f64, f64) {
        let shape = |(point, log): (&Point, &f64)| ln_alpha(*log, gamma) + point.flops.ln();
        let shapes: Vec<f64> = self.points.iter().zip(logs).map(shape).collect();
        let pairs = || self.points.iter().zip(&shapes);
        let [mut weights, mut sum] = [0.0; 2];
        for (point, shape) in pairs() {
            let weight = point.weight * point.weight;
            weights += weight;
            sum += weight * (point.measured - shape);
        }
        let scale = (sum / weights).clamp(SMALLEST_FINAL.ln(), BOUNDS.1.ln());
        let shortest = self.points.iter().fold(f64::INFINITY, |min, p| min.min(p.measured)).exp();
        let shares = if self.variant.constant { &[0.0, 0.5, 0.95][..] } else { &[0.0] };
        let fits = shares.iter().map(|share| {
            let constant_ms = share * shortest;
            let mut scale = scale;
            let rounds = if constant_ms > 0.0 { 2 } else { 0 };
            for _ in 0..rounds {
                let [mut along, mut square] = [0.0; 2];
                for (point, shape) in pairs() {
                    let part = (scale + shape).exp();
                    let slope = point.weight * part / (part + constant_ms);
                    let residual = (part + constant_ms).ln() - point.measured;
                    along += slope * point.weight * residual;
                    square += slope * slope;
                }
                scale = (scale - along / square).clamp(SMALLEST_FINAL.ln(), BOUNDS.1.ln());
            }
            let squares = pairs().map(|(point, shape)| {
                let mut estimate = scale + shape;
                if constant_ms > 0.0 {
                    estimate = (estimate.exp() + constant_ms).ln();
                }
                (point.weight * (estimate - point.measured)).powi(2)
            });
            (squares.sum(), scale.exp(), constant_ms)
        });
        let best = fits.min_by(|a: &(f64, f64, f64), b| a.0.total_cmp(&b.0));
        best.unwrap_or((f64::INFINITY, 1.0, 0.0))
    }

    /// Expanded into sums, a sum of squares loses digits to cancellation: good enough to start from.
    fn fitted_by_sums(&self, logs: &[f64], gamma: f64) -> (f64, f64, f64) {
        // Σ of f², f·w, w², T·f, T·w and T², where w multiplies T₀
        let [mut ff, mut fw, mut ww, mut tf, mut tw, mut tt] = [0.0; 6];
        for (point, log) in self.points.iter().zip(logs) {
            let power = if log.is_finite() { ln_alpha(*log, gamma).exp() } else { f64::NAN };
            let (shape, weight, measured) = (power * point.flops, point.weight, point.measured);
            tf += shape * measured;
            ff += shape * shape;
            fw += shape * weight;
            ww += weight * weight;
            tw += measured * weight;
            tt += measured * measured;
        }
        let constant_ms = match self.variant.constant {
            true => ((tw * ff - tf * fw) / (ww * ff - fw * fw)).max(0.0),
            false => 0.0,
        };
        let final_scale = ((tf - constant_ms * fw) / ff).clamp(SMALLEST_FINAL, BOUNDS.1);
        let sum = tt + self.rest - 2.0 * (final_scale * tf + constant_ms * tw)
            + final_scale * final_scale * ff
            + 2.0 * final_scale * constant_ms * fw
            + constant_ms * constant_ms * ww;
        (sum, final_scale, constant_ms)
    }
}

/// The grid's places around one, itself included.
fn around((i, j): Place) -> impl Iterator<Item = Place> {
    let columns = j.saturating_sub(1)..=(j + 1).min(GAMMA_STEPS);
    (i.saturating_sub(1)..=(i + 1).min(BETA_STEPS))
        .flat_map(move |a| columns.clone().map(move |b| (a, b)))
}

/// 0, then logarithmic, and at the end exactly `upper`: an optimum may sit in that corner.
fn beta_at(i: usize, upper: f64) -> f64 {
    match i {
        0 => BOUNDS.0,
        BETA_STEPS => upper,
        i => {
            let share = (i - 1) as f64 / (BETA_STEPS - 1) as f64;
            SMALLEST_BETA * (upper / SMALLEST_BETA).powf(share)
        }
    }
}

/// Denser towards 0, where a basin may be narrow.
fn gamma_at(j: usize) -> f64 {
    let share = j as f64 / GAMMA_STEPS as f64;
    BOUNDS.0 + (BOUNDS.1 - BOUNDS.0) * share * share
}

#[cfg(test)]
mod tests;
