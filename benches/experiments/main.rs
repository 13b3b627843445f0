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
//! `--list`, `--test` and `--profile-time` are criterion alone, launching live.

mod arguments;
mod benchmarks;
mod console;
mod criterion_process;

use std::process::ExitCode;

use alpha_flops::backend::cpu::CpuBackend;
use alpha_flops::environment::Platform;
use alpha_flops::experiment::Configuration;
use alpha_flops::record::RunFolder;
use alpha_flops::run::Run;
use alpha_flops::settings::Settings;

use arguments::{Arguments, Mode};
use console::Console;

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let result = match criterion_process::role() {
        Some(role) => benchmarks::run_criterion(role),
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
        Mode::Criterion => criterion_process::run_live(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Result<ExitCode, AnyError> {
    let settings = Settings::of_workspace()?;
    let settings = Settings { verify: settings.verify || arguments.verify, ..settings };
    let console = Console::new();
    console.say(&format!("alpha-flops: {settings}"));
    let mut backend = CpuBackend::new(settings.threads, settings.algorithm)?;
    let platform = Platform::of_cpu();
    console.say(&format!("device: {} (cpu), {}", platform.device, platform.versions()));

    let selected = criterion_process::filter(arguments, configurations(&settings))?;
    criterion_process::check_baseline(arguments, &selected)?;
    let mut run = Run::open(&settings, platform, selected)?;
    console.opened(&run);
    let mut progress = console.progress(&run);
    run.measure(&mut backend, &mut |event| progress.show(&event))?;
    progress.finish();

    replay(arguments, &mut run.folder, &console)?;
    run.folder.finish()?;
    Ok(console.finished(&run))
}

/// Lets criterion have the launches of the run.
fn replay(
    arguments: &Arguments,
    folder: &mut RunFolder,
    console: &Console,
) -> Result<(), AnyError> {
    let home = match &arguments.shared_home {
        Some(home) => home.clone(),
        None => {
            // an interrupted criterion leaves cut files behind: begin again
            let home = folder.path().join("criterion");
            if home.exists() {
                std::fs::remove_dir_all(&home)?;
            }
            home
        }
    };
    let recorded = if arguments.shared_home.is_some() { home.clone() } else { "criterion".into() };
    folder.set_criterion(recorded, arguments.baseline())?;
    criterion_process::replay(arguments, folder, &home, console)
}

/// The configurations that the settings choose, before criterion's filter.
fn configurations(settings: &Settings) -> Vec<Configuration> {
    let chosen = settings.experiments.iter();
    chosen.flat_map(|e| settings.profile.select(e.configurations(settings.resolution))).collect()
}
