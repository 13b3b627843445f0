//! The dataset of the original study (Asperti, Evangelista and Marzolla, 2021): `data.pickle` of
//! GitHub `asperti/alpha_flops_dataset`.
//!
//! ```text
//! {"plots": [{"name": "conv_K_vs_S",                     8 plots
//!             "lines": [array(n × 7, float64), …],       29 lines, 721 rows in all
//!             "hardware": {"GPU": "Quadro T2000", …}, …}, …]}
//! row: H, W, C_in, C_out, K1, K2, T_ms                   T_ms: mean over 2,000 runs
//! ```
//!
//! Two things differ from what the paper's figures say, and the data's numbers are kept: experiment
//! D varies the first spatial column (`H`, with `W` = 100), and the lines of F are 300×100, 300×200
//! and 300×300 while its caption has 100×H.

use std::path::Path;

use alpha_flops::file_error::FileError;
use alpha_flops::files;
use alpha_flops::shape::{ConvShape, ShapeError};

use super::pickle::{Pickle, Value};
use crate::dataset::{Dataset, Latency, Observation, Provenance};

/// The original file has 43 kB. Reading one made for the purpose takes up to two hundred times its
/// size: a byte may stand for an empty tuple.
const LARGEST_FILE: u64 = 1 << 20;

/// The original file has 721 rows; one array may be referred to many times.
const MOST_ROWS: usize = 100_000;

/// A place in the data and what is wrong there.
struct Misfit(String, String);

struct Row {
    shape: ConvShape,
    latency_ms: f64,
}

/// Reads `data.pickle` into a dataset: plots become experiments A to G and `batch`.
///
/// # Errors
/// [`FileError`], which names the file and the place in it. No code of the pickle is executed.
pub fn read(path: &Path) -> Result<Dataset, FileError> {
    let unreadable = |error| FileError::read(path, error);
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > LARGEST_FILE {
        let cause =
            format!("{bytes} bytes, expected at most {LARGEST_FILE}: not the study's data.pickle");
        return Err(FileError::read(path, cause));
    }
    let bytes = files::read(path)?;
    let pickle = Pickle::parse(&bytes).map_err(|error| FileError::read(path, error))?;
    dataset(&pickle)
        .map_err(|Misfit(place, problem)| FileError::read(path, format!("{place}: {problem}")))
}

fn dataset(pickle: &Pickle) -> Result<Dataset, Misfit> {
    let misfit = |place: String, problem: &str| Misfit(place, problem.to_owned());
    let plots = pickle
        .entry(pickle.root(), "plots")
        .and_then(|plots| pickle.list(plots))
        .ok_or_else(|| misfit("plots".into(), "expected a dictionary with a list of plots"))?;
    let mut device: Option<String> = None;
    let mut observations = Vec::new();
    for (index, plot) in plots.iter().enumerate() {
        let place = format!("plots[{index}]");
        let gpu = pickle.entry(*plot, "hardware").and_then(|h| pickle.entry(h, "GPU"));
        let gpu = gpu
            .and_then(|gpu| pickle.text(gpu))
            .ok_or_else(|| misfit(format!("{place}.hardware.GPU"), "expected a text"))?;
        if device.get_or_insert_with(|| gpu.to_owned()) != gpu {
            return Err(misfit(place, "measured on another GPU than the plots before"));
        }
        observations.extend(experiment(pickle, *plot, &place)?);
        if observations.len() > MOST_ROWS {
            return Err(misfit(place, "more than 100,000 rows: not the study's data.pickle"));
        }
    }
    let device = device.ok_or_else(|| misfit("plots".into(), "the list is empty"))?;
    // in the stable order of datasets; within an experiment the file's
    observations.sort_by(|a, b| a.experiment.cmp(&b.experiment));
    Ok(Dataset { provenance: provenance(device), observations })
}

fn provenance(device: String) -> Provenance {
    Provenance {
        source: "Asperti et al. 2021 dataset".into(),
        backend: "unknown".into(),
        device,
        versions: "unknown".into(),
        protocol: "mean over 2,000 runs, host or device clock not stated".into(),
    }
}

