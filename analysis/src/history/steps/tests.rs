use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::fixtures::random::Random;
use crate::fixtures::trends::Made;
use crate::history::FALSE_ALARMS;

/// What NumPy says by trying everything: see `tests/goldens/steps.py`.
#[derive(Deserialize)]
struct Goldens {
    cuts: Vec<GoldenCut>,
    penalties: Vec<GoldenPenalty>,
}

#[derive(Deserialize)]
struct GoldenCut {
    values: Vec<f64>,
    penalty: f64,
    cost: f64,
    steps: Vec<usize>,
    outliers: usize,
}

#[derive(Deserialize)]
struct GoldenPenalty {
    groups: Vec<usize>,
    level: f64,
    low: f64,
    high: f64,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../../../tests/goldens/steps.json")).unwrap()
}

#[test]
fn steps_and_outlier_runs_are_the_cheapest_of_all_there_are() {
    let goldens = goldens();
    assert_eq!(goldens.cuts.len(), 28);
    let mut equal = 0;
    for GoldenCut { values, penalty, cost, steps, outliers } in &goldens.cuts {
        let found = find(values, *penalty, 1.0);
        let own = found.squares(values) + penalty * found.count() as f64;
        // the levels that are tried are so far apart that the sum may be n/576 too great
        assert!(own >= cost - 1e-9 && own <= cost + 0.03, "{own} {cost} {values:?}");
        equal += usize::from((&found.begins, found.outliers.len()) == (steps, *outliers));
    }
    assert_eq!(equal, 28);
}

#[test]
fn penalties_are_those_that_numpy_simulates_by_trying_every_cut() {
    for GoldenPenalty { groups, level, low, high } in goldens().penalties {
        let penalty = Chance::new(&groups, level).unwrap().penalty;
        assert!((low..=high).contains(&penalty), "{groups:?} {level}: {low} {penalty} {high}");
    }
}

/// Of `trends` made so: in how many a step is found, one is found where it is, an outlier run is found, and
/// autocorrelation is warned of.
fn counts(made: Made, runs: usize, trends: u64) -> [usize; 4] {
    static CHANCES: Mutex<BTreeMap<Vec<usize>, Chance>> = Mutex::new(BTreeMap::new());
    let groups = made.environments(runs);
    let simulate = || Chance::new(&groups, FALSE_ALARMS / 8.0).unwrap();
    let chance = *CHANCES.lock().unwrap().entry(groups.clone()).or_insert_with(simulate);
    let mut counts = [0; 4];
    for seed in 0..trends {
        let mut random = Random::new(1_000_000 + seed);
        let values = made.values(runs, || random.normal());
        let (found, searched) = search(&values, &groups, &chance).unwrap();
        let there =
            made.has_step() && found.begins.iter().any(|begin| begin.abs_diff(runs / 2) <= 2);
        let is =
            [!found.begins.is_empty(), there, !found.outliers.is_empty(), searched.inflation > 1.0];
        for (count, is) in counts.iter_mut().zip(is) {
            *count += usize::from(is);
        }
    }
    counts
}

#[test]
fn five_percent_are_found_after_sixty_nine_in_one_environment() {
    for runs in [10, 24] {
        let [_, there, ..] = counts(Made::Masked, runs, 100);
        assert!(there >= 99, "{runs} runs: {there}");
    }
}

#[test]
fn steps_of_three_standard_deviations_are_found_in_fifty_runs() {
    let [_, there, ..] = counts(Made::Step, 50, 100);
    assert!(there >= 99, "{there}");
}

#[test]
fn half_of_steps_as_high_as_the_least_are_found_in_one_environment_and_between_two() {
    for groups in [vec![0; 12], vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]] {
        let chance = Chance::new(&groups, FALSE_ALARMS / 8.0).unwrap();
        // known noise: the least step is what is asked about, not how well it is estimated
        let least = least_step(&groups, &chance, 1.0, 1.0);
        let found = (0..200).filter(|seed| {
            let mut random = Random::new(2_000_000 + seed);
            let made = |run| random.normal() + if run >= 6 { least } else { 0.0 };
            let values: Vec<f64> = (0..12).map(made).collect();
            !search(&values, &groups, &chance).unwrap().0.begins.is_empty()
        });
        let found = found.count();
        assert!((70..=150).contains(&found), "{found} of 200, {least}");
    }
}

#[test]
fn an_odd_run_is_an_outlier_run_and_no_step() {
    let [steps, _, outliers, _] = counts(Made::OddRun, 20, 200);
    assert!(steps <= 2 && outliers >= 195, "{steps} {outliers}");
}

#[test]
fn trends_without_a_step_have_none_in_normal_and_in_heavy_tailed_noise() {
    for runs in [10, 50] {
        let [normal, ..] = counts(Made::Normal, runs, 300);
        let [heavy, ..] = counts(Made::T3, runs, 300);
        assert!(normal <= 3 && heavy <= 15, "{runs} runs: {normal}, {heavy} of 300");
    }
}

#[test]
fn runs_that_resemble_the_one_before_are_warned_of_and_make_few_steps() {
    let [steps, _, _, warned] = counts(Made::Autocorrelated, 50, 200);
    assert!(steps <= 24 && warned >= 100, "{steps} {warned} of 200: without that, half had a step");
    let [_, _, _, warned] = counts(Made::Normal, 50, 200);
    assert!(warned <= 18, "{warned} of 200 without autocorrelation");
}

#[test]
fn a_level_between_values_that_are_farther_apart_than_an_outlier_run_is_tried() {
    // without 4.94, the others have a level at −1.09, 3.9 from 2.85
    let values = [2.854, -2.770, 4.939, -3.359];
    let least = least_penalty(&values, 1.0);
    assert_eq!(find(&values, least - 0.05, 1.0).outliers, [2]);
}

proptest! {
    #[test]
    fn the_least_penalty_is_where_the_first_event_appears(
        values in prop::collection::vec(-5.0f64..5.0, 2..14)
    ) {
        let least = least_penalty(&values, 1.0);
        prop_assert_eq!(find(&values, least * (1.0 + 1e-6) + 1e-9, 1.0).count(), 0);
        // the levels that are tried are so far apart that this may cost n/576
        if least > 0.1 {
            prop_assert!(find(&values, least - 0.05, 1.0).count() > 0);
        }
    }

    #[test]
    fn events_do_not_depend_on_where_zero_is_and_are_in_order(
        values in prop::collection::vec(-5.0f64..5.0, 0..14),
        penalty in 0.1f64..20.0,
    ) {
        let shifted: Vec<f64> = values.iter().map(|value| value + 1024.0).collect();
        let (found, other) = (find(&values, penalty, 1.0), find(&shifted, penalty, 1.0));
        let cost = |events: &Events| events.squares(&values) + penalty * events.count() as f64;
        prop_assert!((cost(&found) - cost(&other)).abs() <= 0.03);
        prop_assert!(found.begins.is_sorted() && found.outliers.is_sorted());
        prop_assert!(found.begins.iter().all(|at| (1..values.len()).contains(at)));
        prop_assert!(found.levels(values.len()).iter().map(Vec::len).sum::<usize>()
            + found.outliers.len() == values.len());
    }
}
