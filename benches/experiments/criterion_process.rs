//! The child process that is criterion: what it is told, and what of its output is shown.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use alpha_flops::experiment::Configuration;
use alpha_flops::record::{RecordError, RunFolder};

use crate::AnyError;
use crate::arguments::Arguments;
use crate::console::Console;

/// Set for the child alone.
const ROLE: &str = "CRITERION_ROLE_OF_ALPHA_FLOPS";

/// What a child does when criterion calls a benchmark.
pub enum Role {
    /// Launch.
    Live,
    /// Replay what the run in this folder has.
    Replay(PathBuf),
}

/// The role of this process; `None` in the parent.
pub fn role() -> Option<Role> {
    let role = std::env::var_os(ROLE)?;
    Some(if role == "live" { Role::Live } else { Role::Replay(role.into()) })
}

fn child(role: &std::ffi::OsStr) -> Result<Command, AnyError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, role);
    Ok(command)
}

/// `--list`, `--test` and the like: criterion as it is, in full view.
pub fn run_live(arguments: &Arguments) -> Result<ExitCode, AnyError> {
    let status = child("live".as_ref())?.args(&arguments.for_criterion).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The configurations that pass criterion's filter, by criterion's own word.
pub fn filter(
    arguments: &Arguments,
    configurations: Vec<Configuration>,
) -> Result<Vec<Configuration>, AnyError> {
    let output = child("live".as_ref())?
        .args(["--bench", "--list", "--format", "terse"])
        .args(&arguments.filter)
        .output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let reason = message.lines().find(|line| line.contains("Unable to parse"));
        return Err(reason.unwrap_or(message.trim()).to_owned().into());
    }
    let listed = String::from_utf8(output.stdout)?;
    let listed: HashSet<&str> =
        listed.lines().filter_map(|line| line.strip_suffix(": benchmark")).collect();
    Ok(configurations.into_iter().filter(|c| listed.contains(c.id().as_str())).collect())
}

/// Criterion would look for the baseline only when everything is measured.
pub fn check_baseline(arguments: &Arguments, selected: &[Configuration]) -> Result<(), AnyError> {
    let (Some(home), Some(name)) = (&arguments.shared_home, &arguments.baseline_needed) else {
        return Ok(());
    };
    match selected.iter().map(Configuration::id).find(|id| !home.join(id).join(name).is_dir()) {
        Some(id) => Err(format!(
            "{id} has no baseline `{name}` in {}; measure one first with `--save-baseline \
             {name}`, or compare where there is one with `--baseline-lenient {name}`",
            home.display()
        )
        .into()),
        None => Ok(()),
    }
}

/// Criterion's statistics over the launches of a run. Its output goes to `criterion.log` in the
/// run's folder, and is shown only where it was asked for.
pub fn replay(
    arguments: &Arguments,
    folder: &RunFolder,
    home: &Path,
    console: &Console,
) -> Result<(), AnyError> {
    let measured = folder.header().plan.ids.len();
    let progress = console.criterion_progress(measured as u64);
    let log_path = folder.path().join("criterion.log");
    let log_error = |source| RecordError::Io { path: log_path.clone(), source };
    let mut log = File::create(&log_path).map_err(log_error)?;
    let start = Instant::now();
    let mut process = child(folder.path().as_os_str())?
        .args(&arguments.for_criterion)
        .env("CRITERION_HOME", std::path::absolute(home)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
        return Err("criterion's output was not piped".into());
    };
    let errors = std::thread::spawn(move || complaints(stderr));
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        writeln!(log, "{line}").map_err(log_error)?;
        if line.contains("time:   [") {
            progress.inc(1);
        }
        if arguments.show_criterion {
            progress.suspend(|| console.say(&line));
        }
    }
    let status = process.wait()?;
    let errors = errors.join().map_err(|_| "reading criterion's errors failed")??;
    progress.finish_and_clear();
    for line in &errors {
        writeln!(log, "{line}").map_err(log_error)?;
        console.warn(line);
    }
    if !status.success() {
        let log = log_path.display();
        return Err(format!(
            "criterion ended with {status}, its output is in {log}; what was measured is safe: \
             free some space, if that is what it lacks, and repeat the command to resume"
        )
        .into());
    }
    console.criterion_cost(measured, start.elapsed());
    Ok(())
}

/// What criterion says on standard error beside its progress and one inevitable warning: of every
/// benchmark with one iteration a sample it says that it is "unable to complete" the samples in the
/// measurement time, whatever that time is. Here one iteration a sample is the point.
fn complaints(stderr: impl Read) -> std::io::Result<Vec<String>> {
    let mut kept = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let line = line?;
        let expected =
            line.starts_with("Benchmarking ") || line.starts_with("Warning: Unable to complete ");
        if !line.is_empty() && !expected {
            kept.push(line);
        }
    }
    Ok(kept)
}
