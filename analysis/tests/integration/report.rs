//! Figures and reports of made-up datasets, shaped like A–G.

use std::path::Path;

use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::shape::ConvShape;
use alpha_flops_analysis::dataset::{Dataset, Latency, Observation};
use alpha_flops_analysis::fit::{PUBLISHED_START, Sample, Variant, fit_variant};
use alpha_flops_analysis::import::asperti;
use alpha_flops_analysis::metrics::evaluate;
use alpha_flops_analysis::model::{Coefficients, FlopConvention, KernelTerm};
use alpha_flops_analysis::objectives::ClaimVerdict;
use alpha_flops_analysis::plot::draw;
use alpha_flops_analysis::plot::figure::Figure;
use alpha_flops_analysis::report::{self, Extras, Input, Skipped};

use crate::fixtures::data_files::original_study;
use crate::fixtures::datasets::{observation, provenance};
use crate::fixtures::{alpha_flops, stderr_of_failure, stdout, text};

/// The published form, fitted.
fn fitted(dataset: &Dataset) -> Coefficients {
    let sample = Sample::from_dataset(dataset, KernelTerm::Side, FlopConvention::Macs).unwrap();
    fit_variant(&sample, Variant::PUBLISHED, PUBLISHED_START).unwrap().coefficients
}

/// Latencies that follow the RTX 4090's published formula plus a floor, in steps; quartiles around
/// them.
fn made_up(experiments: &[Experiment], resolution: Resolution, device: &str) -> Dataset {
    let formula = Coefficients::published_rtx4090();
    let configurations = experiments.iter().flat_map(|e| e.configurations(resolution));
    let measured = |(index, c): (usize, alpha_flops::experiment::Configuration)| {
        let step = if c.x / 164 % 2 == 0 { 1.0 } else { 1.25 };
        let median = 5e3 + step * formula.predict(&c.shape).unwrap().0;
        let spread = 0.01 + 0.01 * (index % 7) as f64;
        let latency = Latency {
            median_ns: Some(median),
            mean_ns: Some(median * 1.02),
            q1_ns: Some(median * (1.0 - spread / 2.0)),
            q3_ns: Some(median * (1.0 + spread)),
            launches: Some(200),
            outliers_mild: Some(index as u64 % 5),
            outliers_severe: Some(index as u64 % 2),
            ..Latency::default()
        };
        observation(c, latency)
    };
    Dataset {
        provenance: provenance(device),
        observations: configurations.enumerate().map(measured).collect(),
    }
}

fn input(dataset: &Dataset) -> Input<'_> {
    let mut input = Input::new(dataset);
    input.coefficients =
        vec![Coefficients::published_rtx4090().into(), Coefficients::published_t2000().into()];
    input
}

fn figure<'a>(figures: &'a [Figure], name: &str) -> &'a Figure {
    figures.iter().find(|figure| figure.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// All text of an SVG document, piece by piece.
fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    texts.filter_map(|node| node.text()).map(|text| text.trim().to_owned()).collect()
}

#[test]
fn figures_mark_where_cudnn_takes_another_engine() {
    let experiment: Experiment = "E".parse().unwrap();
    let mut dataset = made_up(&[experiment], Resolution::Original, "Test GPU");
    let plain = report::figures(&[input(&dataset)]);
    let name = "figure-5a-E-original";
    assert!(figure(&plain, name).panels[0].switches.is_empty());
    for observation in &mut dataset.observations {
        // another knob alone is no other engine
        let engine = if observation.x < 200.0 { 12 } else { 38 };
        observation.algorithm = Some(format!("engine-{engine}-k2-{}", observation.x));
    }
    let marked = report::figures(&[input(&dataset)]);
    let switches = &figure(&marked, name).panels[0].switches;
    let lines = experiment.series.len();
    assert_eq!(*switches, (0..lines).map(|line| (line, 200.0)).collect::<Vec<_>>());
    let svg = draw::svg(figure(&marked, name)).unwrap();
    assert!(texts(&svg).join(" ").contains("cuDNN takes another engine"), "the legend says it");
}

