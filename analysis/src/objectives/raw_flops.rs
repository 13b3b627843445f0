//! RO3: α-FLOPs against raw FLOPs as estimates of latency.

use alpha_flops::experiment::Experiment;
use serde::Serialize;

use super::{ACCURATE_NRMSE_PERCENT, ClaimVerdict, ObjectiveAnswer, Spread};
use crate::dataset::Dataset;
use crate::in_order::grouped;
use crate::metrics::{Errors, errors};
use crate::model::{Coefficients, FittedOn};

/// α-FLOPs and raw FLOPs over the same configurations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgainstRawFlops {
    /// The experiment, or `all`.
    pub experiment: String,
    pub alpha_flops: Errors,
    /// Errors of `T = c·FLOPs`, with one c for all experiments, by least squares: `c = Σ T·F / Σ F²`
    /// over the data that α-FLOPs was fitted to or, where that is not known, over these.
    pub raw_flops: Errors,
    /// RMSE of α-FLOPs in percent of the measured range, line by line as the paper gives it: the
    /// median over the lines. `None` where no line has a range.
    pub alpha_flops_line_nrmse_percent: Option<f64>,
    /// The same of raw FLOPs.
    pub raw_flops_line_nrmse_percent: Option<f64>,
}

pub(super) fn answer(
    dataset: &Dataset,
    coefficients: Option<&Coefficients>,
    raw_final: Option<f64>,
) -> ObjectiveAnswer<Vec<AgainstRawFlops>> {
    let criterion = format!(
        "estimates are accurate in one of the experiments {} where the RMSE of its median line \
         is at most {ACCURATE_NRMSE_PERCENT}% of that line's measured range, and better than raw \
         FLOPs where their RMSE is below that of one factor times FLOPs fitted to {}",
        Experiment::range(),
        match raw_final {
            Some(_) => "the same data",
            None => "the data that are judged",
        }
    );
    let numbers =
        coefficients.map_or_else(Vec::new, |c| compared_with_raw_flops(dataset, c, raw_final));
    let finding = match (coefficients, numbers.split_first()) {
        (None, _) => Err("there are no α-FLOPs coefficients for these data".to_owned()),
        (_, None) => Err("no configuration has both a latency and an estimate".to_owned()),
        (Some(coefficients), Some((overall, experiments))) => {
            finding(dataset, coefficients, raw_final, overall, experiments)
        }
    };
    match finding {
        Ok((verdict, finding)) => {
            ObjectiveAnswer::new(dataset, verdict, &finding, criterion, numbers)
        }
        Err(missing) => ObjectiveAnswer::impossible(dataset, &missing, criterion, numbers),
    }
}

/// The verdict and what it rests on, or why there is none.
fn finding(
    dataset: &Dataset,
    coefficients: &Coefficients,
    raw_final: Option<f64>,
    overall: &AgainstRawFlops,
    experiments: &[AgainstRawFlops],
) -> Result<(ClaimVerdict, String), String> {
    if let Some(device) = coefficients.other_device(&dataset.provenance) {
        return Err(format!(
            "the claim is of estimates after regression on the device itself, and these \
             coefficients are of {device}"
        ));
    }
    // an experiment whose latencies are all equal has no range to measure errors by
    let is_judged = |row: &&AgainstRawFlops| {
        row.experiment.parse::<Experiment>().is_ok() && row.alpha_flops_line_nrmse_percent.is_some()
    };
    let judged: Vec<&AgainstRawFlops> = experiments.iter().filter(is_judged).collect();
    if judged.is_empty() {
        return Err("no experiment has a line with two different latencies".to_owned());
    }
    let names = |holds: fn(&AgainstRawFlops) -> bool| {
        let names: Vec<&str> =
            judged.iter().filter(|row| holds(row)).map(|row| row.experiment.as_str()).collect();
        if names.is_empty() { "no experiment".to_owned() } else { names.join(", ") }
    };
    let finding = format!(
        "RMSE is {:.3} ms with α-FLOPs ({}) and {:.3} ms with raw FLOPs (one factor, fitted to \
         {}); α-FLOPs is accurate in {} and better than raw FLOPs in {}",
        overall.alpha_flops.rmse_ms,
        fitted_to(dataset, coefficients),
        overall.raw_flops.rmse_ms,
        match raw_final.is_some() && !coefficients.is_in_sample(&dataset.provenance) {
            true => "the same",
            false => "these data",
        },
        names(AgainstRawFlops::is_accurate),
        names(AgainstRawFlops::is_better),
    );
    let holds = |row: &&AgainstRawFlops| (row.is_accurate() && row.is_better()).into();
    let verdict = ClaimVerdict::from_cases(judged.iter().map(holds));
    Ok((verdict, finding))
}

