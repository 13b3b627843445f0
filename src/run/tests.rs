use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::backend::cpu::{AlgorithmChoice, CpuOptions};
use crate::backend::device::{Device, Gpu};
use crate::backend::{BackendSettings, LaunchTime, PreparedConv};
use crate::environment::Platform;
use crate::environment::tests::a_gpu;
use crate::experiment::Resolution;
use crate::null_backend::{Null, time};
use crate::protocol::{Profile, Protocol};
use crate::record;
use crate::shape::ConvShape;
use crate::units::Bytes;

fn suite() -> Vec<Configuration> {
    Experiment::all().iter().flat_map(|e| e.configurations(Resolution::Original)).collect()
}

fn ids(visits: &[PlannedVisit]) -> Vec<String> {
    visits.iter().map(|visit| visit.configuration.id()).collect()
}

#[test]
fn each_pass_visits_everything_in_an_order_of_its_own_that_follows_the_seed() {
    let order = |seed, pass| ids(&measuring_order(&suite(), seed, pass));
    let all: HashSet<_> = suite().iter().map(Configuration::id).collect();
    assert_eq!(order(1, 1).into_iter().collect::<HashSet<_>>(), all);
    assert_eq!(order(1, 1).len(), all.len());
    assert_eq!(order(1, 1), order(1, 1));
    assert_ne!(order(1, 1), order(2, 1));
    assert_ne!(order(1, 1), order(1, 2));
}

#[test]
fn the_order_has_nothing_to_do_with_the_suites() {
    // ranks of neighbours in the suite, in the order measured: independent, so that the mean distance of
    // 590 pairs is a third of 591, with a standard deviation of 0.236·591/√590 or somewhat more
    let measured = ids(&measuring_order(&suite(), 3, 1));
    let place = |configuration: &Configuration| {
        measured.iter().position(|id| *id == configuration.id()).unwrap() as f64
    };
    let suite = suite();
    let pairs = suite.windows(2).map(|pair| (place(&pair[0]) - place(&pair[1])).abs());
    let mean = pairs.sum::<f64>() / (suite.len() - 1) as f64;
    assert!((mean / suite.len() as f64 - 1.0 / 3.0).abs() < 0.05, "{mean}");
}

#[test]
fn leaving_an_experiment_out_does_not_reorder_the_others() {
    let is_left = |configuration: &Configuration| configuration.experiment != Experiment::B;
    let without_b: Vec<_> = suite().into_iter().filter(is_left).collect();
    let mut expected = measuring_order(&suite(), 7, 2);
    expected.retain(|visit| is_left(&visit.configuration));
    assert_eq!(measuring_order(&without_b, 7, 2), expected);
}

/// Computes nothing, on cores whose speed is known: each probe takes the next of these times, the last
/// ones 1 ns.
struct Paced {
    multiply_add_ns: std::vec::IntoIter<f64>,
    inner: Null<fn(ConvShape) -> Result<f64, BackendError>>,
}

impl Backend for Paced {
    fn device(&self) -> Device {
        self.inner.device()
    }

    fn required_memory(&self, shape: ConvShape) -> Bytes {
        self.inner.required_memory(shape)
    }

    fn available_memory(&self) -> Option<Bytes> {
        None
    }

    fn empty_launch(&mut self) -> Result<LaunchTime, BackendError> {
        self.inner.empty_launch()
    }

    fn check(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn probe(&mut self) -> Result<Probe, BackendError> {
        let multiply_add_ns = Some(self.multiply_add_ns.next().unwrap_or(1.0));
        Ok(Probe { multiply_add_ns, ..Probe::default() })
    }

    fn prepare(
        &mut self,
        shape: ConvShape,
        seed: u64,
    ) -> Result<Box<dyn PreparedConv + '_>, BackendError> {
        self.inner.prepare(shape, seed)
    }
}

