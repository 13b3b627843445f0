//! Steps in a short series of runs: optimal partitioning with a penalty that few false alarms pass.
//!
//! The series is cut into levels so that the squared deviations from the levels' means plus a penalty
//! for every step are least (Jackson et al., *An algorithm for optimal partitioning of data on an
//! interval*, IEEE Signal Processing Letters 12, 2005). Exact for any number of steps, with no least
//! distance between them, and the only thing it needs to know is how much runs differ by chance. That
//! is known better than from the series alone: from the runs whose environments are equal.
//!
//! The usual penalties (Akaike's, Schwarz's) are for long series with a known variance. Here there
//! are five or twenty runs and an estimate of it, so the penalty is simulated: the one that series
//! without a step, with as many runs in the same environments, pass as often as asked for.

use std::f64::consts::TAU;

use alpha_flops::random::random_bits;

/// How much runs in equal environments differ.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct RunNoise {
    /// Standard deviation of a run, of the logarithm of a latency.
    pub sd: f64,
    /// Runs behind it, less the groups they are in.
    pub degrees_of_freedom: usize,
}

/// Simulated series behind a penalty, of up to so many runs; fewer of longer ones, which take longer.
const SIMULATIONS: usize = 7_999;
const RUNS_OF_ALL: usize = 40;
const FEWEST_SIMULATIONS: usize = 999;

/// The pooled standard deviation within groups: `√(Σ(x − x̄_group)² / (n − groups))`; `None` where no
/// group has two values.
pub fn pooled(values: &[f64], groups: &[usize]) -> Option<RunNoise> {
    let count = groups.iter().max()? + 1;
    let (mut sizes, mut sums) = (vec![0usize; count], vec![0.0; count]);
    for (value, &group) in values.iter().zip(groups) {
        sizes[group] += 1;
        sums[group] += value;
    }
    let degrees_of_freedom = values.len() - sizes.iter().filter(|size| **size > 0).count();
    let mean = |group: usize| sums[group] / sizes[group] as f64;
    let squares: f64 =
        values.iter().zip(groups).map(|(value, &group)| (value - mean(group)).powi(2)).sum();
    (degrees_of_freedom > 0)
        .then(|| RunNoise { sd: (squares / degrees_of_freedom as f64).sqrt(), degrees_of_freedom })
}

/// The least-squares cut of a series with `penalty` for every step: the positions from 1 on at which
/// new levels begin. Of equally good cuts, one with the fewest steps.
pub fn cut(values: &[f64], penalty: f64) -> Vec<usize> {
    let squares = Squares::new(values);
    // of the first `end` values: the least cost, with how many steps, and where the last level begins
    let mut best = vec![(-penalty, 0usize, 0usize)];
    for end in 1..=values.len() {
        let candidates = (0..end).map(|begin| {
            let (cost, steps, _) = best[begin];
            (cost + squares.between(begin, end) + penalty, steps + usize::from(begin > 0), begin)
        });
        let least =
            candidates.min_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(a.1.cmp(&b.1)));
        best.push(least.unwrap_or((f64::INFINITY, 0, 0)));
    }
    let mut begins = Vec::new();
    let mut end = values.len();
    while end > 0 {
        end = best[end].2;
        begins.push(end);
    }
    begins.retain(|begin| *begin > 0);
    begins.reverse();
    begins
}

/// The least penalty that leaves a series in one piece: the most by which squared deviations fall a
/// step, `max_k (SS_0 − SS_k)/k` over the best cuts with `k` steps, found by cutting with what was
/// the most so far until nothing is left to gain (Dinkelbach, 1967).
pub fn least_penalty(values: &[f64]) -> f64 {
    const ROUNDS: usize = 50;
    let squares = Squares::new(values);
    let all = squares.between(0, values.len());
    let of_cut = |begins: &[usize]| -> f64 {
        let ends = begins.iter().copied().chain([values.len()]);
        let begins = std::iter::once(0).chain(begins.iter().copied());
        let rest: f64 = begins.zip(ends).map(|(begin, end)| squares.between(begin, end)).sum();
        all - rest
    };
    let mut most = (1..values.len()).map(|at| of_cut(&[at])).fold(0.0, f64::max);
    for _ in 0..ROUNDS {
        let begins = cut(values, most);
        let gain = of_cut(&begins) / begins.len().max(1) as f64;
        if gain <= most * (1.0 + 1e-12) {
            break;
        }
        most = gain;
    }
    most
}

/// The penalty, in units of the pooled variance within `groups`, that a series of independent normal
/// values without a step passes with probability `level`; `None` where no group has two values.
///
/// By simulation with a fixed seed, and a little greater than simulated: by so much as makes the true
/// probability at most `level` with 99% confidence, however few simulations there are.
pub fn penalty(groups: &[usize], level: f64) -> Option<f64> {
    let n = groups.len();
    let longer = (n as f64 / RUNS_OF_ALL as f64).max(1.0).powi(2);
    let simulations = ((SIMULATIONS as f64 / longer) as usize).max(FEWEST_SIMULATIONS);
    let mut least = Vec::with_capacity(simulations);
    for simulation in 0..simulations {
        let values: Vec<f64> = (0..n).map(|i| normal(simulation as u64, i as u64)).collect();
        let noise = pooled(&values, groups)?;
        least.push(least_penalty(&values) / noise.sd.powi(2));
    }
    least.sort_by(f64::total_cmp);
    // 2.33 standard deviations of how many of them pass
    let passing =
        (level * simulations as f64 - 2.33 * (level * simulations as f64).sqrt()).max(0.0);
    let rank = simulations - passing as usize;
    least.get(rank.clamp(1, simulations) - 1).copied()
}

/// A standard normal number by Box and Muller's formula.
pub(super) fn normal(seed: u64, index: u64) -> f64 {
    let uniform = |at: u64| ((random_bits(seed, at) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    (-2.0 * uniform(2 * index).ln()).sqrt() * (TAU * uniform(2 * index + 1)).cos()
}

/// Squared deviations of any part of a series from its mean.
struct Squares {
    /// Sums of the first values, and of their squares.
    sums: Vec<(f64, f64)>,
}

impl Squares {
    fn new(values: &[f64]) -> Self {
        // about the mean: sums of squares of numbers far from zero lose their last digits
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let mut sums = vec![(0.0, 0.0)];
        let (mut sum, mut square) = (0.0, 0.0);
        for value in values {
            sum += value - mean;
            square += (value - mean).powi(2);
            sums.push((sum, square));
        }
        Self { sums }
    }

    fn between(&self, begin: usize, end: usize) -> f64 {
        let (from, to) = (self.sums[begin], self.sums[end]);
        ((to.1 - from.1) - (to.0 - from.0).powi(2) / (end - begin) as f64).max(0.0)
    }
}

#[cfg(test)]
mod tests;
