//! A self-test in tables. Nothing is computed here.

use super::measured::{Judged, SelfTest};
use super::{Power, Scenario};
use crate::dataset::Provenance;
use crate::table::{Column, Table};

impl Scenario {
    /// In a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scattered => "one in fifty",
            Self::Series => "a whole series",
            Self::Step => "half of a series",
        }
    }
}

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
        let mut table = power_by_row(&self.judges);
        table.set_provenance(&self.provenance);
        table.to_csv()
    }

    fn tables(&self) -> [Table; 2] {
        let n = self.runs.len();
        let mut alarms = false_alarms(&self.judges);
        alarms.note(format!(
            "{n} runs of {} configurations; comparisons share runs, and each is confirmed by the others: \
             changes with time are not in it",
            self.configurations
        ));
        let mut power = power(&self.judges, &self.provenance);
        power.note(format!(
            "asked for: at most {} wrong in expectation",
            percent(self.false_discovery_rate)
        ));
        [alarms, power]
    }
}

/// False alarms of each way to decide.
pub fn false_alarms(judges: &[Judged]) -> Table {
    let mut table = Table::new(
        "False alarms: runs compared between which nothing changed",
        [
            Column::text("judge", "decided by"),
            Column::number("comparisons", "comparisons", ""),
            Column::number("with_any", "with any alarm", ""),
            Column::number("configurations_mean", "false configurations", "mean"),
            Column::number("configurations_percent", "of all", "%"),
        ],
    );
    for Judged { judge, false_alarms, .. } in judges {
        table.push([
            judge.clone(),
            false_alarms.comparisons.to_string(),
            false_alarms.with_any.to_string(),
            format!("{:.1}", false_alarms.configurations_mean),
            format!("{:.2}", 100.0 * false_alarms.configurations_share),
        ]);
    }
    table
}

/// What each way to decide finds, side by side.
pub fn power(judges: &[Judged], provenance: &Provenance) -> Table {
    let mut columns = vec![Column::text("scenario", "slowed"), Column::number("by", "by", "")];
    for (number, judged) in (1..).zip(judges) {
        columns.push(Column::number(&format!("found_{number}"), &format!("[{number}] found"), ""));
        if judged.has_groups() {
            columns.push(Column::number(&format!("series_{number}"), "series", ""));
        }
        columns.push(Column::number(&format!("wrong_{number}"), "wrong", ""));
    }
    let mut table = Table::new(
        "Power: percent of slowed configurations, and of series, called slower",
        columns,
    );
    let rows = judges.first().map_or(0, |judged| judged.power.len());
    for row in 0..rows {
        let mut cells = Vec::new();
        for judged in judges {
            let Power { scenario, slowdown, found, group_found, wrong, .. } = &judged.power[row];
            if cells.is_empty() {
                cells = vec![scenario.name().to_owned(), percent(*slowdown)];
            }
            cells.push(format!("{:.0}", 100.0 * found));
            if judged.has_groups() {
                cells.push(
                    group_found.map_or("–".to_owned(), |share| format!("{:.0}", 100.0 * share)),
                );
            }
            cells.push(format!("{:.0}", 100.0 * wrong));
        }
        table.push(cells);
    }
    table.set_provenance(provenance);
    for (index, judged) in judges.iter().enumerate() {
        table.note(format!("[{}] {}", index + 1, judged.judge));
    }
    table.note(
        "wrong: percent of all that is called slower or faster, false alarms elsewhere included",
    );
    table
}

fn power_by_row(judges: &[Judged]) -> Table {
    let mut table = Table::new(
        "Power",
        [
            Column::text("judge", "decided by"),
            Column::text("scenario", "slowed"),
            Column::number("slowdown", "by", ""),
            Column::number("comparisons", "comparisons", ""),
            Column::number("found", "found", ""),
            Column::number("series_found", "series found", ""),
            Column::number("wrong", "wrong", ""),
        ],
    );
    for Judged { judge, power, .. } in judges {
        for power in power {
            table.push([
                judge.clone(),
                power.scenario.name().to_owned(),
                power.slowdown.to_string(),
                power.comparisons.to_string(),
                power.found.to_string(),
                power.group_found.map(|share| share.to_string()).unwrap_or_default(),
                power.wrong.to_string(),
            ]);
        }
    }
    table
}

fn percent(part: f64) -> String {
    format!("{}%", crate::table::rounded(100.0 * part, 3))
}
