//! What runs inside criterion: one group per experiment, one benchmark per configuration.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::backend::{Backend, BackendError, PreparedConv};
use crate::experiment::{Configuration, Experiment};
use crate::measure::does_not_fit;
use crate::record::read_measured;
use crate::selection::select;
use crate::settings::{BackendRequest, Requested, Settings};
use crate::shape::ConvShape;
use crate::units::Nanoseconds;
use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};

use super::criterion_process::Role;
use super::{AnyError, configurations, console};

/// Bootstrap resamples: 42 ms for a benchmark of 2,000 samples, while criterion's default takes 4 s.
/// Criterion's intervals are not reported here, so their noise (3% of their width) does no harm.
const RESAMPLES: usize = 1001;

/// Runs criterion in this process, by its own arguments.
pub fn run_criterion(role: Role) -> Result<ExitCode, AnyError> {
    let mut criterion = Criterion::default()
        .with_measurement(ReplayedTime)
        .without_plots()
        .nresamples(RESAMPLES)
        // with these two and flat sampling, every sample is exactly one iteration
        .warm_up_time(Duration::from_nanos(1))
        .measurement_time(Duration::from_nanos(1))
        .configure_from_args();
    match role {
        Role::Idle => idle(&mut criterion),
        Role::Live => live(&mut criterion),
        Role::Replay(folder) => replay(&mut criterion, &folder).map(|()| ExitCode::SUCCESS),
    }
}

