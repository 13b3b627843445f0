//! What machine, system, compiler and libraries a run was measured with.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sysinfo::System;

use crate::units::Bytes;

/// Crates whose versions are kept: `gemm` decides what a launch takes, `criterion` makes the
/// statistics and files out of launches.
const RECORDED_CRATES: [&str; 2] = ["criterion", "gemm"];

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
    /// Logical cores that the computing threads are pinned to; `None` where they are not.
    pub pinned_cores: Option<Vec<usize>>,
    /// Memory this process may use: what is installed, or its control group's limit.
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
    /// `alpha-flops` and the crates that make the launches and the statistics, as `name version`.
    pub crates: Vec<String>,
    /// Commit of the sources it was built from, `-dirty` where they had other changes, or `unknown`.
    pub git_commit: String,
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
    /// Smallest step of the clock, [`Timer::step_ns`].
    pub timer_resolution_ns: f64,
    /// What reading the clock takes, [`Timer::overhead_ns`].
    pub timer_overhead_ns: f64,
}

impl Platform {
    /// This machine, with its CPU as the device and computing threads on `pinned_cores`.
    pub fn of_cpu(pinned_cores: Option<&[usize]>) -> Self {
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
            pinned_cores: pinned_cores.map(<[usize]>::to_vec),
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
        let timer = Timer::of_this_machine();
        Self {
            governor: governor.ok().map(|text| text.trim().to_owned()),
            load_average: System::load_average().ok().map(|average| average.one),
            memory_available: available_memory(),
            timer_resolution_ns: timer.step_ns,
            timer_overhead_ns: timer.overhead_ns,
        }
    }
}

/// Memory that could be used now without swapping, where readable; within the control group's
/// limit, where there is one.
///
/// Systems grant more than they have and end the process that touches it: what does not fit has
/// to be known beforehand.
pub fn available_memory() -> Option<Bytes> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    // the limit counts cached files as used, but gives them up to whoever needs the memory
    let within_limit = system
        .cgroup_limits()
        .map_or(u64::MAX, |limits| limits.total_memory.saturating_sub(limits.rss));
    let installed = Some(system.available_memory()).filter(|&bytes| bytes > 0)?;
    Some(Bytes(installed.min(within_limit)))
}

fn total_memory(system: &System) -> Bytes {
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    Bytes(system.total_memory().min(limit))
}

/// The clock that times launches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timer {
    /// Smallest step between its readings, in nanoseconds: no latency is known better.
    pub step_ns: f64,
    /// Median cost of reading it twice, in nanoseconds: part of every launch's latency.
    pub overhead_ns: f64,
}

impl Timer {
    /// As found once in this process.
    pub fn of_this_machine() -> Self {
        static TIMER: OnceLock<Timer> = OnceLock::new();
        *TIMER
            .get_or_init(|| Self { step_ns: step_ns(&busy_times_ns()), overhead_ns: overhead_ns() })
    }
}

fn overhead_ns() -> f64 {
    let back_to_back: Vec<f64> =
        (0..1000).map(|_| Instant::now().elapsed().as_nanos() as f64).collect();
    crate::statistics::quantile(&crate::statistics::sorted(&back_to_back), 0.5)
}

/// Times of loops of many lengths, so that they fall on many steps of the clock.
fn busy_times_ns() -> Vec<u64> {
    (0..10_000_u32)
        .map(|round| {
            let start = Instant::now();
            for turn in 0..round % 64 {
                black_box(turn);
            }
            let mut elapsed = start.elapsed();
            while elapsed.is_zero() {
                elapsed = start.elapsed();
            }
            elapsed.as_nanos() as u64
        })
        .collect()
}

/// The smallest difference between distinct durations by a clock, 0 among them.
///
/// A step is seldom a whole number of nanoseconds, so the same number of steps shows as either of
/// two neighbouring numbers: these count as one duration. Three in a row are steps of 1 ns.
fn step_ns(durations_ns: &[u64]) -> f64 {
    /// What occurs less often may come from an adjustment of the clock meanwhile.
    const OFTEN: usize = 10;
    let mut sorted = durations_ns.to_vec();
    sorted.sort_unstable();
    let often = sorted.chunk_by(|a, b| a == b).filter(|equal| equal.len() >= OFTEN);
    let mut distinct: Vec<u64> = std::iter::once(0).chain(often.map(|equal| equal[0])).collect();
    distinct.dedup();
    let durations: Vec<&[u64]> = distinct.chunk_by(|a, b| b - a <= 1).collect();
    if durations.iter().any(|neighbours| neighbours.len() > 2) {
        return 1.0;
    }
    let steps = durations.windows(2).map(|pair| pair[1][0] - pair[0][0]);
    // where no duration occurs often, the clock tells them all apart
    steps.min().map_or(1.0, |step| step as f64)
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
mod tests {
    use super::*;

    #[test]
    fn every_recorded_crate_is_found_in_the_lock_file() {
        let versions = crate_versions(include_str!("../Cargo.lock"));
        for name in RECORDED_CRATES {
            assert!(versions.iter().any(|v| v.starts_with(&format!("{name} "))), "{name}");
        }
    }

    #[test]
    fn this_machine_has_a_name_cores_and_a_clock_that_moves() {
        let platform = Platform::of_cpu(None);
        assert!(!platform.device.is_empty() && platform.logical_cores > 0);
        assert!(platform.memory.0 > 0);
        let conditions = Conditions::now();
        assert!(conditions.timer_resolution_ns >= 1.0 && conditions.timer_overhead_ns >= 0.0);
        assert!(available_memory().unwrap() <= platform.memory);
    }

    /// Durations of 20 to 90 ns, begun anywhere within a step, by a clock of so many nanoseconds a
    /// step that shows whole ones.
    fn durations_by_a_clock_of(step_ns: f64) -> Vec<u64> {
        let shown = |time_ns: f64| ((time_ns / step_ns).floor() * step_ns) as u64;
        (0..10_000_u32)
            .map(|round| {
                let start = f64::from(round) * 1234.567;
                shown(start + 20.0 + f64::from(round % 701) / 10.0) - shown(start)
            })
            .collect()
    }

    #[test]
    fn the_step_of_a_clock_is_found_whatever_it_costs_to_read() {
        // the last two: counters of 24 MHz, whole only every third step, and of 10 MHz
        for (step, expected) in
            [(0.4, 1.0), (1.0, 1.0), (10.0, 10.0), (125.0 / 3.0, 41.0), (100.0, 100.0)]
        {
            assert_eq!(step_ns(&durations_by_a_clock_of(step)), expected, "{step}");
        }
        // 99.84 MHz: a step of 10.016 ns shows as 10 or 11, and durations drift apart only slowly
        let step = step_ns(&durations_by_a_clock_of(10.016));
        assert!((9.0..=10.0).contains(&step), "{step}");
    }

    #[test]
    fn rare_durations_say_nothing_about_the_step() {
        let mut durations = durations_by_a_clock_of(10.0);
        durations.extend([20, 21, 22, 23, 1201]);
        assert_eq!(step_ns(&durations), 10.0);
        assert_eq!(step_ns(&[]), 1.0);
    }
}
