//! One convolution on the device: tensors, plan, workspace, and everything that is done with them.

use std::mem::ManuallyDrop;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::buffer_pool::{Purpose, RESERVE};
use super::framework::Framework;
use super::graph::{Candidate, ExecutionPlan, Graph, Pack, first_plans, first_that};
use super::options::EVENT_STEP_NS;
use super::replay::Replay;
use super::{CudnnBackend, GpuError, Memory, PlanChoice};
use crate::backend::device::DeviceSample;
use crate::backend::plan::{PlanRecord, TimedPlan, arithmetic};
use crate::backend::{Backend, BackendError, LaunchTime, PreparedConv, compare_with_direct_sums};
use crate::protocol::Convolution;
use crate::reference;
use crate::shape::ConvShape;
use crate::statistics::{quantile, sorted};
use crate::units::Bytes;

/// The most plans that are timed against each other: heuristics rank the fastest among the first.
const TIMED_PLANS: usize = 10;

/// How long plans are launched in turn before they are timed, so that the device's clocks rise.
const TIMED_WARM_UP: Duration = Duration::from_millis(50);

/// Timed launches of each, in turn.
const TIMED_LAUNCHES: usize = 7;

/// How long the device is kept busy while its state is read.
const BUSY_NS: f64 = 2e6;

pub(super) struct CudnnConvolution<'a> {
    backend: &'a CudnnBackend,
    shape: ConvShape,
    seed: u64,
    algorithm: String,
    plan: ManuallyDrop<ExecutionPlan>,
    pack: ManuallyDrop<Pack>,
    tensors: Tensors,
    workspace: Memory,
    /// A launch that was captured, where replays of it are timed.
    replay: Option<Replay>,
    /// What the last launch took by the device's clock, once one was timed.
    last_ns: Option<f64>,
}

struct Tensors {
    input: Memory,
    weights: Memory,
    output: Memory,
    /// What is executed before and after the convolution, if anything is.
    framework: Option<Framework>,
}

/// A plan with what it runs on.
struct Chosen {
    plan: ExecutionPlan,
    pack: Pack,
    workspace: Memory,
}

impl<'a> CudnnConvolution<'a> {
    pub(super) fn prepare(
        backend: &'a CudnnBackend,
        shape: ConvShape,
        seed: u64,
    ) -> Result<Self, GpuError> {
        let allowed = backend.memory_allowed()?;
        let tensors = Tensors::new(backend, shape, seed)?;
        let taken = backend.required_memory(shape).0.saturating_add(RESERVE.0);
        let for_workspace = Bytes(allowed.0.saturating_sub(taken));
        // what a plan reads is never left to chance, also where it is only tried
        tensors.before(backend)?;
        let graph = match backend.framework {
            None => Graph::new(&backend.target(), shape)?,
            Some(_) => Graph::of_framework(&backend.target(), shape)?,
        };
        let candidates = graph.candidates()?;
        let Chosen { plan, pack, workspace } = match backend.options.plan {
            PlanChoice::Heuristic => first(backend, &tensors, &candidates, for_workspace)?,
            PlanChoice::Measured => fastest(backend, &tensors, &candidates, for_workspace)?,
        };
        let algorithm = plan.record().algorithm();
        let (plan, pack) = (ManuallyDrop::new(plan), ManuallyDrop::new(pack));
        Ok(Self {
            backend,
            shape,
            seed,
            algorithm,
            plan,
            pack,
            tensors,
            workspace,
            replay: None,
            last_ns: None,
        })
    }

    /// Enqueues one forward pass.
    fn enqueue(&self) -> Result<(), GpuError> {
        self.tensors.before(self.backend)?;
        self.plan.launch(&self.pack)?;
        self.tensors.after(self.backend)
    }

    /// Poisons output and workspace, and computes the output.
    fn compute_anew(&mut self) -> Result<(), GpuError> {
        /// All bits set: not a number.
        const POISON: u8 = 0xff;
        let stream = &self.backend.timer.stream;
        self.tensors.output.fill(stream, POISON)?;
        self.workspace.fill(stream, POISON)?;
        self.enqueue()?;
        stream.synchronize()
    }

