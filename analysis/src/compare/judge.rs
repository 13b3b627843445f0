//! What the medians of runs say of each configuration and of each group: the statistics of a
//! comparison, without files and words.
//!
//! The run is the unit of replication: launches of one run share its circumstances, however many there
//! are. A configuration's ratio is that of the sides' geometric means of run medians; its error comes
//! from how the runs of a side differ ([`Noise`]). Groups (all, each experiment, each series) are
//! tested by Student's t on each run's mean over the group's configurations, so a shift too small to
//! show in any single one is found where they share it.
//!
//! Errors are controlled over all configurations and groups together: half of the rate goes to the
//! configurations and half to the groups, each by Benjamini and Hochberg. The share of wrong ones in
//! the union is at most the sum of the two. What is found so must also be rare among other divisions
//! of the same runs into sides (relabelling). Of what is called the same, the full rate may be wrong
//! among configurations, and among groups.

use std::collections::HashMap;

use rayon::prelude::*;

use super::contrast::{Contrast, benjamini_hochberg};
use super::noise::{LnMedians, Noise, Prior, mean};
use super::relabel::{confirmed, worth};

/// What is said of a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Shown to take longer.
    Slower,
    /// Shown to take less long.
    Faster,
    /// Shown to differ by less than the threshold.
    Same,
    /// Neither is shown.
    Undecided,
    /// Longer by more than launches within a run differ; what runs differ by is unknown.
    CandidateSlower,
    /// The same in the other direction.
    CandidateFaster,
}

/// How the runs of the two sides belong together.
#[derive(Clone, Copy, Debug)]
pub enum Design<'a> {
    /// They are independent.
    Independent,
    /// The i-th runs of both sides belong together.
    Paired,
    /// One run a side; what runs differ by is known from others, in groups of equal circumstances.
    History(&'a [Vec<LnMedians>]),
    /// One run a side, and nothing is known but each configuration's standard errors of ln median
    /// within the run before and the run after.
    WithinRuns([&'a [Option<f64>]; 2]),
}

/// Which configurations belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    names: Vec<String>,
    experiment_of: Vec<usize>,
    groups: Vec<Group>,
}

/// Configurations that are also judged together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The experiment, or `all`.
    pub experiment: String,
    /// The series, where it is one of several.
    pub series: Option<String>,
    /// Indices of its configurations.
    pub members: Vec<usize>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The configurations.
    pub grouping: &'a Grouping,
    /// A run each.
    pub before: &'a [LnMedians],
    /// A run each.
    pub after: &'a [LnMedians],
    /// Variances of ln median that the clock's resolution alone makes.
    pub floors: &'a [f64],
    /// How runs belong together.
    pub design: Design<'a>,
    /// Changes up to this part are as good as none: 0.02.
    pub threshold: f64,
    /// Share of wrong ones among all that are called slower or faster, at most, in expectation.
    pub false_discovery_rate: f64,
}

/// What is answered of a configuration or a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The ratio; `None` where a side has nothing, or nothing is known of the error.
    pub contrast: Option<Contrast>,
    /// What is said of it.
    pub verdict: Verdict,
}

/// All answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// Of each configuration.
    pub configurations: Vec<Answer>,
    /// Of each group, in the grouping's order.
    pub groups: Vec<Answer>,
    /// What runs differ by, where it is known.
    pub noise: Option<Noise>,
    /// Other divisions of the runs that what t had found was checked against; 0 where it found nothing.
    pub relabellings: usize,
    /// Configurations and groups that t had found, and that the check did not confirm.
    pub unconfirmed: usize,
}

/// Estimated ratios; `None` where a side has nothing, or nothing is known of the error.
pub(super) struct Contrasts {
    pub(super) configurations: Vec<Option<Contrast>>,
    pub(super) groups: Vec<Option<Contrast>>,
    noise: Option<Noise>,
}

/// What tests say of configurations or of groups.
struct Decided {
    df: Vec<f64>,
    p_different: Vec<f64>,
    differs: Vec<bool>,
    equivalent: Vec<bool>,
}

