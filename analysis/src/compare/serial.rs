//! How runs near in time resemble each other, estimated over all configurations.

use super::grouping::LnMedians;

/// A serial correlation and a drift: see [`super::run_noise`].
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Serial {
    /// ρ: AR(1) from run to run, from 0.
    pub correlation: f64,
    /// δ: the variance of a configuration's drift from the first run to the last, over that of a run.
    pub drift: f64,
}

/// With fewer differences within sides, the two cannot be told from noise: three runs a side have four.
const LEAST: usize = 4;
/// So many configurations, evenly spaced, are enough.
const ENOUGH: usize = 600;
/// The most turns; few are needed.
const TURNS: usize = 8;
/// The bounds of ρ and √δ.
const MOST: [f64; 2] = [0.98, 30.0];

impl Serial {
    /// The correlation of the runs at two ranks of `runs`; above 1 where there is drift.
    pub fn correlation(self, a: usize, b: usize, runs: usize) -> f64 {
        let n = runs as f64;
        let centred = |rank: usize| (rank as f64 - (n - 1.0) / 2.0) / n;
        let lag = a.abs_diff(b) as i32;
        // 0⁰ is 1
        self.correlation.powi(lag) + self.drift * centred(a) * centred(b)
    }

    /// Estimates it from sides whose runs have these ranks in time and variances of this weight.
    ///
    /// By restricted maximum likelihood: of each configuration, only `z`, the `m` = n − 2 orthonormal
    /// contrasts within sides, count, so that a change between the sides is no correlation. With σ²
    /// profiled out for each, the logarithm of its likelihood is −½·ln|Σ| − (m/2)·ln(z′Σ⁻¹z), where Σ is
    /// the covariance of the contrasts up to σ² (Patterson and Thompson 1971). That is also the density of
    /// z's direction, so that very noisy configurations count no more than quiet ones. It is maximised by
    /// turns of Tyler (1987): a scatter matrix of the z, each over its z′Σ⁻¹z, and the Σ that fits it best.
    pub fn estimate(
        sides: [&[LnMedians]; 2],
        order: &[usize],
        weight: &dyn Fn(usize) -> f64,
    ) -> Self {
        let n = order.len();
        let basis = [helmert(0, n, sides[0].len()), helmert(sides[0].len(), n, sides[1].len())];
        let basis = basis.concat();
        let series = series(sides, order, weight);
        if basis.len() < LEAST || series.is_empty() {
            return Self::default();
        }
        let product = |a: &[f64], b: &[f64]| (0..n).fold(0.0, |sum, i| sum + a[i] * b[i]);
        let z: Vec<Vec<f64>> =
            series.iter().map(|y| basis.iter().map(|of| product(of, y)).collect()).collect();
        let factor = |[correlation, sd]: [f64; 2]| {
            let serial = Self { correlation, drift: sd * sd };
            let of = |a: usize, b: usize| serial.correlation(order[a], order[b], n);
            let rows: Vec<Vec<f64>> = (0..n).map(|a| (0..n).map(|b| of(a, b)).collect()).collect();
            let half: Vec<Vec<f64>> =
                basis.iter().map(|of| rows.iter().map(|row| product(of, row)).collect()).collect();
            let sigma = half.iter().map(|row| basis.iter().map(|of| product(row, of)).collect());
            cholesky(sigma.collect())
        };
        let mut best = [0.0, 0.0];
        for turn in 0..TURNS {
            let Some(known) = factor(best) else { return Self::default() };
            let Some(scatter) = scatter(&z, &known) else { return Self::default() };
            let likelihood = |at| factor(at).map_or(f64::NEG_INFINITY, |f| fit_of(&f, &scatter));
            let before = best;
            let start = likelihood(best);
            let along = |from: [f64; 2], which: usize| {
                let mut end = from;
                end[which] = maximum(MOST[which], from[which], &|value| {
                    let mut there = from;
                    there[which] = value;
                    likelihood(there)
                });
                end
            };
            if turn == 0 {
                let rises = |at| likelihood(at) > start;
                if !(rises([0.02, 0.0]) || rises([0.0, 0.3]) || rises([0.0, 2.0])) {
                    return Self::default();
                }
                let ends = [along(along(best, 0), 1), along(along(best, 1), 0)];
                let [first, second] = ends.map(likelihood);
                best = ends[usize::from(second > first)];
            } else {
                best = along(along(best, 0), 1);
            }
            if (0..2).all(|which| (best[which] - before[which]).abs() < 2e-3 * MOST[which]) {
                break;
            }
        }
        Self { correlation: best[0], drift: best[1] * best[1] }
    }
}

/// Orthonormal contrasts (Helmert's) of `side` of `n` runs, from `first` on: each a run against the mean of
/// those before it.
fn helmert(first: usize, n: usize, side: usize) -> Vec<Vec<f64>> {
    let contrast = |k: usize| {
        let scale = ((k * (k + 1)) as f64).sqrt();
        let mut of = vec![0.0; n];
        of[first..first + k].fill(-1.0 / scale);
        of[first + k] = k as f64 / scale;
        of
    };
    (1..side).map(contrast).collect()
}