    /// Reads the device's state while launches keep it busy, because an idle device has lower clocks.
    /// One more launch afterwards warms up what cooled down during the reading.
    fn sample_busy(&self) -> Result<Option<DeviceSample>, GpuError> {
        /// Far fewer than make a launch wait for a place in the queue.
        const MOST_LAUNCHES: f64 = 64.0;
        let Some(monitor) = &self.backend.monitor else { return Ok(None) };
        let launches = (BUSY_NS / self.last_ns.unwrap_or(BUSY_NS)).clamp(1.0, MOST_LAUNCHES) as u32;
        let stream = &self.backend.timer.stream;
        for _ in 0..launches {
            self.enqueue()?;
        }
        let sample = monitor.sample();
        stream.synchronize()?;
        self.enqueue()?;
        stream.synchronize()?;
        Ok(sample)
    }

    /// What so many launches should take at most. A launch is timed first if none was: without its time,
    /// many that are slow could not be told from one that hangs.
    fn expected(&mut self, launches: NonZeroU32) -> Result<Duration, GpuError> {
        /// Clocks may be lower when the others run.
        const SLOWER: f64 = 2.0;
        if launches == NonZeroU32::MIN {
            return Ok(Duration::ZERO);
        }
        let last_ns = match self.last_ns {
            Some(last_ns) => last_ns,
            None => {
                let time = self.backend.timer.time(NonZeroU32::MIN, || self.enqueue())?;
                time.device_ns.unwrap_or(time.host_ns)
            }
        };
        let expected_s = SLOWER * last_ns * f64::from(launches.get()) / 1e9;
        Ok(Duration::try_from_secs_f64(expected_s).unwrap_or_default())
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
        let memory = |purpose, len: usize| backend.memory(purpose, Bytes::of_f32(len));
        let random = |purpose, len, seed| {
            let mut memory = memory(purpose, len)?;
            memory.randomize(&backend.timer.stream, len, seed).map(|()| memory)
        };
        let (inputs, weights) = (reference::input_seed(seed), reference::weights_seed(seed));
        Ok(Self {
            input: random(Purpose::Input, shape.input_len(), inputs)?,
            weights: random(Purpose::Weights, shape.weights_len(), weights)?,
            output: memory(Purpose::Output, shape.output_len())?,
            framework: match backend.framework {
                None => None,
                Some(functions) => Some(Framework::new(backend, functions, shape, seed)?),
            },
        })
    }

    /// What is executed before the convolution.
    fn before(&self, backend: &CudnnBackend) -> Result<(), GpuError> {
        let framework = self.framework.as_ref();
        framework.map_or(Ok(()), |framework| framework.before(backend, &self.input))
    }

    /// What is executed after it.
    fn after(&self, backend: &CudnnBackend) -> Result<(), GpuError> {
        let framework = self.framework.as_ref();
        framework.map_or(Ok(()), |framework| framework.after(backend, &self.output))
    }

    /// These tensors and a workspace, for plans that need no more than that.
    fn pack(&self, backend: &CudnnBackend, workspace: &Memory) -> Result<Pack, GpuError> {
        let image = self.framework.as_ref().and_then(Framework::image);
        let image = image.unwrap_or_else(|| self.input.raw());
        let tensors = [image, self.weights.raw(), self.output.raw()];
        // SAFETY: the tensors are of the shape that every graph here is made of, on the device of
        // the backend's handle, aligned to 256 bytes by the driver. Whoever owns the pack owns them
        // and the workspace too, and frees them after it, when its launches have finished.
        unsafe { Pack::new(&backend.target(), tensors, workspace.raw()) }
    }
}

/// The first plan that works, launched once.
fn first(
    backend: &CudnnBackend,
    tensors: &Tensors,
    candidates: &[Candidate],
    for_workspace: Bytes,
) -> Result<Chosen, GpuError> {
    let try_out = |plan: &ExecutionPlan| {
        let workspace = backend.memory(Purpose::Workspace, plan.record().workspace_bytes)?;
        let pack = tensors.pack(backend, &workspace)?;
        let launched = plan.launch(&pack);
        // a device that fails is no reason to try another plan
        if let Err(error) = backend.timer.stream.synchronize() {
            return Err(error.releasing(pack));
        }
        launched.map(|()| (pack, workspace))
    };
    let math = backend.options.math;
    let (plan, (pack, workspace)) = first_that(candidates, math, for_workspace, try_out)?;
    Ok(Chosen { plan, pack, workspace })
}

struct Contender {
    plan: ExecutionPlan,
    times_ns: Vec<f64>,
    failure: Option<GpuError>,
}

