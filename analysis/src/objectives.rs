//! The paper's replication objectives RO1–RO3 (section 1), answered from a dataset by numbers.
//!
//! Every answer names the criterion that decides it. The criteria are this project's: the paper
//! states none, and answers by looking at its figures. The claims are about GPUs, so every answer
//! names what it was measured on, and a CPU's answer replicates nothing.

#![allow(missing_docs, reason = "fields whose names say what they are have no docs")]

use alpha_flops::choice::choices;
use alpha_flops::experiment::Experiment;
use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;

use crate::dataset::{Dataset, Observation};
use crate::model::Coefficients;
use crate::moderated_variance::EstimatedVariance;

mod disturbed;
mod elasticity;
mod equal_flops;
mod noise;
mod random_effects;
mod raw_flops;

pub use elasticity::{Elasticity, Slope};
pub use equal_flops::{EqualFlopsGroup, Heterogeneity};
pub use noise::{ArchivedNoise, Noise, NoiseSource};
pub use raw_flops::{Accuracy, Advantage, AgainstRawFlops, Bootstrap};

/// Latencies per multiply–add that typically are within this factor of each other count as equal.
pub const EQUAL_LATENCY_RATIO: f64 = 1.1;
/// The largest RMSE, in percent of a line's measured range, that counts as accurate: the largest
/// that the paper calls acceptable (section 5.2.1, of a line of experiment A).
///
/// An experiment's median line decides: over the range of a whole experiment, whose lines differ by
/// their channels alone, any estimate looks accurate, while the range of one line can be next to
/// nothing, as of G's K = 1. Lines whose range is no more than their noise don't count.
pub const ACCURATE_NRMSE_PERCENT: f64 = 13.0;

/// Answers to RO1, RO2 and RO3.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Objectives {
    /// What is known of the noise of latencies.
    pub noise: Noise,
    /// Are raw FLOPs an insufficient proxy for latency, even where they are equal?
    pub ro1: ObjectiveAnswer<Vec<EqualFlopsGroup>>,
    /// Are FLOPs in spatial dimensions more parallelizable than FLOPs in kernel dimensions?
    pub ro2: ObjectiveAnswer<Vec<Elasticity>>,
    /// Does α-FLOPs estimate latency accurately, and better than raw FLOPs?
    pub ro3: ObjectiveAnswer<Vec<AgainstRawFlops>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectiveAnswer<T> {
    pub verdict: ClaimVerdict,
    /// The answer in a sentence: on what, with the numbers that decide it.
    pub sentence: String,
    pub criterion: String,
    /// Noise from run to run, in percent, above which the verdict is another; `None` where noise is
    /// known, and where none would change the verdict.
    pub undone_by_percent: Option<f64>,
    pub numbers: T,
}

choices! {
    /// Whether a claim of the paper holds in the data at hand, in a word.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum ClaimVerdict {
        /// It does wherever the criterion looks.
        Holds = "Holds",
        /// It does in some places.
        PartlyHolds = "Partly holds",
        /// It does nowhere.
        DoesNotHold = "Does not hold",
        /// The data at hand do not decide it.
        NotShown = "Not shown",
        /// The data that would decide are missing.
        CannotBeAnswered = "Cannot be answered",
    }
}

/// Whether the passes of a dataset tell how noisy its latencies are.
pub fn noise_is_known_from_passes(dataset: &Dataset) -> bool {
    Noise::of_passes(dataset).is_some()
}

/// Answers all three; RO3 by the given coefficients. `bootstrap` is of other data that they were fitted
/// to; without it, raw FLOPs' factor is fitted to `dataset`. Noise is known from the dataset's passes or
/// from archived runs.
pub fn answer(
    dataset: &Dataset,
    archived: Option<&ArchivedNoise>,
    coefficients: Option<&Coefficients>,
    bootstrap: Option<&Bootstrap>,
) -> Objectives {
    let noise = Noise::new(dataset, archived);
    Objectives {
        ro1: equal_flops::answer(dataset, &noise),
        ro2: elasticity::answer(dataset, &noise),
        ro3: raw_flops::answer(dataset, &noise, coefficients, bootstrap),
        noise,
    }
}

