//! How the launches of a configuration vary, and whether their median can be trusted.
//!
//! For each configuration of a run: spread, outliers, autocorrelation, drift, modes, warm-up, the
//! clock's step, and an interval of the median that allows for dependence or is marked as doubtful
//! ([`interval`]). For several runs: the variance components of measuring order, run, and launches
//! within a run ([`components`]).

#![allow(missing_docs, reason = "fields whose names say what they are have no docs")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use alpha_flops::experiment::Experiment;
use alpha_flops::file_error::FileError;
use alpha_flops::record::{ConfigurationRecord, Measured, RunHeader};
use alpha_flops::statistics::{Fences, Summary, quantile, sorted};
use serde::Serialize;
use thiserror::Error;

use crate::dataset::Provenance;
use crate::moderated_variance::{EstimatedVariance, Prior};
use crate::run::{Latencies, Run, clock_step_ns, provenance_of_all};

pub mod components;
pub mod dependence;
pub mod drift;
pub mod experiments;
pub mod flag;
pub mod interval;
pub mod modes;
pub mod tables;
pub mod warm_up;

use components::Components;
use dependence::{Dependence, autocorrelation, sign_series};
use drift::Drift;
use experiments::{
    ExperimentComponents, ExperimentVariance, by_experiment, components_note, pooled, squares,
};
use flag::{Flag, FlagKind};
use interval::{
    LEAST_LAUNCHES, MedianInterval, interval_between_passes, log_median_error, median_interval,
};
use modes::Modes;
use warm_up::WarmUpCheck;

/// The variance of one or several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variance {
    /// Where it was measured; of several runs, what they have in common and all their versions.
    pub provenance: Provenance,
    /// Over all experiments, then each, all runs together.
    pub experiments: Vec<ExperimentVariance>,
    /// Of several runs, over all experiments, then each.
    pub components: Vec<ExperimentComponents>,
    /// What keeps components apart or not, of several runs.
    pub components_note: Option<String>,
    /// Every run, in the order given.
    pub runs: Vec<RunVariance>,
    /// Of several runs, by configuration.
    pub configuration_components: BTreeMap<String, Components>,
    /// Launches of the configurations with the largest IQR/median, for figures; largest first.
    #[serde(skip)]
    pub worst: Vec<Sequence>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunVariance {
    pub run: String,
    /// Runs with the same one measured in the same order.
    pub seed: u64,
    /// Configurations that were skipped or failed.
    pub not_measured: usize,
    /// The others, in the suite's order.
    pub configurations: Vec<ConfigurationVariance>,
}

/// The launches of one configuration in one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigurationVariance {
    pub id: String,
    pub experiment: Experiment,
    pub series: String,
    pub x: u32,
    /// Launches (samples, where the protocol has several launches in one).
    pub launches: u64,
    /// Passes that they were made in.
    pub passes: u32,
    /// Standard deviation of the logarithm of the passes' medians, in percent; `None` of one pass.
    pub between_pass_percent: Option<f64>,
    /// The fastest and the slowest pass's median; equal of one pass.
    pub pass_medians_ns: [f64; 2],
    /// Median latency (type 7); of several passes, the robust mean of theirs.
    pub median_ns: f64,
    /// Its 95% interval: of one pass by its launches, `None` for fewer than six of them; of several
    /// passes by how much these differ ([`interval::interval_between_passes`]).
    pub interval: Option<MedianInterval>,
    /// Half of the interval, in percent of the median.
    pub interval_percent: Option<f64>,
    /// Standard error of the logarithm of the median: of one pass [`log_median_error`], of several by
    /// how much these differ.
    pub log_median_error: Option<f64>,
    /// First quartile (type 7).
    pub q1_ns: f64,
    /// Third quartile (type 7).
    pub q3_ns: f64,
    pub iqr_percent: f64,
    /// Median of the launches' distances from the median, not scaled by 1.4826.
    pub mad_ns: f64,
    pub outliers: Outliers,
    /// Correlation of latencies with those before, [`autocorrelation`] at lag 1; `None` where all
    /// are equal.
    pub autocorrelation: Option<f64>,
    /// The same of the [signs](sign_series) about the median: outliers do not weigh more in it than others.
    pub sides_autocorrelation: Option<f64>,
    /// [`Dependence::median`]: so many launches are worth one independent one.
    pub integrated_time_launches: f64,
    /// [`Dependence::longest_launches`], which decides whether the interval is trusted.
    pub longest_time_launches: f64,
    /// How many independent launches would know the median as well: launches over the integrated
    /// time.
    pub effective_launches: f64,
    /// A trend; `None` for too few launches, and of several passes, which are not one sequence.
    pub drift: Option<Drift>,
    /// More than one mode; `None` for too few effective launches.
    pub modes: Option<Modes>,
    /// Whether launches before those that count were enough.
    pub warm_up: WarmUpCheck,
    /// Step of the clock, over the launches of a sample: 500 ns by CUDA's events, else as found when
    /// the run began.
    pub timer_step_ns: f64,
    /// The same, in percent of the median.
    pub timer_step_percent: f64,
    /// Launches for an interval of ±0.5% of the median, as its width falls with the root of their
    /// number; `None` where its present width is unknown, the clock's step alone is wider, or more
    /// passes would be needed and not more launches in each.
    pub launches_for_half_percent: Option<u64>,
    pub launches_for_one_percent: Option<u64>,
    pub flags: Vec<Flag>,
}

