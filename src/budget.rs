//! What measuring a convolution should cost, and how a time budget is divided.
//!
//! A [run](crate::run) measures every configuration, so each gets a share of the budget by its cost
//! ([`Shares`]). A [sweep](crate::sweep) has more configurations than time: it skips those that would
//! take too large a part of the budget, by the times of those measured before ([`MeasuredRates`]).

use std::collections::VecDeque;
use std::time::Duration;

use crate::backend::BackendKind;
use crate::shape::ConvShape;
use crate::statistics::{quantile, sorted};
use crate::units::{Bytes, MultiplyAdds};

/// The time that measuring may take in all, and what of it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeBudget {
    /// `None`: as long as it needs.
    total: Option<Duration>,
    used: Duration,
}

impl TimeBudget {
    pub(crate) fn new(total: Option<Duration>) -> Self {
        Self { total, used: Duration::ZERO }
    }

    pub(crate) fn spend(&mut self, took: Duration) {
        self.used += took;
    }

    /// `None` without a budget, as in what follows.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.total.map(|total| total.saturating_sub(self.used))
    }

    pub(crate) fn fraction(&self, fraction: f64) -> Option<Duration> {
        self.total.map(|total| total.mul_f64(fraction))
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// What one launch should cost, in multiply–adds: those it makes, those in whose time its bytes are
/// moved, and what a configuration costs whatever its shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CostModel {
    macs: fn(ConvShape) -> MultiplyAdds,
    constant: f64,
}

impl CostModel {
    /// The model by which a run divides its budget.
    pub(crate) fn for_run(kind: &BackendKind) -> Self {
        Self { macs: |shape| shape.macs(), constant: kind.constant_cost.0 as f64 }
    }

    /// The model by which a sweep expects times.
    pub(crate) fn for_sweep(kind: &BackendKind) -> Self {
        Self { macs: kind.executed_macs, constant: 0.0 }
    }

    pub(crate) fn cost(&self, shape: ConvShape) -> f64 {
        /// Multiply–adds in the time a byte moves: about what machines of today balance at.
        const MACS_PER_BYTE: f64 = 10.0;
        let (MultiplyAdds(macs), Bytes(bytes)) = ((self.macs)(shape), shape.min_bytes_moved());
        macs as f64 + MACS_PER_BYTE * bytes as f64 + self.constant
    }
}

/// Divides a budget among all configurations to come: each gets the part of what is left that its
/// cost is of the cost to come.
#[derive(Debug)]
pub(crate) struct Shares {
    budget: TimeBudget,
    /// Time that is not divided yet.
    kept: Duration,
    model: CostModel,
    cost_left: f64,
    cost_done: f64,
}

impl Shares {
    /// Divides `budget`, but for a part of it that is kept until [`Self::release`].
    pub(crate) fn new(budget: Option<Duration>, kept: f64, model: CostModel) -> Self {
        let budget = TimeBudget::new(budget);
        let kept = budget.fraction(kept).unwrap_or_default();
        Self { budget, kept, model, cost_left: 0.0, cost_done: 0.0 }
    }

    /// Has the whole budget divided from now on.
    pub(crate) fn release(&mut self) {
        self.kept = Duration::ZERO;
    }

    /// What is left of the budget; `None` without one.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.budget.left().map(|left| left.saturating_sub(self.kept))
    }

    pub(crate) fn expect(&mut self, to_come: impl Iterator<Item = ConvShape>) {
        self.cost_left = to_come.map(|shape| self.model.cost(shape)).sum();
    }

    pub(crate) fn allowance(&self, shape: ConvShape) -> Option<Duration> {
        let share = (self.model.cost(shape) / self.cost_left).clamp(0.0, 1.0);
        self.left().map(|left| left.mul_f64(share))
    }

    /// Counts a configuration as done.
    pub(crate) fn account(&mut self, shape: ConvShape, took: Duration) {
        self.budget.spend(took);
        let cost = self.model.cost(shape);
        self.cost_left -= cost;
        self.cost_done += cost;
    }

    /// What the rest should take, by the rate so far: allowances follow the same cost, so it holds
    /// with a budget, too.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        let ratio = (self.cost_left / self.cost_done).max(0.0);
        Duration::try_from_secs_f64(self.budget.used.as_secs_f64() * ratio).ok()
    }
}

/// What shapes should take by the times of those measured, in bins by the binary logarithm of cost.
#[derive(Clone, Debug)]
pub(crate) struct MeasuredRates {
    model: CostModel,
    bins: [Bin; 64],
}

#[derive(Clone, Debug, Default)]
struct Bin {
    /// Seconds per unit of cost of the shapes that were measured last.
    latest: VecDeque<f64>,
    /// Their median: what the machine did besides while one of them was measured does not matter.
    median: Option<f64>,
}

impl Bin {
    fn learn(&mut self, seconds_per_cost: f64) {
        /// Enough that one or two of them hardly move the median, few enough that it follows the machine.
        const LATEST: usize = 15;
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(seconds_per_cost);
        self.median = Some(quantile(&sorted(self.latest.make_contiguous()), 0.5));
    }
}

/// Cost a second where nothing has been measured yet: less than any machine this is for gets through
/// once a convolution is large enough to be in doubt.
const UNKNOWN_RATE: f64 = 1e9;

/// How much longer than by its rate a shape may take where none of its size was measured.
const DOUBT: f64 = 2.0;

/// Convolutions of one cost differ that much in time.
const SPREAD: f64 = 4.0;

impl MeasuredRates {
    pub(crate) fn new(model: CostModel) -> Self {
        Self { model, bins: std::array::from_fn(|_| Bin::default()) }
    }

