use std::fs;

use super::*;
use crate::fixtures::data_files::archived_target;
use crate::fixtures::replayed::SmallRun;

/// A small run, archived in a folder of its own, which goes with it.
fn archived() -> (SmallRun, tempfile::TempDir, Run) {
    let (run, root) = (SmallRun::write(), tempfile::tempdir().unwrap());
    let added = add(&run.folder, root.path(), Some("small"), KeepLaunches::IfSmall).unwrap();
    let archived = read_run(&added.path).unwrap();
    (run, root, archived)
}

/// Writes both files as they would be of another run.
fn write(target: &Path, header: &RunHeader, dataset: &Dataset) {
    let mut dataset = dataset.clone();
    dataset.provenance = provenance(header);
    let csv = target.join(format!("{}.csv", header.run_id));
    dataset.write(&csv).unwrap();
    fs::write(environment_of(&csv), serde_json::to_string(header).unwrap()).unwrap();
}

/// All runs in the folder of a target, each of which can be read.
fn all_in(target: &Path) -> Vec<Run> {
    let (runs, unreadable) = super::read(target).unwrap();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    runs
}

/// What is wrong with the only run in the folder.
fn only_unreadable(target: &Path) -> String {
    let (runs, unreadable) = super::read(target).unwrap();
    let [(_, error)] = &unreadable[..] else { panic!("{unreadable:?}") };
    assert!(runs.is_empty());
    error.to_string()
}

#[test]
fn what_was_archived_is_where_the_command_would_put_it() {
    let of_today = workspace::archive().unwrap().join("cpu-amd-epyc-2-threads");
    for folder in [of_today, archived_target()] {
        let archived = all_in(&folder);
        assert!(archived.len() >= 10, "sweeps and figures beside them are no runs");
        for run in &archived {
            assert_eq!(target_name(&run.header), "cpu-amd-epyc-2-threads");
            assert_eq!(run.dataset.observations.len(), 591);
        }
        assert!(archived.is_sorted_by_key(|run| run.header.started));
    }
}

#[test]
fn a_run_archived_before_there_were_gpus_still_reads() {
    let archived = all_in(&archived_target());
    let first = &archived[0].header;
    assert_eq!(first.run_id, "2026-11-23t09-41-37z-a778");
    assert_eq!(first.plan.comparable(), archived[1].header.plan.comparable());
    assert_eq!(first.sessions[0].empty_launch.host_ns, 20.0);
}

#[test]
fn an_archived_run_reads_back_as_it_was_measured() {
    let (run, root, archived) = archived();
    let imported = criterion::read(&run.folder).unwrap();
    assert_eq!(archived.dataset, imported.dataset);
    let header = Run::open(&run.folder).unwrap().header;
    assert_eq!(archived.header, RunHeader { configurations: Vec::new(), ..header });
    assert_eq!(all_in(&root.path().join("small")), [archived]);
}

#[test]
fn launches_that_are_kept_are_those_of_the_run() {
    let (run, root, archived) = archived();
    let of = |folder: &Path| {
        let run = Run::open(folder).unwrap();
        let all = run.map_launches(|one, latencies| (one.id.clone(), latencies.ns.to_vec()));
        (run.dataset.clone(), all.unwrap())
    };
    let kept = archived.path.with_extension("");
    assert_eq!(of(&kept), of(&run.folder));
    let header = Run::open(&kept).unwrap().header;
    assert!(header.configurations.iter().all(|record| record.visits.is_empty()));
    let without = root.path().join("without");
    let added = add(&run.folder, &without, None, KeepLaunches::Never).unwrap();
    assert!(!added.path.with_extension("").exists());
    assert!(added.to_string().ends_with(", without its launches (0.0 MB)"), "{added}");
    let bytes = KeepLaunches::MOST_BYTES;
    assert!(KeepLaunches::IfSmall.keeps(bytes) && !KeepLaunches::IfSmall.keeps(bytes + 1));
    assert!(KeepLaunches::Always.keeps(bytes + 1));
}

#[test]
fn the_targets_own_name_is_the_default() {
    let (run, root) = (SmallRun::write(), tempfile::tempdir().unwrap());
    let added = add(&run.folder, root.path(), None, KeepLaunches::IfSmall).unwrap();
    let name = added.path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("cpu-") && name.ends_with("-1-thread"), "{name}");
    assert_eq!(added.configurations, 3);
    assert!(added.to_string().contains(", 1 not measured, with its launches"), "{added}");
}

