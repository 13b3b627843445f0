//! Experiments A–G as criterion benchmarks: each experiment is a group, each configuration a
//! benchmark, each criterion sample exactly one launch. `cargo bench` and `alpha-flops bench` are
//! this module.
//!
//! Measuring and criterion's statistics are two steps, in two processes:
//!
//! 1. this process measures every selected configuration and keeps the raw launches in a run
//!    folder, so the device never idles in a bootstrap and a killed run resumes;
//! 2. a child process (the same program) is criterion: its benchmarks replay the raw launches one
//!    by one, so `sample.json` equals them. This process passes on the child's standard error
//!    without the one warning that single launches make inevitable.
//!
//! For `--list`, `--test`, `--profile-time` and `--load-baseline` there is only the child, and
//! nothing is kept.

mod arguments;
mod baselines;
mod benchmarks;
mod console;
mod criterion_process;
mod replayed;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::environment::Platform;
use crate::experiment::Configuration;
use crate::files;
use crate::host::leave_without_waiting;
use crate::measure::does_not_fit;
use crate::record::{RunFolder, RunPlan, Session};
use crate::run::{Run, RunError};
use crate::selection::{Selected, select};
use crate::settings::{Requested, Settings};
use crate::terminal;

use arguments::{Arguments, Mode};
use criterion_process::Criterion;

type AnyError = Box<dyn std::error::Error>;

/// Environment variable that names a file. When the run has finished, the file gets the path of its
/// folder, as the system's bytes: a program that starts the benchmarks learns which run was theirs.
pub const FINISHED_RUN: &str = "FINISHED_RUN_OF_ALPHA_FLOPS";

/// Environment variable, set to anything, of a process that ends when its parent does, however that ends:
/// the parent holds the other end of its standard input, and never writes to it.
pub const ENDS_WITH_PARENT: &str = "ENDS_WITH_PARENT_OF_ALPHA_FLOPS";

/// Environment variable that says which of two sides a run is of, where two take turns: [`RunPlan::side`].
pub const SIDE: &str = "SIDE_OF_ALPHA_FLOPS";

/// Is criterion, if this process was started to be: the first thing that a program which calls
/// [`run`] must do, since criterion reads the command line by itself.
pub fn run_as_criterion() -> Option<ExitCode> {
    let role = criterion_process::role()?;
    criterion_process::end_with_parent();
    Some(benchmarks::run_criterion(role).unwrap_or_else(|error| fail(error.as_ref())))
}

/// Measures, lists or compares the experiments as the arguments say, and reports on standard output
/// and standard error. `program` is how help and usage call this program.
///
/// Without `--bench` among the arguments, which `cargo bench` adds, each configuration is launched
/// once, as by `cargo test --benches`. `--help` and unknown flags end the process, as clap does.
pub fn run(program: &'static str, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    try_run(program, arguments).unwrap_or_else(|error| fail(error.as_ref()))
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    console::error(error);
    if let Some(RunError::DeviceLost { hangs: true, .. }) = error.downcast_ref() {
        leave_without_waiting(1);
    }
    ExitCode::FAILURE
}

fn try_run(
    program: &'static str,
    arguments: impl Iterator<Item = OsString>,
) -> Result<ExitCode, AnyError> {
    if std::env::var_os(ENDS_WITH_PARENT).is_some() {
        criterion_process::end_with_parent();
    }
    let arguments = Arguments::parse(program, arguments)?;
    let requested = Requested::from_workspace()?;
    let selected = select(&requested)?;
    let runs = requested.runs();
    let criterion = Criterion::new(&arguments, selected.settings.backend.kind(), &runs);
    match arguments.mode {
        Mode::Measure => measure(&criterion, selected, &runs),
        Mode::Launch => launch(&criterion, selected),
        Mode::Compare => {
            let configurations = criterion.filter(configurations(&selected.settings))?;
            baselines::check_stored(&criterion, &configurations)?;
            criterion.run_alone()
        }
        Mode::List => {
            terminal::print(&criterion.list()?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Leaves launching to criterion, and says what it will not be asked to launch.
fn launch(criterion: &Criterion<'_>, selected: Selected) -> Result<ExitCode, AnyError> {
    let Selected { settings, backend, why_cpu, .. } = selected;
    console::backend(&settings, why_cpu.as_deref());
    for configuration in criterion.filter(configurations(&settings))? {
        if let Some(reason) = does_not_fit(backend.as_ref(), &configuration, &settings) {
            terminal::remark(&format!("{} skipped: {reason}", configuration.id()));
        }
    }
    // the child needs its cores and its memory
    drop(backend);
    criterion.run_alone()
}

fn measure(
    criterion: &Criterion<'_>,
    selected: Selected,
    runs: &Path,
) -> Result<ExitCode, AnyError> {
    let Selected { settings, mut backend, why_cpu, why_not_queued } = selected;
    let verify = settings.verify || criterion.arguments.verify;
    let settings = Settings { verify, ..settings };
    console::backend(&settings, why_cpu.as_deref());
    let platform = Platform::new(backend.as_ref());
    let session = Session { why_not_queued, ..Session::now(backend.empty_launch()?, why_cpu) };
    console::platform(&platform, &session);

    let selected = criterion.filter(configurations(&settings))?;
    let side = std::env::var(SIDE).ok();
    let plan = RunPlan { side, ..RunPlan::new(&settings, platform, &selected) };
    baselines::check(criterion, &selected, backend.as_ref(), &plan)?;
    let mut run = Run::open(runs, plan, selected, session)?;
    console::opened(&run, backend.notes());
    let mut progress = console::progress(&run);
    let measured = run.measure(backend.as_mut(), &mut |event| progress.show(&event));
    progress.finish();
    if let Err(error) = measured {
        let _ = run.folder.discard_if_empty();
        return Err(error.into());
    }
    // its memory is free while criterion computes
    drop(backend);

    replay(criterion, &mut run.folder)?;
    run.folder.finish()?;
    if let Some(file) = std::env::var_os(FINISHED_RUN) {
        let folder = std::path::absolute(run.folder.path())?;
        let bytes = folder.as_os_str().as_encoded_bytes();
        files::write_atomically(Path::new(&file), |out| out.write_all(bytes))?;
    }
    Ok(console::finished(&run))
}

/// Hands the launches of the run to criterion, in a folder of the run's own.
fn replay(criterion: &Criterion<'_>, folder: &mut RunFolder) -> Result<(), AnyError> {
    let home = folder.path().join("criterion");
    // an interrupted criterion leaves partial files behind: begin again
    files::remove_folder(&home)?;
    folder.set_criterion("criterion".into(), criterion.arguments.baseline())?;
    baselines::bring_in(criterion, folder, &home)?;
    criterion.replay(folder, &home)?;
    replayed::check(folder, &home, criterion.arguments.baseline())?;
    baselines::mark(criterion, folder, &home)?;
    baselines::hand_out(criterion, folder, &home)
}

/// The configurations that the settings choose, before criterion's filter.
fn configurations(settings: &Settings) -> Vec<Configuration> {
    let chosen = settings.experiments.iter();
    chosen.flat_map(|e| settings.profile.select(e.configurations(settings.resolution))).collect()
}
