//! Convolution by cuDNN on a CUDA device, through its graph ("backend") API, as frameworks of today
//! call it.
//!
//! Everything is built when a convolution is prepared: tensors, operation graph, execution plan,
//! workspace. A launch is one `cudnnBackendExecute` on one stream.
//!
//! The libraries are opened at run time; a machine without them gets an error that says what is
//! missing, and nothing here panics for want of one.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Instant;

use cudarc::cudnn::sys::cudnnHandle_t;
use cudarc::driver::sys::CUdevice_attribute as DeviceAttribute;

use super::device::{Device, Gpu, STAND_IN_BACKEND};
use super::{Backend, BackendError, LaunchTime, PreparedConv};
use crate::protocol::Cache;
use crate::shape::ConvShape;
use crate::statistics::{quantile, sorted};
use crate::units::Bytes;

mod buffer_pool;
mod convolution;
mod descriptor;
mod driver;
mod error;
pub mod graph;
mod library;
mod monitor;
mod options;

use buffer_pool::{BufferPool, Purpose};
use convolution::CudnnConvolution;
use driver::{Context, Event, Memory, Stream};
pub use error::{GpuError, Library, Status};
use graph::Target;
use library::{CudnnFunctions, cuda_version, cudnn_version, load_cudnn};
use monitor::Monitor;
pub use options::{CudnnOptions, KIND, Math, PlanChoice};

/// Empty launches whose median is taken; the same number before them is a warm-up.
const EMPTY_LAUNCHES: usize = 1000;

/// A CUDA device with cuDNN. It stays on the thread that opened it.
pub struct CudnnBackend {
    gpu: Gpu,
    options: CudnnOptions,
    memory_limit: Option<Bytes>,
    monitor: Option<Monitor>,
    /// As large as the level-2 cache: filling it flushes the cache, where launches start cold.
    flush: Option<Memory>,
    /// Memory of earlier convolutions, where it is to be reused.
    pool: Option<BufferPool>,
    timer: Timer,
    handle: Handle,
    context: Rc<Context>,
}

/// A cuDNN handle, whose work goes to one stream.
struct Handle {
    functions: CudnnFunctions,
    handle: cudnnHandle_t,
    /// Nothing can be released while the device hangs.
    stream: Rc<Stream>,
}

/// Times what goes to a stream by both clocks.
struct Timer {
    stream: Rc<Stream>,
    before: Event,
    after: Event,
}

impl CudnnBackend {
    /// Opens the driver, the device and cuDNN. A configuration may take at most `memory_limit` of
    /// the device's memory, workspace included.
    pub fn open(
        options: CudnnOptions,
        cache: Cache,
        memory_limit: Option<Bytes>,
    ) -> Result<Self, GpuError> {
        let context = Context::open(options.device)?;
        let (functions, cudnn, cudnn_cuda) = load_cudnn(Some(context.cuda_version()))?;
        check_variables(options.math)?;
        let pci_bus_id = context.pci_bus_id()?;
        let monitor = Monitor::open(&pci_bus_id);
        let gpu = describe(&context, pci_bus_id, [cudnn, cudnn_cuda], &monitor)?;
        let stream = Rc::new(Stream::new(&context, options.launch_timeout)?);
        let handle = Handle::new(functions, &stream)?;
        let timer = Timer { stream, before: Event::new(&context)?, after: Event::new(&context)? };
        let flush = match cache {
            Cache::Warm => None,
            Cache::Cold if gpu.l2_cache == Bytes(0) => return Err(GpuError::NoCacheSize),
            Cache::Cold => Some(Memory::new(&context, gpu.l2_cache)?),
        };
        let monitor = monitor.ok();
        let pool = None;
        Ok(Self { gpu, options, memory_limit, monitor, flush, pool, timer, handle, context })
    }

    /// The device's free memory. Memory in the pool counts as free.
    fn free_memory(&self) -> Result<Bytes, GpuError> {
        Ok(Bytes(self.context.free_memory()?.0 + self.pooled_bytes().0))
    }

    /// The device memory that a convolution may take now.
    fn memory_allowed(&self) -> Result<Bytes, GpuError> {
        let free = self.free_memory()?;
        Ok(self.memory_limit.map_or(free, |limit| limit.min(free)))
    }

    fn pooled_bytes(&self) -> Bytes {
        self.pool.as_ref().map_or(Bytes(0), BufferPool::bytes)
    }

