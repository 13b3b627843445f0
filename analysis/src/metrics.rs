//! How far estimates are from measurements: overall, per experiment, per line.

use serde::Serialize;
use thiserror::Error;

use crate::dataset::{Dataset, Observation, Provenance};
use crate::in_order::grouped;
use crate::model::{Coefficients, FlopConvention, KernelTerm};
use crate::table::{Digits, Table};

/// Errors of estimates against measurements, each over `n` configurations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// Configurations compared.
    pub n: usize,
    /// Root of the mean squared error, in milliseconds.
    pub rmse_ms: f64,
    /// RMSE as a percentage of the measured range (largest − smallest), the paper's NRMSE; `None`
    /// where all measurements are equal.
    pub nrmse_range_percent: Option<f64>,
    /// Mean of `|estimate − measurement| / measurement`, in percent.
    pub mape_percent: f64,
    /// Mean of `estimate − measurement`, in milliseconds: above 0, estimates are too slow.
    pub bias_ms: f64,
}

/// Errors of one experiment, or of one of its lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct GroupErrors {
    pub experiment: String,
    /// The line; `None` for the experiment as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    #[serde(flatten)]
    pub errors: Errors,
}

/// A configuration that was not compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say what they are")]
pub struct WithoutEstimate {
    pub experiment: String,
    pub id: String,
    pub reason: String,
}

/// Coefficients judged by a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Evaluation {
    /// Where the coefficients come from.
    pub coefficients: String,
    pub flops: FlopConvention,
    pub s_k: KernelTerm,
    /// Whether the coefficients were fitted on data of this very provenance.
    pub in_sample: bool,
    /// What keeps the errors from being the formula's own: another device, backend or protocol.
    pub caution: Option<String>,
    pub provenance: Provenance,
    pub overall: Errors,
    /// In the dataset's order.
    pub per_experiment: Vec<GroupErrors>,
    /// In the dataset's order.
    pub per_series: Vec<GroupErrors>,
    /// Configurations for which the coefficients give no estimate.
    pub not_compared: Vec<WithoutEstimate>,
}

/// Why coefficients could not be judged.
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EvaluateError {
    #[error(
        "coefficients of {fitted} and latencies of {measured} are not compared: one of the two is \
         a stand-in or simulated, and its times are no measurements"
    )]
    StandIn { fitted: String, measured: String },
    #[error("nothing to compare: {}", match .first {
        Some(one) => format!("none of {observations} configurations has an estimate; {one}"),
        None => "the dataset has no configurations".to_owned(),
    })]
    NothingToCompare { observations: usize, first: Option<String> },
}

