//! The convolution as its definition has it: what every faster implementation is compared with.

use crate::random::random_bits;
use crate::shape::ConvShape;

/// One output value and how far a correct `f32` implementation may be from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceValue {
    /// The direct sum, in `f64`.
    pub value: f64,
    /// The largest difference that `f32` rounding explains.
    pub tolerance: f64,
}

impl ReferenceValue {
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
/// The tolerance is `8·u·√n·√Σpᵢ²` for the `n` products `pᵢ` of the sum, with the unit roundoff
/// `u = 2⁻²⁴`. The reason: each addition rounds by at most `u` times its partial sum. Products of
/// centred random values make partial sums random walks, of size `√Σpᵢ²` at the end and less
/// before, and their `n` rounding errors are independent: together about `u·√n·√Σpᵢ²/√6`, of
/// which the tolerance is some 20 times, in whatever order the sum is taken. The worst case,
/// `u·n·Σ|pᵢ|`, would let any missing tap pass in the sums of thousands of terms that occur here;
/// this lets one of the longest, of 45,000, pass at a position in 25, and so at all of
/// [`positions_to_check`] never.
///
/// # Panics
/// Where a slice is shorter than `shape` says, or the position is outside the output.
pub fn output_value(
    shape: ConvShape,
    input: &[f32],
    weights: &[f32],
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
                let product = f64::from(weights[weight]) * f64::from(input[pixel]);
                value += product;
                squares += product * product;
                terms += 1;
            }
        }
    }
    let unit_roundoff = f64::from(f32::EPSILON) / 2.0;
    let tolerance = 8.0 * unit_roundoff * (terms as f64).sqrt() * squares.sqrt();
    ReferenceValue { value, tolerance }
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
        let expected = output_value(shape, &input, &weights, [0, 4, 4]);
        let sum: f32 = input.iter().zip(&weights).map(|(x, w)| x * w).sum();
        assert!(expected.accepts(sum), "{expected:?} {sum}");
        assert!(!expected.accepts(f32::NAN));
        weights[12_345] = 0.0;
        let sum: f32 = input.iter().zip(&weights).map(|(x, w)| x * w).sum();
        assert!(!expected.accepts(sum), "{expected:?} {sum}");
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
