use super::*;
use crate::backend::{cpu, cudnn};

fn load(variables: &[(&str, &str)], file: &str) -> Result<Settings, SettingsError> {
    load_for(&cpu::KIND, variables, file)
}

fn load_for(
    kind: &BackendKind,
    variables: &[(&str, &str)],
    file: &str,
) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.toml");
    std::fs::write(&path, file).unwrap();
    let variables = variables.iter().map(|(n, v)| ((*n).into(), (*v).into()));
    let requested = Requested::load(variables, &path, Path::new("runs"));
    requested.and_then(|requested| requested.settings(kind))
}

#[test]
fn variables_win_over_the_file_and_the_file_over_defaults() {
    let file = "profile = \"paper\"\nthreads = 3\nexperiments = \"g,A,a\"";
    let settings = load(&[("ALPHA_FLOPS_PROFILE", "smoke"), ("HOME", "/nowhere")], file).unwrap();
    assert_eq!(settings.profile, Profile::Smoke);
    let BackendSettings::Cpu(options) = settings.backend else { panic!() };
    assert_eq!(options.threads.get(), 3);
    assert_eq!(settings.experiments, [Experiment::A, Experiment::G]);
    assert_eq!(settings.resolution, Resolution::Original);
    assert_eq!(settings.time_budget, None);
}

#[test]
fn a_run_makes_passes_unless_it_only_tries_whether_it_runs() {
    let passes = |variables: &[(&str, &str)]| load(variables, "").unwrap().passes.get();
    assert_eq!(passes(&[]), 5);
    assert_eq!(passes(&[("ALPHA_FLOPS_PROFILE", "paper")]), 5);
    assert_eq!(passes(&[("ALPHA_FLOPS_PROFILE", "smoke")]), 1);
    assert_eq!(passes(&[("ALPHA_FLOPS_PROFILE", "smoke"), ("ALPHA_FLOPS_PASSES", "3")]), 3);
    for wrong in ["0", "11", "1.5", ""] {
        let error = load(&[("ALPHA_FLOPS_PASSES", wrong)], "").unwrap_err().to_string();
        assert!(error.contains("expected a whole number from 1 to 10"), "{error}");
    }
}

#[test]
fn a_time_budget_is_the_default_of_the_standard_profile_alone() {
    assert_eq!(load(&[], "").unwrap().time_budget, Some(Duration::from_secs(240)));
    assert_eq!(load(&[], "profile = \"paper\"").unwrap().time_budget, None);
    let none = load(&[("ALPHA_FLOPS_TIME_BUDGET", "none")], "").unwrap();
    assert_eq!(none.time_budget, None);
    let hours = load(&[("ALPHA_FLOPS_TIME_BUDGET", "2h")], "").unwrap();
    assert_eq!(hours.time_budget, Some(Duration::from_secs(7200)));
}

#[test]
fn errors_name_the_variable_or_the_file_and_key() {
    let message = |variables: &[(&str, &str)], file| load(variables, file).unwrap_err().to_string();
    assert_eq!(
        message(&[("ALPHA_FLOPS_PROFILE", "papre")], ""),
        "ALPHA_FLOPS_PROFILE: `papre`: no such profile, expected `paper`, `standard` or `smoke`"
    );
    assert!(
        message(&[("ALPHA_FLOPS_PROFIEL", "x")], "")
            .starts_with("ALPHA_FLOPS_PROFIEL is no setting")
    );
    assert!(message(&[], "threads = 0").contains("bench.toml: threads: `0`"));
    assert!(message(&[], "thread = 1").contains("bench.toml: thread is no setting"));
    assert!(message(&[], "threads = ").contains("line 1"));
    assert!(message(&[("ALPHA_FLOPS_MEMORY_LIMIT_GIB", "-1")], "").contains("above 0"));
}

#[test]
fn a_gpu_measures_everything_by_its_own_clock_unless_told_otherwise() {
    let gpu = |variables: &[(&str, &str)]| load_for(&cudnn::KIND, variables, "");
    let settings = gpu(&[]).unwrap();
    assert_eq!(settings.resolution, Resolution::Full);
    assert_eq!(settings.time_budget, Some(Duration::from_secs(3600)));
    assert_eq!(settings.memory_limit, None);
    assert_eq!(
        settings.protocol_line(),
        "device-queued-latency-warm, math tf32, plan heuristic, profile standard, 4 passes"
    );
    let settings = gpu(&[
        ("ALPHA_FLOPS_CLOCK", "host"),
        ("ALPHA_FLOPS_PROTOCOL", "throughput"),
        ("ALPHA_FLOPS_MATH", "fp32"),
        ("ALPHA_FLOPS_PLAN", "measured"),
        ("ALPHA_FLOPS_LAUNCHES", "10"),
    ]);
    assert_eq!(
        settings.unwrap().protocol_line(),
        "host-throughput-50-warm, math fp32, plan measured, 10 samples, 4 passes"
    );
}

