//! Bencher's metric format (`https://bencher.dev/docs/reference/bencher-metric-format`): by benchmark, the
//! measure `latency` in nanoseconds, with a lower and an upper value.
//!
//! Value, lower and upper are median and quartiles of the launches; of data with a mean only, the mean by itself.
//! The format has no field for anything else: a device is a *testbed* there, which `bencher run` is told.

use std::path::Path;

use alpha_flops::units::Nanoseconds;
use serde_json::{Map, Value, json};

use super::{ExportError, Exported, Measurements, Tool};

/// The file's contents.
///
/// # Errors
/// [`ExportError::Repeated`] where two series have the same configuration.
pub fn export(measurements: &Measurements, path: &Path) -> Result<Exported, ExportError> {
    let mut benchmarks = Map::new();
    for (id, observation) in measurements.named(path, Tool::Bencher)? {
        let latency = &observation.latency;
        let Some(Nanoseconds(value)) = observation.typical() else { continue };
        let mut metric = Map::from_iter([("value".to_owned(), json!(value))]);
        if let (Some(_), Some(q1), Some(q3)) = (latency.median_ns, latency.q1_ns, latency.q3_ns) {
            metric.insert("lower_value".to_owned(), json!(q1));
            metric.insert("upper_value".to_owned(), json!(q3));
        }
        benchmarks.insert(id, json!({ "latency": metric }));
    }
    let provenance = &measurements.dataset.provenance;
    Ok(Exported {
        text: format!("{:#}\n", Value::Object(benchmarks)),
        unsaid: Some(format!(
            "the format cannot say where latencies come from: {}; versions: {}\nhint: `bencher run \
             --adapter json --testbed '{}, {}'` keeps devices and protocols apart",
            provenance.line(),
            provenance.versions,
            provenance.place(),
            provenance.method()
        )),
    })
}
