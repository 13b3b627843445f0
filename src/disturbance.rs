//! What else the machine did while a convolution was measured: other programs on the same cores, a
//! host that takes virtual cores away, limits on CPU time.
//!
//! Linux tells all of it in `/proc` and `/sys`. What cannot be read, there or on other systems, is
//! `None`: nothing is known of it, which is not the same as that nothing happened.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::statistics::mean_of_known;

/// The threads of this process that compute launches: what disturbs them disturbs these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// As the system numbers them; empty where that is not known, or where there are none.
    pub ids: Vec<u32>,
    /// The logical cores that they are pinned to; `None` where they are not.
    pub cores: Option<Vec<usize>>,
}

/// The calling thread's number in `/proc`.
pub(crate) fn thread_id() -> Option<u32> {
    #[cfg(target_os = "linux")]
    return u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).ok();
    #[cfg(not(target_os = "linux"))]
    return None;
}

/// What disturbed a configuration while it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disturbance {
    /// Samples during which a computing thread was switched out: it could have run, but others had its
    /// core. They do not count, unless hardly any would be left.
    pub switched_out: u64,
    /// Samples in all.
    pub samples: u64,
    /// Time that computing threads waited for their cores, in percent of the time measured.
    pub waited_percent: Option<f64>,
    /// Time that the host of a virtual machine gave its cores to others, in percent of the cores'
    /// time. It is told in ticks of 10 ms, which for a short visit is coarse.
    pub steal_percent: Option<f64>,
    /// The least that steal can have been, whatever part of a tick was counted before.
    pub least_steal_percent: Option<f64>,
    /// Time in which some program on the machine waited for a core (pressure stall information), in
    /// percent.
    pub pressure_percent: Option<f64>,
    /// Time for which a limit on CPU time stopped this process's control group, in percent.
    pub throttled_percent: Option<f64>,
    /// How often it did.
    pub throttled_periods: Option<u64>,
    /// Mean clock rate of the computing cores at the end, where the system tells.
    pub clock_mhz: Option<f64>,
    /// How fast the slowest computing core was just before, in percent of what it is in the fastest
    /// quarter of the run's visits: the host of a virtual machine can put two of its cores on one, and
    /// no counter tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_speed_percent: Option<f64>,
}

impl Disturbance {
    /// A visit is to be made again where cores are slower than this, in percent.
    pub const LEAST_CORE_SPEED_PERCENT: f64 = 80.0;
    /// More than this part of the samples switched out is a visit to be made again.
    pub const MOST_SWITCHED_OUT: f64 = 0.2;
    /// So is more steal or throttling than this, in percent.
    pub const MOST_TAKEN_PERCENT: f64 = 2.0;

    /// Why what was measured is not to be trusted; empty where it is.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let lost = self.switched_out as f64 / self.samples.max(1) as f64;
        if lost > Self::MOST_SWITCHED_OUT {
            reasons.push(format!("{:.0}% of launches switched out", 100.0 * lost));
        }
        let taken = [("steal", self.least_steal_percent), ("throttled", self.throttled_percent)];
        for (what, percent) in taken {
            if let Some(percent) = percent.filter(|percent| *percent > Self::MOST_TAKEN_PERCENT) {
                reasons.push(format!("{what} {percent:.0}%"));
            }
        }
        let speed = self.core_speed_percent;
        if let Some(percent) = speed.filter(|speed| *speed < Self::LEAST_CORE_SPEED_PERCENT) {
            reasons.push(format!("cores at {percent:.0}% of their usual speed"));
        }
        reasons
    }

    /// Whether there is a reason not to trust what was measured.
    pub fn is_disturbed(&self) -> bool {
        !self.reasons().is_empty()
    }

    /// Of several visits that took about as long: counts add up, and percentages are means of those
    /// known. `None` for none.
    pub fn joined<'a>(visits: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let visits: Vec<&Self> = visits.collect();
        let mean =
            |of: fn(&Self) -> Option<f64>| mean_of_known(visits.iter().map(|visit| of(visit)));
        (!visits.is_empty()).then(|| Self {
            switched_out: visits.iter().map(|visit| visit.switched_out).sum(),
            samples: visits.iter().map(|visit| visit.samples).sum(),
            waited_percent: mean(|visit| visit.waited_percent),
            steal_percent: mean(|visit| visit.steal_percent),
            least_steal_percent: mean(|visit| visit.least_steal_percent),
            pressure_percent: mean(|visit| visit.pressure_percent),
            throttled_percent: mean(|visit| visit.throttled_percent),
            throttled_periods: visits.iter().map(|visit| visit.throttled_periods).sum(),
            clock_mhz: mean(|visit| visit.clock_mhz),
            core_speed_percent: mean(|visit| visit.core_speed_percent),
        })
    }

    /// How bad it was, to choose between attempts.
    pub(crate) fn badness(&self) -> f64 {
        let taken = self.least_steal_percent.unwrap_or(0.0) + self.throttled_percent.unwrap_or(0.0);
        let slowed = (100.0 - self.core_speed_percent.unwrap_or(100.0)).max(0.0);
        self.switched_out as f64 / self.samples.max(1) as f64 + (taken + slowed) / 100.0
    }
}

