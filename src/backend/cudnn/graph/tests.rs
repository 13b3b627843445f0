//! The graph against a cuDNN made up here, and, by `.ci/real_cudnn`, against NVIDIA's for a device
//! that is not there. Either is called through functions that count what is alive and can be made to
//! fail.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_uint, c_void};
use std::ptr;

use cudarc::cudnn::sys::{cudnnBackendDescriptor_t, cudnnBackendNumericalNote_t as Note};
use cudarc::driver::sys::CUstream;

use super::*;
use crate::backend::cudnn::error::Status;
use crate::backend::cudnn::options::Math;
use crate::backend::plan::{Knob, RefusedPlan, numerical_note};
use crate::units::Bytes;

mod made_up;

use made_up::{SET, made_up};

const NOT_SUPPORTED: Status = 3000;
const ANY_SIZE: Bytes = Bytes(u64::MAX);

thread_local! {
    /// What the counting functions call.
    static LIBRARY_BELOW: Cell<Option<CudnnFunctions>> = const { Cell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static FAILING_CALL: Cell<Option<usize>> = const { Cell::new(None) };
    /// Every descriptor there is, with those that were set on it or that it was read from.
    static ALIVE: RefCell<BTreeMap<usize, Vec<usize>>> = const { RefCell::new(BTreeMap::new()) };
}

fn below() -> CudnnFunctions {
    LIBRARY_BELOW.get().expect("set by `counting`")
}

/// Counts a call, and tells whether it is the one to fail.
fn is_failing() -> bool {
    let call = CALLS.get();
    CALLS.set(call + 1);
    FAILING_CALL.get() == Some(call)
}

/// `functions`, counted.
fn counting(functions: CudnnFunctions) -> CudnnFunctions {
    unsafe extern "C" fn create(kind: c_uint, raw: *mut cudnnBackendDescriptor_t) -> Status {
        if is_failing() {
            return NOT_SUPPORTED;
        }
        // SAFETY: the caller's arguments; `raw` has been written to.
        let (status, made) = unsafe {
            let status = (below().cudnnBackendCreateDescriptor)(kind, raw);
            (status, *raw as usize)
        };
        ALIVE.with_borrow_mut(|alive| alive.insert(made, Vec::new()));
        status
    }
    unsafe extern "C" fn destroy(raw: cudnnBackendDescriptor_t) -> Status {
        ALIVE.with_borrow_mut(|alive| {
            alive.remove(&(raw as usize)).expect("destroyed once");
            let used = alive.values().any(|uses| uses.contains(&(raw as usize)));
            assert!(!used, "destroyed before what was made from it");
        });
        // SAFETY: the caller's arguments.
        unsafe { (below().cudnnBackendDestroyDescriptor)(raw) }
    }
    unsafe extern "C" fn set(
        raw: cudnnBackendDescriptor_t,
        name: c_uint,
        of: c_uint,
        count: i64,
        values: *const c_void,
    ) -> Status {
        if is_failing() {
            return NOT_SUPPORTED;
        }
        if of == Type::CUDNN_TYPE_BACKEND_DESCRIPTOR as u32 {
            // SAFETY: of this type are elements that are descriptors.
            let value = unsafe { *values.cast::<usize>() };
            ALIVE.with_borrow_mut(|alive| alive.get_mut(&(raw as usize)).unwrap().push(value));
        }
        // SAFETY: the caller's arguments.
        unsafe { (below().cudnnBackendSetAttribute)(raw, name, of, count, values) }
    }
    unsafe extern "C" fn get(
        raw: cudnnBackendDescriptor_t,
        name: c_uint,
        of: c_uint,
        room: i64,
        count: *mut i64,
        values: *mut c_void,
    ) -> Status {
        if is_failing() {
            return NOT_SUPPORTED;
        }
        // SAFETY: the caller's arguments.
        unsafe { (below().cudnnBackendGetAttribute)(raw, name, of, room, count, values) }
    }
    unsafe extern "C" fn finalize(raw: cudnnBackendDescriptor_t) -> Status {
        if is_failing() {
            return NOT_SUPPORTED;
        }
        // SAFETY: the caller's arguments.
        unsafe { (below().cudnnBackendFinalize)(raw) }
    }
    LIBRARY_BELOW.set(Some(functions));
    CudnnFunctions {
        cudnnBackendCreateDescriptor: create,
        cudnnBackendDestroyDescriptor: destroy,
        cudnnBackendSetAttribute: set,
        cudnnBackendGetAttribute: get,
        cudnnBackendFinalize: finalize,
        ..functions
    }
}

fn made_up_target() -> Target {
    let handle = ptr::dangling_mut();
    // SAFETY: the library made up here does not look at its handle.
    unsafe { Target::from_handle(counting(made_up()), handle) }
}

/// A GPU of Ada's generation, by NVIDIA's cuDNN.
fn real_target() -> Target {
    let json = include_str!("../devices/rtx4090.json");
    Target::with_properties(counting(Cudnn::load_without_device(None).unwrap().functions), json)
        .unwrap()
}

fn shape(kernel: u64) -> ConvShape {
    ConvShape::new(10, 12, 8, 16, kernel).unwrap()
}

fn out_of_memory() -> GpuError {
    GpuError::Call {
        call: "cuMemAlloc_v2",
        status: 2,
        name: "CUDA_ERROR_OUT_OF_MEMORY".to_owned(),
        detail: String::new(),
        remedy: "",
    }
}

fn engines_of(refused: &[RefusedPlan]) -> Vec<(usize, Option<i64>)> {
    refused.iter().map(|refused| (refused.rank, refused.engine)).collect()
}

#[test]
fn candidates_are_those_answered_without_repetition_and_with_unknown_numbers() {
    let candidates = Graph::new(&made_up_target(), shape(3)).unwrap().candidates().unwrap();
    let engines: Vec<_> = candidates.iter().map(|c| (c.rank, c.engine)).collect();
    assert_eq!(engines, [(0, 4711), (1, 1), (2, 2), (3, 3), (4, 3), (5, 0)]);
    let unknown = &candidates[0];
    assert_eq!(unknown.knobs, [Knob { kind: 815, value: -7 }]);
    assert_eq!(unknown.numerical_notes, [0, 333]);
    assert_eq!(unknown.behavior_notes, [i64::from(i32::MAX)]);
    assert_eq!(unknown.finalize().unwrap().record().algorithm(), "engine-4711-k815--7");
}

#[test]
fn the_first_that_all_accept_is_taken_and_the_others_have_their_reasons() {
    let candidates = Graph::new(&made_up_target(), shape(3)).unwrap().candidates().unwrap();
    let first = |math, limit| first_that(&candidates, math, limit, |_| Ok(())).unwrap().0;
    assert_eq!(first(Math::Tf32, ANY_SIZE).record().engine, 4711);

    let plan = first(Math::F32, Bytes(100)).into_record();
    assert_eq!((plan.rank, plan.workspace_bytes), (4, Bytes(10)));
    let reasons: Vec<_> = plan.refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(reasons[0], "less precise than fp32: tensor core");
    assert_eq!(reasons[1], "less precise than TF32: inputs converted down");
    assert!(reasons[2].starts_with("cudnnBackendFinalize returned MADE_UP (3000)"), "{reasons:?}");
    assert_eq!(reasons[3], "a workspace of 1000 B, where 100 B are allowed");

    let without_room = |plan: &ExecutionPlan| match plan.record().workspace_bytes {
        Bytes(0) => Err(out_of_memory()),
        bytes => Ok(bytes),
    };
    let (plan, bytes) = first_that(&candidates, Math::Tf32, ANY_SIZE, without_room).unwrap();
    assert_eq!(bytes, Bytes(1000));
    assert_eq!(engines_of(&plan.record().refused), [(0, Some(4711)), (1, Some(1)), (2, Some(2))]);
}

#[test]
fn without_any_plan_every_refusal_is_told_and_other_errors_end_the_search() {
    let candidates = Graph::new(&made_up_target(), shape(3)).unwrap().candidates().unwrap();
    let refuse = |_: &ExecutionPlan| Err::<(), _>(out_of_memory());
    match first_that(&candidates, Math::F32, ANY_SIZE, refuse) {
        Err(GpuError::NoPlan { refused }) => assert_eq!(refused.len(), candidates.len()),
        other => panic!("{:?}", other.err()),
    }
    let broken = GpuError::Symbol { library: super::super::Library::Driver, symbol: "cuInit" };
    let fail = |_: &ExecutionPlan| Err::<(), _>(broken.clone());
    assert_eq!(first_that(&candidates, Math::F32, ANY_SIZE, fail).err(), Some(broken.clone()));
}

#[test]
fn several_plans_can_be_had_to_be_timed() {
    let candidates = Graph::new(&made_up_target(), shape(3)).unwrap().candidates().unwrap();
    let ranks = |at_most| {
        let plans = first_plans(&candidates, Math::Tf32, ANY_SIZE, at_most).unwrap();
        plans.iter().map(|p| (p.record().rank, p.record().refused.len())).collect::<Vec<_>>()
    };
    assert_eq!(ranks(usize::MAX), [(0, 0), (3, 2), (4, 2)]);
    assert_eq!(ranks(2), [(0, 0), (3, 2)]);
    let none = first_plans(&candidates[1..3], Math::Tf32, ANY_SIZE, 1).err();
    assert!(matches!(none, Some(GpuError::NoPlan { refused }) if refused.len() == 2));
}

/// Everything from graph to launch.
fn run(target: &Target) -> Result<(), GpuError> {
    let candidates = Graph::new(target, shape(2))?.candidates()?;
    let (plan, ()) = first_that(&candidates, Math::Tf32, ANY_SIZE, |_| Ok(()))?;
    drop(candidates);
    // SAFETY: it is not launched on a device.
    let pack = unsafe { Pack::new(target, [1 << 8, 2 << 8, 3 << 8], 0)? };
    plan.launch(&pack)
}

#[test]
fn tensors_addresses_and_handle_go_where_they_belong() {
    let target = made_up_target();
    assert_eq!(run(&target), Ok(()));
    let set = |name: Attribute| SET.with_borrow(|set| set[&(name as u32)].clone());
    // of the tensor made last, the output
    assert_eq!(set(Attribute::CUDNN_ATTR_TENSOR_DIMENSIONS), [1, 16, 10, 12]);
    assert_eq!(set(Attribute::CUDNN_ATTR_TENSOR_STRIDES), [16 * 10 * 12, 10 * 12, 12, 1]);
    assert_eq!(set(Attribute::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS), [0, 0]);
    assert_eq!(set(Attribute::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS), [1, 1]);
    assert_eq!(set(Attribute::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS), [1, 2, 3]);
    assert_eq!(set(Attribute::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS), [1 << 8, 2 << 8, 3 << 8]);
    assert_eq!(set(Attribute::CUDNN_ATTR_VARIANT_PACK_WORKSPACE), [0]);
    let Device::Handle(handle) = target.device else { panic!("made with a handle") };
    for name in
        [Attribute::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, Attribute::CUDNN_ATTR_EXECUTION_PLAN_HANDLE]
    {
        assert_eq!(set(name), [handle as u64]);
    }
}

/// Lets one call after the other fail, and sees that nothing but the target is left.
fn fail_everywhere(target: &Target, step: usize) {
    let before = ALIVE.with_borrow(BTreeMap::len);
    CALLS.set(0);
    let _ = run(target);
    let calls = CALLS.get();
    assert!(calls > 100, "{calls}");
    for call in (0..calls).step_by(step) {
        CALLS.set(0);
        FAILING_CALL.set(Some(call));
        let _ = run(target);
        assert_eq!(ALIVE.with_borrow(BTreeMap::len), before, "call {call} of {calls}");
    }
    FAILING_CALL.set(None);
}

#[test]
fn descriptors_are_released_in_order_whichever_call_fails() {
    let target = made_up_target();
    assert_eq!(run(&target), Ok(()));
    fail_everywhere(&target, 1);
}

#[test]
#[ignore = "needs NVIDIA's cuDNN: see .ci/real_cudnn"]
fn real_cudnn_takes_the_padding_that_was_meant() {
    let target = real_target();
    for kernel in [1, 2, 3, 4, 30] {
        let shape = shape(kernel);
        let padding = shape.padding();
        let descriptor = convolution(target.functions, padding).unwrap();
        let read = |name| descriptor.integers(name, 2).unwrap();
        let expected = |side: usize| [side as i64; 2];
        assert_eq!(read(Attribute::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS), expected(padding.before));
        assert_eq!(read(Attribute::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS), expected(padding.after));
        // an output of any other size does not fit the padding
        let output = [shape.out_channels(), shape.height(), shape.width()];
        let with_output =
            |output| Graph::with_sizes(&target, shape, Sizes { output, ..Sizes::of_shape(shape) });
        assert!(with_output(output).is_ok());
        // an even kernel's on an image that has a row and a column of it already
        assert!(Graph::of_framework(&target, shape).is_ok());
        for wrong in [[16, 11, 12], [16, 9, 12], [16, 10, 13], [16, 10, 11], [15, 10, 12]] {
            let error = with_output(wrong).err();
            assert!(
                matches!(error, Some(GpuError::Call { status: 2000..=2999, .. })),
                "K = {kernel}, {wrong:?}: {error:?}"
            );
        }
    }
}

#[test]
#[ignore = "needs NVIDIA's cuDNN: see .ci/real_cudnn"]
fn real_cudnn_s_configurations_are_all_filled_however_many_it_counts() {
    let target = real_target();
    let graph = Graph::new(&target, shape(3)).unwrap();
    let answered = graph.ask(HeuristicMode::CUDNN_HEUR_MODE_A).unwrap();
    assert!(!answered.is_empty());
    // one that is not filled has no engine to read
    for (rank, configuration) in answered.into_iter().enumerate() {
        Candidate::read(&target, configuration, rank).unwrap();
    }
}

#[test]
#[ignore = "needs NVIDIA's cuDNN: see .ci/real_cudnn"]
fn real_cudnn_launches_nothing_without_a_device() {
    let target = real_target();
    let error = run(&target).unwrap_err();
    assert!(
        matches!(error, GpuError::Call { call: "cudnnBackendExecute", status: 2000..=2999, .. }),
        "{error}"
    );
}

#[test]
#[ignore = "needs NVIDIA's cuDNN: see .ci/real_cudnn"]
fn real_cudnn_descriptors_are_released_whichever_call_fails() {
    let target = real_target();
    // thousands of calls, most of them alike
    fail_everywhere(&target, 17);
}

#[test]
#[ignore = "needs NVIDIA's cuDNN: see .ci/real_cudnn"]
fn real_cudnn_refuses_properties_that_are_none() {
    let target = real_target();
    let before = ALIVE.with_borrow(BTreeMap::len);
    for json in ["", "{", "{}", "null"] {
        assert!(Target::with_properties(target.functions, json).is_err(), "{json}");
    }
    assert_eq!(ALIVE.with_borrow(BTreeMap::len), before);
}

#[test]
fn notes_have_cudnn_s_numbers_and_math_its_names() {
    let words = |note: Note| numerical_note(note as i64);
    assert_eq!(words(Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE), "tensor core");
    assert_eq!(words(Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS), "inputs converted down");
    assert_eq!(words(Note::CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13), "winograd 13×13");
    assert_eq!(words(Note::CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP), "strict NaN");
    for math in [Math::Tf32, Math::F32] {
        assert_eq!(math.to_string().parse(), Ok(math));
        assert_eq!(serde_json::to_string(&math).unwrap(), format!("\"{math}\""));
    }
    let error = "fp16".parse::<Math>().unwrap_err();
    assert_eq!(error.to_string(), "no such math, expected `tf32` or `fp32`");
}
