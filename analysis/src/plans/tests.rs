use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::units::Bytes;
use proptest::prelude::*;
use regex::Regex;

use super::*;
use alpha_flops::backend::cudnn::Math;
use alpha_flops::backend::plan::{Knob, PlanRecord};

fn origin(cudnn: &str) -> PlanOrigin {
    PlanOrigin {
        device: "a card".to_owned(),
        compute_capability: "8.9".to_owned(),
        asked: Asked::Properties,
        cudnn: cudnn.to_owned(),
        cudnn_cuda: "12.9".to_owned(),
        math: Math::Tf32,
    }
}

/// Plans of experiment G: one engine, two knobs, a workspace that grows.
fn planned() -> Vec<Planned> {
    let experiment: Experiment = "G".parse().unwrap();
    let plan = |(index, configuration)| {
        let knobs = [(2, index as i64), (0, 1)].map(|(kind, value)| Knob { kind, value });
        let plan = PlanRecord {
            engine: 38,
            knobs: knobs.to_vec(),
            numerical_notes: vec![0, 1000],
            behavior_notes: Vec::new(),
            workspace_bytes: Bytes(100 * index as u64),
            rank: 1,
            heuristics_failure: None,
            refused: Vec::new(),
            timed: Vec::new(),
        };
        Planned { configuration, plan: Ok(plan) }
    };
    experiment.configurations(Resolution::Original).into_iter().enumerate().map(plan).collect()
}

