//! Name, memory and clock of this machine.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use sysinfo::System;

use crate::units::Bytes;

/// Memory that could be used now without swapping, where readable; within the control group's
/// limit, where there is one.
///
/// Systems grant more memory than they have, and kill the process that touches it. So what does not
/// fit has to be known beforehand.
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

/// What is installed, or the control group's limit; the system has read its memory.
pub fn total_memory(system: &System) -> Bytes {
    let limit = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    Bytes(system.total_memory().min(limit))
}

/// What the CPU is called; `None` where that cannot be read.
pub fn cpu_name() -> Option<String> {
    let mut system = System::new().ok()?;
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let brand = system.cpus().first()?.brand().trim().to_owned();
    (!brand.is_empty()).then_some(brand)
}

/// The machine's host name.
pub fn name() -> String {
    System::host_name().unwrap_or_else(|_| "unknown".to_owned())
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
    /// Measured once per process.
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

/// Ends the process with `status`, without what libraries want to do at its end: the driver would
/// wait for work that never does.
pub fn leave_without_waiting(status: u8) {
    #[cfg(unix)]
    {
        unsafe extern "C" {
            fn _exit(status: i32) -> !;
        }
        // SAFETY: it ends the process and touches nothing; standard output is written line by line.
        unsafe { _exit(status.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
