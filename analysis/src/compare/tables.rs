//! A comparison in words and tables. Nothing is computed here but counts.

use super::detectable::{Detectable, RunsNeeded};
use super::hypothesis_tests::Verdict;
use super::run_noise::Layout;
use super::{Change, Comparison, Effect, GroupChange, Method, NotCompared};
use crate::table::{Columns, Digits, Table, without_tags, wrapped};
use alpha_flops::units::Nanoseconds;

/// Rows of the longest lists in a summary.
const WORST: usize = 10;

impl Comparison {
    /// What a person reads in ten seconds, and then a minute.
    pub fn summary(&self) -> String {
        let lines = self.lines().into_iter().map(|line| wrapped("", &line));
        let tables = self.tables().into_iter().map(|table| format!("\n{}", table.to_text()));
        lines.chain(tables).collect()
    }

    /// The same for a pull request: a headline, the counts, and the rest folded away.
    pub fn to_markdown(&self) -> String {
        let mut tables = self.tables().into_iter();
        let counts = tables.next().map(|table| table.to_markdown()).unwrap_or_default();
        let lines: String =
            self.lines().into_iter().map(|line| format!("- {}\n", without_tags(&line))).collect();
        let rest: String = tables.map(|table| table.to_markdown() + "\n").collect();
        format!(
            "### {}\n\n{counts}\n<details><summary>What was compared, and how it was decided</summary>\n\n\
             {lines}\n</details>\n\n<details><summary>Which changed</summary>\n\n{rest}</details>\n",
            without_tags(&self.headline())
        )
    }

    /// One row a configuration compared, with the groups' rows first.
    pub fn to_csv(&self) -> String {
        let [before, after] = &self.sides;
        let groups = self.groups.iter().map(CsvRow::from);
        let rows: Vec<CsvRow<'_>> =
            groups.chain(self.configurations.iter().map(CsvRow::from)).collect();
        let interval = |row: &CsvRow<'_>, end: usize| Some(row.effect.interval?[end]);
        Table::with_rows("comparison", &rows)
            .text("experiment", |row| row.experiment)
            .text("series", |row| row.series)
            .text("id", |row| row.id)
            .number("x", Digits::Exact, |row| row.x)
            .count("configurations", |row| row.configurations)
            .number("median_before_ns", Digits::Exact, |row| Some(row.median_ns?[0]))
            .number("median_after_ns", Digits::Exact, |row| Some(row.median_ns?[1]))
            .number("ratio", Digits::Exact, |row| row.effect.ratio)
            .number("ratio_low", Digits::Exact, |row| interval(row, 0))
            .number("ratio_high", Digits::Exact, |row| interval(row, 1))
            .number("p_different", Digits::Exact, |row| row.effect.p_different)
            .text("verdict", |row| row.effect.verdict.name())
            .number("detectable", Digits::Exact, |row| row.effect.detectable)
            .number("p_beyond", Digits::Exact, |row| row.effect.p_beyond)
            .text("beyond_threshold", |row| row.effect.beyond_threshold)
            .text("cause", |row| &row.cause)
            .text("runs_before", |_| before.runs.join(" "))
            .text("runs_after", |_| after.runs.join(" "))
            .text("versions_before", |_| &before.provenance.versions)
            .build()
            .with_provenance(&after.provenance)
            .to_csv()
    }

