//! The report as Markdown. Nothing is computed here.

use std::collections::BTreeSet;

use super::{FigureFiles, JudgedCoefficients, Report, Setting, TargetReport, Variance};
use crate::fit::intervals;
use crate::model::GroupCoefficients;
use crate::objectives::{AgainstRawFlops, Answer, Elasticity, EqualFlops, Slope};
use crate::table::{Column, Table, rounded};

impl Report {
    /// The content of `report.md`: links to figures are relative to it.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from("# α-FLOPs against measurements\n\n");
        let warnings: BTreeSet<_> =
            self.targets.iter().filter_map(|target| target.provenance.warning()).collect();
        for warning in warnings {
            text += &format!("**{warning}.**\n\n");
        }
        text += "Latencies are of one forward pass of one convolution, batch 1, f32. FLOPs are \
                 nominal: the direct algorithm's, taps on padding included. Many implementations \
                 skip those, as this project's CPU backend does, and at K = 30 on 10×10 pixels they \
                 are eight of nine; so what is said per multiply–add (RO1, RO2) is also given per \
                 multiply–add *on the image*, the least that the direct form executes.\n\n";
        if self.targets.len() > 1 {
            text += "Each dataset below is judged by itself: latencies of different devices, \
                     backends or protocols are shown side by side, never merged or divided.\n\n";
        }
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
        text += &format!(
            "### Answers\n\nThe claims are the paper's, about GPUs. What holds here or does not is \
             said of {} alone.\n\n",
            self.provenance.place()
        );
        text += &answer("RO1: raw FLOPs are no sufficient proxy", &self.objectives.ro1);
        text += &self.finished(equal_flops(&self.objectives.ro1.numbers));
        text += &answer(
            "RO2: spatial FLOPs are more parallelizable than kernel FLOPs",
            &self.objectives.ro2,
        );
        text += &self.finished(elasticities(&self.objectives.ro2.numbers));
        text += &answer("RO3: α-FLOPs estimates latency accurately", &self.objectives.ro3);
        text += &self.finished(against_raw_flops(
            &self.objectives.ro3.numbers,
            self.coefficients.first().is_some_and(|first| first.in_sample),
        ));
        text += "### Coefficients\n\n";
        if let Some(reason) = &self.not_fitted {
            text += &format!("Not fitted: {reason}.\n\n");
        } else if self.coefficients.is_empty() {
            text += "None were given.\n\n";
        }
        for coefficients in &self.coefficients {
            text += &coefficients.to_markdown();
        }
        text += "### Spread of launches\n\n";
        text += &match self.variance.as_slice() {
            [] => "The quartiles of the launches are not known.\n\n".to_owned(),
            rows => self.finished(variance(rows)),
        };
        text += &self.skipped();
        text
    }

    /// A table with its provenance as Markdown; nothing where it has no rows.
    fn finished(&self, mut table: Table) -> String {
        table.set_provenance(&self.provenance);
        if table.rows().is_empty() { String::new() } else { table.to_markdown() + "\n" }
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
        for setting in self.environment.iter().filter(|setting| !self.is_in_provenance(setting)) {
            table.push([&setting.name, &setting.value]);
        }
        table.to_markdown() + "\n"
    }

    /// Whether a setting of the run says again what the provenance has said.
    fn is_in_provenance(&self, setting: &Setting) -> bool {
        let p = &self.provenance;
        let said = match setting.name.as_str() {
            "run" => &p.source,
            "backend" => &p.backend,
            "device" => &p.device,
            "protocol" => &p.protocol,
            "crates" => &p.versions,
            _ => return false,
        };
        said.contains(&setting.value)
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

fn equal_flops(groups: &[EqualFlops]) -> Table {
    let mut table = Table::new(
        "Largest ÷ smallest at equal nominal FLOPs",
        [
            Column::text("experiment", "experiment"),
            Column::text("group", "group"),
            Column::number("n", "n", ""),
            Column::number("latency_ratio", "latency", ""),
            Column::number("macs_ratio", "multiply–adds", ""),
            Column::number("latency_per_mac_ratio", "latency per multiply–add", ""),
            Column::number(
                "latency_per_mac_on_image_ratio",
                "latency per multiply–add on the image",
                "",
            ),
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
            format!("{:.3}", group.latency_per_mac_on_image_ratio),
        ]);
    }
    table.note("multiply–adds differ by the rounding of 300/K (B) and R/K (C) alone");
    table
}

fn elasticities(lines: &[Elasticity]) -> Table {
    let mut table = Table::new(
        "Slopes of log–log regression lines",
        [
            Column::text("experiment", "experiment"),
            Column::text("series", "series"),
            Column::text("of", "of"),
            Column::number("n", "n", ""),
            Column::number("slope", "slope [95% interval]", ""),
            Column::number("slope_on_image", "slope, on the image", ""),
        ],
    );
    let interval = |s: Slope| format!("{:+.2} [{:+.2}, {:+.2}]", s.slope, s.low, s.high);
    for line in lines {
        table.push([
            line.experiment.clone(),
            line.series.clone(),
            line.of.clone(),
            line.n.to_string(),
            interval(line.nominal),
            line.on_image.map_or_else(|| "–".to_owned(), interval),
        ]);
    }
    table.note("intervals take deviations from the line as independent: a guide, no proof");
    table
}

