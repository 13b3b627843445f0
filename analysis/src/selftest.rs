//! How often is a comparison wrong, and what does it find, on one machine? Real runs of it, between
//! which nothing changed, are divided into two sides in many ways: whatever is called changed is a false
//! alarm. With a known slowdown put into the runs of one side, what is called slower is a find.
//!
//! Every launch of a slowed configuration takes a factor longer, so does the median, and its logarithm
//! grows by the factor's: slowdowns are put into medians, which is the same. For criterion, which looks at
//! launches, they are put into those.

use alpha_flops::random::random_bits;
use rayon::prelude::*;
use serde::Serialize;

use crate::compare::estimate::{Design, Samples};
use crate::compare::grouping::{Grouping, LnMedians};
use crate::compare::hypothesis_tests::{Decision, Decisions, Levels, Verdict, test};
use crate::compare::permutation::divisions;

pub mod criterion;
pub mod measured;
pub mod tables;

/// Runs between which nothing changed.
#[derive(Clone, Debug)]
pub struct UnchangedRuns {
    /// The configurations.
    pub grouping: Grouping,
    /// The independent variable of each.
    pub x: Vec<f64>,
    /// A run each.
    pub ln_medians: Vec<LnMedians>,
    /// Variances of ln median that the clock's resolution alone makes.
    pub floors: Vec<f64>,
    /// What is tested for, and how surely.
    pub levels: Levels,
}

/// One way to compare the runs with each other, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// Taken as measured before.
    pub before: Vec<usize>,
    /// Taken as measured after.
    pub after: Vec<usize>,
    /// Of one run a side: archived runs that say what runs differ by.
    pub history: Vec<usize>,
}

/// Where a slowdown is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Into configurations here and there, one in fifty.
    Scattered,
    /// Into all configurations of a series.
    Series,
    /// Into those of a series beyond the middle of its x, as where a library takes another plan from some
    /// size on.
    Step,
}

/// Every scenario.
pub const SCENARIOS: [Scenario; 3] = [Scenario::Scattered, Scenario::Series, Scenario::Step];
/// Slowdowns that are tried, as parts: 0.5% to 10%.
pub const SLOWDOWNS: [f64; 5] = [0.005, 0.01, 0.02, 0.05, 0.1];

/// Divisions of runs of which the power is found.
const MOST_FOR_POWER: usize = 20;

/// What is slowed down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slowed {
    /// Configurations.
    pub configurations: Vec<usize>,
    /// The series of all or half of them, by its number among the grouping's groups.
    pub group: Option<usize>,
}

/// False alarms of comparisons without a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FalseAlarms {
    /// Comparisons.
    pub comparisons: usize,
    /// Those in which any configuration or group was called slower or faster.
    pub with_any: usize,
    /// Configurations called slower or faster, per comparison.
    pub configurations_mean: f64,
    /// The same as a part of all configurations.
    pub configurations_share: f64,
}

/// What is found of a slowdown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Power {
    /// Where it was put.
    pub scenario: Scenario,
    /// How large it was: 0.05.
    pub slowdown: f64,
    /// Comparisons.
    pub comparisons: usize,
    /// Share of the slowed configurations that were called slower.
    pub found: f64,
    /// Share of comparisons in which their series was called slower; `None` without a series.
    pub group_found: Option<f64>,
    /// Share of wrong ones among what was called slower or faster, averaged over comparisons; of none
    /// called, none are wrong.
    pub wrong: f64,
}

impl UnchangedRuns {
    /// Divisions into two sides as equal as can be; at most as many as are tried for confirming.
    pub fn halves(&self) -> Vec<Division> {
        let n = self.ln_medians.len();
        let observed = [(0..n / 2).collect(), (n / 2..n).collect()];
        let all = std::iter::once(observed).chain(divisions(n / 2, n - n / 2));
        all.map(|[before, after]| Division { before, after, history: Vec::new() }).collect()
    }

    /// Every two runs compared with each other, with all others as their history.
    pub fn pairs(&self) -> Vec<Division> {
        let n = self.ln_medians.len();
        let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
        pairs
            .map(|(a, b)| Division {
                before: vec![a],
                after: vec![b],
                history: (0..n).filter(|run| *run != a && *run != b).collect(),
            })
            .collect()
    }

    /// What is said of a split, with some configurations slowed down after.
    pub fn compare(&self, split: &Division, slowed: &[usize], slowdown: f64) -> Decisions {
        let of = |runs: &[usize]| -> Vec<LnMedians> {
            runs.iter().map(|run| self.ln_medians[*run].clone()).collect()
        };
        let (before, mut after) = (of(&split.before), of(&split.after));
        for run in &mut after {
            for index in slowed {
                run[*index] = run[*index].map(|ln| ln + slowdown.ln_1p());
            }
        }
        let history = [of(&split.history)];
        let design = match split.history.is_empty() {
            true => Design::Independent,
            false => Design::History(&history),
        };
        let samples = Samples {
            grouping: &self.grouping,
            before: &before,
            after: &after,
            floors: &self.floors,
            design,
        };
        test(&samples, self.levels)
    }

    /// The scenarios that these configurations allow: not all have series.
    pub fn scenarios(&self) -> Vec<Scenario> {
        let has_series = self.grouping.groups().iter().any(|group| group.series.is_some());
        SCENARIOS.into_iter().filter(|s| has_series || *s == Scenario::Scattered).collect()
    }

    /// Every scenario with every slowdown.
    pub fn tried(&self) -> Vec<(Scenario, f64)> {
        let scenarios = self.scenarios().into_iter();
        scenarios.flat_map(|scenario| SLOWDOWNS.map(|slowdown| (scenario, slowdown))).collect()
    }

