//! Axes: the range, the scale and the ticks of one direction of a plot.

use alpha_flops::experiment::Experiment;

/// How values map to distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equal distances.
    Linear,
    /// Equal ratios are equal distances.
    Log10,
    /// Values are differences in percent; equal ratios of `1 + value/100` are equal distances, so
    /// that twice too much (+100) is as far from 0 as half of it (−50).
    Relative,
}

/// A labelled position on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// In the axis' own unit.
    pub value: f64,
    /// As printed beside it.
    pub label: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Quantity, unit and, where it is not linear, scale.
    pub label: String,
    pub scale: Scale,
    pub min: f64,
    pub max: f64,
    /// Labelled positions, ascending.
    pub ticks: Vec<Tick>,
    /// Positions of grid lines without a label.
    pub minor: Vec<f64>,
}

/// Differences above this many percent make their axis logarithmic.
const LOG_PERCENT: f64 = 200.0;
/// About how many labels fit an axis.
const LABELS: f64 = 7.0;
/// Ends of linear axes and differences of them, with room for a step to be a normal number.
const LARGEST: f64 = 1e300;
const SMALLEST: f64 = 1e-300;

impl Axis {
    /// The x axis of an experiment's figures, from one value of its independent variable to another.
    pub fn of_variable(experiment: Option<Experiment>, first: f64, last: f64) -> Self {
        let label = experiment.map_or("x", |e| e.variable.label);
        // air left and right, so that no marker sits on the frame
        let air = if last > first { (last - first) * 0.03 } else { 2.0 };
        if experiment.is_some_and(|e| e.variable.has_whole_ticks) && last - first < 30.0 {
            let mut axis = Self::linear(label, first, last).cut_to(first - air, last + air);
            axis.ticks = (first.ceil() as i64..=last.floor() as i64)
                .map(|x| Tick { value: x as f64, label: x.to_string() })
                .collect();
            return axis;
        }
        let start = if (0.0..last).contains(&first) { 0.0 } else { first - air };
        Self::linear(label, start, last + air).cut_to(start, last + air)
    }

    /// A linear axis over `min..=max`, both moved outwards to a tick.
    pub fn linear(label: &str, min: f64, max: f64) -> Self {
        let (min, max) = widened(min, max);
        let step = nice_step((max - min) / LABELS);
        let (first, last) = ((min / step).floor(), (max / step).ceil());
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize
            // 2.5, 0.25, …
            + usize::from(has_half_digit(step) && step < 10.0);
        let ticks = (0..=(last - first) as usize)
            .map(|i| (first + i as f64) * step)
            .map(|value| Tick { value, label: format_tick(value, decimals) })
            .collect();
        Self {
            label: label.to_owned(),
            scale: Scale::Linear,
            min: first * step,
            max: last * step,
            ticks,
            minor: Vec::new(),
        }
    }

    /// The same axis with exactly these ends, and only the ticks between them.
    pub fn cut_to(mut self, min: f64, max: f64) -> Self {
        (self.min, self.max) = (min, max);
        self.ticks.retain(|tick| (min..=max).contains(&tick.value));
        self.minor.retain(|value| (min..=max).contains(value));
        self
    }