/// How long threads have waited for a core although they could have run.
#[derive(Debug)]
pub(crate) struct CoreWaits(Vec<File>);

impl CoreWaits {
    /// `None` where the system does not tell of each of them.
    pub(crate) fn new(threads: &Threads) -> Option<Self> {
        let open = |id: &u32| File::open(format!("/proc/self/task/{id}/schedstat")).ok();
        let files: Vec<File> = threads.ids.iter().map(open).collect::<Option<_>>()?;
        let waits = Self(files);
        (!waits.0.is_empty() && waits.total_ns().is_some()).then_some(waits)
    }

    /// In nanoseconds, of all threads together, since they began.
    pub(crate) fn total_ns(&self) -> Option<u64> {
        // time on a core, time waiting for one, times it got one
        let waited = |file| first_line(file)?.split(' ').nth(1)?.parse::<u64>().ok();
        self.0.iter().map(waited).sum()
    }
}

/// The first line of a file of `/proc`, from its beginning however often it is read.
fn first_line(file: &File) -> Option<String> {
    let mut bytes = [0; 256];
    #[cfg(unix)]
    let read = std::os::unix::fs::FileExt::read_at(file, &mut bytes, 0).ok()?;
    #[cfg(not(unix))]
    let read = {
        let _ = file;
        0
    };
    let text = std::str::from_utf8(&bytes[..read]).ok()?;
    Some(text.lines().next()?.to_owned())
}

/// What the machine's counters said at one moment.
#[derive(Clone, Debug)]
pub(crate) struct MachineReading {
    at: Instant,
    /// Ticks of steal of each computing core.
    steal: Option<Vec<u64>>,
    pressure: Option<Duration>,
    throttled: Option<Throttled>,
    clock_mhz: Option<f64>,
}

/// What a control group's `cpu.stat` says of its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Throttled {
    periods: u64,
    time: Duration,
}

/// The ticks in which `/proc/stat` counts, in seconds: on every architecture of Linux 1/100.
const TICK_S: f64 = 0.01;

impl MachineReading {
    /// Of the cores that `threads` are pinned to, or else of all.
    pub(crate) fn now(threads: &Threads) -> Self {
        let cores = threads.cores.as_deref();
        let read = |path: &str| std::fs::read_to_string(path).ok();
        Self {
            at: Instant::now(),
            steal: read("/proc/stat").and_then(|text| steal_ticks(&text, cores)),
            pressure: read("/proc/pressure/cpu").and_then(|text| pressure(&text)),
            throttled: cpu_stat_file()
                .and_then(|path| std::fs::read_to_string(path).ok())
                .and_then(|text| throttled(&text)),
            clock_mhz: cores.and_then(mean_clock_mhz),
        }
    }

