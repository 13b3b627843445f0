//! What a terminal shows of a report: it fits 80 columns.

use std::path::Path;

use super::{LaunchSpread, Report, TargetReport};
use crate::objectives::{Advantage, AgainstRawFlops};
use crate::table::{Digits, Table, rounded, wrapped};

impl Report {
    /// The answers, the errors and the spread in a few lines, and where the rest is.
    pub fn summary(&self, directory: &Path) -> String {
        let targets: String = self.targets.iter().map(|target| target.summary() + "\n").collect();
        // never wrapped, so that it can be copied
        format!("{targets}report: {}\n", directory.join("report.md").display())
    }
}

impl TargetReport {
    fn summary(&self) -> String {
        let skipped = match self.skipped.len() {
            0 => String::new(),
            n => format!(", {n} skipped"),
        };
        let place = self.provenance.place();
        let heading = format!("{place}: {} configurations{skipped}", self.configurations);
        let mut text = wrapped("", &heading);
        if let Some(quiet) = &self.quiet {
            text += &wrapped("", &quiet.to_string());
        }
        if let Some(reason) = &self.not_fitted {
            text += &wrapped("", &format!("not fitted: {reason}"));
        }
        if let Some(basis) = self.coefficients.first().and_then(|first| first.basis.as_ref()) {
            text += &wrapped("", &format!("fitted to {}: {}", basis.source, basis.sentence()));
        }
        let o = &self.objectives;
        for (label, sentence) in
            [("RO1  ", &o.ro1.sentence), ("RO2  ", &o.ro2.sentence), ("RO3  ", &o.ro3.sentence)]
        {
            text += &format!("\n{}", wrapped(label, sentence));
        }
        let ro3 = &o.ro3.numbers;
        let tables = [errors(ro3), accuracy(ro3), spread(&self.variance)];
        let shown = tables.iter().filter(|table| !table.is_empty());
        text + &shown.map(|table| format!("\n{}", table.to_text())).collect::<String>()
    }
}

fn errors(rows: &[AgainstRawFlops]) -> Table {
    let title = "RMSE of α-FLOPs and of raw FLOPs with one factor; 95% interval of the difference";
    Table::with_rows(title, rows)
        .text("experiment", |row| &row.experiment)
        .count("n", |row| row.alpha_flops.n)
        .number("α-FLOPs (ms)", Digits::Decimals(3), |row| row.alpha_flops.rmse_ms)
        .number("raw FLOPs (ms)", Digits::Decimals(3), |row| row.raw_flops.rmse_ms)
        .written("difference (ms)", |row| row.difference_interval_ms.map(ends))
        .text("α-FLOPs is", |row| match row.advantage {
            Advantage::NoDifferenceShown => "–".to_owned(),
            shown => shown.to_string(),
        })
        .build()
}

fn accuracy(rows: &[AgainstRawFlops]) -> Table {
    let title = "NRMSE: RMSE of the median line in percent of its measured range";
    Table::with_rows(title, rows)
        .text("experiment", |row| &row.experiment)
        .count("lines", |row| row.lines)
        .number("α-FLOPs (%)", Digits::Decimals(1), |row| row.alpha_flops_line_nrmse_percent)
        .written("95% interval (%)", |row| row.alpha_flops_line_nrmse_interval_percent.map(ends))
        .number("raw FLOPs (%)", Digits::Decimals(1), |row| row.raw_flops_line_nrmse_percent)
        .text("α-FLOPs is", |row| row.accuracy)
        .build()
}

fn ends([low, high]: [f64; 2]) -> String {
    format!("{} … {}", rounded(low, 2), rounded(high, 2))
}

fn spread(rows: &[LaunchSpread]) -> Table {
    let title = "Spread of launches: IQR ÷ median of a configuration, over configurations";
    Table::with_rows(title, rows)
        .text("experiment", |row| &row.experiment)
        .count("n", |row| row.n)
        .number("median (%)", Digits::Decimals(1), |row| row.median_percent)
        .number("95th percentile (%)", Digits::Decimals(1), |row| row.p95_percent)
        .number("worst (%)", Digits::Decimals(1), |row| row.worst.percent)
        .build()
}
