//! The functions of `libcudnn.so.9`.

use std::ffi::{CStr, c_char, c_void};

use crate::attributes::{BAD_PARAM, Kind, NOT_FINALIZED, NOT_INITIALIZED, NULL_POINTER, name};
use crate::capture::Captured;
use crate::engines::Engine;
use crate::ffi::{In, Out};
use crate::finalize::convolution_of;
use crate::graph::Descriptor;
use crate::memory::Refused;
use crate::state::{Api, NEVER, State, WHEN_RELEASED, call, complain, lock};

const MISALIGNED_POINTER: i32 = 2003;
const INTERNAL_ERROR: i32 = 4000;
pub const EXECUTION_FAILED: i32 = 5000;

const STATUSES: [(i32, &CStr); 20] = [
    (0, c"CUDNN_STATUS_SUCCESS"),
    (1001, c"CUDNN_STATUS_NOT_INITIALIZED"),
    (1002, c"CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"),
    (1008, c"CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED"),
    (2000, c"CUDNN_STATUS_BAD_PARAM"),
    (2002, c"CUDNN_STATUS_BAD_PARAM_NULL_POINTER"),
    (2003, c"CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER"),
    (2004, c"CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED"),
    (2005, c"CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND"),
    (2006, c"CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT"),
    (2008, c"CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH"),
    (2010, c"CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE"),
    (3000, c"CUDNN_STATUS_NOT_SUPPORTED"),
    (3005, c"CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER"),
    (3007, c"CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH"),
    (4000, c"CUDNN_STATUS_INTERNAL_ERROR"),
    (4003, c"CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    (4004, c"CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    (5000, c"CUDNN_STATUS_EXECUTION_FAILED"),
    (5001, c"CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"),
];

pub fn cudnn(name: &'static str, body: impl FnOnce(&mut State) -> Result<(), i32>) -> i32 {
    call(Api::Cudnn, name, |state| {
        let result = body(state);
        if let Err(status) = result {
            state.graph.last_error = format!("stand-in: {name} refused with status {status}");
        }
        result
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnGetVersion() -> usize {
    let mut state = lock();
    if state.count("cudnnGetVersion") { 0 } else { state.faults.cudnn_version }
}

#[unsafe(no_mangle)]
extern "C" fn cudnnGetCudartVersion() -> usize {
    let mut state = lock();
    if state.count("cudnnGetCudartVersion") { 0 } else { state.faults.cudart_version }
}

#[unsafe(no_mangle)]
extern "C" fn cudnnGetErrorString(status: i32) -> *const c_char {
    lock().count("cudnnGetErrorString");
    let known = STATUSES.iter().find(|(code, _)| *code == status);
    known.map_or(c"CUDNN_UNKNOWN_STATUS", |(_, text)| text).as_ptr()
}

/// Gives the last message once, cut to what there is room for.
#[unsafe(no_mangle)]
extern "C" fn cudnnGetLastErrorString(message: Out<c_char>, size: usize) {
    let mut state = lock();
    state.count("cudnnGetLastErrorString");
    let mut text = std::mem::take(&mut state.graph.last_error);
    text.truncate(size.saturating_sub(1));
    let _ = message.put_text(&text, size);
}

#[unsafe(no_mangle)]
extern "C" fn cudnnCreate(handle: Out<u64>) -> i32 {
    cudnn("cudnnCreate", |state| {
        if handle.is_null() {
            return Err(BAD_PARAM);
        }
        // cuDNN would make a context of its own; a client that relies on that has lost its own
        state.has_context().map_err(|_| NOT_INITIALIZED)?;
        if state.dead() {
            return Err(INTERNAL_ERROR);
        }
        let new = state.opaque();
        state.graph.handles.insert(new, 0);
        handle.put(new, BAD_PARAM)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnDestroy(handle: u64) -> i32 {
    cudnn("cudnnDestroy", |state| {
        if handle != 0 && state.graph.handles.remove(&handle).is_none() {
            return Err(state.not_released(handle, BAD_PARAM));
        }
        if handle != 0 && state.dead() { Err(INTERNAL_ERROR) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnSetStream(handle: u64, stream: u64) -> i32 {
    cudnn("cudnnSetStream", |state| {
        handle_stream(state, handle)?;
        if state.dead() {
            return Err(INTERNAL_ERROR);
        }
        state.stream(stream).map_err(|_| BAD_PARAM)?;
        state.graph.handles.insert(handle, stream);
        Ok(())
    })
}

pub fn handle_stream(state: &mut State, handle: u64) -> Result<u64, i32> {
    match state.graph.handles.get(&handle) {
        Some(stream) => Ok(*stream),
        None => Err(state.not_live(handle, BAD_PARAM)),
    }
}

#[unsafe(no_mangle)]
extern "C" fn cudnnBackendCreateDescriptor(kind: i32, descriptor: Out<u64>) -> i32 {
    cudnn("cudnnBackendCreateDescriptor", |state| {
        if descriptor.is_null() {
            return Err(NULL_POINTER);
        }
        descriptor.put(state.create_descriptor(kind)?, NULL_POINTER)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnBackendDestroyDescriptor(descriptor: u64) -> i32 {
    cudnn("cudnnBackendDestroyDescriptor", |state| {
        let kind = state.graph.descriptors.get(&descriptor).map(|descriptor| descriptor.kind);
        state.destroy_descriptor(descriptor)?;
        // what a launch uses cannot be released before it has finished
        let is_used = matches!(kind, Some(Kind::Plan | Kind::VariantPack)) && state.hangs();
        if is_used { Err(NEVER) } else { Ok(()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnBackendSetAttribute(
    descriptor: u64,
    name: i32,
    type_: i32,
    count: i64,
    elements: In<u8>,
) -> i32 {
    cudnn("cudnnBackendSetAttribute", |state| {
        state.set_attribute(descriptor, name, type_, count, &elements)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnBackendGetAttribute(
    descriptor: u64,
    name: i32,
    type_: i32,
    requested: i64,
    count: Out<u8>,
    elements: Out<u8>,
) -> i32 {
    cudnn("cudnnBackendGetAttribute", |state| {
        state.get_attribute(descriptor, name, type_, requested, [count, elements])
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnBackendFinalize(descriptor: u64) -> i32 {
    cudnn("cudnnBackendFinalize", |state| state.finalize_descriptor(descriptor))
}

#[unsafe(no_mangle)]
extern "C" fn cudnnBackendExecute(handle: u64, plan: u64, pack: u64) -> i32 {
    cudnn("cudnnBackendExecute", |state| {
        let dead = state.dead();
        state.driver.executions += 1;
        let stream = handle_stream(state, handle)?;
        if state.faults.fail_execution == Some(state.driver.executions) || dead {
            return Err(EXECUTION_FAILED);
        }
        finished(state, plan, Kind::Plan)?;
        finished(state, pack, Kind::VariantPack)?;
        state.stream(stream).map_err(|_| EXECUTION_FAILED)?;
        state.has_context().map_err(|_| EXECUTION_FAILED)?;
        state.launch(stream, Captured::Execute { plan, pack })?;
        let blocks = state.faults.block_launch == Some(state.driver.executions);
        if blocks { Err(WHEN_RELEASED) } else { Ok(()) }
    })
}

/// Launches a plan.
pub fn execute(state: &mut State, plan: u64, pack: u64) -> Result<(), i32> {
    let plan = finished(state, plan, Kind::Plan)?;
    let pack = finished(state, pack, Kind::VariantPack)?;
    launch(state, &plan, &pack)
}

fn finished(state: &mut State, pointer: u64, kind: Kind) -> Result<Descriptor, i32> {
    let descriptor = state.descriptor(pointer)?;
    if descriptor.kind != kind {
        return Err(BAD_PARAM);
    }
    if descriptor.finalized { Ok(descriptor.clone()) } else { Err(NOT_FINALIZED) }
}

fn launch(state: &mut State, plan: &Descriptor, pack: &Descriptor) -> Result<(), i32> {
    let engine = plan
        .descriptor(name::PLAN_CONFIG)
        .and_then(|config| config.descriptor(name::CONFIG_ENGINE))
        .ok_or(BAD_PARAM)?;
    let graph = engine.descriptor(name::ENGINE_GRAPH).ok_or(BAD_PARAM)?;
    let mut convolution = convolution_of(graph)?;
    let index = engine.integer(name::ENGINE_INDEX).unwrap_or(0);
    convolution.precision = Engine::of_index(index).ok_or(INTERNAL_ERROR)?.precision;
    convolution.lacks_last_tap = state.faults.wrong_output;

    let names = [name::OPERATION_X, name::OPERATION_W, name::OPERATION_Y];
    let layouts = [&convolution.input, &convolution.weights, &convolution.output];
    let mut tensors = [0; 3];
    let mut ranges = Vec::new();
    for ((name, layout), tensor) in names.into_iter().zip(layouts).zip(&mut tensors) {
        *tensor = tensor_address(graph, pack, name)?;
        let size = layout.span().unwrap_or(0) * size_of::<f32>();
        ranges.push((*tensor, size as u64));
    }
    let workspace = pack.integer(name::PACK_WORKSPACE).unwrap_or(0) as u64;
    let needed = plan.integer(name::PLAN_WORKSPACE).unwrap_or(0) as u64;
    if needed > 0 {
        if workspace == 0 {
            return Err(BAD_PARAM);
        }
        let shares = |(start, size): &(u64, u64)| {
            *start < workspace.saturating_add(needed) && workspace < start.saturating_add(*size)
        };
        if ranges.iter().any(shares) {
            complain("the workspace overlaps a tensor");
            return Err(EXECUTION_FAILED);
        }
        ranges.push((workspace, needed));
    }
    for (address, size) in ranges {
        let access = state.driver.memory.check(address, size);
        access.map_err(|refused| illegal_access(state, refused, address, size))?;
    }
    let launched = state.driver.memory.launch(convolution, tensors);
    launched.map_err(|refused| illegal_access(state, refused, tensors[2], 0))
}

/// Where the variant pack puts a tensor of the graph's one operation.
fn tensor_address(graph: &Descriptor, pack: &Descriptor, tensor: i32) -> Result<u64, i32> {
    let operation = graph.descriptor(name::GRAPH_OPERATIONS).ok_or(BAD_PARAM)?;
    let tensor = operation.descriptor(tensor).ok_or(BAD_PARAM)?;
    let id = tensor.integer(name::TENSOR_UNIQUE_ID).unwrap_or(0);
    let ids = pack.integers(name::PACK_UNIQUE_IDS).unwrap_or_default();
    let pointers = pack.integers(name::PACK_POINTERS).unwrap_or_default();
    let found = ids.iter().zip(pointers).find(|(other, _)| **other == id);
    let (_, address) = found.ok_or(BAD_PARAM)?;
    if *address == 0 {
        return Err(NULL_POINTER);
    }
    let alignment = tensor.integer(name::TENSOR_ALIGNMENT).unwrap_or(1);
    if address % alignment != 0 { Err(MISALIGNED_POINTER) } else { Ok(*address as u64) }
}

/// A GPU would fail later, if at all; a test should say so at once.
pub fn illegal_access(state: &mut State, refused: Refused, address: u64, size: u64) -> i32 {
    state.misuse.uses_after_release += u64::from(refused == Refused::Freed);
    complain(&format!(
        "an execution would use {size} bytes at {:?}, which are {}",
        address as *const c_void,
        if refused == Refused::Freed { "freed" } else { "not inside one allocation" },
    ));
    EXECUTION_FAILED
}
