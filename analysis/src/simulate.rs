//! Simulated runs: latencies drawn from a known truth, to check what analyses of real runs get right.
//! Everything written of them says that they are simulated.

use std::num::NonZeroU32;
use std::path::Path;

use alpha_flops::backend::BackendSettings;
use alpha_flops::backend::LaunchTime;
use alpha_flops::backend::cudnn::{CudnnOptions, Math, PlanChoice};
use alpha_flops::backend::device::{SIMULATED, SIMULATED_BACKEND};
use alpha_flops::environment::{Conditions, Platform};
use alpha_flops::experiment::{Configuration, Experiment, Resolution};
use alpha_flops::file_error::FileError;
use alpha_flops::measure::{SampleTimes, Stopped, WarmUp, WarmUpEnd};
use alpha_flops::protocol::{Profile, Protocol};
use alpha_flops::random::random_bits;
use alpha_flops::record::{
    ConfigurationRecord, Measured, Outcome, RunHeader, RunPlan, RunStatus, SCHEMA_VERSION, Session,
    write_finished,
};
use alpha_flops::settings::Settings;
use alpha_flops::statistics::{Summary, relative_median_interval, sorted};
use alpha_flops::units::{Bytes, Flops};
use jiff::Timestamp;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use rayon::prelude::*;

use crate::dataset::Provenance;
use crate::run::provenance;

/// What is true of simulated runs. A launch of a configuration takes
///
/// `base · factor · exp(run + experiment + configuration + spread · x)`
///
/// where `base` is [`base_ns`] and `factor` is how much a caller slows the configuration down. The three
/// shifts are normal with the standard deviations below and drawn anew in every run; `x` is a stationary
/// AR(1) sequence of variance 1 over the launches. The true median is `base · factor · exp(shifts)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Which configurations of the suite.
    pub resolution: Resolution,
    /// Launches of each configuration in each run.
    pub launches: usize,
    /// Standard deviation of a launch's logarithm within a run.
    pub spread: f64,
    /// Correlation `φ` of each launch with the one before, from 0 to below 1.
    pub correlation: f64,
    /// Standard deviation between runs of each configuration's logarithm, independent of the others'.
    pub configuration_deviation: f64,
    /// Standard deviation between runs of the shift that all configurations of an experiment share.
    pub experiment_deviation: f64,
    /// Standard deviation between runs of the shift that all configurations share.
    pub run_deviation: f64,
    /// Equal seeds make equal launches.
    pub seed: u64,
}

impl Default for Truth {
    /// A guess at an otherwise idle GPU: 2,000 launches with a standard deviation of 2% and `φ` = 0.5;
    /// configurations that vary by 0.5% from run to run, independently of each other.
    fn default() -> Self {
        Self {
            resolution: Resolution::Full,
            launches: 2000,
            spread: 0.02,
            correlation: 0.5,
            configuration_deviation: 0.005,
            experiment_deviation: 0.0,
            run_deviation: 0.0,
            seed: 0,
        }
    }
}

/// Time by the device's clock over time by the host's.
const DEVICE_SHARE: f64 = 0.75;

/// Configurations made up at a time: few are in memory.
const AT_A_TIME: usize = 64;

/// Streams of random numbers of a run, behind those of its configurations.
const OF_THE_RUN: u64 = u64::MAX;

/// A truth with its configurations: what makes launches.
#[derive(Clone, Debug)]
pub struct Simulation {
    truth: Truth,
    configurations: Vec<Configuration>,
}

/// Latency of a configuration without any noise, in nanoseconds: 10 µs plus its FLOPs at 10 TFLOP/s.
pub fn base_ns(configuration: &Configuration) -> f64 {
    const LAUNCH_NS: f64 = 10_000.0;
    const FLOPS_PER_NS: f64 = 10_000.0;
    LAUNCH_NS + Flops::from(configuration.shape.macs()).0 as f64 / FLOPS_PER_NS
}

impl Simulation {
    /// The configurations of the suite at the truth's resolution.
    pub fn new(truth: Truth) -> Self {
        let all = Experiment::all().iter();
        let configurations = all.flat_map(|e| e.configurations(truth.resolution)).collect();
        Self { truth, configurations }
    }

    /// What is true.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// In the suite's order.
    pub fn configurations(&self) -> &[Configuration] {
        &self.configurations
    }

    /// The provenance of its latencies, which says that they are simulated.
    pub fn provenance(&self) -> Provenance {
        provenance(&self.header(0))
    }

    /// Latencies of the configuration at `index` in a run, in nanoseconds by the host's clock and in
    /// launch order. Equal arguments give equal latencies; an index past the last gives none.
    pub fn launches(&self, run: u64, index: usize, factor: f64) -> Vec<f64> {
        let Some(configuration) = self.configurations.get(index) else { return Vec::new() };
        let truth = &self.truth;
        let mut random = self.stream(run, index as u64);
        let of_configuration = truth.configuration_deviation * normal(&mut random);
        let shift = of_configuration + self.shared_shift(run, configuration.experiment);
        let median_ns = base_ns(configuration) * factor * shift.exp();
        let innovation = (1.0 - truth.correlation * truth.correlation).sqrt();
        let mut x = normal(&mut random);
        (0..truth.launches)
            .map(|_| {
                let latency_ns = median_ns * (truth.spread * x).exp();
                x = truth.correlation * x + innovation * normal(&mut random);
                latency_ns
            })
            .collect()
    }

