//! What the passes over a configuration make together.

use super::{ConfigurationRecord, Measured, Outcome, Part, Visit};
use crate::backend::device::DeviceStates;
use crate::disturbance::Disturbance;
use crate::measure::{SampleTimes, Stopped, WarmUp, WarmUpEnd};
use crate::protocol::{Clock, LEAST_SAMPLES};
use crate::statistics::{Summary, quantile, sorted};

/// Joins the parts of one configuration, given in the order of the passes. Passes that failed, or were
/// disturbed, do not count where others measured it undisturbed. `None` without parts.
pub(super) fn join(
    mut parts: Vec<Part>,
    clock: Clock,
) -> Option<(ConfigurationRecord, SampleTimes)> {
    if parts.len() < 2 {
        return parts.pop().map(|part| (part.record, part.times));
    }
    let mut record = parts.last()?.record.clone();
    let is_quiet = |outcome: &Outcome| {
        outcome.measured().is_some() && !outcome.is_disturbed() && !outcome.is_throttled()
    };
    let quiet = parts.iter().filter(|part| is_quiet(&part.record.outcome));
    let enough_are_quiet = quiet.map(|part| part.times.len()).sum::<usize>() >= LEAST_SAMPLES;
    let (mut times, mut passes) = (SampleTimes::default(), Vec::new());
    for part in &mut parts {
        let outcome = &part.record.outcome;
        let counts = !enough_are_quiet || is_quiet(outcome);
        times.append(part.pass, std::mem::take(&mut part.times), counts);
        passes.extend(outcome.measured().filter(|_| counts));
    }
    if let Some(measured) = join_measured(&passes, &times, clock) {
        record.outcome = Outcome::Measured(measured);
    }
    if !times.is_empty() && times.len() < LEAST_SAMPLES {
        let all = times.len();
        times.drop_all();
        let reason = format!("only {all} samples in all passes, expected at least {LEAST_SAMPLES}");
        record.outcome = Outcome::Failed { reason, device_lost: false };
    }
    record.started = parts.first()?.record.started;
    record.wall_s = parts.iter().map(|part| part.record.wall_s).sum();
    record.attempts = parts.iter().map(|part| part.record.attempts).max().unwrap_or(1);
    record.visits = parts.into_iter().map(|part| visit(part, &record.outcome)).collect();
    Some((record, times))
}

fn visit(part: Part, joined: &Outcome) -> Visit {
    let ConfigurationRecord { started, wall_s, attempts, mut outcome, .. } = part.record;
    if let (Outcome::Measured(one), Some(all)) = (&mut outcome, joined.measured()) {
        one.plan = one.plan.take().filter(|plan| all.plan.as_ref() != Some(plan));
    }
    Visit { pass: part.pass, position: part.position, started, wall_s, attempts, outcome }
}

/// What passes measured together, of those that count; `None` if there are none. Algorithm and plan are the first one's; of
/// what may be better or worse it is the worst.
fn join_measured(passes: &[&Measured], times: &SampleTimes, clock: Clock) -> Option<Measured> {
    let first = *passes.first()?;
    let of_all = || passes.iter().copied();
    let submissions_ns: Vec<f64> = of_all().filter_map(|one| one.submission_ns).collect();
    let unsteady = of_all().map(|one| one.warm_up.ended).find(|end| *end != WarmUpEnd::Steady);
    Some(Measured {
        workspace_bytes: of_all().map(|one| one.workspace_bytes).max()?,
        verified: of_all().all(|one| one.verified),
        warm_up: WarmUp {
            launches: of_all().map(|one| one.warm_up.launches).sum(),
            ended: unsteady.unwrap_or(WarmUpEnd::Steady),
        },
        stopped: of_all().map(|one| one.stopped).max_by_key(|stopped| match stopped {
            Stopped::Precise => 0,
            Stopped::Cap => 1,
            Stopped::Budget => 2,
        })?,
        relative_interval: of_mean(of_all().map(|one| one.relative_interval)),
        submission_ns: (!submissions_ns.is_empty())
            .then(|| quantile(&sorted(&submissions_ns), 0.5)),
        device: of_all().fold(None, |all, one| joined_states(all, one.device.as_ref())),
        disturbance: Disturbance::joined(of_all().filter_map(|one| one.disturbance.as_ref())),
        summary: Summary::from_passes(times.by_pass(clock))?,
        probe: None,
        ..first.clone()
    })
}

fn joined_states(all: Option<DeviceStates>, one: Option<&DeviceStates>) -> Option<DeviceStates> {
    let Some(mut all) = all else { return one.cloned() };
    if let Some(one) = one {
        all.join(one);
    }
    Some(all)
}

/// The interval of the mean of medians that have these, if they differ by nothing but launches; `None`
/// where one of them is not known.
fn of_mean(intervals: impl ExactSizeIterator<Item = Option<f64>>) -> Option<f64> {
    let n = intervals.len() as f64;
    let squares: f64 = intervals.map(|one| one.map(|half| half * half)).sum::<Option<f64>>()?;
    Some(squares.sqrt() / n)
}

#[cfg(test)]
pub(super) mod tests;
