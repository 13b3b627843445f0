//! 95% intervals of a fit's parameters in three ways, and which of them to believe.
//!
//! - **asymptotic**: estimate ± t·(standard error), as if the formula were linear in its parameters
//!   and deviations from it independent and of equal size.
//! - **profile**: all values at which the objective, minimised over the other parameters, stays below
//!   `S·(1 + t²/(n − p))` (Bates and Watts 1988, section 6.1): curved valleys and bounds count.
//! - **bootstrap**: expanded percentiles (Hesterberg 2015) over refits to configurations drawn with
//!   replacement (Efron 1979): nothing is assumed of how deviations are distributed. Latencies of one
//!   configuration, or of those that the formula cannot tell apart, are drawn together.
//!
//! All three take configurations as independent. Where neighbours deviate alike none holds.
//!
//! How often they hold the truth is tabulated in `docs/calibration.md`, in percent of 2,000 simulations.
//!
//! Where the assumptions are met all are within 93 to 97 at 94 configurations. Of 16 the bootstrap is
//! from 92.5 to 97.2: quantiles of refits are exact only in the limit of many configurations, and what
//! expands them is derived for means. Deviations unequal in size take the asymptotic interval and the
//! profile of β to 70, while the bootstrap stays at 92 (presumably since a few long convolutions
//! decide such a fit, as if there were fewer). Deviations of channel counts as a whole leave all too
//! wide: they scale the formula but do not bend it. Those of sizes as a whole bend it as β and γ do,
//! and leave all far too narrow.
//!
//! Hence the rule: where refits of any free parameter scatter unlike its profile, the bootstrap is
//! believed for the whole group. Where that is chance it costs little (under 2 in 100, of 16
//! configurations); where it is not, the worst of the group's parameters gains most. Otherwise, and where
//! a parameter is at a bound, which makes the bootstrap inconsistent (Andrews 2000, "Inconsistency of the
//! Bootstrap When a Parameter Is on the Boundary", Econometrica 68(2)), the profile is, which follows
//! curved valleys and bounds. The asymptotic interval is never believed:
//! where it holds the truth more often than the profile by more than chance, so does the bootstrap.

use alpha_flops::choice::choices;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::problem::{LeastSquares, Position};
use super::refits::{Drawn, Refits, configurations};
use super::sample::GroupSample;
use super::{Fit, GroupFit, Sample};
use crate::model::KernelGroup;
use crate::table::{Digits, Table, rounded};

/// Low and high end.
pub type Interval = [f64; 2];

/// The intervals of one parameter of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Intervals {
    pub group: KernelGroup,
    /// `beta`, `gamma`, `final` or `constant_ms`.
    pub parameter: &'static str,
    pub estimate: f64,
    /// From the standard error; `None` where there is none.
    pub asymptotic: Option<Interval>,
    /// From the objective; an end at a bound is the bound.
    pub profile: Interval,
    /// From refits; `None` where fewer than two could be made.
    pub bootstrap: Option<Interval>,
    pub believed: IntervalMethod,
    pub reason: &'static str,
}

choices! {
    /// A way to an interval, in the order of the table's columns.
    #[derive(Serialize)]
    #[serde(rename_all = "lowercase")]
    #[allow(missing_docs, reason = "`Intervals` says what each is computed from")]
    pub enum IntervalMethod {
        Asymptotic = "asymptotic",
        Profile = "profile",
        Bootstrap = "bootstrap",
    }
}

impl Intervals {
    /// The interval by one method, where it gives one.
    pub fn by(&self, method: IntervalMethod) -> Option<Interval> {
        match method {
            IntervalMethod::Asymptotic => self.asymptotic,
            IntervalMethod::Profile => Some(self.profile),
            IntervalMethod::Bootstrap => self.bootstrap,
        }
    }
}

/// Intervals of every parameter of `fit`, which was made of `sample`; `refits` are of both.
pub fn intervals(sample: &Sample, fit: &Fit, refits: &Refits) -> Vec<Intervals> {
    let groups = KernelGroup::ALL.into_iter().filter_map(|group| Some((group, fit.group(group)?)));
    groups
        .flat_map(|(group, fitted)| {
            of_group(sample.group(group), group, fitted, fit, refits.group(group))
        })
        .collect()
}

