//! Where results go by default, and where a checkout keeps what belongs to it:
//!
//! | | in a checkout | elsewhere |
//! |---|---|---|
//! | runs | `target/alpha-flops` | `alpha-flops-runs` in the current folder |
//! | criterion's baselines | `target/criterion` | `criterion` in the folder of runs |
//! | `bench.toml` | beside `Cargo.toml` | in the current folder |
//! | archived runs | `target-data` | nowhere |
//!
//! All of this is found at run time: nothing depends on where the program was built. This process
//! belongs to the checkout that holds the package cargo runs it for, else to the one around the
//! current folder, else to the one around the program's file. `target` is wherever
//! `cargo metadata` says, so `CARGO_TARGET_DIR` and `build.target-dir` count, and `build.build-dir`
//! and `--target` don't.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;

/// The folder that holds one folder per run, as an absolute path where the system can tell it.
pub fn runs() -> PathBuf {
    match target() {
        Some(target) => target.join("alpha-flops"),
        None => env::current_dir().unwrap_or_default().join("alpha-flops-runs"),
    }
}

/// The folder where criterion's results of several runs meet, given the folder of runs.
pub fn criterion_home(runs: &Path) -> PathBuf {
    target().unwrap_or(runs).join("criterion")
}

/// The file with settings, which need not exist.
pub fn bench_toml() -> PathBuf {
    checkout().unwrap_or(Path::new("")).join("bench.toml")
}

/// The folder of archived runs, one folder per target; there is none outside a checkout.
pub fn archive() -> Option<PathBuf> {
    checkout().map(|root| root.join("target-data"))
}

/// How a user calls the `alpha-flops` program from here.
pub fn program() -> &'static str {
    if checkout().is_some() { "cargo analyze" } else { "alpha-flops" }
}

/// The root of the checkout that this process belongs to.
fn checkout() -> Option<&'static Path> {
    static CHECKOUT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let starts = [package, env::current_dir().ok(), env::current_exe().ok()];
        starts.into_iter().flatten().find_map(|start| root_above(&start))
    };
    CHECKOUT.get_or_init(find).as_deref()
}

fn root_above(start: &Path) -> Option<PathBuf> {
    start.ancestors().find(|folder| is_root(folder)).map(Path::to_owned)
}

/// Whether a folder's `Cargo.toml` is the one of this workspace.
fn is_root(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok();
    let manifest = manifest.and_then(|text| text.parse::<toml::Table>().ok());
    manifest.is_some_and(|manifest| {
        let name = manifest.get("package").and_then(|package| package.get("name"));
        manifest.contains_key("workspace")
            && name.and_then(toml::Value::as_str) == Some(env!("CARGO_PKG_NAME"))
    })
}

/// The checkout's target folder.
fn target() -> Option<&'static Path> {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    let root = checkout()?;
    let find = || target_of_cargo(root).unwrap_or_else(|| root.join("target"));
    Some(TARGET.get_or_init(find))
}

/// The target folder as cargo tells it, where there is a cargo that does.
fn target_of_cargo(root: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut metadata = Command::new(cargo);
    // in the checkout, so that its configuration counts whatever the current folder is
    metadata.current_dir(root).args(["metadata", "--no-deps", "--format-version", "1"]);
    for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
        // relative to the current folder, as for a cargo that is started there
        let folder = env::var_os(variable).and_then(|folder| std::path::absolute(folder).ok());
        metadata.envs(folder.map(|folder| (variable, folder)));
    }
    let output = metadata.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout).ok()?;
    Some(metadata.target_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    #[test]
    fn a_checkout_is_known_by_its_manifest_from_any_folder_within() {
        let root = Path::new(ROOT);
        for within in ["", "src/bench", "analysis", "target/release/deps/program"] {
            assert_eq!(root_above(&root.join(within)).as_deref(), Some(root), "{within}");
        }
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(root_above(elsewhere.path()), None);
        let manifest = elsewhere.path().join("Cargo.toml");
        fs::write(&manifest, "[workspace]\n[package]\nname = \"other\"").unwrap();
        assert_eq!(root_above(elsewhere.path()), None);
        fs::write(&manifest, "not a manifest").unwrap();
        assert_eq!(root_above(elsewhere.path()), None);
    }

    #[test]
    fn results_of_a_checkout_go_where_cargo_has_its_target_folder() {
        let target = target_of_cargo(Path::new(ROOT)).unwrap();
        assert_eq!(runs(), target.join("alpha-flops"));
        assert_eq!(criterion_home(Path::new("runs")), target.join("criterion"));
        assert_eq!(bench_toml(), Path::new(ROOT).join("bench.toml"));
        assert_eq!(archive(), Some(Path::new(ROOT).join("target-data")));
    }
}
