//! The experiments: the only place that says what is measured.
//!
//! An experiment is one [`Definition`] in a table, and whatever lists, measures, records, draws or
//! judges experiments asks the table. Those of the paper, A–G, are in `experiment/paper.rs`; a
//! program that has its own [adds](Experiment::add) them when it starts.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::choice::{UnknownName, choices};
use crate::shape::ConvShape;

mod paper;

/// One of the experiments; everything known of it is in its [`Definition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Experiment(usize);

/// Everything that any part of the program asks about an experiment.
#[allow(missing_docs, reason = "the names say it")]
pub struct Definition {
    /// Its letter, which is also the name of its benchmark group.
    pub name: &'static str,
    pub question: &'static str,
    pub variable: Variable,
    /// Which of its configurations have equal nominal FLOPs, and so bear on RO1.
    pub equal_flops: EqualFlops,
    /// What its lines say about RO2, where they do.
    pub slope: Option<LatencySlope>,
    /// The values of the variable that are measured, ascending.
    pub values: fn(Resolution) -> Vec<u32>,
    pub series: &'static [Series],
}

/// One line of an experiment's figure.
pub struct Series {
    /// As the legend names it.
    pub name: &'static str,
    /// `[height, width, in_channels, out_channels, kernel]` at a value of the variable.
    pub shape: fn(u32) -> [u32; 5],
}

/// The quantity on an experiment's x axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// As the axis is labelled: `output channels C_out`.
    pub label: &'static str,
    /// In a title, behind "latency against".
    pub in_title: &'static str,
    /// Whether a short axis has a tick at each whole number.
    pub has_whole_ticks: bool,
}

/// Which configurations of an experiment have equal nominal FLOPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EqualFlops {
    /// Those of all series at one value of the variable.
    AtEachValue,
    /// Those of one series.
    AlongSeries,
    /// None: FLOPs grow with the variable, and the experiment asks whether latency grows with them.
    Nowhere,
}

/// The slope of the logarithm of latency that an experiment's lines give, in the order reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencySlope {
    /// Of latency per multiply–add against K, where FLOPs move from pixels to the kernel: it
    /// decides RO2.
    PixelsToKernel,
    /// Of latency per multiply–add against K, where FLOPs move from channels to the kernel.
    ChannelsToKernel,
    /// Of latency against the variable.
    Variable,
    /// Of latency against pixels, within each value of the variable.
    Pixels,
}

choices! {
    /// How many values of the independent variable are measured.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Resolution: "resolution" {
        /// Every value, as the replication measured: 9,105 configurations.
        Full = "full",
        /// About the points of the original study: 591 configurations.
        Original = "original",
    }
}

/// One point of one line of one figure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Configuration {
    pub experiment: Experiment,
    pub series: String,
    /// Value of the experiment's [`Variable`].
    pub x: u32,
    pub shape: ConvShape,
}

/// Experiments were added after some part of the program had already asked for the table.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("experiments can only be added once, before any experiment is asked for")]
pub struct TableInUse;

/// What is behind [`Experiment::all`], and the handles themselves.
struct Table {
    definitions: Vec<Definition>,
    all: Vec<Experiment>,
}

static TABLE: OnceLock<Table> = OnceLock::new();

impl Table {
    fn new(added: Vec<Definition>) -> Self {
        let definitions: Vec<_> = paper::EXPERIMENTS.into_iter().chain(added).collect();
        Self { all: (0..definitions.len()).map(Experiment).collect(), definitions }
    }

    fn in_use() -> &'static Self {
        TABLE.get_or_init(|| Self::new(Vec::new()))
    }
}

#[allow(missing_docs, reason = "the letters are the names; `question` explains each")]
impl Experiment {
    pub const A: Self = Self(0);
    pub const B: Self = Self(1);
    pub const C: Self = Self(2);
    pub const D: Self = Self(3);
    pub const E: Self = Self(4);
    pub const F: Self = Self(5);
    pub const G: Self = Self(6);
}

