//! What a timed sample means, and how many are enough.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::choice::{UnknownName, choices};
use crate::experiment::Configuration;

/// Fewest samples of a configuration: criterion takes no fewer.
pub const LEAST_SAMPLES: usize = 10;

/// What one timed sample means. Latencies of different protocols are different quantities, and are
/// compared only if the user asks for it.
///
/// Its name says all of it: `host-latency-warm`, `device-queued-latency-cold`, `device-throughput-50-warm`,
/// `device-graph-50-warm`, `host-latency-warm-framework`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protocol {
    /// The clock that times it.
    pub clock: Clock,
    /// Launches in a sample. With 1, `latency`: synchronise, launch, synchronise. With more,
    /// `throughput`: synchronise, launch them all back to back, synchronise; the sample is the time
    /// divided by their number.
    pub launches: NonZeroU32,
    /// What is in the caches when a sample begins.
    pub cache: Cache,
    /// Whether the launches of a sample are replays of one that was captured in a CUDA graph.
    pub graph: bool,
    /// What a launch computes.
    pub convolution: Convolution,
}

choices! {
    /// The clock that times a launch. On a GPU, times by both are recorded for every launch.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Clock: "clock" {
        /// The host's monotonic clock, from before the launch to after the synchronisation. On a GPU
        /// this includes recording the event behind the launch, as an empty launch does.
        Host = "host",
        /// The device's, between events before and after the launch.
        ///
        /// The stream is empty when the first event is recorded, so the device waits for the host to
        /// submit the launch, and for each further kernel of a plan of several: a short launch takes
        /// as long as submitting it. The time to submit is recorded, too, and shows where the
        /// device's time is its own. In `throughput`, submitting overlaps with the launch before.
        Device = "device",
        /// The device's, with the stream held back until the launch and both events are queued: the time is
        /// the device's own, however short. For single launches.
        #[serde(rename = "device-queued")]
        DeviceQueued = "device-queued",
    }
}

choices! {
    /// What is in the caches when a sample begins.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Cache: "cache" {
        /// What the launch before left.
        Warm = "warm",
        /// Nothing of the tensors in the device's last-level cache: it is overwritten before.
        Cold = "cold",
    }
}

choices! {
    /// What a launch computes.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Convolution: "convolution" {
        /// The convolution, and nothing else.
        Plain = "plain",
        /// What PyTorch executes for `conv2d(image, weights, bias, padding="same")`: for an even kernel,
        /// which needs one more row and column of padding behind the image than before it, a copy of the
        /// image with these ([`ConvShape::padded_image`](crate::shape::ConvShape::padded_image)); the
        /// convolution; and a bias for each channel, added to its output. Source: ATen's
        /// `_convolution_same` and `cudnn_convolution`, which the layers of both studies call.
        Framework = "framework",
    }
}

choices! {
    /// How many launches a configuration gets.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Profile: "profile" {
        /// 2,000 launches each, as both studies (paper, section 4.1).
        Paper = "paper",
        /// As many as the median's interval needs, between a floor and a cap, within the time budget.
        Standard = "standard",
        /// Ten launches of the first, middle and last configuration of each line: does it run at all?
        Smoke = "smoke",
    }
}

/// When a configuration has enough samples. As in nvbench: when the noise is small, but never before a
/// floor and never after a cap or a time limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoppingRule {
    /// Fewest samples, whatever they cost; at least [`LEAST_SAMPLES`].
    pub floor: usize,
    /// Most samples, whatever the noise.
    pub cap: usize,
    /// Stop when half the median's 95% interval, the clock's step included, is below this part of
    /// the median ([`crate::statistics::relative_median_interval`]).
    pub relative_interval: Option<f64>,
    /// Fewest samples to stop at for that reason: intervals of fewer are too often narrow by chance.
    pub judged_from: usize,
}

/// When a configuration is warm: the medians of two successive windows of launches are within a
/// tolerance of each other, and so are the device's clock rates at their ends. Neither caches nor clock
/// rates change the times any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUpRule {
    /// Fewest launches in a window.
    pub window: usize,
    /// Least time that a window takes: a GPU's clock rate changes over tens of milliseconds, in which
    /// it makes thousands of small launches.
    pub window_time: Duration,
    /// Windows that end earlier are not compared: clocks may not have begun to rise yet.
    pub from: Duration,
    /// Largest relative difference of the medians of two successive windows, and of the device's clock
    /// rates at their ends, if it tells them.
    pub tolerance: f64,
    /// Give up, and record that the times were not steady, after this long, or earlier by
    /// [`crate::measure::WARM_UP_SHARE`] …
    pub limit: Duration,
    /// … but not before so long: the time in which a few windows fit.
    pub at_least: Duration,
}

