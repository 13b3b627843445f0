//! Whether anything got slower and still is, for a script that has to decide: by the levels that a history has
//! found, and no surer than they are.

use std::fmt;

use alpha_flops::choice::choices;
use jiff::Timestamp;
use serde::Serialize;

use super::tables::{date, list};
use super::{History, OutlierRun, Step, Steps, Timeline, Trend};
use crate::compare::tables::percent_of;
use crate::table::{Digits, Table};

choices! {
    /// What a check finds of a trend.
    pub enum Finding {
        /// The last level is slower than the fastest before it, and the whole interval is beyond the threshold.
        Slower = "slower",
        /// It is slower by more than the threshold, but its interval reaches below; or the last run is an outlier
        /// run, which may be the first of a slower level.
        Undecided = "undecided",
        /// Neither: smaller steps than the least that is found may be there.
        NotFound = "none found",
        /// There are too few runs to look for levels.
        NotChecked = "not checked",
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A history checked for what got slower.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The largest slowdown that does not matter: 0.02.
    pub threshold: f64,
    /// By timeline and experiment.
    pub trends: Vec<CheckedTrend>,
}

/// What became of an experiment in a timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "fields whose names say what they are have no docs")]
pub struct CheckedTrend {
    pub protocol: String,
    pub experiment: String,
    pub finding: Finding,
    /// First run after the fastest level; where the last run is an outlier run, that run.
    pub run: Option<usize>,
    pub started: Option<Timestamp>,
    /// The last level, or the outlier run, against the fastest level before it.
    pub ratio: Option<f64>,
    /// 95% interval of a level's ratio, which allows for the fastest having been chosen.
    pub interval: Option<(f64, f64)>,
    /// The least step, in percent, that would be found.
    pub least_percent: Option<f64>,
    /// What changed then, or why it is not checked or undecided.
    pub reason: Option<String>,
}

impl History {
    /// Looks for levels that are slower than the fastest before them by more than a threshold.
    pub fn check(&self, threshold: f64) -> Check {
        let of_timeline = |timeline: &Timeline| {
            let trends = timeline.trends.iter();
            trends.map(|trend| checked(trend, timeline, threshold)).collect::<Vec<_>>()
        };
        Check { threshold, trends: self.timelines.iter().flat_map(of_timeline).collect() }
    }
}

fn checked(trend: &Trend, timeline: &Timeline, threshold: f64) -> CheckedTrend {
    let nothing = CheckedTrend {
        protocol: timeline.provenance.protocol.clone(),
        experiment: trend.experiment.clone(),
        finding: Finding::NotFound,
        run: None,
        started: None,
        ratio: None,
        interval: None,
        least_percent: None,
        reason: None,
    };
    let (outliers, level, least_percent) = match &trend.steps {
        Steps::TooFew { reason } => {
            let reason = Some(reason.clone());
            return CheckedTrend { finding: Finding::NotChecked, reason, ..nothing };
        }
        Steps::Searched { outliers, from_fastest, least_percent, .. } => {
            (outliers, from_fastest, least_percent.is_finite().then_some(*least_percent))
        }
    };
    let nothing = CheckedTrend { least_percent, ..nothing };
    let limit = 1.0 + threshold;
    if let Some(Step { run, started, ratio, interval, changes, .. }) = level
        && *ratio > limit
    {
        let is_sure = interval.is_some_and(|(low, _)| low > limit);
        let changed = match changes.is_empty() {
            true => "nothing that was recorded changed then".to_owned(),
            false => format!("changed since then: {}", list(changes)),
        };
        return CheckedTrend {
            finding: if is_sure { Finding::Slower } else { Finding::Undecided },
            run: Some(*run),
            started: Some(*started),
            ratio: Some(*ratio),
            interval: *interval,
            reason: Some(changed),
            ..nothing
        };
    }
    let last = trend.ratios.iter().rposition(Option::is_some).map(|index| index + 1);
    let outlier = outliers.iter().find(|outlier| Some(outlier.run) == last);
    let ratio =
        |outlier: &OutlierRun| outlier.ratio * level.as_ref().map_or(1.0, |level| level.ratio);
    match outlier.map(|outlier| (outlier, ratio(outlier))).filter(|(_, ratio)| *ratio > limit) {
        None => nothing,
        Some((OutlierRun { run, started, .. }, ratio)) => CheckedTrend {
            finding: Finding::Undecided,
            run: Some(*run),
            started: Some(*started),
            ratio: Some(ratio),
            reason: Some("only the next run tells an outlier run from a new level".to_owned()),
            ..nothing
        },
    }
}

impl Check {
    /// Whether anything is shown to have got slower by more than the threshold, and still to be.
    pub fn has_regression(&self) -> bool {
        self.trends.iter().any(|trend| trend.finding == Finding::Slower)
    }

    /// Whether something has too few runs to be checked.
    pub fn is_incomplete(&self) -> bool {
        self.trends.iter().any(|trend| trend.finding == Finding::NotChecked)
    }

    /// What would not have been found, if that is more than the threshold.
    fn blind_to(&self) -> String {
        let least = self.trends.iter().filter(|trend| trend.finding == Finding::NotFound);
        let least = least.map(|trend| trend.least_percent.unwrap_or(f64::INFINITY));
        match least.fold(0.0, f64::max) {
            least if least <= 100.0 * self.threshold => String::new(),
            f64::INFINITY => "; of some, no step would have been found".to_owned(),
            least => format!("; steps of less than {least:.1}% may not be found"),
        }
    }

    fn named(&self, finding: Finding) -> String {
        let found = self.trends.iter().filter(|trend| trend.finding == finding);
        found.map(|trend| trend.experiment.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// A table of every trend, and what that means in a line.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threshold = percent_of(self.threshold);
        let title = format!("Slower than the fastest level before, by more than {threshold}");
        let mut table = Table::with_rows(title, &self.trends)
            .text("protocol", |trend| &trend.protocol)
            .text("experiment", |trend| &trend.experiment)
            .text("finding", |trend| trend.finding)
            .written("since run", |trend| Some(format!("{}, {}", trend.run?, date(trend.started?))))
            .number("ratio", Digits::Decimals(3), |trend| trend.ratio)
            .written("95% interval", |trend| {
                trend.interval.map(|(low, high)| format!("{low:.3} to {high:.3}"))
            })
            .number("least step found (%)", Digits::Decimals(1), |trend| trend.least_percent)
            .build();
        for CheckedTrend { experiment, finding, reason, .. } in &self.trends {
            if let Some(reason) = reason {
                table.note(format!("{experiment} ({finding}): {reason}"));
            }
        }
        let (slower, unchecked) = (self.named(Finding::Slower), self.named(Finding::NotChecked));
        let conclusion = match (slower.is_empty(), unchecked.is_empty()) {
            (false, _) => format!("slower by more than {threshold}: {slower}"),
            (true, true) => {
                format!("nothing is shown to be slower by more than {threshold}{}", self.blind_to())
            }
            (true, false) => format!(
                "no verdict: too few runs of {unchecked}; nothing else is shown to be slower by more \
                 than {threshold}\nhint: measure more runs, or leave out what has too few with --filter \
                 or --last"
            ),
        };
        write!(f, "{}\n{conclusion}\n", table.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::history;
    use super::*;

    fn check(levels: &[(&'static str, usize, f64)], threshold: f64) -> Check {
        let runs = history(levels, 0.003, 7);
        History::from_archived("a-target", &runs).unwrap().check(threshold)
    }

    fn of_all(check: &Check) -> &CheckedTrend {
        &check.trends[0]
    }

    #[test]
    fn a_slower_level_that_stands_is_a_regression_with_its_run_and_what_changed() {
        let check = check(&[("aaa", 5, 1.0), ("bbb", 5, 1.06)], 0.02);
        let all = of_all(&check);
        assert_eq!((all.finding, all.run), (Finding::Slower, Some(6)));
        assert!((all.ratio.unwrap() / 1.06).ln().abs() < 0.01, "{all:?}");
        assert!(all.interval.unwrap().0 > 1.02, "{all:?}");
        assert_eq!(all.reason.as_deref(), Some("changed since then: commit aaa → bbb"));
        assert!(check.has_regression() && !check.is_incomplete());
        insta::assert_snapshot!(check.to_string());
    }

    #[test]
    fn a_step_within_the_threshold_or_not_surely_beyond_it_is_none_and_so_is_one_that_was_taken_back()
     {
        let runs = history(&[("aaa", 5, 1.0), ("bbb", 5, 1.06)], 0.003, 7);
        let history = History::from_archived("a-target", &runs).unwrap();
        assert!(!history.check(0.10).has_regression());
        let close = history.check(0.059);
        assert_eq!(of_all(&close).finding, Finding::Undecided, "{close}");
        let there_and_back = check(&[("aaa", 5, 1.0), ("bbb", 4, 1.3), ("ccc", 4, 1.0)], 0.02);
        assert!(!there_and_back.has_regression(), "{there_and_back}");
        assert_eq!(of_all(&there_and_back).finding, Finding::NotFound);
    }

    #[test]
    fn the_fastest_level_counts_and_small_steps_add_up() {
        let faster_then_slower = check(&[("a", 4, 1.3), ("b", 4, 1.0), ("c", 4, 1.1)], 0.02);
        let all = of_all(&faster_then_slower);
        assert_eq!((all.finding, all.run), (Finding::Slower, Some(9)));
        let creeping = check(&[("a", 4, 1.0), ("b", 4, 1.04), ("c", 4, 1.08)], 0.05);
        let all = of_all(&creeping);
        assert_eq!((all.finding, all.run), (Finding::Slower, Some(5)), "{creeping}");
    }

    #[test]
    fn a_slow_last_run_is_undecided_and_one_before_it_is_nothing() {
        let last = check(&[("aaa", 8, 1.0), ("aaa", 1, 1.3)], 0.02);
        let all = of_all(&last);
        assert_eq!((all.finding, all.run), (Finding::Undecided, Some(9)));
        assert!((all.ratio.unwrap() / 1.3).ln().abs() < 0.02 && all.interval.is_none());
        assert!(!last.has_regression());
        let earlier = check(&[("aaa", 5, 1.0), ("aaa", 1, 1.3), ("aaa", 4, 1.0)], 0.02);
        assert_eq!(of_all(&earlier).finding, Finding::NotFound);
    }

    #[test]
    fn too_few_runs_give_no_verdict() {
        let few = check(&[("aaa", 2, 1.0), ("bbb", 1, 2.0)], 0.02);
        assert!(few.is_incomplete() && !few.has_regression());
        assert!(few.to_string().contains("no verdict: too few runs of all"), "{few}");
    }
}
