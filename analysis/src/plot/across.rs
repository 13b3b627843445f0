//! Two devices side by side: a figure an experiment.

use alpha_flops::experiment::Experiment;

use super::axis::{Axis, extent};
use super::caption::origin;
use super::compare::percent;
use super::figure::{Figure, Key, Line, Panel, Point};
use super::paper::file_name;
use crate::compare::across::{Across, ConfigurationRatio};
use crate::compare::across_tables::NO_VERDICT;
use crate::in_order::distinct;

/// Ratio of the devices' latencies against the independent variable, of each experiment.
pub fn figures(across: &Across) -> Vec<Figure> {
    let experiments = distinct(across.configurations.iter().map(|c| c.experiment.as_str()));
    experiments.into_iter().map(|experiment| figure(across, experiment)).collect()
}

fn figure(across: &Across, name: &str) -> Figure {
    let of_experiment = across.configurations.iter().filter(|c| c.experiment == name);
    let mut ratios: Vec<&ConfigurationRatio> = of_experiment.collect();
    ratios.sort_by(|a, b| a.x.total_cmp(&b.x));
    let experiment = name.parse::<Experiment>().ok();
    let variable = experiment.map_or("x", |e| e.variable.label);
    let x = Axis::of_variable(
        experiment,
        ratios.first().map_or(0.0, |ratio| ratio.x),
        ratios.last().map_or(1.0, |ratio| ratio.x),
    );
    let series = distinct(ratios.iter().map(|ratio| ratio.series.as_str()));
    let series: Vec<String> = series.into_iter().map(str::to_owned).collect();
    let point = |ratio: &ConfigurationRatio| Point {
        x: ratio.x,
        y: percent(ratio.ratio),
        quartiles: ratio.range.map(|[low, high]| (percent(low), percent(high))),
    };
    let points: Vec<(&str, Point)> =
        ratios.iter().map(|ratio| (ratio.series.as_str(), point(ratio))).collect();
    let (low, high) = extent(points.iter().flat_map(|(_, point)| point.ends()).chain([0.0]));
    let [first, second] = across.devices();
    let label = "difference of latency (%)";
    let y =
        Axis::relative_if_wide(label, low, high).unwrap_or_else(|| Axis::linear(label, low, high));
    let is_spread = ratios.iter().any(|ratio| ratio.range.is_some());
    Figure {
        name: format!("across-{}", file_name(name)),
        title: format!("Experiment {name}: {second} against {first}, by {variable}"),
        subtitle: format!("Above 0, {second} takes longer; {NO_VERDICT}"),
        panels: vec![Panel {
            lines: Line::by_series(&series, &points),
            reference: Some(0.0),
            ..Panel::new(y)
        }],
        x,
        series,
        key: Key {
            points: "ratio of geometric means of run medians".to_owned(),
            spread: is_spread.then(|| "range of single runs".to_owned()),
            ..Key::default()
        },
        caption: across.sides.iter().map(|side| origin("Measured on", &side.provenance)).collect(),
    }
}
