//! What machine, system, compiler and libraries a run was measured with.

use serde::{Deserialize, Serialize};
use sysinfo::System;

use crate::backend::Backend;
use crate::backend::device::{Device, Gpu};
use crate::disturbance::cpu_quota;
use crate::host::{Timer, available_memory, cpu_name, total_memory};
use crate::units::Bytes;

/// Crates whose versions are recorded: `gemm` decides latencies on a CPU, `cudarc` how cuDNN is
/// called, and `criterion` makes statistics and files out of launches.
const RECORDED_CRATES: [&str; 3] = ["criterion", "cudarc", "gemm"];

/// What stays the same while a machine, its software and this code do. Runs may continue only where
/// it is equal, sweeps where its [kind](Platform::kind) is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Platform {
    /// What computes: `cpu`, `cudnn`, or `cudnn-stand-in`, which is no GPU.
    pub backend: String,
    /// The device's own name: the model of the CPU or GPU.
    pub device: String,
    /// The GPU that computes, where one does.
    pub gpu: Option<Gpu>,
    pub cpu: String,
    pub physical_cores: Option<usize>,
    pub logical_cores: usize,
    /// Logical cores that the computing threads are pinned to; `None` where they are not.
    pub pinned_cores: Option<Vec<usize>>,
    /// CPU time that this process's control group may use, in percent of a core; `None` without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota_percent: Option<u32>,
    /// Memory this process may use: what is installed, or its control group's limit.
    pub memory: Bytes,
    /// Operating system and version.
    pub os: String,
    pub kernel: String,
    pub rustc: String,
    /// Target triple it was built for.
    pub target: String,
    /// Vector instructions found at run time: they decide which kernels the CPU library takes.
    pub vector_extensions: String,
    /// `alpha-flops` and the crates that make the launches and the statistics, as `name version`.
    pub crates: Vec<String>,
    /// Commit of the sources it was built from, `-dirty` where they had other changes, or `unknown`.
    pub git_commit: String,
}

/// Conditions that may change during a run, read at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Frequency governor of the first core, where readable.
    pub governor: Option<String>,
    /// Load average over the last minute, which shows other work on the same cores.
    pub load_average: Option<f64>,
    /// Memory not in use, where readable.
    pub memory_available: Option<Bytes>,
    /// Smallest step of the clock, [`Timer::step_ns`].
    pub timer_resolution_ns: f64,
    /// What reading the clock takes, [`Timer::overhead_ns`].
    pub timer_overhead_ns: f64,
    /// Where the kernel has the time from, on Linux: `tsc`. With another, reading it may be a system call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocksource: Option<String>,
}

impl Platform {
    /// This machine, with the device of `backend`.
    pub fn new(backend: &dyn Backend) -> Self {
        let system = System::new().map(|mut system| {
            system.refresh_memory();
            system
        });
        let unknown = || "unknown".to_owned();
        let cpu = cpu_name().unwrap_or_else(unknown);
        let Device { backend, gpu, pinned_cores } = backend.device();
        Self {
            backend: backend.to_owned(),
            device: gpu.as_ref().map_or(&cpu, |gpu| &gpu.name).clone(),
            gpu,
            cpu,
            physical_cores: System::physical_core_count().ok(),
            logical_cores: std::thread::available_parallelism().map_or(1, usize::from),
            pinned_cores,
            cpu_quota_percent: cpu_quota().map(|cores| (100.0 * cores) as u32),
            memory: system.map_or(Bytes(0), |system| total_memory(&system)),
            os: System::long_os_version().unwrap_or_else(|_| unknown()),
            kernel: System::kernel_version().unwrap_or_else(|_| unknown()),
            rustc: env!("BUILT_BY_RUSTC").to_owned(),
            target: env!("BUILT_FOR_TARGET").to_owned(),
            vector_extensions: vector_extensions(),
            crates: crate_versions(include_str!("../Cargo.lock")),
            git_commit: env!("BUILT_FROM_COMMIT").to_owned(),
        }
    }

    /// What of it decides latencies, each by its name: where it is equal, machines are of one kind,
    /// and a sweep may be measured on several. What is left out tells a machine from others of its
    /// kind: which card and cores, how much of them and of memory, the system.
    pub fn kind(&self) -> Vec<(&'static str, String)> {
        let Self {
            backend,
            device,
            gpu,
            cpu,
            physical_cores: _,
            logical_cores: _,
            pinned_cores,
            cpu_quota_percent,
            memory: _,
            os: _,
            kernel: _,
            rustc,
            target,
            vector_extensions,
            crates,
            git_commit,
        } = self;
        let mut kind = vec![
            ("backend", backend.clone()),
            ("device", device.clone()),
            ("CPU", cpu.clone()),
            ("pinned", pinned_cores.is_some().to_string()),
            ("rustc", rustc.clone()),
            ("target", target.clone()),
            ("vector extensions", vector_extensions.clone()),
            ("crates", crates.join(", ")),
            ("commit", git_commit.clone()),
        ];
        kind.extend(cpu_quota_percent.map(|percent| ("CPU quota", format!("{percent}%"))));
        kind.extend(gpu.iter().flat_map(Gpu::kind));
        kind
    }

