//! Convolution on the CPU: this project's tiling and data movement around the `gemm` crate's
//! kernels.
//!
//! Tensors are plain NCHW and OIHW `f32`, as a framework would pass them; an algorithm that repacks
//! them does so in every launch. Like PyTorch and oneDNN, algorithms skip kernel taps that see only
//! padding, where they can. Rates computed from nominal FLOPs can therefore exceed the hardware's
//! peak.
//!
//! Everything whose size grows with the convolution is allocated before the first launch and
//! counted as workspace. Not counted: a few bytes per thread that each launch allocates, and the
//! packing buffers inside `gemm`, a few MiB at most.
//!
//! Results are bit-identical between runs with the same number of threads.

use std::num::NonZeroUsize;
use std::rc::Rc;

use super::device::Device;
use super::{Backend, BackendError, LaunchTime, PreparedConv, Probe, compare_with_direct_sums};
use crate::disturbance::Threads;
use crate::host::{Timer, available_memory};
use crate::protocol::Convolution;
use crate::reference::{self, Arithmetic};
use crate::shape::ConvShape;
use crate::units::Bytes;

mod buffer;
mod cores;
mod explicit;
mod framework;
mod gemv;
mod matrix;
mod options;
mod partition;
mod plan;
mod probe;
mod shift;
mod slab;
mod team;
mod tiled;

use buffer::{AlignedBuffer, BufferPool};
use cores::PinGuard;
use framework::Framework;
pub use options::{AlgorithmChoice, CpuOptions, KIND};
use plan::Plan;
use probe::MachineProbe;
use shift::Image;
use team::Team;

/// Computes on a fixed number of threads of this machine.
///
/// It cannot be sent to another thread: the thread that creates it also computes.
///
/// On Linux, each thread is pinned to its own core, chosen from the cores that the calling thread may
/// run on; to different physical cores if there are enough. With more threads than cores, and on
/// other systems, the scheduler decides where they run.
///
/// The calling thread is pinned only as long as a convolution that it prepared exists. During that
/// time, threads and processes that it starts inherit its single core, and
/// [`std::thread::available_parallelism`] returns 1. When the last prepared convolution is dropped,
/// the thread gets back all its cores, even if the backend still exists. The criterion process is
/// started after the measurements and is therefore not pinned.
///
/// Two processes that measure at the same time do so on different cores, if there are enough. Several
/// backends in one process do not avoid each other's cores: all use the same ones. Under a limit on CPU
/// time, nothing is pinned.
pub struct CpuBackend {
    team: Team,
    algorithm: AlgorithmChoice,
    convolution: Convolution,
    /// Memory of earlier convolutions, where it is to be reused.
    pools: Option<BufferPools>,
    /// Made when first asked for: it takes memory.
    probe: Option<MachineProbe>,
}

#[derive(Clone, Default)]
struct BufferPools {
    input: BufferPool,
    weights: BufferPool,
    output: BufferPool,
    workspace: BufferPool,
    image: BufferPool,
    bias: BufferPool,
}

struct CpuConvolution {
    shape: ConvShape,
    seed: u64,
    team: Team,
    plan: Plan,
    input: AlignedBuffer,
    weights: AlignedBuffer,
    output: AlignedBuffer,
    workspace: AlignedBuffer,
    framework: Option<Framework>,
    _pinned: Option<Rc<PinGuard>>,
}

impl CpuBackend {
    /// Starts the threads.
    pub fn new(threads: NonZeroUsize, algorithm: AlgorithmChoice) -> Result<Self, BackendError> {
        let (team, convolution) = (Team::new(threads)?, Convolution::Plain);
        Ok(Self { team, algorithm, convolution, pools: None, probe: None })
    }

    /// The same, with launches that compute this.
    #[must_use]
    pub fn with_convolution(self, convolution: Convolution) -> Self {
        Self { convolution, ..self }
    }

    /// How many threads compute, the calling one included.
    pub fn threads(&self) -> NonZeroUsize {
        self.team.size()
    }

    /// The logical cores that the threads are pinned to while they compute, the calling thread's
    /// first, as the system numbers them; none where they are not pinned.
    pub fn pinned_cores(&self) -> Option<&[usize]> {
        self.team.cores()
    }

    /// The algorithm that was asked for; [`PreparedConv::algorithm`] says which one a shape got.
    pub fn algorithm(&self) -> AlgorithmChoice {
        self.algorithm
    }

