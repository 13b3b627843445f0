//! The joint region of β and γ, a figure a group.

use super::axis::{Axis, extent};
use super::caption::origin;
use super::figure::{Curve, Figure, Key, Line, Panel, Point};
use crate::dataset::Provenance;
use crate::fit::region::Region;
use crate::model::KernelGroup;

/// A figure for each region of a fit to data of `provenance`; `name` tells fits apart in file names,
/// `coefficients` in titles.
pub fn figures(
    regions: &[Region],
    provenance: &Provenance,
    name: &str,
    coefficients: &str,
) -> Vec<Figure> {
    regions.iter().map(|region| figure(region, provenance, name, coefficients)).collect()
}

fn figure(region: &Region, provenance: &Provenance, name: &str, coefficients: &str) -> Figure {
    let file = match region.group {
        KernelGroup::KEqual1 => "k-equal-1",
        KernelGroup::KAbove1 => "k-above-1",
    };
    let pairs = |points: Vec<[f64; 2]>| -> Vec<(f64, f64)> {
        points.into_iter().map(|[beta, gamma]| (beta, gamma)).collect()
    };
    let borders = [pairs(region.border()), pairs(region.ellipse.clone())];
    let all = || borders.iter().flatten();
    let [beta, gamma] = region.estimate;
    let mut estimates = vec!["profile: 95% region by the objective".to_owned()];
    if !region.ellipse.is_empty() {
        estimates.push("ellipse: 95% region by the standard errors".to_owned());
    }
    let curves = (0..).zip(borders.clone()).filter(|(_, points)| !points.is_empty());
    Figure {
        name: format!("region-{name}-{file}"),
        title: format!(
            "Joint 95% region of β and γ, {} ({} configurations): {coefficients}",
            region.group, region.configurations
        ),
        subtitle: "Where the two borders differ, standard errors mislead. Both assume independent \
                   deviations, so both are too small where neighbouring configurations deviate \
                   alike"
            .to_owned(),
        x: axis("β", all().map(|(x, _)| *x)),
        panels: vec![Panel {
            lines: vec![Line::new(0, vec![Point::new(beta, gamma)])],
            curves: curves
                .map(|(estimate, points)| Curve { series: estimate, estimate, points })
                .collect(),
            ..Panel::new(axis("γ", all().map(|(_, y)| *y)))
        }],
        series: Vec::new(),
        key: Key { points: "estimate".to_owned(), estimates, ..Key::default() },
        caption: vec![
            origin("Fitted to latencies on", provenance),
            "Parameters are bounded to 0–2, and so is the region.".to_owned(),
        ],
    }
}

/// Over all values, with some air.
fn axis(label: &str, values: impl Iterator<Item = f64>) -> Axis {
    let (low, high) = extent(values);
    let air = 0.05 * (high - low).max(1e-9 * high.abs());
    Axis::linear(label, low, high).cut_to(low - air, high + air)
}