#[test]
fn visits_on_cores_that_were_slower_than_usual_are_made_again_and_do_not_count() {
    let selected: Vec<Configuration> = suite().into_iter().take(3).collect();
    // all of the first pass
    let slow = vec![2.0, 2.0, 2.0, 1.0, 1.1, 1.0];
    let mut backend = Paced { multiply_add_ns: slow.into_iter(), inner: Null(|_| Ok(1.0)) };
    let plan = RunPlan::new(&settings(), Platform::new(&backend), &selected);
    let runs = tempfile::tempdir().unwrap();
    let mut run = Run::open(runs.path(), plan, selected, Session::now(time(1.0), None)).unwrap();
    run.measure(&mut backend, &mut |_| {}).unwrap();
    assert_eq!(run.folder.header().usual_multiply_add_ns, Some(1.0));
    let passes_and_attempts = |position: usize| {
        let PlannedVisit { pass, configuration } = &run.visits[position];
        let part = run.folder.part(&configuration.id(), *pass).unwrap().unwrap();
        (part.pass, part.record.attempts, part.record.outcome.is_disturbed())
    };
    for position in 0..9 {
        let attempts = if position < 3 { 2 } else { 1 };
        assert_eq!(passes_and_attempts(position), (1 + position as u32 / 3, attempts, false));
    }
}

fn settings() -> Settings {
    Settings {
        backend: BackendSettings::Cpu(CpuOptions {
            threads: NonZeroUsize::MIN,
            algorithm: AlgorithmChoice::Auto,
        }),
        experiments: vec![Experiment::A],
        resolution: Resolution::Original,
        profile: Profile::Smoke,
        launches: None,
        passes: NonZeroU32::MIN.saturating_add(2),
        protocol: Protocol::HOST_LATENCY_WARM,
        seed: Some(1),
        time_budget: None,
        memory_limit: None,
        verify: false,
    }
}

/// Begins a run of two configurations by this plan and session, and measures one; returns its folder.
fn interrupted(runs: &Path, plan: &RunPlan) -> std::path::PathBuf {
    let mut run = Run::open(runs, plan.clone(), two(), Session::now(time(1.0), None)).unwrap();
    let mut launches = 0;
    let mut backend = Null(|_| {
        launches += 1;
        // the first one is verified
        assert!(launches < 3, "killed");
        Ok(1.0)
    });
    let killed = std::panic::AssertUnwindSafe(|| run.measure(&mut backend, &mut |_| {}));
    assert!(std::panic::catch_unwind(killed).is_err());
    run.folder.path().to_owned()
}

fn two() -> Vec<Configuration> {
    suite().into_iter().take(2).collect()
}

fn plan_of_two() -> RunPlan {
    RunPlan::new(&settings(), Platform::new(&Null(|_| Ok(1.0))), &two())
}

