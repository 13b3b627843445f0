//! The report as Markdown. Nothing is computed here.

use std::collections::BTreeSet;

use super::{FigureFiles, JudgedCoefficients, LaunchSpread, Report, Setting, TargetReport};
use crate::fit::intervals;
use crate::objectives::{AgainstRawFlops, Elasticity, EqualFlopsGroup, ObjectiveAnswer, Slope};
use crate::table::{Digits, Table, rounded, without_tags};

const RATIO: Digits = Digits::Decimals(3);
const PERCENT: Digits = Digits::Decimals(2);

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
                 skip taps on padding, this project's CPU backend among them; at K = 30 on 10×10 \
                 pixels these are eight of nine. RO1 and RO2 are therefore also given per \
                 multiply–add *on the image*, the fewest that the direct algorithm can \
                 execute.\n\n";
        if self.targets.len() > 1 {
            text += "Each dataset below is judged separately: latencies of different devices, \
                     backends or protocols are shown side by side, never combined.\n\n";
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
        without_tags(text.trim_end()) + "\n"
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
            "### Answers\n\nThe claims are the paper's and are about GPUs. The answers here are \
             about {} only.\n\n",
            self.provenance.place()
        );
        text += &answer("RO1: raw FLOPs are not a sufficient proxy", &self.objectives.ro1);
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
            [] => "The quartiles of the launches are unknown.\n\n".to_owned(),
            rows => self.finished(variance(rows)),
        };
        text += &self.skipped();
        text
    }

    /// A table with its provenance as Markdown; nothing where it has no rows.
    fn finished(&self, table: Table) -> String {
        if table.is_empty() {
            return String::new();
        }
        table.with_provenance(&self.provenance).to_markdown() + "\n"
    }

    fn environment(&self) -> String {
        let p = &self.provenance;
        let measured = self.configurations.to_string();
        let mut rows = vec![
            ("source", p.source.as_str()),
            ("backend", &p.backend),
            ("device", &p.device),
            ("versions", &p.versions),
            ("protocol", &p.protocol),
            ("configurations measured", &measured),
        ];
        let settings = self.environment.iter().filter(|setting| !self.is_in_provenance(setting));
        rows.extend(settings.map(|Setting { name, value }| (name.as_str(), value.as_str())));
        names_and_values("Where the latencies come from", &rows).to_markdown() + "\n"
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
        let title = format!("Skipped configurations: {}", self.skipped.len());
        let table = Table::with_rows(title, &self.skipped)
            .text("configuration", |skipped| &skipped.id)
            .text("reason", |skipped| &skipped.reason)
            .build();
        table.to_markdown() + "\n"
    }
}

fn names_and_values(title: &str, rows: &[(&str, &str)]) -> Table {
    Table::with_rows(title, rows).text("name", |row| row.0).text("value", |row| row.1).build()
}

fn answer<T>(heading: &str, answer: &ObjectiveAnswer<T>) -> String {
    format!("#### {heading}\n\n{}\n\nCriterion: {}.\n\n", answer.sentence, answer.criterion)
}

