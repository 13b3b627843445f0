//! Steps and outlier runs in a short series of runs: optimal partitioning with a penalty that chance
//! rarely passes.
//!
//! The series is cut into levels so that `Σ min((x − level)², penalty) + penalty · steps` is least: the
//! biweight loss of Fearnhead and Rigaill, *Changepoint detection in the presence of outliers* (JASA 114,
//! 2019), with one penalty for both events. A run that is farther from its level than the root of the
//! penalty is an *outlier run*: it costs as much as a step and moves no level. So one odd run is an outlier
//! run; a new level takes two runs at the end of a series and three within it. Two odd runs in a row among
//! others cost the same as outlier runs and as a level of their own: they are whichever leaves less.
//!
//! The usual penalties (Akaike's, Schwarz's) are for long series with a known variance. Here there are five
//! or twenty runs and an estimate of it ([`noise`]), so the penalty is simulated.

use super::noise::{self, PooledNoise};

/// Simulated series behind a penalty, of up to so many runs; fewer of longer ones, which take longer.
const SIMULATIONS: usize = 7_999;
const RUNS_OF_ALL: usize = 40;
const FEWEST_SIMULATIONS: usize = 999;

/// What was found in a series, by position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Where new levels begin, from 1 on.
    pub begins: Vec<usize>,
    /// The outlier runs.
    pub outliers: Vec<usize>,
}

impl Events {
    /// The parts of a series of `n` values between steps, without the outlier runs.
    pub fn levels(&self, n: usize) -> Vec<Vec<usize>> {
        let ends = self.begins.iter().copied().chain([n]);
        let begins = std::iter::once(0).chain(self.begins.iter().copied());
        let inside = |(begin, end)| (begin..end).filter(|at| !self.outliers.contains(at)).collect();
        begins.zip(ends).map(inside).collect()
    }

    /// Squared deviations from the levels' means, outlier runs aside.
    fn squares(&self, values: &[f64]) -> f64 {
        let of_level = |level: Vec<usize>| -> f64 {
            let mean = mean_at(values, &level);
            level.iter().map(|at| (values[*at] - mean).powi(2)).sum()
        };
        self.levels(values.len()).into_iter().map(of_level).sum()
    }

    fn count(&self) -> usize {
        self.begins.len() + self.outliers.len()
    }
}

/// The mean of the values at these positions.
pub fn mean_at(values: &[f64], positions: &[usize]) -> f64 {
    positions.iter().map(|at| values[*at]).sum::<f64>() / positions.len().max(1) as f64
}

/// The cheapest levels and outlier runs of a series, whose standard deviation is about `sd`.
///
/// By the recursion of optimal partitioning (Jackson et al., *An algorithm for optimal partitioning of data
/// on an interval*, IEEE Signal Processing Letters 12, 2005) over levels `sd/12` apart, which costs the sum
/// of several levels at most `n/576` times `sd²`, and `sd/√n` apart for more than 144 values, at most `sd²/4`. Of equally good ways, one with fewer steps.
pub fn find(values: &[f64], penalty: f64, sd: f64) -> Events {
    // a little below the penalty: of an outlier run and a step that cost the same, the outlier run
    let cap = penalty * (1.0 - 1e-9);
    let levels = candidates(values, penalty.sqrt(), sd / (values.len() as f64).sqrt().max(12.0));
    // the cheapest way that ends at each level, and of all
    let mut costs = vec![0.0; levels.len()];
    let (mut cheapest, mut least) = (0, 0.0);
    // for each value: the level of the cheapest way before it, and which levels begin there after it
    let mut ways: Vec<(usize, Vec<bool>)> = Vec::with_capacity(values.len());
    // plain loops: penalties are simulated by millions of them, in tests without optimisation
    for (at, value) in values.iter().enumerate() {
        let (before, with_step) = (cheapest, least + penalty);
        let mut begins = vec![false; levels.len()];
        least = f64::INFINITY;
        for (index, level) in levels.iter().enumerate() {
            let mut cost = costs[index];
            if at > 0 && with_step < cost {
                cost = with_step;
                begins[index] = true;
            }
            let square = (value - level) * (value - level);
            cost += if square < cap { square } else { cap };
            costs[index] = cost;
            if cost < least {
                (cheapest, least) = (index, cost);
            }
        }
        ways.push((before, begins));
    }
    let mut level = cheapest;
    let mut found = Events::default();
    for (at, (before, begins)) in ways.iter().enumerate().rev() {
        if (values[at] - levels[level]).powi(2) >= cap {
            found.outliers.push(at);
        }
        if begins[level] {
            found.begins.push(at);
            level = *before;
        }
    }
    found.begins.reverse();
    found.outliers.reverse();
    found
}

