//! Times of samples, those that count and those that do not.

use serde::{Deserialize, Serialize};

use crate::backend::LaunchTime;
use crate::protocol::Clock;

/// Times of samples by each clock, in nanoseconds, in the order taken: of single launches, or means
/// over as many launches as the protocol has in a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleTimes {
    /// By the host's clock.
    pub host_ns: Vec<f64>,
    /// By the device's clock; empty for a device without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_ns: Vec<f64>,
    /// The pass in which each was taken, from 1, never falling; empty where all were taken in one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pass: Vec<u32>,
    /// Those that were taken but do not count, in the order taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedSample>,
}

/// A sample that does not count, because of what else the machine did meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields are as in `SampleTimes`")]
pub struct DroppedSample {
    /// Number of samples before it that count.
    pub after: usize,
    pub pass: u32,
    pub host_ns: f64,
    pub device_ns: Option<f64>,
}

impl SampleTimes {
    /// The times by one clock.
    pub fn by(&self, clock: Clock) -> &[f64] {
        match clock {
            Clock::Host => &self.host_ns,
            Clock::Device | Clock::DeviceQueued => &self.device_ns,
        }
    }

    /// The times by one clock, pass by pass.
    pub fn by_pass(&self, clock: Clock) -> Vec<&[f64]> {
        let times = self.by(clock);
        if self.pass.is_empty() {
            return Vec::from_iter((!times.is_empty()).then_some(times));
        }
        let mut rest = times;
        let passes = self.pass.chunk_by(|a, b| a == b);
        passes
            .map(|of_pass| {
                let (taken, left) = rest.split_at(of_pass.len().min(rest.len()));
                rest = left;
                taken
            })
            .collect()
    }

    /// Adds the times of a later pass, or, where they do not count, drops them.
    pub(crate) fn append(&mut self, pass: u32, mut times: Self, counts: bool) {
        if !counts {
            times.drop_all();
        }
        self.pass.extend(std::iter::repeat_n(pass, times.len()));
        let before = self.len();
        let dropped = times.dropped.into_iter();
        self.dropped.extend(dropped.map(|one| DroppedSample {
            after: before + one.after,
            pass,
            ..one
        }));
        self.host_ns.extend(times.host_ns);
        self.device_ns.extend(times.device_ns);
    }

    /// Has no sample count.
    pub(crate) fn drop_all(&mut self) {
        // in the order taken
        self.take_back();
        self.drop_last(self.len());
    }

    /// Has the last samples of a pass not count.
    pub(super) fn drop_last(&mut self, samples: usize) {
        let after = self.len() - samples;
        let device_ns = self.device_ns.split_off(after.min(self.device_ns.len()));
        let host_ns = self.host_ns.split_off(after);
        let dropped = host_ns.into_iter().enumerate().map(|(index, host_ns)| DroppedSample {
            after,
            pass: 1,
            host_ns,
            device_ns: device_ns.get(index).copied(),
        });
        self.dropped.extend(dropped);
    }

    /// Has all samples of a pass count.
    pub(super) fn take_back(&mut self) {
        for (index, sample) in std::mem::take(&mut self.dropped).into_iter().enumerate() {
            // those before it are back already
            self.host_ns.insert(sample.after + index, sample.host_ns);
            if let Some(device_ns) = sample.device_ns {
                self.device_ns.insert(sample.after + index, device_ns);
            }
        }
    }

    /// Number of samples that count.
    pub fn len(&self) -> usize {
        self.host_ns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.host_ns.is_empty()
    }

    /// Adds a sample.
    pub(crate) fn push(&mut self, time: LaunchTime) {
        self.host_ns.push(time.host_ns);
        self.device_ns.extend(time.device_ns);
    }
}
