//! Everything that reads files, each with sound ones to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use alpha_flops::measure::SampleTimes;
use alpha_flops::record::{
    ConfigurationRecord, FinishedRun, Part, RunHeader, read_part, write_finished,
};
use alpha_flops::settings::Requested;
use alpha_flops_analysis::archive::{self, KeepLaunches};
use alpha_flops_analysis::criterion_json::Benchmark;
use alpha_flops_analysis::dataset::Dataset;
use alpha_flops_analysis::export::{self, Measurements};
use alpha_flops_analysis::fit::Sample;
use alpha_flops_analysis::import::nvbench::{self, Times};
use alpha_flops_analysis::import::{self, asperti};
use alpha_flops_analysis::model::{Coefficients, FlopConvention, KernelTerm};
use alpha_flops_analysis::plans;
use alpha_flops_analysis::run::Run;

use super::mutation::Format::{self, Bytes, Cells, Json, Parquet};

/// A reader with a folder of what it reads.
pub struct Reader {
    /// A part of a test's name.
    pub name: &'static str,
    /// Writes sound files into a folder and names those that are changed.
    pub write: fn(&Path) -> Vec<(Format, PathBuf)>,
    /// Whether what is in the folder is accepted.
    pub read: fn(&Path) -> bool,
}

pub const READERS: [Reader; 12] = [
    Reader { name: "dataset_in_csv", write: dataset_in_csv, read: read_csv },
    Reader { name: "dataset_in_parquet", write: dataset_in_parquet, read: read_parquet },
    Reader { name: "run", write: run, read: read_run },
    Reader { name: "part_of_a_run", write: part, read: read_part_of_run },
    Reader { name: "run_with_criterions_files", write: replayed, read: read_replayed },
    Reader { name: "sweep", write: sweep, read: read_sweep },
    Reader { name: "archived_run", write: archived, read: read_archived },
    Reader { name: "file_of_plans", write: plans_files, read: read_plans },
    Reader { name: "file_of_coefficients", write: coefficients, read: read_coefficients },
    Reader { name: "pickle_of_the_original_study", write: pickle, read: read_pickle },
    Reader { name: "file_of_nvbench", write: nvbench_files, read: read_nvbench },
    Reader { name: "file_of_settings", write: settings, read: read_settings },
];

/// Recorded inputs of the frozen outputs: measured by earlier versions, so that nothing has a checksum.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/frozen/fixtures").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Few configurations: most of a case's time is for reading all of them.
fn measured() -> Dataset {
    let mut dataset = import::load(&fixture("measured/1")).unwrap().dataset;
    dataset.observations.truncate(6);
    dataset
}

/// A run of two configurations that were measured and one that was not.
fn small_run() -> (RunHeader, Vec<(ConfigurationRecord, SampleTimes)>) {
    let run = FinishedRun::open(&fixture("measured/2")).unwrap();
    let mut launches = run.launches_file().unwrap().read_all().unwrap();
    let mut header = run.header;
    let is_measured = |record: &ConfigurationRecord| record.outcome.measured().is_some();
    let (measured, others): (Vec<_>, Vec<_>) =
        std::mem::take(&mut header.configurations).into_iter().partition(is_measured);
    let records = measured.into_iter().take(2).chain(others.into_iter().take(1));
    let records = records.map(|record| {
        let times = launches.remove(&record.id).unwrap_or_default();
        (record, times)
    });
    let records: Vec<_> = records.collect();
    header.plan.ids = records.iter().map(|(record, _)| record.id.clone()).collect();
    (header, records)
}

fn dataset_in_csv(folder: &Path) -> Vec<(Format, PathBuf)> {
    measured().write(&folder.join("d.csv")).unwrap();
    vec![(Cells(b','), "d.csv".into())]
}

fn dataset_in_parquet(folder: &Path) -> Vec<(Format, PathBuf)> {
    measured().write(&folder.join("d.parquet")).unwrap();
    vec![(Parquet, "d.parquet".into())]
}

