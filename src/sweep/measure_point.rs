//! Measuring one configuration of a sweep.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::SURELY_FREE;
use super::error::SweepError;
use super::measure::Sweep;
use super::plan::SweepPlan;
use super::point::{PointOutcome, Skip, Spread, SweepPoint};
use crate::backend::{Backend, BackendError, LaunchTime, PreparedConv};
use crate::measure::{MeasureError, SampleTimes, exceeds, sample};
use crate::protocol::{Clock, Protocol};
use crate::shape::ConvShape;
use crate::statistics::Summary;

/// A configuration is given up once this many processes died while they measured it, by a crash in a
/// library or for lack of memory. Once or twice may be chance, as when a cluster needs the machine.
const MOST_DEATHS: usize = 3;

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
            let launched = conv.launch().and_then(|()| conv.time(NonZeroU32::MIN));
            let Ok(LaunchTime { host_ns, .. }) = launched else { break };
            let all = Duration::try_from_secs_f64(launches * host_ns / 1e9).unwrap_or_default();
            self.rates.learn(shape, prepared + all);
            if prepared + all > most {
                break;
            }
        }
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
        let plan = &self.store.header.plan;
        if let Some(expected_s) = self.most().and_then(|most| self.rates.hopeless_s(shape, most)) {
            let detail = self.too_long(expected_s);
            return Ok(PointOutcome::Skipped { reason: Skip::Budget, detail });
        }
        let required = backend.required_memory(shape);
        let available = if required > SURELY_FREE { backend.available_memory() } else { None };
        if let Some(detail) = exceeds(required, plan.memory_limit, available) {
            return Ok(PointOutcome::Skipped { reason: Skip::Memory, detail });
        }
        let preparing = Instant::now();
        let mut conv = backend.prepare(shape, plan.seed)?;
        if plan.warm_up_launches > 0 {
            // the first launch says whether there can be time for all of them
            let first = conv.time(NonZeroU32::MIN)?;
            let launches = f64::from(plan.launches.get() + plan.warm_up_launches);
            let rest = Duration::try_from_secs_f64(first.host_ns / 1e9 * (launches - 1.0));
            let expected = rest.unwrap_or(Duration::MAX).saturating_add(preparing.elapsed());
            if self.most().is_some_and(|most| expected > most) {
                let detail = self.too_long(expected.as_secs_f64());
                self.rates.learn(shape, expected);
                return Ok(PointOutcome::Skipped { reason: Skip::Budget, detail });
            }
        }
        for _ in 1..plan.warm_up_launches {
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
