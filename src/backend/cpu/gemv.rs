//! K = 1 on a handful of pixels: a matrix times a few vectors.

use std::ops::Range;

use super::matrix::{Matrix, MatrixMut, Update, multiply};
use super::partition::{rows_of, split_evenly};
use super::shift::Image;
use super::team::Team;
use crate::shape::ConvShape;

/// `gemm` computes products of at most this many values as dot products of contiguous rows.
const DOT_PRODUCT_LIMIT: usize = 256;

/// Transposes the input, so that each output value is the dot product of two contiguous rows. The
/// weights, by far the largest tensor, pass through the caches only once.
pub(super) struct Gemv {
    shape: ConvShape,
    channels: Vec<Range<usize>>,
}

impl Gemv {
    pub(super) const MAX_PIXELS: usize = 8;

    /// `None` where the kernel is not 1×1 or the image too large.
    pub(super) fn new(shape: ConvShape, threads: usize) -> Option<Self> {
        let fits = shape.kernel() == 1 && shape.pixels() <= Self::MAX_PIXELS;
        fits.then(|| Self { shape, channels: split_evenly(shape.out_channels(), threads, 8) })
    }

    pub(super) fn workspace_len(&self) -> usize {
        self.shape.input_len()
    }

    pub(super) fn run(
        &self,
        team: &Team,
        (input, weights): (Image<'_>, &[f32]),
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        let (pixels, depth) = (self.shape.pixels(), self.shape.in_channels());
        for (pixel, row) in workspace.chunks_exact_mut(depth).enumerate() {
            for (value, channel) in row.iter_mut().zip(input.values.chunks_exact(pixels)) {
                *value = channel[pixel];
            }
        }
        let columns = Matrix::contiguous(workspace, pixels, depth).transposed();
        let weights = Matrix::contiguous(weights, self.shape.out_channels(), depth);
        let output = MatrixMut::contiguous(output, self.shape.out_channels(), pixels);
        let mut parts =
            self.channels.iter().zip(rows_of(output, &self.channels)).collect::<Vec<_>>();
        team.for_each(&mut parts, |(range, out)| {
            let weights = weights.row_range((*range).clone());
            let step = DOT_PRODUCT_LIMIT / pixels;
            for start in (0..range.len()).step_by(step) {
                let rows = start..(start + step).min(range.len());
                let out = out.block(rows.clone(), 0..pixels);
                let weights = weights.row_range(rows);
                multiply(Update::Overwrite, out, weights, columns);
            }
        });
    }
}
