//! Runs killed with SIGKILL (or its like) at random moments, and what is left of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use alpha_flops::backend::BackendSettings;
use alpha_flops::backend::LaunchTime;
use alpha_flops::backend::cpu::{AlgorithmChoice, CpuBackend, CpuOptions};
use alpha_flops::environment::Platform;
use alpha_flops::experiment::{Configuration, Experiment, Resolution};
use alpha_flops::measure::SampleTimes;
use alpha_flops::protocol::{Clock, Profile, Protocol};
use alpha_flops::record::{self, Measured, Outcome, RunPlan, RunStatus, Session, Visit};
use alpha_flops::run::{Run, RunError};
use alpha_flops::settings::Settings;
use alpha_flops::statistics::Summary;
use alpha_flops::units::Bytes;
use libtest_mimic::{Arguments, Trial};

#[path = "fixtures/measuring_process.rs"]
mod measuring_process;
use measuring_process::finish;

/// How often a run is killed, at most: with more kills it would have finished.
const KILLS: usize = 25;
/// How many kills there are at least, of as many runs as that takes; [`KILLS`] by default.
const KILLS_VARIABLE: &str = "INTERRUPTED_RUNS_KILLS";
const PASSES: NonZeroU32 = NonZeroU32::new(2).unwrap();

fn main() -> ExitCode {
    measuring_process::main(measure, tests)
}