#[test]
fn every_figure_names_its_series_its_units_and_where_it_was_measured() {
    let dataset = made_up(Experiment::all(), Resolution::Original, "Test CPU <2 threads>");
    let figures = report::figures(&[input(&dataset)]);
    // one and its residuals for each of A–G
    assert_eq!(figures.len(), 14);
    for figure in &figures {
        let svg = draw::svg(figure).unwrap();
        let texts = texts(&svg);
        let all = texts.join(" ");
        for series in &figure.series {
            assert!(texts.contains(series), "{}: no {series}", figure.name);
        }
        for part in [
            "Measured (median)",
            "Test CPU <2 threads>",
            "backend cpu",
            "gemm 0.19.0",
            "latency-warm, 200 launches",
            "made up for a test",
        ] {
            assert!(all.contains(part), "{}: no {part} in {all}", figure.name);
        }
        assert!(texts.contains(&figure.title));
        assert!(texts.contains(&figure.x.label), "{}: {texts:?}", figure.name);
        assert!(all.contains("(ms)") || all.contains("(µs)") || all.contains("(%)"));
        // estimates are named in the legend, or in the caption of the residuals
        assert!(all.contains("RTX 4090 (replication)"), "{all}");
    }
}

#[test]
fn full_resolution_is_drawn_beside_the_original_one() {
    let dataset = made_up(&[Experiment::A, Experiment::D], Resolution::Full, "Test CPU");
    let figures = report::figures(&[input(&dataset)]);
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    // A has but one resolution
    assert_eq!(
        names,
        [
            "figure-1a-A-original",
            "residual-1-A",
            "figure-4a-D-original",
            "figure-4b-D-full",
            "residual-4-D"
        ]
    );
    let points = |name: &str| -> usize {
        figure(&figures, name).panels[0].lines.iter().map(|line| line.points.len()).sum()
    };
    assert_eq!(points("figure-4a-D-original"), 99);
    assert_eq!(points("figure-4b-D-full"), 1947);
    let is_dense = |name: &str| figure(&figures, name).panels[0].lines.iter().all(|l| l.dense);
    assert!(is_dense("figure-4b-D-full") && !is_dense("figure-4a-D-original"));
    let svg = draw::svg(figure(&figures, "figure-4b-D-full")).unwrap();
    assert!(svg.matches("<circle").count() >= 1947, "a dot for every configuration");
}

#[test]
fn several_targets_stand_side_by_side_on_one_x_axis_with_y_axes_of_their_own() {
    let cpu = made_up(&[Experiment::D], Resolution::Original, "Test CPU");
    let mut gpu = made_up(&[Experiment::D, Experiment::G], Resolution::Original, "Test GPU");
    gpu.provenance.backend = "cudnn".into();
    for observation in &mut gpu.observations {
        for time in [&mut observation.latency.median_ns, &mut observation.latency.q1_ns] {
            *time = time.map(|ns| ns / 100.0);
        }
    }
    let figures = report::figures(&[input(&cpu), input(&gpu)]);
    let shared = figure(&figures, "figure-4a-D-original");
    let headings: Vec<_> = shared.panels.iter().filter_map(|p| p.heading.as_deref()).collect();
    assert_eq!(
        headings,
        [
            "Test CPU (cpu) · latency-warm, 200 launches",
            "Test GPU (cudnn) · latency-warm, 200 launches"
        ]
    );
    assert!(shared.panels[0].y.max > 10.0 * shared.panels[1].y.max / 1000.0);
    let svg = draw::svg(shared).unwrap();
    let all = texts(&svg).join(" ");
    assert!(
        all.contains("on Test CPU · backend cpu") && all.contains("on Test GPU · backend cudnn")
    );
    // G was measured on one of them
    assert_eq!(figure(&figures, "figure-7a-G-original").panels.len(), 1);
}

#[test]
fn the_png_is_the_svg_at_the_scale_asked_for() {
    let dataset = made_up(&[Experiment::A], Resolution::Original, "Test CPU");
    let figures = report::figures(&[input(&dataset)]);
    let svg = draw::svg(&figures[0]).unwrap();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let size = |name| document.root_element().attribute(name).unwrap().parse::<u32>().unwrap();
    let png = draw::png(&svg, 0.5).unwrap();
    let picture = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
    assert!((picture.width(), picture.height()) == (size("width") / 2, size("height").div_ceil(2)));
    // text and points are there: a blank picture has one colour
    let white = picture.pixels().iter().filter(|p| (p.red(), p.blue()) == (255, 255)).count();
    let share = white as f64 / picture.pixels().len() as f64;
    assert!((0.5..0.99).contains(&share), "{share} of the picture is white");
    assert!(draw::png("no picture", 1.0).is_err());
}

