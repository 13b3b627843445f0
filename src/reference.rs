//! The convolution by its definition, with which every faster implementation is compared.

use crate::random::{random_bits, random_value};
use crate::shape::ConvShape;

/// Streams of the seed's random bits that seed the tensors.
const INPUT_STREAM: u64 = 0;
const WEIGHTS_STREAM: u64 = 1;
const BIAS_STREAM: u64 = 2;

/// Seed of the input's values, for filling it whole.
pub fn input_seed(seed: u64) -> u64 {
    random_bits(seed, INPUT_STREAM)
}

/// Seed of the weights' values, for filling them whole.
pub fn weights_seed(seed: u64) -> u64 {
    random_bits(seed, WEIGHTS_STREAM)
}

/// Seed of the biases' values, one for each output channel.
pub fn bias_seed(seed: u64) -> u64 {
    random_bits(seed, BIAS_STREAM)
}

/// Element `index` of the input, `[in_channels, height, width]`, of a convolution seeded `seed`.
pub fn input_value(seed: u64, index: usize) -> f32 {
    random_value(input_seed(seed), index as u64)
}

/// Element `index` of the weights, `[out_channels, in_channels, kernel, kernel]`.
pub fn weight_value(seed: u64, index: usize) -> f32 {
    random_value(weights_seed(seed), index as u64)
}

/// What is added to an output channel where a bias is.
pub fn bias_value(seed: u64, channel: usize) -> f32 {
    random_value(bias_seed(seed), channel as u64)
}

/// The properties of an implementation that decide how it rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arithmetic {
    /// Whether inputs and weights are rounded or cut to TF32, ten bits after the leading one, before
    /// they are multiplied; sums are in `f32` either way.
    pub tf32: bool,
    /// How many times the direct form's rounding error is allowed; above 1 where tensors are
    /// transformed (Winograd, FFT).
    pub amplification: f64,
}

impl Arithmetic {
    /// Products and sums of the direct form in `f32`, in any order.
    pub const F32: Self = Self { tf32: false, amplification: 1.0 };
    /// The same of factors in TF32.
    pub const TF32: Self = Self { tf32: true, amplification: 1.0 };
}

/// One output value and how far a correct `f32` implementation may be from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceValue {
    /// The direct sum, in `f64`.
    pub value: f64,
    /// The largest difference that `f32` rounding explains.
    pub tolerance: f64,
}

impl ReferenceValue {
    /// The value with a bias added to it in `f32`: that rounds once more, by half a unit in the last place at
    /// most.
    #[must_use]
    pub fn with_bias(self, bias: f32) -> Self {
        let value = self.value + f64::from(bias);
        let rounding = (value.abs() + self.tolerance) * f64::from(f32::EPSILON) / 2.0;
        Self { value, tolerance: self.tolerance + rounding }
    }

    /// Whether `got` is within the tolerance; `NaN` never is.
    pub fn accepts(&self, got: f32) -> bool {
        (f64::from(got) - self.value).abs() <= self.tolerance
    }
}

/// Positions `[channel, row, column]` of the output worth comparing: the corners, the middle of
/// each border and of the image in the first and last channel, where padding and tiling go wrong
/// first, and some pseudo-random ones, the same for the same `seed`.
pub fn positions_to_check(shape: ConvShape, seed: u64) -> Vec<[usize; 3]> {
    const RANDOM_POSITIONS: u64 = 16;
    let spread = |len: usize| [0, len / 2, len - 1];
    let mut positions = Vec::new();
    for channel in [0, shape.out_channels() - 1] {
        for row in spread(shape.height()) {
            positions.extend(spread(shape.width()).map(|column| [channel, row, column]));
        }
    }
    let sizes = [shape.out_channels(), shape.height(), shape.width()];
    positions.extend((0..RANDOM_POSITIONS).map(|index| {
        let mut axis = 0;
        sizes.map(|size| {
            axis += 1;
            (random_bits(seed, 3 * index + axis) % size as u64) as usize
        })
    }));
    positions.sort_unstable();
    positions.dedup();
    positions
}

