//! One convolution on the device: tensors, plan, workspace, and everything that is done with them.

use std::num::NonZeroU32;

use super::graph::{Candidate, Execution, Graph, Plan, first_plans, first_that};
use super::{CudnnBackend, GpuError, Memory, PlanChoice};
use crate::backend::device::DeviceSample;
use crate::backend::plan::{PlanRecord, TimedPlan, is_tensor_core, is_transform};
use crate::backend::{BackendError, LaunchTime, PreparedConv, compare_with_direct_sums};
use crate::reference::{self, Arithmetic};
use crate::shape::ConvShape;
use crate::statistics::{quantile, sorted};
use crate::units::Bytes;

/// Plans that are timed against each other, at most: heuristics put the fastest among their first.
const TIMED_PLANS: usize = 10;
/// Launches of each before it is timed, and those that are.
const TIMED_WARM_UP: usize = 2;
const TIMED_LAUNCHES: usize = 5;

/// A convolution ready to be launched.
pub(super) struct CudnnConvolution<'a> {
    backend: &'a CudnnBackend,
    shape: ConvShape,
    seed: u64,
    algorithm: String,
    execution: Execution,
    tensors: Tensors,
    workspace: Memory,
}

/// The three tensors on the device.
struct Tensors {
    input: Memory,
    weights: Memory,
    output: Memory,
}

impl<'a> CudnnConvolution<'a> {
    pub(super) fn prepare(
        backend: &'a CudnnBackend,
        shape: ConvShape,
        seed: u64,
    ) -> Result<Self, GpuError> {
        let allowed = backend.memory_allowed()?;
        let tensors = Tensors::new(backend, shape, seed)?;
        let for_workspace = Bytes(allowed.0.saturating_sub(shape.min_bytes_moved().0));
        let candidates = Graph::new(&backend.target(), shape)?.candidates()?;
        let (execution, workspace) = match backend.options.plan {
            PlanChoice::Heuristic => first(backend, &tensors, &candidates, for_workspace)?,
            PlanChoice::Measured => fastest(backend, &tensors, &candidates, for_workspace)?,
        };
        let algorithm = execution.record().algorithm();
        Ok(Self { backend, shape, seed, algorithm, execution, tensors, workspace })
    }

    /// How the plan rounds, as far as is known.
    fn arithmetic(&self) -> Arithmetic {
        let notes = &self.execution.record().numerical_notes;
        match () {
            () if notes.iter().any(|&note| is_tensor_core(note)) => Arithmetic::Tf32,
            () if notes.iter().any(|&note| is_transform(note)) => Arithmetic::F32Transformed,
            () => Arithmetic::F32,
        }
    }

    /// Poisons the output and computes it.
    fn compute_anew(&mut self) -> Result<(), GpuError> {
        /// All bits set: not a number.
        const POISON: u8 = 0xff;
        let stream = &self.backend.timer.stream;
        stream.fill(&self.tensors.output, POISON)?;
        stream.fill(&self.workspace, POISON)?;
        self.execution.launch()?;
        stream.synchronize()
    }

    /// The error as one of this configuration.
    fn of_shape(&self) -> impl Fn(GpuError) -> BackendError + use<> {
        let shape = Some(self.shape);
        move |source| BackendError::Gpu { shape, source }
    }
}

impl Tensors {
    /// Input and weights from the seed, and room for the output.
    fn new(backend: &CudnnBackend, shape: ConvShape, seed: u64) -> Result<Self, GpuError> {
        let context = &backend.context;
        let output = Bytes(shape.output_len() as u64 * size_of::<f32>() as u64);
        Ok(Self {
            input: Memory::random(context, shape.input_len(), reference::input_seed(seed))?,
            weights: Memory::random(context, shape.weights_len(), reference::weights_seed(seed))?,
            output: Memory::new(context, output)?,
        })
    }

    /// The plan on these tensors.
    fn bind(&self, plan: Plan, workspace: &Memory) -> Result<Execution, GpuError> {
        let tensors = [self.input.raw(), self.weights.raw(), self.output.raw()];
        // SAFETY: these tensors are of the graph's shape, on the device of its handle, aligned to
        // 256 bytes by the driver; the workspace is as large as the plan says. The convolution that
        // owns the execution owns them too, and frees them after it, which waits for its launches.
        unsafe { Execution::new(plan, tensors, workspace.raw()) }
    }
}