fn experiment(pickle: &Pickle, plot: Value, place: &str) -> Result<Vec<Observation>, Misfit> {
    let name = pickle.entry(plot, "name").and_then(|name| pickle.text(name)).unwrap_or_default();
    let experiment = experiment_of(name).ok_or_else(|| {
        Misfit(format!("{place}.name"), format!("`{name}` is none of the study's plots"))
    })?;
    let lines = pickle
        .entry(plot, "lines")
        .and_then(|lines| pickle.list(lines))
        .ok_or_else(|| Misfit(format!("{place}.lines"), "expected a list of arrays".into()))?;
    let mut observations: Vec<Observation> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let rows = rows(pickle, *line, &format!("{place}.lines[{index}]"))?;
        let Some(first) = rows.first() else { continue };
        let series = series(experiment, &first.shape);
        observations.extend(rows.iter().map(|row| Observation {
            experiment: experiment.to_owned(),
            series: series.clone(),
            x: independent_variable(experiment, &row.shape),
            shape: row.shape,
            latency: Latency { mean_ns: Some(row.latency_ms * 1e6), ..Latency::default() },
            algorithm: None,
        }));
        if observations.len() > MOST_ROWS {
            break; // the caller refuses
        }
    }
    Ok(observations)
}

fn experiment_of(plot: &str) -> Option<&'static str> {
    Some(match plot {
        "conv_fixed_progressive" => "A",
        "conv_K_vs_S" => "B",
        "conv_K_vs_C" => "C",
        "increasing_W" => "D",
        "increasing_Cout" => "E",
        "increasing_Cout_with_K1" => "F",
        "incresing_Cin_100-1000" => "G",
        "increasing_batch" => "batch",
        _ => return None,
    })
}

/// The line's name, from its first row; as in `alpha_flops::experiment` where it means the same.
fn series(experiment: &str, shape: &ConvShape) -> String {
    let (h, w) = (shape.height(), shape.width());
    let (i, o) = (shape.in_channels(), shape.out_channels());
    match experiment {
        // two lines have 2×2: that of this project has equal channels, the other 4 : 1
        "A" if (h, w) == (2, 2) && i != o => format!("H×W = 2×2, C_in:C_out = {}", ratio(i, o)),
        "A" | "F" => format!("H×W = {h}×{w}"),
        "B" => format!("C = {i}"),
        "C" => format!("C·K = {}", i * shape.kernel()),
        "G" => format!("K = {}", shape.kernel()),
        "batch" => format!("C_in×C_out = {i}×{o}"),
        _ => format!("C_in = {i}"),
    }
}

/// `4:1` for 400 and 100.
fn ratio(a: usize, b: usize) -> String {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    format!("{}:{}", a / divisor, b / divisor)
}

/// The value on the plot's x axis.
fn independent_variable(experiment: &str, shape: &ConvShape) -> f64 {
    match experiment {
        // channels are multiples of 2^x, so multiply–adds are 100²·4^x on every line
        "A" => (shape.macs().0 as f64 / 1e4).log2() / 2.0,
        "B" | "C" => shape.kernel() as f64,
        "E" | "F" => shape.out_channels() as f64,
        "G" => shape.in_channels() as f64,
        // D: the spatial axis that varies; batch: the batch, one row of the input each
        _ => shape.height() as f64,
    }
}

fn rows(pickle: &Pickle, line: Value, place: &str) -> Result<Vec<Row>, Misfit> {
    let array = pickle.array::<7>(line).ok_or_else(|| {
        Misfit(place.to_owned(), "expected an array of float64 with 7 columns".into())
    })?;
    let numbered = array.into_iter().enumerate();
    numbered
        .map(|(index, row)| {
            parse_row(row).map_err(|problem| Misfit(format!("{place}, row {index}"), problem))
        })
        .collect()
}

