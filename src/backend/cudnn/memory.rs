//! Memory of the device, and memory of the host that it sees. Each is freed when it is dropped.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::rc::Rc;

use cudarc::driver::sys::CUdeviceptr;

use super::driver::{Context, Stream};
use super::error::GpuError;
use crate::random::random_value;
use crate::units::Bytes;

/// Memory of the host that the device sees, too.
pub(super) struct HostMemory {
    context: Rc<Context>,
    pointer: NonNull<c_void>,
    bytes: usize,
}

impl HostMemory {
    /// Uninitialised memory of this size, aligned to a page.
    pub(super) fn new(context: &Rc<Context>, bytes: Bytes) -> Result<Self, GpuError> {
        const CU_MEMHOSTALLOC_DEVICEMAP: u32 = 2;
        let size = usize::try_from(bytes.0).unwrap_or(usize::MAX);
        let mut pointer: *mut c_void = std::ptr::null_mut();
        // SAFETY: the pointer is to a live pointer; the context is current.
        let status = unsafe {
            (context.functions.cuMemHostAlloc)(&raw mut pointer, size, CU_MEMHOSTALLOC_DEVICEMAP)
        };
        context.check("cuMemHostAlloc", status).map_err(|error| {
            let remedy = "end programs on the host that use much memory";
            error.with_detail(bytes).with_remedy(remedy)
        })?;
        let pointer = NonNull::new(pointer).ok_or_else(|| GpuError::Answer {
            call: "cuMemHostAlloc",
            got: "no memory".to_owned(),
            expected: "some",
        })?;
        Ok(Self { context: Rc::clone(context), pointer, bytes: size })
    }

    pub(super) fn pointer(&self) -> NonNull<c_void> {
        self.pointer
    }

    /// Where the device sees it.
    pub(super) fn device_address(&self) -> Result<CUdeviceptr, GpuError> {
        let mut address: CUdeviceptr = 0;
        // SAFETY: the pointer is to a live integer, the memory is the driver's.
        let status = unsafe {
            (self.context.functions.cuMemHostGetDevicePointer_v2)(
                &raw mut address,
                self.pointer.as_ptr(),
                0,
            )
        };
        self.context.check("cuMemHostGetDevicePointer_v2", status)?;
        Ok(address)
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if !self.context.hangs() {
            // SAFETY: it was allocated by `new`, and nobody else frees it. Freeing waits for the device.
            unsafe { (self.context.functions.cuMemFreeHost)(self.pointer.as_ptr()) };
        }
    }
}

/// Memory on the device; nothing is allocated for a size of 0.
pub(super) struct Memory {
    context: Rc<Context>,
    pointer: CUdeviceptr,
    bytes: usize,
    /// Number of the pseudo-random values at its beginning, and their seed.
    random: usize,
    seed: u64,
}

impl Memory {
    /// Uninitialised memory of this size.
    pub(super) fn new(context: &Rc<Context>, bytes: Bytes) -> Result<Self, GpuError> {
        let size = usize::try_from(bytes.0).unwrap_or(usize::MAX);
        let mut pointer: CUdeviceptr = 0;
        if size > 0 {
            // SAFETY: the pointer is to a live integer; the context is current.
            let status = unsafe { (context.functions.cuMemAlloc_v2)(&raw mut pointer, size) };
            context.check("cuMemAlloc_v2", status).map_err(|error| error.with_detail(bytes))?;
        }
        Ok(Self { context: Rc::clone(context), pointer, bytes: size, random: 0, seed: 0 })
    }

    /// Fills the beginning with pseudo-random values of [`random_value`], never zero. A value depends
    /// on seed and index alone, so values that are already there are not written again.
    pub(super) fn randomize(
        &mut self,
        stream: &Stream,
        len: usize,
        seed: u64,
    ) -> Result<(), GpuError> {
        /// Elements per copy: the host need not hold a whole tensor.
        const CHUNK: usize = 1 << 20;
        let there = if self.seed == seed { self.random } else { 0 };
        (self.random, self.seed) = (there, seed);
        let mut values = Vec::with_capacity(CHUNK.min(len.saturating_sub(there)));
        for start in (there..len).step_by(CHUNK) {
            values.clear();
            values.extend((start..len.min(start + CHUNK)).map(|i| random_value(seed, i as u64)));
            self.write(stream, start, &values)?;
            self.random = start + values.len();
        }
        Ok(())
    }

