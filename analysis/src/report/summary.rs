//! What a terminal shows of a report: it fits 80 columns.

use std::path::Path;

use super::{Report, TargetReport, Variance};
use crate::objectives::AgainstRawFlops;
use crate::table::{Column, Table, wrapped};

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
        let tables = [errors(&o.ro3.numbers), spread(&self.variance)];
        let shown = tables.iter().filter(|table| !table.rows().is_empty());
        text + &shown.map(|table| format!("\n{}", table.to_text())).collect::<String>()
    }
}

fn errors(rows: &[AgainstRawFlops]) -> Table {
    let mut table = Table::new(
        "Errors of α-FLOPs and of raw FLOPs with one factor: RMSE, and NRMSE of the\nmedian line in \
         percent of that line's range",
        [
            Column::text("experiment", "experiment"),
            Column::number("n", "n", ""),
            Column::number("alpha_rmse_ms", "α-FLOPs", "ms"),
            Column::number("raw_rmse_ms", "raw FLOPs", "ms"),
            Column::number("alpha_nrmse_percent", "α-FLOPs", "%"),
            Column::number("raw_nrmse_percent", "raw FLOPs", "%"),
        ],
    );
    let percent = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.1}"));
    for row in rows {
        table.push([
            row.experiment.clone(),
            row.alpha_flops.n.to_string(),
            format!("{:.3}", row.alpha_flops.rmse_ms),
            format!("{:.3}", row.raw_flops.rmse_ms),
            percent(row.alpha_flops_line_nrmse_percent),
            percent(row.raw_flops_line_nrmse_percent),
        ]);
    }
    table
}

fn spread(rows: &[Variance]) -> Table {
    let mut table = Table::new(
        "Spread of launches: IQR ÷ median of a configuration, over configurations",
        [
            Column::text("experiment", "experiment"),
            Column::number("n", "n", ""),
            Column::number("median_percent", "median", "%"),
            Column::number("p95_percent", "95th percentile", "%"),
            Column::number("worst_percent", "worst", "%"),
        ],
    );
    for row in rows {
        table.push([
            row.experiment.clone(),
            row.n.to_string(),
            format!("{:.1}", row.median_percent),
            format!("{:.1}", row.p95_percent),
            format!("{:.1}", row.worst.percent),
        ]);
    }
    table
}
