//! What state the machine was in during a run, by the probes before its visits, and a device's clocks.
//!
//! What a probe says is true of the moment before a visit; that it holds during the visit is assumed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ConfigurationRecord, Measured};
use crate::backend::Probe;
use crate::choice::choices;
use crate::statistics::{quantile, sorted};

/// What state the machine was in during a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "`Probe` has the same fields")]
pub struct MachineState {
    /// Visits probed.
    pub probes: usize,
    /// Part of these visits' time that probing took; `None` where it was not recorded.
    pub took_percent: Option<f64>,
    pub multiply_add_ns: Option<Quartiles>,
    pub ping_pong_ns: Option<Quartiles>,
    pub read_gb_s: Option<Quartiles>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_gb_s: Option<Quartiles>,
    /// The highest clock of a device's multiprocessors during each visit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<Quartiles>,
    pub distances: Distances,
}

/// How far apart the computing cores were, and for how long, the nearest first; empty where a single one
/// computes, and where they ran at once before at most half of the visits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distances(pub Vec<Stay>);

/// Quartiles over visits: one in four may be disturbed without moving them much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say what they are")]
pub struct Quartiles {
    pub q1: f64,
    pub median: f64,
    pub q3: f64,
}

choices! {
    /// How far apart two computing cores are, by the time of a cache line's round trip between them.
    ///
    /// Virtual cores of one machine were seen at 50 to 70, at 110 to 200 and at 470 to 1,000 ns, as its host
    /// moved them; the limits are the geometric means of neighbouring ones, rounded. They are fixed, and not
    /// found in each run, so that the same word means the same in all runs; where a machine stays near a
    /// limit, the words change with noise, but no comparison is made by words.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Distance {
        /// Below 90 ns.
        Near = "near each other",
        /// Below 300 ns.
        Apart = "apart",
        /// More.
        Far = "far apart",
    }
}

/// Time for which the cores were at a distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Stay {
    pub distance: Distance,
    /// The geometric mean of the round trip, weighted by the visits' time.
    pub round_trip_ns: f64,
    /// Time of the visits that such a probe preceded.
    pub seconds: f64,
}

impl Distance {
    /// Of cores between which a round trip takes so long.
    pub fn of(round_trip_ns: f64) -> Self {
        const APART_NS: f64 = 90.0;
        const FAR_NS: f64 = 300.0;
        match round_trip_ns {
            ..APART_NS => Self::Near,
            ..FAR_NS => Self::Apart,
            _ => Self::Far,
        }
    }
}

impl Quartiles {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(&values.collect::<Vec<_>>());
        let at = |p| quantile(&sorted, p);
        (!sorted.is_empty()).then(|| Self { q1: at(0.25), median: at(0.5), q3: at(0.75) })
    }
}

impl MachineState {
    /// From the records of a run; `None` where nothing was probed.
    pub fn new(records: &[ConfigurationRecord]) -> Option<Self> {
        let visits: Vec<(&Measured, f64)> =
            records.iter().flat_map(ConfigurationRecord::measured_visits).collect();
        let probed = visits.iter().filter_map(|(visit, wall_s)| Some((visit.probe?, *wall_s)));
        let probes: Vec<(Probe, f64)> = probed.collect();
        let quartiles = |of: fn(&Probe) -> Option<f64>| {
            Quartiles::of(probes.iter().filter_map(|(probe, _)| of(probe)))
        };
        let clocks = visits.iter().filter_map(|(visit, _)| visit.device.as_ref()?.sm_clock_mhz);
        let sm_clock_mhz = Quartiles::of(clocks.map(|clock| f64::from(clock.max)));
        let stay = |&(probe, seconds): &(Probe, f64)| {
            let round_trip_ns = probe.ping_pong_ns?;
            Some(Stay { distance: Distance::of(round_trip_ns), round_trip_ns, seconds })
        };
        let stays: Vec<Stay> = probes.iter().filter_map(stay).collect();
        // where cores seldom ran at once, something else had them, and the other times tell of that
        let are_known = 2 * stays.len() > probes.len();
        let took_s =
            probes.iter().map(|(probe, _)| Some(probe.took_ns? / 1e9)).sum::<Option<f64>>();
        let wall_s: f64 = probes.iter().map(|(_, wall_s)| wall_s).sum();
        (!probes.is_empty() || sm_clock_mhz.is_some()).then(|| Self {
            probes: probes.len(),
            took_percent: took_s.filter(|_| wall_s > 0.0).map(|took_s| 100.0 * took_s / wall_s),
            multiply_add_ns: quartiles(|probe| probe.multiply_add_ns),
            ping_pong_ns: quartiles(|probe| probe.ping_pong_ns),
            read_gb_s: quartiles(|probe| probe.read_gb_s),
            copy_gb_s: quartiles(|probe| probe.copy_gb_s),
            sm_clock_mhz,
            distances: Distances::joined(stays.iter().copied().filter(|_| are_known)),
        })
    }
}

impl Distances {
    /// Of several stays at each distance, their times together.
    pub fn joined(stays: impl Iterator<Item = Stay> + Clone) -> Self {
        let joined = |distance: Distance| {
            let at = || stays.clone().filter(|stay| stay.distance == distance);
            let (round_trip_ns, seconds) = mean_by_time(at())?;
            Some(Stay { distance, round_trip_ns, seconds })
        };
        Self(Distance::ALL.into_iter().filter_map(joined).collect())
    }
}

