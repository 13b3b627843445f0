//! Fits α-FLOPs to a dataset: constrained least squares on milliseconds, `K = 1` and `K > 1` apart,
//! as the paper's section 3 and both studies' code do with `scipy.optimize.curve_fit`.
//!
//! The parameters are nearly confounded (for `S ≫ S_K` the formula tends to `final·β^γ·FLOPs`), so
//! a descent from one start may stop anywhere along a flat valley. Here `final` is eliminated, a
//! grid over (β, γ) finds every basin, and each is descended to where the gradient vanishes: the
//! result is the optimum itself and does not depend on the start. One problem (`LeastSquares`) and one
//! search serve every [`Variant`].
//!
//! Rows of one `S_K/S` are reduced to one while they are read (the module `reduction` derives it),
//! so that the search costs the same for a thousand rows and for millions.

use alpha_flops::shape::ConvShape;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::metrics::Errors;
use crate::model::{
    Coefficients, FittedOn, FlopConvention, GroupCoefficients, KernelGroup, KernelTerm, Objective,
    SCHEMA_VERSION,
};
use crate::table::rounded;

pub mod intervals;
mod newton;
mod points;
mod problem;
mod profile;
mod reduction;
pub mod refits;
pub mod region;
mod sample;
mod search;
mod tables;
mod uncertainty;

use problem::LeastSquares;
use sample::GroupSample;
pub use sample::Sample;
pub use uncertainty::{ActiveBound, StandardErrors, Uncertainty};

/// Bounds of each parameter, as published.
pub const BOUNDS: (f64, f64) = (0.0, 2.0);

/// Names of the parameters in the formula's order, as in files.
pub const PARAMETERS: [&str; 3] = ["beta", "gamma", "final"];

/// Where both studies start their search.
pub const PUBLISHED_START: GroupCoefficients =
    GroupCoefficients { beta: 0.01, gamma: 0.8, final_scale: 0.3, constant_ms: 0.0 };

/// Fewer points than this per group call for a warning: ten a parameter.
const FEW_POINTS: usize = 30;

/// Correlations beyond this call for a warning.
const CONFOUNDED: f64 = 0.99;

/// A form of the fit: the residuals that it minimises, and whether it has a T₀.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The residuals whose squares are minimised.
    pub objective: Objective,
    /// Whether T₀ is fitted; it is 0 otherwise.
    pub constant: bool,
}

impl Variant {
    /// As both studies fit.
    pub const PUBLISHED: Self = Self { objective: Objective::Absolute, constant: false };

    /// Every one, the published first.
    pub const ALL: [Self; 6] = [
        Self::PUBLISHED,
        Self { objective: Objective::Absolute, constant: true },
        Self { objective: Objective::Relative, constant: false },
        Self { objective: Objective::Relative, constant: true },
        Self { objective: Objective::Log, constant: false },
        Self { objective: Objective::Log, constant: true },
    ];
}

/// The fit of one group: the estimate, and apart from it how well it fits and how sure it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct GroupFit {
    /// The optimum within the bounds.
    #[serde(flatten)]
    pub estimate: GroupCoefficients,
    /// Errors of the estimate against the very data it was fitted on.
    #[serde(flatten)]
    pub errors: Errors,
    /// Residual sum of squares, in ms², whatever was minimised.
    pub residual_sum_ms2: f64,
    /// What was minimised: the sum of squares of the objective's residuals (ms² if absolute).
    pub objective_sum: f64,
    #[serde(flatten)]
    pub uncertainty: Uncertainty,
    pub active_bounds: Vec<ActiveBound>,
    pub warnings: Vec<String>,
}

/// A fit of both groups. Its JSON is a coefficients file with statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The parameters with their conventions and origin, ready to predict.
    pub coefficients: Coefficients,
    /// What was fitted.
    pub variant: Variant,
    /// `K = 1`; `None` where the dataset has no such configuration.
    pub k_equal_1: Option<GroupFit>,
    /// `K > 1`; `None` where the dataset has no such configuration.
    pub k_above_1: Option<GroupFit>,
}

/// Why there is no fit.
#[allow(missing_docs, reason = "the messages say what the fields are")]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum FitError {
    #[error("the dataset has no configurations")]
    Empty,
    #[error("{experiment}, {shape}: the latency is {got}, expected a finite number above 0 ns")]
    Latency { experiment: String, shape: ConvShape, got: String },
    #[error(
        "{group}: {n} configurations cannot determine {parameters} parameters; measure at least \
         {parameters}, preferably {FEW_POINTS}"
    )]
    TooFew { group: KernelGroup, n: usize, parameters: usize },
    #[error(
        "{group}: all {n} latencies are {latency_ms} ms; latencies that do not vary say nothing \
         about how they depend on the shape"
    )]
    Constant { group: KernelGroup, n: usize, latency_ms: f64 },
    #[error("the start's {parameter} is {value}, expected 0 to 2")]
    Start { parameter: &'static str, value: f64 },
    /// The search ended before the gradient vanished.
    #[error("{group}: the fit did not converge: {reason}")]
    NotConverged { group: KernelGroup, reason: String },
}

