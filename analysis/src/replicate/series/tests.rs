use std::num::NonZeroUsize;

use alpha_flops::backend::cpu::{AlgorithmChoice, CpuBackend, KIND};

use super::*;
use crate::fixtures::replayed::SmallRun;

fn series(runs: &Path, number: usize) -> Series {
    let settings = Requested::load(std::iter::empty(), Path::new("absent.toml"), runs)
        .unwrap()
        .settings(&KIND)
        .unwrap();
    let backend = CpuBackend::new(NonZeroUsize::MIN, AlgorithmChoice::Auto).unwrap();
    let kept = SeriesFile {
        plan: Some(RunPlan::new(&settings, Platform::new(&backend), &[])),
        turns: None,
        arguments: vec!["^A/".to_owned()],
        seeds: seeds(number, FIRST_SEED),
        runs: Vec::new(),
    };
    let mut series = Series::new(kept, runs.to_owned());
    series.take_up().unwrap();
    series
}

#[test]
fn orders_take_turns_and_each_is_measured_twice_where_possible() {
    assert_eq!(seeds(1, 7), [7]);
    assert_eq!(seeds(2, 7), [7, 7]);
    assert_eq!(seeds(5, 1), [1, 2, 3, 1, 2]);
    assert_eq!(seeds(6, 1), [1, 2, 3, 1, 2, 3]);
    assert_eq!(seeds(3, u64::MAX), [u64::MAX, 0, u64::MAX]);
}

#[test]
fn an_interrupted_series_goes_on_and_a_finished_one_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let run = SmallRun::write_in(folder.path());
    let mut first = series(folder.path(), 5);
    let next = first.next().unwrap();
    assert_eq!(next.to_string(), "run 1 of 5 (order 1 of 3, seed 1)");
    first.keep(&next, &run.folder, Some(90.0)).unwrap();
    assert_eq!(series(folder.path(), 4).passed_over, None, "the first one goes on");
    drop(first);
    let other = series(folder.path(), 4).passed_over.clone().unwrap();
    assert!(other.path.to_string_lossy().ends_with(".json"), "{other}");
    assert_eq!(other.why, ["seeds: only there 3, only now none"]);

    let again = series(folder.path(), 5);
    assert_eq!(again.done_before, 1);
    assert_eq!(again.passed_over, None);
    let next = again.next().unwrap().to_string();
    assert_eq!(next, "run 2 of 5 (order 2 of 3, seed 2), about 6m 00s left");
    assert_eq!((again.runs()[0].measured, again.runs()[0].not_measured), (3, 1));
    assert!(again.runs()[0].complete, "a skipped configuration is accounted for");
    assert_eq!(series(folder.path(), 4).done_before, 0, "another number is another series");

    again.finish().unwrap();
    assert_eq!(series(folder.path(), 5).done_before, 0);
}

#[test]
fn a_run_that_finished_after_its_series_was_killed_is_not_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = SmallRun::write_in(folder.path());
    let first = series(folder.path(), 2);
    fs::write(first.announcement(), run.folder.as_os_str().as_encoded_bytes()).unwrap();
    drop(first);
    let again = series(folder.path(), 2);
    assert_eq!((again.done_before, again.runs()[0].wall_s), (1, None));
    assert_eq!(again.next().unwrap().to_string(), "run 2 of 2 (order 1 of 1, seed 1)");
}

#[test]
fn what_is_gone_or_damaged_is_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = SmallRun::write_in(folder.path());
    let mut first = series(folder.path(), 2);
    let next = first.next().unwrap();
    first.keep(&next, &run.folder, None).unwrap();
    let file = first.file.clone();
    drop(first);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert_eq!(series(folder.path(), 2).done_before, 0);
    fs::write(&file, &text).unwrap();
    assert_eq!(series(folder.path(), 2).done_before, 1);
    // a run elsewhere is none of this series, whatever its file says
    let elsewhere = SmallRun::write();
    let [here, there] = [&run, &elsewhere].map(|run| run.folder.to_str().unwrap());
    fs::write(&file, text.replace(here, there)).unwrap();
    assert_eq!(series(folder.path(), 2).done_before, 0);
    fs::write(&file, text).unwrap();
    fs::remove_dir_all(&run.folder).unwrap();
    assert_eq!(series(folder.path(), 2).done_before, 0);
}

