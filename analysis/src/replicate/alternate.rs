//! Two builds that take turns: two programs, two folders of libraries, or two states of the machine, each
//! brought about by a shell command.
//!
//! Runs come in pairs, and the pairs are mirrored: A B, B A, A B, … What changes linearly with time adds to
//! B − A in one pair what it takes away in the next, and cancels over an even number of pairs (Cox 1951,
//! "Some systematic experimental designs", Biometrika 38). In A B, A B, … it would add to every pair. The
//! runs of a pair have the same seed and so the same order, whose effect cancels, too.

use std::env;
use std::fmt;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use alpha_flops::bench::SIDE;
use alpha_flops::choice::choices;
use alpha_flops::record::program_stamp;
use alpha_flops::terminal::Stream;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ReplicateError, this_program};

/// Begins a shell command among builds.
const SHELL: &str = "sh:";
/// Where the loader looks for libraries.
const LIBRARY_PATH: &str = match (cfg!(windows), cfg!(target_os = "macos")) {
    (true, _) => "PATH",
    (_, true) => "DYLD_LIBRARY_PATH",
    _ => "LD_LIBRARY_PATH",
};

choices! {
    /// One of two sides.
    #[allow(missing_docs, reason = "the names say it")]
    #[derive(Serialize, Deserialize)]
    pub enum RunSide {
        A = "A",
        B = "B",
    }
}

/// What distinguishes a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Build {
    /// This program measures; the stamp tells it from one that was built there later.
    Program { path: PathBuf, stamp: String },
    /// The loader looks for libraries here first.
    Libraries(PathBuf),
    /// A shell runs this before each run.
    Command(String),
}

/// Both sides of a series, A first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Builds([Build; 2]);

/// Why two builds cannot take turns.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum AlternateError {
    #[error("--alternate `{build}`: {reason}")]
    Unusable { build: String, reason: String },
    #[error(
        "--alternate {a} and {b}: they are of different kinds\nhint: give two programs, two folders of \
         libraries, or two shell commands (sh:COMMAND)"
    )]
    Kinds { a: String, b: String },
    #[error(
        "--alternate needs --runs 2 or more\nhint: five pairs can confirm three or more changes, seven \
         pairs a single one"
    )]
    OnePair,
    #[error(
        "{side}: the command ended with {status}\nhint: what was measured is kept; repeat the command to \
         resume"
    )]
    Command { side: String, status: ExitStatus },
    #[error("{side}: it cannot measure: {reason}")]
    Refused { side: String, reason: String },
    #[error("A and B are not comparable: {}", differences.join("; "))]
    NotComparable { differences: Vec<String> },
    #[error(
        "{}: the record is of side `{found}`, expected `{expected}`\nhint: build that program again, from a \
         commit that has --alternate", run.display()
    )]
    OtherSide { run: PathBuf, found: String, expected: String },
}

impl RunSide {
    /// That of the run at an index of a series: A B B A and so on.
    pub fn of(index: usize) -> Self {
        match index % 4 {
            0 | 3 => Self::A,
            _ => Self::B,
        }
    }
}

impl Build {
    fn parse(text: &str) -> Result<Self, AlternateError> {
        let unusable = |reason: String| AlternateError::Unusable { build: text.to_owned(), reason };
        if let Some(command) = text.strip_prefix(SHELL).map(str::trim) {
            return match command {
                "" => Err(unusable(format!("expected a command after {SHELL}"))),
                command => Ok(Self::Command(command.to_owned())),
            };
        }
        let path = std::path::absolute(text).unwrap_or_else(|_| text.into());
        match fs::metadata(&path) {
            Ok(folder) if folder.is_dir() => match has_library(&path) {
                true => Ok(Self::Libraries(path)),
                false => Err(unusable("the folder has no shared library".to_owned())),
            },
            Ok(_) => {
                check_program(&path).map_err(unusable)?;
                Ok(Self::Program { stamp: program_stamp(&path), path })
            }
            Err(error) => Err(unusable(format!(
                "neither a program nor a folder: {error}\nhint: {SHELL}COMMAND is run by a shell before \
                 each run"
            ))),
        }
    }
}

