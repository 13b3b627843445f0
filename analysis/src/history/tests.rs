use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::record::{Distances, MachineState, Quartiles};
use std::sync::LazyLock;

use super::noise::normal;
use super::*;
use crate::archive;
use crate::dataset::{Dataset, Latency};
use crate::fixtures::data_files::archived_target;
use crate::fixtures::datasets::observation;
use crate::plot;

/// A header as a run of this project has it, to be changed.
static HEADER: LazyLock<RunHeader> = LazyLock::new(|| {
    archive::read_run(&archived_target().join("2026-11-25t13-02-46z-46de.csv")).unwrap().header
});

/// One run of made-up histories: three configurations of each of A–G.
struct Made {
    day: usize,
    commit: &'static str,
    /// How much slower than usual.
    factor: f64,
    /// Standard deviation of the run's experiments.
    sd: f64,
    seed: u64,
}

fn run(made: &Made) -> Run {
    let Made { day, commit, factor, sd, seed } = *made;
    let mut header = HEADER.clone();
    header.run_id = format!("2026-{:02}-{:02}t12-00-00z-5eed", 1 + day / 28, 1 + day % 28);
    header.started =
        format!("2026-{:02}-{:02}T12:00:00Z", 1 + day / 28, 1 + day % 28).parse().unwrap();
    header.plan.platform.git_commit = commit.to_owned();
    for session in &mut header.sessions {
        session.conditions.load_average = Some(0.1);
    }
    let mut observations = Vec::new();
    for (index, experiment) in Experiment::all().iter().enumerate() {
        let by_chance = (sd * normal(seed, index as u64)).exp();
        for c in experiment.configurations(Resolution::Original).into_iter().take(3) {
            let median_ns = Some(1000.0 * f64::from(c.x + 1) * factor * by_chance);
            observations.push(observation(c, Latency { median_ns, ..Latency::default() }));
        }
    }
    let dataset = Dataset { provenance: provenance(&header), observations };
    let path = format!("{}.csv", header.run_id).into();
    Run { header, dataset, path, missing: Vec::new() }
}

