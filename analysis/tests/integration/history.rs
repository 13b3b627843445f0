//! The commands `archive` and `history`, run as a user runs them.

use std::path::{Path, PathBuf};

use crate::fixtures::data_files::archived_target;
use crate::fixtures::{Said, alpha_flops, json, said, stderr_of_failure, stdout, text};

/// The first two runs that were archived, one of them of the oldest schema, in a folder of their own.
fn target(directory: &Path) -> PathBuf {
    let from = archived_target();
    let to = directory.join("cpu-amd-epyc-2-threads");
    std::fs::create_dir(&to).unwrap();
    for run in ["2026-11-23t09-41-37z-a778", "2026-11-25t13-02-46z-46de"] {
        for extension in ["csv", "environment.json"] {
            let name = format!("{run}.{extension}");
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
    to
}

#[test]
fn the_history_of_two_runs_reads_like_this() {
    let directory = tempfile::tempdir().unwrap();
    let (target, figures) = (target(directory.path()), directory.path().join("figures"));
    let table = stdout(alpha_flops(["history", text(&target), "--out", text(&figures)]));
    insta::assert_snapshot!(table);
    for extension in ["svg", "png"] {
        assert!(figures.join(format!("history-host-latency-warm.{extension}")).is_file());
    }
    let json = json(alpha_flops(["history", text(&target), "--format", "json"]));
    let trend = &json["timelines"][0]["trends"][0];
    assert_eq!(
        (&trend["experiment"], &trend["steps"]["status"]),
        (&"all".into(), &"too_few".into())
    );
    assert_eq!(trend["ratios"][1]["configurations"], 591);
}

#[test]
fn what_is_no_target_and_no_run_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let folder = text(directory.path());
    let error = stderr_of_failure(alpha_flops(["history", "no-such-target"]));
    assert!(error.contains("no-such-target: no such target"), "{error}");
    let error = stderr_of_failure(alpha_flops(["history", folder]));
    assert!(error.contains("no runs in"), "{error}");
    let error = stderr_of_failure(alpha_flops(["archive", folder, folder, "--into", folder]));
    assert_eq!(error.matches("run.json").count(), 2, "each is named: {error}");
}

#[test]
fn one_unreadable_run_is_left_out_with_a_warning_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let target = target(directory.path());
    let damaged = target.join("2026-11-23t09-41-37z-a778.csv");
    let content = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &content[..content.len() / 2]).unwrap();
    let Said { status, stdout, stderr } =
        said(alpha_flops(["history", text(&target), "--format", "json"]));
    assert_eq!(status, 0, "{stderr}");
    assert!(
        stderr.starts_with("warning: ") && stderr.contains("23t09-41-37z-a778.csv"),
        "{stderr}"
    );
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["skipped"].as_array().unwrap().len(), 1);
    assert_eq!(json["skipped"][0]["path"], text(&damaged));
    assert_eq!(json["timelines"][0]["runs"].as_array().unwrap().len(), 1);
}
