//! The functions of the two libraries, found at run time.
//!
//! cudarc finds and opens the libraries, and owns their types and constants. Its own functions are
//! not called: they panic where a symbol is missing, and return enumerations, for which a status
//! that only a newer library knows is undefined behaviour. Here every function is looked up before
//! the first is called, and every status is an integer.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

use cudarc::cudnn::sys::{cudnnBackendDescriptor_t, cudnnHandle_t};
use cudarc::driver::sys::{CUcontext, CUdevice, CUdeviceptr, CUevent, CUstream};

use super::error::{GpuError, Library, Status, remedy};

/// Declares a table of functions and how to fill it. A function returns a [`Status`] unless another
/// type is given.
macro_rules! functions {
    (
        $(#[$doc:meta])* $table:ident of $library:expr, in $module:path;
        $($function:ident($($argument:ty),*) -> $result:ty;)*
    ) => {
        $(#[$doc])*
        #[allow(non_snake_case, reason = "the libraries' own names")]
        #[derive(Clone, Copy)]
        pub(super) struct $table {
            $(pub(super) $function: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl $table {
            /// Opens the library and looks every function up.
            pub(super) fn load() -> Result<Self, GpuError> {
                use $module as sys;
                // SAFETY: loading runs the library's own initialisers; it is the vendor's library,
                // or what the loader's search path puts in its place.
                if !unsafe { sys::is_culib_present() } {
                    return Err(GpuError::Absent { library: $library });
                }
                // SAFETY: as above; the library was there a moment ago, so this does not panic.
                let library = unsafe { sys::culib() };
                Ok(Self {
                    $($function: {
                        let symbol = concat!(stringify!($function), "\0");
                        // SAFETY: the signature is that of the library's header, with enumerations
                        // as the integers that they are in C.
                        let found = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) -> $result>(symbol.as_bytes())
                        };
                        *found.map_err(|_| GpuError::Symbol {
                            library: $library,
                            symbol: stringify!($function),
                        })?
                    },)*
                })
            }
        }
    };
}

functions! {
    /// What is asked of a driver before anything else: one that is too old lacks functions below.
    DriverVersion of Library::Driver, in cudarc::driver::sys;
    cuDriverGetVersion(*mut c_int) -> Status;
}

functions! {
    /// What is asked of cuDNN before anything else.
    CudnnVersion of Library::Cudnn, in cudarc::cudnn::sys;
    cudnnGetVersion() -> usize;
    cudnnGetCudartVersion() -> usize;
}

functions! {
    /// The driver's functions that this backend calls: those of CUDA 12 and later.
    DriverFunctions of Library::Driver, in cudarc::driver::sys;
    cuInit(c_uint) -> Status;
    cuGetErrorName(Status, *mut *const c_char) -> Status;
    cuDeviceGetCount(*mut c_int) -> Status;
    cuDeviceGet(*mut CUdevice, c_int) -> Status;
    cuDeviceGetName(*mut c_char, c_int, CUdevice) -> Status;
    cuDeviceGetAttribute(*mut c_int, c_uint, CUdevice) -> Status;
    cuDeviceGetUuid_v2(*mut [u8; 16], CUdevice) -> Status;
    cuDeviceGetPCIBusId(*mut c_char, c_int, CUdevice) -> Status;
    cuDeviceTotalMem_v2(*mut usize, CUdevice) -> Status;
    cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice) -> Status;
    cuDevicePrimaryCtxRelease_v2(CUdevice) -> Status;
    cuCtxSetCurrent(CUcontext) -> Status;
    cuStreamCreate(*mut CUstream, c_uint) -> Status;
    cuStreamDestroy_v2(CUstream) -> Status;
    cuStreamQuery(CUstream) -> Status;
    cuEventCreate(*mut CUevent, c_uint) -> Status;
    cuEventDestroy_v2(CUevent) -> Status;
    cuEventRecord(CUevent, CUstream) -> Status;
    cuEventElapsedTime(*mut f32, CUevent, CUevent) -> Status;
    cuMemAlloc_v2(*mut CUdeviceptr, usize) -> Status;
    cuMemFree_v2(CUdeviceptr) -> Status;
    cuMemGetInfo_v2(*mut usize, *mut usize) -> Status;
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream) -> Status;
    cuMemcpyDtoH_v2(*mut c_void, CUdeviceptr, usize) -> Status;
    cuMemsetD8Async(CUdeviceptr, u8, usize, CUstream) -> Status;
}