fn group<'a>(
    criterion: &'a mut Criterion<ReplayedTime>,
    experiment: Experiment,
) -> BenchmarkGroup<'a, ReplayedTime> {
    let mut group = criterion.benchmark_group(experiment.name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

fn throughput(shape: ConvShape) -> Throughput {
    Throughput::Elements(shape.macs().0)
}

/// Replays the launches of the run in `folder`, by the clock of the run's protocol: those of a
/// configuration pass by pass, in the order taken.
fn replay(criterion: &mut Criterion<ReplayedTime>, folder: &Path) -> Result<(), AnyError> {
    let (plan, mut measured) = read_measured(folder)?;
    measured.retain(|(_, times)| !times.is_empty());
    // stable: within an experiment, the order measured
    measured.sort_by_key(|(record, _)| record.experiment);
    for of_experiment in measured.chunk_by(|(a, _), (b, _)| a.experiment == b.experiment) {
        let mut group = group(criterion, of_experiment[0].0.experiment);
        for (record, times) in of_experiment {
            replay_one(&mut group, record.shape, times.by(plan.settings.protocol.clock))
                .map_err(|error| format!("{}: {error}", record.id))?;
        }
        group.finish();
    }
    Ok(())
}

fn replay_one(
    group: &mut BenchmarkGroup<'_, ReplayedTime>,
    shape: ConvShape,
    latencies_ns: &[f64],
) -> Result<(), AnyError> {
    let mut replayed = Vec::with_capacity(latencies_ns.len());
    let mut calls = 0;
    group.throughput(throughput(shape)).sample_size(latencies_ns.len());
    group.bench_function(shape.to_string(), |bencher| {
        bencher.iter_custom(|iterations| {
            calls += 1;
            if calls == 1 {
                // criterion's warm-up, which ends when more than a nanosecond has passed
                std::thread::sleep(Duration::from_micros(1));
                return latencies_ns[0];
            }
            replayed.push(iterations);
            latencies_ns.get(calls - 2).copied().unwrap_or(f64::NAN)
        });
    });
    let (expected, got) = (latencies_ns.len(), replayed.len());
    if got == expected && replayed.iter().all(|&iterations| iterations == 1) {
        return Ok(());
    }
    Err(format!(
        "criterion took {got} samples, or several launches in one, expected {expected} single launches"
    )
    .into())
}

/// Declares every configuration, for criterion to list or compare, and launches nothing.
fn idle(criterion: &mut Criterion<ReplayedTime>) -> Result<ExitCode, AnyError> {
    let configurations = configurations(&settings_of_parent()?);
    for of_experiment in configurations.chunk_by(|a, b| a.experiment == b.experiment) {
        let mut group = group(criterion, of_experiment[0].experiment);
        for Configuration { shape, .. } in of_experiment {
            group.throughput(throughput(*shape));
            group.bench_function(shape.to_string(), |_| ());
        }
        group.finish();
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings with the backend that the parent has chosen.
fn settings_of_parent() -> Result<Settings, AnyError> {
    let requested = Requested::from_workspace()?;
    match requested.backend()? {
        BackendRequest::Only(kind) => Ok(requested.settings(kind)?),
        BackendRequest::Auto => Err("the parent process has passed on no backend".into()),
    }
}

/// Launches as criterion asks (`--test`: once; `--profile-time`: for a while) and keeps nothing.
fn live(criterion: &mut Criterion<ReplayedTime>) -> Result<ExitCode, AnyError> {
    let mut selected = select(&Requested::from_workspace()?)?;
    let backend = selected.backend.as_mut();
    let configurations = configurations(&selected.settings);
    let mut failed = false;
    for of_experiment in configurations.chunk_by(|a, b| a.experiment == b.experiment) {
        let mut group = group(criterion, of_experiment[0].experiment);
        for configuration in of_experiment {
            // the parent has reported it
            if does_not_fit(backend, configuration, &selected.settings).is_some() {
                continue;
            }
            if let Err(error) = live_one(&mut group, backend, configuration.shape) {
                console::error(error.as_ref());
                failed = true;
            }
        }
        group.finish();
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn live_one(
    group: &mut BenchmarkGroup<'_, ReplayedTime>,
    backend: &mut dyn Backend,
    shape: ConvShape,
) -> Result<(), AnyError> {
    let mut conv: Option<Box<dyn PreparedConv + '_>> = None;
    let mut failure: Option<BackendError> = None;
    let mut backend = Some(backend);
    group.throughput(throughput(shape));
    group.bench_function(shape.to_string(), |bencher| {
        if let Some(backend) = backend.take() {
            match prepare_verified(backend, shape) {
                Ok(prepared) => conv = Some(prepared),
                Err(error) => failure = Some(error),
            }
        }
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            if let Some(conv) = conv.as_deref_mut() {
                let launch = |_| conv.launch().and_then(|()| conv.synchronize());
                failure = (0..iterations).try_for_each(launch).err().or(failure.take());
            }
            start.elapsed().as_nanos() as f64
        });
    });
    failure.map_or(Ok(()), |error| Err(error.into()))
}

fn prepare_verified(
    backend: &mut dyn Backend,
    shape: ConvShape,
) -> Result<Box<dyn PreparedConv + '_>, BackendError> {
    let mut conv = backend.prepare(shape, 0)?;
    conv.verify()?;
    Ok(conv)
}

/// Time of launches in nanoseconds, as a floating-point number: criterion's own measurement keeps
/// whole nanoseconds.
pub struct ReplayedTime;

impl Measurement for ReplayedTime {
    type Intermediate = Instant;
    type Value = f64;

    fn start(&self) -> Instant {
        Instant::now()
    }

    fn end(&self, start: Instant) -> f64 {
        start.elapsed().as_nanos() as f64
    }

    fn add(&self, a: &f64, b: &f64) -> f64 {
        a + b
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &LatencyFormatter
    }
}

struct LatencyFormatter;

impl ValueFormatter for LatencyFormatter {
    fn format_value(&self, value_ns: f64) -> String {
        Nanoseconds(value_ns).to_string()
    }

    fn format_throughput(&self, throughput: &Throughput, value_ns: f64) -> String {
        let macs = match throughput {
            Throughput::Elements(macs) => *macs as f64,
            _ => f64::NAN,
        };
        format!("{:.2} GMAC/s", macs / value_ns)
    }

    fn scale_values(&self, _typical_ns: f64, _values: &mut [f64]) -> &'static str {
        "ns"
    }

    fn scale_throughputs(
        &self,
        _typical_ns: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        if let Throughput::Elements(macs) = throughput {
            for value in values {
                *value = *macs as f64 / *value;
            }
        }
        "GMAC/s"
    }

    fn scale_for_machines(&self, _values: &mut [f64]) -> &'static str {
        "ns"
    }
}
