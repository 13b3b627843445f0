//! im2col a block at a time, so that each block is multiplied while it is in cache.

use std::ops::Range;

use super::matrix::{Matrix, MatrixMut, Update, multiply};
use super::partition::{
    Division, FewestPerThread, PIXEL_GROUP, Share, add_sums, columns_of, rows_of, tiles,
};
use super::shift::Image;
use super::team::Team;
use crate::shape::ConvShape;

/// Rows of an im2col block.
const DEPTH_TILE: usize = 512;
/// Columns of an im2col block: with 512 rows, 2 MiB.
const PIXEL_TILE: usize = 1024;

/// With fewer pixels per thread, half-empty registers and weights that every thread reads cost more
/// time than adding up the threads' sums.
const FEWEST: FewestPerThread = FewestPerThread { pixels: 16 * PIXEL_GROUP, macs: 2 * DEPTH_TILE };

/// im2col in blocks of at most 512 × 1,024. For K = 1 there is no im2col: it would only copy the
/// input.
pub(super) struct Tiled {
    shape: ConvShape,
    /// Each thread fills im2col blocks of its own.
    division: Division,
}

impl Tiled {
    pub(super) fn new(shape: ConvShape, threads: usize) -> Self {
        let depth = shape.in_channels() * shape.kernel() * shape.kernel();
        // 1×1: threads need not share anything to divide the channels
        let divisible = if shape.kernel() == 1 { 0 } else { depth };
        Self { shape, division: Division::new(shape, threads, FEWEST, [divisible, 1]) }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.division {
            Division::Pixels(_) => "tiled-pixels",
            Division::Channels(_) => "tiled-channels",
            Division::Depth(_) => "tiled-depth",
        }
    }

    pub(super) fn workspace_len(&self) -> usize {
        if self.shape.kernel() == 1 {
            return 0;
        }
        let sums = self.division.sums_len(self.shape);
        self.division.parts().saturating_mul(self.block_len()).saturating_add(sums)
    }

    fn block_len(&self) -> usize {
        let pixels = self.shape.pixels().next_multiple_of(PIXEL_GROUP);
        self.depth().min(DEPTH_TILE) * pixels.min(PIXEL_TILE)
    }

    fn depth(&self) -> usize {
        self.shape.in_channels() * self.shape.kernel() * self.shape.kernel()
    }

