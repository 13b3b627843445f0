//! What a device is, and what state it is in while it is measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// The name by which the stand-in for NVIDIA's libraries calls its device. Nothing that it
/// computes is a measurement of a GPU.
pub const STAND_IN: &str = "stand-in (not a GPU)";

/// The backend that records of the stand-in name.
pub const STAND_IN_BACKEND: &str = "cudnn-stand-in";

/// The device that simulated runs name: their times are made up.
pub const SIMULATED: &str = "simulated (no device)";

/// The backend that simulated runs name.
pub const SIMULATED_BACKEND: &str = "simulated";

/// What computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// The backend, as records name it.
    pub backend: &'static str,
    /// The GPU, where it is not the CPU of this machine that computes.
    pub gpu: Option<Gpu>,
    /// The logical cores that computing threads are pinned to, the calling thread's first; `None`
    /// where they are not.
    pub pinned_cores: Option<Vec<usize>>,
}

/// A CUDA device and the software that drives it. What could not be read is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Gpu {
    /// By the driver: `NVIDIA GeForce RTX 4090`.
    pub name: String,
    /// Unique to the card: `GPU-` and a number of 128 bits.
    pub uuid: String,
    pub pci_bus_id: String,
    /// `8.9`.
    pub compute_capability: String,
    pub multiprocessors: u32,
    /// Size of its level-2 cache, which `cold` protocols flush.
    pub l2_cache: Bytes,
    pub memory: Bytes,
    /// Version of the driver, by NVML: `570.86.10`.
    pub driver: Option<String>,
    /// The newest CUDA that the driver supports: `12.8`.
    pub cuda: String,
    /// Version of cuDNN: `9.28.0`.
    pub cudnn: String,
    /// Version of the CUDA runtime that cuDNN was built with: `12.9`.
    pub cudnn_cuda: String,
    pub ecc: Option<bool>,
    /// Whether persistence mode is on: the driver keeps the device initialised between programs.
    pub persistence: Option<bool>,
    pub power_limit_w: Option<u32>,
    /// Environment variables that change what the driver or cuDNN does, as they were.
    pub variables: BTreeMap<String, String>,
    /// Why NVML, the source of clocks and temperature, could not be used.
    pub nvml_missing: Option<String>,
    /// Where NVIDIA's libraries were found, by their names; without those of which that cannot be told,
    /// and empty in older records.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub libraries: BTreeMap<String, String>,
}

impl Gpu {
    /// The properties that decide latencies, each by its name; the others tell one card from another
    /// of the same kind.
    pub fn kind(&self) -> Vec<(&'static str, String)> {
        /// They say which card, not what it does.
        const CHOOSE_A_CARD: [&str; 2] = ["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"];
        let Self {
            name,
            uuid: _,
            pci_bus_id: _,
            compute_capability,
            multiprocessors,
            l2_cache,
            memory: _,
            driver,
            cuda,
            cudnn,
            cudnn_cuda,
            ecc,
            persistence: _,
            power_limit_w,
            variables,
            nvml_missing: _,
            libraries: _,
        } = self;
        let variables =
            variables.iter().filter(|(name, _)| !CHOOSE_A_CARD.contains(&name.as_str()));
        let variables: Vec<String> =
            variables.map(|(name, value)| format!("{name}={value}")).collect();
        let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
        vec![
            ("GPU", name.clone()),
            ("compute capability", compute_capability.clone()),
            ("multiprocessors", multiprocessors.to_string()),
            ("level-2 cache", format!("{} B", l2_cache.0)),
            ("driver", or_unknown(driver.clone())),
            ("CUDA", cuda.clone()),
            ("cuDNN", cudnn.clone()),
            ("cuDNN's CUDA", cudnn_cuda.clone()),
            ("ECC", or_unknown(ecc.map(|on| on.to_string()))),
            ("power limit", or_unknown(power_limit_w.map(|watts| format!("{watts} W")))),
            ("variables", variables.join(" ")),
        ]
    }

    /// What is known of it, each fact by its name, for people.
    pub fn description(&self) -> Vec<(&'static str, String)> {
        let or_unreadable =
            |value: Option<String>| value.unwrap_or_else(|| "not readable".to_owned());
        let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        let mut facts = vec![
            ("GPU", format!("{} in slot {}", self.uuid, self.pci_bus_id)),
            ("compute capability", self.compute_capability.clone()),
            ("multiprocessors", self.multiprocessors.to_string()),
            ("level-2 cache", self.l2_cache.to_string()),
            ("device memory", self.memory.to_string()),
            ("driver", or_unreadable(self.driver.clone())),
            ("CUDA of the driver", self.cuda.clone()),
            ("cuDNN", format!("{}, built with CUDA {}", self.cudnn, self.cudnn_cuda)),
            ("ECC", or_unreadable(self.ecc.map(on_off))),
            ("persistence mode", or_unreadable(self.persistence.map(on_off))),
            ("power limit", or_unreadable(self.power_limit_w.map(|watts| format!("{watts} W")))),
        ];
        if !self.libraries.is_empty() {
            facts.push(("libraries", Vec::from_iter(self.libraries.values().cloned()).join(", ")));
        }
        if !self.variables.is_empty() {
            let set = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
            facts.push(("variables of CUDA and cuDNN", Vec::from_iter(set).join(" ")));
        }
        facts
    }

    /// The versions that decide latencies, in one line.
    pub fn versions(&self) -> String {
        let driver = self.driver.as_deref().unwrap_or("unknown");
        format!("cuDNN {}, driver {driver} (CUDA {})", self.cudnn, self.cuda)
    }

    /// Whether it is the stand-in.
    pub fn is_stand_in(&self) -> bool {
        self.name == STAND_IN
    }
}

