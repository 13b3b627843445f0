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

#[test]
fn a_check_of_few_runs_gives_no_verdict_and_newest_runs_and_configurations_can_be_chosen() {
    let directory = tempfile::tempdir().unwrap();
    let target = target(directory.path());
    let Said { status, stdout, .. } = said(alpha_flops(["history", text(&target), "--check"]));
    assert_eq!(status, 2, "{stdout}");
    assert!(stdout.contains("no verdict: too few runs of all, A, B, C, D, E, F, G"), "{stdout}");
    // errors of a check are not mistaken for something that got slower
    assert_eq!(said(alpha_flops(["history", "no-such-target", "--check"])).status, 2);
    assert_eq!(said(alpha_flops(["history", text(&target), "--threshold", "5%"])).status, 2);
    let options = ["--filter", "^[DG]/", "--last", "1", "--format", "json"];
    let json = json(alpha_flops([&["history", text(&target)][..], &options].concat()));
    assert_eq!((&json["filter"], &json["left_out"]), (&"^[DG]/".into(), &1.into()));
    let timeline = &json["timelines"][0];
    let [run] = &timeline["runs"].as_array().unwrap()[..] else { panic!("{timeline}") };
    assert_eq!(run["run_id"], "2026-11-25t13-02-46z-46de");
    assert_eq!(run["configurations"], 99 + 27);
    let experiments = timeline["trends"].as_array().unwrap().iter().map(|t| &t["experiment"]);
    assert_eq!(experiments.collect::<Vec<_>>(), ["all", "D", "G"]);
    let error = stderr_of_failure(alpha_flops(["history", text(&target), "--filter", "^X/"]));
    assert!(error.contains("no configuration passes the filter `^X/`"), "{error}");
}

/// Makes all latencies of an archived run longer.
fn slow_down(csv: &Path, factor: f64) {
    let mut reader = csv::Reader::from_path(csv).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).unwrap();
    for record in reader.records().map(Result::unwrap) {
        let slower = header.iter().zip(&record).map(|(name, value)| match value.parse::<f64>() {
            Ok(ns) if name.ends_with("_ns") => (ns * factor).to_string(),
            _ => value.to_owned(),
        });
        writer.write_record(slower).unwrap();
    }
    std::fs::write(csv, writer.into_inner().unwrap()).unwrap();
}

#[test]
fn a_check_ends_with_1_where_a_level_is_slower_and_0_where_nothing_is() {
    let directory = tempfile::tempdir().unwrap();
    let (from, target) = (archived_target(), directory.path());
    for file in std::fs::read_dir(&from).unwrap().map(|file| file.unwrap().path()) {
        let to = target.join(file.file_name().unwrap());
        std::fs::copy(&file, &to).unwrap();
        let name = text(Path::new(file.file_name().unwrap())).to_owned();
        if name.ends_with(".csv") && *name > *"2026-11-25t15-50" {
            slow_down(&to, 1.5);
        }
    }
    let check = |target: &Path, threshold: &str| {
        let options = ["--check", "--filter", "^D/", "--last", "10", "--threshold", threshold];
        said(alpha_flops([&["history", text(target)][..], &options].concat()))
    };
    let Said { status, stdout, stderr } = check(target, "2%");
    assert_eq!(status, 1, "{stdout}{stderr}");
    assert!(stdout.ends_with("slower by more than 2%: all, D\n"), "{stdout}");
    let Said { status, stdout, .. } = check(target, "90%");
    assert_eq!(status, 0, "{stdout}");
    let Said { status, stdout, .. } = check(&from, "2%");
    assert_eq!(status, 0, "{stdout}");
    assert!(stdout.contains("nothing is shown to be slower by more than 2%; steps of less than"));
}
