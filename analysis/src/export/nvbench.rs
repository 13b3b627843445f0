//! nvbench's JSON, and its files of samples: `NAME.json` and, for each configuration whose launches are kept,
//! `NAME.json-bin/N.bin`, little-endian 32-bit floats in seconds.
//!
//! A benchmark an experiment, its axes the series and the convolution's dimensions, a state a configuration.
//! nvbench's scripts look for times in one place only, those of isolated launches on a GPU: there they are,
//! whatever the clock and the device were. `meta` has the provenance in words under `alpha-flops`, each summary
//! repeats clock and protocol in its description, and the device's name contains its backend.

use std::path::Path;

use alpha_flops::files::{create_folder_in, write_atomically};
use serde_json::{Map, Value, json};

use super::{ExportError, Measurements};
use crate::dataset::{Observation, Provenance};
use crate::in_order::distinct;

/// The version of the format, of which there is one.
pub const VERSION: [u64; 3] = [1, 0, 0];
/// The benchmark of an experiment is named after it, behind this.
pub const BENCHMARK: &str = "alpha-flops ";
/// The axes of a convolution, in the order of its dimensions.
pub const AXES: [&str; 5] = ["Height", "Width", "InChannels", "OutChannels", "Kernel"];
/// The axis that names a series.
pub const SERIES: &str = "Series";
/// The entry of `meta`, and the beginning of tags that only this project knows.
pub const OWN: &str = "alpha-flops";
/// What is common to the tags of times.
pub const TIME: &str = "nv/cold/time/gpu/";
const SAMPLES: &str = "nv/json/bin:nv/cold/sample_times";

/// Writes the file and those of samples beside it. Returns how many configurations have samples.
///
/// # Errors
/// [`ExportError`] where one cannot be written.
pub fn write(measurements: &Measurements, path: &Path) -> Result<usize, ExportError> {
    let provenance = &measurements.dataset.provenance;
    let observations = &measurements.dataset.observations;
    let (folder, folder_name) = (path.with_file_name(""), samples_folder(path)?);
    let mut benchmarks = Vec::new();
    let mut with_samples = 0;
    for (index, name) in
        distinct(observations.iter().map(|o| o.experiment.as_str())).iter().enumerate()
    {
        let of: Vec<&Observation> = observations.iter().filter(|o| o.experiment == *name).collect();
        let mut states = Vec::new();
        for observation in &of {
            let samples = measurements.launches.get(&observation.id());
            let file = samples.map(|_| format!("{with_samples}.bin"));
            if let (Some(samples), Some(file)) = (samples, &file) {
                let samples_in = create_folder_in(&folder, &folder_name)?;
                write_samples(samples, &samples_in.join(file))?;
                with_samples += 1;
            }
            let file = file.map(|file| format!("{folder_name}/{file}"));
            states.push(state(observation, provenance, samples.zip(file.as_ref())));
        }
        benchmarks.push(json!({
            "name": format!("{BENCHMARK}{name}"),
            "index": index,
            "devices": [0],
            "axes": axes(&of),
            "states": states,
        }));
    }
    let [major, minor, patch] = VERSION;
    let string = format!("{major}.{minor}.{patch}");
    let root = json!({
        "meta": {
            "argv": [],
            "version": {
                "json": { "major": major, "minor": minor, "patch": patch, "string": string },
            },
            OWN: provenance,
        },
        "devices": [{ "id": 0, "name": provenance.place() }],
        "benchmarks": benchmarks,
    });
    write_atomically(path, |out| writeln!(out, "{root:#}"))?;
    Ok(with_samples)
}

/// The name of the folder of samples, which is beside the file.
fn samples_folder(path: &Path) -> Result<String, ExportError> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| ExportError::Name { path: path.to_owned() })?;
    Ok(format!("{name}-bin"))
}

fn write_samples(ns: &[f64], path: &Path) -> Result<(), ExportError> {
    let bytes: Vec<u8> = ns.iter().flat_map(|ns| ((ns * 1e-9) as f32).to_le_bytes()).collect();
    Ok(write_atomically(path, |out| out.write_all(&bytes))?)
}