    pub(super) fn run(
        &self,
        team: &Team,
        (input, weights): (Image<'_>, &[f32]),
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        let (channels, pixels) = (self.shape.out_channels(), self.shape.pixels());
        let weights = Matrix::contiguous(weights, channels, self.depth());
        match (&self.division, self.shape.kernel()) {
            (Division::Pixels(ranges), 1) => {
                let output = MatrixMut::contiguous(output, channels, pixels);
                self.direct_by_pixels(team, ranges, input.values, weights, output);
            }
            (Division::Channels(ranges), 1) => {
                let output = MatrixMut::contiguous(output, channels, pixels);
                self.direct_by_channels(team, ranges, input.values, weights, output);
            }
            (Division::Pixels(ranges), _) => {
                let output = MatrixMut::contiguous(output, channels, pixels);
                self.by_pixels(team, ranges, input, weights, workspace, output);
            }
            (Division::Channels(_) | Division::Depth(_), _) => {
                self.by_shares(team, input, weights, workspace, output);
            }
        }
    }

    fn direct_by_pixels(
        &self,
        team: &Team,
        ranges: &[Range<usize>],
        input: &[f32],
        weights: Matrix<'_>,
        output: MatrixMut<'_>,
    ) {
        let input = Matrix::contiguous(input, self.depth(), self.shape.pixels());
        let channels = self.shape.out_channels();
        let mut parts = ranges.iter().zip(columns_of(output, ranges)).collect::<Vec<_>>();
        team.for_each(&mut parts, |(range, out)| {
            for tile in tiles(0..range.len(), PIXEL_TILE, PIXEL_GROUP) {
                let columns = input.column_range(range.start + tile.start..range.start + tile.end);
                let out = out.block(0..channels, tile);
                multiply(Update::Overwrite, out, weights, columns);
            }
        });
    }

    fn direct_by_channels(
        &self,
        team: &Team,
        ranges: &[Range<usize>],
        input: &[f32],
        weights: Matrix<'_>,
        output: MatrixMut<'_>,
    ) {
        let pixels = self.shape.pixels();
        let input = Matrix::contiguous(input, self.depth(), pixels);
        let mut parts = ranges.iter().zip(rows_of(output, ranges)).collect::<Vec<_>>();
        team.for_each(&mut parts, |(range, out)| {
            let out = out.block(0..range.len(), 0..pixels);
            let weights = weights.row_range((*range).clone());
            multiply(Update::Overwrite, out, weights, input);
        });
    }

    fn by_pixels(
        &self,
        team: &Team,
        ranges: &[Range<usize>],
        input: Image<'_>,
        weights: Matrix<'_>,
        workspace: &mut [f32],
        output: MatrixMut<'_>,
    ) {
        let (shape, channels) = (self.shape, self.shape.out_channels());
        let mut parts = ranges
            .iter()
            .zip(columns_of(output, ranges))
            .zip(workspace.chunks_exact_mut(self.block_len()))
            .collect::<Vec<_>>();
        team.for_each(&mut parts, |((range, out), block)| {
            for tile in tiles(0..range.len(), PIXEL_TILE, PIXEL_GROUP) {
                let pixels = range.start + tile.start..range.start + tile.end;
                for depth in tiles(0..self.depth(), DEPTH_TILE, 1) {
                    let block = &mut block[..depth.len() * tile.len()];
                    fill_im2col(block, shape, input, depth.clone(), pixels.clone());
                    multiply(
                        first_overwrites(&depth, 0),
                        out.block(0..channels, tile.clone()),
                        weights.column_range(depth.clone()),
                        Matrix::contiguous(block, depth.len(), tile.len()),
                    );
                }
            }
        });
    }

    fn by_shares(
        &self,
        team: &Team,
        input: Image<'_>,
        weights: Matrix<'_>,
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        let shape = self.shape;
        let (blocks, sums) = workspace.split_at_mut(self.division.parts() * self.block_len());
        let mut parts = self
            .division
            .shares(shape, self.depth(), output, sums)
            .into_iter()
            .zip(blocks.chunks_exact_mut(self.block_len()))
            .collect::<Vec<_>>();
        team.for_each(&mut parts, |(Share { out, out_channels, depth }, block)| {
            let weights = weights.row_range(out_channels.clone());
            for tile in tiles(0..shape.pixels(), PIXEL_TILE, PIXEL_GROUP) {
                for rows in tiles(depth.clone(), DEPTH_TILE, 1) {
                    let block = &mut block[..rows.len() * tile.len()];
                    fill_im2col(block, shape, input, rows.clone(), tile.clone());
                    multiply(
                        first_overwrites(&rows, depth.start),
                        out.block(0..out_channels.len(), tile.clone()),
                        weights.column_range(rows.clone()),
                        Matrix::contiguous(block, rows.len(), tile.len()),
                    );
                }
            }
        });
        add_sums(team, output, sums);
    }
}

/// The first block of a sum replaces what the output held.
fn first_overwrites(depth: &Range<usize>, first: usize) -> Update {
    if depth.start == first { Update::Overwrite } else { Update::Add }
}

/// Rows `depth` and columns `pixels` of the im2col matrix, whose row `(i·K + y)·K + x` is input
/// channel `i` shifted by kernel row `y` and column `x`.
pub(super) fn fill_im2col(
    block: &mut [f32],
    shape: ConvShape,
    input: Image<'_>,
    depth: Range<usize>,
    pixels: Range<usize>,
) {
    let kernel = shape.kernel();
    let before = shape.padding().before as isize;
    for (row, tap) in block.chunks_exact_mut(pixels.len()).zip(depth) {
        let [channel, y, x] = [tap / (kernel * kernel), tap / kernel % kernel, tap % kernel];
        let shifts = [y as isize - before, x as isize - before];
        input.copy_shifted(channel, row, pixels.start as isize, shape.width(), shifts);
    }
}
