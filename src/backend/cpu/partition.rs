//! How output is divided among threads, and each thread's share into tiles.

use std::ops::Range;

use super::matrix::MatrixMut;
use crate::shape::ConvShape;

/// Ranges of pixels are cut only at multiples of this, a whole number of the kernels' register tiles:
/// other cuts leave registers half-empty.
pub(super) const PIXEL_GROUP: usize = 16;
/// The same for output channels.
pub(super) const CHANNEL_GROUP: usize = 6;

/// What each thread computes, planned ahead.
pub(super) enum Division {
    /// All output channels of some pixels.
    Pixels(Vec<Range<usize>>),
    /// Some output channels of all pixels.
    Channels(Vec<Range<usize>>),
}

impl Division {
    /// By pixels where every thread gets at least so many of them.
    pub(super) fn new(shape: ConvShape, threads: usize, pixels_per_thread: usize) -> Self {
        if shape.pixels() >= pixels_per_thread.saturating_mul(threads) {
            Self::Pixels(split_evenly(shape.pixels(), threads, PIXEL_GROUP))
        } else {
            Self::Channels(split_evenly(shape.out_channels(), threads, CHANNEL_GROUP))
        }
    }
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
