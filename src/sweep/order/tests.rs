use proptest::prelude::*;

use super::*;

/// How many of `indices` fall into each class, and the largest distance from its share.
fn imbalance(indices: &[u32], classes: u32, class: impl Fn(u32) -> u32) -> f64 {
    let mut counts = vec![0u32; classes as usize];
    for &index in indices {
        counts[class(index) as usize] += 1;
    }
    let share = indices.len() as f64 / f64::from(classes);
    counts.iter().map(|&count| (f64::from(count) - share).abs()).fold(0.0, f64::max)
}

fn stratum_of(grid: Grid, index: u32) -> u32 {
    index / grid.channel_pairs()
}

/// Which quarter of a stratum's members, by their FLOPs, a configuration belongs to.
fn quarters(grid: Grid) -> Vec<u32> {
    let by_flops = sorted_by(grid.channel_pairs(), |pair| grid.shape(pair).macs().0 as f64);
    let mut quarter = vec![0; by_flops.len()];
    for (rank, pair) in by_flops.iter().enumerate() {
        quarter[*pair as usize] = (4 * rank / by_flops.len()) as u32;
    }
    quarter
}

#[test]
fn the_order_is_a_permutation_of_the_grid() {
    for grid in Grid::ALL {
        let order = Order::new(grid, 7);
        let mut seen = vec![false; grid.configurations() as usize];
        for position in 0..grid.configurations() {
            let index = order.index(position) as usize;
            assert!(!std::mem::replace(&mut seen[index], true), "{index} twice");
        }
        assert!(seen.iter().all(|&seen| seen));
    }
}

#[test]
fn the_order_follows_the_seed() {
    let first = |seed| {
        let order = Order::new(Grid::Paper, seed);
        (0..5000).map(|position| order.index(position)).collect::<Vec<_>>()
    };
    assert_eq!(first(3), first(3));
    assert_ne!(first(3), first(4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_prefix_has_its_share_of_every_stratum_axis_and_size(
        paper in any::<bool>(), seed in any::<u64>(), length in 1u32..60_000,
    ) {
        let grid = if paper { Grid::Paper } else { Grid::Published };
        let order = Order::new(grid, seed);
        let prefix: Vec<u32> = (0..length).map(|position| order.index(position)).collect();
        prop_assert!(imbalance(&prefix, grid.strata(), |index| stratum_of(grid, index)) <= 1.0);
        // whole rounds are exact; of the last one, a stretch of the wheels lacks a turn's part
        let kernels = imbalance(&prefix, 14, |index| grid.place(index).kernel);
        prop_assert!(kernels <= 2.0, "kernels {kernels} of {length}");
        let heights = imbalance(&prefix, 10, |index| grid.place(index).height);
        prop_assert!(heights <= 2.0, "heights {heights} of {length}");
        let widths = imbalance(&prefix, 10, |index| grid.place(index).width);
        prop_assert!(widths <= 2.0, "widths {widths} of {length}");
        let quarter = quarters(grid);
        let flops = imbalance(&prefix, 4, |index| quarter[(index % grid.channel_pairs()) as usize]);
        // of 300 orders of each grid and every length up to 60,000, at most 1.8√n and 68; the standard
        // deviation of draws is 0.43√n, so that some of as many are five times that, at any length
        let n = f64::from(length);
        let most = (2.3 * n.sqrt() + 1.0).min(50.0 + n / 1000.0);
        prop_assert!(flops <= most, "FLOPs {flops} of {length}");
        let channels = grid.channel_values();
        let inner = imbalance(&prefix, channels, |index| grid.place(index).in_channels);
        let outer = imbalance(&prefix, channels, |index| grid.place(index).out_channels);
        // likewise at most 1.4√n and 21, of 100 orders
        let most = (1.5 * n.sqrt() + 1.0).min(26.0);
        prop_assert!(inner.max(outer) <= most, "channels {inner}, {outer} of {length}");
    }

    #[test]
    fn shards_are_disjoint_complete_and_balanced(
        seed in any::<u64>(), of in prop_oneof![1u32..40, Just(70), Just(140), Just(280)],
    ) {
        let grid = Grid::Published;
        let order = Order::new(grid, seed);
        let total = grid.configurations();
        let mut seen = vec![0u8; total as usize];
        for number in 1..=of {
            let shard = Shard::new(number, of).unwrap();
            let indices: Vec<u32> = (0..shard.len(total))
                .map(|ordinal| order.index(shard.position(ordinal)))
                .collect();
            indices.iter().for_each(|&index| seen[index as usize] += 1);
            // where the number of shards divides that of strata, a shard's share of each is as of a
            // draw: to within five standard deviations
            let draws = |classes: f64| 5.0 * (indices.len() as f64 / classes).sqrt() + 1.0;
            let strata = imbalance(&indices, 140, |index| stratum_of(grid, index));
            prop_assert!(strata <= draws(140.0), "{shard}: strata {strata}");
            let kernels = imbalance(&indices, 14, |index| grid.place(index).kernel);
            prop_assert!(kernels <= draws(14.0), "{shard}: kernels {kernels}");
            let sides = imbalance(&indices, 10, |index| grid.place(index).height);
            prop_assert!(sides <= draws(10.0), "{shard}: sides {sides}");
            let channels = imbalance(&indices, 31, |index| grid.place(index).in_channels);
            prop_assert!(channels <= draws(31.0), "{shard}: channels {channels}");
        }
        prop_assert!(seen.iter().all(|&times| times == 1));
    }
}

#[test]
fn shards_read_back_and_others_are_refused() {
    for text in ["1/1", "3/8", "8/8"] {
        assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
    }
    for text in ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/99999999999", "1/10001", "a/b"] {
        let error = text.parse::<Shard>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` is no shard, expected i/n")), "{error}");
    }
}
