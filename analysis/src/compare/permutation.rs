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

use super::estimate::{Contrasts, Design, Samples};
use super::grouping::LnMedians;
use crate::moderated_variance::Prior;

/// The most divisions that are tried.
const MOST: usize = 200;
/// With up to this many runs, all divisions are listed.
const LISTED: usize = 16;

/// The contrasts of other divisions of the same runs, or of other pairs of the history; none where there is
/// no other. Variances are shrunk towards the `prior` of the observed division, so that equal
/// differences have equal p values.
pub(super) fn permuted(samples: &Samples<'_>, prior: Option<Prior>) -> Vec<Contrasts> {
    let divided = |before: Vec<LnMedians>, after: Vec<LnMedians>| {
        Samples { before: &before, after: &after, ..*samples }.contrasts(prior)
    };
    let all: Vec<&LnMedians> = samples.before.iter().chain(samples.after).collect();
    let pick = |runs: &[usize]| runs.iter().map(|run| all[*run].clone()).collect();
    let pick_both = |divisions: Vec<[Vec<usize>; 2]>| {
        divisions.par_iter().map(|[before, after]| divided(pick(before), pick(after))).collect()
    };
    match samples.design {
        Design::WithinRuns(_) => Vec::new(),
        Design::Independent => pick_both(divisions(samples.before.len(), samples.after.len())),
        Design::Paired => pick_both(exchanges(samples.before.len())),
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
                Samples { before: &before, after: &after, design, ..*samples }.contrasts(prior)
            })
            .collect(),
    }
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

/// Every division of the runs other than the observed one: the numbers of the runs before and after.
pub(crate) fn divisions(before: usize, after: usize) -> Vec<[Vec<usize>; 2]> {
    let n = before + after;
    let divided = |is_before: &dyn Fn(usize) -> bool| {
        let (first, second) = (0..n).partition(|run| is_before(*run));
        [first, second]
    };
    if n > LISTED {
        return drawn(before, n);
    }
    let observed = (1u32 << before) - 1;
    // with two sides of one size, swapping them gives the same division
    let is_new = |mask: &u32| before != after || mask & 1 == 1;
    let masks = (0..1u32 << n).filter(|mask| mask.count_ones() as usize == before);
    let masks = masks.filter(|mask| *mask != observed).filter(is_new);
    thinned(masks.map(|mask| divided(&|run| mask >> run & 1 == 1)).collect())
}

/// A random selection of very many divisions, each once: never the observed one, nor that one swapped.
fn drawn(before: usize, n: usize) -> Vec<[Vec<usize>; 2]> {
    let mut seen = HashSet::from([(0..before).collect::<Vec<usize>>()]);
    if 2 * before == n {
        seen.insert((before..n).collect());
    }
    let mut divisions = Vec::new();
    // there are few of one run against many, and soon all are drawn
    for seed in 0..20 * MOST as u64 {
        let mut first: Vec<usize> = (0..n).collect();
        first.sort_by_key(|run| random_bits(seed, *run as u64));
        let mut second = first.split_off(before);
        first.sort_unstable();
        second.sort_unstable();
        if divisions.len() == MOST || !seen.insert(first.clone()) {
            continue;
        }
        if 2 * before == n {
            seen.insert(second.clone());
        }
        divisions.push([first, second]);
    }
    divisions
}

/// The same for paired runs: each division exchanges the runs of some pairs. The first pair is never
/// exchanged, because that would be another division with its sides swapped.
fn exchanges(pairs: usize) -> Vec<[Vec<usize>; 2]> {
    let exchanged = |is_exchanged: &dyn Fn(usize) -> bool| {
        let of = |side: usize| {
            (0..pairs)
                .map(|pair| {
                    if is_exchanged(pair) { pair + (1 - side) * pairs } else { pair + side * pairs }
                })
                .collect()
        };
        [of(0), of(1)]
    };
    if pairs > LISTED {
        let bit = |seed, pair: usize| pair > 0 && random_bits(seed, pair as u64) & 1 == 1;
        return (0..MOST as u64).map(|seed| exchanged(&|pair| bit(seed, pair))).collect();
    }
    let masks = (1..1u32 << (pairs - 1)).map(|mask| mask << 1);
    thinned(masks.map(|mask| exchanged(&|pair| mask >> pair & 1 == 1)).collect())
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
            let divisions = divisions(before, after);
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
        assert!(exchanges.iter().all(|[a, b]| a.iter().zip(b).all(|(a, b)| a % 5 == b % 5)));
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