    /// Whether something is slower, in a few words.
    pub fn headline(&self) -> String {
        let slower = self.regressions();
        let lost = self.not_compared.iter().filter(|not| not.lost).count();
        let groups = self.groups.iter().filter(|group| group.effect.is_regression()).count();
        let threshold = percent_of(self.threshold);
        let counted = |n: usize, one: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {one}s")),
        };
        let slower: Vec<String> = [counted(slower, "configuration"), counted(groups, "group")]
            .into_iter()
            .flatten()
            .collect();
        let mut parts = Vec::new();
        if !slower.is_empty() {
            let slower = slower.join(" and ");
            parts.push(format!("{slower} shown to be slower by more than {threshold}"));
        }
        if let Some(lost) = counted(lost, "configuration") {
            parts.push(format!("{lost} can no longer be computed"));
        }
        let said = match (parts.is_empty(), self.has_only_candidates(), self.method) {
            (false, ..) => parts.join("; "),
            (true, true, Method::WithinRuns) => {
                "No verdict: one run per side, run-to-run noise unknown".to_owned()
            }
            (true, true, _) => "No verdict: one side has a single run".to_owned(),
            (true, false, _) => format!("Nothing is shown to be slower by more than {threshold}"),
        };
        match self.method {
            Method::BetweenRuns { layout: Layout::Blocks, .. } => {
                format!("{said} (sides are blocks in time)")
            }
            Method::BetweenRuns { layout, .. } => format!("{said} (runs {layout})"),
            Method::History { .. } | Method::WithinRuns => said,
        }
    }

    /// How it was decided.
    pub fn method_sentence(&self) -> String {
        self.method.sentence(self.false_discovery_rate)
    }

    fn regressions(&self) -> usize {
        self.configurations.iter().filter(|change| change.is_regression()).count()
    }

    fn lines(&self) -> Vec<String> {
        let [before, after] = &self.sides;
        let provenance = &after.provenance;
        let mut lines = Vec::new();
        lines.extend(provenance.warning().map(|warning| format!("{warning}.")));
        lines.push(format!("{}.", self.headline()));
        lines.push(format!(
            "{}, {}: {} before and {} after, {} configurations compared.",
            provenance.place(),
            provenance.protocol,
            runs(before.runs.len()),
            runs(after.runs.len()),
            self.configurations.len()
        ));
        if let Some(filter) = &self.filter {
            lines.push(format!(
                "Only configurations that match {filter}: the false discovery rate is that among them, \
                 if they were chosen before the result was seen."
            ));
        }
        lines.push(format!("Versions after: {}.", provenance.versions));
        lines.extend(self.condition_lines());
        lines.push(self.method_sentence());
        lines.extend(self.method.noise_sentence());
        if self.has_only_candidates() && self.method != Method::WithinRuns {
            lines.push(
                "One side has a single run: what disturbed that run looks like the update, so that \
                 changes are only candidates, and are not permuted."
                    .to_owned(),
            );
        }
        lines.extend(self.detectable_line());
        if self.unconfirmed > 0 {
            lines.push(format!(
                "{} more pass the t test alone, but the {} {} find as many by chance or are too \
                 few to tell: measure more runs.",
                self.unconfirmed,
                self.permutations,
                match self.method {
                    Method::History { .. } => "pairs of archived runs",
                    _ => "permutations of these runs",
                }
            ));
        }
        lines
    }

    fn detectable_line(&self) -> Option<String> {
        let Detectable { median, worst } = self.detectable?;
        let mut line = format!(
            "Found with 80% probability: a change of {} in the median configuration, {} in the noisiest.",
            percent_of(median),
            percent_of(worst)
        );
        let takes = |n: &RunsNeeded| Some(format!("{} takes {}", percent_of(n.change), n.runs?));
        let needed: Vec<String> = self.runs_needed.iter().filter_map(takes).collect();
        if !needed.is_empty() {
            line += &format!(" Runs a side for the median: {}.", needed.join(", "));
        }
        Some(line)
    }

    /// The smallest changes that are found; those of series are in the JSON.
    fn detectable(&self) -> Option<Table> {
        self.detectable?;
        let shown: Vec<_> = self.groups.iter().filter(|group| group.series.is_none()).collect();
        let of_one = |group: &GroupChange, of: fn(Detectable) -> f64| {
            group.detectable_in_one.map(|one| 100.0 * of(one))
        };
        let columns = Table::with_rows("Smallest change found with 80% (%)", &shown)
            .text("group", |group| &group.experiment)
            .number("as a group", Digits::Decimals(2), |group| {
                group.effect.detectable.map(|part| 100.0 * part)
            })
            .number("median configuration", Digits::Decimals(1), |group| {
                of_one(group, |d| d.median)
            })
            .number("noisiest", Digits::Decimals(1), |group| of_one(group, |d| d.worst));
        Some(columns.build())
    }

    fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.verdicts(), self.experiments()];
        let changed = |verdict: Verdict| {
            let changes = self.configurations.iter().filter(move |c| c.effect.verdict == verdict);
            changes.collect::<Vec<&Change>>()
        };
        for (verdict, word) in [(Verdict::Slower, "Slower"), (Verdict::Faster, "Faster")] {
            let mut changed = changed(verdict);
            changed.sort_by(|a, b| b.effect.ratio.ln().abs().total_cmp(&a.effect.ratio.ln().abs()));
            tables.extend(most_changed(&changed, word, "largest"));
        }
        for (verdict, word) in [
            (Verdict::CandidateSlower, "Candidates for slower"),
            (Verdict::CandidateFaster, "Candidates for faster"),
        ] {
            let mut changed = changed(verdict);
            let p = |change: &Change| change.effect.p_different.unwrap_or(1.0);
            changed.sort_by(|a, b| p(a).total_cmp(&p(b)));
            tables.extend(most_changed(&changed, word, "least likely by chance"));
        }
        tables.extend(self.detectable());
        tables.extend(not_compared(&self.not_compared));
        tables
    }

    fn verdicts(&self) -> Table {
        let only_candidates = self.has_only_candidates();
        let has = |verdict| self.configurations.iter().any(|c| c.effect.verdict == verdict);
        let of_method = |verdict: &Verdict| match verdict {
            Verdict::Undecided => true,
            Verdict::CandidateSlower | Verdict::CandidateFaster => only_candidates || has(*verdict),
            Verdict::Slower | Verdict::Faster | Verdict::Same => !only_candidates,
        };
        let verdicts: Vec<Verdict> = Verdict::ALL.into_iter().filter(of_method).collect();
        let of = |verdict: &Verdict| {
            let verdict = *verdict;
            self.configurations.iter().map(|c| &c.effect).filter(move |e| e.verdict == verdict)
        };
        let beyond = format!("beyond {}", percent_of(self.threshold));
        Table::with_rows("Configurations by verdict", &verdicts)
            .text("verdict", |verdict| verdict.name())
            .count("configurations", |verdict| of(verdict).count())
            .count(("beyond", beyond.as_str()), |verdict| {
                of(verdict).filter(|effect| effect.beyond_threshold).count()
            })
            .build()
    }

    /// All and each experiment; and each series that is shown to have changed.
    fn experiments(&self) -> Table {
        let is_shown =
            |group: &&GroupChange| group.series.is_none() || group.effect.verdict.is_change();
        let shown: Vec<&GroupChange> = self.groups.iter().filter(is_shown).collect();
        let groups =
            Table::with_rows("Groups: geometric mean of their configurations' ratios", &shown)
                .text("group", |group| match &group.series {
                    Some(series) => format!("{}, {series}", group.experiment),
                    None => group.experiment.clone(),
                })
                .count("n", |group| group.configurations);
        let mut table = with_change(groups, |group| &group.effect)
            .text("verdict", |group| group.effect.verdict.name())
            .build();
        let unchanged = self.groups.len() - shown.len();
        if unchanged > 0 {
            table.note(format!("{unchanged} series without a confirmed change are not shown"));
        }
        table
    }
}