/// Levels `apart` from each other, and the mean, so that a series in one piece costs what it does. None where
/// neighbours are more than twice the `reach` apart: a level is the mean of values within reach of it.
fn candidates(values: &[f64], reach: f64, apart: f64) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let groups = sorted.chunk_by(|a, b| b - a <= 2.0 * reach);
    let of_group = |group: &[f64]| {
        let (low, high) = (group[0], group[group.len() - 1]);
        let steps = ((high - low) / apart).ceil() as usize;
        (0..=steps).map(|step| low + step as f64 * apart).collect::<Vec<_>>()
    };
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    groups.flat_map(of_group).chain([mean]).collect()
}

/// The least penalty under which nothing is found: the most by which squared deviations fall an event,
/// `max_k (SS_0 − SS_k)/k` over the best `k` events, found by searching with what was the most so far until
/// nothing is left to gain (Dinkelbach, 1967).
pub fn least_penalty(values: &[f64], sd: f64) -> f64 {
    const ROUNDS: usize = 50;
    let n = values.len() as f64;
    let all = Events::default().squares(values);
    let gain = |events: &Events| (all - events.squares(values)) / events.count().max(1) as f64;
    // one event: an outlier run, or a step between two parts of the series
    let mean = values.iter().sum::<f64>() / n;
    let (mut most, mut sum) = (0.0f64, 0.0);
    for (at, value) in values.iter().enumerate().take(values.len().saturating_sub(1)) {
        sum += value - mean;
        let before = at as f64 + 1.0;
        let step = sum.powi(2) * n / (before * (n - before));
        most = most.max(step).max((value - mean).powi(2) * n / (n - 1.0));
    }
    for _ in 0..ROUNDS {
        let more = gain(&find(values, most, sd));
        if more <= most * (1.0 + 1e-12) {
            break;
        }
        most = more;
    }
    most
}

/// What chance does in series of independent normal values without a step, with as many runs in the same
/// environments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// The penalty, in units of the squared noise, that a series passes with the probability asked for.
    pub penalty: f64,
    /// How many times the noise of successive differences the pooled one is at most (see
    /// [`noise::of_search`]): in 99.5% of series.
    pub ratio: f64,
    /// The autocorrelation that 5% of series pass; `None` where it cannot be estimated.
    pub autocorrelation: Option<f64>,
}

impl Chance {
    /// Of series whose runs are in these environments; `None` where no two share one. By simulation with a
    /// fixed seed. The penalty is a little greater than simulated: by so much as makes the true probability
    /// at most `level` with 99% confidence, however few simulations there are.
    pub fn new(groups: &[usize], level: f64) -> Option<Self> {
        const RATIO: f64 = 0.995;
        const AUTOCORRELATION: f64 = 0.95;
        let n = groups.len();
        let longer = (n as f64 / RUNS_OF_ALL as f64).max(1.0).powi(2);
        let simulations = ((SIMULATIONS as f64 / longer) as usize).max(FEWEST_SIMULATIONS);
        let (mut least, mut autocorrelations) = (Vec::new(), Vec::new());
        for simulation in 0..simulations {
            let values: Vec<f64> =
                (0..n).map(|i| noise::normal(simulation as u64, i as u64)).collect();
            let pooled = noise::pooled(&values, groups)?.sd;
            let successive = noise::successive(&values, groups)?;
            least.push((least_penalty(&values, 1.0), pooled, successive));
            autocorrelations.extend(noise::autocorrelation(&values, groups));
        }
        let quantile = |values: &mut Vec<f64>, share: f64| {
            values.sort_by(f64::total_cmp);
            values.get((share * values.len() as f64) as usize).copied()
        };
        let mut ratios: Vec<f64> =
            least.iter().map(|(_, pooled, successive)| pooled / successive).collect();
        let ratio = quantile(&mut ratios, RATIO)?;
        let in_noise = |(least, pooled, successive): &(f64, f64, f64)| {
            least / noise::of_search(*pooled, *successive, ratio).powi(2)
        };
        let mut least: Vec<f64> = least.iter().map(in_noise).collect();
        least.sort_by(f64::total_cmp);
        // 2.33 standard deviations of how many of them pass
        let expected = level * simulations as f64;
        let rank = simulations - (expected - 2.33 * expected.sqrt()).max(0.0) as usize;
        let penalty = least.get(rank.clamp(1, simulations) - 1).copied()?;
        Some(Self {
            penalty,
            ratio,
            autocorrelation: quantile(&mut autocorrelations, AUTOCORRELATION),
        })
    }
}

