//! α-FLOPs and raw FLOPs fitted again: to configurations drawn with replacement (Efron 1979), which says
//! how far another sample of them could have moved the fit, or to a part of the data.
//!
//! Each search starts from the estimate. With γ at 0 β has no effect, so a descent can stop on that edge
//! short of a minimum: then everything is searched.

use std::collections::BTreeMap;

use alpha_flops::random::random_bits;

use super::problem::{GAMMA, LeastSquares};
use super::sample::GroupSample;
use super::search::End;
use super::{Fit, PUBLISHED_START, Sample, Variant};
use crate::model::{Coefficients, GroupCoefficients, KernelGroup};

/// Both models, fitted to the same data.
#[derive(Clone, Debug, PartialEq)]
pub struct Models {
    /// A group is `None` where there was nothing to fit it on, or the search did not converge.
    pub alpha_flops: Coefficients,
    /// Raw FLOPs' one factor, `Σ T·F / Σ F²`, in milliseconds per million FLOPs of the coefficients'
    /// convention.
    pub raw_final: f64,
}

/// Fits to configurations drawn with replacement, of each group by itself.
#[derive(Clone, Debug)]
pub struct Refits {
    k_equal_1: Vec<Drawn>,
    k_above_1: Vec<Drawn>,
}

/// One draw of a group.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// Where the search ended; `None` where it did not converge or was underdetermined.
    pub end: Option<End>,
    /// Σ T·F and Σ F² of the drawn rows.
    sums: [f64; 2],
}

impl Refits {
    /// `number` draws from `seed` of the `sample` that `fit` was made of.
    pub fn draw(sample: &Sample, fit: &Fit, number: usize, seed: u64) -> Self {
        let of = |group| match fit.group(group) {
            Some(fitted) => draws(sample.group(group), fit.variant, fitted.estimate, number, seed),
            None => Vec::new(),
        };
        Self { k_equal_1: of(KernelGroup::KEqual1), k_above_1: of(KernelGroup::KAbove1) }
    }

    pub(super) fn group(&self, group: KernelGroup) -> &[Drawn] {
        match group {
            KernelGroup::KEqual1 => &self.k_equal_1,
            KernelGroup::KAbove1 => &self.k_above_1,
        }
    }

    /// How many were tried.
    pub fn number(&self) -> usize {
        self.k_equal_1.len().max(self.k_above_1.len())
    }

    /// Both models of each draw; a group without an end has no parameters. Conventions and origin
    /// are those of `coefficients`, the estimate.
    pub fn models(&self, coefficients: &Coefficients) -> Vec<Models> {
        let models = |index: usize| {
            let [one, above] = [&self.k_equal_1, &self.k_above_1].map(|group| group.get(index));
            let sums = |i: usize| one.into_iter().chain(above).map(|d| d.sums[i]).sum::<f64>();
            let estimate = |drawn: Option<&Drawn>| Some(drawn?.end.as_ref()?.estimate());
            let alpha_flops = Coefficients {
                k_equal_1: estimate(one),
                k_above_1: estimate(above),
                ..coefficients.clone()
            };
            Models { alpha_flops, raw_final: sums(0) / sums(1) }
        };
        (0..self.number()).map(models).collect()
    }
}

impl Models {
    /// Both fitted to `sample`, α-FLOPs as `near` was and searched from there.
    pub fn refitted(sample: &Sample, near: &Coefficients) -> Self {
        let estimates = || KernelGroup::ALL.into_iter().filter_map(|group| near.group(group));
        let constant = estimates().any(|estimate| estimate.constant_ms > 0.0);
        let variant = Variant { objective: near.objective, constant };
        let of = |group| {
            let end = searched(sample.group(group), variant, &near.group(group)?)?;
            Some(end.estimate())
        };
        let alpha_flops = Coefficients {
            k_equal_1: of(KernelGroup::KEqual1),
            k_above_1: of(KernelGroup::KAbove1),
            ..near.clone()
        };
        Self { alpha_flops, raw_final: sample.raw_final() }
    }
}

/// The optimum near an estimate; `None` where parameters are underdetermined or the search does not
/// converge.
fn searched(sample: &GroupSample, variant: Variant, near: &GroupCoefficients) -> Option<End> {
    if sample.clusters.len() < 3 {
        return None;
    }
    let problem = LeastSquares::new(sample, variant);
    let mut end = problem.descend(problem.position(near)).ok()?;
    if end.position[GAMMA] == 0.0 {
        let everywhere = problem.optimum(&PUBLISHED_START).ok();
        end = everywhere.filter(|other| other.sum < end.sum).unwrap_or(end);
    }
    end.unfinished.is_none().then_some(end)
}

fn draws(
    sample: &GroupSample,
    variant: Variant,
    near: GroupCoefficients,
    number: usize,
    seed: u64,
) -> Vec<Drawn> {
    let configurations = configurations(sample);
    let mut random = Draws::new(seed);
    let draw = |_| {
        let (mut drawn, mut sums) = (GroupSample::default(), [0.0; 2]);
        for _ in 0..configurations.len() {
            for index in &configurations[random.below(configurations.len())] {
                let row = sample.rows[*index];
                let ratio = sample.clusters[row.cluster as usize].ratio;
                drawn.push(ratio, row.flops, row.measured_ms);
                sums[0] += row.measured_ms * row.flops;
                sums[1] += row.flops * row.flops;
            }
        }
        Drawn { end: searched(&drawn, variant, &near), sums }
    };
    (0..number).map(draw).collect()
}

/// Rows of each configuration, or of those that the formula cannot tell apart.
pub(super) fn configurations(sample: &GroupSample) -> Vec<Vec<usize>> {
    let mut configurations: BTreeMap<(u32, u64), Vec<usize>> = BTreeMap::new();
    for (index, row) in sample.rows.iter().enumerate() {
        configurations.entry((row.cluster, row.flops.to_bits())).or_default().push(index);
    }
    configurations.into_values().collect()
}

/// Draws from the stream `seed`: the same on every machine.
#[derive(Clone, Debug)]
pub struct Draws {
    seed: u64,
    next: u64,
}

impl Draws {
    /// The stream from its beginning.
    pub fn new(seed: u64) -> Self {
        Self { seed, next: 0 }
    }

    /// From 0 up to, but not including, `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let bits = random_bits(self.seed, self.next);
        self.next += 1;
        // the high half of the product: no modulo bias worth mentioning below 2³²
        ((u128::from(bits) * end as u128) >> 64) as usize
    }
}