    /// The versions that decide the numbers, in one line.
    pub fn versions(&self) -> String {
        let own = format!("{}, {}", self.crates.join(", "), self.rustc);
        self.gpu.as_ref().map_or(own.clone(), |gpu| format!("{}, {own}", gpu.versions()))
    }
}

impl Conditions {
    /// Reads the present conditions.
    pub fn now() -> Self {
        let read = |below: &str| {
            let text = std::fs::read_to_string(format!("/sys/devices/system/{below}")).ok()?;
            Some(text.trim().to_owned())
        };
        let timer = Timer::of_this_machine();
        Self {
            governor: read("cpu/cpu0/cpufreq/scaling_governor"),
            clocksource: read("clocksource/clocksource0/current_clocksource"),
            load_average: System::load_average().ok().map(|average| average.one),
            memory_available: available_memory(),
            timer_resolution_ns: timer.step_ns,
            timer_overhead_ns: timer.overhead_ns,
        }
    }
}

fn vector_extensions() -> String {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    {
        let known = [
            ("avx", is_x86_feature_detected!("avx")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
        ];
        let present: Vec<_> = known.into_iter().filter(|k| k.1).map(|k| k.0).collect();
        if present.is_empty() { "sse2".to_owned() } else { present.join(" ") }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
    {
        std::env::consts::ARCH.to_owned()
    }
}

/// `name version` of this crate and the recorded ones, out of the lock file it was built with.
fn crate_versions(lock: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let mut versions = vec![format!("alpha-flops {}", env!("CARGO_PKG_VERSION"))];
    let packages = toml::from_str::<Lock>(lock).map(|lock| lock.package).unwrap_or_default();
    versions.extend(
        packages
            .iter()
            .filter(|package| RECORDED_CRATES.contains(&package.name.as_str()))
            .map(|package| format!("{} {}", package.name, package.version)),
    );
    versions
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::backend::cpu::{AlgorithmChoice, CpuBackend};

    /// A made-up one.
    pub(crate) fn a_gpu() -> Gpu {
        Gpu {
            name: "a card".to_owned(),
            uuid: "GPU-1".to_owned(),
            pci_bus_id: "0000:01:00.0".to_owned(),
            compute_capability: "9.0".to_owned(),
            multiprocessors: 132,
            l2_cache: Bytes(50 << 20),
            memory: Bytes(80 << 30),
            driver: Some("570.86.10".to_owned()),
            cuda: "12.8".to_owned(),
            cudnn: "9.28.0".to_owned(),
            cudnn_cuda: "12.9".to_owned(),
            ecc: Some(true),
            persistence: Some(true),
            power_limit_w: Some(700),
            variables: [("CUDA_VISIBLE_DEVICES", "0"), ("CUDNN_LOGLEVEL_DBG", "0")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            nvml_missing: None,
            libraries: [].into(),
        }
    }

    #[test]
    fn every_recorded_crate_is_found_in_the_lock_file() {
        let versions = crate_versions(include_str!("../Cargo.lock"));
        for name in RECORDED_CRATES {
            assert!(versions.iter().any(|v| v.starts_with(&format!("{name} "))), "{name}");
        }
    }

    #[test]
    fn another_card_is_of_the_same_kind_and_another_driver_is_not() {
        let gpu = a_gpu();
        let mut other = gpu.clone();
        other.uuid = "GPU-2".to_owned();
        other.variables.insert("CUDA_VISIBLE_DEVICES".to_owned(), "3".to_owned());
        assert_eq!(gpu.kind(), other.kind());
        other.variables.insert("CUDNN_LOGLEVEL_DBG".to_owned(), "3".to_owned());
        assert_ne!(gpu.kind(), other.kind());
        let other = Gpu { driver: Some("580.1".to_owned()), ..gpu.clone() };
        assert_ne!(gpu.kind(), other.kind());
    }

    #[test]
    fn this_machine_has_a_name_cores_and_a_clock_that_moves() {
        let threads = std::num::NonZeroUsize::MIN;
        let backend = CpuBackend::new(threads, AlgorithmChoice::Auto).unwrap();
        let platform = Platform::new(&backend);
        assert!(!platform.device.is_empty() && platform.logical_cores > 0);
        assert!(platform.memory.0 > 0);
        let conditions = Conditions::now();
        assert!(conditions.timer_resolution_ns >= 1.0 && conditions.timer_overhead_ns >= 0.0);
        assert!(available_memory().unwrap() <= platform.memory);
    }
}
