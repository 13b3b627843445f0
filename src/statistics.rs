//! Statistics of launch latencies: the one owner of quantiles, fences and intervals.
//!
//! Quartiles and fences are criterion's (type-7 quantiles, Tukey's fences), so that what is shown
//! while measuring, what criterion stores and what the tables say are the same numbers.

use serde::{Deserialize, Serialize};

/// Quartiles and Tukey's outliers of one configuration's launches.
///
/// Of several passes, each number is the [robust mean](robust_mean) of those of the passes, but for the
/// smallest and largest latency, which are of all; counts are sums. Launches of a pass share whatever
/// state the machine and the memory were in, so that more of them do not make up for few passes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say what the other fields are")]
pub struct Summary {
    pub launches: u64,
    pub mean_ns: f64,
    pub min_ns: f64,
    pub q1_ns: f64,
    pub median_ns: f64,
    pub q3_ns: f64,
    pub max_ns: f64,
    /// Launches between 1.5 and 3 IQR outside the quartiles.
    pub outliers_mild: u64,
    /// Launches more than 3 IQR outside the quartiles.
    pub outliers_severe: u64,
    #[serde(default = "one_pass")]
    pub passes: u32,
    /// Standard deviation of the natural logarithm of the passes' medians: about the relative deviation
    /// from pass to pass. `None` for one pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_pass_sd: Option<f64>,
}

/// What records say that were made before there were passes.
fn one_pass() -> u32 {
    1
}

/// Tukey's fences, outside which are mild and severe outliers: `Q1 − 3·IQR`, `Q1 − 1.5·IQR`,
/// `Q3 + 1.5·IQR`, `Q3 + 3·IQR`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say what they are")]
pub struct Fences {
    pub low_severe: f64,
    pub low_mild: f64,
    pub high_mild: f64,
    pub high_severe: f64,
}

impl Summary {
    /// Summarises the latencies of each pass, in nanoseconds; `None` if a pass has none, or there is no
    /// pass.
    pub fn from_passes<'a>(passes: impl IntoIterator<Item = &'a [f64]>) -> Option<Self> {
        let passes: Vec<Self> =
            passes.into_iter().map(Self::from_latencies).collect::<Option<_>>()?;
        let all = |of: fn(&Self) -> f64| passes.iter().map(of).collect::<Vec<f64>>();
        let mean = |of| robust_mean(&all(of));
        let logs: Vec<f64> = passes.iter().map(|pass| pass.median_ns.ln()).collect();
        Some(Self {
            launches: passes.iter().map(|pass| pass.launches).sum(),
            mean_ns: mean(|pass| pass.mean_ns)?,
            min_ns: all(|pass| pass.min_ns).into_iter().fold(f64::INFINITY, f64::min),
            q1_ns: mean(|pass| pass.q1_ns)?,
            median_ns: mean(|pass| pass.median_ns)?,
            q3_ns: mean(|pass| pass.q3_ns)?,
            max_ns: all(|pass| pass.max_ns).into_iter().fold(0.0, f64::max),
            outliers_mild: passes.iter().map(|pass| pass.outliers_mild).sum(),
            outliers_severe: passes.iter().map(|pass| pass.outliers_severe).sum(),
            passes: passes.len() as u32,
            between_pass_sd: standard_deviation(&logs),
        })
    }

    /// Summarises the latencies of one pass, in nanoseconds; `None` if there are none.
    pub fn from_latencies(latencies_ns: &[f64]) -> Option<Self> {
        let sorted = sorted(latencies_ns);
        let (&min_ns, &max_ns) = (sorted.first()?, sorted.last()?);
        let [q1_ns, median_ns, q3_ns] = [0.25, 0.5, 0.75].map(|p| quantile(&sorted, p));
        let fences = Fences::from_quartiles(q1_ns, q3_ns);
        let severe = |v: &&f64| **v < fences.low_severe || **v > fences.high_severe;
        let outside = |v: &&f64| **v < fences.low_mild || **v > fences.high_mild;
        let outliers_severe = sorted.iter().filter(severe).count() as u64;
        Some(Self {
            launches: sorted.len() as u64,
            mean_ns: latencies_ns.iter().sum::<f64>() / sorted.len() as f64,
            min_ns,
            q1_ns,
            median_ns,
            q3_ns,
            max_ns,
            outliers_mild: sorted.iter().filter(outside).count() as u64 - outliers_severe,
            outliers_severe,
            passes: 1,
            between_pass_sd: None,
        })
    }

    /// Interquartile range over median: the spread the paper calls negligible.
    pub fn relative_iqr(&self) -> f64 {
        (self.q3_ns - self.q1_ns) / self.median_ns
    }
}

