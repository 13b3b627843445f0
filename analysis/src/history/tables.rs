//! A history as tables.

use std::fmt::Display;

use jiff::Timestamp;

use super::{
    Autocorrelation, History, HistoryRun, OutlierRun, Ratio, Step, Steps, Timeline, Trend,
};
use crate::differences::Difference;
use crate::in_order::distinct;
use crate::table::{Columns, Digits, Table};

impl History {
    /// The target, and what was chosen of it.
    pub fn title(&self) -> String {
        let filter =
            self.filter.iter().map(|filter| format!(", configurations that match {filter}"));
        let older = self.left_out.iter().map(|n| format!(", without the {n} oldest runs"));
        [self.target.clone()].into_iter().chain(filter).chain(older).collect()
    }

    /// Tables of every timeline, each with what it was measured by.
    pub fn to_text(&self) -> String {
        let tables = self.timelines.iter().flat_map(|timeline| timeline.tables(&self.title()));
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
            "runs with the same environment number have the same device, driver, compiler, commit \
             and, where it was probed, state of the machine",
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
        if self.trends.iter().any(|trend| trend.has_part_runs()) {
            table.note(
                "runs that lack configurations continue at the level of those before them, over the \
                 configurations that both have",
            );
        }
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
                    Steps::Searched { least_percent, .. } => {
                        least_percent.is_finite().then_some(least_percent)
                    }
                    Steps::TooFew { .. } => None,
                })
                .number("autocorrelation", Digits::Decimals(2), |trend| {
                    Some(trend.autocorrelation?.estimate)
                })
                .text("steps", |trend| match trend.steps {
                    Steps::TooFew { .. } => "too few runs".to_owned(),
                    Steps::Searched { .. } => {
                        none_or_all(trend.steps().iter().map(|step| step_text(step, trend)))
                    }
                })
                .text("outlier runs", |trend| match trend.steps {
                    Steps::TooFew { .. } => "too few runs".to_owned(),
                    Steps::Searched { .. } => none_or_all(
                        trend.outliers().iter().map(|o| format!("run {}: ×{:.3}", o.run, o.ratio)),
                    ),
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
        let (steps, outliers) = (
            self.trends.iter().flat_map(Trend::steps),
            self.trends.iter().flat_map(Trend::outliers),
        );
        let of_outliers = outliers.map(|outlier| (outlier.run, outlier.started, &outlier.changes));
        let mut events: Vec<(usize, Timestamp, &Vec<Difference>)> =
            steps.map(|step| (step.run, step.started, &step.changes)).chain(of_outliers).collect();
        events.sort_by_key(|(run, ..)| *run);
        events.dedup_by_key(|(run, ..)| *run);
        for (run, started, changes) in events {
            let mut changed = match changes.is_empty() {
                true => "nothing that was recorded".to_owned(),
                false => list(changes),
            };
            // of the first run: since it, in the second
            let unknown = self.runs.get(run.max(2) - 1).map_or(&[][..], |run| &run.unknown);
            if !unknown.is_empty() {
                changed += &format!("; not known: {}", list(unknown));
            }
            let when = if run == 1 { "after" } else { "at" };
            table.note(format!("{when} run {run}, {}, changed: {changed}", date(started)));
        }
        let is_correlated =
            |trend: &&Trend| trend.autocorrelation.is_some_and(|a| a.inflation > 1.0);
        for Trend { experiment, autocorrelation, .. } in self.trends.iter().filter(is_correlated) {
            let Some(Autocorrelation { estimate, inflation }) = autocorrelation else { continue };
            table.note(format!(
                "{experiment}: each run resembles the one before it (autocorrelation {estimate:.2}), so \
                 steps may be drift; variances were multiplied by {inflation:.1} against that, which \
                 does not exclude it"
            ));
        }
        if self.trends.iter().any(|trend| !trend.outliers().is_empty()) {
            table.note(
                "an outlier run is too far from its level for chance, and too short for a level of its \
                 own; whether the last run is one, the next decides",
            );
        }
        if self.trends.iter().any(|trend| matches!(trend.steps, Steps::Searched { .. })) {
            table.note(
                "steps by optimal partitioning with a bounded loss (Fearnhead and Rigaill 2019); with \
                 independent runs, 5% of histories without a step show a step or an outlier run; \
                 intervals are 95%",
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
                })
                .written("step_configurations", |(run, trend, _)| {
                    let step = trend.step_at(run.number);
                    Some(step?.configurations.to_string())
                })
                .text("outlier_run", |(run, trend, _)| trend.outlier_at(run.number).is_some()),
        )
    }
}

impl Trend {
    /// Its steps, oldest first; none where it was not searched.
    pub fn steps(&self) -> &[Step] {
        match &self.steps {
            Steps::Searched { found, .. } => found,
            Steps::TooFew { .. } => &[],
        }
    }

    /// Its outlier runs, oldest first.
    pub fn outliers(&self) -> &[OutlierRun] {
        match &self.steps {
            Steps::Searched { outliers, .. } => outliers,
            Steps::TooFew { .. } => &[],
        }
    }

    /// The step whose first run has that number.
    pub fn step_at(&self, run: usize) -> Option<&Step> {
        self.steps().iter().find(|step| step.run == run)
    }

    /// The outlier run of that number.
    pub fn outlier_at(&self, run: usize) -> Option<&OutlierRun> {
        self.outliers().iter().find(|outlier| outlier.run == run)
    }

    /// The least and the most configurations of its runs.
    fn configurations(&self) -> (usize, usize) {
        let counts = || self.ratios.iter().flatten().map(|ratio| ratio.configurations);
        (counts().min().unwrap_or(0), counts().max().unwrap_or(0))
    }

    fn has_part_runs(&self) -> bool {
        let (least, most) = self.configurations();
        least < most
    }
}

/// Of its runs: `591`, or `27 to 591`.
fn configurations(trend: &Trend) -> String {
    let (least, most) = trend.configurations();
    if least == most { most.to_string() } else { format!("{least} to {most}") }
}

/// `run 6: ×1.052 (1.041 to 1.063)`, and over how many configurations, if that isn't all of the trend's.
fn step_text(step: &Step, trend: &Trend) -> String {
    let interval = step.interval.map(|(low, high)| format!(" ({low:.3} to {high:.3})"));
    let of = match step.configurations == trend.configurations().1 {
        true => String::new(),
        false => format!(" over {} configurations", step.configurations),
    };
    format!("run {}: ×{:.3}{}{of}", step.run, step.ratio, interval.unwrap_or_default())
}

fn none_or_all(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join("; ") }
}

/// `2026-01-31`.
pub(crate) fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

pub(super) fn list(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
