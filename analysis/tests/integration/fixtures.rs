//! What tests share: the command, and what they give to it or to the library.

use std::borrow::BorrowMut;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

pub mod data_files;
pub mod datasets;
pub mod estimates;
pub mod launches;
pub mod proportional;
pub mod random;
pub mod runs;

/// The command `alpha-flops`, to be run as a user runs it.
pub fn alpha_flops(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alpha-flops"));
    command.args(arguments);
    command
}

/// What a command printed, and its exit status.
pub struct Said {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn said(mut command: impl BorrowMut<Command>) -> Said {
    let output = command.borrow_mut().output().unwrap();
    Said {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn stdout(command: impl BorrowMut<Command>) -> String {
    let Said { status, stdout, stderr } = said(command);
    assert_eq!(status, 0, "{stderr}");
    stdout
}

pub fn json(command: impl BorrowMut<Command>) -> Value {
    serde_json::from_str(&stdout(command)).unwrap()
}

pub fn stderr_of_failure(command: impl BorrowMut<Command>) -> String {
    let Said { status, stdout, stderr } = said(command);
    assert_eq!(status, 1, "{stdout}");
    stderr
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Equal to a golden value but for rounding: sums of a hundred numbers in another order, and another libm
/// and Student's t quantile.
pub fn assert_close(got: f64, expected: f64, what: &str) {
    let tolerance = 1e-9 * expected.abs().max(1e-3);
    assert!((got - expected).abs() <= tolerance, "{what}: {got}, expected {expected}");
}