/// Datasets that have next to nothing in common with A–G.
fn strange_datasets() -> Vec<Dataset> {
    let one = |experiment: &str, x: f64, ns: f64| Observation {
        experiment: experiment.into(),
        series: "one|two <three>".into(),
        x,
        shape: ConvShape::new(1, 1, 1, 1, 1).unwrap(),
        latency: Latency { mean_ns: Some(ns), ..Latency::default() },
        algorithm: None,
    };
    let unknown = Observation { latency: Latency::default(), ..one("D", 3.0, 1.0) };
    let many = (0..400).map(|i| one("A", f64::from(i), 10f64.powi(i % 300 - 140)));
    let lists = vec![
        vec![],
        vec![one("B", 1.0, 5.0)],
        vec![one("A", 0.0, 1e-9), one("A", 0.0, 1e15)],
        vec![one("D", 5.0, 1.0), unknown.clone()],
        vec![unknown],
        vec![one("of my own/…", -1e300, 1.0), one("of my own/…", 1e300, f64::MAX)],
        vec![one("C", f64::NAN, 1.0), one("C", f64::INFINITY, f64::NAN), one("C", 2.0, -1.0)],
        many.collect(),
    ];
    let dataset = |observations| Dataset { provenance: provenance("Test"), observations };
    lists.into_iter().map(dataset).collect()
}

#[test]
fn no_dataset_however_strange_panics() {
    for dataset in strange_datasets() {
        let inputs = [input(&dataset)];
        for figure in report::figures(&inputs) {
            roxmltree::Document::parse(&draw::svg(&figure).unwrap()).unwrap();
        }
        let report = report::compute(&inputs);
        assert!(report.to_markdown().contains("RO3"));
        serde_json::to_string(&report).unwrap();
    }
}

/// Six points of A, five of B, and a run's extras.
fn small() -> (Dataset, Extras) {
    let mut dataset = made_up(&[Experiment::A, Experiment::B], Resolution::Original, "Test CPU");
    dataset.observations.retain(|o| {
        (o.experiment == "A" && o.x > 6.0)
            || (o.series == "C = 50" && [1.0, 2.0, 4.0, 9.0, 30.0].contains(&o.x))
    });
    let extras = Extras {
        environment: vec![("os".into(), "Linux".into()), ("seed".into(), "42".into())],
        skipped: vec![Skipped {
            id: "A/h=1_w=2_in=25600_out=12800_k=1".into(),
            reason: "needs 1.22 GiB, 1 GiB allowed".into(),
        }],
        quiet: None,
    };
    (dataset, extras)
}

#[test]
fn the_report_of_a_small_dataset_reads_like_this() {
    let (dataset, extras) = small();
    let mut input = Input { extras, ..Input::new(&dataset) };
    input.fit_in_sample(KernelTerm::Side, FlopConvention::Macs);
    input.coefficients.push(Coefficients::published_rtx4090().into());
    insta::assert_snapshot!(report::compute(&[input]).to_markdown());
}

#[test]
fn data_that_cannot_be_fitted_are_reported_all_the_same() {
    let (mut dataset, _) = small();
    dataset.observations.truncate(2);
    let mut input = Input::new(&dataset);
    input.fit_in_sample(KernelTerm::Side, FlopConvention::Macs);
    let markdown = report::compute(&[input]).to_markdown();
    assert!(markdown.contains("Not fitted: K = 1: 2 configurations"), "{markdown}");
    assert!(
        markdown
            .contains("Cannot be answered on Test CPU (cpu): there are no α-FLOPs coefficients")
    );
}

#[test]
fn what_is_fitted_to_a_sweep_is_judged_on_other_data_and_the_report_says_on_how_much() {
    let (mut dataset, _) = small();
    dataset.provenance.protocol = "latency-warm, profile quick".into();
    let mut swept = made_up(&[Experiment::C, Experiment::D], Resolution::Original, "Test CPU");
    swept.provenance.source = "a sweep made up for a test".into();
    swept.provenance.protocol = "latency-warm, 50 launches after 10".into();
    let configurations = swept.observations.len();
    let mut input = Input::new(&dataset);
    input.fit_to(&swept.into(), KernelTerm::Side, FlopConvention::Macs);
    let report = report::compute(&[input]);
    let markdown = report.to_markdown();
    let fitted = format!("fitted to {configurations} other configurations");
    assert!(markdown.contains(&fitted), "no {fitted} in {markdown}");
    assert!(markdown.contains("a sweep made up for a test"));
    assert!(markdown.contains("95% intervals of the fitted parameters"));
    // launches differ in number alone, so these coefficients may be judged here without a caution
    for wrong in ["in-sample: the coefficients", "fitted under protocol", "fitted to these data"] {
        assert!(!markdown.contains(wrong), "{wrong} in {markdown}");
    }
    assert!(report.summary(Path::new("out")).contains(&format!("{configurations} configurations")));
}

