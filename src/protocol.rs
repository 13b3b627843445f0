//! What one timed launch means, and how many of them are enough.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::experiment::{Configuration, UnknownName};

/// What one timed launch means. Latencies of different protocols are different quantities: nothing
/// compares them unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Synchronise, launch, synchronise, by the host's monotonic clock; caches as the launch before
    /// left them; the library packs the weights inside the timed launch.
    HostLatencyWarm,
}

/// How many launches a configuration gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// 2,000 launches each, as both studies (paper, section 4.1).
    Paper,
    /// As many as the median's interval needs, between a floor and a cap, within the time budget.
    Standard,
    /// Ten launches of the first, middle and last configuration of each line: does it run at all?
    Smoke,
}

/// When a configuration has been launched often enough. The model is nvbench's: stop when the
/// noise is small, but never before a floor and never after a cap or a time limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoppingRule {
    /// Launches that are made whatever they cost; criterion accepts no fewer than 10.
    pub floor: usize,
    /// Launches after which the noise no longer matters.
    pub cap: usize,
    /// Stop when half the median's 95% interval, the clock's step included, is under this part of
    /// the median ([`crate::statistics::relative_median_interval`]).
    pub relative_interval: Option<f64>,
    /// Launches before that counts: intervals of fewer are narrow by chance too often.
    pub judged_from: usize,
}

/// When a configuration is warm: two successive windows of launches have medians within a
/// tolerance of each other, so neither caches nor clocks are still moving the times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUpRule {
    /// Launches in a window.
    pub window: usize,
    /// Largest relative difference of two successive windows' medians.
    pub tolerance: f64,
    /// Give up (and record that the times were not steady) after this long, or earlier by
    /// [`crate::measure::WARM_UP_SHARE`].
    pub limit: Duration,
}

impl StoppingRule {
    /// As many launches, neither more nor fewer.
    pub fn exactly(launches: usize) -> Self {
        Self { floor: launches, cap: launches, relative_interval: None, judged_from: launches }
    }
}

impl Protocol {
    /// As records and tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HostLatencyWarm => "host-latency-warm",
        }
    }
}

impl Profile {
    /// As settings name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Standard => "standard",
            Self::Smoke => "smoke",
        }
    }

    /// How many launches.
    pub fn stopping_rule(self) -> StoppingRule {
        match self {
            Self::Paper => StoppingRule::exactly(2000),
            Self::Standard => StoppingRule {
                floor: 10,
                cap: 2000,
                relative_interval: Some(0.005),
                judged_from: 50,
            },
            Self::Smoke => StoppingRule::exactly(10),
        }
    }

    /// How long to warm up.
    pub fn warm_up_rule(self) -> WarmUpRule {
        match self {
            Self::Paper | Self::Standard => {
                WarmUpRule { window: 5, tolerance: 0.02, limit: Duration::from_secs(1) }
            }
            // one launch takes the page faults and the cold caches: enough to see that it runs
            Self::Smoke => {
                WarmUpRule { window: 1, tolerance: f64::INFINITY, limit: Duration::ZERO }
            }
        }
    }

    /// The configurations this profile measures, out of one experiment's.
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

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::Paper, Self::Standard, Self::Smoke]
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| UnknownName::new("profile", "`paper`, `standard` or `smoke`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Experiment, Resolution};

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