/// Fits α-FLOPs to a sample, whose conventions are stored with the result.
///
/// The result is the least sum of the objective's squared residuals within [`BOUNDS`]; `start` is one
/// candidate more and decides nothing unless it leads to a better one.
///
/// # Errors
/// [`FitError`]: data that cannot determine the parameters, a start outside the bounds, or a search
/// that did not converge.
pub fn fit_variant(
    sample: &Sample,
    variant: Variant,
    start: GroupCoefficients,
) -> Result<Fit, FitError> {
    check_start(&start)?;
    if sample.is_empty() {
        return Err(FitError::Empty);
    }
    let fit_of = |group| {
        let sample = sample.group(group);
        (!sample.rows.is_empty()).then(|| fit_group(group, sample, variant, &start)).transpose()
    };
    let k_equal_1 = fit_of(KernelGroup::KEqual1)?;
    let k_above_1 = fit_of(KernelGroup::KAbove1)?;
    let provenance = sample.provenance.clone();
    let coefficients = Coefficients {
        source: format!("fitted on {}, {}", provenance.device, provenance.source),
        device: Some(provenance.device.clone()),
        fitted_on: Some(FittedOn { provenance, configurations: sample.len() as u64 }),
        flops: sample.flops,
        s_k: sample.s_k,
        objective: variant.objective,
        k_equal_1: k_equal_1.as_ref().map(|fit| fit.estimate),
        k_above_1: k_above_1.as_ref().map(|fit| fit.estimate),
    };
    Ok(Fit { coefficients, variant, k_equal_1, k_above_1 })
}

fn check_start(start: &GroupCoefficients) -> Result<(), FitError> {
    let outside = |(_, value): &(_, f64)| !(BOUNDS.0..=BOUNDS.1).contains(value);
    match start.named().into_iter().find(outside) {
        Some((parameter, value)) => Err(FitError::Start { parameter, value }),
        None => Ok(()),
    }
}

fn fit_group(
    group: KernelGroup,
    sample: &GroupSample,
    variant: Variant,
    start: &GroupCoefficients,
) -> Result<GroupFit, FitError> {
    let n = sample.rows.len();
    let parameters = PARAMETERS.len() + usize::from(variant.constant);
    if n < parameters {
        return Err(FitError::TooFew { group, n, parameters });
    }
    let latency_ms = sample.rows[0].measured_ms;
    if sample.rows.iter().all(|row| row.measured_ms == latency_ms) {
        return Err(FitError::Constant { group, n, latency_ms });
    }
    let problem = LeastSquares::new(sample, variant);
    let optimum =
        problem.optimum(start).map_err(|reason| FitError::NotConverged { group, reason })?;
    let estimate = optimum.estimate();
    let errors = sample.errors(&estimate).ok_or(FitError::Empty)?;
    let active_bounds = uncertainty::active_bounds(&problem, &optimum, &estimate);
    let uncertainty = match sample.clusters.len() < PARAMETERS.len() {
        // as many numbers to fit as values of S_K/S, so some parameter is arbitrary
        true => uncertainty::UNKNOWN,
        false => uncertainty::uncertainty(&problem, &estimate, &active_bounds, n, optimum.sum),
    };
    let warnings = warnings(n, parameters, &uncertainty, &active_bounds);
    let residual_sum_ms2 = match variant.objective {
        Objective::Absolute => optimum.sum,
        Objective::Relative | Objective::Log => errors.rmse_ms * errors.rmse_ms * n as f64,
    };
    Ok(GroupFit {
        estimate,
        errors,
        residual_sum_ms2,
        objective_sum: optimum.sum,
        uncertainty,
        active_bounds,
        warnings,
    })
}

fn warnings(
    n: usize,
    parameters: usize,
    uncertainty: &Uncertainty,
    active: &[ActiveBound],
) -> Vec<String> {
    let mut warnings = Vec::new();
    if n < FEW_POINTS {
        warnings.push(format!(
            "only {n} points for {parameters} parameters; at least {FEW_POINTS} are recommended"
        ));
    }
    for ActiveBound { parameter, bound } in active {
        warnings.push(format!(
            "{parameter} is at its bound {}: standard errors of the others take it as given",
            rounded(*bound, 5)
        ));
    }
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        if let Some(correlation) = uncertainty.correlation[i][j].filter(|c| c.abs() > CONFOUNDED) {
            let (a, b) = (PARAMETERS[i], PARAMETERS[j]);
            warnings.push(format!(
                "{a} and {b} are confounded (correlation {correlation:.4}): compare estimates, not \
                 parameters"
            ));
        }
    }
    let standard_errors = uncertainty.standard_errors;
    if standard_errors == StandardErrors::default() && active.len() < PARAMETERS.len() {
        warnings.push(
            "these shapes cannot tell the parameters apart, or there are no more of them than parameters: \
             no standard errors"
                .into(),
        );
    }
    warnings
}

impl Fit {
    /// The fit of one group, where there is one.
    pub fn group(&self, group: KernelGroup) -> Option<&GroupFit> {
        match group {
            KernelGroup::KEqual1 => self.k_equal_1.as_ref(),
            KernelGroup::KAbove1 => self.k_above_1.as_ref(),
        }
    }
}

/// As a coefficients file, with the statistics of each group after its parameters.
impl Serialize for Fit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct File<'a> {
            schema_version: u32,
            source: &'a str,
            fitted_on: &'a Option<FittedOn>,
            flops: FlopConvention,
            s_k: KernelTerm,
            objective: Objective,
            constant: bool,
            k_equal_1: &'a Option<GroupFit>,
            k_above_1: &'a Option<GroupFit>,
        }
        let file = File {
            schema_version: SCHEMA_VERSION,
            source: &self.coefficients.source,
            fitted_on: &self.coefficients.fitted_on,
            flops: self.coefficients.flops,
            s_k: self.coefficients.s_k,
            objective: self.variant.objective,
            constant: self.variant.constant,
            k_equal_1: &self.k_equal_1,
            k_above_1: &self.k_above_1,
        };
        file.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
