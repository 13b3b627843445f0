//! What cuDNN proposes to run for a graph, and the plan that is taken.

use std::ffi::c_void;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind, cudnnBackendNumericalNote_t as Note,
};
use cudarc::driver::sys::CUdeviceptr;

use super::{Device, TENSOR_IDS, Target};
use crate::backend::cudnn::descriptor::{Descriptor, Draft};
use crate::backend::cudnn::error::GpuError;
use crate::backend::cudnn::options::Math;
use crate::backend::plan::{Knob, PlanRecord, RefusedPlan, TimedPlan, numerical_note};
use crate::units::Bytes;

/// Room for an engine's knobs; cuDNN 9.28 knows of 46.
const MOST_KNOBS: usize = 64;

/// An engine with its knobs that cuDNN proposes for a graph.
#[allow(missing_docs, reason = "`PlanRecord` has the same fields")]
pub struct Candidate {
    /// Place in the heuristics' answer, from 0.
    pub rank: usize,
    pub engine: i64,
    pub knobs: Vec<Knob>,
    pub numerical_notes: Vec<i64>,
    pub behavior_notes: Vec<i64>,
    pub(super) heuristics_failure: Option<String>,
    target: Target,
    configuration: Descriptor,
}

/// A candidate that cuDNN can run.
pub struct ExecutionPlan {
    target: Target,
    descriptor: Descriptor,
    record: PlanRecord,
}

/// The tensors and the workspace that a plan runs on.
pub(in crate::backend::cudnn) struct Pack(Descriptor);

impl Math {
    /// Why an engine with these notes is not allowed, if it is not.
    fn refusal(self, numerical_notes: &[i64]) -> Option<String> {
        let forbidden = |note: Note| {
            let note = note as i64;
            numerical_notes.contains(&note).then(|| numerical_note(note))
        };
        // both leave less than TF32: FP16 or BF16 inputs, or sums in them
        let less = forbidden(Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)
            .or_else(|| forbidden(Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION));
        if let Some(note) = less {
            return Some(format!("less precise than TF32: {note}"));
        }
        match self {
            Self::Tf32 => None,
            Self::F32 => forbidden(Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE)
                .map(|note| format!("less precise than fp32: {note}")),
        }
    }
}

impl Candidate {
    pub(super) fn read(
        target: &Target,
        configuration: Descriptor,
        rank: usize,
    ) -> Result<Self, GpuError> {
        let engine = configuration
            .descriptors(
                Attribute::CUDNN_ATTR_ENGINECFG_ENGINE,
                Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
                1,
            )?
            .pop()
            .ok_or_else(|| GpuError::Answer {
                call: "cudnnBackendGetAttribute",
                got: "no engine".to_owned(),
                expected: "the engine of a configuration",
            })?;
        let notes = |name, of| engine.codes(name, of);
        Ok(Self {
            rank,
            engine: engine.integer(Attribute::CUDNN_ATTR_ENGINE_GLOBAL_INDEX)?,
            knobs: knobs(&configuration)?,
            numerical_notes: notes(
                Attribute::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                Type::CUDNN_TYPE_NUMERICAL_NOTE,
            )?,
            behavior_notes: notes(
                Attribute::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                Type::CUDNN_TYPE_BEHAVIOR_NOTE,
            )?,
            heuristics_failure: None,
            target: target.clone(),
            configuration,
        })
    }

    /// Whether both are the same engine with the same knobs, in whatever order.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let sorted = |candidate: &Self| {
            let mut knobs = candidate.knobs.clone();
            knobs.sort_unstable();
            knobs
        };
        self.engine == other.engine && sorted(self) == sorted(other)
    }

    /// The plan of this candidate.
    ///
    /// # Errors
    /// [`GpuError`] where cuDNN cannot run it after all: heuristics propose more than is supported.
    pub fn finalize(&self) -> Result<ExecutionPlan, GpuError> {
        let functions = self.target.functions;
        let mut plan = Draft::new(functions, Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?;
        self.target.set_on(
            &mut plan,
            Some(Attribute::CUDNN_ATTR_EXECUTION_PLAN_HANDLE),
            Some(Attribute::CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP),
        )?;
        let configuration = Attribute::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG;
        plan.set_descriptor(configuration, &self.configuration)?;
        let descriptor = plan.finalize()?;
        let bytes = descriptor.integer(Attribute::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)?;
        let bytes = u64::try_from(bytes).map_err(|_| GpuError::Answer {
            call: "cudnnBackendGetAttribute",
            got: format!("a workspace of {bytes} bytes"),
            expected: "0 or more",
        })?;
        let record = PlanRecord {
            engine: self.engine,
            knobs: self.knobs.clone(),
            numerical_notes: self.numerical_notes.clone(),
            behavior_notes: self.behavior_notes.clone(),
            workspace_bytes: Bytes(bytes),
            rank: self.rank,
            heuristics_failure: self.heuristics_failure.clone(),
            refused: Vec::new(),
            timed: Vec::new(),
        };
        Ok(ExecutionPlan { target: self.target.clone(), descriptor, record })
    }

    /// The plan, if it may be taken.
    fn admit(&self, math: Math, workspace_limit: Bytes) -> Result<ExecutionPlan, RefusedPlan> {
        if let Some(reason) = math.refusal(&self.numerical_notes) {
            return Err(self.refused(reason));
        }
        let plan = self.finalize().map_err(|error| self.refused(error.to_string()))?;
        let workspace = plan.record.workspace_bytes;
        if workspace > workspace_limit {
            let reason = format!("a workspace of {workspace}, where {workspace_limit} are allowed");
            return Err(self.refused(reason));
        }
        Ok(plan)
    }

    fn refused(&self, reason: String) -> RefusedPlan {
        RefusedPlan { rank: self.rank, engine: Some(self.engine), reason }
    }
}

