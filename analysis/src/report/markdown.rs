//! The report as Markdown. Nothing is computed here.

use std::path::Path;

use super::{FigureFiles, JudgedCoefficients, Report, TargetReport, Variance};
use crate::model::GroupCoefficients;
use crate::objectives::{AgainstRawFlops, Answer, Elasticity, EqualFlops};
use crate::table::{Column, Table};

impl Report {
    /// The content of `report.md`: links to figures are relative to it.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from("# α-FLOPs against measurements\n\n");
        text += "Latencies are of one forward pass of one convolution, batch 1, f32. FLOPs are \
                 nominal: the direct algorithm's, taps on padding included.\n\n";
        if self.targets.len() > 1 {
            text += &figures("Figures: all targets side by side", self.figures_of_all());
        }
        for (index, target) in self.targets.iter().enumerate() {
            let number =
                if self.targets.len() > 1 { format!("{} · ", index + 1) } else { "".into() };
            let provenance = &target.provenance;
            text +=
                &format!("## {number}{} · backend {}\n\n", provenance.device, provenance.backend);
            text += &target.to_markdown();
            text += &figures("Figures", self.figures_of(index));
        }
        // exactly one newline at the end
        text.truncate(text.trim_end().len());
        text + "\n"
    }

    /// The answers in a few lines, and where the rest is: what a terminal shows.
    pub fn summary(&self, directory: &Path) -> String {
        let mut text = String::new();
        for target in &self.targets {
            let (p, o) = (&target.provenance, &target.objectives);
            text += &format!(
                "{} · backend {}: {} configurations, {} skipped\n",
                p.device,
                p.backend,
                target.configurations,
                target.skipped.len()
            );
            if let Some(reason) = &target.not_fitted {
                text += &format!("  not fitted: {reason}\n");
            }
            let answers = [&o.ro1.sentence, &o.ro2.sentence, &o.ro3.sentence];
            for (number, sentence) in (1..).zip(answers) {
                text += &format!("  RO{number}  {sentence}\n");
            }
            text += "\n";
        }
        let directory = directory.display();
        text + &format!(
            "wrote {directory}/report.md, {directory}/report.json and {} figures\n",
            self.figures.len()
        )
    }

    fn figures_of_all(&self) -> impl Iterator<Item = &FigureFiles> {
        self.figures.iter().filter(|figure| figure.targets.len() > 1)
    }

    fn figures_of(&self, target: usize) -> impl Iterator<Item = &FigureFiles> {
        self.figures.iter().filter(move |figure| figure.targets == [target])
    }
}

fn figures<'a>(heading: &str, figures: impl Iterator<Item = &'a FigureFiles>) -> String {
    let figures = figures
        .map(|figure| format!("![{}]({})\n\n[SVG]({})\n\n", figure.title, figure.png, figure.svg));
    let figures: String = figures.collect();
    if figures.is_empty() { String::new() } else { format!("### {heading}\n\n{figures}") }
}

impl TargetReport {
    fn to_markdown(&self) -> String {
        let mut text = self.environment();
        text += "### Answers\n\n";
        text += &answer("RO1: raw FLOPs are no sufficient proxy", &self.objectives.ro1);
        text += &equal_flops(&self.objectives.ro1.numbers);
        text += &answer(
            "RO2: spatial FLOPs are more parallelizable than kernel FLOPs",
            &self.objectives.ro2,
        );
        text += &elasticities(&self.objectives.ro2.numbers);
        text += &answer("RO3: α-FLOPs estimates latency accurately", &self.objectives.ro3);
        text += &against_raw_flops(&self.objectives.ro3.numbers);
        text += "### Coefficients\n\n";
        if let Some(reason) = &self.not_fitted {
            text += &format!("Not fitted to these data: {reason}.\n\n");
        } else if self.coefficients.is_empty() {
            text += "None were given.\n\n";
        }
        for coefficients in &self.coefficients {
            text += &coefficients.to_markdown();
        }
        text += "### Spread of launches\n\n";
        text += &variance(&self.variance);
        text += &self.skipped();
        text
    }

    fn environment(&self) -> String {
        let p = &self.provenance;
        let mut table = Table::new(
            "Where the latencies come from",
            [Column::text("name", "name"), Column::text("value", "value")],
        );
        for (name, value) in [
            ("source", &p.source),
            ("backend", &p.backend),
            ("device", &p.device),
            ("versions", &p.versions),
            ("protocol", &p.protocol),
            ("configurations measured", &self.configurations.to_string()),
        ] {
            table.push([name, value.as_str()]);
        }
        for setting in &self.environment {
            table.push([&setting.name, &setting.value]);
        }
        table.to_markdown() + "\n"
    }

    fn skipped(&self) -> String {
        if self.skipped.is_empty() {
            return String::new();
        }
        let mut table = Table::new(
            format!("Skipped configurations: {}", self.skipped.len()),
            [Column::text("id", "configuration"), Column::text("reason", "reason")],
        );
        for skipped in &self.skipped {
            table.push([&skipped.id, &skipped.reason]);
        }
        table.to_markdown() + "\n"
    }
}

fn answer<T>(heading: &str, answer: &Answer<T>) -> String {
    format!("#### {heading}\n\n{}\n\nCriterion: {}.\n\n", answer.sentence, answer.criterion)
}

