//! How launches vary: the spread of every configuration, and the launches of those with the largest.

use alpha_flops::statistics::{Fences, quantile, sorted};

use super::axis::{Axis, extent};
use super::caption::origin;
use super::figure::{Figure, Key, Line, Panel, Point};
use crate::variance::{Sequence, Variance};

/// Spread against median; launches in order and their distribution, for the worst.
pub fn figures(variance: &Variance) -> Vec<Figure> {
    [overview(variance), sequences(variance), distributions(variance)]
        .into_iter()
        .flatten()
        .collect()
}

/// IQR/median against the median, a series an experiment; `None` where no launches differ.
fn overview(variance: &Variance) -> Option<Figure> {
    let all = || variance.runs.iter().flat_map(|run| &run.configurations);
    let shown = || all().filter(|of| of.iqr_percent > 0.0);
    let (x_min, x_max) = range(shown().map(|of| of.median_ns / 1e6))?;
    let (y_min, y_max) = range(shown().map(|of| of.iqr_percent))?;
    let mut experiments: Vec<_> = shown().map(|of| of.experiment).collect();
    experiments.sort();
    experiments.dedup();
    let line = |(series, experiment)| {
        let of_experiment = shown().filter(|of| of.experiment == experiment);
        let mut points: Vec<Point> =
            of_experiment.map(|of| Point::new(of.median_ns / 1e6, of.iqr_percent)).collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        Line { series, points, dense: shown().count() > DENSE }
    };
    let mut caption = vec![origin("Measured on", &variance.provenance)];
    let equal = all().count() - shown().count();
    if equal > 0 {
        caption.push(format!("Not shown: {equal} configurations whose interquartile range is 0."));
    }
    Some(Figure {
        name: "variance-overview".to_owned(),
        title: "Spread of launches against median latency".to_owned(),
        subtitle: "One point per configuration and run: interquartile range of its launches in \
                   percent of their median"
            .to_owned(),
        x: Axis::log10("median latency (ms)", x_min, x_max),
        panels: vec![Panel {
            lines: (0..).zip(experiments.clone()).map(line).collect(),
            ..Panel::new(Axis::log10("IQR/median (%)", y_min, y_max))
        }],
        series: experiments.iter().map(|e| format!("Experiment {e}")).collect(),
        key: key("configuration", None),
        caption,
    })
}

/// Above this many points they are dots.
const DENSE: usize = 1000;

/// Latencies in the order launched.
fn sequences(variance: &Variance) -> Option<Figure> {
    let longest = variance.worst.iter().map(|of| of.latencies_ns.len()).max()?;
    let panel = |of: &Sequence| {
        let unit = Unit::for_latencies(&of.latencies_ns);
        let ordered = sorted(&of.latencies_ns);
        // a launch far away would press all others to a line
        let [low, median, high] = [0.005, 0.5, 0.995].map(|p| quantile(&ordered, p) / unit.ns);
        let point = |(i, ns): (usize, &f64)| Point::new((i + 1) as f64, ns / unit.ns);
        Panel {
            heading: Some(heading(variance, of)),
            lines: vec![Line {
                series: 0,
                points: of.latencies_ns.iter().enumerate().map(point).collect(),
                dense: longest > DENSE_LAUNCHES,
            }],
            reference: Some(median),
            ..Panel::new(Axis::linear(&format!("latency ({})", unit.name), low, high))
        }
    };
    Some(Figure {
        name: "variance-sequences".to_owned(),
        title: "Launches in the order made".to_owned(),
        subtitle: WORST.to_owned(),
        x: Axis::linear("launch", 0.0, longest as f64),
        panels: variance.worst.iter().map(panel).collect(),
        series: Vec::new(),
        key: key("one launch", None),
        caption: vec![
            origin("Measured on", &variance.provenance),
            "Grey line: the median. The slowest and the fastest half percent may lie at the \
             frame's edge."
                .to_owned(),
        ],
    })
}

/// What the figures of single configurations show.
const WORST: &str =
    "The largest interquartile ranges over median, of 200 launches or more where there are any";

/// Above this many launches they are dots.
const DENSE_LAUNCHES: usize = 60;

/// Histograms of latencies over their medians.
fn distributions(variance: &Variance) -> Option<Figure> {
    const BINS: usize = 60;
    let relative: Vec<(&Sequence, Vec<f64>)> = variance
        .worst
        .iter()
        .map(|of| {
            let ordered = sorted(&of.latencies_ns);
            let median = quantile(&ordered, 0.5);
            (of, ordered.iter().map(|ns| (ns / median - 1.0) * 100.0).collect())
        })
        .collect();
    // a launch far away would leave one bin for all others
    let inside = relative.iter().flat_map(|(_, values)| {
        let [q1, q3] = [0.25, 0.75].map(|p| quantile(values, p));
        let Fences { low_severe, high_severe, .. } = Fences::from_quartiles(q1, q3);
        values.iter().copied().filter(move |value| (low_severe..=high_severe).contains(value))
    });
    let (low, high) = range(inside)?;
    let x = Axis::linear("latency against the median (%)", low, high);
    let width = (x.max - x.min) / BINS as f64;
    let panel = |(of, values): &(&Sequence, Vec<f64>)| {
        let mut shares = [0.0; BINS];
        for value in values.iter().filter(|value| (x.min..=x.max).contains(*value)) {
            let bin = ((value - x.min) / width) as usize;
            shares[bin.min(BINS - 1)] += 100.0 / values.len() as f64;
        }
        let point = |(bin, share): (usize, &f64)| Point {
            x: x.min + (bin as f64 + 0.5) * width,
            y: *share,
            quartiles: Some((0.0, *share)),
        };
        Panel {
            heading: Some(heading(variance, of)),
            lines: vec![Line {
                series: 0,
                points: shares.iter().enumerate().map(point).collect(),
                dense: true,
            }],
            ..Panel::new(Axis::linear(
                "share of launches (%)",
                0.0,
                shares.into_iter().fold(1.0, f64::max),
            ))
        }
    };
    Some(Figure {
        name: "variance-distributions".to_owned(),
        title: "Distribution of launches".to_owned(),
        subtitle: WORST.to_owned(),
        panels: relative.iter().map(panel).collect(),
        x: x.clone(),
        series: Vec::new(),
        key: key("share of launches in a bin", Some("the same, as a bar")),
        caption: vec![
            origin("Measured on", &variance.provenance),
            "Launches outside the axis are not shown; all of them are more than three \
             interquartile ranges from the quartiles."
                .to_owned(),
        ],
    })
}

/// What a latency is shown in.
struct Unit {
    ns: f64,
    name: &'static str,
}

impl Unit {
    fn for_latencies(latencies_ns: &[f64]) -> Self {
        match quantile(&sorted(latencies_ns), 0.5) {
            median_ns if median_ns < 1e6 => Self { ns: 1e3, name: "µs" },
            _ => Self { ns: 1e6, name: "ms" },
        }
    }
}

fn heading(variance: &Variance, of: &Sequence) -> String {
    match variance.runs.len() {
        1 => of.id.clone(),
        _ => format!("{} ({})", of.id, of.run),
    }
}

fn key(points: &str, spread: Option<&str>) -> Key {
    Key { points: points.to_owned(), spread: spread.map(str::to_owned), ..Key::default() }
}

/// Smallest and largest value; `None` where there is none.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = extent(values);
    (low <= high).then_some((low, high))
}