impl Grouping {
    /// Of configurations with these experiments and series, in this order.
    pub fn new<'a>(places: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut experiment_of = Vec::new();
        let mut index_of: HashMap<(String, Option<String>), usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        for (index, (experiment, series)) in places.into_iter().enumerate() {
            let number = names.iter().position(|name| name == experiment).unwrap_or_else(|| {
                names.push(experiment.to_owned());
                names.len() - 1
            });
            experiment_of.push(number);
            for (experiment, series) in
                [("all", None), (experiment, None), (experiment, Some(series.to_owned()))]
            {
                let key = (experiment.to_owned(), series);
                let group = *index_of.entry(key.clone()).or_insert_with(|| {
                    groups.push(Group { experiment: key.0, series: key.1, members: Vec::new() });
                    groups.len() - 1
                });
                groups[group].members.push(index);
            }
        }
        // a group that is another one under a second name would be tested twice
        let mut seen: Vec<Vec<usize>> = Vec::new();
        groups.retain(|group| {
            let is_new = group.members.len() > 1 && !seen.contains(&group.members);
            seen.push(group.members.clone());
            is_new
        });
        Self { names, experiment_of, groups }
    }

    /// How many configurations there are.
    pub fn len(&self) -> usize {
        self.experiment_of.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.experiment_of.is_empty()
    }

    /// How many experiments.
    pub fn experiments(&self) -> usize {
        self.names.len()
    }

    /// A configuration's experiment, by number.
    pub fn experiment_of(&self, configuration: usize) -> usize {
        self.experiment_of[configuration]
    }

    /// The groups that are judged, each with two configurations or more.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
}

impl Verdict {
    /// Whether it is a change, shown or suspected.
    pub fn is_change(self) -> bool {
        self.is_shown_change() || matches!(self, Self::CandidateSlower | Self::CandidateFaster)
    }

    /// Whether it is a change that is shown.
    pub fn is_shown_change(self) -> bool {
        matches!(self, Self::Slower | Self::Faster)
    }
}