#[test]
fn two_processes_do_not_measure_one_series() {
    let folder = tempfile::tempdir().unwrap();
    let first = series(folder.path(), 1);
    let mut second = Series::new(first.kept.clone(), folder.path().to_owned());
    let error = second.take_up().unwrap_err().to_string();
    assert!(error.contains("another `alpha-flops replicate` works"), "{error}");
    drop(first);
    second.take_up().unwrap();
    drop(second);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

/// A series of two builds that a shell command distinguishes.
fn alternating(runs: &Path, pairs: usize) -> Series {
    let builds = Builds::parse("sh:true", "sh: true || false").unwrap();
    let kept = SeriesFile {
        plan: None,
        turns: Some((builds, "settings".to_owned())),
        arguments: Vec::new(),
        seeds: of_pairs(pairs, 7),
        runs: Vec::new(),
    };
    let mut series = Series::new(kept, runs.to_owned());
    series.take_up().unwrap();
    series
}

/// A finished run whose record says that it is of `side`.
fn run_of(runs: &Path, side: Option<&str>) -> SmallRun {
    let run = SmallRun::write_in(runs);
    let file = run.folder.join("run.json");
    let mut header: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    header["plan"]["side"] = side.into();
    fs::write(&file, header.to_string()).unwrap();
    run
}

#[test]
fn of_two_builds_the_runs_of_a_pair_have_one_order_and_a_killed_series_goes_on_with_its_side() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(of_pairs(3, 7), [7, 7, 8, 8, 7, 7]);
    let labels = ["A: after `true`", "B: after `true || false`"];
    let runs = [labels[0], labels[1], labels[1]].map(|label| run_of(folder.path(), Some(label)));
    let mut words = Vec::new();
    for run in &runs {
        let mut series = alternating(folder.path(), 3);
        let next = series.next().unwrap();
        words.push(next.to_string());
        series.check_sides().unwrap();
        series.keep(&next, &run.folder, None).unwrap();
    }
    assert_eq!(
        words,
        [
            "run 1 of 6 (A, order 1 of 2, seed 7)",
            "run 2 of 6 (B, order 1 of 2, seed 7)",
            "run 3 of 6 (B, order 2 of 2, seed 8)",
        ]
    );
    let series = alternating(folder.path(), 3);
    assert_eq!((series.done_before, series.number()), (3, 6));
    assert_eq!(series.folders(RunSide::A), [runs[0].folder.as_path()]);
    assert_eq!(series.folders(RunSide::B), [runs[1].folder.as_path(), runs[2].folder.as_path()]);
}

#[test]
fn a_record_that_does_not_say_its_side_ends_the_series() {
    let folder = tempfile::tempdir().unwrap();
    for (side, found) in [(None, "none"), (Some("B: after `true`"), "B: after `true`")] {
        let run = run_of(folder.path(), side);
        let mut series = alternating(folder.path(), 2);
        let next = series.next().unwrap();
        let words = series.keep(&next, &run.folder, None).unwrap_err().to_string();
        let expected = format!("the record is of side `{found}`, expected `A: after `true``");
        assert!(words.contains(&expected), "{words}");
        assert_eq!(series.runs(), []);
    }
}

#[test]
fn sides_that_were_measured_otherwise_are_refused_after_one_run_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut series = alternating(folder.path(), 2);
    let runs = ["A: after `true`", "B: after `true || false`"]
        .map(|label| run_of(folder.path(), Some(label)));
    let file = runs[1].folder.join("run.json");
    let text = fs::read_to_string(&file).unwrap();
    let other = text.replace(r#""profile":"smoke""#, r#""profile":"paper""#);
    assert_ne!(text, other);
    fs::write(&file, other).unwrap();
    for run in &runs {
        let next = series.next().unwrap();
        series.keep(&next, &run.folder, None).unwrap();
    }
    let words = series.check_sides().unwrap_err().to_string();
    assert!(words.starts_with("A and B are not comparable: settings `"), "{words}");
    assert!(words.contains("profile smoke") && words.contains("profile paper"), "{words}");
}

#[test]
fn commands_to_go_on_with_can_be_copied() {
    let run = |path: &str| SeriesRun {
        run: path.into(),
        seed: 1,
        side: None,
        wall_s: None,
        measured: 1,
        not_measured: 0,
        complete: true,
    };
    insta::assert_snapshot!(next_commands(&[run("/runs/a"), run("/my runs/b")]), @r"
    next:
      cargo analyze variance /runs/a '/my runs/b'
      cargo analyze compare /runs/a '/my runs/b' --after AFTER…
      cargo analyze archive /runs/a '/my runs/b'
    ");
    let [a, b] = [["/runs/a"], ["/my runs/b"]].map(|runs| runs.map(PathBuf::from));
    insta::assert_snapshot!(next_commands_of_sides(&a, &b), @r"
    next:
      cargo analyze compare /runs/a --after '/my runs/b' --paired
      cargo analyze archive /runs/a '/my runs/b'
    ");
}

/// Opened for reading, it would wait for a writer for ever.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_the_file_of_a_series_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let first = series(folder.path(), 2);
    let file = first.file.clone();
    drop(first);
    let _ = fs::remove_file(&file);
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert_eq!(series(folder.path(), 2).done_before, 0);
}
