//! The driver's objects, each released when it is dropped: the context of a device, its stream,
//! events and memory.
//!
//! All of it stays on the thread that opened the context. After a launch that never ended nothing
//! is released: the driver would wait for it for ever.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUstream,
};

use super::error::{GpuError, Status};
use super::library::{DriverFunctions, load_driver};
use crate::random::random_value;
use crate::units::Bytes;

const CUDA_ERROR_NOT_READY: Status = 600;

/// The primary context of a device, current on the thread that opened it.
pub(super) struct Context {
    functions: DriverFunctions,
    device: CUdevice,
    cuda_version: usize,
    /// Whether a launch has timed out.
    hangs: Cell<bool>,
}

impl Context {
    /// Loads the driver and makes the primary context of device `index` current.
    pub(super) fn open(index: u32) -> Result<Rc<Self>, GpuError> {
        let (functions, cuda_version) = load_driver()?;
        let check = |call, status| functions.check(call, status);
        // SAFETY: initialisation takes no pointer; its flags must be 0.
        check("cuInit", unsafe { (functions.cuInit)(0) })?;
        let mut count: c_int = 0;
        // SAFETY: the pointer is to a live integer.
        check("cuDeviceGetCount", unsafe { (functions.cuDeviceGetCount)(&raw mut count) })?;
        let count = u32::try_from(count).unwrap_or(0);
        let ordinal = c_int::try_from(index).ok().filter(|_| index < count);
        let ordinal = ordinal.ok_or(GpuError::NoSuchDevice { index, count })?;
        let mut device: CUdevice = 0;
        // SAFETY: the pointer is to a live integer, the ordinal below the count.
        check("cuDeviceGet", unsafe { (functions.cuDeviceGet)(&raw mut device, ordinal) })?;
        let mut context: CUcontext = std::ptr::null_mut();
        // SAFETY: the pointer is to a live pointer, the device one that the driver gave out.
        check("cuDevicePrimaryCtxRetain", unsafe {
            (functions.cuDevicePrimaryCtxRetain)(&raw mut context, device)
        })?;
        // from here on it is released by dropping
        let opened = Self { functions, device, cuda_version, hangs: Cell::new(false) };
        // SAFETY: the context was retained just now.
        check("cuCtxSetCurrent", unsafe { (functions.cuCtxSetCurrent)(context) })?;
        Ok(Rc::new(opened))
    }

    /// The newest CUDA version that the driver supports, as `cuDriverGetVersion` encodes it.
    pub(super) fn cuda_version(&self) -> usize {
        self.cuda_version
    }

    fn check(&self, call: &'static str, status: Status) -> Result<(), GpuError> {
        self.functions.check(call, status)
    }

    pub(super) fn name(&self) -> Result<String, GpuError> {
        self.text("cuDeviceGetName", self.functions.cuDeviceGetName)
    }

    pub(super) fn pci_bus_id(&self) -> Result<String, GpuError> {
        self.text("cuDeviceGetPCIBusId", self.functions.cuDeviceGetPCIBusId)
    }

    /// A zero-terminated string that a function of the driver writes.
    fn text(
        &self,
        call: &'static str,
        function: unsafe extern "C" fn(*mut c_char, c_int, CUdevice) -> Status,
    ) -> Result<String, GpuError> {
        let mut bytes = [0u8; 256];
        // SAFETY: the buffer is as long as is said.
        let status =
            unsafe { function(bytes.as_mut_ptr().cast(), bytes.len() as c_int, self.device) };
        self.check(call, status)?;
        let text: Vec<u8> = bytes.into_iter().take_while(|byte| *byte != 0).collect();
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// `GPU-` and the number, as `nvidia-smi -L` writes it; of a part of a card (MIG) the part's
    /// number.
    pub(super) fn uuid(&self) -> Result<String, GpuError> {
        let mut bytes = [0u8; 16];
        // SAFETY: a UUID has 16 bytes.
        let status = unsafe { (self.functions.cuDeviceGetUuid_v2)(&raw mut bytes, self.device) };
        self.check("cuDeviceGetUuid_v2", status)?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let fields = [0..4, 4..6, 6..8, 8..10, 10..16].map(|range| hex(&bytes[range]));
        Ok(format!("GPU-{}", fields.join("-")))
    }

    pub(super) fn attribute(&self, attribute: CUdevice_attribute) -> Result<u32, GpuError> {
        let mut value: c_int = 0;
        // SAFETY: the pointer is to a live integer.
        let status = unsafe {
            (self.functions.cuDeviceGetAttribute)(&raw mut value, attribute as u32, self.device)
        };
        self.check("cuDeviceGetAttribute", status)?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    pub(super) fn memory(&self) -> Result<Bytes, GpuError> {
        let mut bytes = 0;
        // SAFETY: the pointer is to a live integer.
        let status = unsafe { (self.functions.cuDeviceTotalMem_v2)(&raw mut bytes, self.device) };
        self.check("cuDeviceTotalMem_v2", status)?;
        Ok(Bytes(bytes as u64))
    }

    pub(super) fn free_memory(&self) -> Result<Bytes, GpuError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the pointers are to live integers.
        let status = unsafe { (self.functions.cuMemGetInfo_v2)(&raw mut free, &raw mut total) };
        self.check("cuMemGetInfo_v2", status)?;
        Ok(Bytes(free as u64))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if !self.hangs.get() {
            // SAFETY: it was retained once, and everything made in it holds an `Rc` of it. No context
            // is current afterwards: releasing alone would leave a dead one so.
            unsafe {
                (self.functions.cuCtxSetCurrent)(std::ptr::null_mut());
                (self.functions.cuDevicePrimaryCtxRelease_v2)(self.device);
            }
        }
    }
}

pub(super) struct Stream {
    context: Rc<Context>,
    stream: CUstream,
    timeout: Duration,
}

impl Stream {
    /// A stream that does not wait for the default one. A launch that takes longer than `timeout`
    /// counts as hanging.
    pub(super) fn new(context: &Rc<Context>, timeout: Duration) -> Result<Self, GpuError> {
        const CU_STREAM_NON_BLOCKING: u32 = 1;
        let mut stream: CUstream = std::ptr::null_mut();
        // SAFETY: the pointer is to a live pointer; the context is current.
        let status =
            unsafe { (context.functions.cuStreamCreate)(&raw mut stream, CU_STREAM_NON_BLOCKING) };
        context.check("cuStreamCreate", status)?;
        Ok(Self { context: Rc::clone(context), stream, timeout })
    }

