//! How often is a comparison wrong on one machine, and what does it detect? Real runs between which nothing
//! changed are divided into two sides in many ways, and whatever is called changed is a false alarm. With
//! a known slowdown added to the runs of one side, whatever is called slower is detected.
//!
//! A slowdown multiplies every launch of a configuration, and so its median, by one factor. It is therefore
//! added to the logarithms of medians; only for criterion, which looks at launches, to the launches.

use alpha_flops::choice::choices;
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

/// Runs between which nothing changed, as numbers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct UnchangedRuns {
    pub grouping: Grouping,
    /// The independent variable of each.
    pub x: Vec<f64>,
    /// One entry per run, in order of time.
    pub ln_medians: Vec<LnMedians>,
    /// Variance of each configuration's ln median from the clock's resolution alone.
    pub floors: Vec<f64>,
    pub levels: Levels,
}

/// One way to divide the runs into two sides, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// Taken as measured before.
    pub before: Vec<usize>,
    /// Taken as measured after.
    pub after: Vec<usize>,
    /// With one run per side: the runs that play the archived ones.
    pub history: Vec<usize>,
}

choices! {
    /// Where a slowdown is added.
    #[derive(Hash, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Scenario {
        /// One in fifty configurations, at random.
        Scattered = "one in fifty",
        /// All configurations of a series.
        Series = "a whole series",
        /// Those in the upper half of a series' x, as when a library switches to another plan at some
        /// size.
        Step = "half of a series",
    }
}

/// The slowdowns that are tried: 0.5% to 10%.
pub const SLOWDOWNS: [f64; 5] = [0.005, 0.01, 0.02, 0.05, 0.1];

/// The most divisions that the power is estimated from.
const MOST_FOR_POWER: usize = 20;

/// At most 2⁷ divisions in turns are tried.
const MOST_TURNS: usize = 7;

/// What is slowed down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slowed {
    /// Configurations.
    pub configurations: Vec<usize>,
    /// Their series, as an index into the groups.
    pub group: Option<usize>,
}

/// False alarms of comparisons without a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FalseAlarms {
    /// Comparisons.
    pub comparisons: usize,
    /// Comparisons in which any configuration or group was called slower or faster.
    pub with_any: usize,
    /// Standard error of their share, as if comparisons were independent: they share runs, so that it is
    /// larger.
    pub share_error: f64,
    /// Configurations called slower or faster, per comparison.
    pub configurations_mean: f64,
    /// The same as a share of all configurations.
    pub configurations_share: f64,
}

/// How well a slowdown is detected.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Power {
    pub scenario: Scenario,
    /// How large it was: 0.05.
    pub slowdown: f64,
    pub comparisons: usize,
    /// Share of the slowed configurations that were called slower.
    pub found: f64,
    /// Its standard error, as if comparisons were independent.
    pub found_error: f64,
    /// Share of comparisons in which their series was called slower; `None` if there is none.
    pub group_found: Option<f64>,
    /// False discovery proportion: the share of wrong calls among all that was called slower or faster (0 if
    /// nothing was), averaged over comparisons.
    pub wrong: f64,
}

impl UnchangedRuns {
    /// Divisions into two sides of equal size (or nearly), at most as many as a permutation test tries.
    pub fn halves(&self) -> Vec<Division> {
        let n = self.ln_medians.len();
        let observed = [(0..n / 2).collect(), (n / 2..n).collect()];
        let is_after: Vec<bool> = (0..n).map(|run| run >= n / 2).collect();
        let all = std::iter::once(observed).chain(divisions(&is_after));
        all.map(|[before, after]| Division { before, after, history: Vec::new() }).collect()
    }

    /// Divisions in turns: of every two runs in a row, one on each side.
    pub fn turns(&self) -> Vec<Division> {
        let pairs = self.ln_medians.len() / 2;
        // the first run is always before: the others are these with their sides swapped
        let swaps = (0..1usize << (pairs - 1).min(MOST_TURNS)).map(|bits| bits << 1);
        let side = |bits: usize, side: usize| -> Vec<usize> {
            (0..pairs).map(|pair| 2 * pair + (bits >> pair & 1 ^ side)).collect()
        };
        let division =
            |bits| Division { before: side(bits, 0), after: side(bits, 1), history: Vec::new() };
        swaps.map(division).collect()
    }

    /// Divisions into blocks in time: two or more runs in a row, and as many behind them.
    pub fn blocks(&self) -> Vec<Division> {
        let n = self.ln_medians.len();
        let sized = |k: usize| (0..=n - 2 * k).map(move |first| (first, k));
        let division = |(first, k): (usize, usize)| Division {
            before: (first..first + k).collect(),
            after: (first + k..first + 2 * k).collect(),
            history: Vec::new(),
        };
        (2..=n / 2).rev().flat_map(sized).map(division).collect()
    }

    /// Every pair of runs, with all the others as its history.
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

