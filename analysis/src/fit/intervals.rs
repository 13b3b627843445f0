//! 95% intervals of a fit's parameters in three ways, and which of them to believe.
//!
//! - **asymptotic**: estimate ± t·(standard error), as if the formula were linear in its parameters
//!   and deviations from it independent and of equal size.
//! - **profile**: all values at which the objective, minimised over the other parameters, stays below
//!   `S·(1 + t²/(n − p))` (Bates and Watts 1988, section 6.1): curved valleys and bounds count.
//! - **bootstrap**: 2.5% and 97.5% quantiles over refits to configurations drawn with replacement
//!   (Efron 1979): nothing is assumed of how deviations are distributed. Latencies of one
//!   configuration, or of those that the formula cannot tell apart, are drawn together.
//!
//! All three take configurations as independent. Neighbours share what the formula lacks: where that
//! depends on the size of the image, as β and γ do, all three are too narrow (`examples/coverage.rs`).

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::sample::GroupSample;
use super::variant::{Position, VariantProblem};
use super::{Fit, GroupFit, Sample};
use crate::model::KernelGroup;
use crate::table::{Column, Table, rounded};

/// Low and high end.
pub type Interval = [f64; 2];

/// The intervals of one parameter of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// The group.
    pub group: KernelGroup,
    /// `beta`, `gamma`, `final` or `constant_ms`.
    pub parameter: &'static str,
    /// The estimate.
    pub estimate: f64,
    /// From the standard error; `None` where there is none.
    pub asymptotic: Option<Interval>,
    /// From the objective; an end at a bound is the bound.
    pub profile: Interval,
    /// From refits; `None` where fewer than two could be made.
    pub bootstrap: Option<Interval>,
    /// Which to believe, and why.
    pub believe: &'static str,
}

/// Intervals of every parameter of `fit`, which was made of `sample`; `refits` bootstrap samples are
/// drawn from `seed`.
pub fn intervals(sample: &Sample, fit: &Fit, refits: usize, seed: u64) -> Vec<Intervals> {
    let groups = KernelGroup::ALL.into_iter().filter_map(|group| Some((group, fit.group(group)?)));
    groups
        .flat_map(|(group, fitted)| of_group(sample.group(group), group, fitted, fit, refits, seed))
        .collect()
}

fn of_group(
    sample: &GroupSample,
    group: KernelGroup,
    fitted: &GroupFit,
    fit: &Fit,
    refits: usize,
    seed: u64,
) -> Vec<Intervals> {
    let problem = VariantProblem::new(sample, fit.variant);
    let best = problem.position(&fitted.estimate);
    let fixed = fitted.active_bounds.len();
    let count = 3 + usize::from(fit.variant.constant);
    let freedom = sample.rows.len().saturating_sub(count - fixed).max(1) as f64;
    let t = StudentsT::new(0.0, 1.0, freedom).map_or(1.96, |t| t.inverse_cdf(0.975));
    let threshold = problem.sum(best) * (1.0 + t * t / freedom);
    let drawn = bootstrap(sample, fit, best, refits, seed);
    let errors = fitted.uncertainty.standard_errors;
    let errors = [errors.beta, errors.gamma, errors.final_scale, errors.constant_ms];
    let names = ["beta", "gamma", "final", "constant_ms"];
    let linear = |i: usize, value: f64| if i == 2 { value.exp() } else { value };
    (0..count)
        .map(|i| {
            let estimate = linear(i, best[i]);
            let asymptotic = errors[i].map(|error| [estimate - t * error, estimate + t * error]);
            let step = errors[i].map_or(0.1 * estimate.abs() + 1e-6, |error| t * error);
            // ln final moves by the relative step
            let step = if i == 2 { step / estimate } else { step };
            let end = |sign: f64| linear(i, problem.profile_end(best, i, sign * step, threshold));
            let profile = [end(-1.0), end(1.0)];
            let values: Vec<f64> = drawn.iter().map(|position| linear(i, position[i])).collect();
            let bootstrap = quantiles(values);
            let believe = believe(asymptotic, profile, bootstrap);
            Intervals {
                group,
                parameter: names[i],
                estimate,
                asymptotic,
                profile,
                bootstrap,
                believe,
            }
        })
        .collect()
}