functions! {
    /// cuDNN's functions that this backend calls: those of cuDNN 9.
    CudnnFunctions of Library::Cudnn, in cudarc::cudnn::sys;
    cudnnGetErrorString(Status) -> *const c_char;
    cudnnGetLastErrorString(*mut c_char, usize) -> ();
    cudnnCreate(*mut cudnnHandle_t) -> Status;
    cudnnDestroy(cudnnHandle_t) -> Status;
    cudnnSetStream(cudnnHandle_t, CUstream) -> Status;
    cudnnBackendCreateDescriptor(c_uint, *mut cudnnBackendDescriptor_t) -> Status;
    cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t) -> Status;
    cudnnBackendSetAttribute(cudnnBackendDescriptor_t, c_uint, c_uint, i64, *const c_void) -> Status;
    cudnnBackendGetAttribute(cudnnBackendDescriptor_t, c_uint, c_uint, i64, *mut i64, *mut c_void) -> Status;
    cudnnBackendFinalize(cudnnBackendDescriptor_t) -> Status;
    cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) -> Status;
}

/// The oldest driver that cuDNN 9 runs on: CUDA 12.0.
const OLDEST_CUDA: usize = 12_000;

/// The oldest cuDNN that is supported, as `cudnnGetVersion` encodes it: 9.0.0.
const OLDEST_CUDNN: usize = 90_000;

/// The driver, and the newest CUDA that it supports, encoded.
pub(super) fn load_driver() -> Result<(DriverFunctions, usize), GpuError> {
    let before = DriverVersion::load()?;
    let mut version: c_int = 0;
    // SAFETY: the pointer is to a live integer. This call may come before initialisation.
    let status = unsafe { (before.cuDriverGetVersion)(&raw mut version) };
    let version = usize::try_from(version).unwrap_or(0);
    if status == 0 && version < OLDEST_CUDA {
        return Err(GpuError::TooOld {
            what: "the CUDA that the NVIDIA driver supports",
            found: cuda_version(version),
            expected: cuda_version(OLDEST_CUDA),
            remedy: "install a newer driver, or set ALPHA_FLOPS_BACKEND=cpu",
        });
    }
    let functions = DriverFunctions::load()?;
    functions.check("cuDriverGetVersion", status)?;
    Ok((functions, version))
}

/// cuDNN, with its version and that of the CUDA runtime it was built with, encoded; where a driver
/// is to use it, one of that runtime's major version.
pub(super) fn load_cudnn(
    driver: Option<usize>,
) -> Result<(CudnnFunctions, usize, usize), GpuError> {
    let before = CudnnVersion::load()?;
    // SAFETY: neither takes anything.
    let (version, built_with) =
        unsafe { ((before.cudnnGetVersion)(), (before.cudnnGetCudartVersion)()) };
    if version < OLDEST_CUDNN {
        return Err(GpuError::TooOld {
            what: "cuDNN",
            found: cudnn_version(version),
            expected: cudnn_version(OLDEST_CUDNN),
            remedy: "install cuDNN 9, or set ALPHA_FLOPS_BACKEND=cpu",
        });
    }
    // within a major version, an older driver runs what a newer runtime was built with
    if let Some(driver) = driver.filter(|driver| driver / 1000 < built_with / 1000) {
        return Err(GpuError::TooOld {
            what: "the CUDA that the NVIDIA driver supports",
            found: cuda_version(driver),
            expected: cuda_version(built_with / 1000 * 1000),
            remedy: "install a newer driver, or the cuDNN that is built for this one's CUDA",
        });
    }
    let functions = CudnnFunctions::load()?;
    // cuDNN's heuristics call `abort` when they cannot open it
    if !cublas_lt_is_present(built_with / 1000) {
        return Err(GpuError::Absent { library: Library::CublasLt });
    }
    Ok((functions, version, built_with))
}

