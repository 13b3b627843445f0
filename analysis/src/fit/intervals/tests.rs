use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde::Deserialize;

use super::*;
use crate::fit::tests::{dataset, synthetic};
use crate::fit::{BOUNDS, PUBLISHED_START, Variant, fit_variant};
use crate::model::{FlopConvention, GroupCoefficients, KernelTerm, Objective};

#[derive(Deserialize)]
struct Rows {
    name: String,
    s_k: KernelTerm,
    flops: FlopConvention,
    rows: Vec<[f64; 6]>,
}

/// By β, γ and `final`, of `K > 1`.
#[derive(Deserialize)]
struct Golden {
    name: String,
    objective: Objective,
    asymptotic: [Interval; 3],
    profile: [Interval; 3],
}

/// Within `share` of the second's width at both ends.
fn alike(a: Interval, b: Interval, share: f64) -> bool {
    let width = b[1] - b[0];
    a.into_iter().zip(b).all(|(a, b)| (a - b).abs() <= share * width)
}

#[test]
fn asymptotic_and_profile_intervals_are_scipys() {
    // rows by tests/goldens/fit.py, intervals by tests/goldens/intervals.py
    let cases: Vec<Rows> =
        serde_json::from_str(include_str!("../../../tests/goldens/fit.json")).unwrap();
    let goldens: Vec<Golden> =
        serde_json::from_str(include_str!("../../../tests/goldens/intervals.json")).unwrap();
    assert_eq!(goldens.len(), 4);
    for Golden { name, objective, asymptotic, profile } in goldens {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let sample = Sample::from_dataset(&dataset(&case.rows), case.s_k, case.flops).unwrap();
        let variant = Variant { objective, constant: false };
        let fit = fit_variant(&sample, variant, PUBLISHED_START).unwrap();
        let mut rows = intervals(&sample, &fit, &Refits::draw(&sample, &fit, 0, 1));
        rows.retain(|row| row.group == KernelGroup::KAbove1);
        assert_eq!(rows.len(), 3);
        for ((row, asymptotic), profile) in rows.iter().zip(asymptotic).zip(profile) {
            let parameter = row.parameter;
            let ours = row.asymptotic.unwrap();
            assert!(alike(ours, asymptotic, 1e-5), "{name} {parameter} {ours:?} {asymptotic:?}");
            let ours = row.profile;
            assert!(alike(ours, profile, 1e-4), "{name} {parameter} {ours:?} {profile:?}");
        }
    }
}

#[test]
fn percentiles_are_expanded_as_by_hesterbergs_package() {
    // his `resample::ExpandProbs(0.025, n)`: Φ(−√(n/(n − 1))·t), t tabulated for n − 1 degrees
    for (n, t) in [(5, 2.776_445), (20, 2.093_024), (100, 1.984_217)] {
        let back = -Normal::standard().inverse_cdf(tail(n, 1)) * (1.0 - 1.0 / n as f64).sqrt();
        assert!((back - t).abs() < 1e-6, "{n}: {back}");
    }
    // R: quantile(c(1, 2, 4, 8), c(0.1, 0.9))
    let [low, high] = quantiles(vec![8.0, 1.0, 4.0, 2.0], 0.1).unwrap();
    assert!((low - 1.3).abs() < 1e-12 && (high - 6.8).abs() < 1e-12, "{low} {high}");
}

#[test]
fn the_table_names_what_is_believed_and_fits_100_columns() {
    let truth = GroupCoefficients { beta: 0.01, gamma: 0.8, final_scale: 0.03, constant_ms: 0.0 };
    let data = synthetic(truth, &[1.0, 1.2, 0.9, 1.1, 0.8]);
    let sample = Sample::from_dataset(&data, KernelTerm::Area, FlopConvention::Macs).unwrap();
    let fit = fit_variant(&sample, Variant::PUBLISHED, PUBLISHED_START).unwrap();
    let text =
        table(&fit, &intervals(&sample, &fit, &Refits::draw(&sample, &fit, 40, 1))).to_text();
    assert!(text.contains("\nnote: believed: "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

fn truth() -> impl Strategy<Value = GroupCoefficients> {
    (-3.5f64..-0.5, 0.3f64..1.7, -6.0f64..-1.0).prop_map(|(beta, gamma, final_scale)| {
        let (beta, final_scale) = (10f64.powf(beta), final_scale.exp());
        GroupCoefficients { beta, gamma, final_scale, constant_ms: 0.0 }
    })
}

fn of(truth: GroupCoefficients, factors: &[f64], objective: Objective) -> Vec<Intervals> {
    let data = synthetic(truth, factors);
    let sample = Sample::from_dataset(&data, KernelTerm::Area, FlopConvention::Macs).unwrap();
    let variant = Variant { objective, constant: false };
    let fit = fit_variant(&sample, variant, PUBLISHED_START).unwrap();
    intervals(&sample, &fit, &Refits::draw(&sample, &fit, 12, 1))
}

fn objective() -> impl Strategy<Value = Objective> {
    prop_oneof![Just(Objective::Absolute), Just(Objective::Log)]
}

proptest! {
    // the same cases in every run: a search that is not proven may fail on one in thousands
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(4), ..ProptestConfig::with_cases(32) })]

    #[test]
    fn intervals_hold_the_estimate_and_those_searched_stay_within_the_bounds(
        truth in truth(),
        factors in prop::collection::vec(0.7f64..1.4, 48),
        objective in objective(),
    ) {
        for row in of(truth, &factors, objective) {
            // ln `final` and back costs a few roundings
            let rounding = 1e-12 * row.estimate;
            let holds = |[low, high]: Interval| {
                low <= row.estimate + rounding && row.estimate - rounding <= high
            };
            let within = |[low, high]: Interval| {
                BOUNDS.0 <= low && low <= high && high <= BOUNDS.1 + rounding
            };
            // percentiles promise no more than to be in order
            prop_assert!(row.asymptotic.is_none_or(holds), "{row:?}");
            prop_assert!(holds(row.profile) && within(row.profile), "{row:?}");
            prop_assert!(row.bootstrap.is_none_or(within), "{row:?}");
        }
    }

    #[test]
    fn latencies_in_another_unit_scale_final_alone(
        truth in truth(),
        factors in prop::collection::vec(0.7f64..1.4, 48),
        objective in objective(),
        c in 0.2f64..1.0,
    ) {
        let scaled: Vec<f64> = factors.iter().map(|factor| c * factor).collect();
        let rows = of(truth, &factors, objective);
        // at its bound of 2 `final` does not scale
        let high = |row: &Intervals| row.profile[1].max(row.bootstrap.map_or(0.0, |b| b[1]));
        prop_assume!(rows.iter().all(|row| row.parameter != "final" || high(row) < BOUNDS.1));
        for (row, other) in rows.iter().zip(of(truth, &scaled, objective)) {
            let unit = if row.parameter == "final" { c } else { 1.0 };
            // of the few configurations of K = 1, draws may leave γ open: refits end anywhere
            let drawn = row.group == KernelGroup::KAbove1;
            for method in IntervalMethod::ALL.into_iter().filter(|m| drawn || *m != IntervalMethod::Bootstrap) {
                let (before, after) = (row.by(method), other.by(method));
                prop_assert_eq!(before.is_some(), after.is_some());
                let (Some(before), Some(after)) = (before, after) else { continue };
                prop_assert!(alike(after, before.map(|end| unit * end), 1e-3), "{method} {row:?} {other:?}");
            }
        }
    }
}
