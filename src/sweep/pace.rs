//! A time budget: what a configuration is expected to take, and whether that is too large a part.

use std::time::Duration;

use crate::shape::ConvShape;

/// Largest part of the budget that one configuration may take: a hundred of the longest would
/// otherwise be all that is measured.
const LARGEST_SHARE: f64 = 0.01;

/// Multiply–adds a second where nothing has been measured yet: fewer than any machine this is for
/// makes once a convolution is large enough to be in doubt.
const UNKNOWN_RATE: f64 = 1e9;

/// How much longer a size may take than its rate says, of which no like has been measured.
const DOUBT: f64 = 2.0;

/// Time measured so far, by the binary logarithm of multiply–adds.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    budget: Option<Duration>,
    used: Duration,
    bins: [Bin; 64],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    macs: f64,
    seconds: f64,
}

impl Pace {
    pub(super) fn new(budget: Option<Duration>) -> Self {
        Self { budget, used: Duration::ZERO, bins: [Bin::default(); 64] }
    }

    /// Time that something took which says nothing about configurations.
    pub(super) fn spend(&mut self, took: Duration) {
        self.used += took;
    }

    /// What preparing and measuring all launches of a shape takes, or would.
    pub(super) fn learn(&mut self, shape: ConvShape, took: Duration) {
        let (bin, macs) = Self::bin(shape);
        self.bins[bin].macs += macs;
        self.bins[bin].seconds += took.as_secs_f64();
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.budget.is_some_and(|budget| self.used >= budget)
    }

    pub(super) fn left(&self) -> Option<Duration> {
        self.budget.map(|budget| budget.saturating_sub(self.used))
    }

    /// What one configuration may take; `None` without a budget.
    pub(super) fn most(&self) -> Option<Duration> {
        self.budget.map(|budget| budget.mul_f64(LARGEST_SHARE))
    }

    /// What a shape should take, in seconds: by the rate of its size, or of the nearest smaller one
    /// measured, for rates grow with size.
    pub(super) fn expected_s(&self, shape: ConvShape) -> f64 {
        let (bin, macs) = Self::bin(shape);
        let known = |bin: &&Bin| bin.seconds > 0.0;
        if let Some(same) = Some(&self.bins[bin]).filter(known) {
            return same.seconds * macs / same.macs;
        }
        if let Some(smaller) = self.bins[..bin].iter().rev().find(known) {
            return DOUBT * smaller.seconds * macs / smaller.macs;
        }
        match self.bins[bin..].iter().find(known) {
            // no more than a larger one: at most in proportion to its whole
            Some(larger) => DOUBT * larger.seconds * macs / larger.macs,
            None => macs / UNKNOWN_RATE,
        }
    }

    fn bin(shape: ConvShape) -> (usize, f64) {
        let macs = shape.macs().0.max(1);
        (macs.ilog2() as usize, macs as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(id: &str) -> ConvShape {
        id.parse().unwrap()
    }

    #[test]
    fn expectations_follow_what_was_measured_of_the_size_or_the_next_smaller() {
        let mut pace = Pace::new(Some(Duration::from_secs(100)));
        let (small, large) =
            (shape("h=8_w=8_in=10_out=10_k=1"), shape("h=8_w=8_in=1000_out=100_k=1"));
        assert_eq!(pace.expected_s(small), 6400.0 / UNKNOWN_RATE);
        pace.learn(small, Duration::from_millis(1));
        pace.learn(small, Duration::from_millis(3));
        assert!((pace.expected_s(small) - 0.002).abs() < 1e-12);
        // a thousand times the multiply–adds, in doubt
        assert!((pace.expected_s(large) - DOUBT * 2.0).abs() < 1e-9);
        pace.learn(large, Duration::from_millis(10));
        assert!((pace.expected_s(large) - 0.01).abs() < 1e-12);
    }

    #[test]
    fn a_budget_is_used_up_by_what_is_spent() {
        let mut pace = Pace::new(Some(Duration::from_secs(2)));
        assert_eq!(pace.most(), Some(Duration::from_millis(20)));
        pace.spend(Duration::from_millis(1999));
        assert!(!pace.is_used_up());
        pace.spend(Duration::from_millis(1));
        assert!(pace.is_used_up() && pace.left() == Some(Duration::ZERO));
        let mut endless = Pace::new(None);
        endless.spend(Duration::from_secs(1 << 40));
        assert!(!endless.is_used_up() && endless.left().is_none() && endless.most().is_none());
    }
}
