//! cuDNN's descriptors, owned: made, filled, finalised, read and destroyed.
//!
//! cuDNN has one opaque type for all of them, with attributes by number, and trusts its caller: the
//! wrong kind of descriptor, or one not finalised, can crash it. So a [`Draft`] can only be filled,
//! a [`Descriptor`] only be read, and a descriptor keeps alive what it was made from.

use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Attribute, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptor_t, cudnnBackendDescriptorType_t as Kind,
    cudnnBackendHeurMode_t as HeuristicMode, cudnnConvolutionMode_t as ConvolutionMode,
    cudnnDataType_t as DataType, cudnnHandle_t,
};

use super::error::GpuError;
use super::library::CudnnFunctions;

/// More elements than any attribute has: a larger count is an error.
const MOST_ELEMENTS: i64 = 1 << 16;

/// A descriptor not yet finalised.
pub(super) struct Draft {
    functions: CudnnFunctions,
    raw: cudnnBackendDescriptor_t,
    /// Released after `raw`, which may refer to them: fields are dropped after `drop`.
    uses: Vec<Descriptor>,
}

/// A finalised descriptor.
#[derive(Clone)]
pub(super) struct Descriptor(Rc<Draft>);

impl Draft {
    pub(super) fn new(functions: CudnnFunctions, kind: Kind) -> Result<Self, GpuError> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` receives the descriptor.
        let status = unsafe { (functions.cudnnBackendCreateDescriptor)(kind as u32, &raw mut raw) };
        functions.check("cudnnBackendCreateDescriptor", status)?;
        Ok(Self { functions, raw, uses: Vec::new() })
    }

    pub(super) fn set_integers(&mut self, name: Attribute, values: &[i64]) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_INT64, values)
    }

    pub(super) fn set_float(&mut self, name: Attribute, value: f32) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_FLOAT, &[value])
    }

    pub(super) fn set_text(&mut self, name: Attribute, text: &str) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_CHAR, text.as_bytes())
    }

    pub(super) fn set_data_type(&mut self, name: Attribute, of: DataType) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_DATA_TYPE, &[of as u32])
    }

    pub(super) fn set_convolution_mode(
        &mut self,
        name: Attribute,
        mode: ConvolutionMode,
    ) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_CONVOLUTION_MODE, &[mode as u32])
    }

    pub(super) fn set_heuristic_mode(
        &mut self,
        name: Attribute,
        mode: HeuristicMode,
    ) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_HEUR_MODE, &[mode as u32])
    }

    /// Addresses are stored, not read: what they point at matters where the descriptor is executed.
    pub(super) fn set_addresses(
        &mut self,
        name: Attribute,
        addresses: &[*mut c_void],
    ) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_VOID_PTR, addresses)
    }

    /// # Safety
    /// `handle` is a handle of the same library, valid as long as this descriptor or any made from
    /// it.
    pub(super) unsafe fn set_handle(
        &mut self,
        name: Attribute,
        handle: cudnnHandle_t,
    ) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_HANDLE, &[handle])
    }

    /// Sets other descriptors, and keeps them as long as this one.
    pub(super) fn set_descriptor(
        &mut self,
        name: Attribute,
        value: &Descriptor,
    ) -> Result<(), GpuError> {
        self.set(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &[value.0.raw])?;
        self.uses.push(value.clone());
        Ok(())
    }

    /// `T` is what the header says an element of type `of` is.
    fn set<T>(&mut self, name: Attribute, of: Type, values: &[T]) -> Result<(), GpuError> {
        // SAFETY: the descriptor is this draft's own, and `values` as many elements as is said.
        let status = unsafe {
            (self.functions.cudnnBackendSetAttribute)(
                self.raw,
                name as u32,
                of as u32,
                values.len() as i64,
                values.as_ptr().cast(),
            )
        };
        self.functions.check("cudnnBackendSetAttribute", status)
    }

    /// The descriptor, if its attributes are complete, consistent and supported.
    pub(super) fn finalize(self) -> Result<Descriptor, GpuError> {
        // SAFETY: the descriptor is this draft's own; those it was given are finalised and kept.
        let status = unsafe { (self.functions.cudnnBackendFinalize)(self.raw) };
        self.functions.check("cudnnBackendFinalize", status)?;
        Ok(Descriptor(Rc::new(self)))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // SAFETY: created by this draft, destroyed nowhere else. A status would tell of nothing
        // that could still be done.
        unsafe { (self.functions.cudnnBackendDestroyDescriptor)(self.raw) };
    }
}

impl Descriptor {
    /// For a call that takes descriptors; valid as long as this one.
    pub(super) fn raw(&self) -> cudnnBackendDescriptor_t {
        self.0.raw
    }

    /// An attribute that is one 64-bit integer.
    pub(super) fn integer(&self, name: Attribute) -> Result<i64, GpuError> {
        let mut value = [0i64];
        match self.get(name, Type::CUDNN_TYPE_INT64, &mut value)? {
            1 => Ok(value[0]),
            count => Err(answer(format!("{count} integers"), "one")),
        }
    }

    /// The elements of an enumeration as numbers, because a newer cuDNN has more of them than cudarc.
    pub(super) fn codes(&self, name: Attribute, of: Type) -> Result<Vec<i64>, GpuError> {
        // cuDNN's enumerations are C's, of 32 bits
        let mut values = vec![0i32; self.count(name, of)?];
        let count = self.get(name, of, &mut values)?;
        values.truncate(count);
        Ok(values.into_iter().map(i64::from).collect())
    }

    /// The first `at_most` of an attribute's 64-bit integers.
    #[cfg(test)]
    pub(super) fn integers(&self, name: Attribute, at_most: usize) -> Result<Vec<i64>, GpuError> {
        let mut values = vec![0i64; at_most];
        let count = self.get(name, Type::CUDNN_TYPE_INT64, &mut values)?;
        values.truncate(count);
        Ok(values)
    }

    /// An attribute that is one element of an enumeration.
    pub(super) fn code(&self, name: Attribute, of: Type) -> Result<i64, GpuError> {
        let mut value = [0i32];
        match self.get(name, of, &mut value)? {
            1 => Ok(i64::from(value[0])),
            count => Err(answer(format!("{count} values"), "one")),
        }
    }

    /// How many elements an attribute has, according to cuDNN. For descriptors this can be wrong: it
    /// is too large for heuristics' results, and 0 for knob choices.
    pub(super) fn count(&self, name: Attribute, of: Type) -> Result<usize, GpuError> {
        self.get::<u8>(name, of, &mut [])
    }

    /// The first `at_most` descriptors that an attribute has, each of the given kind.
    pub(super) fn descriptors(
        &self,
        name: Attribute,
        kind: Kind,
        at_most: usize,
    ) -> Result<Vec<Self>, GpuError> {
        let draft = || Draft::new(self.0.functions, kind);
        let mut drafts = (0..at_most).map(|_| draft()).collect::<Result<Vec<_>, _>>()?;
        let mut raw: Vec<_> = drafts.iter().map(|draft| draft.raw).collect();
        let count = self.get(name, Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut raw)?;
        // cuDNN has filled, and thereby finalised, so many
        drafts.truncate(count);
        let read = |mut draft: Draft| {
            draft.uses.push(self.clone());
            Self(Rc::new(draft))
        };
        Ok(drafts.into_iter().map(read).collect())
    }

    /// Reads the elements that fit into `values`; if `values` is empty, only counts them.
    fn get<T>(&self, name: Attribute, of: Type, values: &mut [T]) -> Result<usize, GpuError> {
        let mut count = 0i64;
        // a null pointer: for no elements at any other, cuDNN reads what is there
        let room = if values.is_empty() { ptr::null_mut() } else { values.as_mut_ptr() };
        // SAFETY: the descriptor is finalised; there is room for as many elements as is said, each
        // of the type that the header gives for `of`.
        let status = unsafe {
            (self.0.functions.cudnnBackendGetAttribute)(
                self.0.raw,
                name as u32,
                of as u32,
                values.len() as i64,
                &raw mut count,
                room.cast(),
            )
        };
        self.0.functions.check("cudnnBackendGetAttribute", status)?;
        if !(0..=MOST_ELEMENTS).contains(&count) {
            return Err(answer(format!("a count of {count}"), "how many elements there are"));
        }
        let count = count as usize;
        Ok(if values.is_empty() { count } else { count.min(values.len()) })
    }
}

fn answer(got: String, expected: &'static str) -> GpuError {
    GpuError::Answer { call: "cudnnBackendGetAttribute", got, expected }
}