/// Launches outside Tukey's fences: 1.5 (mild) and 3 (severe) IQR from the quartiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outliers {
    /// Faster than the outer fence.
    pub low_severe: u64,
    /// Between the fences.
    pub low_mild: u64,
    /// Between the fences.
    pub high_mild: u64,
    /// Slower than the outer fence.
    pub high_severe: u64,
}

/// Launches of one configuration in the order made.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    pub id: String,
    pub run: String,
    pub iqr_percent: f64,
    pub latencies_ns: Vec<f64>,
}

#[derive(Debug, Error)]
pub enum VarianceError {
    #[error("{path}: none of {configurations} configurations was measured")]
    NothingMeasured { path: String, configurations: usize },
    #[error("{path} cannot be combined with {first}: {differences}")]
    NotComparable { path: String, first: String, differences: String },
    #[error("{path} is run {run}, which is given twice: expected different runs")]
    Repeated { path: String, run: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("no records, expected the folder of at least one run")]
    NoRecords,
}

/// Configurations whose launches are kept for figures.
const WORST: usize = 6;

impl Variance {
    /// Of the runs in these folders.
    ///
    /// # Errors
    /// As [`Variance::from_records`], and where a record cannot be opened.
    pub fn read(folders: &[PathBuf]) -> Result<Self, VarianceError> {
        let records = folders.iter().map(|path| Run::open(path)).collect::<Result<Vec<_>, _>>()?;
        Self::from_records(&records)
    }

    /// Of runs that are comparable.
    ///
    /// # Errors
    /// [`VarianceError`] where records or launches are damaged, nothing was measured, or the runs
    /// differ in what they measured.
    pub fn from_records(records: &[Run]) -> Result<Self, VarianceError> {
        check_comparable(records)?;
        let worst = worst(records);
        let (mut runs, mut sequences) = (Vec::new(), Vec::new());
        for record in records {
            let of_run = record.map_launches(|configuration, latencies| {
                let key = (record.header.run_id.as_str(), configuration.id.as_str());
                let kept = worst.contains(&key).then(|| latencies.ns.to_vec());
                (
                    ConfigurationVariance::from_launches(&record.header, configuration, latencies),
                    kept,
                )
            })?;
            let mut configurations = Vec::with_capacity(of_run.len());
            for (variance, kept) in of_run {
                let Some(variance) = variance else { continue };
                sequences.extend(kept.map(|latencies_ns| Sequence {
                    id: variance.id.clone(),
                    run: record.header.run_id.clone(),
                    iqr_percent: variance.iqr_percent,
                    latencies_ns,
                }));
                configurations.push(variance);
            }
            judge_by_passes(&mut configurations);
            let RunHeader { run_id, seed, configurations: all, .. } = &record.header;
            let not_measured = all.len() - configurations.len();
            runs.push(RunVariance {
                run: run_id.clone(),
                seed: *seed,
                not_measured,
                configurations,
            });
        }
        sequences.sort_by(|a, b| b.iqr_percent.total_cmp(&a.iqr_percent));
        let squares = squares(&runs);
        Ok(Self {
            provenance: provenance_of_all(records),
            experiments: by_experiment(&runs),
            components: pooled(&squares),
            components_note: (runs.len() > 1).then(|| components_note(&runs)),
            configuration_components: squares
                .into_iter()
                .filter_map(|((_, id), squares)| Some((id.to_owned(), squares.components()?)))
                .collect(),
            runs,
            worst: sequences,
        })
    }
}

