//! How far single launches of one configuration differ: the spread the paper calls negligible.

use alpha_flops::statistics::{quantile, sorted};
use serde::Serialize;

use crate::dataset::{Dataset, Observation};
use crate::in_order::distinct;

/// Spread of launches, over the configurations whose quartiles are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LaunchSpread {
    /// The experiment, or `all`.
    pub experiment: String,
    /// Configurations with quartiles and a median.
    pub n: usize,
    /// Median over the configurations of IQR/median, in percent.
    pub median_percent: f64,
    /// 95th percentile of IQR/median, in percent.
    pub p95_percent: f64,
    /// The configuration with the largest IQR/median.
    pub worst: Worst,
    /// Launches behind the numbers; `None` where not known of all configurations.
    pub launches: Option<u64>,
    /// Launches outside Tukey's inner fences but inside the outer; `None` as above.
    pub outliers_mild: Option<u64>,
    /// Launches outside Tukey's outer fences; `None` as above.
    pub outliers_severe: Option<u64>,
}

/// The configuration whose launches differ most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    pub id: String,
    /// Its IQR/median, in percent.
    pub percent: f64,
}

impl LaunchSpread {
    /// Over all experiments, then of each in the dataset's order; empty where no quartiles are known.
    pub fn by_experiment(dataset: &Dataset) -> Vec<Self> {
        let observations: Vec<&Observation> = dataset.observations.iter().collect();
        let names = distinct(observations.iter().map(|o| o.experiment.as_str()));
        let of_experiment = |name: &str| {
            let observations = observations.iter().copied();
            Self::over(name, &observations.filter(|o| o.experiment == name).collect::<Vec<_>>())
        };
        let experiments = names.iter().map(|name| of_experiment(name));
        std::iter::once(Self::over("all", &observations)).chain(experiments).flatten().collect()
    }

    fn over(name: &str, observations: &[&Observation]) -> Option<Self> {
        let spreads: Vec<(&Observation, f64)> =
            observations.iter().filter_map(|o| Some((*o, relative_iqr_percent(o)?))).collect();
        let percents = sorted(&spreads.iter().map(|(_, percent)| *percent).collect::<Vec<_>>());
        let (worst, percent) = spreads.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let total = |count: fn(&Observation) -> Option<u64>| {
            spreads.iter().map(|(o, _)| count(o)).sum::<Option<u64>>()
        };
        Some(Self {
            experiment: name.to_owned(),
            n: spreads.len(),
            median_percent: quantile(&percents, 0.5),
            p95_percent: quantile(&percents, 0.95),
            worst: Worst { id: format!("{}/{}", worst.experiment, worst.shape), percent: *percent },
            launches: total(|o| o.latency.launches),
            outliers_mild: total(|o| o.latency.outliers_mild),
            outliers_severe: total(|o| o.latency.outliers_severe),
        })
    }
}

/// IQR over median, in percent; `None` where one of them is unknown.
fn relative_iqr_percent(observation: &Observation) -> Option<f64> {
    let latency = &observation.latency;
    Some((latency.q3_ns? - latency.q1_ns?) / latency.median_ns? * 100.0)
}
