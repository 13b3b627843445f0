//! Aligned, fallibly allocated memory for tensors and workspace.

use std::cell::RefCell;
use std::rc::Rc;

use crate::random::random_value;

/// Elements of `f32` in the 64 bytes that buffers are aligned to: a cache line, an AVX-512 register.
const ALIGNMENT: usize = 64 / size_of::<f32>();

/// A slice of `f32` whose first element lies at a multiple of 64 bytes.
///
/// It is a vector with up to 15 unused elements in front, so that alignment needs no `unsafe`.
#[derive(Default)]
pub(super) struct AlignedBuffer {
    storage: Vec<f32>,
    start: usize,
    len: usize,
    /// Seed of the random values that all of `storage` behind `start` holds.
    seed: Option<u64>,
    /// The pool that gets the memory back when this is dropped.
    pool: Option<BufferPool>,
}

/// Keeps the memory of one dropped buffer for the next one.
#[derive(Clone, Default)]
pub(super) struct BufferPool(Rc<RefCell<AlignedBuffer>>);

impl AlignedBuffer {
    /// `len` zeros, every page of them touched; `None` where memory runs out.
    pub(super) fn zeroed(len: usize) -> Option<Self> {
        let mut buffer = Self::with_capacity(len)?;
        buffer.storage.resize(buffer.start + len, 0.0);
        buffer.len = len;
        Some(buffer)
    }

    fn with_capacity(len: usize) -> Option<Self> {
        let mut storage: Vec<f32> = Vec::new();
        storage.try_reserve_exact(len.checked_add(ALIGNMENT)?).ok()?;
        let start = storage.as_ptr().align_offset(ALIGNMENT * size_of::<f32>());
        storage.resize(start.min(ALIGNMENT), 0.0);
        Some(Self { start: storage.len(), storage, len: 0, seed: None, pool: None })
    }

    /// A value depends on seed and index alone, so values that are already there are kept.
    fn fill(&mut self, len: usize, seed: u64) {
        if self.seed != Some(seed) {
            self.storage.truncate(self.start);
        }
        let there = self.storage.len() - self.start;
        self.storage.extend((there as u64..len as u64).map(|index| random_value(seed, index)));
        self.len = len;
        self.seed = Some(seed);
    }

    /// Whether `len` elements fit without allocating, which would move the first one.
    fn has_room(&self, len: usize) -> bool {
        len.checked_add(self.start).is_some_and(|needed| needed <= self.storage.capacity())
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        &self.storage[self.start..self.start + self.len]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            *pool.0.borrow_mut() = std::mem::take(self);
        }
    }
}

impl BufferPool {
    /// `len` pseudo-random values in (−1, 1), never zero, the same for the same seed; `None` where
    /// memory runs out.
    pub(super) fn random(&self, len: usize, seed: u64) -> Option<AlignedBuffer> {
        let mut buffer = self.take(len)?;
        buffer.fill(len, seed);
        Some(buffer)
    }

    /// `len` arbitrary values, every page of them touched.
    pub(super) fn scratch(&self, len: usize) -> Option<AlignedBuffer> {
        let mut buffer = self.take(len)?;
        let needed = buffer.start + len;
        if buffer.storage.len() < needed {
            buffer.storage.resize(needed, 0.0);
        }
        buffer.len = len;
        Some(buffer)
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.0.borrow().storage.capacity() * size_of::<f32>()) as u64
    }

    fn take(&self, len: usize) -> Option<AlignedBuffer> {
        let mut buffer = self.0.take();
        if !buffer.has_room(len) {
            // given back before, so that there are never both
            drop(buffer);
            buffer = AlignedBuffer::with_capacity(len)?;
        }
        buffer.pool = Some(self.clone());
        Some(buffer)
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
            assert_eq!(BufferPool::default().random(len, 1).unwrap().as_slice().len(), len);
        }
    }

    #[test]
    fn an_impossible_allocation_is_refused_without_aborting() {
        assert!(AlignedBuffer::zeroed(usize::MAX).is_none());
        assert!(AlignedBuffer::zeroed(isize::MAX as usize / 4 - 100).is_none());
    }

    #[test]
    fn memory_from_a_pool_holds_what_a_new_buffer_would() {
        let pool = BufferPool::default();
        let mut places = Vec::new();
        for (len, seed) in
            [(100, 1), (40, 1), (90, 1), (100, 2), (10, 1), (2000, 1), (0, 1), (1999, 1)]
        {
            let mut buffer = pool.random(len, seed).unwrap();
            let expected = BufferPool::default().random(len, seed).unwrap();
            assert_eq!(buffer.as_slice(), expected.as_slice());
            places.push(buffer.as_mut_slice().as_ptr() as usize);
        }
        assert!(places.iter().all(|place| place % 64 == 0));
        assert!(places[..5].iter().all(|place| *place == places[0]), "{places:?}");
        assert!(pool.bytes() >= 8000);
        assert!(pool.random(usize::MAX, 1).is_none());
        let scratch = BufferPool::default();
        for len in [50, 3, 49, 70] {
            assert_eq!(scratch.scratch(len).unwrap().as_mut_slice().len(), len);
        }
    }
}