/// Where refits to drawn configurations end, each searched from the estimate.
fn bootstrap(
    sample: &GroupSample,
    fit: &Fit,
    best: Position,
    refits: usize,
    seed: u64,
) -> Vec<Position> {
    let mut configurations: BTreeMap<(u32, u64), Vec<usize>> = BTreeMap::new();
    for (index, row) in sample.rows.iter().enumerate() {
        configurations.entry((row.cluster, row.flops.to_bits())).or_default().push(index);
    }
    let configurations: Vec<Vec<usize>> = configurations.into_values().collect();
    let mut random = SplitMix(seed);
    let refit = |_| {
        let mut drawn = GroupSample::default();
        for _ in 0..configurations.len() {
            for index in &configurations[random.below(configurations.len())] {
                let row = sample.rows[*index];
                let ratio = sample.clusters[row.cluster as usize].ratio;
                drawn.push(ratio, row.flops, row.measured_ms);
            }
        }
        let (position, converged) = VariantProblem::new(&drawn, fit.variant).descend(best);
        (converged && drawn.clusters.len() >= 3).then_some(position)
    };
    (0..refits).filter_map(refit).collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same draws on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // the high half of the product: no modulo bias worth mentioning below 2³²
        ((u128::from(z ^ (z >> 31)) * end as u128) >> 64) as usize
    }
}

fn quantiles(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1).filter(|last| *last > 0)?;
    Some([0.025, 0.975].map(|share| values[(share * last as f64).round() as usize]))
}

/// Widths that differ by less than this are the same: refits have a noise of their own.
const ALIKE: f64 = 1.3;

fn believe(
    asymptotic: Option<Interval>,
    profile: Interval,
    bootstrap: Option<Interval>,
) -> &'static str {
    let width = |[low, high]: Interval| high - low;
    if let Some(bootstrap) = bootstrap
        && !(1.0 / ALIKE..=ALIKE).contains(&(width(bootstrap) / width(profile)))
    {
        return "bootstrap: deviations are not independent and of equal size, as the others assume";
    }
    match asymptotic {
        Some(asymptotic) => {
            let apart = (0..2).map(|i| (asymptotic[i] - profile[i]).abs()).fold(0.0, f64::max);
            match apart > (ALIKE - 1.0) / 2.0 * width(profile) {
                true => "profile: the parameter's valley is curved or ends at a bound",
                false => "any: they agree",
            }
        }
        None => "profile: there is no standard error",
    }
}

/// A row per parameter.
pub fn table(fit: &Fit, intervals: &[Intervals]) -> Table {
    let mut table = Table::new(
        "95% intervals of the fitted parameters",
        [
            Column::text("group", "group"),
            Column::text("parameter", "parameter"),
            Column::number("estimate", "estimate", ""),
            Column::number("asymptotic", "asymptotic", ""),
            Column::number("profile", "profile", ""),
            Column::number("bootstrap", "bootstrap", ""),
            Column::text("believe", "believe"),
        ],
    );
    let ends = |[low, high]: Interval| format!("{} … {}", rounded(low, 4), rounded(high, 4));
    let absent = |interval: Option<Interval>| interval.map_or_else(String::new, ends);
    for row in intervals {
        table.push([
            row.group.to_string(),
            row.parameter.to_owned(),
            rounded(row.estimate, 5),
            absent(row.asymptotic),
            ends(row.profile),
            absent(row.bootstrap),
            row.believe.to_owned(),
        ]);
    }
    if let Some(fitted_on) = &fit.coefficients.fitted_on {
        table.set_provenance(&fitted_on.provenance);
    }
    table.note("all take configurations as independent: where neighbours deviate alike, all are wrong, and too \
         narrow if they do so by size");
    table
}
