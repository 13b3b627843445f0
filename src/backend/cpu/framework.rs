//! What a framework computes around a convolution ([`Convolution::Framework`]).
//!
//! [`Convolution::Framework`]: crate::protocol::Convolution::Framework

use super::BufferPools;
use super::buffer::AlignedBuffer;
use super::partition::split_evenly;
use super::shift::Image;
use super::team::Team;
use crate::reference;
use crate::shape::ConvShape;

/// The memory that it needs beside the tensors of the convolution.
pub(super) struct Framework {
    shape: ConvShape,
    /// The image with its padding; empty where the kernel is odd.
    image: AlignedBuffer,
    bias: AlignedBuffer,
}

impl Framework {
    /// `None` where memory runs out.
    pub(super) fn new(shape: ConvShape, seed: u64, pools: &BufferPools) -> Option<Self> {
        let bias = pools.bias.random(shape.out_channels(), reference::bias_seed(seed))?;
        Some(Self { shape, image: pools.image.scratch(shape.padded_image_len())?, bias })
    }

    /// Elements that [`Framework::new`] allocates.
    pub(super) fn required_len(shape: ConvShape) -> usize {
        shape.padded_image_len().saturating_add(shape.out_channels())
    }

    /// What the convolution reads: the input or, for an even kernel, a copy of it with a row and a column of
    /// zeros.
    pub(super) fn pad<'a>(&'a mut self, team: &Team, input: &'a [f32]) -> Image<'a> {
        let Some([height, width]) = self.shape.padded_image() else {
            return Image::new(input, self.shape);
        };
        let channels = split_evenly(self.shape.in_channels(), team.threads(), 1);
        let (from, to) = (self.shape.pixels(), height * width);
        let mut rest = self.image.as_mut_slice();
        let mut parts = Vec::with_capacity(channels.len());
        for channels in channels {
            let (part, others) = rest.split_at_mut(channels.len() * to);
            parts.push((&input[channels.start * from..channels.end * from], part));
            rest = others;
        }
        team.for_each(&mut parts, |(input, copies)| {
            for (channel, copy) in input.chunks_exact(from).zip(copies.chunks_exact_mut(to)) {
                pad_channel(channel, copy, self.shape.width());
            }
        });
        Image { values: self.image.as_slice(), width, pixels: to }
    }

    /// Adds each channel's bias to all its pixels.
    pub(super) fn add_bias(&self, team: &Team, output: &mut [f32]) {
        let (bias, pixels) = (self.bias.as_slice(), self.shape.pixels());
        let each = bias.len().div_ceil(team.threads());
        let parts = output.chunks_mut(each * pixels).zip(bias.chunks(each));
        team.for_each(&mut parts.collect::<Vec<_>>(), |(output, bias)| {
            for (channel, bias) in output.chunks_exact_mut(pixels).zip(*bias) {
                channel.iter_mut().for_each(|value| *value += bias);
            }
        });
    }

    pub(super) fn image(&self) -> &[f32] {
        self.image.as_slice()
    }
}

/// Copies a channel's rows of `width` into rows that have one more value, with a row more of them.
fn pad_channel(channel: &[f32], copy: &mut [f32], width: usize) {
    let mut rows = copy.chunks_exact_mut(width + 1);
    for (row, padded) in channel.chunks_exact(width).zip(&mut rows) {
        padded[..width].copy_from_slice(row);
        padded[width] = 0.0;
    }
    rows.for_each(|row| row.fill(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_channel_has_a_row_and_a_column_of_zeros_behind_it() {
        let mut copy = [f32::NAN; 12];
        pad_channel(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut copy, 3);
        assert_eq!(copy, [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
