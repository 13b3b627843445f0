//! The same configurations in several runs, in one order: what tests take.

use std::collections::HashMap;

use super::grouping::{Grouping, LnMedians};
use super::within_run::Location;
use crate::in_order::distinct;
use crate::run::{Measurement, Run, clock_step_ns};

/// One configuration in several runs.
pub(crate) struct Row<'a> {
    pub(crate) id: &'a str,
    pub(crate) runs: Vec<Option<Measurement<'a>>>,
}

/// The configurations that any run planned, those of the first run first.
pub(crate) fn rows<'a>(runs: &[&'a Run]) -> Vec<Row<'a>> {
    let measured: Vec<HashMap<String, Measurement<'a>>> =
        runs.iter().map(|run| run.measurements()).collect();
    distinct(runs.iter().flat_map(|run| &run.header.plan.ids).map(String::as_str))
        .into_iter()
        .map(|id| Row { id, runs: measured.iter().map(|of_run| of_run.get(id).copied()).collect() })
        .collect()
}

/// Rows, each measured in at least one run, as numbers.
pub(crate) struct Aligned {
    pub(crate) grouping: Grouping,
    /// The independent variable of each.
    pub(crate) x: Vec<f64>,
    /// One entry per run.
    pub(crate) ln_medians: Vec<LnMedians>,
    /// Variance of each configuration's ln median from the clock's resolution alone: [`Location::rounding`].
    pub(crate) floors: Vec<f64>,
}

impl Aligned {
    /// By the locations of launches, by run and id, wherever all runs have one, and by medians elsewhere: a
    /// mean is not compared with a median.
    pub(crate) fn new(
        rows: &[Row<'_>],
        runs: &[&Run],
        located: &[HashMap<String, Location>],
    ) -> Self {
        let first = || rows.iter().filter_map(|row| row.runs.iter().flatten().next());
        let steps: Vec<f64> = runs.iter().map(|run| clock_step_ns(&run.header)).collect();
        let located = |row: &Row<'_>| -> Vec<Option<Location>> {
            let of = |run: usize| located.get(run)?.get(row.id).copied();
            let all = (0..runs.len()).map(|run| row.runs[run].and_then(|_| of(run)));
            let all: Vec<_> = all.collect();
            if row.runs.iter().zip(&all).all(|(run, of)| run.is_none() || of.is_some()) {
                return all;
            }
            let medians = row.runs.iter().zip(&steps);
            medians.map(|(run, step)| Some(Location::of_median((*run)?.median_ns, *step))).collect()
        };
        let located: Vec<Vec<Option<Location>>> = rows.iter().map(located).collect();
        let floor = |of_row: &Vec<Option<Location>>| {
            of_row.iter().flatten().map(|location| location.rounding).fold(0.0, f64::max)
        };
        Self {
            grouping: Grouping::new(first().map(|measured| {
                (measured.observation.experiment.as_str(), measured.observation.series.as_str())
            })),
            x: first().map(|measured| measured.observation.x).collect(),
            ln_medians: (0..runs.len())
                .map(|run| located.iter().map(|of_row| Some(of_row[run]?.ns.ln())).collect())
                .collect(),
            floors: located.iter().map(floor).collect(),
        }
    }
}