#[test]
fn a_run_is_archived_once_under_whatever_name() {
    let (run, root, archived) = archived();
    let again = add(&run.folder, root.path(), Some("small"), KeepLaunches::IfSmall)
        .unwrap_err()
        .to_string();
    assert!(again.contains("already archived as") && again.contains("small"), "{again}");
    let renamed = RunHeader { run_id: "2026-01-31t12-00-00z-5eed".into(), ..archived.header };
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    write(&other, &renamed, &archived.dataset);
    let again = add(&run.folder, root.path(), Some("other"), KeepLaunches::IfSmall)
        .unwrap_err()
        .to_string();
    assert!(again.contains("2026-01-31t12-00-00z-5eed.csv"), "{again}");
}

#[test]
fn a_folder_of_another_device_is_refused_with_what_differs() {
    let (run, root, archived) = archived();
    let mut header = archived.header.clone();
    header.run_id = "2026-01-31t12-00-00z-5eed".into();
    header.plan.platform.device = "another CPU".into();
    let mut dataset = archived.dataset.clone();
    dataset.observations.pop();
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    write(&other, &header, &dataset);
    let error = add(&run.folder, root.path(), Some("other"), KeepLaunches::IfSmall)
        .unwrap_err()
        .to_string();
    assert!(error.contains("against `another CPU, 1 thread`"), "{error}");
    assert!(error.contains("--target"), "{error}");
    assert_eq!(all_in(&other).len(), 1, "nothing was written");
}

#[test]
fn an_archive_that_was_interrupted_is_completed_by_the_same_command() {
    let (run, root, archived) = archived();
    fs::remove_file(&archived.path).unwrap();
    let target = root.path().join("small");
    assert_eq!(all_in(&target), [], "an environment alone is passed over");
    add(&run.folder, root.path(), Some("small"), KeepLaunches::IfSmall).unwrap();
    assert_eq!(all_in(&target), [archived]);
}

#[test]
fn runs_that_are_not_sound_and_names_that_are_no_folders_are_refused() {
    let (run, root) = (SmallRun::write(), tempfile::tempdir().unwrap());
    for name in ["", "..", "a/b", "CPU", "a b", "/tmp"] {
        let error = add(&run.folder, root.path(), Some(name), KeepLaunches::IfSmall)
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected a name of a–z"), "{error}");
    }
    fs::remove_file(run.file(1, "sample.json")).unwrap();
    let error = add(&run.folder, root.path(), None, KeepLaunches::IfSmall).unwrap_err().to_string();
    assert!(error.contains("1 configurations are not sound"), "{error}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "nothing was written");
    let error = add(root.path(), root.path(), None, KeepLaunches::IfSmall).unwrap_err().to_string();
    assert!(error.contains("hint: give the folder"), "{error}");
}

#[test]
fn a_record_whose_names_lead_elsewhere_is_refused_and_nothing_is_written() {
    let (run, root) = (SmallRun::write(), tempfile::tempdir().unwrap());
    let (path, victim) = (run.folder.join("run.json"), root.path().join("victim"));
    let targets = root.path().join("targets");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("data.csv"), "do not lose me").unwrap();
    let sound: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let absolute = victim.join("data").display().to_string();
    for (name, value) in [
        ("run_id", "../../victim/data"),
        ("run_id", absolute.as_str()),
        ("run_id", "2026-01-31t12-00-00z-5eed/../../../victim/data"),
        ("run_id", "data"),
        ("run_id", "simulated-1"),
        ("run_id", "simulated-../../victim/data"),
        ("run_id", ""),
        ("criterion_home", "../criterion"),
        ("criterion_home", absolute.as_str()),
        ("criterion_baseline", "../new"),
    ] {
        let mut header = sound.clone();
        header[name] = value.into();
        fs::write(&path, header.to_string()).unwrap();
        let archived = add(&run.folder, &targets, Some("small"), KeepLaunches::Always);
        let error = archived.unwrap_err().to_string();
        assert!(error.contains(&format!("{name} is {value:?}")), "{error}");
        assert!(!targets.exists(), "{name} {value}");
    }
    assert_eq!(fs::read(victim.join("data.csv")).unwrap(), b"do not lose me");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn links_in_the_folder_of_a_target_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (run, root) = (SmallRun::write(), tempfile::tempdir().unwrap());
    let (victim, target) = (root.path().join("victim"), root.path().join("small"));
    let id = run.folder.file_name().unwrap().to_str().unwrap();
    for name in [id.to_owned(), format!("{id}.environment.json"), format!("{id}.csv")] {
        fs::create_dir(&target).unwrap();
        fs::create_dir(&victim).unwrap();
        symlink(&victim, target.join(&name)).unwrap();
        let archived = add(&run.folder, root.path(), Some("small"), KeepLaunches::Always);
        let error = archived.unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "{name}");
        fs::remove_dir_all(&target).unwrap();
        fs::remove_dir_all(&victim).unwrap();
    }
}

