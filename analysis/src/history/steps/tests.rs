use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// What ruptures and NumPy say: see `tests/goldens/steps.py`.
#[derive(Deserialize)]
struct Goldens {
    cuts: Vec<GoldenCut>,
    penalties: Vec<GoldenPenalty>,
}

#[derive(Deserialize)]
struct GoldenCut {
    values: Vec<f64>,
    penalty: f64,
    steps: Vec<usize>,
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
fn cuts_are_those_of_ruptures() {
    let goldens = goldens();
    assert_eq!(goldens.cuts.len(), 30);
    for golden in goldens.cuts {
        assert_eq!(cut(&golden.values, golden.penalty), golden.steps, "{:?}", golden.values);
    }
}

#[test]
fn penalties_are_those_that_numpy_simulates_by_trying_every_cut() {
    for GoldenPenalty { groups, level, low, high } in goldens().penalties {
        let penalty = penalty(&groups, level).unwrap();
        assert!((low..=high).contains(&penalty), "{groups:?} {level}: {low} {penalty} {high}");
    }
}

#[test]
fn noise_is_pooled_within_groups() {
    // groups 1, 3 and 10, 12, 17: squares 2 and 26, of 5 − 2 degrees of freedom
    let noise = pooled(&[1.0, 10.0, 3.0, 12.0, 17.0], &[0, 2, 0, 2, 2]).unwrap();
    assert_eq!(noise.degrees_of_freedom, 3);
    assert!((noise.sd - (28.0f64 / 3.0).sqrt()).abs() < 1e-12);
    assert_eq!(pooled(&[1.0, 2.0], &[0, 1]), None);
    assert_eq!(pooled(&[], &[]), None);
    assert_eq!(penalty(&[0, 1, 2], 0.05), None);
}

proptest! {
    #[test]
    fn the_least_penalty_is_where_the_first_step_appears(
        values in prop::collection::vec(-5.0f64..5.0, 2..14)
    ) {
        let least = least_penalty(&values);
        prop_assert!(cut(&values, least * (1.0 + 1e-6) + 1e-9).is_empty());
        if least > 1e-3 {
            prop_assert!(!cut(&values, least * (1.0 - 1e-6)).is_empty());
        }
    }

    #[test]
    fn a_cut_does_not_depend_on_where_zero_is_and_a_greater_penalty_makes_no_more_steps(
        values in prop::collection::vec(-5.0f64..5.0, 0..14),
        penalty in 0.1f64..20.0,
    ) {
        let shifted: Vec<f64> = values.iter().map(|value| value + 1e3).collect();
        let found = cut(&values, penalty);
        prop_assert_eq!(&found, &cut(&shifted, penalty));
        prop_assert!(cut(&values, 2.0 * penalty).len() <= found.len());
        prop_assert!(found.is_sorted() && found.iter().all(|at| (1..values.len()).contains(at)));
    }
}
