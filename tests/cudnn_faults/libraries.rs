//! Where NVIDIA's libraries are found, and what is said where they are not.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use alpha_flops::doctor::examine;
use alpha_flops::settings::Requested;
use serde_json::Value;

use super::{Machine, NAMES, Outcome, stand_in, without_function};

const AUTO: [(&str, &str); 2] = [("ALPHA_FLOPS_BACKEND", "auto"), ("ALPHA_FLOPS_THREADS", "1")];

/// cuDNN and its parts.
fn cudnn() -> &'static [&'static str] {
    &NAMES[1..7]
}

/// The loader would find the real ones.
fn this_machine_has_a_library() -> bool {
    // SAFETY: loading runs the initialisers of NVIDIA's libraries.
    let has = |name: &&&str| unsafe { libloading::Library::new(**name) }.is_ok();
    let found = NAMES.iter().find(has);
    if let Some(name) = found {
        println!("skipped: this machine has {name}");
    }
    found.is_some()
}

/// Puts the stand-in into a folder by such names.
fn put(folder: &Path, names: &[&str]) {
    std::fs::create_dir_all(folder).unwrap();
    for name in names {
        std::os::unix::fs::symlink(stand_in(), folder.join(name)).unwrap();
    }
}

/// Variables of which none leads to a library of this machine.
fn nowhere<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let without = [("VIRTUAL_ENV", ""), ("CONDA_PREFIX", ""), ("PATH", "/nowhere")];
    let without = without.into_iter().filter(|(name, _)| more.iter().all(|(own, _)| own != name));
    without.chain(more.iter().copied()).collect()
}

fn libraries_of(run: &Value) -> &Value {
    &run["plan"]["platform"]["gpu"]["libraries"]
}

#[test]
fn without_a_driver_the_cpu_is_used_and_one_line_says_why() {
    if this_machine_has_a_library() {
        return;
    }
    let reason = "the NVIDIA driver's libcuda cannot be loaded (tried libcuda.so.1; libcuda.so): \
                  install";
    let machine = Machine::with(&[], &stand_in());
    let outcome = machine.measure_with("", &AUTO, &[]);
    let outcome = outcome.succeeded(&[&format!("on the CPU: {reason}"), "measured 3 of 3"]);
    assert_eq!(outcome.output.matches("on the CPU: ").count(), 1);
    let run = machine.run();
    assert_eq!(run["plan"]["platform"]["backend"], "cpu");
    assert!(run["sessions"][0]["why_cpu"].as_str().unwrap().starts_with(reason));
    // asked for, it is an error
    let machine = Machine::with(&[], &stand_in());
    machine.measure("").failed(&[reason, "ALPHA_FLOPS_BACKEND=cpu"]);
    assert!(!machine.runs().exists());
    Machine::with(&NAMES[..8], &stand_in())
        .measure("")
        .succeeded(&["no clocks, temperature or throttling in the record: NVML cannot be used"])
        .leaked_nothing();
}

#[test]
fn what_keeps_a_run_from_being_resumed_is_said_and_a_gpu_that_is_gone_is_an_error() {
    let machine = Machine::whole();
    machine.measure("no-nvml,sticky=15").failed(&["repeat the command to resume"]);
    machine.measure_with("no-nvml,no-device", &AUTO, &[]).failed(&[
        "which is gone: cuInit returned CUDA_ERROR_NO_DEVICE",
        "ALPHA_FLOPS_BACKEND=cpu",
    ]);
    machine.measure("").succeeded(&[
        "is unfinished and not resumed: platform.gpu.driver: there none, now ",
        "platform.gpu.nvml_missing: there ",
        "measured 3 of 3",
    ]);
}

