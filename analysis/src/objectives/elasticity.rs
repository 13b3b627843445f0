//! RO2: what a FLOP costs by the dimension it is spent in, as slopes of log–log lines.

use alpha_flops::experiment::{Experiment, LatencySlope};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::noise::{Noise, least_percent};
use super::random_effects::{Point, RandomEffects, SlopeEstimate};
use super::{Case, ClaimVerdict, ObjectiveAnswer, Spread, Timed, measured, names, value};
use crate::dataset::{Dataset, Observation};
use crate::in_order::grouped;

/// Slopes of exactly proportional data are this near to zero.
const ROUNDING: f64 = 1e-9;

/// Slope of a log–log regression line.
///
/// Latencies deviate from a line by noise and because they are on no line. The standard error contains both
/// (`objectives::random_effects`), and the interval is by Student's t with the degrees of
/// freedom that are left. Deviations are taken as independent; steps and waves in latency are not, so the
/// interval is a guide and no proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slope {
    /// 1 means proportional, 0 independent.
    pub slope: f64,
    /// Lower end of the 95% interval. Those of an experiment's lines hold together in 95%: each of m lines has
    /// one of 1 − 5%/m (Bonferroni).
    pub low: f64,
    pub high: f64,
    pub standard_error: f64,
    /// Standard deviation of what deviates from the line beyond noise, of logarithms.
    pub lack_of_fit: f64,
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

pub(super) fn answer(dataset: &Dataset, noise: &Noise) -> ObjectiveAnswer<Vec<Elasticity>> {
    let having = |slope| Experiment::that(|e| e.slope == Some(slope));
    let elasticities = |slope, noise: &Noise| -> Vec<Elasticity> {
        having(slope).into_iter().flat_map(|e| elasticities(dataset, noise, e, slope)).collect()
    };
    let deciding = names(&having(LatencySlope::PixelsToKernel));
    let criterion = format!(
        "along each line of {deciding}, FLOPs move from pixels to the kernel at a constant nominal \
         number: spatial FLOPs are cheaper where the whole 95% interval of the slope of \
         log(latency per nominal multiply–add) against log K is above 0, and not where none of it is"
    );
    let lines = elasticities(LatencySlope::PixelsToKernel, noise);
    let further = [LatencySlope::ChannelsToKernel, LatencySlope::Variable, LatencySlope::Pixels];
    let further = further.into_iter().flat_map(|slope| elasticities(slope, noise));
    let numbers: Vec<Elasticity> = lines.iter().cloned().chain(further).collect();
    if lines.is_empty() {
        let missing = format!("no line of experiment {deciding} has three kernel sizes");
        return ObjectiveAnswer::impossible(dataset, &missing, criterion, numbers);
    }
    let by = |of: fn(&Elasticity) -> Option<Slope>, lines: &[Elasticity]| {
        ClaimVerdict::from_cases(lines.iter().filter_map(of).map(Slope::case))
    };
    let nominal: fn(&Elasticity) -> Option<Slope> = |line| Some(line.nominal);
    let verdict = by(nominal, &lines);
    let with_noise = |sd| {
        let noise = Noise::common(dataset.observations.len(), sd);
        by(nominal, &elasticities(LatencySlope::PixelsToKernel, &noise))
    };
    let undone_by_percent = (noise.is_unknown() && verdict != ClaimVerdict::NotShown)
        .then(|| least_percent(|sd| with_noise(sd) != verdict))
        .flatten();
    let caution = match verdict == by(|line| line.on_image, &lines) {
        true => "",
        false => ": the answer turns on whether padding counts",
    };
    let grows = lines.iter().filter(|line| line.nominal.case() == Case::Holds).count();
    let finding = format!(
        "latency per nominal multiply–add scales as {} (median of {} lines of {deciding}; their \
         95% intervals span {}; growth shown in {grows}), and per multiply–add on the image as {} \
         ({}){caution}. {}",
        power(&lines, nominal),
        lines.len(),
        range(&lines, nominal),
        power(&lines, |line| line.on_image),
        range(&lines, |line| line.on_image),
        noise.sentence(undone_by_percent)
    );
    let answer = ObjectiveAnswer::new(dataset, verdict, &finding, criterion, numbers);
    answer.undone_by(undone_by_percent)
}

/// `K^0.43`: the median over lines.
fn power(lines: &[Elasticity], of: fn(&Elasticity) -> Option<Slope>) -> String {
    let slopes = lines.iter().filter_map(of).map(|slope| slope.slope);
    format!("K^{:.2}", exponent(Spread::over(slopes).median))
}

/// `0.41 to 0.45`: from the lowest end of an interval to the highest.
fn range(lines: &[Elasticity], of: fn(&Elasticity) -> Option<Slope>) -> String {
    let ends = lines.iter().filter_map(of).flat_map(|slope| [slope.low, slope.high]);
    let Spread { low, high, .. } = Spread::over(ends);
    format!("{:.2} to {:.2}", exponent(low), exponent(high))
}

