//! The functions of the two libraries, found at run time.
//!
//! cudarc owns the libraries' types and constants. Its own functions are not called: they panic where
//! a symbol is missing, and return enumerations, for which a status that only a newer library knows is
//! undefined behaviour. Here every function is looked up before the first is called, and every status
//! is an integer. Nor does it open the libraries: of several it takes the first by name, also if that
//! is too old or a toolkit's stub.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};

use cudarc::cudnn::sys::{cudnnBackendDescriptor_t, cudnnHandle_t, cudnnTensorDescriptor_t};
use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUgraph, CUgraphExec, CUstream,
};

use super::error::{GpuError, Library, NO_DEVICE, STUB, Status, remedy};
use super::search::{self, NotOpened, Opened, Refused, Where, first_usable};

/// Declares a table of functions and how to fill it. A function returns a [`Status`] unless another
/// type is given.
macro_rules! functions {
    (
        $(#[$doc:meta])* $table:ident of $library:expr;
        $($function:ident($($argument:ty),*) -> $result:ty;)*
    ) => {
        $(#[$doc])*
        #[allow(non_snake_case, reason = "the libraries' own names")]
        #[derive(Clone, Copy)]
        pub(super) struct $table {
            $(pub(super) $function: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl $table {
            /// Looks every function up.
            fn in_library(opened: &Opened) -> Result<Self, GpuError> {
                Ok(Self {
                    $($function: {
                        let symbol = concat!(stringify!($function), "\0");
                        // SAFETY: the signature is that of the library's header, with enumerations
                        // as the integers that they are in C.
                        let found = unsafe {
                            opened.function::<unsafe extern "C" fn($($argument),*) -> $result>(symbol)
                        };
                        found.ok_or(GpuError::Symbol {
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
    DriverVersion of Library::Driver;
    cuDriverGetVersion(*mut c_int) -> Status;
}

functions! {
    /// What is asked of a driver that is too old: every one has these.
    DeviceCount of Library::Driver;
    cuInit(c_uint) -> Status;
    cuDeviceGetCount(*mut c_int) -> Status;
}

functions! {
    /// What is asked of cuDNN before anything else.
    CudnnVersion of Library::Cudnn;
    cudnnGetVersion() -> usize;
    cudnnGetCudartVersion() -> usize;
}

functions! {
    /// The driver's functions that this backend calls: those of CUDA 12 and later.
    DriverFunctions of Library::Driver;
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
    cuStreamBeginCapture_v2(CUstream, c_uint) -> Status;
    cuStreamEndCapture(CUstream, *mut CUgraph) -> Status;
    cuGraphDestroy(CUgraph) -> Status;
    cuGraphInstantiateWithFlags(*mut CUgraphExec, CUgraph, u64) -> Status;
    cuGraphExecDestroy(CUgraphExec) -> Status;
    cuGraphLaunch(CUgraphExec, CUstream) -> Status;
    cuStreamWaitValue32_v2(CUstream, CUdeviceptr, c_uint, c_uint) -> Status;
    cuEventCreate(*mut CUevent, c_uint) -> Status;
    cuEventDestroy_v2(CUevent) -> Status;
    cuEventRecord(CUevent, CUstream) -> Status;
    cuEventElapsedTime(*mut f32, CUevent, CUevent) -> Status;
    cuMemAlloc_v2(*mut CUdeviceptr, usize) -> Status;
    cuMemFree_v2(CUdeviceptr) -> Status;
    cuMemGetInfo_v2(*mut usize, *mut usize) -> Status;
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream) -> Status;
    cuMemcpyDtoH_v2(*mut c_void, CUdeviceptr, usize) -> Status;
    cuMemHostAlloc(*mut *mut c_void, usize, c_uint) -> Status;
    cuMemHostGetDevicePointer_v2(*mut CUdeviceptr, *mut c_void, c_uint) -> Status;
    cuMemFreeHost(*mut c_void) -> Status;
    cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream) -> Status;
    cuMemcpyDtoDAsync_v2(CUdeviceptr, CUdeviceptr, usize, CUstream) -> Status;
    cuMemsetD8Async(CUdeviceptr, u8, usize, CUstream) -> Status;
}

functions! {
    /// cuDNN's functions that this backend calls: those of cuDNN 9.
    CudnnFunctions of Library::Cudnn;
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

functions! {
    /// cuDNN's functions on tensors, of its older interface: only what frameworks do around a convolution needs them.
    TensorFunctions of Library::Cudnn;
    cudnnCreateTensorDescriptor(*mut cudnnTensorDescriptor_t) -> Status;
    cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t, c_uint, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int) -> Status;
    cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t) -> Status;
    cudnnTransformTensor(cudnnHandle_t, *const c_void, cudnnTensorDescriptor_t, *const c_void, *const c_void, cudnnTensorDescriptor_t, *mut c_void) -> Status;
    cudnnAddTensor(cudnnHandle_t, *const c_void, cudnnTensorDescriptor_t, *const c_void, *const c_void, cudnnTensorDescriptor_t, *mut c_void) -> Status;
}

/// The oldest driver that cuDNN 9 runs on: CUDA 12.0.
const OLDEST_CUDA: usize = 12_000;

/// The oldest cuDNN that is supported, as `cudnnGetVersion` encodes it: 9.0.0.
const OLDEST_CUDNN: usize = 90_000;

/// The oldest cuDNN that knows devices by their properties: 9.8.0.
const OLDEST_WITHOUT_DEVICE: usize = 90_800;

/// What cuDNN 9 opens when it needs it, for the graphs of this program, each after those that it needs.
const PARTS: [&str; 5] =
    ["graph", "ops", "heuristic", "engines_precompiled", "engines_runtime_compiled"];

/// The driver that is used.
#[derive(Clone)]
pub(super) struct Driver {
    pub(super) functions: DriverFunctions,
    /// The newest CUDA that it supports, encoded.
    pub(super) cuda: usize,
    /// Where it is; `None` where that cannot be told, here and below.
    pub(super) path: Option<PathBuf>,
}

/// The cuDNN that is used, with versions as it encodes them.
#[derive(Clone)]
pub(super) struct Cudnn {
    pub(super) functions: CudnnFunctions,
    pub(super) tensors: Result<TensorFunctions, GpuError>,
    pub(super) version: usize,
    /// Of the CUDA runtime that it was built with.
    pub(super) built_with: usize,
    pub(super) path: Option<PathBuf>,
    pub(super) cublas_lt: Option<PathBuf>,
}

impl Driver {
    /// The first driver that works: a toolkit's stub is passed over.
    pub(super) fn load() -> Result<Self, GpuError> {
        let ((functions, cuda), path) =
            first_usable(Library::Driver, 0, Where::Anywhere, |opened| {
                let before = DriverVersion::in_library(opened)?;
                let mut version: c_int = 0;
                // SAFETY: the pointer is to a live integer. This call may come before initialisation.
                let status = unsafe { (before.cuDriverGetVersion)(&raw mut version) };
                let version = usize::try_from(version).unwrap_or(0);
                if status == 0 && version < OLDEST_CUDA {
                    return Err(Refused::Called(too_old_a_driver(opened, version)));
                }
                let functions = DriverFunctions::in_library(opened).map_err(Refused::Called)?;
                // a stub does nothing
                let refused = if status == STUB { Refused::Untouched } else { Refused::Called };
                functions.check("cuDriverGetVersion", status).map_err(refused)?;
                Ok((functions, version))
            })?;
        Ok(Self { functions, cuda, path })
    }
}

/// That there is no device, where an old driver has none, and else that it is too old for it.
fn too_old_a_driver(opened: &Opened, version: usize) -> GpuError {
    if let Ok(functions) = DeviceCount::in_library(opened) {
        let mut count: c_int = 0;
        // SAFETY: initialisation takes no pointer, its flags must be 0; the pointer is to a live integer.
        let statuses =
            unsafe { [(functions.cuInit)(0), (functions.cuDeviceGetCount)(&raw mut count)] };
        if statuses[0] == NO_DEVICE || (statuses == [0, 0] && count == 0) {
            return GpuError::NoSuchDevice { index: 0, count: 0 };
        }
    }
    GpuError::TooOld {
        what: "the CUDA that the NVIDIA driver supports",
        found: cuda_version(version).into(),
        expected: cuda_version(OLDEST_CUDA).into(),
        path: opened.path().map(Into::into),
        remedy: "install a newer driver, or set ALPHA_FLOPS_BACKEND=cpu",
    }
}

impl Cudnn {
    /// The first cuDNN that can be used; where a driver is to use it, by one that supports CUDA up to
    /// this version.
    pub(super) fn load(driver: Option<usize>) -> Result<Self, GpuError> {
        Self::load_from(Where::Anywhere, driver)
    }

    fn load_from(place: Where<'_>, driver: Option<usize>) -> Result<Self, GpuError> {
        let (mut cudnn, path) = first_usable(Library::Cudnn, 0, place, |opened| {
            let (version, built_with) = versions(opened)?;
            // within a major version, an older driver runs what a newer runtime was built with
            if let Some(driver) = driver.filter(|driver| driver / 1000 < built_with / 1000) {
                return Err(Refused::Called(GpuError::TooOld {
                    what: "the CUDA that the NVIDIA driver supports",
                    found: cuda_version(driver).into(),
                    expected: cuda_version(built_with / 1000 * 1000).into(),
                    path: None,
                    remedy: "install a newer driver, or the cuDNN that is built for this one's CUDA",
                }));
            }
            let functions = CudnnFunctions::in_library(opened).map_err(Refused::Called)?;
            let tensors = TensorFunctions::in_library(opened);
            let cublas_lt =
                load_cublas_lt(built_with / 1000, opened.path()).map_err(Refused::Called)?;
            Ok(Self { functions, tensors, version, built_with, path: None, cublas_lt })
        })?;
        cudnn.path = path;
        Ok(cudnn)
    }

    /// The same, of a version that plans for devices that are not there; in a folder or a file, if that is
    /// given.
    pub(super) fn load_without_device(library: Option<&Path>) -> Result<Self, GpuError> {
        let cudnn = Self::load_from(library.map_or(Where::Anywhere, Where::Only), None)?;
        match cudnn.version < OLDEST_WITHOUT_DEVICE {
            true => Err(too_old_a_cudnn(
                cudnn_version(cudnn.version),
                OLDEST_WITHOUT_DEVICE,
                cudnn.path.as_deref(),
                "install a newer cuDNN: older ones plan only for the GPU at hand",
            )),
            false => Ok(cudnn),
        }
    }
}

/// Of cuDNN and of the CUDA runtime that it was built with, as it encodes them.
fn versions(opened: &Opened) -> Result<(usize, usize), Refused> {
    const REMEDY: &str = "install cuDNN 9, or set ALPHA_FLOPS_BACKEND=cpu";
    let too_old = |found| too_old_a_cudnn(found, OLDEST_CUDNN, opened.path(), REMEDY);
    // each major version has parts of its own, without which asking it for its version is fatal
    let is_older = |version: &String| {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        major.is_some_and(|major| major < 9)
    };
    if let Some(version) = opened.path().and_then(version_in_name).filter(is_older) {
        return Err(Refused::Untouched(too_old(version)));
    }
    let parts = Parts::of(opened.path());
    parts.are_there()?;
    let functions = CudnnVersion::in_library(opened)?;
    parts.open().map_err(Refused::Called)?;
    // SAFETY: neither takes anything.
    let (version, built_with) =
        unsafe { ((functions.cudnnGetVersion)(), (functions.cudnnGetCudartVersion)()) };
    match version < OLDEST_CUDNN {
        true => Err(Refused::Called(too_old(cudnn_version(version)))),
        false => Ok((version, built_with)),
    }
}

fn too_old_a_cudnn(
    found: String,
    oldest: usize,
    path: Option<&Path>,
    remedy: &'static str,
) -> GpuError {
    let expected = cudnn_version(oldest).into();
    let path = path.map(Into::into);
    GpuError::TooOld { what: "cuDNN", found: found.into(), expected, path, remedy }
}

/// `8.9.7` of `libcudnn.so.8.9.7`, also where a link leads there.
fn version_in_name(path: &Path) -> Option<String> {
    let file = path.canonicalize().ok()?;
    let (_, version) = file.file_name()?.to_str()?.split_once(".so.")?;
    Some(version.to_owned())
}

/// The libraries that cuDNN opens when it needs them, by their names alone. Without one of those that it needs,
/// it ends the process; with one of another version, which may come first on the loader's path, it fails or, worse,
/// does not.
struct Parts<'p> {
    cudnn: Option<&'p Path>,
    /// Where cuDNN is, and where a link to it leads.
    folders: Vec<PathBuf>,
}

impl<'p> Parts<'p> {
    fn of(cudnn: Option<&'p Path>) -> Self {
        let files = [cudnn.map(Path::to_owned), cudnn.and_then(|path| path.canonicalize().ok())];
        let folders = files.iter().flatten().filter_map(|file| file.parent());
        Self { cudnn, folders: folders.map(Path::to_owned).collect() }
    }

    /// Those that are needed, in an order in which they can be opened.
    fn needed() -> &'static [&'static str] {
        // what compiles all it runs, and comes without the rest
        let only_compiles = std::env::var("CUDNN_LIB_CONFIG").is_ok_and(|c| c == "GRAPH_JIT_ONLY");
        if only_compiles { &["graph", "engines_runtime_compiled"] } else { &PARTS }
    }

    fn file_name(part: &str) -> String {
        match std::env::consts::OS {
            "windows" => format!("cudnn_{part}64_9.dll"),
            _ => format!("libcudnn_{part}.so.9"),
        }
    }

    fn beside(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|file| file.exists())
    }

    /// And whole.
    fn are_there(&self) -> Result<(), GpuError> {
        for name in Self::needed().iter().map(|part| Self::file_name(part)) {
            let found = match self.beside(&name) {
                Some(file) => search::may_open(&file).map(|()| true),
                None => search::is_found_by_loader(&name),
            };
            match found {
                Ok(true) => {}
                Ok(false) => return Err(self.error(name, None)),
                Err(not_opened) => return Err(self.error(name, Some(not_opened))),
            }
        }
        Ok(())
    }

    /// Opens what is beside cuDNN, so that cuDNN gets these by their names.
    fn open(&self) -> Result<(), GpuError> {
        for name in Self::needed().iter().map(|part| Self::file_name(part)) {
            let Some(file) = self.beside(&name) else { continue };
            search::open_for_good(&file)
                .map_err(|not_opened| self.error(name, Some(not_opened)))?;
        }
        Ok(())
    }

    fn error(&self, part: String, not_opened: Option<NotOpened>) -> GpuError {
        let reason = not_opened.map(|not_opened| not_opened.tried.into());
        GpuError::Part { part: part.into(), of: self.cudnn.map(Into::into), reason }
    }
}

/// Opens the cuBLASLt of this CUDA, which cuDNN's heuristics call `abort` without: where packages have it
/// beside cuDNN, or elsewhere. Once it is open, cuDNN finds it by its name.
fn load_cublas_lt(cuda: usize, cudnn: Option<&Path>) -> Result<Option<PathBuf>, GpuError> {
    let beside = cudnn.and_then(Path::parent).map_or_else(Vec::new, |folder| {
        let packages = ["../../cublas/lib".to_owned(), format!("../../cu{cuda}/lib")];
        let packages = packages.map(|package| folder.join(package));
        std::iter::once(folder.to_owned()).chain(packages).collect()
    });
    let ((), path) = first_usable(Library::CublasLt, cuda, Where::Beside(beside), |_| Ok(()))?;
    Ok(path)
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
        let name = match known {
            true => text(name),
            // it has nothing but this one answer
            false if status == STUB => "CUDA_ERROR_STUB_LIBRARY".to_owned(),
            false => "a status unknown to the driver".to_owned(),
        };
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
