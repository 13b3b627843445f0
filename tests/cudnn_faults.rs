//! The benchmarks themselves, run on the stand-in for NVIDIA's libraries with faults switched on one
//! at a time: each gives its message and exit status, leaks nothing, loses nothing that was
//! measured before, and leaves a run that completes once the fault is gone.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "a test says that it is skipped")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

#[path = "cudnn_faults/framework.rs"]
mod framework;
#[path = "cudnn_faults/libraries.rs"]
mod libraries;
#[path = "cudnn_faults/queued.rs"]
mod queued;
#[path = "cudnn_faults/shared_device.rs"]
mod shared_device;
#[path = "cudnn_faults/sweeps.rs"]
mod sweeps;

/// Small configurations, in a debug build: three of experiment A.
const FEW: &str = "^A/.*(_in=100_|_in=50_|_in=25_)";

/// The names that NVIDIA's libraries are opened by: the driver's, cuDNN's and its parts', cuBLASLt, NVML.
static NAMES: [&str; 9] = [
    "libcuda.so.1",
    "libcudnn.so.9",
    "libcudnn_graph.so.9",
    "libcudnn_ops.so.9",
    "libcudnn_heuristic.so.9",
    "libcudnn_engines_precompiled.so.9",
    "libcudnn_engines_runtime_compiled.so.9",
    "libcublasLt.so.12",
    "libnvidia-ml.so.1",
];

/// The benchmarks' executable, in the profile of this test.
fn benchmarks() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--package", "alpha-flops", "--bench", "experiments"])
            .arg("--message-format=json")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the benchmarks do not build");
        let messages = String::from_utf8(output.stdout).unwrap();
        let executable = messages.lines().find_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            (message["target"]["name"] == "experiments")
                .then(|| PathBuf::from(message["executable"].as_str().unwrap_or_default()))
        });
        executable.unwrap()
    })
}

/// The stand-in's file, which cargo puts beside this test.
fn stand_in() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libstand_in.so")
}

/// A folder of libraries and one of runs.
struct Machine {
    folder: tempfile::TempDir,
}

/// What a process of the benchmarks did.
struct Outcome {
    success: bool,
    output: String,
    /// What the stand-in counted, where it was loaded.
    report: Option<Value>,
}

impl Machine {
    /// With all libraries.
    fn whole() -> Self {
        Self::with(&NAMES, &stand_in())
    }