impl Fences {
    /// Fences around a box from `q1` to `q3`.
    pub fn from_quartiles(q1: f64, q3: f64) -> Self {
        let iqr = q3 - q1;
        Self {
            low_severe: q1 - 3.0 * iqr,
            low_mild: q1 - 1.5 * iqr,
            high_mild: q3 + 1.5 * iqr,
            high_severe: q3 + 3.0 * iqr,
        }
    }
}

/// A sorted copy, by `f64`'s total order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The type-7 quantile (linear interpolation of `p·(n−1)`) of sorted values, as R, NumPy and
/// criterion compute it; `NaN` for an empty slice.
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let rank = p * last as f64;
    let below = rank.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (rank - below as f64) * (sorted[above] - sorted[below])
}

/// The median of the means of all pairs, each value paired with itself, too (Hodges and Lehmann 1963);
/// `None` without values. Of normal values it is nearly as exact as their mean, and one of four values,
/// or of five, may be anything. Where each value grows, so does it: means of quartiles keep their order.
pub fn robust_mean(values: &[f64]) -> Option<f64> {
    let pairs = values
        .iter()
        .enumerate()
        .flat_map(|(index, a)| values[index..].iter().map(move |b| a / 2.0 + b / 2.0));
    let means = sorted(&pairs.collect::<Vec<f64>>());
    (!means.is_empty()).then(|| quantile(&means, 0.5))
}

/// The standard deviation of a sample, by `n − 1`; `None` for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt())
}

/// Half the width of a 95% interval for the median, relative to the median.
///
/// The interval goes from one launch to another, by [`median_interval_ranks`], and a step of the clock
/// further on either side: both readings of the clock are cut to whole steps, so a latency is known to a
/// step, and equal latencies do not mean equal times. It assumes independent launches, which is enough
/// for a stopping rule, but not for a claim about uncertainty. `None` for fewer than 6 values.
pub fn relative_median_interval(sorted: &[f64], clock_step: f64) -> Option<f64> {
    let (low, high) = median_interval_ranks(sorted.len())?;
    Some(((sorted[high] - sorted[low]) / 2.0 + clock_step) / quantile(sorted, 0.5))
}

/// Ranks (from 0) of the sorted values at the ends of a 95% interval for the median: the narrowest
/// `(l, n−1−l)` with `P(l < B ≤ n−1−l) ≥ 95%`, where `B`, the number of values below the median, is
/// binomial in `n` independent draws with probability ½. `None` if the smallest and the largest value
/// cover less (`n < 6`).
pub fn median_interval_ranks(n: usize) -> Option<(usize, usize)> {
    const EACH_TAIL: f64 = 0.025;
    // by logarithms: 2⁻ⁿ itself is no longer a number from n = 1075 on
    let mut ln_probability = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = ln_probability.exp();
    let mut ranks_under_tail = 0;
    while tail <= EACH_TAIL && ranks_under_tail < n {
        let drawn = ranks_under_tail as f64;
        ln_probability += ((n as f64 - drawn) / (drawn + 1.0)).ln();
        tail += ln_probability.exp();
        ranks_under_tail += 1;
    }
    let low = ranks_under_tail.checked_sub(1)?;
    Some((low, n - 1 - low))
}