/// `Σ weights[channel, i, y, x] · input[i, row + y − before, column + x − before]` over all `i`,
/// `y`, `x`, where input outside the image is zero and `before` is [`ConvShape::padding`]'s.
///
/// Input is `[in_channels, height, width]`, weights `[out_channels, in_channels, kernel, kernel]`.
///
/// The tolerance of [`Arithmetic::F32`] is `8·u·√n·√Σpᵢ²` for the `n` products `pᵢ` of the sum, with the unit roundoff
/// `u = 2⁻²⁴`. The reason: each addition rounds by at most `u` times its partial sum. Products of
/// centred random values make partial sums random walks, of size `√Σpᵢ²` at the end and less
/// before, and their `n` rounding errors are independent: together about `u·√n·√Σpᵢ²/√6`, of
/// which the tolerance is some 20 times, in whatever order the sum is taken. The worst case,
/// `u·n·Σ|pᵢ|`, would let any missing tap pass in the sums of thousands of terms that occur here;
/// this lets one of the longest, of 45,000, pass at a position in 25, and so at all of
/// [`positions_to_check`] never.
///
/// TF32 adds `5·2⁻¹⁰·√Σpᵢ²`. Cutting a factor to 10 bits makes it smaller by a part between 0 and 2⁻¹⁰,
/// by `0.35·2⁻¹⁰` on average, which shrinks the whole sum, of size `√Σpᵢ²`, by twice as much;
/// rounding does less. Seven times that, the scatter of the parts included, is exceeded about once in
/// 10⁹ sums, and leaves out far less than a missing row or column of taps makes, `√(Σpᵢ²/K)`.
///
/// Where tensors are transformed, both are of the number and the size of products of a sum without
/// padding, wherever the position is, since a transform mixes the values of a whole tile, times the
/// amplification: the numbers that it adds up on the way are larger than the result.
///
/// # Panics
/// Where the position is outside the output.
pub fn output_value(
    shape: ConvShape,
    input: impl Fn(usize) -> f32,
    weights: impl Fn(usize) -> f32,
    arithmetic: Arithmetic,
    [channel, row, column]: [usize; 3],
) -> ReferenceValue {
    let (height, width, kernel) = (shape.height(), shape.width(), shape.kernel());
    assert!(channel < shape.out_channels() && row < height && column < width);
    let before = shape.padding().before;
    let (mut value, mut squares, mut terms) = (0.0, 0.0, 0u64);
    for in_channel in 0..shape.in_channels() {
        for y in 0..kernel {
            let Some(in_row) = (row + y).checked_sub(before).filter(|r| *r < height) else {
                continue;
            };
            for x in 0..kernel {
                let Some(in_column) = (column + x).checked_sub(before).filter(|c| *c < width)
                else {
                    continue;
                };
                let weight =
                    ((channel * shape.in_channels() + in_channel) * kernel + y) * kernel + x;
                let pixel = (in_channel * height + in_row) * width + in_column;
                let product = f64::from(weights(weight)) * f64::from(input(pixel));
                value += product;
                squares += product * product;
                terms += 1;
            }
        }
    }
    let tolerance = tolerance(shape, arithmetic, terms as f64, squares);
    ReferenceValue { value, tolerance }
}

