//! The shape of one 2-D convolution: everything that follows from five numbers.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::{Bytes, Flops, MultiplyAdds};

/// One forward convolution: batch 1, NCHW, `f32`, square kernel, stride 1, dilation 1, one group,
/// no bias, "same" padding (the output has the input's height and width).
///
/// Source: the experiments of the paper (section 4.1, Table 1), as their published code runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Dimensions")]
pub struct ConvShape {
    height: NonZeroU32,
    width: NonZeroU32,
    in_channels: NonZeroU32,
    out_channels: NonZeroU32,
    kernel: NonZeroU32,
}

/// Five numbers from a file, not yet known to be a shape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dimensions {
    height: u64,
    width: u64,
    in_channels: u64,
    out_channels: u64,
    kernel: u64,
}

impl TryFrom<Dimensions> for ConvShape {
    type Error = ShapeError;

    fn try_from(d: Dimensions) -> Result<Self, ShapeError> {
        Self::new(d.height, d.width, d.in_channels, d.out_channels, d.kernel)
    }
}

/// Rows or columns of zeros added on each side of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Above (or to the left).
    pub before: usize,
    /// Below (or to the right).
    pub after: usize,
}

/// Why five numbers, or a text, are not a [`ConvShape`].
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ShapeError {
    #[error("{dimension} is {value}, expected 1 to 4294967295")]
    Dimension { dimension: &'static str, value: u64 },
    #[error("the convolution needs more than 2^64 multiply–adds")]
    TooLarge,
    #[error("`{0}` is not a configuration id, expected e.g. `h=100_w=640_in=150_out=100_k=3`")]
    Id(String),
}

impl ConvShape {
    /// A shape from its five dimensions, each at least 1.
    ///
    /// # Errors
    /// [`ShapeError`] where a dimension is 0 or above 2³²−1, or the multiply–adds overflow.
    pub fn new(
        height: u64,
        width: u64,
        in_channels: u64,
        out_channels: u64,
        kernel: u64,
    ) -> Result<Self, ShapeError> {
        let dimension = |dimension, value: u64| {
            u32::try_from(value)
                .ok()
                .and_then(NonZeroU32::new)
                .ok_or(ShapeError::Dimension { dimension, value })
        };
        let shape = Self {
            height: dimension("height", height)?,
            width: dimension("width", width)?,
            in_channels: dimension("in_channels", in_channels)?,
            out_channels: dimension("out_channels", out_channels)?,
            kernel: dimension("kernel", kernel)?,
        };
        // half of 2^64: FLOPs, twice the multiply–adds, must fit too
        let macs = [height, width, in_channels, out_channels, kernel, kernel]
            .into_iter()
            .try_fold(1u64, u64::checked_mul);
        match macs {
            Some(macs) if macs <= u64::MAX / 2 => Ok(shape),
            _ => Err(ShapeError::TooLarge),
        }
    }

    /// Input rows, and output rows.
    pub fn height(&self) -> usize {
        self.height.get() as usize
    }

    /// Input columns, and output columns.
    pub fn width(&self) -> usize {
        self.width.get() as usize
    }

    /// Channels of the input (`C_in`).
    pub fn in_channels(&self) -> usize {
        self.in_channels.get() as usize
    }

    /// Channels of the output (`C_out`).
    pub fn out_channels(&self) -> usize {
        self.out_channels.get() as usize
    }

    /// Side of the square kernel (`K`).
    pub fn kernel(&self) -> usize {
        self.kernel.get() as usize
    }

    /// The five dimensions in the order of [`Self::new`].
    pub fn dimensions(&self) -> [u32; 5] {
        [self.height, self.width, self.in_channels, self.out_channels, self.kernel]
            .map(NonZeroU32::get)
    }

    /// Pixels of one channel of the input or output: `S = H·W`.
    pub fn pixels(&self) -> usize {
        self.height() * self.width()
    }

    /// "Same" padding, equal on both axes: `K − 1` zeros in all, `⌊(K−1)/2⌋` of them before and
    /// the rest after, so an even kernel has its odd one at the bottom and the right, as
    /// PyTorch's `padding="same"` has it.
    pub fn padding(&self) -> Padding {
        let total = self.kernel() - 1;
        Padding { before: total / 2, after: total - total / 2 }
    }

    /// Height and width of the image with one more row and column of zeros, at the bottom and the right,
    /// which is what frameworks copy it into for an even kernel: the rest of the padding is then `K/2 − 1`
    /// on every side. `None` for an odd kernel, whose padding is the same on every side anyway.
    pub fn padded_image(&self) -> Option<[usize; 2]> {
        self.kernel().is_multiple_of(2).then(|| [self.height() + 1, self.width() + 1])
    }

    /// Elements of that copy, `[in_channels, height + 1, width + 1]`; none for an odd kernel.
    pub fn padded_image_len(&self) -> usize {
        // at most four times the image, whose multiply–adds with four taps or more can be counted
        self.padded_image().map_or(0, |[height, width]| self.in_channels() * height * width)
    }

    /// Elements of the input, `[in_channels, height, width]`.
    pub fn input_len(&self) -> usize {
        self.in_channels() * self.pixels()
    }

    /// Elements of the weights, `[out_channels, in_channels, kernel, kernel]`.
    pub fn weights_len(&self) -> usize {
        self.out_channels() * self.in_channels() * self.kernel() * self.kernel()
    }

    /// Elements of the output, `[out_channels, height, width]`.
    pub fn output_len(&self) -> usize {
        self.out_channels() * self.pixels()
    }

    /// Multiply–adds of one forward pass: `H·W·K²·C_in·C_out`, taps on padding included.
    ///
    /// FLOPs count a multiply–add as two; the published α-FLOPs coefficients do not. Winograd, FFT
    /// and implementations that skip the padding execute fewer: this always counts the direct
    /// form, so that rates compare across algorithms.
    pub fn macs(&self) -> MultiplyAdds {
        let kernel = u64::from(self.kernel.get());
        MultiplyAdds(
            self.pixels() as u64
                * kernel
                * kernel
                * self.in_channels() as u64
                * self.out_channels() as u64,
        )
    }

    /// The multiply–adds of [`macs`](Self::macs) whose tap lies on the image, not on its padding:
    /// `C_in·C_out·taps(H)·taps(W)`, where along an axis of n pixels
    /// `taps(n) = n + Σ_{d=1..before} max(0, n − d) + Σ_{d=1..after} max(0, n − d)`, for a tap that
    /// lies d pixels beside the output's own pixel reads the image for n − d of the n outputs.
    ///
    /// The least that an implementation of the direct form executes, one that skips the padding.
    /// Equal to `macs` for K = 1; a ninth of it for K = 30 on 10×10 pixels.
    pub fn macs_on_image(&self) -> MultiplyAdds {
        // no product overflows: each is at most that of the nominal multiply–adds
        let channels = self.in_channels() as u64 * self.out_channels() as u64;
        MultiplyAdds(channels * self.taps_on_image(self.height) * self.taps_on_image(self.width))
    }

    /// Pairs of an output position and a tap that reads the image, along an axis of `pixels`.
    fn taps_on_image(&self, pixels: NonZeroU32) -> u64 {
        let pixels = u64::from(pixels.get());
        let Padding { before, after } = self.padding();
        let beside = |taps: usize| {
            // taps further off than the axis is long never reach it
            let taps = (taps as u64).min(pixels - 1);
            taps * pixels - taps * (taps + 1) / 2
        };
        pixels + beside(before) + beside(after)
    }

    /// FLOPs as the paper states them (section 3): `2·K²·C_in·W·H·C_out`.
    pub fn flops(&self) -> Flops {
        self.macs().into()
    }

    /// What a launch must at least move: input and weights read once, output written once, in
    /// `f32`.
    pub fn min_bytes_moved(&self) -> Bytes {
        let tensors = [self.input_len(), self.weights_len(), self.output_len()];
        let elements = tensors.iter().fold(0u64, |sum, &length| sum.saturating_add(length as u64));
        Bytes(elements.saturating_mul(size_of::<f32>() as u64))
    }
}

impl ConvShape {
    /// Whether a text is the canonical id, without making that.
    pub fn has_id(&self, id: &str) -> bool {
        let mut rest = id.as_bytes();
        let names = ["h=", "_w=", "_in=", "_out=", "_k="];
        let all = names.into_iter().zip(self.dimensions()).all(|(name, dimension)| {
            let number = rest.strip_prefix(name.as_bytes());
            let length = dimension.ilog10() as usize + 1;
            let digits = number.and_then(|number| number.split_at_checked(length));
            let value = |digits: &[u8]| {
                digits.iter().try_fold(0, |value, digit| {
                    digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0'))
                })
            };
            digits.is_some_and(|(digits, after)| {
                rest = after;
                value(digits) == Some(dimension.into())
            })
        });
        all && rest.is_empty()
    }

    /// A number of less than 88 bits, another one for every shape: of each dimension, all bits but the
    /// first, which is always 1, and how many they are.
    pub fn packed(&self) -> u128 {
        self.dimensions().into_iter().fold(0, |packed, dimension| {
            let bits = dimension.ilog2();
            let others = dimension ^ (1 << bits);
            ((packed << bits) | u128::from(others)) << 5 | u128::from(bits)
        })
    }
}

/// The canonical id, in `[a-z0-9_=-]`: `h=100_w=640_in=150_out=100_k=3`.
impl fmt::Display for ConvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "h={}_w={}_in={}_out={}_k={}",
            self.height, self.width, self.in_channels, self.out_channels, self.kernel
        ))
    }
}

