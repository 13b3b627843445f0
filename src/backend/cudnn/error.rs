//! What can go wrong with a GPU and its libraries, each with what to do about it.

use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::backend::plan::RefusedPlan;

/// A status as the libraries return it: an integer, because a newer library may know more of them
/// than any enumeration compiled here.
pub type Status = u32;

/// Which of the two libraries a function belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The CUDA driver's, `libcuda`.
    Driver,
    /// `libcudnn`.
    Cudnn,
    /// `libcublasLt`, which cuDNN opens.
    CublasLt,
}

/// Why the GPU or one of its libraries failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the messages explain the fields")]
pub enum GpuError {
    #[error("{} cannot be loaded{}: {}", .library.name(), tried_in(.tried), .library.how_to_get())]
    Absent { library: Library, tried: Vec<String>, damaged: bool },
    #[error(
        "{} has no function {symbol}: {}",
        .library.name(),
        .library.how_to_get()
    )]
    Symbol { library: Library, symbol: &'static str },
    /// cuDNN is not whole, or a part of it lacks what it needs.
    #[error(
        "{part}, without which cuDNN ends the process, {}; or set ALPHA_FLOPS_BACKEND=cpu",
        why_missing(.of.as_deref(), .reason.as_deref())
    )]
    Part { part: Box<str>, of: Option<Box<Path>>, reason: Option<Box<str>> },
    /// A library is older than what this program, or another library, needs.
    #[error("{what} is version {found}{}, expected {expected} or newer: {remedy}", place(.path))]
    TooOld {
        what: &'static str,
        found: Box<str>,
        expected: Box<str>,
        path: Option<Box<Path>>,
        remedy: &'static str,
    },
    #[error(
        "there is no CUDA device {index}: {count} visible; set ALPHA_FLOPS_DEVICE to an index from \
         0 on, and see CUDA_VISIBLE_DEVICES and `nvidia-smi -L`"
    )]
    NoSuchDevice { index: u32, count: u32 },
    #[error(
        "the device does not report the size of its level-2 cache, so the cache cannot be flushed: \
         set ALPHA_FLOPS_CACHE=warm"
    )]
    NoCacheSize,
    /// An environment variable of NVIDIA's contradicts what was asked for.
    #[error("{variable}={value} {effect}: {remedy}")]
    Overridden { variable: &'static str, value: String, effect: &'static str, remedy: &'static str },
    #[error("{call} returned {name} ({status}){}: {}", detail_of(.detail), .remedy)]
    Call { call: &'static str, status: Status, name: String, detail: String, remedy: &'static str },
    #[error(
        "cuDNN has no execution plan: {} engine configurations, all refused: {}; more memory \
         (ALPHA_FLOPS_MEMORY_LIMIT_GIB) or another ALPHA_FLOPS_MATH may admit one",
        .refused.len(), reasons_of(.refused)
    )]
    NoPlan { refused: Vec<RefusedPlan> },
    #[error(
        "the device has not finished after {}: it may hang; see `nvidia-smi` and the system log, \
         or raise ALPHA_FLOPS_LAUNCH_TIMEOUT if a launch can take so long",
        humantime::format_duration(whole_milliseconds(*.after))
    )]
    TimedOut { after: Duration },
    #[error("whether launches can be queued was not asked")]
    NoGate,
    #[error("no thread can be started that would let a stream go that is held back: {reason}")]
    NoWatchdog { reason: Box<str> },
    /// A launch did not return while its stream was held back for it.
    #[error(
        "a launch did not return for {} while its stream was held back until it is queued: set \
         ALPHA_FLOPS_CLOCK=device",
        humantime::format_duration(*.after)
    )]
    Stuck { after: Duration },
    /// The library answered with something that its documentation excludes.
    #[error("{call} answered {got}, expected {expected}: please report it with the record")]
    Answer { call: &'static str, got: String, expected: &'static str },
}

impl Library {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Driver => "the NVIDIA driver's libcuda",
            Self::Cudnn => "cuDNN's libcudnn",
            Self::CublasLt => "cuBLAS's libcublasLt, without which cuDNN ends the process,",
        }
    }

    fn how_to_get(self) -> &'static str {
        match self {
            Self::Driver => {
                "install NVIDIA's driver, 525 or newer, and see that `nvidia-smi` works; or set \
                 ALPHA_FLOPS_BACKEND=cpu"
            }
            Self::Cudnn => {
                "install cuDNN 9 (`python3 -m pip install nvidia-cudnn-cu12`, or -cu13 where the driver \
                 supports CUDA 13), or let the loader find it (LD_LIBRARY_PATH on Linux, PATH on \
                 Windows); or set ALPHA_FLOPS_BACKEND=cpu"
            }
            Self::CublasLt => {
                "install the cuBLAS of the CUDA version that cuDNN is built for (`python3 -m pip install \
                 nvidia-cublas-cu12`, of CUDA 13 `nvidia-cublas`), or let the loader find it as \
                 cuDNN; or set ALPHA_FLOPS_BACKEND=cpu"
            }
        }
    }
}

impl GpuError {
    /// The same with something more said about the call: how much memory was asked for, say.
    pub(super) fn with_detail(mut self, more: impl std::fmt::Display) -> Self {
        if let Self::Call { detail, .. } = &mut self {
            *detail = more.to_string();
        }
        self
    }

    /// The same with something else to do about the call.
    pub(super) fn with_remedy(mut self, other: &'static str) -> Self {
        if let Self::Call { remedy, .. } = &mut self {
            *remedy = other;
        }
        self
    }