    /// Fills it with a byte, after all work so far.
    pub(super) fn fill(&self, stream: &Stream, byte: u8) -> Result<(), GpuError> {
        self.fill_first(Bytes(self.bytes as u64), stream, byte)
    }

    /// Fills its first bytes with a byte, after all work so far.
    ///
    /// # Panics
    /// Where it has fewer.
    pub(super) fn fill_first(
        &self,
        bytes: Bytes,
        stream: &Stream,
        byte: u8,
    ) -> Result<(), GpuError> {
        assert!(bytes <= self.bytes(), "{bytes} of {}", self.bytes());
        let size = bytes.0 as usize;
        if size == 0 {
            return Ok(());
        }
        // SAFETY: the memory is as long as it says and lives until the stream is synchronised,
        // because freeing it synchronises.
        let status = unsafe {
            (self.context.functions.cuMemsetD8Async)(self.pointer, byte, size, stream.raw())
        };
        self.context.check("cuMemsetD8Async", status)
    }

    /// Copies it to other memory, as much as fits, after all work so far.
    pub(super) fn copy_to(&self, stream: &Stream, other: &Self) -> Result<(), GpuError> {
        let bytes = self.bytes.min(other.bytes);
        // SAFETY: both are at least so long, and live until the stream is synchronised, because freeing
        // them synchronises.
        let status = unsafe {
            (self.context.functions.cuMemcpyDtoDAsync_v2)(
                other.pointer,
                self.pointer,
                bytes,
                stream.raw(),
            )
        };
        self.context.check("cuMemcpyDtoDAsync_v2", status)
    }

    /// Copies it to the host, as much as fits, after all work so far.
    pub(super) fn copy_to_host(&self, stream: &Stream, host: &HostMemory) -> Result<(), GpuError> {
        let bytes = self.bytes.min(host.bytes);
        // SAFETY: as above.
        let status = unsafe {
            (self.context.functions.cuMemcpyDtoHAsync_v2)(
                host.pointer.as_ptr(),
                self.pointer,
                bytes,
                stream.raw(),
            )
        };
        self.context.check("cuMemcpyDtoHAsync_v2", status)
    }

    /// Moves the memory out and leaves an empty one.
    pub(super) fn take(&mut self) -> Self {
        let context = Rc::clone(&self.context);
        std::mem::replace(self, Self { context, pointer: 0, bytes: 0, random: 0, seed: 0 })
    }

    pub(super) fn raw(&self) -> CUdeviceptr {
        self.pointer
    }

    pub(super) fn bytes(&self) -> Bytes {
        Bytes(self.bytes as u64)
    }

    /// Writes elements from `index` on, in the stream's order, and waits until they are there: a copy
    /// outside of the stream could still be under way when the stream's next work reads it.
    fn write(&self, stream: &Stream, index: usize, values: &[f32]) -> Result<(), GpuError> {
        let (offset, size) = self.range(index, values.len());
        // SAFETY: `range` has checked that all of it lies within this memory; the values stay as
        // they are until the stream is synchronised, below.
        let status = unsafe {
            (self.context.functions.cuMemcpyHtoDAsync_v2)(
                self.pointer + offset,
                values.as_ptr().cast::<c_void>(),
                size,
                stream.raw(),
            )
        };
        self.context.check("cuMemcpyHtoDAsync_v2", status)?;
        stream.synchronize()
    }

    /// The element at `index`, when all work that writes it is done.
    pub(super) fn read(&self, index: usize) -> Result<f32, GpuError> {
        let mut value = 0f32;
        let (offset, size) = self.range(index, 1);
        // SAFETY: `range` has checked that the element lies within this memory.
        let status = unsafe {
            (self.context.functions.cuMemcpyDtoH_v2)(
                (&raw mut value).cast::<c_void>(),
                self.pointer + offset,
                size,
            )
        };
        self.context.check("cuMemcpyDtoH_v2", status)?;
        Ok(value)
    }

    /// Offset and size in bytes of elements within this memory.
    ///
    /// # Panics
    /// Where they are not within it.
    fn range(&self, index: usize, len: usize) -> (u64, usize) {
        let end = (index + len) * size_of::<f32>();
        assert!(end <= self.bytes, "elements {index}..{} of {} bytes", index + len, self.bytes);
        ((index * size_of::<f32>()) as u64, len * size_of::<f32>())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.bytes > 0 && !self.context.hangs() {
            // SAFETY: it was allocated by `new`, nobody else frees it, and freeing waits for work
            // that uses it.
            unsafe { (self.context.functions.cuMemFree_v2)(self.pointer) };
        }
    }
}
