//! `compare` and `selftest` as commands, on simulated runs: what they say, their exit status, and what
//! they refuse.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use alpha_flops::experiment::{Configuration, Experiment};
use alpha_flops_analysis::simulate::Simulation;
use serde_json::{Value, json};

use crate::fixtures::data_files::archived_target;
use crate::fixtures::runs::few_launches;
use crate::fixtures::{Said, alpha_flops, said};

/// Simulated runs in a folder.
struct Runs {
    folder: tempfile::TempDir,
    simulation: Simulation,
}

impl Runs {
    /// `n` runs before and as many after, in which `factor` slows down.
    fn new(n: u64, factor: impl Fn(&Configuration) -> f64 + Sync) -> Self {
        let simulation = Simulation::new(few_launches());
        let runs = Self { folder: tempfile::tempdir().unwrap(), simulation };
        for run in 0..n {
            runs.simulation.write_run(&runs.path(&format!("before-{run}")), run, |_| 1.0).unwrap();
            runs.simulation
                .write_run(&runs.path(&format!("after-{run}")), n + run, &factor)
                .unwrap();
        }
        runs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a command says among these runs, with the exit status.
    fn run(&self, arguments: &[impl AsRef<OsStr>]) -> (i32, String) {
        let Said { status, stdout, stderr } =
            said(alpha_flops(arguments).current_dir(self.folder.path()));
        (status, stdout + &stderr)
    }

    /// What is said of so many runs a side, with the exit status.
    fn compare(&self, n: u64, options: &[&str]) -> (i32, String) {
        let names = |side: &str| (0..n).map(|run| format!("{side}-{run}")).collect::<Vec<_>>();
        let mut arguments = vec!["compare".to_owned()];
        arguments.extend(names("before"));
        arguments.push("--after".to_owned());
        arguments.extend(names("after"));
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        self.run(&arguments)
    }

    /// Changes `run.json` of a run.
    fn edit(&self, run: &str, change: impl Fn(&mut Value)) {
        let path = self.path(run).join("run.json");
        let mut header: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut header);
        fs::write(&path, serde_json::to_vec(&header).unwrap()).unwrap();
    }
}

/// E takes 6% longer, and one configuration of A half as long.
fn slowed(configuration: &Configuration) -> f64 {
    match configuration.experiment {
        Experiment::E => 1.06,
        Experiment::A if configuration.shape.in_channels() == 3200 => 0.5,
        _ => 1.0,
    }
}