#[test]
fn a_run_that_is_not_resumed_is_named_with_what_differs() {
    let runs = tempfile::tempdir().unwrap();
    let on_gpu = |gpu| {
        let mut plan = plan_of_two();
        plan.platform.gpu = Some(gpu);
        plan.program = "1 bytes".to_owned();
        plan
    };
    let gpu = a_gpu();
    let path = interrupted(runs.path(), &on_gpu(gpu.clone()));
    let mut other = on_gpu(gpu.clone());
    (other.program, other.settings.seed) = ("2 bytes".to_owned(), Some(2));
    let differently = |change: fn(&mut Gpu)| {
        let mut gpu = gpu.clone();
        change(&mut gpu);
        on_gpu(gpu)
    };
    let without_nvml = differently(|gpu| gpu.nvml_missing = Some("not found".to_owned()));
    let by_uuid = differently(|gpu| {
        gpu.variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), "GPU-1".to_owned());
    });
    let mut with_more_memory = on_gpu(gpu.clone());
    with_more_memory.platform.memory = Bytes(1 << 50);
    let memory = on_gpu(gpu.clone()).platform.memory.0;
    for (plan, expected) in [
        (other, vec!["program: there 1 bytes, now 2 bytes", "settings.seed: there 1, now 2"]),
        (without_nvml, vec!["platform.gpu.nvml_missing: there none, now not found"]),
        (by_uuid, vec!["platform.gpu.variables.CUDA_VISIBLE_DEVICES: there 0, now GPU-1"]),
        (
            differently(|gpu| gpu.cudnn = "9.30.0".to_owned()),
            vec!["platform.gpu.cudnn: there 9.28.0, now 9.30.0"],
        ),
        (with_more_memory, vec![&*format!("platform.memory: there {memory}, now {}", 1_u64 << 50)]),
    ] {
        assert!(!on_gpu(gpu.clone()).can_be_continued_by(&plan));
        let run = Run::open(runs.path(), plan, two(), Session::now(time(1.0), None)).unwrap();
        let [passed_over] = &run.passed_over[..] else { panic!("{:?}", run.passed_over) };
        assert_eq!(
            (&passed_over.path, &passed_over.why[..]),
            (&path, &expected[..].iter().map(|why| (*why).to_owned()).collect::<Vec<_>>()[..])
        );
    }
    // one that can be resumed is no reason to speak of others
    let resumed = Run::open(runs.path(), on_gpu(gpu), two(), Session::now(time(1.0), None));
    let resumed = resumed.unwrap();
    assert!(resumed.folder.path() == path && resumed.passed_over.is_empty());
    // held by another process with the same plan; of which nothing was measured, nothing is lost
    let held = record::passed_over(runs.path(), &resumed.folder.header().plan);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].why, ["another process works on it"]);
    assert!(record::passed_over(runs.path(), &plan_of_two()).is_empty());
    drop(resumed);
    std::fs::write(path.join("run.json"), "{").unwrap();
    let unreadable = record::passed_over(runs.path(), &plan_of_two());
    assert!(unreadable[0].to_string().contains("run.json"), "{}", unreadable[0]);
}

#[test]
fn what_a_killed_start_has_left_is_resumed_or_removed() {
    let runs = tempfile::tempdir().unwrap();
    let begin = |seed| {
        let mut plan = plan_of_two();
        plan.settings.seed = Some(seed);
        let run = Run::open(runs.path(), plan, two(), Session::now(time(1.0), None)).unwrap();
        (run.folder.path().to_owned(), run)
    };
    let (first, run) = begin(1);
    drop(run);
    let (again, run) = begin(1);
    assert_eq!(again, first);
    let (second, other) = begin(2);
    assert!(first.exists(), "another process works on it");
    drop((run, other));
    std::fs::write(second.join("notes.txt"), "the user's").unwrap();
    let (third, _run) = begin(3);
    assert!(!first.exists() && second.exists() && third.exists());
}

#[test]
fn a_run_on_a_gpu_that_is_gone_does_not_become_one_on_the_cpu() {
    let runs = tempfile::tempdir().unwrap();
    let mut on_gpu = plan_of_two();
    on_gpu.platform.gpu = Some(a_gpu());
    let path = interrupted(runs.path(), &on_gpu);
    let gone = || Session::now(time(1.0), Some("there is no CUDA device 0".to_owned()));
    let open = |plan, session| Run::open(runs.path(), plan, two(), session);
    let Err(error) = open(plan_of_two(), gone()) else { panic!("begun") };
    let error = error.to_string();
    let expected = format!(
        "{} is unfinished, and was measured on a card, which is gone: there is no CUDA device 0\n\
         hint: repeat the command when the GPU is there again, to resume; to begin anew on the CPU, set \
         ALPHA_FLOPS_BACKEND=cpu",
        path.display()
    );
    assert_eq!(error, expected);
    // asked for, it is one; and so it is on another machine that shares the folder
    let on_cpu = open(plan_of_two(), Session::now(time(1.0), None)).unwrap();
    assert_eq!(on_cpu.passed_over[0].path, path);
    let mut elsewhere = plan_of_two();
    elsewhere.platform.cpu = "another".to_owned();
    assert_eq!(open(elsewhere, gone()).unwrap().passed_over[0].path, path);
}
