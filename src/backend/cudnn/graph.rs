//! One forward convolution as cuDNN's operation graph, what cuDNN proposes to run for it, and the
//! plan that is taken.
//!
//! The graph can be made for a device, or for the properties of a device that is not there: cuDNN
//! then proposes and finalises all the same, so that everything short of a launch can be checked
//! against the real library anywhere.

use std::ffi::c_void;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind, cudnnBackendHeurMode_t as HeuristicMode,
    cudnnBackendNumericalNote_t as Note, cudnnConvolutionMode_t as ConvolutionMode,
    cudnnDataType_t as DataType, cudnnHandle_t,
};
use cudarc::driver::sys::CUdeviceptr;

use super::descriptor::{Descriptor, Draft};
use super::error::GpuError;
use super::library::{CudnnFunctions, load_cudnn};
use super::options::Math;
use crate::backend::plan::{Knob, PlanRecord, RefusedPlan, TimedPlan, numerical_note};
use crate::shape::{ConvShape, Padding};
use crate::units::Bytes;

/// By these the variant pack tells the tensors apart: input, weights, output.
const TENSOR_IDS: [i64; 3] = [1, 2, 3];

/// What the tensors' addresses are multiples of, in bytes. The driver aligns more; 32 is what PyTorch
/// promises cuDNN at most, so engines are the ones it would get.
const ALIGNMENT: i64 = 32;

/// Room for an engine's knobs; cuDNN 9.28 knows of 46.
const MOST_KNOBS: usize = 64;

/// For what device cuDNN proposes and plans.
#[derive(Clone)]
pub struct Target {
    functions: CudnnFunctions,
    device: Device,
}

#[derive(Clone)]
enum Device {
    Handle(cudnnHandle_t),
    Properties(Descriptor),
}

/// The operation graph of one forward convolution: `f32`, NCHW, fully packed.
pub struct Graph {
    target: Target,
    descriptor: Descriptor,
}

/// An engine with its knobs that cuDNN proposes for a graph.
pub struct Candidate {
    /// Place in the heuristics' answer, from 0.
    pub rank: usize,
    /// cuDNN's number of the engine.
    pub engine: i64,
    /// The engine's settings.
    pub knobs: Vec<Knob>,
    /// What the engine's arithmetic is like.
    pub numerical_notes: Vec<i64>,
    /// What else the engine does.
    pub behavior_notes: Vec<i64>,
    /// Why one of the two lists that it might come from is missing.
    heuristics_failure: Option<String>,
    target: Target,
    configuration: Descriptor,
}

/// A candidate that cuDNN can run.
pub struct Plan {
    target: Target,
    descriptor: Descriptor,
    record: PlanRecord,
}

/// The tensors and the workspace that a plan runs on.
pub(super) struct Pack(Descriptor);

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

impl Target {
    /// A device that need not be there, by its properties as cuDNN writes them in JSON. Its plans
    /// cannot be launched.
    ///
    /// # Errors
    /// [`GpuError`] where there is no cuDNN, it is older than 9.8, or it refuses the properties.
    pub fn from_properties(json: &str) -> Result<Self, GpuError> {
        let (functions, ..) = load_cudnn(None)?;
        Self::with_properties(functions, json)
    }

    fn with_properties(functions: CudnnFunctions, json: &str) -> Result<Self, GpuError> {
        let mut properties = Draft::new(functions, Kind::CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR)?;
        properties.set_text(Attribute::CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json)?;
        Ok(Self { functions, device: Device::Properties(properties.finalize()?) })
    }

    /// The device of a handle.
    ///
    /// # Safety
    /// `handle` is of the library that `functions` are of, and valid as long as this target and
    /// all that is made from it.
    pub(super) unsafe fn from_handle(functions: CudnnFunctions, handle: cudnnHandle_t) -> Self {
        Self { functions, device: Device::Handle(handle) }
    }

