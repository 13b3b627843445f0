//! RO3: α-FLOPs against raw FLOPs as estimates of latency.
//!
//! Both models estimate lines that neither has seen (`estimates`), and the intervals of what follows are
//! over lines and over refits of both models (`interval`).
//!
//! **The difference.** With `A_l` and `B_l` the sums of squared errors of α-FLOPs and raw FLOPs over line l,
//! the ratio of the mean squared errors is `ρ = ΣA/ΣB = Σ w_l·(A_l/B_l)` with the weights `w_l = B_l/ΣB`.
//! Lines are taken as a sample of such lines, whose `ln(A_l/B_l)` have one mean and one variance s²: then
//! ln ρ has about the error `s·√(Σ w²)`. That some lines are longer
//! than others is part of an experiment's plan, so the weights are taken as given, and the interval of √ρ
//! times raw FLOPs' RMSE, less that RMSE, is the difference's.
//!
//! **Accuracy.** The median line's error, in percent of its range, decides. The median of L logarithms with
//! standard deviation s has an error of at most `√(π/2)·s/√L` if they are normal (that is its limit of many;
//! the median of three has 0.67·s, not 0.72·s).
//!
//! **Noise** is in how lines differ, and so in both intervals, known or not. Besides it decides which lines
//! count for accuracy: where it is unknown, the answer says with how much of it the verdict would be another.

use std::f64::consts::FRAC_PI_2;

use alpha_flops::choice::choices;
use alpha_flops::experiment::Experiment;
use alpha_flops::statistics::sorted;
use serde::Serialize;

use super::{ACCURATE_NRMSE_PERCENT, Case, ClaimVerdict, Noise, ObjectiveAnswer, Spread};
use crate::dataset::Dataset;
use crate::fit::intervals::Interval;
use crate::fit::refits::Models;
use crate::in_order::grouped;
use crate::metrics::{Errors, errors};
use crate::model::{Coefficients, FittedOn};
use crate::moderated_variance::EstimatedVariance;

mod estimates;
mod interval;

use estimates::{Estimate, Estimated, Line, Squares, estimated};
use interval::{moderated, of_root, variance};

/// Fits to data at hand: raw FLOPs' factor, and both models fitted to drawn configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Milliseconds per million FLOPs of the coefficients' convention.
    pub raw_final: f64,
    pub models: Vec<Models>,
}

/// α-FLOPs and raw FLOPs over the same configurations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgainstRawFlops {
    /// The experiment, or `all`.
    pub experiment: String,
    /// Lines with an estimate: what the intervals are over.
    pub lines: usize,
    /// Where it was fitted to these data: of each line by a fit to the other lines.
    pub alpha_flops: Errors,
    /// Errors of `T = c·FLOPs`, with one c for all experiments, by least squares: `c = Σ T·F / Σ F²` over
    /// the data that α-FLOPs was fitted to or, where that is not known, over these, without the line
    /// that is estimated.
    pub raw_flops: Errors,
    /// RMSE of α-FLOPs less that of raw FLOPs.
    pub difference_ms: f64,
    /// 95% interval; `None` of a single line, or where too few refits can tell.
    pub difference_interval_ms: Option<Interval>,
    pub advantage: Advantage,
    /// RMSE of α-FLOPs in percent of the measured range, line by line as the paper gives it: the
    /// median over the lines whose range is more than noise. `None` where there is none.
    pub alpha_flops_line_nrmse_percent: Option<f64>,
    /// 95% interval; `None` of a single line, or where too few refits can tell.
    pub alpha_flops_line_nrmse_interval_percent: Option<Interval>,
    /// The same median of raw FLOPs.
    pub raw_flops_line_nrmse_percent: Option<f64>,
    pub accuracy: Accuracy,
}

choices! {
    /// Which model has the smaller errors, by the 95% interval of the difference of their RMSE.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Advantage {
        /// α-FLOPs: the interval is below 0
        Better = "better",
        /// Raw FLOPs: the interval is above 0
        Worse = "worse",
        NoDifferenceShown = "no difference shown",
    }
}

choices! {
    /// Whether the 95% interval of the median line's error is below or above [`ACCURATE_NRMSE_PERCENT`].
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Accuracy {
        Accurate = "accurate",
        NotAccurate = "not accurate",
        NotShown = "not shown",
    }
}

