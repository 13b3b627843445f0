//! Convolution by cuDNN on a CUDA device, through its graph ("backend") API, as frameworks of today
//! call it.
//!
//! Everything is built when a convolution is prepared: tensors, operation graph, execution plan,
//! workspace. A launch is one `cudnnBackendExecute` on one stream.
//!
//! The libraries are opened at run time; a machine without them gets an error that says what is
//! missing, and nothing here panics for want of one.

use std::cell::OnceCell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cudarc::cudnn::sys::cudnnHandle_t;
use cudarc::driver::sys::CUdevice_attribute as DeviceAttribute;

use super::device::{Device, Gpu, STAND_IN_BACKEND};
use super::{Backend, BackendError, LaunchTime, PreparedConv, Probe};
use crate::protocol::{Cache, Convolution, Protocol};
use crate::shape::ConvShape;
use crate::statistics::{quantile, sorted};
use crate::units::Bytes;

mod buffer_pool;
mod convolution;
mod descriptor;
mod devices;
mod doctor;
mod driver;
mod error;
mod framework;
mod gate;
pub mod graph;
mod library;
mod loader;
mod memory;
mod monitor;
mod options;
mod replay;
mod search;

use buffer_pool::{BufferPool, Purpose};
use convolution::CudnnConvolution;
pub use devices::DEVICES;
use driver::{Context, Event, Stream};
pub use error::{GpuError, Library, Status};
use framework::Framework;
use gate::Gate;
use graph::Target;
use library::{Cudnn, CudnnFunctions, Driver, TensorFunctions, cuda_version, cudnn_version};
use memory::{HostMemory, Memory};
use monitor::Monitor;
pub use options::{CudnnOptions, KIND, LAUNCH_TIMEOUT, Math, PlanChoice};

/// Empty launches whose median is taken; the same number before them is a warm-up.
const EMPTY_LAUNCHES: usize = 1000;

/// How often the probe copies, so many times back to back, and how much at least: the fastest time counts, of
/// which submitting the first copy and an event's step are small parts.
const PROBES: usize = 2;
const COPIES: NonZeroU32 = NonZeroU32::new(4).unwrap();
const LEAST_COPIED: Bytes = Bytes(16 << 20);

/// A CUDA device with cuDNN. It stays on the thread that opened it.
pub struct CudnnBackend {
    gpu: Gpu,
    options: CudnnOptions,
    /// What launches of [`Convolution::Framework`] need; `None` where they are plain.
    framework: Option<TensorFunctions>,
    memory_limit: Option<Bytes>,
    monitor: Option<Monitor>,
    flush: Option<Flush>,
    /// What the probe copies, once it was asked for; `None` where memory does not suffice.
    probed: OnceCell<Option<[Memory; 2]>>,
    /// Memory of earlier convolutions, where it is to be reused.
    pool: Option<BufferPool>,
    timer: Timer,
    handle: Handle,
    context: Rc<Context>,
}

/// Empties the level-2 cache. Memory of twice its size is written: nothing else is in it then. What was written
/// last is in it alone, and would be written back while the launch after it runs; so as much of other
/// memory is read, after which the cache holds nothing that has to be written back.
struct Flush {
    written: Memory,
    read: Memory,
    host: HostMemory,
}

impl Flush {
    fn new(context: &Rc<Context>, l2_cache: Bytes) -> Result<Self, GpuError> {
        let twice = Bytes(2 * l2_cache.0);
        Ok(Self {
            written: Memory::new(context, twice)?,
            read: Memory::new(context, twice)?,
            host: HostMemory::new(context, twice)?,
        })
    }

    fn run(&self, stream: &Stream) -> Result<(), GpuError> {
        self.written.fill(stream, 0)?;
        self.read.copy_to_host(stream, &self.host)
    }
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
    /// Holds the stream back until a launch is queued; why it cannot, where it cannot. Opened where launches
    /// are to be queued.
    gate: OnceCell<Result<Gate, GpuError>>,
    stream: Rc<Stream>,
    before: Event,
    after: Event,
}

impl CudnnBackend {
    /// Opens the driver, the device and cuDNN, for launches by this protocol. A configuration may take at most
    /// `memory_limit` of the device's memory, workspace included.
    pub fn open(
        options: CudnnOptions,
        protocol: Protocol,
        memory_limit: Option<Bytes>,
    ) -> Result<Self, GpuError> {
        let driver = Driver::load()?;
        let context = Context::open(&driver, options.device)?;
        let cudnn = Cudnn::load(Some(driver.cuda))?;
        let framework = match protocol.convolution {
            Convolution::Plain => None,
            Convolution::Framework => Some(cudnn.tensors.clone()?),
        };
        check_variables(options.math)?;
        let pci_bus_id = context.pci_bus_id()?;
        let monitor = Monitor::open(&pci_bus_id);
        let gpu = describe(&context, pci_bus_id, (&driver, &cudnn), &monitor)?;
        let stream = Rc::new(Stream::new(&context, options.launch_timeout)?);
        let handle = Handle::new(cudnn.functions, &stream)?;
        let gate = OnceCell::new();
        let (before, after) = (Event::new(&context)?, Event::new(&context)?);
        let timer = Timer { gate, stream, before, after };
        let flush = match protocol.cache {
            Cache::Warm => None,
            Cache::Cold if gpu.l2_cache == Bytes(0) => return Err(GpuError::NoCacheSize),
            Cache::Cold => Some(Flush::new(&context, gpu.l2_cache)?),
        };
        let monitor = monitor.ok();
        let (pool, probed) = (None, OnceCell::new());
        Ok(Self {
            gpu,
            options,
            framework,
            memory_limit,
            monitor,
            flush,
            probed,
            pool,
            timer,
            handle,
            context,
        })
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
        self.flush.as_ref().map_or(Ok(()), |flush| flush.run(&self.timer.stream))
    }

