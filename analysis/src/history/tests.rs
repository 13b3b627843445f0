use alpha_flops::experiment::{Experiment, Resolution};
use std::sync::LazyLock;

use super::steps::normal;
use super::*;
use crate::archive;
use crate::dataset::Latency;
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
fn history(levels: &[(&'static str, usize, f64)], sd: f64, seed: u64) -> Vec<Run> {
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
    let mut penalties = Penalties { level: FALSE_ALARMS / 8.0, known: HashMap::new() };
    for seed in 0..histories {
        let runs = history(&[("a", 5, 1.0), ("b", 5, 1.0)], 0.01, 1000 * seed);
        let has_step = trends_of(&runs, &mut penalties).iter().any(|t| !found(t).is_empty());
        alarms += usize::from(has_step);
    }
    assert!(alarms as f64 <= FALSE_ALARMS * histories as f64, "{alarms} of {histories}");
}

#[test]
fn a_step_of_five_percent_is_found_where_the_runs_of_an_experiment_differ_by_one() {
    // of the same commit: the search has to find it by the latencies alone
    for (after, seed) in [("a", 5_000_000), ("b", 6_000_000)] {
        let mut penalties = Penalties { level: FALSE_ALARMS / 8.0, known: HashMap::new() };
        let (mut of_histories, mut of_experiments, histories) = (0, 0, 100);
        for history_seed in (seed..).step_by(1000).take(histories) {
            let runs = history(&[("a", 5, 1.0), (after, 5, 1.05)], 0.01, history_seed);
            let trends = trends_of(&runs, &mut penalties);
            let is_found = |trend: &&Trend| found(trend).contains(&6);
            of_histories += usize::from(trends.iter().any(|trend| is_found(&trend)));
            of_experiments += trends.iter().skip(1).filter(is_found).count();
        }
        let share = of_experiments as f64 / (7 * histories) as f64;
        assert!(of_histories >= 99, "{of_histories} of {histories} histories");
        // eight series share one false alarm in twenty, and each knows its noise from ten runs
        assert!(share >= 0.85, "{share} of single experiments");
    }
}

/// The trends alone, with penalties that many histories share.
fn trends_of(runs: &[Run], penalties: &mut Penalties) -> Vec<Trend> {
    let runs: Vec<&Run> = runs.iter().collect();
    let environments = environments(&runs);
    let described: Vec<HistoryRun> =
        (0..runs.len()).map(|index| history_run(&runs, index, environments[index])).collect();
    ["all", "A", "B", "C", "D", "E", "F", "G"]
        .map(|name| {
            let latencies: Vec<Latencies<'_>> =
                runs.iter().map(|run| latencies(&run.dataset, name)).collect();
            trend(name, &latencies, &environments, penalties, &described)
        })
        .into()
}

#[test]
fn a_step_names_its_date_its_size_and_what_changed_and_one_there_and_back_is_two() {
    let levels = [("aaa", 4, 1.0), ("bbb", 4, 1.06), ("ccc", 4, 1.0)];
    let timeline = timeline(&history(&levels, 0.003, 7));
    let all = &timeline.trends[0];
    assert_eq!(found(all), [5, 9]);
    let step = all.step_at(5).unwrap();
    assert_eq!(step.started.to_string(), "2026-01-05T12:00:00Z");
    let (low, high) = step.interval.unwrap();
    assert!(low < 1.06 && 1.06 < high && high - low < 0.02, "{step:?}");
    let changed: Vec<String> = step.changes.iter().map(ToString::to_string).collect();
    assert_eq!(changed, ["commit aaa → bbb"]);
    insta::assert_snapshot!(
        History { target: "a-target".into(), timelines: vec![timeline] }.to_text()
    );
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
