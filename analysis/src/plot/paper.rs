//! The paper's figures 1–7 and their residuals, for any data.

use alpha_flops::backend::plan::engine_in;
use alpha_flops::experiment::{EqualFlops, Experiment, Resolution};

use super::axis::{Axis, Scale, extent};
use super::caption::origin;
use super::figure::{Curve, Figure, Key, Line, Panel, Point};
use crate::dataset::{Dataset, Observation, Provenance};
use crate::in_order::distinct;

/// Estimated latencies of one dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Which coefficients: `α-FLOPs fitted to this data`, `α-FLOPs published-rtx4090`.
    pub name: String,
    /// In milliseconds, one for each observation of the dataset, in its order.
    pub milliseconds: Vec<f64>,
}

/// A dataset with the estimates to draw beside it. The residuals are the first estimate's.
#[derive(Clone, Debug, PartialEq)]
pub struct Target<'a> {
    pub dataset: &'a Dataset,
    /// Dashed lines, in the order of the legend.
    pub estimates: Vec<Estimate>,
}

/// Above this ratio of the largest to the smallest latency, an axis is logarithmic.
const LOG_RATIO: f64 = 100.0;
/// Estimates may stretch an axis beyond the measurements by this factor; further ones are cut.
const STRETCH: f64 = 2.0;

/// Every figure of the targets' data, in order: per experiment the original resolution, the full
/// one where there are more points than that, and the residuals.
///
/// Targets without observations of an experiment have no panel in its figures.
pub fn figures(targets: &[Target<'_>]) -> Vec<Figure> {
    let mut further = Experiment::all().len() + 1..;
    experiments(targets)
        .iter()
        .flat_map(|name| {
            let experiment = name.parse::<Experiment>().ok();
            let number = experiment.map_or_else(|| further.next(), |e| Some(e.index() + 1));
            let subject = Subject { targets, name, experiment, number: number.unwrap_or_default() };
            let full = subject.is_denser_than_original();
            [
                subject.latency(Resolution::Original),
                full.then(|| subject.latency(Resolution::Full)).flatten(),
                subject.residuals(),
            ]
        })
        .flatten()
        .collect()
}

/// Names of the experiments: those of the table first, the others in their order in the data.
fn experiments<'a>(targets: &'a [Target<'_>]) -> Vec<&'a str> {
    let observations = targets.iter().flat_map(|target| &target.dataset.observations);
    let mut names = distinct(observations.map(|o| o.experiment.as_str()));
    names.sort_by_key(|name| name.parse::<Experiment>().map_or(usize::MAX, Experiment::index));
    names
}

/// One experiment of the targets: what its figures have in common.
struct Subject<'a> {
    targets: &'a [Target<'a>],
    name: &'a str,
    /// `None` where it is not in the table.
    experiment: Option<Experiment>,
    /// Of the figure, in the order of the experiments: the paper's numbers for A–G.
    number: usize,
}

/// An observation that can be drawn, with its estimates.
struct Row<'a> {
    observation: &'a Observation,
    milliseconds: f64,
    /// In the order of the target's estimates.
    estimates: Vec<f64>,
}