#[test]
fn files_of_both_formats_read_back_as_they_were_written() {
    let mut planned = planned();
    planned[3].plan = Err("all refused: \"3\", and\nmore".to_owned());
    if let Ok(plan) = &mut planned[4].plan {
        (plan.knobs, plan.numerical_notes) = (Vec::new(), Vec::new());
    }
    let rows = rows(&origin("9.28.0"), &planned);
    assert_eq!(rows[2].knobs.as_deref(), Some("split_k=1 tile_size=2"));
    assert_eq!(rows[2].numerical_notes.as_deref(), Some("tensor core, 1000"));
    let folder = tempfile::tempdir().unwrap();
    for name in ["plans.csv", "plans.parquet"] {
        let path = folder.path().join(name);
        write(&path, rows.clone()).unwrap();
        assert_eq!(read(&path).unwrap(), rows, "{name}");
        // a cut file is named, and is no panic
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let other = folder.path().join("plans.txt");
    let error = write(&other, rows).unwrap_err().to_string();
    assert!(error.ends_with("expected a name that ends in .csv or .parquet"), "{error}");
}

#[test]
fn each_kind_of_change_is_counted_once_in_its_series_and_experiment() {
    let before = rows(&origin("9.20.0"), &planned());
    let mut planned = planned();
    let mut change = |index: usize, change: &dyn Fn(&mut PlanRecord)| {
        if let Ok(plan) = &mut planned[index].plan {
            change(plan);
        }
    };
    change(0, &|plan| plan.engine = 55);
    change(1, &|plan| plan.knobs[0].value = 99);
    change(2, &|plan| plan.workspace_bytes = Bytes(1));
    // another order of knobs is no change
    change(4, &|plan| plan.knobs.reverse());
    planned[3].plan = Err("refused".to_owned());
    let last = planned.pop().unwrap();
    let after = rows(&origin("9.28.0"), &planned);
    let comparison = compare(&before, &after);
    assert_eq!(comparison.origins, ["cuDNN 9.20.0 → 9.28.0"]);
    assert_eq!((comparison.only_before, comparison.only_after), (1, 0));
    let changes: Vec<PlanChange> = comparison.changed().map(|one| one.change).collect();
    assert_eq!(
        changes,
        [PlanChange::Engine, PlanChange::Knobs, PlanChange::Workspace, PlanChange::Engine]
    );
    let csv = comparison.counts().to_csv();
    assert!(csv.contains(&format!("all,,{},2,1,1", before.len() - 1)), "{csv}");
    let list = comparison.list().to_csv();
    assert!(list.contains("engine 38 (split_k=1 tile_size=0)"), "{list}");
    assert!(list.contains("no plan: refused"), "{list}");
    let filter = Regex::new(&filter_for(comparison.changed().map(|one| one.id.as_str()))).unwrap();
    let chosen = before.iter().filter(|row| filter.is_match(&row.id)).count();
    assert_eq!(chosen, 4);
    assert!(!filter.is_match(&last.configuration.id()));
    assert_eq!(filter_for(std::iter::empty()), "^$");
}

#[test]
fn a_switch_is_where_the_plan_is_another_than_for_the_value_before() {
    let experiment: Experiment = "E".parse().unwrap();
    let engine = |x| match x {
        ..101 => 12,
        101..192 => 38,
        _ => 55,
    };
    let plan = |configuration: alpha_flops::experiment::Configuration| {
        let x = configuration.x;
        let plan = PlanRecord {
            engine: engine(x),
            knobs: Vec::new(),
            numerical_notes: Vec::new(),
            behavior_notes: Vec::new(),
            // one more padded output where they are no multiple of 4
            workspace_bytes: Bytes(u64::from(!x.is_multiple_of(4))),
            rank: 0,
            heuristics_failure: None,
            refused: Vec::new(),
            timed: Vec::new(),
        };
        Planned { configuration, plan: Ok(plan) }
    };
    let planned: Vec<_> =
        experiment.configurations(Resolution::Full).into_iter().map(plan).collect();
    let mut rows = rows(&origin("9.10.2"), &planned);
    // the order of the file does not matter
    rows.reverse();
    let switches = switches(&rows);
    let lines = experiment.series.len();
    let of_engine = switches.iter().filter(|switch| switch.changed.change == PlanChange::Engine);
    let at: Vec<u64> = of_engine.map(|switch| switch.x).collect();
    assert_eq!(at.iter().filter(|x| **x == 101).count(), lines);
    assert_eq!(at.iter().filter(|x| **x == 192).count(), lines);
    assert_eq!(at.len(), 2 * lines);
    let reported = at_reported(&rows);
    let of = |x| reported.iter().filter(move |one| one.x == x);
    assert!(of(101).all(|one| one.change == PlanChange::Engine && one.next_engine_at == Some(192)));
    // 256 is a multiple of 4, and 257 is not
    assert!(of(257).all(|one| one.change == PlanChange::Workspace && one.next_engine_at.is_none()));
    assert_eq!(reported.len(), 5 * lines);
}

#[test]
fn a_filter_for_every_configuration_fits_a_command_line() {
    let all = Experiment::all().iter().flat_map(|e| e.configurations(Resolution::Full));
    let ids: Vec<String> = all.map(|configuration| configuration.id()).collect();
    let filter = filter_for(ids.iter().map(String::as_str));
    assert!(filter.len() < 128 << 10, "{} bytes", filter.len());
    let half = Regex::new(&filter_for(ids.iter().step_by(2).map(String::as_str))).unwrap();
    let of_half: std::collections::BTreeSet<&String> = ids.iter().step_by(2).collect();
    assert!(ids.iter().all(|id| half.is_match(id) == of_half.contains(id)));
}

proptest! {
    #[test]
    fn a_filter_matches_its_ids_alone(
        ids in prop::collection::btree_set("[A-C]/[a-b.+(=0-1]{0,4}", 0..20),
        others in prop::collection::vec("[A-C]/[a-b.+(=0-1]{0,4}", 0..20),
    ) {
        let filter = Regex::new(&filter_for(ids.iter().map(String::as_str))).unwrap();
        for id in ids.iter().chain(&others) {
            prop_assert_eq!(filter.is_match(id), ids.contains(id), "{} by {}", id, filter);
        }
    }
}
