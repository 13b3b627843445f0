//! What both models estimate for the lines of a dataset, and what their refits do.
//!
//! With more parameters a model has the smaller errors on the data that it was fitted to, whether it is
//! better or not. So nothing here is estimated by a fit that has seen it: a line of data that were fitted
//! is estimated by fits to all other lines (cross-validation, Stone 1974, by lines because the points of
//! one deviate together). How far the fit could have gone otherwise is what refits to drawn lines show,
//! of data that were fitted themselves, and refits to drawn configurations, of a sweep.

use super::{ACCURATE_NRMSE_PERCENT, Bootstrap, Noise};
use crate::dataset::{Dataset, Observation};
use crate::fit::Sample;
use crate::fit::refits::{Draws, Models};
use crate::in_order::grouped;
use crate::model::Coefficients;

/// Refits to drawn lines.
const REFITS: usize = 300;
/// Seed of their draws: equal data give equal answers.
const SEED: u64 = 1;
/// Errors below this share of a latency are rounding.
const ROUNDING: f64 = 1e-9;

/// An observation with its latency in milliseconds, and the variance of the latency's logarithm that is
/// noise.
type Timed<'a> = (&'a Observation, f64, f64);

/// A line of an experiment, with the estimates for those of its configurations that have them.
pub(super) struct Line<'a> {
    pub experiment: &'a str,
    pub estimates: Vec<Estimate<'a>>,
}

/// Times in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Estimate<'a> {
    timed: Timed<'a>,
    pub measured: f64,
    pub alpha_flops: f64,
    pub raw_flops: f64,
}

/// Sums of squared errors over a line, in ms², and how many.
#[derive(Clone, Copy)]
pub(super) struct Squares {
    pub alpha_flops: f64,
    pub raw_flops: f64,
    pub n: usize,
}

/// Lines with their estimates, and with the errors of each refit, line by line.
pub(super) struct Estimated<'a> {
    pub lines: Vec<Line<'a>>,
    pub refitted: Vec<Vec<Squares>>,
    /// Whether enough of the refits succeeded to go by them.
    pub is_refitted: bool,
}

/// Fits both models to lines, or gives the coefficients that there are and raw FLOPs' factor.
struct Fitter<'c> {
    dataset: &'c Dataset,
    coefficients: &'c Coefficients,
    is_in_sample: bool,
}

impl Fitter<'_> {
    fn to<'l>(&self, lines: impl Iterator<Item = &'l Vec<Timed<'l>>>) -> Models {
        let Self { dataset, coefficients, is_in_sample } = self;
        let provenance = dataset.provenance.clone();
        let mut sample = Sample::new(provenance, coefficients.s_k, coefficients.flops);
        lines.flatten().for_each(|(o, ms, _)| sample.push(&o.shape, ms * 1e6));
        match is_in_sample {
            true => Models::refitted(&sample, coefficients),
            false => Models { alpha_flops: (*coefficients).clone(), raw_final: sample.raw_final() },
        }
    }
}

/// `bootstrap` is of coefficients that were fitted to data at hand.
pub(super) fn estimated<'a>(
    dataset: &'a Dataset,
    noise: &Noise,
    coefficients: &Coefficients,
    bootstrap: Option<&Bootstrap>,
) -> Estimated<'a> {
    let is_in_sample = coefficients.is_in_sample(&dataset.provenance);
    let bootstrap = bootstrap.filter(|_| !is_in_sample);
    let fitter = Fitter { dataset, coefficients, is_in_sample };
    let observations = dataset.observations.iter().zip(&noise.variances);
    let timed: Vec<Timed<'a>> = observations
        .filter_map(|(o, noise)| Some((o, o.typical()?.as_ms(), noise.value)))
        .collect();
    let lines = grouped(&timed, |(o, ..)| (o.experiment.as_str(), o.series.as_str()));
    // a single line has no others
    let is_other = |i: usize, line: usize| i != line || lines.len() == 1;
    let models_for = |line: usize| match bootstrap {
        Some(Bootstrap { raw_final, .. }) => {
            Models { alpha_flops: coefficients.clone(), raw_final: *raw_final }
        }
        None => {
            let others = lines.iter().enumerate().filter(|(i, _)| is_other(*i, line));
            fitter.to(others.map(|(_, (_, timed))| timed))
        }
    };
    let estimates = lines.iter().enumerate().map(|(index, ((experiment, _), line))| {
        let models = models_for(index);
        let estimates = line.iter().filter_map(|timed| Estimate::new(&models, timed)).collect();
        Line { experiment, estimates }
    });
    let estimates: Vec<Line<'a>> = estimates.collect();
    let refits = match bootstrap {
        Some(bootstrap) => bootstrap.models.clone(),
        None if is_in_sample => drawn_lines(&lines, &fitter),
        None => Vec::new(),
    };
    let squares = |models| estimates.iter().map(|line| line.squares_by(models)).collect();
    let refitted: Vec<Vec<Squares>> = refits.iter().filter_map(squares).collect();
    let is_refitted = 2 * refitted.len() >= refits.len();
    Estimated { lines: estimates, refitted, is_refitted }
}

