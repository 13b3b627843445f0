//! Tables as data, and as text, Markdown and CSV. Nothing is computed here.

use std::ops::RangeInclusive;

use crate::dataset::Provenance;

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Stable name for CSV, with the unit in it: `rmse_ms`.
    pub key: String,
    /// Heading for people, without the unit: `RMSE`.
    pub title: String,
    /// Unit, or empty.
    pub unit: String,
    /// Which side cells keep to.
    pub alignment: Alignment,
}

/// A table with its title, notes and provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    title: String,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    provenance: Option<Provenance>,
    notes: Vec<String>,
}

impl Column {
    /// A column of words.
    pub fn text(key: &str, title: &str) -> Self {
        Self {
            key: key.into(),
            title: title.into(),
            unit: String::new(),
            alignment: Alignment::Left,
        }
    }

    /// A column of numbers in `unit` (empty for counts and ratios).
    pub fn number(key: &str, title: &str, unit: &str) -> Self {
        Self {
            key: key.into(),
            title: title.into(),
            unit: unit.into(),
            alignment: Alignment::Right,
        }
    }

    fn heading(&self) -> String {
        match self.unit.as_str() {
            "" => self.title.clone(),
            unit => format!("{} ({unit})", self.title),
        }
    }

    fn pad(&self, text: &str, width: usize) -> String {
        // `format!` counts characters, which is the width of everything these tables hold: Latin,
        // Greek and symbols such as × and µ, each one column wide
        match self.alignment {
            Alignment::Left => format!("{text:<width$}"),
            Alignment::Right => format!("{text:>width$}"),
        }
    }
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            title: title.into(),
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
            provenance: None,
            notes: Vec::new(),
        }
    }

    /// Adds a row; missing cells stay empty, and cells beyond the last column are dropped.
    pub fn push(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(row.len(), self.columns.len(), "a row of `{}`", self.title);
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Adds a line under the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// States where the numbers come from: a line under the table, and columns of the CSV.
    pub fn set_provenance(&mut self, provenance: &Provenance) {
        self.provenance = Some(provenance.clone());
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The rows, each as long as the columns.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Aligned text: title, heading, rule, rows, provenance, notes.
    pub fn to_text(&self) -> String {
        let widths = self.widths();
        let line = |cells: &[String]| {
            let cells = self.columns.iter().zip(cells).zip(&widths);
            let padded: Vec<_> = cells.map(|((c, text), width)| c.pad(text, *width)).collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        let rule = widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  ");
        let mut text = format!("{}\n\n{}{rule}\n", self.title, line(&self.headings()));
        for row in &self.rows {
            text += &line(row);
        }
        if self.provenance.is_some() || !self.notes.is_empty() {
            text.push('\n');
        }
        if let Some(provenance) = &self.provenance {
            text += &format!("measured: {}\n", provenance.line());
            text += &format!("versions: {}\n", provenance.versions);
        }
        for note in &self.notes {
            text += &format!("note: {note}\n");
        }
        text
    }

    /// A Markdown (GitHub) table with its title as a bold line and the rest as a list. Versions
    /// are left to the document around it.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|cell| escape_markdown(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = self.columns.iter().map(|column| match column.alignment {
            Alignment::Left => "---",
            Alignment::Right => "---:",
        });
        let mut text = format!("**{}**\n\n", escape_markdown(&self.title));
        text += &line(&self.headings());
        text += &format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
        for row in &self.rows {
            text += &line(row);
        }
        if self.provenance.is_some() || !self.notes.is_empty() {
            text.push('\n');
        }
        if let Some(provenance) = &self.provenance {
            text += &format!("- {}\n", escape_markdown(&provenance.line()));
        }
        for note in &self.notes {
            text += &format!("- {}\n", escape_markdown(note));
        }
        text
    }

    /// CSV with the columns' keys as header and the provenance repeated in every row; title and
    /// notes have no place in it.
    pub fn to_csv(&self) -> String {
        let keys = self.columns.iter().map(|column| column.key.as_str());
        let provenance = self.provenance.as_ref().map_or_else(Vec::new, |p| {
            vec![
                ("source", p.source.as_str()),
                ("backend", &p.backend),
                ("device", &p.device),
                ("versions", &p.versions),
                ("protocol", &p.protocol),
            ]
        });
        let mut text = csv_line(keys.chain(provenance.iter().map(|(name, _)| *name)));
        for row in &self.rows {
            let cells = row.iter().map(String::as_str);
            text += &csv_line(cells.chain(provenance.iter().map(|(_, value)| *value)));
        }
        text
    }

    fn headings(&self) -> Vec<String> {
        self.columns.iter().map(Column::heading).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<_> = self.headings().iter().map(|text| text.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

/// A value with `digits` significant digits, without zeros at the end: `0.0375`.
pub fn rounded(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = digits - 1 - magnitude(value);
    if !WRITTEN_OUT.contains(&magnitude(value)) || decimals < 0 {
        return format!("{value:.*e}", (digits - 1).max(0) as usize);
    }
    let text = format!("{value:.*}", decimals as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A value with its standard error, both to the error's second digit: `0.0642 ± 0.0055`.
pub fn with_error(value: f64, error: f64) -> String {
    let is_plain = |number: f64| number.is_normal() && WRITTEN_OUT.contains(&magnitude(number));
    if !(is_plain(value) && is_plain(error)) {
        return format!("{} ± {}", rounded(value, 5), rounded(error, 2));
    }
    let decimals = (1 - magnitude(error)).max(0) as usize;
    format!("{value:.decimals$} ± {error:.decimals$}")
}

/// Magnitudes outside these read better in scientific notation.
const WRITTEN_OUT: RangeInclusive<i32> = -6..=8;

/// The power of ten of the first digit of a number that is not 0.
fn magnitude(value: f64) -> i32 {
    value.abs().log10().floor() as i32
}

/// Columns of the narrowest terminal that is to show what is printed well.
const WIDTH: usize = 80;

/// Lines of at most 80 characters, those after the first indented to the label's end. A
/// longer word has a line of its own.
pub fn wrapped(label: &str, text: &str) -> String {
    let indent = label.chars().count();
    let mut lines = label.to_owned();
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            lines += &format!("\n{}", " ".repeat(indent));
            column = indent;
        } else if column > indent {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += length;
    }
    lines + "\n"
}

fn escape_markdown(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// One CSV record (RFC 4180 quoting, `\n` at the end).
fn csv_line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let quoted = cells.map(|cell| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Table {
        let mut table = Table::new(
            "Parameters | by group",
            [Column::text("series", "series"), Column::number("time_us", "β·time", "µs")],
        );
        table.push(["H×W = 2×2", "1.5"]);
        table.push(["C, \"quoted\"", "1234.25"]);
        table.set_provenance(&Provenance {
            source: "a test".into(),
            backend: "cpu".into(),
            device: "two cores".into(),
            versions: "unknown".into(),
            protocol: "latency-warm".into(),
        });
        table.note("a|b");
        table
    }

    #[test]
    fn text_is_aligned_in_characters_not_bytes() {
        insta::assert_snapshot!(example().to_text(), @r#"
        Parameters | by group

        series       β·time (µs)
        ───────────  ───────────
        H×W = 2×2            1.5
        C, "quoted"      1234.25

        measured: two cores (cpu) · latency-warm · a test
        versions: unknown
        note: a|b
        "#);
    }

    #[test]
    fn markdown_escapes_what_would_break_the_table() {
        insta::assert_snapshot!(example().to_markdown(), @r#"
        **Parameters \| by group**

        | series | β·time (µs) |
        |---|---:|
        | H×W = 2×2 | 1.5 |
        | C, "quoted" | 1234.25 |

        - two cores (cpu) · latency-warm · a test
        - a\|b
        "#);
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        assert_eq!(with_error(0.064_220_59, 0.005_490_92), "0.0642 ± 0.0055");
        assert_eq!(with_error(1.147_11, 0.043_16), "1.147 ± 0.043");
        assert_eq!(with_error(0.001_138_94, 4.34e-6), "0.0011389 ± 0.0000043");
        assert_eq!(with_error(6.512_29e-10, 2.31e-12), "6.5123e-10 ± 2.3e-12");
        assert_eq!(with_error(2.0, 426.3), "2 ± 426");
        assert_eq!(with_error(0.05, 1e-9), "0.05 ± 1.0e-9");
        assert_eq!(with_error(2.0, 0.0), "2 ± 0");
        assert_eq!(rounded(0.0375, 5), "0.0375");
        assert_eq!(rounded(2.0, 5), "2");
        assert_eq!(rounded(0.009_725_14, 9), "0.00972514");
        assert_eq!(rounded(12_345_678.0, 3), "1.23e7");
        assert_eq!(rounded(6.512_29e-10, 3), "6.51e-10");
        assert_eq!(rounded(0.0, 5), "0");
    }

    proptest! {
        #[test]
        fn wrapping_keeps_every_word_and_fits(words in prop::collection::vec("[a-zα–]{1,20}", 0..40)) {
            let text = wrapped("RO1  ", &words.join(" "));
            prop_assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
            prop_assert!(text.lines().skip(1).all(|line| line.starts_with("     ")));
            let found: Vec<&str> = text.split_whitespace().skip(1).collect();
            prop_assert_eq!(found, words);
        }

        #[test]
        fn numbers_are_right_to_the_digits_they_show(
            value in -1e12f64..1e12, power in -20i32..20, digits in 1i32..8
        ) {
            let value = value * 10f64.powi(power);
            let read: f64 = rounded(value, digits).parse().unwrap();
            prop_assert!((read - value).abs() <= value.abs() * 0.51 * 10f64.powi(1 - digits));
        }

        #[test]
        fn csv_reads_back_cell_for_cell(
            rows in prop::collection::vec(prop::collection::vec("[a-z,\"\n×β ]{0,8}", 2), 0..6)
        ) {
            let mut table = Table::new("t", [Column::text("a", "A"), Column::text("b", "B")]);
            for row in &rows {
                table.push(row.clone());
            }
            let csv = table.to_csv();
            let mut reader = csv::Reader::from_reader(csv.as_bytes());
            prop_assert_eq!(reader.headers().unwrap(), vec!["a", "b"]);
            let read: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(read, rows);
        }
    }
}