/// The geometric mean of round trips, and the time in all; `None` where there is no time.
fn mean_by_time(stays: impl Iterator<Item = Stay> + Clone) -> Option<(f64, f64)> {
    let seconds: f64 = stays.clone().map(|stay| stay.seconds).sum();
    let logs: f64 = stays.map(|stay| stay.seconds * stay.round_trip_ns.ln()).sum();
    (seconds > 0.0).then(|| ((logs / seconds).exp(), seconds))
}

/// `near each other (51 ns) 93% of the time, far apart (900 ns) 7%`.
impl fmt::Display for Distances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total_s: f64 = self.0.iter().map(|stay| stay.seconds).sum();
        for (index, Stay { distance, round_trip_ns, seconds }) in self.0.iter().enumerate() {
            let percent = 100.0 * seconds / total_s;
            let (comma, of_what) = if index == 0 { ("", " of the time") } else { (", ", "") };
            write!(f, "{comma}{distance} ({round_trip_ns:.0} ns) {percent:.0}%{of_what}")?;
        }
        Ok(())
    }
}

/// `a multiply–add takes 0.083 ns (0.082–0.085), a core reads 10.1 GB/s (9.8–10.4), cores near each other (51 ns)
/// 93% of the time, far apart (900 ns) 7%; probes took 0.4% of the time`.
impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reads = self.read_gb_s.map(|Quartiles { q1, median, q3 }| {
            format!("a core reads {median:.1} GB/s ({q1:.1}–{q3:.1})")
        });
        let copies = self.copy_gb_s.map(|Quartiles { q1, median, q3 }| {
            format!("the device copies {median:.0} GB/s ({q1:.0}–{q3:.0})")
        });
        let clock = self.sm_clock_mhz.map(|Quartiles { q1, median, q3 }| {
            format!("SM clock {median:.0} MHz ({q1:.0}–{q3:.0})")
        });
        let cores = self.multiply_add_ns.map(|Quartiles { q1, median, q3 }| {
            format!("a multiply–add takes {median:.3} ns ({q1:.3}–{q3:.3})")
        });
        let said = [
            cores,
            reads,
            copies,
            clock,
            (!self.distances.0.is_empty()).then(|| format!("cores {}", self.distances)),
        ];
        write!(f, "{}", said.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
        self.took_percent.map_or(Ok(()), |took| write!(f, "; probes took {took:.1}% of the time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::passes::tests::part;
    use crate::record::{Outcome, Part};

    /// A visit of half a second, with its probe.
    fn probed(probe: Probe) -> ConfigurationRecord {
        let Part { mut record, .. } = part(1, &[1.0; 20], 0);
        if let Outcome::Measured(measured) = &mut record.outcome {
            measured.probe = Some(probe);
        }
        record
    }

    #[test]
    fn a_run_has_quartiles_of_its_probes_and_the_part_of_its_time_that_they_took() {
        let probed =
            |ns, took_ns| probed(Probe { multiply_add_ns: Some(ns), took_ns, ..Probe::default() });
        let mut records: Vec<_> = [2.0, 3.0, 2.5, 9.0, 2.9].map(|ns| probed(ns, Some(2e6))).into();
        records.push(part(1, &[1.0; 20], 0).record);
        let state = MachineState::new(&records).unwrap();
        assert_eq!(state.probes, 5, "a visit without a probe says nothing");
        let expected = Quartiles { q1: 2.5, median: 2.9, q3: 3.0 };
        assert_eq!((state.multiply_add_ns, state.ping_pong_ns), (Some(expected), None));
        // 2 of 500 ms each
        assert!((state.took_percent.unwrap() - 0.4).abs() < 1e-12, "{state:?}");
        assert_eq!(
            state.to_string(),
            "a multiply–add takes 2.900 ns (2.500–3.000); probes took 0.4% of the time"
        );
        records.push(probed(2.0, None));
        assert_eq!(MachineState::new(&records).unwrap().took_percent, None);
        assert_eq!(MachineState::new(&records[5..6]), None);
    }

    #[test]
    fn cores_that_seldom_run_at_once_have_no_distance() {
        let records = |trips: &[Option<f64>]| -> Vec<_> {
            let probe =
                |ping_pong_ns: &_| Probe { ping_pong_ns: *ping_pong_ns, ..Probe::default() };
            trips.iter().map(probe).map(probed).collect()
        };
        let distances = |trips| MachineState::new(&records(trips)).unwrap().distances.0.len();
        assert_eq!(distances(&[Some(50.0), Some(55.0), None]), 1);
        assert_eq!(distances(&[Some(1900.0), None]), 0);
    }

    #[test]
    fn cores_that_a_host_moves_have_states_with_their_times() {
        let stay = |round_trip_ns, seconds| Stay {
            distance: Distance::of(round_trip_ns),
            round_trip_ns,
            seconds,
        };
        let visits = [stay(40.0, 2.0), stay(900.0, 1.0), stay(150.0, 1.0), stay(80.0, 2.0)];
        let distances = Distances::joined(visits.into_iter());
        assert_eq!(
            distances.to_string(),
            "near each other (57 ns) 67% of the time, apart (150 ns) 17%, far apart (900 ns) 17%"
        );
    }

    #[test]
    fn readings_of_either_state_seen_are_told_apart() {
        let names =
            |readings: &[f64]| readings.iter().map(|ns| Distance::of(*ns)).collect::<Vec<_>>();
        assert_eq!(names(&[47.0, 55.0]), [Distance::Near; 2]);
        assert_eq!(names(&[110.0, 200.0, 235.0]), [Distance::Apart; 3]);
        assert_eq!(names(&[700.0, 1000.0, 1200.0]), [Distance::Far; 3]);
    }
}