#[test]
fn a_gpu_without_a_whole_cudnn_is_an_error_and_no_run_on_the_cpu() {
    if this_machine_has_a_library() {
        return;
    }
    for (names, words) in [
        (
            &NAMES[..1],
            &["cuDNN's libcudnn cannot be loaded (tried ", "pip install nvidia-cudnn"][..],
        ),
        (&NAMES[..2], &["libcudnn_graph.so.9, without which cuDNN ends the process"]),
        (&NAMES[..5], &["libcudnn_engines_precompiled.so.9, without which"]),
        (&NAMES[..7], &["cuBLAS's libcublasLt", "pip install nvidia-cublas-cu12"]),
    ] {
        for backend in ["auto", "cudnn"] {
            let machine = Machine::with(names, &stand_in());
            let variables = nowhere(&[("ALPHA_FLOPS_BACKEND", backend)]);
            let outcome = machine.measure_with("", &variables, &[]).failed(words);
            assert_eq!(outcome.output.matches("ALPHA_FLOPS_BACKEND=cpu").count(), 1);
            assert!(!machine.runs().exists());
        }
    }
    // too old, as is said of the first that was found
    let machine = Machine::whole();
    machine
        .measure_with("cudnn-version=8907", &nowhere(&AUTO), &[])
        .failed(&["cuDNN is version 8.9.7"]);
}

#[test]
fn a_stub_for_building_programs_is_passed_over_and_is_no_gpu() {
    let machine = Machine::with(&NAMES[..1], &stand_in());
    let words = ["on the CPU: cuDriverGetVersion returned CUDA_ERROR_STUB_LIBRARY (34)"];
    machine.measure_with("stub", &AUTO, &[]).succeeded(&words);
    // an unusable one of the first name, and a good one of the next
    let machine = Machine::with(&NAMES[1..], &stand_in());
    let folder = machine.folder.path().join("libraries");
    let unusable = without_function(machine.folder.path(), "cuDriverGetVersion");
    std::os::unix::fs::symlink(unusable, folder.join("libcuda.so.1")).unwrap();
    put(&folder, &["libcuda.so"]);
    machine.measure("").succeeded(&["NOT A GPU", "measured 3 of 3"]);
}

#[test]
fn an_old_driver_without_a_device_is_no_gpu_and_with_one_an_error() {
    let machine = Machine::whole();
    machine
        .measure_with("driver-version=11080,no-device", &AUTO, &[])
        .succeeded(&["on the CPU: there is no CUDA device 0: 0 visible"]);
    let machine = Machine::whole();
    machine
        .measure_with("driver-version=11080", &AUTO, &[])
        .failed(&["supports is version 11.8", "expected 12.0 or newer: install a newer driver"]);
}

/// A machine with a driver, whose user has the rest elsewhere: below the folder that is given.
fn has_the_rest_in(lay_out: impl Fn(&Path)) -> (Machine, PathBuf) {
    let machine = Machine::with(&["libcuda.so.1", "libnvidia-ml.so.1"], &stand_in());
    let elsewhere = machine.folder.path().join("elsewhere");
    lay_out(&elsewhere);
    (machine, elsewhere)
}

fn finds(
    machine: &Machine,
    faults: &str,
    variables: &[(&str, &str)],
    paths: [&Path; 2],
) -> Outcome {
    let outcome = machine.measure_with(faults, &nowhere(variables), &[]);
    let outcome = outcome.succeeded(&["measured 3 of 3"]).leaked_nothing();
    let run = machine.run();
    for (name, path) in ["libcudnn", "libcublasLt"].iter().zip(paths) {
        let found = Path::new(libraries_of(&run)[name].as_str().unwrap());
        assert_eq!(found.canonicalize().unwrap(), stand_in().canonicalize().unwrap());
        assert_eq!(found.parent().unwrap().canonicalize().unwrap(), path.canonicalize().unwrap());
    }
    outcome
}