fn parse_row([h, w, c_in, c_out, k1, k2, latency_ms]: [f64; 7]) -> Result<Row, String> {
    let whole = |name: &str, value: f64| {
        // every such value converts exactly; larger ones are refused by the shape anyway
        let valid = value.fract() == 0.0 && (0.0..9e15).contains(&value);
        valid.then_some(value as u64).ok_or(format!("{name} is {value}, expected a whole number"))
    };
    if k1 != k2 {
        return Err(format!("the kernel is {k1}×{k2}, expected a square one"));
    }
    if !(latency_ms.is_finite() && latency_ms > 0.0) {
        return Err(format!("T is {latency_ms} ms, expected a finite number above 0"));
    }
    let shape = ConvShape::new(
        whole("H", h)?,
        whole("W", w)?,
        whole("C_in", c_in)?,
        whole("C_out", c_out)?,
        whole("K", k1)?,
    )
    .map_err(|error: ShapeError| error.to_string())?;
    Ok(Row { shape, latency_ms })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fixtures::data_files::{asperti_like, original_study};
    use crate::metrics::evaluate;
    use crate::model::Coefficients;

    #[test]
    fn plots_become_experiments_with_the_series_of_this_project() {
        let dataset = read(&asperti_like()).unwrap();
        let lines: Vec<String> = dataset
            .observations
            .iter()
            .map(|o| {
                let mean = o.latency.mean_ns.unwrap();
                format!("{} | {} | x = {} | {} | {mean} ns", o.experiment, o.series, o.x, o.shape)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert_eq!(dataset.provenance.device, "Imaginary 1000");
    }

    #[test]
    fn what_is_no_measurement_is_refused_with_its_place() {
        let row = |row: [f64; 7]| parse_row(row).map(|_| ()).unwrap_err();
        assert_eq!(row([1., 1., 1., 1., 2., 3., 1.]), "the kernel is 2×3, expected a square one");
        assert_eq!(row([1.5, 1., 1., 1., 1., 1., 1.]), "H is 1.5, expected a whole number");
        assert_eq!(row([1., 0., 1., 1., 1., 1., 1.]), "width is 0, expected 1 to 4294967295");
        for latency in [0.0, f64::NAN, f64::INFINITY, -1.0] {
            assert!(row([1., 1., 1., 1., 1., 1., latency]).starts_with("T is "));
        }
        let mut bytes = std::fs::read(asperti_like()).unwrap();
        // the second row's 0.25 ms becomes NaN
        let at = bytes.windows(8).position(|window| window == 0.25f64.to_le_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(&f64::NAN.to_le_bytes());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.pickle");
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("data.pickle: plots[0].lines[0], row 1: T is NaN ms"), "{error}");
    }

    #[test]
    fn a_malicious_file_is_refused_with_its_name_and_a_missing_one_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("evil.pickle");
        std::fs::write(&path, b"cos\nsystem\n(S'touch pwned'\ntR.").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("evil.pickle: byte 0: refused: the pickle asks for `os.system`"));
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn the_original_data_is_29_lines_and_the_published_constants_miss_it_by_0_6474_ms() {
        let Some(path) = original_study() else { return };
        let dataset = read(&path).unwrap();
        assert_eq!(dataset.observations.len(), 721);
        assert_eq!(dataset.provenance.device, "Quadro T2000");
        let mut lines: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for o in &dataset.observations {
            *lines.entry((&o.experiment, &o.series)).or_default() += 1;
        }
        assert_eq!(lines.len(), 29, "{lines:?}");
        let evaluation = evaluate(&dataset, &Coefficients::published_t2000()).unwrap();
        assert_eq!((evaluation.overall.n, evaluation.per_series.len()), (721, 29));
        // the four digits that are known
        assert!((evaluation.overall.rmse_ms - 0.6474).abs() < 5e-5, "{:?}", evaluation.overall);
        // and the whole of it can be kept as a dataset
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("original.parquet");
        dataset.write(&path).unwrap();
        assert_eq!(Dataset::read(&path).unwrap(), dataset);
    }
}