#[test]
fn what_a_backend_cannot_do_is_refused_with_the_reason() {
    let message = |kind: &BackendKind, variables: &[(&str, &str)]| {
        load_for(kind, variables, "").unwrap_err().to_string()
    };
    let cold = ("ALPHA_FLOPS_CACHE", "cold");
    assert_eq!(
        message(&cpu::KIND, &[cold]),
        "ALPHA_FLOPS_CACHE: `cold`: only the cudnn backend can flush caches"
    );
    let clock = [("ALPHA_FLOPS_CLOCK", "device")];
    assert!(message(&cpu::KIND, &clock).contains("the cpu backend has no clock of its own"));
    let both = [cold, ("ALPHA_FLOPS_PROTOCOL", "throughput")];
    assert!(message(&cudnn::KIND, &both).contains("warm the cache for each other"));
    let no_backend = message(&cpu::KIND, &[("ALPHA_FLOPS_BACKEND", "rocm")]);
    assert!(no_backend.ends_with("expected `auto`, `cpu` or `cudnn`"), "{no_backend}");
    // also where another backend would be taken
    let math = [("ALPHA_FLOPS_BACKEND", "cpu"), ("ALPHA_FLOPS_MATH", "fp16")];
    assert!(message(&cpu::KIND, &math).starts_with("ALPHA_FLOPS_MATH: `fp16`"));
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    for (variable, value, range) in [
        ("ALPHA_FLOPS_THREADS", "0", "from 1 to 1024"),
        ("ALPHA_FLOPS_THREADS", "100000", "from 1 to 1024"),
        ("ALPHA_FLOPS_SEED", "-1", "from 0 to 18446744073709551615"),
        ("ALPHA_FLOPS_TIME_BUDGET", "18446744073709551615s", "at most 10 years"),
        ("ALPHA_FLOPS_TIME_BUDGET", "0s", "more than zero"),
        ("ALPHA_FLOPS_MEMORY_LIMIT_GIB", "nan", "below 1000000"),
        ("ALPHA_FLOPS_DEVICE", "-1", "from 0 on"),
        ("ALPHA_FLOPS_LAUNCHES", "9", "from 10 to 1000000"),
        ("ALPHA_FLOPS_THROUGHPUT_LAUNCHES", "1", "from 2 to 10000"),
        ("ALPHA_FLOPS_LAUNCH_TIMEOUT", "0s", "more than zero"),
    ] {
        let message = load(&[(variable, value)], "").unwrap_err().to_string();
        assert!(message.starts_with(variable) && message.contains(range), "{message}");
    }
    let message = load(&[], "memory_limit_gib = 1e300").unwrap_err().to_string();
    assert!(message.contains("`1e300`: expected a number of GiB above 0"), "{message}");
}

#[test]
fn a_seed_that_toml_has_no_integer_for_is_a_string() {
    let settings = load(&[], "seed = \"18446744073709551615\"").unwrap();
    assert_eq!(settings.seed, Some(u64::MAX));
}

#[test]
fn runs_in_the_file_are_relative_to_its_folder_and_never_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("bench.toml");
    std::fs::write(&toml, "runs = \"mine\"").unwrap();
    let variable = |value: &str| std::iter::once(("ALPHA_FLOPS_RUNS".into(), value.into()));
    let runs = |variables: &mut dyn Iterator<Item = (OsString, OsString)>| {
        Requested::load(variables, &toml, Path::new("default")).map(|found| found.runs())
    };
    assert_eq!(runs(&mut std::iter::empty()).unwrap(), folder.path().join("mine"));
    assert_eq!(runs(&mut variable("yours")).unwrap(), Path::new("yours"));
    let message = runs(&mut variable("")).unwrap_err().to_string();
    assert_eq!(message, "ALPHA_FLOPS_RUNS: ``: expected the path of a folder");
}

#[cfg(unix)]
#[test]
fn only_runs_may_be_other_than_utf_8() {
    use std::os::unix::ffi::OsStringExt;
    let garbled = OsString::from_vec(vec![b'a', 0xff]);
    let load = |name: &str| {
        let variables = std::iter::once((name.into(), garbled.clone()));
        Requested::load(variables, Path::new("no such file"), Path::new("runs"))
    };
    assert_eq!(load("ALPHA_FLOPS_RUNS").unwrap().runs(), PathBuf::from(&garbled));
    assert_eq!(load("HOME").unwrap().runs(), Path::new("runs"));
    let message = load("ALPHA_FLOPS_PROFILE").unwrap_err().to_string();
    assert!(message.starts_with("ALPHA_FLOPS_PROFILE: "), "{message}");
    assert!(message.contains("not UTF-8"), "{message}");
}
