//! What a framework executes around a convolution ([`Convolution::Framework`]), by functions of cuDNN that do
//! the same as PyTorch's own kernels: the copy of the image for an even kernel by `cudnnTransformTensor`, after
//! zeros are written to all of it, and the bias by `cudnnAddTensor`.
//!
//! [`Convolution::Framework`]: crate::protocol::Convolution::Framework

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use cudarc::cudnn::sys::{cudnnDataType_t as DataType, cudnnTensorDescriptor_t};
use cudarc::driver::sys::CUdeviceptr;

use super::buffer_pool::Purpose;
use super::library::TensorFunctions;
use super::{CudnnBackend, GpuError, Memory};
use crate::reference;
use crate::shape::ConvShape;
use crate::units::Bytes;

/// What is prepared for it: memory, and the tensors' layouts.
pub(super) struct Framework {
    functions: TensorFunctions,
    copy: Option<PaddedCopy>,
    bias: Memory,
    bias_layout: Layout,
    output_layout: Layout,
}

/// For an even kernel.
struct PaddedCopy {
    image: Memory,
    /// Of the image; what is from a pool may be larger.
    bytes: Bytes,
    /// Of the input, and of its place in the image.
    layouts: [Layout; 2],
}

impl Framework {
    pub(super) fn new(
        backend: &CudnnBackend,
        functions: TensorFunctions,
        shape: ConvShape,
        seed: u64,
    ) -> Result<Self, GpuError> {
        let channels = shape.out_channels();
        let mut bias = backend.memory(Purpose::Bias, Bytes::of_f32(channels))?;
        bias.randomize(&backend.timer.stream, channels, reference::bias_seed(seed))?;
        let output = [channels, shape.height(), shape.width()];
        let layout = |sizes| Layout::packed(backend, functions, sizes);
        Ok(Self {
            functions,
            copy: PaddedCopy::new(backend, functions, shape)?,
            bias,
            bias_layout: layout([channels, 1, 1])?,
            output_layout: layout(output)?,
        })
    }

    /// The device memory that it takes.
    pub(super) fn required_memory(shape: ConvShape) -> Bytes {
        Bytes::of_f32(shape.padded_image_len().saturating_add(shape.out_channels()))
    }

    /// What of that is not a parameter of the layer but scratch memory: the copy of the image.
    pub(super) fn workspace_bytes(&self) -> Bytes {
        self.copy.as_ref().map_or(Bytes(0), |copy| copy.bytes)
    }

    /// The image that the convolution reads instead of the input, if it does.
    pub(super) fn image(&self) -> Option<CUdeviceptr> {
        self.copy.as_ref().map(|copy| copy.image.raw())
    }

    /// What comes before the convolution.
    pub(super) fn before(&self, backend: &CudnnBackend, input: &Memory) -> Result<(), GpuError> {
        let copy = self.copy.as_ref();
        copy.map_or(Ok(()), |copy| copy.run(backend, &self.functions, input))
    }

    /// What comes after it.
    pub(super) fn after(&self, backend: &CudnnBackend, output: &Memory) -> Result<(), GpuError> {
        let handle = &backend.handle;
        let one = 1f32;
        // SAFETY: the layouts are of tensors that lie within the two memories, which live until the stream is
        // synchronised, because freeing them synchronises; both factors are live.
        let status = unsafe {
            (self.functions.cudnnAddTensor)(
                handle.handle,
                (&raw const one).cast::<c_void>(),
                self.bias_layout.descriptor,
                self.bias.raw() as *const c_void,
                (&raw const one).cast::<c_void>(),
                self.output_layout.descriptor,
                output.raw() as *mut c_void,
            )
        };
        handle.functions.check("cudnnAddTensor", status)
    }

    /// Returns the memory to the pool, when nothing uses it any more.
    pub(super) fn put_back(&mut self, backend: &CudnnBackend) {
        backend.put_back(Purpose::Bias, self.bias.take());
        if let Some(copy) = &mut self.copy {
            backend.put_back(Purpose::Image, copy.image.take());
        }
    }
}

