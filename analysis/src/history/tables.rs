//! A history as tables.

use std::fmt::Display;

use jiff::Timestamp;

use super::{History, HistoryRun, Ratio, Step, Steps, Timeline, Trend};
use crate::table::{Column, Table};

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
    fn table(&self, title: String, columns: impl IntoIterator<Item = Column>) -> Table {
        let mut table = Table::new(title, columns);
        table.set_provenance(&self.provenance);
        if let Some(warning) = self.provenance.warning() {
            table.note(warning);
        }
        table
    }

    fn runs_table(&self, target: &str) -> Table {
        let mut table = self.table(
            format!("History of {target}, {}: runs", self.provenance.protocol),
            [
                Column::number("run", "run", ""),
                Column::text("run_id", "id"),
                Column::text("commit", "commit"),
                Column::number("environment", "environment", ""),
                Column::number("configurations", "configurations", ""),
            ],
        );
        for run in &self.runs {
            table.push([
                run.number.to_string(),
                run.run_id.clone(),
                run.commit.clone(),
                run.environment.to_string(),
                run.configurations.to_string(),
            ]);
        }
        table.note("runs in one environment have equal devices, drivers, compilers and sources");
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
        let run = [Column::number("run", "run", ""), Column::text("date", "date")];
        let experiments = self
            .trends
            .iter()
            .map(|trend| Column::number(&trend.experiment, &trend.experiment, ""));
        let mut table = self.table(
            "Latency against the first run: geometric mean of ratios of medians".to_owned(),
            run.into_iter().chain(experiments),
        );
        for (index, HistoryRun { number, started, .. }) in self.runs.iter().enumerate() {
            let ratios = self.trends.iter().map(|trend| match &trend.ratios[index] {
                Some(ratio) => format!("{:.3}", ratio.ratio),
                None => "–".to_owned(),
            });
            let run = [number.to_string(), date(*started)];
            table.push(run.into_iter().chain(ratios));
        }
        table.note("over the configurations that both runs have; above 1 is slower");
        table
    }

    fn steps_table(&self) -> Table {
        let mut table = self.table(
            "Steps in those series".to_owned(),
            [
                Column::text("experiment", "experiment"),
                Column::number("configurations", "configurations", ""),
                Column::number("run_to_run_sd_percent", "run-to-run sd", "%"),
                Column::number("least_step_percent", "least step found", "%"),
                Column::text("steps", "steps"),
            ],
        );
        let mut reasons: Vec<String> = Vec::new();
        for trend in &self.trends {
            let (least, steps) = match &trend.steps {
                Steps::TooFew { reason } => {
                    if !reasons.contains(reason) {
                        reasons.push(reason.clone());
                    }
                    ("–".to_owned(), "too few runs".to_owned())
                }
                Steps::Searched { found, least_percent } => {
                    let found: Vec<String> = found.iter().map(step_text).collect();
                    let none = "none".to_owned();
                    let steps = if found.is_empty() { none } else { found.join("; ") };
                    (format!("{least_percent:.1}"), steps)
                }
            };
            let sd = trend.noise.map_or("–".to_owned(), |n| format!("{:.2}", 100.0 * n.sd));
            let [least_n, most_n] = configurations(trend);
            let n = match least_n == most_n {
                true => most_n.to_string(),
                false => format!("{least_n} to {most_n}"),
            };
            table.push([trend.experiment.clone(), n, sd, least, steps]);
        }
        for reason in reasons {
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
                true => "nothing that is recorded".to_owned(),
                false => list(changes),
            };
            table.note(format!("at run {run}, {}, changed: {changed}", date(*started)));
        }
        if self.trends.iter().any(|trend| matches!(trend.steps, Steps::Searched { .. })) {
            table.note(
                "steps by optimal partitioning (Jackson et al. 2005); the penalty lets 5% of \
                 histories without any pass, for independent runs; intervals are of 95%",
            );
        }
    }

    /// A row for each run and experiment.
    fn long_table(&self) -> Table {
        let mut table = self.table(
            "History".to_owned(),
            [
                Column::number("run", "run", ""),
                Column::text("run_id", "id"),
                Column::text("started", "started"),
                Column::text("commit", "commit"),
                Column::number("environment", "environment", ""),
                Column::text("experiment", "experiment"),
                Column::number("configurations", "configurations", ""),
                Column::number("ratio", "ratio", ""),
                Column::number("ratio_low", "low", ""),
                Column::number("ratio_high", "high", ""),
                Column::number("step_ratio", "step", ""),
            ],
        );
        for trend in &self.trends {
            for (run, ratio) in self.runs.iter().zip(&trend.ratios) {
                let Some(Ratio { ratio, interval, configurations }) = ratio else { continue };
                let or_empty =
                    |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
                table.push([
                    run.number.to_string(),
                    run.run_id.clone(),
                    run.started.to_string(),
                    run.commit.clone(),
                    run.environment.to_string(),
                    trend.experiment.clone(),
                    configurations.to_string(),
                    ratio.to_string(),
                    or_empty(interval.map(|(low, _)| low)),
                    or_empty(interval.map(|(_, high)| high)),
                    or_empty(trend.step_at(run.number).map(|step| step.ratio)),
                ]);
            }
        }
        table
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

/// Fewest and most of any run.
fn configurations(trend: &Trend) -> [usize; 2] {
    let counts = || trend.ratios.iter().flatten().map(|ratio| ratio.configurations);
    [counts().min().unwrap_or(0), counts().max().unwrap_or(0)]
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
