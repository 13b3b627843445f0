use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::backend::cpu::{AlgorithmChoice, CpuOptions};
use crate::backend::device::Device;
use crate::backend::{BackendSettings, LaunchTime, PreparedConv};
use crate::environment::Platform;
use crate::experiment::Resolution;
use crate::null_backend::{Null, time};
use crate::protocol::{Profile, Protocol};
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
    let settings = Settings {
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
    };
    // all of the first pass
    let slow = vec![2.0, 2.0, 2.0, 1.0, 1.1, 1.0];
    let mut backend = Paced { multiply_add_ns: slow.into_iter(), inner: Null(|_| Ok(1.0)) };
    let plan = RunPlan::new(&settings, Platform::new(&backend), &selected);
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
