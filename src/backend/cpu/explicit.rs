//! The textbook algorithm: the whole im2col matrix, then one product per thread.

use super::matrix::{Matrix, MatrixMut, Update, multiply};
use super::partition::{PIXEL_GROUP, columns_of, split_evenly};
use super::shift::Image;
use super::team::Team;
use super::tiled::fill_im2col;
use crate::shape::ConvShape;

/// Writes all `C_in·K²` shifted copies of the image (`K²` times the input's size) and multiplies once.
///
/// A simple baseline for the other algorithms: frameworks without tiling work like this.
pub(super) struct Explicit {
    shape: ConvShape,
}

impl Explicit {
    pub(super) fn new(shape: ConvShape) -> Self {
        Self { shape }
    }

    pub(super) fn workspace_len(&self) -> usize {
        self.depth().saturating_mul(self.shape.pixels())
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
        let (shape, depth, pixels) = (self.shape, self.depth(), self.shape.pixels());
        let mut rest = &mut *workspace;
        let mut parts = Vec::with_capacity(team.threads());
        for rows in split_evenly(depth, team.threads(), 1) {
            let (part, others) = rest.split_at_mut(rows.len() * pixels);
            parts.push((rows, part));
            rest = others;
        }
        team.for_each(&mut parts, |(rows, part)| {
            fill_im2col(part, shape, input, rows.clone(), 0..pixels);
        });
        let output = MatrixMut::contiguous(output, shape.out_channels(), pixels);
        let weights = Matrix::contiguous(weights, shape.out_channels(), depth);
        let columns = Matrix::contiguous(workspace, depth, pixels);
        let ranges = split_evenly(pixels, team.threads(), PIXEL_GROUP);
        let mut parts = ranges.iter().zip(columns_of(output, &ranges)).collect::<Vec<_>>();
        team.for_each(&mut parts, |(range, out)| {
            let out = out.block(0..shape.out_channels(), 0..range.len());
            let columns = columns.column_range((*range).clone());
            multiply(Update::Overwrite, out, weights, columns);
        });
    }
}
