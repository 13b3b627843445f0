//! Results of the commands, which go to standard output.

use alpha_flops::choice::choices;
use alpha_flops::terminal;
use alpha_flops_analysis::table::Table;
use clap::builder::TypedValueParser;
use serde::Serialize;

use crate::values::choice;
use crate::{Exit, Result};

choices! {
    /// How a result is printed. Every command offers [`Format::Table`], and says which others it offers.
    pub enum Format {
        Table = "table",
        Markdown = "markdown",
        Csv = "csv",
        Json = "json",
    }
}

impl Format {
    /// For commands whose result is in files.
    pub const SUMMARY: [Self; 2] = [Self::Table, Self::Json];
    /// For commands whose result is a table.
    pub const TABULAR: [Self; 3] = [Self::Table, Self::Csv, Self::Json];

    fn help(self) -> &'static str {
        match self {
            Self::Table => "Text for the terminal",
            Self::Markdown => "Markdown for a pull request",
            Self::Csv => "CSV with a header and units in the column names",
            Self::Json => "JSON with stable field names",
        }
    }
}

/// A parser for the formats that a command offers.
pub fn formats<const N: usize>(offered: [Format; N]) -> impl TypedValueParser<Value = Format> {
    choice(Format::name, offered.map(|format| (format, format.help())))
}

/// Prints `value` as JSON, or `table` in any other format.
pub fn print_table(format: Format, table: &Table, value: &impl Serialize) -> Result<Exit> {
    print(&match format {
        Format::Table => table.to_text(),
        Format::Markdown => table.to_markdown(),
        Format::Csv => table.to_csv(),
        Format::Json => json(value)?,
    })
}

/// Prints `value` as JSON, or else `summary`.
pub fn print_summary(format: Format, summary: &str, value: &impl Serialize) -> Result<Exit> {
    if format == Format::Json { print(&json(value)?) } else { print(summary) }
}

pub fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Writes to standard output. Returns [`Exit::Success`], as most commands end with this.
pub fn print(text: &str) -> Result<Exit> {
    terminal::print(text)?;
    Ok(Exit::Success)
}