impl FromStr for ConvShape {
    type Err = ShapeError;

    /// Reads a canonical id; any other spelling of the same numbers is refused.
    fn from_str(id: &str) -> Result<Self, ShapeError> {
        let unreadable = || ShapeError::Id(id.to_owned());
        let mut fields = id.split('_');
        let mut dimension = |name: &str| {
            fields
                .next()
                .and_then(|field| field.strip_prefix(name)?.strip_prefix('='))
                .and_then(|digits| digits.parse::<u64>().ok())
                .ok_or_else(unreadable)
        };
        let shape = Self::new(
            dimension("h")?,
            dimension("w")?,
            dimension("in")?,
            dimension("out")?,
            dimension("k")?,
        )?;
        if shape.to_string() == id { Ok(shape) } else { Err(unreadable()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_and_overflowing_dimensions_are_refused() {
        assert_eq!(
            ConvShape::new(1, 0, 1, 1, 1),
            Err(ShapeError::Dimension { dimension: "width", value: 0 })
        );
        assert_eq!(ConvShape::new(1 << 31, 1 << 31, 1 << 31, 1, 1), Err(ShapeError::TooLarge));
    }

    /// Every output and tap of one axis, one by one.
    fn taps_counted(pixels: u64, kernel: u64) -> u64 {
        let before = (kernel as i64 - 1) / 2;
        let reads_image = |output: i64, tap: i64| {
            let input = output + tap - before;
            (0..pixels as i64).contains(&input)
        };
        let taps = |output| (0..kernel as i64).filter(|tap| reads_image(output, *tap)).count();
        (0..pixels as i64).map(taps).sum::<usize>() as u64
    }

    #[test]
    fn multiply_adds_on_the_image_are_those_counted_one_by_one() {
        for kernel in 1..=30 {
            for height in 1..=12 {
                for width in [1, 2, 3, 7, 12] {
                    let shape = ConvShape::new(height, width, 3, 5, kernel).unwrap();
                    let counted = taps_counted(height, kernel) * taps_counted(width, kernel);
                    assert_eq!(shape.macs_on_image().0, 15 * counted, "{shape}");
                }
            }
        }
    }

    #[test]
    fn the_largest_shapes_have_multiply_adds_on_the_image_too() {
        let large = u64::from(u32::MAX);
        // one pixel: only the tap on it counts
        let shape = ConvShape::new(1, 1, 1, 1, (1 << 31) - 1).unwrap();
        assert_eq!(shape.macs_on_image().0, 1);
        let shape = ConvShape::new(large, (1 << 31) - 1, 1, 1, 1).unwrap();
        assert_eq!(shape.macs_on_image(), shape.macs());
        let shape = ConvShape::new(1 << 20, 1, 1, 1, 1 << 20).unwrap();
        assert!(shape.macs_on_image() < shape.macs());
    }

    /// Of all sizes: as many of one bit as of eleven.
    fn any_shape() -> impl Strategy<Value = ConvShape> {
        let side = || (0u32..11).prop_flat_map(|bits| 1u64 << bits..2 << bits);
        (side(), side(), side(), side(), side())
            .prop_filter_map("too large", |(h, w, i, o, k)| ConvShape::new(h, w, i, o, k).ok())
    }

    proptest! {
        #[test]
        fn every_id_reads_back_to_its_shape(
            h in 1u64..2000, w in 1u64..2000, i in 1u64..30_000, o in 1u64..30_000, k in 1u64..40
        ) {
            let shape = ConvShape::new(h, w, i, o, k).unwrap();
            prop_assert_eq!(shape.to_string().parse::<ConvShape>(), Ok(shape));
            prop_assert!(shape.to_string().len() <= 64);
            prop_assert_eq!(shape.padding().before + shape.padding().after, shape.kernel() - 1);
            prop_assert_eq!(shape.flops().0, 2 * shape.macs().0);
            prop_assert!(shape.macs_on_image() <= shape.macs());
        }

        #[test]
        fn a_shape_has_the_id_that_reads_back_to_it_and_no_other_text(
            shape in any_shape(), place in 0usize..40, character: char
        ) {
            let id = shape.to_string();
            prop_assert!(shape.has_id(&id));
            let (before, rest) = id.split_at(place.min(id.len() - 1));
            let longer = format!("{before}{character}{rest}");
            let other = format!("{before}{character}{}", &rest[1..]);
            for text in [&longer, &other, before, "", "h=01_w=1_in=1_out=1_k=1"] {
                prop_assert_eq!(shape.has_id(text), text == id, "{}", text);
            }
        }

        #[test]
        fn packed_shapes_can_be_unpacked(shape in any_shape()) {
            let mut packed = shape.packed();
            prop_assert!(packed < 1 << 88);
            for dimension in shape.dimensions().into_iter().rev() {
                let bits = packed & 31;
                packed >>= 5;
                prop_assert_eq!(1 << bits | packed & ((1 << bits) - 1), u128::from(dimension));
                packed >>= bits;
            }
            prop_assert_eq!(packed, 0);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<ConvShape>();
        }
    }
}
