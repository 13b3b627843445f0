//! What a fit takes of a dataset: per configuration its FLOPs, latency and `S_K/S`, and per distinct
//! `S_K/S` the sums that stand for all of its configurations.

use std::collections::HashMap;
use std::path::Path;

use alpha_flops::shape::ConvShape;

use super::FitError;
use super::problem::{alpha, bracket};
use super::reduction::Reduction;
use crate::dataset::{Dataset, DatasetError, Provenance};
use crate::metrics::{Errors, errors};
use crate::model::{FlopConvention, GroupCoefficients, KernelGroup, KernelTerm};

/// Configurations reduced to what a fit needs, 24 bytes each. It belongs to its conventions.
#[derive(Clone, Debug)]
pub struct Sample {
    pub(super) provenance: Provenance,
    pub(super) s_k: KernelTerm,
    pub(super) flops: FlopConvention,
    /// Columns of its file that no dataset has, and that were ignored.
    pub ignored_columns: Vec<String>,
    k_equal_1: GroupSample,
    k_above_1: GroupSample,
}

/// One group of a [`Sample`].
#[derive(Clone, Debug, Default)]
pub(super) struct GroupSample {
    pub rows: Vec<Row>,
    pub clusters: Vec<Cluster>,
    /// By the bits of `S_K/S`.
    places: HashMap<u64, u32>,
    /// `S_K/S` of the row before and its cluster: neighbours in a file share it.
    latest: Option<(u64, u32)>,
}

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Index of its cluster.
    pub cluster: u32,
    /// Millions of FLOPs.
    pub flops: f64,
    pub measured_ms: f64,
}

/// All configurations of one `S_K/S`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cluster {
    /// `S_K/S`.
    pub ratio: f64,
    pub sums: Reduction,
}

impl Sample {
    pub(crate) fn new(provenance: Provenance, s_k: KernelTerm, flops: FlopConvention) -> Self {
        let (ignored_columns, k_equal_1, k_above_1) = Default::default();
        Self { provenance, s_k, flops, ignored_columns, k_equal_1, k_above_1 }
    }

    /// Reduces a dataset in memory.
    ///
    /// # Errors
    /// [`FitError::Latency`] where one is absent, not finite or not above 0.
    pub fn from_dataset(
        dataset: &Dataset,
        s_k: KernelTerm,
        flops: FlopConvention,
    ) -> Result<Self, FitError> {
        let mut sample = Self::new(dataset.provenance.clone(), s_k, flops);
        for observation in &dataset.observations {
            let latency = observation.typical().map(|latency| latency.0);
            match latency {
                Some(ns) if ns.is_finite() && ns > 0.0 => sample.push(&observation.shape, ns),
                _ => {
                    return Err(FitError::Latency {
                        experiment: observation.experiment.clone(),
                        shape: observation.shape,
                        got: latency.map_or_else(|| "absent".into(), |ns| format!("{ns} ns")),
                    });
                }
            }
        }
        Ok(sample)
    }

    /// Reads a dataset from a file, validated as by [`Dataset::read`], and keeps 24 bytes of each
    /// configuration.
    pub fn read(path: &Path, s_k: KernelTerm, flops: FlopConvention) -> Result<Self, DatasetError> {
        let mut sample = Self::new(Provenance::default(), s_k, flops);
        (sample.provenance, sample.ignored_columns) = Dataset::for_each(path, |observation| {
            if let Some(latency) = observation.typical() {
                sample.push(&observation.shape, latency.0);
            }
        })?;
        Ok(sample)
    }

    /// Adds a configuration whose latency is finite and above 0.
    pub(crate) fn push(&mut self, shape: &ConvShape, latency_ns: f64) {
        let group = match KernelGroup::from_shape(shape) {
            KernelGroup::KEqual1 => &mut self.k_equal_1,
            KernelGroup::KAbove1 => &mut self.k_above_1,
        };
        let ratio = self.s_k.s_k(shape.kernel()) / shape.pixels() as f64;
        group.push(ratio, self.flops.millions(shape), latency_ns / 1e6);
    }

    /// How many configurations there are.
    pub fn len(&self) -> usize {
        self.k_equal_1.rows.len() + self.k_above_1.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Raw FLOPs' one factor for all configurations, `c = Σ T·F / Σ F²`, in milliseconds per million
    /// FLOPs; `NaN` where there are none.
    pub fn raw_final(&self) -> f64 {
        let rows = || self.k_equal_1.rows.iter().chain(&self.k_above_1.rows);
        let products: f64 = rows().map(|row| row.measured_ms * row.flops).sum();
        products / rows().map(|row| row.flops * row.flops).sum::<f64>()
    }

    pub(super) fn group(&self, group: KernelGroup) -> &GroupSample {
        match group {
            KernelGroup::KEqual1 => &self.k_equal_1,
            KernelGroup::KAbove1 => &self.k_above_1,
        }
    }
}

impl GroupSample {
    pub(super) fn push(&mut self, ratio: f64, flops: f64, measured_ms: f64) {
        let cluster = self.cluster(ratio);
        self.clusters[cluster as usize].sums.add(flops, measured_ms, 1.0);
        self.rows.push(Row { cluster, flops, measured_ms });
    }

    /// The cluster of `ratio`, a new one where it is the first of its kind.
    fn cluster(&mut self, ratio: f64) -> u32 {
        let bits = ratio.to_bits();
        if let Some((latest, place)) = self.latest
            && latest == bits
        {
            return place;
        }
        let next = self.clusters.len() as u32;
        let place = *self.places.entry(bits).or_insert(next);
        if place == next {
            self.clusters.push(Cluster { ratio, sums: Reduction::default() });
        }
        self.latest = Some((bits, place));
        place
    }

    /// Errors of an estimate over all rows: a pass of its own, for relative errors do not reduce.
    /// `None` where there are no rows.
    pub(super) fn errors(&self, estimate: &GroupCoefficients) -> Option<Errors> {
        let factor = |c: &Cluster| {
            estimate.final_scale * alpha(bracket(c.ratio, estimate.beta), estimate.gamma)
        };
        let factors: Vec<f64> = self.clusters.iter().map(factor).collect();
        let pair = |row: &Row| {
            let computing = factors[row.cluster as usize] * row.flops;
            (row.measured_ms, computing + estimate.constant_ms)
        };
        errors(self.rows.iter().map(pair))
    }
}