impl<T> ObjectiveAnswer<T> {
    /// `finding` goes on after "Holds on AMD EPYC, 2 threads (cpu): ", without a full stop.
    fn new(
        dataset: &Dataset,
        verdict: ClaimVerdict,
        finding: &str,
        criterion: String,
        numbers: T,
    ) -> Self {
        let place = dataset.provenance.place();
        if let Some(warning) = dataset.provenance.warning() {
            let verdict = ClaimVerdict::CannotBeAnswered;
            let sentence = format!("{verdict} on {place}: {warning}.");
            return Self { verdict, sentence, criterion, undone_by_percent: None, numbers };
        }
        let sentence = format!("{verdict} on {place}: {finding}.");
        Self { verdict, sentence, criterion, undone_by_percent: None, numbers }
    }

    /// The same with how large unknown noise would have to be to undo it; where there is no answer, there is
    /// nothing to undo.
    fn undone_by(self, percent: Option<f64>) -> Self {
        let undone_by_percent = percent.filter(|_| self.verdict != ClaimVerdict::CannotBeAnswered);
        Self { undone_by_percent, ..self }
    }

    /// That there is no answer, because of what the dataset lacks.
    fn impossible(dataset: &Dataset, missing: &str, criterion: String, numbers: T) -> Self {
        Self::new(dataset, ClaimVerdict::CannotBeAnswered, missing, criterion, numbers)
    }
}

/// Whether a claim holds in one of the places where its criterion looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Holds,
    DoesNotHold,
    /// The data at hand do not decide it.
    NotShown,
}

impl From<bool> for Case {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::DoesNotHold }
    }
}

impl ClaimVerdict {
    /// Of at least one case.
    fn from_cases(cases: impl Iterator<Item = Case>) -> Self {
        let cases: Vec<Case> = cases.collect();
        let count = |of: Case| cases.iter().filter(|case| **case == of).count();
        match (count(Case::Holds), count(Case::DoesNotHold)) {
            (n, _) if n == cases.len() => Self::Holds,
            (1.., _) => Self::PartlyHolds,
            (_, n) if n == cases.len() => Self::DoesNotHold,
            _ => Self::NotShown,
        }
    }
}

/// An observation with a latency.
#[derive(Clone, Copy)]
struct Timed<'a> {
    observation: &'a Observation,
    ms: f64,
    /// Variance of the latency's logarithm.
    noise: EstimatedVariance,
}

fn measured<'a>(dataset: &'a Dataset, noise: &Noise, experiment: Experiment) -> Vec<Timed<'a>> {
    let observations = dataset.observations.iter().zip(&noise.variances);
    let of_experiment = observations.filter(|(o, _)| o.experiment == experiment.name);
    let timed = |(observation, noise): (&'a Observation, &EstimatedVariance)| {
        let ms = observation.typical()?.as_ms();
        Some(Timed { observation, ms, noise: *noise })
    };
    of_experiment.filter_map(timed).collect()
}

/// The value of an experiment's variable; the original study has half doublings, too.
fn value(observation: &Observation) -> String {
    format!("x = {}", (observation.x * 100.0).round() / 100.0)
}

/// `A, B and C`.
fn names(experiments: &[Experiment]) -> String {
    let names: Vec<&str> = experiments.iter().map(|experiment| experiment.name).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

struct Spread {
    median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// `NaN`s where there are no numbers.
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let sorted = sorted(&values.collect::<Vec<_>>());
        let at = |share| quantile(&sorted, share);
        Self { median: at(0.5), low: at(0.0), high: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_data_do_not_decide_makes_a_claim_neither_hold_nor_fail() {
        use Case::{DoesNotHold, Holds, NotShown};
        for (cases, verdict) in [
            (&[Holds, Holds][..], ClaimVerdict::Holds),
            (&[Holds, NotShown], ClaimVerdict::PartlyHolds),
            (&[NotShown, Holds, DoesNotHold], ClaimVerdict::PartlyHolds),
            (&[DoesNotHold, DoesNotHold], ClaimVerdict::DoesNotHold),
            (&[DoesNotHold, NotShown], ClaimVerdict::NotShown),
            (&[NotShown], ClaimVerdict::NotShown),
        ] {
            assert_eq!(ClaimVerdict::from_cases(cases.iter().copied()), verdict, "{cases:?}");
        }
    }
}
