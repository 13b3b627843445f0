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

/// What the cuDNN made up here proposes.
struct Proposal {
    engine: i64,
    knobs: &'static [(i32, i64)],
    notes: &'static [i32],
    /// None: it cannot be finalised.
    workspace: Option<i64>,
}

const PREFERRED: [Proposal; 5] = [
    // numbers that no cuDNN knows
    Proposal { engine: 4711, knobs: &[(815, -7)], notes: &[0, 333], workspace: Some(0) },
    Proposal { engine: 1, knobs: &[], notes: &[1], workspace: Some(0) },
    Proposal { engine: 2, knobs: &[], notes: &[], workspace: None },
    Proposal { engine: 3, knobs: &[(2, 1), (13, 0)], notes: &[5], workspace: Some(1000) },
    Proposal { engine: 3, knobs: &[(2, 2), (13, 0)], notes: &[5], workspace: Some(10) },
];

const FALLBACK: [Proposal; 2] = [
    Proposal { engine: 3, knobs: &[(13, 0), (2, 1)], notes: &[5], workspace: Some(1000) },
    Proposal { engine: 0, knobs: &[], notes: &[9, 2], workspace: Some(0) },
];

/// A descriptor of the cuDNN made up here.
#[derive(Default)]
struct Made {
    mode: Option<u32>,
    proposal: Option<&'static Proposal>,
    knob: Option<(i32, i64)>,
}

thread_local! {
    /// What each attribute was last set to, of those that are 64 bits wide.
    static SET: RefCell<BTreeMap<u32, Vec<u64>>> = const { RefCell::new(BTreeMap::new()) };
    static MADE: RefCell<Vec<Made>> = const { RefCell::new(Vec::new()) };
}

fn made<T>(raw: cudnnBackendDescriptor_t, with: impl FnOnce(&mut Made) -> T) -> T {
    MADE.with_borrow_mut(|made| with(&mut made[raw as usize - 1]))
}

/// A cuDNN that keeps just enough to answer with [`PREFERRED`] and [`FALLBACK`].
fn made_up() -> CudnnFunctions {
    unsafe extern "C" fn create(_: c_uint, raw: *mut cudnnBackendDescriptor_t) -> Status {
        let address = MADE.with_borrow_mut(|made| {
            made.push(Made::default());
            made.len()
        });
        // SAFETY: the caller gives room for one.
        unsafe { *raw = address as cudnnBackendDescriptor_t };
        0
    }
    unsafe extern "C" fn set(
        raw: cudnnBackendDescriptor_t,
        name: c_uint,
        of: c_uint,
        count: i64,
        values: *const c_void,
    ) -> Status {
        const WIDE: [Type; 3] =
            [Type::CUDNN_TYPE_INT64, Type::CUDNN_TYPE_VOID_PTR, Type::CUDNN_TYPE_HANDLE];
        // SAFETY: of these types are elements that are these.
        unsafe {
            if WIDE.iter().any(|wide| *wide as u32 == of) {
                let values = std::slice::from_raw_parts(values.cast::<u64>(), count as usize);
                SET.with_borrow_mut(|set| set.insert(name, values.to_vec()));
            } else if name == Attribute::CUDNN_ATTR_ENGINEHEUR_MODE as u32 {
                made(raw, |to| to.mode = Some(*values.cast()));
            } else if of == Type::CUDNN_TYPE_BACKEND_DESCRIPTOR as u32 {
                let proposal = made(*values.cast(), |from| from.proposal);
                made(raw, |to| to.proposal = to.proposal.or(proposal));
            }
        }
        0
    }
    unsafe extern "C" fn finalize(raw: cudnnBackendDescriptor_t) -> Status {
        let supported = made(raw, |it| it.proposal.is_none_or(|p| p.workspace.is_some()));
        if supported { 0 } else { NOT_SUPPORTED }
    }
    unsafe extern "C" fn destroy(_: cudnnBackendDescriptor_t) -> Status {
        0
    }
    unsafe extern "C" fn error_string(_: Status) -> *const c_char {
        c"MADE_UP".as_ptr()
    }
    unsafe extern "C" fn last_error(_: *mut c_char, _: usize) {}
    unsafe extern "C" fn create_handle(_: *mut cudnnHandle_t) -> Status {
        NOT_SUPPORTED
    }
    unsafe extern "C" fn destroy_handle(_: cudnnHandle_t) -> Status {
        NOT_SUPPORTED
    }
    unsafe extern "C" fn set_stream(_: cudnnHandle_t, _: CUstream) -> Status {
        NOT_SUPPORTED
    }
    unsafe extern "C" fn execute(
        handle: cudnnHandle_t,
        _: cudnnBackendDescriptor_t,
        _: cudnnBackendDescriptor_t,
    ) -> Status {
        if handle.is_null() { 2000 } else { 0 }
    }
    CudnnFunctions {
        cudnnGetErrorString: error_string,
        cudnnGetLastErrorString: last_error,
        cudnnCreate: create_handle,
        cudnnDestroy: destroy_handle,
        cudnnSetStream: set_stream,
        cudnnBackendCreateDescriptor: create,
        cudnnBackendDestroyDescriptor: destroy,
        cudnnBackendSetAttribute: set,
        cudnnBackendGetAttribute: made_up_attribute,
        cudnnBackendFinalize: finalize,
        cudnnBackendExecute: execute,
    }
}

