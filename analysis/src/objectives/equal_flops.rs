//! RO1: how far configurations of equal nominal FLOPs differ.

use alpha_flops::experiment::{self, Experiment};
use serde::Serialize;

use super::{ClaimVerdict, EQUAL_LATENCY_RATIO, ObjectiveAnswer, Spread, Timed, measured, names};
use crate::dataset::{Dataset, Observation};
use crate::in_order::grouped;

/// How far configurations of equal nominal FLOPs differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EqualFlopsGroup {
    /// One that has configurations of equal FLOPs.
    pub experiment: String,
    /// What they have in common: a line, or a value of x.
    pub group: String,
    /// Configurations in the group, at least two.
    pub n: usize,
    /// Largest over smallest latency.
    pub latency_ratio: f64,
    /// Largest over smallest number of multiply–adds: above 1 where rounding made them unequal.
    pub macs_ratio: f64,
    /// Largest over smallest latency per multiply–add, which rounding does not touch.
    pub latency_per_mac_ratio: f64,
    /// Largest over smallest latency per multiply–add on the image: of what is left where the
    /// padding's are skipped.
    pub latency_per_mac_on_image_ratio: f64,
}

pub(super) fn answer(dataset: &Dataset) -> ObjectiveAnswer<Vec<EqualFlopsGroup>> {
    let equal = |kind| Experiment::that(|e| e.equal_flops == kind);
    let at_each_value = equal(experiment::EqualFlops::AtEachValue);
    let along_series = equal(experiment::EqualFlops::AlongSeries);
    let criterion = format!(
        "raw FLOPs are not a sufficient proxy in an experiment where, at equal nominal FLOPs, the \
         largest latency per multiply–add is more than {EQUAL_LATENCY_RATIO} times the smallest in \
         the median group (groups: each x of {}, each line of {})",
        names(&at_each_value),
        names(&along_series)
    );
    let experiments = Experiment::that(|e| e.equal_flops != experiment::EqualFlops::Nowhere);
    let numbers: Vec<EqualFlopsGroup> =
        experiments.iter().flat_map(|e| groups(dataset, *e)).collect();
    if numbers.is_empty() {
        let missing = format!(
            "none of the experiments {} has two configurations of equal FLOPs",
            names(&experiments)
        );
        return ObjectiveAnswer::impossible(dataset, &missing, criterion, numbers);
    }
    let by_experiment = grouped(&numbers, |group| group.experiment.clone());
    let spread = |ratio: fn(&EqualFlopsGroup) -> f64| {
        let spread = move |(name, groups): &(String, Vec<EqualFlopsGroup>)| {
            (name.clone(), Spread::over(groups.iter().map(ratio)))
        };
        by_experiment.iter().map(spread).collect::<Vec<_>>()
    };
    let (nominal, on_image) =
        (spread(|g| g.latency_per_mac_ratio), spread(|g| g.latency_per_mac_on_image_ratio));
    let holds = |(_, s): &(String, Spread)| (s.median > EQUAL_LATENCY_RATIO).into();
    let verdict = ClaimVerdict::from_cases(nominal.iter().map(holds));
    let list = |parts: Vec<String>| parts.join(", ");
    let range = |(name, s): &(String, Spread)| {
        format!("{:.2}× in {name} ({:.2}–{:.2})", s.median, s.low, s.high)
    };
    let median = |(_, s): &(String, Spread)| format!("{:.2}×", s.median);
    let finding = format!(
        "at equal nominal FLOPs, latency per multiply–add differs by {}, median and range over \
         groups; per multiply–add on the image by {}",
        list(nominal.iter().map(range).collect()),
        list(on_image.iter().map(median).collect()),
    );
    ObjectiveAnswer::new(dataset, verdict, &finding, criterion, numbers)
}

fn groups(dataset: &Dataset, experiment: Experiment) -> Vec<EqualFlopsGroup> {
    let key = |(o, _): &Timed<'_>| match experiment.equal_flops {
        // the original study has half doublings, too
        experiment::EqualFlops::AtEachValue => format!("x = {}", (o.x * 100.0).round() / 100.0),
        _ => o.series.clone(),
    };
    let macs = |o: &Observation| o.shape.macs().0 as f64;
    let on_image = |o: &Observation| o.shape.macs_on_image().0 as f64;
    grouped(&measured(dataset, experiment), key)
        .into_iter()
        .filter(|(_, group)| group.len() >= 2)
        .map(|(name, group)| {
            let ratio = |value: &dyn Fn(&Timed<'_>) -> f64| {
                let spread = Spread::over(group.iter().map(value));
                spread.high / spread.low
            };
            EqualFlopsGroup {
                experiment: experiment.name.to_owned(),
                group: name,
                n: group.len(),
                latency_ratio: ratio(&|(_, ms)| *ms),
                macs_ratio: ratio(&|(o, _)| macs(o)),
                latency_per_mac_ratio: ratio(&|(o, ms)| ms / macs(o)),
                latency_per_mac_on_image_ratio: ratio(&|(o, ms)| ms / on_image(o)),
            }
        })
        .collect()
}
