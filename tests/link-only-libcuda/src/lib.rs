//! A `libcuda.so.1` to link to, not to call.
//!
//! Where there is no NVIDIA driver, a part of cuDNN cannot be loaded for want of the six functions
//! below, though nothing that cuDNN does for a device described by its properties calls them. With
//! this library as `libcuda.so.1` on the loader's path it is loaded, and what it proposes and plans
//! for our convolutions can be checked.
//!
//! It stands in for no driver and no device: there is no `cuInit`, and every function here answers
//! that it is not supported, so a test that needs more than linking fails.

#![allow(non_snake_case, reason = "the driver's names")]

use std::ffi::{c_char, c_int};
use std::ptr;

/// `CUDA_ERROR_NOT_SUPPORTED`.
const NOT_SUPPORTED: c_int = 801;

/// Gives no text.
///
/// # Safety
/// `text` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(_status: c_int, text: *mut *const c_char) -> c_int {
    if !text.is_null() {
        // SAFETY: by the caller's promise.
        unsafe { *text = ptr::null() };
    }
    NOT_SUPPORTED
}

/// Functions that take arguments of the driver's, touch none, and are not supported: in C's calling
/// conventions on 64-bit systems, it is the caller who removes them.
macro_rules! not_supported {
    ($($function:ident)*) => {
        $(
            /// Not supported.
            #[unsafe(no_mangle)]
            pub extern "C" fn $function() -> c_int {
                NOT_SUPPORTED
            }
        )*
    };
}

not_supported! {
    cuModuleGetFunction
    cuModuleLoadData
    cuModuleUnload
    cuTensorMapEncodeIm2col
    cuTensorMapEncodeTiled
}
