//! The CPU backend's results against PyTorch's, and against the direct sum.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

use std::num::NonZeroUsize;

use alpha_flops::backend::cpu::{AlgorithmChoice, CpuBackend};
use alpha_flops::backend::{Backend, BackendError};
use alpha_flops::experiment::{Experiment, Resolution};
use alpha_flops::random::random_value;
use alpha_flops::reference;
use alpha_flops::shape::ConvShape;
use proptest::prelude::*;
use serde::Deserialize;

/// `tests/goldens/convolutions.json`, which `convolutions.py` beside it wrote.
#[derive(Deserialize)]
struct Goldens {
    convolutions: Vec<Golden>,
    checksums: Vec<Checksum>,
}

#[derive(Deserialize)]
struct Golden {
    shape: String,
    output_times_64: Vec<i32>,
}

#[derive(Deserialize)]
struct Checksum {
    shape: String,
    checksum: i64,
}

fn read_goldens() -> Goldens {
    serde_json::from_str(include_str!("goldens/convolutions.json")).unwrap()
}

fn goldens() -> Vec<(ConvShape, Vec<f32>)> {
    let exact = |values: Vec<i32>| values.into_iter().map(|v| v as f32 / 64.0).collect();
    read_goldens()
        .convolutions
        .into_iter()
        .map(|golden| (golden.shape.parse().unwrap(), exact(golden.output_times_64)))
        .collect()
}

/// The script's `values`.
fn values(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * step + 3) % 13) as f32 / 8.0 - 0.75).collect()
}

fn backend(threads: usize, algorithm: AlgorithmChoice) -> CpuBackend {
    CpuBackend::new(NonZeroUsize::new(threads).unwrap(), algorithm).unwrap()
}

#[test]
fn goldens_cover_every_kernel_from_1_to_30() {
    let goldens = goldens();
    let mut kernels = goldens.iter().map(|(shape, _)| shape.kernel()).collect::<Vec<_>>();
    kernels.dedup();
    assert_eq!(kernels, (1..=30).collect::<Vec<_>>());
    assert!(goldens.iter().any(|(shape, _)| shape.kernel() > shape.height().max(shape.width())));
}

#[test]
fn every_algorithm_gives_exactly_what_pytorch_gives_for_every_kernel() {
    for (algorithm, threads) in
        AlgorithmChoice::ALL.into_iter().flat_map(|a| [(a, 1), (a, 2), (a, 3)])
    {
        let backend = backend(threads, algorithm);
        for (shape, expected) in goldens() {
            let input = values(shape.input_len(), 7);
            let weights = values(shape.weights_len(), 5);
            let got = backend.convolve(shape, &input, &weights).unwrap();
            // exact: every term and sum is a multiple of 1/64 far below 2²⁴/64
            assert!(got == expected, "{shape} with {algorithm} on {threads} threads");
        }
    }
}

/// The script's `checksum`.
fn checksum(output: &[f32]) -> i64 {
    output.iter().enumerate().map(|(i, v)| (v * 64.0) as i64 * ((i as i64 * 31 + 7) % 1009)).sum()
}

#[test]
fn every_algorithm_gives_exactly_what_pytorch_gives_where_shapes_take_many_tiles() {
    for golden in read_goldens().checksums {
        let shape: ConvShape = golden.shape.parse().unwrap();
        let input = values(shape.input_len(), 7);
        let weights = values(shape.weights_len(), 5);
        for algorithm in AlgorithmChoice::ALL {
            // five share 1,100 pixels, more than a tile, by channels
            for threads in [1, 2, 5] {
                let got = backend(threads, algorithm).convolve(shape, &input, &weights).unwrap();
                let context = format!("{shape} with {algorithm} on {threads} threads");
                assert!(got.iter().all(|value| value.is_finite()), "{context}");
                assert_eq!(checksum(&got), golden.checksum, "{context}");
            }
        }
    }
}

#[test]
fn the_reference_gives_exactly_what_pytorch_gives_for_every_kernel() {
    for (shape, expected) in goldens() {
        let input = values(shape.input_len(), 7);
        let weights = values(shape.weights_len(), 5);
        for (index, expected) in expected.into_iter().enumerate() {
            let (pixel, channel) = (index % shape.pixels(), index / shape.pixels());
            let position = [channel, pixel / shape.width(), pixel % shape.width()];
            let got = reference::output_value(
                shape,
                |index| input[index],
                |index| weights[index],
                reference::Arithmetic::F32,
                position,
            );
            assert_eq!(got.value, f64::from(expected), "{shape} at {position:?}");
        }
    }
}