impl Subject<'_> {
    /// Latency against the independent variable; `None` where nothing can be drawn.
    fn latency(&self, resolution: Resolution) -> Option<Figure> {
        let dense = self.is_denser_than_original();
        let kept = (dense && resolution == Resolution::Original).then(|| self.original_xs());
        let rows = self.rows(|x| kept.as_ref().is_none_or(|xs| xs.contains(&x)));
        let mut figure = self.frame(&rows)?;
        let letter = if resolution == Resolution::Original { "a" } else { "b" };
        figure.name =
            format!("figure-{}{letter}-{}-{resolution}", self.number, file_name(self.name));
        let resolution = self.experiment.map(|_| format!(" ({resolution} resolution)"));
        figure.title = format!(
            "Figure {}{letter} · Experiment {}: latency against {}{}",
            self.number,
            self.name,
            self.variable(),
            resolution.unwrap_or_default()
        );
        let shown = self.targets.iter().zip(&rows).filter(|(_, rows)| !rows.is_empty());
        let scale = self.latency_scale(&rows);
        let names = shown.clone().flat_map(|(target, _)| &target.estimates);
        figure.key.estimates = owned(distinct(names.map(|estimate| estimate.name.as_str())));
        for (target, rows) in shown.clone() {
            figure.panels.push(self.latency_panel(target, rows, &figure, scale));
        }
        figure.key.spread = spread_key(&figure.panels);
        if figure.panels.iter().any(|panel| !panel.switches.is_empty()) {
            let key = "cuDNN takes another engine than for the x before; a row a line";
            figure.key.switches = Some(key.into());
        }
        if figure.key.spread.is_none() {
            figure.caption.push("Quartiles unknown: no whiskers.".into());
        }
        if figure.panels.iter().any(has_cut_curve) {
            let note = "Estimates far outside the measurements are cut at the frame.";
            figure.caption.push(note.into());
        }
        figure.caption.splice(0..0, shown.map(|(target, rows)| provenance(target, rows)));
        Some(figure)
    }

    /// Relative error of each target's first estimate; `None` where nothing can be drawn.
    fn residuals(&self) -> Option<Figure> {
        let rows = self.rows(|_| true);
        let mut figure = self.frame(&rows)?;
        figure.name = format!("residual-{}-{}", self.number, file_name(self.name));
        figure.title = format!(
            "Residuals · Experiment {}: error of the estimate against {}",
            self.name,
            self.variable()
        );
        figure.subtitle = "(estimate − measured) ÷ measured: above 0 latency is overestimated, \
                           below 0 underestimated"
            .into();
        let mut shown = Vec::new();
        for (target, rows) in self.targets.iter().zip(&rows) {
            let Some(estimate) = target.estimates.first().filter(|_| !rows.is_empty()) else {
                continue;
            };
            figure.panels.push(self.residual_panel(target, rows, &figure.series));
            figure.caption.push(provenance(target, rows));
            shown.push(estimate.name.as_str());
        }
        let estimates = distinct(shown).join("; ");
        figure.key.points = "one configuration".into();
        figure.caption.push(format!("Estimate: {estimates}."));
        (!figure.panels.is_empty()).then_some(figure)
    }

    /// Drawable observations of each target, x ascending.
    fn rows(&self, keep: impl Fn(f64) -> bool) -> Vec<Vec<Row<'_>>> {
        self.targets.iter().map(|target| rows(target, self.name, &keep)).collect()
    }

    /// Whether the data have more points than the original study. Twice as many, because that one
    /// had a few values of x that the replication left out.
    fn is_denser_than_original(&self) -> bool {
        let rows = self.rows(|_| true);
        let measured = distinct_values(rows.iter().flatten().map(|row| row.observation.x));
        self.experiment.is_some() && measured.len() > 2 * self.original_xs().len()
    }

    /// Values of x in the original study's resolution, ascending.
    fn original_xs(&self) -> Vec<f64> {
        let configurations =
            self.experiment.map(|e| e.configurations(Resolution::Original)).unwrap_or_default();
        distinct_values(configurations.iter().map(|c| f64::from(c.x)))
    }

    /// A figure without name, title and panels; `None` where there is no row.
    fn frame(&self, rows: &[Vec<Row<'_>>]) -> Option<Figure> {
        let xs = distinct_values(rows.iter().flatten().map(|row| row.observation.x));
        Some(Figure {
            name: String::new(),
            title: String::new(),
            subtitle: self.experiment.map_or_else(String::new, |e| e.question.to_owned()),
            x: Axis::of_variable(self.experiment, *xs.first()?, *xs.last()?),
            panels: Vec::new(),
            series: owned(distinct(
                rows.iter().flatten().map(|row| row.observation.series.as_str()),
            )),
            key: Key {
                points: format!("measured: {}", statistic(rows.iter().flatten())),
                ..Key::default()
            },
            caption: Vec::new(),
        })
    }

    /// What the x axis shows, in a few words.
    fn variable(&self) -> &'static str {
        self.experiment.map_or("x", |e| e.variable.in_title)
    }

    /// Logarithmic where a target's measurements span more than [`LOG_RATIO`], unless the experiment
    /// asks whether latency is linear in x; the same for all targets, so that panels compare.
    fn latency_scale(&self, rows: &[Vec<Row<'_>>]) -> Scale {
        let asks_for_linearity =
            self.experiment.is_some_and(|e| e.equal_flops == EqualFlops::Nowhere);
        let spans_decades = rows.iter().any(|rows| {
            let (low, high) = extent(rows.iter().map(|row| row.milliseconds));
            high / low > LOG_RATIO
        });
        if spans_decades && !asks_for_linearity { Scale::Log10 } else { Scale::Linear }
    }

    fn latency_panel(
        &self,
        target: &Target<'_>,
        rows: &[Row<'_>],
        figure: &Figure,
        scale: Scale,
    ) -> Panel {
        let largest = rows.iter().map(|row| row.milliseconds).fold(0.0, f64::max);
        let (unit, per_ms) = if largest < 1.0 { ("µs", 1e3) } else { ("ms", 1.0) };
        let point = |row: &Row<'_>| {
            let latency = &row.observation.latency;
            let quartiles = latency.q1_ns.zip(latency.q3_ns);
            Point {
                x: row.observation.x,
                y: row.milliseconds * per_ms,
                quartiles: quartiles.map(|(q1, q3)| (q1 / 1e6 * per_ms, q3 / 1e6 * per_ms)),
            }
        };
        let lines = lines(rows, &figure.series, point);
        let curves = curves(target, rows, figure, per_ms);
        let y = latency_axis(unit, scale, &lines, &curves);
        let heading = self.heading(&target.dataset.provenance);
        let switches = switches(rows, &figure.series);
        Panel { heading, lines, curves, switches, ..Panel::new(y) }
    }

    fn residual_panel(&self, target: &Target<'_>, rows: &[Row<'_>], series: &[String]) -> Panel {
        let percent = |row: &Row<'_>| {
            let estimate = row.estimates.first().copied().unwrap_or(f64::NAN);
            let y = (estimate / row.milliseconds - 1.0) * 100.0;
            Point::new(row.observation.x, y)
        };
        let mut lines = lines(rows, series, percent);
        for line in &mut lines {
            line.points.retain(|point| point.y.is_finite());
        }
        let (low, high) = extent(lines.iter().flat_map(|l| &l.points).map(|p| p.y));
        let label = "relative error (%)";
        let y = Axis::relative_if_wide(label, low, high).unwrap_or_else(|| {
            let (low, high) = (low.min(0.0), high.max(0.0));
            // at least a percent, so that rounding errors of an exact estimate stay flat
            let air = ((high - low) * 0.05).max(1.0);
            Axis::linear(label, low - air, high + air).cut_to(low - air, high + air)
        });
        Panel {
            heading: self.heading(&target.dataset.provenance),
            lines,
            reference: Some(0.0),
            ..Panel::new(y)
        }
    }

    /// Whose measurements, where there are several.
    fn heading(&self, provenance: &Provenance) -> Option<String> {
        // the protocol, too: the same device may be there twice
        let heading = format!("{} · {}", provenance.place(), provenance.protocol);
        (self.targets.len() > 1).then_some(heading)
    }
}

