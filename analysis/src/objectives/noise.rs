//! How much of the latencies of a dataset is noise: the variance of the logarithm of each, had it been
//! measured again.
//!
//! - Datasets of several passes: s²/P, with s the standard deviation between the P passes' medians, its
//!   variance [moderated](crate::moderated_variance) over configurations, as `variance` has it. What all
//!   configurations of a pass share is in s, although it cancels in ratios; such noise is overestimated.
//! - Else archived runs in the same environment, where there are any: the variance between runs, without
//!   what an experiment's configurations share in a run.
//! - Else the noise is unknown. Answers then say how large it would have to be to undo them: the smallest
//!   standard deviation, common to all configurations, with which the verdict is another.
//!
//! What differs from run to run, but not from pass to pass, is not in the first.

use std::collections::HashMap;

use alpha_flops::choice::choices;
use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;

use crate::dataset::{Dataset, Observation};
use crate::moderated_variance::{EstimatedVariance, Prior};

choices! {
    /// Where it is known from how noisy latencies are.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum NoiseSource {
        Passes = "passes",
        ArchivedRuns = "archived runs",
        Unknown = "unknown",
    }
}

/// How latencies differ between archived runs in the same environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArchivedNoise {
    pub runs: usize,
    /// Variance of the logarithm of a run's median, by the configuration's id.
    pub variances: HashMap<String, EstimatedVariance>,
}

/// How noisy the latencies of a dataset are, and how that is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noise {
    pub source: NoiseSource,
    /// How many, if it is known from them.
    pub archived_runs: Option<usize>,
    /// Standard error of a latency, in percent: the median over configurations.
    pub median_percent: Option<f64>,
    /// Variance of the logarithm of each observation's latency, 0 where it is unknown.
    #[serde(skip)]
    pub(super) variances: Vec<EstimatedVariance>,
}

impl Noise {
    pub(super) fn new(dataset: &Dataset, archived: Option<&ArchivedNoise>) -> Self {
        let of_archive = || archived.and_then(|archived| Self::of_archive(dataset, archived));
        Self::of_passes(dataset)
            .or_else(of_archive)
            .unwrap_or_else(|| Self::common(dataset.observations.len(), 0.0))
    }

    /// Unknown, and tried as one standard deviation of all.
    pub(super) fn common(observations: usize, sd: f64) -> Self {
        let exact = EstimatedVariance { value: sd * sd, df: f64::INFINITY };
        Self {
            source: NoiseSource::Unknown,
            archived_runs: None,
            median_percent: None,
            variances: vec![exact; observations],
        }
    }

    /// `None` where fewer than half of the configurations, or fewer than two, have several passes.
    pub(super) fn of_passes(dataset: &Dataset) -> Option<Self> {
        let passes = |o: &Observation| o.latency.passes.unwrap_or(1) as f64;
        let between = |o: &Observation| match o.latency.between_pass_sd {
            Some(sd) if passes(o) > 1.0 => {
                EstimatedVariance { value: sd * sd, df: passes(o) - 1.0 }
            }
            _ => EstimatedVariance { value: 0.0, df: 0.0 },
        };
        let sample: Vec<EstimatedVariance> = dataset.observations.iter().map(between).collect();
        let known = sample.iter().filter(|variance| variance.df > 0.0).count();
        if known < 2 || 2 * known < sample.len() {
            return None;
        }
        let prior = Prior::estimate(&sample);
        // no better known than all of them together tell
        let most = sample.iter().map(|variance| variance.df).sum::<f64>();
        let of_estimate = |(variance, o): (&EstimatedVariance, &Observation)| {
            let EstimatedVariance { value, df } = prior.moderate(*variance);
            EstimatedVariance { value: value / passes(o), df: df.min(most) }
        };
        let variances = sample.iter().zip(&dataset.observations).map(of_estimate).collect();
        Some(Self::known(NoiseSource::Passes, None, variances))
    }

    /// `None` where the archived runs have fewer than half of the configurations. The others are taken to
    /// be as noisy as the median one.
    fn of_archive(dataset: &Dataset, archived: &ArchivedNoise) -> Option<Self> {
        let of = |o: &Observation| archived.variances.get(&o.id()).copied();
        let found: Vec<Option<EstimatedVariance>> = dataset.observations.iter().map(of).collect();
        let mut known: Vec<EstimatedVariance> = found.iter().copied().flatten().collect();
        if known.is_empty() || 2 * known.len() < found.len() {
            return None;
        }
        known.sort_by(|a, b| a.value.total_cmp(&b.value));
        let typical = known[known.len() / 2];
        let variances = found.into_iter().map(|variance| variance.unwrap_or(typical)).collect();
        Some(Self::known(NoiseSource::ArchivedRuns, Some(archived.runs), variances))
    }

    fn known(
        source: NoiseSource,
        archived_runs: Option<usize>,
        variances: Vec<EstimatedVariance>,
    ) -> Self {
        let percent = |variance: &EstimatedVariance| 100.0 * variance.value.sqrt();
        let percents = sorted(&variances.iter().map(percent).collect::<Vec<_>>());
        let median_percent = Some(quantile(&percents, 0.5));
        Self { source, archived_runs, median_percent, variances }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.source == NoiseSource::Unknown
    }

    /// A sentence without its full stop: how large the noise is, or would have to be to undo an answer.
    pub(super) fn sentence(&self, undone_by_percent: Option<f64>) -> String {
        let percent = |value: f64| match value {
            value if value < 10.0 => format!("{value:.1}%"),
            value => format!("{value:.0}%"),
        };
        let of = match (self.median_percent, self.archived_runs) {
            (Some(median), Some(runs)) => (median, format!("between {runs} archived runs")),
            (Some(median), None) => (median, "as passes differ".to_owned()),
            (None, _) => {
                let unknown = "Noise from run to run is unknown".to_owned();
                return match undone_by_percent {
                    Some(sd) => {
                        format!("{unknown}; it would need more than {} to undo this", percent(sd))
                    }
                    None => unknown,
                };
            }
        };
        format!("Noise is {} in the median configuration, {}", percent(of.0), of.1)
    }
}

/// The smallest common standard deviation of noise, in percent, with which something is undone that stays
/// undone with more; `None` where ten times a latency does not undo it.
pub(super) fn least_percent(is_undone: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut low, mut high) = (0.0, 1e-12);
    while !is_undone(high) {
        low = high;
        high *= 4.0;
        if high > 10.0 {
            return None;
        }
    }
    while high - low > 1e-12 * high {
        let middle = 0.5 * (low + high);
        *(if is_undone(middle) { &mut high } else { &mut low }) = middle;
    }
    Some(100.0 * high)
}