    /// With these libraries, all links to one file.
    fn with(names: &[&str], file: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let libraries = folder.path().join("libraries");
        std::fs::create_dir(&libraries).unwrap();
        for name in names {
            symlink(file, libraries.join(name)).unwrap();
        }
        Self { folder }
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// Measures a few configurations with these faults.
    fn measure(&self, faults: &str) -> Outcome {
        self.measure_with(faults, &[], &[])
    }

    fn measure_with(&self, faults: &str, variables: &[(&str, &str)], more: &[&str]) -> Outcome {
        let mut command = self.command(benchmarks(), faults);
        command
            .args(["--bench", FEW])
            .args(more)
            .env("ALPHA_FLOPS_PROFILE", "smoke")
            .env("ALPHA_FLOPS_RESOLUTION", "original")
            .env("ALPHA_FLOPS_SEED", "1")
            .envs(variables.iter().copied());
        self.outcome(command, faults)
    }

    /// A program that finds these libraries.
    fn command(&self, program: &Path, faults: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("LD_LIBRARY_PATH", self.folder.path().join("libraries"))
            .env("STAND_IN_FAULTS", faults)
            .env("STAND_IN_REPORT", self.report())
            .env("ALPHA_FLOPS_RUNS", self.runs())
            .env("ALPHA_FLOPS_BACKEND", "cudnn")
            .stdin(Stdio::null());
        command
    }

    fn report(&self) -> PathBuf {
        self.folder.path().join("report.json")
    }

    fn outcome(&self, mut command: Command, faults: &str) -> Outcome {
        let report = self.report();
        let _ = std::fs::remove_file(&report);
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let output_text = text(output.stdout) + &text(output.stderr);
        assert!(!output_text.contains("panicked"), "{faults}: {output_text}");
        let report = std::fs::read(&report).ok().map(|json| serde_json::from_slice(&json).unwrap());
        Outcome { success: output.status.success(), output: output_text, report }
    }

    /// `run.json` of the only run.
    fn run(&self) -> Value {
        let runs = std::fs::read_dir(self.runs()).unwrap();
        let [run] = &runs.map(|run| run.unwrap().path()).collect::<Vec<_>>()[..] else {
            panic!("one run")
        };
        serde_json::from_slice(&std::fs::read(run.join("run.json")).unwrap()).unwrap()
    }

    /// That nothing is kept of what never measured.
    fn left_no_run(&self) {
        assert_eq!(std::fs::read_dir(self.runs()).unwrap().count(), 0);
    }

    /// Parts that the only run keeps while it is unfinished.
    fn parts(&self) -> Vec<Value> {
        let run = std::fs::read_dir(self.runs()).unwrap().next().unwrap().unwrap().path();
        let parts = std::fs::read_dir(run.join("parts")).unwrap();
        let read = |part: std::io::Result<std::fs::DirEntry>| {
            serde_json::from_slice(&std::fs::read(part.unwrap().path()).unwrap()).unwrap()
        };
        parts.map(read).collect()
    }
}

impl Outcome {
    fn failed(self, words: &[&str]) -> Self {
        assert!(!self.success, "{}", self.output);
        self.says(words)
    }

    fn succeeded(self, words: &[&str]) -> Self {
        assert!(self.success, "{}", self.output);
        self.says(words)
    }

    fn says(self, words: &[&str]) -> Self {
        for words in words {
            assert!(self.output.contains(words), "`{words}` is not in:\n{}", self.output);
        }
        self
    }

    /// Everything was released, once, and nothing used after.
    fn leaked_nothing(self) -> Self {
        let report = self.report.as_ref().expect("a report of the stand-in");
        let live = report["live"].as_object().unwrap();
        assert!(live.values().all(|count| count == 0), "{live:?}\n{}", self.output);
        assert_eq!(report["releases_of_what_was_not_live"], 0, "{}", self.output);
        assert_eq!(report["uses_after_release"], 0, "{}", self.output);
        self
    }

    fn calls(&self, function: &str) -> u64 {
        self.report.as_ref().unwrap()["calls"][function].as_u64().unwrap_or(0)
    }
}

/// Outcomes of a finished run by id: status, and the whole.
fn outcomes(run: &Value) -> BTreeMap<String, (String, Value)> {
    assert_eq!(run["status"], "finished");
    let configurations = run["configurations"].as_array().unwrap();
    let read = |c: &Value| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&c["id"]), (text(&c["outcome"]["status"]), c.clone()))
    };
    configurations.iter().map(read).collect()
}

fn statuses(run: &Value) -> Vec<String> {
    outcomes(run).into_values().map(|(status, _)| status).collect()
}

