//! RO2: what a FLOP costs by the dimension it is spent in, as slopes of log–log lines.

use alpha_flops::experiment::{Experiment, LatencySlope};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{ClaimVerdict, ObjectiveAnswer, Spread, Timed, measured, names};
use crate::dataset::Dataset;
use crate::in_order::grouped;

/// Slopes of exactly proportional data are this near to zero.
const ROUNDING: f64 = 1e-9;

/// Slope of a log–log regression line.
///
/// The interval is that of ordinary least squares with Student's t for the degrees of freedom that
/// are left. It takes deviations from the line as independent; steps and waves in latency are not,
/// so it is a guide and no proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slope {
    /// 1 means proportional, 0 independent.
    pub slope: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    pub high: f64,
}

/// How latency grows with something, along a line of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Elasticity {
    /// One that has a [`LatencySlope`].
    pub experiment: String,
    /// The line; `all` where lines are pooled.
    pub series: String,
    /// What grows by what: `latency per multiply–add by kernel size K`.
    pub of: String,
    /// Its slope, multiply–adds counted nominally.
    #[serde(flatten)]
    pub nominal: Slope,
    /// Its slope with only the multiply–adds on the image counted; `None` of lines that show
    /// latency itself.
    pub on_image: Option<Slope>,
    pub n: usize,
}

pub(super) fn answer(dataset: &Dataset) -> ObjectiveAnswer<Vec<Elasticity>> {
    let having = |slope| Experiment::that(|e| e.slope == Some(slope));
    let elasticities =
        |slope| having(slope).into_iter().flat_map(move |e| elasticities(dataset, e, slope));
    let deciding = names(&having(LatencySlope::PixelsToKernel));
    let criterion = format!(
        "along each line of {deciding}, FLOPs move from pixels to the kernel at a constant nominal \
         number: spatial FLOPs are cheaper where the whole 95% interval of the slope of \
         log(latency per nominal multiply–add) against log K is above 0"
    );
    let lines: Vec<Elasticity> = elasticities(LatencySlope::PixelsToKernel).collect();
    let further = [LatencySlope::ChannelsToKernel, LatencySlope::Variable, LatencySlope::Pixels];
    let numbers = lines.iter().cloned().chain(further.into_iter().flat_map(elasticities)).collect();
    if lines.is_empty() {
        let missing = format!("no line of experiment {deciding} has three kernel sizes");
        return ObjectiveAnswer::impossible(dataset, &missing, criterion, numbers);
    }
    let grows = |line: &Elasticity| line.nominal.is_positive().into();
    let verdict = ClaimVerdict::from_cases(lines.iter().map(grows));
    let nominal = Spread::over(lines.iter().map(|line| line.nominal.slope));
    let on_image = Spread::over(lines.iter().filter_map(|line| line.on_image).map(|s| s.slope));
    // adding 0 turns −0 into 0
    let exponent = |slope: f64| (slope * 100.0).round() / 100.0 + 0.0;
    let power = |s: &Spread| format!("K^{:.2}", exponent(s.median));
    let range = |s: &Spread| format!("{:.2} to {:.2}", exponent(s.low), exponent(s.high));
    let on_image_grows = |line: &Elasticity| line.on_image.is_some_and(|s| s.is_positive()).into();
    let caution = match verdict == ClaimVerdict::from_cases(lines.iter().map(on_image_grows)) {
        true => "",
        false => ": the answer turns on whether padding counts",
    };
    let finding = format!(
        "latency per nominal multiply–add scales as {} (median of {} lines of {deciding}; range \
         {}; growth significant in {}), and per multiply–add on the image as {} ({}){caution}",
        power(&nominal),
        lines.len(),
        range(&nominal),
        lines.iter().filter(|line| line.nominal.is_positive()).count(),
        power(&on_image),
        range(&on_image),
    );
    ObjectiveAnswer::new(dataset, verdict, &finding, criterion, numbers)
}

impl Slope {
    /// Whether the whole interval is above 0.
    fn is_positive(&self) -> bool {
        self.low > ROUNDING
    }
}

