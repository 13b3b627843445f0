//! The seven experiments, A–G: the only place that says what is measured.
//!
//! Ranges follow the replication's code and the original data, not the paper's Table 1, which
//! misprints some of them (see docs/paper-differences.md). Every range
//! of the code is half-open: `range(1, 650)` has 649 values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::shape::ConvShape;

/// One of the paper's experiments (section 4.1, Table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the letters are the names; `question` explains each")]
pub enum Experiment {
    A,
    B,
    C,
    D,
    E,
    F,
    G,
}

/// How many values of the independent variable are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// Every value, as the replication measured: 9,105 configurations.
    Full,
    /// About the points of the original study: 591 configurations.
    Original,
}

/// The quantity on an experiment's x axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// The exponent x by which experiment A doubles its channels.
    ChannelDoublings,
    /// Side of the kernel.
    Kernel,
    /// Input width.
    Width,
    /// Input channels.
    InChannels,
    /// Output channels.
    OutChannels,
}

/// One point of one line of one figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The experiment: a criterion benchmark group.
    pub experiment: Experiment,
    /// The line it belongs to, as a legend would name it.
    pub series: String,
    /// Value of the experiment's [`Variable`].
    pub x: u32,
    /// What is computed.
    pub shape: ConvShape,
}

/// The text is none of the names expected.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no such {kind}, expected {expected}")]
pub struct UnknownName {
    kind: &'static str,
    expected: &'static str,
}

impl UnknownName {
    pub(crate) fn new(kind: &'static str, expected: &'static str) -> Self {
        Self { kind, expected }
    }
}

impl Experiment {
    /// All seven, in order.
    pub const ALL: [Self; 7] = [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::G];

    /// The experiment's letter, which is also the name of its benchmark group.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
            Self::F => "F",
            Self::G => "G",
        }
    }

    /// What the experiment asks (paper, section 5.2).
    pub fn question(self) -> &'static str {
        match self {
            Self::A => {
                "At equal FLOPs and K = 1, is it cheaper to spend them on pixels or on channels?"
            }
            Self::B => "At equal FLOPs, what does a larger kernel on a smaller image cost?",
            Self::C => "At equal FLOPs, what does a larger kernel with fewer channels cost?",
            Self::D => "Does latency grow linearly with FLOPs added by the width of the input?",
            Self::E => "Does latency grow linearly with FLOPs added by output channels, K = 3?",
            Self::F => {
                "Does latency grow linearly with FLOPs added by output channels, K = 1, and how \
                 does that depend on the height?"
            }
            Self::G => "Does latency grow linearly with FLOPs added by input channels, by kernel?",
        }
    }

    /// Whether FLOPs stay equal along a line (A–C) or grow (D–G).
    pub fn has_constant_flops(self) -> bool {
        matches!(self, Self::A | Self::B | Self::C)
    }

    /// What the x axis shows.
    pub fn variable(self) -> Variable {
        match self {
            Self::A => Variable::ChannelDoublings,
            Self::B | Self::C => Variable::Kernel,
            Self::D => Variable::Width,
            Self::E | Self::F => Variable::OutChannels,
            Self::G => Variable::InChannels,
        }
    }

    /// Every configuration, series by series, x ascending.
    pub fn configurations(self, resolution: Resolution) -> Vec<Configuration> {
        match self {
            Self::A => experiment_a(),
            Self::B => experiment_b(),
            Self::C => experiment_c(),
            Self::D => experiment_d(resolution),
            Self::E => experiment_e(resolution),
            Self::F => experiment_f(resolution),
            Self::G => experiment_g(resolution),
        }
    }
}

impl Configuration {
    fn new(experiment: Experiment, series: String, x: u32, [h, w, i, o, k]: [u32; 5]) -> Self {
        let shape = ConvShape::new(h.into(), w.into(), i.into(), o.into(), k.into());
        #[expect(clippy::expect_used, reason = "a test builds every configuration there is")]
        let shape = shape.expect("the experiments' dimensions are positive and small");
        Self { experiment, series, x, shape }
    }

    /// `D/h=100_w=640_in=150_out=100_k=3`: unique in the suite, and criterion's benchmark id.
    pub fn id(&self) -> String {
        format!("{}/{}", self.experiment, self.shape)
    }
}

fn experiment_a() -> Vec<Configuration> {
    [(1, 2, 100, 50), (2, 2, 50, 50), (4, 4, 25, 25)]
        .into_iter()
        .flat_map(|(h, w, i, o)| {
            (0..9).map(move |x| {
                let series = format!("H×W = {h}×{w}");
                Configuration::new(Experiment::A, series, x, [h, w, i << x, o << x, 1])
            })
        })
        .collect()
}

fn experiment_b() -> Vec<Configuration> {
    [50, 70, 100, 150]
        .into_iter()
        .flat_map(|c| {
            (1..=30).map(move |k| {
                let side = round_like_python(300, k);
                Configuration::new(Experiment::B, format!("C = {c}"), k, [side, side, c, c, k])
            })
        })
        .collect()
}

fn experiment_c() -> Vec<Configuration> {
    [1500, 2100, 3000, 4500]
        .into_iter()
        .flat_map(|r| {
            (1..=30).map(move |k| {
                let c = round_like_python(r, k);
                Configuration::new(Experiment::C, format!("C·K = {r}"), k, [10, 10, c, c, k])
            })
        })
        .collect()
}

