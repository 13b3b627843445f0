//! Tells the library what it was built by and from: part of every record's environment.

use std::process::Command;

fn main() {
    // sources too: whether the tree has changes that are not committed changes with them
    for path in ["build.rs", "src", "benches", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    // written by every commit and checkout
    if let Some(log) = output("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let unknown = || "unknown".to_owned();
    let commit = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    for (name, value) in [
        ("BUILT_BY_RUSTC", output(&rustc, &["--version"])),
        ("BUILT_FOR_TARGET", std::env::var("TARGET").ok()),
        ("BUILT_FROM_COMMIT", output("git", &commit)),
    ] {
        println!("cargo::rustc-env={name}={}", value.unwrap_or_else(unknown));
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
