//! The driver's objects, each released when it is dropped: the context of a device, its stream and
//! events. Memory is one, too, with a file of its own.
//!
//! All of it stays on the thread that opened the context. After a launch that never ended nothing
//! is released: the driver would wait for it for ever.

use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent, CUstream,
};

use super::error::{GpuError, Status};
use super::library::{Driver, DriverFunctions};
use crate::units::Bytes;

const CUDA_ERROR_NOT_READY: Status = 600;

/// The primary context of a device, current on the thread that opened it.
pub(super) struct Context {
    pub(super) functions: DriverFunctions,
    device: CUdevice,
    /// Whether a launch has timed out.
    hangs: Cell<bool>,
}

impl Context {
    /// Makes the primary context of device `index` current.
    pub(super) fn open(driver: &Driver, index: u32) -> Result<Rc<Self>, GpuError> {
        let functions = driver.functions;
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
        let opened = Self { functions, device, hangs: Cell::new(false) };
        // SAFETY: the context was retained just now.
        check("cuCtxSetCurrent", unsafe { (functions.cuCtxSetCurrent)(context) })?;
        Ok(Rc::new(opened))
    }

    pub(super) fn check(&self, call: &'static str, status: Status) -> Result<(), GpuError> {
        self.functions.check(call, status)
    }

    /// Whether a launch has timed out.
    pub(super) fn hangs(&self) -> bool {
        self.hangs.get()
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
        self.synchronize_after(Duration::ZERO)
    }

    /// The same for work that is known to take so long.
    pub(super) fn synchronize_after(&self, expected: Duration) -> Result<(), GpuError> {
        let timeout = self.timeout.saturating_add(expected);
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

    /// Whether all work so far is done within the timeout; if it is not, the device does not count as hanging.
    pub(super) fn is_done_in_time(&self) -> Result<bool, GpuError> {
        let start = Instant::now();
        loop {
            // SAFETY: the stream lives.
            match unsafe { (self.context.functions.cuStreamQuery)(self.stream) } {
                CUDA_ERROR_NOT_READY if start.elapsed() >= self.timeout => return Ok(false),
                CUDA_ERROR_NOT_READY => std::thread::sleep(Duration::from_micros(50)),
                status => return self.context.check("cuStreamQuery", status).map(|()| true),
            }
        }
    }

    /// Waits, after all work so far, until the 32-bit word at `address`, less `value`, is at least 0 as a
    /// signed number.
    pub(super) fn wait_for(&self, address: CUdeviceptr, value: u32) -> Result<(), GpuError> {
        const CU_STREAM_WAIT_VALUE_GEQ: u32 = 0;
        // SAFETY: the stream lives; an address that is none is refused.
        let status = unsafe {
            (self.context.functions.cuStreamWaitValue32_v2)(
                self.stream,
                address,
                value,
                CU_STREAM_WAIT_VALUE_GEQ,
            )
        };
        self.context.check("cuStreamWaitValue32_v2", status)
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
