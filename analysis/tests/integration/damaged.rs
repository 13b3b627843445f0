use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use alpha_flops_analysis::dataset::Dataset;
use alpha_flops_analysis::fit::Sample;
use alpha_flops_analysis::import;
use alpha_flops_analysis::model::{FlopConvention, KernelTerm};
use alpha_flops_analysis::run::Run;

use crate::fixtures::data_files::archived_target;
use crate::fixtures::{alpha_flops, stderr_of_failure, text};

#[cfg(unix)]
#[test]
fn pipes_and_devices_in_place_of_files_are_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let pipe = |name: &str| {
        let made = Command::new("mkfifo").arg(at(name)).status().unwrap();
        assert!(made.success());
    };
    for name in ["d.csv", "d.parquet", "coefficients.json", "data.pickle"] {
        pipe(name);
    }
    fs::create_dir(at("run")).unwrap();
    pipe("run/run.json");
    fs::create_dir(at("sweep")).unwrap();
    pipe("sweep/sweep.json");
    std::os::unix::fs::symlink("/dev/zero", at("zero.csv")).unwrap();
    let data = archived_target().join("2026-11-25t15-38-14z-063f.csv");
    let [csv, parquet, coefficients, pickle, run, sweep, zero] =
        ["d.csv", "d.parquet", "coefficients.json", "data.pickle", "run", "sweep", "zero.csv"]
            .map(at);
    let out = at("out.csv");
    let published = "--coefficients=published-t2000";
    for arguments in [
        vec!["evaluate", text(&csv), published],
        vec!["evaluate", text(&parquet), published],
        vec!["evaluate", text(&zero), published],
        vec!["evaluate", text(&data), "--coefficients", text(&coefficients)],
        vec!["variance", text(&run)],
        vec!["import", "sweep", text(&sweep), "--out", text(&out)],
        vec!["import", "asperti", text(&pickle), "--out", text(&out)],
    ] {
        let error = stderr_of_failure(alpha_flops(arguments));
        assert!(error.contains("it is a device or a pipe, expected a file"), "{error}");
    }
}

/// Files that made the Parquet library panic, abort, loop or take gigabytes; they stand beside few
/// checkouts.
fn collected(folder: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hostile").join(folder);
    let Ok(entries) = fs::read_dir(&path) else {
        println!("skipped: {} is missing", path.display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// What is wrong with a dataset, which a fit must refuse for the same reason.
fn refused(path: &Path) -> String {
    let error = Dataset::read(path).unwrap_err().to_string();
    let fit = Sample::read(path, KernelTerm::Side, FlopConvention::Macs).unwrap_err();
    assert_eq!(fit.to_string(), error);
    error
}

#[test]
fn collected_datasets_are_refused_by_name() {
    for folder in ["10-parquet", "11-parquet-hang"] {
        for path in collected(folder) {
            let error = refused(&path);
            assert!(error.contains(&*path.file_name().unwrap().to_string_lossy()), "{error}");
        }
    }
    for path in collected("14-bombs") {
        if path.is_file() {
            let error = refused(&path);
            assert!(error.contains("dataset.parquet"), "{error}");
        }
    }
}

#[test]
fn collected_runs_and_sweeps_are_refused_by_name() {
    let mut runs = collected("12-launches");
    runs.extend(collected("14-bombs").into_iter().filter(|path| path.is_dir()));
    for run in runs {
        let of = |run: Run| run.map_launches(|_, latencies| latencies.ns.len());
        let error = Run::open(&run).and_then(of).unwrap_err().to_string();
        assert!(error.contains("launches.parquet"), "{}: {error}", run.display());
    }
    for sweep in collected("13-sweep-parts") {
        let error = import::sweep::read(&sweep).unwrap_err().to_string();
        assert!(error.contains(".parquet: "), "{}: {error}", sweep.display());
    }
    for parts in collected("15-part-name").iter().filter(|path| path.ends_with("parts")) {
        let error = import::sweep::read(parts.parent().unwrap()).unwrap_err().to_string();
        assert!(error.contains("4294967294.parquet: it is not named as parts"), "{error}");
    }
}
