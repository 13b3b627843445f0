//! What changed between two sides of runs: a figure an experiment.

use alpha_flops::experiment::Experiment;

use super::axis::Axis;
use super::figure::{Curve, Figure, Key, Line, Panel, Point};
use super::paper::{DENSE, LOG_PERCENT, x_axis};
use crate::compare::{Change, Comparison, Side};

/// The series whose colour lines have that belong to none: grey.
const NO_SERIES: usize = 6;

/// Change of latency against the independent variable, of each experiment that was compared.
pub fn figures(comparison: &Comparison) -> Vec<Figure> {
    let mut experiments: Vec<&str> = Vec::new();
    for change in &comparison.configurations {
        if !experiments.contains(&change.experiment.as_str()) {
            experiments.push(&change.experiment);
        }
    }
    experiments.into_iter().map(|experiment| figure(comparison, experiment)).collect()
}

fn figure(comparison: &Comparison, name: &str) -> Figure {
    let of_experiment = comparison.configurations.iter().filter(|c| c.experiment == name);
    let mut changes: Vec<&Change> = of_experiment.collect();
    changes.sort_by(|a, b| a.x.total_cmp(&b.x));
    let experiment = name.parse::<Experiment>().ok();
    let variable = experiment.map_or("x", |e| e.variable.label);
    let x = x_axis(
        experiment,
        changes.first().map_or(0.0, |change| change.x),
        changes.last().map_or(1.0, |change| change.x),
    );
    let mut series: Vec<String> = Vec::new();
    for change in &changes {
        if !series.contains(&change.series) {
            series.push(change.series.clone());
        }
    }
    let threshold = percent(1.0 + comparison.threshold);
    let candidates =
        changes.iter().any(|c| c.effect.verdict.is_change() && !c.effect.verdict.is_shown_change());
    let changed = changes.iter().filter(|change| change.effect.verdict.is_change());
    let rings: Vec<(f64, f64)> = changed.map(|c| (c.x, percent(c.effect.ratio))).collect();
    let ringed = if candidates { "candidate for a change" } else { "shown to be slower or faster" };
    Figure {
        name: format!("comparison-{name}"),
        title: format!("Experiment {name}: change of latency against {variable}"),
        subtitle: format!("{}; above 0: slower after", comparison.headline()),
        panels: vec![Panel {
            heading: None,
            y: y_axis(&changes, threshold),
            lines: lines(&changes, &series),
            curves: thresholds(comparison.threshold, &x),
            reference: Some(0.0),
            rings: rings.clone(),
        }],
        x,
        series,
        key: Key {
            points: "ratio of geometric means of run medians".to_owned(),
            spread: changes
                .iter()
                .any(|change| change.effect.interval.is_some())
                .then(|| "95% interval".to_owned()),
            estimates: vec![format!("threshold, ±{threshold:.3}%").replace(".000%", "%")],
            rings: (!rings.is_empty()).then(|| ringed.to_owned()),
        },
        caption: caption(comparison),
    }
}

/// `ratio`, in percent of change.
fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

/// Over all changes; their intervals may stretch it to twice that.
fn y_axis(changes: &[&Change], threshold: f64) -> Axis {
    let ratios = changes.iter().map(|change| percent(change.effect.ratio));
    let (low, high) = ratios
        .filter(|percent| percent.is_finite())
        .fold((-threshold, threshold), |(low, high), p| (low.min(p), high.max(p)));
    let intervals = changes.iter().filter_map(|change| change.effect.interval);
    let (low, high) = intervals.fold((low, high), |(least, most), [from, to]| {
        (least.min(percent(from).max(2.0 * low)), most.max(percent(to).min(2.0 * high)))
    });
    let label = "change, after over before (%)";
    match high > LOG_PERCENT {
        true => Axis::relative(label, low, high),
        false => Axis::linear(label, low, high),
    }
}

fn lines(changes: &[&Change], series: &[String]) -> Vec<Line> {
    let of_series = |(number, name): (usize, &String)| {
        let points: Vec<Point> = changes
            .iter()
            .filter(|change| change.series == *name && change.effect.ratio.is_finite())
            .map(|change| Point {
                x: change.x,
                y: percent(change.effect.ratio),
                quartiles: change.effect.interval.map(|[low, high]| (percent(low), percent(high))),
            })
            .collect();
        Line { series: number, dense: points.len() > DENSE, points }
    };
    series.iter().enumerate().map(of_series).collect()
}

/// Changes between these lines are as good as none.
fn thresholds(threshold: f64, x: &Axis) -> Vec<Curve> {
    let at = |ratio: f64| Curve {
        series: NO_SERIES,
        estimate: 0,
        points: vec![(x.min, percent(ratio)), (x.max, percent(ratio))],
    };
    vec![at(1.0 + threshold), at(1.0 / (1.0 + threshold))]
}

fn caption(comparison: &Comparison) -> Vec<String> {
    let of = |word: &str, Side { provenance: p, .. }: &Side| {
        let warning = p.warning().map_or_else(String::new, |warning| format!("{warning}. "));
        format!(
            "{warning}{word}: {} · backend {} · versions: {} · protocol: {} · source: {}.",
            p.device, p.backend, p.versions, p.protocol, p.source
        )
    };
    let [before, after] = &comparison.sides;
    vec![of("Before", before), of("After", after), comparison.method_sentence()]
}
