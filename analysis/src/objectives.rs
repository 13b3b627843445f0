//! The paper's replication objectives RO1–RO3 (section 1), answered from a dataset by numbers.
//!
//! Every answer names the criterion that decides it. The criteria are this project's: the paper
//! states none, and answers by looking at its figures.

use std::fmt;

use alpha_flops::experiment::Experiment;
use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::dataset::{Dataset, Observation};
use crate::metrics::{Errors, errors};
use crate::model::Coefficients;

/// Latencies per multiply–add within this factor of each other count as equal.
pub const EQUAL_LATENCY_RATIO: f64 = 1.1;
/// The largest RMSE, in percent of an experiment's measured range, that counts as accurate: the
/// largest that the paper calls acceptable (section 5.2.1, there of a line of experiment A; the
/// range of a single line can be next to nothing, as of G's K = 1).
pub const ACCURATE_NRMSE_PERCENT: f64 = 13.0;

/// Slopes of exactly proportional data are this near to zero.
const ROUNDING: f64 = 1e-9;

/// Answers to RO1, RO2 and RO3.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Objectives {
    /// Are raw FLOPs an insufficient proxy for latency, even where they are equal?
    pub ro1: Answer<Vec<EqualFlops>>,
    /// Are FLOPs in spatial dimensions more parallelizable than FLOPs in kernel dimensions?
    pub ro2: Answer<Vec<Elasticity>>,
    /// Does α-FLOPs estimate latency accurately, and better than raw FLOPs?
    pub ro3: Answer<Vec<AgainstRawFlops>>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer<T> {
    /// The answer in a word.
    pub verdict: Verdict,
    /// The answer in a sentence, with the numbers that decide it.
    pub sentence: String,
    /// What decides it.
    pub criterion: String,
    /// All numbers behind it.
    pub numbers: T,
}

/// An answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The original study's finding holds in these data.
    Replicated,
    /// It holds in some of them.
    PartlyReplicated,
    /// It does not hold.
    NotReplicated,
    /// The data that would decide are missing.
    CannotBeAnswered,
}

/// How far configurations of equal nominal FLOPs differ (RO1).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EqualFlops {
    /// A, B or C.
    pub experiment: String,
    /// What they have in common: a line of B or C, a value of x in A.
    pub group: String,
    /// Configurations in the group, at least two.
    pub n: usize,
    /// Largest over smallest latency.
    pub latency_ratio: f64,
    /// Largest over smallest number of multiply–adds: above 1 where rounding made them unequal.
    pub macs_ratio: f64,
    /// Largest over smallest latency per multiply–add, which rounding does not touch.
    pub latency_per_mac_ratio: f64,
}

/// Slope of a log–log regression line (RO2).
///
/// The interval is that of ordinary least squares, which takes deviations from the line as
/// independent; steps and waves in latency are not, so it is a guide and no proof.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Elasticity {
    /// A, B, C or D.
    pub experiment: String,
    /// The line; `all` where lines are pooled.
    pub series: String,
    /// What grows, as a fraction of what: `latency per multiply–add by kernel size K`.
    pub of: String,
    /// Slope: 1 means proportional, 0 independent.
    pub slope: f64,
    /// Lower end of the slope's 95% interval.
    pub low: f64,
    /// Upper end of the slope's 95% interval.
    pub high: f64,
    /// Configurations.
    pub n: usize,
}

/// α-FLOPs and raw FLOPs over the same configurations (RO3).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgainstRawFlops {
    /// The experiment, or `all`.
    pub experiment: String,
    /// Errors of α-FLOPs.
    pub alpha_flops: Errors,
    /// Errors of `T = c·FLOPs`, with one c for all experiments, fitted to these very data by least
    /// squares: `c = Σ T·F / Σ F²`.
    pub raw_flops: Errors,
}

/// Answers all three; RO3 by the given coefficients.
pub fn answer(dataset: &Dataset, coefficients: Option<&Coefficients>) -> Objectives {
    Objectives {
        ro1: equal_flops(dataset),
        ro2: spatial_against_kernel(dataset),
        ro3: against_raw_flops(dataset, coefficients),
    }
}

/// An observation with a latency.
type Measured<'a> = (&'a Observation, f64);

fn measured(dataset: &Dataset, experiment: Experiment) -> Vec<Measured<'_>> {
    let observations = dataset.observations.iter();
    let of_experiment = observations.filter(|o| o.experiment == experiment.name());
    of_experiment.filter_map(|o| Some((o, o.typical()?.as_ms()))).collect()
}

/// Groups in the order of their first member.
fn grouped<T: Clone>(items: &[T], key: impl Fn(&T) -> String) -> Vec<(String, Vec<T>)> {
    let mut groups: Vec<(String, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(item);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(item.clone()),
            None => groups.push((key, vec![item.clone()])),
        }
    }
    groups
}

