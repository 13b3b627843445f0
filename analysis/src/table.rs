//! Tables as data, and as text, Markdown and CSV. Nothing is computed here.
//!
//! A column is declared once, with its heading, its digits and the value that it takes from a row:
//!
//! ```
//! use alpha_flops_analysis::table::{Digits, Table};
//!
//! let errors = [("A", 27, 8.701), ("B", 120, 3.804)];
//! let table = Table::with_rows("Errors by experiment", &errors)
//!     .text("experiment", |row| row.0)
//!     .count("n", |row| row.1)
//!     .number(("rmse_ms", "RMSE (ms)"), Digits::Decimals(2), |row| row.2)
//!     .build();
//! assert_eq!(table.to_csv(), "experiment,n,rmse_ms\nA,27,8.70\nB,120,3.80\n");
//! ```

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::dataset::Provenance;

/// What stands above a column: a title for people with its unit in parentheses, and a key for CSV
/// with its unit as a suffix.
///
/// A single text is both; a pair is `(key, title)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    key: String,
    title: String,
}

/// How many digits a number is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digits {
    /// As many as tell it from all other numbers.
    Exact,
    /// So many after the point.
    Decimals(usize),
    /// The same, with a plus sign where it is positive.
    Signed(usize),
    /// So many significant ones, without zeros at the end, see [`rounded`].
    Significant(i32),
}

/// A table with its title, notes and provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    title: String,
    columns: Vec<Column>,
    provenance: Option<Provenance>,
    notes: Vec<String>,
}