    /// Compares the two sides of a division, with some configurations slowed down after.
    pub fn compare(&self, division: &Division, slowed: &[usize], slowdown: f64) -> Decisions {
        let of = |runs: &[usize]| -> Vec<LnMedians> {
            runs.iter().map(|run| self.ln_medians[*run].clone()).collect()
        };
        let (before, mut after) = (of(&division.before), of(&division.after));
        for run in &mut after {
            for index in slowed {
                run[*index] = run[*index].map(|ln| ln + slowdown.ln_1p());
            }
        }
        let history = [of(&division.history)];
        let design = match division.history.is_empty() {
            true => Design::Independent,
            false => Design::History(&history),
        };
        let samples = Samples {
            grouping: &self.grouping,
            before: &before,
            after: &after,
            floors: &self.floors,
            order: &ranks([&division.before, &division.after]),
            design,
        };
        test(&samples, self.levels)
    }

    /// The scenarios that these configurations allow: without series, only one.
    pub fn scenarios(&self) -> Vec<Scenario> {
        let has_series = self.grouping.groups().iter().any(|group| group.series.is_some());
        Scenario::ALL.into_iter().filter(|s| has_series || *s == Scenario::Scattered).collect()
    }

    /// Every scenario with every slowdown.
    pub fn tried(&self) -> Vec<(Scenario, f64)> {
        let scenarios = self.scenarios().into_iter();
        scenarios.flat_map(|scenario| SLOWDOWNS.map(|slowdown| (scenario, slowdown))).collect()
    }

    /// What a scenario slows down: other configurations for each seed.
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

    /// False alarms over some divisions.
    pub fn false_alarms(&self, divisions: &[Division]) -> FalseAlarms {
        let answers = divisions.par_iter().map(|division| self.compare(division, &[], 0.0));
        FalseAlarms::new(&answers.collect::<Vec<_>>())
    }

    /// How well each slowdown is detected in each scenario, over some divisions, evenly chosen.
    pub fn power(&self, divisions: &[Division]) -> Vec<Power> {
        let every = divisions.len().div_ceil(MOST_FOR_POWER).max(1);
        let divisions: Vec<(u64, &Division)> = (1..).zip(divisions.iter().step_by(every)).collect();
        self.tried()
            .into_iter()
            .map(|(scenario, slowdown)| {
                let of_division = |(seed, division): &(u64, &Division)| {
                    let slowed = self.slowed(scenario, *seed);
                    let answers = self.compare(division, &slowed.configurations, slowdown);
                    Detection::new(&answers, &slowed, &self.grouping)
                };
                let found: Vec<Detection> = divisions.par_iter().map(of_division).collect();
                Power::new(scenario, slowdown, &found)
            })
            .collect()
    }
}

/// The ranks of the runs of two sides among themselves.
fn ranks(sides: [&[usize]; 2]) -> Vec<usize> {
    let runs = sides.concat();
    runs.iter().map(|run| runs.iter().filter(|other| *other < run).count()).collect()
}

impl FalseAlarms {
    /// Counts them in comparisons in which nothing had changed.
    pub fn new(comparisons: &[Decisions]) -> Self {
        let called = |answers: &[Decision]| {
            answers.iter().filter(|answer| answer.verdict.is_shown_change()).count()
        };
        let counted = comparisons.iter().map(|a| (called(&a.configurations), called(&a.groups)));
        let of_each = comparisons.first().map_or(1, |answers| answers.configurations.len());
        Self::counted(&counted.collect::<Vec<_>>(), of_each)
    }

    /// From the numbers of configurations, out of `of_each`, and of groups that each comparison called
    /// changed.
    fn counted(called: &[(usize, usize)], of_each: usize) -> Self {
        let n = called.len().max(1) as f64;
        let configurations: usize = called.iter().map(|(configurations, _)| configurations).sum();
        let with_any = called.iter().filter(|(c, groups)| c + groups > 0).count();
        let share = with_any as f64 / n;
        Self {
            comparisons: called.len(),
            with_any,
            share_error: (share * (1.0 - share) / n).sqrt(),
            configurations_mean: configurations as f64 / n,
            configurations_share: configurations as f64 / n / of_each as f64,
        }
    }
}

/// What one comparison detects of a slowdown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Share of the slowed configurations called slower.
    pub share: f64,
    /// Whether their series was called slower, if there is one.
    pub group: Option<bool>,
    /// Share of wrong calls among all that was called slower or faster.
    pub wrong: f64,
}

impl Detection {
    /// Counts what a comparison called slower or faster against what was slowed down.
    pub fn new(answers: &Decisions, slowed: &Slowed, grouping: &Grouping) -> Self {
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
            .filter(|(answer, _)| answer.verdict.is_shown_change())
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
    /// Averages over comparisons of one scenario and slowdown.
    pub fn new(scenario: Scenario, slowdown: f64, found: &[Detection]) -> Self {
        let n = found.len().max(1) as f64;
        let mean = found.iter().map(|found| found.share).sum::<f64>() / n;
        let squares: f64 = found.iter().map(|found| (found.share - mean).powi(2)).sum();
        let groups: Vec<bool> = found.iter().filter_map(|found| found.group).collect();
        let groups_found = groups.iter().filter(|found| **found).count() as f64;
        Self {
            scenario,
            slowdown,
            comparisons: found.len(),
            found: mean,
            found_error: (squares / (n - 1.0).max(1.0) / n).sqrt(),
            group_found: (!groups.is_empty()).then(|| groups_found / groups.len() as f64),
            wrong: found.iter().map(|found| found.wrong).sum::<f64>() / n,
        }
    }
}
