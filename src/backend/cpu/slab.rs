//! im2col along the kernel's x only; the kernel's y is an offset into it.

use std::ops::Range;

use super::matrix::{Matrix, MatrixMut, Update, multiply};
use super::partition::{
    CHANNEL_GROUP, Division, FewestPerThread, PIXEL_GROUP, Share, add_sums, columns_of, tiles,
};
use super::shift::{Image, Taps};
use super::team::Team;
use crate::shape::ConvShape;

/// Rows of the slab, `(input channel, kernel column)`, that are multiplied at once.
const DEPTH_TILE: usize = 512;
/// Output pixels a thread computes at once.
const PIXEL_TILE: usize = 2048;
/// Elements of weights that a thread repacks at once if it computes only some of the channels: 4 MiB,
/// which fit into the last-level cache. With fewer, the slab is read too many times.
const WEIGHTS_TILE: usize = 1024 * 1024;
/// With fewer pixels per thread, half-empty registers cost more time than repacking the weights only
/// once saves.
const FEWEST: FewestPerThread = FewestPerThread { pixels: 8 * PIXEL_GROUP, macs: 1024 };

/// Row `(i, x)` of the slab is input channel `i` shifted by kernel column `x`. To shift it by one
/// kernel row as well, a product only has to start reading `width` elements later. One slab therefore
/// serves all kernel rows, and it is `K` times as large as the input where im2col is `K²` times. The
/// output is the sum of `K` products, one per kernel row; each leaves out the output rows for which
/// its kernel row sees only padding.
///
/// A product needs the weights of its kernel row side by side, so every launch repacks the weights.
pub(super) struct Slab {
    shape: ConvShape,
    rows: Taps,
    columns: Taps,
    /// Input channels whose slab rows are multiplied at once.
    in_channels_tile: usize,
    /// Each thread fills slabs of its own. By pixels, all repack the weights together; else each
    /// repacks what it needs, a cacheful at a time.
    division: Division,
}

impl Slab {
    pub(super) fn new(shape: ConvShape, threads: usize) -> Self {
        let before = shape.padding().before;
        let rows = Taps::new(shape.kernel(), before, shape.height());
        let columns = Taps::new(shape.kernel(), before, shape.width());
        let in_channels_tile = (DEPTH_TILE / columns.count).clamp(1, shape.in_channels());
        let taps = rows.count * columns.count;
        let division = Division::new(shape, threads, FEWEST, [shape.in_channels(), taps]);
        Self { shape, rows, columns, in_channels_tile, division }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.division {
            Division::Pixels(_) => "slab-pixels",
            Division::Channels(_) => "slab-channels",
            Division::Depth(_) => "slab-depth",
        }
    }

    pub(super) fn workspace_len(&self) -> usize {
        match &self.division {
            Division::Pixels(ranges) => {
                let slabs = ranges.len().saturating_mul(self.pixel_slab_len());
                slabs.saturating_add(self.packed_weights_len())
            }
            Division::Channels(ranges) | Division::Depth(ranges) => {
                let sums = self.division.sums_len(self.shape);
                ranges.len().saturating_mul(self.share_len()).saturating_add(sums)
            }
        }
    }

    /// The share of all multiply–adds that this computes. It leaves out kernel columns that see only
    /// padding for every output column and, for each kernel row, output rows for which that kernel
    /// row sees only padding.
    pub(super) fn executed_share(shape: ConvShape) -> f64 {
        let before = shape.padding().before;
        let rows = Taps::new(shape.kernel(), before, shape.height());
        let columns = Taps::new(shape.kernel(), before, shape.width());
        // a kernel row shifted by s misses |s| output rows; Σ|s| on one side is n(n + 1)/2
        let missed =
            |shift: isize| shift.unsigned_abs() as f64 * (shift.unsigned_abs() + 1) as f64 / 2.0;
        let (above, below) = (missed(rows.first_shift), missed(rows.shifts().end - 1));
        let (height, kernel) = (shape.height() as f64, shape.kernel() as f64);
        let row_pairs = rows.count as f64 * height - above - below;
        row_pairs / (kernel * height) * (columns.count as f64 / kernel)
    }

    /// Weights per pair of channels, without taps that see only padding.
    fn taps(&self) -> usize {
        self.rows.count * self.columns.count
    }

    fn packed_weights_len(&self) -> usize {
        self.shape.out_channels() * self.shape.in_channels() * self.taps()
    }

    /// Elements of the slab of one tile of pixels, with the rows above and below that it needs.
    fn pixel_slab_len(&self) -> usize {
        let halo = (self.rows.count - 1) * self.shape.width();
        let pixels = (PIXEL_TILE + halo).min(self.shape.pixels());
        self.in_channels_tile * self.columns.count * pixels
    }

    /// Elements that a thread needs for its share: a slab of all pixels, and repacked weights.
    fn share_len(&self) -> usize {
        let slab = self.in_channels_tile * self.columns.count * self.shape.pixels();
        slab.saturating_add(self.weights_tile_len())
    }

