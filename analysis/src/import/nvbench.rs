//! nvbench's JSON, with its files of samples: as nvbench writes it (`--json`, `--jsonbin`), and as
//! [`export::nvbench`](crate::export::nvbench) does, which says what stands where.
//!
//! A state is a configuration, whose shape is in its axes. Of a file of nvbench's the backend is unknown, as it
//! says nothing of what computed; one that was exported says all that a dataset has.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use alpha_flops::choice::choices;
use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::file_error::FileError;
use alpha_flops::files;
use alpha_flops::plain_text::from_json;
use alpha_flops::shape::ConvShape;
use alpha_flops::statistics::Summary;
use serde::Deserialize;
use serde_json::Value;

use super::Imported;
use crate::dataset::{Dataset, Latency, Observation, Provenance};
use crate::export::nvbench::{AXES, BENCHMARK, OWN, SERIES, VERSION};
use crate::run::{Missing, Status};

choices! {
    /// Which of nvbench's times.
    pub enum Times {
        /// Of isolated launches, each with a cold cache.
        Cold = "cold",
        /// Of launches back to back.
        Batch = "batch",
    }
}

impl Times {
    /// What is common to the tags of these times.
    fn tag(self) -> &'static str {
        match self {
            Self::Cold => "nv/cold/time/gpu/",
            Self::Batch => "nv/batch/time/gpu/",
        }
    }

    fn protocol(self) -> String {
        format!("nvbench {}, GPU time", self.name())
    }
}

#[derive(Deserialize)]
struct Root {
    meta: Meta,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    benchmarks: Vec<Benchmark>,
}

#[derive(Deserialize)]
struct Meta {
    version: Versions,
    #[serde(rename = "alpha-flops")]
    own: Option<Provenance>,
}

#[derive(Deserialize)]
struct Versions {
    json: JsonVersion,
    nvbench: Option<NvbenchVersion>,
}

#[derive(Deserialize)]
struct JsonVersion {
    major: u64,
    string: String,
}

#[derive(Deserialize)]
struct NvbenchVersion {
    string: String,
}