    /// Takes in what preparing a shape and all its launches took, or would take.
    pub(crate) fn learn(&mut self, shape: ConvShape, took: Duration) {
        let (bin, cost) = self.bin(shape);
        self.bins[bin].learn(took.as_secs_f64() / cost);
    }

    /// What a shape should take, in seconds: by the rate of its bin, or of the nearest smaller one
    /// with a time, for rates grow with size.
    fn expected_s(&self, shape: ConvShape) -> f64 {
        let (bin, cost) = self.bin(shape);
        if let Some(same) = self.bins[bin].median {
            return same * cost;
        }
        let (smaller, larger) = self.bins.split_at(bin);
        match smaller.iter().rev().chain(larger).find_map(|bin| bin.median) {
            Some(other) => DOUBT * other * cost,
            None => cost / UNKNOWN_RATE,
        }
    }

    /// What a shape should take, in seconds, where that is so much more than `most` that not even one
    /// launch is worth its time.
    pub(crate) fn hopeless_s(&self, shape: ConvShape, most: Duration) -> Option<f64> {
        let expected_s = self.expected_s(shape);
        (expected_s > SPREAD * most.as_secs_f64()).then_some(expected_s)
    }

    /// Whether a shape could take less than that on the machines that this is for, whatever was measured:
    /// what else this one did meanwhile may have taught too long times.
    pub(crate) fn may_be_worth_a_launch(&self, shape: ConvShape, most: Duration) -> bool {
        self.model.cost(shape) / UNKNOWN_RATE <= SPREAD * most.as_secs_f64()
    }

    fn bin(&self, shape: ConvShape) -> (usize, f64) {
        let cost = self.model.cost(shape);
        (cost.max(1.0).log2() as usize, cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{cpu, cudnn};
    use crate::experiment::{Experiment, Resolution};

    fn shape(id: &str) -> ConvShape {
        id.parse().unwrap()
    }

    #[test]
    fn expectations_follow_what_was_measured_of_the_cost_or_the_next_smaller() {
        let model = CostModel::for_sweep(&cpu::KIND);
        let mut rates = MeasuredRates::new(model);
        let small = shape("h=8_w=8_in=10_out=10_k=1");
        let large = shape("h=8_w=8_in=1000_out=1000_k=1");
        let ratio = model.cost(large) / model.cost(small);
        assert_eq!(rates.expected_s(small), model.cost(small) / UNKNOWN_RATE);
        rates.learn(small, Duration::from_millis(1));
        rates.learn(small, Duration::from_millis(3));
        assert!((rates.expected_s(small) - 0.002).abs() < 1e-12);
        // so many times the cost, in doubt
        assert!((rates.expected_s(large) - DOUBT * 0.002 * ratio).abs() < 1e-9);
        rates.learn(large, Duration::from_millis(10));
        assert!((rates.expected_s(large) - 0.01).abs() < 1e-12);
        let second = Duration::from_secs(1);
        assert_eq!(rates.hopeless_s(large, second), None);
        // one that was disturbed is not believed, but two of three are
        rates.learn(large, Duration::from_millis(10));
        rates.learn(large, Duration::from_secs(20));
        assert_eq!(rates.hopeless_s(large, second), None);
        rates.learn(large, Duration::from_secs(20));
        rates.learn(large, Duration::from_secs(20));
        assert!(rates.hopeless_s(large, second).is_some());
        assert!(rates.may_be_worth_a_launch(large, second));
        assert!(!rates.may_be_worth_a_launch(large, Duration::from_nanos(1)));
        // the machine is as fast again as it was
        for _ in 0..15 {
            rates.learn(large, Duration::from_millis(10));
        }
        assert!((rates.expected_s(large) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn taps_on_padding_cost_a_cpu_nothing() {
        let padded = shape("h=1_w=1_in=10_out=10_k=14");
        let cost = |kind: &BackendKind| CostModel::for_sweep(kind).cost(padded);
        assert!(cost(&cudnn::KIND) > 2.0 * padded.macs().0 as f64);
        assert!(cost(&cpu::KIND) < cost(&cudnn::KIND));
    }

    #[test]
    fn a_budget_is_used_up_by_what_is_spent() {
        let mut budget = TimeBudget::new(Some(Duration::from_secs(2)));
        assert_eq!(budget.fraction(0.01), Some(Duration::from_millis(20)));
        budget.spend(Duration::from_millis(1999));
        assert!(!budget.is_used_up());
        budget.spend(Duration::from_millis(1));
        assert!(budget.is_used_up() && budget.left() == Some(Duration::ZERO));
        let mut endless = TimeBudget::new(None);
        endless.spend(Duration::from_secs(1 << 40));
        assert!(!endless.is_used_up() && endless.left().is_none());
        assert!(endless.fraction(0.01).is_none());
    }

    #[test]
    fn allowances_of_configurations_that_use_theirs_add_up_to_the_budget() {
        let shapes: Vec<ConvShape> = Experiment::all()
            .iter()
            .flat_map(|experiment| experiment.configurations(Resolution::Original))
            .map(|configuration| configuration.shape)
            .collect();
        let model = CostModel::for_run(&cpu::KIND);
        let mut shares = Shares::new(Some(Duration::from_secs(100)), 0.2, model);
        shares.expect(shapes.iter().copied());
        let mut total = Duration::ZERO;
        for shape in shapes {
            let allowance = shares.allowance(shape).unwrap();
            total += allowance;
            shares.account(shape, allowance);
        }
        assert!((total.as_secs_f64() - 80.0).abs() < 0.01, "{total:?}");
        assert!(shares.left().unwrap() < Duration::from_millis(10));
        shares.release();
        assert!((shares.left().unwrap().as_secs_f64() - 20.0).abs() < 0.01);
    }
}