    /// What a scenario slows down; another for each seed.
    pub fn slowed(&self, scenario: Scenario, seed: u64) -> Slowed {
        let random = |index: usize| random_bits(seed, index as u64);
        if scenario == Scenario::Scattered {
            let mut all: Vec<usize> = (0..self.grouping.len()).collect();
            all.sort_by_key(|index| random(*index));
            all.truncate((self.grouping.len() / 50).max(1));
            return Slowed { configurations: all, group: None };
        }
        let groups = self.grouping.groups().iter().enumerate();
        let series: Vec<_> = groups.filter(|(_, group)| group.series.is_some()).collect();
        let Some(&(number, group)) = series.get(random(0) as usize % series.len().max(1)) else {
            return Slowed { configurations: Vec::new(), group: None };
        };
        let mut members = group.members.clone();
        members.sort_by(|a, b| self.x[*a].total_cmp(&self.x[*b]));
        let first = if scenario == Scenario::Step { members.len() / 2 } else { 0 };
        Slowed { configurations: members.split_off(first), group: Some(number) }
    }

    /// False alarms over some splits.
    pub fn false_alarms(&self, splits: &[Division]) -> FalseAlarms {
        let answers = splits.par_iter().map(|split| self.compare(split, &[], 0.0));
        FalseAlarms::of(&answers.collect::<Vec<_>>())
    }

    /// What is found of each slowdown in each scenario, over some splits evenly chosen.
    pub fn power(&self, splits: &[Division]) -> Vec<Power> {
        let every = splits.len().div_ceil(MOST_FOR_POWER).max(1);
        let splits: Vec<(u64, &Division)> = (1..).zip(splits.iter().step_by(every)).collect();
        self.tried()
            .into_iter()
            .map(|(scenario, slowdown)| {
                let of_split = |(seed, split): &(u64, &Division)| {
                    let slowed = self.slowed(scenario, *seed);
                    let answers = self.compare(split, &slowed.configurations, slowdown);
                    Detection::of(&answers, &slowed, &self.grouping)
                };
                let found: Vec<Detection> = splits.par_iter().map(of_split).collect();
                Power::of(scenario, slowdown, &found)
            })
            .collect()
    }
}

impl FalseAlarms {
    /// Of comparisons in which nothing had changed.
    pub fn of(comparisons: &[Decisions]) -> Self {
        let called = |answers: &[Decision]| {
            answers.iter().filter(|answer| answer.verdict.is_change()).count()
        };
        let counted = comparisons.iter().map(|a| (called(&a.configurations), called(&a.groups)));
        let of_each = comparisons.first().map_or(1, |answers| answers.configurations.len());
        Self::counted(&counted.collect::<Vec<_>>(), of_each)
    }

    /// Of how many configurations, out of `of_each`, and groups each comparison called changed.
    fn counted(called: &[(usize, usize)], of_each: usize) -> Self {
        let n = called.len().max(1) as f64;
        let configurations: usize = called.iter().map(|(configurations, _)| configurations).sum();
        Self {
            comparisons: called.len(),
            with_any: called.iter().filter(|(c, groups)| c + groups > 0).count(),
            configurations_mean: configurations as f64 / n,
            configurations_share: configurations as f64 / n / of_each as f64,
        }
    }
}

/// What one comparison finds of a slowdown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Share of the slowed configurations called slower.
    pub share: f64,
    /// Whether their series was called slower, where there is one.
    pub group: Option<bool>,
    /// Share of wrong ones among what was called slower or faster.
    pub wrong: f64,
}

impl Detection {
    /// Of a comparison with something slowed down.
    pub fn of(answers: &Decisions, slowed: &Slowed, grouping: &Grouping) -> Self {
        let mut is_slowed = vec![false; answers.configurations.len()];
        slowed.configurations.iter().for_each(|index| is_slowed[*index] = true);
        let truly = |index: &usize| is_slowed[*index];
        let right = |answer: &Decision| answer.verdict == Verdict::Slower;
        let found =
            (0..is_slowed.len()).filter(truly).filter(|i| right(&answers.configurations[*i]));
        let found = found.count();
        let configurations = answers.configurations.iter().enumerate();
        let configurations = configurations.map(|(index, answer)| (answer, is_slowed[index]));
        let groups = answers.groups.iter().zip(grouping.groups());
        let groups = groups.map(|(answer, group)| (answer, group.members.iter().any(truly)));
        let called: Vec<bool> = configurations
            .chain(groups)
            .filter(|(answer, _)| answer.verdict.is_change())
            .map(|(answer, is_slowed)| is_slowed && right(answer))
            .collect();
        let wrong = called.iter().filter(|right| !**right).count();
        Self {
            share: found as f64 / slowed.configurations.len().max(1) as f64,
            group: slowed.group.map(|group| right(&answers.groups[group])),
            wrong: wrong as f64 / called.len().max(1) as f64,
        }
    }
}

impl Power {
    /// Over comparisons of one scenario and slowdown.
    pub fn of(scenario: Scenario, slowdown: f64, found: &[Detection]) -> Self {
        let n = found.len().max(1) as f64;
        let groups: Vec<bool> = found.iter().filter_map(|found| found.group).collect();
        let groups_found = groups.iter().filter(|found| **found).count() as f64;
        Self {
            scenario,
            slowdown,
            comparisons: found.len(),
            found: found.iter().map(|found| found.share).sum::<f64>() / n,
            group_found: (!groups.is_empty()).then(|| groups_found / groups.len() as f64),
            wrong: found.iter().map(|found| found.wrong).sum::<f64>() / n,
        }
    }
}
