//! A run's number: its latencies against those of earlier runs, over the configurations that both have.

use std::collections::HashMap;

use alpha_flops::shape::ConvShape;

use super::ALL;
use crate::dataset::Dataset;

/// Logarithms of typical latencies by configuration.
pub type LnLatencies<'a> = HashMap<(&'a str, &'a str, ConvShape), f64>;

/// A mean over configurations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    pub log: f64,
    pub configurations: usize,
}

pub fn ln_latencies<'a>(dataset: &'a Dataset, experiment: &str) -> LnLatencies<'a> {
    let chosen = |name: &str| experiment == ALL || experiment == name;
    let of = dataset.observations.iter().filter(|o| chosen(&o.experiment));
    of.filter_map(|o| {
        Some(((o.experiment.as_str(), o.series.as_str(), o.shape), o.typical()?.0.ln()))
    })
    .collect()
}

/// The logarithm of each run's latencies against the first run's, chained: `v_t = mean_c(ln y_ct − r_c)`.
///
/// The reference `r_c` is `mean(ln y_cs − v_s)` over up to five earlier runs `s` that have configuration `c`.
/// It stays as long as runs have the same configurations, so that without part-runs `v_t` is the mean of the
/// logarithms of ratios to the first run. Where the configurations change, it is taken from the runs just
/// before: a part-run continues at the level of those, whatever its configurations did earlier. `None` where a
/// run has no configuration in common with any run before that has a number.
pub fn chained(runs: &[LnLatencies<'_>]) -> Vec<Option<Mean>> {
    const RUNS: usize = 5;
    let mut earlier: HashMap<_, Vec<f64>> = HashMap::new();
    let mut references: LnLatencies<'_> = HashMap::new();
    let mut chained = Vec::with_capacity(runs.len());
    for run in runs.iter() {
        let is_same =
            run.len() == references.len() && run.keys().all(|c| references.contains_key(c));
        if !is_same {
            let reference = |configuration| {
                let all: &Vec<f64> = earlier.get(configuration)?;
                let last = &all[all.len().saturating_sub(RUNS)..];
                Some((*configuration, last.iter().sum::<f64>() / last.len() as f64))
            };
            references = run.keys().filter_map(reference).collect();
        }
        let number = match earlier.is_empty() {
            true if run.is_empty() => None,
            true => Some(Mean { log: 0.0, configurations: run.len() }),
            false => mean(run.iter().filter_map(|(c, ln)| Some(ln - references.get(c)?)).collect()),
        };
        if let Some(Mean { log, .. }) = number {
            for (configuration, ln) in run {
                earlier.entry(*configuration).or_default().push(ln - log);
            }
        }
        chained.push(number);
    }
    chained
}

/// By how much the runs after are slower than those before, over the configurations that both have: the mean
/// over configurations of the difference of their means over runs.
pub fn change(before: &[&LnLatencies<'_>], after: &[&LnLatencies<'_>]) -> Option<Mean> {
    let level = |runs: &[&LnLatencies<'_>], configuration| {
        let lns: Vec<f64> = runs.iter().filter_map(|run| run.get(configuration).copied()).collect();
        (!lns.is_empty()).then(|| lns.iter().sum::<f64>() / lns.len() as f64)
    };
    let mut configurations: Vec<_> = after.iter().flat_map(|run| run.keys()).collect();
    configurations
        .sort_by_key(|(experiment, series, shape)| (*experiment, *series, shape.to_string()));
    configurations.dedup();
    let difference = |c| Some(level(after, c)? - level(before, c)?);
    mean(configurations.into_iter().filter_map(difference).collect())
}

fn mean(mut logs: Vec<f64>) -> Option<Mean> {
    // in an order of their own: the sum must not depend on that of the table
    logs.sort_by(f64::total_cmp);
    let configurations = logs.len();
    let log = logs.iter().sum::<f64>() / configurations as f64;
    (configurations > 0).then_some(Mean { log, configurations })
}