    /// What happened since the reading `before`; `waited_ns` is what [`CoreWaits`] counted meanwhile.
    pub(crate) fn since(
        &self,
        before: &Self,
        switched_out: u64,
        samples: u64,
        waited_ns: Option<u64>,
    ) -> Disturbance {
        let elapsed_s = (self.at - before.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let percent = |seconds: f64| 100.0 * seconds / elapsed_s;
        let steal = before.steal.as_ref().zip(self.steal.as_ref());
        let of_cores = |ticks_of: fn(u64) -> u64| {
            steal.map(|(before, after)| {
                let ticks = before.iter().zip(after).map(|(b, a)| ticks_of(a.saturating_sub(*b)));
                percent(ticks.sum::<u64>() as f64 * TICK_S / after.len().max(1) as f64)
            })
        };
        let throttled = before.throttled.zip(self.throttled);
        Disturbance {
            switched_out,
            samples,
            waited_percent: waited_ns.map(|ns| percent(ns as f64 / 1e9)),
            steal_percent: of_cores(|ticks| ticks),
            least_steal_percent: of_cores(|ticks| ticks.saturating_sub(1)),
            pressure_percent: before
                .pressure
                .zip(self.pressure)
                .map(|(before, after)| percent(after.saturating_sub(before).as_secs_f64())),
            throttled_percent: throttled.map(|(before, after)| {
                percent(after.time.saturating_sub(before.time).as_secs_f64())
            }),
            throttled_periods: throttled
                .map(|(before, after)| after.periods.saturating_sub(before.periods)),
            clock_mhz: self.clock_mhz,
            core_speed_percent: None,
        }
    }
}

/// Ticks of steal by core, of these cores or of all, from `/proc/stat`.
fn steal_ticks(stat: &str, cores: Option<&[usize]>) -> Option<Vec<u64>> {
    let of_core = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split(' ');
        let core: usize = words.next()?.parse().ok()?;
        // user nice system idle iowait irq softirq steal
        let steal = words.nth(7)?.parse().ok()?;
        cores.is_none_or(|cores| cores.contains(&core)).then_some(steal)
    };
    let ticks: Vec<u64> = stat.lines().filter_map(of_core).collect();
    (!ticks.is_empty()).then_some(ticks)
}

/// The time in which something waited for a core, since the machine started.
fn pressure(text: &str) -> Option<Duration> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some.split(' ').find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

/// Of either version of control groups; `None` without a limit's counters.
fn throttled(cpu_stat: &str) -> Option<Throttled> {
    let value = |name: &str| {
        let mut lines = cpu_stat.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name)?.1.trim().parse::<u64>().ok()
    };
    let micros = value("throttled_usec").map(Duration::from_micros);
    let time = micros.or_else(|| value("throttled_time").map(Duration::from_nanos))?;
    Some(Throttled { periods: value("nr_throttled")?, time })
}

/// `cpu.stat` of this process's control group.
fn cpu_stat_file() -> Option<PathBuf> {
    let mut files = control_groups().into_iter().map(|folder| folder.join("cpu.stat"));
    files.find(|file| file.is_file())
}

/// This process's control groups that are about CPU time, and those around each, innermost first.
fn control_groups() -> Vec<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    control_groups_below(Path::new("/sys/fs/cgroup"), &groups)
}

/// Of version 2 or 1, where they are mounted usually.
fn control_groups_below(mounted: &Path, groups: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        // number:controllers:path
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is_cpu = controllers.is_empty() || controllers.split(',').any(|one| one == "cpu");
        let (mounted, path) = (mounted.join(controllers), path.trim_start_matches('/').to_owned());
        is_cpu.then(|| Path::new(&path).ancestors().map(|group| mounted.join(group)).collect())
    };
    groups.lines().filter_map(of_line).flat_map(|folders: Vec<PathBuf>| folders).collect()
}

/// How many cores' worth of time this process may use, by the limits of its control group and of those around
/// it; `None` where there is no limit.
pub fn cpu_quota() -> Option<f64> {
    least_quota(&control_groups())
}

fn least_quota(groups: &[PathBuf]) -> Option<f64> {
    let quota_of = |folder: &PathBuf| {
        let read = |name| std::fs::read_to_string(folder.join(name)).ok();
        let version_1 = || {
            let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
            Some(format!("{} {}", quota.trim(), period.trim()))
        };
        quota(&read("cpu.max").or_else(version_1)?)
    };
    groups.iter().filter_map(quota_of).min_by(f64::total_cmp)
}