#[test]
fn a_report_is_written_whole_and_names_only_files_that_are_there() {
    let (mut dataset, extras) = small();
    dataset.observations.retain(|o| o.experiment == "B");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("not/there/yet");
    let written = report::write(&[Input { extras, ..input(&dataset) }], &out).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["schema_version"], 2);
    assert_eq!(json["targets"][0]["coefficients"][0]["evaluation"]["overall"]["n"], 5);
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert_eq!(written.figures.len(), 2);
    for figure in &written.figures {
        assert!(markdown.contains(&format!("]({})", figure.png)));
        for path in [&figure.svg, &figure.png] {
            assert!(std::fs::metadata(out.join(path)).unwrap().len() > 1000, "{path}");
        }
    }
}

#[test]
fn the_summary_of_a_small_dataset_fits_80_columns_and_reads_like_this() {
    let (dataset, extras) = small();
    let mut input = Input { extras, ..Input::new(&dataset) };
    input.fit_in_sample(KernelTerm::Side, FlopConvention::Macs);
    let summary = report::compute(&[input]).summary(Path::new("target/alpha-flops/run/report"));
    assert!(summary.lines().all(|line| line.chars().count() <= 80), "{summary}");
    insta::assert_snapshot!(summary);
}

#[test]
fn coefficients_of_elsewhere_are_named_as_such() {
    let cpu = made_up(&[Experiment::B], Resolution::Original, "Test CPU");
    let note = |coefficients: Coefficients, measured: &Dataset| {
        evaluate(measured, &coefficients).unwrap().caution
    };
    let fitted = fitted(&made_up(Experiment::all(), Resolution::Original, "Test CPU"));
    assert_eq!(note(fitted.clone(), &cpu), None);
    let mut other = cpu.clone();
    other.provenance.protocol = "throughput".into();
    let protocol = note(fitted.clone(), &other).unwrap();
    assert!(protocol.contains("protocol `latency-warm, 200 launches`"), "{protocol}");
    assert!(protocol.contains("under `throughput`"), "{protocol}");
    other.provenance.backend = "cudnn".into();
    assert!(note(fitted.clone(), &other).unwrap().contains("backend `cpu`"));
    other.provenance.device = "Test GPU".into();
    assert_eq!(
        note(fitted, &other).unwrap(),
        "coefficients of Test CPU against latencies of Test GPU (cudnn): says how far off they are \
         here, nothing about Test CPU"
    );
    let published = note(Coefficients::published_t2000(), &cpu).unwrap();
    assert!(published.starts_with("coefficients of Quadro T2000 against"), "{published}");
    other.provenance.device = "NVIDIA GeForce RTX 4090".into();
    let same = note(Coefficients::published_rtx4090(), &other).unwrap();
    assert!(same.starts_with("what these coefficients were fitted on"), "{same}");
    let table = evaluate(&cpu, &Coefficients::published_t2000()).unwrap().table().to_text();
    assert!(table.contains("note: coefficients of Quadro T2000 against latencies of Test CPU"));
}

#[test]
fn the_command_writes_the_report_and_prints_its_answers() {
    let (mut dataset, _) = small();
    dataset.observations.retain(|o| o.experiment == "B");
    let directory = tempfile::tempdir().unwrap();
    let (data, out) = (directory.path().join("data.csv"), directory.path().join("out"));
    dataset.write(&data).unwrap();
    let report = ["report", text(&data), "--out", text(&out)];
    let answers = stdout(alpha_flops(report).args(["--coefficients", "published-rtx4090"]));
    for part in ["Test CPU (cpu): 5 configurations", "RO1  ", "RO2  ", "RO3  "] {
        assert!(answers.contains(part), "no {part} in {answers}");
    }
    assert!(out.join("report.md").exists() && out.join("report.json").exists());

    let none = directory.path().join("none.csv");
    let error = stderr_of_failure(alpha_flops(["report", text(&none), "--out", text(&out)]));
    assert!(error.contains("none.csv"), "{error}");
}

