//! The variance of runs as tables: what it says is computed elsewhere.

use alpha_flops::units::Nanoseconds;

use super::components::Component;
use super::flag::FlagKind;
use super::interval::{LEAST_EFFECTIVE, LEAST_LAUNCHES};
use super::{ConfigurationVariance, Variance};
use crate::table::{Column, Table, rounded, wrapped};

/// Configurations in the table of the worst.
const WORST: usize = 10;

impl Variance {
    /// For people: experiments, the worst configurations and, of several runs, components.
    pub fn summary(&self) -> String {
        let warning = self.provenance.warning().map(|warning| wrapped("", &format!("{warning}.")));
        let tables = [Some(self.spread_table()), Some(self.flags_table())];
        let tables = tables.into_iter().flatten().map(|table| table.to_text());
        let components = self.components_table().map(|table| table.to_text());
        let parts = warning.into_iter().chain(tables).chain([self.worst_lines()]).chain(components);
        parts.collect::<Vec<_>>().join("\n")
    }

    /// Spread by experiment.
    fn spread_table(&self) -> Table {
        let runs = match self.runs.len() {
            1 => String::new(),
            runs => format!(" of {runs} runs"),
        };
        let mut table = Table::new(
            format!("How launches vary: spread over the configurations{runs}"),
            [
                Column::text("experiment", "experiment"),
                Column::number("configurations", "n", ""),
                Column::number("iqr_percent_median", "IQR/median", "%"),
                Column::number("iqr_percent_p95", "95th percentile", "%"),
                Column::number("effective_percent_median", "effective", "%"),
            ],
        );
        for of in &self.experiments {
            table.push([
                of.experiment.clone(),
                of.configurations.to_string(),
                rounded(of.iqr_percent_median, 3),
                rounded(of.iqr_percent_p95, 3),
                format!("{:.0}", of.effective_percent_median),
            ]);
        }
        table.set_provenance(&self.provenance);
        let not_measured: usize = self.runs.iter().map(|run| run.not_measured).sum();
        if not_measured > 0 {
            table.note(format!("not measured, because skipped or failed: {not_measured}"));
        }
        table.note("effective: how many independent launches 100 are worth (median)");
        table
    }

    /// Flags by experiment.
    fn flags_table(&self) -> Table {
        let flags = FlagKind::ALL.map(|kind| Column::number(kind.key(), kind.title(), ""));
        let experiment = Column::text("experiment", "experiment");
        let mut table =
            Table::new("Configurations with a flag", std::iter::once(experiment).chain(flags));
        for of in &self.experiments {
            let flagged = of.flagged.iter().map(|(_, n)| n.to_string());
            table.push(std::iter::once(of.experiment.clone()).chain(flagged));
        }
        table.note(format!(
            "doubtful: launches may count as fewer than {LEAST_EFFECTIVE} independent ones"
        ));
        table.note(format!(
            "too few: under {LEAST_LAUNCHES} launches, which do not show whether they depend on each other"
        ));
        table
    }

    /// Those with the largest IQR/median, with what is to be said of them.
    fn worst_lines(&self) -> String {
        let mut text = "The configurations with the largest IQR/median\n\n".to_owned();
        for (run, of) in self.by_spread().into_iter().take(WORST) {
            let interval = of
                .interval_percent
                .map_or_else(String::new, |percent| format!(" ±{}%", rounded(percent, 3)));
            let run = if self.runs.len() > 1 { format!(", run {run}") } else { String::new() };
            text += &wrapped(
                "",
                &format!(
                    "{}: IQR {}% of {}{interval}, launches: {}{run}",
                    of.id,
                    rounded(of.iqr_percent, 3),
                    Nanoseconds(of.median_ns),
                    of.launches
                ),
            );
            for flag in &of.flags {
                text += &wrapped("  - ", &flag.text);
            }
        }
        text
    }

    /// Run and variance of every configuration, the largest IQR/median first.
    fn by_spread(&self) -> Vec<(&str, &ConfigurationVariance)> {
        let of_run = |run: &'_ super::RunVariance| run.configurations.len();
        let mut all = Vec::with_capacity(self.runs.iter().map(of_run).sum());
        for run in &self.runs {
            all.extend(run.configurations.iter().map(|of| (run.run.as_str(), of)));
        }
        all.sort_by(|a, b| b.1.iqr_percent.total_cmp(&a.1.iqr_percent));
        all
    }

    /// `None` of one run.
    fn components_table(&self) -> Option<Table> {
        let note = self.components_note.as_ref()?;
        let columns = [
            Column::text("experiment", "experiment"),
            Column::number("configurations", "n", ""),
            Column::number("orders", "orders", "%"),
            Column::number("runs", "runs of an order", "%"),
            Column::number("orders_and_runs", "both", "%"),
            Column::number("within", "within runs", "%"),
        ];
        let mut table = Table::new(
            "What medians differ by: standard deviations between … and within runs",
            columns,
        );
        for of in &self.components {
            let c = &of.components;
            table.push([
                of.experiment.clone(),
                c.configurations.to_string(),
                cell(c.orders),
                cell(c.runs),
                cell(c.orders_and_runs),
                cell(Some(c.within)),
            ]);
        }
        table.note(note.as_str());
        let truncated = |c: Option<Component>| c.is_some_and(|c| c.truncated);
        let all = self.components.iter().map(|of| of.components);
        if all
            .into_iter()
            .any(|c| [c.orders, c.runs, c.orders_and_runs].map(truncated).contains(&true))
        {
            table
                .note("<0: the estimate is negative and 0 in its place: no more than chance makes");
        }
        Some(table)
    }