    /// Memory of at least this size, from the pool where there is one.
    fn memory(&self, purpose: Purpose, bytes: Bytes) -> Result<Memory, GpuError> {
        match &self.pool {
            Some(pool) => pool.take(&self.context, purpose, bytes),
            None => Memory::new(&self.context, bytes),
        }
    }

    /// Returns memory that nothing uses any more to the pool, or frees it where there is none.
    fn put_back(&self, purpose: Purpose, memory: Memory) {
        if let Some(pool) = &self.pool {
            pool.put(purpose, memory);
        }
    }

    /// Prepares with memory of the pool as if the pool were empty: what larger convolutions left must
    /// not decide whether this one fits, nor by which plan.
    fn prepare_from_pool(
        &self,
        pool: &BufferPool,
        shape: ConvShape,
        seed: u64,
    ) -> Result<CudnnConvolution<'_>, GpuError> {
        if self.memory_limit.is_some_and(|limit| pool.bytes() > limit) {
            pool.free();
        }
        let was_empty = pool.bytes() == Bytes(0);
        pool.was_scarce();
        let prepared = CudnnConvolution::prepare(self, shape, seed);
        let prepared = if was_empty || !pool.was_scarce() {
            prepared
        } else {
            drop(prepared);
            pool.free();
            CudnnConvolution::prepare(self, shape, seed)
        };
        // it may be the device that is lost, and its memory with it
        prepared.inspect_err(|_| pool.free())
    }

    /// Overwrites the level-2 cache, where launches shall start cold.
    fn flush_cache_if_cold(&self) -> Result<(), GpuError> {
        self.flush.as_ref().map_or(Ok(()), |buffer| self.timer.stream.fill(buffer, 0))
    }

    fn target(&self) -> Target {
        // SAFETY: whatever is made of it borrows this backend, which owns the handle.
        unsafe { Target::from_handle(self.handle.functions, self.handle.handle) }
    }
}

impl Backend for CudnnBackend {
    fn device(&self) -> Device {
        let backend = if self.gpu.is_stand_in() { STAND_IN_BACKEND } else { KIND.name };
        Device { backend, gpu: Some(self.gpu.clone()), pinned_cores: None }
    }

    /// Only the tensors: the workspace is chosen to fit the memory that is left.
    fn required_memory(&self, shape: ConvShape) -> Bytes {
        shape.min_bytes_moved()
    }

    fn available_memory(&self) -> Option<Bytes> {
        self.free_memory().ok()
    }

    fn reuse_buffers(&mut self, reuse: bool) {
        self.pool = reuse.then(BufferPool::default);
    }

    fn empty_launch(&mut self) -> Result<LaunchTime, BackendError> {
        let (mut host_ns, mut device_ns) = (Vec::new(), Vec::new());
        for launch in 0..2 * EMPTY_LAUNCHES {
            if launch == EMPTY_LAUNCHES {
                host_ns.clear();
                device_ns.clear();
            }
            let time = self.timer.time(NonZeroU32::MIN, || Ok(()))?;
            host_ns.push(time.host_ns);
            device_ns.extend(time.device_ns);
        }
        let median = |times: &[f64]| quantile(&sorted(times), 0.5);
        let device_ns = Some(median(&device_ns));
        Ok(LaunchTime { host_ns: median(&host_ns), device_ns, submission_ns: None })
    }

    fn check(&mut self) -> Result<(), BackendError> {
        if self.timer.stream.hangs() {
            return Err(GpuError::TimedOut { after: self.options.launch_timeout }.into());
        }
        Ok(self.timer.stream.synchronize()?)
    }

    fn prepare(
        &mut self,
        shape: ConvShape,
        seed: u64,
    ) -> Result<Box<dyn PreparedConv + '_>, BackendError> {
        let prepared = match &self.pool {
            Some(pool) => self.prepare_from_pool(pool, shape, seed),
            None => CudnnConvolution::prepare(self, shape, seed),
        };
        match prepared {
            Ok(convolution) => Ok(Box::new(convolution)),
            Err(source) => Err(BackendError::Gpu { shape: Some(shape), source }),
        }
    }
}

impl Handle {
    fn new(functions: CudnnFunctions, stream: &Rc<Stream>) -> Result<Self, GpuError> {
        let mut handle: cudnnHandle_t = std::ptr::null_mut();
        // SAFETY: the pointer is to a live pointer; a context is current.
        let status = unsafe { (functions.cudnnCreate)(&raw mut handle) };
        functions.check("cudnnCreate", status)?;
        // from here on it is released by dropping
        let created = Self { functions, handle, stream: Rc::clone(stream) };
        // SAFETY: both live.
        let status = unsafe { (functions.cudnnSetStream)(handle, stream.raw()) };
        functions.check("cudnnSetStream", status)?;
        Ok(created)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.stream.hangs() {
            // SAFETY: it was created by `new`, and nobody else destroys it.
            unsafe { (self.functions.cudnnDestroy)(self.handle) };
        }
    }
}