/// Of each experiment's series the smallest, a middling and the largest configuration among those
/// that a debug build computes in reasonable time.
fn sample_of_experiments() -> Vec<ConvShape> {
    const MOST_MACS: u64 = 60_000_000;
    let mut sample = Vec::new();
    for &experiment in Experiment::all() {
        let configurations = experiment.configurations(Resolution::Full);
        let mut series = configurations.iter().map(|c| c.series.clone()).collect::<Vec<_>>();
        series.dedup();
        for series in series {
            let mut shapes = configurations
                .iter()
                .filter(|c| c.series == series && c.shape.macs().0 <= MOST_MACS)
                .map(|c| c.shape)
                .collect::<Vec<_>>();
            shapes.sort_by_key(ConvShape::macs);
            let last = shapes.len().saturating_sub(1);
            sample.extend([0, last / 2, last].iter().filter_map(|index| shapes.get(*index)));
        }
    }
    sample
}

#[test]
fn a_sample_of_the_experiments_passes_verification() {
    let sample = sample_of_experiments();
    assert!(sample.len() > 30, "{}", sample.len());
    let mut backend = backend(2, AlgorithmChoice::Auto);
    for shape in sample {
        let mut prepared = backend.prepare(shape, 1).unwrap();
        prepared.verify().unwrap();
    }
}

#[test]
fn no_configuration_needs_more_than_four_gigabytes() {
    let backend = backend(2, AlgorithmChoice::Auto);
    for &experiment in Experiment::all() {
        for configuration in experiment.configurations(Resolution::Full) {
            let required = backend.required_memory(configuration.shape);
            assert!(required.0 < 3 << 30, "{}: {required}", configuration.id());
        }
    }
}

#[test]
fn a_convolution_too_large_for_memory_is_an_error() {
    // 2^24 × 2^24 pixels: 1 PiB of input
    let shape = ConvShape::new(1 << 24, 1 << 24, 1, 1, 1).unwrap();
    let mut backend = backend(1, AlgorithmChoice::Auto);
    let error = backend.prepare(shape, 0).err().unwrap();
    assert!(matches!(error, BackendError::OutOfMemory { .. }), "{error}");
}

#[test]
fn tensors_of_the_wrong_length_are_refused() {
    let shape = ConvShape::new(2, 2, 3, 1, 1).unwrap();
    let error = backend(1, AlgorithmChoice::Auto).convolve(shape, &[0.0; 11], &[0.0; 3]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "h=2_w=2_in=3_out=1_k=1: input has 11 elements, expected 12"
    );
}

fn small_shapes() -> impl Strategy<Value = ConvShape> {
    let side = || prop_oneof![1u64..6, 6u64..40];
    (side(), side(), 1u64..20, 1u64..24, prop_oneof![1u64..2, 1u64..12])
        .prop_map(|(h, w, i, o, k)| ConvShape::new(h, w, i, o, k).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_algorithm_agrees_with_the_direct_sum_on_random_shapes(
        shape in small_shapes(), seed: u64, threads in 1usize..4
    ) {
        for algorithm in AlgorithmChoice::ALL {
            let mut backend = backend(threads, algorithm);
            let mut prepared = backend.prepare(shape, seed).unwrap();
            let verified = prepared.verify();
            prop_assert!(verified.is_ok(), "{}", verified.unwrap_err());
        }
    }

    #[test]
    fn results_are_the_same_bits_in_every_run(
        shape in small_shapes(), seed: u64, threads in 1usize..3
    ) {
        let random = |len: usize| (0..len as u64).map(|i| random_value(seed, i)).collect::<Vec<_>>();
        let (input, weights) = (random(shape.input_len()), random(shape.weights_len()));
        for algorithm in AlgorithmChoice::ALL {
            let backend = backend(threads, algorithm);
            let first = backend.convolve(shape, &input, &weights).unwrap();
            prop_assert!(first.iter().all(|value| value.is_finite()));
            prop_assert_eq!(first, backend.convolve(shape, &input, &weights).unwrap());
        }
    }
}
