use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::dataset::{Latency, Observation, Provenance};

#[derive(Deserialize)]
struct Golden {
    name: String,
    s_k: KernelTerm,
    flops: FlopConvention,
    #[serde(default)]
    rows: Vec<[f64; 6]>,
    fit: GoldenGroups,
}

#[derive(Deserialize)]
struct GoldenGroups {
    k_equal_1: Option<GoldenGroup>,
    k_above_1: Option<GoldenGroup>,
}

#[derive(Deserialize)]
struct GoldenGroup {
    beta: f64,
    gamma: f64,
    #[serde(rename = "final")]
    final_scale: f64,
    ssr: f64,
    n: usize,
    /// By index of the parameter; those at a bound are missing.
    standard_errors: std::collections::BTreeMap<usize, f64>,
}

/// Rows `[height, width, in_channels, out_channels, kernel, milliseconds]`.
fn dataset(rows: &[[f64; 6]]) -> Dataset {
    let observation = |row: &[f64; 6]| {
        let [h, w, i, o, k, ms] = *row;
        let shape = ConvShape::new(h as u64, w as u64, i as u64, o as u64, k as u64).unwrap();
        let latency = Latency { mean_ns: Some(ms * 1e6), ..Latency::default() };
        let (experiment, series) = ("X".to_owned(), "all".to_owned());
        Observation { experiment, series, x: h, shape, latency, algorithm: None }
    };
    Dataset {
        provenance: Provenance {
            source: "made up".into(),
            backend: "none".into(),
            device: "none".into(),
            versions: "none".into(),
            protocol: "none".into(),
        },
        observations: rows.iter().map(observation).collect(),
    }
}

/// What `fit` promises against SciPy: parameters to 1e-5, the residual sum never worse than 1e-9.
fn assert_is_scipys_optimum(name: &str, ours: Option<&GroupFit>, scipys: Option<&GoldenGroup>) {
    let (ours, scipys) = match (ours, scipys) {
        (None, None) => return,
        (Some(ours), Some(scipys)) => (ours, scipys),
        _ => panic!("{name}: a group is missing"),
    };
    assert_eq!(ours.errors.n, scipys.n, "{name}");
    let scipys_parameters = [scipys.beta, scipys.gamma, scipys.final_scale];
    for ((parameter, ours), scipys) in ours.estimate.named().into_iter().zip(scipys_parameters) {
        // SciPy stays strictly inside the bounds, by up to 1e-12: 1e-9 stands for zero
        let close = (ours - scipys).abs() <= 1e-5 * scipys.abs() + 1e-9;
        assert!(close, "{name}: {parameter} is {ours}, SciPy has {scipys}");
    }
    // where the data are exact the residuals are rounding: 1e-20 ms² stands for zero
    let allowed = scipys.ssr * (1.0 + 1e-9) + 1e-20;
    assert!(ours.residual_sum_ms2 <= allowed, "{name}: {} {}", ours.residual_sum_ms2, scipys.ssr);
    if scipys.ssr > 1e-15 {
        let StandardErrors { beta, gamma, final_scale } = ours.uncertainty.standard_errors;
        for (index, ours) in [beta, gamma, final_scale].into_iter().enumerate() {
            let scipys = scipys.standard_errors.get(&index).copied();
            assert_eq!(ours.is_some(), scipys.is_some(), "{name}: {}", PARAMETERS[index]);
            let (ours, scipys) = (ours.unwrap_or(1.0), scipys.unwrap_or(1.0));
            // they amplify the parameters' differences
            assert!((ours / scipys - 1.0).abs() < 1e-4, "{name}: ± {ours}, SciPy {scipys}");
        }
    }
}

#[test]
fn the_fit_is_the_constrained_optimum_that_scipy_finds() {
    // written by tests/goldens/fit.py
    let goldens: Vec<Golden> =
        serde_json::from_str(include_str!("../../tests/goldens/fit.json")).unwrap();
    assert!(goldens.len() >= 8);
    for golden in goldens {
        let data = dataset(&golden.rows);
        let fit = fit(&data, golden.s_k, golden.flops, PUBLISHED_START).unwrap();
        let name = &golden.name;
        assert_is_scipys_optimum(name, fit.k_equal_1.as_ref(), golden.fit.k_equal_1.as_ref());
        assert_is_scipys_optimum(name, fit.k_above_1.as_ref(), golden.fit.k_above_1.as_ref());
    }
}

#[test]
fn the_fit_of_the_original_study_is_scipys() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/asperti-quadro-t2000/data.pickle");
    if !Path::new(path).exists() {
        eprintln!("skipped: {path} is not there");
        return;
    }
    let data = crate::import::asperti::read(Path::new(path)).unwrap();
    let goldens: Vec<Golden> =
        serde_json::from_str(include_str!("../../tests/goldens/fit_original.json")).unwrap();
    for golden in goldens {
        let fit = fit(&data, golden.s_k, golden.flops, PUBLISHED_START).unwrap();
        let name = &golden.name;
        assert_is_scipys_optimum(name, fit.k_equal_1.as_ref(), golden.fit.k_equal_1.as_ref());
        assert_is_scipys_optimum(name, fit.k_above_1.as_ref(), golden.fit.k_above_1.as_ref());
    }
}