    /// A logarithmic axis over `min..=max`, both positive, with a label at each power of ten (or
    /// every few, where there are many).
    pub fn log10(label: &str, min: f64, max: f64) -> Self {
        // a tenth of an octave of air, so that no marker sits on the frame
        let (min, max) = (min / 1.25, max * 1.25);
        let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
        let every = ((f64::from(last - first)) / LABELS).ceil().max(1.0) as i32;
        let is_shown = |value: &f64| (min..=max).contains(value);
        let multiples = |digits: &'static [f64]| {
            let powers = (first..=last).filter(move |power| power.rem_euclid(every) == 0);
            powers
                .flat_map(move |power| digits.iter().map(move |digit| (*digit, power)))
                .filter(|(digit, power)| is_shown(&(digit * 10f64.powi(*power))))
        };
        // one label alone gives no scale
        let few = multiples(&[1.0]).count() < 2;
        let ticks = multiples(if few { &[1.0, 2.0, 5.0] } else { &[1.0] })
            .map(|(digit, power)| Tick {
                value: digit * 10f64.powi(power),
                label: power_of_ten(digit, power),
            })
            .collect();
        let minor = match every {
            1 => multiples(&[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
                .map(|(digit, power)| digit * 10f64.powi(power))
                .collect(),
            _ => Vec::new(),
        };
        Self { label: format!("{label}, log scale"), scale: Scale::Log10, min, max, ticks, minor }
    }

    /// [`Axis::relative`] for differences so large that a linear axis would flatten the small ones.
    pub fn relative_if_wide(label: &str, min: f64, max: f64) -> Option<Self> {
        (max > LOG_PERCENT && min > -100.0).then(|| Self::relative(label, min, max))
    }

    /// An axis of differences in percent, above −100, that spaces `1 + value/100` logarithmically.
    pub fn relative(label: &str, min: f64, max: f64) -> Self {
        let ratio = |percent: f64| 1.0 + percent / 100.0;
        let (low, high) = (ratio(min.min(0.0)) / 1.1, ratio(max.max(0.0)) * 1.1);
        let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let is_wide = (high / low).log10() > 3.0;
        let every = ((high / low).log10() / LABELS).ceil().max(1.0) as i32;
        let digits: &[f64] = if is_wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = powers
            .filter(|power| power.rem_euclid(every) == 0)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
            .filter(|ratio| (low..=high).contains(ratio))
            .map(|ratio| {
                let value = (ratio - 1.0) * 100.0;
                Tick { value, label: format_percent(value) }
            })
            .collect();
        Self {
            label: format!("{label}, log scale of the ratio"),
            scale: Scale::Relative,
            min: (low - 1.0) * 100.0,
            max: (high - 1.0) * 100.0,
            ticks,
            minor: Vec::new(),
        }
    }

    /// Where a value lies: 0 at the axis' start, 1 at its end, outside that beyond them.
    pub fn position(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.min) / (self.max - self.min),
            Scale::Log10 => (value / self.min).ln() / (self.max / self.min).ln(),
            Scale::Relative => {
                let [value, min, max] = [value, self.min, self.max].map(|v| 1.0 + v / 100.0);
                (value / min).ln() / (max / min).ln()
            }
        }
    }
}

/// Smallest and largest value; an empty range the other way round where there is none.
pub fn extent(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let all = (f64::INFINITY, f64::NEG_INFINITY);
    values.into_iter().fold(all, |(low, high), v| (low.min(v), high.max(v)))
}

/// A range that is not empty, whatever was given.
fn widened(min: f64, max: f64) -> (f64, f64) {
    if !(min.is_finite() && max.is_finite()) {
        return (0.0, 1.0);
    }
    let (min, max) = (min.clamp(-LARGEST, LARGEST), max.clamp(-LARGEST, LARGEST));
    if max - min > (1e-9 * max.abs().max(min.abs())).max(SMALLEST) {
        return (min, max);
    }
    let half = if min.abs() <= SMALLEST { 1.0 } else { min.abs() * 0.5 };
    (min - half, max + half)
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `step`.
fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0];
    power * factors.into_iter().find(|f| f * power >= step * (1.0 - 1e-9)).unwrap_or(10.0)
}

fn has_half_digit(step: f64) -> bool {
    let mantissa = step / 10f64.powf(step.log10().floor());
    (mantissa - 2.5).abs() < 1e-6
}

fn format_tick(value: f64, decimals: usize) -> String {
    // rounding errors of first·step must not print as -0
    let value = if value.abs() < 1e-12 { 0.0 } else { value };
    format!("{value:.decimals$}").replace('-', "−")
}

