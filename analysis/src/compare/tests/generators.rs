//! Runs made up to find out what comparisons get right, independently of `simulate`: ln medians of 591
//! configurations of seven experiments, in order of time.

use alpha_flops_analysis::compare::estimate::{Design, Samples};
use alpha_flops_analysis::compare::grouping::{Grouping, LnMedians};
use alpha_flops_analysis::compare::hypothesis_tests::{Decisions, Levels, test};

use super::Random;

/// How a configuration differs from run to run.
#[allow(dead_code, reason = "tests need fewer of them than the example of calibration")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Own {
    /// Normally, all by the same.
    Normal,
    /// Normally, each by its own: standard deviations are lognormal, two thirds within a factor of 2.2.
    Lognormal,
    /// By Student's t with three degrees of freedom.
    HeavyTails,
    /// In a third of the configurations: 10% slower in half of the runs; a run stays as the one before with
    /// this probability.
    TwoSpeeds(f64),
}

/// What is true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    pub own: Own,
    /// Standard deviation from run to run.
    pub sd: f64,
    /// AR(1) from run to run.
    pub correlation: f64,
    /// Standard deviation of a configuration's own drift over the session.
    pub own_drift: f64,
    /// What all drift by over the session.
    pub common_drift: f64,
    /// Standard deviation of what all configurations of an experiment share in a run.
    pub common: f64,
    /// The same for each tenth of an experiment: clusters that move together.
    pub clusters: f64,
    /// Each run is disturbed with this probability: a random third of its configurations by 5 to 30%.
    pub disturbed: f64,
    /// How many times as noisy runs after are.
    pub after_times: f64,
}

impl Default for Truth {
    fn default() -> Self {
        Self {
            own: Own::Normal,
            sd: 0.005,
            correlation: 0.0,
            own_drift: 0.0,
            common_drift: 0.0,
            common: 0.0,
            clusters: 0.0,
            disturbed: 0.0,
            after_times: 1.0,
        }
    }
}

/// Student's t with three degrees of freedom, of variance 1.
fn heavy(random: &mut Random) -> f64 {
    let z = random.normal();
    z / (0..3).map(|_| random.normal().powi(2)).sum::<f64>().sqrt()
}

/// So many configurations in seven experiments of three series.
pub fn few_or_all(n: usize) -> Grouping {
    const NAMES: [&str; 7] = ["A", "B", "C", "D", "E", "F", "G"];
    const SERIES: [&str; 3] = ["first", "second", "third"];
    Grouping::new((0..n).map(|i| (NAMES[i * 7 / n], SERIES[i * 21 / n % 3])))
}

/// Two sides: which of the runs, in order of time, are after.
pub struct Sides {
    pub before: Vec<LnMedians>,
    pub after: Vec<LnMedians>,
    /// Rank of each run in time.
    pub order: Vec<usize>,
}

/// First all before, then all after.
pub fn blocks(before: usize, after: usize) -> Vec<bool> {
    (0..before + after).map(|run| run >= before).collect()
}

/// One of each, in turns that are turned round every time.
pub fn turns(a_side: usize) -> Vec<bool> {
    (0..2 * a_side).map(|run| run % 4 == 1 || run % 4 == 2).collect()
}

impl Truth {
    /// Makes up runs, in which configurations take `factor` times as long after.
    pub fn sides(
        &self,
        grouping: &Grouping,
        is_after: &[bool],
        random: &mut Random,
        factor: impl Fn(usize) -> f64,
    ) -> Sides {
        let runs = is_after.len();
        let innovation = (1.0 - self.correlation * self.correlation).sqrt();
        let at = |run: usize| run as f64 / (runs - 1).max(1) as f64 - 0.5;
        let mut y = vec![vec![Some(0.0); grouping.len()]; runs];
        let mut shift: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for _ in 0..runs {
            let experiments = (0..grouping.experiments()).map(|_| self.common * random.normal());
            let experiments = experiments.collect();
            let clusters = (0..grouping.len() / 25 + 1).map(|_| self.clusters * random.normal());
            shift.push((experiments, clusters.collect()));
        }
        let disturbed: Vec<f64> = (0..runs)
            .map(|_| match random.uniform() < self.disturbed {
                true => 0.05 + 0.25 * random.uniform(),
                false => 0.0,
            })
            .collect();
        for index in 0..grouping.len() {
            let sd = self.sd
                * if self.own == Own::Lognormal { (0.8 * random.normal()).exp() } else { 1.0 };
            let drift = self.own_drift * random.normal() + self.common_drift;
            let has_two = matches!(self.own, Own::TwoSpeeds(_)) && random.uniform() < 1.0 / 3.0;
            let mut x = random.normal();
            let mut is_slow = random.uniform() < 0.5;
            for run in 0..runs {
                let own = match self.own {
                    Own::HeavyTails => heavy(random),
                    _ => x,
                };
                let mut ln = 9.0 + sd * own + drift * at(run);
                if has_two && is_slow {
                    ln += 0.1f64.ln_1p();
                }
                let (experiments, clusters) = &shift[run];
                ln += experiments[grouping.experiment_of(index)] + clusters[index / 25];
                if disturbed[run] > 0.0 && random.uniform() < 1.0 / 3.0 {
                    ln += disturbed[run];
                }
                if is_after[run] {
                    ln = 9.0 + self.after_times * (ln - 9.0) + factor(index).ln();
                }
                y[run][index] = Some(ln);
                x = self.correlation * x + innovation * random.normal();
                if let Own::TwoSpeeds(stays) = self.own {
                    is_slow = if random.uniform() < stays { is_slow } else { !is_slow };
                }
            }
        }
        let of = |side: bool| (0..runs).filter(move |run| is_after[*run] == side);
        let pick = |side: bool| of(side).map(|run| y[run].clone()).collect();
        Sides { before: pick(false), after: pick(true), order: of(false).chain(of(true)).collect() }
    }
}

impl Sides {
    /// Compares them at a threshold of 2% and a false discovery rate of 5%.
    pub fn test(&self, grouping: &Grouping, floors: &[f64], design: Design<'_>) -> Decisions {
        let Self { before, after, order } = self;
        let samples = Samples { grouping, before, after, floors, order, design };
        test(&samples, Levels { threshold: 0.02, false_discovery_rate: 0.05 })
    }
}
