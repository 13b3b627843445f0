use super::*;

#[test]
fn noise_is_pooled_within_groups() {
    // groups 1, 3 and 10, 12, 17: squares 2 and 26, of 5 − 2 degrees of freedom
    let noise = pooled(&[1.0, 10.0, 3.0, 12.0, 17.0], &[0, 2, 0, 2, 2]).unwrap();
    assert_eq!(noise.degrees_of_freedom, 3);
    assert!((noise.sd - (28.0f64 / 3.0).sqrt()).abs() < 1e-12);
    assert_eq!(pooled(&[1.0, 2.0], &[0, 1]), None);
    assert_eq!(pooled(&[], &[]), None);
}

#[test]
fn successive_differences_see_a_step_once_and_only_within_groups() {
    // 1, 1, 2 and 50 within group 0, though a run of another group is between: the median is 1.5
    let values = [0.0, 1.0, 2.0, 100.0, 4.0, 54.0];
    let noise = successive(&values, &[0, 0, 0, 1, 0, 0]).unwrap();
    assert!((noise - 1.5 / (0.674_489_750_196_081_7 * 2.0f64.sqrt())).abs() < 1e-12, "{noise}");
    assert_eq!(successive(&[1.0, 2.0], &[0, 1]), None);
    assert_eq!(of_search(3.0, 1.0, 2.0), 2.0);
    assert_eq!(of_search(1.5, 1.0, 2.0), 1.5);
    assert_eq!(of_search(1.5, 0.0, 2.0), 1.5, "most runs are equal");
}

#[test]
fn autocorrelation_is_the_ratio_of_squared_differences_two_and_one_apart() {
    // one apart: 1, 1, −1, −1, 1 (mean square 1); two apart: 2, 0, −2, 0 (mean square 2)
    let phi = autocorrelation(&[0.0, 1.0, 2.0, 1.0, 0.0, 1.0], &[0; 6]).unwrap();
    assert!((phi - 0.9).abs() < 1e-12, "{phi}: at most 0.9");
    let phi = autocorrelation(&[0.0, 1.0, 0.0, 1.0, 0.0], &[0; 5]).unwrap();
    assert!((phi + 1.0).abs() < 1e-12, "{phi}: two apart are equal");
    assert_eq!(autocorrelation(&[0.0, 1.0, 2.0, 1.0], &[0; 4]), None, "two pairs two apart");
}