fn has_library(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // `libcudnn.so.9`, too
    let is_library =
        |name: &str| name.split('.').any(|part| ["so", "dylib", "dll"].contains(&part));
    names.into_iter().any(|name| is_library(&name))
}

/// Whether a file is an `alpha-flops` that writes sides into its records; else the reason why not.
fn check_program(path: &Path) -> Result<(), String> {
    let answer = |arguments: &[&str]| {
        let output = Command::new(path).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("cannot start it: {error}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if !answer(&["--version"])?.starts_with("alpha-flops ") {
        return Err("it is no alpha-flops program: its --version says something else".to_owned());
    }
    match answer(&["replicate", "--help"])?.contains("--alternate") {
        true => Ok(()),
        false => Err(
            "it has no --alternate, so its records would not say which side they are of\nhint: \
                      build it from a commit that has it"
                .to_owned(),
        ),
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { path, .. } => write!(f, "program {}", path.display()),
            Self::Libraries(folder) => write!(f, "libraries in {}", folder.display()),
            Self::Command(command) => write!(f, "after `{command}`"),
        }
    }
}

impl Builds {
    /// A and B, as users name them.
    ///
    /// # Errors
    /// [`AlternateError`] where one cannot be used, or they are of different kinds.
    pub fn parse(a: &str, b: &str) -> Result<Self, AlternateError> {
        let builds = [Build::parse(a)?, Build::parse(b)?];
        let [kind_of_a, kind_of_b] = builds.each_ref().map(std::mem::discriminant);
        match kind_of_a == kind_of_b {
            true => Ok(Self(builds)),
            false => Err(AlternateError::Kinds { a: a.to_owned(), b: b.to_owned() }),
        }
    }

    /// `A: program /builds/old/alpha-flops`, as records have it.
    pub fn label(&self, side: RunSide) -> String {
        format!("{side}: {}", self.0[side as usize])
    }

    /// Checks that both sides would measure the same configurations.
    ///
    /// # Errors
    /// [`ReplicateError`] where one cannot be started or refuses, or they would not.
    pub fn check(&self, arguments: &[String]) -> Result<(), ReplicateError> {
        let [a, b] = [self.list(RunSide::A, arguments)?, self.list(RunSide::B, arguments)?];
        if a == b {
            return Ok(());
        }
        let of = |list: &str| list.lines().count();
        let differences = vec![format!("configurations: {} against {}", of(&a), of(&b))];
        Err(AlternateError::NotComparable { differences }.into())
    }

    fn list(&self, side: RunSide, arguments: &[String]) -> Result<String, ReplicateError> {
        let mut command = self.command(side)?;
        command.args(["bench", "--list"]).args(arguments).stdin(Stdio::null());
        let output = command.output().map_err(ReplicateError::Start)?;
        let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(said(output.stdout)),
            false => {
                let reason = said(output.stderr);
                Err(AlternateError::Refused { side: self.label(side), reason }.into())
            }
        }
    }

    /// What starts `alpha-flops` as that side has it, whose shell command has been run if it has one.
    pub(super) fn command(&self, side: RunSide) -> Result<Command, ReplicateError> {
        let mut command = match &self.0[side as usize] {
            Build::Program { path, .. } => Command::new(path),
            Build::Libraries(folder) => {
                let mut command = this_program()?;
                command.env(LIBRARY_PATH, with_libraries(folder)?);
                command
            }
            Build::Command(text) => {
                // what it prints is no result
                let mut shell = Command::new("sh");
                shell.args(["-c", text]).stdin(Stdio::null()).stdout(Stream::Error.stdio());
                let status = shell.status().map_err(ReplicateError::Start)?;
                if !status.success() {
                    return Err(AlternateError::Command { side: self.label(side), status }.into());
                }
                this_program()?
            }
        };
        command.env(SIDE, self.label(side));
        Ok(command)
    }
}

/// The loader's search path with `folder` before all others.
fn with_libraries(folder: &Path) -> Result<std::ffi::OsString, AlternateError> {
    let others = env::var_os(LIBRARY_PATH).filter(|others| !others.is_empty());
    let others = others.iter().flat_map(env::split_paths);
    let folders = iter::once(folder.to_owned()).chain(others);
    env::join_paths(folders).map_err(|error| AlternateError::Unusable {
        build: folder.display().to_string(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests;
