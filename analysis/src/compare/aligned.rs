//! The same configurations in several runs, in one order: what tests take.

use std::collections::HashMap;

use super::grouping::{Grouping, LnMedians};
use crate::run::{Measurement, Run, clock_step_ns};

/// One configuration in several runs.
pub(crate) struct Row<'a> {
    pub(crate) id: &'a str,
    pub(crate) runs: Vec<Option<Measurement<'a>>>,
}

/// The configurations that the first run planned.
pub(crate) fn rows<'a>(runs: &[&'a Run]) -> Vec<Row<'a>> {
    let measured: Vec<HashMap<String, Measurement<'a>>> =
        runs.iter().map(|run| run.measurements()).collect();
    let ids = runs.first().map_or(&[][..], |run| &run.header.plan.ids).iter();
    ids.map(|id| Row { id, runs: measured.iter().map(|of_run| of_run.get(id).copied()).collect() })
        .collect()
}

/// Rows, each measured in at least one run, as numbers.
pub(crate) struct Aligned {
    pub(crate) grouping: Grouping,
    /// The independent variable of each.
    pub(crate) x: Vec<f64>,
    /// One entry per run.
    pub(crate) ln_medians: Vec<LnMedians>,
    /// Variance of each configuration's ln median from the clock's resolution alone: that of a rounding
    /// error of up to half a step either way.
    pub(crate) floors: Vec<f64>,
}

impl Aligned {
    pub(crate) fn new(rows: &[Row<'_>], runs: &[&Run]) -> Self {
        let first = || rows.iter().filter_map(|row| row.runs.iter().flatten().next());
        let steps: Vec<f64> = runs.iter().map(|run| clock_step_ns(&run.header)).collect();
        let floor = |row: &Row<'_>| {
            let measured = steps.iter().zip(&row.runs).filter_map(|(step, m)| Some((step, (*m)?)));
            let relative = measured.map(|(step, measured)| step / measured.median_ns);
            relative.map(|relative| relative * relative / 12.0).fold(0.0, f64::max)
        };
        let ln_median = |row: &Row<'_>, run: usize| Some(row.runs[run]?.median_ns.ln());
        Self {
            grouping: Grouping::new(first().map(|measured| {
                (measured.observation.experiment.as_str(), measured.observation.series.as_str())
            })),
            x: first().map(|measured| measured.observation.x).collect(),
            ln_medians: (0..runs.len())
                .map(|run| rows.iter().map(|row| ln_median(row, run)).collect())
                .collect(),
            floors: rows.iter().map(floor).collect(),
        }
    }
}