/// Drawable observations of an experiment, x ascending.
fn rows<'a>(target: &'a Target<'_>, name: &str, keep: impl Fn(f64) -> bool) -> Vec<Row<'a>> {
    let observations = target.dataset.observations.iter().enumerate();
    let mut rows: Vec<Row<'a>> = observations
        .filter(|(_, o)| o.experiment == name && o.x.is_finite() && keep(o.x))
        .filter_map(|(index, observation)| {
            let milliseconds = observation.typical()?.as_ms();
            let estimates = target.estimates.iter();
            let estimates = estimates.map(|e| *e.milliseconds.get(index).unwrap_or(&f64::NAN));
            (milliseconds.is_finite() && milliseconds > 0.0).then(|| Row {
                observation,
                milliseconds,
                estimates: estimates.collect(),
            })
        })
        .collect();
    rows.sort_by(|a, b| a.observation.x.total_cmp(&b.observation.x));
    rows
}

/// The rows by series, as points.
fn lines(rows: &[Row<'_>], series: &[String], point: impl Fn(&Row<'_>) -> Point) -> Vec<Line> {
    let points: Vec<(&str, Point)> =
        rows.iter().map(|row| (row.observation.series.as_str(), point(row))).collect();
    Line::by_series(series, &points)
}

/// Where along each series another engine computes than for the x before.
fn switches(rows: &[Row<'_>], series: &[String]) -> Vec<(usize, f64)> {
    let mut switches = Vec::new();
    for (index, name) in series.iter().enumerate() {
        let of_series = rows.iter().filter(|row| row.observation.series == *name);
        let engines: Vec<(f64, &str)> = of_series
            .filter_map(|row| {
                Some((row.observation.x, engine_in(row.observation.algorithm.as_deref()?)?))
            })
            .collect();
        let switched = engines.windows(2).filter(|pair| pair[0].1 != pair[1].1);
        switches.extend(switched.map(|pair| (index, pair[1].0)));
    }
    switches
}

/// An axis that holds all measurements with their quartiles, and estimates that are near them.
fn latency_axis(unit: &str, scale: Scale, lines: &[Line], curves: &[Curve]) -> Axis {
    let label = format!("latency of one launch ({unit})");
    let points = lines.iter().flat_map(|line| &line.points);
    let measured = points.flat_map(|point| point.ends().into_iter().chain([point.y]));
    let (low, high) = extent(measured.filter(|y| *y > 0.0));
    let estimates = curves.iter().flat_map(|c| &c.points).map(|(_, y)| *y);
    let near = estimates.filter(|y| (low / STRETCH..=high * STRETCH).contains(y));
    let (low, high) = extent(near.chain([low, high]));
    match scale {
        Scale::Log10 => Axis::log10(&label, low, high),
        // from zero, and with air above, so that no marker sits on the frame
        _ => Axis::linear(&label, 0.0, high).cut_to(0.0, high * 1.05),
    }
}

/// Every estimate of every series, in the panel's unit.
fn curves(target: &Target<'_>, rows: &[Row<'_>], figure: &Figure, per_ms: f64) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (column, estimate) in target.estimates.iter().enumerate() {
        let known = figure.key.estimates.iter().position(|name| *name == estimate.name);
        let Some(estimate) = known else { continue };
        for (series, name) in figure.series.iter().enumerate() {
            let points: Vec<(f64, f64)> = rows
                .iter()
                .filter(|row| row.observation.series == *name)
                .map(|row| (row.observation.x, row.estimates[column] * per_ms))
                .filter(|(_, y)| y.is_finite())
                .collect();
            if !points.is_empty() {
                curves.push(Curve { series, estimate, points });
            }
        }
    }
    curves
}