#[derive(Deserialize)]
struct Device {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct Benchmark {
    name: String,
    // null where there are none, as in a state
    states: Option<Vec<State>>,
}

#[derive(Deserialize)]
struct State {
    name: Option<String>,
    /// `None` of what measures the host alone.
    device: Option<i64>,
    axis_values: Option<Vec<Named>>,
    summaries: Option<Vec<StateSummary>>,
    #[serde(default)]
    is_skipped: bool,
    skip_reason: Option<String>,
}

#[derive(Deserialize)]
struct StateSummary {
    tag: String,
    #[serde(default)]
    data: Vec<Named>,
}

/// A number is written as a text or as a number, an infinite one as null.
#[derive(Deserialize)]
struct Named {
    name: String,
    value: Value,
}

impl Named {
    fn text(&self) -> String {
        self.value.as_str().map_or_else(|| self.value.to_string(), str::to_owned)
    }
}

/// Reads a file into a dataset. States that nvbench skipped are listed, and so are those left out because their
/// times or samples are not sound.
///
/// # Errors
/// [`FileError`] where it is no such file, where states are of several devices, or have other axes than those of
/// a convolution, or where none has such times.
pub fn read(path: &Path, times: Times) -> Result<Imported, FileError> {
    let wrong = |cause: String| FileError::read(path, cause);
    let root: Root = from_json(path, &files::read(path)?)?;
    let JsonVersion { major, string } = &root.meta.version.json;
    if *major != VERSION[0] {
        return Err(wrong(format!("meta.version.json is {string}, expected {}", VERSION[0])));
    }
    let provenance = provenance(path, &root, times).map_err(wrong)?;
    let is_own = root.meta.own.is_some();
    let (mut observations, mut rejected, mut not_measured) = (Vec::new(), Vec::new(), Vec::new());
    for benchmark in &root.benchmarks {
        let experiment = experiment(&benchmark.name, is_own);
        for state in benchmark.states.iter().flatten() {
            let place = place(benchmark, state);
            let (series, shape) =
                configuration(state).map_err(|e| wrong(format!("{place}: {e}")))?;
            let missing = |status, reason| Missing { id: place.clone(), status, reason };
            if state.is_skipped {
                let reason = state.skip_reason.clone().unwrap_or_else(|| "no reason given".into());
                not_measured.push(missing(Status::Skipped, reason));
                continue;
            }
            match latency(path, state, times) {
                Ok(latency) => observations.push(Observation {
                    experiment: experiment.clone(),
                    series: series.unwrap_or_else(|| format!("K = {}", shape.kernel())),
                    x: own(state, "x")
                        .and_then(|x| number(x).ok())
                        .unwrap_or_else(|| mega_macs(shape)),
                    shape,
                    latency,
                    algorithm: own(state, "algorithm").map(Named::text),
                }),
                Err(reason) => rejected.push(missing(Status::Rejected, reason)),
            }
        }
    }
    if is_own {
        check_experiments(&observations).map_err(wrong)?;
    } else {
        observations.sort_by(|a, b| {
            let lines = (&a.experiment, &a.series).cmp(&(&b.experiment, &b.series));
            lines.then(a.x.total_cmp(&b.x)).then(a.shape.cmp(&b.shape))
        });
    }
    if observations.is_empty() {
        let first = rejected.iter().chain(&not_measured).next();
        let first = first.map_or_else(|| "there are no states".to_owned(), ToString::to_string);
        return Err(wrong(format!("no state has times of {}; the first: {first}", times.name())));
    }
    let dataset = Dataset { provenance, observations };
    Ok(Imported { rejected, not_measured, ..dataset.into() })
}

/// What the file says of where its times come from.
fn provenance(path: &Path, root: &Root, times: Times) -> Result<Provenance, String> {
    if let Some(own) = &root.meta.own {
        return match times {
            Times::Cold => Ok(own.clone()),
            Times::Batch => {
                Err("it was exported, with one kind of times: leave out --times".into())
            }
        };
    }
    let states = root.benchmarks.iter().flat_map(|benchmark| benchmark.states.iter().flatten());
    let devices: BTreeSet<Option<i64>> = states.map(|state| state.device).collect();
    let device = match Vec::from_iter(&devices)[..] {
        [Some(device)] => *device,
        [] => return Err("there are no states".to_owned()),
        _ if devices.contains(&None) => {
            return Err("it has states of no device, expected times of a GPU alone".to_owned());
        }
        _ => {
            let names: Vec<String> = devices.iter().flatten().map(i64::to_string).collect();
            let names = names.join(", ");
            return Err(format!("its states are of the devices {names}, expected one: split it"));
        }
    };
    let device = root.devices.iter().find(|described| described.id == device);
    let nvbench = root.meta.version.nvbench.as_ref();
    Ok(Provenance {
        source: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        backend: "unknown".to_owned(),
        device: device.map_or_else(|| "unknown".to_owned(), |device| device.name.clone()),
        versions: nvbench.map_or_else(|| "unknown".into(), |of| format!("nvbench {}", of.string)),
        protocol: times.protocol(),
    })
}

/// The experiment that a benchmark is. One of this project's is named so by an exported file alone.
fn experiment(benchmark: &str, is_own: bool) -> String {
    match benchmark.strip_prefix(BENCHMARK) {
        Some(name) if is_own => name.to_owned(),
        _ if benchmark.parse::<Experiment>().is_ok() => format!("nvbench {benchmark}"),
        _ => benchmark.to_owned(),
    }
}

/// Checks that what is named as one of this project's experiments is a configuration of it.
fn check_experiments(observations: &[Observation]) -> Result<(), String> {
    let mut known: HashMap<&str, Vec<(String, ConvShape)>> = HashMap::new();
    for Observation { experiment, series, shape, .. } in observations {
        let Ok(named) = experiment.parse::<Experiment>() else { continue };
        let known = known.entry(experiment).or_insert_with(|| {
            let all = Resolution::ALL.into_iter().flat_map(|r| named.configurations(r));
            all.map(|of| (of.series.to_owned(), of.shape)).collect()
        });
        if !known.iter().any(|(of, configuration)| of == series && configuration == shape) {
            return Err(format!("{shape} in series `{series}` is not of experiment {experiment}"));
        }
    }
    Ok(())
}

/// How messages name a state.
fn place(benchmark: &Benchmark, state: &State) -> String {
    match &state.name {
        Some(name) => format!("{}, {name}", benchmark.name),
        None => benchmark.name.clone(),
    }
}

/// The series, where it is named, and the shape.
fn configuration(state: &State) -> Result<(Option<String>, ConvShape), String> {
    let plain = |name: &str| name.replace(['_', '-', ' '], "").to_lowercase();
    let mut dimensions = [None; AXES.len()];
    let (mut series, mut unknown) = (None, Vec::new());
    for axis in state.axis_values.iter().flatten() {
        if let Some(dimension) = AXES.iter().position(|name| plain(name) == plain(&axis.name)) {
            let value = axis.text();
            let whole = value.parse::<u64>();
            dimensions[dimension] = Some(
                whole.map_err(|_| format!("{} is {value}, expected a whole number", axis.name))?,
            );
        } else if plain(SERIES) == plain(&axis.name) {
            series = Some(axis.text());
        } else {
            unknown.push(format!("`{}`", axis.name));
        }
    }
    let expected = format!("expected {} and, for the line, {SERIES}", AXES.join(", "));
    if !unknown.is_empty() {
        return Err(format!("unknown axes {}; {expected}", unknown.join(", ")));
    }
    if let Some(missing) = dimensions.iter().position(Option::is_none) {
        return Err(format!("it has no axis {}; {expected}", AXES[missing]));
    }
    let [height, width, in_channels, out_channels, kernel] =
        dimensions.map(Option::unwrap_or_default);
    let shape = ConvShape::new(height, width, in_channels, out_channels, kernel);
    Ok((series, shape.map_err(|error| error.to_string())?))
}

fn mega_macs(shape: ConvShape) -> f64 {
    shape.macs().0 as f64 / 1e6
}

fn value<'s>(state: &'s State, tag: &str, name: &str) -> Option<&'s Named> {
    let summary = state.summaries.iter().flatten().find(|summary| summary.tag == tag)?;
    summary.data.iter().find(|data| data.name == name)
}

