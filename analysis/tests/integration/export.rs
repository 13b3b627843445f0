//! The command `export`: what it writes is what was measured, with where that comes from.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fixtures::data_files::archived_target;
use crate::fixtures::{Said, alpha_flops, json, said, stderr_of_failure, stdout, text};

/// A run on a CPU with its launches.
fn run() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/frozen/fixtures/measured/1")
}

/// The rows of `run.json` that were measured.
fn records() -> Vec<Value> {
    let header = std::fs::read(run().join("run.json")).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let all = header["configurations"].as_array().unwrap().clone();
    all.into_iter().filter(|record| !record["outcome"]["summary"].is_null()).collect()
}

#[test]
fn bencher_gets_medians_between_quartiles_and_the_user_what_the_format_cannot_say() {
    let run = run();
    let Said { status, stdout, stderr } =
        said(alpha_flops(["export", text(&run), "--to", "bencher"]));
    assert_eq!(status, 0, "{stderr}");
    let exported: Value = serde_json::from_str(&stdout).unwrap();
    let benchmarks = exported.as_object().unwrap();
    assert_eq!((benchmarks.len(), records().len()), (25, 25));
    for (id, measures) in benchmarks {
        let [value, lower, upper] = ["value", "lower_value", "upper_value"]
            .map(|name| measures["latency"][name].as_f64().unwrap());
        assert!(0.0 < lower && lower <= value && value <= upper, "{id}: {measures}");
    }
    for record in records() {
        let latency = &benchmarks[record["id"].as_str().unwrap()]["latency"];
        assert_eq!(latency["value"].as_f64(), record["outcome"]["summary"]["median_ns"].as_f64());
    }
    assert!(stderr.contains("--testbed") && stderr.contains("host-latency-warm"), "{stderr}");
}

#[test]
fn github_action_benchmark_gets_a_list_whose_entries_name_device_backend_versions_and_protocol() {
    let csv = archived_target().join("2026-11-25t15-38-14z-063f.csv");
    let exported = json(alpha_flops(["export", text(&csv), "--to", "github-action-benchmark"]));
    let entries = exported.as_array().unwrap();
    assert_eq!(entries.len(), 591);
    let first = &entries[0];
    assert_eq!(
        (&first["name"], &first["unit"], &first["value"], &first["range"]),
        (&"A/h=1_w=2_in=100_out=50_k=1".into(), &"ns".into(), &711.0.into(), &"± 15".into())
    );
    let extra = first["extra"].as_str().unwrap();
    let expected = [
        "median of 2000 launches",
        "quartiles: 691 ns, 721 ns",
        "backend: cpu",
        "device: AMD EPYC, 2 threads",
        "gemm 0.19.0",
        "protocol: host-latency-warm, profile standard",
        "source: 2026-11-25t15-38-14z-063f",
    ];
    assert!(expected.iter().all(|expected| extra.contains(expected)), "{extra}");
}

#[test]
fn nvbench_gets_a_state_a_configuration_and_its_launches_in_seconds() {
    let (run, directory) = (run(), tempfile::tempdir().unwrap());
    let out = directory.path().join("exported.json");
    let options = ["--to", "nvbench", "--out", text(&out)];
    stdout(alpha_flops([&["export", text(&run)][..], &options].concat()));
    let root: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(root["meta"]["version"]["json"]["string"], "1.0.0");
    assert_eq!(root["meta"]["alpha-flops"]["backend"], "cpu");
    assert!(root["devices"][0]["name"].as_str().unwrap().ends_with("(cpu)"));
    let mut states = 0;
    for benchmark in root["benchmarks"].as_array().unwrap() {
        for state in benchmark["states"].as_array().unwrap() {
            check_state(state, directory.path());
            states += 1;
        }
    }
    assert_eq!(states, 25);
}

fn check_state(state: &Value, folder: &Path) {
    let summaries = state["summaries"].as_array().unwrap();
    let data = |tag: &str, name: &str| -> String {
        let summary = summaries.iter().find(|summary| summary["tag"] == tag).unwrap();
        let data = summary["data"].as_array().unwrap();
        data.iter().find(|d| d["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
    };
    let samples = "nv/json/bin:nv/cold/sample_times";
    let bytes = std::fs::read(folder.join(data(samples, "filename"))).unwrap();
    let mut seconds: Vec<f64> = bytes
        .chunks_exact(4)
        .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
        .collect();
    assert_eq!(data(samples, "size"), seconds.len().to_string());
    seconds.sort_by(f64::total_cmp);
    for (tag, expected) in [("min", seconds[0]), ("max", seconds[seconds.len() - 1])] {
        let got: f64 = data(&format!("nv/cold/time/gpu/{tag}"), "value").parse().unwrap();
        // 32-bit floats have 24 bits
        assert!((got / expected - 1.0).abs() < 1e-6, "{tag}: {got} {expected}");
    }
}

#[test]
fn what_is_no_measurement_or_has_no_file_to_go_to_is_refused() {
    let simulated = run().join("../../simulated/before-1");
    let error = stderr_of_failure(alpha_flops(["export", text(&simulated), "--to", "bencher"]));
    assert!(error.contains("SIMULATED") && error.contains("as measurements"), "{error}");
    let said = said(alpha_flops(["export", text(&run()), "--to", "nvbench"]));
    assert!(said.status == 2 && said.stderr.contains("--out"), "{}", said.stderr);
}

#[cfg(unix)]
#[test]
fn samples_are_not_written_through_a_link() {
    let (elsewhere, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let out = directory.path().join("exported.json");
    let link = directory.path().join("exported.json-bin");
    std::os::unix::fs::symlink(elsewhere.path(), link).unwrap();
    let options = ["--to", "nvbench", "--out", text(&out)];
    let error = stderr_of_failure(alpha_flops([&["export", text(&run())][..], &options].concat()));
    assert!(error.contains("exported.json-bin") && error.contains("a link or a file"), "{error}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert!(!out.exists());
}
