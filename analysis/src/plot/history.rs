//! A target's history: a figure a protocol, with a panel for each experiment.

use super::axis::{Axis, Scale, Tick, extent};
use super::caption::origin;
use super::compare::percent;
use super::figure::{Curve, Figure, Key, Line, Panel, Point};
use crate::archive::slug;
use crate::history::tables::date;
use crate::history::{ALL, History, Steps, Timeline, Trend};

/// A figure for each timeline.
pub fn figures(history: &History) -> Vec<Figure> {
    history.timelines.iter().map(|timeline| figure(timeline, &history.title())).collect()
}

fn figure(timeline: &Timeline, target: &str) -> Figure {
    let environments = timeline.runs.iter().map(|run| run.environment).max().unwrap_or(0);
    let has_intervals = timeline
        .trends
        .iter()
        .any(|trend| trend.ratios.iter().flatten().any(|ratio| ratio.interval.is_some()));
    let has_levels =
        timeline.trends.iter().any(|trend| matches!(trend.steps, Steps::Searched { .. }));
    Figure {
        name: format!("history-{}", slug(&timeline.provenance.protocol)),
        title: format!("History of {target}: latency against the first run"),
        subtitle:
            "Geometric mean over the configurations that a run has in common with those before; \
                   above 0 is slower"
                .to_owned(),
        x: run_axis(timeline.runs.len()),
        panels: timeline.trends.iter().map(|trend| panel(trend, timeline)).collect(),
        series: (1..=environments).map(|number| environment_name(number, timeline)).collect(),
        key: Key {
            points: "a run".to_owned(),
            spread: has_intervals
                .then(|| "95% interval, by how runs in one environment differ".to_owned()),
            rings: timeline
                .trends
                .iter()
                .any(|trend| !trend.outliers().is_empty())
                .then(|| "outlier run".to_owned()),
            estimates: has_levels
                .then(|| "level; upright: a step".to_owned())
                .into_iter()
                .collect(),
            switches: None,
        },
        caption: caption(timeline),
    }
}

/// The first of an environment's runs tells it.
fn environment_name(number: usize, timeline: &Timeline) -> String {
    let run = timeline.runs.iter().find(|run| run.environment == number);
    let since = run.map_or(String::new(), |run| format!(" (run {} on)", run.number));
    format!("environment {number}{since}")
}

/// A label a run, or every few.
fn run_axis(runs: usize) -> Axis {
    const LABELS: usize = 12;
    let every = runs.div_ceil(LABELS).max(1);
    let ticks = (1..=runs).step_by(every);
    Axis {
        label: "run".to_owned(),
        scale: Scale::Linear,
        min: 0.5,
        max: runs as f64 + 0.5,
        ticks: ticks.map(|run| Tick { value: run as f64, label: run.to_string() }).collect(),
        minor: Vec::new(),
    }
}

fn panel(trend: &Trend, timeline: &Timeline) -> Panel {
    let heading = match trend.experiment.as_str() {
        ALL => "all configurations".to_owned(),
        name => format!("experiment {name}"),
    };
    let mut lines: Vec<Line> = Vec::new();
    for (run, ratio) in timeline.runs.iter().zip(&trend.ratios) {
        let Some(ratio) = ratio else { continue };
        let quartiles = ratio.interval.map(|(low, high)| (percent(low), percent(high)));
        let point = Point { x: run.number as f64, y: percent(ratio.ratio), quartiles };
        let series = run.environment - 1;
        match lines.iter_mut().find(|line| line.series == series) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { series, points: vec![point], dense: false }),
        }
    }
    let points = || lines.iter().flat_map(|line| &line.points);
    let (low, high) = extent(points().flat_map(Point::ends).chain([0.0]));
    let is_outlier = |point: &&Point| trend.outlier_at(point.x as usize).is_some();
    // room for the ring of an outlier run that is lowest
    let lowest = points().filter(is_outlier).map(|point| point.y - (high - low) / 20.0);
    let low = lowest.fold(low, f64::min);
    Panel {
        heading: Some(heading),
        rings: points().filter(is_outlier).map(|point| (point.x, point.y)).collect(),
        lines,
        curves: levels(trend, timeline).into_iter().collect(),
        reference: Some(0.0),
        ..Panel::new(Axis::linear("change (%)", low, high))
    }
}

/// The levels as one line, upright between the runs at which a step is.
fn levels(trend: &Trend, timeline: &Timeline) -> Option<Curve> {
    let Steps::Searched { .. } = trend.steps else { return None };
    let mut levels: Vec<(f64, Vec<f64>)> = Vec::new();
    for (run, ratio) in timeline.runs.iter().zip(&trend.ratios) {
        let Some(ratio) = ratio else { continue };
        let begins = levels.is_empty() || trend.step_at(run.number).is_some();
        if begins {
            levels.push((run.number as f64 - 0.5, Vec::new()));
        }
        if trend.outlier_at(run.number).is_some() {
            continue;
        }
        if let Some((_, logs)) = levels.last_mut() {
            logs.push(ratio.ratio.ln());
        }
    }
    let ends: Vec<f64> = levels.iter().skip(1).map(|(begin, _)| *begin).collect();
    let ends = ends.into_iter().chain([timeline.runs.len() as f64 + 0.5]);
    let points = levels.iter().zip(ends).flat_map(|((begin, logs), end)| {
        let level = percent((logs.iter().sum::<f64>() / logs.len() as f64).exp());
        [(*begin, level), (end, level)]
    });
    Some(Curve { series: 6, estimate: 0, points: points.collect() })
}

fn caption(timeline: &Timeline) -> Vec<String> {
    let mut caption = vec![origin("Measured on", &timeline.provenance)];
    let dated = |run: &crate::history::HistoryRun| format!("{} {}", run.number, date(run.started));
    let is_told = |number: usize| {
        let ends = number == 1 || number == timeline.runs.len();
        let is_event =
            |trend: &Trend| trend.step_at(number).is_some() || trend.outlier_at(number).is_some();
        ends || timeline.trends.iter().any(is_event)
    };
    let told = timeline.runs.iter().filter(|run| is_told(run.number)).map(dated);
    caption.push(format!("Runs: {}.", told.collect::<Vec<_>>().join(", ")));
    let reason = timeline.trends.iter().find_map(|trend| match &trend.steps {
        Steps::TooFew { reason } => Some(reason),
        Steps::Searched { .. } => None,
    });
    if let Some(reason) = reason {
        caption.push(format!("No steps were looked for: {reason}."));
    }
    caption
}