pub(super) fn answer(
    dataset: &Dataset,
    noise: &Noise,
    coefficients: Option<&Coefficients>,
    bootstrap: Option<&Bootstrap>,
) -> ObjectiveAnswer<Vec<AgainstRawFlops>> {
    let criterion = format!(
        "in each of the experiments {} that was measured, α-FLOPs is better (worse) than one factor times FLOPs where the \
         95% interval of the difference of their RMSE is below (above) 0, and accurate (not accurate) \
         where that of the median line's RMSE is below (above) {ACCURATE_NRMSE_PERCENT}% of the line's \
         measured range; the claim holds where it is better and accurate, and fails where it is worse or not \
         accurate; intervals are over lines and over refits of what was fitted here; no line is estimated by a \
         fit to itself, and none counts for accuracy whose range may be noise",
        Experiment::range(),
    );
    let impossible = |missing: &str, numbers| {
        ObjectiveAnswer::impossible(dataset, missing, criterion.clone(), numbers)
    };
    let Some(coefficients) = coefficients else {
        return impossible("there are no α-FLOPs coefficients for these data", Vec::new());
    };
    let estimated = estimated(dataset, noise, coefficients, bootstrap);
    let numbers = compared_with_raw_flops(&estimated, 0.0);
    let Some(overall) = numbers.first() else {
        return impossible("no configuration has both a latency and an estimate", numbers);
    };
    let judged = match judged(dataset, coefficients, &numbers) {
        Ok(judged) => judged,
        Err(missing) => return impossible(&missing, numbers),
    };
    let verdict = verdict(&judged);
    let is_undone = |sd: f64| {
        let numbers = compared_with_raw_flops(&estimated, sd);
        !judged_rows(&numbers).is_some_and(|judged| self::verdict(&judged) == verdict)
    };
    // noise matters where a line's range becomes no more than noise; what one line's undoes, another's may do
    // again
    let limits = sorted(&estimated.lines.iter().filter_map(Line::most_noise).collect::<Vec<_>>());
    let undone_by_percent = (noise.is_unknown() && verdict != ClaimVerdict::NotShown)
        .then(|| limits.into_iter().find(|limit| is_undone(limit * (1.0 + 1e-9))))
        .flatten()
        .map(|limit| 100.0 * limit);
    let mut finding = finding(dataset, coefficients, bootstrap, overall, &judged);
    if noise.is_unknown() {
        finding = format!("{finding}. {}", noise.sentence(undone_by_percent));
    }
    let answer = ObjectiveAnswer::new(dataset, verdict, &finding, criterion, numbers);
    answer.undone_by(undone_by_percent)
}

/// The experiments that decide; `None` where none has a line whose latencies differ by more than noise.
fn judged_rows(numbers: &[AgainstRawFlops]) -> Option<Vec<&AgainstRawFlops>> {
    let is_of_table = |row: &&AgainstRawFlops| row.experiment.parse::<Experiment>().is_ok();
    let judged: Vec<&AgainstRawFlops> = numbers.iter().filter(is_of_table).collect();
    let has_range = |row: &&AgainstRawFlops| row.alpha_flops_line_nrmse_percent.is_some();
    judged.iter().any(has_range).then_some(judged)
}

/// The experiments that decide, or why there is no verdict.
fn judged<'n>(
    dataset: &Dataset,
    coefficients: &Coefficients,
    numbers: &'n [AgainstRawFlops],
) -> Result<Vec<&'n AgainstRawFlops>, String> {
    if let Some(device) = coefficients.other_device(&dataset.provenance) {
        return Err(format!(
            "the claim is of estimates after regression on the device itself, and these \
             coefficients are of {device}"
        ));
    }
    judged_rows(numbers).ok_or_else(|| {
        "no experiment has a line whose latencies differ by more than noise".to_owned()
    })
}

fn verdict(judged: &[&AgainstRawFlops]) -> ClaimVerdict {
    ClaimVerdict::from_cases(judged.iter().map(|row| row.case()))
}

/// What the verdict rests on.
fn finding(
    dataset: &Dataset,
    coefficients: &Coefficients,
    bootstrap: Option<&Bootstrap>,
    overall: &AgainstRawFlops,
    judged: &[&AgainstRawFlops],
) -> String {
    let interval = match overall.difference_interval_ms {
        Some([low, high]) => format!(", 95% interval {low:.3} to {high:.3}"),
        None => String::new(),
    };
    format!(
        "RMSE is {:.3} ms with α-FLOPs ({}) and {:.3} ms with raw FLOPs (one factor, fitted to {}): \
         difference {:+.3} ms{interval}, {}; against raw FLOPs: {}; accuracy: {}",
        overall.alpha_flops.rmse_ms,
        fitted_to(dataset, coefficients),
        overall.raw_flops.rmse_ms,
        match (coefficients.is_in_sample(&dataset.provenance), bootstrap) {
            (true, _) | (false, Some(_)) => "the same",
            (false, None) => "the other lines of these data",
        },
        overall.difference_ms,
        overall.advantage,
        listed(judged, &Advantage::ALL, |row| row.advantage),
        listed(judged, &Accuracy::ALL, |row| row.accuracy),
    )
}