unsafe extern "C" fn made_up_attribute(
    raw: cudnnBackendDescriptor_t,
    name: c_uint,
    _: c_uint,
    room: i64,
    count: *mut i64,
    values: *mut c_void,
) -> Status {
    let (mode, proposal, knob) = made(raw, |it| (it.mode, it.proposal, it.knob));
    // SAFETY: the caller gives room for as many as it says, of the attribute's type.
    unsafe {
        let codes = |codes: &[i32]| {
            *count = codes.len() as i64;
            let room = codes.len().min(room as usize);
            ptr::copy_nonoverlapping(codes.as_ptr(), values.cast(), room);
        };
        let integer = |value: i64| {
            *count = 1;
            *values.cast() = value;
        };
        let each = |n: usize, fill: &dyn Fn(&mut Made, usize)| {
            *count = n as i64;
            for i in 0..n.min(room as usize) {
                made(*values.cast::<cudnnBackendDescriptor_t>().add(i), |to| fill(to, i));
            }
        };
        const FALLBACK_MODE: u32 = HeuristicMode::CUDNN_HEUR_MODE_FALLBACK as u32;
        let answer: &'static [Proposal] =
            if mode == Some(FALLBACK_MODE) { &FALLBACK } else { &PREFERRED };
        const RESULTS: u32 = Attribute::CUDNN_ATTR_ENGINEHEUR_RESULTS as u32;
        const ENGINE: u32 = Attribute::CUDNN_ATTR_ENGINECFG_ENGINE as u32;
        const KNOBS: u32 = Attribute::CUDNN_ATTR_ENGINECFG_KNOB_CHOICES as u32;
        const INDEX: u32 = Attribute::CUDNN_ATTR_ENGINE_GLOBAL_INDEX as u32;
        const NOTES: u32 = Attribute::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE as u32;
        const BEHAVIOR: u32 = Attribute::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE as u32;
        const KIND: u32 = Attribute::CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE as u32;
        const VALUE: u32 = Attribute::CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE as u32;
        const WORKSPACE: u32 = Attribute::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE as u32;
        match (name, proposal, knob) {
            // as cuDNN does, it counts more than there are
            (RESULTS, ..) if room == 0 => *count = answer.len() as i64 + 12,
            (RESULTS, ..) => each(answer.len(), &|to, i| to.proposal = Some(&answer[i])),
            (ENGINE, Some(_), _) => each(1, &|to, _| to.proposal = proposal),
            (KNOBS, Some(p), _) => each(p.knobs.len(), &|to, i| to.knob = Some(p.knobs[i])),
            (INDEX, Some(p), _) => integer(p.engine),
            (NOTES, Some(p), _) => codes(p.notes),
            (BEHAVIOR, Some(_), _) => codes(&[i32::MAX]),
            (KIND, _, Some((kind, _))) => codes(&[kind]),
            (VALUE, _, Some((_, value))) => integer(value),
            (WORKSPACE, Some(p), _) => integer(p.workspace.unwrap()),
            _ => return NOT_SUPPORTED,
        }
    }
    0
}

fn made_up_target() -> Target {
    let handle = ptr::dangling_mut();
    // SAFETY: the library made up here does not look at its handle.
    unsafe { Target::from_handle(counting(made_up()), handle) }
}

/// A GPU of Ada's generation, by NVIDIA's cuDNN.
fn real_target() -> Target {
    let json = include_str!("../../../../tests/cudnn-device-properties/rtx4090.json");
    Target::with_properties(counting(CudnnFunctions::load().unwrap()), json).unwrap()
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
        assert!(Graph::with_output(&target, shape, output).is_ok());
        for wrong in [[16, 11, 12], [16, 9, 12], [16, 10, 13], [16, 10, 11], [15, 10, 12]] {
            let error = Graph::with_output(&target, shape, wrong).err();
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
