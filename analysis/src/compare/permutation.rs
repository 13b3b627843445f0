//! The permutation test: what the same t test finds in the same runs when the sides mean nothing.
//!
//! Student's t assumes that runs differ normally. A configuration that has two speeds, and keeps one of
//! them during a whole run, doesn't: among many such configurations there are some whose slow runs
//! happen to be all on one side, and t is sure of a change. But then other configurations look the same in
//! every other division of the runs into two sides, and those divisions can be tried. The estimate of
//! the false discovery rate is that of Tusher, Tibshirani and Chu (2001): the mean number of
//! configurations found in the other divisions, over the number found in the observed one.
//! Configurations found in the observed one are left out of that count, because their change would be taken
//! for noise (Xie, Pan and Khodursky 2005).

use std::collections::HashSet;

use alpha_flops::random::random_bits;
use rayon::prelude::*;

use super::estimate::{Contrasts, Design, Samples, Shared};
use super::grouping::LnMedians;

/// The most divisions that are tried.
const MOST: usize = 200;
/// With up to this many runs, all divisions are listed.
const LISTED: usize = 16;

/// The contrasts of other divisions of the same runs, or of other pairs of the history; none where there is
/// no other, by what was estimated on the observed division (`shared`). Runs are divided in order of time, so
/// that no verdict depends on the order in which they are given.
pub(super) fn permuted(samples: &Samples<'_>, shared: &Shared) -> Vec<Contrasts> {
    let n = samples.before.len();
    let all: Vec<&LnMedians> = samples.before.iter().chain(samples.after).collect();
    let divided = |[before, after]: &[Vec<usize>; 2]| {
        let pick = |runs: &[usize]| -> Vec<LnMedians> {
            runs.iter().map(|run| all[*run].clone()).collect()
        };
        let order: Vec<usize> = before.iter().chain(after).map(|run| samples.order[*run]).collect();
        let (before, after) = (pick(before), pick(after));
        Samples { before: &before, after: &after, order: &order, ..*samples }
            .contrasts(Some(shared))
    };
    match samples.design {
        Design::WithinRuns(_) => Vec::new(),
        Design::Independent => {
            let is_after: Vec<bool> = by_rank(samples.order).map(|run| run >= n).collect();
            let run: Vec<usize> = by_rank(samples.order).collect();
            let named = divisions(&is_after)
                .into_iter()
                .map(|sides| sides.map(|ranks| ranks.into_iter().map(|rank| run[rank]).collect()));
            named.collect::<Vec<_>>().par_iter().map(divided).collect()
        }
        Design::Paired => {
            // pairs in order of time, by the earlier of their runs
            let mut pairs: Vec<usize> = (0..n).collect();
            pairs.sort_by_key(|pair| samples.order[*pair].min(samples.order[n + pair]));
            let named = exchanges(n).into_iter().map(|is_exchanged| {
                let of = |side: usize| {
                    let run = |(pair, is): (&usize, &bool)| pair + (side ^ usize::from(*is)) * n;
                    pairs.iter().zip(&is_exchanged).map(run).collect()
                };
                [of(0), of(1)]
            });
            named.collect::<Vec<_>>().par_iter().map(divided).collect()
        }
        Design::History(groups) => thinned(pairs(groups))
            .into_par_iter()
            .map(|(group, [a, b])| {
                // tested against the others only, as the two sides are: a deviation that is part of the
                // noise it is tested against never has a small p value
                let mut rest = groups.to_vec();
                let mut index = 0..;
                rest[group].retain(|_| index.next().is_none_or(|run| run != a && run != b));
                let [before, after] = [a, b].map(|run| vec![groups[group][run].clone()]);
                let design = Design::History(&rest);
                let order = &[0, 1];
                Samples { before: &before, after: &after, order, design, ..*samples }
                    .contrasts(Some(shared))
            })
            .collect(),
    }
}

/// The runs' indices in order of time.
fn by_rank(order: &[usize]) -> impl Iterator<Item = usize> {
    let mut runs: Vec<usize> = (0..order.len()).collect();
    runs.sort_by_key(|run| order[*run]);
    runs.into_iter()
}

/// How many independent permutations there are: all of them, which makes a permutation test exact; for a
/// history, as many as it has pairs without a run in common.
pub(super) fn independent_permutations(design: Design<'_>, permutations: usize) -> usize {
    match design {
        Design::History(groups) => permutations.min(groups.iter().map(|runs| runs.len() / 2).sum()),
        _ => permutations,
    }
}