/// `accurate in D, E, not shown in A`: verdicts with the experiments that have them.
fn listed<V: Copy + PartialEq + std::fmt::Display>(
    rows: &[&AgainstRawFlops],
    verdicts: &[V],
    of: impl Fn(&AgainstRawFlops) -> V,
) -> String {
    let names = |verdict: V| {
        let having = rows.iter().filter(|row| of(row) == verdict);
        having.map(|row| row.experiment.as_str()).collect::<Vec<_>>().join(", ")
    };
    let parts = verdicts.iter().map(|verdict| (verdict, names(*verdict)));
    let parts = parts.filter(|(_, names)| !names.is_empty());
    parts.map(|(verdict, names)| format!("{verdict} in {names}")).collect::<Vec<_>>().join(", ")
}

/// `6 parameters, fitted to the other lines of these data`.
fn fitted_to(dataset: &Dataset, coefficients: &Coefficients) -> String {
    let parameters = coefficients.parameters();
    match &coefficients.fitted_on {
        _ if coefficients.is_in_sample(&dataset.provenance) => {
            format!("{parameters} parameters, fitted to the other lines of these data")
        }
        Some(FittedOn { configurations, .. }) => {
            format!("{parameters} parameters, fitted to {configurations} other configurations")
        }
        None => "not fitted here, so that intervals are over lines only".to_owned(),
    }
}

impl AgainstRawFlops {
    fn case(&self) -> Case {
        match (self.accuracy, self.advantage) {
            (Accuracy::Accurate, Advantage::Better) => Case::Holds,
            (Accuracy::NotAccurate, _) | (_, Advantage::Worse) => Case::DoesNotHold,
            _ => Case::NotShown,
        }
    }

    /// `variances` are of the lines' logarithms: of ratios, and of squared NRMSE.
    fn new(group: &Group<'_>, variances: [EstimatedVariance; 2]) -> Option<Self> {
        let Group { squares, estimated, .. } = group;
        let errors_of = |of: fn(&Estimate<'_>) -> f64| {
            let estimates = group.lines().flat_map(|line| &line.estimates);
            errors(estimates.map(|e| (e.measured, of(e))))
        };
        let alpha_flops = errors_of(|e| e.alpha_flops)?;
        let raw_flops = errors_of(|e| e.raw_flops)?;
        let interval =
            |of: &dyn Fn(&[Squares]) -> Option<f64>, weight: f64, variance: EstimatedVariance| {
                let refits = estimated.refitted.iter().map(|all| {
                    of(&group.places.iter().map(|place| all[*place]).collect::<Vec<_>>())
                });
                let refits: Option<Vec<f64>> = refits.collect();
                let refits = refits.filter(|_| estimated.is_refitted && squares.len() > 1)?;
                of_root(of(squares)?, (weight * variance.value).sqrt(), variance.df, &refits)
            };

        let rmse_ms = raw_flops.rmse_ms;
        let difference_interval_ms =
            interval(&|squares| Some(ratio(squares)), group.square_of_weights(), variances[0])
                .map(|ends| ends.map(|end| rmse_ms * end - rmse_ms));

        let alpha_of_lines = group.nrmse(squares, |s| s.alpha_flops);
        let median_square =
            |squares: &[Squares]| Some(median(&group.nrmse(squares, |s| s.alpha_flops))?.powi(2));
        let weight = FRAC_PI_2 / alpha_of_lines.len() as f64;
        let nrmse_interval = interval(&median_square, weight, variances[1])
            .filter(|_| alpha_of_lines.len() > 1)
            .map(|ends| ends.map(|end| 100.0 * end));
        let percent = |of_lines: &[f64]| median(of_lines).map(|nrmse| 100.0 * nrmse);
        Some(Self {
            experiment: group.name.clone(),
            lines: group.places.len(),
            alpha_flops,
            raw_flops,
            difference_ms: alpha_flops.rmse_ms - rmse_ms,
            difference_interval_ms,
            advantage: match side(difference_interval_ms, 0.0) {
                Some(true) => Advantage::Better,
                Some(false) => Advantage::Worse,
                None => Advantage::NoDifferenceShown,
            },
            alpha_flops_line_nrmse_percent: percent(&alpha_of_lines),
            alpha_flops_line_nrmse_interval_percent: nrmse_interval,
            raw_flops_line_nrmse_percent: percent(&group.nrmse(squares, |s| s.raw_flops)),
            accuracy: match side(nrmse_interval, ACCURATE_NRMSE_PERCENT) {
                Some(true) => Accuracy::Accurate,
                Some(false) => Accuracy::NotAccurate,
                None => Accuracy::NotShown,
            },
        })
    }
}