    pub(super) fn raw(&self) -> CUstream {
        self.stream
    }

    /// Waits until all work so far is done. It polls, as `cuStreamSynchronize` does by default, but
    /// gives up after the timeout.
    pub(super) fn synchronize(&self) -> Result<(), GpuError> {
        self.synchronize_launches(1)
    }

    /// The same after `launches` of them.
    pub(super) fn synchronize_launches(&self, launches: u32) -> Result<(), GpuError> {
        let timeout = self.timeout.saturating_mul(launches);
        /// Queries between looks at the clock: it takes about as long as a query.
        const QUERIES: u32 = 256;
        if self.hangs() {
            return Err(GpuError::TimedOut { after: self.timeout });
        }
        let mut start = None;
        loop {
            for _ in 0..QUERIES {
                // SAFETY: the stream lives.
                match unsafe { (self.context.functions.cuStreamQuery)(self.stream) } {
                    CUDA_ERROR_NOT_READY => std::hint::spin_loop(),
                    status => return self.context.check("cuStreamQuery", status),
                }
            }
            if start.get_or_insert_with(Instant::now).elapsed() >= timeout {
                self.context.hangs.set(true);
                return Err(GpuError::TimedOut { after: timeout });
            }
        }
    }

    pub(super) fn hangs(&self) -> bool {
        self.context.hangs.get()
    }

    /// Fills memory with a byte, after all work so far.
    pub(super) fn fill(&self, memory: &Memory, byte: u8) -> Result<(), GpuError> {
        if memory.bytes == 0 {
            return Ok(());
        }
        // SAFETY: the memory is as long as it says and lives until the stream is synchronised,
        // because freeing it synchronises.
        let status = unsafe {
            (self.context.functions.cuMemsetD8Async)(
                memory.pointer,
                byte,
                memory.bytes,
                self.stream,
            )
        };
        self.context.check("cuMemsetD8Async", status)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.hangs() {
            // SAFETY: it was created by `new`, and nobody else destroys it.
            unsafe { (self.context.functions.cuStreamDestroy_v2)(self.stream) };
        }
    }
}

pub(super) struct Event {
    context: Rc<Context>,
    event: CUevent,
}

impl Event {
    pub(super) fn new(context: &Rc<Context>) -> Result<Self, GpuError> {
        const CU_EVENT_DEFAULT: u32 = 0;
        let mut event: CUevent = std::ptr::null_mut();
        // SAFETY: the pointer is to a live pointer; the context is current.
        let status = unsafe { (context.functions.cuEventCreate)(&raw mut event, CU_EVENT_DEFAULT) };
        context.check("cuEventCreate", status)?;
        Ok(Self { context: Rc::clone(context), event })
    }

    /// Marks the moment at which all work so far is done.
    pub(super) fn record(&self, stream: &Stream) -> Result<(), GpuError> {
        // SAFETY: both live.
        let status = unsafe { (self.context.functions.cuEventRecord)(self.event, stream.stream) };
        self.context.check("cuEventRecord", status)
    }

    /// Nanoseconds from this event to a later one; both have happened.
    pub(super) fn until(&self, end: &Self) -> Result<f64, GpuError> {
        let mut milliseconds = f32::NAN;
        // SAFETY: the pointer is to a live number, both events live.
        let status = unsafe {
            (self.context.functions.cuEventElapsedTime)(
                &raw mut milliseconds,
                self.event,
                end.event,
            )
        };
        self.context.check("cuEventElapsedTime", status)?;
        Ok(f64::from(milliseconds) * 1e6)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.context.hangs.get() {
            // SAFETY: it was created by `new`, and nobody else destroys it.
            unsafe { (self.context.functions.cuEventDestroy_v2)(self.event) };
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
                stream.stream,
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
        if self.bytes > 0 && !self.context.hangs.get() {
            // SAFETY: it was allocated by `new`, nobody else frees it, and freeing waits for work
            // that uses it.
            unsafe { (self.context.functions.cuMemFree_v2)(self.pointer) };
        }
    }
}