#[test]
fn packages_of_python_are_found_in_both_layouts_and_wherever_they_are_installed() {
    if this_machine_has_a_library() {
        return;
    }
    let packages = |folder: &Path, cublas: &str, major: u32| {
        put(&folder.join("nvidia/cudnn/lib"), cudnn());
        put(&folder.join(cublas), &[&format!("libcublasLt.so.{major}")]);
    };
    let of_12 = |folder: &Path| packages(folder, "nvidia/cublas/lib", 12);
    let of_13 = |folder: &Path| packages(folder, "nvidia/cu13/lib", 13);
    let versions_13 = "driver-version=13000,cudart-version=13000";
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        let site = "lib/python3.12/site-packages";
        let (machine, environment) = has_the_rest_in(|folder| of_12(&folder.join(site)));
        let nvidia = environment.join(site).join("nvidia");
        let paths = [nvidia.join("cudnn/lib"), nvidia.join("cublas/lib")];
        let variables = [(variable, environment.to_str().unwrap())];
        finds(&machine, "", &variables, [&paths[0], &paths[1]]);
    }
    // nothing but what `python3` says
    let (machine, packages) = has_the_rest_in(of_13);
    let programs = machine.folder.path().join("programs");
    script(&programs, "python3", &format!("echo; echo {}", packages.display()));
    let paths = [packages.join("nvidia/cudnn/lib"), packages.join("nvidia/cu13/lib")];
    let variables = [("PATH", programs.to_str().unwrap())];
    finds(&machine, versions_13, &variables, [&paths[0], &paths[1]]);
}

#[test]
fn conda_has_libraries_in_its_lib() {
    if this_machine_has_a_library() {
        return;
    }
    let (machine, environment) = has_the_rest_in(|folder| {
        put(&folder.join("lib"), cudnn());
        put(&folder.join("lib"), &["libcublasLt.so.12"]);
    });
    let lib = environment.join("lib");
    finds(&machine, "", &[("CONDA_PREFIX", environment.to_str().unwrap())], [&lib, &lib]);
}

#[test]
fn a_library_that_cannot_be_used_is_passed_over_for_the_next() {
    if this_machine_has_a_library() {
        return;
    }
    let (machine, environment) = has_the_rest_in(|folder| {
        put(&folder.join("lib"), cudnn());
        put(&folder.join("lib"), &["libcublasLt.so.12"]);
    });
    let folder = machine.folder.path().join("libraries");
    // no library at all, one of an older version by its file's name, and one that is not whole
    std::fs::write(folder.join("libcudnn.so.9"), "no library").unwrap();
    std::fs::copy(stand_in(), folder.join("libcudnn.so.8.9.7")).unwrap();
    std::os::unix::fs::symlink("libcudnn.so.8.9.7", folder.join("libcudnn.so")).unwrap();
    let variables = nowhere(&[("CONDA_PREFIX", environment.to_str().unwrap())]);
    machine.measure_with("", &variables, &[]).succeeded(&["measured 3 of 3"]);
    // without the last, what was found first is named
    let machine = Machine::with(&["libcuda.so.1"], &stand_in());
    let folder = machine.folder.path().join("libraries");
    std::fs::copy(stand_in(), folder.join("libcudnn.so.8.9.7")).unwrap();
    std::os::unix::fs::symlink("libcudnn.so.8.9.7", folder.join("libcudnn.so")).unwrap();
    let words =
        ["cuDNN is version 8.9.7 (", "libcudnn.so.8.9.7), expected 9.0.0 or newer: install"];
    machine.measure_with("", &nowhere(&[]), &[]).failed(&words);
}

/// A file that is no library of this machine, or not a whole one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    Empty,
    Folder,
    Text,
    Of32Bits,
    OfOtherMachine,
    /// Within what the loader maps: what follows may be symbols for a debugger alone.
    Cut,
}

impl Broken {
    const ALL: [Self; 6] =
        [Self::Empty, Self::Folder, Self::Text, Self::Of32Bits, Self::OfOtherMachine, Self::Cut];

