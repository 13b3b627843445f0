//! An experiment more is one definition: everything else follows from it.

use alpha_flops::backend::cpu;
use alpha_flops::experiment::{
    Definition, EqualFlops, Experiment, LatencySlope, Resolution, Series, TableInUse, Variable,
};
use alpha_flops::settings::{Requested, Settings};
use alpha_flops_analysis::dataset::{Dataset, Latency};
use alpha_flops_analysis::report::{self, Input};
use alpha_flops_analysis::{experiments, objectives};

#[path = "integration/fixtures/datasets.rs"]
mod datasets;
use datasets::{observation, provenance};

fn experiment_h() -> Definition {
    Definition {
        name: "H",
        question: "Does latency grow linearly with FLOPs added by the height of the input?",
        variable: Variable::new("input height H"),
        equal_flops: EqualFlops::Nowhere,
        slope: Some(LatencySlope::Variable),
        values: |_| (1..=5).map(|step| 20 * step).collect(),
        series: &[Series { name: "C = 50", shape: |h| [h, 100, 50, 50, 3] }],
    }
}

/// Alone in its file, and so in its process: the table can be extended only once.
#[test]
fn an_added_experiment_is_in_settings_lists_records_datasets_figures_and_answers() {
    Experiment::add(vec![experiment_h()]).unwrap();
    let h: Experiment = "H".parse().unwrap();
    assert_eq!((Experiment::all().len(), Experiment::all().last()), (8, Some(&h)));
    assert_eq!(Experiment::add(vec![experiment_h()]), Err(TableInUse));

    let listed = experiments::list(&[h], Resolution::Original);
    assert_eq!(listed.len(), 5);
    assert_eq!(listed[0].id, "H/h=20_w=100_in=50_out=50_k=3");
    let table = experiments::table(Experiment::all(), Resolution::Original).to_text();
    assert!(table.contains("H, against input height H: Does latency grow"), "{table}");

    let folder = tempfile::tempdir().unwrap();
    let set = |experiments: &str| {
        let variable = ("ALPHA_FLOPS_EXPERIMENTS".into(), experiments.into());
        Requested::load([variable].into_iter(), &folder.path().join("no.toml"), folder.path())
    };
    let settings = set("h").unwrap().settings(&cpu::KIND).unwrap();
    assert_eq!(settings.experiments, [h]);
    assert!(set("I").unwrap_err().to_string().ends_with("no such experiment, expected A to H"));
    let json = serde_json::to_string(&settings).unwrap();
    assert!(json.contains("\"experiments\":[\"H\"]"), "{json}");
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);

    let path = folder.path().join("h.csv");
    measured(h).write(&path).unwrap();
    let dataset = Dataset::read(&path).unwrap();
    assert!(dataset.observations.iter().all(|observation| observation.experiment == "H"));

    let figures = report::figures(&[Input::new(&dataset)]);
    assert_eq!(figures[0].name, "figure-8a-H-original");
    assert!(figures[0].title.contains("Experiment H: latency against input height H"));
    assert!(figures[0].subtitle.starts_with("Does latency grow linearly"));

    let slopes = objectives::answer(&dataset, None, None, None).ro2.numbers;
    assert_eq!(slopes.len(), 1);
    assert_eq!((&*slopes[0].experiment, &*slopes[0].of), ("H", "latency by input height H"));
    assert!((slopes[0].nominal.slope - 1.0).abs() < 1e-9, "{slopes:?}");
}

/// Latencies proportional to FLOPs.
fn measured(experiment: Experiment) -> Dataset {
    let configurations = experiment.configurations(Resolution::Original).into_iter();
    let observations = configurations.map(|c| {
        let median_ns = Some(c.shape.macs().0 as f64);
        observation(c, Latency { median_ns, ..Latency::default() })
    });
    Dataset { provenance: provenance("Test CPU"), observations: observations.collect() }
}