/// The first plan that works, with its workspace.
fn first(
    backend: &CudnnBackend,
    tensors: &Tensors,
    candidates: &[Candidate],
    for_workspace: Bytes,
) -> Result<(Execution, Memory), GpuError> {
    let allocate = |plan: &Plan| Memory::new(&backend.context, plan.record().workspace_bytes);
    let math = backend.options.math;
    let (plan, workspace) = first_that(candidates, math, for_workspace, allocate)?;
    Ok((tensors.bind(plan, &workspace)?, workspace))
}

/// The fastest of the first plans that work, with its workspace.
fn fastest(
    backend: &CudnnBackend,
    tensors: &Tensors,
    candidates: &[Candidate],
    for_workspace: Bytes,
) -> Result<(Execution, Memory), GpuError> {
    let plans = first_plans(candidates, backend.options.math, for_workspace, TIMED_PLANS)?;
    let (mut timed, mut best) = (Vec::new(), None::<(f64, Plan)>);
    for plan in plans {
        let record = plan.record().clone();
        let took = time(backend, tensors, plan);
        // a plan that fails is no reason to stop, a device that does is
        if took.is_err() {
            backend.timer.stream.synchronize()?;
        }
        timed.push(TimedPlan {
            rank: record.rank,
            algorithm: record.algorithm(),
            workspace_bytes: record.workspace_bytes,
            device_ns: took.as_ref().ok().map(|(device_ns, _)| *device_ns),
            failure: took.as_ref().err().map(ToString::to_string),
        });
        best = match (best, took.ok()) {
            (Some(best), Some(this)) => Some(if this.0 < best.0 { this } else { best }),
            (best, this) => best.or(this),
        };
    }
    let Some((_, plan)) = best else {
        let refused = timed.iter().map(TimedPlan::as_refused).collect();
        return Err(GpuError::NoPlan { refused });
    };
    let workspace = Memory::new(&backend.context, plan.record().workspace_bytes)?;
    Ok((tensors.bind(plan.with_timed(timed), &workspace)?, workspace))
}

/// Median of a few launches by the device's clock, and the plan back.
fn time(backend: &CudnnBackend, tensors: &Tensors, plan: Plan) -> Result<(f64, Plan), GpuError> {
    let workspace = Memory::new(&backend.context, plan.record().workspace_bytes)?;
    let execution = tensors.bind(plan, &workspace)?;
    let mut times_ns = Vec::with_capacity(TIMED_LAUNCHES);
    for launch in 0..TIMED_WARM_UP + TIMED_LAUNCHES {
        let time = backend.timer.time(NonZeroU32::MIN, || execution.launch())?;
        times_ns.extend(time.device_ns.filter(|_| launch >= TIMED_WARM_UP));
    }
    Ok((quantile(&sorted(&times_ns), 0.5), execution.into_plan()))
}

impl PreparedConv for CudnnConvolution<'_> {
    fn launch(&mut self) -> Result<(), BackendError> {
        self.execution.launch().map_err(self.of_shape())
    }

    fn synchronize(&mut self) -> Result<(), BackendError> {
        self.backend.timer.stream.synchronize().map_err(self.of_shape())
    }

    fn time(&mut self, launches: NonZeroU32) -> Result<LaunchTime, BackendError> {
        let timer = &self.backend.timer;
        timer.time(launches, || self.execution.launch()).map_err(self.of_shape())
    }

    fn flush_cache(&mut self) -> Result<(), BackendError> {
        self.backend.flush_cache().map_err(self.of_shape())
    }

    fn device_sample(&mut self) -> Option<DeviceSample> {
        self.backend.sample()
    }

    fn plan(&self) -> Option<&PlanRecord> {
        Some(self.execution.record())
    }

    fn algorithm(&self) -> &str {
        &self.algorithm
    }

    fn workspace_bytes(&self) -> Bytes {
        self.workspace.bytes()
    }

    fn verify(&mut self) -> Result<(), BackendError> {
        self.compute_anew().map_err(self.of_shape())?;
        let (shape, output) = (self.shape, &self.tensors.output);
        let read = |[channel, row, column]: [usize; 3]| {
            let index = (channel * shape.height() + row) * shape.width() + column;
            output.read(index).map_err(self.of_shape())
        };
        compare_with_direct_sums(shape, self.seed, self.arithmetic(), &self.algorithm, read)
    }
}

impl Drop for CudnnConvolution<'_> {
    /// Fields are dropped after this: nothing is freed that a launch still uses.
    fn drop(&mut self) {
        // a fault has been, or will be, reported by whoever launched
        let _ = self.backend.timer.stream.synchronize();
    }
}