    /// What the run and the experiment in it add to the logarithm of every latency.
    fn shared_shift(&self, run: u64, experiment: Experiment) -> f64 {
        let mut random = self.stream(run, OF_THE_RUN);
        let of_run = self.truth.run_deviation * normal(&mut random);
        let of_experiments: Vec<f64> =
            Experiment::all().iter().map(|_| normal(&mut random)).collect();
        of_run + self.truth.experiment_deviation * of_experiments[experiment.index()]
    }

    fn stream(&self, run: u64, stream: u64) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(random_bits(random_bits(self.truth.seed, run), stream))
    }

    /// Writes a run into a new `folder`, in the format of measured runs but without criterion's files.
    /// `factor` multiplies the latencies of each configuration.
    ///
    /// # Errors
    /// [`FileError`] where the folder exists or cannot be written.
    pub fn write_run(
        &self,
        folder: &Path,
        run: u64,
        factor: impl Fn(&Configuration) -> f64 + Sync,
    ) -> Result<(), FileError> {
        let started = started(run);
        let one = |index: usize| {
            let configuration = &self.configurations[index];
            let latencies_ns = self.launches(run, index, factor(configuration));
            recorded(configuration, started, latencies_ns)
        };
        let all = 0..self.configurations.len();
        let configurations = all.clone().step_by(AT_A_TIME).flat_map(|first| {
            let some = first..all.end.min(first + AT_A_TIME);
            some.into_par_iter().map(one).collect::<Vec<_>>()
        });
        write_finished(folder, self.header(run), configurations)
    }

    pub(crate) fn header(&self, run: u64) -> RunHeader {
        let Truth { seed, resolution, launches, .. } = self.truth;
        let settings = Settings {
            // a GPU's, which has a clock of its own; latencies are by the host's, which is finer
            backend: BackendSettings::Cudnn(CudnnOptions {
                device: 0,
                math: Math::F32,
                plan: PlanChoice::Heuristic,
                launch_timeout: std::time::Duration::ZERO,
            }),
            experiments: Experiment::all().to_vec(),
            resolution,
            profile: Profile::Paper,
            passes: NonZeroU32::MIN,
            launches: u32::try_from(launches).ok().and_then(std::num::NonZeroU32::new),
            protocol: Protocol::HOST_LATENCY_WARM,
            seed: Some(seed),
            time_budget: None,
            memory_limit: None,
            verify: false,
        };
        let plan = RunPlan {
            settings,
            platform: platform(),
            program: SIMULATED.to_owned(),
            ids: self.configurations.iter().map(Configuration::id).collect(),
            side: None,
        };
        RunHeader {
            schema_version: SCHEMA_VERSION,
            run_id: format!("simulated-{seed}-{run}"),
            status: RunStatus::Finished,
            started: started(run),
            ended: Some(started(run)),
            seed,
            plan,
            sessions: vec![session(run)],
            criterion_home: "criterion".into(),
            criterion_baseline: "new".to_owned(),
            quiet: None,
            usual_multiply_add_ns: None,
            machine: None,
            configurations: Vec::new(),
        }
    }
}

fn normal(random: &mut Xoshiro256PlusPlus) -> f64 {
    StandardNormal.sample(random)
}

/// Runs start a day apart, the first in 1970, so that no one takes them for measurements.
fn started(run: u64) -> Timestamp {
    const DAY_S: i64 = 86_400;
    let seconds = i64::try_from(run).ok().and_then(|run| run.checked_mul(DAY_S));
    seconds.and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn recorded(
    configuration: &Configuration,
    started: Timestamp,
    latencies_ns: Vec<f64>,
) -> (ConfigurationRecord, SampleTimes) {
    let outcome = match Summary::from_latencies(&latencies_ns) {
        Some(summary) => Outcome::Measured(Measured {
            algorithm: SIMULATED_BACKEND.to_owned(),
            plan: None,
            workspace_bytes: Bytes(0),
            verified: false,
            warm_up: WarmUp { launches: 0, ended: WarmUpEnd::Steady },
            stopped: Stopped::Cap,
            relative_interval: relative_median_interval(&sorted(&latencies_ns), 0.0),
            submission_ns: None,
            device: None,
            disturbance: None,
            probe: None,
            summary,
        }),
        None => Outcome::Skipped { reason: "simulated without launches".to_owned() },
    };
    let device_ns = latencies_ns.iter().map(|ns| DEVICE_SHARE * ns).collect();
    let times = SampleTimes { host_ns: latencies_ns, device_ns, ..SampleTimes::default() };
    (ConfigurationRecord::new(configuration, started, 0.0, 1, outcome), times)
}

/// No machine at all.
fn platform() -> Platform {
    let none = || SIMULATED_BACKEND.to_owned();
    Platform {
        backend: SIMULATED_BACKEND.to_owned(),
        device: SIMULATED.to_owned(),
        gpu: None,
        cpu: none(),
        physical_cores: None,
        logical_cores: 0,
        pinned_cores: None,
        cpu_quota_percent: None,
        memory: Bytes(0),
        os: none(),
        kernel: none(),
        rustc: none(),
        target: none(),
        vector_extensions: none(),
        crates: vec![format!("alpha-flops {}", env!("CARGO_PKG_VERSION"))],
        git_commit: none(),
    }
}

fn session(run: u64) -> Session {
    Session {
        started: started(run),
        conditions: Conditions {
            clocksource: None,
            governor: None,
            load_average: None,
            memory_available: None,
            timer_resolution_ns: 0.0,
            timer_overhead_ns: 0.0,
        },
        empty_launch: LaunchTime { host_ns: 0.0, device_ns: None, submission_ns: None },
        why_cpu: None,
        why_not_queued: None,
    }
}

#[cfg(test)]
mod tests;
