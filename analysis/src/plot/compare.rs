//! What changed between two sides of runs: a figure an experiment.

use alpha_flops::experiment::Experiment;

use super::axis::{Axis, extent};
use super::caption::origin;
use super::figure::{Curve, Figure, Key, Line, Panel, Point};
use super::paper::file_name;
use crate::compare::{Change, Comparison};
use crate::in_order::distinct;

/// The series whose colour lines have that belong to none: grey.
const NO_SERIES: usize = 6;

/// Change of latency against the independent variable, of each experiment that was compared.
pub fn figures(comparison: &Comparison) -> Vec<Figure> {
    let experiments = distinct(comparison.configurations.iter().map(|c| c.experiment.as_str()));
    experiments.into_iter().map(|experiment| figure(comparison, experiment)).collect()
}

fn figure(comparison: &Comparison, name: &str) -> Figure {
    let of_experiment = comparison.configurations.iter().filter(|c| c.experiment == name);
    let mut changes: Vec<&Change> = of_experiment.collect();
    changes.sort_by(|a, b| a.x.total_cmp(&b.x));
    let experiment = name.parse::<Experiment>().ok();
    let variable = experiment.map_or("x", |e| e.variable.label);
    let x = Axis::of_variable(
        experiment,
        changes.first().map_or(0.0, |change| change.x),
        changes.last().map_or(1.0, |change| change.x),
    );
    let series = distinct(changes.iter().map(|change| change.series.as_str()));
    let series: Vec<String> = series.into_iter().map(str::to_owned).collect();
    let threshold = percent(1.0 + comparison.threshold);
    let candidates =
        changes.iter().any(|c| c.effect.verdict.is_change() && !c.effect.verdict.is_shown_change());
    let changed = changes.iter().filter(|change| change.effect.verdict.is_change());
    let rings: Vec<(f64, f64)> = changed.map(|c| (c.x, percent(c.effect.ratio))).collect();
    let ringed = if candidates { "candidate for a change" } else { "shown to be slower or faster" };
    Figure {
        name: format!("comparison-{}", file_name(name)),
        title: format!("Experiment {name}: change of latency against {variable}"),
        subtitle: format!("{}; above 0 is slower", comparison.headline()),
        panels: vec![Panel {
            lines: lines(&changes, &series),
            curves: thresholds(comparison.threshold, &x),
            reference: Some(0.0),
            rings: rings.clone(),
            ..Panel::new(y_axis(&changes, threshold))
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
            switches: None,
        },
        caption: caption(comparison),
    }
}

/// `ratio`, in percent of change.
pub(super) fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

/// Over all changes; their intervals may stretch it to twice that.
fn y_axis(changes: &[&Change], threshold: f64) -> Axis {
    let ratios = changes.iter().map(|change| percent(change.effect.ratio));
    let finite = ratios.filter(|percent| percent.is_finite());
    let (low, high) = extent(finite.chain([-threshold, threshold]));
    let intervals = changes.iter().filter_map(|change| change.effect.interval);
    let (low, high) = intervals.fold((low, high), |(least, most), [from, to]| {
        (least.min(percent(from).max(2.0 * low)), most.max(percent(to).min(2.0 * high)))
    });
    let label = "change, after over before (%)";
    Axis::relative_if_wide(label, low, high).unwrap_or_else(|| Axis::linear(label, low, high))
}

fn lines(changes: &[&Change], series: &[String]) -> Vec<Line> {
    let finite = changes.iter().filter(|change| change.effect.ratio.is_finite());
    let point = |change: &'_ &Change| Point {
        x: change.x,
        y: percent(change.effect.ratio),
        quartiles: change.effect.interval.map(|[low, high]| (percent(low), percent(high))),
    };
    let points: Vec<(&str, Point)> =
        finite.map(|change| (change.series.as_str(), point(change))).collect();
    Line::by_series(series, &points)
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
    let [before, after] = &comparison.sides;
    vec![
        origin("Before:", &before.provenance),
        origin("After:", &after.provenance),
        comparison.method_sentence(),
    ]
}
