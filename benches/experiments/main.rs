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
use alpha_flops::backend::Backend;
use alpha_flops::backend::cpu::CpuBackend;
use alpha_flops::environment::Platform;
use alpha_flops::experiment::Configuration;
use alpha_flops::record::RunFolder;
use alpha_flops::run::{Run, too_large};
use alpha_flops::settings::Settings;

use arguments::{Arguments, Mode};

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
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode, AnyError> {
    let arguments = Arguments::parse()?;
    match arguments.mode {
        Mode::Measure => measure(&arguments),
        Mode::Launch => launch(&arguments),
        Mode::Compare => {
            // for the sake of its checks
            criterion_process::list(&arguments)?;
            criterion_process::run_alone(&arguments)
        }
        Mode::List => {
            criterion_process::list(&arguments)?.lines().for_each(console::say);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Leaves launching to criterion, and says what it will not be asked to launch.
fn launch(arguments: &Arguments) -> Result<ExitCode, AnyError> {
    let settings = Settings::of_workspace()?;
    let backend = CpuBackend::new(settings.threads, settings.algorithm)?;
    for configuration in criterion_process::filter(arguments, configurations(&settings))? {
        let required = backend.required_memory(configuration.shape);
        if let Some(reason) = too_large(required, settings.memory_limit) {
            console::warn(&format!("{} skipped: {reason}", configuration.id()));
        }
    }
    // its threads would stand in the way of those of the child
    drop(backend);
    criterion_process::run_alone(arguments)
}

fn measure(arguments: &Arguments) -> Result<ExitCode, AnyError> {
    let settings = Settings::of_workspace()?;
    let settings = Settings { verify: settings.verify || arguments.verify, ..settings };
    console::say(&format!("alpha-flops: {settings}"));
    let mut backend = CpuBackend::new(settings.threads, settings.algorithm)?;
    let platform = Platform::of_cpu(backend.pinned_cores());
    console::say(&format!("device: {} (cpu), {}", platform.device, platform.versions()));

    let selected = criterion_process::filter(arguments, configurations(&settings))?;
    baselines::check(arguments, &selected, &backend, &settings)?;
    let mut run = Run::open(&settings, platform, selected)?;
    console::opened(&run);
    let mut progress = console::progress(&run);
    run.measure(&mut backend, &mut |event| progress.show(&event))?;
    progress.finish();

    replay(arguments, &mut run.folder)?;
    run.folder.finish()?;
    if let Some(file) = std::env::var_os(FINISHED_RUN) {
        announce(run.folder.path(), Path::new(&file))?;
    }
    Ok(console::finished(&run))
}

/// Lets criterion have the launches of the run, in a folder of the run's own.
fn replay(arguments: &Arguments, folder: &mut RunFolder) -> Result<(), AnyError> {
    let home = folder.path().join("criterion");
    // an interrupted criterion leaves cut files behind: begin again
    if home.exists() {
        std::fs::remove_dir_all(&home)
            .map_err(|error| format!("{}: cannot be removed: {error}", home.display()))?;
    }
    folder.set_criterion("criterion".into(), arguments.baseline())?;
    baselines::bring_in(arguments, folder, &home)?;
    criterion_process::replay(arguments, folder, &home)?;
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
