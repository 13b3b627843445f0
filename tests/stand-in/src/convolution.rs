//! One element of a 2-D convolution's output, by the definition.

/// Sizes and strides of a tensor of four axes, in elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    pub sizes: [usize; 4],
    pub strides: [usize; 4],
}

impl Layout {
    /// Elements from the first to behind the last, gaps included; none where a size is zero.
    /// `None` if no address space holds them.
    pub fn span(&self) -> Option<usize> {
        if self.sizes.contains(&0) {
            return Some(0);
        }
        let last =
            self.sizes.iter().zip(self.strides).try_fold(0usize, |sum, (size, stride)| {
                sum.checked_add((size - 1).checked_mul(stride)?)
            })?;
        // bytes must be countable too
        (last + 1).checked_mul(size_of::<f32>()).map(|_| last + 1)
    }

    /// Which element lies `offset` elements behind the first: `None` in a gap.
    ///
    /// Right for layouts whose elements do not overlap, which is all that cuDNN takes as output.
    pub fn position(&self, offset: usize) -> Option<[usize; 4]> {
        let mut axes: Vec<usize> = (0..4).filter(|axis| self.sizes[*axis] > 1).collect();
        axes.sort_by_key(|axis| std::cmp::Reverse(self.strides[*axis]));
        let (mut position, mut rest) = ([0; 4], offset);
        for axis in axes {
            position[axis] = rest / self.strides[axis];
            rest %= self.strides[axis];
            if position[axis] >= self.sizes[axis] {
                return None;
            }
        }
        (rest == 0).then_some(position)
    }

    /// How many elements behind the first an element lies.
    pub fn offset(&self, position: [usize; 4]) -> usize {
        position.iter().zip(self.strides).map(|(i, stride)| i * stride).sum()
    }
}

/// To what an engine rounds the values that it multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    Float,
    /// Ten explicit bits of significand, the others cut off.
    TensorFloat,
    /// Seven explicit bits, rounded to nearest, ties to even.
    BrainFloat,
}

impl Precision {
    fn round(self, value: f32) -> f32 {
        let bits = value.to_bits();
        match self {
            _ if !value.is_finite() => value,
            Self::Float => value,
            Self::TensorFloat => f32::from_bits(bits & 0xffff_e000),
            Self::BrainFloat => {
                f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
            }
        }
    }
}

/// A forward convolution: input and output `[image, channel, row, column]`, weights
/// `[out_channel, in_channel, row, column]`; pairs are of rows and columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    pub input: Layout,
    pub weights: Layout,
    pub output: Layout,
    /// Zeros before the first row and column. Those behind the last follow from the output's size.
    pub padding_before: [usize; 2],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    /// The mathematical convolution, as opposed to the cross-correlation of neural networks.
    pub mirrored: bool,
    pub precision: Precision,
    /// The fault `wrong-output`.
    pub lacks_last_tap: bool,
}

impl Convolution {
    /// The sum at `position` of the output, in `f32`, in the order of the weights.
    pub fn value(
        &self,
        input: &[f32],
        weights: &[f32],
        [image, channel, row, column]: [usize; 4],
    ) -> f32 {
        let [out_channels, group_channels, rows, columns] = self.weights.sizes;
        let groups = self.input.sizes[1] / group_channels;
        let first_channel = channel / (out_channels / groups) * group_channels;
        let mut sum = 0.0;
        for in_channel in 0..group_channels {
            for y in 0..rows {
                let Some(in_row) = self.source(0, row, y) else { continue };
                for x in 0..columns {
                    let Some(in_column) = self.source(1, column, x) else { continue };
                    let last = (in_channel, y, x) == (group_channels - 1, rows - 1, columns - 1);
                    if last && self.lacks_last_tap {
                        continue;
                    }
                    let tap = if self.mirrored { [rows - 1 - y, columns - 1 - x] } else { [y, x] };
                    let weight = self.weights.offset([channel, in_channel, tap[0], tap[1]]);
                    let pixel =
                        self.input.offset([image, first_channel + in_channel, in_row, in_column]);
                    let round = |value| self.precision.round(value);
                    sum += round(weights[weight]) * round(input[pixel]);
                }
            }
        }
        sum
    }

    /// The input's row (axis 0) or column (axis 1) under a tap; `None` in the padding.
    fn source(&self, axis: usize, output: usize, tap: usize) -> Option<usize> {
        (output * self.strides[axis] + tap * self.dilations[axis])
            .checked_sub(self.padding_before[axis])
            .filter(|index| *index < self.input.sizes[2 + axis])
    }
}
