use std::collections::HashSet;

use super::*;
use crate::experiment::Resolution;

fn suite() -> Vec<Configuration> {
    Experiment::all().iter().flat_map(|e| e.configurations(Resolution::Original)).collect()
}

fn ids(visits: &[Visit]) -> Vec<String> {
    visits.iter().map(|visit| visit.configuration.id()).collect()
}

#[test]
fn each_pass_visits_everything_in_an_order_of_its_own_that_follows_the_seed() {
    let order = |seed, pass| ids(&measuring_order(&suite(), seed, pass));
    let all: HashSet<_> = suite().iter().map(Configuration::id).collect();
    assert_eq!(order(1, 1).into_iter().collect::<HashSet<_>>(), all);
    assert_eq!(order(1, 1).len(), all.len());
    assert_eq!(order(1, 1), order(1, 1));
    assert_ne!(order(1, 1), order(2, 1));
    assert_ne!(order(1, 1), order(1, 2));
}

#[test]
fn the_order_has_nothing_to_do_with_the_suites() {
    // ranks of neighbours in the suite, in the order measured: independent, so that the mean distance of
    // 590 pairs is a third of 591, with a standard deviation of 0.236·591/√590 or somewhat more
    let measured = ids(&measuring_order(&suite(), 3, 1));
    let place = |configuration: &Configuration| {
        measured.iter().position(|id| *id == configuration.id()).unwrap() as f64
    };
    let suite = suite();
    let pairs = suite.windows(2).map(|pair| (place(&pair[0]) - place(&pair[1])).abs());
    let mean = pairs.sum::<f64>() / (suite.len() - 1) as f64;
    assert!((mean / suite.len() as f64 - 1.0 / 3.0).abs() < 0.05, "{mean}");
}

#[test]
fn leaving_an_experiment_out_does_not_reorder_the_others() {
    let is_left = |configuration: &Configuration| configuration.experiment != Experiment::B;
    let without_b: Vec<_> = suite().into_iter().filter(is_left).collect();
    let mut expected = measuring_order(&suite(), 7, 2);
    expected.retain(|visit| is_left(&visit.configuration));
    assert_eq!(measuring_order(&without_b, 7, 2), expected);
}