impl Experiment {
    /// All there are, in order: the paper's, then those added.
    pub fn all() -> &'static [Self] {
        &Table::in_use().all
    }

    /// Puts experiments behind the paper's for the rest of this process.
    pub fn add(definitions: Vec<Definition>) -> Result<(), TableInUse> {
        TABLE.set(Table::new(definitions)).map_err(|_| TableInUse)
    }

    /// Those whose definitions are as asked.
    pub fn that(is_wanted: impl Fn(&Definition) -> bool) -> Vec<Self> {
        Self::all().iter().copied().filter(|experiment| is_wanted(experiment)).collect()
    }

    /// Place among [all](Self::all), from 0.
    pub fn index(self) -> usize {
        self.0
    }

    /// Every configuration, series by series, x ascending.
    ///
    /// # Panics
    /// Where the definition has a dimension that is 0 or too large.
    pub fn configurations(self, resolution: Resolution) -> Vec<Configuration> {
        let values = (self.values)(resolution);
        let line = |series: &Series| {
            let configuration = |&x: &u32| Configuration::new(self, series, x);
            values.iter().map(configuration).collect::<Vec<_>>()
        };
        self.series.iter().flat_map(line).collect()
    }

    /// `A to G`: the first and the last there are.
    pub fn range() -> String {
        let name = |experiment: Option<&Self>| experiment.map_or("", |e| e.name);
        format!("{} to {}", name(Self::all().first()), name(Self::all().last()))
    }
}

impl Variable {
    /// One that has the same name on the axis and in titles.
    pub const fn new(label: &'static str) -> Self {
        Self { label, in_title: label, has_whole_ticks: false }
    }
}

impl Deref for Experiment {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &Table::in_use().definitions[self.0]
    }
}

impl Configuration {
    fn new(experiment: Experiment, series: &Series, x: u32) -> Self {
        let [h, w, i, o, k] = (series.shape)(x).map(u64::from);
        #[expect(clippy::expect_used, reason = "a test builds every configuration there is")]
        let shape = ConvShape::new(h, w, i, o, k)
            .expect("the experiments' dimensions are positive and small");
        Self { experiment, series: series.name.to_owned(), x, shape }
    }

    /// `D/h=100_w=640_in=150_out=100_k=3`: unique among all experiments, and criterion's benchmark
    /// id.
    pub fn id(&self) -> String {
        configuration_id(self.experiment, &self.shape)
    }
}

/// The id of a configuration of any experiment, one of other people's included.
pub fn configuration_id(experiment: impl fmt::Display, shape: &ConvShape) -> String {
    format!("{experiment}/{shape}")
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl FromStr for Experiment {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let is_named = |experiment: &&Self| experiment.name.eq_ignore_ascii_case(text);
        let unknown = || UnknownName::new("experiment", Self::range());
        Self::all().iter().find(is_named).copied().ok_or_else(unknown)
    }
}

impl Serialize for Experiment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Experiment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let experiment = Self::all().iter().find(|experiment| experiment.name == name);
        let unknown = || UnknownName::new("experiment", Self::range());
        experiment.copied().ok_or_else(|| de::Error::custom(unknown()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn counts(resolution: Resolution) -> Vec<usize> {
        Experiment::all().iter().map(|e| e.configurations(resolution).len()).collect()
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
        for configuration in
            Experiment::all().iter().flat_map(|e| e.configurations(Resolution::Full))
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
        for &experiment in Experiment::all() {
            let full: HashSet<_> =
                experiment.configurations(Resolution::Full).iter().map(Configuration::id).collect();
            for configuration in experiment.configurations(Resolution::Original) {
                assert!(full.contains(&configuration.id()), "{}", configuration.id());
            }
        }
    }

    #[test]
    fn names_read_back_and_others_are_refused() {
        for &experiment in Experiment::all() {
            assert_eq!(experiment.name.parse(), Ok(experiment));
        }
        let error = "H".parse::<Experiment>().unwrap_err();
        assert_eq!(error.to_string(), "no such experiment, expected A to G");
    }
}
