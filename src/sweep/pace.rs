//! A time budget: what a configuration is expected to take, and whether that is too large a part.

use std::time::Duration;

use crate::settings::BackendKind;
use crate::shape::ConvShape;
use crate::units::Bytes;

/// Largest part of the budget that one configuration may take: a hundred of the longest would
/// otherwise be all that is measured.
const LARGEST_SHARE: f64 = 0.01;

/// Cost a second where nothing has been measured yet: less than any machine this is for gets through
/// once a convolution is large enough to be in doubt.
const UNKNOWN_RATE: f64 = 1e9;

/// How much longer a size may take than its rate says, of which no like has been measured.
const DOUBT: f64 = 2.0;

/// Convolutions of one cost differ that much in time: of one that should take up to so many times what
/// it may, a first launch decides.
const SPREAD: f64 = 4.0;

/// Time measured so far, by the binary logarithm of [`cost`].
#[derive(Clone, Debug)]
pub(super) struct Pace {
    kind: BackendKind,
    budget: Option<Duration>,
    used: Duration,
    bins: [Bin; 64],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    cost: f64,
    seconds: f64,
}

impl Pace {
    pub(super) fn new(kind: BackendKind, budget: Option<Duration>) -> Self {
        Self { kind, budget, used: Duration::ZERO, bins: [Bin::default(); 64] }
    }

    /// Time that something took which says nothing about configurations.
    pub(super) fn spend(&mut self, took: Duration) {
        self.used += took;
    }

    /// What preparing and measuring all launches of a shape takes, or would.
    pub(super) fn learn(&mut self, shape: ConvShape, took: Duration) {
        let (bin, cost) = self.bin(shape);
        self.bins[bin].cost += cost;
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

    /// What a shape should take, in seconds, where that is so long that there is no use in trying.
    pub(super) fn hopeless_s(&self, shape: ConvShape) -> Option<f64> {
        let expected_s = self.expected_s(shape);
        let most = self.most()?.as_secs_f64();
        (expected_s > SPREAD * most).then_some(expected_s)
    }

    /// What a shape should take, in seconds: by the rate of its cost, or of the nearest smaller one
    /// measured, for rates grow with size.
    fn expected_s(&self, shape: ConvShape) -> f64 {
        let (bin, cost) = self.bin(shape);
        let known = |bin: &&Bin| bin.seconds > 0.0;
        let (smaller, larger) = self.bins.split_at(bin);
        let mut same_or_larger = larger.iter();
        if let Some(same) = same_or_larger.next().filter(known) {
            return same.seconds * cost / same.cost;
        }
        match smaller.iter().rev().find(known).or_else(|| same_or_larger.find(known)) {
            Some(other) => DOUBT * other.seconds * cost / other.cost,
            None => cost / UNKNOWN_RATE,
        }
    }

    fn bin(&self, shape: ConvShape) -> (usize, f64) {
        let cost = cost(self.kind, shape);
        (cost.max(1.0).log2() as usize, cost)
    }
}

/// What a launch costs, in multiply–adds: those it makes, and what moving its bytes would have
/// computed meanwhile.
pub(super) fn cost(kind: BackendKind, shape: ConvShape) -> f64 {
    /// Multiply–adds in the time a byte moves: about what machines of today balance at.
    const MACS_PER_BYTE: f64 = 10.0;
    let macs = match kind {
        // it leaves padding out
        BackendKind::Cpu => shape.macs_on_image(),
        BackendKind::Cudnn => shape.macs(),
    };
    let Bytes(bytes) = shape.min_bytes_moved();
    macs.0 as f64 + MACS_PER_BYTE * bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(id: &str) -> ConvShape {
        id.parse().unwrap()
    }

    #[test]
    fn expectations_follow_what_was_measured_of_the_cost_or_the_next_smaller() {
        let mut pace = Pace::new(BackendKind::Cpu, Some(Duration::from_secs(100)));
        let small = shape("h=8_w=8_in=10_out=10_k=1");
        let large = shape("h=8_w=8_in=1000_out=1000_k=1");
        let ratio = cost(BackendKind::Cpu, large) / cost(BackendKind::Cpu, small);
        assert_eq!(pace.expected_s(small), cost(BackendKind::Cpu, small) / UNKNOWN_RATE);
        pace.learn(small, Duration::from_millis(1));
        pace.learn(small, Duration::from_millis(3));
        assert!((pace.expected_s(small) - 0.002).abs() < 1e-12);
        // so many times the cost, in doubt
        assert!((pace.expected_s(large) - DOUBT * 0.002 * ratio).abs() < 1e-9);
        pace.learn(large, Duration::from_millis(10));
        assert!((pace.expected_s(large) - 0.01).abs() < 1e-12);
        assert_eq!(pace.hopeless_s(large), None);
        pace.learn(large, Duration::from_secs(20));
        assert!(pace.hopeless_s(large).is_some());
    }

    #[test]
    fn taps_on_padding_cost_a_cpu_nothing() {
        let padded = shape("h=1_w=1_in=10_out=10_k=14");
        assert!(cost(BackendKind::Cudnn, padded) > 2.0 * padded.macs().0 as f64);
        assert!(cost(BackendKind::Cpu, padded) < cost(BackendKind::Cudnn, padded));
    }

    #[test]
    fn a_budget_is_used_up_by_what_is_spent() {
        let mut pace = Pace::new(BackendKind::Cpu, Some(Duration::from_secs(2)));
        assert_eq!(pace.most(), Some(Duration::from_millis(20)));
        pace.spend(Duration::from_millis(1999));
        assert!(!pace.is_used_up());
        pace.spend(Duration::from_millis(1));
        assert!(pace.is_used_up() && pace.left() == Some(Duration::ZERO));
        let mut endless = Pace::new(BackendKind::Cpu, None);
        endless.spend(Duration::from_secs(1 << 40));
        assert!(!endless.is_used_up() && endless.left().is_none() && endless.most().is_none());
    }
}
