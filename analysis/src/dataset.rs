//! A dataset: configurations with their latencies and where they come from. Everything below the
//! importers takes one.

use alpha_flops::shape::ConvShape;
use alpha_flops::units::Nanoseconds;

/// Where the latencies of a dataset come from; equal for every row, shown by every table and plot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// Who measured: a run id, or a publication.
    pub source: String,
    /// `cpu`, `cudnn`, … or `unknown`.
    pub backend: String,
    /// The processor or GPU, with what else identifies it (`AMD EPYC, 2 threads`).
    pub device: String,
    /// Versions that decide the numbers (`gemm 0.19.0, rustc 1.95.0`), or `unknown`.
    pub versions: String,
    /// What one timed launch meant (`latency-warm`, …) and how many.
    pub protocol: String,
}

/// Latencies of one configuration. Others' data often gives a mean alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Latency {
    /// Median, in nanoseconds.
    pub median_ns: Option<f64>,
    /// Mean, in nanoseconds.
    pub mean_ns: Option<f64>,
    /// First quartile, in nanoseconds.
    pub q1_ns: Option<f64>,
    /// Third quartile, in nanoseconds.
    pub q3_ns: Option<f64>,
    /// Launches behind them.
    pub launches: Option<u64>,
    /// Launches outside Tukey's inner fences but inside the outer.
    pub outliers_mild: Option<u64>,
    /// Launches outside Tukey's outer fences.
    pub outliers_severe: Option<u64>,
}

/// One measured configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// `A` … `G`, or another name where the data has other experiments.
    pub experiment: String,
    /// The line it belongs to, as the legend names it.
    pub series: String,
    /// Value of the independent variable.
    pub x: f64,
    /// What was computed.
    pub shape: ConvShape,
    /// How long it took.
    pub latency: Latency,
    /// The algorithm that ran, where known.
    pub algorithm: Option<String>,
}

/// Observations of one provenance.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Where all of them come from.
    pub provenance: Provenance,
    /// In a stable order: by experiment, series, x.
    pub observations: Vec<Observation>,
}

impl Observation {
    /// The latency that fits and evaluations use: the median, or the mean where only that is known.
    /// Importers guarantee that there is one, finite and positive.
    pub fn typical(&self) -> Option<Nanoseconds> {
        self.latency.median_ns.or(self.latency.mean_ns).map(Nanoseconds)
    }
}
