//! The variance of runs as tables: what it says is computed elsewhere.

use alpha_flops::units::Nanoseconds;

use super::components::Component;
use super::flag::FlagKind;
use super::interval::{LEAST_EFFECTIVE, LEAST_LAUNCHES};
use super::{ConfigurationVariance, RunVariance, Variance};
use crate::table::{Digits, Table, rounded, wrapped};

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

    fn spread_table(&self) -> Table {
        let runs = match self.runs.len() {
            1 => String::new(),
            runs => format!(" of {runs} runs"),
        };
        let mut table = Table::with_rows(
            format!("How launches vary: spread over the configurations{runs}"),
            &self.experiments,
        )
        .text("experiment", |of| &of.experiment)
        .count("n", |of| of.configurations)
        .number("IQR/median (%)", Digits::Significant(3), |of| of.iqr_percent_median)
        .number("95th percentile (%)", Digits::Significant(3), |of| of.iqr_percent_p95)
        .number("effective (%)", Digits::Decimals(0), |of| of.effective_percent_median)
        .number("passes (%)", Digits::Significant(3), |of| of.between_pass_percent_median)
        .build()
        .with_provenance(&self.provenance);
        let not_measured: usize = self.runs.iter().map(|run| run.not_measured).sum();
        if not_measured > 0 {
            table.note(format!("not measured, because skipped or failed: {not_measured}"));
        }
        table.note("effective: how many independent launches 100 launches are worth (median)");
        table
    }

    fn flags_table(&self) -> Table {
        let mut columns = Table::with_rows("Configurations with a flag", &self.experiments)
            .text("experiment", |of| &of.experiment);
        for (index, kind) in FlagKind::ALL.into_iter().enumerate() {
            columns = columns.count(kind.name(), |of| of.flagged[index].1);
        }
        let mut table = columns.build();
        table.note(format!(
            "doubtful: the launches may be worth fewer than {LEAST_EFFECTIVE} independent ones"
        ));
        table.note(format!(
            "too few: under {LEAST_LAUNCHES} launches, so dependence between them would not show"
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
        let title = "Variance components of medians: standard deviations between … and within runs";
        let mut table = Table::with_rows(title, &self.components)
            .text("experiment", |of| &of.experiment)
            .count("n", |of| of.components.configurations)
            .written("orders (%)", |of| of.components.orders.map(percent))
            .written("runs of an order (%)", |of| of.components.runs.map(percent))
            .written("both (%)", |of| of.components.orders_and_runs.map(percent))
            .written("within runs (%)", |of| percent(of.components.within))
            .build();
        table.note(note.as_str());
        let truncated = |c: Option<Component>| c.is_some_and(|c| c.truncated);
        let all = self.components.iter().map(|of| of.components);
        if all
            .into_iter()
            .any(|c| [c.orders, c.runs, c.orders_and_runs].map(truncated).contains(&true))
        {
            table
                .note("<0: the estimate is negative and counts as 0: no more than chance explains");
        }
        Some(table)
    }

    /// One row a configuration and run.
    pub fn csv_table(&self) -> Table {
        let rows: Vec<(&RunVariance, &ConfigurationVariance)> = self
            .runs
            .iter()
            .flat_map(|run| run.configurations.iter().map(move |of| (run, of)))
            .collect();
        let mut columns = Table::with_rows("Variance", &rows)
            .text("run", |(run, _)| &run.run)
            .text("experiment", |(_, of)| of.experiment)
            .text("series", |(_, of)| &of.series)
            .text("id", |(_, of)| &of.id);
        for (key, value) in NUMBERS {
            columns = columns.number(key, Digits::Exact, |(_, of)| value(of));
        }
        columns
            .text("interval_doubt", |(_, of)| match of.interval {
                Some(interval) => interval.doubt.map_or("", |doubt| doubt.name()),
                None => "no_interval",
            })
            .text("flags", |(_, of)| {
                of.flags.iter().map(|flag| flag.text.as_str()).collect::<Vec<_>>().join("; ")
            })
            .build()
            .with_provenance(&self.provenance)
    }
}

/// A standard deviation; `<0` where it was cut off at 0.
fn percent(component: Component) -> String {
    match component.truncated {
        true => "<0".to_owned(),
        false => rounded(component.sd_percent, 3),
    }
}

type Number = (&'static str, fn(&ConfigurationVariance) -> Option<f64>);

/// The columns of the CSV with numbers; empty where there is none.
const NUMBERS: [Number; 40] = [
    ("x", |of| Some(f64::from(of.x))),
    ("launches", |of| Some(of.launches as f64)),
    ("passes", |of| Some(f64::from(of.passes))),
    ("between_pass_percent", |of| of.between_pass_percent),
    ("fastest_pass_ns", |of| Some(of.pass_medians_ns[0])),
    ("slowest_pass_ns", |of| Some(of.pass_medians_ns[1])),
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
