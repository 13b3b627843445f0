//! Files are criterion's own: each test lets criterion write a small run, then damages it.

use std::fs;
use std::num::NonZeroUsize;
use std::time::Duration;

use alpha_flops::backend::BackendSettings;
use alpha_flops::backend::LaunchTime;
use alpha_flops::backend::cpu::{AlgorithmChoice, CpuBackend, CpuOptions};
use alpha_flops::environment::Platform;
use alpha_flops::experiment::{Configuration, Experiment, Resolution};
use alpha_flops::measure::{SampleTimes, Stopped, WarmUp, WarmUpEnd};
use alpha_flops::protocol::{Profile, Protocol};
use alpha_flops::record::{Part, RunFolder, RunPlan, Session};
use alpha_flops::settings::Settings;
use alpha_flops::units::Bytes;
use criterion::{Criterion, SamplingMode, Throughput};

use super::*;

/// A finished run of three configurations of A (and one skipped), with criterion's files.
pub(crate) struct SmallRun {
    _directory: tempfile::TempDir,
    pub(crate) folder: PathBuf,
    ids: Vec<String>,
}

impl SmallRun {
    pub(crate) fn write() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configurations: Vec<_> =
            Experiment::A.configurations(Resolution::Original).into_iter().take(4).collect();
        let ids: Vec<String> = configurations.iter().map(Configuration::id).collect();
        let mut run = RunFolder::create(directory.path(), plan(&ids), 5, session()).unwrap();
        for (position, configuration) in configurations.iter().enumerate() {
            run.keep(&part(&run.header().run_id, position, configuration)).unwrap();
        }
        let folder = run.path().to_owned();
        for configuration in &configurations[..3] {
            run_criterion(&folder.join("criterion"), configuration);
        }
        run.finish().unwrap();
        Self { _directory: directory, folder, ids }
    }

    /// A file of the configuration at `index`.
    pub(crate) fn file(&self, index: usize, name: &str) -> PathBuf {
        self.folder.join("criterion").join(&self.ids[index]).join("new").join(name)
    }

    /// The single reason for which the configuration at index 1 is left out.
    fn rejection(&self) -> String {
        let imported = read(&self.folder).unwrap();
        assert_eq!(imported.dataset.observations.len(), 2, "the others go on");
        let [rejected] = &imported.rejected[..] else { panic!("{:?}", imported.rejected) };
        rejected.reason.clone()
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let path = self.file(1, name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

fn session() -> Session {
    Session::now(LaunchTime { host_ns: 20.0, device_ns: None, submission_ns: None }, None)
}

fn plan(ids: &[String]) -> RunPlan {
    let (threads, algorithm) = (NonZeroUsize::MIN, AlgorithmChoice::Auto);
    let settings = Settings {
        backend: BackendSettings::Cpu(CpuOptions { threads, algorithm }),
        experiments: vec![Experiment::A],
        resolution: Resolution::Original,
        profile: Profile::Smoke,
        launches: None,
        protocol: Protocol::HOST_LATENCY_WARM,
        seed: None,
        time_budget: None,
        memory_limit: Some(Bytes(1 << 30)),
        verify: false,
    };
    let platform = Platform::new(&CpuBackend::new(threads, algorithm).unwrap());
    RunPlan { settings, platform, program: String::new(), ids: ids.to_vec() }
}

/// Eleven launches with two outliers; the fourth configuration is skipped.
fn latencies_ns(configuration: &Configuration) -> Vec<f64> {
    let scale = f64::from(configuration.x + 1);
    [700.0, 710.0, 705.0, 701.0, 699.0, 702.0, 706.0, 704.0, 703.0, 730.0, 900.0]
        .map(|latency| latency * scale)
        .to_vec()
}

fn part(run_id: &str, position: usize, configuration: &Configuration) -> Part {
    let latencies_ns = if position < 3 { latencies_ns(configuration) } else { Vec::new() };
    let outcome = match Summary::from_latencies(&latencies_ns) {
        Some(summary) => Outcome::Measured {
            algorithm: "skinny".to_owned(),
            plan: None,
            workspace_bytes: Bytes(0),
            verified: false,
            warm_up: WarmUp { launches: 1, ended: WarmUpEnd::Steady },
            stopped: Stopped::Cap,
            relative_interval: None,
            submission_ns: None,
            device: None,
            summary,
        },
        None => Outcome::Skipped { reason: "needs too much".to_owned() },
    };
    let started = "2026-01-31T12:00:00Z".parse().unwrap();
    let record = ConfigurationRecord::new(configuration, started, 0.1, 1, outcome);
    let times = SampleTimes { host_ns: latencies_ns, device_ns: Vec::new() };
    Part { run_id: run_id.to_owned(), position, record, times }
}

fn run_criterion(home: &Path, configuration: &Configuration) {
    let latencies_ns = latencies_ns(configuration);
    let mut criterion = Criterion::default()
        .output_directory(home)
        .without_plots()
        .nresamples(100)
        .warm_up_time(Duration::from_nanos(1))
        .measurement_time(Duration::from_nanos(1));
    let mut group = criterion.benchmark_group(configuration.experiment.name);
    group.sampling_mode(SamplingMode::Flat).sample_size(latencies_ns.len());
    group.throughput(Throughput::Elements(configuration.shape.macs().0));
    let mut calls = 0;
    group.bench_function(configuration.shape.to_string(), |bencher| {
        bencher.iter_custom(|_| {
            calls += 1;
            std::thread::sleep(Duration::from_micros(1));
            // the first call is criterion's warm-up
            Duration::from_nanos(latencies_ns[usize::max(calls, 2) - 2] as u64)
        });
    });
    group.finish();
}

#[test]
fn a_sound_run_gives_every_measured_configuration_and_names_the_skipped() {
    let run = SmallRun::write();
    let imported = read(&run.folder).unwrap();
    assert_eq!(imported.rejected, []);
    assert_eq!(imported.not_measured.len(), 1);
    assert_eq!(imported.not_measured[0].reason, "needs too much");
    let first = &imported.dataset.observations[0];
    assert_eq!(format!("A/{}", first.shape), run.ids[0]);
    assert_eq!(first.latency.median_ns, Some(704.0));
    assert_eq!((first.latency.outliers_mild, first.latency.outliers_severe), (Some(0), Some(2)));
    assert!(imported.dataset.provenance.device.ends_with(", 1 thread"));
    assert_eq!(imported.dataset.provenance.protocol, "host-latency-warm, profile smoke");
}

#[test]
fn cut_and_missing_files_are_left_out_with_their_paths() {
    for name in ["sample.json", "estimates.json", "tukey.json"] {
        let run = SmallRun::write();
        let path = run.file(1, name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(run.rejection().contains(&path.display().to_string()), "{}", run.rejection());
        fs::remove_file(&path).unwrap();
        assert!(run.rejection().contains(&path.display().to_string()), "{}", run.rejection());
    }
}

#[test]
fn a_benchmark_whose_id_cannot_be_read_is_reported_as_missing_and_by_its_path() {
    let run = SmallRun::write();
    fs::write(run.file(1, "benchmark.json"), "{").unwrap();
    let imported = read(&run.folder).unwrap();
    let reasons: Vec<_> = imported.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("benchmark.json"), "{}", reasons[0]);
    assert_eq!(reasons[1], format!("criterion has no benchmark {}", run.ids[1]));
}

#[test]
fn zero_infinite_and_foreign_times_are_left_out() {
    for (to, expected) in [
        ("0.0", "time 0 is 0, expected finite and > 0"),
        ("-1400.0", "time 0 is -1400, expected finite and > 0"),
        ("null", "time 0 is inf, expected finite and > 0"),
        ("1401.0", "not the run's raw launches"),
    ] {
        let run = SmallRun::write();
        run.replace("sample.json", "1400.0", to);
        assert!(run.rejection().contains(expected), "{}", run.rejection());
    }
}

#[test]
fn batched_launches_are_left_out() {
    let run = SmallRun::write();
    run.replace("sample.json", "[1.0,", "[2.0,");
    assert!(run.rejection().contains("sample 0 is of 2 iterations"), "{}", run.rejection());
}

#[test]
fn a_median_or_fence_that_is_not_of_the_times_is_left_out() {
    let run = SmallRun::write();
    run.replace("estimates.json", "\"point_estimate\":1408.0", "\"point_estimate\":1409.0");
    assert!(run.rejection().contains("median is 1409, expected 1408"), "{}", run.rejection());
    let run = SmallRun::write();
    fs::write(run.file(1, "tukey.json"), "[1.0,2.0,3.0,4.0]").unwrap();
    assert!(run.rejection().contains("fences are"), "{}", run.rejection());
}

#[test]
fn two_folders_with_one_id_are_left_out() {
    let run = SmallRun::write();
    let copy = run.file(1, "x").ancestors().nth(2).unwrap().with_file_name("renamed_2");
    fs::create_dir_all(copy.join("new")).unwrap();
    fs::copy(run.file(1, "benchmark.json"), copy.join("new/benchmark.json")).unwrap();
    assert!(run.rejection().contains("2 folders hold benchmark"), "{}", run.rejection());
}

#[test]
fn a_folder_without_a_run_or_without_criterions_files_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let error = read(empty.path()).unwrap_err().to_string();
    assert!(error.contains("run.json") && error.contains("hint: give the folder"), "{error}");
    let run = SmallRun::write();
    fs::remove_dir_all(run.folder.join("criterion")).unwrap();
    let error = read(&run.folder).unwrap_err().to_string();
    assert!(error.contains("measure again"), "{error}");
}