impl Question<'_> {
    /// Judges every configuration and every group.
    pub fn answer(&self) -> Answers {
        let Contrasts { configurations, groups, noise } = self.contrasts(None);
        let mut families = [&configurations, &groups].map(|family| self.decide(family));
        let count = |families: &[Decided; 2]| {
            families.iter().flat_map(|family| &family.differs).filter(|differs| **differs).count()
        };
        let found = count(&families);
        // other divisions matter only where something was found
        let prior = noise.as_ref().map(|noise| noise.prior);
        let others = if found > 0 { self.relabelled(prior) } else { Vec::new() };
        // candidates are not called anything that could be confirmed
        if !matches!(self.design, Design::WithinRuns(_)) {
            let rate = self.false_discovery_rate / 2.0;
            let design = self.design;
            families[0].confirm(&others, |others| &others.configurations, design, rate);
            families[1].confirm(&others, |others| &others.groups, design, rate);
        }
        let unconfirmed = found - count(&families);
        let [of_configurations, of_groups] = families;
        Answers {
            configurations: self.verdicts(&configurations, of_configurations),
            groups: self.verdicts(&groups, of_groups),
            noise,
            relabellings: others.len(),
            unconfirmed,
        }
    }

    /// Estimates every configuration's and every group's ratio, with variances shrunk towards `prior`,
    /// or what is found.
    pub(super) fn contrasts(&self, prior: Option<Prior>) -> Contrasts {
        let differences = self.differences();
        let noise = self.noise(&differences, prior);
        let configurations: Vec<_> = (0..self.grouping.len())
            .map(|index| self.contrast(index, &differences, noise.as_ref()))
            .collect();
        let groups = self.grouping.groups().iter();
        let groups = groups.map(|group| self.group_contrast(group, &differences, &configurations));
        Contrasts { groups: groups.collect(), configurations, noise }
    }

    /// Of paired runs, each pair's difference.
    fn differences(&self) -> Vec<LnMedians> {
        if !matches!(self.design, Design::Paired) {
            return Vec::new();
        }
        let pairs = self.before.iter().zip(self.after);
        pairs
            .map(|(before, after)| {
                before.iter().zip(after).map(|(b, a)| Some((*a)? - (*b)?)).collect()
            })
            .collect()
    }

    fn noise(&self, differences: &[LnMedians], prior: Option<Prior>) -> Option<Noise> {
        let groups: Vec<&[LnMedians]> = match self.design {
            Design::Independent => vec![self.before, self.after],
            Design::Paired => vec![differences],
            Design::History(groups) => groups.iter().map(Vec::as_slice).collect(),
            Design::WithinRuns(_) => return None,
        };
        Noise::estimate(&groups, self.grouping, &self.floors(), prior)
    }

    /// Of what the noise is estimated of: of paired runs, differences of two.
    fn floors(&self) -> Vec<f64> {
        let times = if matches!(self.design, Design::Paired) { 2.0 } else { 1.0 };
        self.floors.iter().map(|floor| times * floor).collect()
    }

    fn contrast(
        &self,
        index: usize,
        differences: &[LnMedians],
        noise: Option<&Noise>,
    ) -> Option<Contrast> {
        let of =
            |runs: &[LnMedians]| -> Vec<f64> { runs.iter().filter_map(|run| run[index]).collect() };
        let (ln_ratio, runs) = match self.design {
            Design::Paired => {
                let differences = of(differences);
                (mean(differences.iter().copied())?, 1.0 / differences.len() as f64)
            }
            _ => {
                let (before, after) = (of(self.before), of(self.after));
                let ln_ratio = mean(after.iter().copied())? - mean(before.iter().copied())?;
                (ln_ratio, 1.0 / before.len() as f64 + 1.0 / after.len() as f64)
            }
        };
        if let Design::WithinRuns([before, after]) = self.design {
            let variance =
                before[index]?.powi(2) + after[index]?.powi(2) + 2.0 * self.floors[index];
            return usable(ln_ratio, variance, f64::INFINITY);
        }
        let noise = noise?.of(index, self.grouping.experiment_of(index));
        usable(ln_ratio, noise.value * runs, noise.df)
    }

    /// By Student's t on the runs' means over the configurations that all runs have.
    fn group_contrast(
        &self,
        group: &Group,
        differences: &[LnMedians],
        configurations: &[Option<Contrast>],
    ) -> Option<Contrast> {
        let has = |runs: &[LnMedians], index: usize| runs.iter().all(|run| run[index].is_some());
        let is_in_history = |index: usize| match self.design {
            Design::History(groups) => groups.iter().all(|runs| has(runs, index)),
            _ => true,
        };
        let members: Vec<usize> = group
            .members
            .iter()
            .copied()
            .filter(|i| has(self.before, *i) && has(self.after, *i) && is_in_history(*i))
            .collect();
        if members.len() < 2 {
            return None;
        }
        let of = |runs: &[LnMedians]| -> Vec<f64> {
            runs.iter().filter_map(|run| mean(members.iter().filter_map(|i| run[*i]))).collect()
        };
        let m = members.len() as f64;
        let floors = self.floors();
        let floor = members.iter().map(|i| floors[*i]).sum::<f64>() / (m * m);
        let (before, after) = (of(self.before), of(self.after));
        let ln_ratio = mean(after.iter().copied())? - mean(before.iter().copied())?;
        let unpaired = 1.0 / before.len() as f64 + 1.0 / after.len() as f64;
        let ((squares, df), runs) = match self.design {
            Design::Independent => (total([squares(&before), squares(&after)]), unpaired),
            Design::Paired => (squares(&of(differences)), 1.0 / differences.len() as f64),
            Design::History(groups) => {
                (total(groups.iter().map(|runs| squares(&of(runs)))), unpaired)
            }
            Design::WithinRuns(_) => {
                let of_members = members.iter().map(|i| Some(configurations[*i]?.se.powi(2)));
                let variance = of_members.sum::<Option<f64>>()? / (m * m);
                return usable(ln_ratio, variance, f64::INFINITY);
            }
        };
        usable(ln_ratio, (squares / df).max(floor) * runs, df)
    }

    /// What tests say of a family, before other divisions of the runs are asked.
    fn decide(&self, family: &[Option<Contrast>]) -> Decided {
        let p = |of: &dyn Fn(&Contrast) -> f64| -> Vec<f64> {
            // nothing is known: nothing is found
            family.iter().map(|contrast| contrast.as_ref().map_or(1.0, of)).collect()
        };
        let rate = self.false_discovery_rate / 2.0;
        let ln_threshold = self.threshold.ln_1p();
        let p_different = p(&Contrast::p_different);
        Decided {
            df: family.iter().map(|contrast| contrast.map_or(1.0, |c| c.df)).collect(),
            differs: benjamini_hochberg(&p_different, rate),
            equivalent: benjamini_hochberg(
                &p(&|c| c.p_equivalent(ln_threshold)),
                self.false_discovery_rate,
            ),
            p_different,
        }
    }

    fn verdicts(&self, family: &[Option<Contrast>], decided: Decided) -> Vec<Answer> {
        let is_candidate = matches!(self.design, Design::WithinRuns(_));
        let tests = decided.differs.into_iter().zip(decided.equivalent);
        family
            .iter()
            .zip(tests)
            .map(|(&contrast, (differs, equivalent))| {
                let is_longer = contrast.is_some_and(|contrast| contrast.ln_ratio > 0.0);
                let verdict = match (differs, is_longer, is_candidate) {
                    (true, true, false) => Verdict::Slower,
                    (true, false, false) => Verdict::Faster,
                    (true, true, true) => Verdict::CandidateSlower,
                    (true, false, true) => Verdict::CandidateFaster,
                    (false, _, false) if equivalent => Verdict::Same,
                    (false, ..) => Verdict::Undecided,
                };
                Answer { contrast, verdict }
            })
            .collect()
    }
}