fn check_comparable(records: &[Run]) -> Result<(), VarianceError> {
    let first = records.first().ok_or(VarianceError::NoRecords)?;
    let path = |record: &Run| record.path.display().to_string();
    for (index, record) in records.iter().enumerate() {
        let (header, plan) = (&record.header, first.header.plan.comparable());
        let differences = plan.differences(&header.plan.comparable()).join("; ");
        if !differences.is_empty() {
            let (path, first) = (path(record), path(first));
            return Err(VarianceError::NotComparable { path, first, differences });
        }
        if records[..index].iter().any(|other| other.header.run_id == header.run_id) {
            let run = header.run_id.clone();
            return Err(VarianceError::Repeated { path: path(record), run });
        }
        if !header.configurations.iter().any(|c| c.outcome.measured().is_some()) {
            let configurations = header.configurations.len();
            return Err(VarianceError::NothingMeasured { path: path(record), configurations });
        }
    }
    Ok(())
}

/// Run and configuration of those with the largest IQR/median, as the records sum them up: known
/// before launches are read, so that only theirs are kept. Those with fewer than [`LEAST_LAUNCHES`] come
/// after all others: in a few launches there is little to see.
fn worst(records: &[Run]) -> Vec<(&str, &str)> {
    let mut measured: Vec<(&Summary, (&str, &str))> = Vec::new();
    for record in records {
        for configuration in &record.header.configurations {
            if let Some(of) = configuration.outcome.measured() {
                let key = (record.header.run_id.as_str(), configuration.id.as_str());
                measured.push((&of.summary, key));
            }
        }
    }
    let has_many = |of: &Summary| of.launches >= LEAST_LAUNCHES as u64;
    measured.sort_by(|(a, _), (b, _)| {
        let by_spread = b.relative_iqr().total_cmp(&a.relative_iqr());
        has_many(b).cmp(&has_many(a)).then(by_spread)
    });
    measured.into_iter().take(WORST).map(|(_, key)| key).collect()
}