/// Every two runs of a group, as the group's number and theirs, provided that enough runs remain.
fn pairs(groups: &[Vec<LnMedians>]) -> Vec<(usize, [usize; 2])> {
    let spare: usize = groups.iter().map(|runs| runs.len().saturating_sub(1)).sum();
    // a pair takes two degrees of freedom away, or the one that a group of two has
    let remains = |runs: &[LnMedians]| spare > runs.len().saturating_sub(1).min(2);
    let of_group = |(group, runs): (usize, &Vec<LnMedians>)| {
        let n = if remains(runs) { runs.len() } else { 0 };
        (0..n).flat_map(move |a| (a + 1..n).map(move |b| (group, [a, b])))
    };
    groups.iter().enumerate().flat_map(of_group).collect()
}

/// Every division of the runs other than the observed one: the numbers of the runs before and after. Given
/// the other way round, the observed division has the same others, the other way round.
pub(crate) fn divisions(is_after: &[bool]) -> Vec<[Vec<usize>; 2]> {
    let n = is_after.len();
    let after = is_after.iter().filter(|is| **is).count();
    // the smaller side is chosen; of two equal ones, that with the first run
    let swaps = after < n - after;
    let fewer = after.min(n - after);
    let observed: Vec<usize> = match 2 * fewer == n {
        true => (0..n).filter(|run| is_after[*run] == is_after[0]).collect(),
        false => (0..n).filter(|run| is_after[*run] == swaps).collect(),
    };
    let chosen = if n > LISTED { drawn(&observed, n) } else { listed(&observed, n) };
    let division = |first: Vec<usize>| {
        let second = (0..n).filter(|run| !first.contains(run)).collect();
        if swaps { [second, first] } else { [first, second] }
    };
    chosen.into_iter().map(division).collect()
}

fn listed(observed: &[usize], n: usize) -> Vec<Vec<usize>> {
    let fewer = observed.len();
    // with two sides of one size, swapping them gives the same division
    let is_new = |mask: &u32| 2 * fewer != n || mask & 1 == 1;
    let masks = (0..1u32 << n).filter(|mask| mask.count_ones() as usize == fewer).filter(is_new);
    let sides = masks.map(|mask| (0..n).filter(|run| mask >> run & 1 == 1).collect::<Vec<_>>());
    thinned(sides.filter(|side| side != observed).collect())
}

/// A random selection of very many divisions, each once: never the observed one.
fn drawn(observed: &[usize], n: usize) -> Vec<Vec<usize>> {
    let fewer = observed.len();
    let mut seen = HashSet::from([observed.to_vec()]);
    let mut chosen = Vec::new();
    // there are few of one run against many, and soon all are drawn
    for seed in 0..20 * MOST as u64 {
        let mut runs: Vec<usize> = (0..n).collect();
        runs.sort_by_key(|run| random_bits(seed, *run as u64));
        let mut first = runs.split_off(n - fewer);
        if 2 * fewer == n && !first.contains(&0) {
            first = runs;
        }
        first.sort_unstable();
        if chosen.len() < MOST && seen.insert(first.clone()) {
            chosen.push(first);
        }
    }
    chosen
}

/// The same for paired runs: which pairs exchange their runs. The first pair never does, because that would
/// be another division with its sides swapped.
fn exchanges(pairs: usize) -> Vec<Vec<bool>> {
    if pairs > LISTED {
        let bit = |seed, pair: usize| pair > 0 && random_bits(seed, pair as u64) & 1 == 1;
        let drawn = (0..MOST as u64).map(|seed| (0..pairs).map(|pair| bit(seed, pair)).collect());
        return drawn.collect();
    }
    let masks = (1..1u32 << (pairs - 1)).map(|mask| mask << 1);
    thinned(masks.map(|mask| (0..pairs).map(|pair| mask >> pair & 1 == 1).collect()).collect())
}

/// At most [`MOST`] of them, evenly spaced.
fn thinned<T>(all: Vec<T>) -> Vec<T> {
    let n = all.len();
    let is_kept = |index: usize| index * MOST / n != (index + 1) * MOST / n;
    let kept = all.into_iter().enumerate();
    kept.filter(|(index, _)| n <= MOST || is_kept(*index)).map(|(_, item)| item).collect()
}