/// A row of the CSV: a group or a configuration.
struct CsvRow<'a> {
    experiment: &'a str,
    series: &'a str,
    id: &'a str,
    x: Option<f64>,
    configurations: usize,
    median_ns: Option<[f64; 2]>,
    effect: &'a Effect,
    cause: String,
}

impl<'a> From<&'a GroupChange> for CsvRow<'a> {
    fn from(group: &'a GroupChange) -> Self {
        Self {
            experiment: &group.experiment,
            series: group.series.as_deref().unwrap_or_default(),
            id: "",
            x: None,
            configurations: group.configurations,
            median_ns: None,
            effect: &group.effect,
            cause: String::new(),
        }
    }
}

impl<'a> From<&'a Change> for CsvRow<'a> {
    fn from(change: &'a Change) -> Self {
        Self {
            experiment: &change.experiment,
            series: &change.series,
            id: &change.id,
            x: Some(change.x),
            configurations: 1,
            median_ns: Some(change.median_ns),
            effect: &change.effect,
            cause: causes(change),
        }
    }
}

/// The columns for people of a ratio.
fn with_change<'r, R>(
    columns: Columns<'r, R>,
    effect: impl Fn(&'r R) -> &'r Effect,
) -> Columns<'r, R> {
    columns
        .written("change (%)", |row| change_of(effect(row).ratio))
        .written("95% interval (%)", |row| interval_of(effect(row)))
}

fn most_changed(changed: &[&Change], word: &str, first: &str) -> Option<Table> {
    if changed.is_empty() {
        return None;
    }
    let title = match changed.len() {
        n if n > WORST => format!("{word}: the {WORST} {first} of {n}"),
        n => format!("{word}: {n}"),
    };
    let shown = &changed[..changed.len().min(WORST)];
    // a column that says the same in every row would only make the table wide
    let cause = causes(shown[0]);
    let is_shared = shown.iter().all(|change| causes(change) == cause);
    let median = |change: &Change, side: usize| Nanoseconds(change.median_ns[side]).to_string();
    let columns = Table::with_rows(title, shown)
        .text("configuration", |change| &change.id)
        .written("before", |change| median(change, 0))
        .written("after", |change| median(change, 1));
    let columns = with_change(columns, |change| &change.effect);
    if !is_shared {
        return Some(columns.text("cause", |change| causes(change)).build());
    }
    let mut table = columns.build();
    table.note(format!("cause (all rows): {cause}"));
    Some(table)
}