/// The state of a device at one moment. What could not be read is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct DeviceSample {
    pub sm_clock_mhz: Option<u32>,
    pub memory_clock_mhz: Option<u32>,
    /// Why the clocks are not higher, as NVML's bits.
    pub throttle_reasons: Option<u64>,
    pub temperature_c: Option<u32>,
    /// Power drawn; by newer devices as a mean over the last second, so that of configurations that
    /// take less it is also of those before.
    pub power_mw: Option<u32>,
    /// Other processes that have a compute context on the device.
    pub other_processes: Option<u32>,
}

/// The smallest and the largest of several readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Range {
    pub min: u32,
    pub max: u32,
}

/// The states of a device while one configuration was launched: read before the first counted
/// launch, between launches at most every [`DeviceStates::EVERY`], and after the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct DeviceStates {
    pub samples: u32,
    pub sm_clock_mhz: Option<Range>,
    pub memory_clock_mhz: Option<Range>,
    pub temperature_c: Option<Range>,
    pub power_mw: Option<Range>,
    /// Every reason read at any time why clocks were not higher, as NVML's bits.
    pub throttle_reasons: Option<u64>,
    /// Other processes that have a compute context on the device; `None` in older records, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_processes: Option<Range>,
}

const POWER_CAP: u64 = 0x4;

/// NVML's reasons for lower clocks: bit, name, and whether it makes times incomparable. A device
/// that idles, or whose clocks a person has set, is not throttled. Nor is one at its power limit, which
/// belongs to what it is: many cards meet theirs in every long launch.
const THROTTLE_REASONS: [(u64, &str, bool); 9] = [
    (0x1, "idle", false),
    (0x2, "clocks set by a person", false),
    (POWER_CAP, "power cap", false),
    (0x8, "hardware slowdown", true),
    (0x10, "sync boost", true),
    (0x20, "thermal slowdown by software", true),
    (0x40, "thermal slowdown by hardware", true),
    (0x80, "power brake", true),
    (0x100, "display clocks", false),
];

impl DeviceStates {
    /// Least time between two readings: they take up to milliseconds.
    pub const EVERY: std::time::Duration = std::time::Duration::from_millis(100);

    /// Adds a reading.
    pub fn add(&mut self, sample: DeviceSample) {
        let range = |read: Option<u32>| read.map(|read| Range { min: read, max: read });
        self.join(&Self {
            samples: 1,
            sm_clock_mhz: range(sample.sm_clock_mhz),
            memory_clock_mhz: range(sample.memory_clock_mhz),
            temperature_c: range(sample.temperature_c),
            power_mw: range(sample.power_mw),
            throttle_reasons: sample.throttle_reasons,
            other_processes: range(sample.other_processes),
        });
    }

    /// Adds the states of another time.
    pub fn join(&mut self, other: &Self) {
        self.samples += other.samples;
        for (range, other) in [
            (&mut self.sm_clock_mhz, other.sm_clock_mhz),
            (&mut self.memory_clock_mhz, other.memory_clock_mhz),
            (&mut self.temperature_c, other.temperature_c),
            (&mut self.power_mw, other.power_mw),
            (&mut self.other_processes, other.other_processes),
        ] {
            *range = match (*range, other) {
                (Some(a), Some(b)) => Some(Range { min: a.min.min(b.min), max: a.max.max(b.max) }),
                (known, other) => known.or(other),
            };
        }
        if let Some(reasons) = other.throttle_reasons {
            self.throttle_reasons = Some(self.throttle_reasons.unwrap_or(0) | reasons);
        }
    }

    /// Whether heat or the power supply slowed the device down.
    pub fn is_throttled(&self) -> bool {
        let slowing = THROTTLE_REASONS.iter().filter(|(_, _, slows)| *slows);
        let slowing = slowing.fold(0, |bits, (bit, _, _)| bits | bit);
        self.throttle_reasons.is_some_and(|reasons| reasons & slowing != 0)
    }

    /// Whether the device was at its power limit.
    pub fn is_at_power_limit(&self) -> bool {
        self.throttle_reasons.is_some_and(|reasons| reasons & POWER_CAP != 0)
    }

    /// Whether another process was on the device at any time: it may have computed there, too.
    pub fn is_shared(&self) -> bool {
        self.other_processes.is_some_and(|others| others.max > 0)
    }

    /// The reasons in words; a bit that only newer drivers know as its number.
    pub fn throttle_words(&self) -> Vec<String> {
        let reasons = self.throttle_reasons.unwrap_or(0);
        let bits = (0..64).map(|bit| 1u64 << bit).filter(|bit| reasons & bit != 0);
        bits.map(|bit| match THROTTLE_REASONS.iter().find(|known| known.0 == bit) {
            Some((_, name, _)) => (*name).to_owned(),
            None => format!("reason {bit:#x}"),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_keep_the_extremes_and_every_reason() {
        let mut states = DeviceStates::default();
        assert!(!states.is_throttled());
        let sample = |clock, reasons| DeviceSample {
            sm_clock_mhz: Some(clock),
            throttle_reasons: Some(reasons),
            ..DeviceSample::default()
        };
        states.add(sample(2100, 0x1));
        states.add(sample(1980, 0x2));
        assert!(!states.is_throttled(), "idling and clocks set by a person do not throttle");
        states.add(DeviceSample::default());
        states.add(sample(2520, 0x20 | 1 << 40));
        assert!(states.is_throttled());
        assert_eq!(states.samples, 4);
        assert_eq!(states.sm_clock_mhz, Some(Range { min: 1980, max: 2520 }));
        assert_eq!(states.temperature_c, None);
        assert_eq!(
            states.throttle_words(),
            [
                "idle",
                "clocks set by a person",
                "thermal slowdown by software",
                "reason 0x10000000000"
            ]
        );
    }
}
