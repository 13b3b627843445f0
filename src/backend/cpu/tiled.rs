//! im2col a block at a time, so that each block is multiplied while it is in cache.

use std::ops::Range;

use super::matrix::{Matrix, MatrixMut, Update, multiply};
use super::partition::{Division, PIXEL_GROUP, columns_of, rows_of, tiles};
use super::shift::copy_shifted;
use super::team::Team;
use crate::shape::ConvShape;

/// Rows of an im2col block.
const DEPTH_TILE: usize = 512;
/// Columns of an im2col block: with 512 rows, 2 MiB.
const PIXEL_TILE: usize = 1024;

/// Fewest pixels per thread for a division by pixels. With fewer, half-empty registers and weights
/// that every thread reads cost more time than waiting for a block that all threads fill together.
const PIXELS_PER_THREAD: usize = 16 * PIXEL_GROUP;

/// im2col in blocks of at most 512 × 1,024. For K = 1 there is no im2col: it would only copy the
/// input.
pub(super) struct Tiled {
    shape: ConvShape,
    /// By pixels: each thread fills im2col blocks of its own. By channels: all fill each together.
    division: Division,
}

impl Tiled {
    pub(super) fn new(shape: ConvShape, threads: usize) -> Self {
        Self { shape, division: Division::new(shape, threads, PIXELS_PER_THREAD) }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.division {
            Division::Pixels(_) => "tiled-pixels",
            Division::Channels(_) => "tiled-channels",
        }
    }

    pub(super) fn workspace_len(&self) -> usize {
        match (&self.division, self.shape.kernel()) {
            (_, 1) => 0,
            (Division::Pixels(ranges), _) => ranges.len() * self.block_len(),
            (Division::Channels(_), _) => self.block_len(),
        }
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
        [input, weights]: [&[f32]; 2],
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        let weights = Matrix::contiguous(weights, self.shape.out_channels(), self.depth());
        let output = MatrixMut::contiguous(output, self.shape.out_channels(), self.shape.pixels());
        match (&self.division, self.shape.kernel()) {
            (Division::Pixels(ranges), 1) => {
                self.direct_by_pixels(team, ranges, input, weights, output)
            }
            (Division::Channels(ranges), 1) => {
                self.direct_by_channels(team, ranges, input, weights, output);
            }
            (Division::Pixels(ranges), _) => {
                self.by_pixels(team, ranges, input, weights, workspace, output);
            }
            (Division::Channels(ranges), _) => {
                self.by_channels(team, ranges, input, weights, workspace, output);
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
        input: &[f32],
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
                        first_overwrites(&depth),
                        out.block(0..channels, tile.clone()),
                        weights.column_range(depth.clone()),
                        Matrix::contiguous(block, depth.len(), tile.len()),
                    );
                }
            }
        });
    }

    fn by_channels(
        &self,
        team: &Team,
        ranges: &[Range<usize>],
        input: &[f32],
        weights: Matrix<'_>,
        workspace: &mut [f32],
        output: MatrixMut<'_>,
    ) {
        let shape = self.shape;
        let mut parts = ranges.iter().zip(rows_of(output, ranges)).collect::<Vec<_>>();
        for tile in tiles(0..shape.pixels(), PIXEL_TILE, PIXEL_GROUP) {
            for depth in tiles(0..self.depth(), DEPTH_TILE, 1) {
                let block = &mut workspace[..depth.len() * tile.len()];
                let rows_each = depth.len().div_ceil(team.threads());
                let mut fills =
                    block.chunks_mut(rows_each * tile.len()).enumerate().collect::<Vec<_>>();
                team.for_each(&mut fills, |(index, rows)| {
                    let start = depth.start + *index * rows_each;
                    let rows_depth = start..start + rows.len() / tile.len();
                    fill_im2col(rows, shape, input, rows_depth, tile.clone());
                });
                let block = Matrix::contiguous(block, depth.len(), tile.len());
                team.for_each(&mut parts, |(range, out)| {
                    let out = out.block(0..range.len(), tile.clone());
                    let weights = weights.row_range((*range).clone()).column_range(depth.clone());
                    multiply(first_overwrites(&depth), out, weights, block);
                });
            }
        }
    }
}

/// The first block of a sum replaces what the output held.
fn first_overwrites(depth: &Range<usize>) -> Update {
    if depth.start == 0 { Update::Overwrite } else { Update::Add }
}

/// Rows `depth` and columns `pixels` of the im2col matrix, whose row `(i·K + y)·K + x` is input
/// channel `i` shifted by kernel row `y` and column `x`.
pub(super) fn fill_im2col(
    block: &mut [f32],
    shape: ConvShape,
    input: &[f32],
    depth: Range<usize>,
    pixels: Range<usize>,
) {
    let kernel = shape.kernel();
    let before = shape.padding().before as isize;
    for (row, tap) in block.chunks_exact_mut(pixels.len()).zip(depth) {
        let [channel, y, x] = [tap / (kernel * kernel), tap / kernel % kernel, tap % kernel];
        let channel = &input[channel * shape.pixels()..][..shape.pixels()];
        let shifts = [y as isize - before, x as isize - before];
        copy_shifted(row, pixels.start as isize, channel, shape.width(), shifts);
    }
}
