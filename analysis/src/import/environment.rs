//! The environment of a run, in the order of a methods section.

use std::io;
use std::path::Path;

use alpha_flops::backend::device::DeviceStates;
use alpha_flops::environment::Platform;
use alpha_flops::file_error::FileError;
use alpha_flops::files;
use alpha_flops::plain_text::from_json;
use alpha_flops::record::{ConfigurationRecord, Quiet, RunHeader, Session};
use alpha_flops::units::Nanoseconds;
use serde::Deserialize;

use crate::dataset::Provenance;

/// How quiet the machine was while the dataset in a file was measured, from the environment that an archive
/// keeps beside it; `None` where there is none, or one of another run.
pub(super) fn quiet_of(dataset: &Path, measured: &Provenance) -> Result<Option<Quiet>, FileError> {
    #[derive(Deserialize)]
    struct Environment {
        run_id: Option<String>,
        quiet: Option<Quiet>,
    }
    let path = dataset.with_extension("environment.json");
    let text = match files::read(&path) {
        Err(error) if error.kind() == Some(io::ErrorKind::NotFound) => return Ok(None),
        text => text?,
    };
    let read: Environment = from_json(&path, &text)?;
    Ok(read.quiet.filter(|_| read.run_id.as_ref() == Some(&measured.source)))
}

/// The environment of a run, as names and values.
pub(super) fn of_run(header: &RunHeader) -> Vec<(String, String)> {
    let (plan, platform) = (&header.plan, &header.plan.platform);
    let mut lines = Lines::default();
    let ended = header.ended.map_or_else(|| "unfinished".to_owned(), |time| time.to_string());
    let resumed = header.sessions.len().saturating_sub(1);
    lines.add("run", &header.run_id);
    lines.add("started", header.started);
    lines.add("ended", ended);
    lines.add("interrupted and resumed", format!("{resumed} times"));
    lines.add("settings", &plan.settings);
    lines.add("protocol", plan.settings.protocol);
    lines.add("seed", header.seed);
    lines.add("backend", &platform.backend);
    lines.add("device", &platform.device);
    let verified =
        |c: &&ConfigurationRecord| c.outcome.measured().is_some_and(|measured| measured.verified);
    lines.add(
        "outputs compared with direct sums",
        match header.configurations.iter().filter(verified).count() {
            0 => "of one configuration of each experiment".to_owned(),
            verified => format!("of {verified} configurations"),
        },
    );
    lines.add_gpu(header);
    lines.add_host(platform);
    lines.add_conditions(&header.sessions);
    if let Some(quiet) = &header.quiet {
        lines.add("disturbance", quiet.in_words());
    }
    if let Some(machine) = &header.machine {
        lines.add("machine probe", machine);
    }
    lines.add("compiler", format!("{} for {}", platform.rustc, platform.target));
    lines.add("crates", platform.crates.join(", "));
    lines.add("commit", &platform.git_commit);
    lines.0
}

/// Names and values to show.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    /// Of an interrupted run, the state at the start of each process.
    fn add_of_each(&mut self, name: &str, sessions: &[Session], of: impl Fn(&Session) -> String) {
        self.add(name, sessions.iter().map(of).collect::<Vec<_>>().join("; "));
    }

    fn add_gpu(&mut self, header: &RunHeader) {
        let Some(gpu) = &header.plan.platform.gpu else { return };
        for (name, value) in gpu.description() {
            self.add(name, value);
        }
        let bound = header.configurations.iter().filter(|c| c.outcome.is_bound_by_submission());
        self.add(
            "as short as submitting them",
            match bound.count() {
                0 => "no configuration".to_owned(),
                n => format!(
                    "{n} configurations: half of their time or more may be the device's waiting"
                ),
            },
        );
        if let Some(reason) = &gpu.nvml_missing {
            self.add("clocks and throttling", format!("not recorded: {reason}"));
            return;
        }
        self.add("throttled", throttling(header, DeviceStates::is_throttled));
        self.add("at the power limit", throttling(header, DeviceStates::is_at_power_limit));
    }

    fn add_host(&mut self, platform: &Platform) {
        let cores = match platform.physical_cores {
            Some(physical) => format!("{physical} physical, {} logical", platform.logical_cores),
            None => format!("{} logical", platform.logical_cores),
        };
        if platform.gpu.is_some() {
            self.add("CPU", &platform.cpu);
        }
        self.add("cores", cores);
        if platform.gpu.is_none() {
            let pinned = platform.pinned_cores.as_ref().map_or_else(
                || "not pinned".to_owned(),
                |cores| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
            );
            self.add("threads pinned to cores", pinned);
            self.add("vector extensions", &platform.vector_extensions);
        }
        self.add("memory", platform.memory);
        self.add("operating system", format!("{} (kernel {})", platform.os, platform.kernel));
    }

    fn add_conditions(&mut self, sessions: &[Session]) {
        let unknown = || "not readable".to_owned();
        self.add_of_each("memory available", sessions, |session| {
            session.conditions.memory_available.map_or_else(unknown, |bytes| bytes.to_string())
        });
        self.add_of_each("frequency governor", sessions, |session| {
            session.conditions.governor.clone().unwrap_or_else(unknown)
        });
        self.add_of_each("load average at start", sessions, |session| {
            session.conditions.load_average.map_or_else(unknown, |load| format!("{load:.2}"))
        });
        self.add_of_each("timer resolution", sessions, |session| {
            format!("{} ns", session.conditions.timer_resolution_ns)
        });
        if sessions.iter().any(|session| session.conditions.clocksource.is_some()) {
            self.add_of_each("clock source", sessions, |session| {
                session.conditions.clocksource.clone().unwrap_or_else(unknown)
            });
        }
        self.add_of_each("timer overhead", sessions, |session| {
            format!("{} ns", session.conditions.timer_overhead_ns)
        });
        self.add_of_each("empty launch", sessions, |Session { empty_launch, .. }| {
            let host = format!("{} by the host", Nanoseconds(empty_launch.host_ns));
            match empty_launch.device_ns {
                Some(device_ns) => format!("{host}, {} by the device", Nanoseconds(device_ns)),
                None => host,
            }
        });
        if sessions.iter().any(|session| session.why_cpu.is_some()) {
            self.add_of_each("why no GPU", sessions, |session| {
                session.why_cpu.clone().unwrap_or_else(|| "the CPU was asked for".to_owned())
            });
        }
        if sessions.iter().any(|session| session.why_not_queued.is_some()) {
            self.add_of_each("why launches were not queued", sessions, |session| {
                session.why_not_queued.clone().unwrap_or_else(|| "this was asked for".to_owned())
            });
        }
    }
}

/// How many configurations were in such a state, and the first of them; that it cannot be told, where
/// NVML did not say of any why its clocks were lower.
fn throttling(header: &RunHeader, is_so: fn(&DeviceStates) -> bool) -> String {
    let states = header.configurations.iter().filter_map(|c| {
        let device = c.outcome.measured()?.device.as_ref()?;
        device.throttle_reasons.map(|_| (c, device))
    });
    let states: Vec<_> = states.collect();
    if states.is_empty() {
        return "not readable".to_owned();
    }
    let so: Vec<_> = states.iter().filter(|(_, device)| is_so(device)).collect();
    match so.first() {
        None => "no configuration".to_owned(),
        Some((first, _)) => format!("{} configurations, {} the first", so.len(), first.id),
    }
}