fn axes(observations: &[&Observation]) -> Vec<Value> {
    let series = distinct(observations.iter().map(|o| o.series.as_str()));
    let mut axes = vec![json!({
        "name": SERIES,
        "type": "string",
        "flags": "",
        "values": series.iter().map(|name| json!({
            "input_string": name, "description": "", "value": name,
        })).collect::<Vec<_>>(),
    })];
    for (dimension, name) in AXES.iter().enumerate() {
        let mut values: Vec<u32> =
            observations.iter().map(|o| o.shape.dimensions()[dimension]).collect();
        values.sort_unstable();
        values.dedup();
        axes.push(json!({
            "name": name,
            "type": "int64",
            "flags": "",
            "values": values.iter().map(|value| json!({
                "input_string": value.to_string(), "description": "", "value": value,
            })).collect::<Vec<_>>(),
        }));
    }
    axes
}

fn state(
    observation: &Observation,
    provenance: &Provenance,
    samples: Option<(&Vec<f64>, &String)>,
) -> Value {
    let named = AXES.iter().zip(observation.shape.dimensions());
    let words: Vec<String> = named.clone().map(|(name, value)| format!("{name}={value}")).collect();
    let mut axis_values =
        vec![json!({ "name": SERIES, "type": "string", "value": observation.series })];
    axis_values.extend(
        named.map(
            |(name, value)| json!({ "name": name, "type": "int64", "value": value.to_string() }),
        ),
    );
    json!({
        "name": format!("Device=0 {SERIES}={} {}", observation.series, words.join(" ")),
        "device": 0,
        "type_config_index": 0,
        "axis_values": axis_values,
        "summaries": summaries(observation, provenance, samples),
        "is_skipped": false,
    })
}

fn summaries(
    observation: &Observation,
    provenance: &Provenance,
    samples: Option<(&Vec<f64>, &String)>,
) -> Vec<Value> {
    let latency = &observation.latency;
    let about = format!("{}, on {}", provenance.method(), provenance.place());
    let seconds = |what: &str, ns: Option<f64>| {
        let value = (ns? * 1e-9).to_string();
        Some(json!({
            "tag": format!("{TIME}{what}"),
            "name": what,
            "description": about,
            "hint": "duration",
            "data": [{ "name": "value", "type": "float64", "value": value }],
        }))
    };
    let spread = latency.q1_ns.zip(latency.q3_ns).map(|(q1, q3)| q3 - q1);
    let extreme = |pick: fn(f64, f64) -> f64| samples?.0.iter().copied().reduce(pick);
    let mut all: Vec<Value> = [
        ("min", extreme(f64::min)),
        ("max", extreme(f64::max)),
        ("mean", latency.mean_ns),
        ("stdev/absolute", samples.and_then(|(ns, _)| standard_deviation(ns))),
        ("q1", latency.q1_ns),
        ("median", latency.median_ns),
        ("q3", latency.q3_ns),
        ("iqr/absolute", spread),
    ]
    .into_iter()
    .filter_map(|(what, ns)| seconds(what, ns))
    .collect();
    all.extend(latency.launches.map(|launches| {
        let value = json!({ "name": "value", "type": "int64", "value": launches.to_string() });
        json!({ "tag": "nv/cold/sample_size", "name": "Samples", "data": [value] })
    }));
    if let Some((ns, file)) = samples {
        let size = json!({ "name": "size", "type": "int64", "value": ns.len().to_string() });
        let filename = json!({ "name": "filename", "type": "string", "value": file });
        all.push(json!({
            "tag": SAMPLES, "name": "Samples File", "hide": "", "data": [filename, size],
        }));
    }
    all.push(own(observation));
    all
}

/// What only this project reads: the independent variable, and the algorithm.
fn own(observation: &Observation) -> Value {
    let x = json!({ "name": "x", "type": "float64", "value": observation.x.to_string() });
    let algorithm = observation
        .algorithm
        .as_ref()
        .map(|algorithm| json!({ "name": "algorithm", "type": "string", "value": algorithm }));
    let data: Vec<Value> = [x].into_iter().chain(algorithm).collect();
    let fields = [
        ("tag", json!(format!("{OWN}/configuration"))),
        ("name", json!("configuration")),
        ("hide", json!("")),
        ("data", json!(data)),
    ];
    Value::Object(Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value))))
}

/// With n − 1; of one launch there is none.
fn standard_deviation(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt())
}