impl PaddedCopy {
    fn new(
        backend: &CudnnBackend,
        functions: TensorFunctions,
        shape: ConvShape,
    ) -> Result<Option<Self>, GpuError> {
        let Some([height, width]) = shape.padded_image() else { return Ok(None) };
        let sizes = [shape.in_channels(), shape.height(), shape.width()];
        let place = Layout::new(backend, functions, sizes, [height * width, width, 1])?;
        let bytes = Bytes::of_f32(shape.padded_image_len());
        Ok(Some(Self {
            image: backend.memory(Purpose::Image, bytes)?,
            bytes,
            layouts: [Layout::packed(backend, functions, sizes)?, place],
        }))
    }

    fn run(
        &self,
        backend: &CudnnBackend,
        functions: &TensorFunctions,
        input: &Memory,
    ) -> Result<(), GpuError> {
        // as PyTorch, which fills all of the image before it copies the input into it
        self.image.fill_first(self.bytes, &backend.timer.stream, 0)?;
        let (handle, [from, to]) = (&backend.handle, &self.layouts);
        let (one, zero) = (1f32, 0f32);
        // SAFETY: as for the bias.
        let status = unsafe {
            (functions.cudnnTransformTensor)(
                handle.handle,
                (&raw const one).cast::<c_void>(),
                from.descriptor,
                input.raw() as *const c_void,
                (&raw const zero).cast::<c_void>(),
                to.descriptor,
                self.image.raw() as *mut c_void,
            )
        };
        handle.functions.check("cudnnTransformTensor", status)
    }
}

/// A layout of `f32` values of one image, by rows and columns of each channel.
struct Layout {
    functions: TensorFunctions,
    descriptor: cudnnTensorDescriptor_t,
}

impl Layout {
    /// With nothing between the values.
    fn packed(
        backend: &CudnnBackend,
        functions: TensorFunctions,
        sizes: [usize; 3],
    ) -> Result<Self, GpuError> {
        let [_, height, width] = sizes;
        Self::new(backend, functions, sizes, [height * width, width, 1])
    }

    fn new(
        backend: &CudnnBackend,
        functions: TensorFunctions,
        [channels, height, width]: [usize; 3],
        [of_channel, of_row, of_column]: [usize; 3],
    ) -> Result<Self, GpuError> {
        let check = |call, status| backend.handle.functions.check(call, status);
        let mut descriptor = null_mut();
        // SAFETY: the pointer is to a live pointer.
        let status = unsafe { (functions.cudnnCreateTensorDescriptor)(&raw mut descriptor) };
        check("cudnnCreateTensorDescriptor", status)?;
        // from here on it is released by dropping
        let layout = Self { functions, descriptor };
        // there is one image: that the distance to the next is too large for an integer does not matter
        let of_image = c_int::try_from(channels.saturating_mul(of_channel)).unwrap_or(c_int::MAX);
        let numbers = [channels, height, width, of_channel, of_row, of_column];
        let [c, h, w, cs, hs, ws] = numbers.map(|number| c_int::try_from(number).unwrap_or(-1));
        // what is too large for its integers is refused by cuDNN, which a negative number always is
        let n = cs.min(1);
        let (ns, float) = (of_image, DataType::CUDNN_DATA_FLOAT as u32);
        // SAFETY: the descriptor was created above.
        let status = unsafe {
            (functions.cudnnSetTensor4dDescriptorEx)(descriptor, float, n, c, h, w, ns, cs, hs, ws)
        };
        check("cudnnSetTensor4dDescriptorEx", status)?;
        Ok(layout)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: it was created by `new`, nobody else destroys it, and calls have read it when they return.
        unsafe { (self.functions.cudnnDestroyTensorDescriptor)(self.descriptor) };
    }
}
