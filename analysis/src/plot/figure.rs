//! What a picture consists of. Nothing here knows where it comes from or how a line is drawn.

use super::axis::Axis;

#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// File name without extension: `figure-4a-D-original`.
    pub name: String,
    pub title: String,
    /// What the experiment asks.
    pub subtitle: String,
    /// Shared by all panels.
    pub x: Axis,
    /// Side by side, one a target.
    pub panels: Vec<Panel>,
    /// Names of the series, in the order of the legend.
    pub series: Vec<String>,
    /// What the legend says of the symbols, beside the series.
    pub key: Key,
    /// Sentences below the picture: what was measured, on what, how, and what the symbols mean.
    pub caption: Vec<String>,
}

/// The legend's second part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Key {
    /// What a marker is: `measured (median)`.
    pub points: String,
    /// What a bar or band is, where there is one.
    pub spread: Option<String>,
    /// What each kind of dashed line is.
    pub estimates: Vec<String>,
    /// What a ring around a point means, where there is one.
    pub rings: Option<String>,
    /// What a tick at the bottom means, where there is one.
    pub switches: Option<String>,
}

/// The plot of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Whose measurements, where there are several panels.
    pub heading: Option<String>,
    /// Its own y axis: targets differ by orders of magnitude.
    pub y: Axis,
    pub lines: Vec<Line>,
    pub curves: Vec<Curve>,
    /// A horizontal line at this value.
    pub reference: Option<f64>,
    pub rings: Vec<(f64, f64)>,
    /// Where something switches along a line: index into [`Figure::series`], and x.
    pub switches: Vec<(usize, f64)>,
}

/// Measured points of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Index into [`Figure::series`].
    pub series: usize,
    /// x ascending.
    pub points: Vec<Point>,
    /// Whether there are too many points for markers and whiskers of their own.
    pub dense: bool,
}

/// One measured configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    /// In the unit of the panel's y axis.
    pub y: f64,
    /// Ends of its spread in the same unit: quartiles, or a 95% interval.
    pub quartiles: Option<(f64, f64)>,
}

/// Estimates of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Index into [`Figure::series`].
    pub series: usize,
    /// Index into [`Key::estimates`].
    pub estimate: usize,
    /// x ascending.
    pub points: Vec<(f64, f64)>,
}

/// Above this many points a series is drawn densely: dots and a band instead of markers and
/// whiskers.
const DENSE: usize = 60;

impl Panel {
    pub fn new(y: Axis) -> Self {
        Self {
            heading: None,
            y,
            lines: Vec::new(),
            curves: Vec::new(),
            reference: None,
            rings: Vec::new(),
            switches: Vec::new(),
        }
    }
}

impl Line {
    /// Dense where there are many points.
    pub fn new(series: usize, points: Vec<Point>) -> Self {
        Self { series, dense: points.len() > DENSE, points }
    }

    /// The points of each series, named as in [`Figure::series`]; a series without points has no line.
    pub fn by_series(series: &[String], points: &[(&str, Point)]) -> Vec<Self> {
        let line = |(index, name): (usize, &String)| {
            let of_series = points.iter().filter(|(of, _)| of == name);
            Self::new(index, of_series.map(|(_, point)| *point).collect())
        };
        series.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect()
    }
}

impl Point {
    /// A point without a spread.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, quartiles: None }
    }

    /// The ends of its spread; itself where there is none.
    pub fn ends(&self) -> [f64; 2] {
        self.quartiles.map_or([self.y; 2], |(low, high)| [low, high])
    }
}
