//! cuDNN's older functions on tensors: copies between layouts, and biases added to channels.

use crate::attributes::{BAD_PARAM, NOT_SUPPORTED};
use crate::capture::Captured;
use crate::convolution::Layout;
use crate::cudnn::{EXECUTION_FAILED, cudnn, handle_stream, illegal_access};
use crate::ffi::{In, Out};
use crate::state::{State, complain};

/// `CUDNN_DATA_FLOAT`
const FLOAT: i32 = 0;

#[unsafe(no_mangle)]
extern "C" fn cudnnCreateTensorDescriptor(descriptor: Out<u64>) -> i32 {
    cudnn("cudnnCreateTensorDescriptor", |state| {
        let new = state.opaque();
        state.graph.layouts.insert(new, None);
        descriptor.put(new, BAD_PARAM)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnDestroyTensorDescriptor(descriptor: u64) -> i32 {
    cudnn("cudnnDestroyTensorDescriptor", |state| match state.graph.layouts.remove(&descriptor) {
        Some(_) => Ok(()),
        None if descriptor == 0 => Ok(()),
        None => Err(state.not_released(descriptor, BAD_PARAM)),
    })
}

#[unsafe(no_mangle)]
#[allow(clippy::too_many_arguments, reason = "cuDNN's own signature")]
extern "C" fn cudnnSetTensor4dDescriptorEx(
    descriptor: u64,
    data_type: i32,
    n: i32,
    c: i32,
    h: i32,
    w: i32,
    n_stride: i32,
    c_stride: i32,
    h_stride: i32,
    w_stride: i32,
) -> i32 {
    cudnn("cudnnSetTensor4dDescriptorEx", |state| {
        layout(state, descriptor)?;
        let positive =
            |number: i32| usize::try_from(number).ok().filter(|n| *n > 0).ok_or(BAD_PARAM);
        if data_type != FLOAT {
            return Err(NOT_SUPPORTED);
        }
        let mut layout = Layout { sizes: [0; 4], strides: [0; 4] };
        for (axis, numbers) in
            [(n, n_stride), (c, c_stride), (h, h_stride), (w, w_stride)].into_iter().enumerate()
        {
            (layout.sizes[axis], layout.strides[axis]) =
                (positive(numbers.0)?, positive(numbers.1)?);
        }
        state.graph.layouts.insert(descriptor, Some(layout));
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnTransformTensor(
    handle: u64,
    alpha: In<f32>,
    from_layout: u64,
    from: u64,
    beta: In<f32>,
    to_layout: u64,
    to: u64,
) -> i32 {
    cudnn("cudnnTransformTensor", |state| {
        factors_are([alpha, beta], [1.0, 0.0])?;
        let from = (from, set(state, from_layout)?);
        let to = (to, set(state, to_layout)?);
        if from.1.sizes != to.1.sizes {
            return Err(BAD_PARAM);
        }
        launch(state, handle, Captured::Transform { from, to })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnAddTensor(
    handle: u64,
    alpha: In<f32>,
    bias_layout: u64,
    bias: u64,
    beta: In<f32>,
    to_layout: u64,
    to: u64,
) -> i32 {
    cudnn("cudnnAddTensor", |state| {
        factors_are([alpha, beta], [1.0, 1.0])?;
        let (values, to) = (set(state, bias_layout)?, (to, set(state, to_layout)?));
        // the one of several that it can do for which it is called here
        let is_bias = values.sizes == [1, to.1.sizes[1], 1, 1] && values.strides[1] == 1;
        let launch_it = |state: &mut State| launch(state, handle, Captured::Add { bias, to });
        if is_bias { launch_it(state) } else { Err(NOT_SUPPORTED) }
    })
}

/// Copies values to another layout.
pub fn transform(state: &mut State, from: (u64, Layout), to: (u64, Layout)) -> Result<(), i32> {
    let [from_span, to_span] = [from.1, to.1].map(|layout| layout.span().ok_or(BAD_PARAM));
    let (from_span, to_span) = (from_span?, to_span?);
    let refused = |state: &mut State, refused, address, span| {
        illegal_access(state, refused, address, (span * size_of::<f32>()) as u64)
    };
    let values = match state.driver.memory.values(from.0, from_span) {
        Ok(values) => values,
        Err(error) => return Err(refused(state, error, from.0, from_span)),
    };
    let [images, channels, rows, columns] = from.1.sizes;
    let positions = (0..images * channels * rows * columns).map(|index| {
        let (row, column) = (index / columns % rows, index % columns);
        [index / columns / rows / channels, index / columns / rows % channels, row, column]
    });
    let moved = positions.map(|at| (to.1.offset(at), values[from.1.offset(at)]));
    let written = state.driver.memory.scatter(to.0, to_span, moved);
    written.map_err(|error| refused(state, error, to.0, to_span))
}

/// Adds biases to the channels of the output of a launch.
pub fn add(state: &mut State, bias: u64, (to, layout): (u64, Layout)) -> Result<(), i32> {
    let channels = layout.sizes[1];
    let values = match state.driver.memory.values(bias, channels) {
        Ok(values) => values,
        Err(error) => {
            return Err(illegal_access(state, error, bias, (channels * size_of::<f32>()) as u64));
        }
    };
    if state.driver.memory.add_bias(to, &layout, values) {
        return Ok(());
    }
    complain("biases are added only to an output that was just launched");
    Err(EXECUTION_FAILED)
}

fn launch(state: &mut State, handle: u64, launch: Captured) -> Result<(), i32> {
    let stream = handle_stream(state, handle)?;
    if state.dead() {
        return Err(EXECUTION_FAILED);
    }
    state.stream(stream).map_err(|_| EXECUTION_FAILED)?;
    state.has_context().map_err(|_| EXECUTION_FAILED)?;
    state.launch(stream, launch)
}

fn layout(state: &mut State, descriptor: u64) -> Result<Option<Layout>, i32> {
    match state.graph.layouts.get(&descriptor) {
        Some(layout) => Ok(*layout),
        None => Err(state.not_live(descriptor, BAD_PARAM)),
    }
}

/// The layout of a descriptor that was set.
fn set(state: &mut State, descriptor: u64) -> Result<Layout, i32> {
    layout(state, descriptor)?.ok_or(BAD_PARAM)
}

/// No others are needed here.
fn factors_are(factors: [In<f32>; 2], expected: [f32; 2]) -> Result<(), i32> {
    let [alpha, beta] = factors.map(|factor| factor.read(1).map(|values| values[0]));
    match (alpha, beta) {
        (None, _) | (_, None) => Err(BAD_PARAM),
        (alpha, beta) if [alpha, beta] == expected.map(Some) => Ok(()),
        _ => Err(NOT_SUPPORTED),
    }
}
