//! Whether the machine was in another state, by the probes that runs made of it.

use std::ops::Range;

use alpha_flops::record::{Distances, MachineState, Quartiles, RunHeader};
use alpha_flops::statistics::{quantile, sorted};

use super::{Difference, Unknown};

/// What states of a machine differ in.
enum Quantity {
    /// A quantity that stands for all visits: it differs where the ranges of the runs' quartiles don't overlap,
    /// so that its own spread cannot explain it, and medians differ by more than `least`, a ratio.
    Typical { of: fn(&MachineState) -> Option<Quartiles>, least: f64 },
    /// The distance of the cores, which jumps between few values: see [`FARTHER`].
    Distance,
}

/// The cores were at other distances where what the round trip between them was for the middle half of the time
/// differs by more than this ratio. Hosts move cores to and fro within a run: where both distances lasted for a
/// quarter of the time or more, on either side, the machine is one that does so, and no other one.
const FARTHER: f64 = 1.5;

/// A run of fewer visits takes some seconds: which of the states that come and go it saw is chance, and its
/// quartiles are too narrow for what changes within minutes. A standard run of A–G has thousands.
const LEAST_PROBES: usize = 200;

/// What is compared: its name, how, and whether more of it makes latencies longer. Clocks of one machine in one
/// state differ by less than 5%; its memory is used by neighbours, too, which come and go.
const QUANTITIES: [(&str, Quantity, bool); 5] = [
    (
        "speed of cores (ns per multiply–add)",
        Quantity::Typical { of: |state| state.multiply_add_ns, least: 1.05 },
        true,
    ),
    ("distance of cores", Quantity::Distance, true),
    (
        "speed of memory (GB/s)",
        Quantity::Typical { of: |state| state.read_gb_s, least: 1.25 },
        false,
    ),
    (
        "speed of the device's memory (GB/s)",
        Quantity::Typical { of: |state| state.copy_gb_s, least: 1.05 },
        false,
    ),
    ("SM clock (MHz)", Quantity::Typical { of: |state| state.sm_clock_mhz, least: 1.01 }, false),
];

/// What differs between the states of the machine, of those sides whose every run was probed.
pub(super) fn differences(before: &[&RunHeader], after: &[&RunHeader]) -> Vec<Difference> {
    let states = |runs: &[&'_ RunHeader]| {
        runs.iter().map(|run| known(run).cloned()).collect::<Option<Vec<_>>>().unwrap_or_default()
    };
    let (before, after) = (states(before), states(after));
    let differs = |(what, quantity, more_is_slower): &(&str, Quantity, bool)| {
        let (ratio, words) = quantity.compared(&before, &after)?;
        let [before, after] = words;
        Some(Difference {
            what: (*what).to_owned(),
            before,
            after,
            decides_latencies: true,
            slower: Some((ratio > 1.0) == *more_is_slower),
        })
    };
    QUANTITIES.iter().filter_map(differs).collect()
}

/// The state of the machine during a run that was probed often enough to tell.
fn known(run: &RunHeader) -> Option<&MachineState> {
    run.machine.as_ref().filter(|state| state.probes >= LEAST_PROBES)
}

pub(super) fn is_known(run: &RunHeader) -> bool {
    known(run).is_some()
}

/// What cannot be told, where a run was not probed, or too rarely.
pub(super) fn unknown(runs: &[&RunHeader]) -> Option<Unknown> {
    let probed = runs.iter().filter(|run| known(run).is_some()).count();
    let value = match probed {
        0 if runs.iter().all(|run| run.machine.is_none()) => "not probed".to_owned(),
        0 => format!("probed before fewer than {LEAST_PROBES} visits"),
        some if some < runs.len() => {
            format!("probed often enough in {some} of {} runs", runs.len())
        }
        _ => return None,
    };
    Some(Unknown { what: "state of the machine".to_owned(), value })
}

impl Quantity {
    /// After over before, and both in words; `None` where they do not differ, or nothing is known of a side.
    fn compared(
        &self,
        before: &[MachineState],
        after: &[MachineState],
    ) -> Option<(f64, [String; 2])> {
        match self {
            Self::Typical { of, least } => {
                let [(was, was_range), (is, is_range)] =
                    [typical(before, *of)?, typical(after, *of)?];
                let is_apart = !overlap(&was_range, &is_range);
                let ratio = is / was;
                let words = [was, is].map(|value| crate::table::rounded(value, 4));
                (is_apart && ratio.max(ratio.recip()) > *least).then_some((ratio, words))
            }
            Self::Distance => {
                let sides = [before, after].map(|runs| {
                    Distances::joined(runs.iter().flat_map(|run| run.distances.0.iter().copied()))
                });
                let [was, is] = sides.each_ref().map(most_of_the_time);
                let (was, is) = (was?, is?);
                let ratio =
                    if was.start < is.start { is.start / was.end } else { is.end / was.start };
                let words = sides.each_ref().map(Distances::to_string);
                (ratio.max(ratio.recip()) > FARTHER && !overlap(&was, &is))
                    .then_some((ratio, words))
            }
        }
    }
}

fn overlap(one: &Range<f64>, other: &Range<f64>) -> bool {
    one.start <= other.end && other.start <= one.end
}

