//! Matrices over borrowed memory, and their product: the only place that calls `gemm`.

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;

/// A read-only matrix over a slice; rows and columns are any fixed number of elements apart.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A writable matrix whose rows are contiguous and do not overlap. It can be split into disjoint
/// blocks, for threads to write to at the same time.
pub(super) struct MatrixMut<'a> {
    /// Valid for reads and writes at `row · row_stride + column` for every row and column, which
    /// no other live value may touch: this matrix borrows those elements for `'a`.
    first: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

/// What happens to the values a product is written over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    /// They are replaced, whatever they were: `NaN` included.
    Overwrite,
    Add,
}

impl<'a> Matrix<'a> {
    pub(super) fn contiguous(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, [rows, columns], [columns, 1])
    }

    /// Element `(row, column)` is `data[row · strides[0] + column · strides[1]]`.
    ///
    /// # Panics
    /// Where the last element lies outside `data`.
    pub(super) fn strided(data: &'a [f32], size: [usize; 2], strides: [usize; 2]) -> Self {
        let [rows, columns] = size;
        let [row_stride, column_stride] = strides;
        assert!(extent(size, strides) <= data.len(), "a {rows}×{columns} matrix needs more data");
        Self { data, rows, columns, row_stride, column_stride }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn transposed(self) -> Self {
        let Self { data, rows, columns, row_stride, column_stride } = self;
        Self::strided(data, [columns, rows], [column_stride, row_stride])
    }

    pub(super) fn row_range(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows);
        let data = &self.data[(range.start * self.row_stride).min(self.data.len())..];
        Self::strided(data, [range.len(), self.columns], [self.row_stride, self.column_stride])
    }

    pub(super) fn column_range(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.columns);
        let data = &self.data[(range.start * self.column_stride).min(self.data.len())..];
        Self::strided(data, [self.rows, range.len()], [self.row_stride, self.column_stride])
    }
}

impl<'a> MatrixMut<'a> {
    /// Rows one after the other.
    ///
    /// # Panics
    /// Where `data` is shorter.
    pub(super) fn contiguous(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        let fits = extent([rows, columns], [columns, 1]) <= data.len();
        assert!(fits, "a {rows}×{columns} matrix needs more data");
        let first = data.as_mut_ptr();
        Self { first, rows, columns, row_stride: columns, borrowed: PhantomData }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn split_columns(self, count: usize) -> (Self, Self) {
        assert!(count <= self.columns);
        let first = self.first.wrapping_add(count);
        let right = Self { first, columns: self.columns - count, ..self };
        (Self { columns: count, ..self }, right)
    }

    pub(super) fn split_rows(self, count: usize) -> (Self, Self) {
        assert!(count <= self.rows);
        let first = self.first.wrapping_add(count * self.row_stride);
        let below = Self { first, rows: self.rows - count, ..self };
        (Self { rows: count, ..self }, below)
    }

    pub(super) fn block(&mut self, rows: Range<usize>, columns: Range<usize>) -> MatrixMut<'_> {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        MatrixMut {
            first: self.first.wrapping_add(rows.start * self.row_stride + columns.start),
            rows: rows.len(),
            columns: columns.len(),
            row_stride: self.row_stride,
            borrowed: PhantomData,
        }
    }
}

// SAFETY: a `MatrixMut` stands for a unique borrow of plain `f32`s; no part of it is shared.
unsafe impl Send for MatrixMut<'_> {}

/// `out = left · right`, or `out += left · right`, on the calling thread.
///
/// # Panics
/// Where the sizes do not match.
pub(super) fn multiply(update: Update, out: MatrixMut<'_>, left: Matrix<'_>, right: Matrix<'_>) {
    assert_eq!(
        (left.rows, left.columns, right.columns),
        (out.rows, right.rows, out.columns),
        "sizes of a product"
    );
    let stride = |elements: usize| elements as isize;
    // SAFETY: `Matrix` and `MatrixMut` assert, when made and when cut, that every element they
    // address by their sizes and strides is inside their slice; the sizes match. Strides that are
    // used at all lie within a slice and so fit `isize`. `out` borrows its elements uniquely, so
    // that it aliases neither operand, and no two of its elements are one, its rows lying at least
    // a row apart. All elements are initialised `f32`s.
    unsafe {
        gemm::gemm(
            out.rows,
            out.columns,
            left.columns,
            out.first,
            1,
            stride(out.row_stride),
            update == Update::Add,
            left.data.as_ptr(),
            stride(left.column_stride),
            stride(left.row_stride),
            right.data.as_ptr(),
            stride(right.column_stride),
            stride(right.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Elements from the first to the last of a matrix, both included.
fn extent(size: [usize; 2], strides: [usize; 2]) -> usize {
    if size.contains(&0) {
        return 0;
    }
    let last = (size[0] - 1).checked_mul(strides[0]).zip((size[1] - 1).checked_mul(strides[1]));
    // an extent beyond the address space is larger than any slice
    last.and_then(|(row, column)| row.checked_add(column)?.checked_add(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_blocks_and_transposes_are_those_worked_out_by_hand() {
        let left = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let right = [1.0, 0.0, 2.0, 1.0, 0.0, 3.0];
        let mut out = [f32::NAN; 4];
        let (a, b) = (Matrix::contiguous(&left, 2, 3), Matrix::contiguous(&right, 3, 2));
        multiply(Update::Overwrite, MatrixMut::contiguous(&mut out, 2, 2), a, b);
        assert_eq!(out, [5.0, 11.0, 14.0, 23.0]);
        let product = MatrixMut::contiguous(&mut out, 2, 2);
        multiply(Update::Add, product, b.transposed(), a.transposed());
        assert_eq!(out, [10.0, 25.0, 25.0, 46.0]);
        let mut whole = MatrixMut::contiguous(&mut out, 2, 2);
        let (a, b) = (a.row_range(1..2), b.column_range(1..2));
        multiply(Update::Overwrite, whole.block(1..2, 0..1), a, b);
        assert_eq!(out, [10.0, 25.0, 23.0, 46.0]);
    }

    #[test]
    fn split_parts_are_disjoint_and_cover_the_matrix() {
        let mut out = [0.0; 12];
        let (left, right) = MatrixMut::contiguous(&mut out, 3, 4).split_columns(1);
        let (top, bottom) = right.split_rows(2);
        for (part, value) in [(left, 1.0), (top, 2.0), (bottom, 3.0)] {
            let [rows, columns] = [part.rows, part.columns];
            let (ones, values) = (vec![1.0; rows], vec![value; columns]);
            let (a, b) =
                (Matrix::contiguous(&ones, rows, 1), Matrix::contiguous(&values, 1, columns));
            multiply(Update::Add, part, a, b);
        }
        assert_eq!(out, [1.0, 2.0, 2.0, 2.0, 1.0, 2.0, 2.0, 2.0, 1.0, 3.0, 3.0, 3.0]);
    }

    #[test]
    #[should_panic(expected = "needs more data")]
    fn a_matrix_larger_than_its_data_is_refused() {
        let _ = Matrix::strided(&[0.0; 5], [2, 3], [3, 1]);
    }

    #[test]
    #[should_panic(expected = "sizes of a product")]
    fn a_product_of_sizes_that_do_not_match_is_refused() {
        let (data, mut out) = ([0.0; 6], [0.0; 4]);
        let a = Matrix::contiguous(&data, 2, 3);
        multiply(Update::Add, MatrixMut::contiguous(&mut out, 2, 2), a, a);
    }
}
