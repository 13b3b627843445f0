//! A history as tables.

use std::fmt::Display;

use jiff::Timestamp;

use super::{History, HistoryRun, Ratio, Step, Steps, Timeline, Trend};
use crate::in_order::distinct;
use crate::table::{Columns, Digits, Table};

impl History {
    /// Tables of every timeline, each with what it was measured by.
    pub fn to_text(&self) -> String {
        let tables = self.timelines.iter().flat_map(|timeline| timeline.tables(&self.target));
        tables.map(|table| table.to_text()).collect::<Vec<_>>().join("\n")
    }

    /// A row for each run and experiment, over all timelines.
    pub fn to_csv(&self) -> String {
        let tables = self.timelines.iter().map(|timeline| timeline.long_table().to_csv());
        let mut text = String::new();
        for (index, csv) in tables.enumerate() {
            // one header is enough: the columns are the same
            let rows = csv.split_once('\n').map_or("", |(_, rows)| rows);
            text += if index == 0 { &csv } else { rows };
        }
        text
    }
}

impl Timeline {
    /// Runs, latencies against the first run, and steps.
    pub fn tables(&self, target: &str) -> [Table; 3] {
        [self.runs_table(target), self.ratios_table(), self.steps_table()]
    }

    /// A table that says where its numbers come from, and first of all if they are none.
    fn finished<R>(&self, columns: Columns<'_, R>) -> Table {
        let mut table = columns.build().with_provenance(&self.provenance);
        if let Some(warning) = self.provenance.warning() {
            table.note(warning);
        }
        table
    }

    fn runs_table(&self, target: &str) -> Table {
        let title = format!("History of {target}, {}: runs", self.provenance.protocol);
        let mut table = self.finished(
            Table::with_rows(title, &self.runs)
                .count("run", |run| run.number)
                .text("id", |run| &run.run_id)
                .text("commit", |run| &run.commit)
                .count("environment", |run| run.environment)
                .count("configurations", |run| run.configurations),
        );
        table.note(
            "runs with the same environment number have the same device, driver, compiler \
                    and commit",
        );
        for run in &self.runs {
            if !run.changes.is_empty() {
                table.note(format!("changed before run {}: {}", run.number, list(&run.changes)));
            }
            if !run.remarks.is_empty() {
                table.note(format!("run {}: {}", run.number, list(&run.remarks)));
            }
        }
        table
    }

    fn ratios_table(&self) -> Table {
        let title = "Latency against the first run: geometric mean of ratios of medians";
        let mut columns = Table::with_rows(title, &self.runs)
            .count("run", |run| run.number)
            .text("date", |run| date(run.started));
        for trend in &self.trends {
            columns = columns.number(trend.experiment.as_str(), Digits::Decimals(3), |run| {
                Some(trend.ratios[run.number - 1]?.ratio)
            });
        }
        let mut table = self.finished(columns);
        table.note("over the configurations that both runs measured; above 1 is slower");
        table
    }

    fn steps_table(&self) -> Table {
        let mut table = self.finished(
            Table::with_rows("Steps in those series", &self.trends)
                .text("experiment", |trend| &trend.experiment)
                .written("configurations", configurations)
                .number("run-to-run sd (%)", Digits::Decimals(2), |trend| {
                    Some(100.0 * trend.noise?.sd)
                })
                .number("least step found (%)", Digits::Decimals(1), |trend| match trend.steps {
                    Steps::Searched { least_percent, .. } => Some(least_percent),
                    Steps::TooFew { .. } => None,
                })
                .text("steps", |trend| match &trend.steps {
                    Steps::TooFew { .. } => "too few runs".to_owned(),
                    Steps::Searched { found, .. } if found.is_empty() => "none".to_owned(),
                    Steps::Searched { found, .. } => {
                        found.iter().map(step_text).collect::<Vec<_>>().join("; ")
                    }
                }),
        );
        let reasons = self.trends.iter().filter_map(|trend| match &trend.steps {
            Steps::TooFew { reason } => Some(reason.as_str()),
            Steps::Searched { .. } => None,
        });
        for reason in distinct(reasons) {
            table.note(format!("no steps were looked for: {reason}"));
        }
        self.note_steps(&mut table);
        table
    }

    /// How steps are found, and what changed at each.
    fn note_steps(&self, table: &mut Table) {
        let all = self.trends.iter().filter_map(|trend| match &trend.steps {
            Steps::Searched { found, .. } => Some(found),
            Steps::TooFew { .. } => None,
        });
        let mut steps: Vec<&Step> = all.flatten().collect();
        steps.sort_by_key(|step| step.run);
        steps.dedup_by_key(|step| step.run);
        for Step { run, started, changes, .. } in steps {
            let changed = match changes.is_empty() {
                true => "nothing that was recorded".to_owned(),
                false => list(changes),
            };
            table.note(format!("at run {run}, {}, changed: {changed}", date(*started)));
        }
        if self.trends.iter().any(|trend| matches!(trend.steps, Steps::Searched { .. })) {
            table.note(
                "steps by optimal partitioning (Jackson et al. 2005); with independent runs, 5% of \
                 histories without a step show one; intervals are 95%",
            );
        }
    }

    /// A row for each run and experiment.
    fn long_table(&self) -> Table {
        let rows: Vec<(&HistoryRun, &Trend, Ratio)> = self
            .trends
            .iter()
            .flat_map(|trend| {
                let runs = self.runs.iter().zip(&trend.ratios);
                runs.filter_map(move |(run, ratio)| Some((run, trend, (*ratio)?)))
            })
            .collect();
        self.finished(
            Table::with_rows("History", &rows)
                .count("run", |(run, ..)| run.number)
                .text("run_id", |(run, ..)| &run.run_id)
                .text("started", |(run, ..)| run.started)
                .text("commit", |(run, ..)| &run.commit)
                .count("environment", |(run, ..)| run.environment)
                .text("experiment", |(_, trend, _)| &trend.experiment)
                .count("configurations", |(.., ratio)| ratio.configurations)
                .number("ratio", Digits::Exact, |(.., ratio)| ratio.ratio)
                .number("ratio_low", Digits::Exact, |(.., ratio)| Some(ratio.interval?.0))
                .number("ratio_high", Digits::Exact, |(.., ratio)| Some(ratio.interval?.1))
                .number("step_ratio", Digits::Exact, |(run, trend, _)| {
                    Some(trend.step_at(run.number)?.ratio)
                }),
        )
    }
}

impl Trend {
    /// The step whose first run has that number.
    pub fn step_at(&self, run: usize) -> Option<&Step> {
        match &self.steps {
            Steps::Searched { found, .. } => found.iter().find(|step| step.run == run),
            Steps::TooFew { .. } => None,
        }
    }
}

/// Of its runs: `591`, or `27 to 591`.
fn configurations(trend: &Trend) -> String {
    let counts = || trend.ratios.iter().flatten().map(|ratio| ratio.configurations);
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    if least == most { most.to_string() } else { format!("{least} to {most}") }
}

/// `run 6: ×1.052 (1.041 to 1.063)`.
fn step_text(step: &Step) -> String {
    let interval = step.interval.map(|(low, high)| format!(" ({low:.3} to {high:.3})"));
    format!("run {}: ×{:.3}{}", step.run, step.ratio, interval.unwrap_or_default())
}

/// `2026-01-31`.
pub(crate) fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn list(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