fn elasticities(dataset: &Dataset, experiment: Experiment, slope: LatencySlope) -> Vec<Elasticity> {
    let along_lines = |of: &dyn Fn(String, Vec<Timed<'_>>) -> Option<Elasticity>| {
        let lines = grouped(&measured(dataset, experiment), |(o, _)| o.series.clone());
        lines.into_iter().filter_map(|(series, line)| of(series, line)).collect()
    };
    match slope {
        LatencySlope::PixelsToKernel | LatencySlope::ChannelsToKernel => {
            along_lines(&|series, line| by_kernel(experiment, series, &line))
        }
        LatencySlope::Variable => {
            along_lines(&|series, line| by_variable(experiment, series, &line))
        }
        LatencySlope::Pixels => by_pixels(dataset, experiment).into_iter().collect(),
    }
}

/// Latency per multiply–add by K.
fn by_kernel(experiment: Experiment, series: String, line: &[Timed<'_>]) -> Option<Elasticity> {
    let points = |macs: fn(&Timed<'_>) -> u64| {
        let point = |m: &Timed<'_>| {
            let per_mac = m.1 / macs(m) as f64;
            ((m.0.shape.kernel() as f64).ln(), per_mac.ln())
        };
        line.iter().map(point).collect::<Vec<_>>()
    };
    Some(Elasticity {
        experiment: experiment.name.to_owned(),
        series,
        of: "latency per multiply–add by kernel size K".to_owned(),
        nominal: slope(&points(|(o, _)| o.shape.macs().0), LINE)?,
        on_image: slope(&points(|(o, _)| o.shape.macs_on_image().0), LINE),
        n: line.len(),
    })
}

/// Latency by the independent variable, not by its dimension of the shape: the original study's
/// data have width and height the other way round.
fn by_variable(experiment: Experiment, series: String, line: &[Timed<'_>]) -> Option<Elasticity> {
    let points: Vec<(f64, f64)> = line.iter().map(|(o, ms)| (o.x.ln(), ms.ln())).collect();
    Some(Elasticity {
        experiment: experiment.name.to_owned(),
        series,
        of: format!("latency by {}", experiment.variable.label),
        nominal: slope(&points, LINE)?,
        on_image: None,
        n: line.len(),
    })
}

/// Latency by pixels where FLOPs are equal at each x: regression within the values of x.
fn by_pixels(dataset: &Dataset, experiment: Experiment) -> Option<Elasticity> {
    let groups = grouped(&measured(dataset, experiment), |(o, _)| o.x.to_string());
    let number = groups.len();
    let mut points = Vec::new();
    for (_, group) in groups {
        let logs: Vec<(f64, f64)> =
            group.iter().map(|(o, ms)| ((o.shape.pixels() as f64).ln(), ms.ln())).collect();
        let (x, y) = means(&logs);
        points.extend(logs.iter().map(|p| (p.0 - x, p.1 - y)));
    }
    Some(Elasticity {
        experiment: experiment.name.to_owned(),
        series: "all".to_owned(),
        of: "latency by pixels H·W at equal FLOPs".to_owned(),
        // one mean a group, and one slope
        nominal: slope(&points, number + 1)?,
        on_image: None,
        n: points.len(),
    })
}

/// Parameters of a line: a mean and a slope.
const LINE: usize = 2;

/// Least-squares slope and its 95% interval, with `parameters` of the points' degrees of freedom
/// spent; `None` where none is left or x does not vary.
fn slope(points: &[(f64, f64)], parameters: usize) -> Option<Slope> {
    let n = points.len() as f64;
    let freedom = points.len().checked_sub(parameters).filter(|freedom| *freedom > 0)? as f64;
    let (x, y) = means(points);
    let sum =
        |term: &dyn Fn(f64, f64) -> f64| points.iter().map(|p| term(p.0 - x, p.1 - y)).sum::<f64>();
    let sxx = sum(&|dx, _| dx * dx);
    if !(sxx.is_finite() && sxx > 1e-12 * n) {
        return None;
    }
    let slope = sum(&|dx, dy| dx * dy) / sxx;
    let error = (sum(&|dx, dy| (dy - slope * dx).powi(2)) / freedom / sxx).sqrt();
    let half = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.975) * error;
    half.is_finite().then_some(Slope { slope, low: slope - half, high: slope + half })
}

fn means(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n))
}
