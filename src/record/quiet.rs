//! How quiet the machine was during a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ConfigurationRecord, Measured, Outcome};
use crate::disturbance::Disturbance;

/// How quiet the machine was during a run, over all visits, whether they count or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quiet {
    /// Part of the samples during which a computing thread was switched out, in percent.
    pub switched_out_percent: f64,
    /// Time that the host of a virtual machine gave its cores to others; `None` where not known.
    pub steal_percent: Option<f64>,
    /// Time for which a limit on CPU time stopped it; `None` where there is no limit, or not known.
    pub throttled_percent: Option<f64>,
    /// Configurations of which no visit was undisturbed.
    pub never_quiet: usize,
    /// Configurations measured.
    pub configurations: usize,
}

impl Quiet {
    /// From the records of a run; `None` where they say nothing of it.
    pub fn new(records: &[ConfigurationRecord]) -> Option<Self> {
        let outcomes = || {
            records.iter().flat_map(|record| match record.visits.is_empty() {
                true => vec![(&record.outcome, record.wall_s)],
                false => record.visits.iter().map(|v| (&v.outcome, v.wall_s)).collect(),
            })
        };
        let known = |(outcome, wall_s): (&'_ Outcome, f64)| {
            let Measured { disturbance, .. } = outcome.measured()?;
            Some((disturbance.clone()?, wall_s))
        };
        let visits: Vec<(Disturbance, f64)> = outcomes().filter_map(known).collect();
        // by the time that visits took
        let percent = |of: fn(&Disturbance) -> Option<f64>| {
            let known = || visits.iter().filter_map(|(visit, wall_s)| Some((of(visit)?, *wall_s)));
            let total_s: f64 = known().map(|(_, wall_s)| wall_s).sum();
            let sum: f64 = known().map(|(percent, wall_s)| percent * wall_s).sum();
            (total_s > 0.0).then(|| sum / total_s)
        };
        let samples: u64 = visits.iter().map(|(visit, _)| visit.samples).sum();
        let lost: u64 = visits.iter().map(|(visit, _)| visit.switched_out).sum();
        let measured = records.iter().filter(|record| record.outcome.measured().is_some());
        (samples > 0).then(|| Self {
            switched_out_percent: 100.0 * lost as f64 / samples as f64,
            steal_percent: percent(|visit| visit.steal_percent),
            throttled_percent: percent(|visit| visit.throttled_percent),
            never_quiet: records.iter().filter(|record| record.outcome.is_disturbed()).count(),
            configurations: measured.count(),
        })
    }

    /// Whether so few configurations were never quiet that they decide no answer.
    pub fn is_enough(&self) -> bool {
        /// What may be wrong at random without changing a median or a fit much.
        const MOST_NEVER_QUIET: f64 = 0.05;
        self.never_quiet as f64 <= MOST_NEVER_QUIET * self.configurations as f64
    }
}

/// `disturbed: 3% of launches switched out, steal 0.4%, 2 configurations never quiet`.
impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disturbed: {:.1}% of launches switched out", self.switched_out_percent)?;
        for (what, percent) in
            [("steal", self.steal_percent), ("throttled", self.throttled_percent)]
        {
            if let Some(percent) = percent.filter(|percent| *percent >= 0.05) {
                write!(f, ", {what} {percent:.1}%")?;
            }
        }
        match (self.never_quiet, self.configurations) {
            (0, _) => write!(f, ", every configuration quiet at least once"),
            (1, all) => write!(f, ", 1 of {all} configurations never quiet"),
            (never, all) => write!(f, ", {never} of {all} configurations never quiet"),
        }
    }
}
