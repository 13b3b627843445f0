//! Where to start: the basins of a coarse grid over (β, γ).

use super::BOUNDS;
use super::group::GroupProblem;

/// β on a logarithmic grid from here to its upper bound, and 0. Pixels number under 10⁹, so that
/// `S_K/S` stays above 10⁻⁹ and a smaller β is as good as none.
const SMALLEST_BETA: f64 = 1e-9;
const BETA_STEPS: usize = 80;
const GAMMA_STEPS: usize = 60;

/// The deepest come first. Where `final` is at its bound the valley of β^γ crosses the grid at an
/// angle, and its points look like so many basins.
const MOST_BASINS: usize = 64;

impl GroupProblem {
    /// Grid points no higher than their neighbours, deepest first: at least one, unless the formula
    /// has no value anywhere.
    pub(super) fn basins(&self) -> Vec<[f64; 2]> {
        let [upper, _] = self.upper();
        let costs = self.grid();
        let cost = |i: usize, j: usize| costs[i][j];
        let mut basins = Vec::new();
        for (i, row) in costs.iter().enumerate() {
            for (j, here) in row.iter().enumerate() {
                let rows = i.saturating_sub(1)..=(i + 1).min(costs.len() - 1);
                let mut around = rows.flat_map(|a| {
                    (j.saturating_sub(1)..=(j + 1).min(row.len() - 1)).map(move |b| (a, b))
                });
                // on a plateau, the first of equals
                let lowest = around.all(|(a, b)| match (a, b) < (i, j) {
                    true => *here < cost(a, b),
                    false => *here <= cost(a, b),
                });
                if here.is_finite() && lowest {
                    basins.push((*here, [beta_at(i, upper), gamma_at(j)]));
                }
            }
        }
        basins.sort_by(|a, b| a.0.total_cmp(&b.0));
        basins.into_iter().take(MOST_BASINS).map(|(_, position)| position).collect()
    }

    /// Residual sums over the grid, β by rows; infinite where the formula has no value.
    ///
    /// Expanded into sums, a residual sum loses digits to cancellation: good enough to start from.
    fn grid(&self) -> Vec<Vec<f64>> {
        let total = self.square_sum();
        let [upper, _] = self.upper();
        (0..=BETA_STEPS)
            .map(|i| {
                let beta = beta_at(i, upper);
                let bases = self.points.iter().map(|p| p.ratio + beta * (1.0 - p.ratio));
                let logs: Vec<f64> = bases.map(f64::ln).collect();
                (0..=GAMMA_STEPS).map(|j| self.residual_sum(&logs, gamma_at(j), total)).collect()
            })
            .collect()
    }

    /// `Σ(final·f − T)²`; `logs` are those of the brackets, `NaN` or −∞ where one is not positive.
    fn residual_sum(&self, logs: &[f64], gamma: f64, total: f64) -> f64 {
        let (mut across, mut square) = (0.0, 0.0);
        for (point, log) in self.points.iter().zip(logs) {
            let power = if log.is_finite() { (gamma * log).exp() } else { f64::NAN };
            let shape = power * point.flops;
            across += shape * point.measured_ms;
            square += shape * shape;
        }
        let final_scale = self.final_scale.choose(across, square);
        let sum = total - 2.0 * final_scale * across + final_scale * final_scale * square;
        if sum.is_finite() { sum.max(0.0) } else { f64::INFINITY }
    }
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