/// The mean of those values that are known; `None` for none.
pub(crate) fn mean_of_known(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let known: Vec<f64> = values.flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quartiles_and_outliers_agree_with_numpy() {
        // numpy.quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 40, 16], [.25, .5, .75]) == [3.5, 6, 8.5]
        let summary =
            Summary::from_latencies(&[1., 2., 3., 4., 5., 6., 7., 8., 9., 40., 17.]).unwrap();
        assert_eq!((summary.q1_ns, summary.median_ns, summary.q3_ns), (3.5, 6.0, 8.5));
        // fences at 16 and 23.5: 17 is mild, 40 severe
        assert_eq!((summary.outliers_mild, summary.outliers_severe), (1, 1));
        assert_eq!((summary.min_ns, summary.max_ns, summary.launches), (1.0, 40.0, 11));
        assert_eq!(Summary::from_latencies(&[]), None);
    }

    #[test]
    fn ties_are_no_narrower_than_the_clock_can_tell() {
        let interval = |value, step| relative_median_interval(&[value; 50], step).unwrap();
        assert_eq!(interval(1000.0, 0.0), 0.0);
        assert_eq!(interval(1000.0, 10.0), 0.01);
        // ranks 1 and 8 of ten: half of 8 − 1, over 4.5
        let ten: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(relative_median_interval(&ten, 0.0), Some(3.5 / 4.5));
        assert_eq!(relative_median_interval(&ten[..5], 0.0), None);
    }

    #[test]
    fn one_wild_value_of_four_or_five_moves_a_robust_mean_little() {
        assert_eq!(robust_mean(&[]), None);
        assert_eq!(robust_mean(&[7.0]), Some(7.0));
        // means of pairs: 1, 1.5, 2
        assert_eq!(robust_mean(&[1.0, 2.0]), Some(1.5));
        // R: wilcox.test(c(1, 2, 3, 4, 1e6), conf.int = TRUE, exact = FALSE)$estimate is about 3
        assert_eq!(robust_mean(&[1.0, 2.0, 3.0, 4.0, 1e6]), Some(3.0));
        assert_eq!(robust_mean(&[1.0, 2.0, 3.0, 1e6]), Some(2.75));
    }

    #[test]
    fn a_summary_of_passes_is_of_their_summaries_and_knows_how_they_differ() {
        let passes: [&[f64]; 2] = [&[1.0, 2.0, 3.0], &[4.0; 9]];
        let summary = Summary::from_passes(passes).unwrap();
        assert_eq!((summary.launches, summary.passes), (12, 2));
        // not the median of all twelve, which is 4
        assert_eq!((summary.median_ns, summary.q1_ns, summary.q3_ns), (3.0, 2.75, 3.25));
        assert_eq!((summary.min_ns, summary.max_ns), (1.0, 4.0));
        let deviation = (4.0f64 / 2.0).ln() / 2.0f64.sqrt();
        assert!((summary.between_pass_sd.unwrap() - deviation).abs() < 1e-15);
        let one = Summary::from_passes([passes[0]]);
        assert_eq!(one, Summary::from_latencies(passes[0]));
        assert_eq!(Summary::from_passes([passes[0], &[]]), None);
        assert_eq!(Summary::from_passes([]), None);
    }

    proptest! {
        #[test]
        fn quantiles_of_passes_are_ordered(
            passes in prop::collection::vec(prop::collection::vec(1.0f64..1e9, 1..20), 1..7)
        ) {
            let s = Summary::from_passes(passes.iter().map(Vec::as_slice)).unwrap();
            prop_assert!(s.min_ns <= s.q1_ns && s.q1_ns <= s.median_ns);
            prop_assert!(s.median_ns <= s.q3_ns && s.q3_ns <= s.max_ns);
            prop_assert!(s.between_pass_sd.is_none_or(|sd| sd >= 0.0));
        }

        #[test]
        fn quantiles_are_ordered_and_inside_the_data(
            values in prop::collection::vec(1.0f64..1e9, 1..200)
        ) {
            let s = Summary::from_latencies(&values).unwrap();
            prop_assert!(s.min_ns <= s.q1_ns && s.q1_ns <= s.median_ns);
            prop_assert!(s.median_ns <= s.q3_ns && s.q3_ns <= s.max_ns);
            prop_assert!(s.outliers_mild + s.outliers_severe <= s.launches);
        }
    }
}