impl Decided {
    /// Takes back what is as common among other divisions of the runs.
    fn confirm(
        &mut self,
        others: &[Contrasts],
        of: fn(&Contrasts) -> &[Option<Contrast>],
        design: Design<'_>,
        rate: f64,
    ) {
        // pairs of a history are judged by fewer runs than the observed one, and would seem less sure
        let has_fewer_runs = matches!(design, Design::History(_));
        let p = |(contrast, observed_df): (&Option<Contrast>, &f64)| {
            let contrast = contrast.as_ref()?;
            let df = if has_fewer_runs { *observed_df } else { contrast.df };
            Some(Contrast { df, ..*contrast }.p_different())
        };
        let worth = worth(design, others.len());
        let p = |others: &Contrasts| -> Vec<Option<f64>> {
            of(others).iter().zip(&self.df).map(p).collect()
        };
        let others: Vec<_> = others.par_iter().map(p).collect();
        self.differs = confirmed(&self.differs, &self.p_different, &others, worth, rate);
    }
}

/// A contrast; `None` where its error is not known at all.
fn usable(ln_ratio: f64, variance: f64, df: f64) -> Option<Contrast> {
    let se = variance.sqrt();
    let is_usable = ln_ratio.is_finite() && se.is_finite() && se > 0.0 && df > 0.0;
    is_usable.then_some(Contrast { ln_ratio, se, df })
}

/// Sum of squared deviations from the mean, and its degrees of freedom.
fn squares(values: &[f64]) -> (f64, f64) {
    let Some(mean) = mean(values.iter().copied()) else { return (0.0, 0.0) };
    (values.iter().map(|v| (v - mean) * (v - mean)).sum(), (values.len() - 1) as f64)
}

fn total(sums: impl IntoIterator<Item = (f64, f64)>) -> (f64, f64) {
    sums.into_iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
}