#[test]
fn a_run_without_faults_measures_verifies_and_records_everything() {
    let machine = Machine::whole();
    let outcome = machine.measure_with("", &[], &["--verify"]).succeeded(&[
        "NOT A GPU",
        "device: stand-in (not a GPU) (cudnn-stand-in), cuDNN 9.28.0",
        "an empty launch takes",
        "measured 3 of 3",
    ]);
    outcome.leaked_nothing();
    let run = machine.run();
    let platform = &run["plan"]["platform"];
    assert_eq!(platform["backend"], "cudnn-stand-in");
    assert_eq!(platform["gpu"]["compute_capability"], "8.9");
    assert_eq!(run["plan"]["settings"]["protocol"], "device-queued-latency-warm");
    for (id, (status, record)) in outcomes(&run) {
        assert_eq!(status, "measured", "{id}");
        let outcome = &record["outcome"];
        assert_eq!(outcome["verified"], true);
        // the first engine is less precise than TF32, the second wants a workspace
        let plan = &outcome["plan"];
        assert_eq!((plan["rank"].as_u64(), plan["timed"].as_array().unwrap().len()), (Some(1), 0));
        assert!(plan["refused"][0]["reason"].as_str().unwrap().contains("less precise than TF32"));
        assert_eq!(outcome["algorithm"].as_str().unwrap().split('-').next(), Some("engine"));
        assert_eq!(outcome["workspace_bytes"], plan["workspace_bytes"]);
        let device = &outcome["device"];
        assert!(device["samples"].as_u64().unwrap() >= 2);
        assert!(device["sm_clock_mhz"]["min"].as_u64().unwrap() > 0);
        assert!(device["power_mw"]["max"].as_u64().unwrap() > 0);
    }
}

#[test]
fn settings_choose_arithmetic_plan_clock_cache_and_throughput() {
    let machine = Machine::whole();
    let variables = [
        ("ALPHA_FLOPS_MATH", "fp32"),
        ("ALPHA_FLOPS_PLAN", "measured"),
        ("ALPHA_FLOPS_CACHE", "cold"),
    ];
    let outcome = machine.measure_with("", &variables, &["--verify"]).succeeded(&[]);
    let cold = outcome.leaked_nothing();
    for (_, record) in outcomes(&machine.run()).into_values() {
        let plan = &record["outcome"]["plan"];
        // of the four engines only the last computes in f32, and tells a note that nobody knows
        assert_eq!(plan["refused"].as_array().unwrap().len(), 3, "{plan}");
        assert_eq!(plan["numerical_notes"], serde_json::json!([1000]));
        assert_eq!(plan["timed"].as_array().unwrap().len(), 1);
        assert!(plan["timed"][0]["device_ns"].as_f64().unwrap() > 0.0);
    }
    let machine = Machine::whole();
    let variables = [
        ("ALPHA_FLOPS_PROTOCOL", "throughput"),
        ("ALPHA_FLOPS_CLOCK", "host"),
        ("ALPHA_FLOPS_PLAN", "measured"),
        ("ALPHA_FLOPS_THROUGHPUT_LAUNCHES", "7"),
    ];
    let outcome = machine.measure_with("", &variables, &[]).succeeded(&["host-throughput-7-warm"]);
    let throughput = outcome.leaked_nothing();
    for (_, record) in outcomes(&machine.run()).into_values() {
        let timed = record["outcome"]["plan"]["timed"].as_array().unwrap();
        assert_eq!(timed.len(), 3);
        let device_ns = |plan: &Value| plan["device_ns"].as_f64().unwrap();
        let best = timed.iter().map(device_ns).fold(f64::INFINITY, f64::min);
        // half a microsecond is what the clock can tell
        let as_fast = timed.iter().find(|plan| device_ns(plan) <= best + 500.0).unwrap();
        assert_eq!(record["outcome"]["plan"]["rank"], as_fast["rank"]);
    }
    // without a monitor that wants launches of its own: the plans are warmed up for a while, then
    // timed, the chosen one verified once, and launched seven times in each of 11 samples
    assert!(throughput.calls("cudnnBackendExecute") > 4 * (3 * 8) + 1 + 3 * 77);
    // the cache is flushed before each of 11 samples and of 8 or more launches of the one plan; the
    // output is poisoned, and the plan has no workspace
    assert!(cold.calls("cuMemsetD8Async") >= 3 * (11 + 8 + 1));
}