/// The fastest of the first plans that work, each timed in turn.
fn fastest(
    backend: &CudnnBackend,
    tensors: &Tensors,
    candidates: &[Candidate],
    for_workspace: Bytes,
) -> Result<Chosen, GpuError> {
    let plans = first_plans(candidates, backend.options.math, for_workspace, TIMED_PLANS)?;
    let contender = |plan| Contender { plan, times_ns: Vec::new(), failure: None };
    let mut contenders: Vec<Contender> = plans.into_iter().map(contender).collect();
    let workspace = shared_workspace(backend, &mut contenders)?;
    let pack = tensors.pack(backend, &workspace)?;
    if let Err(error) = in_turn(backend, &pack, &mut contenders) {
        return Err(error.releasing((pack, contenders)));
    }
    let timed: Vec<TimedPlan> = contenders.iter().map(Contender::record).collect();
    let Some(best) = place_of_best(&timed) else {
        let refused = timed.iter().map(TimedPlan::as_refused).collect();
        return Err(GpuError::NoPlan { refused });
    };
    let plan = contenders.swap_remove(best).plan.with_timed(timed);
    drop(pack);
    backend.put_back(Purpose::Workspace, workspace);
    let workspace = backend.memory(Purpose::Workspace, plan.record().workspace_bytes)?;
    Ok(Chosen { plan, pack: tensors.pack(backend, &workspace)?, workspace })
}

/// Times each contender's launches, after a warm-up.
fn in_turn(
    backend: &CudnnBackend,
    pack: &Pack,
    contenders: &mut [Contender],
) -> Result<(), GpuError> {
    let start = Instant::now();
    while start.elapsed() < TIMED_WARM_UP {
        one_round(backend, pack, contenders)?;
    }
    contenders.iter_mut().for_each(|contender| contender.times_ns.clear());
    for _ in 0..TIMED_LAUNCHES {
        one_round(backend, pack, contenders)?;
    }
    Ok(())
}

/// Allocates a workspace for each contender; those for which memory is lacking fail.
fn shared_workspace(
    backend: &CudnnBackend,
    contenders: &mut [Contender],
) -> Result<Memory, GpuError> {
    loop {
        let able = contenders.iter().filter(|contender| contender.failure.is_none());
        let most = able.map(|contender| contender.plan.record().workspace_bytes).max();
        match backend.memory(Purpose::Workspace, most.unwrap_or(Bytes(0))) {
            Err(error) if error.is_out_of_memory() => {
                let too_large = |c: &&mut Contender| Some(c.plan.record().workspace_bytes) == most;
                for contender in contenders.iter_mut().filter(too_large) {
                    contender.failure = Some(error.clone());
                }
            }
            other => return other,
        }
    }
}

/// Launches each contender once.
fn one_round(
    backend: &CudnnBackend,
    pack: &Pack,
    contenders: &mut [Contender],
) -> Result<(), GpuError> {
    for contender in contenders.iter_mut().filter(|contender| contender.failure.is_none()) {
        backend.flush_cache_if_cold()?;
        match backend.timer.time(NonZeroU32::MIN, || contender.plan.launch(pack)) {
            Ok(time) => contender.times_ns.extend(time.device_ns),
            Err(error) => {
                // a plan that fails is no reason to stop, a device that does is
                backend.timer.stream.synchronize()?;
                contender.failure = Some(error);
            }
        }
    }
    Ok(())
}

impl Contender {
    fn record(&self) -> TimedPlan {
        let record = self.plan.record();
        let median_ns = quantile(&sorted(&self.times_ns), 0.5);
        TimedPlan {
            rank: record.rank,
            algorithm: record.algorithm(),
            workspace_bytes: record.workspace_bytes,
            device_ns: self.failure.is_none().then_some(median_ns),
            failure: self.failure.as_ref().map(ToString::to_string),
        }
    }
}

/// The fastest; among those that the clock cannot tell apart from it, the one that cuDNN ranks first.
fn place_of_best(timed: &[TimedPlan]) -> Option<usize> {
    let times = timed.iter().filter_map(|plan| plan.device_ns);
    let fastest = times.min_by(f64::total_cmp)?;
    let as_fast = |plan: &TimedPlan| plan.device_ns.is_some_and(|ns| ns <= fastest + EVENT_STEP_NS);
    timed.iter().position(as_fast)
}