fn against_raw_flops(rows: &[AgainstRawFlops], in_sample: bool) -> Table {
    let mut table = Table::new(
        "α-FLOPs against raw FLOPs with one factor",
        [
            Column::text("experiment", "experiment"),
            Column::number("n", "n", ""),
            Column::number("alpha_rmse_ms", "RMSE α-FLOPs", "ms"),
            Column::number("raw_rmse_ms", "RMSE raw FLOPs", "ms"),
            Column::number("alpha_line_nrmse_percent", "NRMSE α-FLOPs", "% of a line's range"),
            Column::number("raw_line_nrmse_percent", "NRMSE raw FLOPs", "% of a line's range"),
            Column::number("alpha_nrmse_percent", "NRMSE α-FLOPs", "% of the whole range"),
            Column::number("raw_nrmse_percent", "NRMSE raw FLOPs", "% of the whole range"),
            Column::number("alpha_mape_percent", "MAPE α-FLOPs", "%"),
            Column::number("raw_mape_percent", "MAPE raw FLOPs", "%"),
        ],
    );
    let percent = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.2}"));
    for row in rows {
        let (alpha, raw) = (&row.alpha_flops, &row.raw_flops);
        table.push([
            row.experiment.clone(),
            alpha.n.to_string(),
            format!("{:.4}", alpha.rmse_ms),
            format!("{:.4}", raw.rmse_ms),
            percent(row.alpha_flops_line_nrmse_percent),
            percent(row.raw_flops_line_nrmse_percent),
            percent(alpha.nrmse_range_percent),
            percent(raw.nrmse_range_percent),
            percent(Some(alpha.mape_percent)),
            percent(Some(raw.mape_percent)),
        ]);
    }
    table.note("% of a line's range: of the median line");
    if in_sample {
        table.note(
            "raw FLOPs are a special case of α-FLOPs (γ = 0): fitted to these very data, α-FLOPs \
             cannot lose over all of them, and only other data would judge",
        );
    }
    table
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
        let sure = match &self.fit {
            Some(fit) => intervals::table(fit, &self.intervals).to_markdown() + "\n",
            None => String::new(),
        };
        format!("{}{}\n{sure}{errors}\n", self.basis(), parameters.to_markdown())
    }

    /// What they were fitted to, where that is not what they are judged by.
    fn basis(&self) -> String {
        let Some(basis) = &self.basis else { return String::new() };
        let mut table = Table::new(
            "What the coefficients below were fitted to",
            [Column::text("name", "name"), Column::text("value", "value")],
        );
        for Setting { name, value } in &basis.record {
            table.push([name, value]);
        }
        format!("Fitted to {}: {}.\n\n{}\n", basis.source, basis.sentence(), table.to_markdown())
    }

    /// Parameters of which no statistics are known.
    fn parameters(&self) -> Table {
        let sample = if self.in_sample { " (in-sample: fitted to these very data)" } else { "" };
        let mut table = Table::new(
            format!("Coefficients: {}{sample}", self.source),
            [
                Column::text("group", "group"),
                Column::number("beta", "β", ""),
                Column::number("gamma", "γ", ""),
                Column::number("final", "final", "ms/MFLOP"),
            ],
        );
        for (name, group) in [("K = 1", self.k_equal_1), ("K > 1", self.k_above_1)] {
            let cells = |g: GroupCoefficients| g.named().map(|(_, value)| rounded(value, 9));
            let absent = || ["–", "–", "–"].map(str::to_owned);
            let [beta, gamma, scale] = group.map_or_else(absent, cells);
            table.push([name.to_owned(), beta, gamma, scale]);
        }
        table.note(format!("S_K = {}, FLOPs = {}, in millions", self.s_k.formula(), self.flops));
        table
    }
}

fn variance(rows: &[Variance]) -> Table {
    let mut table = Table::new(
        "IQR ÷ median of a configuration's launches, over the configurations",
        [
            Column::text("experiment", "experiment"),
            Column::number("n", "configurations", ""),
            Column::number("median_percent", "IQR ÷ median: median", "%"),
            Column::number("p95_percent", "95th percentile", "%"),
            Column::number("worst_percent", "worst", "%"),
            Column::text("worst_id", "worst configuration"),
            Column::number("launches", "launches", ""),
            Column::number("outliers_mild", "mild outliers", "launches"),
            Column::number("outliers_severe", "severe outliers", "launches"),
        ],
    );
    let count = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), |n| n.to_string());
    for row in rows {
        table.push([
            row.experiment.clone(),
            row.n.to_string(),
            format!("{:.2}", row.median_percent),
            format!("{:.2}", row.p95_percent),
            format!("{:.2}", row.worst.percent),
            row.worst.id.clone(),
            count(row.launches),
            count(row.outliers_mild),
            count(row.outliers_severe),
        ]);
    }
    table.note("outliers by Tukey's fences: mild beyond 1.5 IQR, severe beyond 3 IQR");
    table
}
