//! Moving an image under its kernel: which taps matter, and copies of a channel shifted by one.

use std::ops::Range;

use crate::shape::ConvShape;

/// What a convolution reads, `[in_channels, rows, columns]`; it may have rows and columns more than the output,
/// all of zeros, behind the others.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) values: &'a [f32],
    pub(super) width: usize,
    /// Values of a channel.
    pub(super) pixels: usize,
}

impl<'a> Image<'a> {
    /// An input as it is.
    pub(super) fn new(values: &'a [f32], shape: ConvShape) -> Self {
        Self { values, width: shape.width(), pixels: shape.pixels() }
    }

    /// `destination[i] = image[channel, row + row_shift, column + column_shift]` with zeros outside the image,
    /// where `(row, column)` is pixel `first + i` of an output of this width in row-major order.
    ///
    /// `first` may lie before the output and the destination may reach behind it.
    pub(super) fn copy_shifted(
        &self,
        channel: usize,
        destination: &mut [f32],
        first: isize,
        width: usize,
        shifts: [isize; 2],
    ) {
        let channel = &self.values[channel * self.pixels..][..self.pixels];
        if self.width == width {
            copy_shifted(destination, first, channel, width, shifts);
        } else {
            copy_row_by_row(destination, first, (channel, self.width), width, shifts);
        }
    }
}

/// The kernel's taps along one axis that touch the image at all.
///
/// Tap `t` reads the pixel `t − before` positions further on. If that is `len` or more in an image of
/// `len` pixels, the tap reads only padding for every output pixel. It adds exactly zero and is
/// skipped, as in PyTorch and oneDNN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taps {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) first_shift: isize,
}

impl Taps {
    /// Of a kernel of side `kernel` with `before` zeros in front of an axis of `len` pixels.
    pub(super) fn new(kernel: usize, before: usize, len: usize) -> Self {
        let first = (before + 1).saturating_sub(len);
        let end = kernel.min(before + len);
        Self { first, count: end - first, first_shift: first as isize - before as isize }
    }

    pub(super) fn shifts(self) -> Range<isize> {
        self.first_shift..self.first_shift + self.count as isize
    }
}

/// [`Image::copy_shifted`] where the image is as wide as the output.
fn copy_shifted(
    destination: &mut [f32],
    first: isize,
    channel: &[f32],
    width: usize,
    [row_shift, column_shift]: [isize; 2],
) {
    // In row-major order a shift is one offset: copy in one piece…
    let source = first + row_shift * width as isize + column_shift;
    copy_piece(destination, channel, source);
    // …then clear what came from the neighbouring row: the columns shifted over the image's edge.
    let cleared = match column_shift {
        0 => return,
        1.. => width - (column_shift as usize).min(width)..width,
        _ => 0..column_shift.unsigned_abs().min(width),
    };
    clear_columns(destination, first, width, cleared);
}

/// [`Image::copy_shifted`] where the image's rows are of another length.
fn copy_row_by_row(
    destination: &mut [f32],
    first: isize,
    (channel, row_len): (&[f32], usize),
    width: usize,
    [row_shift, column_shift]: [isize; 2],
) {
    let (width, mut pixel, mut rest) = (width as isize, first, destination);
    while !rest.is_empty() {
        let (row, column) = (pixel.div_euclid(width), pixel.rem_euclid(width));
        let (piece, others) = rest.split_at_mut(rest.len().min((width - column) as usize));
        let row = usize::try_from(row + row_shift).ok();
        let row = row.and_then(|row| channel.get(row * row_len..(row + 1) * row_len));
        copy_piece(piece, row.unwrap_or_default(), column + column_shift);
        pixel += piece.len() as isize;
        rest = others;
    }
}

/// `piece[i] = values[first + i]`, with zeros outside the values.
fn copy_piece(piece: &mut [f32], values: &[f32], first: isize) {
    let len = piece.len() as isize;
    let start = (-first).clamp(0, len) as usize;
    let end = (values.len() as isize - first).clamp(start as isize, len) as usize;
    piece[..start].fill(0.0);
    piece[end..].fill(0.0);
    if start < end {
        let from = (first + start as isize) as usize;
        piece[start..end].copy_from_slice(&values[from..from + (end - start)]);
    }
}

/// Zeroes the given columns of every row that the destination holds a part of.
fn clear_columns(destination: &mut [f32], first: isize, width: usize, columns: Range<usize>) {
    let len = destination.len();
    let phase = first.rem_euclid(width as isize) as usize;
    // the first row may be cut: its columns before `phase` lie in front of the destination
    let cut = columns.start.max(phase)..columns.end.max(phase);
    destination[(cut.start - phase).min(len)..(cut.end - phase).min(len)].fill(0.0);
    let mut row = width - phase;
    while row < len {
        let cleared = (row + columns.start).min(len)..(row + columns.end).min(len);
        destination[cleared].fill(0.0);
        row += width;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn taps_that_see_only_padding_are_left_out() {
        // 3 taps at shifts −1, 0, 1: on one pixel only the middle one
        assert_eq!(Taps::new(3, 1, 1), Taps { first: 1, count: 1, first_shift: 0 });
        assert_eq!(Taps::new(3, 1, 2), Taps { first: 0, count: 3, first_shift: -1 });
        // 30 taps at shifts −14..=15: on ten pixels those at −9..=9
        let taps = Taps::new(30, 14, 10);
        assert_eq!((taps.first, taps.count, taps.shifts()), (5, 19, -9..10));
        // 4 taps at shifts −1..=2: on two pixels those at −1..=1
        assert_eq!(Taps::new(4, 1, 2).shifts(), -1..2);
    }

    proptest! {
        #[test]
        fn shifted_copies_hold_what_indexing_pixel_by_pixel_gives(
            height in 1usize..6, width in 1usize..7, first in -10isize..40, len in 0usize..60,
            row_shift in -4isize..5, column_shift in -8isize..9, wider in 0usize..2,
        ) {
            let row_len = width + wider;
            let pixels = height * row_len;
            let values: Vec<f32> = (1..=2 * pixels).map(|v| v as f32).collect();
            let (image, channel) = (Image { values: &values, width: row_len, pixels }, &values[pixels..]);
            let mut copied = vec![f32::NAN; len];
            image.copy_shifted(1, &mut copied, first, width, [row_shift, column_shift]);
            for (i, got) in copied.into_iter().enumerate() {
                let pixel = first + i as isize;
                let row = pixel.div_euclid(width as isize) + row_shift;
                let column = pixel.rem_euclid(width as isize) + column_shift;
                let inside = (0..height as isize).contains(&row)
                    && (0..row_len as isize).contains(&column);
                let expected =
                    if inside { channel[row as usize * row_len + column as usize] } else { 0.0 };
                prop_assert_eq!(got, expected, "at {}", i);
            }
        }
    }
}