fn of_group(
    sample: &GroupSample,
    group: KernelGroup,
    fitted: &GroupFit,
    fit: &Fit,
    drawn: &[Drawn],
) -> Vec<Intervals> {
    let problem = LeastSquares::new(sample, fit.variant);
    let best = problem.position(&fitted.estimate);
    let fixed = fitted.active_bounds.len();
    let count = 3 + usize::from(fit.variant.constant);
    let freedom = sample.rows.len().saturating_sub(count - fixed).max(1) as f64;
    let t = t_quantile(freedom);
    let threshold = problem.sum(&best) * (1.0 + t * t / freedom);
    let drawn: Vec<Position> =
        drawn.iter().filter_map(|d| Some(d.end.as_ref()?.position)).collect();
    let tail = tail(configurations(sample).len(), count - fixed);
    let errors = fitted.uncertainty.standard_errors;
    let errors = [errors.beta, errors.gamma, errors.final_scale, errors.constant_ms];
    let names = ["beta", "gamma", "final", "constant_ms"];
    let linear = |i: usize, value: f64| if i == 2 { value.exp() } else { value };
    let mut rows: Vec<Intervals> = (0..count)
        .map(|i| {
            let estimate = linear(i, best[i]);
            let asymptotic = errors[i].map(|error| [estimate - t * error, estimate + t * error]);
            let step = errors[i].map_or(0.1 * estimate.abs() + 1e-6, |error| t * error);
            // ln final moves by the relative step
            let step = if i == 2 { step / estimate } else { step };
            let end = |sign: f64| linear(i, problem.profile_end(best, i, sign * step, threshold));
            let profile = [end(-1.0), end(1.0)];
            let values: Vec<f64> = drawn.iter().map(|position| linear(i, position[i])).collect();
            let bootstrap = quantiles(values, tail);
            let (believed, reason) = (IntervalMethod::Profile, "");
            let parameter = names[i];
            Intervals {
                group,
                parameter,
                estimate,
                asymptotic,
                profile,
                bootstrap,
                believed,
                reason,
            }
        })
        .collect();
    let scattered = rows.iter().any(scattered);
    for row in &mut rows {
        (row.believed, row.reason) = believe(row, scattered, fixed > 0);
    }
    rows
}

/// The share of refits beyond each end: Hesterberg's expanded percentiles (2015, "What Teachers Should
/// Know About the Bootstrap", The American Statistician 69(4)). Refits scatter less than estimates
/// do, by √((n − 1)/n), and their quantiles do not know how unsure that scatter is, as t does. His are
/// for a mean; with p parameters t has n − p degrees of freedom. (The same p under the root would go
/// too far: of 16 configurations up to 98.4% of such intervals hold the truth.)
fn tail(configurations: usize, parameters: usize) -> f64 {
    let n = configurations as f64;
    let freedom = configurations.saturating_sub(parameters).max(1) as f64;
    Normal::standard().cdf(-(n / (n - 1.0)).sqrt() * t_quantile(freedom))
}

/// Of the ends of 95% by Student's distribution.
fn t_quantile(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(1.96, |t| t.inverse_cdf(0.975))
}

/// Linear between the values, as by R's default (type 7 of Hyndman and Fan 1996).
fn quantiles(mut values: Vec<f64>, tail: f64) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1).filter(|last| *last > 0)?;
    Some([tail, 1.0 - tail].map(|share| {
        let place = share * last as f64;
        let below = (place as usize).min(last - 1);
        values[below] + (place - below as f64) * (values[below + 1] - values[below])
    }))
}

/// Widths that differ by less than this are the same: refits have a noise of their own.
const ALIKE: f64 = 1.3;

/// Whether refits of a free parameter scatter unlike the profile has it.
fn scattered(row: &Intervals) -> bool {
    let width = |[low, high]: Interval| high - low;
    let profile = width(row.profile);
    let differs = |other: f64| other > ALIKE * profile || profile > ALIKE * other;
    row.asymptotic.is_some() && row.bootstrap.is_some_and(|bootstrap| differs(width(bootstrap)))
}

/// The rule that the docs above support. `scattered`: a parameter of the group is, and what deviations
/// are like concerns all of them. `at_bound`: one is, too.
fn believe(row: &Intervals, scattered: bool, at_bound: bool) -> (IntervalMethod, &'static str) {
    if at_bound {
        return (
            IntervalMethod::Profile,
            "a parameter of the group is at a bound, where refits stay",
        );
    }
    if scattered && row.bootstrap.is_some() {
        return (IntervalMethod::Bootstrap, "deviations are not independent and of equal size");
    }
    let Some(asymptotic) = row.asymptotic else {
        return (IntervalMethod::Profile, "there is no standard error");
    };
    let [low, high] = row.profile;
    let apart = (asymptotic[0] - low).abs().max((asymptotic[1] - high).abs());
    match apart > (ALIKE - 1.0) / 2.0 * (high - low) {
        true => (IntervalMethod::Profile, "the parameter's valley is curved or ends at a bound"),
        false => (IntervalMethod::Profile, "all agree"),
    }
}

/// A row per parameter.
pub fn table(fit: &Fit, intervals: &[Intervals]) -> Table {
    let ends = |[low, high]: Interval| format!("{} … {}", rounded(low, 4), rounded(high, 4));
    let mut table = Table::with_rows("95% intervals of the fitted parameters", intervals)
        .text("group", |row| row.group)
        .text("parameter", |row| row.parameter)
        .number("estimate", Digits::Significant(5), |row| row.estimate)
        .written("asymptotic", |row| row.asymptotic.map(ends))
        .written("profile", |row| ends(row.profile))
        .written("bootstrap", |row| row.bootstrap.map(ends))
        .text("believed", |row| row.believed)
        .build();
    if let Some(fitted_on) = &fit.coefficients.fitted_on {
        table = table.with_provenance(&fitted_on.provenance);
    }
    let mut reasons: Vec<(IntervalMethod, &str)> = Vec::new();
    for reason in intervals.iter().map(|row| (row.believed, row.reason)) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    for (believed, reason) in reasons {
        table.note(format!("believed: {believed} where {reason}"));
    }
    table.note("all three take configurations as independent");
    table.note("where configurations of one size deviate alike, all three are far too narrow");
    table
}

#[cfg(test)]
mod tests;