/// Every reader of datasets gives the same answer.
fn read_dataset(path: &Path) -> bool {
    let whole = Dataset::read(path);
    let fit = Sample::read(path, KernelTerm::Side, FlopConvention::Macs);
    match (&whole, &fit) {
        (Ok(whole), Ok(fit)) => assert_eq!(whole.observations.len(), fit.len()),
        (Err(whole), Err(fit)) => assert_eq!(whole.to_string(), fit.to_string()),
        _ => panic!("{:?}, but {:?}", whole.err(), fit.err()),
    }
    whole.is_ok()
}

fn read_csv(folder: &Path) -> bool {
    read_dataset(&folder.join("d.csv"))
}

fn read_parquet(folder: &Path) -> bool {
    read_dataset(&folder.join("d.parquet"))
}

fn run(folder: &Path) -> Vec<(Format, PathBuf)> {
    let (header, records) = small_run();
    let written = folder.join("run");
    write_finished(&written, header, records.into_iter()).unwrap();
    vec![(Json, "run/run.json".into()), (Parquet, "run/launches.parquet".into())]
}

fn read_run(folder: &Path) -> bool {
    let run = Run::open(&folder.join("run"));
    let launches = run.and_then(|run| run.map_launches(|_, times| times.ns.len()));
    launches.is_ok()
}

fn part(folder: &Path) -> Vec<(Format, PathBuf)> {
    let (header, records) = small_run();
    let (record, times) = records[0].clone();
    let run_id = header.run_id;
    fs::create_dir(folder.join("parts")).unwrap();
    let name = format!("parts/{}.1.json", record.id.replace('/', "-"));
    fs::write(folder.join("id"), &record.id).unwrap();
    let part = Part { run_id, pass: 1, position: 0, record, times };
    fs::write(folder.join(&name), serde_json::to_vec(&part).unwrap()).unwrap();
    vec![(Json, name.into())]
}

fn read_part_of_run(folder: &Path) -> bool {
    let id = fs::read_to_string(folder.join("id")).unwrap();
    read_part(folder, &id, 1).is_ok_and(|part| part.is_some())
}

fn first_measured(header: &RunHeader) -> &ConfigurationRecord {
    let mut records = header.configurations.iter();
    records.find(|record| record.outcome.measured().is_some()).unwrap()
}

/// Changed are files of one configuration.
fn replayed(folder: &Path) -> Vec<(Format, PathBuf)> {
    copy(&fixture("measured/1"), folder);
    let run = FinishedRun::open(folder).unwrap();
    let baseline = Path::new("criterion").join(&first_measured(&run.header).id).join("new");
    let file = |name: &str| (Json, baseline.join(name));
    vec![file("benchmark.json"), file("estimates.json"), file("sample.json"), file("tukey.json")]
}

fn read_replayed(folder: &Path) -> bool {
    let run = Run::open(folder).unwrap();
    let id = &first_measured(&run.header).id;
    let benchmark = Benchmark::read(&folder.join("criterion").join(id).join("new"));
    // all of a run is slow: only where there is something to judge
    benchmark.is_ok() && import::criterion::import(&run).is_ok_and(|all| all.rejected.is_empty())
}

fn sweep(folder: &Path) -> Vec<(Format, PathBuf)> {
    let part = "parts/0001671-0002123.parquet";
    fs::create_dir(folder.join("parts")).unwrap();
    for name in ["sweep.json", part] {
        fs::copy(fixture("sweep/2").join(name), folder.join(name)).unwrap();
    }
    vec![(Json, "sweep.json".into()), (Parquet, part.into()), (Parquet, part.into())]
}

fn read_sweep(folder: &Path) -> bool {
    import::sweep::read(folder).is_ok()
}

