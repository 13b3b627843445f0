use std::collections::HashSet;

use super::*;
use crate::experiment::Resolution;

fn suite() -> Vec<Configuration> {
    Experiment::all().iter().flat_map(|e| e.configurations(Resolution::Original)).collect()
}

#[test]
fn the_order_is_a_permutation_within_each_experiment_and_follows_the_seed() {
    let ids = |seed| -> Vec<String> {
        measuring_order(suite(), seed).iter().map(Configuration::id).collect()
    };
    let sorted: HashSet<_> = suite().iter().map(Configuration::id).collect();
    assert_eq!(ids(1).into_iter().collect::<HashSet<_>>(), sorted);
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
    let letters: Vec<char> = ids(1).iter().filter_map(|id| id.chars().next()).collect();
    assert!(letters.is_sorted());
}

#[test]
fn leaving_an_experiment_out_does_not_reorder_the_others() {
    let without_b: Vec<_> = suite().into_iter().filter(|c| c.experiment != Experiment::B).collect();
    let expected: Vec<_> =
        measuring_order(suite(), 7).into_iter().filter(|c| c.experiment != Experiment::B).collect();
    assert_eq!(measuring_order(without_b, 7), expected);
}
