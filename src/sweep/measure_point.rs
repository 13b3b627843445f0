//! Measuring one configuration of a sweep.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::SURELY_FREE;
use super::error::SweepError;
use super::measure::Sweep;
use super::plan::SweepPlan;
use super::point::{PointOutcome, Skip, Spread, SweepPoint};
use crate::backend::{Backend, BackendError, PreparedConv};
use crate::measure::{MeasureError, SampleTimes, exceeds, sample};
use crate::protocol::{Clock, Protocol};
use crate::shape::ConvShape;
use crate::statistics::Summary;

/// A configuration is given up once this many processes died while they measured it, by a crash in a
/// library or for lack of memory. Once or twice may be chance, as when a cluster needs the machine.
const MOST_DEATHS: usize = 3;

/// How often a launch that took too long is repeated: the machine may have done something else meanwhile.
const TRIALS: u32 = 3;

/// The part of the budget that goes into launches of what should take too long.
const DOUBTED: f64 = 0.1;

impl Sweep {
    /// Compares outputs of some small convolutions with direct sums. Any other error will occur with
    /// configurations, too, and is recorded there.
    pub(super) fn verify(&self, backend: &mut dyn Backend) -> Result<(), SweepError> {
        for [side, channels, kernel] in [[1, 100, 1], [8, 50, 4], [32, 20, 3]] {
            let Ok(shape) = ConvShape::new(side, side, channels, channels, kernel) else {
                continue;
            };
            let seed = self.store.header.plan.seed;
            let verified = backend.prepare(shape, seed).and_then(|mut conv| conv.verify());
            if let Err(error @ BackendError::Verification { .. }) = verified {
                return Err(SweepError::Wrong(error));
            }
        }
        Ok(())
    }

    /// Launches shapes of growing size once each, so that the times that the first configurations should
    /// take are more than a guess.
    pub(super) fn calibrate(&mut self, backend: &mut dyn Backend) {
        let begun = Instant::now();
        let (plan, most) = (&self.store.header.plan, self.most().unwrap_or_default());
        let launches = f64::from(plan.launches.get() + plan.warm_up_launches);
        for channels in [10, 20, 40, 80, 150, 300, 600, 1050] {
            let Ok(shape) = ConvShape::new(32, 32, channels, channels, 3) else { continue };
            let clock = Instant::now();
            // what fails here is no configuration of the sweep
            let Ok(mut conv) = backend.prepare(shape, plan.seed) else { break };
            let prepared = clock.elapsed();
            let all = |launch_ns| duration_s(launches * launch_ns / 1e9);
            let launched = conv.launch().and_then(|()| {
                fastest_ns(conv.as_mut(), TRIALS, |ns| prepared.saturating_add(all(ns)) <= most)
            });
            let Ok((launch_ns, _)) = launched else { break };
            self.rates.learn(shape, prepared.saturating_add(all(launch_ns)));
            if prepared.saturating_add(all(launch_ns)) > most {
                break;
            }
        }
        // before anything is measured, nothing but these times tells what takes too long
        self.doubt_s += self.budget.fraction(DOUBTED / 2.0).unwrap_or_default().as_secs_f64();
        let took = begun.elapsed();
        self.budget.spend(took);
    }

    /// Measures one configuration, or says why not. The error ends the sweep: the device is lost.
    pub(super) fn measure_point(
        &mut self,
        ordinal: u32,
        backend: &mut dyn Backend,
    ) -> (SweepPoint, Option<SweepError>) {
        let clock = Instant::now();
        self.allow_doubt();
        let plan = &self.store.header.plan;
        let position = plan.shard.position(ordinal);
        let shape = plan.grid.shape(self.order.index(position));
        let mut lost = None;
        let deaths = self.store.header.deaths(ordinal);
        let outcome = if deaths >= MOST_DEATHS {
            let detail = format!(
                "{deaths} processes ended while they measured it, without saying why: not tried again"
            );
            PointOutcome::Failed { detail }
        } else {
            self.try_measure(shape, backend).unwrap_or_else(|error| {
                let detail = error.to_string();
                match error {
                    MeasureError::Backend(error) if error.is_out_of_memory() => {
                        PointOutcome::Skipped { reason: Skip::Memory, detail }
                    }
                    _ => {
                        lost = loss(backend, shape, &detail);
                        PointOutcome::Failed { detail }
                    }
                }
            })
        };
        let took = clock.elapsed();
        self.budget.spend(took);
        if let PointOutcome::Measured { .. } = outcome {
            self.rates.learn(shape, took);
        }
        let session = self.store.header.sessions.len() as u32 - 1;
        (SweepPoint { position, shape, outcome, wall_s: took.as_secs_f64(), session }, lost)
    }

    fn try_measure(
        &mut self,
        shape: ConvShape,
        backend: &mut dyn Backend,
    ) -> Result<PointOutcome, MeasureError> {
        let most = self.most();
        let hopeless_s = most.and_then(|most| self.rates.hopeless_s(shape, most));
        let Some(expected_s) = hopeless_s else { return self.launch(shape, backend) };
        let is_doubted = most.is_some_and(|most| self.rates.may_be_worth_a_launch(shape, most));
        if !is_doubted || self.doubt_s <= 0.0 {
            let detail = self.too_long(expected_s);
            return Ok(PointOutcome::Skipped { reason: Skip::Budget, detail });
        }
        let clock = Instant::now();
        let outcome = self.launch(shape, backend);
        if !matches!(outcome, Ok(PointOutcome::Measured { .. })) {
            self.doubt_s -= clock.elapsed().as_secs_f64();
        }
        outcome
    }

