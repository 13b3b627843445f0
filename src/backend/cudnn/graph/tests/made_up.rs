//! A cuDNN with just enough in it to propose, plan and launch.

use super::*;

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
    pub(super) static SET: RefCell<BTreeMap<u32, Vec<u64>>> = const { RefCell::new(BTreeMap::new()) };
    static MADE: RefCell<Vec<Made>> = const { RefCell::new(Vec::new()) };
}

fn made<T>(raw: cudnnBackendDescriptor_t, with: impl FnOnce(&mut Made) -> T) -> T {
    MADE.with_borrow_mut(|made| with(&mut made[raw as usize - 1]))
}

/// A cuDNN that keeps just enough to answer with [`PREFERRED`] and [`FALLBACK`].
pub(super) fn made_up() -> CudnnFunctions {
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