impl PreparedConv for CudnnConvolution<'_> {
    fn launch(&mut self) -> Result<(), BackendError> {
        self.enqueue().map_err(self.of_shape())
    }

    fn synchronize(&mut self) -> Result<(), BackendError> {
        self.backend.timer.stream.synchronize().map_err(self.of_shape())
    }

    fn time(&mut self, launches: NonZeroU32) -> Result<LaunchTime, BackendError> {
        let expected = self.expected(launches).map_err(self.of_shape())?;
        let timer = &self.backend.timer;
        let time = timer.time_expected(launches, expected, || self.enqueue());
        let time = time.map_err(self.of_shape())?;
        self.last_ns = time.device_ns;
        Ok(time)
    }

    fn time_queued(&mut self) -> Result<LaunchTime, BackendError> {
        let time = self.backend.timer.time_queued(|| self.enqueue());
        let time = time.map_err(self.of_shape())?;
        self.last_ns = time.device_ns;
        Ok(time)
    }

    fn time_replays(&mut self, launches: NonZeroU32) -> Result<LaunchTime, BackendError> {
        let expected = self.expected(launches).map_err(self.of_shape())?;
        let CudnnBackend { context, timer, .. } = self.backend;
        let replay = match self.replay.take() {
            Some(replay) => replay,
            None => Replay::capture(context, &timer.stream, || self.enqueue())
                .map_err(self.of_shape())?,
        };
        let replay = self.replay.insert(replay);
        let time = timer.time_expected(launches, expected, || replay.launch(&timer.stream));
        let time = time.map_err(self.of_shape())?;
        self.last_ns = time.device_ns;
        Ok(time)
    }

    fn flush_cache(&mut self) -> Result<(), BackendError> {
        self.backend.flush_cache_if_cold().map_err(self.of_shape())
    }

    fn device_sample(&mut self) -> Result<Option<DeviceSample>, BackendError> {
        self.sample_busy().map_err(self.of_shape())
    }

    fn plan(&self) -> Option<&PlanRecord> {
        Some(self.plan.record())
    }

    fn algorithm(&self) -> &str {
        &self.algorithm
    }

    fn workspace_bytes(&self) -> Bytes {
        let copied = self.tensors.framework.as_ref().map_or(Bytes(0), Framework::workspace_bytes);
        Bytes(self.plan.record().workspace_bytes.0.saturating_add(copied.0))
    }

    fn verify(&mut self) -> Result<(), BackendError> {
        self.compute_anew().map_err(self.of_shape())?;
        let (shape, output) = (self.shape, &self.tensors.output);
        let read = |[channel, row, column]: [usize; 3]| {
            let index = (channel * shape.height() + row) * shape.width() + column;
            output.read(index).map_err(self.of_shape())
        };
        let arithmetic = arithmetic(&self.plan.record().numerical_notes);
        let convolution = match self.backend.framework {
            None => Convolution::Plain,
            Some(_) => Convolution::Framework,
        };
        let computed = (shape, convolution);
        compare_with_direct_sums(computed, self.seed, arithmetic, &self.algorithm, read)
    }
}

impl Drop for CudnnConvolution<'_> {
    /// Nothing is freed that a launch still uses: tensors and workspace that are not put back are
    /// dropped after this.
    fn drop(&mut self) {
        // a fault has been, or will be, reported by whoever launched
        let finished = self.backend.timer.stream.synchronize();
        if self.backend.timer.stream.hangs() {
            return;
        }
        self.replay = None;
        // SAFETY: neither is used again.
        unsafe {
            ManuallyDrop::drop(&mut self.pack);
            ManuallyDrop::drop(&mut self.plan);
        }
        // of a device that is lost nothing is kept
        if finished.is_ok() {
            let Tensors { input, weights, output, framework } = &mut self.tensors;
            if let Some(framework) = framework {
                framework.put_back(self.backend);
            }
            self.backend.put_back(Purpose::Input, input.take());
            self.backend.put_back(Purpose::Weights, weights.take());
            self.backend.put_back(Purpose::Output, output.take());
            self.backend.put_back(Purpose::Workspace, self.workspace.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(times_ns: &[Option<f64>]) -> Vec<TimedPlan> {
        let plan = |(rank, device_ns): (usize, &Option<f64>)| TimedPlan {
            rank,
            algorithm: String::new(),
            workspace_bytes: Bytes(0),
            device_ns: *device_ns,
            failure: device_ns.is_none().then(|| "failed".to_owned()),
        };
        times_ns.iter().enumerate().map(plan).collect()
    }

    #[test]
    fn the_best_plan_is_the_fastest_unless_the_clock_cannot_tell_it_from_one_ranked_before() {
        let best = |times_ns: &[Option<f64>]| place_of_best(&timed(times_ns));
        assert_eq!(best(&[Some(9e3), Some(5e3), Some(7e3)]), Some(1));
        assert_eq!(best(&[Some(9e3), Some(5.4e3), Some(5e3)]), Some(1));
        assert_eq!(best(&[None, Some(9e3), Some(5e3)]), Some(2));
        assert_eq!(best(&[None, None]), None);
    }
}