fn experiment_d(resolution: Resolution) -> Vec<Configuration> {
    [50, 100, 150]
        .into_iter()
        .flat_map(|i| {
            one_to_649(resolution).into_iter().map(move |w| {
                Configuration::new(Experiment::D, format!("C_in = {i}"), w, [100, w, i, 100, 3])
            })
        })
        .collect()
}

fn experiment_e(resolution: Resolution) -> Vec<Configuration> {
    [50, 100, 150]
        .into_iter()
        .flat_map(|i| {
            one_to_649(resolution).into_iter().map(move |o| {
                Configuration::new(Experiment::E, format!("C_in = {i}"), o, [100, 100, i, o, 3])
            })
        })
        .collect()
}

fn experiment_f(resolution: Resolution) -> Vec<Configuration> {
    [100, 200, 300]
        .into_iter()
        .flat_map(|h| {
            one_to_649(resolution).into_iter().map(move |o| {
                Configuration::new(Experiment::F, format!("H = {h}"), o, [h, 100, 50, o, 1])
            })
        })
        .collect()
}

fn experiment_g(resolution: Resolution) -> Vec<Configuration> {
    let in_channels: Vec<u32> = match resolution {
        Resolution::Full => (1..=999).collect(),
        Resolution::Original => (100..=900).step_by(100).collect(),
    };
    [1, 3, 5]
        .into_iter()
        .flat_map(|k| {
            in_channels.clone().into_iter().map(move |i| {
                Configuration::new(Experiment::G, format!("K = {k}"), i, [10, 10, i, 1000, k])
            })
        })
        .collect()
}

/// The x values of D, E and F.
fn one_to_649(resolution: Resolution) -> Vec<u32> {
    match resolution {
        Resolution::Full => (1..=649).collect(),
        Resolution::Original => std::iter::once(10).chain((20..=640).step_by(20)).collect(),
    }
}

/// `round(numerator / denominator)` as Python has it: halves go to the even neighbour.
fn round_like_python(numerator: u32, denominator: u32) -> u32 {
    // both fit f64 exactly and so do their halves, so the division rounds as Python's does
    (f64::from(numerator) / f64::from(denominator)).round_ties_even() as u32
}

impl Variable {
    /// As an axis label: `output channels`.
    pub fn label(self) -> &'static str {
        match self {
            Self::ChannelDoublings => "x (channels double with each step)",
            Self::Kernel => "kernel size K",
            Self::Width => "input width W",
            Self::InChannels => "input channels C_in",
            Self::OutChannels => "output channels C_out",
        }
    }
}

impl Resolution {
    /// `full` or `original`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Original => "original",
        }
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Experiment {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|e| e.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownName::new("experiment", "A to G"))
    }
}

impl FromStr for Resolution {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::Full, Self::Original]
            .into_iter()
            .find(|r| r.name() == text)
            .ok_or_else(|| UnknownName::new("resolution", "`full` or `original`"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn counts(resolution: Resolution) -> Vec<usize> {
        Experiment::ALL.iter().map(|e| e.configurations(resolution).len()).collect()
    }

    #[test]
    fn experiments_have_as_many_configurations_as_were_published() {
        assert_eq!(counts(Resolution::Full), [27, 120, 120, 1947, 1947, 1947, 2997]);
        assert_eq!(counts(Resolution::Full).iter().sum::<usize>(), 9105);
        assert_eq!(counts(Resolution::Original), [27, 120, 120, 99, 99, 99, 27]);
        assert_eq!(counts(Resolution::Original).iter().sum::<usize>(), 591);
    }

    #[test]
    fn ids_are_unique_and_within_what_criterion_keeps_apart() {
        let mut directories = HashSet::new();
        for configuration in Experiment::ALL.iter().flat_map(|e| e.configurations(Resolution::Full))
        {
            let id = configuration.id();
            // criterion cuts a directory component at 64 bytes and a title at 100
            assert!(configuration.shape.to_string().len() <= 64 && id.len() <= 100, "{id}");
            assert!(
                configuration
                    .shape
                    .to_string()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_=-".contains(&b)),
                "{id}"
            );
            assert!(directories.insert(id.clone()), "{id} twice");
        }
        assert_eq!(directories.len(), 9105);
    }

    #[test]
    fn original_resolution_is_a_subset_of_full() {
        for experiment in Experiment::ALL {
            let full: HashSet<_> =
                experiment.configurations(Resolution::Full).iter().map(Configuration::id).collect();
            for configuration in experiment.configurations(Resolution::Original) {
                assert!(full.contains(&configuration.id()), "{}", configuration.id());
            }
        }
    }

    #[test]
    fn halves_round_to_even_as_in_python() {
        // Python: round(1500 / 24) == 62, round(300 / 8) == 38, round(2100 / 24) == 88
        assert_eq!(round_like_python(1500, 24), 62);
        assert_eq!(round_like_python(300, 8), 38);
        assert_eq!(round_like_python(2100, 24), 88);
        assert_eq!(round_like_python(300, 24), 12);
    }

    #[test]
    fn names_read_back_and_others_are_refused() {
        for experiment in Experiment::ALL {
            assert_eq!(experiment.name().parse(), Ok(experiment));
        }
        let error = "H".parse::<Experiment>().unwrap_err();
        assert_eq!(error.to_string(), "no such experiment, expected A to G");
    }
}
