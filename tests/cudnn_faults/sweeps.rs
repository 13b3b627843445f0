//! Sweeps on the stand-in: memory is used again, and whatever fails is recorded and leaks nothing.

use std::error::Error;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use alpha_flops::environment::Platform;
use alpha_flops::record::Session;
use alpha_flops::selection::{Selected, select};
use alpha_flops::settings::Requested;
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::order::Shard;
use alpha_flops::sweep::request::{SweepProtocol, SweepRequest, prepare};
use alpha_flops::sweep::{
    PointOutcome, Skip, Sweep, SweepFolder, SweepPlan, SweepPoint, SweepStatus,
};
use alpha_flops::units::Bytes;

use super::{Machine, Outcome};

/// Set, to its folder, for a process that sweeps.
const FOLDER: &str = "SWEEP_OF_THE_TEST";
/// Set, too, for one that sweeps as the command does: its protocol.
const PROTOCOL: &str = "PROTOCOL_OF_THE_TEST";
/// Set for a process that verifies.
const VERIFY: &str = "VERIFY_IN_USED_MEMORY";

/// What is larger is skipped, so that a sweep takes a moment. There is no budget: what fits into
/// one depends on how busy this machine is.
const LARGEST: Bytes = Bytes(1 << 20);

#[test]
fn the_process_that_sweeps() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::var_os(FOLDER) else { return Ok(()) };
    let Selected { settings, mut backend, .. } = select(&Requested::from_workspace()?)?;
    let launches = NonZeroU32::new(5).unwrap();
    let plan = SweepPlan {
        grid: Grid::Published,
        seed: 1,
        shard: Shard::new(1, 300).unwrap(),
        protocol: settings.protocol.with_launches(launches),
        launches,
        warm_up_launches: 2,
        budget: None,
        memory_limit: Some(LARGEST),
        backend: settings.backend,
        platform: Platform::new(backend.as_ref()),
    };
    let session = Session::now(backend.empty_launch()?, None);
    let mut sweep = Sweep::open(Path::new(&folder), plan, session, Duration::from_millis(5))?;
    Ok(sweep.measure(backend.as_mut(), &mut |_| {}).map(drop)?)
}

/// As `sweep` does it; that it says what is to be known of its times.
#[test]
fn the_process_that_sweeps_as_the_command() -> Result<(), Box<dyn Error>> {
    let (Some(folder), Ok(protocol)) = (std::env::var_os(FOLDER), std::env::var(PROTOCOL)) else {
        return Ok(());
    };
    let protocol = match protocol.as_str() {
        "latency" => SweepProtocol::Latency,
        _ => SweepProtocol::Throughput,
    };
    let prepared = prepare(|_| SweepRequest {
        grid: Grid::Published,
        seed: 1,
        shard: Shard::new(1, 1000).unwrap(),
        protocol,
        launches: NonZeroU32::new(5).unwrap(),
        budget: None,
        part_interval: Duration::from_secs(1),
    })?;
    let (mut sweep, mut backend) = prepared.open(Path::new(&folder))?;
    println!("{:?}", sweep.header().sessions[0].session.note());
    Ok(sweep.measure(backend.as_mut(), &mut |_| {}).map(drop)?)
}

#[test]
fn where_streams_cannot_wait_a_sweep_of_single_launches_keeps_the_reason() {
    let why = "cuStreamWaitValue32_v2 returned CUDA_ERROR_NOT_SUPPORTED (801)";
    let note =
        format!("short launches take as long as submitting them, as they cannot be queued: {why}");
    for (faults, protocol, name, kept) in [
        ("no-stream-wait", "latency", "device-latency-warm", true),
        ("no-stream-wait", "throughput", "device-throughput-5-warm", false),
        ("", "latency", "device-queued-latency-warm", false),
    ] {
        let machine = Machine::whole();
        let mut command =
            process(&machine, faults, "sweeps::the_process_that_sweeps_as_the_command");
        // what is larger is skipped
        command
            .env(FOLDER, folder(&machine))
            .env(PROTOCOL, protocol)
            .env("ALPHA_FLOPS_MEMORY_LIMIT_GIB", "0.001");
        let shown = if kept { note.as_str() } else { "None" };
        machine.outcome(command, faults).succeeded(&[shown]).leaked_nothing();
        let header = SweepFolder::open(&folder(&machine)).unwrap().header;
        assert_eq!(header.plan.protocol.to_string(), name);
        let session = &header.sessions[0].session;
        assert_eq!(session.why_not_queued.is_some(), kept, "{name}");
        assert!(!kept || session.why_not_queued.as_ref().unwrap().starts_with(why));
    }
}

