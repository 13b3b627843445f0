//! Whether latencies have more than one mode, by Hartigan's dip, and where they lie.

use alpha_flops::statistics::{Fences, quantile};
use serde::Serialize;

/// Departure from one mode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Modes {
    /// Hartigan's dip of the launches, equal ones spread over a step of the clock.
    pub dip: f64,
    /// What launches with one mode exceed in 1 of 1,000 cases, for as many as they are effectively.
    pub critical_dip: f64,
    /// Where the modes lie, where the dip exceeds that.
    pub split: Option<ModeSplit>,
}

/// Two groups of launches, divided where the logarithms' variance between them is largest (Otsu
/// 1979), launches outside Tukey's outer fences not considered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ModeSplit {
    pub lower: Mode,
    pub upper: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mode {
    pub at_ns: f64,
    /// Its part of all launches, in percent.
    pub share_percent: f64,
}

impl ModeSplit {
    /// How much slower the upper mode is, in percent of the lower.
    pub fn apart_percent(&self) -> f64 {
        (self.upper.at_ns / self.lower.at_ns - 1.0) * 100.0
    }
}

impl Modes {
    /// Of sorted launches that are worth `effective` independent ones; `None` under four.
    pub fn from_sorted(sorted: &[f64], effective: f64) -> Option<Self> {
        let critical_dip = critical_dip(effective)?;
        let dip = dip(&spread_ties(sorted));
        let split = if dip > critical_dip { split(sorted) } else { None };
        Some(Self { dip, critical_dip, split })
    }
}

/// Sorted values with equal ones spread evenly over one step, the smallest difference of unequal
/// ones: a clock cuts times to steps, and each step would be a mode. Nothing random is added.
pub fn spread_ties(sorted: &[f64]) -> Vec<f64> {
    let differences = sorted.windows(2).map(|pair| pair[1] - pair[0]);
    let step = differences.filter(|d| *d > 0.0).fold(f64::INFINITY, f64::min);
    if !step.is_finite() {
        return sorted.to_vec();
    }
    let mut spread = Vec::with_capacity(sorted.len());
    for ties in sorted.chunk_by(|a, b| a == b) {
        let n = ties.len() as f64;
        let within = |index: usize| step * ((index as f64 + 0.5) / n - 0.5);
        spread.extend(ties.iter().enumerate().map(|(index, value)| value + within(index)));
    }
    spread
}

/// Hartigan's dip: the largest difference between the distribution function of sorted values and
/// the nearest one with a single mode (Hartigan and Hartigan 1985), at least `1/(2n)`; 0 for none.
///
/// The nearest is convex up to an interval and concave after it. From the whole range on, the interval
/// shrinks to where the largest convex function under the steps and the smallest concave one above
/// them are furthest apart, until that is no further than the deviations outside it.
pub fn dip(sorted: &[f64]) -> f64 {
    let Some(steps) = Steps::from_sorted(sorted) else { return 0.0 };
    let (mut low, mut high) = (0, steps.at.len() - 1);
    let mut deviation = 1.0f64;
    loop {
        let under = Bound::under(&steps, low, high);
        let above = Bound::above(&steps, low, high);
        let gap = |index: usize| above.at(index) - under.at(index);
        // a largest gap is at a corner; where it lasts from one to another, what lies between would
        // leave the interval as it is
        let corners = under.corners.iter().chain(&above.corners).copied();
        let Some(widest) = corners.max_by(|a, b| gap(*a).total_cmp(&gap(*b))) else { break };
        if gap(widest) <= deviation {
            break;
        }
        let left = under.corner_up_to(widest);
        let right = above.corner_from(widest);
        for index in low..left {
            deviation = deviation.max(steps.up_to[index] - under.at(index));
        }
        for index in right + 1..=high {
            deviation = deviation.max(above.at(index) - steps.below[index]);
        }
        if (left, right) == (low, high) {
            break;
        }
        (low, high) = (left, right);
    }
    deviation / (2.0 * sorted.len() as f64)
}

/// The distribution function, times the number of values.
struct Steps {
    /// Distinct values, ascending.
    at: Vec<f64>,
    /// How many are smaller than each.
    below: Vec<f64>,
    /// How many are not larger.
    up_to: Vec<f64>,
}

impl Steps {
    fn from_sorted(sorted: &[f64]) -> Option<Self> {
        let mut steps = Self { at: Vec::new(), below: Vec::new(), up_to: Vec::new() };
        let mut count = 0.0;
        for ties in sorted.chunk_by(|a, b| a == b) {
            steps.at.push(ties[0]);
            steps.below.push(count);
            count += ties.len() as f64;
            steps.up_to.push(count);
        }
        (!steps.at.is_empty()).then_some(steps)
    }
}