fn not_compared(rows: &[NotCompared]) -> Option<Table> {
    let mut lost: Vec<&NotCompared> = rows.iter().collect();
    lost.sort_by_key(|not| !not.lost);
    let first = lost.first()?;
    let shown = &lost[..lost.len().min(WORST)];
    let mut table = Table::with_rows(format!("Not compared: {}", rows.len()), shown)
        .text("configuration", |not| &not.id)
        .count("runs before", |not| not.measured[0])
        .count("runs after", |not| not.measured[1])
        .text("reason", |not| &not.reason)
        .build();
    if rows.len() > WORST {
        table.note(format!("{} more", rows.len() - WORST));
    }
    if first.lost {
        table.note(
            "configurations that were measured before and failed after come first; they \
                    count as slower",
        );
    }
    Some(table)
}

impl Method {
    /// What is peculiar about the runs' noise.
    fn noise_sentence(&self) -> Option<String> {
        let Self::BetweenRuns { layout, serial, inflation, variance_ratio, .. } = self else {
            return None;
        };
        let mut said = Vec::new();
        if *layout == Layout::Blocks {
            said.push(
                "One side was measured after the other (blocks in time): a change of the machine \
                 between them looks like the update. Measure the sides in turns if you can."
                    .to_owned(),
            );
        }
        if *inflation >= 1.005 {
            said.push(format!(
                "Runs resemble those near in time (serial correlation {:.2}, standard deviation of \
                 configurations' drifts {:.1} times that of a run): errors are {inflation:.2} times \
                 those of independent runs.",
                serial.correlation,
                serial.drift.sqrt()
            ));
        }
        let times = variance_ratio.sqrt();
        if times.ln().abs() > 1.1f64.ln() {
            let (noisier, other) =
                if times > 1.0 { ("after", "before") } else { ("before", "after") };
            said.push(format!(
                "Runs {noisier} scatter {:.1} times as much as those {other}, which is allowed for.",
                times.max(times.recip())
            ));
        }
        (!said.is_empty()).then(|| said.join(" "))
    }

    fn sentence(&self, rate: f64) -> String {
        let rate = percent_of(rate);
        let shared = format!(
            "expected share of false discoveries among configurations and groups called slower or \
             faster: at most {rate} (Benjamini–Hochberg, half of it for configurations and half for \
             groups)"
        );
        match *self {
            Self::BetweenRuns { paired, df, prior_df, typical_sd, .. } => {
                let prior = prior_df.map_or("∞".to_owned(), |df| format!("{df:.1}"));
                let pairs = if paired { "ratios of paired " } else { "" };
                format!(
                    "Decided by a moderated t test on {pairs}run medians (Smyth 2004; {df} degrees \
                     of freedom for each configuration and {prior} from all together; typical \
                     run-to-run standard deviation {}), \"same\" by two one-sided tests; {shared}; \
                     each change is confirmed by permuting the runs.",
                    percent_of(typical_sd)
                )
            }
            Self::History { runs, groups, typical_sd } => format!(
                "A single run on a side: the noise is estimated from {runs} archived runs, {} (moderated \
                 t test, Smyth 2004; typical run-to-run standard deviation {}), \"same\" by two \
                 one-sided tests; {shared}; each change is confirmed by pairs of archived runs. A \
                 disturbance absent from the archived runs is reported as a change.",
                match groups {
                    1 => "all from the same environment".to_owned(),
                    groups => format!("in {groups} groups, each from one environment"),
                },
                percent_of(typical_sd)
            ),
            Self::WithinRuns => format!(
                "One run per side and no archived runs from the same environment: run-to-run noise \
                 is unknown, and a candidate is a difference that the launches within the runs cannot \
                 explain and that stands out from those of the other configurations. Measure several runs per side (`cargo replicate --runs 5`) for a verdict. If \
                 runs did not differ: {shared}."
            ),
        }
    }
}

fn causes(change: &Change) -> String {
    change.causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn runs(n: usize) -> String {
    if n == 1 { "1 run".to_owned() } else { format!("{n} runs") }
}

/// `2%`, `0.5%`.
pub(crate) fn percent_of(part: f64) -> String {
    format!("{}%", crate::table::rounded(part * 100.0, 2))
}

/// `+3.14`, in percent.
fn change_of(ratio: f64) -> String {
    match ratio.is_finite() {
        true => format!("{:+.2}", (ratio - 1.0) * 100.0).replace('-', "−"),
        false => "–".to_owned(),
    }
}

fn interval_of(effect: &Effect) -> String {
    match effect.interval {
        Some([low, high]) => format!("{} … {}", change_of(low), change_of(high)),
        None => "unknown".to_owned(),
    }
}