/// By configuration that all runs have and that varies: its ln medians, each over the root of its weight.
fn series(
    sides: [&[LnMedians]; 2],
    order: &[usize],
    weight: &dyn Fn(usize) -> f64,
) -> Vec<Vec<f64>> {
    let runs: Vec<&LnMedians> = sides.into_iter().flatten().collect();
    let configurations = runs.first().map_or(0, |run| run.len());
    let of = |index: usize| -> Option<Vec<f64>> {
        let first = runs[0][index]?;
        let scaled = runs.iter().zip(order);
        scaled.map(|(run, rank)| Some((run[index]? - first) / weight(*rank).sqrt())).collect()
    };
    let varies = |y: &Vec<f64>| {
        let (before, after) = y.split_at(sides[0].len());
        [before, after].iter().any(|side| side.iter().any(|v| *v != side[0]))
    };
    (0..configurations)
        .step_by(configurations.div_ceil(ENOUGH).max(1))
        .filter_map(of)
        .filter(varies)
        .collect()
}

/// The lower factor of a positive definite matrix.
fn cholesky(mut a: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for i in 0..a.len() {
        for j in 0..=i {
            let rest = (0..j).fold(a[i][j], |rest, k| rest - a[i][k] * a[j][k]);
            a[i][j] = if i == j { rest.sqrt() } else { rest / a[j][j] };
        }
        if a[i][i].is_nan() || a[i][i] <= 0.0 {
            return None;
        }
    }
    Some(a)
}

/// L⁻¹z.
fn whitened(factor: &[Vec<f64>], z: &[f64]) -> Vec<f64> {
    let mut white = z.to_vec();
    for i in 0..z.len() {
        let row = &factor[i];
        for j in 0..i {
            white[i] -= row[j] * white[j];
        }
        white[i] /= row[i];
    }
    white
}

/// A factor of the sum of zz′/z′Σ⁻¹z, by columns, given Σ's. `None` where no z varies.
fn scatter(z: &[Vec<f64>], factor: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let m = factor.len();
    let mut sum = vec![vec![0.0; m]; m];
    for z in z {
        let white = whitened(factor, z);
        let square: f64 = white.iter().map(|w| w * w).sum();
        for i in 0..m {
            let scaled = z[i] / square;
            for j in 0..=i {
                sum[i][j] += scaled * z[j];
            }
        }
    }
    // fewer configurations than contrasts span no more than a part
    (0..m).for_each(|i| sum[i][i] *= 1.0 + 1e-9);
    let lower = cholesky(sum)?;
    let column = |j: usize| (0..m).map(|i| if i < j { 0.0 } else { lower[i][j] }).collect();
    Some((0..m).map(column).collect())
}

/// −½·ln|Σ| − (m/2)·ln tr(Σ⁻¹S): how well Σ fits a scatter S, whatever its scale.
fn fit_of(factor: &[Vec<f64>], scatter: &[Vec<f64>]) -> f64 {
    let half_ln_determinant: f64 = (0..factor.len()).map(|i| factor[i][i].ln()).sum();
    let squares = scatter.iter().map(|column| whitened(factor, column));
    let trace: f64 = squares.map(|white| white.iter().map(|w| w * w).sum::<f64>()).sum();
    -half_ln_determinant - factor.len() as f64 / 2.0 * trace.ln()
}

/// Where a function is largest from 0 to `most`: of a grid that is finer near 0 and of where it was before,
/// then by the golden section.
fn maximum(most: f64, before: f64, of: &dyn Fn(f64) -> f64) -> f64 {
    const STEPS: usize = 6;
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let mut grid: Vec<f64> =
        (0..=STEPS).map(|i| most * (i as f64 / STEPS as f64).powi(2)).chain([before]).collect();
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    let values: Vec<f64> = grid.iter().map(|x| of(*x)).collect();
    let best = (0..grid.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0);
    let (mut low, mut high) = (grid[best.saturating_sub(1)], grid[(best + 1).min(grid.len() - 1)]);
    let inner = |low: f64, high: f64| high - GOLDEN * (high - low);
    let (mut a, mut b) = (inner(low, high), inner(high, low));
    let (mut of_a, mut of_b) = (of(a), of(b));
    while high - low > 1e-3 * most {
        if of_a < of_b {
            (low, a, of_a) = (a, b, of_b);
            b = inner(high, low);
            of_b = of(b);
        } else {
            (high, b, of_b) = (b, a, of_a);
            a = inner(low, high);
            of_a = of(a);
        }
    }
    let end = if of_a < of_b { b } else { a };
    if of_a.max(of_b) > values[best] { end } else { grid[best] }
}
