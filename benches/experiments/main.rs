//! Experiments A–G as criterion benchmarks: each experiment a group, each configuration a
//! benchmark, each criterion sample exactly one launch.
//!
//! Measuring and criterion's statistics are two steps, in two processes:
//!
//! 1. this process measures every selected configuration and keeps the raw launches in a run
//!    folder, so the device never idles in a bootstrap and a killed run resumes;
//! 2. a child process (the same binary) is criterion: its benchmarks replay the raw launches one by
//!    one, so `sample.json` equals them. Its standard error passes through this process, which
//!    drops the one warning that single launches make inevitable.
//!
//! `--list`, `--test`, `--profile-time` and `--load-baseline` are criterion alone, keeping nothing.

mod arguments;
mod baselines;
mod benchmarks;
mod console;
mod criterion_process;

use std::path::Path;
use std::process::ExitCode;

use alpha_flops::atomic_file::write_atomically;
use alpha_flops::environment::Platform;
use alpha_flops::experiment::Configuration;
use alpha_flops::host::leave_without_waiting;
use alpha_flops::measure::does_not_fit;
use alpha_flops::record::{RunFolder, RunPlan, Session};
use alpha_flops::run::{Run, RunError};
use alpha_flops::selection::{Selected, select};
use alpha_flops::settings::{Requested, Settings};

use arguments::{Arguments, Mode};
use criterion_process::Criterion;

type AnyError = Box<dyn std::error::Error>;

/// Names the file that gets the path of the run's folder once it is finished: a program that starts
/// the benchmarks learns from it which run was theirs.
const FINISHED_RUN: &str = "FINISHED_RUN_OF_ALPHA_FLOPS";

fn main() -> ExitCode {
    let result = match criterion_process::role() {
        Some(role) => {
            criterion_process::end_with_parent();
            benchmarks::run_criterion(role)
        }
        None => run(),
    };
    result.unwrap_or_else(|error| {
        console::error(&error);
        if let Some(RunError::DeviceLost { hangs: true, .. }) = error.downcast_ref() {
            leave_without_waiting(1);
        }
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, AnyError> {
    let arguments = Arguments::parse()?;
    let requested = Requested::from_workspace()?;
    let selected = select(&requested)?;
    // defaults depend on the backend: children must have the same
    let criterion = Criterion { arguments: &arguments, backend: selected.settings.backend.kind() };
    match arguments.mode {
        Mode::Measure => measure(&criterion, selected, &requested.runs()),
        Mode::Launch => launch(&criterion, selected),
        Mode::Compare => {
            let configurations = criterion.filter(configurations(&selected.settings))?;
            baselines::check_stored(&arguments, &configurations)?;
            criterion.run_alone()
        }
        Mode::List => {
            criterion.list()?.lines().for_each(console::say);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Leaves launching to criterion, and says what it will not be asked to launch.
fn launch(criterion: &Criterion<'_>, selected: Selected) -> Result<ExitCode, AnyError> {
    let Selected { settings, backend, why_cpu } = selected;
    console::backend(&settings, why_cpu.as_deref());
    for configuration in criterion.filter(configurations(&settings))? {
        if let Some(reason) = does_not_fit(backend.as_ref(), &configuration, &settings) {
            console::warn(&format!("{} skipped: {reason}", configuration.id()));
        }
    }
    // its threads, or its memory, would stand in the way of those of the child
    drop(backend);
    criterion.run_alone()
}

fn measure(
    criterion: &Criterion<'_>,
    selected: Selected,
    runs: &Path,
) -> Result<ExitCode, AnyError> {
    let Selected { settings, mut backend, why_cpu } = selected;
    let verify = settings.verify || criterion.arguments.verify;
    let settings = Settings { verify, ..settings };
    console::backend(&settings, why_cpu.as_deref());
    let platform = Platform::of(backend.as_ref());
    let session = Session::now(backend.empty_launch()?, why_cpu);
    console::platform(&platform, &session);

    let selected = criterion.filter(configurations(&settings))?;
    let plan = RunPlan::new(&settings, platform, &selected);
    baselines::check(criterion.arguments, &selected, backend.as_ref(), &plan)?;
    let mut run = Run::open(runs, plan, selected, session)?;
    console::opened(&run);
    let mut progress = console::progress(&run);
    run.measure(backend.as_mut(), &mut |event| progress.show(&event))?;
    progress.finish();
    // the device is free, and its memory, while criterion computes
    drop(backend);

    replay(criterion, &mut run.folder)?;
    run.folder.finish()?;
    if let Some(file) = std::env::var_os(FINISHED_RUN) {
        announce(run.folder.path(), Path::new(&file))?;
    }
    Ok(console::finished(&run))
}

/// Lets criterion have the launches of the run, in a folder of the run's own.
fn replay(criterion: &Criterion<'_>, folder: &mut RunFolder) -> Result<(), AnyError> {
    let arguments = criterion.arguments;
    let home = folder.path().join("criterion");
    // an interrupted criterion leaves cut files behind: begin again
    if home.exists() {
        std::fs::remove_dir_all(&home)
            .map_err(|error| format!("{}: cannot be removed: {error}", home.display()))?;
    }
    folder.set_criterion("criterion".into(), arguments.baseline())?;
    baselines::bring_in(arguments, folder, &home)?;
    criterion.replay(folder, &home)?;
    baselines::mark(arguments, folder, &home)?;
    baselines::hand_out(arguments, folder, &home)
}

/// Writes the absolute path of the run's folder to `file`, byte by byte as the system has it.
fn announce(folder: &Path, file: &Path) -> Result<(), AnyError> {
    let folder = std::path::absolute(folder)?;
    write_atomically(file, |out| out.write_all(folder.as_os_str().as_encoded_bytes()))
        .map_err(|error| format!("{FINISHED_RUN}: {error}").into())
}

/// The configurations that the settings choose, before criterion's filter.
fn configurations(settings: &Settings) -> Vec<Configuration> {
    let chosen = settings.experiments.iter();
    chosen.flat_map(|e| settings.profile.select(e.configurations(settings.resolution))).collect()
}
