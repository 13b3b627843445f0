//! Compared with criterion itself, which tells `p` and its verdict to its standard output only: it runs in
//! a process of its own.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::fixtures::replayed::{self, criterion};
use crate::simulate::{Simulation, Truth};

/// Where the other process keeps criterion's files.
const HOME: &str = "HOME_OF_CRITERION_COMPARED";

/// Fewer resamples than benchmarks take, for the sake of unoptimised tests.
const RULES: Rules = Rules {
    resamples: 301,
    confidence_level: 0.95,
    significance_level: 0.05,
    noise_threshold: 0.01,
};

/// Launches of whole nanoseconds, as criterion's clock tells them: scattered by 1% about a median of
/// about `factor` times that of others.
fn launches(run: u64, factor: f64) -> Vec<f64> {
    let truth = Truth {
        launches: 150,
        spread: 0.01,
        correlation: 0.0,
        configuration_deviation: 0.0,
        ..Truth::default()
    };
    Simulation::new(truth).launches(run, 0, factor).iter().map(|ns| ns.round()).collect()
}

/// Launches before and after, and what a person would expect to read.
fn pairs() -> [(&'static str, Vec<f64>, Vec<f64>, CriterionVerdict); 5] {
    let pair = |name, run: u64, factor, verdict| {
        (name, launches(2 * run, 1.0), launches(2 * run + 1, factor), verdict)
    };
    let mut shorter = pair("fewer", 4, 1.05, CriterionVerdict::Regressed);
    shorter.2.truncate(41);
    [
        pair("equal", 0, 1.0, CriterionVerdict::NoChange),
        pair("little", 1, 1.006, CriterionVerdict::WithinNoise),
        pair("faster", 2, 0.97, CriterionVerdict::Improved),
        pair("slower", 3, 1.03, CriterionVerdict::Regressed),
        shorter,
    ]
}

fn replay(home: &Path, name: &str, latencies_ns: &[f64]) {
    let mut criterion = criterion(home, RULES.resamples);
    let mut group = criterion.benchmark_group(name);
    replayed::replay(&mut group, "pair", latencies_ns);
    group.finish();
}

#[test]
#[ignore = "the other process of the test below"]
fn criterion_compares() {
    let home = std::env::var_os(HOME).unwrap();
    for (name, before, after, _) in pairs() {
        replay(home.as_ref(), name, &before);
        replay(home.as_ref(), name, &after);
    }
}

/// What criterion says of each pair: `p` to two places, and its verdict.
fn said(home: &Path) -> HashMap<String, (f64, CriterionVerdict)> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["selftest::criterion::tests::criterion_compares", "--exact", "--ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env(HOME, home)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let verdicts = [
        ("No change in performance detected.", CriterionVerdict::NoChange),
        ("Change within noise threshold.", CriterionVerdict::WithinNoise),
        ("Performance has improved.", CriterionVerdict::Improved),
        ("Performance has regressed.", CriterionVerdict::Regressed),
    ];
    let (mut name, mut p_value, mut said) = (String::new(), f64::NAN, HashMap::new());
    for line in text.lines() {
        if let Some((before, _)) = line.split_once("/pair ") {
            name = before.trim().to_owned();
        }
        if let Some((_, p)) = line.split_once("(p = ") {
            p_value = p.split(' ').next().unwrap().parse().unwrap();
        }
        if let Some((_, verdict)) = verdicts.iter().find(|(text, _)| line.contains(text)) {
            said.insert(name.clone(), (p_value, *verdict));
        }
    }
    assert_eq!(said.len(), pairs().len(), "{text}");
    said
}

/// Whether criterion's number could be one of ours, which other random numbers move: six of their standard
/// deviations.
fn assert_like(found: f64, ours: impl Iterator<Item = f64>, rounding: f64, what: &str) {
    let ours: Vec<f64> = ours.collect();
    let n = ours.len() as f64;
    let centre = mean(&ours);
    let deviation = (ours.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let distance = (found - centre).abs();
    assert!(distance <= 6.0 * deviation + rounding, "{what}: {found}, ours {centre} ± {deviation}");
}

#[test]
fn criterion_itself_says_the_same() {
    let home = tempfile::tempdir().unwrap();
    let said = said(home.path());
    for (name, before, after, expected) in pairs() {
        let path = home.path().join(name).join("pair/change/estimates.json");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let change = &file["mean"];
        let bound = |end: &str| change["confidence_interval"][end].as_f64().unwrap();
        let ours: Vec<CriterionComparison> =
            (0..30).map(|seed| compare(&before, &after, &RULES, seed).unwrap()).collect();
        assert_eq!(change["point_estimate"].as_f64(), Some(ours[0].change), "{name}");
        assert_like(bound("lower_bound"), ours.iter().map(|c| c.interval.0), 0.0, name);
        assert_like(bound("upper_bound"), ours.iter().map(|c| c.interval.1), 0.0, name);
        let (p_value, verdict) = said[name];
        assert_like(p_value, ours.iter().map(|c| c.p_value), 0.005, name);
        assert_eq!((verdict, ours[0].verdict), (expected, expected), "{name}");
    }
}

#[test]
fn launches_that_cannot_be_compared_have_no_verdict() {
    let rules = Rules::default();
    let good = [1.0, 2.0, 3.0];
    for bad in [&[][..], &[1.0], &[1.0, 0.0], &[1.0, f64::NAN], &[f64::INFINITY, 1.0]] {
        assert_eq!(compare(&good, bad, &rules, 0), None, "{bad:?}");
        assert_eq!(compare(bad, &good, &rules, 0), None, "{bad:?}");
    }
    let same = compare(&[5.0; 20], &[5.0; 20], &rules, 0).unwrap();
    assert!(same.p_value.is_nan() && same.verdict == CriterionVerdict::NoChange, "{same:?}");
    let faster = compare(&[5.0; 20], &[4.0; 20], &rules, 0).unwrap();
    assert_eq!(faster.verdict, CriterionVerdict::Improved);
    assert_eq!(faster.interval, (faster.change, faster.change));
    let none = compare(&good, &good, &Rules { resamples: 0, ..rules }, 0).unwrap();
    assert_eq!(none.verdict, CriterionVerdict::NoChange);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn verdicts_are_reproducible_and_do_not_depend_on_the_unit(
        before in prop::collection::vec(1.0f64..1e3, 2..30),
        after in prop::collection::vec(1.0f64..1e3, 2..30),
        seed in any::<u64>(),
    ) {
        let rules = Rules { resamples: 50, ..Rules::default() };
        let compared = compare(&before, &after, &rules, seed).unwrap();
        // 1024 of the unit: the same digits
        let scaled = |ns: &[f64]| ns.iter().map(|ns| 1024.0 * ns).collect::<Vec<_>>();
        let again = compare(&scaled(&before), &scaled(&after), &rules, seed).unwrap();
        prop_assert_eq!(format!("{compared:?}"), format!("{again:?}"));
        prop_assert!(compared.p_value.is_nan() || (0.0..=1.0).contains(&compared.p_value));
        prop_assert!(compared.interval.0 <= compared.interval.1);
    }
}
