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
/// `u·n·Σ|pᵢ|`, would let a missing tap pass in the sums of thousands of terms that occur here.
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