    /// The loader passes over it.
    fn is_foreign(self) -> bool {
        matches!(self, Self::Of32Bits | Self::OfOtherMachine)
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Empty => " (is empty)",
            Self::Folder => " (is not a file)",
            Self::Text => " (is no library)",
            Self::Of32Bits | Self::OfOtherMachine => " (is for another kind of machine)",
            Self::Cut => " (ends after ",
        }
    }

    /// Puts it in the place of a library.
    fn put(self, folder: &Path, name: &str) {
        let file = folder.join(name);
        let _ = std::fs::remove_file(&file);
        let mut bytes = std::fs::read(stand_in()).unwrap();
        match self {
            Self::Folder => return std::fs::create_dir(file).unwrap(),
            Self::Empty => bytes.clear(),
            Self::Text => bytes = b"no library\n".repeat(100),
            Self::Of32Bits => bytes[4] = 1,
            Self::OfOtherMachine => bytes[18] ^= 1,
            Self::Cut => bytes.truncate(64 << 10),
        }
        std::fs::write(file, bytes).unwrap();
    }
}

#[test]
fn a_library_that_is_not_whole_is_an_error_that_says_so() {
    if this_machine_has_a_library() {
        return;
    }
    let libraries = [
        ("libcuda.so.1", "the NVIDIA driver's libcuda cannot be loaded (tried "),
        ("libcudnn.so.9", "cuDNN's libcudnn cannot be loaded (tried "),
        ("libcudnn_ops.so.9", "libcudnn_ops.so.9, without which cuDNN ends the process, cannot be"),
        ("libcublasLt.so.12", "cuBLAS's libcublasLt, without which cuDNN ends the process, cannot"),
    ];
    for (name, words) in libraries {
        for broken in Broken::ALL {
            let machine = Machine::whole();
            let folder = machine.folder.path().join("libraries");
            broken.put(&folder, name);
            let why = format!("{}{}", folder.join(name).display(), broken.reason());
            let outcome = machine.measure_with("", &nowhere(&AUTO), &[]);
            // of another machine's driver the loader says that there is none
            if name == "libcuda.so.1" && broken.is_foreign() {
                outcome.succeeded(&[&format!("on the CPU: {words}"), &why]);
            } else {
                outcome.failed(&[words, &why, "ALPHA_FLOPS_BACKEND=cpu"]);
                assert!(!machine.runs().exists());
            }
        }
    }
}

#[test]
fn a_library_that_is_not_whole_is_passed_over_for_the_next() {
    if this_machine_has_a_library() {
        return;
    }
    // a cuDNN of which one library is cut off, before a whole one on the loader's path
    for name in ["libcudnn.so.9", "libcudnn_engines_precompiled.so.9", "libcuda.so.1"] {
        let machine = Machine::whole();
        let whole = machine.folder.path().join("libraries");
        let before = machine.folder.path().join("before");
        let beside = if name == "libcuda.so.1" { &[] } else { cudnn() };
        put(&before, beside);
        Broken::Cut.put(&before, name);
        let path = format!("{}:{}", before.display(), whole.display());
        let variables = nowhere(&[("LD_LIBRARY_PATH", &path)]);
        let outcome = machine.measure_with("", &variables, &[]);
        outcome.succeeded(&["NOT A GPU", "measured 3 of 3"]).leaked_nothing();
    }
    // nor is anything lost but what NVML would say
    let machine = Machine::whole();
    Broken::Cut.put(&machine.folder.path().join("libraries"), "libnvidia-ml.so.1");
    machine.measure("").succeeded(&["NVML cannot be used: ", " (ends after ", "measured 3 of 3"]);
}