/// Which of the changes found are confirmed, given their `p` in the observed division and in the others.
///
/// Confirmed are those up to the largest p at which the others find at most `rate` as many on average.
/// One more is counted than they find: nine other divisions, those of three runs per side, cannot show
/// that something is rarer than one in ten, so at least four changes have to be found there. This assumes
/// that false alarms come singly; where one disturbed run causes many at once, it shows in one of
/// many other divisions. Only `independent` of the others count as evidence; with none, nothing is
/// confirmed.
pub(super) fn confirmed(
    found: &[bool],
    p: &[f64],
    others: &[Vec<Option<f64>>],
    independent: usize,
    rate: f64,
) -> Vec<bool> {
    if independent == 0 || others.is_empty() {
        return vec![false; found.len()];
    }
    let mut cutoffs: Vec<f64> =
        found.iter().zip(p).filter(|(found, _)| **found).map(|(_, p)| *p).collect();
    cutoffs.sort_by(f64::total_cmp);
    let Some(&largest) = cutoffs.last() else { return found.to_vec() };
    let mut by_chance: Vec<f64> = others
        .iter()
        .flat_map(|others| others.iter().zip(found).filter(|(_, found)| !**found))
        .filter_map(|(p, _)| p.filter(|p| *p <= largest))
        .collect();
    by_chance.sort_by(f64::total_cmp);
    let is_rare = |(index, cutoff): &(usize, &f64)| {
        let found_in_each =
            by_chance.partition_point(|p| p <= *cutoff) as f64 / others.len() as f64;
        let n = independent as f64;
        (found_in_each * n + 1.0) / (n + 1.0) <= rate * (index + 1) as f64
    };
    let limit = cutoffs.iter().enumerate().rfind(is_rare);
    let limit = limit.map_or(f64::NEG_INFINITY, |(_, p)| *p);
    found.iter().zip(p).map(|(found, p)| *found && *p <= limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisions_are_all_others_once_and_keep_the_sides_sizes() {
        // C(6, 3)/2 − 1, C(5, 2) − 1, C(10, 5)/2 − 1, and as many as are tried
        for (before, after, expected) in
            [(3, 3, 9), (2, 3, 9), (5, 5, 125), (7, 7, 200), (9, 9, 200), (1, 16, 16), (2, 15, 135)]
        {
            let is_after = |run: usize| run >= before;
            let divisions = divisions(&(0..before + after).map(is_after).collect::<Vec<_>>());
            assert_eq!(divisions.len(), expected, "{before} and {after}");
            let distinct: HashSet<_> = divisions.iter().cloned().collect();
            assert_eq!(distinct.len(), expected);
            for [first, second] in divisions {
                assert_eq!((first.len(), second.len()), (before, after));
                let all: HashSet<usize> = first.into_iter().chain(second).collect();
                assert_eq!(all.len(), before + after);
            }
        }
        // 2⁴ − 1
        let exchanges = exchanges(5);
        assert_eq!(exchanges.len(), 15);
        assert!(
            exchanges.iter().all(|is_exchanged| !is_exchanged[0] && is_exchanged.contains(&true))
        );
    }

    #[test]
    fn the_divisions_of_swapped_sides_are_the_same_ones_swapped() {
        for (n, after) in [(14, 7), (9, 3), (20, 10), (20, 6)] {
            for seed in 0..5 {
                let mut runs: Vec<usize> = (0..n).collect();
                runs.sort_by_key(|run| random_bits(seed, *run as u64));
                let is_after: Vec<bool> = (0..n).map(|run| runs[run] < after).collect();
                let swapped: Vec<bool> = is_after.iter().map(|is| !is).collect();
                let mirrored = divisions(&swapped).into_iter().map(|[first, second]| {
                    // of two equal sides, that with the first run is always named first
                    if 2 * after == n { [first, second] } else { [second, first] }
                });
                assert_eq!(divisions(&is_after), mirrored.collect::<Vec<_>>());
                assert!(
                    !divisions(&is_after)
                        .iter()
                        .any(|[_, second]| { second.iter().all(|run| is_after[*run]) })
                );
            }
        }
    }

    #[test]
    fn what_other_divisions_find_as_often_is_not_confirmed() {
        let p = [1e-6, 1e-5, 0.4, 0.5];
        let found = [true, true, false, false];
        let never = vec![vec![Some(0.3); 4]; 99];
        assert_eq!(confirmed(&found, &p, &never, 99, 0.05), found);
        assert_eq!(confirmed(&found, &p, &never[..9], 9, 0.05), [true, true, false, false]);
        assert_eq!(confirmed(&found, &p, &never[..9], 9, 0.04), [false; 4]);
        let always = vec![vec![Some(0.3), Some(0.3), Some(2e-6), None]; 99];
        assert_eq!(confirmed(&found, &p, &always, 99, 0.05), [true, false, false, false]);
        assert_eq!(
            confirmed(&found, &p, &[], 0, 0.05),
            [false; 4],
            "two of none are no confirmation"
        );
        assert_eq!(confirmed(&[false; 4], &p, &never, 99, 0.05), [false; 4]);
    }
}
