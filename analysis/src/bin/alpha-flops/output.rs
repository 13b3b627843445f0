//! What commands print: results on standard output, everything else on standard error. A reader that
//! has gone away (`| head`) is no error.

use std::io::{self, ErrorKind, Write};

use alpha_flops_analysis::table::Table;
use clap::builder::TypedValueParser;
use serde::Serialize;

use crate::values::choice;
use crate::{Context, Exit, Result};

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Markdown,
    Csv,
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Markdown => "markdown",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// Formats of commands whose result is in files.
pub fn summary_formats() -> impl TypedValueParser<Value = Format> {
    choice(
        Format::name,
        [(Format::Table, "A summary for people"), (Format::Json, "JSON with stable field names")],
    )
}

/// Formats of commands whose result is a table.
pub fn table_formats() -> impl TypedValueParser<Value = Format> {
    choice(
        Format::name,
        [
            (Format::Table, "Aligned text for people"),
            (Format::Csv, "Comma-separated values with a header, units in the names"),
            (Format::Json, "JSON with stable field names"),
        ],
    )
}

/// Formats of commands whose result may go into a pull request.
pub fn comparison_formats() -> impl TypedValueParser<Value = Format> {
    choice(
        Format::name,
        [
            (Format::Table, "A summary for people"),
            (Format::Markdown, "The summary for a pull request"),
            (Format::Csv, "One row a group and a configuration"),
            (Format::Json, "JSON with stable field names"),
        ],
    )
}

/// Prints a result whose `value` is JSON, and which is `table` to people.
pub fn print_table(format: Format, table: &Table, value: &impl Serialize) -> Result<Exit> {
    print(&match format {
        Format::Table => table.to_text(),
        Format::Markdown => table.to_markdown(),
        Format::Csv => table.to_csv(),
        Format::Json => json(value)?,
    })
}

/// Prints a result whose `value` is JSON, and which is `summary` to people.
pub fn print_summary(format: Format, summary: &str, value: &impl Serialize) -> Result<Exit> {
    if format == Format::Json { print(&json(value)?) } else { print(summary) }
}

pub fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Writes to standard output; once that is done, a command may have succeeded.
pub fn print(text: &str) -> Result<Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(Exit::Success),
    }
}

/// Writes a line to standard error. Where that is closed, there is nobody to tell.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