impl Timer {
    /// Synchronises, calls `launch` this number of times between two events, and synchronises again:
    /// the mean time of a call. The host's time includes recording the second event but not the first.
    fn time(
        &self,
        launches: NonZeroU32,
        mut launch: impl FnMut() -> Result<(), GpuError>,
    ) -> Result<LaunchTime, GpuError> {
        self.stream.synchronize()?;
        self.before.record(&self.stream)?;
        let start = Instant::now();
        for _ in 0..launches.get() {
            launch()?;
        }
        let submitted = start.elapsed();
        self.after.record(&self.stream)?;
        self.stream.synchronize_launches(launches.get())?;
        let finished = start.elapsed();
        let each = |time_ns: f64| time_ns / f64::from(launches.get());
        Ok(LaunchTime {
            host_ns: each(finished.as_nanos() as f64),
            device_ns: Some(each(self.before.until(&self.after)?)),
            submission_ns: Some(each(submitted.as_nanos() as f64)),
        })
    }
}

/// Whether an environment variable changes what the driver or cuDNN does.
fn changes_results(name: &str) -> bool {
    const OF_THE_DRIVER: [&str; 8] = [
        "CUDA_DEVICE_MAX_CONNECTIONS",
        "CUDA_DEVICE_ORDER",
        "CUDA_FORCE_PTX_JIT",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_MODULE_LOADING",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
        "CUDA_VISIBLE_DEVICES",
        TF32_OVERRIDE,
    ];
    OF_THE_DRIVER.contains(&name) || name.starts_with("CUDNN_")
}

/// With `0` in it, NVIDIA's libraries compute in f32 whatever they are asked.
const TF32_OVERRIDE: &str = "NVIDIA_TF32_OVERRIDE";

/// Refuses environment variables that would make arithmetic or launches differ from the record.
fn check_variables(math: Math) -> Result<(), GpuError> {
    let value = |name| std::env::var(name).unwrap_or_default();
    if math == Math::Tf32 && value(TF32_OVERRIDE).trim() == "0" {
        return Err(GpuError::Overridden {
            variable: TF32_OVERRIDE,
            value: value(TF32_OVERRIDE),
            effect: "turns TF32 off, while the record would say `math tf32`",
            remedy: "unset it, or set ALPHA_FLOPS_MATH=fp32",
        });
    }
    const BLOCKING: &str = "CUDA_LAUNCH_BLOCKING";
    if !["", "0"].contains(&value(BLOCKING).trim()) {
        return Err(GpuError::Overridden {
            variable: BLOCKING,
            value: value(BLOCKING),
            effect: "makes every launch wait until it has finished, which changes what is timed",
            remedy: "unset it",
        });
    }
    Ok(())
}

fn describe(
    context: &Context,
    pci_bus_id: String,
    [cudnn, cudnn_cuda]: [usize; 2],
    monitor: &Result<Monitor, String>,
) -> Result<Gpu, GpuError> {
    use DeviceAttribute::*;
    let facts = monitor.as_ref().ok().map(Monitor::facts);
    let attribute = |attribute| context.attribute(attribute);
    Ok(Gpu {
        name: context.name()?,
        uuid: context.uuid()?,
        pci_bus_id,
        compute_capability: format!(
            "{}.{}",
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?
        ),
        multiprocessors: attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        l2_cache: Bytes(u64::from(attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?)),
        memory: context.memory()?,
        driver: facts.as_ref().and_then(|facts| facts.driver.clone()),
        cuda: cuda_version(context.cuda_version()),
        cudnn: cudnn_version(cudnn),
        cudnn_cuda: cuda_version(cudnn_cuda),
        ecc: facts.as_ref().and_then(|facts| facts.ecc),
        persistence: facts.as_ref().and_then(|facts| facts.persistence),
        power_limit_w: facts.as_ref().and_then(|facts| facts.power_limit_w),
        variables: std::env::vars_os()
            .map(|(name, value)| [name, value].map(|text| text.to_string_lossy().into_owned()))
            .filter(|[name, _]| changes_results(name))
            .map(|[name, value]| (name, value))
            .collect(),
        nvml_missing: monitor.as_ref().err().cloned(),
    })
}
