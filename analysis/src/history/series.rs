//! One trend's runs, searched for steps and outlier runs.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::index::{LnLatencies, Mean, change};
use super::noise::PooledNoise;
use super::steps::{self, Chance, Events, Searched};
use super::{HistoryRun, OutlierRun, Step, Steps};
use crate::differences::Difference;

/// The runs of a trend, and what is known of them.
pub(super) struct Series<'a> {
    pub(super) values: &'a [f64],
    pub(super) groups: &'a [usize],
    pub(super) present: &'a [usize],
    pub(super) latencies: &'a [LnLatencies<'a>],
    pub(super) runs: &'a [HistoryRun],
}

impl Series<'_> {
    /// The steps and outlier runs, and the noise within environments and levels.
    pub(super) fn search(&self, chance: &Chance) -> Option<(Steps, Searched)> {
        let n = self.values.len();
        let (mut events, searched) = steps::search(self.values, self.groups, chance)?;
        let penalty = chance.penalty * searched.sd.powi(2);
        while let Some(at) = self.not_in_common(&events, penalty) {
            events.begins.remove(at);
        }
        let levels = events.levels(n);
        let found = events.begins.iter().enumerate().filter_map(|(at, begin)| {
            self.step(&[*begin], [&levels[at], &levels[at + 1]], &searched, 1)
        });
        let outlier = |&at: &usize| {
            let level = &levels[events.begins.iter().filter(|begin| **begin <= at).count()];
            let HistoryRun { number: run, started, .. } = self.runs[self.present[at]];
            let ratio = (self.values[at] - steps::mean_at(self.values, level)).exp();
            OutlierRun { run, started, ratio, changes: self.changes_until(at.max(1)) }
        };
        let steps = Steps::Searched {
            found: found.collect(),
            outliers: events.outliers.iter().map(outlier).collect(),
            from_fastest: self.since_fastest(&events.begins, &levels, &searched),
            least_percent: 100.0 * searched.least_step.exp_m1(),
        };
        Some((steps, searched))
    }

    /// How much two adjacent levels differ over the configurations that both have.
    fn change(&self, before: &[usize], after: &[usize]) -> Option<Mean> {
        let of = |level: &[usize]| -> Vec<&LnLatencies<'_>> {
            level.iter().map(|at| &self.latencies[self.present[*at]]).collect()
        };
        change(&of(before), &of(after))
    }

    /// The first step that the configurations common to its two levels do not show.
    fn not_in_common(&self, events: &Events, penalty: f64) -> Option<usize> {
        events.levels(self.values.len()).windows(2).position(|levels| {
            let [before, after] = levels else { return false };
            let (n, m) = (before.len() as f64, after.len() as f64);
            let gain = |log: f64| log.powi(2) * n * m / (n + m);
            let mean = |level: &[usize]| steps::mean_at(self.values, level);
            let needed = penalty.min(gain(mean(after) - mean(before))) * (1.0 - 1e-6);
            self.change(before, after).is_none_or(|change| gain(change.log) < needed)
        })
    }

    /// The fastest of the levels before the last, and how much slower the last one is. It was chosen among
    /// them, so the interval holds for all of them together (Bonferroni).
    fn since_fastest(
        &self,
        begins: &[usize],
        levels: &[Vec<usize>],
        searched: &Searched,
    ) -> Option<Step> {
        let (last, earlier) = levels.split_last()?;
        let of_level =
            |at: usize| self.step(&begins[at..], [&earlier[at], last], searched, earlier.len());
        (0..earlier.len()).filter_map(of_level).max_by(|a, b| a.ratio.total_cmp(&b.ratio))
    }

    /// What the steps that begin there do together: from the level before the first to that after the last.
    fn step(
        &self,
        begins: &[usize],
        [before, after]: [&Vec<usize>; 2],
        searched: &Searched,
        chosen_of: usize,
    ) -> Option<Step> {
        let Mean { log, configurations } = self.change(before, after)?;
        let HistoryRun { number: run, started, .. } = self.runs[self.present[*begins.first()?]];
        let variance = 1.0 / before.len() as f64 + 1.0 / after.len() as f64;
        let variance = variance * searched.inflation;
        Some(Step {
            run,
            started,
            ratio: log.exp(),
            interval: interval(log, searched.within, variance, chosen_of),
            configurations,
            changes: begins.iter().flat_map(|begin| self.changes_until(*begin)).collect(),
        })
    }

    /// What changed since the run before, those that this trend passes over included.
    fn changes_until(&self, begin: usize) -> Vec<Difference> {
        let between = self.present[begin - 1] + 1..=self.present[begin];
        self.runs[between].iter().flat_map(|run| run.changes.clone()).collect()
    }
}

/// 95% interval of the ratio whose logarithm has `variance` times the noise's variance; of the one that was
/// chosen of so many, together with the others (Bonferroni).
pub(super) fn interval(
    log: f64,
    noise: PooledNoise,
    variance: f64,
    chosen_of: usize,
) -> Option<(f64, f64)> {
    let p = 1.0 - 0.025 / chosen_of as f64;
    let t = StudentsT::new(0.0, 1.0, noise.degrees_of_freedom as f64).ok()?.inverse_cdf(p);
    let half = t * noise.sd * variance.sqrt();
    Some(((log - half).exp(), (log + half).exp()))
}
