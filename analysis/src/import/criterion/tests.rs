//! Files are criterion's own: each test lets criterion write a small run, then damages it.

use std::fs;

use super::*;
use crate::fixtures::replayed::SmallRun;

impl SmallRun {
    /// The single reason for which the configuration at index 1 is left out.
    fn rejection(&self) -> String {
        let imported = read(&self.folder).unwrap();
        assert_eq!(imported.dataset.observations.len(), 2, "the others go on");
        let [rejected] = &imported.rejected[..] else { panic!("{:?}", imported.rejected) };
        rejected.reason.clone()
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let path = self.file(1, name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn a_sound_run_gives_every_measured_configuration_and_names_the_skipped() {
    let run = SmallRun::write();
    let imported = read(&run.folder).unwrap();
    assert_eq!(imported.rejected, []);
    assert_eq!(imported.not_measured.len(), 1);
    assert_eq!(imported.not_measured[0].reason, "needs too much");
    let first = &imported.dataset.observations[0];
    assert_eq!(format!("A/{}", first.shape), run.ids[0]);
    assert_eq!(first.latency.median_ns, Some(704.0));
    assert_eq!((first.latency.outliers_mild, first.latency.outliers_severe), (Some(0), Some(2)));
    assert!(imported.dataset.provenance.device.ends_with(", 1 thread"));
    assert_eq!(imported.dataset.provenance.protocol, "host-latency-warm, profile smoke");
}

#[test]
fn cut_and_missing_files_are_left_out_with_their_paths() {
    for name in ["sample.json", "estimates.json", "tukey.json"] {
        let run = SmallRun::write();
        let path = run.file(1, name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(run.rejection().contains(&path.display().to_string()), "{}", run.rejection());
        fs::remove_file(&path).unwrap();
        assert!(run.rejection().contains(&path.display().to_string()), "{}", run.rejection());
    }
}

#[test]
fn a_benchmark_whose_id_cannot_be_read_is_reported_as_missing_and_by_its_path() {
    let run = SmallRun::write();
    fs::write(run.file(1, "benchmark.json"), "{").unwrap();
    let imported = read(&run.folder).unwrap();
    let reasons: Vec<_> = imported.rejected.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("benchmark.json"), "{}", reasons[0]);
    assert_eq!(reasons[1], format!("criterion has no benchmark {}", run.ids[1]));
}

#[test]
fn zero_infinite_and_foreign_times_are_left_out() {
    for (to, expected) in [
        ("0.0", "time 0 is 0, expected finite and > 0"),
        ("-1400.0", "time 0 is -1400, expected finite and > 0"),
        ("null", "time 0 is inf, expected finite and > 0"),
        ("1401.0", "not the run's raw launches"),
    ] {
        let run = SmallRun::write();
        run.replace("sample.json", "1400.0", to);
        assert!(run.rejection().contains(expected), "{}", run.rejection());
    }
}

#[test]
fn batched_launches_are_left_out() {
    let run = SmallRun::write();
    run.replace("sample.json", "[1.0,", "[2.0,");
    assert!(run.rejection().contains("sample 0 is of 2 iterations"), "{}", run.rejection());
}

#[test]
fn a_median_or_fence_that_is_not_of_the_times_is_left_out() {
    let run = SmallRun::write();
    run.replace("estimates.json", "\"point_estimate\":1408.0", "\"point_estimate\":1409.0");
    assert!(run.rejection().contains("median is 1409, expected 1408"), "{}", run.rejection());
    let run = SmallRun::write();
    fs::write(run.file(1, "tukey.json"), "[1.0,2.0,3.0,4.0]").unwrap();
    assert!(run.rejection().contains("fences are"), "{}", run.rejection());
}

#[test]
fn two_folders_with_one_id_are_left_out() {
    let run = SmallRun::write();
    let copy = run.file(1, "x").ancestors().nth(2).unwrap().with_file_name("renamed_2");
    fs::create_dir_all(copy.join("new")).unwrap();
    fs::copy(run.file(1, "benchmark.json"), copy.join("new/benchmark.json")).unwrap();
    assert!(run.rejection().contains("2 folders hold benchmark"), "{}", run.rejection());
}

#[test]
fn a_folder_without_a_run_or_without_criterions_files_says_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let error = read(empty.path()).unwrap_err().to_string();
    assert!(error.contains("run.json") && error.contains("hint: give the folder"), "{error}");
    let run = SmallRun::write();
    fs::remove_dir_all(run.folder.join("criterion")).unwrap();
    let error = read(&run.folder).unwrap_err().to_string();
    assert!(error.contains("measure again"), "{error}");
}
