use std::fs;
use std::path::{Path, PathBuf};

use alpha_flops_analysis::dataset::Dataset;
use alpha_flops_analysis::fit::Sample;
use alpha_flops_analysis::import;
use alpha_flops_analysis::model::{FlopConvention, KernelTerm};
use alpha_flops_analysis::run::Run;

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