/// The round trips at a quarter and at three quarters of the time, in their order.
fn most_of_the_time(distances: &Distances) -> Option<Range<f64>> {
    let all_s: f64 = distances.0.iter().map(|stay| stay.seconds).sum();
    let at = |share: f64| {
        let mut before_s = 0.0;
        // the nearest first, as they are
        let stay = distances.0.iter().find(|stay| {
            before_s += stay.seconds;
            before_s >= share * all_s
        });
        stay.or(distances.0.last()).map(|stay| stay.round_trip_ns)
    };
    Some(at(0.25)?..at(0.75)?)
}

/// The median of the runs' medians, and from the least first to the largest third quartile.
fn typical(
    runs: &[MachineState],
    of: fn(&MachineState) -> Option<Quartiles>,
) -> Option<(f64, Range<f64>)> {
    let known: Vec<Quartiles> = runs.iter().filter_map(of).collect();
    let medians = sorted(&known.iter().map(|known| known.median).collect::<Vec<_>>());
    let ends = known.iter().map(|known| known.q1..known.q3);
    let range = ends.reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))?;
    Some((quantile(&medians, 0.5), range))
}

#[cfg(test)]
mod tests {
    use alpha_flops::record::{Distance, Stay};

    use super::*;
    use crate::simulate::{Simulation, Truth};

    /// A run on cores so fast, whose round trips took so many nanoseconds for so many seconds each.
    fn run(multiply_add_ns: [f64; 3], stays: &[(f64, f64)]) -> RunHeader {
        let [q1, median, q3] = multiply_add_ns;
        let stay = |&(round_trip_ns, seconds): &(f64, f64)| Stay {
            distance: Distance::of(round_trip_ns),
            round_trip_ns,
            seconds,
        };
        let machine = MachineState {
            probes: 1000,
            took_percent: None,
            multiply_add_ns: Some(Quartiles { q1, median, q3 }),
            ping_pong_ns: None,
            read_gb_s: Some(Quartiles { q1: 8.0, median: 10.0, q3: 11.0 }),
            copy_gb_s: None,
            sm_clock_mhz: None,
            distances: Distances::joined(stays.iter().map(stay)),
        };
        let header = Simulation::new(Truth::default()).header(0);
        RunHeader { machine: Some(machine), ..header }
    }

    fn words(before: &[&RunHeader], after: &[&RunHeader]) -> Vec<String> {
        differences(before, after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_host_half_as_fast_is_another_environment_and_one_within_its_spread_is_not() {
        let near = [(50.0, 600.0)];
        let usual = run([2.88, 2.90, 2.95], &near);
        let slower = run([5.60, 5.70, 5.80], &near);
        let found = differences(&[&usual], &[&usual, &slower, &slower]);
        assert!(found.is_empty(), "a quarter of the visits after were as fast: {found:?}");
        let found = differences(&[&usual], &[&slower]);
        assert_eq!(found[0].to_string(), "speed of cores (ns per multiply–add) 2.9 → 5.7");
        assert_eq!((found.len(), found[0].slower), (1, Some(true)));
        assert_eq!(differences(&[&slower], &[&usual])[0].slower, Some(false));
        // apart by 4%, and by more within a spread that explains it
        assert!(words(&[&usual], &[&run([3.0, 3.02, 3.03], &near)]).is_empty());
        assert!(words(&[&usual], &[&run([2.9, 3.8, 5.7], &near)]).is_empty());
    }

    #[test]
    fn cores_that_moved_apart_for_long_are_a_difference_and_for_a_moment_are_not() {
        let cores = [2.88, 2.90, 2.95];
        let near = run(cores, &[(50.0, 600.0)]);
        let moved = run(cores, &[(55.0, 120.0), (900.0, 480.0)]);
        let expected = "distance of cores near each other (50 ns) 100% of the time → near each other (55 ns) \
                        20% of the time, far apart (900 ns) 80%";
        assert_eq!(words(&[&near], &[&moved]), [expected]);
        assert_eq!(differences(&[&near], &[&moved])[0].slower, Some(true));
        assert_eq!(differences(&[&moved], &[&near])[0].slower, Some(false));
        assert!(words(&[&near], &[&run(cores, &[(50.0, 570.0), (900.0, 30.0)])]).is_empty());
        // a host that moves them to and fro, as it did in ten runs of one hour
        let [one, other] = [
            [(67.0, 139.0), (114.0, 12.0), (481.0, 282.0)],
            [(68.0, 348.0), (112.0, 27.0), (465.0, 81.0)],
        ];
        assert!(words(&[&run(cores, &one)], &[&run(cores, &other)]).is_empty());
        // two words, one state
        assert!(words(&[&run(cores, &[(88.0, 1.0)])], &[&run(cores, &[(92.0, 1.0)])]).is_empty());
    }

    #[test]
    fn a_machine_that_was_not_probed_is_unknown_and_never_equal() {
        let probed = run([2.88, 2.90, 2.95], &[]);
        let older = RunHeader { machine: None, ..probed.clone() };
        assert!(differences(&[&probed], &[&older]).is_empty());
        assert_eq!(unknown(&[&probed, &probed]), None);
        let said = |runs: &[&RunHeader]| unknown(runs).unwrap().to_string();
        assert_eq!(
            said(&[&probed, &older]),
            "state of the machine (probed often enough in 1 of 2 runs)"
        );
        let mut brief = probed.clone();
        brief.machine.as_mut().unwrap().probes = LEAST_PROBES - 1;
        assert_eq!(said(&[&brief]), "state of the machine (probed before fewer than 200 visits)");
        assert!(differences(&[&probed], &[&brief]).is_empty());
        assert_eq!(said(&[&older, &older]), "state of the machine (not probed)");
    }
}
