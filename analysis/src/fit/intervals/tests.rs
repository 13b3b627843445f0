use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::fit::{PUBLISHED_START, Variant, fit_variant};
use crate::model::{FlopConvention, KernelTerm, Objective};

/// Of `goldens/fit.json`, `[height, width, in_channels, out_channels, kernel, milliseconds]`.
#[derive(Deserialize)]
struct Data {
    name: String,
    s_k: KernelTerm,
    #[serde(default)]
    rows: Vec<[f64; 6]>,
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    objective: String,
    asymptotic: [Interval; 3],
    profile: [Interval; 3],
}

fn sample(rows: &[[f64; 6]], s_k: KernelTerm) -> Sample {
    let data = crate::fit::tests::dataset(rows);
    Sample::of(&data, s_k, FlopConvention::Macs).unwrap()
}

fn of(sample: &Sample, objective: Objective, refits: usize) -> Vec<Intervals> {
    let variant = Variant { objective, constant: false };
    let fit = fit_variant(sample, variant, PUBLISHED_START).unwrap();
    intervals(sample, &fit, refits, 1)
}

#[test]
fn asymptotic_and_profile_intervals_are_those_that_scipy_finds() {
    let data: Vec<Data> =
        serde_json::from_str(include_str!("../../../tests/goldens/fit.json")).unwrap();
    // written by tests/goldens/intervals.py
    let goldens: Vec<Golden> =
        serde_json::from_str(include_str!("../../../tests/goldens/intervals.json")).unwrap();
    assert_eq!(goldens.len(), 4);
    for golden in goldens {
        let data = data.iter().find(|data| data.name == golden.name).unwrap();
        let objective = match golden.objective.as_str() {
            "log" => Objective::Log,
            _ => Objective::Absolute,
        };
        let mut rows = of(&sample(&data.rows, data.s_k), objective, 0);
        rows.retain(|row| row.group == KernelGroup::KAbove1);
        let scipys = golden.asymptotic.into_iter().zip(golden.profile);
        for (row, (asymptotic, profile)) in rows.iter().zip(scipys) {
            let pairs = [(row.asymptotic.unwrap(), asymptotic), (row.profile, profile)];
            for (ours, scipys) in pairs.map(|(a, b)| [(a[0], b[0]), (a[1], b[1])]).concat() {
                let close = (ours - scipys).abs() <= 1e-4 * scipys.abs();
                assert!(close, "{}, {}: {ours}, {scipys}", golden.name, row.parameter);
            }
        }
    }
}

/// Latencies by the formula, each off by its own share.
fn rows(beta: f64, gamma: f64, shares: &[f64]) -> Vec<[f64; 6]> {
    let shapes = [10.0, 40.0, 90.0].into_iter().flat_map(|channels| {
        [3.0, 8.0, 20.0, 45.0].map(move |side| [2.0, 5.0].map(|kernel| [side, channels, kernel]))
    });
    let row = |([side, channels, kernel], share): ([f64; 3], &f64)| {
        let (s, s_k) = (side * side, f64::ln(kernel) + 1.0);
        let alpha = ((s_k + beta * (s - s_k)) / s).powf(gamma);
        let mflop = s * channels * 60.0 * kernel * kernel / 1e6;
        [side, side, channels, 60.0, kernel, 0.02 * alpha * mflop * share.exp()]
    };
    shapes.flatten().zip(shares).map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn intervals_hold_their_estimate_and_stay_within_the_bounds(
        beta in 0.001..0.3f64,
        gamma in 0.3..1.3f64,
        shares in prop::collection::vec(-0.1..0.1f64, 24),
    ) {
        for row in of(&sample(&rows(beta, gamma, &shares), KernelTerm::Side), Objective::Log, 20) {
            let Intervals { estimate, profile: [low, high], .. } = row;
            let slack = 1e-9 * estimate;
            prop_assert!(low - slack <= estimate && estimate <= high + slack, "{row:?}");
            if let Some([low, high]) = row.asymptotic {
                prop_assert!(low <= estimate && estimate <= high);
            }
            prop_assert!(low >= 0.0 && (row.parameter == "final" || high <= 2.0 + slack), "{row:?}");
        }
    }

    #[test]
    fn another_unit_of_time_scales_the_intervals_of_final_and_no_other(
        beta in 0.001..0.3f64,
        gamma in 0.3..1.3f64,
        shares in prop::collection::vec(-0.1..0.1f64, 24),
        unit in 0.1..10.0f64,
    ) {
        let plain = rows(beta, gamma, &shares);
        let scaled = plain.iter().map(|&[h, w, i, o, k, ms]| [h, w, i, o, k, unit * ms]);
        let scaled: Vec<_> = scaled.collect();
        let [plain, scaled] =
            [plain, scaled].map(|rows| of(&sample(&rows, KernelTerm::Side), Objective::Log, 0));
        for (plain, scaled) in plain.iter().zip(&scaled) {
            let by = if plain.parameter == "final" { unit } else { 1.0 };
            for (plain, scaled) in plain.profile.into_iter().zip(scaled.profile) {
                let close = (by * plain - scaled).abs() <= 1e-4 * scaled.abs() + 1e-7;
                prop_assert!(close, "{plain} by {by} against {scaled}");
            }
        }
    }
}
