//! How output is divided among threads, and each thread's share into tiles.

use std::ops::Range;

use super::matrix::MatrixMut;
use super::team::Team;
use crate::shape::ConvShape;

/// Ranges of pixels are cut only at multiples of this, a whole number of the kernels' register tiles:
/// other cuts leave registers half-empty.
pub(super) const PIXEL_GROUP: usize = 16;
/// The same for output channels.
pub(super) const CHANNEL_GROUP: usize = 6;

/// What each thread computes, planned ahead. Threads share nothing that one of them writes and another
/// reads, except the sums of [`Division::Depth`], which are small: data that crosses from core to core
/// costs several times as much when the cores are far apart.
pub(super) enum Division {
    /// All output channels of some pixels.
    Pixels(Vec<Range<usize>>),
    /// Some output channels of all pixels.
    Channels(Vec<Range<usize>>),
    /// Every output value's sum over some input channels, or over some of their taps.
    Depth(Vec<Range<usize>>),
}

/// When each division pays.
pub(super) struct FewestPerThread {
    pub(super) pixels: usize,
    /// Multiply–adds of one output value. With fewer, adding up the threads' sums costs too much.
    pub(super) macs: usize,
}

impl Division {
    /// By pixels where every thread gets enough of them; else by `depth`, each unit of which is
    /// `macs_each` of an output value's multiply–adds, where there are enough of these.
    pub(super) fn new(
        shape: ConvShape,
        threads: usize,
        fewest: FewestPerThread,
        [depth, macs_each]: [usize; 2],
    ) -> Self {
        if shape.pixels() >= fewest.pixels.saturating_mul(threads) {
            Self::Pixels(split_evenly(shape.pixels(), threads, PIXEL_GROUP))
        } else if threads > 1 && depth / threads * macs_each >= fewest.macs {
            Self::Depth(split_evenly(depth, threads, 1))
        } else {
            Self::Channels(split_evenly(shape.out_channels(), threads, CHANNEL_GROUP))
        }
    }

    /// How many threads have something to do.
    pub(super) fn parts(&self) -> usize {
        let (Self::Pixels(ranges) | Self::Channels(ranges) | Self::Depth(ranges)) = self;
        ranges.len()
    }

    /// Elements in which [`Self::shares`] keeps sums over parts of the depth.
    pub(super) fn sums_len(&self, shape: ConvShape) -> usize {
        match self {
            Self::Depth(ranges) => (ranges.len() - 1).saturating_mul(shape.output_len()),
            Self::Pixels(_) | Self::Channels(_) => 0,
        }
    }

    /// The shares of a division by channels or depth; `depth` is the whole.
    pub(super) fn shares<'a>(
        &self,
        shape: ConvShape,
        depth: usize,
        output: &'a mut [f32],
        sums: &'a mut [f32],
    ) -> Vec<Share<'a>> {
        let (channels, pixels) = (shape.out_channels(), shape.pixels());
        let matrix = |sum| MatrixMut::contiguous(sum, channels, pixels);
        match self {
            Self::Pixels(_) => Vec::new(),
            Self::Channels(ranges) => {
                let shares = ranges.iter().zip(rows_of(matrix(output), ranges));
                let share = |(range, out): (&Range<usize>, _)| Share {
                    out,
                    out_channels: range.clone(),
                    depth: 0..depth,
                };
                shares.map(share).collect()
            }
            Self::Depth(ranges) => {
                let sums = sums.chunks_exact_mut(channels * pixels);
                let outs = std::iter::once(output).chain(sums).map(matrix);
                let share = |(range, out): (&Range<usize>, _)| Share {
                    out,
                    out_channels: 0..channels,
                    depth: range.clone(),
                };
                ranges.iter().zip(outs).map(share).collect()
            }
        }
    }
}

/// What one thread computes: some output channels' sums over some of the depth.
pub(super) struct Share<'a> {
    /// A row per channel of `out_channels`, a column per pixel.
    pub(super) out: MatrixMut<'a>,
    pub(super) out_channels: Range<usize>,
    pub(super) depth: Range<usize>,
}

/// Adds to `output` the sums over the other parts of the depth, in the same order in every launch.
pub(super) fn add_sums(team: &Team, output: &mut [f32], sums: &[f32]) {
    if sums.is_empty() {
        return;
    }
    let len = output.len();
    let each = len.div_ceil(team.threads()).next_multiple_of(PIXEL_GROUP);
    let mut parts = output.chunks_mut(each).enumerate().collect::<Vec<_>>();
    team.for_each(&mut parts, |(index, part)| {
        for sum in sums.chunks_exact(len) {
            for (value, more) in part.iter_mut().zip(&sum[*index * each..]) {
                *value += more;
            }
        }
    });
}

/// `0..total` in at most `parts` ranges of nearly equal length, cut at multiples of `group` only.
pub(super) fn split_evenly(total: usize, parts: usize, group: usize) -> Vec<Range<usize>> {
    let groups = total.div_ceil(group);
    // the first parts take the groups that are left over
    let (each, left_over) = (groups / parts, groups % parts);
    let cut = |part: usize| ((part * each + part.min(left_over)) * group).min(total);
    (0..parts).map(|part| cut(part)..cut(part + 1)).filter(|range| !range.is_empty()).collect()
}

/// `range` in tiles of at most `tile` and nearly equal length, cut at multiples of `group` from its
/// start.
pub(super) fn tiles(
    range: Range<usize>,
    tile: usize,
    group: usize,
) -> impl Iterator<Item = Range<usize>> {
    let count = range.len().div_ceil(tile.max(1)).max(1);
    let step = range.len().div_ceil(count).next_multiple_of(group).max(group);
    range.clone().step_by(step).map(move |start| start..(start + step).min(range.end))
}

/// The columns of `matrix` that each of `ranges` names; they follow one another from 0.
pub(super) fn columns_of<'a>(
    mut matrix: MatrixMut<'a>,
    ranges: &[Range<usize>],
) -> Vec<MatrixMut<'a>> {
    let mut parts = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (part, rest) = matrix.split_columns(range.len());
        parts.push(part);
        matrix = rest;
    }
    parts
}

/// The rows of `matrix` that each of `ranges` names; they follow one another from 0.
pub(super) fn rows_of<'a>(
    mut matrix: MatrixMut<'a>,
    ranges: &[Range<usize>],
) -> Vec<MatrixMut<'a>> {
    let mut parts = Vec::with_capacity(ranges.len());
    for range in ranges {
        let (part, rest) = matrix.split_rows(range.len());
        parts.push(part);
        matrix = rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn splits_and_tiles_cover_everything_once_in_order(
            total in 1usize..5000, parts in 1usize..9, tile in 1usize..700, group in 1usize..20
        ) {
            let split = split_evenly(total, parts, group);
            prop_assert!(split.len() <= parts);
            let tiled = tiles(0..total, tile, group).collect::<Vec<_>>();
            for ranges in [&split, &tiled] {
                prop_assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, total));
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
                prop_assert!(ranges.iter().all(|range| range.start % group == 0));
            }
            prop_assert!(tiled.iter().all(|range| range.len() <= tile.next_multiple_of(group)));
        }
    }
}