/// What the legend says of whiskers and bands, where there are any.
fn spread_key(panels: &[Panel]) -> Option<String> {
    let has_quartiles = |line: &&Line| line.points.iter().any(|p| p.quartiles.is_some());
    let lines = || panels.iter().flat_map(|panel| &panel.lines).filter(has_quartiles);
    let mark = match (lines().any(|line| line.dense), lines().any(|line| !line.dense)) {
        (false, false) => return None,
        (true, false) => "band",
        (false, true) => "whiskers",
        (true, true) => "whiskers or band",
    };
    Some(format!("{mark}: quartiles (IQR)"))
}

fn has_cut_curve(panel: &Panel) -> bool {
    let shown = panel.y.min..=panel.y.max;
    panel.curves.iter().flat_map(|c| &c.points).any(|(_, y)| !shown.contains(y))
}

/// Whose measurements these are, and what a point is.
fn provenance(target: &Target<'_>, rows: &[Row<'_>]) -> String {
    origin(&format!("Measured ({}) on", statistic(rows.iter())), &target.dataset.provenance)
}

/// What a measured point is.
fn statistic<'a>(rows: impl Iterator<Item = &'a Row<'a>> + Clone) -> &'static str {
    let has_median = |row: &&Row<'_>| row.observation.latency.median_ns.is_some();
    match rows.clone().filter(has_median).count() {
        0 => "mean",
        n if n == rows.count() => "median",
        _ => "median, else mean",
    }
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// Distinct numbers, ascending.
fn distinct_values(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// Only what every file system and every URL takes as it is.
pub(super) fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