fn equal_flops(groups: &[EqualFlops]) -> String {
    let mut table = Table::new(
        "Largest ÷ smallest at equal nominal FLOPs",
        [
            Column::text("experiment", "experiment"),
            Column::text("group", "group"),
            Column::number("n", "n", ""),
            Column::number("latency_ratio", "latency", ""),
            Column::number("macs_ratio", "multiply–adds", ""),
            Column::number("latency_per_mac_ratio", "latency per multiply–add", ""),
        ],
    );
    for group in groups {
        table.push([
            group.experiment.clone(),
            group.group.clone(),
            group.n.to_string(),
            format!("{:.3}", group.latency_ratio),
            format!("{:.3}", group.macs_ratio),
            format!("{:.3}", group.latency_per_mac_ratio),
        ]);
    }
    unless_empty(&table)
}

fn elasticities(slopes: &[Elasticity]) -> String {
    let mut table = Table::new(
        "Slopes of log–log regression lines",
        [
            Column::text("experiment", "experiment"),
            Column::text("series", "series"),
            Column::text("of", "of"),
            Column::number("slope", "slope [95% interval]", ""),
            Column::number("n", "n", ""),
        ],
    );
    for line in slopes {
        let n = line.n.to_string();
        table.push([&line.experiment, &line.series, &line.of, &line.interval(), &n]);
    }
    table.note("intervals take deviations from the line as independent: a guide, no proof");
    unless_empty(&table)
}

fn against_raw_flops(rows: &[AgainstRawFlops]) -> String {
    let mut table = Table::new(
        "α-FLOPs against raw FLOPs with one factor fitted to these data",
        [
            Column::text("experiment", "experiment"),
            Column::number("n", "n", ""),
            Column::number("alpha_rmse_ms", "RMSE α-FLOPs", "ms"),
            Column::number("raw_rmse_ms", "RMSE raw FLOPs", "ms"),
            Column::number("alpha_nrmse_percent", "NRMSE α-FLOPs", "% of range"),
            Column::number("raw_nrmse_percent", "NRMSE raw FLOPs", "% of range"),
            Column::number("alpha_mape_percent", "MAPE α-FLOPs", "%"),
            Column::number("raw_mape_percent", "MAPE raw FLOPs", "%"),
        ],
    );
    let percent = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.2}"));
    for row in rows {
        let (alpha, raw) = (&row.alpha_flops, &row.raw_flops);
        table.push([
            row.experiment.clone(),
            alpha.n.to_string(),
            format!("{:.4}", alpha.rmse_ms),
            format!("{:.4}", raw.rmse_ms),
            percent(alpha.nrmse_range_percent),
            percent(raw.nrmse_range_percent),
            percent(Some(alpha.mape_percent)),
            percent(Some(raw.mape_percent)),
        ]);
    }
    unless_empty(&table)
}

impl JudgedCoefficients {
    fn to_markdown(&self) -> String {
        let parameters = match &self.fit {
            Some(fit) => fit.table(),
            None => self.parameters(),
        };
        let errors = match (&self.evaluation, &self.not_evaluated) {
            (Some(evaluation), _) => evaluation.table().to_markdown(),
            (None, Some(reason)) => format!("Not evaluated: {reason}.\n"),
            (None, None) => String::new(),
        };
        format!("{}\n{errors}\n", parameters.to_markdown())
    }

    /// Parameters of which no statistics are known.
    fn parameters(&self) -> Table {
        let sample = if self.in_sample { " (in-sample: fitted to these very data)" } else { "" };
        let mut table = Table::new(
            format!("{}{sample}", self.source),
            [
                Column::text("group", "group"),
                Column::number("beta", "β", ""),
                Column::number("gamma", "γ", ""),
                Column::number("final", "final", "ms/MFLOP"),
            ],
        );
        for (name, group) in [("K = 1", self.k_equal_1), ("K > 1", self.k_above_1)] {
            let cells = |g: GroupCoefficients| g.named().map(|(_, value)| format!("{value:.6e}"));
            let absent = || ["–", "–", "–"].map(str::to_owned);
            let [beta, gamma, scale] = group.map_or_else(absent, cells);
            table.push([name.to_owned(), beta, gamma, scale]);
        }
        table.note(format!("S_K = {}, FLOPs = {}, in millions", self.s_k.formula(), self.flops));
        table
    }
}

fn variance(rows: &[Variance]) -> String {
    let mut table = Table::new(
        "Interquartile range ÷ median of the launches of a configuration",
        [
            Column::text("experiment", "experiment"),
            Column::number("n", "n", ""),
            Column::number("median_percent", "median", "%"),
            Column::number("p95_percent", "95th percentile", "%"),
            Column::number("worst_percent", "worst", "%"),
            Column::text("worst_id", "worst configuration"),
            Column::number("launches", "launches", ""),
            Column::number("outliers_mild", "mild outliers", ""),
            Column::number("outliers_severe", "severe outliers", ""),
        ],
    );
    let count = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |n| n.to_string());
    for row in rows {
        table.push([
            row.experiment.clone(),
            row.n.to_string(),
            format!("{:.3}", row.median_percent),
            format!("{:.3}", row.p95_percent),
            format!("{:.3}", row.worst.percent),
            row.worst.id.clone(),
            count(row.launches),
            count(row.outliers_mild),
            count(row.outliers_severe),
        ]);
    }
    table.note("outliers by Tukey's fences: mild beyond 1.5 IQR, severe beyond 3 IQR");
    match rows {
        [] => "The quartiles of the launches are not known.\n\n".to_owned(),
        _ => table.to_markdown() + "\n",
    }
}

fn unless_empty(table: &Table) -> String {
    if table.rows().is_empty() { String::new() } else { table.to_markdown() + "\n" }
}