    /// Convolves given tensors, whatever launches compute, `input` being `[in_channels, height, width]` and `weights`
    /// `[out_channels, in_channels, kernel, kernel]`: for comparing with other implementations.
    ///
    /// # Errors
    /// [`BackendError::OutOfMemory`] where output and workspace do not fit,
    /// [`BackendError::TensorLength`] where the length of a slice does not match `shape`.
    pub fn convolve(
        &self,
        shape: ConvShape,
        input: &[f32],
        weights: &[f32],
    ) -> Result<Vec<f32>, BackendError> {
        for (tensor, got, expected) in [
            ("input", input.len(), shape.input_len()),
            ("weights", weights.len(), shape.weights_len()),
        ] {
            if got != expected {
                return Err(BackendError::TensorLength { shape, tensor, expected, got });
            }
        }
        let plan = Plan::new(self.algorithm, shape, self.team.threads());
        let zeroed = |len| self.allocated(shape, AlignedBuffer::zeroed(len));
        let mut output = zeroed(shape.output_len())?;
        let mut workspace = zeroed(plan.workspace_len())?;
        let _pinned = self.team.pin_caller();
        // every value has to be written: one that is not shows
        output.as_mut_slice().fill(f32::NAN);
        workspace.as_mut_slice().fill(f32::NAN);
        let tensors = (Image::new(input, shape), weights);
        plan.run(&self.team, tensors, workspace.as_mut_slice(), output.as_mut_slice());
        Ok(output.as_slice().to_vec())
    }

    fn convolution(&self, shape: ConvShape, seed: u64) -> Result<CpuConvolution, BackendError> {
        let plan = Plan::new(self.algorithm, shape, self.team.threads());
        let pools = self.pools.clone().unwrap_or_default();
        // before the tensors, so that they are in this core's memory
        let pinned = self.team.pin_caller();
        let (inputs, weights) = (reference::input_seed(seed), reference::weights_seed(seed));
        Ok(CpuConvolution {
            _pinned: pinned,
            shape,
            seed,
            team: self.team.clone(),
            input: self.allocated(shape, pools.input.random(shape.input_len(), inputs))?,
            weights: self.allocated(shape, pools.weights.random(shape.weights_len(), weights))?,
            output: self.allocated(shape, pools.output.scratch(shape.output_len()))?,
            workspace: self.allocated(shape, pools.workspace.scratch(plan.workspace_len()))?,
            framework: match self.convolution {
                Convolution::Plain => None,
                Convolution::Framework => {
                    Some(self.allocated(shape, Framework::new(shape, seed, &pools))?)
                }
            },
            plan,
        })
    }

    fn allocated<T>(&self, shape: ConvShape, memory: Option<T>) -> Result<T, BackendError> {
        memory.ok_or_else(|| BackendError::OutOfMemory {
            shape,
            required: self.required_memory(shape),
        })
    }
}

impl Backend for CpuBackend {
    fn device(&self) -> Device {
        let pinned_cores = self.pinned_cores().map(<[usize]>::to_vec);
        Device { backend: KIND.name, gpu: None, pinned_cores }
    }

    /// Memory in the pools counts as free.
    fn available_memory(&self) -> Option<Bytes> {
        let pooled = self.pools.as_ref().map_or(0, |pools| {
            let BufferPools { input, weights, output, workspace, image, bias } = pools;
            [input, weights, output, workspace, image, bias].iter().map(|pool| pool.bytes()).sum()
        });
        available_memory().map(|Bytes(free)| Bytes(free + pooled))
    }

    fn reuse_buffers(&mut self, reuse: bool) {
        self.pools = reuse.then(BufferPools::default);
    }

    /// The cost of reading the clock: a launch is a function call.
    fn empty_launch(&mut self) -> Result<LaunchTime, BackendError> {
        let host_ns = Timer::of_this_machine().overhead_ns;
        Ok(LaunchTime { host_ns, device_ns: None, submission_ns: None })
    }

    fn notes(&self) -> &[String] {
        self.team.placement_notes()
    }

