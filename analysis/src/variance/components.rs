//! Variance components: how much of the differences between runs comes from the measuring order, from
//! the run, and from launches within a run.

use std::collections::BTreeMap;

use serde::Serialize;

/// The median of one run of one configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunMedian {
    /// The run's seed: runs with equal ones measured in the same order.
    pub seed: u64,
    pub ln_median: f64,
    /// Squared standard error of that, from the launches of the run.
    pub squared_error: f64,
}

/// Variance components of the logarithm of a run's median.
///
/// Nested, unbalanced: `ln median = µ + order + run in order + error`. With `a` orders, `N` runs and
/// `n_i` runs of order `i`, mean squares have the expectations
///
/// ```text
/// between runs of an order   σ²_run + σ²_within                    N − a degrees of freedom
/// between orders             σ²_run + σ²_within + n₀·σ²_order      a − 1
///                            n₀ = (N − Σ n_i²/N) / (a − 1)
/// ```
///
/// which are solved for the components (Henderson's method 1; Searle, Casella and McCulloch 1992,
/// sections 3.6 and 5.2). `σ²_within` is the mean squared standard error of the medians. Over several
/// configurations, sums of squares and degrees of freedom are added up first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Components {
    /// Configurations with at least two runs.
    pub configurations: usize,
    /// Between measuring orders; `None` with one order, or where each run has its own.
    pub orders: Option<Component>,
    /// Between runs of the same order; `None` where no two runs have the same.
    pub runs: Option<Component>,
    /// Between runs of different orders, order and run together, where each run has its own order:
    /// then they cannot be told apart.
    pub orders_and_runs: Option<Component>,
    /// Within runs: by how much the median of a run's launches is uncertain.
    pub within: Component,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Component {
    /// Of logarithms, at least 0.
    pub variance: f64,
    /// Its square root, in percent: by how much medians differ typically.
    pub sd_percent: f64,
    /// Whether the estimate was negative and 0 was put in its place: the component is not larger
    /// than chance makes it look.
    pub truncated: bool,
}

impl Component {
    fn from_estimate(estimate: f64) -> Self {
        let variance = estimate.max(0.0);
        Self { variance, sd_percent: variance.sqrt() * 100.0, truncated: estimate < 0.0 }
    }
}

/// What components are computed from; those of configurations add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Squares {
    configurations: usize,
    runs: usize,
    orders: SumOfSquares,
    runs_of_order: SumOfSquares,
    /// `(a − 1)·n₀`.
    scaled_n0: f64,
    squared_errors: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct SumOfSquares {
    sum: f64,
    freedom: usize,
}

impl SumOfSquares {
    fn mean(self) -> Option<f64> {
        (self.freedom > 0).then(|| self.sum / self.freedom as f64)
    }

    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.freedom += other.freedom;
    }
}

impl Squares {
    /// Of one configuration; nothing where there are fewer than two runs.
    pub fn from_medians(medians: &[RunMedian]) -> Self {
        let n = medians.len();
        if n < 2 {
            return Self::default();
        }
        let mut orders: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for median in medians {
            orders.entry(median.seed).or_default().push(median.ln_median);
        }
        let grand = medians.iter().map(|m| m.ln_median).sum::<f64>() / n as f64;
        let mut squares =
            Self { configurations: 1, runs: n, scaled_n0: n as f64, ..Self::default() };
        squares.orders.freedom = orders.len() - 1;
        squares.runs_of_order.freedom = n - orders.len();
        for logs in orders.values() {
            let count = logs.len() as f64;
            let mean = logs.iter().sum::<f64>() / count;
            squares.orders.sum += count * (mean - grand).powi(2);
            squares.runs_of_order.sum += logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
            squares.scaled_n0 -= count * count / n as f64;
        }
        squares.squared_errors = medians.iter().map(|m| m.squared_error).sum();
        squares
    }

    pub fn add(&mut self, other: &Self) {
        self.configurations += other.configurations;
        self.runs += other.runs;
        self.orders.add(other.orders);
        self.runs_of_order.add(other.runs_of_order);
        self.scaled_n0 += other.scaled_n0;
        self.squared_errors += other.squared_errors;
    }

    /// The components; `None` where no configuration has two runs.
    pub fn components(&self) -> Option<Components> {
        if self.configurations == 0 {
            return None;
        }
        let within = self.squared_errors / self.runs as f64;
        let (between_orders, between_runs) = (self.orders.mean(), self.runs_of_order.mean());
        let n0 = self.scaled_n0 / self.orders.freedom as f64;
        Some(Components {
            configurations: self.configurations,
            orders: between_orders
                .zip(between_runs)
                .map(|(o, r)| Component::from_estimate((o - r) / n0)),
            runs: between_runs.map(|square| Component::from_estimate(square - within)),
            orders_and_runs: between_orders
                .filter(|_| between_runs.is_none())
                .map(|square| Component::from_estimate(square - within)),
            within: Component::from_estimate(within),
        })
    }
}
