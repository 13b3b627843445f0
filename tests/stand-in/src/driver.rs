//! The functions of `libcuda.so.1`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::capture::Captured;
use crate::ffi::{In, Out};
use crate::memory::{Memory, Refused};
use crate::state::{Api, NEVER, State, WHEN_RELEASED, call, lock};

/// What the device is called, everywhere.
pub const DEVICE_NAME: &str = "stand-in (not a GPU)";
/// `stand-in` in the first bytes.
pub const DEVICE_UUID: [u8; 16] = *b"stand-in\x00\x00\x00\x00\x00\x00\x00\x01";
pub const DEVICE_PCI_BUS_ID: &str = "0000:01:00.0";

pub const INVALID_VALUE: i32 = 1;
const OUT_OF_MEMORY: i32 = 2;
const NOT_INITIALIZED: i32 = 3;
const NO_DEVICE: i32 = 100;
const INVALID_DEVICE: i32 = 101;
const INVALID_CONTEXT: i32 = 201;
pub const INVALID_HANDLE: i32 = 400;
const NOT_READY: i32 = 600;
const ILLEGAL_ADDRESS: i32 = 700;
pub const LAUNCH_FAILED: i32 = 719;
const NOT_SUPPORTED: i32 = 801;
const PRIMARY_CONTEXT_ACTIVE: i32 = 708;
const CONTEXT_IS_DESTROYED: i32 = 709;

/// What a launch takes that was queued before the device began with it.
const QUEUED_NS: f32 = 1500.0;