impl ConfigurationVariance {
    /// `None` where there are no launches.
    fn from_launches(
        header: &RunHeader,
        record: &ConfigurationRecord,
        latencies: &Latencies<'_>,
    ) -> Option<Self> {
        let Measured { warm_up, summary, .. } = record.outcome.measured()?;
        let (ordered, in_one_pass) = (sorted(latencies.ns), latencies.passes.len() == 1);
        // how launches depend on each other is a question within each pass
        let centred: Vec<f64> = latencies.passes.iter().flat_map(|pass| centred(pass)).collect();
        let within_passes = if in_one_pass { latencies.ns } else { &centred };
        let Summary { launches, median_ns, q1_ns, q3_ns, .. } = *summary;
        let dependence = Dependence::new(within_passes, &sorted(within_passes));
        let time = dependence.median;
        let effective_launches = launches as f64 / time.launches;
        let interval = median_interval(&ordered, &dependence).filter(|_| in_one_pass);
        let log_median_error = log_median_error(&ordered, &dependence).filter(|_| in_one_pass);
        let timer_step_ns = clock_step_ns(header);
        let interval_percent = interval.map(|i| (i.high_ns - i.low_ns) / (2.0 * median_ns) * 100.0);
        let timer_step_percent = timer_step_ns / median_ns * 100.0;
        let needed = |percent: f64| {
            let known = interval_percent.filter(|_| timer_step_percent <= percent)?;
            // six is where intervals begin
            let least = 6.0 * time.launches;
            Some((launches as f64 * (known / percent).powi(2)).max(least).ceil() as u64)
        };
        let away: Vec<f64> = ordered.iter().map(|ns| (ns - median_ns).abs()).collect();
        let mut variance = Self {
            id: record.id.clone(),
            experiment: record.experiment,
            series: record.series.clone(),
            x: record.x,
            launches,
            passes: summary.passes,
            between_pass_percent: summary.between_pass_sd.map(|sd| sd * 100.0),
            pass_medians_ns: extremes(latencies.passes.iter().map(|pass| median(pass))),
            median_ns,
            interval,
            interval_percent,
            log_median_error,
            q1_ns,
            q3_ns,
            iqr_percent: summary.relative_iqr() * 100.0,
            mad_ns: quantile(&sorted(&away), 0.5),
            outliers: Outliers::outside(&ordered, Fences::from_quartiles(q1_ns, q3_ns)),
            autocorrelation: autocorrelation(within_passes, 1),
            sides_autocorrelation: autocorrelation(
                &sign_series(within_passes, median(within_passes)),
                1,
            ),
            integrated_time_launches: time.launches,
            longest_time_launches: dependence.longest_launches,
            effective_launches,
            drift: Drift::from_launches(latencies.ns).filter(|_| in_one_pass),
            modes: Modes::from_sorted(&ordered, effective_launches),
            warm_up: WarmUpCheck::new(warm_up, &latencies.passes),
            timer_step_ns,
            timer_step_percent,
            launches_for_half_percent: needed(0.5),
            launches_for_one_percent: needed(1.0),
            flags: Vec::new(),
        };
        variance.flags = flag::flags(&variance);
        Some(variance)
    }

    /// Has the interval follow from how much passes differ.
    fn set_between_passes(&mut self, (interval, log_median_error): (MedianInterval, f64)) {
        let percent = (interval.high_ns - interval.low_ns) / (2.0 * self.median_ns) * 100.0;
        self.interval = Some(interval);
        self.interval_percent = Some(percent);
        self.log_median_error = Some(log_median_error);
        self.flags = flag::flags(self);
    }

    /// Whether it has a flag of this kind.
    pub fn has(&self, kind: FlagKind) -> bool {
        self.flags.iter().any(|flag| flag.kind == kind)
    }
}

/// Gives the configurations of a run that were measured in several passes their intervals. The variance
/// between passes of one is known from a handful; those of all tell how far it can be believed.
fn judge_by_passes(configurations: &mut [ConfigurationVariance]) {
    let between = |of: &ConfigurationVariance| {
        let sd = of.between_pass_percent? / 100.0;
        Some(EstimatedVariance { value: sd * sd, df: f64::from(of.passes - 1) })
    };
    let sample: Vec<EstimatedVariance> = configurations.iter().filter_map(between).collect();
    let prior = Prior::estimate(&sample);
    for of in configurations {
        if let Some(variance) = between(of).map(|variance| prior.moderate(variance)) {
            let judged =
                interval_between_passes(of.median_ns, of.passes, variance, of.timer_step_ns);
            of.set_between_passes(judged);
        }
    }
}

/// The latencies of a pass over their median.
fn centred(pass: &[f64]) -> impl Iterator<Item = f64> {
    let median_ns = median(pass);
    pass.iter().map(move |ns| ns / median_ns)
}

fn median(values: &[f64]) -> f64 {
    quantile(&sorted(values), 0.5)
}

/// The smallest and the largest.
fn extremes(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, 0.0], |[low, high], value| [low.min(value), high.max(value)])
}

impl Outliers {
    fn outside(sorted: &[f64], fences: Fences) -> Self {
        let below = |fence: f64| sorted.partition_point(|value| *value < fence) as u64;
        let above =
            |fence: f64| sorted.len() as u64 - sorted.partition_point(|v| *v <= fence) as u64;
        let (low_severe, high_severe) = (below(fences.low_severe), above(fences.high_severe));
        Self {
            low_severe,
            low_mild: below(fences.low_mild) - low_severe,
            high_mild: above(fences.high_mild) - high_severe,
            high_severe,
        }
    }
}