    fn check(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn probe(&mut self) -> Result<Probe, BackendError> {
        let _pinned = self.team.pin_caller();
        Ok(self.probe.get_or_insert_with(MachineProbe::new).state(&self.team))
    }

    fn required_memory(&self, shape: ConvShape) -> Bytes {
        let plan = Plan::new(self.algorithm, shape, self.team.threads());
        let around = match self.convolution {
            Convolution::Plain => 0,
            Convolution::Framework => Framework::required_len(shape),
        };
        let elements = [shape.weights_len(), shape.output_len(), plan.workspace_len(), around]
            .into_iter()
            .fold(shape.input_len(), usize::saturating_add);
        Bytes::of_f32(elements)
    }

    fn prepare(
        &mut self,
        shape: ConvShape,
        seed: u64,
    ) -> Result<Box<dyn PreparedConv + '_>, BackendError> {
        Ok(Box::new(self.convolution(shape, seed)?))
    }
}

impl PreparedConv for CpuConvolution {
    fn launch(&mut self) -> Result<(), BackendError> {
        let (input, output) = (self.input.as_slice(), self.output.as_mut_slice());
        let image = match &mut self.framework {
            Some(framework) => framework.pad(&self.team, input),
            None => Image::new(input, self.shape),
        };
        let tensors = (image, self.weights.as_slice());
        self.plan.run(&self.team, tensors, self.workspace.as_mut_slice(), output);
        if let Some(framework) = &self.framework {
            framework.add_bias(&self.team, output);
        }
        Ok(())
    }