const ERRORS: [(i32, &CStr, &CStr); 15] = [
    (0, c"CUDA_SUCCESS", c"no error"),
    (INVALID_VALUE, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (OUT_OF_MEMORY, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (NOT_INITIALIZED, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (NO_DEVICE, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
    (INVALID_DEVICE, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (INVALID_CONTEXT, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (INVALID_HANDLE, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (NOT_READY, c"CUDA_ERROR_NOT_READY", c"device not ready"),
    (ILLEGAL_ADDRESS, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (
        PRIMARY_CONTEXT_ACTIVE,
        c"CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE",
        c"cannot set while device is active in this process",
    ),
    (CONTEXT_IS_DESTROYED, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"context is destroyed"),
    (LAUNCH_FAILED, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure"),
    (NOT_SUPPORTED, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
    (999, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];

/// `CU_EVENT_DISABLE_TIMING`
const DISABLE_TIMING: u32 = 2;

thread_local! {
    /// Null, or the context that this thread's calls go to.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// Host memory that the device sees, at the same address: words that the client writes while we read.
struct HostMemory(Box<[AtomicU32]>);

/// A stream that waits for the word at an address to reach a value.
struct Hold {
    stream: u64,
    address: u64,
    value: u32,
}

struct Event {
    timed: bool,
    recorded: Option<Instant>,
    /// Recorded on a stream that was held back.
    queued: bool,
    /// Recorded on a stream that hangs.
    never: bool,
}

/// What the driver keeps.
#[derive(Default)]
pub struct Driver {
    initialized: bool,
    context: u64,
    pub retains: u64,
    pub streams: BTreeSet<u64>,
    events: BTreeMap<u64, Event>,
    host_memory: BTreeMap<u64, HostMemory>,
    /// The stream that is captured, and what was launched on it so far.
    pub capture: Option<(u64, Vec<Captured>)>,
    pub graphs: BTreeMap<u64, Vec<Captured>>,
    holds: Vec<Hold>,
    pub memory: Memory,
    pub executions: u64,
    tried_allocations: u64,
    elapsed_calls: u64,
}

impl Driver {
    pub fn events(&self) -> usize {
        self.events.len()
    }

    pub fn graphs(&self) -> usize {
        self.graphs.len()
    }

    pub fn host_allocations(&self) -> usize {
        self.host_memory.len()
    }

    /// Forgets what is held no more, and tells how many streams still are.
    pub fn held_streams(&mut self) -> usize {
        let memory = &self.host_memory;
        let word = |address: u64| {
            let (start, words) = memory.range(..=address).next_back()?;
            let word = words.0.get((address - start) as usize / 4)?;
            Some(word.load(Ordering::Acquire))
        };
        self.holds.retain(|hold| {
            // as the driver compares: the difference as a signed number
            word(hold.address).is_some_and(|word| (word.wrapping_sub(hold.value) as i32) < 0)
        });
        self.holds.len()
    }

    fn holds(&mut self, stream: u64) -> bool {
        self.held_streams() > 0 && self.holds.iter().any(|hold| hold.stream == stream)
    }
}

impl State {
    /// The context is broken for good, as after an illegal access.
    pub fn dead(&self) -> bool {
        self.faults.sticky.is_some_and(|n| self.driver.executions >= n)
    }

    /// Launched work never ends.
    pub fn hangs(&self) -> bool {
        self.faults.hang.is_some_and(|n| self.driver.executions >= n)
    }

    fn initialized(&self) -> Result<(), i32> {
        self.driver.initialized.then_some(()).ok_or(NOT_INITIALIZED)
    }

    fn device(&self, device: i32) -> Result<(), i32> {
        self.initialized()?;
        if device == 0 { Ok(()) } else { Err(INVALID_DEVICE) }
    }

    /// There is a current context, alive or dead.
    pub fn has_context(&self) -> Result<(), i32> {
        self.initialized()?;
        match CURRENT.get() {
            0 => Err(INVALID_CONTEXT),
            current if self.driver.retains > 0 && current == self.driver.context => Ok(()),
            _ => Err(CONTEXT_IS_DESTROYED),
        }
    }

    pub fn context(&self) -> Result<(), i32> {
        self.has_context()?;
        if self.dead() { Err(ILLEGAL_ADDRESS) } else { Ok(()) }
    }

    /// Null and the two special streams always exist.
    pub fn stream(&mut self, stream: u64) -> Result<(), i32> {
        if stream <= 2 || self.driver.streams.contains(&stream) {
            return Ok(());
        }
        Err(self.not_live(stream, INVALID_HANDLE))
    }

    fn event(&mut self, event: u64) -> Result<&mut Event, i32> {
        if !self.driver.events.contains_key(&event) {
            return Err(self.not_live(event, INVALID_HANDLE));
        }
        self.driver.events.get_mut(&event).ok_or(INVALID_HANDLE)
    }

    fn refused(&mut self, refused: Refused) -> i32 {
        self.misuse.uses_after_release += u64::from(refused == Refused::Freed);
        INVALID_VALUE
    }
}

pub fn driver(name: &'static str, body: impl FnOnce(&mut State) -> Result<(), i32>) -> i32 {
    call(Api::Driver, name, body)
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(flags: u32) -> i32 {
    driver("cuInit", |state| {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        if state.faults.no_device {
            return Err(NO_DEVICE);
        }
        state.driver.initialized = true;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: Out<i32>) -> i32 {
    driver("cuDriverGetVersion", |state| version.put(state.faults.driver_version, INVALID_VALUE))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: Out<i32>) -> i32 {
    driver("cuDeviceGetCount", |state| {
        state.initialized()?;
        count.put(1, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: Out<i32>, ordinal: i32) -> i32 {
    driver("cuDeviceGet", |state| {
        state.device(ordinal)?;
        device.put(ordinal, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(name: Out<c_char>, len: i32, device: i32) -> i32 {
    driver("cuDeviceGetName", |state| {
        state.device(device)?;
        if len <= 0 || name.is_null() {
            return Err(INVALID_VALUE);
        }
        // unlike the bus id, a name is cut where there is too little room
        let cut = &DEVICE_NAME[..DEVICE_NAME.len().min(len as usize - 1)];
        name.put_text(cut, len as usize).then_some(()).ok_or(INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: Out<i32>, attribute: i32, device: i32) -> i32 {
    const ATTRIBUTES: [(i32, i32); 21] = [
        (1, 1024),        // threads per block
        (2, 1024),        // block, x
        (3, 1024),        // block, y
        (4, 64),          // block, z
        (5, 0x7fff_ffff), // grid, x
        (6, 65535),       // grid, y
        (7, 65535),       // grid, z
        (8, 49152),       // shared memory per block
        (10, 32),         // warp
        (12, 65536),      // registers per block
        (13, 2_520_000),  // clock, kHz
        (16, 128),        // multiprocessors
        (31, 1),          // concurrent kernels
        (32, 0),          // ECC
        (33, 1),          // PCI bus
        (36, 10_501_000), // memory clock, kHz
        (37, 384),        // memory bus, bits
        (38, 4 << 20),    // L2 cache, bytes: small, as all of it is flushed and copied
        (39, 1536),       // threads per multiprocessor
        (75, 8),          // compute capability, major
        (76, 9),          // compute capability, minor
    ];
    driver("cuDeviceGetAttribute", |state| {
        state.device(device)?;
        if attribute <= 0 {
            return Err(INVALID_VALUE);
        }
        let known = ATTRIBUTES.iter().find(|(number, _)| *number == attribute);
        value.put(known.map_or(0, |(_, value)| *value), INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) -> i32 {
    driver("cuDeviceTotalMem_v2", |state| {
        state.device(device)?;
        bytes.put(state.faults.memory as usize, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: i32) -> i32 {
    driver("cuDeviceGetUuid_v2", |state| {
        state.device(device)?;
        uuid.put(DEVICE_UUID, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: i32) -> i32 {
    driver("cuDeviceGetUuid", |state| {
        state.device(device)?;
        uuid.put(DEVICE_UUID, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetPCIBusId(text: Out<c_char>, len: i32, device: i32) -> i32 {
    driver("cuDeviceGetPCIBusId", |state| {
        state.device(device)?;
        let fits = text.put_text(DEVICE_PCI_BUS_ID, len.max(0) as usize);
        fits.then_some(()).ok_or(INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(context: Out<u64>, device: i32) -> i32 {
    driver("cuDevicePrimaryCtxRetain", |state| {
        state.device(device)?;
        if context.is_null() {
            return Err(INVALID_VALUE);
        }
        if state.driver.retains == 0 {
            state.driver.context = state.opaque();
        }
        state.driver.retains += 1;
        context.put(state.driver.context, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: i32) -> i32 {
    driver("cuDevicePrimaryCtxRelease_v2", |state| {
        state.device(device)?;
        if state.driver.retains == 0 {
            return Err(state.not_released(state.driver.context, INVALID_CONTEXT));
        }
        state.driver.retains -= 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: u64) -> i32 {
    driver("cuCtxSetCurrent", |state| {
        state.initialized()?;
        let live = state.driver.retains > 0 && context == state.driver.context;
        if context != 0 && !live {
            return Err(state.not_live(context, INVALID_CONTEXT));
        }
        CURRENT.set(context);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCurrent(context: Out<u64>) -> i32 {
    driver("cuCtxGetCurrent", |state| {
        state.initialized()?;
        context.put(CURRENT.get(), INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> i32 {
    driver("cuCtxSynchronize", |state| {
        state.context()?;
        if state.hangs() { Err(NEVER) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(stream: Out<u64>, flags: u32) -> i32 {
    driver("cuStreamCreate", |state| {
        state.context()?;
        if flags > 1 || stream.is_null() {
            return Err(INVALID_VALUE);
        }
        let new = state.opaque();
        state.driver.streams.insert(new);
        stream.put(new, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(stream: u64) -> i32 {
    driver("cuStreamDestroy_v2", |state| {
        state.has_context()?;
        if !state.driver.streams.remove(&stream) {
            return Err(state.not_released(stream, INVALID_HANDLE));
        }
        state.context()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(stream: u64) -> i32 {
    driver("cuStreamSynchronize", |state| {
        state.context()?;
        state.stream(stream)?;
        match () {
            () if state.hangs() => Err(NEVER),
            () if state.driver.holds(stream) => Err(WHEN_RELEASED),
            () => Ok(()),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(stream: u64) -> i32 {
    driver("cuStreamQuery", |state| {
        state.context()?;
        state.stream(stream)?;
        if state.hangs() || state.driver.holds(stream) { Err(NOT_READY) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitValue32_v2(stream: u64, address: u64, value: u32, flags: u32) -> i32 {
    driver("cuStreamWaitValue32_v2", |state| {
        state.context()?;
        state.stream(stream)?;
        if state.faults.no_stream_wait {
            return Err(NOT_SUPPORTED);
        }
        let memory = state.driver.host_memory.range(..=address).next_back();
        let is_inside = |(start, words): (&u64, &HostMemory)| {
            address.is_multiple_of(4) && address < start + 4 * words.0.len() as u64
        };
        if flags != 0 || !memory.is_some_and(is_inside) {
            return Err(INVALID_VALUE);
        }
        state.driver.holds.push(Hold { stream, address, value });
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostAlloc(address: Out<u64>, size: usize, flags: u32) -> i32 {
    driver("cuMemHostAlloc", |state| {
        state.context()?;
        if size == 0 || flags > 7 || address.is_null() {
            return Err(INVALID_VALUE);
        }
        let words = (0..size.div_ceil(4)).map(|_| AtomicU32::new(0)).collect::<Box<[_]>>();
        let at = words.as_ptr() as u64;
        state.driver.host_memory.insert(at, HostMemory(words));
        address.put(at, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostGetDevicePointer_v2(address: Out<u64>, memory: u64, flags: u32) -> i32 {
    driver("cuMemHostGetDevicePointer_v2", |state| {
        state.context()?;
        if flags != 0 || !state.driver.host_memory.contains_key(&memory) {
            return Err(INVALID_VALUE);
        }
        address.put(memory, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(memory: u64) -> i32 {
    driver("cuMemFreeHost", |state| {
        state.has_context()?;
        // a stream that waits for what is there would wait for ever
        state.driver.held_streams();
        let waits = |hold: &Hold| {
            let words = state.driver.host_memory.get(&memory);
            words.is_some_and(|words| {
                (memory..memory + 4 * words.0.len() as u64).contains(&hold.address)
            })
        };
        let waiting = state.driver.holds.iter().filter(|hold| waits(hold)).count() as u64;
        state.misuse.uses_after_release += waiting;
        if state.driver.host_memory.remove(&memory).is_none() {
            return Err(state.not_released(memory, INVALID_VALUE));
        }
        state.context()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(event: Out<u64>, flags: u32) -> i32 {
    driver("cuEventCreate", |state| {
        state.context()?;
        if flags > 7 || event.is_null() {
            return Err(INVALID_VALUE);
        }
        let new = state.opaque();
        let timed = flags & DISABLE_TIMING == 0;
        state
            .driver
            .events
            .insert(new, Event { timed, recorded: None, queued: false, never: false });
        event.put(new, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: u64) -> i32 {
    driver("cuEventDestroy_v2", |state| {
        state.has_context()?;
        if state.driver.events.remove(&event).is_none() {
            return Err(state.not_released(event, INVALID_HANDLE));
        }
        state.context()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: u64, stream: u64) -> i32 {
    driver("cuEventRecord", |state| {
        state.context()?;
        state.stream(stream)?;
        let (never, queued) = (state.hangs(), state.driver.holds(stream));
        let event = state.event(event)?;
        event.recorded = Some(Instant::now());
        event.queued = queued;
        event.never = never;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: u64) -> i32 {
    driver("cuEventQuery", |state| {
        state.context()?;
        if state.event(event)?.never { Err(NOT_READY) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: u64) -> i32 {
    driver("cuEventSynchronize", |state| {
        state.context()?;
        if state.event(event)?.never { Err(NEVER) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime(milliseconds: Out<f32>, start: u64, end: u64) -> i32 {
    driver("cuEventElapsedTime", |state| {
        state.context()?;
        let mut times = [Instant::now(); 2];
        let mut queued = true;
        if state.driver.held_streams() > 0 {
            return Err(NOT_READY);
        }
        for (time, event) in times.iter_mut().zip([start, end]) {
            let event = state.event(event)?;
            queued &= event.queued;
            *time = event.recorded.filter(|_| event.timed).ok_or(INVALID_HANDLE)?;
            if event.never {
                return Err(NOT_READY);
            }
        }
        state.driver.elapsed_calls += 1;
        let faulty = state.driver.elapsed_calls >= state.faults.event_time_from;
        let [start, end] = times;
        // a clock too coarse for two records must not make a time of zero: that is a fault
        let forwards = end.saturating_duration_since(start).as_nanos().max(1) as f32;
        let backwards = start.saturating_duration_since(end).as_nanos() as f32;
        let elapsed = match () {
            () if backwards > 0.0 => -backwards,
            // nothing between them waited for the host
            () if queued => QUEUED_NS,
            () => forwards,
        } / 1e6;
        let fault = state.faults.event_time.filter(|_| faulty);
        milliseconds.put(fault.unwrap_or(elapsed), INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(address: Out<u64>, size: usize) -> i32 {
    driver("cuMemAlloc_v2", |state| {
        state.context()?;
        if size == 0 || address.is_null() {
            return Err(INVALID_VALUE);
        }
        state.driver.tried_allocations += 1;
        let memory = &mut state.driver.memory;
        let free = state.faults.memory.saturating_sub(memory.bytes);
        if state.faults.fail_allocation == Some(state.driver.tried_allocations)
            || size as u64 > free
        {
            return Err(OUT_OF_MEMORY);
        }
        address.put(memory.allocate(size as u64).ok_or(OUT_OF_MEMORY)?, INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> i32 {
    driver("cuMemFree_v2", |state| {
        state.has_context()?;
        if address != 0 && state.driver.memory.free(address).is_err() {
            return Err(state.not_released(address, INVALID_VALUE));
        }
        state.context()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> i32 {
    driver("cuMemGetInfo_v2", |state| {
        state.context()?;
        let all = state.faults.memory;
        total.put(all as usize, INVALID_VALUE)?;
        free.put(all.saturating_sub(state.driver.memory.bytes) as usize, INVALID_VALUE)
    })
}

fn copy_to_device(state: &mut State, to: u64, from: &In<u8>, size: usize) -> Result<(), i32> {
    if size == 0 {
        return Ok(());
    }
    if from.address().is_null() {
        return Err(INVALID_VALUE);
    }
    let to = state.driver.memory.write(to, size as u64).map_err(|r| state.refused(r))?;
    // SAFETY: `to` was found inside an allocation; the caller vouches for `from`
    unsafe { to.copy_from(from.address(), size) };
    Ok(())
}

fn copy_to_host(state: &mut State, to: &Out<u8>, from: u64, size: usize) -> Result<(), i32> {
    if size == 0 {
        return Ok(());
    }
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    let from = state.driver.memory.read(from, size as u64).map_err(|r| state.refused(r))?;
    // SAFETY: found inside an allocation, whose bytes are all initialised
    to.put_all(unsafe { std::slice::from_raw_parts(from, size) });
    Ok(())
}

pub fn fill(state: &mut State, to: u64, byte: u8, size: usize) -> Result<(), i32> {
    if size == 0 {
        return Ok(());
    }
    let to = state.driver.memory.write(to, size as u64).map_err(|r| state.refused(r))?;
    // SAFETY: found inside an allocation
    unsafe { to.write_bytes(byte, size) };
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoD_v2(to: u64, from: In<u8>, size: usize) -> i32 {
    driver("cuMemcpyHtoD_v2", |state| {
        state.context()?;
        copy_to_device(state, to, &from, size)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoH_v2(to: Out<u8>, from: u64, size: usize) -> i32 {
    driver("cuMemcpyDtoH_v2", |state| {
        state.context()?;
        copy_to_host(state, &to, from, size)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: In<u8>, size: usize, stream: u64) -> i32 {
    driver("cuMemcpyHtoDAsync_v2", |state| {
        state.context()?;
        state.stream(stream)?;
        copy_to_device(state, to, &from, size)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(to: Out<u8>, from: u64, size: usize, stream: u64) -> i32 {
    driver("cuMemcpyDtoHAsync_v2", |state| {
        state.context()?;
        state.stream(stream)?;
        copy_to_host(state, &to, from, size)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8_v2(to: u64, byte: u8, size: usize) -> i32 {
    driver("cuMemsetD8_v2", |state| {
        state.context()?;
        fill(state, to, byte, size)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, size: usize, stream: u64) -> i32 {
    driver("cuMemcpyDtoDAsync_v2", |state| {
        state.context()?;
        state.stream(stream)?;
        if size == 0 {
            return Ok(());
        }
        let from = state.driver.memory.read(from, size as u64).map_err(|r| state.refused(r))?;
        let to = state.driver.memory.write(to, size as u64).map_err(|r| state.refused(r))?;
        // SAFETY: both were found inside allocations, whose bytes are all initialised
        unsafe { to.copy_from(from, size) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(to: u64, byte: u8, size: usize, stream: u64) -> i32 {
    driver("cuMemsetD8Async", |state| {
        state.context()?;
        state.stream(stream)?;
        state.launch(stream, Captured::Fill { to, byte, size })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(error: i32, text: Out<*const c_char>) -> i32 {
    lock().count("cuGetErrorName");
    let known = ERRORS.iter().find(|(code, ..)| *code == error);
    let name = known.map_or(std::ptr::null(), |(_, name, _)| name.as_ptr());
    text.put(name, INVALID_VALUE).err().or(known.is_none().then_some(INVALID_VALUE)).unwrap_or(0)
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorString(error: i32, text: Out<*const c_char>) -> i32 {
    lock().count("cuGetErrorString");
    let known = ERRORS.iter().find(|(code, ..)| *code == error);
    let string = known.map_or(std::ptr::null(), |(_, _, string)| string.as_ptr());
    text.put(string, INVALID_VALUE).err().or(known.is_none().then_some(INVALID_VALUE)).unwrap_or(0)
}
