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
        plan: RunPlan::new(&settings, Platform::new(&backend), &[]),
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
    let run = SmallRun::write();
    let mut first = series(folder.path(), 5);
    let next = first.next().unwrap();
    assert_eq!(next.to_string(), "run 1 of 5 (order 1 of 3, seed 1)");
    first.keep(&next, &run.folder, Some(90.0)).unwrap();
    drop(first);

    let again = series(folder.path(), 5);
    assert_eq!(again.done_before, 1);
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
    let run = SmallRun::write();
    let first = series(folder.path(), 2);
    fs::write(first.announcement(), run.folder.as_os_str().as_encoded_bytes()).unwrap();
    let again = series(folder.path(), 2);
    assert_eq!((again.done_before, again.runs()[0].wall_s), (1, None));
    assert_eq!(again.next().unwrap().to_string(), "run 2 of 2 (order 1 of 1, seed 1)");
}

#[test]
fn what_is_gone_or_damaged_is_measured_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = SmallRun::write();
    let mut first = series(folder.path(), 2);
    let next = first.next().unwrap();
    first.keep(&next, &run.folder, None).unwrap();
    let text = fs::read_to_string(&first.file).unwrap();
    fs::write(&first.file, &text[..text.len() / 2]).unwrap();
    assert_eq!(series(folder.path(), 2).done_before, 0);
    fs::write(&first.file, text).unwrap();
    assert_eq!(series(folder.path(), 2).done_before, 1);
    fs::remove_dir_all(&run.folder).unwrap();
    assert_eq!(series(folder.path(), 2).done_before, 0);
}

#[test]
fn commands_to_go_on_with_can_be_copied() {
    let run = |path: &str| SeriesRun {
        run: path.into(),
        seed: 1,
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
}
