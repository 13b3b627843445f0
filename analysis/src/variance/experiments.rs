//! Configurations summed up by experiment, and over several runs.

use std::collections::{BTreeMap, BTreeSet};

use alpha_flops::experiment::Experiment;
use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;

use super::components::{Components, RunMedian, Squares};
use super::flag::FlagKind;
use super::{ConfigurationVariance, RunVariance};

/// Configurations of one experiment in all runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentVariance {
    /// Its letter, or `all`.
    pub experiment: String,
    /// Configurations measured, counted once a run.
    pub configurations: usize,
    /// Median over them of IQR/median, in percent.
    pub iqr_percent_median: f64,
    /// 95th percentile of the same.
    pub iqr_percent_p95: f64,
    /// Median over them of effective launches over launches, in percent.
    pub effective_percent_median: f64,
    /// Median over them of the standard deviation between passes; `None` where all were measured in
    /// one.
    pub between_pass_percent_median: Option<f64>,
    /// How many have each kind of flag, in the order of [`FlagKind::ALL`].
    pub flagged: Vec<(FlagKind, usize)>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentComponents {
    /// Its letter, or `all`.
    pub experiment: String,
    pub components: Components,
}

/// All experiments together, then each that was measured.
pub(super) fn by_experiment(runs: &[RunVariance]) -> Vec<ExperimentVariance> {
    let all = || runs.iter().flat_map(|run| &run.configurations);
    let of = |name: &str, chosen: Vec<&ConfigurationVariance>| {
        let over = |value: fn(&ConfigurationVariance) -> f64| {
            sorted(&chosen.iter().map(|c| value(c)).collect::<Vec<_>>())
        };
        let (iqr, effective) =
            (over(|c| c.iqr_percent), over(|c| c.effective_launches / c.launches as f64 * 100.0));
        let between: Vec<f64> = chosen.iter().filter_map(|c| c.between_pass_percent).collect();
        let between = sorted(&between);
        let count = |kind| chosen.iter().filter(|c| c.has(kind)).count();
        (!chosen.is_empty()).then(|| ExperimentVariance {
            experiment: name.to_owned(),
            configurations: chosen.len(),
            iqr_percent_median: quantile(&iqr, 0.5),
            iqr_percent_p95: quantile(&iqr, 0.95),
            effective_percent_median: quantile(&effective, 0.5),
            between_pass_percent_median: (!between.is_empty()).then(|| quantile(&between, 0.5)),
            flagged: FlagKind::ALL.map(|kind| (kind, count(kind))).to_vec(),
        })
    };
    let each = Experiment::all()
        .iter()
        .map(|e| of(e.name, all().filter(|c| c.experiment == *e).collect()));
    std::iter::once(of("all", all().collect())).chain(each).flatten().collect()
}

/// What components come from, of each configuration in several runs.
pub(super) fn squares(runs: &[RunVariance]) -> BTreeMap<(Experiment, &str), Squares> {
    let mut medians: BTreeMap<(Experiment, &str), Vec<RunMedian>> = BTreeMap::new();
    for run in runs {
        for of in &run.configurations {
            let Some(error) = of.log_median_error else { continue };
            medians.entry((of.experiment, &of.id)).or_default().push(RunMedian {
                seed: run.seed,
                ln_median: of.median_ns.ln(),
                squared_error: error.powi(2),
            });
        }
    }
    medians.into_iter().map(|(key, medians)| (key, Squares::from_medians(&medians))).collect()
}

pub(super) fn pooled(squares: &BTreeMap<(Experiment, &str), Squares>) -> Vec<ExperimentComponents> {
    let of = |name: &str, chosen: &dyn Fn(Experiment) -> bool| {
        let mut sum = Squares::default();
        for ((_, _), squares) in squares.iter().filter(|((experiment, _), _)| chosen(*experiment)) {
            sum.add(squares);
        }
        let components = sum.components()?;
        Some(ExperimentComponents { experiment: name.to_owned(), components })
    };
    let each = Experiment::all().iter().map(|one| of(one.name, &|experiment| experiment == *one));
    std::iter::once(of("all", &|_| true)).chain(each).flatten().collect()
}

/// What the seeds let one tell apart.
pub(super) fn components_note(runs: &[RunVariance]) -> String {
    let seeds: BTreeSet<u64> = runs.iter().map(|run| run.seed).collect();
    match (seeds.len(), runs.len()) {
        (1, _) => "all runs have the same seed, so the same measuring order: the effect of the \
                   order is unknown"
            .to_owned(),
        (orders, all) if orders == all => {
            "every run has its own seed, so its own measuring order: effects of order and run \
             cannot be separated; repeat a seed to separate them"
                .to_owned()
        }
        (orders, all) => format!("{all} runs in {orders} measuring orders (seeds)"),
    }
}
