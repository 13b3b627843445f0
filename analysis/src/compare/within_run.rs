//! Where the launches of one configuration in one run lie, by a clock with steps.
//!
//! A median of launches is one of the clock's readings: by a clock of 0.5 µs, latencies of 10 µs are known to
//! 5%, and every run is wrong by the same. The mean of launches that scatter over several steps is not.
//! Where a step matters, the mean of the launches within Tukey's fences therefore stands for the median.

use std::collections::HashMap;

use alpha_flops::statistics::{Fences, Summary, quantile, sorted};

use super::CompareError;
use crate::in_order::try_map;
use crate::run::{Run, clock_step_ns};
use crate::variance::dependence::Dependence;
use crate::variance::interval::log_median_error;

/// A location and what rounding leaves unknown of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Location {
    /// In nanoseconds.
    pub ns: f64,
    /// Variance of its logarithm from rounding, which is the same in every run and so does not shrink with
    /// their number.
    pub rounding: f64,
}

/// A step of this part of a latency matters: it puts the median wrong by up to 0.1%.
const MATTERS: f64 = 0.002;

impl Location {
    /// The median, rounded to a step: its error is uniform over one.
    pub fn of_median(median_ns: f64, step_ns: f64) -> Self {
        Self { ns: median_ns, rounding: (step_ns / median_ns).powi(2) / 12.0 }
    }

    /// The mean of sorted launches within Tukey's fences, if the clock's step matters: fences around quartiles
    /// that are a step wider, because equal readings differ by up to that.
    ///
    /// Its error is that of the rounded mean of a normal distribution, whose standard deviation is at most
    /// `step/√12 · exp(−2π²σ²/step²)` (Sheppard's corrections; Widrow and Kollár, *Quantization Noise*,
    /// 2008, chapter 4), with σ² the launches' variance less that of rounding. That holds where durations are
    /// rounded; where both timestamps are, the error is smaller. Launches that read the same, or two values only,
    /// leave the whole step unknown: two values are what any latency close to a boundary reads.
    pub fn of_launches(sorted: &[f64], step_ns: f64) -> Option<Self> {
        let [q1, median, q3] = [0.25, 0.5, 0.75].map(|p| quantile(sorted, p));
        if step_ns.is_nan() || step_ns <= MATTERS * median {
            return None;
        }
        let fences = Fences::from_quartiles(q1 - step_ns / 2.0, q3 + step_ns / 2.0);
        let kept = || sorted.iter().filter(|v| **v >= fences.low_mild && **v <= fences.high_mild);
        let n = kept().count() as f64;
        let ns = kept().sum::<f64>() / n;
        let variance = kept().map(|v| (v - ns) * (v - ns)).sum::<f64>() / n;
        let in_steps = match is_spread(&kept().copied().collect::<Vec<_>>(), step_ns) {
            true => (variance / (step_ns * step_ns) - 1.0 / 12.0).max(0.0),
            false => 0.0,
        };
        let left = (-2.0 * std::f64::consts::PI.powi(2) * in_steps).exp();
        let whole = Self::of_median(ns, step_ns).rounding;
        Some(Self { ns, rounding: whole * left * left })
    }
}

/// Whether sorted launches are spread over more than two of the clock's readings: 2% of them at least.
fn is_spread(sorted: &[f64], step_ns: f64) -> bool {
    let readings = sorted.chunk_by(|a, b| b - a < step_ns / 2.0);
    let mut counts: Vec<usize> = readings.map(<[f64]>::len).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.iter().skip(2).sum::<usize>() * 50 >= sorted.len()
}

/// Something of each configuration of a run, by id.
pub(super) type ById<T> = HashMap<String, T>;

/// By run: errors, if wanted, and locations.
type Found = (Option<Vec<ById<f64>>>, Vec<ById<Location>>);

/// Decodes the launches of every run, which checks them. Returns, by run, the standard error of each
/// configuration's ln median from this run alone, by its launches or its passes, whichever is larger, if
/// `errors` are wanted: that takes as long as all the rest; and, if `locations` are wanted, those of launches
/// where the clock's step matters.
pub(super) fn of_launches(
    runs: &[&Run],
    errors: bool,
    locations: bool,
) -> Result<Found, CompareError> {
    let of_run = |run: &&Run| -> Result<(ById<f64>, ById<Location>), CompareError> {
        let step_ns = clock_step_ns(&run.header);
        let found = run.map_launches(|record, latencies| {
            let ordered = sorted(latencies.ns);
            let location = || Location::of_launches(&ordered, step_ns);
            let error = || {
                let dependence = Dependence::new(latencies.ns, &ordered);
                let by_launches = log_median_error(&ordered, &dependence)?;
                let Summary { passes, between_pass_sd, .. } = record.outcome.measured()?.summary;
                let by_passes = between_pass_sd.unwrap_or(0.0) / f64::from(passes).sqrt();
                Some(by_launches.max(by_passes))
            };
            let error = errors.then(error).flatten();
            (record.id.clone(), error, locations.then(location).flatten())
        })?;
        let of_errors = found.iter().filter_map(|(id, error, _)| Some((id.clone(), (*error)?)));
        let of_errors = of_errors.collect();
        let located = found.into_iter().filter_map(|(id, _, location)| Some((id, location?)));
        Ok((of_errors, located.collect()))
    };
    let found = try_map(runs, of_run)?;
    let (of_errors, located) = found.into_iter().unzip();
    Ok((errors.then_some(of_errors), located))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::random::Random;

    /// Launches of normal scatter by a clock of 500 ns: durations rounded, or both timestamps.
    fn launches(random: &mut Random, ns: f64, sd: f64, timestamps: bool) -> Vec<f64> {
        let mut read: Vec<f64> = (0..200)
            .map(|_| {
                let launch = ns + sd * random.normal();
                let start = if timestamps { 500.0 * random.uniform() } else { 250.0 };
                500.0 * ((start + launch) / 500.0).floor()
            })
            .collect();
        read.sort_by(f64::total_cmp);
        read
    }

    #[test]
    fn the_mean_of_stepped_launches_is_within_what_rounding_leaves_unknown() {
        let mut random = Random::new(1);
        for timestamps in [false, true] {
            for relative_sd in [0.0005, 0.01, 0.02, 0.05] {
                let mut square = 0.0;
                for _ in 0..200 {
                    let ns = 4000.0 * 10.0f64.powf(random.uniform());
                    let sd = relative_sd * ns;
                    let launches = launches(&mut random, ns, sd, timestamps);
                    let location = Location::of_launches(&launches, 500.0).unwrap();
                    // the mean of 200 launches, and of timestamps, scatters by itself
                    let reading = if timestamps { 500.0f64.powi(2) / 4.0 } else { 0.0 };
                    let sampling = (sd * sd + reading) / 200.0 / (ns * ns);
                    square += (location.ns / ns).ln().powi(2) / (location.rounding + sampling);
                }
                let rms = (square / 200.0).sqrt();
                assert!(rms < 1.3, "{rms} of {relative_sd}, timestamps {timestamps}");
            }
        }
    }

    #[test]
    fn a_fine_clock_leaves_the_median() {
        assert_eq!(Location::of_launches(&[1e6, 1.1e6, 1.2e6], 100.0), None);
        let median = Location::of_median(1e4, 500.0);
        assert!((median.rounding.sqrt() - 0.05 / 12.0f64.sqrt()).abs() < 1e-12);
    }
}