#[test]
fn the_process_that_verifies() -> Result<(), Box<dyn Error>> {
    if std::env::var_os(VERIFY).is_none() {
        return Ok(());
    }
    let mut backend = select(&Requested::from_workspace()?)?.backend;
    backend.reuse_buffers(true);
    for id in ["h=9_w=9_in=30_out=20_k=3", "h=1_w=3_in=20_out=9_k=1", "h=9_w=8_in=31_out=20_k=4"] {
        for seed in [1, 2, 2] {
            backend.prepare(id.parse()?, seed)?.verify()?;
        }
    }
    Ok(())
}

/// This program, to do what one of the tests above says.
fn process(machine: &Machine, faults: &str, name: &str) -> Command {
    let mut command = machine.command(&std::env::current_exe().unwrap(), faults);
    command.args(["--exact", name, "--nocapture"]);
    command
}

fn sweeping(machine: &Machine, faults: &str) -> Command {
    let mut command = process(machine, faults, "sweeps::the_process_that_sweeps");
    command.env(FOLDER, folder(machine));
    command
}

fn sweep(machine: &Machine, faults: &str) -> Outcome {
    machine.outcome(sweeping(machine, faults), faults)
}

fn folder(machine: &Machine) -> PathBuf {
    machine.folder.path().join("sweep")
}

fn visits(machine: &Machine) -> Vec<SweepPoint> {
    let mut visits = Vec::new();
    SweepFolder::open(&folder(machine)).unwrap().read(|visit| visits.push(visit)).unwrap();
    visits
}

fn measured(visits: &[SweepPoint]) -> usize {
    visits.iter().filter(|visit| matches!(visit.outcome, PointOutcome::Measured { .. })).count()
}

/// Why configurations failed.
fn failures(visits: &[SweepPoint]) -> Vec<String> {
    let detail = |visit: &SweepPoint| match &visit.outcome {
        PointOutcome::Failed { detail } => Some(detail.clone()),
        _ => None,
    };
    visits.iter().filter_map(detail).collect()
}

#[test]
fn a_sweep_allocates_far_less_often_than_it_measures() {
    let machine = Machine::whole();
    let outcome = sweep(&machine, "").succeeded(&[]).leaked_nothing();
    let measured = measured(&visits(&machine)) as u64;
    let allocations = outcome.calls("cuMemAlloc_v2");
    // with memory of its own, each would have four
    assert!(measured > 20 && allocations < measured, "{measured}, {allocations}");
    assert_eq!(allocations, outcome.calls("cuMemFree_v2"));
}

#[test]
fn convolutions_in_memory_used_before_compute_the_same() {
    for plan in ["heuristic", "measured"] {
        let machine = Machine::whole();
        let mut command = process(&machine, "", "sweeps::the_process_that_verifies");
        command.env(VERIFY, "1").env("ALPHA_FLOPS_PLAN", plan);
        let outcome = machine.outcome(command, "").succeeded(&["1 passed"]).leaked_nothing();
        // three tensors and a workspace; of the last shape the weights are larger
        assert_eq!(outcome.calls("cuMemAlloc_v2"), 5, "{plan}");
    }
}