fn tests() -> ExitCode {
    let tests: [(&str, fn()); 8] = [
        ("a_run_killed_many_times_ends_as_an_uninterrupted_one", killed_many_times),
        ("a_finished_run_is_never_taken_up_again", finished_runs_stay_finished),
        ("other_settings_begin_a_new_run", other_settings_begin_anew),
        ("a_run_in_use_is_not_shared", a_run_in_use_is_not_shared),
        ("a_damaged_part_is_measured_again", damaged_part),
        ("leftovers_of_a_finished_run_are_removed_by_the_next", leftovers),
        (
            "what_a_killed_process_was_writing_does_not_outlive_its_run",
            leftovers_of_an_unfinished_run,
        ),
        ("an_unwritable_folder_is_an_error_with_its_path", unwritable_folder),
    ];
    let mut arguments = Arguments::from_args();
    // one after the other: when to kill is found by time
    arguments.test_threads.get_or_insert(1);
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// Small configurations, so that a debug build makes a run of them in a second or two.
fn selection() -> Vec<Configuration> {
    [Experiment::A, Experiment::B, Experiment::C]
        .into_iter()
        .flat_map(|e| e.configurations(Resolution::Original))
        .filter(|c| c.shape.macs().0 <= 120_000_000)
        .collect()
}

fn settings() -> Settings {
    Settings {
        backend: BackendSettings::Cpu(CpuOptions {
            threads: NonZeroUsize::MIN,
            algorithm: AlgorithmChoice::Auto,
        }),
        experiments: vec![Experiment::A, Experiment::B, Experiment::C],
        resolution: Resolution::Original,
        profile: Profile::Smoke,
        launches: None,
        passes: PASSES,
        protocol: Protocol::HOST_LATENCY_WARM,
        seed: None,
        // used up at once: on a busy machine, there would be many further attempts
        time_budget: Some(Duration::from_millis(1)),
        memory_limit: Some(Bytes(1 << 24)),
        verify: false,
    }
}

fn backend() -> CpuBackend {
    CpuBackend::new(NonZeroUsize::MIN, AlgorithmChoice::Auto).unwrap()
}

fn open(runs: &Path) -> Result<Run, RunError> {
    open_with(&settings(), runs)
}

fn open_with(settings: &Settings, runs: &Path) -> Result<Run, RunError> {
    let empty_launch = LaunchTime { host_ns: 20.0, device_ns: None, submission_ns: None };
    let plan = RunPlan::new(settings, Platform::new(&backend()), &selection());
    Run::open(runs, plan, selection(), Session::now(empty_launch, None))
}

fn measure(runs: &Path) {
    let mut backend = backend();
    let mut run = open(runs).unwrap();
    run.measure(&mut backend, &mut |_| {}).unwrap();
    run.folder.finish().unwrap();
}

fn folders(runs: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn killed_many_times() {
    let wanted = std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let whole = directory.path().join("whole");
    let start = Instant::now();
    finish(&whole);
    let whole_run = start.elapsed();
    let reference = record::FinishedRun::open(&folders(&whole)[0]).unwrap();
    let (mut kills, mut runs) = (0, 0);
    while kills < wanted {
        runs += 1;
        let killed = directory.path().join(format!("killed-{runs}"));
        kills += kill(&killed, whole_run);
        check_killed(&killed, &reference);
    }
    eprintln!("{kills} kills of {runs} runs");
}

/// Kills a run again and again, until it has finished. Returns how often.
fn kill(killed: &Path, whole_run: Duration) -> usize {
    let (mut kept, mut kills) = (0, 0);
    for round in 0..KILLS {
        let mut process = measuring_process::start(killed);
        if round % 2 == 1 {
            // however slow the machine: some kills come when there is more to resume than before
            while files_of_parts(killed) <= kept && process.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        } else {
            // in steps that avoid any rhythm
            let part = ((round * 7) % KILLS) as f64 / KILLS as f64;
            std::thread::sleep(whole_run.mul_f64(part * 2.0 / KILLS as f64));
        }
        // one that has ended by itself was not killed
        kills += usize::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
        if any_finished(killed) {
            return kills;
        }
        let now = kept_parts(killed);
        assert!(now >= kept, "a kill lost configurations: {kept} were kept, now {now}");
        kept = now;
    }
    finish(killed);
    kills
}

/// Checks that of a run that was killed there is what there is of one that was not.
fn check_killed(killed: &Path, reference: &record::FinishedRun) {
    // a kill after the run's end leaves what the next run removes
    record::tidy_up(killed).unwrap();
    let runs = folders(killed);
    let [run] = &runs[..] else { panic!("one run, not {runs:?}") };
    let run = record::FinishedRun::open(run).unwrap();
    assert!(run.header.sessions.len() > 1);
    assert_eq!(form(&run), form(reference));
    assert_eq!(run.header.plan.ids.len(), selection().len());
    let names = |run: &record::FinishedRun| -> Vec<_> {
        folders(&run.path).iter().map(|path| path.file_name().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&run), names(reference), "nothing is left over");
}

fn any_finished(runs: &Path) -> bool {
    runs.exists() && folders(runs).iter().any(|run| record::FinishedRun::open(run).is_ok())
}

/// Configurations kept, by the files' names alone: another process may be removing them.
fn files_of_parts(runs: &Path) -> usize {
    let Ok(runs) = std::fs::read_dir(runs) else { return 0 };
    let parts = runs.filter_map(|run| std::fs::read_dir(run.ok()?.path().join("parts")).ok());
    let json = |path: &Path| path.extension().is_some_and(|extension| extension == "json");
    parts.flatten().flatten().filter(|entry| json(&entry.path())).count()
}

/// Configurations kept by unfinished runs; each must be readable.
fn kept_parts(runs: &Path) -> usize {
    if !runs.exists() {
        return 0;
    }
    let unfinished = folders(runs).into_iter().filter(|run| run.join("run.json").exists());
    unfinished
        .map(|run| {
            let plan = record::read_plan(&run).unwrap();
            let passes = 1..=plan.settings.passes.get();
            let kept = |id: &str, pass| record::read_part(&run, id, pass).unwrap().is_some();
            let kept_of = |id: &String| passes.clone().filter(|pass| kept(id, *pass)).count();
            plan.ids.iter().map(kept_of).sum::<usize>()
        })
        .sum()
}

/// What does not depend on time: ids and outcomes. Of what does, checks that no sample is lost, doubled
/// or in another configuration or pass, since samples were timed once and their times differ.
fn form(run: &record::FinishedRun) -> Vec<(String, String)> {
    assert_eq!(run.header.status, RunStatus::Finished);
    let launches = run.launches_file().unwrap().read_all().unwrap();
    let (mut form, mut positions) = (Vec::new(), Vec::new());
    for record in &run.header.configurations {
        let times = launches.get(&record.id).cloned().unwrap_or_default();
        assert_eq!(record.visits.len(), PASSES.get() as usize);
        for visit in &record.visits {
            check_visit(&record.id, visit, &times);
            positions.push(visit.position);
        }
        let outcome = match &record.outcome {
            Outcome::Measured(Measured { algorithm, summary, .. }) => {
                let expected = Summary::from_passes(times.by_pass(Clock::Host));
                assert_eq!(Some(*summary), expected, "{}", record.id);
                algorithm.clone()
            }
            other => format!("{other:?}"),
        };
        form.push((record.id.clone(), outcome));
    }
    form.sort();
    positions.sort();
    assert!(positions.into_iter().eq(0..form.len() * PASSES.get() as usize));
    form
}

/// Whether the samples of a pass are those that were taken in the visit, and as many.
fn check_visit(id: &str, visit: &Visit, times: &SampleTimes) {
    let Some(measured) = visit.outcome.measured() else { return };
    let of_pass = |pass: u32| times.pass.iter().filter(|&&of| of == pass).count();
    let dropped = times.dropped.iter().filter(|sample| sample.pass == visit.pass);
    let (counted, dropped) = (of_pass(visit.pass), dropped.count());
    let taken = measured.disturbance.as_ref().unwrap().samples;
    assert_eq!(counted + dropped, taken as usize, "{id} in pass {}", visit.pass);
    if counted > 0 {
        let first = times.pass.iter().position(|&of| of == visit.pass).unwrap();
        let expected = Summary::from_latencies(&times.host_ns[first..first + counted]);
        assert_eq!(Some(measured.summary), expected, "{id} in pass {}", visit.pass);
    }
}

fn finished_runs_stay_finished() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).unwrap();
    let path = first.folder.path().to_owned();
    drop(first);
    assert_eq!(open(directory.path()).unwrap().folder.path(), path);
    finish(directory.path());
    assert!(record::FinishedRun::open(&path).is_ok());
    let second = open(directory.path()).unwrap();
    assert_ne!(second.folder.path(), path);
    assert_eq!(second.done_before, 0);
}

