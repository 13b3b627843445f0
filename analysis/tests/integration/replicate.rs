//! `replicate`, interrupted: what was measured is neither lost, nor measured twice, nor mixed up.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use alpha_flops::files::try_lock;

use crate::fixtures::{alpha_flops, said, stderr_of_failure};

/// Launches of microseconds.
const SHORT: &str = "^A/h=2_w=2_in=50_out=50_k=1$";
/// Launches of seconds, where nothing is optimised.
const LONG: &str = "^A/h=4_w=4_in=6400_out=6400_k=1$";

fn replicate(runs: &Path, filter: &str) -> Command {
    let mut command = alpha_flops(["replicate", "--no-sweep", filter]);
    command
        .env("ALPHA_FLOPS_RUNS", runs)
        .env("ALPHA_FLOPS_BACKEND", "cpu")
        .env("ALPHA_FLOPS_PROFILE", "smoke")
        .env("ALPHA_FLOPS_EXPERIMENTS", "A");
    command
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_whose_report_could_not_be_made_gets_it_without_being_measured_again() {
    let directory = tempfile::tempdir().unwrap();
    let (runs, file) = (directory.path().join("runs"), directory.path().join("file"));
    std::fs::write(&file, "").unwrap();
    let error = stderr_of_failure(replicate(&runs, SHORT).arg("--out").arg(file.join("report")));
    assert!(error.contains("file/report"), "{error}");
    let again = said(replicate(&runs, SHORT));
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(
        again.stderr.contains("its report was not finished: it is made now"),
        "{}",
        again.stderr
    );
    let [run] = &entries(&runs)[..] else { panic!("{:?}, expected one run", entries(&runs)) };
    assert!(run.join("report/report.md").is_file());
}

#[test]
fn benchmarks_end_with_the_process_that_started_them_and_meanwhile_no_other_one_measures_the_same()
{
    let directory = tempfile::tempdir().unwrap();
    let runs = directory.path();
    let mut first =
        replicate(runs, LONG).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = wait_for("a run begins", || {
        let is_run = |path: &PathBuf| path.join("run.json").exists();
        entries(runs).into_iter().find(is_run)
    });
    let lock = run.join("lock");
    let is_free = || try_lock(&lock).unwrap();
    assert!(is_free().is_none());
    let error = stderr_of_failure(replicate(runs, LONG));
    assert!(error.contains("another `alpha-flops replicate` works on the same"), "{error}");
    assert!(is_free().is_none(), "the first went on");
    first.kill().unwrap();
    first.wait().unwrap();
    wait_for("the benchmarks end, too", is_free);
    let is_run = |path: &PathBuf| path.is_dir();
    assert_eq!(entries(runs).into_iter().filter(is_run).count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_of_runs_whose_name_is_not_utf_8_is_refused_before_anything_is_measured() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let runs = directory.path().join(OsStr::from_bytes(b"r\xff"));
    let error = stderr_of_failure(replicate(&runs, SHORT));
    assert!(error.contains("the path is not UTF-8"), "{error}");
    assert!(!runs.exists());
}