fn cannot_be_answered<T: Default>(criterion: String, missing: &str) -> Answer<T> {
    Answer {
        verdict: Verdict::CannotBeAnswered,
        sentence: format!("Cannot be answered: {missing}."),
        criterion,
        numbers: T::default(),
    }
}

fn verdict(holds: impl Iterator<Item = bool>) -> Verdict {
    let holds: Vec<bool> = holds.collect();
    match holds.iter().filter(|holds| **holds).count() {
        0 => Verdict::NotReplicated,
        n if n == holds.len() => Verdict::Replicated,
        _ => Verdict::PartlyReplicated,
    }
}

/// RO1.
fn equal_flops(dataset: &Dataset) -> Answer<Vec<EqualFlops>> {
    let criterion = format!(
        "raw FLOPs are no sufficient proxy in an experiment if, at equal nominal FLOPs, the \
         largest latency per multiply–add exceeds the smallest by more than a factor of \
         {EQUAL_LATENCY_RATIO} in the median group (groups: each x of A, each line of B and C)"
    );
    let experiments = [Experiment::A, Experiment::B, Experiment::C];
    let numbers: Vec<EqualFlops> =
        experiments.into_iter().flat_map(|e| equal_flops_groups(dataset, e)).collect();
    if numbers.is_empty() {
        return cannot_be_answered(
            criterion,
            "none of the experiments A, B and C has two configurations of equal FLOPs",
        );
    }
    let ratios: Vec<(String, Vec<f64>)> = grouped(&numbers, |group| group.experiment.clone())
        .into_iter()
        .map(|(name, groups)| {
            let ratios: Vec<f64> = groups.iter().map(|g| g.latency_per_mac_ratio).collect();
            (name, sorted(&ratios))
        })
        .collect();
    let verdict = verdict(ratios.iter().map(|(_, r)| quantile(r, 0.5) > EQUAL_LATENCY_RATIO));
    let parts = ratios.iter().map(|(name, r)| {
        let (low, median, high) = (quantile(r, 0.0), quantile(r, 0.5), quantile(r, 1.0));
        format!("{name}: {median:.2} ({low:.2} to {high:.2} over {} groups)", r.len())
    });
    let missing = experiments.iter().filter(|e| !ratios.iter().any(|(name, _)| name == e.name()));
    let missing: String = missing.map(|e| format!("; {e} was not measured")).collect();
    let sentence = format!(
        "{verdict}: at equal nominal FLOPs, latency per multiply–add differs by these factors — \
         {}{missing}.",
        parts.collect::<Vec<_>>().join("; ")
    );
    Answer { verdict, sentence, criterion, numbers }
}

fn equal_flops_groups(dataset: &Dataset, experiment: Experiment) -> Vec<EqualFlops> {
    let key = |(o, _): &Measured<'_>| match experiment {
        // the original study has half doublings, too
        Experiment::A => format!("x = {}", (o.x * 100.0).round() / 100.0),
        _ => o.series.clone(),
    };
    let ratio = |values: Vec<f64>| {
        let sorted = sorted(&values);
        quantile(&sorted, 1.0) / quantile(&sorted, 0.0)
    };
    let macs = |o: &Observation| o.shape.macs().0 as f64;
    grouped(&measured(dataset, experiment), key)
        .into_iter()
        .filter(|(_, group)| group.len() >= 2)
        .map(|(name, group)| EqualFlops {
            experiment: experiment.name().to_owned(),
            group: name,
            n: group.len(),
            latency_ratio: ratio(group.iter().map(|(_, ms)| *ms).collect()),
            macs_ratio: ratio(group.iter().map(|(o, _)| macs(o)).collect()),
            latency_per_mac_ratio: ratio(group.iter().map(|(o, ms)| ms / macs(o)).collect()),
        })
        .collect()
}

/// RO2.
fn spatial_against_kernel(dataset: &Dataset) -> Answer<Vec<Elasticity>> {
    let criterion = "along each line of B, FLOPs move from pixels to the kernel at a constant \
                     number: spatial FLOPs are the cheaper ones where the slope of log(latency \
                     per multiply–add) against log K is positive with its whole 95% interval"
        .to_owned();
    let mut numbers = kernel_elasticities(dataset, Experiment::B);
    let b = numbers.clone();
    numbers.extend(kernel_elasticities(dataset, Experiment::C));
    numbers.extend(width_elasticities(dataset));
    numbers.extend(pixel_elasticity(dataset));
    if b.is_empty() {
        let missing = "no line of experiment B has three kernel sizes";
        return Answer { numbers, ..cannot_be_answered(criterion, missing) };
    }
    let verdict = verdict(b.iter().map(|line| line.low > ROUNDING));
    let slopes = |experiment: Experiment| {
        let lines = numbers.iter().filter(|line| line.experiment == experiment.name());
        let slopes: Vec<String> =
            lines.map(|l| format!("{} ({})", l.interval(), l.series)).collect();
        if slopes.is_empty() { "not measured".to_owned() } else { slopes.join(", ") }
    };
    let sentence = format!(
        "{verdict}: with K, at constant FLOPs, latency per multiply–add grows with these \
         exponents — B (pixels to kernel): {}; C (channels to kernel): {}. For comparison, the \
         exponent of latency by width in D: {}; by pixels at equal FLOPs and K = 1 in A: {}.",
        slopes(Experiment::B),
        slopes(Experiment::C),
        slopes(Experiment::D),
        slopes(Experiment::A),
    );
    Answer { verdict, sentence, criterion, numbers }
}