    /// Has [`DOUBTED`] of the budget, in equal shares for every configuration visited, go into launches of
    /// those that should take too long. Where times are rightly expected, the sweep loses no more than
    /// that; where a busy machine taught wrong ones, it learns what holds.
    fn allow_doubt(&mut self) {
        let all = f64::from(self.store.header.plan.configurations());
        self.doubt_s += self.budget.fraction(DOUBTED / all).unwrap_or_default().as_secs_f64();
    }

    fn launch(
        &mut self,
        shape: ConvShape,
        backend: &mut dyn Backend,
    ) -> Result<PointOutcome, MeasureError> {
        let plan = &self.store.header.plan;
        let required = backend.required_memory(shape);
        let available = if required > SURELY_FREE { backend.available_memory() } else { None };
        if let Some(detail) = exceeds(required, plan.memory_limit, available) {
            return Ok(PointOutcome::Skipped { reason: Skip::Memory, detail });
        }
        let preparing = Instant::now();
        let mut conv = backend.prepare(shape, plan.seed)?;
        let mut launched = 0;
        if plan.warm_up_launches > 0 {
            // the first launches say whether there can be time for the rest; what they and preparing
            // took is spent
            let launches = f64::from(plan.launches.get() + plan.warm_up_launches - 1);
            let rest = |launch_ns| duration_s(launches * launch_ns / 1e9);
            let fits = |launch_ns| self.most().is_none_or(|most| rest(launch_ns) <= most);
            let trials = TRIALS.min(plan.warm_up_launches);
            let (launch_ns, trials) = fastest_ns(conv.as_mut(), trials, fits)?;
            if !fits(launch_ns) {
                let expected = rest(launch_ns).saturating_add(preparing.elapsed());
                let detail = self.too_long(expected.as_secs_f64());
                self.rates.learn(shape, expected);
                return Ok(PointOutcome::Skipped { reason: Skip::Budget, detail });
            }
            launched = trials;
        }
        for _ in launched..plan.warm_up_launches {
            conv.launch()?;
        }
        times_of(conv.as_mut(), plan)
    }

    /// The most time that one configuration may take; `None` without a budget.
    pub(super) fn most(&self) -> Option<Duration> {
        /// A hundred of the longest configurations would otherwise be all that is measured.
        const LARGEST_SHARE: f64 = 0.01;
        self.budget.fraction(LARGEST_SHARE)
    }

    /// Why a configuration that should take so many seconds is skipped.
    fn too_long(&self, expected_s: f64) -> String {
        let most_s = self.most().unwrap_or_default().as_secs_f64();
        format!("expected to take {expected_s:.3} s, the budget allows {most_s:.3} s")
    }
}

/// A time that may be longer than any.
fn duration_s(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The time of a launch and the number of launches made: one, or as many as it takes until one is as fast
/// `as_needed`, at most `trials`.
fn fastest_ns(
    conv: &mut dyn PreparedConv,
    trials: u32,
    as_needed: impl Fn(f64) -> bool,
) -> Result<(f64, u32), BackendError> {
    let mut fastest_ns = f64::INFINITY;
    for trial in 1..=trials {
        fastest_ns = fastest_ns.min(conv.time(NonZeroU32::MIN)?.host_ns);
        if as_needed(fastest_ns) {
            return Ok((fastest_ns, trial));
        }
    }
    Ok((fastest_ns, trials))
}

/// The end of the sweep, if the device is lost.
fn loss(backend: &mut dyn Backend, shape: ConvShape, reason: &str) -> Option<SweepError> {
    let error = backend.check().err()?;
    Some(SweepError::DeviceLost { shape, reason: reason.to_owned(), hangs: error.is_hang() })
}

fn times_of(conv: &mut dyn PreparedConv, plan: &SweepPlan) -> Result<PointOutcome, MeasureError> {
    let Protocol { clock, launches: batch, .. } = plan.protocol;
    let mut times = SampleTimes::default();
    for index in 0..plan.launches.get() / batch {
        times.push(sample(conv, plan.protocol, index as usize)?);
    }
    let Some(by_clock) = Summary::from_latencies(times.by(clock)) else {
        return Err(BackendError::Unsupported { what: "time launches by the device" }.into());
    };
    let spread = plan.protocol.is_latency().then_some(Spread {
        mean_ns: by_clock.mean_ns,
        q1_ns: by_clock.q1_ns,
        q3_ns: by_clock.q3_ns,
        outliers_mild: by_clock.outliers_mild,
        outliers_severe: by_clock.outliers_severe,
    });
    let median = |clock| Summary::from_latencies(times.by(clock)).map(|summary| summary.median_ns);
    Ok(PointOutcome::Measured {
        algorithm: conv.algorithm().to_owned(),
        launches: plan.launches.get(),
        host_ns: median(Clock::Host).unwrap_or(by_clock.median_ns),
        device_ns: median(Clock::Device),
        spread,
    })
}