    /// What its plans are asked for; it may be used as long as the backend lives.
    pub(crate) fn target(&self) -> Target {
        // SAFETY: whatever is made of it borrows this backend, which owns the handle.
        unsafe { Target::from_handle(self.handle.functions, self.handle.handle) }
    }
}

impl Backend for CudnnBackend {
    fn device(&self) -> Device {
        let backend = if self.gpu.is_stand_in() { STAND_IN_BACKEND } else { KIND.name };
        Device { backend, gpu: Some(self.gpu.clone()), pinned_cores: None }
    }

    fn queues(&self) -> Result<(), BackendError> {
        match self.timer.gate.get_or_init(|| Gate::open(&self.context)) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone().into()),
        }
    }

    /// Only the tensors: the workspace is chosen to fit the memory that is left.
    fn required_memory(&self, shape: ConvShape) -> Bytes {
        let tensors = shape.min_bytes_moved();
        match self.framework {
            None => tensors,
            Some(_) => Bytes(tensors.0.saturating_add(Framework::required_memory(shape).0)),
        }
    }

    fn available_memory(&self) -> Option<Bytes> {
        self.free_memory().ok()
    }

    fn probe(&mut self) -> Result<Probe, BackendError> {
        let buffers = self.probed.get_or_init(|| {
            // twice the cache each: what is copied is in it no more when it is copied again
            let bytes = Bytes((2 * self.gpu.l2_cache.0).max(LEAST_COPIED.0));
            let allocate = || Memory::new(&self.context, bytes).ok();
            Some([allocate()?, allocate()?])
        });
        let Some([from, to]) = buffers else { return Ok(Probe::default()) };
        let mut best_ns = f64::INFINITY;
        for _ in 0..PROBES {
            let time = self.timer.time(COPIES, || from.copy_to(&self.timer.stream, to))?;
            best_ns = best_ns.min(time.device_ns.unwrap_or(f64::INFINITY));
        }
        // an event's time may be nothing at all
        let is_time = best_ns.is_finite() && best_ns > 0.0;
        let copy_gb_s = is_time.then(|| from.bytes().0 as f64 / best_ns);
        Ok(Probe { copy_gb_s, ..Probe::default() })
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
        launch: impl FnMut() -> Result<(), GpuError>,
    ) -> Result<LaunchTime, GpuError> {
        self.time_expected(launches, Duration::ZERO, launch)
    }

    /// The same for calls that are known to take so long in all.
    fn time_expected(
        &self,
        launches: NonZeroU32,
        expected: Duration,
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
        self.stream.synchronize_after(expected)?;
        let finished = start.elapsed();
        let each = |time_ns: f64| time_ns / f64::from(launches.get());
        Ok(LaunchTime {
            host_ns: each(finished.as_nanos() as f64),
            device_ns: Some(each(self.before.until(&self.after)?)),
            submission_ns: Some(each(submitted.as_nanos() as f64)),
        })
    }
}

impl Timer {
    /// Synchronises, holds the stream back until `launch` is queued between two events, and synchronises
    /// again. The host's time is that of queueing and computing, one after the other.
    fn time_queued(
        &self,
        launch: impl FnOnce() -> Result<(), GpuError>,
    ) -> Result<LaunchTime, GpuError> {
        let gate = match self.gate.get() {
            Some(gate) => gate.as_ref().map_err(Clone::clone)?,
            None => return Err(GpuError::NoGate),
        };
        self.stream.synchronize()?;
        let start = Instant::now();
        let held = gate.hold(&self.stream)?;
        self.before.record(&self.stream)?;
        launch()?;
        self.after.record(&self.stream)?;
        held.release()?;
        self.stream.synchronize()?;
        Ok(LaunchTime {
            host_ns: start.elapsed().as_nanos() as f64,
            device_ns: Some(self.before.until(&self.after)?),
            // the device does not wait for it
            submission_ns: None,
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
    (driver, cudnn): (&Driver, &Cudnn),
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
        cuda: cuda_version(driver.cuda),
        cudnn: cudnn_version(cudnn.version),
        cudnn_cuda: cuda_version(cudnn.built_with),
        ecc: facts.as_ref().and_then(|facts| facts.ecc),
        persistence: facts.as_ref().and_then(|facts| facts.persistence),
        power_limit_w: facts.as_ref().and_then(|facts| facts.power_limit_w),
        variables: std::env::vars_os()
            .map(|(name, value)| [name, value].map(|text| text.to_string_lossy().into_owned()))
            .filter(|[name, _]| changes_results(name))
            .map(|[name, value]| (name, value))
            .collect(),
        nvml_missing: monitor.as_ref().err().cloned(),
        libraries: [
            ("libcuda", &driver.path),
            ("libcudnn", &cudnn.path),
            ("libcublasLt", &cudnn.cublas_lt),
        ]
        .into_iter()
        .filter_map(|(name, path)| Some((name.to_owned(), path.as_ref()?.display().to_string())))
        .collect(),
    })
}
