//! A fit with everything that a report says of it: how sure it is, and what it was made of.

use serde::Serialize;

use super::Setting;
use crate::dataset::{Dataset, Observation};
use crate::fit::intervals::{Intervals, intervals};
use crate::fit::refits::Refits;
use crate::fit::region::{Region, regions};
use crate::fit::{Fit, FitError, PUBLISHED_START, Sample, Variant, fit_variant};
use crate::import::Imported;
use crate::model::{FlopConvention, KernelGroup, KernelTerm};
use crate::objectives::Bootstrap;

/// Refits behind the intervals of a report: of parameters, and of RO3's errors.
const REFITS: usize = 399;
/// Seed of their draws: equal data give equal reports.
const SEED: u64 = 1;

/// A fit made here.
#[derive(Clone, Debug)]
pub struct Fitted {
    pub fit: Fit,
    pub intervals: Vec<Intervals>,
    pub regions: Vec<Region>,
    pub bootstrap: Bootstrap,
    /// What it was made of, where that is not what is judged.
    pub basis: Option<Basis>,
}

/// Data that were fitted to judge others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Basis {
    /// Who measured them: `sweep-…, grid published`.
    pub source: String,
    pub configurations: usize,
    /// Those with K = 1.
    pub k_equal_1: usize,
    /// The shortest latency among them, in milliseconds.
    pub shortest_ms: f64,
    /// The longest, in milliseconds.
    pub longest_ms: f64,
    /// The most multiply–adds of one.
    pub largest_macs: u64,
    /// Configurations that are judged.
    pub judged: usize,
    /// Those of them with more multiply–adds than any that was fitted: there the formula
    /// extrapolates.
    pub beyond: usize,
    /// What the record says of them: grid, seed, what was skipped.
    pub record: Vec<Setting>,
}

impl Fitted {
    /// The published form, fitted to `dataset`.
    pub fn to(dataset: &Dataset, s_k: KernelTerm, flops: FlopConvention) -> Result<Self, FitError> {
        let sample = Sample::from_dataset(dataset, s_k, flops)?;
        let fit = fit_variant(&sample, Variant::PUBLISHED, PUBLISHED_START)?;
        let refits = Refits::draw(&sample, &fit, REFITS, SEED);
        let bootstrap =
            Bootstrap { raw_final: sample.raw_final(), models: refits.models(&fit.coefficients) };
        Ok(Self {
            intervals: intervals(&sample, &fit, &refits),
            regions: regions(&sample, &fit),
            bootstrap,
            basis: None,
            fit,
        })
    }
}

impl Basis {
    /// Describes the data that were fitted and compares their sizes with those of the data that are
    /// judged.
    pub fn new(fitted: &Imported, judged: &Dataset) -> Self {
        let observations = &fitted.dataset.observations;
        let macs = |o: &Observation| o.shape.macs().0;
        let largest_macs = observations.iter().map(macs).max().unwrap_or_default();
        let latencies = || observations.iter().filter_map(Observation::typical).map(|t| t.as_ms());
        let is_k_equal_1 =
            |o: &&Observation| KernelGroup::from_shape(&o.shape) == KernelGroup::KEqual1;
        Self {
            source: fitted.dataset.provenance.source.clone(),
            configurations: observations.len(),
            k_equal_1: observations.iter().filter(is_k_equal_1).count(),
            shortest_ms: latencies().fold(f64::INFINITY, f64::min),
            longest_ms: latencies().fold(0.0, f64::max),
            largest_macs,
            judged: judged.observations.len(),
            beyond: judged.observations.iter().filter(|o| macs(o) > largest_macs).count(),
            record: fitted.environment.iter().map(Setting::from).collect(),
        }
    }

    /// One sentence, without the source.
    pub fn sentence(&self) -> String {
        let Self { configurations, k_equal_1, shortest_ms, longest_ms, judged, beyond, .. } = self;
        format!(
            "{configurations} configurations, {k_equal_1} of them with K = 1, of {shortest_ms:.3} to \
             {longest_ms:.3} ms and up to {:.0} million multiply–adds; {beyond} of the {judged} that are judged have \
             more",
            self.largest_macs as f64 / 1e6
        )
    }
}
