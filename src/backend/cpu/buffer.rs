//! Aligned, fallibly allocated memory for tensors and workspace.

use crate::random::random_value;

/// Elements of `f32` in the 64 bytes that buffers are aligned to: a cache line, an AVX-512 register.
const ALIGNMENT: usize = 64 / size_of::<f32>();

/// A slice of `f32` whose first element lies at a multiple of 64 bytes.
///
/// It is a vector with up to 15 elements of slack in front, so that alignment costs no `unsafe`.
pub(super) struct AlignedBuffer {
    storage: Vec<f32>,
    start: usize,
}

impl AlignedBuffer {
    /// `len` zeros, every page of them touched; `None` where memory runs out.
    pub(super) fn zeroed(len: usize) -> Option<Self> {
        let mut buffer = Self::with_capacity(len)?;
        buffer.storage.resize(buffer.start + len, 0.0);
        Some(buffer)
    }

    /// `len` pseudo-random values in (−1, 1), never zero, the same for the same seed; `None` where
    /// memory runs out.
    pub(super) fn random(len: usize, seed: u64) -> Option<Self> {
        let mut buffer = Self::with_capacity(len)?;
        buffer.storage.extend((0..len as u64).map(|index| random_value(seed, index)));
        Some(buffer)
    }

    fn with_capacity(len: usize) -> Option<Self> {
        let mut storage: Vec<f32> = Vec::new();
        storage.try_reserve_exact(len.checked_add(ALIGNMENT)?).ok()?;
        let start = storage.as_ptr().align_offset(ALIGNMENT * size_of::<f32>());
        storage.resize(start.min(ALIGNMENT), 0.0);
        Some(Self { start: storage.len(), storage })
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        &self.storage[self.start..]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_exactly_as_long_as_asked() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut zeros = AlignedBuffer::zeroed(len).unwrap();
            assert_eq!(zeros.as_slice().len(), len);
            assert_eq!(zeros.as_mut_slice().as_ptr() as usize % 64, 0);
            assert_eq!(AlignedBuffer::random(len, 1).unwrap().as_slice().len(), len);
        }
    }

    #[test]
    fn an_impossible_allocation_is_refused_without_aborting() {
        assert!(AlignedBuffer::zeroed(usize::MAX).is_none());
        assert!(AlignedBuffer::zeroed(isize::MAX as usize / 4 - 100).is_none());
    }
}
