//! What machine, system, compiler and libraries a run was measured with.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sysinfo::System;

use crate::units::Bytes;

/// Crates whose versions change what is measured.
const DECIDING_CRATES: [&str; 2] = ["criterion", "gemm"];

/// What stays the same while a machine, its software and this code do: runs may continue or be
/// compared with each other only where it is equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Library that computes: `cpu`.
    pub backend: String,
    /// The device's own name: the CPU model.
    pub device: String,
    /// Physical cores, where known.
    pub physical_cores: Option<usize>,
    /// Logical cores.
    pub logical_cores: usize,
    /// Installed memory.
    pub memory: Bytes,
    /// Operating system and version.
    pub os: String,
    /// Kernel version.
    pub kernel: String,
    /// Compiler that built this code.
    pub rustc: String,
    /// Target triple it was built for.
    pub target: String,
    /// Vector instructions found at run time: they decide which kernels the CPU library takes.
    pub vector_extensions: String,
    /// `alpha-flops` and the crates that change what is measured, as `name version`.
    pub crates: Vec<String>,
    /// Commit of the source tree, `-dirty` where it had other changes.
    pub git_commit: Option<String>,
}

/// What may move while a run goes on, read at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Frequency governor of the first core, where readable.
    pub governor: Option<String>,
    /// Load average over the last minute: work of others on the same cores.
    pub load_average: Option<f64>,
    /// Memory not in use, where readable.
    pub memory_available: Option<Bytes>,
    /// Smallest step of the timer that was seen, in nanoseconds.
    pub timer_resolution_ns: f64,
    /// Median cost of reading the timer twice, in nanoseconds: part of every launch's latency.
    pub timer_overhead_ns: f64,
}

impl Platform {
    /// This machine, with its CPU as the device.
    pub fn of_cpu() -> Self {
        let system = System::new().map(|mut system| {
            system.refresh_memory();
            system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
            system
        });
        let brand = system.as_ref().ok().and_then(|system| {
            let brand = system.cpus().first()?.brand().trim().to_owned();
            (!brand.is_empty()).then_some(brand)
        });
        let unknown = || "unknown".to_owned();
        Self {
            backend: "cpu".to_owned(),
            device: brand.unwrap_or_else(unknown),
            physical_cores: System::physical_core_count().ok(),
            logical_cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: Bytes(system.map_or(0, |system| system.total_memory())),
            os: System::long_os_version().unwrap_or_else(|_| unknown()),
            kernel: System::kernel_version().unwrap_or_else(|_| unknown()),
            rustc: env!("BUILT_BY_RUSTC").to_owned(),
            target: env!("BUILT_FOR_TARGET").to_owned(),
            vector_extensions: vector_extensions(),
            crates: crate_versions(include_str!("../Cargo.lock")),
            git_commit: git_commit(Path::new(env!("CARGO_MANIFEST_DIR"))),
        }
    }

    /// The versions that decide the numbers, in one line.
    pub fn versions(&self) -> String {
        format!("{}, {}", self.crates.join(", "), self.rustc)
    }
}

impl Conditions {
    /// As they are now.
    pub fn now() -> Self {
        let governor =
            std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let (timer_resolution_ns, timer_overhead_ns) = timer();
        Self {
            governor: governor.ok().map(|text| text.trim().to_owned()),
            load_average: System::load_average().ok().map(|average| average.one),
            memory_available: available_memory(),
            timer_resolution_ns,
            timer_overhead_ns,
        }
    }
}

/// Memory that could be used now without swapping, where readable.
///
/// Systems grant more than they have and end the process that touches it: what does not fit has
/// to be known beforehand.
pub fn available_memory() -> Option<Bytes> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    Some(Bytes(system.available_memory())).filter(|&bytes| bytes > Bytes(0))
}

/// Smallest non-zero step and median cost of the clock that times launches.
fn timer() -> (f64, f64) {
    let steps: Vec<f64> = (0..1000)
        .map(|_| {
            let start = Instant::now();
            start.elapsed().as_nanos() as f64
        })
        .collect();
    let sorted = crate::statistics::sorted(&steps);
    let resolution = sorted.iter().copied().find(|&step| step > 0.0).unwrap_or(f64::NAN);
    (resolution, crate::statistics::quantile(&sorted, 0.5))
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

/// `name version` of this crate and the deciding ones, out of the lock file it was built with.
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
            .filter(|package| DECIDING_CRATES.contains(&package.name.as_str()))
            .map(|package| format!("{} {}", package.name, package.version)),
    );
    versions
}

fn git_commit(source: &Path) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(source)
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deciding_crate_is_found_in_the_lock_file() {
        let versions = crate_versions(include_str!("../Cargo.lock"));
        for name in DECIDING_CRATES {
            assert!(versions.iter().any(|v| v.starts_with(&format!("{name} "))), "{name}");
        }
    }

    #[test]
    fn this_machine_has_a_name_cores_and_a_clock_that_moves() {
        let platform = Platform::of_cpu();
        assert!(!platform.device.is_empty() && platform.logical_cores > 0);
        assert!(platform.memory.0 > 0);
        assert!(Conditions::now().timer_resolution_ns > 0.0);
    }
}
