//! What is to go wrong, read from `STAND_IN_FAULTS` (the table is in the crate's documentation).

use std::str::FromStr;

/// All faults; the default is a device without any.
#[derive(Debug, PartialEq)]
pub struct Faults {
    pub no_device: bool,
    pub driver_version: i32,
    pub cudnn_version: usize,
    pub cudart_version: usize,
    pub memory: u64,
    pub fail_allocation: Option<u64>,
    pub refuse_plans: u64,
    pub workspace: Option<i64>,
    pub fail_execution: Option<u64>,
    pub sticky: Option<u64>,
    pub event_time: Option<f32>,
    pub event_time_from: u64,
    pub throttle: u64,
    pub power_cap: bool,
    pub clock_ramp: bool,
    pub other_processes: u64,
    pub hang: Option<u64>,
    pub wrong_output: bool,
    pub no_stream_wait: bool,
    pub block_launch: Option<u64>,
    pub no_nvml: bool,
    pub nvml_not_supported: bool,
    pub stub: bool,
    pub fail_calls: Vec<(String, u64)>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            no_device: false,
            driver_version: 12090,
            cudnn_version: 92800,
            cudart_version: 12090,
            memory: 8 << 30,
            fail_allocation: None,
            refuse_plans: 0,
            workspace: None,
            fail_execution: None,
            sticky: None,
            event_time: None,
            event_time_from: 1,
            throttle: 0,
            power_cap: false,
            clock_ramp: false,
            other_processes: 0,
            hang: None,
            wrong_output: false,
            no_stream_wait: false,
            block_launch: None,
            no_nvml: false,
            nvml_not_supported: false,
            stub: false,
            fail_calls: Vec::new(),
        }
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            faults.add(name, value).ok_or_else(|| format!("`{item}` is no fault"))?;
        }
        Ok(faults)
    }
}

impl Faults {
    fn add(&mut self, name: &str, value: &str) -> Option<()> {
        let flag = value.is_empty().then_some(true);
        match name {
            "no-device" => self.no_device = flag?,
            "driver-version" => self.driver_version = value.parse().ok()?,
            "cudnn-version" => self.cudnn_version = value.parse().ok()?,
            "cudart-version" => self.cudart_version = value.parse().ok()?,
            "memory" => self.memory = value.parse().ok()?,
            "fail-allocation" => self.fail_allocation = Some(ordinal(value)?),
            "refuse-plans" => self.refuse_plans = number_or(value, "all")?,
            "workspace" => self.workspace = Some(value.parse().ok().filter(|bytes| *bytes >= 0)?),
            "fail-execution" => self.fail_execution = Some(ordinal(value)?),
            "sticky" => self.sticky = Some(ordinal(value)?),
            "event-time" => {
                self.event_time = Some(match value {
                    "nan" => f32::NAN,
                    "zero" => 0.0,
                    "negative" => -1.0,
                    _ => return None,
                })
            }
            "event-time-from" => self.event_time_from = ordinal(value)?,
            "throttle" => self.throttle = number_or(value, "always")?,
            "power-cap" => self.power_cap = flag?,
            "clock" => self.clock_ramp = (value == "ramp").then_some(true)?,
            "other-process" => self.other_processes = number_or(value, "always")?,
            "hang" => self.hang = Some(ordinal(value)?),
            "wrong-output" => self.wrong_output = flag?,
            "no-stream-wait" => self.no_stream_wait = flag?,
            "block-launch" => self.block_launch = Some(ordinal(value)?),
            "no-nvml" => self.no_nvml = flag?,
            "nvml-not-supported" => self.nvml_not_supported = flag?,
            "stub" => self.stub = flag?,
            "fail-call" => {
                let (function, nth) = value.split_once(':').unwrap_or((value, "1"));
                self.fail_calls.push((function.to_owned(), ordinal(nth)?));
            }
            _ => return None,
        }
        Some(())
    }
}

fn ordinal(value: &str) -> Option<u64> {
    value.parse().ok().filter(|n| *n > 0)
}

fn number_or(value: &str, all: &str) -> Option<u64> {
    if value == all { Some(u64::MAX) } else { value.parse().ok() }
}
