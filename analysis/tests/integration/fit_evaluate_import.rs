//! The commands `fit`, `evaluate` and `import asperti`, run as a user runs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::fixtures::data_files::asperti_like;
use crate::fixtures::{alpha_flops, json, stderr_of_failure, stdout, text};

/// The made-up pickle as a dataset in a folder of its own.
fn imported() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let dataset = directory.path().join("data.csv");
    let pickle = asperti_like();
    stdout(alpha_flops(["import", "asperti", text(&pickle), "--out", text(&dataset)]));
    (directory, dataset)
}

#[test]
fn fit_evaluate_and_import_work_together() {
    let (directory, dataset) = imported();
    let coefficients = directory.path().join("coefficients.json");
    let fit = ["fit", text(&dataset), "--s-k", "side", "--flops", "two-per-mac"];
    let table = stdout(alpha_flops(fit).args(["--out", text(&coefficients)]));
    insta::assert_snapshot!("fit_table", table);
    let fitted = json(alpha_flops(fit).args(["--format", "json"]));

    // CSV has every digit, in columns that a standard error has of its own
    let csv = stdout(alpha_flops(fit).args(["--format", "csv"]));
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    let headers = csv.headers().unwrap().clone();
    let row = csv.records().next().unwrap().unwrap();
    for key in ["beta", "gamma", "final", "rmse_ms"] {
        let column = headers.iter().position(|header| header == key).unwrap();
        assert_eq!(row[column].parse::<f64>().unwrap(), fitted["k_equal_1"][key]);
    }

    let evaluate = ["evaluate", text(&dataset), "--coefficients", text(&coefficients)];
    insta::assert_snapshot!("evaluate_table", stdout(alpha_flops(evaluate)));
    let csv = stdout(alpha_flops(evaluate).args(["--format", "csv"]));
    assert!(csv.starts_with("experiment,series,n,rmse_ms,nrmse_range_percent,"), "{csv}");
    let evaluation = json(alpha_flops(evaluate).args(["--format", "json"]));
    assert_eq!(evaluation["in_sample"], true);
    // the file carries the very coefficients: squared errors of both groups add up to all
    let squares = |group: &str| {
        fitted[group]["n"].as_f64().unwrap() * fitted[group]["rmse_ms"].as_f64().unwrap().powi(2)
    };
    let overall = &evaluation["overall"];
    let all = overall["n"].as_f64().unwrap() * overall["rmse_ms"].as_f64().unwrap().powi(2);
    assert!((all / (squares("k_equal_1") + squares("k_above_1")) - 1.0).abs() < 1e-9);
}

#[test]
fn mistakes_are_explained_on_standard_error() {
    let (directory, dataset) = imported();
    let wrong = directory.path().join("wrong.csv");
    let content = std::fs::read_to_string(&dataset).unwrap();
    std::fs::write(&wrong, content.replacen("500000", "-5", 1)).unwrap();
    let fit = |file: &Path| {
        stderr_of_failure(alpha_flops(["fit", text(file), "--s-k", "area", "--flops", "macs"]))
    };
    assert!(fit(&wrong).contains("wrong.csv:6: mean_ns is -5, expected a finite number above 0"));
    assert!(fit(Path::new("absent.csv")).contains("cannot read absent.csv"));
    let evaluate = ["evaluate", text(&dataset), "--coefficients", "absent.json"];
    let error = stderr_of_failure(alpha_flops(evaluate));
    assert!(error.contains("published-t2000") && error.contains("absent.json"), "{error}");
    let out = directory.path().join("absent/data.csv");
    let pickle = asperti_like();
    let import = ["import", "asperti", text(&pickle), "--out", text(&out)];
    assert!(stderr_of_failure(alpha_flops(import)).contains("absent/data.csv"));
}

#[test]
fn an_error_that_nobody_reads_is_no_panic() {
    let mut child = alpha_flops(["evaluate", "absent.csv", "--coefficients", "published-t2000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (_directory, dataset) = imported();
    let mut child = alpha_flops(["evaluate", text(&dataset), "--coefficients", "published-t2000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}
