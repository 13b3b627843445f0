//! How quiet the machine was during a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ConfigurationRecord, Measured, Outcome};
use crate::disturbance::Disturbance;
use crate::statistics::mean_of_known;

/// How quiet the machine was during a run, over all visits, whether they count or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quiet {
    /// Part of the samples during which a computing thread was switched out, in percent; `None` where a
    /// device computes.
    pub switched_out_percent: Option<f64>,
    /// Time that the host of a virtual machine gave its cores to others; `None` where not known.
    pub steal_percent: Option<f64>,
    /// Time for which a limit on CPU time stopped it; `None` where there is no limit, or not known.
    pub throttled_percent: Option<f64>,
    /// Time with another process on the device; `None` where not known, or no device computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_percent: Option<f64>,
    /// Configurations of which no visit was undisturbed, at the device's full speed.
    pub never_quiet: usize,
    /// Configurations measured.
    pub configurations: usize,
}

impl Quiet {
    /// From the records of a run; `None` where they say nothing of it.
    pub fn new(records: &[ConfigurationRecord]) -> Option<Self> {
        let visits: Vec<(&Measured, f64)> =
            records.iter().flat_map(ConfigurationRecord::measured_visits).collect();
        let disturbances: Vec<(&Disturbance, f64)> = visits
            .iter()
            .filter_map(|(visit, wall_s)| Some((visit.disturbance.as_ref()?, *wall_s)))
            .collect();
        let samples: u64 = disturbances.iter().map(|(one, _)| one.samples).sum();
        let lost: u64 = disturbances.iter().map(|(one, _)| one.switched_out).sum();
        let taken = |of: fn(&Disturbance) -> Option<f64>| {
            by_time(disturbances.iter().filter_map(|(one, wall_s)| Some((of(one)?, *wall_s))))
        };
        let shared = |(visit, wall_s): &(&Measured, f64)| {
            let others = visit.device.as_ref()?.other_processes?;
            Some((if others.max > 0 { 100.0 } else { 0.0 }, *wall_s))
        };
        let shared_percent = by_time(visits.iter().filter_map(shared));
        let tells_throttling = |(visit, _): &(&Measured, f64)| {
            visit.device.as_ref().is_some_and(|device| device.throttle_reasons.is_some())
        };
        let is_known =
            samples > 0 || shared_percent.is_some() || visits.iter().any(tells_throttling);
        let measured = records.iter().filter(|record| record.outcome.measured().is_some());
        is_known.then(|| Self {
            switched_out_percent: (samples > 0).then(|| 100.0 * lost as f64 / samples as f64),
            steal_percent: taken(|one| one.steal_percent),
            throttled_percent: taken(|one| one.throttled_percent),
            shared_percent,
            never_quiet: measured.clone().filter(|record| was_never_quiet(record)).count(),
            configurations: measured.count(),
        })
    }

    /// Of several runs together: percentages are means of those known, and the configurations of each run
    /// count by themselves. `None` for no run, or where one has none.
    pub fn joined<'a>(runs: impl Iterator<Item = Option<&'a Self>>) -> Option<Self> {
        let runs: Vec<&Self> = runs.collect::<Option<_>>()?;
        runs.first()?;
        let mean = |of: fn(&Self) -> Option<f64>| mean_of_known(runs.iter().map(|run| of(run)));
        Some(Self {
            switched_out_percent: mean(|run| run.switched_out_percent),
            steal_percent: mean(|run| run.steal_percent),
            throttled_percent: mean(|run| run.throttled_percent),
            shared_percent: mean(|run| run.shared_percent),
            never_quiet: runs.iter().map(|run| run.never_quiet).sum(),
            configurations: runs.iter().map(|run| run.configurations).sum(),
        })
    }

    /// Whether so few configurations were never quiet that they decide no answer: at most 5%. A median over
    /// configurations, or a fit to them, then changes little whatever these few are; what was disturbed only
    /// now and then does not count where the configuration was quiet at another time.
    pub fn is_enough(&self) -> bool {
        const MOST_NEVER_QUIET: f64 = 0.05;
        self.never_quiet as f64 <= MOST_NEVER_QUIET * self.configurations as f64
    }

    /// `3.0% of launches switched out, steal 0.4%, 2 of 591 configurations never quiet`.
    pub fn in_words(&self) -> String {
        self.to_string().trim_start_matches(DISTURBED).to_owned()
    }
}

/// Whether each visit that measured it was disturbed or throttled. What all of them give together is a mean, in
/// which disturbances of different kinds may hide.
fn was_never_quiet(record: &ConfigurationRecord) -> bool {
    let disturbed = |outcome: &Outcome| outcome.is_disturbed() || outcome.is_throttled();
    let mut visits =
        record.visits.iter().map(|visit| &visit.outcome).filter(|one| one.measured().is_some());
    match record.visits.is_empty() {
        true => disturbed(&record.outcome),
        false => visits.all(disturbed),
    }
}

/// The mean of percentages, by the time in seconds that each stands for; `None` for none.
fn by_time(percentages: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, total_s) = percentages.fold((0.0, 0.0), |(sum, total_s), (percent, wall_s)| {
        (sum + percent * wall_s, total_s + wall_s)
    });
    (total_s > 0.0).then(|| sum / total_s)
}

const DISTURBED: &str = "disturbed: ";

/// `disturbed: 3.0% of launches switched out, steal 0.4%, 2 of 591 configurations never quiet`.
impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DISTURBED)?;
        if let Some(percent) = self.switched_out_percent {
            write!(f, "{percent:.1}% of launches switched out, ")?;
        }
        for (what, percent) in [
            ("steal", self.steal_percent),
            ("throttled", self.throttled_percent),
            ("another process on the device", self.shared_percent),
        ] {
            if let Some(percent) = percent.filter(|percent| *percent >= 0.05) {
                write!(f, "{what} {percent:.1}%, ")?;
            }
        }
        match (self.never_quiet, self.configurations) {
            (0, _) => write!(f, "every configuration quiet at least once"),
            (1, all) => write!(f, "1 of {all} configurations never quiet"),
            (never, all) => write!(f, "{never} of {all} configurations never quiet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(switched_out_percent: f64, never_quiet: usize) -> Quiet {
        Quiet {
            switched_out_percent: Some(switched_out_percent),
            steal_percent: Some(0.4),
            throttled_percent: None,
            shared_percent: None,
            never_quiet,
            configurations: 100,
        }
    }

    #[test]
    fn a_run_is_quiet_enough_if_at_most_one_configuration_in_twenty_never_was() {
        assert!(quiet(30.0, 5).is_enough());
        assert!(!quiet(0.0, 6).is_enough());
    }

    #[test]
    fn runs_together_are_as_quiet_as_their_mean_and_unknown_if_one_is() {
        let (one, other) = (quiet(1.0, 0), quiet(3.0, 2));
        let joined = Quiet::joined([Some(&one), Some(&other)].into_iter()).unwrap();
        assert_eq!(
            joined.in_words(),
            "2.0% of launches switched out, steal 0.4%, 2 of 200 configurations never quiet"
        );
        assert_eq!(Quiet::joined([Some(&one), None].into_iter()), None);
        assert_eq!(Quiet::joined(std::iter::empty()), None);
    }
}
