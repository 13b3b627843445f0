//! RO1: how far configurations of equal nominal FLOPs differ beyond noise.
//!
//! The configurations of a group are taken as drawn at random from all of so many FLOPs, and the logarithms
//! of their latencies per multiply–add as normal with a standard deviation τ, to which noise is added
//! ([`random_effects`](super::random_effects)). The ratio of two configurations drawn at random is then
//! larger than `exp(√2·Φ⁻¹(3/4)·τ) = exp(0.954·τ)` in one half of draws: their *typical ratio*. Unlike the
//! ratio of the largest to the smallest, it grows neither with noise nor with the number of configurations.

use alpha_flops::experiment::{self, Experiment};
use serde::Serialize;

use super::noise::{Noise, NoiseSource, least_percent};
use super::random_effects::{Point, RandomEffects};
use super::{
    Case, ClaimVerdict, EQUAL_LATENCY_RATIO, ObjectiveAnswer, Spread, Timed, measured, names, value,
};
use crate::dataset::{Dataset, Observation};
use crate::in_order::grouped;

/// √2·Φ⁻¹(3/4): the median of the difference of two normal values of standard deviation 1.
const MEDIAN_DIFFERENCE: f64 = 0.953_872_552_408_94;

/// How far configurations of equal nominal FLOPs differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EqualFlopsGroup {
    /// One that has configurations of equal FLOPs.
    pub experiment: String,
    /// What they have in common: a line, or a value of x.
    pub group: String,
    /// Configurations in the group, at least two.
    pub n: usize,
    /// Largest over smallest number of multiply–adds: above 1 where rounding made them unequal.
    pub macs_ratio: f64,
    /// Of latency per multiply–add, which rounding does not touch.
    pub nominal: Heterogeneity,
    /// Of latency per multiply–add on the image: of what is left where the padding's are skipped.
    pub on_image: Heterogeneity,
}

/// How far latencies per multiply–add differ beyond noise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Heterogeneity {
    /// The median ratio of two configurations drawn at random.
    pub typical_ratio: f64,
    /// Lower end of its 95% interval.
    pub low: f64,
    pub high: f64,
    /// Standard deviation of the logarithm between configurations beyond noise.
    pub tau: f64,
    /// Cochran's Q; `None` where noise is unknown.
    pub q: Option<f64>,
    /// p value of no difference beyond noise.
    pub p_equal: Option<f64>,
    /// Of the smallest latency per multiply–add, shrunk towards the group's mean: its ratio to that.
    pub smallest: f64,
    /// Of the largest.
    pub largest: f64,
}

pub(super) fn answer(dataset: &Dataset, noise: &Noise) -> ObjectiveAnswer<Vec<EqualFlopsGroup>> {
    let equal = |kind| Experiment::that(|e| e.equal_flops == kind);
    let at_each_value = equal(experiment::EqualFlops::AtEachValue);
    let along_series = equal(experiment::EqualFlops::AlongSeries);
    let criterion = format!(
        "raw FLOPs are not a sufficient proxy in an experiment where, of equal nominal FLOPs, two \
         configurations typically differ in latency per multiply–add by more than \
         {EQUAL_LATENCY_RATIO}× beyond noise, which is shown where the 95% interval of that ratio \
         is above {EQUAL_LATENCY_RATIO} in the median group, and refuted where it is below, noise \
         between passes included (groups: each x of {}, each line of {})",
        names(&at_each_value),
        names(&along_series)
    );
    let experiments = Experiment::that(|e| e.equal_flops != experiment::EqualFlops::Nowhere);
    let with = |noise: &Noise| -> Vec<EqualFlopsGroup> {
        experiments.iter().flat_map(|e| groups(dataset, noise, *e)).collect()
    };
    let numbers = with(noise);
    if numbers.is_empty() {
        let missing = format!(
            "none of the experiments {} has two configurations of equal FLOPs",
            names(&experiments)
        );
        return ObjectiveAnswer::impossible(dataset, &missing, criterion, numbers);
    }
    let by_experiment = |numbers: &[EqualFlopsGroup]| grouped(numbers, |g| g.experiment.clone());
    // what all configurations of a pass share is in the noise that passes tell, though it cancels in ratios:
    // differences as small as that must not be taken for noise and denied
    let at_most = match noise.source {
        NoiseSource::Passes => {
            by_experiment(&with(&Noise::common(dataset.observations.len(), 0.0)))
        }
        NoiseSource::ArchivedRuns | NoiseSource::Unknown => by_experiment(&numbers),
    };
    let by_experiment = by_experiment(&numbers);
    let verdict = verdict(&by_experiment, &at_most, 0.0);
    let holds_somewhere = matches!(verdict, ClaimVerdict::Holds | ClaimVerdict::PartlyHolds);
    let undone_by_percent = (noise.is_unknown() && holds_somewhere)
        .then(|| least_percent(|sd| self::verdict(&by_experiment, &at_most, sd) != verdict))
        .flatten();
    let nominal = |(name, groups): &(String, Vec<EqualFlopsGroup>)| {
        let median = median_group(groups, |g| g.nominal, 0.0);
        let [low, high] = [median.low, median.high].map(times);
        format!("{}× in {name} ({low} to {high})", times(median.typical_ratio))
    };
    let on_image = |(_, groups): &(String, Vec<EqualFlopsGroup>)| {
        times(median_group(groups, |g| g.on_image, 0.0).typical_ratio) + "×"
    };
    let list = |parts: Vec<String>| parts.join(", ");
    let beyond = if noise.is_unknown() { "" } else { ", beyond noise" };
    let finding = format!(
        "of equal nominal FLOPs, two configurations typically differ in latency per multiply–add \
         by {}{beyond} (median group and its 95% interval); on the image by {}. {}",
        list(by_experiment.iter().map(nominal).collect()),
        list(by_experiment.iter().map(on_image).collect()),
        noise.sentence(undone_by_percent)
    );
    let answer = ObjectiveAnswer::new(dataset, verdict, &finding, criterion, numbers);
    answer.undone_by(undone_by_percent)
}