/// How much a series varies, for the search: with the autocorrelation of its runs, if that is more than
/// chance makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Searched {
    /// Standard deviation of a run that the penalty was multiplied by.
    pub sd: f64,
    /// Within levels and environments, without outlier runs.
    pub within: PooledNoise,
    /// Estimated within levels and environments.
    pub autocorrelation: Option<f64>,
    /// The least step that would be found in the middle of the series, were it the only event.
    pub least_step: f64,
    /// By how much the autocorrelation multiplies the variance of a level's mean: `(1 + φ)/(1 − φ)`; 1 where
    /// it is no more than chance makes.
    pub inflation: f64,
}

/// Searches a series; `None` where no two runs share an environment.
///
/// If the runs turn out to be autocorrelated, the series is searched again with a noise that contains it:
/// a level of `m` runs of an AR(1) series has `(1 + φ)/(1 − φ)` times the variance of independent ones for
/// large `m`.
pub fn search(values: &[f64], groups: &[usize], chance: &Chance) -> Option<(Events, Searched)> {
    let pooled = noise::pooled(values, groups)?;
    let successive = noise::successive(values, groups)?;
    let sd = noise::of_search(pooled.sd, successive, chance.ratio);
    let searched = |sd: f64| {
        let events = find(values, chance.penalty * sd.powi(2), sd);
        let (kept, levels) = within(values, groups, &events);
        let within = noise::pooled(&kept, &levels).unwrap_or(pooled);
        (events, within, noise::autocorrelation(&kept, &levels))
    };
    let (mut events, mut within, autocorrelation) = searched(sd);
    let is_more = |own: &f64| chance.autocorrelation.is_some_and(|most| *own > most);
    let inflation = autocorrelation.filter(is_more).map_or(1.0, |phi| (1.0 + phi) / (1.0 - phi));
    let sd = if inflation > 1.0 { sd.max(within.sd * inflation.sqrt()) } else { sd };
    if inflation > 1.0 {
        (events, within, _) = searched(sd);
    }
    let without = within.sd * inflation.sqrt();
    let least_step = least_step(groups, chance, without, successive);
    Some((events, Searched { sd, within, autocorrelation, least_step, inflation }))
}

/// The least step `δ` in the middle of a series that passes the penalty: `δ²·q ≥ penalty·noise²`, with
/// `q = n₁n₂/n` for `n₁` and `n₂` runs on its sides. The noise contains the step: it is `σ² + s·δ²`, where `s` is
/// the pooled variance within environments of a step of 1, or what successive differences bound it by.
fn least_step(groups: &[usize], chance: &Chance, sd: f64, successive: f64) -> f64 {
    let n = groups.len();
    let unit: Vec<f64> = (0..n).map(|at| if at < n / 2 { 0.0 } else { 1.0 }).collect();
    let own = noise::pooled(&unit, groups).map_or(0.0, |noise| noise.sd.powi(2));
    let q = (n / 2 * (n - n / 2)) as f64 / n as f64;
    let left = q - chance.penalty * own;
    let pooled = if left > 0.0 { sd * (chance.penalty / left).sqrt() } else { f64::INFINITY };
    let bound = noise::of_search(f64::INFINITY, successive, chance.ratio);
    pooled.min(bound * (chance.penalty / q).sqrt())
}

/// The values but for outlier runs, with a number for each environment and level together.
fn within(values: &[f64], groups: &[usize], events: &Events) -> (Vec<f64>, Vec<usize>) {
    let levels = events.levels(values.len());
    let count = levels.len();
    let of_level = |(number, level): (usize, Vec<usize>)| {
        level.into_iter().map(move |at| (values[at], groups[at] * count + number))
    };
    levels.into_iter().enumerate().flat_map(of_level).unzip()
}

#[cfg(test)]
mod tests;
