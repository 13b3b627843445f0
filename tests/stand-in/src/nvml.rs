//! The functions of `libnvidia-ml.so.1`.

use std::ffi::{CStr, c_char};

use crate::driver::{DEVICE_NAME, DEVICE_PCI_BUS_ID, DEVICE_UUID};
use crate::ffi::{In, Out};
use crate::state::{Api, State, call, lock};

const UNINITIALIZED: i32 = 1;
const INVALID_ARGUMENT: i32 = 2;
const NOT_SUPPORTED: i32 = 3;
const NOT_FOUND: i32 = 6;
const INSUFFICIENT_SIZE: i32 = 7;
const DRIVER_NOT_LOADED: i32 = 9;

const ERRORS: [(i32, &CStr); 8] = [
    (0, c"Success"),
    (UNINITIALIZED, c"Uninitialized"),
    (INVALID_ARGUMENT, c"Invalid Argument"),
    (NOT_SUPPORTED, c"Not Supported"),
    (NOT_FOUND, c"Not Found"),
    (INSUFFICIENT_SIZE, c"Insufficient Size"),
    (DRIVER_NOT_LOADED, c"Driver Not Loaded"),
    (999, c"Unknown Error"),
];

/// The only device's handle: nothing lies there.
const DEVICE: u64 = 0x57a1_0000_0000_0010;

const GRAPHICS_MHZ: u32 = 2520;
const MEMORY_MHZ: u32 = 10501;

/// What NVML keeps.
#[derive(Default)]
pub struct Nvml {
    pub sessions: u64,
    clock_queries: u32,
    throttle_queries: u64,
    process_queries: u64,
}

fn nvml(name: &'static str, body: impl FnOnce(&mut State) -> Result<(), i32>) -> i32 {
    call(Api::Nvml, name, body)
}

/// Runs `body` in a session.
fn session(name: &'static str, body: impl FnOnce(&mut State) -> Result<(), i32>) -> i32 {
    nvml(name, |state| if state.nvml.sessions == 0 { Err(UNINITIALIZED) } else { body(state) })
}

/// Runs `body` in a session, for the device.
fn on_device(
    name: &'static str,
    device: u64,
    body: impl FnOnce(&mut State) -> Result<(), i32>,
) -> i32 {
    session(name, |state| match device {
        DEVICE if state.faults.nvml_not_supported => Err(NOT_SUPPORTED),
        DEVICE => body(state),
        _ => Err(INVALID_ARGUMENT),
    })
}

fn begin(state: &mut State) -> Result<(), i32> {
    if state.faults.no_nvml {
        return Err(DRIVER_NOT_LOADED);
    }
    state.nvml.sessions += 1;
    Ok(())
}

fn text(to: &Out<c_char>, text: &str, size: u32) -> Result<(), i32> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    to.put_text(text, size as usize).then_some(()).ok_or(INSUFFICIENT_SIZE)
}

