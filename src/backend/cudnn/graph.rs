//! One forward convolution as cuDNN's operation graph.
//!
//! The graph can be made for a device, or for the properties of a device that is not there: cuDNN
//! then proposes and finalises all the same, so that everything short of a launch can be checked
//! against the real library anywhere.

use std::path::Path;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind, cudnnBackendHeurMode_t as HeuristicMode,
    cudnnConvolutionMode_t as ConvolutionMode, cudnnDataType_t as DataType, cudnnHandle_t,
};

use super::descriptor::{Descriptor, Draft};
use super::error::GpuError;
use super::library::{Cudnn, CudnnFunctions, cuda_version, cudnn_version};
use crate::shape::{ConvShape, Padding};

mod plan;

pub(super) use plan::Pack;
pub use plan::{Candidate, ExecutionPlan, first_plans, first_that};

/// By these the variant pack tells the tensors apart: input, weights, output.
const TENSOR_IDS: [i64; 3] = [1, 2, 3];

/// What the tensors' addresses are multiples of, in bytes. The driver aligns more; 32 is what PyTorch
/// promises cuDNN at most, so engines are the ones it would get.
const ALIGNMENT: i64 = 32;

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

impl Target {
    /// A device that need not be there, by its properties as cuDNN writes them in JSON, and the versions of
    /// cuDNN and of the CUDA that it was built with. Its plans cannot be launched. `library` is cuDNN's
    /// file, or its folder; without it, it is searched for.
    ///
    /// # Errors
    /// [`GpuError`] where there is no cuDNN, it is older than 9.8, or it refuses the properties.
    pub fn from_properties(
        json: &str,
        library: Option<&Path>,
    ) -> Result<(Self, [String; 2]), GpuError> {
        let cudnn = Cudnn::load_without_device(library)?;
        let target = Self::with_properties(cudnn.functions, json)?;
        Ok((target, [cudnn_version(cudnn.version), cuda_version(cudnn.built_with)]))
    }

    /// Another device by its properties, for the same library.
    ///
    /// # Errors
    /// [`GpuError`] where cuDNN is older than 9.8, or refuses the properties.
    pub(crate) fn described(&self, json: &str) -> Result<Self, GpuError> {
        Self::with_properties(self.functions, json)
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

/// What of a graph is not as in every convolution with these channels and this kernel.
struct Sizes {
    /// Rows and columns of the image.
    image: [usize; 2],
    /// Channels, rows and columns.
    output: [usize; 3],
    padding: Padding,
}

impl Sizes {
    fn of_shape(shape: ConvShape) -> Self {
        let image = [shape.height(), shape.width()];
        let output = [shape.out_channels(), shape.height(), shape.width()];
        Self { image, output, padding: shape.padding() }
    }
}

impl Graph {
    /// The graph of a forward convolution of `shape`.
    pub fn new(target: &Target, shape: ConvShape) -> Result<Self, GpuError> {
        Self::with_sizes(target, shape, Sizes::of_shape(shape))
    }

    /// The graph that a framework makes for it: for an even kernel, that of the image with a row and a column
    /// of padding already there.
    pub fn of_framework(target: &Target, shape: ConvShape) -> Result<Self, GpuError> {
        let mut sizes = Sizes::of_shape(shape);
        if let Some(image) = shape.padded_image() {
            let before = sizes.padding.before;
            sizes = Sizes { image, padding: Padding { before, after: before }, ..sizes };
        }
        Self::with_sizes(target, shape, sizes)
    }

    fn with_sizes(
        target: &Target,
        shape: ConvShape,
        Sizes { image, output: [channels, height, width], padding }: Sizes,
    ) -> Result<Self, GpuError> {
        let functions = target.functions;
        let [x, w, y] = [
            [1, shape.in_channels(), image[0], image[1]],
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
                convolution(functions, padding)?,
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

#[cfg(test)]
mod tests;
