use std::collections::HashSet;

use super::*;
use crate::experiment::Resolution;
use crate::settings::{BackendKind, Requested};

fn suite() -> Vec<Configuration> {
    Experiment::ALL.iter().flat_map(|e| e.configurations(Resolution::Original)).collect()
}

fn settings() -> Settings {
    let requested = Requested::load(std::iter::empty(), Path::new("none"), Path::new("runs"));
    requested.unwrap().settings(BackendKind::Cpu).unwrap()
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
fn what_exceeds_the_limit_or_the_free_memory_is_not_tried() {
    assert_eq!(too_large(Bytes(1), Some(Bytes(1)), Some(Bytes(1))), None);
    assert_eq!(too_large(Bytes(u64::MAX), None, None), None);
    let reason = too_large(Bytes(2048), Some(Bytes(1024)), None).unwrap();
    assert_eq!(reason, "needs 2.000 KiB, memory_limit_gib allows 1.000 KiB");
    let reason = too_large(Bytes(2048), Some(Bytes(4096)), Some(Bytes(1024))).unwrap();
    assert_eq!(reason, "needs 2.000 KiB, only 1.000 KiB of memory is free");
}

#[test]
fn leaving_an_experiment_out_does_not_reorder_the_others() {
    let without_b: Vec<_> = suite().into_iter().filter(|c| c.experiment != Experiment::B).collect();
    let expected: Vec<_> =
        measuring_order(suite(), 7).into_iter().filter(|c| c.experiment != Experiment::B).collect();
    assert_eq!(measuring_order(without_b, 7), expected);
}

#[test]
fn allowances_of_configurations_that_use_theirs_add_up_to_the_budget() {
    let order = measuring_order(suite(), 3);
    let budget = Duration::from_secs(100);
    let settings = Settings { time_budget: Some(budget), ..settings() };
    let mut pace = Pace::new(&settings, &order);
    let mut total = Duration::ZERO;
    for configuration in &order {
        let allowance = pace.allowance(configuration).unwrap();
        total += allowance;
        let outcome = Outcome::Skipped { reason: String::new() };
        let took_s = allowance.as_secs_f64();
        let record = ConfigurationRecord::new(configuration, now(), took_s, 1, outcome);
        pace.account(configuration, &record);
    }
    assert!((total.as_secs_f64() - 100.0).abs() < 0.01, "{total:?}");
}
