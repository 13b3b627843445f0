//! What NVIDIA's cuDNN itself says to this project's convolutions, on a machine without a GPU: for
//! devices described by their properties it proposes engines and finalises plans. Run by
//! `.ci/real_cudnn`, which gets the library; without it, nothing is tested here.
//!
//! A program of its own rather than libtest's, so that it always says what it did.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use alpha_flops::backend::cudnn::GpuError;
use alpha_flops::backend::cudnn::graph::{Candidate, Graph, Math, Target, first_plans, first_that};
use alpha_flops::backend::plan::PlanRecord;
use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::shape::ConvShape;
use alpha_flops::units::Bytes;

/// Names the folder with `libcudnn.so.9`, which the loader's path must have too.
const LIBRARY: &str = "ALPHA_FLOPS_REAL_CUDNN";

/// Set to check every configuration of the full resolution: minutes of a release build.
const FULL: &str = "ALPHA_FLOPS_REAL_CUDNN_FULL";

const DEVICES: [&str; 4] = ["t4", "a100", "rtx4090", "h100"];

/// No workspace is refused here: how large they are is part of what is asked.
const ANY_SIZE: Bytes = Bytes(u64::MAX);

fn main() {
    let Some(folder) = std::env::var_os(LIBRARY).map(PathBuf::from) else {
        println!("skipped: real_cudnn needs NVIDIA's cuDNN, see .ci/real_cudnn");
        return;
    };
    assert!(folder.join("libcudnn.so.9").exists(), "no libcudnn.so.9 in {}", folder.display());
    let shapes = shapes();
    println!("{} convolutions, each for {} devices", shapes.len(), DEVICES.len());
    // descriptors are not shared between threads, so each device has its own
    std::thread::scope(|scope| {
        let threads = DEVICES.map(|device| scope.spawn(|| Summary::of(device, &shapes)));
        for (device, thread) in DEVICES.iter().zip(threads) {
            for (math, summary) in thread.join().expect("every convolution has a plan") {
                println!("{}", summary.describe(device, math));
            }
        }
    });
}

/// Every configuration of the experiments, and even kernels on images smaller than they are.
fn shapes() -> BTreeSet<ConvShape> {
    let resolution =
        if std::env::var_os(FULL).is_some() { Resolution::Full } else { Resolution::Original };
    let measured = Experiment::ALL.iter().flat_map(|e| e.configurations(resolution));
    let even = [(1, 1, 2), (1, 7, 2), (7, 5, 4), (3, 100, 10), (10, 10, 30), (224, 224, 2)];
    let even = even.map(|(h, w, k)| ConvShape::new(h, w, 64, 96, k).unwrap());
    measured.map(|configuration| configuration.shape).chain(even).collect()
}

/// The properties of a device; `deviceVer` is its compute capability.
fn target(device: &str) -> Target {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cudnn-device-properties");
    let json = std::fs::read_to_string(folder.join(format!("{device}.json"))).unwrap();
    Target::from_properties(&json).unwrap_or_else(|error| panic!("{device}: {error}"))
}

/// What cuDNN said for one device and kind of arithmetic.
#[derive(Default)]
struct Summary {
    shapes: usize,
    candidates: Vec<usize>,
    /// Engines taken, with how often.
    engines: BTreeMap<i64, usize>,
    /// Ranks taken, with how often.
    ranks: BTreeMap<usize, usize>,
    refused: BTreeMap<String, usize>,
    largest: Option<(Bytes, ConvShape)>,
}

impl Summary {
    fn of(device: &str, shapes: &BTreeSet<ConvShape>) -> Vec<(Math, Self)> {
        let target = target(device);
        let mut summaries = vec![(Math::Tf32, Self::default()), (Math::F32, Self::default())];
        for shape in shapes {
            let graph = Graph::new(&target, *shape).unwrap_or_else(|e| panic!("{shape}: {e}"));
            let candidates = graph.candidates().unwrap_or_else(|e| panic!("{shape}: {e}"));
            for (math, summary) in &mut summaries {
                match first_that(&candidates, *math, ANY_SIZE, |_| Ok(())) {
                    Ok((plan, ())) => summary.add(*shape, &candidates, plan.record()),
                    Err(error) => panic!("{device}, {math}, {shape}: {error}: {error:#?}"),
                }
            }
        }
        summaries
    }

    fn add(&mut self, shape: ConvShape, candidates: &[Candidate], plan: &PlanRecord) {
        self.shapes += 1;
        self.candidates.push(candidates.len());
        *self.engines.entry(plan.engine).or_default() += 1;
        *self.ranks.entry(plan.rank).or_default() += 1;
        for refused in &plan.refused {
            *self.refused.entry(refused.reason.clone()).or_default() += 1;
        }
        if self.largest.is_none_or(|(bytes, _)| plan.workspace_bytes > bytes) {
            self.largest = Some((plan.workspace_bytes, shape));
        }
    }

    fn describe(&self, device: &str, math: Math) -> String {
        let (bytes, shape) = self.largest.unwrap();
        let (fewest, most) = (self.candidates.iter().min(), self.candidates.iter().max());
        let mut text = format!(
            "{device} {math}: {} plans of {}–{} candidates; engines {:?}; ranks {:?}; largest workspace {bytes} ({shape})",
            self.shapes, fewest.unwrap(), most.unwrap(), self.engines, self.ranks
        );
        for (reason, times) in &self.refused {
            text += &format!("\n  refused {times}: {reason}");
        }
        text
    }
}
