use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    means: Vec<GoldenMeans>,
    lines: Vec<GoldenLines>,
}

#[derive(Deserialize)]
struct GoldenMeans {
    y: Vec<f64>,
    v: Vec<f64>,
    /// Infinite where there are none.
    df: Option<Vec<f64>>,
    q: f64,
    p: f64,
    variance: f64,
    interval: [f64; 2],
    extremes: [f64; 2],
}

#[derive(Deserialize)]
struct GoldenLines {
    /// x, y and v.
    groups: Vec<Vec<[f64; 3]>>,
    slope: f64,
    error: f64,
    variance: f64,
}

/// Written by `goldens/random_effects.py`.
fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/goldens/random_effects.json")).unwrap()
}

/// To the tolerance of roots found by two methods, in what is of the size of variances.
fn assert_close(got: f64, expected: f64, what: &str) {
    let off = (got - expected).abs();
    assert!(off <= 1e-8 * expected.abs() + 1e-12, "{what}: {got} against {expected}");
}

fn point(x: f64, y: f64, value: f64, df: f64) -> Point {
    Point { x, y, noise: EstimatedVariance { value, df } }
}

#[test]
fn tests_estimates_and_intervals_are_those_of_statsmodels_and_scipy() {
    for (index, case) in golden().means.iter().enumerate() {
        let df = |i: usize| case.df.as_ref().map_or(f64::INFINITY, |df| df[i]);
        let points = (0..case.y.len()).map(|i| point(0.0, case.y[i], case.v[i], df(i))).collect();
        let groups = [points];
        let model = RandomEffects::around_means(&groups).unwrap();
        let (q, p) = model.test();
        assert_close(q, case.q, &format!("Q of {index}"));
        assert_close(p, case.p, &format!("p of {index}"));
        assert_close(model.variance(), case.variance, &format!("variance of {index}"));
        for (got, expected) in model.interval().iter().zip(case.interval) {
            assert_close(*got, expected, &format!("end of {index}"));
        }
        for (got, expected) in model.shrunk_extremes().iter().zip(case.extremes) {
            assert_close(*got, expected, &format!("extreme of {index}"));
        }
    }
}

#[test]
fn slopes_and_their_errors_are_those_of_weighted_least_squares() {
    for (index, case) in golden().lines.iter().enumerate() {
        let of_group = |group: &Vec<[f64; 3]>| {
            group.iter().map(|[x, y, v]| point(*x, *y, *v, f64::INFINITY)).collect()
        };
        let groups: Vec<Vec<Point>> = case.groups.iter().map(of_group).collect();
        let got = RandomEffects::around_lines(&groups).unwrap().slope();
        assert_close(got.slope, case.slope, &format!("slope {index}"));
        assert_close(got.standard_error, case.error, &format!("error {index}"));
        assert_close(got.deviation.powi(2), case.variance, &format!("deviations {index}"));
    }
}

#[test]
fn equal_values_do_not_deviate_and_a_single_one_says_nothing() {
    let equal = [vec![point(0.0, -20.0, 0.0, f64::INFINITY); 4]];
    let model = RandomEffects::around_means(&equal).unwrap();
    assert_eq!((model.variance(), model.interval()), (0.0, [0.0, 0.0]));
    assert_eq!(model.shrunk_extremes(), [0.0, 0.0]);
    assert_eq!(model.test(), (0.0, 1.0));
    assert!(RandomEffects::around_means(&[vec![point(0.0, 1.0, 0.1, 4.0)]]).is_none());
    assert!(RandomEffects::around_lines(&equal).is_none());
}

#[test]
fn noise_that_is_known_less_well_is_believed_less() {
    let of = |df| {
        let points = [-0.2, -0.05, 0.0, 0.1, 0.15, 0.2].map(|y| point(0.0, y, 0.01, df)).to_vec();
        let groups = [points];
        RandomEffects::around_means(&groups).unwrap().test().1
    };
    assert!(of(4.0) > of(20.0) && of(20.0) > of(f64::INFINITY));
    assert!((of(1e9) - of(f64::INFINITY)).abs() < 1e-7);
}
