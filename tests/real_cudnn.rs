//! What NVIDIA's cuDNN says to this project's convolutions, on a machine without a GPU: for devices
//! described by their properties it proposes engines and finalises plans. Run by `.ci/real_cudnn`,
//! which gets the library; otherwise it is ignored.
//!
//! Its `main` is its own rather than libtest's, so that it always says what cuDNN answered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use alpha_flops::backend::cudnn::GpuError;
use alpha_flops::backend::cudnn::graph::{Candidate, Graph, Target, first_plans, first_that};
use alpha_flops::backend::cudnn::{DEVICES, Math};
use alpha_flops::backend::plan::{PlanRecord, numerical_note};
use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::shape::ConvShape;
use alpha_flops::units::Bytes;
use libtest_mimic::{Arguments, Trial};

/// Names the folder with `libcudnn.so.9`, which the loader's path must have too.
const LIBRARY: &str = "REAL_CUDNN";

/// Set to ask about every configuration of the full resolution, by a release build.
const FULL: &str = "REAL_CUDNN_FULL";

/// Those that are asked about.
const ASKED: [&str; 4] = ["t4", "a100", "rtx4090", "h100"];

/// No workspace is refused for its size: how large they are is part of what is asked.
const ANY_SIZE: Bytes = Bytes(u64::MAX);

fn main() -> ExitCode {
    let test = Trial::test("real_cudnn_has_a_plan_for_every_convolution", || {
        let folder =
            std::env::var_os(LIBRARY).ok_or("REAL_CUDNN is not set: run .ci/real_cudnn")?;
        every_convolution_has_a_plan(Path::new(&folder));
        Ok(())
    });
    let test = test.with_ignored_flag(std::env::var_os(LIBRARY).is_none());
    libtest_mimic::run(&Arguments::from_args(), vec![test]).exit_code()
}

fn every_convolution_has_a_plan(folder: &Path) {
    assert!(folder.join("libcudnn.so.9").exists(), "no libcudnn.so.9 in {}", folder.display());
    let shapes = shapes();
    println!("{} convolutions, as cuDNN would run them:\n", shapes.len());
    // descriptors are not shared between threads, so each device has its own
    std::thread::scope(|scope| {
        let threads = ASKED.map(|device| scope.spawn(|| Answers::of(device, &shapes)));
        for (device, thread) in ASKED.iter().zip(threads) {
            let answers = thread.join().expect("cuDNN answers, and every convolution has a plan");
            println!("{device}\n{answers}");
        }
    });
}

/// Every configuration of the experiments, and even kernels on images smaller than they are.
fn shapes() -> BTreeSet<ConvShape> {
    let resolution =
        if std::env::var_os(FULL).is_some() { Resolution::Full } else { Resolution::Original };
    let measured = Experiment::all().iter().flat_map(|e| e.configurations(resolution));
    let even = [(1, 1, 2), (1, 7, 2), (7, 5, 4), (3, 100, 10), (10, 10, 30), (224, 224, 2)];
    let even = even.map(|(h, w, k)| ConvShape::new(h, w, 64, 96, k).unwrap());
    measured.map(|configuration| configuration.shape).chain(even).collect()
}

fn target(device: &str) -> Target {
    let (_, json) = DEVICES.iter().find(|(name, _)| *name == device).unwrap();
    let target = Target::from_properties(json, None);
    target.unwrap_or_else(|error| panic!("{device}: {error}")).0
}

/// What cuDNN said for one device.
#[derive(Default)]
struct Answers {
    candidates: Range,
    /// Of every engine proposed: its notes in words.
    engines: BTreeMap<i64, BTreeSet<String>>,
    taken: [Taken; 2],
}

/// The plans taken under one [`Math`].
#[derive(Default)]
struct Taken {
    plans: usize,
    engines: BTreeMap<i64, usize>,
    ranks: Range,
    refused: BTreeMap<String, usize>,
    largest: Option<(Bytes, ConvShape)>,
}