/// 12080 is 12.8.
pub(super) fn cuda_version(encoded: usize) -> String {
    format!("{}.{}", encoded / 1000, encoded % 1000 / 10)
}

/// 9 and later as 90100 is 9.1.0; before, 8907 was 8.9.7.
pub(super) fn cudnn_version(encoded: usize) -> String {
    let major = if encoded >= OLDEST_CUDNN { 10_000 } else { 1000 };
    format!("{}.{}.{}", encoded / major, encoded % major / 100, encoded % 100)
}

impl DriverFunctions {
    pub(super) fn check(&self, call: &'static str, status: Status) -> Result<(), GpuError> {
        if status == 0 {
            return Ok(());
        }
        let mut name = std::ptr::null();
        // SAFETY: `name` receives a pointer to a string that lives as long as the library.
        let known = unsafe { (self.cuGetErrorName)(status, &raw mut name) } == 0;
        let name = if known { text(name) } else { "a status unknown to the driver".to_owned() };
        let remedy = remedy(Library::Driver, status);
        Err(GpuError::Call { call, status, name, detail: String::new(), remedy })
    }
}

impl CudnnFunctions {
    pub(super) fn check(&self, call: &'static str, status: Status) -> Result<(), GpuError> {
        if status == 0 {
            return Ok(());
        }
        let mut detail = [0 as c_char; 512];
        // SAFETY: any status may be asked for; the string lives as long as the library. The buffer
        // is as long as is said, and its last byte stays zero.
        let name = unsafe {
            (self.cudnnGetLastErrorString)(detail.as_mut_ptr(), detail.len() - 1);
            text((self.cudnnGetErrorString)(status))
        };
        let detail = text(detail.as_ptr());
        // cuDNN explains in a paragraph; its first line names the cause
        let detail = detail.lines().next().unwrap_or_default().trim().to_owned();
        Err(GpuError::Call { call, status, name, detail, remedy: remedy(Library::Cudnn, status) })
    }
}

/// Whether cuDNN will find the cuBLASLt of its CUDA: by the loader's rules, or where packages put
/// both.
fn cublas_lt_is_present(cuda: usize) -> bool {
    let name = match std::env::consts::OS {
        "windows" => format!("cublasLt64_{cuda}.dll"),
        _ => format!("libcublasLt.so.{cuda}"),
    };
    // SAFETY: loading runs the library's own initialisers, as cuDNN is about to do.
    unsafe { libloading::Library::new(&name) }.is_ok() || is_beside_cudnn(&name)
}

/// cuDNN looks in its own folder, and in its sibling of Python's packages.
fn is_beside_cudnn(name: &str) -> bool {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return false };
    let path = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    let cudnn = path.map(Path::new).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libcudnn.so"))
    });
    let Some(folder) = cudnn.and_then(Path::parent) else { return false };
    [folder.join(name), folder.join("../../cublas/lib").join(name)].iter().any(|path| path.exists())
}

/// A C string as text; nothing for a null pointer.
fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: not null; both callers pass zero-terminated strings.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_their_libraries_encode_them() {
        assert_eq!(cudnn_version(92_801), "9.28.1");
        assert_eq!(cudnn_version(90_000), "9.0.0");
        assert_eq!(cudnn_version(8907), "8.9.7");
        assert_eq!(cuda_version(12_080), "12.8");
        assert_eq!(cuda_version(13_000), "13.0");
    }
}