fn equal_flops(groups: &[EqualFlopsGroup]) -> Table {
    let title = "Typical ratio of two configurations of equal nominal FLOPs, beyond noise";
    let mut table = Table::with_rows(title, groups)
        .text("experiment", |group| &group.experiment)
        .text("group", |group| &group.group)
        .count("n", |group| group.n)
        .number("multiply–adds: largest ÷ smallest", RATIO, |group| group.macs_ratio)
        .written("latency per multiply–add [95% interval]", |group| group.nominal.interval())
        .written("latency per multiply–add on the image", |group| group.on_image.interval())
        .number("smallest ÷ mean", RATIO, |group| group.nominal.smallest)
        .number("largest ÷ mean", RATIO, |group| group.nominal.largest)
        .number("Q", Digits::Decimals(1), |group| group.nominal.q)
        .written("p of no difference", |group| group.nominal.p_equal.map(p_value))
        .build();
    table.note("multiply–adds differ only by the rounding of 300/K (B) and R/K (C)");
    table.note(
        "typical ratio: exp(0.954 τ), the median over pairs drawn at random; τ is the standard \
         deviation between configurations beyond noise",
    );
    table.note(
        "smallest and largest: of latency per multiply–add, shrunk towards the geometric mean by \
         the share of noise; Q: Cochran's, of no difference beyond noise",
    );
    table
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

fn elasticities(lines: &[Elasticity]) -> Table {
    let interval = |s: Slope| format!("{:+.2} [{:+.2}, {:+.2}]", s.slope, s.low, s.high);
    let percent = Digits::Decimals(1);
    let mut table = Table::with_rows("Slopes of log–log regression lines", lines)
        .text("experiment", |line| &line.experiment)
        .text("series", |line| &line.series)
        .text("of", |line| &line.of)
        .count("n", |line| line.n)
        .written("slope [95% interval]", |line| interval(line.nominal))
        .number("deviations (%)", percent, |line| 100.0 * line.nominal.lack_of_fit)
        .written("slope, on the image", |line| line.on_image.map(interval))
        .build();
    table.note(
        "deviations: standard deviation of the logarithm around the line, beyond noise; errors \
         contain noise and deviations",
    );
    table.note(
        "intervals hold together for the lines of an experiment, and assume independent \
         deviations, which latencies do not have: read them as a guide",
    );
    table
}

fn against_raw_flops(rows: &[AgainstRawFlops], in_sample: bool) -> Table {
    let ends = |[low, high]: [f64; 2]| format!("{} … {}", rounded(low, 3), rounded(high, 3));
    let mut table = Table::with_rows("α-FLOPs against raw FLOPs with one factor", rows)
        .text("experiment", |row| &row.experiment)
        .count("n", |row| row.alpha_flops.n)
        .count("lines", |row| row.lines)
        .number("RMSE α-FLOPs (ms)", Digits::Decimals(4), |row| row.alpha_flops.rmse_ms)
        .number("RMSE raw FLOPs (ms)", Digits::Decimals(4), |row| row.raw_flops.rmse_ms)
        .number("difference (ms)", Digits::Signed(4), |row| row.difference_ms)
        .written("95% interval (ms)", |row| row.difference_interval_ms.map(ends))
        .text("α-FLOPs is", |row| row.advantage)
        .number("NRMSE α-FLOPs (% of a line's range)", PERCENT, |row| {
            row.alpha_flops_line_nrmse_percent
        })
        .written("95% interval (%)", |row| row.alpha_flops_line_nrmse_interval_percent.map(ends))
        .text("and", |row| row.accuracy)
        .number("NRMSE raw FLOPs (% of a line's range)", PERCENT, |row| {
            row.raw_flops_line_nrmse_percent
        })
        .number("NRMSE α-FLOPs (% of the whole range)", PERCENT, |row| {
            row.alpha_flops.nrmse_range_percent
        })
        .number("NRMSE raw FLOPs (% of the whole range)", PERCENT, |row| {
            row.raw_flops.nrmse_range_percent
        })
        .number("MAPE α-FLOPs (%)", PERCENT, |row| row.alpha_flops.mape_percent)
        .number("MAPE raw FLOPs (%)", PERCENT, |row| row.raw_flops.mape_percent)
        .build();
    table.note("% of a line's range: for the median line, of those whose range is more than noise");
    table.note("intervals take the lines of an experiment as a sample of such lines");
    if in_sample {
        table.note(
            "these data were fitted, so each line is estimated by fits to the other lines; \
             configurations whose group of kernels no other line has are left out",
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
        let record = basis.record.iter();
        let rows: Vec<(&str, &str)> =
            record.map(|Setting { name, value }| (name.as_str(), value.as_str())).collect();
        let table = names_and_values("What the coefficients below were fitted to", &rows);
        format!("Fitted to {}: {}.\n\n{}\n", basis.source, basis.sentence(), table.to_markdown())
    }

    /// Parameters of which no statistics are known.
    fn parameters(&self) -> Table {
        let sample = if self.in_sample { " (in-sample: fitted to these very data)" } else { "" };
        let groups = [("K = 1", self.k_equal_1), ("K > 1", self.k_above_1)];
        let mut table = Table::with_rows(format!("Coefficients: {}{sample}", self.source), &groups)
            .text("group", |(name, _)| name)
            .number("β", Digits::Significant(9), |(_, group)| Some(group.as_ref()?.beta))
            .number("γ", Digits::Significant(9), |(_, group)| Some(group.as_ref()?.gamma))
            .number("final (ms/MFLOP)", Digits::Significant(9), |(_, group)| {
                Some(group.as_ref()?.final_scale)
            })
            .build();
        table.note(format!("S_K = {}, FLOPs = {}, in millions", self.s_k.formula(), self.flops));
        table
    }
}

fn variance(rows: &[LaunchSpread]) -> Table {
    let count = |count: Option<u64>| count.map(|n| n.to_string());
    let title = "IQR ÷ median of a configuration's launches, over the configurations";
    let mut table = Table::with_rows(title, rows)
        .text("experiment", |row| &row.experiment)
        .count("configurations", |row| row.n)
        .number("IQR ÷ median: median (%)", PERCENT, |row| row.median_percent)
        .number("95th percentile (%)", PERCENT, |row| row.p95_percent)
        .number("worst (%)", PERCENT, |row| row.worst.percent)
        .text("worst configuration", |row| &row.worst.id)
        .written("launches", |row| count(row.launches))
        .written("mild outliers (launches)", |row| count(row.outliers_mild))
        .written("severe outliers (launches)", |row| count(row.outliers_severe))
        .build();
    table.note("outliers by Tukey's fences: mild beyond 1.5 IQR, severe beyond 3 IQR");
    table
}