/// `+100`, `0`, `−99.9`.
fn format_percent(value: f64) -> String {
    // as many decimals as tell −99.9 from −100; the small number because 0.001 may lie under 10⁻³
    let power = ((1.0 + value / 100.0).log10() + 1e-9).floor();
    let decimals = (-power - 2.0).clamp(0.0, 12.0) as usize;
    let sign = if value > 1e-9 { "+" } else { "" };
    format!("{sign}{}", format_tick(value, decimals))
}

/// `digit·10^power`, written out where that is short.
fn power_of_ten(digit: f64, power: i32) -> String {
    match power {
        0..=4 => format!("{}", digit * 10f64.powi(power)),
        -4..=-1 => format!("{:.*}", power.unsigned_abs() as usize, digit * 10f64.powi(power)),
        _ => format!("{digit}e{power}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::num::f64::ANY;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn differences_of_the_smallest_numbers_have_an_axis() {
        for max in [5e-324, 1e-310, 1e-300] {
            let ticks = Axis::linear("y", 0.0, max).ticks.len();
            assert!((2..=12).contains(&ticks), "{max:e}: {ticks}");
        }
    }

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_numbers() {
        let axis = Axis::linear("y", 0.0, 12.3);
        assert_eq!(labels(&axis), ["0", "2", "4", "6", "8", "10", "12", "14"]);
        let axis = Axis::linear("y", 0.0, 0.0151);
        assert_eq!(axis.ticks[1].label, "0.0025");
    }

    #[test]
    fn logarithmic_ticks_are_powers_of_ten_and_the_label_says_so() {
        let axis = Axis::log10("latency (ms)", 0.02, 30.0);
        assert_eq!(labels(&axis), ["0.1", "1", "10"]);
        assert_eq!(axis.label, "latency (ms), log scale");
        assert!(axis.position(0.02) > 0.0 && axis.position(30.0) < 1.0);
        assert_eq!(labels(&Axis::log10("t", 0.15, 0.8)), ["0.2", "0.5", "1"]);
        assert_eq!(labels(&Axis::log10("t", 2e-7, 8e-7)), ["2e-7", "5e-7", "1e-6"]);
    }

    #[test]
    fn twice_too_much_is_as_far_from_zero_as_half_of_it() {
        let axis = Axis::relative("error (%)", -99.9, 900.0);
        let from_zero = |value| axis.position(value) - axis.position(0.0);
        assert!((from_zero(100.0) + from_zero(-50.0)).abs() < 1e-12);
        assert_eq!(labels(&axis), ["−99.9", "−99", "−90", "0", "+900"]);
    }

    proptest! {
        #[test]
        fn every_value_of_the_range_lies_on_the_axis(a in -1e9f64..1e9, b in -1e9f64..1e9) {
            let (min, max) = (a.min(b), a.max(b));
            let axis = Axis::linear("y", min, max);
            prop_assert!(axis.position(min) >= -1e-9 && axis.position(max) <= 1.0 + 1e-9);
            prop_assert!((2..=12).contains(&axis.ticks.len()), "{:?}", axis.ticks);
        }

        #[test]
        fn whatever_a_linear_axis_is_of_it_has_a_few_ticks(a in ANY, b in ANY) {
            let axis = Axis::linear("y", a.min(b), a.max(b));
            prop_assert!((1..=12).contains(&axis.ticks.len()), "{}", axis.ticks.len());
            prop_assert!(axis.min < axis.max, "{} {}", axis.min, axis.max);
        }

        #[test]
        fn logarithmic_axes_hold_their_range(min in 1e-9f64..1e9, ratio in 1.0f64..1e12) {
            let axis = Axis::log10("y", min, min * ratio);
            prop_assert!(axis.position(min) > 0.0 && axis.position(min * ratio) < 1.0);
            prop_assert!(axis.ticks.len() <= 12);
        }
    }
}