#[test]
fn what_no_device_measured_does_not_stand_among_measurements() {
    let (run, root) = (SmallRun::write(), tempfile::tempdir().unwrap());
    let path = run.folder.join("run.json");
    let text = fs::read_to_string(&path).unwrap().replace("checksum", "none");
    let stand_in = alpha_flops::backend::device::STAND_IN_BACKEND;
    fs::write(&path, text.replace("\"backend\": \"cpu\"", &format!("\"backend\": \"{stand_in}\"")))
        .unwrap();
    let error = add(&run.folder, root.path(), Some("cpu-of-mine"), KeepLaunches::IfSmall)
        .unwrap_err()
        .to_string();
    assert!(error.contains("which is no device"), "{error}");
    let added = add(&run.folder, root.path(), None, KeepLaunches::IfSmall).unwrap();
    assert!(added.path.display().to_string().contains("cudnn-stand-in"), "{added}");
}

#[test]
fn what_is_damaged_in_an_archive_is_named() {
    let (_run, root, archived) = archived();
    let target = root.path().join("small");
    fs::write(target.join("notes.csv"), "not,a,run").unwrap();
    fs::write(target.join("README.md"), "no run either").unwrap();
    assert_eq!(all_in(&target).len(), 1);

    let environment = environment_of(&archived.path);
    let text = fs::read_to_string(&environment).unwrap().replace("checksum", "none");
    for (damaged, expected) in [
        (text[..text.len() / 2].to_owned(), "EOF while parsing"),
        ("{}".to_owned(), "no schema_version"),
        (text.replace("\"schema_version\": 3", "\"schema_version\": 9"), "schema_version is 9"),
        (text.replace("\"schema_version\": 3", "\"schema_version\": 1"), "what schema_version 1"),
        (text.replace("\"finished\"", "\"unfinished\""), "the run is unfinished"),
        (
            text.replace(&archived.header.run_id, "2026-01-31t12-00-00z-5eed"),
            "expected `2026-01-31t12-00-00z-5eed`",
        ),
        (text.replace(&archived.header.run_id, "../data"), "run_id is \"../data\""),
    ] {
        fs::write(&environment, damaged).unwrap();
        let error = only_unreadable(&target);
        assert!(error.contains(expected) && error.contains(&archived.header.run_id), "{error}");
    }
    fs::remove_file(&environment).unwrap();
    let error = only_unreadable(&target);
    assert!(error.contains("no environment beside it"), "{error}");
    let error = read(&root.path().join("absent")).unwrap_err().to_string();
    assert!(error.contains("absent"), "{error}");
}

#[test]
fn a_run_is_archived_beside_one_that_cannot_be_read_and_never_in_its_place() {
    let (run, root, archived) = archived();
    let target = root.path().join("small");
    let of_another = target.join("2026-01-31t12-00-00z-5eed.csv");
    fs::rename(&archived.path, &of_another).unwrap();
    fs::remove_file(environment_of(&archived.path)).unwrap();
    let again = || add(&run.folder, root.path(), Some("small"), KeepLaunches::IfSmall);
    let added = again().unwrap();
    let [unreadable] = &added.unreadable[..] else { panic!("{:?}", added.unreadable) };
    assert!(unreadable.contains("5eed.csv: no environment beside it"), "{unreadable}");
    // cut: what is left of it stays
    let text = fs::read_to_string(&added.path).unwrap();
    fs::write(&added.path, &text[..text.len() / 2]).unwrap();
    let error = again().unwrap_err().to_string();
    assert!(error.contains(&run_name(&added.path)), "{error}");
    assert_eq!(fs::read_to_string(&added.path).unwrap().len(), text.len() / 2);
}

fn run_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