fn uuid() -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts = [0..4, 4..6, 6..8, 8..10, 10..16].map(|range| hex(&DEVICE_UUID[range]));
    format!("GPU-{}", parts.join("-"))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> i32 {
    nvml("nvmlInit_v2", begin)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: u32) -> i32 {
    nvml("nvmlInitWithFlags", begin)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> i32 {
    nvml("nvmlShutdown", |state| {
        if state.nvml.sessions == 0 {
            state.misuse.releases_of_what_was_not_live += 1;
            return Err(UNINITIALIZED);
        }
        state.nvml.sessions -= 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(error: i32) -> *const c_char {
    lock().count("nvmlErrorString");
    let known = ERRORS.iter().find(|(code, _)| *code == error);
    known.map_or(c"Unknown Error", |(_, text)| text).as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetDriverVersion(version: Out<c_char>, size: u32) -> i32 {
    session("nvmlSystemGetDriverVersion", |_| text(&version, "0.0 (stand-in)", size))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetNVMLVersion(version: Out<c_char>, size: u32) -> i32 {
    session("nvmlSystemGetNVMLVersion", |_| text(&version, "0.0 (stand-in)", size))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: Out<i32>) -> i32 {
    session("nvmlSystemGetCudaDriverVersion_v2", |state| {
        version.put(state.faults.driver_version, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(count: Out<u32>) -> i32 {
    session("nvmlDeviceGetCount_v2", |_| count.put(1, INVALID_ARGUMENT))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: u32, device: Out<u64>) -> i32 {
    session("nvmlDeviceGetHandleByIndex_v2", |_| {
        if index != 0 {
            return Err(INVALID_ARGUMENT);
        }
        device.put(DEVICE, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(id: In<c_char>, device: Out<u64>) -> i32 {
    session("nvmlDeviceGetHandleByPciBusId_v2", |_| {
        let id = id.text().ok_or(INVALID_ARGUMENT)?;
        // NVML itself writes the domain with eight digits, the driver with four
        let digits = id.trim_start_matches('0');
        if digits != DEVICE_PCI_BUS_ID.trim_start_matches('0') {
            return Err(NOT_FOUND);
        }
        device.put(DEVICE, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByUUID(id: In<c_char>, device: Out<u64>) -> i32 {
    session("nvmlDeviceGetHandleByUUID", |_| {
        if id.text().ok_or(INVALID_ARGUMENT)? != uuid() {
            return Err(NOT_FOUND);
        }
        device.put(DEVICE, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetName(device: u64, name: Out<c_char>, size: u32) -> i32 {
    on_device("nvmlDeviceGetName", device, |_| text(&name, DEVICE_NAME, size))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUUID(device: u64, id: Out<c_char>, size: u32) -> i32 {
    on_device("nvmlDeviceGetUUID", device, |_| text(&id, &uuid(), size))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetClockInfo(device: u64, kind: u32, megahertz: Out<u32>) -> i32 {
    const RAMP_QUERIES: u32 = 20;
    const RAMP_FROM_MHZ: u32 = 300;
    on_device("nvmlDeviceGetClockInfo", device, |state| {
        let clock = match kind {
            0 | 1 | 3 => GRAPHICS_MHZ,
            2 => MEMORY_MHZ,
            _ => return Err(INVALID_ARGUMENT),
        };
        let query = state.nvml.clock_queries.min(RAMP_QUERIES);
        state.nvml.clock_queries = query + 1;
        let ramp = RAMP_FROM_MHZ + (clock - RAMP_FROM_MHZ) * query / RAMP_QUERIES;
        megahertz.put(if state.faults.clock_ramp { ramp } else { clock }, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(device: u64, reasons: Out<u64>) -> i32 {
    const IDLE: u64 = 0x1;
    const POWER_CAP: u64 = 0x4;
    const SOFTWARE_THERMAL_SLOWDOWN: u64 = 0x20;
    on_device("nvmlDeviceGetCurrentClocksThrottleReasons", device, |state| {
        let throttled = state.nvml.throttle_queries < state.faults.throttle;
        state.nvml.throttle_queries += 1;
        let power_cap = if state.faults.power_cap { POWER_CAP } else { 0 };
        let reason = if throttled { SOFTWARE_THERMAL_SLOWDOWN } else { IDLE };
        reasons.put(reason | power_cap, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTemperature(device: u64, sensor: u32, celsius: Out<u32>) -> i32 {
    on_device("nvmlDeviceGetTemperature", device, |_| {
        if sensor != 0 {
            return Err(INVALID_ARGUMENT);
        }
        celsius.put(40, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPowerUsage(device: u64, milliwatts: Out<u32>) -> i32 {
    on_device("nvmlDeviceGetPowerUsage", device, |_| milliwatts.put(100_000, INVALID_ARGUMENT))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEccMode(device: u64, current: Out<u32>, pending: Out<u32>) -> i32 {
    on_device("nvmlDeviceGetEccMode", device, |_| {
        current.put(0, INVALID_ARGUMENT)?;
        pending.put(0, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPersistenceMode(device: u64, mode: Out<u32>) -> i32 {
    on_device("nvmlDeviceGetPersistenceMode", device, |_| mode.put(1, INVALID_ARGUMENT))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEnforcedPowerLimit(device: u64, milliwatts: Out<u32>) -> i32 {
    on_device("nvmlDeviceGetEnforcedPowerLimit", device, |_| {
        milliwatts.put(450_000, INVALID_ARGUMENT)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPowerManagementLimit(device: u64, milliwatts: Out<u32>) -> i32 {
    on_device("nvmlDeviceGetPowerManagementLimit", device, |_| {
        milliwatts.put(450_000, INVALID_ARGUMENT)
    })
}

/// As NVML numbers the fields of a process: its id, the memory it uses, and which part of the device.
#[repr(C)]
pub struct Process {
    id: u32,
    used_memory: u64,
    parts: [u32; 2],
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: u64,
    count: Out<u32>,
    processes: Out<Process>,
) -> i32 {
    on_device("nvmlDeviceGetComputeRunningProcesses_v3", device, |state| {
        let [room] = count.read(1)[..] else { return Err(INVALID_ARGUMENT) };
        let is_shared = state.nvml.process_queries < state.faults.other_processes;
        state.nvml.process_queries += 1;
        let own = std::process::id();
        let ids = if is_shared { vec![own, own.wrapping_add(1)] } else { vec![own] };
        count.put(ids.len() as u32, INVALID_ARGUMENT)?;
        if processes.is_null() || (room as usize) < ids.len() {
            return Err(INSUFFICIENT_SIZE);
        }
        let of = |id| Process { id, used_memory: 1 << 20, parts: [u32::MAX; 2] };
        processes.put_all(&ids.into_iter().map(of).collect::<Vec<_>>());
        Ok(())
    })
}