#[test]
fn only_what_does_not_fit_into_all_of_the_memory_is_skipped_for_want_of_it() {
    const MEMORY: u64 = LARGEST.0 / 4;
    let machine = Machine::whole();
    sweep(&machine, &format!("memory={MEMORY}")).succeeded(&[]).leaked_nothing();
    let (mut measured, mut refused) = (0, 0);
    for SweepPoint { shape, outcome, .. } in visits(&machine) {
        let fits = shape.min_bytes_moved().0 <= MEMORY;
        match outcome {
            PointOutcome::Measured { .. } if fits => measured += 1,
            PointOutcome::Skipped { reason: Skip::Memory, detail } if !fits => {
                // smaller ones are tried without asking what is free
                refused += usize::from(detail.contains("CUDA_ERROR_OUT_OF_MEMORY (2)"));
            }
            other => panic!("{shape}: {other:?}"),
        }
    }
    assert!(measured > 10 && refused > 5, "{measured}, {refused}");
}

#[test]
fn a_refused_allocation_is_tried_again_without_what_is_kept() {
    let statuses = |faults: &str| -> Vec<bool> {
        let machine = Machine::whole();
        sweep(&machine, faults).succeeded(&[]).leaked_nothing();
        visits(&machine)
            .iter()
            .map(|v| matches!(v.outcome, PointOutcome::Measured { .. }))
            .collect()
    };
    let without = statuses("");
    // the first four are for the first convolution, which is only verified
    for n in [3, 5, 9] {
        assert_eq!(statuses(&format!("fail-allocation={n}")), without, "{n}");
    }
}

#[test]
fn a_sweep_goes_on_after_a_failed_launch_and_ends_with_the_device() {
    let machine = Machine::whole();
    // verifying takes 6 launches, each configuration 8, the first of which tries its plan out
    sweep(&machine, "fail-execution=34").succeeded(&[]).leaked_nothing();
    let visited = visits(&machine);
    let [failure] = &failures(&visited)[..] else { panic!("{:?}", failures(&visited)) };
    let words = "cudnnBackendExecute returned CUDNN_STATUS_EXECUTION_FAILED (5000)";
    assert!(failure.contains(words) && measured(&visited) > 20, "{failure}");

    let machine = Machine::whole();
    sweep(&machine, "sticky=34").failed(&["DeviceLost"]).leaked_nothing();
    let before = visits(&machine);
    assert_eq!((measured(&before), failures(&before).len()), (3, 1));
    sweep(&machine, "").succeeded(&[]).leaked_nothing();
    let after = visits(&machine);
    assert_eq!(after[..before.len()], before);
    assert_eq!(measured(&after), measured(&visited));
}

#[test]
fn a_call_that_fails_in_the_middle_of_a_sweep_leaks_nothing() {
    let whole = sweep(&Machine::whole(), "").succeeded(&[]).report.unwrap();
    for (function, calls) in whole["calls"].as_object().unwrap() {
        let calls = calls.as_u64().unwrap();
        // what is called once or twice opens or closes
        if function.starts_with("cu") && calls > 4 {
            sweep(&Machine::whole(), &format!("fail-call={function}:{}", calls / 2))
                .leaked_nothing();
        }
    }
}

#[test]
fn a_killed_sweep_is_continued() {
    let machine = Machine::whole();
    let mut command = sweeping(&machine, "");
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let parts = || std::fs::read_dir(folder(&machine).join("parts")).into_iter().flatten();
    let is_part = |path: &Path| path.extension().is_some_and(|extension| extension == "parquet");
    while !parts().any(|part| is_part(&part.unwrap().path())) {
        assert!(killed.try_wait().unwrap().is_none(), "ended before it could be killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = visits(&machine);
    sweep(&machine, "").succeeded(&[]).leaked_nothing();
    let after = visits(&machine);
    assert_eq!(after[..before.len()], before);
    assert!(after.len() > before.len());
    let header = SweepFolder::open(&folder(&machine)).unwrap().header;
    assert_eq!((header.status, header.sessions.len()), (SweepStatus::Finished, 2));
}
