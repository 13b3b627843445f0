//! The child process that is criterion: how it is started, and what of its output is shown.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::backend::BackendKind;
use crate::experiment::Configuration;
use crate::file_error::FileError;
use crate::files;
use crate::host::leave_without_waiting;
use crate::record::{RunFolder, hinted};
use crate::terminal::{self, Stream};
use crate::workspace;

use super::arguments::{Arguments, Mode};
use super::{AnyError, console};

/// Environment variable that tells the child its role.
const ROLE: &str = "CRITERION_ROLE_OF_ALPHA_FLOPS";

/// What a child does when criterion calls a benchmark.
pub enum Role {
    /// Nothing: criterion lists, or compares what it has on disk.
    Idle,
    Live,
    /// Replay the launches of the run in this folder.
    Replay(PathBuf),
}

/// The role of this process; the parent has none.
pub fn role() -> Option<Role> {
    let role = std::env::var_os(ROLE)?;
    Some(match role.to_str() {
        Some("idle") => Role::Idle,
        Some("live") => Role::Live,
        _ => Role::Replay(role.into()),
    })
}

/// Ends this child when its parent ends: an orphan would go on measuring beside the resumed run, or writing
/// into its folder. The parent holds the other end of standard input and never writes to it, so reading
/// ends when the parent does, however it ends.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        // at once: what a device still has to do may take long
        leave_without_waiting(1);
        std::process::exit(1);
    });
}

/// Starts a child. The caller keeps the pipe until the child has ended: dropping it ends the child, and
/// waiting for the child would drop it.
fn start(command: &mut Command) -> std::io::Result<(Child, Option<ChildStdin>)> {
    let mut process = command.spawn()?;
    let alive = process.stdin.take();
    Ok((process, alive))
}

/// A thread that passes on what a child prints.
fn passing_on(from: impl Read + Send + 'static, to: Stream) -> JoinHandle<std::io::Result<()>> {
    std::thread::spawn(move || to.pass_on(from))
}

/// Criterion, as this process starts it.
pub struct Criterion<'a> {
    pub arguments: &'a Arguments,
    /// The chosen backend: defaults depend on it, and children must have the same.
    backend: &'static BackendKind,
    runs: &'a Path,
}

impl<'a> Criterion<'a> {
    pub fn new(arguments: &'a Arguments, backend: &'static BackendKind, runs: &'a Path) -> Self {
        Self { arguments, backend, runs }
    }

    /// Where criterion works unless a run has a folder for it.
    fn home(&self) -> PathBuf {
        let set = self.arguments.criterion_home.clone();
        set.unwrap_or_else(|| workspace::criterion_home(self.runs))
    }

    /// Where results of several runs meet, if this run shares any.
    pub fn shared_home(&self) -> Option<PathBuf> {
        self.arguments.shares_baselines().then(|| self.home())
    }

