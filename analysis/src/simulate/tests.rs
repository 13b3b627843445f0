use std::num::NonZeroU32;

use super::*;
use crate::dataset::NOT_MEASURED;
use crate::run::{Run, provenance};

fn small(truth: Truth) -> Simulation {
    Simulation::new(Truth { resolution: Resolution::Original, ..truth })
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
    (mean, (square / (n - 1.0)).sqrt())
}

#[test]
fn launches_are_equal_for_equal_seeds_runs_and_configurations_only() {
    let simulation = small(Truth { launches: 50, ..Truth::default() });
    let launches = simulation.launches(3, 5, 1.0);
    assert_eq!(launches, simulation.launches(3, 5, 1.0));
    assert_ne!(launches, simulation.launches(4, 5, 1.0));
    assert_ne!(launches, simulation.launches(3, 6, 1.0));
    let other = small(Truth { launches: 50, seed: 1, ..Truth::default() });
    assert_ne!(launches, other.launches(3, 5, 1.0));
    // a factor changes nothing else
    let doubled: Vec<f64> = launches.iter().map(|ns| 2.0 * ns).collect();
    assert_eq!(doubled, simulation.launches(3, 5, 2.0));
    assert!(simulation.launches(0, usize::MAX, 1.0).is_empty());
}

#[test]
fn launches_have_the_spread_correlation_and_median_that_are_true() {
    let (spread, correlation) = (0.02, 0.5);
    let truth = Truth {
        launches: 100_000,
        configuration_deviation: 0.0,
        spread,
        correlation,
        ..Truth::default()
    };
    let simulation = small(truth);
    let base = base_ns(&simulation.configurations()[7]);
    let logs: Vec<f64> =
        simulation.launches(0, 7, 1.03).iter().map(|ns| (ns / base).ln()).collect();
    let (mean, deviation) = moments(&logs);
    // the mean of n AR(1) values deviates by √((1+φ)/(1−φ)/n) = 0.0055 of the spread; 5 of them
    assert!((mean - 1.03f64.ln()).abs() < 5.0 * 0.0055 * spread, "{mean}");
    assert!((deviation / spread - 1.0).abs() < 0.02, "{deviation}");
    let products = logs.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean));
    let lag_1 = products.sum::<f64>() / (logs.len() as f64 * deviation * deviation);
    // a correlation of n values deviates by √((1−φ²)/n) = 0.003
    assert!((lag_1 - correlation).abs() < 0.015, "{lag_1}");
}

#[test]
fn shifts_between_runs_are_of_configurations_experiments_and_runs_as_is_true() {
    let alone = |truth: Truth, index: usize| -> Vec<f64> {
        let simulation = small(Truth { launches: 1, spread: 0.0, ..truth });
        let base = base_ns(&simulation.configurations()[index]);
        (0..2000).map(|run| (simulation.launches(run, index, 1.0)[0] / base).ln()).collect()
    };
    let none = Truth { configuration_deviation: 0.0, ..Truth::default() };
    // the first two are of A, the last is of G
    let last = small(none.clone()).configurations().len() - 1;
    let product = |a: &[f64], b: &[f64]| {
        let (mean_a, deviation_a) = moments(a);
        let (mean_b, deviation_b) = moments(b);
        let products = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b));
        products.sum::<f64>() / (a.len() as f64 * deviation_a * deviation_b)
    };
    let cases = [
        (Truth { configuration_deviation: 0.01, ..none.clone() }, [0.0, 0.0]),
        (Truth { experiment_deviation: 0.01, ..none.clone() }, [1.0, 0.0]),
        (Truth { run_deviation: 0.01, ..none }, [1.0, 1.0]),
    ];
    for (truth, correlations) in cases {
        let of = [0, 1, last].map(|index| alone(truth.clone(), index));
        let (mean, deviation) = moments(&of[0]);
        // of 2,000 runs: five times 1/√2000 and 1/√4000
        assert!(mean.abs() < 0.112 * 0.01 && (deviation / 0.01 - 1.0).abs() < 0.08, "{truth:?}");
        for (other, expected) in of[1..].iter().zip(correlations) {
            assert!((product(&of[0], other) - expected).abs() < 0.112, "{truth:?}");
        }
    }
}

#[test]
fn a_simulated_run_reads_back_and_says_that_nothing_was_measured() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("runs/one");
    let simulation = small(Truth { launches: 20, ..Truth::default() });
    simulation
        .write_run(&folder, 4, |c| if c.experiment == Experiment::D { 1.5 } else { 1.0 })
        .unwrap();
    let run = Run::open(&folder).unwrap();
    let found =
        run.map_launches(|record, latencies| (record.id.clone(), latencies.ns.to_vec())).unwrap();
    let expected = simulation.configurations().iter().enumerate().map(|(index, c)| {
        let factor = if c.experiment == Experiment::D { 1.5 } else { 1.0 };
        (c.id(), simulation.launches(4, index, factor))
    });
    assert!(found == expected.collect::<Vec<_>>(), "other launches, or in another order");
    let provenance = provenance(&run.header);
    assert_eq!(provenance.warning(), Some(NOT_MEASURED));
    assert_eq!(provenance.place(), "simulated (no device)");
    let settings = &run.header.plan.settings;
    assert_eq!(settings.launches, NonZeroU32::new(20));
    assert_eq!(settings.protocol.to_string(), "host-latency-warm");
    let error = simulation.write_run(&folder, 4, |_| 1.0).unwrap_err().to_string();
    assert!(error.contains("runs/one"), "a run is not written over: {error}");
}