    /// Tells a descriptor what it is for, by whichever of the two attributes applies; some have the
    /// handle from the graph, or need no device yet.
    fn set_on(
        &self,
        draft: &mut Draft,
        handle_name: Option<Attribute>,
        properties_name: Option<Attribute>,
    ) -> Result<(), GpuError> {
        match (&self.device, handle_name, properties_name) {
            // SAFETY: valid, by the contract of `from_handle`.
            (Device::Handle(handle), Some(name), _) => unsafe { draft.set_handle(name, *handle) },
            (Device::Properties(properties), _, Some(name)) => {
                draft.set_descriptor(name, properties)
            }
            _ => Ok(()),
        }
    }
}

impl Graph {
    /// The graph of a forward convolution of `shape`.
    ///
    /// # Errors
    /// [`GpuError`] where cuDNN refuses it.
    pub fn new(target: &Target, shape: ConvShape) -> Result<Self, GpuError> {
        let output = [shape.out_channels(), shape.height(), shape.width()];
        Self::with_output(target, shape, output)
    }

    fn with_output(
        target: &Target,
        shape: ConvShape,
        [channels, height, width]: [usize; 3],
    ) -> Result<Self, GpuError> {
        let functions = target.functions;
        let [x, w, y] = [
            [1, shape.in_channels(), shape.height(), shape.width()],
            [shape.out_channels(), shape.in_channels(), shape.kernel(), shape.kernel()],
            [1, channels, height, width],
        ];
        let [x_id, w_id, y_id] = TENSOR_IDS;
        let mut operation =
            Draft::new(functions, Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)?;
        for (name, value) in [
            (Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, tensor(functions, x_id, x)?),
            (Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, tensor(functions, w_id, w)?),
            (Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, tensor(functions, y_id, y)?),
            (
                Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                convolution(functions, shape.padding())?,
            ),
        ] {
            operation.set_descriptor(name, &value)?;
        }
        operation.set_float(Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0)?;
        operation.set_float(Attribute::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0)?;
        let operation = operation.finalize()?;

        let mut graph = Draft::new(functions, Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?;
        target.set_on(&mut graph, Some(Attribute::CUDNN_ATTR_OPERATIONGRAPH_HANDLE), None)?;
        graph.set_descriptor(Attribute::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?;
        Ok(Self { target: target.clone(), descriptor: graph.finalize()? })
    }

    /// What cuDNN proposes, the presumably fastest first: its heuristics' mode A, then its fallback
    /// list without what is there already. The same cuDNN proposes the same for the same kind of
    /// device.
    ///
    /// # Errors
    /// [`GpuError`] where cuDNN does not support the convolution at all, or fails.
    pub fn candidates(&self) -> Result<Vec<Candidate>, GpuError> {
        let preferred = self.ask(HeuristicMode::CUDNN_HEUR_MODE_A);
        let fallback = self.ask(HeuristicMode::CUDNN_HEUR_MODE_FALLBACK);
        // where one mode fails, the other may well know what to do
        let (configurations, failure) = match (preferred, fallback) {
            (Ok(preferred), Err(error)) if error.is_of_cudnn() => (preferred, Some(error)),
            (Err(error), Ok(fallback)) if error.is_of_cudnn() => (fallback, Some(error)),
            (preferred, fallback) => ([preferred?, fallback?].concat(), None),
        };
        // that there is nothing to propose is an answer
        let failure = failure.filter(|error| !error.is_unsupported());
        let mut candidates: Vec<Candidate> = Vec::new();
        for configuration in configurations {
            let mut candidate = Candidate::read(&self.target, configuration, candidates.len())?;
            candidate.heuristics_failure = failure.as_ref().map(ToString::to_string);
            if !candidates.iter().any(|other| other.is_same(&candidate)) {
                candidates.push(candidate);
            }
        }
        Ok(candidates)
    }

    /// The engine configurations that one mode of the heuristics answers.
    fn ask(&self, mode: HeuristicMode) -> Result<Vec<Descriptor>, GpuError> {
        const RESULTS: Attribute = Attribute::CUDNN_ATTR_ENGINEHEUR_RESULTS;
        let mut heuristics =
            Draft::new(self.target.functions, Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?;
        heuristics
            .set_descriptor(Attribute::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, &self.descriptor)?;
        heuristics.set_heuristic_mode(Attribute::CUDNN_ATTR_ENGINEHEUR_MODE, mode)?;
        let properties = Attribute::CUDNN_ATTR_ENGINEHEUR_DEVICEPROP;
        self.target.set_on(&mut heuristics, None, Some(properties))?;
        let heuristics = heuristics.finalize()?;
        let at_most = heuristics.count(RESULTS, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR)?;
        heuristics.descriptors(RESULTS, Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, at_most)
    }
}

/// A tensor of these dimensions, the last one contiguous.
fn tensor(functions: CudnnFunctions, id: i64, dims: [usize; 4]) -> Result<Descriptor, GpuError> {
    // a shape's elements are fewer than 2⁶³
    let dims = dims.map(|length| length as i64);
    let [_, b, c, d] = dims;
    let mut tensor = Draft::new(functions, Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[id])?;
    tensor.set_data_type(Attribute::CUDNN_ATTR_TENSOR_DATA_TYPE, DataType::CUDNN_DATA_FLOAT)?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[ALIGNMENT])?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_DIMENSIONS, &dims)?;
    tensor.set_integers(Attribute::CUDNN_ATTR_TENSOR_STRIDES, &[b * c * d, c * d, d, 1])?;
    tensor.finalize()
}

/// Stride 1, dilation 1, sums in `f32`, the kernel not flipped, padded alike on both axes.
fn convolution(functions: CudnnFunctions, padding: Padding) -> Result<Descriptor, GpuError> {
    let mut convolution = Draft::new(functions, Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?;
    convolution
        .set_data_type(Attribute::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, DataType::CUDNN_DATA_FLOAT)?;
    convolution.set_convolution_mode(
        Attribute::CUDNN_ATTR_CONVOLUTION_CONV_MODE,
        ConvolutionMode::CUDNN_CROSS_CORRELATION,
    )?;
    convolution.set_integers(Attribute::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2])?;
    for (name, value) in [
        (Attribute::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 1),
        (Attribute::CUDNN_ATTR_CONVOLUTION_DILATIONS, 1),
        (Attribute::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding.before as i64),
        (Attribute::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding.after as i64),
    ] {
        convolution.set_integers(name, &[value, value])?;
    }
    convolution.finalize()
}

impl Candidate {
    fn read(target: &Target, configuration: Descriptor, rank: usize) -> Result<Self, GpuError> {
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
    fn is_same(&self, other: &Self) -> bool {
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
    pub fn finalize(&self) -> Result<Plan, GpuError> {
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
        Ok(Plan { target: self.target.clone(), descriptor, record })
    }

    /// The plan, if it may be taken.
    fn admit(&self, math: Math, workspace_limit: Bytes) -> Result<Plan, RefusedPlan> {
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

impl Plan {
    /// Enqueues one forward pass on the handle's stream.
    ///
    /// # Errors
    /// [`GpuError::Call`] where cuDNN or the device fails.
    pub(super) fn launch(&self, pack: &Pack) -> Result<(), GpuError> {
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
    pub(super) fn with_timed(mut self, timed: Vec<TimedPlan>) -> Self {
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
    mut accept: impl FnMut(&Plan) -> Result<T, GpuError>,
) -> Result<(Plan, T), GpuError> {
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
            Err(error) => return Err(error),
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
) -> Result<Vec<Plan>, GpuError> {
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
    /// # Errors
    /// [`GpuError`] where cuDNN refuses.
    ///
    /// # Safety
    /// `[x, w, y]` are the addresses of the tensors of `target`'s graph and `workspace` that of as
    /// many bytes as the plans launched with it need (or null, for none), in the context of the
    /// target's handle and aligned as the graph says; they stay so until the last launch has
    /// finished.
    pub(super) unsafe fn new(
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

#[cfg(test)]
mod tests;