/// Lines that are judged together.
struct Group<'a> {
    name: String,
    /// Of the lines, in what was estimated.
    places: Vec<usize>,
    squares: Vec<Squares>,
    /// Of each line, in milliseconds; `None` where it may be noise.
    ranges: Vec<Option<f64>>,
    estimated: &'a Estimated<'a>,
}

impl<'a> Group<'a> {
    /// `noise` is a standard deviation of latencies' logarithms beside what is known of it.
    fn new(name: String, places: Vec<usize>, estimated: &'a Estimated<'a>, noise: f64) -> Self {
        let lines = || places.iter().map(|place| &estimated.lines[*place]);
        let (squares, ranges) = lines().map(|line| (line.squares(), line.range(noise))).unzip();
        Self { name, places, squares, ranges, estimated }
    }

    fn lines(&self) -> impl Iterator<Item = &'a Line<'a>> {
        self.places.iter().map(|place| &self.estimated.lines[*place])
    }

    /// Of each line, the logarithm of the ratio of squared errors.
    fn ln_ratios(&self) -> Vec<f64> {
        self.squares.iter().map(|s| (s.alpha_flops / s.raw_flops).ln()).collect()
    }

    /// Σ w² of the weights that the lines' ratios have in the group's.
    fn square_of_weights(&self) -> f64 {
        let sum = self.squares.iter().map(|s| s.raw_flops).sum::<f64>();
        self.squares.iter().map(|s| (s.raw_flops / sum).powi(2)).sum()
    }

    /// RMSE over range of each line that has one.
    fn nrmse(&self, squares: &[Squares], of: fn(&Squares) -> f64) -> Vec<f64> {
        let of_line =
            |(s, range): (&Squares, &Option<f64>)| Some((of(s) / s.n as f64).sqrt() / (*range)?);
        squares.iter().zip(&self.ranges).filter_map(of_line).collect()
    }

    fn ln_nrmse_squares(&self) -> Vec<f64> {
        self.nrmse(&self.squares, |s| s.alpha_flops).iter().map(|nrmse| 2.0 * nrmse.ln()).collect()
    }
}

/// Whether all of an interval is below a limit, or above it; `None` where it is neither.
fn side(interval: Option<Interval>, limit: f64) -> Option<bool> {
    let [low, high] = interval?;
    match (high < limit, low > limit) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| Spread::over(values.iter().copied()).median)
}

/// Mean squared error of α-FLOPs over that of raw FLOPs.
fn ratio(lines: &[Squares]) -> f64 {
    let sum = |of: fn(&Squares) -> f64| lines.iter().map(of).sum::<f64>();
    sum(|s| s.alpha_flops) / sum(|s| s.raw_flops)
}

/// All experiments together, then each, over the configurations that have an estimate; `noise` is a
/// standard deviation of latencies' logarithms beside what is known of it.
fn compared_with_raw_flops(estimated: &Estimated<'_>, noise: f64) -> Vec<AgainstRawFlops> {
    let places = 0..estimated.lines.len();
    let places: Vec<usize> =
        places.filter(|place| !estimated.lines[*place].estimates.is_empty()).collect();
    let experiments = grouped(&places, |place| estimated.lines[*place].experiment.to_owned());
    let group = |(name, places)| Group::new(name, places, estimated, noise);
    let all = group(("all".to_owned(), places));
    let experiments: Vec<Group<'_>> = experiments.into_iter().map(group).collect();
    let moderated = [Group::ln_ratios, Group::ln_nrmse_squares].map(|logs| {
        let variances = experiments.iter().map(|group| variance(&logs(group)));
        moderated(&variances.collect::<Vec<_>>())
    });
    let of_all = [variance(&all.ln_ratios()), variance(&all.ln_nrmse_squares())];
    let rows = experiments
        .iter()
        .enumerate()
        .map(|(index, group)| (group, [moderated[0][index], moderated[1][index]]));
    let rows = std::iter::once((&all, of_all)).chain(rows);
    rows.filter_map(|(group, variances)| AgainstRawFlops::new(group, variances)).collect()
}