#[test]
fn a_device_or_version_that_is_not_there_is_named_with_the_remedy() {
    for (faults, device, words) in [
        ("no-device", "0", &["cuInit returned CUDA_ERROR_NO_DEVICE (100)", "nvidia-smi"][..]),
        ("", "1", &["there is no CUDA device 1: 1 visible", "ALPHA_FLOPS_DEVICE"]),
        ("cudnn-version=8907", "0", &["cuDNN is version 8.9.7, expected 9.0.0 or newer"]),
        (
            "driver-version=11080",
            "0",
            &["the CUDA that the NVIDIA driver supports is version 11.8, expected 12.0 or newer"],
        ),
        (
            "cudart-version=13000",
            "0",
            &["version 12.9, expected 13.0 or newer", "cuDNN that is built"],
        ),
    ] {
        let machine = Machine::whole();
        let outcome = machine.measure_with(faults, &[("ALPHA_FLOPS_DEVICE", device)], &[]);
        outcome.failed(words).leaked_nothing();
        assert!(!machine.runs().exists(), "{faults}");
    }
}

/// The stand-in without one of its functions: its name in the table of dynamic symbols is changed,
/// so that looking it up finds the hash and not the name.
fn without_function(folder: &Path, function: &str) -> PathBuf {
    let mut bytes = std::fs::read(stand_in()).unwrap();
    let name = [&[0], function.as_bytes(), &[0]].concat();
    let places: Vec<usize> = bytes
        .windows(name.len())
        .enumerate()
        .filter_map(|(place, window)| (window == name).then_some(place))
        .collect();
    assert!(!places.is_empty(), "{function}");
    for place in places {
        bytes[place + 1] = b'X';
    }
    let path = folder.join(format!("without-{function}.so"));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn an_old_cudnn_is_called_old_and_not_incomplete() {
    let folder = tempfile::tempdir().unwrap();
    // which 9.0 has, and 8.9 has not
    let library = without_function(folder.path(), "cudnnGetLastErrorString");
    let machine = Machine::with(&NAMES, &library);
    machine.measure("cudnn-version=8907").failed(&["cuDNN is version 8.9.7, expected 9.0.0"]);
}

#[test]
fn a_gpu_that_does_not_work_is_no_reason_to_measure_for_hours_on_the_cpu() {
    let machine = Machine::whole();
    let auto = [("ALPHA_FLOPS_BACKEND", "auto")];
    let faults = "fail-call=cuDevicePrimaryCtxRetain";
    let words = ["cuDevicePrimaryCtxRetain returned", "instead, set ALPHA_FLOPS_BACKEND=cpu"];
    machine.measure_with(faults, &auto, &[]).failed(&words).leaked_nothing();
    assert!(!machine.runs().exists());
    let outcome = machine.measure_with("no-device", &auto, &[]);
    outcome.succeeded(&["on the CPU: cuInit returned CUDA_ERROR_NO_DEVICE (100)"]);
}

#[test]
fn each_function_that_a_library_lacks_is_named() {
    let called =
        Machine::whole().measure_with("", &[("ALPHA_FLOPS_PLAN", "measured")], &["--verify"]);
    let called = called.succeeded(&[]).report.unwrap();
    let names = called["calls"].as_object().unwrap().keys();
    let mut functions: Vec<&str> =
        names.map(String::as_str).filter(|name| name.starts_with("cu")).collect();
    // called only when something fails
    functions.extend(["cuGetErrorName", "cudnnGetErrorString", "cudnnGetLastErrorString"]);
    assert!(functions.len() >= 39, "{functions:?}");
    let folder = tempfile::tempdir().unwrap();
    for function in functions {
        let library = without_function(folder.path(), function);
        let machine = Machine::with(&NAMES, &library);
        let words = format!("has no function {function}: install");
        machine.measure("").failed(&[&words]);
        assert!(!machine.runs().exists());
        std::fs::remove_file(library).unwrap();
    }
}

#[test]
fn want_of_memory_at_any_allocation_skips_or_takes_another_plan_and_leaks_nothing() {
    let mut skipped_in_all = 0;
    for n in 1.. {
        let machine = Machine::whole();
        let outcome = machine.measure(&format!("fail-allocation={n}"));
        let outcome = outcome.succeeded(&[]).leaked_nothing();
        if outcome.calls("cuMemAlloc_v2") < n {
            break;
        }
        let outcomes = outcomes(&machine.run());
        let skipped: Vec<_> = outcomes.values().filter(|(status, _)| status == "skipped").collect();
        assert!(skipped.len() <= 1 && outcomes.len() == 3);
        skipped_in_all += skipped.len();
        let refused = outcomes.values().flat_map(|(_, record)| {
            record["outcome"]["plan"]["refused"].as_array().cloned().unwrap_or_default()
        });
        let no_workspace = |refused: &Value| {
            let reason = refused["reason"].as_str().unwrap();
            reason.contains("cuMemAlloc_v2 returned CUDA_ERROR_OUT_OF_MEMORY (2)")
        };
        let another_plan = refused.filter(no_workspace).count();
        // the first convolution is prepared to be verified, and again to be measured; before that, the
        // probe has memory to copy, without which it says nothing
        let matters = n > 6;
        assert_eq!(skipped.len() + another_plan, usize::from(matters), "{n}");
        if let [(_, record)] = skipped[..] {
            let reason = record["outcome"]["reason"].as_str().unwrap();
            let id = record["id"].as_str().unwrap().strip_prefix("A/").unwrap();
            assert!(reason.starts_with(&format!("{id}: cuMemAlloc_v2 returned")), "{reason}");
            assert!(reason.contains("CUDA_ERROR_OUT_OF_MEMORY (2), "), "{reason}");
            assert!(reason.contains("lower ALPHA_FLOPS_MEMORY_LIMIT_GIB"), "{reason}");
        }
    }
    // three tensors of three convolutions; the workspaces have alternatives
    assert_eq!(skipped_in_all, 9);
}

#[test]
fn a_device_with_too_little_memory_skips_what_does_not_fit_before_trying() {
    let machine = Machine::whole();
    machine
        .measure("memory=10000")
        .succeeded(&["skipped: needs", "of memory is free"])
        .leaked_nothing();
    let outcomes = outcomes(&machine.run());
    assert_eq!(outcomes.values().filter(|(status, _)| status == "skipped").count(), 2);
}

#[test]
fn refused_plans_are_recorded_with_cudnns_reason_and_the_next_is_taken() {
    // the first of each is not even tried: it is too imprecise
    for (refused, math, rank) in [(1, "tf32", 2), (2, "tf32", 3), (0, "fp32", 3)] {
        let machine = Machine::whole();
        let variables = [("ALPHA_FLOPS_MATH", math)];
        let outcome = machine.measure_with(&format!("refuse-plans={refused}"), &variables, &[]);
        outcome.succeeded(&[]).leaked_nothing();
        for (_, record) in outcomes(&machine.run()).into_values() {
            let plan = &record["outcome"]["plan"];
            assert_eq!(plan["rank"], rank);
            let reasons = plan["refused"].as_array().unwrap();
            assert_eq!(reasons.len(), rank);
            let by_cudnn = reasons.iter().filter(|refused| {
                let reason = refused["reason"].as_str().unwrap();
                reason
                    .starts_with("cudnnBackendFinalize returned CUDNN_STATUS_NOT_SUPPORTED (3000)")
            });
            assert_eq!(by_cudnn.count(), refused);
        }
    }
    let machine = Machine::whole();
    let outcome = machine.measure("refuse-plans=all").failed(&[
        "cuDNN has no execution plan: 4 engine configurations, all refused: 1 less precise than TF32",
        "; 3 cudnnBackendFinalize returned CUDNN_STATUS_NOT_SUPPORTED (3000)",
        "measured 0 of 3",
    ]);
    outcome.leaked_nothing();
    assert_eq!(statuses(&machine.run()), ["failed"; 3]);
    // a workspace that is never free
    let machine = Machine::whole();
    let outcome = machine.measure("workspace=9000000000");
    outcome.failed(&["a workspace of 8.382 GiB, where"]).leaked_nothing();
}

#[test]
fn a_launch_that_fails_fails_its_configuration_alone() {
    // 1 tries the plan of the first configuration out and 2 verifies it; then each has a plan tried
    // out, a warm-up, and ten launches
    for (n, failed) in [(1, 0), (2, 0), (3, 0), (4, 1), (14, 1), (15, 0), (16, 1), (38, 1), (39, 0)]
    {
        let machine = Machine::whole();
        let outcome = machine.measure(&format!("no-nvml,fail-execution={n}")).leaked_nothing();
        let statuses = statuses(&machine.run());
        assert_eq!(statuses.iter().filter(|status| *status == "failed").count(), failed, "{n}");
        assert_eq!(statuses.iter().filter(|status| *status == "measured").count(), 3 - failed);
        let words = "cudnnBackendExecute returned CUDNN_STATUS_EXECUTION_FAILED (5000)";
        if failed == 1 {
            outcome.failed(&[words, "k=1: cudnnBackendExecute", "repeat the command"]);
        } else {
            outcome.succeeded(&[]);
            // a plan that cannot be launched is passed over
            let passed_over = machine.run().to_string().contains(words);
            assert_eq!(passed_over, n == 3 || n == 15, "{n}");
        }
    }
}

#[test]
fn a_fault_that_kills_the_context_ends_the_run_and_what_was_measured_before_is_safe() {
    for (n, kept) in [(1, 1), (2, 1), (3, 1), (4, 1), (14, 1), (15, 2), (20, 2), (38, 3)] {
        let machine = Machine::whole();
        let words = [
            "CUDA_ERROR_ILLEGAL_ADDRESS (700)",
            "is tried again last",
            "repeat the command to resume",
        ];
        machine.measure(&format!("no-nvml,sticky={n}")).failed(&words).leaked_nothing();
        let parts = machine.parts();
        assert_eq!(parts.len(), kept, "{n}");
        let lost = parts.iter().filter(|part| part["record"]["outcome"]["device_lost"] == true);
        assert_eq!(lost.count(), 1);
        let words: &[&str] = &["resuming the unfinished run", "measured 3 of 3"];
        machine.measure("no-nvml").succeeded(words).leaked_nothing();
        let run = machine.run();
        assert_eq!(run["sessions"].as_array().unwrap().len(), 2);
        let attempts = outcomes(&run).into_values().map(|(_, record)| record["attempts"].as_u64());
        assert_eq!(attempts.filter(|attempts| *attempts == Some(2)).count(), 1);
    }
}

#[test]
fn a_configuration_that_kills_the_context_every_time_is_given_up() {
    let machine = Machine::whole();
    machine.measure("no-nvml,sticky=4").failed(&["is tried again last"]);
    // another is verified, the other two have 12 launches each
    machine.measure("no-nvml,sticky=27").failed(&["is tried again last"]);
    // all have an outcome, so nothing is verified
    machine.measure("no-nvml,sticky=1").failed(&["is tried again last"]);
    machine.measure("no-nvml").failed(&["measured 2 of 3", "CUDA_ERROR_ILLEGAL_ADDRESS"]);
    assert_eq!(statuses(&machine.run()).iter().filter(|status| *status == "failed").count(), 1);
}

#[test]
fn a_device_that_dies_at_every_launch_ends_in_a_finished_run_all_the_same() {
    let machine = Machine::whole();
    // three attempts at each of three configurations, verifying among them
    for _ in 0..9 {
        machine.measure("no-nvml,sticky=1").failed(&["is tried again last"]);
    }
    machine.measure("no-nvml,sticky=1").failed(&["measured 0 of 3"]);
    let attempts = outcomes(&machine.run()).into_values();
    assert!(attempts.map(|(_, record)| record["attempts"].as_u64()).all(|n| n == Some(3)));
}

#[test]
fn an_attempt_that_fails_keeps_what_the_one_before_measured() {
    let machine = Machine::whole();
    // throttled always, and out of memory when the first is measured again: four allocations to
    // verify, two to probe, four for each configuration
    machine.measure("throttle=always,fail-allocation=19").succeeded(&["measured 3 of 3"]);
    let attempts = outcomes(&machine.run()).into_values().map(|(_, record)| record);
    assert!(attempts.into_iter().all(|record| record["attempts"] == 3
        && record["outcome"]["summary"]["launches"] == 10));
}

#[test]
fn a_hang_is_ended_by_the_timeout() {
    let machine = Machine::whole();
    let variables = [("ALPHA_FLOPS_LAUNCH_TIMEOUT", "200ms")];
    let words =
        ["the device has not finished after 200ms", "repeat the command to resume", "k=1: the"];
    machine.measure_with("no-nvml,hang=20", &variables, &[]).failed(&words);
    assert_eq!(machine.parts().len(), 2);
    let words = ["resuming the unfinished run", "measured 3 of 3"];
    machine.measure_with("no-nvml", &variables, &[]).succeeded(words.as_slice()).leaked_nothing();
}

#[test]
fn a_hang_of_one_launch_of_many_or_of_a_plan_that_is_tried_is_found_after_one_timeout() {
    for (faults, name, value) in [
        ("no-nvml,hang=20", "ALPHA_FLOPS_PROTOCOL", "throughput"),
        // while the device is kept busy, so that its state can be read
        ("hang=40", "ALPHA_FLOPS_CLOCK", "host"),
        ("no-nvml,hang=1", "ALPHA_FLOPS_PLAN", "heuristic"),
        ("no-nvml,hang=3", "ALPHA_FLOPS_PLAN", "measured"),
    ] {
        let variables = [("ALPHA_FLOPS_LAUNCH_TIMEOUT", "200ms"), (name, value)];
        let words = "the device has not finished after ";
        let outcome = Machine::whole().measure_with(faults, &variables, &[]).failed(&[words]);
        // the timeout, and what the launches themselves should take; 50 timeouts are 10 s
        let waited = outcome.output.split_once(words).unwrap().1.split_once(':').unwrap().0;
        let waited = humantime::parse_duration(waited).unwrap();
        assert!((200..10_000).contains(&waited.as_millis()), "{waited:?}");
    }
}

#[test]
fn times_that_are_none_fail_their_configuration_and_are_never_recorded() {
    // two thousand empty launches have times, too, each probe 3, and the first configuration 11
    for (time, shown) in [("nan", "NaN"), ("zero", "0"), ("negative", "-")] {
        let machine = Machine::whole();
        let words = format!("took {shown}");
        let faults = format!("event-time={time},event-time-from=2018");
        let outcome = machine.measure(&faults);
        outcome
            .failed(&[&words, "by the device's clock, expected a finite time above 0"])
            .leaked_nothing();
        let statuses = statuses(&machine.run());
        assert_eq!(statuses.iter().filter(|status| *status == "measured").count(), 1);
        machine.measure("").succeeded(&["measured 3 of 3"]);
    }
}

#[test]
fn a_throttled_configuration_is_measured_again_last_and_flagged_if_it_stays_so() {
    let machine = Machine::whole();
    machine.measure("throttle=2").succeeded(&["throttled", "measured 3 of 3"]).leaked_nothing();
    let attempts = |run: &Value| -> Vec<u64> {
        let mut attempts: Vec<u64> = outcomes(run)
            .into_values()
            .map(|(_, record)| record["attempts"].as_u64().unwrap())
            .collect();
        attempts.sort_unstable();
        attempts
    };
    assert_eq!(attempts(&machine.run()), [1, 1, 2]);
    let machine = Machine::whole();
    let words =
        ["3 configurations were measured while the device was throttled", "measured 3 of 3"];
    machine.measure("throttle=always").succeeded(&words).leaked_nothing();
    let run = machine.run();
    assert_eq!(attempts(&run), [3, 3, 3]);
    for (_, record) in outcomes(&run).into_values() {
        assert_eq!(record["outcome"]["device"]["throttle_reasons"], 0x20);
        assert_eq!(record["outcome"]["summary"]["launches"], 10);
    }
}

#[test]
fn wrong_results_end_the_run_before_anything_is_measured() {
    let machine = Machine::whole();
    let words =
        ["output[", "expected", "nothing was measured: times of wrong results mean nothing"];
    machine.measure("wrong-output").failed(&words).leaked_nothing();
    machine.left_no_run();
    // with `--verify` each is named, and none is measured
    let machine = Machine::whole();
    let words = ["failed: h=", "measured 0 of 3"];
    machine.measure_with("wrong-output", &[], &["--verify"]).failed(&words).leaked_nothing();
}

#[test]
fn clocks_that_still_rise_keep_the_warm_up_going() {
    let machine = Machine::whole();
    let standard = [("ALPHA_FLOPS_PROFILE", "standard"), ("ALPHA_FLOPS_LAUNCHES", "10")];
    machine.measure_with("clock=ramp", &standard, &[]).succeeded(&["measured 6 of 6"]);
    let mut run = outcomes(&machine.run()).into_values();
    let steady = |record: &Value| record["outcome"]["warm_up"]["ended"] == "steady";
    assert!(run.all(|(_, record)| steady(&record)));
}

#[test]
fn a_failure_of_any_call_is_named_and_leaks_nothing() {
    let called =
        Machine::whole().measure_with("", &[], &["--verify"]).succeeded(&[]).report.unwrap();
    for function in called["calls"].as_object().unwrap().keys() {
        // a version is no status
        if !function.starts_with("cu") || function.ends_with("Version") {
            continue;
        }
        // what is allocated first is for the probe, which does without it
        let nth = if function == "cuMemAlloc_v2" { ":3" } else { "" };
        let machine = Machine::whole();
        let faults = format!("fail-call={function}{nth}");
        let outcome = machine.measure_with(&faults, &[], &["--verify"]).leaked_nothing();
        let words = format!("{function} returned");
        let releases = ["Destroy", "Free", "Release"].iter().any(|word| function.contains(word));
        // what is released is gone either way, and no context is current in the end either
        if releases || function == "cuMemGetInfo_v2" {
            outcome.succeeded(&[]);
        } else if machine.runs().exists() {
            let recorded = machine.run().to_string().contains(&words);
            assert!(recorded || outcome.output.contains(&words), "{function}: {}", outcome.output);
        } else {
            outcome.failed(&[&words]);
        }
    }
}

#[test]
fn variables_that_change_what_cudnn_does_are_recorded_or_refused() {
    let machine = Machine::whole();
    let variable = [("NVIDIA_TF32_OVERRIDE", "0")];
    let words = ["NVIDIA_TF32_OVERRIDE=0 turns TF32 off", "set ALPHA_FLOPS_MATH=fp32"];
    machine.measure_with("", &variable, &[]).failed(&words);
    let variables = [variable[0], ("ALPHA_FLOPS_MATH", "fp32"), ("CUDA_PATH", "/nowhere")];
    machine.measure_with("", &variables, &[]).succeeded(&[]);
    let recorded = &machine.run()["plan"]["platform"]["gpu"]["variables"];
    assert_eq!(*recorded, serde_json::json!({ "NVIDIA_TF32_OVERRIDE": "0" }));
}

#[test]
fn criterions_own_launches_and_lists_use_the_same_backend() {
    let machine = Machine::whole();
    let outcome = machine.measure_with("", &[], &["--test"]);
    let outcome = outcome.succeeded(&["Testing A/h=1_w=2_in=100_out=50_k=1", "Success"]);
    outcome.leaked_nothing();
    assert!(!machine.runs().exists());
    let listed = |resolution: &[(&str, &str)]| {
        let outcome = machine.measure_with("", resolution, &["--list"]).succeeded(&[]);
        outcome.output.matches(": benchmark").count()
    };
    assert_eq!(listed(&[]), 3);
}