/// A table under construction: it has its rows, and gets its columns.
#[derive(Debug)]
pub struct Columns<'r, R> {
    rows: &'r [R],
    table: Table,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column {
    heading: Heading,
    alignment: Alignment,
    /// One a row; `None` where there is no value.
    cells: Vec<Option<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alignment {
    Left,
    Right,
}

impl From<&str> for Heading {
    fn from(text: &str) -> Self {
        (text, text).into()
    }
}

impl From<(&str, &str)> for Heading {
    fn from((key, title): (&str, &str)) -> Self {
        Self { key: key.to_owned(), title: title.to_owned() }
    }
}

impl Digits {
    fn write(self, value: f64) -> String {
        match self {
            Self::Exact => value.to_string(),
            Self::Decimals(decimals) => format!("{value:.decimals$}"),
            Self::Signed(decimals) => format!("{value:+.decimals$}"),
            Self::Significant(digits) => rounded(value, digits),
        }
    }
}

impl<'r, R> Columns<'r, R> {
    /// Words, aligned to the left.
    pub fn text<T: Display>(self, heading: impl Into<Heading>, value: impl Fn(&'r R) -> T) -> Self {
        self.column(heading, Alignment::Left, |row| Some(value(row).to_string()))
    }

    /// Whole numbers.
    pub fn count<T: Display>(
        self,
        heading: impl Into<Heading>,
        value: impl Fn(&'r R) -> T,
    ) -> Self {
        self.column(heading, Alignment::Right, |row| Some(value(row).to_string()))
    }

    /// Numbers, all in one format; a missing one is `–` for people and empty in CSV.
    pub fn number<N: Into<Option<f64>>>(
        self,
        heading: impl Into<Heading>,
        digits: Digits,
        value: impl Fn(&'r R) -> N,
    ) -> Self {
        self.column(heading, Alignment::Right, |row| {
            value(row).into().map(|number| digits.write(number))
        })
    }

    /// Numbers that are written by hand: intervals, errors, times in units of their own.
    pub fn written<T: Into<Option<String>>>(
        self,
        heading: impl Into<Heading>,
        value: impl Fn(&'r R) -> T,
    ) -> Self {
        self.column(heading, Alignment::Right, |row| value(row).into())
    }

    fn column(
        mut self,
        heading: impl Into<Heading>,
        alignment: Alignment,
        cell: impl Fn(&'r R) -> Option<String>,
    ) -> Self {
        let cells = self.rows.iter().map(cell).collect();
        self.table.columns.push(Column { heading: heading.into(), alignment, cells });
        self
    }

    /// The table with the columns so far.
    pub fn build(self) -> Table {
        self.table
    }
}

impl Column {
    /// A row's cell for people.
    fn shown(&self, row: usize) -> &str {
        self.cells[row].as_deref().unwrap_or("–")
    }

    fn width(&self) -> usize {
        let cells = (0..self.cells.len()).map(|row| self.shown(row));
        let all = cells.chain([self.heading.title.as_str()]);
        all.map(|text| text.chars().count()).max().unwrap_or(0)
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
    /// A table of these rows, still without columns.
    pub fn with_rows<R>(title: impl Into<String>, rows: &[R]) -> Columns<'_, R> {
        let table =
            Self { title: title.into(), columns: Vec::new(), provenance: None, notes: Vec::new() };
        Columns { rows, table }
    }

    /// States where the numbers come from: a line under the table, and columns of the CSV.
    pub fn with_provenance(mut self, provenance: &Provenance) -> Self {
        self.provenance = Some(provenance.clone());
        self
    }

    /// Adds a line under the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.height() == 0
    }

    fn height(&self) -> usize {
        self.columns.first().map_or(0, |column| column.cells.len())
    }

    /// Aligned text: title, heading, rule, rows, provenance, notes.
    pub fn to_text(&self) -> String {
        let widths: Vec<usize> = self.columns.iter().map(Column::width).collect();
        let line = |cell: &dyn Fn(&Column) -> String| {
            let cells = self.columns.iter().zip(&widths);
            let padded: Vec<_> =
                cells.map(|(column, width)| column.pad(&cell(column), *width)).collect();
            format!("{}\n", padded.join("  ").trim_end())
        };
        let rule = widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  ");
        let headings = line(&|column| column.heading.title.clone());
        let mut text = format!("{}\n\n{headings}{rule}\n", self.title);
        for row in 0..self.height() {
            text += &line(&|column| column.shown(row).to_owned());
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
        let line = |cell: &dyn Fn(&Column) -> String| {
            let cells: Vec<_> =
                self.columns.iter().map(|column| escape_markdown(&cell(column))).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = self.columns.iter().map(|column| match column.alignment {
            Alignment::Left => "---",
            Alignment::Right => "---:",
        });
        let mut text = format!("**{}**\n\n", escape_markdown(&self.title));
        text += &line(&|column| column.heading.title.clone());
        text += &format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
        for row in 0..self.height() {
            text += &line(&|column| column.shown(row).to_owned());
        }
        let provenance = self.provenance.iter().map(Provenance::line);
        let below: Vec<String> = provenance.chain(self.notes.iter().cloned()).collect();
        if !below.is_empty() {
            text.push('\n');
        }
        for line in below {
            text += &format!("- {}\n", escape_markdown(&line));
        }
        text
    }

    /// CSV with the columns' keys as header and the provenance repeated in every row; title and
    /// notes have no place in it.
    pub fn to_csv(&self) -> String {
        let provenance = self.provenance.as_ref().map_or_else(Vec::new, |p| {
            vec![
                ("source", p.source.as_str()),
                ("backend", &p.backend),
                ("device", &p.device),
                ("versions", &p.versions),
                ("protocol", &p.protocol),
            ]
        });
        let keys = self.columns.iter().map(|column| column.heading.key.as_str());
        let mut text = csv_line(keys.chain(provenance.iter().map(|(name, _)| *name)));
        for row in 0..self.height() {
            let cells =
                self.columns.iter().map(|column| column.cells[row].as_deref().unwrap_or(""));
            text += &csv_line(cells.chain(provenance.iter().map(|(_, value)| *value)));
        }
        text
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
    without_tags(&text.replace('|', "\\|").replace(['\n', '\r'], " "))
}

/// A text in which Markdown finds no HTML, whoever chose the names in it.
pub(crate) fn without_tags(text: &str) -> String {
    text.replace('<', "&lt;")
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
        let rows = [("H×W = 2×2", Some(1.5)), ("C, \"quoted\"", Some(1234.25)), ("K", None)];
        let provenance = Provenance {
            source: "a test".into(),
            backend: "cpu".into(),
            device: "two cores".into(),
            versions: "unknown".into(),
            protocol: "latency-warm".into(),
        };
        let mut table = Table::with_rows("Parameters | by group", &rows)
            .text("series", |row| row.0)
            .number(("time_us", "β·time (µs)"), Digits::Exact, |row| row.1)
            .build()
            .with_provenance(&provenance);
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
        K                      –

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
        | K | – |

        - two cores (cpu) · latency-warm · a test
        - a\|b
        "#);
    }

    #[test]
    fn what_is_missing_is_empty_in_csv() {
        let csv = example().to_csv();
        assert_eq!(
            csv.lines().next().unwrap(),
            "series,time_us,source,backend,device,versions,protocol"
        );
        assert_eq!(csv.lines().last().unwrap(), "K,,a test,cpu,two cores,unknown,latency-warm");
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
            let table = Table::with_rows("t", &rows)
                .text(("a", "A"), |row| &row[0])
                .text(("b", "B"), |row| &row[1])
                .build();
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