    /// Output channels whose weights are repacked at once.
    fn out_channels_tile(&self) -> usize {
        let filter = self.in_channels_tile * self.taps();
        let cacheful = (WEIGHTS_TILE / filter).max(1).next_multiple_of(CHANNEL_GROUP);
        cacheful.min(self.shape.out_channels())
    }

    fn weights_tile_len(&self) -> usize {
        self.out_channels_tile() * self.in_channels_tile * self.taps()
    }

    pub(super) fn run(
        &self,
        team: &Team,
        tensors: (Image<'_>, &[f32]),
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        match &self.division {
            Division::Pixels(ranges) => {
                let (channels, pixels) = (self.shape.out_channels(), self.shape.pixels());
                let output = MatrixMut::contiguous(output, channels, pixels);
                self.by_pixels(team, ranges, tensors, workspace, output);
            }
            Division::Channels(_) | Division::Depth(_) => {
                self.by_shares(team, tensors, workspace, output);
            }
        }
    }

    fn by_pixels(
        &self,
        team: &Team,
        ranges: &[Range<usize>],
        (input, weights): (Image<'_>, &[f32]),
        workspace: &mut [f32],
        output: MatrixMut<'_>,
    ) {
        let channels = self.shape.out_channels();
        let (packed, slabs) = workspace.split_at_mut(self.packed_weights_len());
        self.pack_all_weights(team, weights, packed);
        let packed = Matrix::contiguous(packed, channels, self.shape.in_channels() * self.taps());
        let mut parts = ranges
            .iter()
            .zip(columns_of(output, ranges))
            .zip(slabs.chunks_exact_mut(self.pixel_slab_len()))
            .collect::<Vec<_>>();
        team.for_each(&mut parts, |((range, out), slab)| {
            for tile in tiles(0..range.len(), PIXEL_TILE, PIXEL_GROUP) {
                let pixels = range.start + tile.start..range.start + tile.end;
                let source = self.pixels_read_by(&pixels);
                for in_channels in self.in_channel_tiles() {
                    let depth = in_channels.len() * self.columns.count;
                    let slab = &mut slab[..depth * source.len()];
                    self.fill(slab, input, in_channels.clone(), source.clone());
                    let slab = Matrix::contiguous(slab, depth, source.len());
                    let weights = packed.column_range(
                        in_channels.start * self.taps()..in_channels.end * self.taps(),
                    );
                    let out = out.block(0..channels, tile.clone());
                    let first = in_channels.start == 0;
                    self.multiply_rows(out, pixels.clone(), weights, slab, source.start, first);
                }
            }
        });
    }

    fn by_shares(
        &self,
        team: &Team,
        tensors: (Image<'_>, &[f32]),
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        let share_len = self.share_len();
        let (scratch, sums) = workspace.split_at_mut(self.division.parts() * share_len);
        let mut parts = self
            .division
            .shares(self.shape, self.shape.in_channels(), output, sums)
            .into_iter()
            .zip(scratch.chunks_exact_mut(share_len))
            .collect::<Vec<_>>();
        team.for_each(&mut parts, |(share, scratch)| self.compute_share(share, scratch, tensors));
        add_sums(team, output, sums);
    }

    fn compute_share(
        &self,
        share: &mut Share<'_>,
        scratch: &mut [f32],
        (input, weights): (Image<'_>, &[f32]),
    ) {
        let Share { out, out_channels, depth: in_channels } = share;
        let pixels = self.shape.pixels();
        let (packed, slab) = scratch.split_at_mut(self.weights_tile_len());
        for inner in tiles(in_channels.clone(), self.in_channels_tile, 1) {
            let (depth, filter) = (inner.len() * self.columns.count, inner.len() * self.taps());
            let slab = &mut slab[..depth * pixels];
            self.fill(slab, input, inner.clone(), 0..pixels);
            let slab = Matrix::contiguous(slab, depth, pixels);
            for tile in tiles(0..out_channels.len(), self.out_channels_tile(), 1) {
                let packed = &mut packed[..tile.len() * filter];
                for (out_channel, packed) in packed.chunks_exact_mut(filter).enumerate() {
                    let out_channel = out_channels.start + tile.start + out_channel;
                    self.pack_filter(packed, weights, out_channel, inner.clone());
                }
                let packed = Matrix::contiguous(packed, tile.len(), filter);
                let out = out.block(tile, 0..pixels);
                let first = inner.start == in_channels.start;
                self.multiply_rows(out, 0..pixels, packed, slab, 0, first);
            }
        }
    }

    fn in_channel_tiles(&self) -> impl Iterator<Item = Range<usize>> {
        tiles(0..self.shape.in_channels(), self.in_channels_tile, 1)
    }

    /// Input pixels, in whole rows' distance, that some kernel row needs for these output pixels.
    fn pixels_read_by(&self, pixels: &Range<usize>) -> Range<usize> {
        let above = self.rows.first_shift.unsigned_abs() * self.shape.width();
        let below = (self.rows.shifts().end - 1).unsigned_abs() * self.shape.width();
        pixels.start.saturating_sub(above)..(pixels.end + below).min(self.shape.pixels())
    }

    /// Slab rows of some input channels, columns `pixels`.
    fn fill(
        &self,
        slab: &mut [f32],
        input: Image<'_>,
        channels: Range<usize>,
        pixels: Range<usize>,
    ) {
        let width = self.shape.width();
        let per_channel = self.columns.count * pixels.len();
        for (channel, rows) in channels.zip(slab.chunks_exact_mut(per_channel)) {
            for (shift, row) in self.columns.shifts().zip(rows.chunks_exact_mut(pixels.len())) {
                input.copy_shifted(channel, row, pixels.start as isize, width, [0, shift]);
            }
        }
    }

    /// Repacks all filters, one after the other, each with its input channels in tiles.
    fn pack_all_weights(&self, team: &Team, weights: &[f32], packed: &mut [f32]) {
        let filter = self.shape.in_channels() * self.taps();
        let each = self.shape.out_channels().div_ceil(team.threads());
        let mut parts = packed.chunks_mut(each * filter).enumerate().collect::<Vec<_>>();
        team.for_each(&mut parts, |(index, part)| {
            for (out_channel, packed) in part.chunks_exact_mut(filter).enumerate() {
                for tile in self.in_channel_tiles() {
                    let packed = &mut packed[tile.start * self.taps()..tile.end * self.taps()];
                    self.pack_filter(packed, weights, *index * each + out_channel, tile);
                }
            }
        });
    }

    /// The weights of one output and some input channels, from `[input channel, y, x]` to
    /// `[y, (input channel, x)]`, without taps that see only padding.
    fn pack_filter(
        &self,
        packed: &mut [f32],
        weights: &[f32],
        out_channel: usize,
        in_channels: Range<usize>,
    ) {
        let (kernel, columns) = (self.shape.kernel(), self.columns);
        let filter = (out_channel * self.shape.in_channels() + in_channels.start) * kernel * kernel;
        let filter = &weights[filter..][..in_channels.len() * kernel * kernel];
        let row_len = in_channels.len() * columns.count;
        for (y, packed_row) in packed.chunks_exact_mut(row_len).enumerate() {
            let first = (self.rows.first + y) * kernel + columns.first;
            for (packed, plane) in
                packed_row.chunks_exact_mut(columns.count).zip(filter.chunks_exact(kernel * kernel))
            {
                for (packed, weight) in packed.iter_mut().zip(&plane[first..]) {
                    *packed = *weight;
                }
            }
        }
    }

    /// Adds the product of every kernel row to `out`, or overwrites `out` if these are the first input
    /// channels. `weights` are packed; the columns of `slab` are the input pixels from `slab_start` on.
    fn multiply_rows(
        &self,
        mut out: MatrixMut<'_>,
        pixels: Range<usize>,
        weights: Matrix<'_>,
        slab: Matrix<'_>,
        slab_start: usize,
        first: bool,
    ) {
        let (width, image) = (self.shape.width() as isize, self.shape.pixels() as isize);
        let depth = slab.rows();
        // the unshifted row reaches every output pixel: only it can overwrite them
        let unshifted = std::iter::once(0);
        for shift in unshifted.chain(self.rows.shifts().filter(|shift| *shift != 0)) {
            let offset = shift * width;
            // output pixels whose input pixel, `offset` further on, is inside the image
            let start = (-offset).max(pixels.start as isize);
            let end = (image - offset).min(pixels.end as isize);
            if start >= end {
                continue;
            }
            let columns = start as usize - pixels.start..end as usize - pixels.start;
            let slab_first = (start + offset) as usize - slab_start;
            let y = (shift - self.rows.first_shift) as usize;
            let rows = 0..out.rows();
            multiply(
                if first && shift == 0 { Update::Overwrite } else { Update::Add },
                out.block(rows, columns.clone()),
                weights.column_range(y * depth..(y + 1) * depth),
                slab.column_range(slab_first..slab_first + columns.len()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executed_share_is_what_counting_taps_gives() {
        for (size, kernel) in [(10, 30), (10, 7), (3, 4), (1, 5), (100, 2), (12, 1)] {
            let shape = ConvShape::new(size, size + 3, 1, 1, kernel).unwrap();
            let before = shape.padding().before as isize;
            let shifts = -before..shape.kernel() as isize - before;
            let rows = shifts.clone().map(|s| shape.height().saturating_sub(s.unsigned_abs()));
            let columns = shifts.clone().filter(|s| s.unsigned_abs() < shape.width()).count();
            let executed = rows.sum::<usize>() * columns;
            let all = shape.height() * shape.kernel() * shape.kernel();
            let share = Slab::executed_share(shape);
            assert!((share - executed as f64 / all as f64).abs() < 1e-12, "{shape}: {share}");
        }
    }
}