fn other_settings_begin_anew() {
    let directory = tempfile::tempdir().unwrap();
    let first = open_with(&Settings { seed: Some(1), ..settings() }, directory.path()).unwrap();
    let path = first.folder.path().to_owned();
    drop(first);
    let other = open_with(&Settings { seed: Some(2), ..settings() }, directory.path()).unwrap();
    assert_ne!(other.folder.path(), path);
    assert_eq!(other.folder.header().sessions.len(), 1);
}

fn a_run_in_use_is_not_shared() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { seed: Some(3), ..settings() };
    let first = open_with(&settings, directory.path()).unwrap();
    let second = open_with(&settings, directory.path()).unwrap();
    assert_ne!(first.folder.path(), second.folder.path());
}

fn damaged_part() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = open(directory.path()).unwrap();
    let mut backend = backend();
    run.measure(&mut backend, &mut |_| {}).unwrap();
    let mut parts = folders(&run.folder.path().join("parts"));
    let (cut, of_another) = (parts.remove(0), parts.remove(0));
    std::fs::write(&cut, &std::fs::read(&cut).unwrap()[..40]).unwrap();
    let text = std::fs::read_to_string(&of_another).unwrap();
    let id = &run.folder.header().run_id;
    std::fs::write(
        &of_another,
        text.replace(id.as_str(), "another-run").replace("checksum", "none"),
    )
    .unwrap();
    drop(run);
    let run = open(directory.path()).unwrap();
    assert_eq!(run.damaged.len(), 2, "{:?}", run.damaged);
    assert!(run.damaged.iter().any(|error| error.contains("is of run another-run")));
    assert_eq!(run.done_before, PASSES.get() as usize * selection().len() - 2);
    drop(run);
    finish(directory.path());
    assert!(any_finished(directory.path()));
}

fn leftovers() {
    let directory = tempfile::tempdir().unwrap();
    finish(directory.path());
    let [finished] = &folders(directory.path())[..] else { panic!("one run") };
    std::fs::create_dir(finished.join("parts")).unwrap();
    std::fs::write(finished.join(".run.json.1-0.tmp"), "{").unwrap();
    drop(open(directory.path()).unwrap());
    assert!(!finished.join("parts").exists() && !finished.join(".run.json.1-0.tmp").exists());
    assert!(record::FinishedRun::open(finished).is_ok());
}

fn leftovers_of_an_unfinished_run() {
    let directory = tempfile::tempdir().unwrap();
    let run = open(directory.path()).unwrap();
    let path = run.folder.path().to_owned();
    drop(run);
    let (ours, others) =
        ([".run.json.4-0.tmp", "parts/.A-x.1.json.4-1.tmp"], ["a.tmp", "parts/b.tmp"]);
    for name in ours.iter().chain(&others) {
        std::fs::write(path.join(name), "half").unwrap();
    }
    let run = open(directory.path()).unwrap();
    assert_eq!(run.folder.path(), path);
    assert!(ours.iter().all(|name| !path.join(name).exists()));
    assert!(others.iter().all(|name| path.join(name).exists()));
    drop(run);
    // as if killed when all but its name was there
    std::fs::rename(&path, directory.path().join(".2026-01-31t12-00-00z-5eed.4-0.tmp")).unwrap();
    let run = open(directory.path()).unwrap();
    assert_eq!(run.folder.header().sessions.len(), 1);
    assert_eq!(folders(directory.path()), [run.folder.path()]);
}

fn unwritable_folder() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let Err(RunError::File(error)) = open(&file) else {
        panic!("a run below a file");
    };
    assert!(error.to_string().contains("a-file"), "{error}");
}
