//! Clocks, temperature and power of a device, read through NVML. Nothing is ever set.

use std::path::Path;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::error::{Bits, NvmlError};
use nvml_wrapper::{Device, Nvml};

use super::search::{DRIVERS_OF_CONTAINERS, WSL, may_open};
use crate::backend::device::DeviceSample;

/// NVML, and which of its devices is ours.
pub(super) struct Monitor {
    nvml: Nvml,
    /// Identifies the device: NVML numbers devices differently from CUDA, and knows no MIG instances.
    pci_bus_id: String,
}

/// What does not change while a program runs; `None` where it could not be read.
pub(super) struct Facts {
    pub(super) driver: Option<String>,
    pub(super) ecc: Option<bool>,
    pub(super) persistence: Option<bool>,
    pub(super) power_limit_w: Option<u32>,
}

impl Monitor {
    /// Loads NVML and finds the device.
    pub(super) fn open(pci_bus_id: &str) -> Result<Self, String> {
        const NAME: &str = "libnvidia-ml.so.1";
        let in_folder = |folder| {
            let file = Path::new(folder).join(NAME);
            let usable = file.is_file() && may_open(&file).is_ok();
            usable.then(|| Nvml::builder().lib_path(file.as_os_str()).init().ok())?
        };
        let elsewhere = || DRIVERS_OF_CONTAINERS.into_iter().chain([WSL]).find_map(in_folder);
        let by_name = may_open(Path::new(NAME)).map_err(|not_opened| not_opened.tried);
        let by_name = by_name.and_then(|()| Nvml::init().map_err(|error| error.to_string()));
        let nvml = by_name.or_else(|error| elsewhere().ok_or(error));
        let nvml = nvml.map_err(|error| format!("NVML cannot be used: {error}"))?;
        nvml.device_by_pci_bus_id(pci_bus_id)
            .map_err(|error| format!("NVML does not know the device at {pci_bus_id}: {error}"))?;
        Ok(Self { nvml, pci_bus_id: pci_bus_id.to_owned() })
    }

    fn device(&self) -> Result<Device<'_>, NvmlError> {
        self.nvml.device_by_pci_bus_id(self.pci_bus_id.as_str())
    }

    pub(super) fn facts(&self) -> Facts {
        let driver = self.nvml.sys_driver_version().ok();
        let Ok(device) = self.device() else {
            return Facts { driver, ecc: None, persistence: None, power_limit_w: None };
        };
        Facts {
            driver,
            ecc: device.is_ecc_enabled().ok().map(|ecc| ecc.currently_enabled),
            persistence: device.is_in_persistent_mode().ok(),
            power_limit_w: device.enforced_power_limit().ok().map(|milliwatts| milliwatts / 1000),
        }
    }

    /// The device's present state; `None` where the device is gone. What changes fastest is read first.
    pub(super) fn sample(&self) -> Option<DeviceSample> {
        let device = self.device().ok()?;
        let throttle_reasons = match device.current_throttle_reasons_strict() {
            Ok(reasons) => Some(reasons.bits()),
            // bits that only newer drivers know
            Err(NvmlError::IncorrectBits(Bits::U64(reasons))) => Some(reasons),
            Err(_) => None,
        };
        Some(DeviceSample {
            throttle_reasons,
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
            temperature_c: device.temperature(TemperatureSensor::Gpu).ok(),
            power_mw: device.power_usage().ok(),
            // this process is one of those counted, whatever its number is outside of a container
            other_processes: device
                .running_compute_processes_count()
                .ok()
                .and_then(|all| all.checked_sub(1)),
        })
    }
}