fn archived(folder: &Path) -> Vec<(Format, PathBuf)> {
    let run = fixture("measured/1");
    let added = archive::add(&run, folder, Some("target"), KeepLaunches::Never).unwrap();
    let name = |path: &Path| Path::new("target").join(path.file_name().unwrap());
    let environment = added.path.with_extension("environment.json");
    vec![(Json, name(&environment)), (Cells(b','), name(&added.path))]
}

fn read_archived(folder: &Path) -> bool {
    let (runs, unreadable) = archive::read(&folder.join("target")).unwrap();
    assert_eq!(runs.len() + unreadable.len(), 1);
    if let Some(run) = runs.first() {
        let _ = import::load(&run.path);
    }
    unreadable.is_empty()
}

fn plans_files(folder: &Path) -> Vec<(Format, PathBuf)> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target-data/plans/cudnn-9.28.0-rtx4090-tf32.parquet");
    let mut rows = plans::read(&all).unwrap();
    rows.truncate(20);
    plans::write(&folder.join("p.parquet"), rows.clone()).unwrap();
    plans::write(&folder.join("p.csv"), rows).unwrap();
    vec![(Parquet, "p.parquet".into()), (Cells(b','), "p.csv".into())]
}

fn read_plans(folder: &Path) -> bool {
    ["p.parquet", "p.csv"].iter().all(|name| plans::read(&folder.join(name)).is_ok())
}

const COEFFICIENTS: &str = r#"{"schema_version":2,"source":"made up","fitted_on":null,"flops":"macs",
"s_k":"side","objective":"log","constant":true,
"k_equal_1":{"beta":0.02,"gamma":0.9,"final":0.001,"constant_ms":0.1},
"k_above_1":{"beta":0.02,"gamma":0.9,"final":0.001,"constant_ms":0.1}}"#;

fn coefficients(folder: &Path) -> Vec<(Format, PathBuf)> {
    fs::write(folder.join("c.json"), COEFFICIENTS).unwrap();
    vec![(Json, "c.json".into())]
}

fn read_coefficients(folder: &Path) -> bool {
    let shape = "h=32_w=32_in=50_out=50_k=3".parse().unwrap();
    let read = Coefficients::read(&folder.join("c.json"));
    read.is_ok_and(|coefficients| coefficients.predict(&shape).is_ok())
}

fn pickle(folder: &Path) -> Vec<(Format, PathBuf)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/asperti_like.pickle");
    fs::copy(golden, folder.join("data.pickle")).unwrap();
    vec![(Bytes, "data.pickle".into())]
}

fn read_pickle(folder: &Path) -> bool {
    asperti::read(&folder.join("data.pickle")).is_ok()
}

fn nvbench_files(folder: &Path) -> Vec<(Format, PathBuf)> {
    let mut measurements = Measurements::read(&fixture("measured/1")).unwrap();
    measurements.dataset.observations.truncate(3);
    export::nvbench::write(&measurements, &folder.join("n.json")).unwrap();
    vec![(Json, "n.json".into()), (Bytes, "n.json-bin/1.bin".into())]
}

fn read_nvbench(folder: &Path) -> bool {
    let imported = nvbench::read(&folder.join("n.json"), Times::Cold);
    imported.is_ok_and(|imported| imported.rejected.is_empty())
}

const SETTINGS: &str = "backend=\"cpu\"\nexperiments=\"A,B\"\nlaunches=100\npasses=3\nthreads=2\n\
                        memory_limit_gib=1.5\nprofile=\"smoke\"\nverify=true\ntime_budget=\"1h\"\n\
                        runs=\"there\"\nseed=7\n";

fn settings(folder: &Path) -> Vec<(Format, PathBuf)> {
    fs::write(folder.join("bench.toml"), SETTINGS).unwrap();
    vec![(Cells(b'='), "bench.toml".into())]
}

fn read_settings(folder: &Path) -> bool {
    Requested::load(std::iter::empty(), &folder.join("bench.toml"), folder).is_ok()
}