/// An experiment and a line of it, with its configurations.
type Keyed<'a> = ((&'a str, &'a str), Vec<Timed<'a>>);

/// Fits to as many lines of each experiment as it has, drawn with replacement.
fn drawn_lines(lines: &[Keyed<'_>], fitter: &Fitter<'_>) -> Vec<Models> {
    let mut random = Draws::new(SEED);
    let places: Vec<usize> = (0..lines.len()).collect();
    let experiments = grouped(&places, |place| lines[*place].0.0);
    let mut draw = |_| {
        let mut drawn = Vec::with_capacity(lines.len());
        for (_, places) in &experiments {
            drawn.extend(places.iter().map(|_| places[random.below(places.len())]));
        }
        fitter.to(drawn.iter().map(|place| &lines[*place].1))
    };
    (0..REFITS).map(&mut draw).collect()
}

impl<'a> Estimate<'a> {
    /// `None` where a model has no value.
    fn new(models: &Models, timed: &Timed<'a>) -> Option<Self> {
        let (observation, measured, _) = *timed;
        let Models { alpha_flops, raw_final } = models;
        let raw_flops = raw_final * alpha_flops.flops.millions(&observation.shape);
        let alpha_flops = alpha_flops.predict(&observation.shape).ok()?.as_ms();
        (alpha_flops.is_finite() && raw_flops.is_finite()).then_some(Self {
            timed: *timed,
            measured,
            alpha_flops,
            raw_flops,
        })
    }
}

impl Line<'_> {
    pub(super) fn squares(&self) -> Squares {
        let start = Squares { alpha_flops: 0.0, raw_flops: 0.0, n: 0 };
        self.estimates.iter().fold(start, Squares::with)
    }

    /// Of the same configurations, estimated by other models; `None` where these have no value.
    fn squares_by(&self, models: &Models) -> Option<Squares> {
        let start = Squares { alpha_flops: 0.0, raw_flops: 0.0, n: 0 };
        self.estimates
            .iter()
            .try_fold(start, |squares, e| Some(squares.with(&Estimate::new(models, &e.timed)?)))
    }

    /// Largest less smallest latency, in milliseconds; `None` where it is 0, or so little beside the noise
    /// that no estimate, however right, could be accurate. `more_noise` is a standard deviation beside what
    /// is known.
    pub(super) fn range(&self, more_noise: f64) -> Option<f64> {
        let (range, mean_square) = (self.whole_range(), self.mean_square());
        let known = self.estimates.iter().map(|e| e.timed.2 * e.measured.powi(2)).sum::<f64>();
        let known = known / self.estimates.len() as f64;
        let noise = (known + more_noise.powi(2) * mean_square).sqrt();
        (range > 0.0 && 100.0 * noise <= ACCURATE_NRMSE_PERCENT * range).then_some(range)
    }

    /// With more noise than this, of which nothing is known, the range may be noise; `None` where there is
    /// no range.
    pub(super) fn most_noise(&self) -> Option<f64> {
        let most = ACCURATE_NRMSE_PERCENT / 100.0 * self.whole_range() / self.mean_square().sqrt();
        (most > 0.0).then_some(most)
    }

    fn whole_range(&self) -> f64 {
        let measured = || self.estimates.iter().map(|e| e.measured);
        measured().fold(0.0, f64::max) - measured().fold(f64::INFINITY, f64::min)
    }

    /// Of the latencies.
    fn mean_square(&self) -> f64 {
        let squares = self.estimates.iter().map(|e| e.measured.powi(2));
        squares.sum::<f64>() / self.estimates.len() as f64
    }
}

impl Squares {
    fn with(self, estimate: &Estimate<'_>) -> Self {
        let rounding = ROUNDING * estimate.measured;
        let square = |estimated: f64| (estimated - estimate.measured).powi(2).max(rounding.powi(2));
        Self {
            alpha_flops: self.alpha_flops + square(estimate.alpha_flops),
            raw_flops: self.raw_flops + square(estimate.raw_flops),
            n: self.n + 1,
        }
    }
}
