//! RO3 on latencies that follow a known law.

use alpha_flops_analysis::dataset::Dataset;
use alpha_flops_analysis::model::{Coefficients, GroupCoefficients};
use alpha_flops_analysis::moderated_variance::EstimatedVariance;
use alpha_flops_analysis::objectives::{
    Accuracy, Advantage, AgainstRawFlops, ArchivedNoise, ClaimVerdict, answer,
};

use crate::fixtures::estimates::{Designs, Fitted, Law};
use crate::fixtures::random::Random;

/// The formula with γ = 0, which is proportional to FLOPs as the law is.
fn proportional() -> Coefficients {
    let group = GroupCoefficients { beta: 0.01, gamma: 0.0, final_scale: 2e-3, constant_ms: 0.0 };
    Coefficients {
        device: None,
        k_equal_1: Some(group),
        k_above_1: Some(group),
        ..Coefficients::published_rtx4090()
    }
}

#[test]
fn estimates_that_miss_nothing_but_noise_are_not_called_inaccurate() {
    let mut data = Designs::new(1).made_up(Law::Proportional, 0.05, &mut Random::new(1));
    let rows = |data: &Dataset| answer(data, None, Some(&proportional()), None).ro3.numbers;
    let of = |rows: &[AgainstRawFlops], name| {
        let row = rows.iter().find(|row| row.experiment == name).unwrap();
        (row.accuracy, row.alpha_flops_line_nrmse_percent.map(f64::round))
    };
    // at equal FLOPs, a line's range is noise alone, of which no RMSE is a small part
    let unaware = rows(&data);
    assert_eq!(of(&unaware, "B").0, Accuracy::NotAccurate, "{unaware:?}");
    for o in &mut data.observations {
        o.latency.passes = Some(4);
        o.latency.between_pass_sd = Some(0.1);
    }
    let aware = rows(&data);
    assert_eq!(of(&aware, "B"), (Accuracy::NotShown, None));
    assert_eq!(of(&aware, "D"), of(&unaware, "D"));
    assert_eq!(of(&aware, "D").0, Accuracy::Accurate);
    // what has no range is not shown, and not left out
    let sentence = answer(&data, None, Some(&proportional()), None).ro3.sentence;
    let (_, accuracy) = sentence.split_once("accuracy: ").unwrap();
    let (_, not_shown) = accuracy.split_once("not shown in ").unwrap();
    assert!(not_shown.contains('B') && not_shown.contains('C'), "{sentence}");
}

/// A line whose range may be noise counts no more, which may undo a verdict and, with still more noise and so
/// another line, bring it back: the noise that is named is the least that undoes it.
#[test]
fn the_noise_that_would_undo_the_answer_is_the_least_that_does() {
    let designs = Designs::new(1);
    let coefficients = Coefficients { device: None, ..Coefficients::published_rtx4090() };
    let mut undone = 0;
    for seed in 1..=4 {
        let data = designs.made_up(Law::AlphaFlops, 0.03, &mut Random::new(seed));
        let ro3 = answer(&data, None, Some(&coefficients), None).ro3;
        if ro3.verdict == ClaimVerdict::NotShown {
            assert_eq!(ro3.undone_by_percent, None);
            continue;
        }
        let known = |sd: f64| {
            let noise = EstimatedVariance { value: sd * sd, df: f64::INFINITY };
            let variances = data.observations.iter().map(|o| (o.id(), noise)).collect();
            let archived = ArchivedNoise { runs: 8, variances };
            answer(&data, Some(&archived), Some(&coefficients), None).ro3.verdict
        };
        let least = ro3.undone_by_percent.map(|percent| percent / 100.0);
        // a hundred standard deviations from 0.1% to 100%
        let steps = (0..100).map(|step| 10f64.powf(-3.0 + 3.0 * f64::from(step) / 99.0));
        for sd in steps.filter(|sd| least.is_none_or(|least| *sd < least)) {
            assert_eq!(known(sd), ro3.verdict, "{seed}: {sd} of {least:?}");
        }
        if let Some(least) = least {
            assert_ne!(known(1.000_001 * least), ro3.verdict, "{seed}: {least}");
            let words = "Noise from run to run is unknown; it would need more than ";
            assert!(ro3.sentence.contains(words), "{}", ro3.sentence);
            undone += 1;
        }
    }
    assert!(undone > 0, "noise undoes some of them");
}

/// The model with more parameters was called better in four experiments at 2%.
#[test]
fn neither_model_is_called_better_where_latency_is_proportional_to_flops_but_for_noise() {
    let designs = Designs::new(3);
    for (fitted, noise, seed) in [(Fitted::InSample, 0.02, 1), (Fitted::Sweep, 0.1, 2)] {
        let rows = designs.against_raw_flops(Law::Proportional, fitted, noise, 99, seed);
        assert_eq!(rows.len(), 8);
        let shown = |row: &&AgainstRawFlops| row.advantage != Advantage::NoDifferenceShown;
        assert_eq!(rows.iter().find(shown), None);
        // in-sample, α-FLOPs would be the better one in all
        assert!(rows[0].difference_ms.abs() < 0.1 * rows[0].raw_flops.rmse_ms, "{rows:?}");
    }
}

#[test]
fn alpha_flops_is_called_better_where_latencies_follow_it() {
    let designs = Designs::new(3);
    let rows = designs.against_raw_flops(Law::AlphaFlops, Fitted::Sweep, 0.05, 99, 1);
    let better = rows.iter().filter(|row| row.advantage == Advantage::Better).count();
    assert!(better >= 6, "{rows:?}");
}