/// From a quota and its period, in microseconds.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace().map(str::parse::<f64>);
    let (quota, period) = (words.next()?.ok()?, words.next()?.ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn mean_clock_mhz(cores: &[usize]) -> Option<f64> {
    let clock_khz = |core: &usize| {
        let path = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq");
        std::fs::read_to_string(path).ok()?.trim().parse::<f64>().ok()
    };
    let clocks: Vec<f64> = cores.iter().map(clock_khz).collect::<Option<_>>()?;
    (!clocks.is_empty()).then(|| clocks.iter().sum::<f64>() / clocks.len() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_a_control_group_and_of_those_around_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let least = |groups| least_quota(&control_groups_below(folder.path(), groups));
        write("user.slice/session/cpu.max", "max 100000\n");
        assert_eq!(least("0::/user.slice/session\n"), None);
        write("user.slice/cpu.max", "150000 100000\n");
        assert_eq!(least("0::/user.slice/session\n"), Some(1.5));
        write("user.slice/session/cpu.max", "300000 100000\n");
        assert_eq!(least("0::/user.slice/session\n"), Some(1.5));
        // a container that is told its path outside sees its own limit at the top
        write("cpu.max", "50000 100000\n");
        assert_eq!(least("0::/docker/0123\n"), Some(0.5));
        // version 1, where -1 is no limit
        for (quota, expected) in [("200000\n", Some(2.0)), ("-1\n", None)] {
            write("cpu,cpuacct/job/cpu.cfs_quota_us", quota);
            write("cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
            assert_eq!(least("4:memory:/job\n3:cpu,cpuacct:/job\n"), expected);
        }
        assert_eq!(least("4:memory:/job\n"), None);
    }

    #[test]
    fn counters_of_the_system_are_read_from_its_texts() {
        let stat = "cpu  9 9 9 9 9 9 9 99 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 1 2 3 4 5 6 7 80 0 0\n\
                    intr 5 1\n";
        assert_eq!(steal_ticks(stat, None), Some(vec![8, 80]));
        assert_eq!(steal_ticks(stat, Some(&[1])), Some(vec![80]));
        assert_eq!(steal_ticks(stat, Some(&[2])), None);
        let text =
            "some avg10=3.19 avg60=16.40 avg300=17.43 total=7537247998\nfull avg10=0.00 total=3";
        assert_eq!(pressure(text), Some(Duration::from_micros(7_537_247_998)));
        let second = Duration::from_secs(1);
        let expected = Some(Throttled { periods: 4, time: second });
        assert_eq!(throttled("usage_usec 5\nnr_throttled 4\nthrottled_usec 1000000\n"), expected);
        assert_eq!(
            throttled("nr_periods 9\nnr_throttled 4\nthrottled_time 1000000000\n"),
            expected
        );
        assert_eq!(throttled("usage_usec 5\n"), None);
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
        assert_eq!(quota("-1 100000"), None);
        for wrong in ["", "cpu0", "cpu0 1 2", "some total=x", "nr_throttled x"] {
            assert!(steal_ticks(wrong, None).is_none() && pressure(wrong).is_none());
            assert!(throttled(wrong).is_none() && quota(wrong).is_none());
        }
    }

    fn quiet() -> Disturbance {
        Disturbance {
            switched_out: 0,
            samples: 100,
            waited_percent: Some(0.1),
            steal_percent: Some(5.0),
            least_steal_percent: Some(0.0),
            pressure_percent: Some(50.0),
            throttled_percent: None,
            throttled_periods: None,
            clock_mhz: None,
            core_speed_percent: Some(99.0),
        }
    }

    #[test]
    fn what_was_disturbed_says_by_what() {
        assert!(!quiet().is_disturbed());
        let lost = |switched_out| Disturbance { switched_out, ..quiet() };
        assert!(!lost(20).is_disturbed());
        assert_eq!(lost(21).reasons(), ["21% of launches switched out"]);
        let taken = Disturbance {
            least_steal_percent: Some(3.0),
            throttled_percent: Some(40.2),
            ..quiet()
        };
        assert_eq!(taken.reasons(), ["steal 3%", "throttled 40%"]);
        assert!(taken.badness() > lost(21).badness());
        let slow = Disturbance { core_speed_percent: Some(55.4), ..quiet() };
        assert_eq!(slow.reasons(), ["cores at 55% of their usual speed"]);
        assert!(slow.badness() > lost(21).badness());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_shares_its_core_is_seen_to_wait_for_it() {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let threads = Threads { ids: thread_id().into_iter().collect(), cores: None };
        let Some(waits) = CoreWaits::new(&threads) else {
            eprintln!("skipped: this kernel counts no waits");
            return;
        };
        let allowed = sched_getaffinity(None).unwrap();
        let core = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap();
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one).unwrap();
        let before = waits.total_ns().unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // it inherits the one core
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let start = Instant::now();
            // half of the time is the other's: in 100 ms there must be some
            while start.elapsed() < Duration::from_millis(100) {}
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let waited = waits.total_ns().unwrap() - before;
        assert!(waited > 1_000_000, "{waited} ns");
    }
}