/// What a process has done to the device before it warms up a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// Nothing: a GPU's clocks have yet to rise.
    Cold,
    /// It has measured others, so that only this configuration's own state is to settle.
    Ramped,
}

impl StoppingRule {
    /// Exactly so many samples.
    pub fn exactly(launches: usize) -> Self {
        Self { floor: launches, cap: launches, relative_interval: None, judged_from: launches }
    }

    /// The rule in one pass, counted from 1, of so many: its share of the samples. A mean over passes
    /// is more precise than each of them, so that they need to be less so.
    pub fn of_pass(self, pass: u32, passes: NonZeroU32) -> Self {
        let up_to = |samples: usize, pass: u32| samples * pass as usize / passes.get() as usize;
        let share = |samples| up_to(samples, pass) - up_to(samples, pass - 1);
        let less_precise = f64::from(passes.get()).sqrt();
        Self {
            floor: share(self.floor),
            cap: share(self.cap),
            relative_interval: self.relative_interval.map(|interval| interval * less_precise),
            judged_from: share(self.judged_from),
        }
    }
}

impl Protocol {
    /// The CPU's protocol: launches one by one, timed by the host's clock.
    pub const HOST_LATENCY_WARM: Self = Self {
        clock: Clock::Host,
        launches: NonZeroU32::MIN,
        cache: Cache::Warm,
        graph: false,
        convolution: Convolution::Plain,
    };

    /// The same for samples of so many launches: those of several need not be queued beforehand.
    #[must_use]
    pub fn with_launches(self, launches: NonZeroU32) -> Self {
        let clock = match self.clock {
            Clock::DeviceQueued if self.graph || launches > NonZeroU32::MIN => Clock::Device,
            clock => clock,
        };
        Self { clock, launches, ..self }
    }

    /// Whether a sample is a single launch.
    pub fn is_latency(self) -> bool {
        self.launches == NonZeroU32::MIN && !self.graph
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

impl TryFrom<String> for Protocol {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, UnknownName> {
        text.parse()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clock, launches, cache, graph, convolution } = self;
        let sample = match (self.is_latency(), graph) {
            (true, _) => format!("{clock}-latency-{cache}"),
            (false, false) => format!("{clock}-throughput-{launches}-{cache}"),
            (false, true) => format!("{clock}-graph-{launches}-{cache}"),
        };
        match convolution {
            Convolution::Plain => f.pad(&sample),
            Convolution::Framework => f.pad(&format!("{sample}-{convolution}")),
        }
    }
}

impl FromStr for Protocol {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        const EXPECTED: &str = "e.g. `host-latency-warm` or `device-throughput-50-warm`";
        let unknown = || UnknownName::new("protocol", EXPECTED);
        let (sample, convolution) = match text.strip_suffix("-framework") {
            Some(sample) => (sample, Convolution::Framework),
            None => (text, Convolution::Plain),
        };
        let parts: Vec<&str> = sample.split('-').collect();
        let one = NonZeroU32::MIN;
        let (clock, launches, cache, graph) = match parts[..] {
            ["device", "queued", "latency", cache] => (Clock::DeviceQueued, one, cache, false),
            [clock, "latency", cache] => (clock.parse()?, one, cache, false),
            [clock, kind @ ("throughput" | "graph"), launches, cache] => {
                let launches = launches.parse().map_err(|_| unknown())?;
                (clock.parse()?, launches, cache, kind == "graph")
            }
            _ => return Err(unknown()),
        };
        let protocol = Self { clock, launches, cache: cache.parse()?, graph, convolution };
        // only the spelling that it is written in
        if protocol.to_string() == text { Ok(protocol) } else { Err(unknown()) }
    }
}

impl Profile {
    /// How many samples a configuration gets.
    pub fn stopping_rule(self) -> StoppingRule {
        match self {
            Self::Paper => StoppingRule::exactly(2000),
            Self::Standard => StoppingRule {
                floor: LEAST_SAMPLES,
                cap: 2000,
                relative_interval: Some(0.005),
                judged_from: 50,
            },
            Self::Smoke => StoppingRule::exactly(LEAST_SAMPLES),
        }
    }