    /// Whether it is for want of memory on the device.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Call { status: CUDA_ERROR_OUT_OF_MEMORY, .. } if !self.is_of_cudnn())
    }

    /// Whether cuDNN, and not the driver, returned it.
    pub(super) fn is_of_cudnn(&self) -> bool {
        matches!(self, Self::Call { call, .. } if call.starts_with("cudnn"))
    }

    /// Whether cuDNN says that it has no way to do what was asked.
    pub(super) fn is_unsupported(&self) -> bool {
        self.is_of_cudnn() && matches!(self, Self::Call { status: 3000..=3999, .. })
    }

    /// Whether another plan may do better: with less workspace, or another engine.
    pub(super) fn is_of_plan(&self) -> bool {
        self.is_out_of_memory() || self.is_of_cudnn()
    }

    /// Whether the device has work that never ends.
    pub fn is_hang(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// This error, with what the device was `using` released; but not if it hangs, for the libraries may wait
    /// for it.
    pub(super) fn releasing<T>(self, using: T) -> Self {
        if self.is_hang() {
            std::mem::forget(using);
        }
        self
    }

    /// Whether it says that there is no GPU to be used, rather than that one does not work: a GPU
    /// without a cuDNN for it is one that does not work.
    pub fn is_absence(&self) -> bool {
        match self {
            // a driver that is damaged was installed for a GPU
            Self::Absent { library, damaged, .. } => *library == Library::Driver && !damaged,
            // whatever it is that has this name, it is no driver
            Self::Symbol { symbol: "cuDriverGetVersion", .. } => true,
            Self::NoSuchDevice { count, .. } => *count == 0,
            Self::Call { call: "cuInit", status: NO_DEVICE, .. } => true,
            Self::Call { status: STUB, .. } => !self.is_of_cudnn(),
            _ => false,
        }
    }
}

/// The driver's status of a machine without a device that it may use.
pub(super) const NO_DEVICE: Status = 100;

/// What every call of a toolkit's libcuda returns, which is for building programs.
pub(super) const STUB: Status = 34;

/// The driver's status for want of memory.
pub(super) const CUDA_ERROR_OUT_OF_MEMORY: Status = 2;

/// What to do about a status of `call`.
pub(super) fn remedy(library: Library, status: Status) -> &'static str {
    match (library, status) {
        (Library::Driver, CUDA_ERROR_OUT_OF_MEMORY) => {
            "end other programs on the GPU, or lower ALPHA_FLOPS_MEMORY_LIMIT_GIB"
        }
        (Library::Driver, STUB | NO_DEVICE) => {
            "see `nvidia-smi -L` and CUDA_VISIBLE_DEVICES, or set ALPHA_FLOPS_BACKEND=cpu"
        }
        (Library::Driver, 46 | 101) => {
            "see `nvidia-smi` for who uses the GPU, and its compute mode"
        }
        (Library::Driver, 803 | 804) => {
            "the driver's library and its kernel module differ: restart, or reinstall the driver"
        }
        (Library::Driver, 214 | 220..=229) => "the hardware failed: see `nvidia-smi -q` for errors",
        (Library::Driver, 700..=799) => {
            "a kernel failed and with it the process's context: repeat the command to resume; if \
             it fails there again, run it under `compute-sanitizer`"
        }
        (Library::Driver, _) => "see `nvidia-smi` and the system log for what the driver reports",
        (Library::Cudnn, 1000..=1999) => {
            "cuDNN's own libraries do not fit each other, the driver or the GPU: see that all \
             libcudnn_* are of one version, and that the driver is new enough for it"
        }
        (Library::Cudnn, 2000..=2999) => {
            "cuDNN refuses an argument of this program: please report it with the configuration"
        }
        (Library::Cudnn, 3000..=3999) => "this cuDNN does not support the convolution on this GPU",
        (Library::Cudnn | Library::CublasLt, _) => {
            "repeat the command to resume; CUDNN_LOGLEVEL_DBG=3 makes cuDNN say more on standard \
             error"
        }
    }
}

/// ` (tried libcudnn.so.9; /usr/local/cuda/lib64)`.
fn tried_in(tried: &[String]) -> String {
    if tried.is_empty() { String::new() } else { format!(" (tried {})", tried.join("; ")) }
}

fn place(path: &Option<Box<Path>>) -> String {
    path.as_ref().map_or_else(String::new, |path| format!(" ({})", path.display()))
}

fn why_missing(cudnn: Option<&Path>, reason: Option<&str>) -> String {
    const INSTALL: &str = "install cuDNN whole";
    match (reason, cudnn) {
        (Some(reason), _) => format!(
            "cannot be opened: {reason}: {INSTALL}, and what it needs; libcuda.so.1 is NVIDIA's driver"
        ),
        (None, Some(cudnn)) => {
            let cudnn = cudnn.display();
            format!("is neither beside {cudnn} nor found by the loader: {INSTALL}")
        }
        (None, None) => format!("is not found by the loader: {INSTALL}"),
    }
}

/// What was expected of launches has nanoseconds that nobody wants to read.
fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis().try_into().unwrap_or(u64::MAX))
}

fn detail_of(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(", {detail}") }
}

/// Each reason once, with how many were refused for it.
fn reasons_of(refused: &[RefusedPlan]) -> String {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for RefusedPlan { reason, .. } in refused {
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    let words: Vec<String> =
        reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    words.join("; ")
}