/// To two decimals; adding 0 turns −0 into 0.
fn exponent(slope: f64) -> f64 {
    (slope * 100.0).round() / 100.0 + 0.0
}

impl Slope {
    /// Whether it is above 0.
    fn case(self) -> Case {
        match () {
            () if self.low > ROUNDING => Case::Holds,
            () if self.high <= ROUNDING => Case::DoesNotHold,
            () => Case::NotShown,
        }
    }

    /// One of several lines of an experiment.
    fn of_several(estimate: SlopeEstimate, lines: usize) -> Self {
        let SlopeEstimate { slope, standard_error, deviation, df } = estimate;
        let level = 1.0 - 0.025 / lines as f64;
        let t = StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| t.inverse_cdf(level));
        let half = t * standard_error;
        let (low, high) = (slope - half, slope + half);
        Self { slope, low, high, standard_error, lack_of_fit: deviation }
    }
}

/// What is estimated of a line before it is known how many there are.
struct Line {
    series: String,
    of: String,
    nominal: SlopeEstimate,
    on_image: Option<SlopeEstimate>,
    n: usize,
}

fn elasticities(
    dataset: &Dataset,
    noise: &Noise,
    experiment: Experiment,
    slope: LatencySlope,
) -> Vec<Elasticity> {
    let timed = measured(dataset, noise, experiment);
    let along_lines = |of: &dyn Fn(String, &[Timed<'_>]) -> Option<Line>| {
        let lines = grouped(&timed, |timed| timed.observation.series.clone());
        lines.into_iter().filter_map(|(series, line)| of(series, &line)).collect()
    };
    let lines: Vec<Line> = match slope {
        LatencySlope::PixelsToKernel | LatencySlope::ChannelsToKernel => along_lines(&by_kernel),
        LatencySlope::Variable => {
            along_lines(&|series, line| by_variable(experiment, series, line))
        }
        LatencySlope::Pixels => by_pixels(&timed).into_iter().collect(),
    };
    let number = lines.len();
    let elasticity = |line: Line| Elasticity {
        experiment: experiment.name.to_owned(),
        series: line.series,
        of: line.of,
        nominal: Slope::of_several(line.nominal, number),
        on_image: line.on_image.map(|estimate| Slope::of_several(estimate, number)),
        n: line.n,
    };
    lines.into_iter().map(elasticity).collect()
}

/// Latency per multiply–add by K.
fn by_kernel(series: String, line: &[Timed<'_>]) -> Option<Line> {
    let slope = |macs: fn(&Observation) -> u64| {
        let kernel = |timed: &Timed<'_>| timed.observation.shape.kernel() as f64;
        slope(&[points(line, kernel, |timed| timed.ms / macs(timed.observation) as f64)])
    };
    Some(Line {
        series,
        of: "latency per multiply–add by kernel size K".to_owned(),
        nominal: slope(|o| o.shape.macs().0)?,
        on_image: slope(|o| o.shape.macs_on_image().0),
        n: line.len(),
    })
}

/// Latency by the independent variable, not by its dimension of the shape: the original study's
/// data have width and height the other way round.
fn by_variable(experiment: Experiment, series: String, line: &[Timed<'_>]) -> Option<Line> {
    Some(Line {
        series,
        of: format!("latency by {}", experiment.variable.label),
        nominal: slope(&[points(line, |timed| timed.observation.x, |timed| timed.ms)])?,
        on_image: None,
        n: line.len(),
    })
}

/// Latency by pixels where FLOPs are equal at each x: regression within the values of x.
fn by_pixels(timed: &[Timed<'_>]) -> Option<Line> {
    let pixels = |timed: &Timed<'_>| timed.observation.shape.pixels() as f64;
    let groups = grouped(timed, |timed| value(timed.observation)).into_iter();
    // one alone says nothing of a slope
    let groups = groups.filter(|(_, group)| group.len() > 1);
    let groups: Vec<Vec<Point>> =
        groups.map(|(_, group)| points(&group, pixels, |timed| timed.ms)).collect();
    Some(Line {
        series: "all".to_owned(),
        of: "latency by pixels H·W at equal FLOPs".to_owned(),
        nominal: slope(&groups)?,
        on_image: None,
        n: groups.iter().map(Vec::len).sum(),
    })
}

/// The logarithms of x and y.
fn points(
    line: &[Timed<'_>],
    x: impl Fn(&Timed<'_>) -> f64,
    y: impl Fn(&Timed<'_>) -> f64,
) -> Vec<Point> {
    let point =
        |timed: &Timed<'_>| Point { x: x(timed).ln(), y: y(timed).ln(), noise: timed.noise };
    line.iter().map(point).collect()
}

/// `None` where x does not vary, or no degree of freedom is left.
fn slope(groups: &[Vec<Point>]) -> Option<SlopeEstimate> {
    let estimate = RandomEffects::around_lines(groups)?.slope();
    estimate.standard_error.is_finite().then_some(estimate)
}