    fn child(&self, role: &OsStr, home: &Path) -> Result<Command, AnyError> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .env(ROLE, role)
            .env("CRITERION_HOME", home)
            .env("ALPHA_FLOPS_BACKEND", self.backend.name)
            .stdin(Stdio::piped());
        Ok(command)
    }

    /// Runs criterion with its output shown as it is: `--test`, `--load-baseline` and the like.
    pub fn run_alone(&self) -> Result<ExitCode, AnyError> {
        let role = if self.arguments.mode == Mode::Launch { "live" } else { "idle" };
        let mut command = self.child(role.as_ref(), &self.home())?;
        // criterion panics where nobody reads what it prints; a terminal it gets for itself, to overwrite lines
        let stdio = |stream: Stream| match stream.is_terminal() {
            true => stream.stdio(),
            false => Stdio::piped(),
        };
        command.stdout(stdio(Stream::Output)).stderr(stdio(Stream::Error));
        let (mut process, _alive) = start(command.args(&self.arguments.for_criterion))?;
        let output = process.stdout.take().map(|from| passing_on(from, Stream::Output));
        let errors = process.stderr.take().map(|from| passing_on(from, Stream::Error));
        let status = process.wait()?;
        for thread in [output, errors].into_iter().flatten() {
            thread.join().map_err(|_| "reading criterion's output failed")??;
        }
        Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What criterion lists for the whole command line. Listing also makes criterion check all of its
    /// arguments, so that a wrong one is found before anything is measured.
    pub fn list(&self) -> Result<String, AnyError> {
        let arguments = self.arguments;
        // `--test` and `--profile-time` exclude `--list`; criterion will check those on its own
        let given = match arguments.mode {
            Mode::Launch => &arguments.filter,
            Mode::Measure | Mode::List | Mode::Compare => &arguments.for_criterion,
        };
        let mut command = self.child("idle".as_ref(), &self.home())?;
        command.env("RUST_BACKTRACE", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
        if arguments.mode != Mode::List {
            command.arg("--list");
        }
        let (process, _alive) = start(command.args(given))?;
        let output = process.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(complaint(&String::from_utf8_lossy(&output.stderr)).into())
    }

    /// The configurations that criterion lists, so those that pass its filter.
    pub fn filter(
        &self,
        configurations: Vec<Configuration>,
    ) -> Result<Vec<Configuration>, AnyError> {
        let listed = self.list()?;
        let listed: HashSet<&str> =
            listed.lines().filter_map(|line| line.strip_suffix(": benchmark")).collect();
        Ok(configurations.into_iter().filter(|c| listed.contains(c.id().as_str())).collect())
    }

    /// Has criterion compute its statistics over the launches of a run. Its output goes to
    /// `criterion.log` in the run's folder, and is shown only if the user asked for it.
    pub fn replay(&self, folder: &RunFolder, home: &Path) -> Result<(), AnyError> {
        let measured = folder.header().plan.ids.len();
        let progress = console::criterion_progress(measured as u64);
        let log_path = folder.path().join("criterion.log");
        let log_error = |error| hinted(FileError::write(&log_path, error));
        let mut log = files::open_log(&log_path).map_err(hinted)?;
        let begun = Instant::now();
        let mut command = self.child(folder.path().as_os_str(), &std::path::absolute(home)?)?;
        command.args(&self.arguments.for_criterion).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut process, _alive) = start(&mut command)?;
        let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            return Err("criterion's output was not piped".into());
        };
        let errors = std::thread::spawn(move || complaints(stderr));
        let mut unwritten = None;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            writeln!(log, "{line}").map_err(log_error)?;
            unwritten = unwritten.or_else(|| file_error(&line).map(str::to_owned));
            if line.contains("time:   [") {
                progress.inc(1);
            }
            if self.arguments.show_criterion {
                progress.suspend(|| terminal::say(&line));
            }
        }
        let status = process.wait()?;
        let errors = errors.join().map_err(|_| "reading criterion's errors failed")??;
        progress.finish_and_clear();
        for line in &errors {
            writeln!(log, "{line}").map_err(log_error)?;
            terminal::remark(line);
        }
        if !status.success() || unwritten.is_some() {
            let how = unwritten.unwrap_or_else(|| format!("it ended with {status}"));
            let log = log_path.display();
            return Err(format!(
                "criterion failed: {how}; its output is in {log}\nhint: what was measured is safe: free \
                 some space if the disk is full, and repeat the command to resume"
            )
            .into());
        }
        console::criterion_cost(measured, begun.elapsed());
        Ok(())
    }
}

/// What criterion says of a file that it cannot read or write: it leaves out the benchmark then, goes on,
/// and ends as if all were well.
fn file_error(line: &str) -> Option<&str> {
    line.strip_prefix("Criterion.rs ERROR: error: ")
}

/// The message of a panic or of clap in what a child printed before it failed.
fn complaint(stderr: &str) -> String {
    const ENDS: [&str; 4] = ["note: ", "stack backtrace:", "Usage:", "For more information"];
    let lines: Vec<&str> = stderr.lines().collect();
    let position = |of: fn(&str) -> bool| lines.iter().position(|line| of(line));
    let start = position(|line| line.contains("panicked at"))
        .map(|place| place + 1)
        .or_else(|| position(|line| line.starts_with("error: ")))
        .unwrap_or(0);
    let said: Vec<&str> = lines[start..]
        .iter()
        .copied()
        .take_while(|line| !ENDS.iter().any(|end| line.starts_with(end)))
        .collect();
    let said = said.join("\n");
    let said = said.trim().trim_start_matches("error: ");
    match said.strip_prefix("assertion failed: ") {
        Some(expected) => format!("criterion refuses its arguments: expected {expected}"),
        None => said.to_owned(),
    }
}

/// What criterion prints on standard error besides its progress and one inevitable warning: whatever
/// the measurement time, it is "unable to complete" the samples of a benchmark in it if each has only
/// one iteration, as all have here.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_criterion_cannot_write_is_told_from_its_other_lines() {
        let error = "Failed to access file \"sample.json\": No space left on device";
        assert_eq!(file_error(&format!("Criterion.rs ERROR: error: {error}")), Some(error));
        for line in ["A/h=1  time:   [1 ns 2 ns 3 ns]", "Criterion.rs ERROR: it took zero time", ""]
        {
            assert_eq!(file_error(line), None);
        }
    }
}