/// What only an exported file has.
fn own<'s>(state: &'s State, name: &str) -> Option<&'s Named> {
    value(state, &format!("{OWN}/configuration"), name)
}

fn number(of: &Named) -> Result<f64, String> {
    let text = of.text();
    text.parse().map_err(|_| format!("{} is {text}, expected a number", of.name))
}

/// What the file says, and what its samples say that it doesn't.
fn latency(path: &Path, state: &State, times: Times) -> Result<Latency, String> {
    let time = |what: &str| -> Result<Option<f64>, String> {
        let tag = format!("{}{what}", times.tag());
        let Some(found) = value(state, &tag, "value") else { return Ok(None) };
        let ns = number(found).map_err(|problem| format!("{tag}: {problem}"))? * 1e9;
        match ns.is_finite() && ns > 0.0 {
            true => Ok(Some(ns)),
            false => Err(format!("{tag} is {}, expected a finite time above 0", found.text())),
        }
    };
    let samples = match times {
        Times::Cold => samples(path, state)?,
        Times::Batch => None,
    };
    if let Some(summary) = samples.as_deref().and_then(Summary::from_latencies) {
        for (what, found) in [("min", summary.min_ns), ("max", summary.max_ns)] {
            // samples have 24 bits
            if let Some(expected) = time(what)?.filter(|e| (found / e - 1.0).abs() > 1e-6) {
                return Err(format!("{what} of the samples is {found} ns, expected {expected} ns"));
            }
        }
        if time("median")?.is_none() {
            return Ok(Latency { passes: None, ..(&summary).into() });
        }
    }
    let [median_ns, mean_ns, q1_ns, q3_ns] =
        [time("median")?, time("mean")?, time("q1")?, time("q3")?];
    if median_ns.or(mean_ns).is_none() {
        return Err(format!("it has no {}mean", times.tag()));
    }
    if let (Some(q1), Some(median), Some(q3)) = (q1_ns, median_ns, q3_ns)
        && !(q1 <= median && median <= q3)
    {
        return Err(format!("q1 ≤ median ≤ q3 does not hold: {q1}, {median}, {q3} ns"));
    }
    let size = format!("{}sample_size", times.tag().trim_end_matches("time/gpu/"));
    let launches = value(state, &size, "value").and_then(|launches| launches.text().parse().ok());
    Ok(Latency { median_ns, mean_ns, q1_ns, q3_ns, launches, ..Latency::default() })
}

/// The samples in nanoseconds, where there is a file of them.
fn samples(json: &Path, state: &State) -> Result<Option<Vec<f64>>, String> {
    const TAG: &str = "nv/json/bin:nv/cold/sample_times";
    let Some(filename) = value(state, TAG, "filename") else { return Ok(None) };
    let path = samples_file(json, Path::new(&filename.text()));
    let bytes = files::read(&path).map_err(|error| error.to_string())?;
    let expected = value(state, TAG, "size").map(Named::text);
    let (chunks, rest) = bytes.as_chunks::<4>();
    if expected.as_ref() != Some(&chunks.len().to_string()) || !rest.is_empty() {
        let expected = expected.unwrap_or_else(|| "a size".to_owned());
        let (path, bytes) = (path.display(), bytes.len());
        return Err(format!("{path} has {bytes} bytes, expected {expected} samples of 4"));
    }
    let ns: Vec<f64> = chunks.iter().map(|c| f64::from(f32::from_le_bytes(*c)) * 1e9).collect();
    match ns.iter().position(|ns| !(ns.is_finite() && *ns > 0.0)) {
        Some(at) => Err(format!(
            "{}: sample {at} is {} ns, expected a finite time above 0",
            path.display(),
            ns[at]
        )),
        None => Ok(Some(ns)),
    }
}

/// Where a file of samples is: beside the JSON, or where older versions of nvbench named it, from the folder that
/// they were started in.
fn samples_file(json: &Path, name: &Path) -> PathBuf {
    let beside = json.with_file_name(name);
    let folder = json.parent().and_then(Path::parent);
    let above = folder.map(|folder| folder.join(name)).filter(|above| above.is_file());
    if beside.is_file() { beside } else { above.unwrap_or(beside) }
}