/// Errors over pairs `(measured, estimated)` in milliseconds; `None` where there are none.
///
/// Measurements must be positive, as those of a [`Dataset`] are.
pub fn errors(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Errors> {
    let mut n = 0;
    let (mut square, mut relative, mut signed) = (0.0, 0.0, 0.0);
    let (mut smallest, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
    for (measured, estimated) in pairs {
        let error = estimated - measured;
        n += 1;
        square += error * error;
        relative += (error / measured).abs();
        signed += error;
        smallest = smallest.min(measured);
        largest = largest.max(measured);
    }
    if n == 0 {
        return None;
    }
    let count = n as f64;
    let rmse_ms = (square / count).sqrt();
    let range = largest - smallest;
    Some(Errors {
        n,
        rmse_ms,
        nrmse_range_percent: (range > 0.0).then(|| 100.0 * rmse_ms / range),
        mape_percent: 100.0 * (relative / count),
        bias_ms: signed / count,
    })
}

/// Compares the estimates of `coefficients` with every observation of `dataset`.
///
/// # Errors
/// [`EvaluateError`] where not one configuration can be compared, or one side is of a stand-in.
pub fn evaluate(
    dataset: &Dataset,
    coefficients: &Coefficients,
) -> Result<Evaluation, EvaluateError> {
    let fitted = coefficients.fitted_on.as_ref().map(|fitted| &fitted.provenance);
    if fitted.is_some_and(Provenance::is_stand_in) != dataset.provenance.is_stand_in() {
        return Err(EvaluateError::StandIn {
            fitted: fitted.map_or_else(|| coefficients.source.clone(), Provenance::place),
            measured: dataset.provenance.place(),
        });
    }
    let mut compared = Vec::new();
    let mut not_compared = Vec::new();
    for observation in &dataset.observations {
        match compare(observation, coefficients) {
            Ok(pair) => compared.push((observation, pair)),
            Err(reason) => not_compared.push(WithoutEstimate {
                experiment: observation.experiment.clone(),
                id: observation.shape.to_string(),
                reason,
            }),
        }
    }
    let overall = errors(compared.iter().map(|(_, pair)| *pair)).ok_or_else(|| {
        EvaluateError::NothingToCompare {
            observations: dataset.observations.len(),
            first: not_compared.first().map(|one| one.reason.clone()),
        }
    })?;
    Ok(Evaluation {
        coefficients: coefficients.source.clone(),
        flops: coefficients.flops,
        s_k: coefficients.s_k,
        in_sample: coefficients.is_in_sample(&dataset.provenance),
        caution: coefficients.comparability(&dataset.provenance),
        provenance: dataset.provenance.clone(),
        overall,
        per_experiment: errors_by(&compared, |o| (o.experiment.clone(), None)),
        per_series: errors_by(&compared, |o| (o.experiment.clone(), Some(o.series.clone()))),
        not_compared,
    })
}

/// `(measured, estimated)` in milliseconds, or why there is no such pair.
fn compare(observation: &Observation, coefficients: &Coefficients) -> Result<(f64, f64), String> {
    let measured = observation.typical().ok_or("it has neither median nor mean")?;
    let estimated = coefficients.predict(&observation.shape).map_err(|error| error.to_string())?;
    Ok((measured.as_ms(), estimated.as_ms()))
}

/// An experiment, and a line of it unless the whole is meant.
type Key = (String, Option<String>);

/// Errors per key, keys in the order of their first appearance.
fn errors_by(
    compared: &[(&Observation, (f64, f64))],
    key: impl Fn(&Observation) -> Key,
) -> Vec<GroupErrors> {
    let groups = grouped(compared, |(observation, _)| key(observation)).into_iter();
    groups
        .filter_map(|((experiment, series), group)| {
            let errors = errors(group.into_iter().map(|(_, pair)| pair))?;
            Some(GroupErrors { experiment, series, errors })
        })
        .collect()
}

impl Evaluation {
    /// One row per experiment and line, and one overall.
    pub fn table(&self) -> Table {
        let mut rows = vec![("all", "all", &self.overall)];
        for experiment in &self.per_experiment {
            rows.push((&experiment.experiment, "all", &experiment.errors));
            for line in self.per_series.iter().filter(|l| l.experiment == experiment.experiment) {
                let series = line.series.as_deref().unwrap_or_default();
                rows.push((&line.experiment, series, &line.errors));
            }
        }
        let title = format!("Estimates against measurements, coefficients: {}", self.coefficients);
        let mut table = Table::with_rows(title, &rows)
            .text("experiment", |(experiment, ..)| experiment)
            .text("series", |(_, series, _)| series)
            .count("n", |(.., errors)| errors.n)
            .number(("rmse_ms", "RMSE (ms)"), Digits::Decimals(4), |(.., errors)| errors.rmse_ms)
            .number(
                ("nrmse_range_percent", "NRMSE by range (%)"),
                Digits::Decimals(2),
                |(.., errors)| errors.nrmse_range_percent,
            )
            .number(("mape_percent", "MAPE (%)"), Digits::Decimals(2), |(.., errors)| {
                errors.mape_percent
            })
            .number(("bias_ms", "bias (ms)"), Digits::Signed(4), |(.., errors)| errors.bias_ms)
            .build()
            .with_provenance(&self.provenance);
        table.note(format!("S_K = {}, FLOPs = {}", self.s_k.formula(), self.flops));
        table.note(
            "NRMSE: RMSE ÷ (largest − smallest measured); bias: mean of estimate − measured; \
             positive means overestimated",
        );
        if self.in_sample {
            table.note("in-sample: the coefficients were fitted on data of this provenance");
        }
        if let Some(caution) = &self.caution {
            table.note(caution);
        }
        if let Some(first) = self.not_compared.first() {
            let count = self.not_compared.len();
            table.note(format!("{count} configurations without estimate, first: {}", first.reason));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_are_those_computed_by_hand() {
        let errors = errors([(1.0, 2.0), (3.0, 2.0), (5.0, 8.0)]).unwrap();
        assert_eq!(errors.n, 3);
        // squares 1, 1, 9
        assert!((errors.rmse_ms - (11.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert!(
            (errors.nrmse_range_percent.unwrap() - 25.0 * (11.0f64 / 3.0).sqrt()).abs() < 1e-12
        );
        assert!((errors.mape_percent - 100.0 * (1.0 + 1.0 / 3.0 + 0.6) / 3.0).abs() < 1e-12);
        assert!((errors.bias_ms - 1.0).abs() < 1e-15);
    }

    #[test]
    fn no_pairs_have_no_errors_and_equal_measurements_no_range() {
        assert_eq!(errors([]), None);
        assert_eq!(errors([(2.0, 1.0), (2.0, 3.0)]).unwrap().nrmse_range_percent, None);
    }

    proptest! {
        #[test]
        fn rmse_is_at_least_the_absolute_bias(
            pairs in prop::collection::vec((0.01f64..100.0, 0.0f64..100.0), 1..50)
        ) {
            let errors = errors(pairs).unwrap();
            prop_assert!(errors.rmse_ms >= errors.bias_ms.abs() * (1.0 - 1e-12));
        }
    }
}
