//! Environments of archived runs: written in the present schema, read in every schema that any of them
//! has.

use std::path::Path;

use alpha_flops::checksum::sealed_json_in_lines;
use alpha_flops::file_error::FileError;
use alpha_flops::files::{self, write_atomically};
use alpha_flops::plain_text::from_json;
use alpha_flops::record::{OLDEST_READ, RunHeader, RunStatus, SCHEMA_VERSION};
use serde_json::{Value, json};

/// The schema before GPUs: the CPU's threads and algorithm were settings like others, and the protocol stood
/// beside them.
const BEFORE_GPUS: u64 = 1;

/// Writes what a dataset lacks: the run's settings, platform, conditions and order, as `run.json` has them,
pub fn write(header: &RunHeader, to: &Path) -> Result<(), FileError> {
    write_header(&RunHeader { configurations: Vec::new(), ..header.clone() }, to)
}

pub fn write_header(header: &RunHeader, to: &Path) -> Result<(), FileError> {
    write_atomically(to, |out| {
        out.write_all(&sealed_json_in_lines(header)?)?;
        writeln!(out)
    })
}

pub fn read(path: &Path) -> Result<RunHeader, FileError> {
    let error = |reason: String| FileError::read(path, reason);
    let bytes = files::read(path)?;
    let mut value: Value = from_json(path, &bytes)?;
    match value.get("schema_version").and_then(Value::as_u64) {
        Some(BEFORE_GPUS) => upgrade(&mut value)
            .ok_or_else(|| error("it is not what schema_version 1 promises".to_owned()))?,
        Some(version)
            if (u64::from(OLDEST_READ)..=u64::from(SCHEMA_VERSION)).contains(&version) => {}
        Some(version) => {
            let known = format!("expected {BEFORE_GPUS} to {SCHEMA_VERSION}");
            return Err(error(format!("schema_version is {version}, {known}")));
        }
        None => return Err(error("no schema_version: not a run's environment".to_owned())),
    }
    let header: RunHeader = serde_json::from_value(value).map_err(|e| error(e.to_string()))?;
    header.check_names().map_err(error)?;
    match header.status {
        RunStatus::Finished => Ok(header),
        RunStatus::Unfinished => {
            Err(error("the run is unfinished, expected a finished one".into()))
        }
    }
}

/// An environment of schema 1 as the present schema has it; `None` where it is not of schema 1.
fn upgrade(header: &mut Value) -> Option<()> {
    header.as_object_mut()?.insert("schema_version".into(), json!(SCHEMA_VERSION));
    let plan = header.get_mut("plan")?.as_object_mut()?;
    let protocol = plan.remove("protocol")?;
    let platform = plan.get_mut("platform")?.as_object_mut()?;
    let device = platform.get("device")?.clone();
    platform.insert("cpu".into(), device);
    platform.insert("gpu".into(), Value::Null);
    let settings = plan.get_mut("settings")?.as_object_mut()?;
    let threads = settings.remove("threads")?;
    let algorithm = settings.remove("algorithm")?;
    let name = settings.remove("backend")?;
    let backend = json!({ "name": name, "threads": threads, "algorithm": algorithm });
    settings.insert("backend".into(), backend);
    settings.insert("protocol".into(), protocol);
    for session in header.get_mut("sessions")?.as_array_mut()? {
        // nothing is launched on a CPU but by a call: what was recorded since is the clock's overhead
        let host_ns = session.get("conditions")?.get("timer_overhead_ns")?.clone();
        let session = session.as_object_mut()?;
        let nothing = json!({ "host_ns": host_ns, "device_ns": null, "submission_ns": null });
        session.insert("empty_launch".into(), nothing);
        session.insert("why_cpu".into(), Value::Null);
    }
    Some(())
}