/// The tolerance described at [`output_value`], for `terms` products whose squares sum to `squares`.
fn tolerance(shape: ConvShape, arithmetic: Arithmetic, terms: f64, squares: f64) -> f64 {
    const TF32_STEP: f64 = 1.0 / 1024.0;
    let Arithmetic { tf32, amplification } = arithmetic;
    let (terms, squares) = if amplification > 1.0 {
        let all = (shape.in_channels() * shape.kernel() * shape.kernel()) as f64;
        (all, squares / terms * all)
    } else {
        (terms, squares)
    };
    let unit_roundoff = f64::from(f32::EPSILON) / 2.0;
    let of_sums = 8.0 * unit_roundoff * terms.sqrt();
    let of_factors = if tf32 { 5.0 * TF32_STEP } else { 0.0 };
    amplification * (of_sums + of_factors) * squares.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::random_value;

    fn tensors(shape: ConvShape) -> [Vec<f32>; 2] {
        let stream = |seed, len| (0..len as u64).map(|i| random_value(seed, i)).collect();
        [stream(1, shape.input_len()), stream(2, shape.weights_len())]
    }

    #[test]
    fn the_tolerance_takes_an_ordinary_f32_sum_but_not_one_without_a_tap() {
        // the longest sums of the experiments, 45,000 terms, where the kernel covers the image
        let shape: ConvShape = "h=10_w=10_in=450_out=1_k=10".parse().unwrap();
        let [input, mut weights] = tensors(shape);
        let of = |weights: &[f32]| {
            output_value(shape, |i| input[i], |i| weights[i], Arithmetic::F32, [0, 4, 4])
        };
        let expected = of(&weights);
        let sum: f32 = input.iter().zip(&weights).map(|(x, w)| x * w).sum();
        assert!(expected.accepts(sum), "{expected:?} {sum}");
        assert!(!expected.accepts(f32::NAN));
        weights[12_345] = 0.0;
        let sum: f32 = input.iter().zip(&weights).map(|(x, w)| x * w).sum();
        assert!(!expected.accepts(sum), "{expected:?} {sum}");
    }

    /// The sum of one output value with both factors changed by `change`, in `f32`.
    fn changed_sum(input: &[f32], weights: &[f32], change: impl Fn(f32) -> f32) -> f32 {
        input.iter().zip(weights).map(|(x, w)| change(*x) * change(*w)).sum()
    }

    #[test]
    fn the_tolerance_of_tf32_takes_cut_and_rounded_factors_but_not_half_precision_brain_floats() {
        let cut = |bits: u32| move |v: f32| f32::from_bits(v.to_bits() >> bits << bits);
        let rounded =
            |bits: u32| move |v: f32| cut(bits)(f32::from_bits(v.to_bits() + (1 << (bits - 1))));
        let (mut refused, mut incomplete) = (0, 0);
        for seed in 0..200 {
            // one position whose taps all read the image: the sum is of everything
            let shape: ConvShape = "h=3_w=3_in=50_out=1_k=3".parse().unwrap();
            let stream = |seed, len| (0..len as u64).map(move |i| random_value(seed, i));
            let input: Vec<f32> = stream(seed, shape.input_len()).collect();
            let weights: Vec<f32> = stream(seed + 1000, shape.weights_len()).collect();
            let tf32 =
                output_value(shape, |i| input[i], |i| weights[i], Arithmetic::TF32, [0, 1, 1]);
            assert!(tf32.accepts(changed_sum(&input, &weights, cut(13))));
            assert!(tf32.accepts(changed_sum(&input, &weights, rounded(13))));
            // brain floats keep seven bits: a third of the sums are further off than TF32 explains
            refused += usize::from(!tf32.accepts(changed_sum(&input, &weights, cut(16))));
            // a column of taps left out
            let without: Vec<f32> = weights
                .iter()
                .enumerate()
                .map(|(i, w)| if i % 3 == 0 { 0.0 } else { *w })
                .collect();
            incomplete += usize::from(!tf32.accepts(changed_sum(&input, &without, cut(13))));
        }
        assert!(refused > 50, "{refused} of 200");
        assert!(incomplete > 190, "{incomplete} of 200");
    }

    #[test]
    fn checked_positions_are_inside_and_hold_all_corners() {
        for shape in ["h=1_w=1_in=1_out=1_k=1", "h=7_w=40_in=3_out=9_k=4"] {
            let shape: ConvShape = shape.parse().unwrap();
            let positions = positions_to_check(shape, 5);
            let sizes = [shape.out_channels(), shape.height(), shape.width()];
            assert!(positions.iter().all(|p| p.iter().zip(sizes).all(|(i, size)| *i < size)));
            for corner in 0..8 {
                let at = |axis: usize| if corner >> axis & 1 == 0 { 0 } else { sizes[axis] - 1 };
                assert!(positions.contains(&[at(0), at(1), at(2)]));
            }
            assert_eq!(positions, positions_to_check(shape, 5));
        }
    }
}
