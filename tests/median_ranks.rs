//! The median's interval against SciPy's binomial distribution (goldens/median_ranks.py).

use alpha_flops::statistics::median_interval_ranks;

#[test]
fn the_ranks_around_a_median_are_those_of_the_exact_binomial_distribution() {
    let mut lines = vec!["low,smallest_n".to_owned()];
    let mut last = None;
    for n in 0..=2000 {
        let ranks = median_interval_ranks(n);
        if let Some((low, high)) = ranks {
            assert_eq!(low + high, n - 1, "not symmetric for {n}");
        }
        let low = ranks.map(|(low, _)| low);
        if low != last {
            lines.push(format!("{},{n}", low.expect("ranks exist from 6 values on")));
        }
        last = low;
    }
    let expected: Vec<&str> = include_str!("goldens/median_ranks.csv").lines().collect();
    assert_eq!(lines, expected);
}