fn knobs(configuration: &Descriptor) -> Result<Vec<Knob>, GpuError> {
    let choices = configuration.descriptors(
        Attribute::CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
        Kind::CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
        MOST_KNOBS,
    )?;
    let read = |choice: &Descriptor| {
        Ok(Knob {
            kind: choice
                .code(Attribute::CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, Type::CUDNN_TYPE_KNOB_TYPE)?,
            value: choice.integer(Attribute::CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE)?,
        })
    };
    choices.iter().map(read).collect()
}

impl ExecutionPlan {
    /// Enqueues one forward pass on the handle's stream.
    pub(in crate::backend::cudnn) fn launch(&self, pack: &Pack) -> Result<(), GpuError> {
        let functions = self.target.functions;
        let handle = match self.target.device {
            Device::Handle(handle) => handle,
            // cuDNN refuses to launch without a handle
            Device::Properties(_) => std::ptr::null_mut(),
        };
        let (plan, pack) = (self.descriptor.raw(), pack.0.raw());
        // SAFETY: both are finalised and live; handle and addresses are valid by the contracts of
        // `Target::from_handle` and `Pack::new`.
        let status = unsafe { (functions.cudnnBackendExecute)(handle, plan, pack) };
        functions.check("cudnnBackendExecute", status)
    }

    /// What is kept of it.
    pub fn record(&self) -> &PlanRecord {
        &self.record
    }

    /// The same, chosen by times.
    pub(in crate::backend::cudnn) fn with_timed(mut self, timed: Vec<TimedPlan>) -> Self {
        self.record.timed = timed;
        self
    }

    /// [`record`](Self::record), when the plan is no longer needed.
    pub fn into_record(self) -> PlanRecord {
        self.record
    }
}

/// The first candidate that `math` allows, that cuDNN finalises within `workspace_limit`, and that
/// `accept` takes, with what `accept` made of it: the place to allocate the workspace and to launch
/// it once. Want of memory there, or cuDNN's refusal, is one more reason to go on to the next
/// candidate; any other error is returned.
///
/// # Errors
/// [`GpuError::NoPlan`] where every candidate is refused; an error of `accept`.
pub fn first_that<T>(
    candidates: &[Candidate],
    math: Math,
    workspace_limit: Bytes,
    mut accept: impl FnMut(&ExecutionPlan) -> Result<T, GpuError>,
) -> Result<(ExecutionPlan, T), GpuError> {
    let mut refused = Vec::new();
    for candidate in candidates {
        let mut plan = match candidate.admit(math, workspace_limit) {
            Ok(plan) => plan,
            Err(reason) => {
                refused.push(reason);
                continue;
            }
        };
        match accept(&plan) {
            Ok(made) => {
                plan.record.refused = refused;
                return Ok((plan, made));
            }
            Err(error) if error.is_of_plan() => {
                refused.push(candidate.refused(error.to_string()));
            }
            Err(error) => return Err(error.releasing(plan)),
        }
    }
    Err(GpuError::NoPlan { refused })
}

/// The first `at_most` candidates that may be taken, as by [`first_that`], for timing them against
/// each other; each plan's record has those refused before it.
///
/// # Errors
/// [`GpuError::NoPlan`] where every candidate is refused.
pub fn first_plans(
    candidates: &[Candidate],
    math: Math,
    workspace_limit: Bytes,
    at_most: usize,
) -> Result<Vec<ExecutionPlan>, GpuError> {
    let mut plans = Vec::new();
    let mut refused = Vec::new();
    for candidate in candidates {
        if plans.len() == at_most {
            break;
        }
        match candidate.admit(math, workspace_limit) {
            Ok(mut plan) => {
                plan.record.refused.clone_from(&refused);
                plans.push(plan);
            }
            Err(reason) => refused.push(reason),
        }
    }
    if plans.is_empty() { Err(GpuError::NoPlan { refused }) } else { Ok(plans) }
}

impl Pack {
    /// Addresses on the device.
    ///
    /// # Safety
    /// `[x, w, y]` are the addresses of the tensors of `target`'s graph and `workspace` that of as
    /// many bytes as the plans launched with it need (or null, for none), in the context of the
    /// target's handle and aligned as the graph says; they stay so until the last launch has
    /// finished.
    pub(in crate::backend::cudnn) unsafe fn new(
        target: &Target,
        tensors: [CUdeviceptr; 3],
        workspace: CUdeviceptr,
    ) -> Result<Self, GpuError> {
        let kind = Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR;
        let mut pack = Draft::new(target.functions, kind)?;
        pack.set_integers(Attribute::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &TENSOR_IDS)?;
        let address = |pointer: CUdeviceptr| pointer as *mut c_void;
        let tensors = tensors.map(address);
        pack.set_addresses(Attribute::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &tensors)?;
        pack.set_addresses(Attribute::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &[address(workspace)])?;
        Ok(Self(pack.finalize()?))
    }
}
