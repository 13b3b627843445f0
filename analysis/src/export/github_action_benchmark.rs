//! What github-action-benchmark reads as `customSmallerIsBetter`: a list of `name`, `unit`, `value`, and the
//! texts `range` and `extra`.
//!
//! The value is the median of the launches, the range half of their interquartile range; of data with a mean only,
//! the mean by itself. `extra` is shown when somebody points at a value: it says where the value comes from.

use std::path::Path;

use alpha_flops::units::Nanoseconds;
use serde::Serialize;

use super::{ExportError, Exported, Measurements, Tool};
use crate::table::rounded;

#[derive(Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

/// The file's contents.
///
/// # Errors
/// [`ExportError::Repeated`] where two series have the same configuration.
pub fn export(measurements: &Measurements, path: &Path) -> Result<Exported, ExportError> {
    let provenance = &measurements.dataset.provenance;
    let origin = format!(
        "backend: {}\ndevice: {}\nversions: {}\nprotocol: {}\nsource: {}",
        provenance.backend,
        provenance.device,
        provenance.versions,
        provenance.protocol,
        provenance.source
    );
    let mut entries = Vec::new();
    for (name, observation) in measurements.named(path, Tool::GithubActionBenchmark)? {
        let latency = &observation.latency;
        let Some(Nanoseconds(value)) = observation.typical() else { continue };
        let quartiles = latency.median_ns.and(latency.q1_ns.zip(latency.q3_ns));
        let of = if latency.median_ns.is_some() { "median" } else { "mean" };
        let launches = latency.launches.map_or(String::new(), |n| format!(" of {n} launches"));
        let quarters =
            quartiles.map_or(String::new(), |(q1, q3)| format!("\nquartiles: {q1} ns, {q3} ns"));
        entries.push(Entry {
            name,
            unit: "ns",
            value,
            range: quartiles.map(|(q1, q3)| format!("± {}", rounded((q3 - q1) / 2.0, 4))),
            extra: format!("{of}{launches}{quarters}\n{origin}"),
        });
    }
    let text = format!("{:#}\n", serde_json::json!(entries));
    Ok(Exported { text, unsaid: None })
}