/// Runs a day, so many of them by each commit and so much slower.
pub(super) fn history(levels: &[(&'static str, usize, f64)], sd: f64, seed: u64) -> Vec<Run> {
    let each = levels.iter().flat_map(|&(commit, runs, factor)| vec![(commit, factor); runs]);
    each.enumerate()
        .map(|(day, (commit, factor))| {
            run(&Made { day, commit, factor, sd, seed: seed + day as u64 })
        })
        .collect()
}

fn timeline(runs: &[Run]) -> Timeline {
    let mut timelines = History::from_archived("a target", runs).unwrap().timelines;
    assert_eq!(timelines.len(), 1);
    timelines.remove(0)
}

fn found(trend: &Trend) -> Vec<usize> {
    match &trend.steps {
        Steps::Searched { found, .. } => found.iter().map(|step| step.run).collect(),
        Steps::TooFew { reason } => panic!("{reason}"),
    }
}

#[test]
fn a_run_is_compared_with_the_first_by_the_geometric_mean_over_what_both_have() {
    let mut runs = history(&[("a", 1, 1.0), ("b", 1, 1.25)], 0.0, 1);
    runs[1].dataset.observations.retain(|o| o.experiment != "C");
    let of_a = runs[1].dataset.observations.iter_mut().find(|o| o.experiment == "A").unwrap();
    of_a.latency.median_ns = of_a.latency.median_ns.map(|ns| ns * 8.0);
    let timeline = timeline(&runs);
    let ratio = |name: &str| {
        timeline.trends.iter().find(|trend| trend.experiment == name).unwrap().ratios[1]
    };
    assert!((ratio("A").unwrap().ratio - 1.25 * 2.0).abs() < 1e-12, "∛8 = 2");
    assert!((ratio("B").unwrap().ratio - 1.25).abs() < 1e-12);
    assert_eq!(ratio("C"), None);
    assert_eq!((ratio("A").unwrap().configurations, ratio("all").unwrap().configurations), (3, 18));
    assert_eq!(ratio("B").unwrap().interval, None, "nothing is known of the noise");
}

#[test]
fn histories_without_a_step_give_a_false_alarm_at_most_one_time_in_twenty() {
    let mut alarms = 0;
    let histories = 400;
    let mut chances = Chances { level: FALSE_ALARMS / 8.0, known: HashMap::new() };
    for seed in 0..histories {
        let runs = history(&[("a", 5, 1.0), ("b", 5, 1.0)], 0.01, 1000 * seed);
        let is_alarm = |trend: &Trend| !found(trend).is_empty() || !trend.outliers().is_empty();
        alarms += usize::from(trends_of(&runs, &mut chances).iter().any(is_alarm));
    }
    // 20 expected, with a standard error of 4.4
    assert!(
        alarms as f64 <= FALSE_ALARMS * histories as f64 + 2.0 * 4.4,
        "{alarms} of {histories}"
    );
}

#[test]
fn a_step_of_five_percent_is_found_where_the_runs_of_an_experiment_differ_by_one() {
    // of the same commit: the search has to find it by the latencies alone, in a noise that contains it
    for (after, seed, least) in [("a", 5_000_000, 0.78), ("b", 6_000_000, 0.95)] {
        let mut chances = Chances { level: FALSE_ALARMS / 8.0, known: HashMap::new() };
        let (mut of_histories, mut of_experiments, histories) = (0, 0, 100);
        for history_seed in (seed..).step_by(1000).take(histories) {
            let runs = history(&[("a", 5, 1.0), (after, 5, 1.05)], 0.01, history_seed);
            let trends = trends_of(&runs, &mut chances);
            let is_found = |trend: &&Trend| found(trend).contains(&6);
            of_histories += usize::from(trends.iter().any(|trend| is_found(&trend)));
            of_experiments += trends.iter().skip(1).filter(is_found).count();
        }
        let share = of_experiments as f64 / (7 * histories) as f64;
        assert!(of_histories >= 99, "{of_histories} of {histories} histories");
        // eight series share one false alarm in twenty, of steps or outlier runs, and each knows its noise
        // from ten runs
        assert!(share >= least, "{share} of single experiments");
    }
}

/// The trends alone, with what chance does, which many histories share.
fn trends_of(runs: &[Run], chances: &mut Chances) -> Vec<Trend> {
    let runs: Vec<&Run> = runs.iter().collect();
    let environments = environments(&runs);
    let described: Vec<HistoryRun> =
        (0..runs.len()).map(|index| history_run(&runs, index, environments[index])).collect();
    ["all", "A", "B", "C", "D", "E", "F", "G"]
        .map(|name| {
            let latencies: Vec<LnLatencies<'_>> =
                runs.iter().map(|run| ln_latencies(&run.dataset, name)).collect();
            trend(name, &latencies, &environments, chances, &described)
        })
        .into()
}

#[test]
fn a_step_names_its_date_its_size_and_what_changed_and_one_there_and_back_is_two() {
    let levels = [("aaa", 4, 1.0), ("bbb", 4, 1.06), ("ccc", 4, 1.0)];
    let history = History::from_archived("a-target", &history(&levels, 0.003, 7)).unwrap();
    let all = &history.timelines[0].trends[0];
    assert_eq!(found(all), [5, 9]);
    let step = all.step_at(5).unwrap();
    assert_eq!(step.started.to_string(), "2026-01-05T12:00:00Z");
    let (low, high) = step.interval.unwrap();
    assert!(low < 1.06 && 1.06 < high && high - low < 0.02, "{step:?}");
    let changed: Vec<String> = step.changes.iter().map(ToString::to_string).collect();
    assert_eq!(changed, ["commit aaa → bbb"]);
    insta::assert_snapshot!(history.to_text());
}

#[test]
fn too_few_runs_are_said_to_be_too_few() {
    let reason = |levels: &[(&'static str, usize, f64)]| {
        let timeline = timeline(&history(levels, 0.01, 3));
        match &timeline.trends[0].steps {
            Steps::TooFew { reason } => reason.clone(),
            Steps::Searched { .. } => panic!("searched"),
        }
    };
    assert!(reason(&[("a", 1, 1.0)]).contains("no two runs were measured in one environment"));
    assert!(reason(&[("a", 1, 1.0), ("b", 1, 2.0)]).contains("cargo replicate --runs"));
    assert!(reason(&[("a", 2, 1.0)]).contains("2 runs, expected at least 3"));
    assert!(reason(&[("a", 2, 1.0), ("b", 1, 2.0)]).contains("only two runs"));
    assert_eq!(History::from_archived("nothing", &[]), None);
}

#[test]
fn runs_by_another_protocol_are_a_history_of_their_own() {
    let mut runs = history(&[("a", 4, 1.0)], 0.01, 9);
    for run in &mut runs[2..] {
        run.header.plan.settings.protocol.launches = std::num::NonZeroU32::new(50).unwrap();
        run.dataset.provenance = provenance(&run.header);
    }
    let history = History::from_archived("a target", &runs).unwrap();
    let protocols: Vec<_> =
        history.timelines.iter().map(|timeline| timeline.provenance.protocol.as_str()).collect();
    assert_eq!(protocols, ["host-latency-warm", "host-throughput-50-warm"]);
    assert!(history.timelines.iter().all(|timeline| timeline.runs.len() == 2));
    let csv = history.to_csv();
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(csv.records().count(), 4 * 8, "a row a run and experiment, and one header");
}

#[test]
fn figures_name_what_they_show_and_mark_steps() {
    let levels = [("aaa", 4, 1.0), ("bbb", 4, 1.06)];
    let history = History::from_archived("a-target", &history(&levels, 0.003, 7)).unwrap();
    let [figure] = &plot::history::figures(&history)[..] else { panic!("one") };
    assert_eq!(figure.panels.len(), 8);
    let curve = &figure.panels[0].curves[0].points;
    assert_eq!(curve.iter().map(|(x, _)| *x).collect::<Vec<_>>(), [0.5, 4.5, 4.5, 8.5]);
    let svg = plot::draw::svg(figure).unwrap();
    for text in ["AMD EPYC, 2 threads", "host-latency-warm", "gemm 0.19.0", "backend cpu"] {
        assert!(svg.contains(text), "{text}");
    }
}

/// Six runs of all configurations, of which all but the first are about twice as slow, each experiment by a
/// factor of its own, and then six of A and D only. Nothing changes between these but the commit.
fn part_runs(after: f64) -> Vec<Run> {
    let mut runs = history(&[("a", 1, 1.0), ("b", 5, 1.0), ("c", 6, after)], 0.003, 11);
    for (number, run) in runs.iter_mut().enumerate() {
        if number >= 6 {
            run.dataset.observations.retain(|o| ["A", "D"].contains(&o.experiment.as_str()));
        }
        if number >= 1 {
            for observation in &mut run.dataset.observations {
                let slower = if observation.experiment == "A" { 1.3 } else { 2.1 };
                let median = observation.latency.median_ns.as_mut().unwrap();
                *median *= slower;
            }
        }
    }
    runs
}

#[test]
fn runs_of_some_experiments_are_no_step_of_all() {
    let timeline = timeline(&part_runs(1.0));
    let all = &timeline.trends[0];
    let (before, after) = (all.ratios[5].unwrap(), all.ratios[6].unwrap());
    assert!((after.ratio / before.ratio).ln().abs() < 0.02, "{before:?} {after:?}");
    assert_eq!((before.configurations, after.configurations), (21, 6));
    for trend in &timeline.trends {
        assert!(trend.steps().iter().all(|step| step.run != 7), "{trend:?}");
    }
}

#[test]
fn a_step_between_full_runs_is_found_through_the_part_runs_between_them() {
    let mut runs = history(&[("a", 5, 1.0), ("a", 3, 1.0), ("b", 5, 1.0)], 0.003, 51);
    for run in &mut runs[5..8] {
        run.dataset.observations.retain(|o| o.experiment == "A");
    }
    // only what the part-runs lack is slower afterwards
    for run in &mut runs[8..] {
        for observation in run.dataset.observations.iter_mut().filter(|o| o.experiment == "D") {
            observation.latency.median_ns = observation.latency.median_ns.map(|ns| ns * 1.5);
        }
    }
    let timeline = timeline(&runs);
    let trend = |name: &str| timeline.trends.iter().find(|t| t.experiment == name).unwrap();
    assert!((trend("D").step_at(9).unwrap().ratio / 1.5).ln().abs() < 0.02);
    let numbers: Vec<f64> = trend("all").ratios.iter().map(|r| r.unwrap().ratio.ln()).collect();
    // a seventh of ln 1.5 over all configurations
    assert!((numbers[9] - numbers[4] - 1.5f64.ln() / 7.0).abs() < 0.01, "{numbers:?}");
    assert_eq!(trend("B").ratios[6], None);
}

#[test]
fn a_step_is_over_the_configurations_that_both_levels_have() {
    let history = History::from_archived("a-target", &part_runs(1.1)).unwrap();
    let all = &history.timelines[0].trends[0];
    let step = all.step_at(7).unwrap();
    assert_eq!(step.configurations, 6);
    let (low, high) = step.interval.unwrap();
    assert!(low < 1.1 && 1.1 < high && high - low < 0.02, "{step:?}");
    assert!(history.to_text().contains(" over 6 configurations"), "{}", history.to_text());
    let csv = history.to_csv();
    let of_step = |row: &&str| row.contains(",all,") && row.contains(",6,false,");
    assert_eq!(csv.lines().filter(of_step).count(), 1, "{csv}");
}

#[test]
fn an_odd_run_is_named_in_table_json_and_figure() {
    let levels = [("aaa", 5, 1.0), ("aaa", 1, 1.3), ("aaa", 6, 1.0)];
    let history = History::from_archived("a-target", &history(&levels, 0.003, 21)).unwrap();
    let all = &history.timelines[0].trends[0];
    assert_eq!(found(all), [0; 0]);
    let [outlier] = all.outliers() else { panic!("{all:?}") };
    assert_eq!((outlier.run, outlier.started.to_string()), (6, "2026-01-06T12:00:00Z".into()));
    assert!((outlier.ratio / 1.3).ln().abs() < 0.02, "{outlier:?}");
    assert!(history.to_text().contains("run 6: ×1.3"), "{}", history.to_text());
    let json = serde_json::to_value(&history).unwrap();
    let steps = &json["timelines"][0]["trends"][0]["steps"];
    assert_eq!(
        (&steps["found"], &steps["outliers"][0]["run"]),
        (&Vec::<u8>::new().into(), &6.into())
    );
    let [figure] = &plot::history::figures(&history)[..] else { panic!("one") };
    assert_eq!(figure.panels[0].rings.iter().map(|(x, _)| *x).collect::<Vec<_>>(), [6.0]);
    let level = figure.panels[0].curves[0].points[0].1;
    assert!(level.abs() < 1.0, "{level}%: the level is that of the other runs");
}

#[test]
fn runs_that_resemble_the_one_before_are_warned_of_in_the_table() {
    let mut log = 0.0;
    let levels: Vec<(&str, usize, f64)> = (0..60)
        .map(|run| {
            log = 0.8 * log + 0.01 * normal(77, run);
            ("aaa", 1, f64::exp(log))
        })
        .collect();
    let history = History::from_archived("a-target", &history(&levels, 1e-4, 31)).unwrap();
    let correlation = history.timelines[0].trends[0].autocorrelation.unwrap();
    assert!(correlation.estimate > 0.4 && correlation.inflation > 2.0, "{correlation:?}");
    assert!(history.to_text().contains("steps may be drift"), "{}", history.to_text());
}

#[test]
fn builds_of_unknown_sources_are_not_taken_to_be_equal() {
    let mut runs = history(&[("aaa-dirty", 4, 1.0), ("aaa-dirty", 4, 1.06)], 0.003, 7);
    for run in &mut runs[4..] {
        run.header.plan.program = "rebuilt".to_owned();
    }
    let built = timeline(&runs);
    let environments: Vec<usize> = built.runs.iter().map(|run| run.environment).collect();
    assert_eq!(environments, [1, 1, 1, 1, 2, 2, 2, 2]);
    let changes = &built.trends[0].step_at(5).unwrap().changes;
    let [change] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(
        change.to_string(),
        "commit aaa-dirty → aaa-dirty (another build, whose sources may differ)"
    );
    for run in &mut runs {
        run.header.plan.platform.git_commit = "aaa".to_owned();
    }
    assert!(timeline(&runs).trends[0].step_at(5).unwrap().changes.is_empty());
    // what could not be read is not said to be equal
    for session in runs.iter_mut().flat_map(|run| &mut run.header.sessions) {
        session.conditions.governor = None;
    }
    let history = History::from_archived("a-target", &runs).unwrap();
    let note = "at run 5, 2026-01-05, changed: nothing that was recorded; not known: frequency governor \
                (not readable)";
    assert!(history.to_text().contains(note), "{}", history.to_text());
}

/// A machine whose multiply–adds take so long.
fn machine(ns: f64) -> Option<MachineState> {
    Some(MachineState {
        probes: 900,
        took_percent: None,
        multiply_add_ns: Some(Quartiles { q1: ns, median: ns, q3: ns }),
        ping_pong_ns: None,
        read_gb_s: None,
        copy_gb_s: None,
        sm_clock_mhz: None,
        distances: Distances::default(),
    })
}

#[test]
fn a_step_onto_a_host_half_as_fast_names_it() {
    let mut runs = history(&[("a", 5, 1.0), ("a", 5, 2.0)], 0.01, 77);
    for (index, run) in runs.iter_mut().enumerate() {
        run.header.machine = machine(if index < 5 { 2.9 } else { 5.7 });
    }
    let timeline = timeline(&runs);
    let environments: Vec<usize> = timeline.runs.iter().map(|run| run.environment).collect();
    assert_eq!(environments, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
    let Steps::Searched { found, .. } = &timeline.trends[0].steps else { panic!() };
    assert_eq!((found.len(), found[0].run), (1, 6));
    let changes: Vec<String> = found[0].changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["speed of cores (ns per multiply–add) 2.9 → 5.7"]);
    assert!(timeline.runs[5].unknown.iter().all(|unknown| unknown.what != "state of the machine"));
    // what was not probed is another environment than what was
    runs[9].header.machine = None;
    assert_eq!(super::environments(&runs.iter().collect::<Vec<_>>())[9], 2);
    // nor does one that was probed too rarely hold others together: as little is known of it
    runs[0].header.machine.as_mut().unwrap().probes = 10;
    let environments = super::environments(&runs.iter().collect::<Vec<_>>());
    assert_eq!(environments, [0, 1, 1, 1, 1, 2, 2, 2, 2, 0]);
}