/// Latency per multiply–add by K along the lines of B or C.
fn kernel_elasticities(dataset: &Dataset, experiment: Experiment) -> Vec<Elasticity> {
    let logs = |(o, ms): &Measured<'_>| {
        let per_mac = ms / o.shape.macs().0 as f64;
        ((o.shape.kernel() as f64).ln(), per_mac.ln())
    };
    elasticities(dataset, experiment, "latency per multiply–add by kernel size K", logs)
}

/// Latency by width along the lines of D.
///
/// By the independent variable: the original study's data have width and height the other way
/// round.
fn width_elasticities(dataset: &Dataset) -> Vec<Elasticity> {
    let logs = |(o, ms): &Measured<'_>| (o.x.ln(), ms.ln());
    elasticities(dataset, Experiment::D, "latency by input width W", logs)
}

/// Latency by pixels in A, where FLOPs are equal at each x: regression within the values of x.
fn pixel_elasticity(dataset: &Dataset) -> Option<Elasticity> {
    let groups = grouped(&measured(dataset, Experiment::A), |(o, _)| o.x.to_string());
    let number = groups.len();
    let mut points = Vec::new();
    for (_, group) in groups {
        let logs: Vec<(f64, f64)> =
            group.iter().map(|(o, ms)| ((o.shape.pixels() as f64).ln(), ms.ln())).collect();
        let n = logs.len() as f64;
        let (x, y) = logs.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
        points.extend(logs.iter().map(|p| (p.0 - x, p.1 - y)));
    }
    // one mean a group, and one slope
    let (slope, low, high) = slope(&points, number + 1)?;
    Some(Elasticity {
        experiment: Experiment::A.name().to_owned(),
        series: "all".to_owned(),
        of: "latency by pixels H·W at equal FLOPs".to_owned(),
        slope,
        low,
        high,
        n: points.len(),
    })
}

fn elasticities(
    dataset: &Dataset,
    experiment: Experiment,
    of: &str,
    logs: impl Fn(&Measured<'_>) -> (f64, f64),
) -> Vec<Elasticity> {
    let lines = grouped(&measured(dataset, experiment), |(o, _)| o.series.clone());
    let line = |(series, line): (String, Vec<Measured<'_>>)| {
        let points: Vec<(f64, f64)> = line.iter().map(&logs).collect();
        // a mean and a slope
        let (slope, low, high) = slope(&points, 2)?;
        let experiment = experiment.name().to_owned();
        Some(Elasticity {
            experiment,
            series,
            of: of.to_owned(),
            slope,
            low,
            high,
            n: points.len(),
        })
    };
    lines.into_iter().filter_map(line).collect()
}

/// Least-squares slope and its 95% interval, with `parameters` of the points' degrees of freedom
/// spent; `None` where none is left or x does not vary.
fn slope(points: &[(f64, f64)], parameters: usize) -> Option<(f64, f64, f64)> {
    let n = points.len() as f64;
    let freedom = points.len().checked_sub(parameters).filter(|freedom| *freedom > 0)? as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let sum =
        |term: &dyn Fn(f64, f64) -> f64| points.iter().map(|p| term(p.0 - x, p.1 - y)).sum::<f64>();
    let sxx = sum(&|dx, _| dx * dx);
    if !(sxx.is_finite() && sxx > 1e-12 * n) {
        return None;
    }
    let slope = sum(&|dx, dy| dx * dy) / sxx;
    let error = (sum(&|dx, dy| (dy - slope * dx).powi(2)) / freedom / sxx).sqrt();
    let half = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975) * error;
    half.is_finite().then_some((slope, slope - half, slope + half))
}

