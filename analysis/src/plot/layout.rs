//! Where everything in a figure goes, and its text in lines that fit.

use plotters::prelude::*;
use plotters::style::FontStyle;

use super::PlotError;
use super::figure::Figure;

/// DejaVu Sans where it is installed, else what has nearly its metrics.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";
/// The backend has whole coordinates only; this many of them make a pixel.
pub(super) const SUBPIXELS: i32 = 8;

pub(super) const MARGIN: i32 = 16;
const LEGEND_WIDTH: i32 = 206;
const SINGLE_PANEL: (i32, i32) = (720, 440);
const ONE_OF_PANELS: (i32, i32) = (430, 350);
const COLUMNS: usize = 3;
pub(super) const X_LABELS_HEIGHT: i32 = 42;
pub(super) const Y_LABELS_WIDTH: i32 = 66;
pub(super) const LINE_HEIGHT: i32 = 17;
/// Between what is below one row of panels and the headings of the next.
pub(super) const ROW_GAP: i32 = 12;
const CAPTION_GAP: i32 = 16;

pub(super) const TEXT: RGBColor = RGBColor(34, 34, 34);
pub(super) const QUIET: RGBColor = RGBColor(96, 96, 96);
pub(super) const GRID: RGBColor = RGBColor(225, 225, 225);
pub(super) const FAINT: RGBColor = RGBColor(241, 241, 241);

/// Text of `em` pixels.
pub(super) fn font(em: f64, colour: RGBColor) -> TextStyle<'static> {
    // the library's sizes are 1.24 em
    (FAMILY, em * 1.24 * f64::from(SUBPIXELS)).into_font().color(&colour)
}

pub(super) fn bold(em: f64) -> TextStyle<'static> {
    (FAMILY, em * 1.24 * f64::from(SUBPIXELS)).into_font().style(FontStyle::Bold).color(&TEXT)
}

/// Where everything goes, in pixels, and the caption in lines that fit.
pub(super) struct Layout {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) panel: (i32, i32),
    pub(super) columns: i32,
    pub(super) top: i32,
    pub(super) caption: Vec<String>,
    pub(super) subtitle: Vec<String>,
    pub(super) legend: Vec<Entry>,
    /// Of each panel, in lines that fit.
    pub(super) headings: Vec<Vec<String>>,
    /// Above each panel's plot, the same for all so that they align.
    pub(super) heading_height: i32,
}

/// One line of the legend.
pub(super) struct Entry {
    pub(super) symbol: Symbol,
    pub(super) text: String,
}

pub(super) enum Symbol {
    Series(usize),
    Point,
    Spread {
        dense: bool,
    },
    Estimate(usize),
    Ring,
    Switch,
    /// A further line of the text above.
    None,
}

impl Layout {
    pub(super) fn new(figure: &Figure) -> Result<Self, PlotError> {
        let columns = figure.panels.len().clamp(1, COLUMNS);
        let rows = figure.panels.len().div_ceil(columns).max(1) as i32;
        let panel = if columns == 1 { SINGLE_PANEL } else { ONE_OF_PANELS };
        let width = 2 * MARGIN + columns as i32 * panel.0 + LEGEND_WIDTH;
        let subtitle = wrapped(&figure.subtitle, &font(12.0, QUIET), width - 2 * MARGIN)?;
        let top = MARGIN + 26 + LINE_HEIGHT * subtitle.len() as i32 + 6;
        let legend = legend(figure)?;
        let plots =
            (rows * panel.1 + (rows - 1) * ROW_GAP).max(legend.len() as i32 * LINE_HEIGHT + 40);
        let mut headings = Vec::new();
        for heading in figure.panels.iter().map(|p| p.heading.as_deref().unwrap_or_default()) {
            headings.push(wrapped(heading, &bold(11.5), panel.0 - Y_LABELS_WIDTH - 14)?);
        }
        let lines = headings.iter().map(Vec::len).max().unwrap_or_default();
        let mut caption = Vec::new();
        for sentence in &figure.caption {
            caption.extend(wrapped(sentence, &font(10.5, QUIET), width - 2 * MARGIN)?);
        }
        let height = top + plots + CAPTION_GAP + caption.len() as i32 * (LINE_HEIGHT - 2) + MARGIN;
        let columns = columns as i32;
        let heading_height = 4 + lines as i32 * LINE_HEIGHT;
        Ok(Self {
            width,
            height,
            panel,
            columns,
            top,
            caption,
            subtitle,
            legend,
            headings,
            heading_height,
        })
    }
}

fn legend(figure: &Figure) -> Result<Vec<Entry>, PlotError> {
    let dense = figure.panels.iter().flat_map(|panel| &panel.lines).any(|line| line.dense);
    let series = figure.series.iter().enumerate().map(|(i, name)| (Symbol::Series(i), name));
    let points = std::iter::once((Symbol::Point, &figure.key.points));
    let spread = figure.key.spread.iter().map(|text| (Symbol::Spread { dense }, text));
    let estimates =
        figure.key.estimates.iter().enumerate().map(|(i, name)| (Symbol::Estimate(i), name));
    let rings = figure.key.rings.iter().map(|text| (Symbol::Ring, text));
    let switches = figure.key.switches.iter().map(|text| (Symbol::Switch, text));
    let keys = points.chain(spread).chain(estimates).chain(rings).chain(switches);
    let mut entries = Vec::new();
    for (symbol, text) in series.chain(keys) {
        let mut symbol = Some(symbol);
        for text in wrapped(text, &font(11.5, TEXT), LEGEND_WIDTH - 44)? {
            entries.push(Entry { symbol: symbol.take().unwrap_or(Symbol::None), text });
        }
    }
    Ok(entries)
}

/// Breaks a text between words into lines of at most `width` pixels.
fn wrapped(text: &str, style: &TextStyle<'_>, width: i32) -> Result<Vec<String>, PlotError> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (longer, lines.last_mut()) {
            (Some(longer), Some(line)) if pixels(&longer, style)? <= width => *line = longer,
            _ => lines.push(word.to_owned()),
        }
    }
    Ok(lines)
}

/// Width of a text.
fn pixels(text: &str, style: &TextStyle<'_>) -> Result<i32, PlotError> {
    let ((left, _), (right, _)) =
        style.font.layout_box(text).map_err(|error| PlotError::Drawing(error.to_string()))?;
    Ok((right - left) / SUBPIXELS)
}