#[test]
fn a_slowdown_is_found_with_its_group_and_fails() {
    let runs = Runs::new(5, slowed);
    let (status, text) = runs.compare(5, &[]);
    assert_eq!(status, 1);
    insta::assert_snapshot!(text);
    let (status, markdown) = runs.compare(5, &["--format", "markdown", "--threshold", "10%"]);
    assert_eq!(status, 0, "6% is under the threshold");
    insta::assert_snapshot!(markdown);
    let (_, json) = runs.compare(5, &["--format", "json", "--paired"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let verdicts = json["configurations"].as_array().unwrap().iter();
    let slower = verdicts.filter(|c| c["verdict"] == "slower" && c["experiment"] == "E").count();
    assert!(slower > 90, "{slower} of 99");
    let (_, csv) = runs.compare(5, &["--format", "csv"]);
    let rows = csv::Reader::from_reader(csv.as_bytes()).into_records().map(Result::unwrap).count();
    // all, seven experiments, their series, and 591 configurations
    assert_eq!(rows, 591 + json["groups"].as_array().unwrap().len());
}

#[test]
fn nothing_changed_is_said_and_succeeds() {
    let runs = Runs::new(3, |_| 1.0);
    let (status, text) = runs.compare(3, &[]);
    assert_eq!(status, 0);
    assert!(
        text.contains("Nothing is shown to be slower by more than 2% (sides are blocks in time)."),
        "{text}"
    );
    let (status, text) = runs.compare(1, &[]);
    assert_eq!(status, 0);
    assert!(text.contains("No verdict: one run per side, run-to-run noise unknown."), "{text}");
    assert!(!text.contains("\nslower"), "{text}");
}

#[test]
fn a_self_test_says_what_is_wrong_and_what_is_found() {
    let runs = Runs::new(2, |_| 1.0);
    let names = ["before-0", "before-1", "after-0", "after-1"];
    for name in names {
        keep_only(&runs, name, Experiment::G);
    }
    let (status, text) = runs.run(&[&["selftest"], &names[..]].concat());
    assert_eq!(status, 0);
    insta::assert_snapshot!(text);
    let (status, _) = runs.compare(2, &["--out", "comparison"]);
    assert_eq!(status, 0);
    let mut files: Vec<_> = fs::read_dir(runs.path("comparison"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = ["comparison-G.png", "comparison-G.svg", "comparison.csv", "comparison.json"];
    assert_eq!(files, [&expected[..], &["comparison.md"]].concat());
}

#[test]
fn what_cannot_be_compared_is_refused_with_what_differs() {
    let runs = Runs::new(2, |_| 1.0);
    let refused = |expected: &[&str]| {
        let (status, text) = runs.compare(2, &[]);
        assert_eq!(status, 2, "{text}");
        assert!(expected.iter().all(|expected| text.contains(expected)), "{text}");
    };
    let original = fs::read(runs.path("after-1/run.json")).unwrap();
    let restore = || fs::write(runs.path("after-1/run.json"), &original).unwrap();

    runs.edit("after-1", |header| header["plan"]["platform"]["device"] = "another".into());
    refused(&["not comparable", "device `simulated (no device)` against `another`"]);
    refused(&["hint: `compare --across` shows ratios between devices, without a verdict"]);
    restore();
    runs.edit("after-1", |header| {
        header["plan"]["settings"]["protocol"] = "host-latency-cold".into();
    });
    refused(&["not comparable", "host-latency-cold"]);
    restore();
    runs.edit("after-1", |header| header["plan"]["platform"]["rustc"] = "rustc 0.1".into());
    refused(&["AFTER mixes runs", "rustc `simulated`", "`rustc 0.1`"]);
    restore();
    runs.edit("after-1", |header| header["configurations"][0]["id"] = "A/renamed".into());
    refused(&["after-1/run.json"]);
    restore();
    runs.edit("after-1", |header| {
        header["configurations"].as_array_mut().unwrap().remove(0);
        header["plan"]["ids"].as_array_mut().unwrap().remove(0);
    });
    refused(&["after-1/launches.parquet"]);
    restore();
    runs.edit("after-1", |header| header["run_id"] = "simulated-0-0".into());
    refused(&["run simulated-0-0 is given twice"]);
    restore();
    runs.edit("after-1", |header| header["status"] = "unfinished".into());
    refused(&["after-1/run.json", "unfinished"]);
    restore();
    refused_files(&runs);
}

#[test]
fn a_filter_chooses_what_is_compared() {
    let runs = Runs::new(3, slowed);
    let (_, json) = runs.compare(3, &["--filter", "^[AE]/", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["filter"], "^[AE]/");
    assert_eq!(json["configurations"].as_array().unwrap().len(), 27 + 99);
    assert_eq!(json["not_compared"].as_array().unwrap().len(), 0);
    let (status, text) = runs.compare(3, &["--filter", "^D/"]);
    assert!(status == 0 && text.contains("Only configurations that match ^D/"), "{text}");
    let (status, text) = runs.compare(3, &["--filter", "^X/"]);
    assert!(status == 2 && text.contains("no configuration passes the filter `^X/`"), "{text}");
}

#[test]
fn two_devices_are_put_side_by_side_on_request_and_nothing_is_called_slower() {
    let runs = Runs::new(2, slowed);
    for run in ["before-0", "before-1"] {
        runs.edit(run, |header| header["plan"]["platform"]["device"] = "device one".into());
    }
    for run in ["after-0", "after-1"] {
        runs.edit(run, |header| header["plan"]["platform"]["device"] = "device two".into());
    }
    let (status, text) = runs.compare(2, &["--across", "--out", "across", "--filter", "^[AEG]/"]);
    assert_eq!(status, 0, "{text}");
    insta::assert_snapshot!(text);
    assert!(!text.contains("slower") && !text.contains("verdict:"), "{text}");
    for file in ["across.csv", "across.json", "across.md", "across-E.svg", "across-G.png"] {
        let file = fs::read(runs.path("across").join(file)).unwrap();
        let text = String::from_utf8_lossy(&file);
        let is_png = file.starts_with(b"\x89PNG");
        assert!(is_png || (text.contains("device one") && text.contains("device two")), "{text}");
    }
    let json = fs::read(runs.path("across/across.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let of_e = json["groups"].as_array().unwrap().iter();
    let of_e = of_e.filter(|group| group["experiment"] == "E" && group["series"].is_null());
    let ratios: Vec<f64> = of_e.map(|group| group["ratio"].as_f64().unwrap()).collect();
    assert!(ratios.len() == 1 && (ratios[0] / 1.06).ln().abs() < 0.02, "{ratios:?}");

    let (status, text) = runs.run(&["compare", "--across", "before-0", "before-1"]);
    assert!(status == 2 && text.contains("--across is for two devices"), "{text}");
    let (status, text) = runs.compare(2, &["--across", "--threshold", "5%"]);
    assert!(status == 2 && text.contains("cannot be used with"), "{text}");
    runs.edit("after-1", |header| header["plan"]["platform"]["device"] = "device three".into());
    let (status, text) = runs.compare(2, &["--across"]);
    assert!(status == 2 && text.contains("device `device two` against `device three`"), "{text}");
    for run in ["after-0", "after-1"] {
        runs.edit(run, |header| {
            header["plan"]["platform"]["device"] = "device two".into();
            header["plan"]["settings"]["protocol"] = "host-latency-cold".into();
        });
    }
    let (status, text) = runs.compare(2, &["--across"]);
    assert!(status == 2 && text.contains("not comparable: protocol "), "{text}");
}

fn refused_files(runs: &Runs) {
    let path = runs.path("after-1/launches.parquet");
    let whole = fs::read(&path).unwrap();
    for length in [0, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let (status, text) = runs.compare(2, &[]);
        assert_eq!(status, 2, "{text}");
        assert!(text.contains("after-1/launches.parquet"), "{text}");
    }
    fs::remove_file(&path).unwrap();
    let (status, text) = runs.compare(2, &[]);
    assert!(status == 2 && text.contains("after-1/launches.parquet"), "{text}");
}

#[test]
fn latencies_that_are_no_numbers_are_refused() {
    let runs = Runs::new(1, |c| if c.experiment == Experiment::C { f64::NAN } else { 1.0 });
    let (status, text) = runs.compare(1, &[]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("after-0/"), "{text}");
}

#[test]
fn arguments_that_make_no_comparison_are_refused() {
    let runs = Runs::new(1, |_| 1.0);
    let error = |arguments: &[&str]| {
        let (status, text) = runs.run(arguments);
        assert_eq!(status, 2, "{text}");
        text
    };
    assert!(error(&["compare", "before-0"]).contains("AFTER is empty"));
    assert!(error(&["compare", "none", "before-0"]).contains("none/run.json"));
    assert!(error(&["compare", "before-0", "before-0"]).contains("given twice"));
    assert!(error(&["compare", "before-0", "after-0", "--paired"]).contains("--paired needs two"));
    for threshold in ["2", "0%", "-1%", "NaN%", "100%"] {
        let threshold = format!("--threshold={threshold}");
        let arguments = ["compare", "before-0", "after-0", &threshold];
        assert!(error(&arguments).contains("e.g. 2%"), "{threshold}");
    }
    let (status, text) = runs.run(&["selftest", "before-0", "after-0"]);
    assert!(status == 2 && text.contains("2 runs are too few"), "{text}");
}

#[test]
fn other_configurations_are_compared_as_far_as_both_sides_have_them_when_asked() {
    let runs = Runs::new(1, |_| 1.0);
    keep_only(&runs, "after-0", Experiment::D);
    let (status, text) = runs.compare(1, &[]);
    assert_eq!(status, 2);
    assert!(text.contains("and 491 more only in the first"), "{text}");
    let (status, text) = runs.compare(1, &["--common"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("99 configurations compared"), "{text}");
    assert!(text.contains("Not compared: 492"), "{text}");
    let (status, text) = runs.run(&["compare", "after-0", "before-0", "--common"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("Not compared: 492"), "what only AFTER has is named, too: {text}");
}

/// Leaves the configurations of one experiment in a run.
fn keep_only(runs: &Runs, run: &str, experiment: Experiment) {
    use alpha_flops::record::{FinishedRun, write_finished};
    let whole = FinishedRun::open(&runs.path(run)).unwrap();
    let mut launches = whole.launches_file().unwrap().read_all().unwrap();
    let mut header = whole.header.clone();
    let kept = header.configurations.iter().filter(|c| c.experiment == experiment).cloned();
    let kept: Vec<_> = kept.map(|c| (c.clone(), launches.remove(&c.id).unwrap())).collect();
    header.plan.ids.retain(|id| id.starts_with(experiment.name));
    fs::remove_dir_all(runs.path(run)).unwrap();
    write_finished(Path::new(&runs.path(run)), header, kept.into_iter()).unwrap();
}

#[test]
fn two_archived_runs_are_judged_by_the_other_ones_of_their_kind() {
    let target = archived_target();
    let run = |name: &str| target.join(format!("{name}.csv")).display().to_string();
    let runs = Runs::new(0, |_| 1.0);
    let quiet = [run("2026-11-25t15-38-14z-063f"), run("2026-11-25t15-40-18z-b744")];
    let history = ["--history", target.to_str().unwrap()];
    let compare = |before: &str, more: &[&str]| {
        runs.run(&[&["compare", before, &quiet[1]], &history[..], more].concat())
    };
    let (status, text) = compare(&quiet[0], &[]);
    assert_eq!(status, 0, "{text}");
    let unwrapped = text.replace('\n', " ");
    assert!(unwrapped.contains("8 archived runs, all from the same"), "{text}");
    // two days and a host apart
    let slower = run("2026-11-23t09-41-37z-a778");
    let (status, text) = compare(&slower, &["--format", "json"]);
    assert_eq!(status, 1, "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    let slower = json["configurations"].as_array().unwrap().iter();
    let slower = slower.filter(|configuration| configuration["verdict"] == "slower").count();
    assert!(slower > 100, "{slower} of 591");
    assert_eq!(json["method"]["runs"], 9);
    let differs = json["differences"].as_array().unwrap().iter();
    assert!(differs.clone().any(|difference| difference["what"] == "commit"));
}

#[test]
fn an_archived_run_that_cannot_be_read_is_left_out_with_a_warning_unless_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after, cut, newer, ..] =
        ["38-14z-063f", "40-18z-b744", "42-24z-98cd", "44-30z-302d", "46-35z-1627", "48-39z-99b8"]
            .map(|end| {
                let name = format!("2026-11-25t15-{end}.csv");
                let (from, to) = (archived_target().join(&name), folder.path().join(&name));
                let environment = |csv: &Path| csv.with_extension("environment.json");
                fs::copy(&from, &to).unwrap();
                fs::copy(environment(&from), environment(&to)).unwrap();
                to.display().to_string()
            });
    let rows = fs::read(&cut).unwrap();
    fs::write(&cut, &rows[..rows.len() / 2]).unwrap();
    let environment = Path::new(&newer).with_extension("environment.json");
    let mut header: Value = serde_json::from_slice(&fs::read(&environment).unwrap()).unwrap();
    header["schema_version"] = 99.into();
    fs::write(&environment, header.to_string()).unwrap();
    let history = ["--history", folder.path().to_str().unwrap()];
    let compare =
        |before: &str| said(alpha_flops([&["compare", before, &after][..], &history].concat()));
    let Said { status, stdout, stderr } = compare(&before);
    assert_eq!(status, 0, "{stderr}");
    let warnings: Vec<&str> = stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    let [of_cut, of_newer] = warnings[..] else { panic!("{stderr}") };
    assert!(of_cut.contains("a run is left out: ") && of_cut.contains("98cd.csv"), "{of_cut}");
    assert!(of_newer.contains("302d.environment.json: schema_version is 99"), "{of_newer}");
    assert!(stdout.replace('\n', " ").contains("2 archived runs, all from the same"), "{stdout}");
    for (named, words) in [(cut, "98cd.csv"), (newer, "schema_version is 99")] {
        let Said { status, stderr, .. } = compare(&named);
        assert!(status == 2 && stderr.starts_with("error: ") && stderr.contains(words), "{stderr}");
    }
}

/// The state of a machine whose multiply–adds take so long.
fn machine(multiply_add_ns: f64) -> Value {
    json!({
        "probes": 900,
        "multiply_add_ns": {
            "q1": 0.99 * multiply_add_ns, "median": multiply_add_ns, "q3": 1.01 * multiply_add_ns,
        },
        "distances": [{ "distance": "near", "round_trip_ns": 50.0, "seconds": 60.0 }],
    })
}

#[test]
fn a_host_half_as_fast_and_a_disturbed_side_are_named() {
    let runs = Runs::new(5, |_| 2.0);
    for run in 0..5 {
        let quiet = |never_quiet: usize| {
            json!({
                "switched_out_percent": 1.5, "steal_percent": null, "throttled_percent": null,
                "never_quiet": never_quiet, "configurations": 100,
            })
        };
        runs.edit(&format!("before-{run}"), |json| {
            json["machine"] = machine(2.9);
            json["quiet"] = quiet(0);
        });
        runs.edit(&format!("after-{run}"), |json| {
            // the state of the machine is no reason to refuse a side
            json["machine"] = machine(if run == 0 { 5.0 } else { 5.7 });
            json["quiet"] = quiet(20);
        });
    }
    let (status, text) = runs.compare(5, &[]);
    assert_eq!(status, 1, "{text}");
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "Changed: speed of cores (ns per multiply–add) 2.9 → 5.7. Unknown",
        "The machine itself was in another state",
        "Disturbed before: 1.5% of launches switched out, every configuration quiet at least once.",
        "Disturbed after: 1.5% of launches switched out, 100 of 500 configurations never quiet. That \
         is not quiet enough",
        "cause (all rows): same plan; different speed of cores (ns per multiply–add) 2.9 → 5.7",
    ] {
        assert!(unwrapped.contains(said), "{said}\n{text}");
    }
    let (_, text) = runs.compare(5, &["--format", "json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["sides"][1]["quiet"]["never_quiet"], 100);
    assert_eq!(json["differences"][0]["slower"], true);
    assert!(!text.contains("state of the machine"), "it is known");
    runs.edit("after-3", |json| json["machine"] = Value::Null);
    let (_, text) = runs.compare(5, &["--format", "json"]);
    assert!(text.contains("probed often enough in 9 of 10 runs"), "unknown is never equal");
}