    /// One row a configuration and run.
    pub fn csv_table(&self) -> Table {
        let text = |key: &str| Column::text(key, key);
        let number = |key: &str| Column::number(key, key, "");
        let columns = ["run", "experiment", "series", "id"].map(text);
        let numbers = NUMBERS.map(|(key, _)| number(key));
        let texts = ["interval_doubt", "flags"].map(text);
        let mut table = Table::new("Variance", columns.into_iter().chain(numbers).chain(texts));
        for run in &self.runs {
            for of in &run.configurations {
                let names =
                    [run.run.clone(), of.experiment.to_string(), of.series.clone(), of.id.clone()];
                let numbers = NUMBERS.map(|(_, value)| {
                    value(of).map_or_else(String::new, |value| value.to_string())
                });
                let doubt = match of.interval {
                    Some(interval) => interval.doubt.map_or("", |doubt| doubt.key()),
                    None => "no_interval",
                };
                let flags: Vec<&str> = of.flags.iter().map(|flag| flag.text.as_str()).collect();
                let texts = [doubt.to_owned(), flags.join("; ")];
                table.push(names.into_iter().chain(numbers).chain(texts));
            }
        }
        table.set_provenance(&self.provenance);
        table
    }
}

/// A standard deviation; `<0` where it was cut off at 0.
fn cell(component: Option<Component>) -> String {
    match component {
        None => "—".to_owned(),
        Some(component) if component.truncated => "<0".to_owned(),
        Some(component) => rounded(component.sd_percent, 3),
    }
}

type Number = (&'static str, fn(&ConfigurationVariance) -> Option<f64>);

/// The columns of the CSV with numbers; empty where there is none.
const NUMBERS: [Number; 36] = [
    ("x", |of| Some(f64::from(of.x))),
    ("launches", |of| Some(of.launches as f64)),
    ("median_ns", |of| Some(of.median_ns)),
    ("interval_low_ns", |of| Some(of.interval?.low_ns)),
    ("interval_high_ns", |of| Some(of.interval?.high_ns)),
    ("interval_percent", |of| of.interval_percent),
    ("log_median_error", |of| of.log_median_error),
    ("q1_ns", |of| Some(of.q1_ns)),
    ("q3_ns", |of| Some(of.q3_ns)),
    ("iqr_percent", |of| Some(of.iqr_percent)),
    ("mad_ns", |of| Some(of.mad_ns)),
    ("outliers_low_severe", |of| Some(of.outliers.low_severe as f64)),
    ("outliers_low_mild", |of| Some(of.outliers.low_mild as f64)),
    ("outliers_high_mild", |of| Some(of.outliers.high_mild as f64)),
    ("outliers_high_severe", |of| Some(of.outliers.high_severe as f64)),
    ("autocorrelation", |of| of.autocorrelation),
    ("sides_autocorrelation", |of| of.sides_autocorrelation),
    ("integrated_time_launches", |of| Some(of.integrated_time_launches)),
    ("longest_time_launches", |of| Some(of.longest_time_launches)),
    ("effective_launches", |of| Some(of.effective_launches)),
    ("trend_percent", |of| Some(of.drift?.trend_percent)),
    ("quarters_percent", |of| Some(of.drift?.quarters_percent)),
    ("trend_p_value", |of| of.drift?.p_value),
    ("dip", |of| Some(of.modes?.dip)),
    ("critical_dip", |of| Some(of.modes?.critical_dip)),
    ("lower_mode_ns", |of| Some(of.modes?.split?.lower.at_ns)),
    ("lower_mode_percent", |of| Some(of.modes?.split?.lower.share_percent)),
    ("upper_mode_ns", |of| Some(of.modes?.split?.upper.at_ns)),
    ("upper_mode_percent", |of| Some(of.modes?.split?.upper.share_percent)),
    ("warm_up_launches", |of| Some(of.warm_up.launches as f64)),
    ("warm_up_was_steady", |of| Some(f64::from(u8::from(of.warm_up.was_steady)))),
    ("first_launches_percent", |of| Some(of.warm_up.first?.percent)),
    ("timer_step_ns", |of| Some(of.timer_step_ns)),
    ("timer_step_percent", |of| Some(of.timer_step_percent)),
    ("launches_for_half_percent", |of| of.launches_for_half_percent.map(|n| n as f64)),
    ("launches_for_one_percent", |of| of.launches_for_one_percent.map(|n| n as f64)),
];