    /// Nothing to wait for: a launch returns when its output is complete.
    fn synchronize(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn threads(&self) -> Threads {
        self.team.thread_ids()
    }

    fn algorithm(&self) -> &str {
        self.plan.name()
    }

    fn workspace_bytes(&self) -> Bytes {
        let copied = self.framework.as_ref().map_or(0, |framework| framework.image().len());
        Bytes::of_f32(self.plan.workspace_len().saturating_add(copied))
    }

    fn verify(&mut self) -> Result<(), BackendError> {
        self.output.as_mut_slice().fill(f32::NAN);
        self.launch()?;
        let (shape, output) = (self.shape, self.output.as_slice());
        let read = |[channel, row, column]: [usize; 3]| {
            Ok(output[(channel * shape.height() + row) * shape.width() + column])
        };
        let convolution = match self.framework {
            Some(_) => Convolution::Framework,
            None => Convolution::Plain,
        };
        let computed = (shape, convolution);
        compare_with_direct_sums(computed, self.seed, Arithmetic::F32, self.algorithm(), read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_algorithms_read_back_and_others_are_refused() {
        for choice in AlgorithmChoice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!(
            "winograd".parse::<AlgorithmChoice>().unwrap_err().to_string(),
            "no such algorithm, expected `auto`, `explicit`, `slab`, `tiled` or `skinny`"
        );
    }

    #[test]
    fn verification_finds_a_wrong_result() {
        let shape: ConvShape = "h=10_w=10_in=300_out=20_k=3".parse().unwrap();
        let backend = CpuBackend::new(NonZeroUsize::MIN, AlgorithmChoice::Auto).unwrap();
        let mut right = backend.convolution(shape, 3).unwrap();
        right.verify().unwrap();
        // a plan for one input channel fewer leaves that out of the first channel, and misreads others
        let shorter = "h=10_w=10_in=299_out=20_k=3".parse().unwrap();
        let mut wrong = backend.convolution(shape, 3).unwrap();
        wrong.plan = Plan::new(AlgorithmChoice::Explicit, shorter, 1);
        wrong.workspace = AlignedBuffer::zeroed(wrong.plan.workspace_len()).unwrap();
        let error = wrong.verify().unwrap_err();
        assert!(matches!(error, BackendError::Verification { .. }), "{error}");
    }

    #[test]
    fn every_algorithm_pads_and_adds_the_bias_as_a_framework_does() {
        for (id, choice) in
            ["h=10_w=7_in=30_out=20_k=4", "h=9_w=8_in=5_out=7_k=2", "h=3_w=2_in=9_out=4_k=8"]
                .into_iter()
                .chain([
                    "h=9_w=9_in=30_out=20_k=3",
                    "h=2_w=3_in=20_out=9_k=1",
                    "h=1_w=1_in=3_out=2_k=2",
                ])
                .flat_map(|id| AlgorithmChoice::ALL.map(|choice| (id, choice)))
        {
            for threads in [1, 3] {
                let threads = NonZeroUsize::new(threads).unwrap();
                let backend = CpuBackend::new(threads, choice).unwrap();
                let backend = backend.with_convolution(Convolution::Framework);
                let mut convolution = backend.convolution(id.parse().unwrap(), 5).unwrap();
                convolution.verify().unwrap_or_else(|error| panic!("{choice}: {error}"));
            }
        }
    }

    #[test]
    fn verification_notices_other_biases() {
        let shape: ConvShape = "h=6_w=6_in=9_out=5_k=4".parse().unwrap();
        let backend = CpuBackend::new(NonZeroUsize::MIN, AlgorithmChoice::Auto).unwrap();
        let backend = backend.with_convolution(Convolution::Framework);
        let mut other_bias = backend.convolution(shape, 1).unwrap();
        other_bias.framework = Framework::new(shape, 2, &BufferPools::default());
        assert!(matches!(other_bias.verify(), Err(BackendError::Verification { .. })));
    }

    #[test]
    fn convolutions_in_memory_used_before_compute_the_same() {
        let mut backend = CpuBackend::new(NonZeroUsize::MIN, AlgorithmChoice::Auto).unwrap();
        backend.reuse_buffers(true);
        for id in
            ["h=9_w=9_in=30_out=20_k=3", "h=1_w=3_in=20_out=9_k=1", "h=9_w=8_in=31_out=20_k=4"]
        {
            for seed in [1, 2] {
                let shape: ConvShape = id.parse().unwrap();
                backend.prepare(shape, seed).unwrap().verify().unwrap();
            }
        }
        assert!(backend.pools.as_ref().unwrap().input.bytes() >= 9 * 9 * 30 * 4);
    }

    #[test]
    fn required_memory_is_what_a_prepared_convolution_holds() {
        for shape in
            ["h=1_w=3_in=20_out=9_k=1", "h=40_w=41_in=3_out=20_k=4", "h=5_w=6_in=9_out=8_k=9"]
        {
            let shape: ConvShape = shape.parse().unwrap();
            let choices = AlgorithmChoice::ALL.into_iter().flat_map(|c| [(c, 1), (c, 3)]);
            for ((choice, threads), what) in
                choices.flat_map(|choice| Convolution::ALL.map(|what| (choice, what)))
            {
                let backend = CpuBackend::new(NonZeroUsize::new(threads).unwrap(), choice).unwrap();
                let backend = backend.with_convolution(what);
                let CpuConvolution { input, weights, output, workspace, framework, .. } =
                    backend.convolution(shape, 1).unwrap();
                let held = [input, weights, output, workspace].map(|b| size_of_val(b.as_slice()));
                let around =
                    framework.map_or(0, |f| size_of_val(f.image()) + 4 * shape.out_channels());
                let held = held.iter().sum::<usize>() + around;
                assert_eq!(backend.required_memory(shape).0, held as u64, "{shape} {choice}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_calling_thread_is_on_its_core_while_a_prepared_convolution_lives() {
        let allowed = || rustix::thread::sched_getaffinity(None).unwrap();
        let before = allowed();
        let mut backend = CpuBackend::new(NonZeroUsize::MIN, AlgorithmChoice::Auto).unwrap();
        let core = backend.pinned_cores().unwrap()[0];
        let conv = backend.prepare("h=1_w=3_in=20_out=9_k=1".parse().unwrap(), 1).unwrap();
        assert!(allowed().is_set(core) && allowed().count() == 1, "{:?}", allowed());
        drop(conv);
        assert_eq!(allowed(), before);
        let more_than_any = NonZeroUsize::new(before.count() as usize + 1).unwrap();
        let backend = CpuBackend::new(more_than_any, AlgorithmChoice::Auto).unwrap();
        assert_eq!(backend.pinned_cores(), None);
    }

    #[test]
    fn the_largest_shapes_there_are_need_memory_but_do_not_overflow() {
        let huge = 1 << 31;
        for [h, w, i, o, k] in [
            [huge, huge, 1, 1, 1],
            [1, 1, huge, huge, 1],
            [1, 1, 1, 2, huge - 1],
            [huge, 1, 1, 1, huge >> 1],
        ] {
            let Ok(shape) = ConvShape::new(h, w, i, o, k) else { continue };
            for choice in AlgorithmChoice::ALL {
                let threads = NonZeroUsize::new(3).unwrap();
                let backend = CpuBackend::new(threads, choice).unwrap();
                assert!(backend.required_memory(shape).0 > 1 << 30, "{shape} {choice}");
            }
        }
    }
}