fn script(folder: &Path, name: &str, commands: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{commands}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_python_that_does_not_answer_is_given_up() {
    if this_machine_has_a_library() {
        return;
    }
    let machine = Machine::with(&["libcuda.so.1"], &stand_in());
    let programs = machine.folder.path().join("programs");
    script(&programs, "python3", "exec /bin/sleep 600");
    let variables = nowhere(&[("PATH", programs.to_str().unwrap())]);
    machine.measure_with("", &variables, &[]).failed(&["cuDNN's libcudnn cannot be loaded"]);
}

fn doctor(machine: &Machine, faults: &str, variables: &[(&str, &str)]) -> Outcome {
    let mut command = machine.command(&std::env::current_exe().unwrap(), faults);
    command
        .args(["libraries::the_process_that_examines", "--exact", "--nocapture"])
        .env(EXAMINE, "1")
        .envs(nowhere(variables));
    machine.outcome(command, faults)
}

/// Settings that a run on the CPU would refuse say nothing about what is there.
#[test]
fn doctor_says_where_everything_is_and_what_is_missing() {
    let clock = [("ALPHA_FLOPS_CLOCK", "device"), ("ALPHA_FLOPS_CACHE", "cold")];
    let machine = Machine::whole();
    doctor(&machine, "", &clock).succeeded(&[
        "driver: Ok(",
        "for CUDA up to 12.9",
        "device: Ok(\"stand-in (not a GPU)",
        "NVML: Ok(\"driver 0.0 (stand-in)",
        "cuDNN: Ok(\"",
        "9.28.0, built with CUDA 12.9",
        "cuBLASLt: Ok(",
        "would measure on Ok(\"cudnn on device 0",
    ]);
    if this_machine_has_a_library() {
        return;
    }
    // what is missing hides nothing else
    let machine = Machine::with(&NAMES[1..8], &stand_in());
    doctor(&machine, "", &AUTO).succeeded(&[
        "driver: Err(\"the NVIDIA driver's libcuda cannot be loaded",
        "cuDNN: Ok(\"",
        "would measure on Ok(\"cpu with 1 thread",
    ]);
    let machine = Machine::with(&NAMES[..1], &stand_in());
    doctor(&machine, "no-nvml", &AUTO).succeeded(&[
        "NVML: Err(\"NVML cannot be used",
        "cuDNN: Err(\"cuDNN's libcudnn cannot be loaded",
        "would measure on Err(",
    ]);
    // nor does what is not whole
    let machine = Machine::whole();
    let folder = machine.folder.path().join("libraries");
    Broken::Cut.put(&folder, "libcudnn.so.9");
    Broken::Empty.put(&folder, "libnvidia-ml.so.1");
    doctor(&machine, "", &AUTO).succeeded(&[
        "driver: Ok(",
        "NVML: Err(\"NVML cannot be used: ",
        "libnvidia-ml.so.1 (is empty)",
        "cuDNN: Err(\"cuDNN's libcudnn cannot be loaded (tried ",
        "libcudnn.so.9 (ends after ",
        "would measure on Err(",
    ]);
}

/// Set for a process that examines what it finds.
const EXAMINE: &str = "EXAMINE_OF_THE_TEST";

#[test]
fn the_process_that_examines() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os(EXAMINE).is_none() {
        return Ok(());
    }
    let diagnosis = examine(&Requested::from_workspace()?)?;
    for check in diagnosis.backends.iter().flat_map(|backend| &backend.checks) {
        println!("{}: {:?}", check.what, check.found);
    }
    let would = diagnosis.would_measure_on.map_err(|error| error.to_string());
    println!("would measure on {would:?}");
    Ok(())
}

#[test]
fn what_nvml_does_not_support_is_unknown_and_a_power_limit_is_not_throttling() {
    let machine = Machine::whole();
    machine.measure("nvml-not-supported").succeeded(&["measured 3 of 3"]).leaked_nothing();
    let run = machine.run();
    for record in run["configurations"].as_array().unwrap() {
        assert_eq!(record["attempts"], 1);
        assert!(record["outcome"]["device"]["throttle_reasons"].is_null(), "{record}");
    }
    let machine = Machine::whole();
    machine.measure("power-cap").succeeded(&["measured 3 of 3"]).leaked_nothing();
    for record in machine.run()["configurations"].as_array().unwrap() {
        assert_eq!(record["attempts"], 1);
        assert_eq!(record["outcome"]["device"]["throttle_reasons"], 0x5);
    }
}