/// RO3.
fn against_raw_flops(
    dataset: &Dataset,
    coefficients: Option<&Coefficients>,
) -> Answer<Vec<AgainstRawFlops>> {
    let criterion = format!(
        "estimates are accurate in an experiment where their RMSE is at most \
         {ACCURATE_NRMSE_PERCENT}% of its measured range, and better than raw FLOPs where their \
         RMSE is below that of one factor times FLOPs fitted to the same data"
    );
    let Some(coefficients) = coefficients else {
        return cannot_be_answered(criterion, "there are no α-FLOPs coefficients for these data");
    };
    let numbers = compared_with_raw_flops(dataset, coefficients);
    let Some((overall, experiments)) = numbers.split_first() else {
        return cannot_be_answered(
            criterion,
            "no configuration has both a latency and an estimate",
        );
    };
    // an experiment whose latencies are all equal has no range to measure errors by
    let has_range = |row: &&AgainstRawFlops| row.alpha_flops.nrmse_range_percent.is_some();
    let experiments: Vec<&AgainstRawFlops> = experiments.iter().filter(has_range).collect();
    if experiments.is_empty() {
        let missing = "no experiment has two configurations of different latency";
        return Answer { numbers, ..cannot_be_answered(criterion, missing) };
    }
    let is_accurate = |row: &AgainstRawFlops| {
        let nrmse = row.alpha_flops.nrmse_range_percent;
        nrmse.is_some_and(|nrmse| nrmse <= ACCURATE_NRMSE_PERCENT)
    };
    let is_better = |row: &AgainstRawFlops| row.alpha_flops.rmse_ms < row.raw_flops.rmse_ms;
    let verdict = verdict(experiments.iter().map(|row| is_accurate(row) && is_better(row)));
    let names = |holds: &dyn Fn(&AgainstRawFlops) -> bool| {
        let names = experiments.iter().filter(|row| holds(row)).map(|row| row.experiment.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        if names.is_empty() { "no experiment".to_owned() } else { names }
    };
    let is_in_sample = coefficients
        .fitted_on
        .as_ref()
        .is_some_and(|fitted| fitted.provenance == dataset.provenance);
    let sentence = format!(
        "{verdict}: over all {} configurations α-FLOPs ({}, {}) has RMSE {:.4} ms and MAPE {:.1}%, \
         raw FLOPs with one factor (in-sample) {:.4} ms and {:.1}%; α-FLOPs is accurate in {}, and \
         better than raw FLOPs in {}.",
        overall.alpha_flops.n,
        coefficients.source,
        if is_in_sample { "in-sample" } else { "not fitted to these data" },
        overall.alpha_flops.rmse_ms,
        overall.alpha_flops.mape_percent,
        overall.raw_flops.rmse_ms,
        overall.raw_flops.mape_percent,
        names(&is_accurate),
        names(&is_better),
    );
    Answer { verdict, sentence, criterion, numbers }
}

/// One configuration of RO3's comparison, times in milliseconds.
#[derive(Clone, Copy)]
struct Compared<'a> {
    experiment: &'a str,
    measured: f64,
    alpha_flops: f64,
    flops: f64,
}

/// All experiments together, then each, over the configurations that have an estimate.
fn compared_with_raw_flops(dataset: &Dataset, coefficients: &Coefficients) -> Vec<AgainstRawFlops> {
    let compared: Vec<Compared<'_>> = dataset
        .observations
        .iter()
        .filter_map(|o| {
            Some(Compared {
                experiment: &o.experiment,
                measured: o.typical()?.as_ms(),
                alpha_flops: coefficients.predict(&o.shape).ok()?.as_ms(),
                flops: o.shape.flops().0 as f64,
            })
        })
        .collect();
    let products = compared.iter().map(|c| c.measured * c.flops).sum::<f64>();
    let factor = products / compared.iter().map(|c| c.flops * c.flops).sum::<f64>();
    let row = |experiment: String, compared: &[Compared<'_>]| {
        let pairs = |estimate: &dyn Fn(&Compared<'_>) -> f64| {
            errors(&compared.iter().map(|c| (c.measured, estimate(c))).collect::<Vec<_>>())
        };
        Some(AgainstRawFlops {
            experiment,
            alpha_flops: pairs(&|c| c.alpha_flops)?,
            raw_flops: pairs(&|c| factor * c.flops)?,
        })
    };
    let experiments = grouped(&compared, |c| c.experiment.to_owned());
    let experiments = experiments.into_iter().map(|(name, group)| row(name, &group));
    std::iter::once(row("all".to_owned(), &compared)).chain(experiments).flatten().collect()
}

impl Elasticity {
    /// `+1.23 [1.10, 1.36]`
    pub fn interval(&self) -> String {
        format!("{:+.2} [{:+.2}, {:+.2}]", self.slope, self.low, self.high)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Replicated => "Replicated",
            Self::PartlyReplicated => "Partly replicated",
            Self::NotReplicated => "Not replicated",
            Self::CannotBeAnswered => "Cannot be answered",
        })
    }
}
