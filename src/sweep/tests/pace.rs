//! What a machine that was busy for a moment does to a sweep with a budget.

use std::num::NonZeroU32;

use super::*;
use crate::backend::device::Device;
use crate::backend::{Backend, BackendError, LaunchTime, PreparedConv};
use crate::shape::ConvShape;
use crate::units::Bytes;

/// Launches take a microsecond, but for those that are delayed by what else the machine does.
struct Delayed {
    launches: u32,
    is_delayed: fn(u32) -> bool,
}

impl Backend for Delayed {
    fn device(&self) -> Device {
        Null(|_| Ok(1.0)).device()
    }

    fn required_memory(&self, _: ConvShape) -> Bytes {
        Bytes(0)
    }

    fn available_memory(&self) -> Option<Bytes> {
        None
    }

    fn empty_launch(&mut self) -> Result<LaunchTime, BackendError> {
        Ok(time(1.0))
    }

    fn check(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn prepare(
        &mut self,
        _: ConvShape,
        _: u64,
    ) -> Result<Box<dyn PreparedConv + '_>, BackendError> {
        Ok(Box::new(DelayedConv(self)))
    }
}

struct DelayedConv<'a>(&'a mut Delayed);

impl PreparedConv for DelayedConv<'_> {
    fn launch(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn time(&mut self, _: NonZeroU32) -> Result<LaunchTime, BackendError> {
        self.0.launches += 1;
        Ok(time(if (self.0.is_delayed)(self.0.launches) { 1e12 } else { 1e3 }))
    }

    fn algorithm(&self) -> &str {
        "delayed"
    }

    fn workspace_bytes(&self) -> Bytes {
        Bytes(0)
    }

    fn verify(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// How many configurations were measured of how many, in a budget that is far longer than the test.
fn measured(is_delayed: fn(u32) -> bool) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan();
    plan.budget = Some(Duration::from_secs(10_000));
    let mut sweep = open(folder.path(), plan).unwrap();
    let mut backend = Delayed { launches: 0, is_delayed };
    assert_eq!(sweep.measure(&mut backend, &mut |_| {}).unwrap(), SweepStatus::Finished);
    (sweep.counts().measured, sweep.counts().visited())
}

#[test]
fn a_launch_that_the_machine_delays_costs_no_configuration() {
    let (measured, visited) = measured(|launch| launch % 50 == 1);
    assert_eq!(measured, visited);
}

#[test]
fn a_sweep_that_begins_on_a_busy_machine_measures_once_that_is_over() {
    // three launches of a configuration are tried, and none of a few that are too large for any machine
    let (measured, visited) = measured(|launch| launch <= 60);
    assert!(visited > 600 && visited - measured <= 25, "{measured} of {visited}");
}

#[test]
fn configurations_that_rightly_take_too_long_get_few_launches() {
    let (folder, mut launched) = (tempfile::tempdir().unwrap(), 0);
    let mut plan = plan();
    plan.budget = Some(Duration::from_secs(4));
    let mut sweep = open(folder.path(), plan.clone()).unwrap();
    let mut slow = Null(|shape| {
        // the shapes that are verified and calibrated are not of the sweep
        if plan.grid.index(shape).is_some() {
            launched += 1;
            std::thread::sleep(Duration::from_millis(8));
        }
        Ok(1e12)
    });
    let error = sweep.measure(&mut slow, &mut |_| {}).unwrap_err().to_string();
    // at most 0.6 s of the budget, the one that was tried last, and the first, before which nothing is known: three
    // launches of each
    assert!((1..=81).contains(&launched), "{launched}");
    drop(sweep);
    let configurations = plan.configurations();
    let words = format!("none of the {configurations} configurations of ");
    assert!(error.contains(&words), "{error}");
    assert!(error.contains(" skipped: expected to take ") && error.contains("0.040 s"), "{error}");
    // and the same command says so again
    let mut again = open(folder.path(), plan).unwrap();
    assert_eq!(again.header().status, SweepStatus::NothingMeasured);
    let mut idle = Null(|shape| panic!("{shape} is prepared"));
    assert_eq!(again.measure(&mut idle, &mut |_| {}).unwrap_err().to_string(), error);
}