/// A convex function under the steps from one of them to another, or a concave one above them.
struct Bound {
    first: usize,
    /// Steps that it touches with a bend, and both ends.
    corners: Vec<usize>,
    /// Its value at each step from `first` on.
    values: Vec<f64>,
}

impl Bound {
    fn under(steps: &Steps, low: usize, high: usize) -> Self {
        Self::touching(&steps.at, &steps.below, low, high, 1.0)
    }

    fn above(steps: &Steps, low: usize, high: usize) -> Self {
        Self::touching(&steps.at, &steps.up_to, low, high, -1.0)
    }

    /// The convex hull's lower side (`sign` 1) or upper side (−1).
    fn touching(at: &[f64], height: &[f64], low: usize, high: usize, sign: f64) -> Self {
        let mut corners: Vec<usize> = Vec::new();
        for next in low..=high {
            while let [.., before, last] = corners[..] {
                let rise = |from: usize, to: usize| sign * (height[to] - height[from]);
                let bends_inwards = rise(before, last) * (at[next] - at[last])
                    >= rise(last, next) * (at[last] - at[before]);
                if !bends_inwards {
                    break;
                }
                corners.pop();
            }
            corners.push(next);
        }
        let mut values = vec![height[low]];
        for pair in corners.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let slope = (height[to] - height[from]) / (at[to] - at[from]);
            values.extend((from + 1..to).map(|i| height[from] + slope * (at[i] - at[from])));
            values.push(height[to]);
        }
        Self { first: low, corners, values }
    }

    fn at(&self, index: usize) -> f64 {
        self.values[index - self.first]
    }

    fn corner_up_to(&self, index: usize) -> usize {
        self.corners[self.corners.partition_point(|corner| *corner <= index) - 1]
    }

    fn corner_from(&self, index: usize) -> usize {
        self.corners[self.corners.partition_point(|corner| *corner < index)]
    }
}

/// Number of launches and √n times the dip that 1 of 1,000 uniform samples exceeds: of all
/// distributions with one mode, none has larger dips in the limit. Source: the table of the
/// Python package diptest, printed by `tests/goldens/variance.py`.
const CRITICAL: [(f64, f64); 21] = [
    (4.0, 0.4887),
    (5.0, 0.4464),
    (6.0, 0.5377),
    (7.0, 0.5353),
    (8.0, 0.5501),
    (9.0, 0.5660),
    (10.0, 0.5711),
    (15.0, 0.6021),
    (20.0, 0.6197),
    (30.0, 0.6417),
    (50.0, 0.6653),
    (100.0, 0.6845),
    (200.0, 0.7031),
    (500.0, 0.7159),
    (1000.0, 0.7232),
    (2000.0, 0.7276),
    (5000.0, 0.7318),
    (10000.0, 0.7318),
    (20000.0, 0.7367),
    (40000.0, 0.7388),
    (72000.0, 0.7386),
];

/// The dip that launches with one mode exceed in 1 of 1,000 cases: √n times it is interpolated in
/// ln n, and that of the largest n holds beyond. `None` under the smallest n.
fn critical_dip(effective: f64) -> Option<f64> {
    let after = CRITICAL.partition_point(|(n, _)| *n <= effective);
    let (n, scaled) = *CRITICAL.get(after.checked_sub(1)?)?;
    let scaled = CRITICAL.get(after).map_or(scaled, |(next_n, next)| {
        scaled + (next - scaled) * (effective / n).ln() / (next_n / n).ln()
    });
    Some(scaled / effective.sqrt())
}

/// `None` where all launches inside the fences are equal.
fn split(sorted: &[f64]) -> Option<ModeSplit> {
    let fences = Fences::from_quartiles(quantile(sorted, 0.25), quantile(sorted, 0.75));
    let first = sorted.partition_point(|value| *value < fences.low_severe);
    let end = sorted.partition_point(|value| *value <= fences.high_severe);
    let logs: Vec<f64> = sorted[first..end].iter().map(|value| value.ln()).collect();
    let (n, total) = (logs.len() as f64, logs.iter().sum::<f64>());
    let (mut sum, mut best) = (0.0, None);
    for (index, pair) in logs.windows(2).enumerate() {
        sum += pair[0];
        let count = (index + 1) as f64;
        let difference = (total - sum) / (n - count) - sum / count;
        let between = count * (n - count) * difference * difference;
        if pair[0] < pair[1] && best.is_none_or(|(largest, _)| between > largest) {
            best = Some((between, first + index + 1));
        }
    }
    let (lower, upper) = sorted.split_at(best?.1);
    let mode = |part: &[f64]| Mode {
        at_ns: quantile(part, 0.5),
        share_percent: 100.0 * part.len() as f64 / sorted.len() as f64,
    };
    Some(ModeSplit { lower: mode(lower), upper: mode(upper) })
}
