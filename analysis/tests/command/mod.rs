//! The command `alpha-flops`, run as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

pub fn alpha_flops(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_alpha-flops")).args(arguments).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr_of_failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