/// Groups by experiment.
type Grouped = [(String, Vec<EqualFlopsGroup>)];

/// With noise of this standard deviation beside what was allowed for; `at_most` has the same groups with their
/// largest differences.
fn verdict(by_experiment: &Grouped, at_most: &Grouped, sd: f64) -> ClaimVerdict {
    let case = |((_, groups), (_, at_most)): (&(String, Vec<_>), &(String, Vec<_>))| {
        let low = median_group(groups, |g| g.nominal, sd).low;
        let high = median_group(at_most, |g| g.nominal, sd).high;
        match () {
            () if low > EQUAL_LATENCY_RATIO => Case::Holds,
            () if high < EQUAL_LATENCY_RATIO => Case::DoesNotHold,
            () => Case::NotShown,
        }
    };
    ClaimVerdict::from_cases(by_experiment.iter().zip(at_most).map(case))
}

struct MedianGroup {
    typical_ratio: f64,
    low: f64,
    high: f64,
}

/// The median over groups of the estimate and of either end of the interval. Noise of one size that was not
/// allowed for is simply part of τ², so that it can be taken off.
fn median_group(
    groups: &[EqualFlopsGroup],
    of: fn(&EqualFlopsGroup) -> Heterogeneity,
    noise_sd: f64,
) -> MedianGroup {
    let without_noise = |ratio: f64| {
        let tau = ratio.ln() / MEDIAN_DIFFERENCE;
        typical_ratio((tau * tau - noise_sd * noise_sd).max(0.0))
    };
    let median = |value: fn(&Heterogeneity) -> f64| {
        Spread::over(groups.iter().map(|group| without_noise(value(&of(group))))).median
    };
    MedianGroup {
        typical_ratio: median(|h| h.typical_ratio),
        low: median(|h| h.low),
        high: median(|h| h.high),
    }
}

/// Of a variance τ².
fn typical_ratio(variance: f64) -> f64 {
    (MEDIAN_DIFFERENCE * variance.sqrt()).exp()
}

impl Heterogeneity {
    /// The typical ratio and its interval: `1.23 [1.20, 1.31]`.
    pub fn interval(&self) -> String {
        let [typical, low, high] = [self.typical_ratio, self.low, self.high].map(times);
        format!("{typical} [{low}, {high}]")
    }
}

/// With two decimals where they matter.
fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.2}"),
        ratio if ratio < 1000.0 => format!("{ratio:.0}"),
        _ => "over 1000".to_owned(),
    }
}

fn groups(dataset: &Dataset, noise: &Noise, experiment: Experiment) -> Vec<EqualFlopsGroup> {
    let key = |timed: &Timed<'_>| match experiment.equal_flops {
        experiment::EqualFlops::AtEachValue => value(timed.observation),
        _ => timed.observation.series.clone(),
    };
    let macs = |o: &Observation| o.shape.macs().0 as f64;
    let on_image = |o: &Observation| o.shape.macs_on_image().0 as f64;
    let group = |(name, group): (String, Vec<Timed<'_>>)| {
        let spread = Spread::over(group.iter().map(|timed| macs(timed.observation)));
        Some(EqualFlopsGroup {
            experiment: experiment.name.to_owned(),
            group: name,
            n: group.len(),
            macs_ratio: spread.high / spread.low,
            nominal: Heterogeneity::new(&group, macs, noise)?,
            on_image: Heterogeneity::new(&group, on_image, noise)?,
        })
    };
    grouped(&measured(dataset, noise, experiment), key).into_iter().filter_map(group).collect()
}

impl Heterogeneity {
    /// `None` for fewer than two.
    fn new(group: &[Timed<'_>], macs: fn(&Observation) -> f64, noise: &Noise) -> Option<Self> {
        let point = |timed: &Timed<'_>| Point {
            x: 0.0,
            y: (timed.ms / macs(timed.observation)).ln(),
            noise: timed.noise,
        };
        let points = [group.iter().map(point).collect()];
        let model = RandomEffects::around_means(&points)?;
        let (q, p) = model.test();
        let [low, high] = model.interval().map(typical_ratio);
        let [smallest, largest] = model.shrunk_extremes().map(f64::exp);
        let variance = model.variance();
        let is_known = !noise.is_unknown();
        Some(Self {
            typical_ratio: typical_ratio(variance),
            low,
            high,
            tau: variance.sqrt(),
            q: is_known.then_some(q),
            p_equal: is_known.then_some(p),
            smallest,
            largest,
        })
    }
}
