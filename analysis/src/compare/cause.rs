//! What the records say about why a configuration changed.

use std::collections::BTreeSet;
use std::fmt;

use alpha_flops::backend::device::{DeviceStates, Range};
use serde::Serialize;

use crate::differences::Difference;
use crate::run::Measurement;

/// Something recorded that may explain a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum Cause {
    /// Another algorithm, or another engine or knobs; each side lists all that occurred.
    PlanChanged { before: String, after: String },
    /// The device was throttled in another share of the runs: in how many, of how many.
    Throttled { before: [usize; 2], after: [usize; 2], reasons: Vec<String> },
    /// A clock (`SM` or `memory`) ran at another frequency: least and most.
    Clock { clock: String, before_mhz: [u32; 2], after_mhz: [u32; 2] },
    /// The same plan at the same clocks, in an environment that differs in what affects latencies.
    Environment { differs: Vec<String> },
    /// No recorded difference affects latencies.
    Unknown,
}

/// Clocks within this part of each other count as equal.
const CLOCK_TOLERANCE: f64 = 0.01;

/// What may explain that a configuration became slower (or faster), given its measurements in the runs of
/// each side and what differs between the sides; never empty.
pub fn causes(
    before: &[Measurement<'_>],
    after: &[Measurement<'_>],
    differences: &[Difference],
    is_slower: bool,
) -> Vec<Cause> {
    let mut causes: Vec<Cause> = plan(before, after).into_iter().collect();
    causes.extend(throttled(before, after, is_slower));
    let clocks = [
        clock("SM", before, after, |states| states.sm_clock_mhz),
        clock("memory", before, after, |states| states.memory_clock_mhz),
    ];
    // a higher clock makes nothing slower
    let may_explain = |cause: &Cause| match cause {
        Cause::Clock { before_mhz, after_mhz, .. } => {
            (after_mhz.iter().sum::<u32>() < before_mhz.iter().sum()) == is_slower
        }
        _ => true,
    };
    causes.extend(clocks.into_iter().flatten().filter(may_explain));
    if causes.is_empty() {
        // a slower machine makes nothing faster
        let may_explain = |difference: &&Difference| {
            difference.decides_latencies && difference.slower.is_none_or(|slow| slow == is_slower)
        };
        let named = |difference: &Difference| match difference.slower {
            None => difference.what.clone(),
            Some(_) => difference.to_string(),
        };
        let differs: Vec<String> = differences.iter().filter(may_explain).map(named).collect();
        causes.push(match differs.is_empty() {
            true => Cause::Unknown,
            false => Cause::Environment { differs },
        });
    }
    causes
}

fn plan(before: &[Measurement<'_>], after: &[Measurement<'_>]) -> Option<Cause> {
    let runs = || before.iter().chain(after);
    // archived runs don't know it
    let knows_workspace = runs().all(|measured| measured.workspace.is_some());
    let described = |measured: &Measurement<'_>| {
        let algorithm = measured.observation.algorithm.as_deref().unwrap_or("unknown");
        match measured.workspace {
            Some(bytes) if knows_workspace && bytes.0 > 0 => format!("{algorithm} with {bytes}"),
            _ => algorithm.to_owned(),
        }
    };
    let plans = |runs: &[Measurement<'_>]| runs.iter().map(described).collect::<BTreeSet<_>>();
    let (before, after) = (plans(before), plans(after));
    let join = |plans: BTreeSet<String>| plans.into_iter().collect::<Vec<_>>().join(" or ");
    (before != after).then(|| Cause::PlanChanged { before: join(before), after: join(after) })
}

fn throttled(
    before: &[Measurement<'_>],
    after: &[Measurement<'_>],
    is_slower: bool,
) -> Option<Cause> {
    fn known<'a>(runs: &[Measurement<'a>]) -> Vec<&'a DeviceStates> {
        let states = runs.iter().filter_map(|measured| measured.device);
        states.filter(|states| states.throttle_reasons.is_some()).collect()
    }
    let slow =
        |runs: &[&'_ DeviceStates]| runs.iter().filter(|states| states.is_throttled()).count();
    let (before, after) = (known(before), known(after));
    let (slow_before, slow_after) = (slow(&before), slow(&after));
    // shares compared without division: no cause where a side knows nothing
    let shares = (slow_before * after.len(), slow_after * before.len());
    if shares.0 == shares.1 || (shares.1 > shares.0) != is_slower {
        return None;
    }
    let states = before.iter().chain(&after).filter(|states| states.is_throttled());
    let reasons: BTreeSet<String> = states.flat_map(|states| states.throttle_words()).collect();
    Some(Cause::Throttled {
        before: [slow_before, before.len()],
        after: [slow_after, after.len()],
        reasons: reasons.into_iter().collect(),
    })
}

fn clock(
    name: &str,
    before: &[Measurement<'_>],
    after: &[Measurement<'_>],
    of: fn(&DeviceStates) -> Option<Range>,
) -> Option<Cause> {
    let range = |runs: &[Measurement<'_>]| {
        let ranges = runs.iter().filter_map(|measured| of(measured.device?));
        ranges.reduce(|a, b| Range { min: a.min.min(b.min), max: a.max.max(b.max) })
    };
    let middle = |range: Range| f64::from(range.min) + f64::from(range.max);
    let (before, after) = (range(before)?, range(after)?);
    let ratio = middle(after) / middle(before);
    ((ratio - 1.0).abs() > CLOCK_TOLERANCE).then(|| Cause::Clock {
        clock: name.to_owned(),
        before_mhz: [before.min, before.max],
        after_mhz: [after.min, after.max],
    })
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlanChanged { before, after } => write!(f, "plan {before} → {after}"),
            Self::Throttled { before: [b, of_b], after: [a, of_a], reasons } => {
                let reasons = reasons.join(", ");
                write!(f, "throttled in {b} of {of_b} runs → {a} of {of_a} ({reasons})")
            }
            Self::Clock { clock, before_mhz: [b, to_b], after_mhz: [a, to_a] } => {
                write!(f, "{clock} clock {b}–{to_b} → {a}–{to_a} MHz")
            }
            Self::Environment { differs } => {
                write!(f, "same plan; different {}", differs.join(", "))
            }
            Self::Unknown => write!(f, "unknown; same plan, no recorded difference"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alpha_flops::shape::ConvShape;
    use alpha_flops::units::Bytes;

    use super::*;
    use crate::dataset::{Latency, Observation};

    #[derive(Clone)]
    struct Measured {
        observation: Observation,
        workspace: Option<Bytes>,
        device: Option<DeviceStates>,
    }

    impl Measured {
        fn measurement(&self) -> Measurement<'_> {
            let Self { observation, workspace, device } = self;
            let (workspace, device) = (*workspace, device.as_ref());
            Measurement { observation, median_ns: 1e5, workspace, device }
        }
    }

    fn measured(algorithm: &str, sm_clock_mhz: Option<[u32; 2]>, reasons: u64) -> Measured {
        let observation = Observation {
            experiment: "D".to_owned(),
            series: "C_in = 50".to_owned(),
            x: 1.0,
            shape: ConvShape::new(4, 4, 50, 50, 3).unwrap(),
            latency: Latency { median_ns: Some(1e5), ..Latency::default() },
            algorithm: Some(algorithm.to_owned()),
        };
        let device = sm_clock_mhz.map(|[min, max]| DeviceStates {
            samples: 2,
            sm_clock_mhz: Some(Range { min, max }),
            throttle_reasons: Some(reasons),
            ..DeviceStates::default()
        });
        Measured { observation, workspace: Some(Bytes(0)), device }
    }

    fn words(before: &[Measured], after: &[Measured], differences: &[Difference]) -> String {
        let [before, after] =
            [before, after].map(|runs| runs.iter().map(Measured::measurement).collect::<Vec<_>>());
        let causes = causes(&before, &after, differences, true);
        causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn plans_clocks_and_throttling_are_named_before_the_environment() {
        let driver = Difference {
            what: "driver".to_owned(),
            before: "570".to_owned(),
            after: "580".to_owned(),
            decides_latencies: true,
            slower: None,
        };
        let old = measured("engine-38", Some([1980, 1980]), 0);
        let same = [old.clone(), old.clone()];
        assert_eq!(words(&same, &same, &[]), "unknown; same plan, no recorded difference");
        let differences = std::slice::from_ref(&driver);
        assert_eq!(words(&same, &same, differences), "same plan; different driver");
        let other = [measured("engine-39-k2-1", Some([1980, 1975]), 0), old.clone()];
        assert_eq!(
            words(&same, &other, differences),
            "plan engine-38 → engine-38 or engine-39-k2-1"
        );
        let slow = [measured("engine-38", Some([1700, 1750]), 0x40), old.clone()];
        assert_eq!(
            words(&same, &slow, differences),
            "throttled in 0 of 2 runs → 1 of 2 (thermal slowdown by hardware); \
             SM clock 1980–1980 → 1700–1980 MHz"
        );
    }

    #[test]
    fn a_slower_machine_explains_what_is_slower_and_a_faster_one_does_not() {
        let same = [measured("auto-slab", None, 0)];
        let host = |slower| Difference {
            what: "speed of cores (ns per multiply–add)".to_owned(),
            before: "2.90".to_owned(),
            after: "5.71".to_owned(),
            decides_latencies: true,
            slower: Some(slower),
        };
        assert_eq!(
            words(&same, &same, &[host(true)]),
            "same plan; different speed of cores (ns per multiply–add) 2.90 → 5.71"
        );
        assert_eq!(
            words(&same, &same, &[host(false)]),
            "unknown; same plan, no recorded difference"
        );
    }

    #[test]
    fn what_was_not_recorded_is_no_cause() {
        let known = measured("auto-slab", None, 0);
        let archived = Measured { workspace: None, ..measured("auto-slab", None, 0) };
        assert_eq!(words(&[known], &[archived], &[]), "unknown; same plan, no recorded difference");
    }
}