    /// In how many passes samples are taken, on a device for which `usual` is right.
    pub fn passes(self, usual: NonZeroU32) -> NonZeroU32 {
        match self {
            Self::Paper | Self::Standard => usual,
            // whether it runs shows at once
            Self::Smoke => NonZeroU32::MIN,
        }
    }

    /// How long to warm up on a device whose clocks take so long to follow the load. They do once per
    /// process; from then on windows are short, so that a small part of the time budget suffices.
    pub fn warm_up_rule(self, settle_time: Duration, clocks: Clocks) -> WarmUpRule {
        const RAMP_FROM: Duration = Duration::from_secs(1);
        const RAMP_LIMIT: Duration = Duration::from_secs(5);
        const WINDOW_TIME: Duration = Duration::from_millis(10);
        const AT_LEAST: Duration = Duration::from_millis(120);
        let usual = WarmUpRule {
            window: 5,
            window_time: Duration::ZERO,
            from: Duration::ZERO,
            tolerance: 0.02,
            limit: Duration::from_secs(1),
            at_least: Duration::ZERO,
        };
        match (self, clocks) {
            // one launch takes the page faults and the cold caches: enough to see that it runs
            (Self::Smoke, _) => {
                WarmUpRule { window: 1, tolerance: f64::INFINITY, limit: Duration::ZERO, ..usual }
            }
            _ if settle_time.is_zero() => usual,
            (_, Clocks::Cold) => WarmUpRule {
                window_time: settle_time,
                from: RAMP_FROM,
                limit: RAMP_LIMIT,
                at_least: RAMP_LIMIT,
                ..usual
            },
            (_, Clocks::Ramped) => {
                WarmUpRule { window_time: WINDOW_TIME, at_least: AT_LEAST, ..usual }
            }
        }
    }

    /// The configurations of an experiment that this profile measures.
    pub fn select(self, configurations: Vec<Configuration>) -> Vec<Configuration> {
        if self != Self::Smoke {
            return configurations;
        }
        configurations
            .chunk_by(|a, b| a.series == b.series)
            .flat_map(|line| {
                let mut chosen = vec![0, line.len() / 2, line.len() - 1];
                chosen.dedup();
                chosen.into_iter().map(|index| line[index].clone())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Experiment, Resolution};

    #[test]
    fn names_of_protocols_read_back_and_other_spellings_are_refused() {
        for clock in Clock::ALL {
            for cache in [Cache::Warm, Cache::Cold] {
                for launches in [1, 2, 50] {
                    let launches = NonZeroU32::new(launches).unwrap();
                    let graph = launches.get() == 50;
                    for convolution in Convolution::ALL {
                        let protocol = Protocol { clock, launches, cache, graph, convolution };
                        let protocol = protocol.with_launches(launches);
                        assert_eq!(protocol.to_string().parse(), Ok(protocol));
                    }
                }
            }
        }
        assert_eq!(Protocol::HOST_LATENCY_WARM.to_string(), "host-latency-warm");
        for other in [
            "",
            "host-latency",
            "host-throughput-1-warm",
            "host-throughput-050-warm",
            "host-latency-warm-plain",
            "host-latency-warm-framework-framework",
            "-framework",
        ] {
            assert!(other.parse::<Protocol>().is_err(), "{other}");
        }
    }

    #[test]
    fn passes_share_samples_and_are_less_precise_than_all_together() {
        let passes = NonZeroU32::new(3).unwrap();
        let all = StoppingRule { relative_interval: Some(0.01), ..StoppingRule::exactly(100) };
        let shares = [1, 2, 3].map(|pass| all.of_pass(pass, passes));
        assert_eq!(shares.map(|rule| rule.cap), [33, 33, 34]);
        assert_eq!(
            shares.map(|rule| (rule.floor, rule.judged_from)),
            [(33, 33), (33, 33), (34, 34)]
        );
        assert!((shares[0].relative_interval.unwrap() - 0.01 * 3f64.sqrt()).abs() < 1e-15);
        assert_eq!(all.of_pass(1, NonZeroU32::MIN), all);
    }

    #[test]
    fn smoke_takes_three_configurations_of_each_line() {
        let all = Experiment::D.configurations(Resolution::Full);
        let chosen: Vec<_> =
            Profile::Smoke.select(all.clone()).into_iter().map(|c| (c.series, c.x)).collect();
        let line = |c: &str| [1, 325, 649].map(|x| (c.to_owned(), x)).to_vec();
        assert_eq!(chosen, [line("C_in = 50"), line("C_in = 100"), line("C_in = 150")].concat());
        assert_eq!(Profile::Paper.select(all.clone()), all);
    }
}