#[test]
fn a_report_that_cannot_be_written_says_where_and_no_dataset_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let (dataset, _) = small();
    let error = report::write(&[input(&dataset)], &file).unwrap_err().to_string();
    assert!(error.contains("cannot create") && error.contains("file"), "{error}");
    let error = report::write(&[], directory.path()).unwrap_err().to_string();
    assert_eq!(error, "nothing to report: no dataset was given");
}

#[test]
fn equal_input_gives_equal_figures_and_reports() {
    let (dataset, _) = small();
    let render = || {
        let inputs = [input(&dataset)];
        let svgs =
            report::figures(&inputs).iter().map(|f| draw::svg(f).unwrap()).collect::<Vec<_>>();
        (svgs, report::compute(&inputs).to_markdown())
    };
    assert_eq!(render(), render());
}

#[test]
fn the_original_studys_data_have_all_seven_figures() {
    let Some(path) = original_study() else { return };
    let dataset = asperti::read(&path).unwrap();
    let figures = report::figures(&[input(&dataset)]);
    for (number, experiment) in (1..).zip(Experiment::all()) {
        let figure = figure(&figures, &format!("figure-{number}a-{experiment}-original"));
        let all = texts(&draw::svg(figure).unwrap()).join(" ");
        assert!(all.contains("Measured (mean) on Quadro T2000"), "{all}");
        assert!(all.contains("Quartiles unknown"));
    }
}

fn of_stand_in(mut dataset: Dataset) -> Dataset {
    dataset.provenance.backend = "cudnn-stand-in".into();
    dataset.provenance.device = "stand-in (not a GPU)".into();
    dataset.provenance.source = "a run of the stand-in".into();
    dataset
}

#[test]
fn a_stand_ins_times_are_never_shown_beside_measurements() {
    let directory = tempfile::tempdir().unwrap();
    let real = made_up(&[Experiment::A], Resolution::Original, "Test GPU");
    let stand_in = of_stand_in(real.clone());
    for inputs in [[input(&real), input(&stand_in)], [input(&stand_in), input(&real)]] {
        let error = report::write(&inputs, &directory.path().join("mixed")).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("a run of the stand-in is stand-in (not a GPU)"), "{error}");
        assert!(!directory.path().join("mixed").exists());
    }
}

#[test]
fn a_stand_ins_report_says_so_everywhere_and_answers_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let stand_in = of_stand_in(made_up(&[Experiment::A, Experiment::B], Resolution::Original, ""));
    let mut input = input(&stand_in);
    input.coefficients.clear();
    input.fit_in_sample(KernelTerm::Side, FlopConvention::Macs);
    let report = report::write(&[input], directory.path()).unwrap();
    let objectives = &report.targets[0].objectives;
    for (verdict, sentence) in [
        (objectives.ro1.verdict, &objectives.ro1.sentence),
        (objectives.ro2.verdict, &objectives.ro2.sentence),
        (objectives.ro3.verdict, &objectives.ro3.sentence),
    ] {
        assert_eq!(verdict, ClaimVerdict::CannotBeAnswered);
        assert!(sentence.contains("NOT A GPU"), "{sentence}");
    }
    let markdown = std::fs::read_to_string(directory.path().join("report.md")).unwrap();
    assert!(markdown.lines().nth(2).unwrap().contains("NOT A GPU"), "{markdown}");
    for figure in &report.figures {
        let svg = std::fs::read_to_string(directory.path().join(&figure.svg)).unwrap();
        assert!(svg.contains("NOT A GPU"), "{}", figure.svg);
    }
}

#[test]
fn coefficients_are_not_judged_across_the_line_between_a_stand_in_and_a_device() {
    let real = made_up(&[Experiment::A, Experiment::B], Resolution::Original, "Test GPU");
    let stand_in = of_stand_in(real.clone());
    let published = Coefficients::published_rtx4090();
    for (dataset, coefficients) in
        [(&stand_in, &fitted(&real)), (&real, &fitted(&stand_in)), (&stand_in, &published)]
    {
        let error = evaluate(dataset, coefficients).unwrap_err().to_string();
        assert!(error.contains("its times are no measurements"), "{error}");
    }
    assert!(evaluate(&stand_in, &fitted(&stand_in)).is_ok());
}
