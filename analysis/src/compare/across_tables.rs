//! Two devices side by side, as tables.

use alpha_flops::units::Nanoseconds;

use super::across::{Across, ConfigurationRatio, GroupRatio};
use crate::differences::Difference;
use crate::table::{Digits, Table, without_tags, wrapped};

/// How many of the least and of the greatest ratios are shown.
const EXTREMES: usize = 10;

/// Said wherever ratios are shown.
pub const NO_VERDICT: &str =
    "ratios between devices, which are no regressions: no verdict is given";

impl Across {
    /// What was measured on what, then the ratios of groups and the most extreme configurations.
    pub fn summary(&self) -> String {
        let lines = self.lines().into_iter().map(|line| wrapped("", &line));
        let tables = self.tables().into_iter().map(|table| format!("\n{}", table.to_text()));
        lines.chain(tables).collect()
    }

    /// The same for a pull request.
    pub fn to_markdown(&self) -> String {
        let lines = self.lines().into_iter().map(|line| format!("- {}\n", without_tags(&line)));
        let tables = self.tables().into_iter().map(|table| format!("\n{}", table.to_markdown()));
        lines.chain(tables).collect()
    }

    /// A row a configuration.
    pub fn to_csv(&self) -> String {
        let [first, second] = &self.sides;
        let devices = self.devices();
        Table::with_rows("across", &self.configurations)
            .text("experiment", |row| &row.experiment)
            .text("series", |row| &row.series)
            .text("id", |row| &row.id)
            .number("x", Digits::Exact, |row| row.x)
            .text("first_device", |_| &devices[0])
            .text("second_device", |_| &devices[1])
            .number("first_median_ns", Digits::Exact, |row| row.median_ns[0])
            .number("second_median_ns", Digits::Exact, |row| row.median_ns[1])
            .number("second_over_first", Digits::Exact, |row| row.ratio)
            .number("ratio_low", Digits::Exact, |row| Some(row.range?[0]))
            .number("ratio_high", Digits::Exact, |row| Some(row.range?[1]))
            .text("first_runs", |_| first.runs.join(" "))
            .text("second_runs", |_| second.runs.join(" "))
            .text("first_versions", |_| &first.provenance.versions)
            .text("second_versions", |_| &second.provenance.versions)
            .text("protocol", |_| &second.provenance.protocol)
            .build()
            .to_csv()
    }

    /// `latency on B / latency on A`.
    pub fn ratio_in_words(&self) -> String {
        let [first, second] = self.devices();
        format!("latency on {second} / latency on {first}")
    }

    fn lines(&self) -> Vec<String> {
        let warning = self.sides.iter().find_map(|side| side.provenance.warning());
        let mut lines: Vec<String> =
            warning.map(|warning| format!("{warning}.")).into_iter().collect();
        lines.push(format!("{}: {NO_VERDICT}.", self.ratio_in_words()));
        for side in &self.sides {
            lines.push(format!(
                "{}; versions: {}.",
                side.provenance.line(),
                side.provenance.versions
            ));
        }
        let differences: Vec<String> = self.differences.iter().map(Difference::to_string).collect();
        lines.push(format!("Differs: {}.", differences.join("; ")));
        if !self.not_compared.is_empty() {
            lines.push(format!("Not on both devices: {} configurations.", self.not_compared.len()));
        }
        lines
    }

    fn tables(&self) -> Vec<Table> {
        let experiments: Vec<&GroupRatio> =
            self.groups.iter().filter(|group| group.series.is_none()).collect();
        let groups = Table::with_rows(self.ratio_in_words(), &experiments)
            .text("group", |group| &group.experiment)
            .count("n", |group| group.configurations)
            .number("geometric mean", Digits::Decimals(3), |group| group.ratio)
            .number("least", Digits::Decimals(3), |group| group.range[0])
            .number("greatest", Digits::Decimals(3), |group| group.range[1])
            .build();
        let mut sorted: Vec<&ConfigurationRatio> = self.configurations.iter().collect();
        sorted.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let least = self.extremes("Least", sorted.iter().copied().take(EXTREMES).collect());
        let greatest =
            self.extremes("Greatest", sorted.iter().rev().copied().take(EXTREMES).collect());
        vec![groups, least, greatest]
    }

    fn extremes(&self, which: &str, rows: Vec<&ConfigurationRatio>) -> Table {
        let [first, second] = self.devices();
        let title = format!("{which}, {}", self.ratio_in_words());
        Table::with_rows(title, &rows)
            .text("configuration", |row| &row.id)
            .written(first.as_str(), |row| Some(Nanoseconds(row.median_ns[0]).to_string()))
            .written(second.as_str(), |row| Some(Nanoseconds(row.median_ns[1]).to_string()))
            .number("ratio", Digits::Decimals(3), |row| row.ratio)
            .written("range of runs", |row| {
                row.range.map(|[low, high]| format!("{low:.3} to {high:.3}"))
            })
            .build()
    }
}
