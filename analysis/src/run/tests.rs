//! Runs are simulated; each test writes one anew with something that is not so.

use std::fs;

use alpha_flops::record::write_finished;

use super::*;
use crate::fixtures::runs::few_launches;
use crate::simulate::{Simulation, Truth};

struct Folder {
    directory: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let runs = Self { directory: tempfile::tempdir().unwrap() };
        Simulation::new(few_launches()).write_run(&runs.path("sound"), 0, |_| 1.0).unwrap();
        runs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What reading says of the run after `change` of its configurations, backwards in the file.
    fn error(&self, change: impl Fn(&mut Vec<(ConfigurationRecord, SampleTimes)>)) -> String {
        let sound = FinishedRun::open(&self.path("sound")).unwrap();
        let mut launches = sound.launches_file().unwrap().read_all().unwrap();
        let records = sound.header.configurations.iter().cloned().rev();
        let mut configurations: Vec<_> = records
            .map(|record| {
                let times = launches.remove(&record.id).unwrap();
                (record, times)
            })
            .collect();
        change(&mut configurations);
        let folder = self.path("changed");
        write_finished(&folder, sound.header, configurations.into_iter()).unwrap();
        let result =
            Run::open(&folder).and_then(|run| run.map_launches(|_, latencies| latencies.ns.len()));
        fs::remove_dir_all(&folder).unwrap();
        result.map_or_else(|error| error.to_string(), |lengths| format!("{} sound", lengths.len()))
    }
}

#[test]
fn results_are_in_the_suites_order_whatever_the_files_is() {
    let runs = Folder::new();
    assert_eq!(runs.error(|_| ()), "591 sound");
    let sound = Run::open(&runs.path("sound")).unwrap();
    let ids = sound.map_launches(|record, _| record.id.clone()).unwrap();
    assert_eq!(ids, sound.header.plan.ids);
    // several threads at once
    let both = std::thread::scope(|scope| {
        let read = || sound.map_launches(|_, latencies| latencies.ns.to_vec()).unwrap();
        [scope.spawn(read), scope.spawn(read)].map(|thread| thread.join().unwrap())
    });
    assert_eq!(both[0], both[1]);
}

#[test]
fn launches_and_records_that_contradict_each_other_are_refused_with_file_and_configuration() {
    let runs = Folder::new();
    let skipped = || Outcome::Skipped { reason: "too large".to_owned() };
    let clear = |times: &mut SampleTimes| *times = SampleTimes::default();
    let last = "A/h=1_w=2_in=100_out=50_k=1";

    let error = runs.error(|all| clear(&mut all[590].1));
    assert!(error.contains(&format!("launches.parquet: {last}: has no launches")), "{error}");
    let error = runs.error(|all| all[590].0.outcome = skipped());
    assert!(
        error.contains(&format!("{last}: has launches, but run.json has no summary")),
        "{error}"
    );
    let error = runs.error(|all| all[590].1.host_ns[3] += 1e9);
    assert!(error.contains(last) && error.contains("of different runs"), "{error}");
    let error = runs.error(|all| all[590].1.host_ns[3] = f64::NAN);
    assert!(error.contains("launches.parquet: row 7083: host_ns is NaN"), "{error}");
    // both are gone: nothing was measured
    let error = runs.error(|all| {
        all[590].0.outcome = skipped();
        clear(&mut all[590].1);
    });
    assert_eq!(error, "590 sound");
    let error = runs.error(|all| all[590].0.id += "_more");
    assert!(error.contains("590") || error.contains("planned"), "{error}");
}

#[test]
fn a_configuration_recorded_twice_or_with_the_shape_of_another_is_refused() {
    let runs = Folder::new();
    let path = runs.path("sound").join("run.json");
    let sound: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let refused = |change: fn(&mut serde_json::Value)| {
        let mut changed = sound.clone();
        change(&mut changed);
        fs::write(&path, changed.to_string()).unwrap();
        Run::open(&runs.path("sound")).unwrap_err().to_string()
    };
    let twice = refused(|run| {
        run["plan"]["ids"][1] = run["plan"]["ids"][0].clone();
        run["configurations"][1] = run["configurations"][0].clone();
    });
    assert!(twice.contains("there is more than one record of it"), "{twice}");
    let foreign = refused(|run| {
        run["configurations"][1]["shape"] = run["configurations"][0]["shape"].clone();
    });
    assert!(foreign.contains("experiment and shape are those of"), "{foreign}");
}

#[test]
fn launches_of_another_run_and_cut_or_missing_ones_are_refused() {
    let runs = Folder::new();
    let other = Simulation::new(Truth { seed: 9, ..few_launches() });
    other.write_run(&runs.path("other"), 0, |_| 1.0).unwrap();
    let launches = |run: &str| runs.path(run).join("launches.parquet");
    fs::copy(launches("other"), launches("sound")).unwrap();
    let error = || {
        let run = Run::open(&runs.path("sound")).unwrap();
        run.map_launches(|_, _| ()).unwrap_err().to_string()
    };
    assert!(error().contains("the two files are of different runs"), "{}", error());
    let bytes = fs::read(launches("sound")).unwrap();
    fs::write(launches("sound"), &bytes[..bytes.len() / 2]).unwrap();
    assert!(error().contains("launches.parquet"), "{}", error());
    fs::remove_file(launches("sound")).unwrap();
    assert!(error().contains("launches.parquet"), "{}", error());
}