/// `6 parameters, fitted to these data`.
fn fitted_to(dataset: &Dataset, coefficients: &Coefficients) -> String {
    let parameters = coefficients.parameters();
    match &coefficients.fitted_on {
        _ if coefficients.is_in_sample(&dataset.provenance) => {
            format!("{parameters} parameters, fitted to these data")
        }
        Some(FittedOn { configurations, .. }) => {
            format!("{parameters} parameters, fitted to {configurations} other configurations")
        }
        None => "not fitted here".to_owned(),
    }
}

impl AgainstRawFlops {
    fn is_accurate(&self) -> bool {
        self.alpha_flops_line_nrmse_percent.is_some_and(|nrmse| nrmse <= ACCURATE_NRMSE_PERCENT)
    }

    fn is_better(&self) -> bool {
        self.alpha_flops.rmse_ms < self.raw_flops.rmse_ms
    }
}

/// One configuration of the comparison, times in milliseconds.
#[derive(Clone, Copy)]
struct Compared<'a> {
    experiment: &'a str,
    series: &'a str,
    measured: f64,
    alpha_flops: f64,
    flops: f64,
}

/// All experiments together, then each, over the configurations that have an estimate.
fn compared_with_raw_flops(
    dataset: &Dataset,
    coefficients: &Coefficients,
    raw_final: Option<f64>,
) -> Vec<AgainstRawFlops> {
    let compared: Vec<Compared<'_>> = dataset
        .observations
        .iter()
        .filter_map(|o| {
            Some(Compared {
                experiment: &o.experiment,
                series: &o.series,
                measured: o.typical()?.as_ms(),
                alpha_flops: coefficients.predict(&o.shape).ok()?.as_ms(),
                flops: coefficients.flops.millions(&o.shape),
            })
        })
        .collect();
    let products = compared.iter().map(|c| c.measured * c.flops).sum::<f64>();
    let of_these = products / compared.iter().map(|c| c.flops * c.flops).sum::<f64>();
    let factor = raw_final.unwrap_or(of_these);
    let row = |experiment: String, compared: &[Compared<'_>]| {
        let lines = grouped(compared, |c| format!("{} {}", c.experiment, c.series));
        let judge = |estimate: &dyn Fn(&Compared<'_>) -> f64| {
            let errors = |compared: &[Compared<'_>]| {
                errors(compared.iter().map(|c| (c.measured, estimate(c))))
            };
            let of_lines = lines.iter().filter_map(|(_, line)| errors(line)?.nrmse_range_percent);
            let of_lines: Vec<f64> = of_lines.collect();
            let median = (!of_lines.is_empty()).then(|| Spread::over(of_lines.into_iter()).median);
            Some((errors(compared)?, median))
        };
        let (alpha_flops, alpha_flops_line_nrmse_percent) = judge(&|c| c.alpha_flops)?;
        let (raw_flops, raw_flops_line_nrmse_percent) = judge(&|c| factor * c.flops)?;
        Some(AgainstRawFlops {
            experiment,
            alpha_flops,
            raw_flops,
            alpha_flops_line_nrmse_percent,
            raw_flops_line_nrmse_percent,
        })
    };
    let experiments = grouped(&compared, |c| c.experiment.to_owned());
    let experiments = experiments.into_iter().map(|(name, group)| row(name, &group));
    std::iter::once(row("all".to_owned(), &compared)).chain(experiments).flatten().collect()
}
