use proptest::prelude::*;

use super::*;

fn shape(h: u64, w: u64, i: u64, o: u64, k: u64) -> ConvShape {
    ConvShape::new(h, w, i, o, k).unwrap()
}

#[derive(Deserialize)]
struct Golden {
    coefficients: String,
    shape: [u64; 5],
    latency_ms: f64,
}

#[test]
fn published_coefficients_predict_what_the_published_python_computes() {
    // written by tests/goldens/model.py
    let cases: Vec<Golden> =
        serde_json::from_str(include_str!("../../tests/goldens/model.json")).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let coefficients = match case.coefficients.as_str() {
            "published-t2000" => Coefficients::published_t2000(),
            _ => Coefficients::published_rtx4090(),
        };
        let [h, w, i, o, k] = case.shape;
        let got = coefficients.predict(&shape(h, w, i, o, k)).unwrap().as_ms();
        // a handful of roundings in another order, and another libm
        assert!((got / case.latency_ms - 1.0).abs() < 1e-13, "{:?}: {got}", case.shape);
    }
}

#[test]
fn an_absent_group_predicts_nothing_and_says_which() {
    let coefficients = Coefficients { k_above_1: None, ..Coefficients::published_t2000() };
    assert!(coefficients.predict(&shape(9, 9, 9, 9, 1)).is_ok());
    let error = coefficients.predict(&shape(9, 9, 9, 9, 3)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the coefficients have no parameters for K > 1, which h=9_w=9_in=9_out=9_k=3 needs"
    );
}

#[test]
fn a_negative_bracket_is_an_error_and_not_nan() {
    let group = GroupCoefficients { beta: 2.0, gamma: 0.5, final_scale: 1.0, constant_ms: 0.0 };
    let coefficients = Coefficients { k_above_1: Some(group), ..Coefficients::published_t2000() };
    let error = coefficients.predict(&shape(1, 1, 10, 10, 30)).unwrap_err();
    assert!(error.to_string().contains("below zero"), "{error}");
}

#[test]
fn an_estimate_beyond_any_latency_is_an_error_and_not_infinite() {
    let published = Coefficients::published_t2000();
    for (beta, gamma, final_scale) in [(1e308, 1e308, 1e308), (0.5, 0.0, 1e308), (0.5, 0.0, 1e15)] {
        let group = GroupCoefficients { beta, gamma, final_scale, constant_ms: 0.0 };
        let coefficients = Coefficients { k_equal_1: Some(group), ..published.clone() };
        let error = coefficients.predict(&shape(9, 9, 9, 9, 1)).unwrap_err().to_string();
        assert!(error.contains("beyond 10 years"), "{error}");
    }
}

#[test]
fn files_are_read_back_and_bad_ones_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.json");
    let good = r#"{"schema_version":1,"source":"s","fitted_on":null,"flops":"two-per-mac",
        "s_k":"side","k_equal_1":{"beta":0.1,"gamma":1.0,"final":0.5,"n":7},"k_above_1":null}"#;
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Coefficients::read(&path).map_err(|e| e.to_string())
    };
    let coefficients = read(good).unwrap();
    assert_eq!(coefficients.flops, FlopConvention::TwoPerMac);
    assert_eq!(coefficients.k_equal_1.unwrap().final_scale, 0.5);
    for (from, to, expected) in [
        ("\"k_above_1\"", "\"k_above_one\"", "unknown field `k_above_one`"),
        ("version\":1", "version\":3", "schema_version is 3, expected 1 or 2"),
        ("\"beta\":0.1", "\"beta\":-0.1", "K = 1: beta is -0.1, expected a finite number"),
        ("\"side\"", "\"diagonal\"", "unknown variant `diagonal`"),
        ("\"beta\":0.1,", "", "missing field `beta`"),
    ] {
        let error = read(&good.replace(from, to)).unwrap_err();
        assert!(error.contains(expected) && error.contains("c.json"), "{error}");
    }
    assert!(read("{").unwrap_err().contains("line 1"));
}

proptest! {
    #[test]
    fn doubling_the_flops_convention_doubles_the_estimate(
        h in 1u64..300, w in 1u64..300, i in 1u64..500, o in 1u64..500, k in 1u64..31
    ) {
        let macs = Coefficients::published_t2000();
        let doubled = Coefficients { flops: FlopConvention::TwoPerMac, ..macs.clone() };
        let shape = shape(h, w, i, o, k);
        let (one, two) = (macs.predict(&shape).unwrap(), doubled.predict(&shape).unwrap());
        prop_assert!((two.0 / one.0 - 2.0).abs() < 1e-12);
        prop_assert!(one.0.is_finite() && one.0 > 0.0);
    }
}
