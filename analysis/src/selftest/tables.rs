//! A self-test in tables. Nothing is computed here.

use super::measured::{Judged, SelfTest};
use super::{FalseAlarms, Power};
use crate::dataset::Provenance;
use crate::table::{Digits, Table};

/// Percents in the table of what is found.
const WHOLE: Digits = Digits::Decimals(0);

impl Judged {
    fn has_groups(&self) -> bool {
        self.power.iter().any(|power| power.group_found.is_some())
    }
}

impl SelfTest {
    /// Both tables as text.
    pub fn summary(&self) -> String {
        let [alarms, power] = self.tables();
        format!("{}{}\n{}", self.warning(), alarms.to_text(), power.to_text())
    }

    /// Both tables as Markdown.
    pub fn to_markdown(&self) -> String {
        let [alarms, power] = self.tables();
        format!("{}{}\n{}", self.warning(), alarms.to_markdown(), power.to_markdown())
    }

    /// Where nothing was measured, that.
    fn warning(&self) -> String {
        self.provenance.warning().map_or_else(String::new, |warning| format!("{warning}.\n\n"))
    }

    /// The power as CSV, one row a way to decide, scenario and slowdown.
    pub fn to_csv(&self) -> String {
        power_by_row(&self.judges).with_provenance(&self.provenance).to_csv()
    }

    fn tables(&self) -> [Table; 2] {
        let n = self.runs.len();
        let mut alarms = false_alarms(&self.judges);
        alarms.note(format!(
            "{n} runs of {} configurations; comparisons share runs, so that standard errors are \
             larger than shown; each is confirmed by the others",
            self.configurations
        ));
        let mut power = power(&self.judges, &self.provenance);
        power.note(format!(
            "requested: expected share of false discoveries at most {}",
            percent(self.false_discovery_rate)
        ));
        [alarms, power]
    }
}

/// False alarms of each way to decide.
pub fn false_alarms(judges: &[Judged]) -> Table {
    Table::with_rows("False alarms: comparisons of runs between which nothing changed", judges)
        .text("decided by", |judged| &judged.judge)
        .count("comparisons", |judged| judged.false_alarms.comparisons)
        .count("with any alarm", |judged| judged.false_alarms.with_any)
        .written("of them (%)", |judged| {
            let FalseAlarms { comparisons, with_any, share_error, .. } = judged.false_alarms;
            let share = 100.0 * with_any as f64 / comparisons.max(1) as f64;
            format!("{share:.1} ± {:.1}", 100.0 * share_error)
        })
        .number("false configurations (mean)", Digits::Decimals(1), |judged| {
            judged.false_alarms.configurations_mean
        })
        .number("of all (%)", Digits::Decimals(2), |judged| {
            100.0 * judged.false_alarms.configurations_share
        })
        .build()
}

/// What each way to decide finds, side by side.
pub fn power(judges: &[Judged], provenance: &Provenance) -> Table {
    let judges: Vec<&Judged> = judges.iter().filter(|judged| !judged.power.is_empty()).collect();
    let cases: Vec<usize> = (0..judges.first().map_or(0, |judged| judged.power.len())).collect();
    let of = |judged: &'_ Judged, case: &usize| judged.power[*case].clone();
    let case = |case: &usize| of(judges[0], case);
    let title = "Power: percent of slowed configurations, and of series, called slower";
    let mut columns = Table::with_rows(title, &cases)
        .text("slowed", |at| case(at).scenario.name())
        .written("by", |at| percent(case(at).slowdown));
    for (number, judged) in (1..).zip(judges.iter().copied()) {
        columns =
            columns.number(&*format!("[{number}] found"), WHOLE, |at| 100.0 * of(judged, at).found);
        if judged.has_groups() {
            columns = columns.number("series", WHOLE, |at| {
                of(judged, at).group_found.map(|share| 100.0 * share)
            });
        }
        columns = columns.number("wrong", WHOLE, |at| 100.0 * of(judged, at).wrong);
    }
    let mut table = columns.build().with_provenance(provenance);
    for (index, judged) in judges.iter().enumerate() {
        table.note(format!("[{}] {}", index + 1, judged.judge));
    }
    table.note(
        "wrong: percent of everything called slower or faster, including false alarms elsewhere",
    );
    table
}

fn power_by_row(judges: &[Judged]) -> Table {
    let rows: Vec<(&str, &Power)> = judges
        .iter()
        .flat_map(|judged| judged.power.iter().map(|power| (judged.judge.as_str(), power)))
        .collect();
    Table::with_rows("Power", &rows)
        .text("judge", |(judge, _)| judge)
        .text("scenario", |(_, power)| power.scenario.name())
        .number("slowdown", Digits::Exact, |(_, power)| power.slowdown)
        .count("comparisons", |(_, power)| power.comparisons)
        .number("found", Digits::Exact, |(_, power)| power.found)
        .number("found_error", Digits::Exact, |(_, power)| power.found_error)
        .number("series_found", Digits::Exact, |(_, power)| power.group_found)
        .number("wrong", Digits::Exact, |(_, power)| power.wrong)
        .build()
}

fn percent(part: f64) -> String {
    format!("{}%", crate::table::rounded(100.0 * part, 3))
}