/// The least and the greatest of some numbers.
#[derive(Default)]
struct Range(Option<(usize, usize)>);

impl Answers {
    fn of(device: &str, shapes: &BTreeSet<ConvShape>) -> Self {
        let target = target(device);
        let mut answers = Self::default();
        for shape in shapes {
            let candidates = Graph::new(&target, *shape)
                .and_then(|graph| graph.candidates())
                .unwrap_or_else(|error| panic!("{device}, {shape}: {error}"));
            answers.note(&candidates);
            for (math, taken) in [Math::Tf32, Math::F32].into_iter().zip(&mut answers.taken) {
                let plan = first_that(&candidates, math, ANY_SIZE, |_| Ok(()))
                    .map(|(plan, ())| plan.into_record())
                    .unwrap_or_else(|error| panic!("{device}, {math}, {shape}: {error:?}"));
                check(&candidates, math, &plan);
                taken.note(*shape, plan);
            }
        }
        answers
    }

    fn note(&mut self, candidates: &[Candidate]) {
        self.candidates.note(candidates.len());
        for candidate in candidates {
            let words: Vec<_> =
                candidate.numerical_notes.iter().map(|note| numerical_note(*note)).collect();
            self.engines.entry(candidate.engine).or_default().insert(words.join(", "));
        }
    }
}

/// That the plan is as its record says, and found again among all that may be taken.
fn check(candidates: &[Candidate], math: Math, plan: &PlanRecord) {
    let reasons_are_known = |reason: &str| reason.starts_with("less precise than");
    assert!(plan.refused.iter().all(|refused| reasons_are_known(&refused.reason)), "{plan:?}");
    assert_eq!(plan.refused.len(), plan.rank);
    let plans = first_plans(candidates, math, ANY_SIZE, 3).unwrap();
    assert_eq!(plans[0].record(), plan);
    // without workspace there may be none, but no other error
    match first_that(candidates, math, Bytes(0), |_| Ok(())) {
        Ok((plan, ())) => assert_eq!(plan.record().workspace_bytes, Bytes(0)),
        Err(GpuError::NoPlan { refused }) => assert_eq!(refused.len(), candidates.len()),
        Err(error) => panic!("{error}"),
    }
}

impl Taken {
    fn note(&mut self, shape: ConvShape, plan: PlanRecord) {
        self.plans += 1;
        *self.engines.entry(plan.engine).or_default() += 1;
        self.ranks.note(plan.rank);
        if self.largest.is_none_or(|(bytes, _)| plan.workspace_bytes > bytes) {
            self.largest = Some((plan.workspace_bytes, shape));
        }
        for refused in plan.refused {
            *self.refused.entry(refused.reason).or_default() += 1;
        }
    }
}

impl Range {
    fn note(&mut self, value: usize) {
        let (least, greatest) = self.0.unwrap_or((value, value));
        self.0 = Some((least.min(value), greatest.max(value)));
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  candidates each        {}", self.candidates)?;
        for (engine, notes) in &self.engines {
            let notes: Vec<_> = notes.iter().map(|n| format!("[{n}]")).collect();
            writeln!(f, "  proposed engine {engine:<6} {}", notes.join(" or "))?;
        }
        for (math, taken) in [Math::Tf32, Math::F32].iter().zip(&self.taken) {
            write!(f, "  {math}\n{taken}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    plans                {}", self.plans)?;
        let engines: Vec<_> =
            self.engines.iter().map(|(e, times)| format!("{e}: {times}")).collect();
        writeln!(f, "    engines              {}", engines.join(", "))?;
        writeln!(f, "    ranks                {}", self.ranks)?;
        if let Some((bytes, shape)) = self.largest {
            writeln!(f, "    largest workspace    {bytes}, {shape}")?;
        }
        for (reason, times) in &self.refused {
            writeln!(f, "    refused before       {times}: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((least, greatest)) => write!(f, "{least} to {greatest}"),
            None => f.write_str("none"),
        }
    }
}
