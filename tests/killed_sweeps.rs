//! Sweeps killed with SIGKILL (or its like) at random moments, and what is left of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test")]

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use alpha_flops::backend::BackendError;
use alpha_flops::environment::{Conditions, Platform};
use alpha_flops::random::random_bits;
use alpha_flops::record::Session;
use alpha_flops::shape::ConvShape;
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::order::{Order, Shard};
use alpha_flops::sweep::{PointOutcome, Sweep, SweepFolder, SweepPlan, SweepPoint, SweepStatus};
use alpha_flops::units::Bytes;
use jiff::Timestamp;
use libtest_mimic::{Arguments, Trial};

#[path = "fixtures/measuring_process.rs"]
mod measuring_process;
#[path = "fixtures/null_backend.rs"]
mod null_backend;
use null_backend::{Null, sweep_plan, time};

const KILLS: u32 = 500;

fn main() -> ExitCode {
    measuring_process::main(measure, tests)
}

fn tests() -> ExitCode {
    let test = Trial::test("a_sweep_killed_500_times_loses_doubles_and_mixes_nothing", || {
        killed_many_times();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![test]).exit_code()
}

/// Of a machine that nobody asked: that takes longer than what is tested.
fn plan() -> SweepPlan {
    let text = || "a test's".to_owned();
    let platform = Platform {
        backend: text(),
        device: text(),
        gpu: None,
        cpu: text(),
        physical_cores: None,
        logical_cores: 1,
        pinned_cores: None,
        cpu_quota_percent: None,
        memory: Bytes(0),
        os: text(),
        kernel: text(),
        rustc: text(),
        target: text(),
        vector_extensions: text(),
        crates: Vec::new(),
        git_commit: text(),
    };
    sweep_plan(11, Shard::new(2, 32).unwrap(), platform)
}

fn measure(folder: &Path) {
    let conditions = Conditions {
        clocksource: None,
        governor: None,
        load_average: None,
        memory_available: None,
        timer_resolution_ns: 1.0,
        timer_overhead_ns: 1.0,
    };
    let session = Session {
        started: Timestamp::UNIX_EPOCH,
        conditions,
        empty_launch: time(1.0),
        why_cpu: None,
        why_not_queued: None,
    };
    let mut sweep = Sweep::open(folder, plan(), session, Duration::from_millis(4)).unwrap();
    sweep.measure(&mut Null(launch_ns), &mut |_| {}).unwrap();
}

/// A time that tells the configuration, after a moment; every thirteenth fails.
fn launch_ns(shape: ConvShape) -> Result<f64, BackendError> {
    if Grid::Published.index(shape).is_some_and(|index| index % 13 == 0) {
        return Err(BackendError::Unsupported { what: "compute that" });
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(400) {}
    Ok(shape.macs().0 as f64)
}

fn killed_many_times() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("sweep");
    let mut kept: HashMap<String, Vec<u8>> = HashMap::new();
    for round in 0..KILLS {
        let mut process = measuring_process::start(&folder);
        if round % 5 == 1 {
            // however slow the machine: some kills come when there is more than before
            let more = || entries(&folder) > kept.len();
            while !more() && process.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        std::thread::sleep(Duration::from_micros(random_bits(1, round.into()) % 16_000));
        process.kill().unwrap();
        process.wait().unwrap();
        // whatever was kept stays as it is
        let now = parts(&folder);
        for (name, bytes) in &kept {
            assert_eq!(now.get(name), Some(bytes), "kill {round} lost or changed {name}");
        }
        kept = now;
    }
    println!("{} parts after {KILLS} kills", kept.len());
    assert!(kept.len() > 50, "the kills came before anything was kept: {}", kept.len());
    measuring_process::finish(&folder);
    whole(&folder);
    let names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
}

/// Parts, by their number alone: another process writes them.
fn entries(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder.join("parts")) else { return 0 };
    let parquet = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    entries.flatten().filter(|entry| parquet(&entry.path())).count()
}

/// Parts with their bytes.
fn parts(folder: &Path) -> HashMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder.join("parts")) else { return HashMap::new() };
    let read = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .map(|path| read(&path))
        .collect()
}

/// Every configuration of the shard is there once, with its own outcome.
fn whole(folder: &Path) {
    let sweep = SweepFolder::open(folder).unwrap();
    assert_eq!(sweep.header.status, SweepStatus::Finished);
    assert!(sweep.header.sessions.len() > 50, "{}", sweep.header.sessions.len());
    let order = Order::new(Grid::Published, 11);
    let mut next = 0;
    sweep
        .read(|SweepPoint { position, shape, outcome, .. }| {
            assert_eq!(position, sweep.header.plan.shard.position(next));
            next += 1;
            let index = order.index(position);
            assert_eq!(Grid::Published.index(shape), Some(index));
            match outcome {
                PointOutcome::Measured { host_ns, launches, .. } => {
                    assert_eq!((host_ns, launches), (shape.macs().0 as f64, 50));
                }
                PointOutcome::Skipped { .. } => assert!(4 * shape.weights_len() > 1 << 28),
                // so many kills, so soon after each other, may come at one configuration
                PointOutcome::Failed { detail } => {
                    assert!(
                        index.is_multiple_of(13) || detail.contains("processes ended"),
                        "{detail}"
                    );
                }
            }
        })
        .unwrap();
    assert_eq!(next, sweep.header.plan.configurations());
    let counts = sweep.header.counts.unwrap();
    assert_eq!((counts.visited(), counts.unvisited), (next.into(), 0));
}
