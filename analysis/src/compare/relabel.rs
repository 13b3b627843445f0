//! A check of the model by the data: what the same tests say of the same runs where sides mean nothing.
//!
//! Student's t takes what runs differ by as normal. Where a configuration is at one of two speeds in a
//! whole run, it is not: with many such configurations, in some the slow runs happen to be all on one
//! side, and t is sure. But then others are so in every other division of the runs into two sides, and
//! those divisions can be tried: Tusher, Tibshirani and Chu's estimate of the false discovery rate
//! (2001) is the mean number of configurations found in them, over the number found. Those found are
//! left out of the count, since their change would be taken for noise (Xie, Pan and Khodursky 2005).

use std::collections::HashSet;

use alpha_flops::random::random_bits;
use rayon::prelude::*;

use super::judge::{Contrasts, Design, Question};
use super::noise::{LnMedians, Prior};

/// Divisions that are tried at most.
const MOST: usize = 200;
/// Runs up to which all divisions are listed.
const LISTED: usize = 16;

impl Question<'_> {
    /// The contrasts of other divisions of the same runs, or of other pairs of the history; none where
    /// there is no other. Variances are shrunk towards the `prior` of the observed one: with another,
    /// p values of equal differences would differ.
    pub(super) fn relabelled(&self, prior: Option<Prior>) -> Vec<Contrasts> {
        let divided = |before: Vec<LnMedians>, after: Vec<LnMedians>| {
            Question { before: &before, after: &after, ..*self }.contrasts(prior)
        };
        let all: Vec<&LnMedians> = self.before.iter().chain(self.after).collect();
        let pick = |runs: &[usize]| runs.iter().map(|run| all[*run].clone()).collect();
        match self.design {
            Design::WithinRuns(_) => Vec::new(),
            Design::Independent => divisions(self.before.len(), self.after.len())
                .par_iter()
                .map(|[before, after]| divided(pick(before), pick(after)))
                .collect(),
            Design::Paired => exchanges(self.before.len())
                .par_iter()
                .map(|[before, after]| divided(pick(before), pick(after)))
                .collect(),
            Design::History(groups) => thinned(pairs(groups))
                .into_par_iter()
                .map(|(group, [a, b])| {
                    // judged by the others, as the two sides are: of a deviation that is part of the
                    // noise it is judged by, no p value can be small
                    let mut rest = groups.to_vec();
                    let mut index = 0..;
                    rest[group].retain(|_| index.next().is_none_or(|run| run != a && run != b));
                    let [before, after] = [a, b].map(|run| vec![groups[group][run].clone()]);
                    let design = Design::History(&rest);
                    Question { before: &before, after: &after, design, ..*self }.contrasts(prior)
                })
                .collect(),
        }
    }
}

/// How many independent ones the other divisions are worth: as many as they are, which is what makes a test
/// by relabelling exact; of a history, as many pairs as share no run.
pub(super) fn worth(design: Design<'_>, others: usize) -> usize {
    match design {
        Design::History(groups) => others.min(groups.iter().map(|runs| runs.len() / 2).sum()),
        _ => others,
    }
}

/// Every two runs of a group, by its number and theirs, where others remain.
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

/// Runs before and after, by number, in each division other than the observed one.
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
    // of two sides of a size, the other way round is the same division
    let is_new = |mask: &u32| before != after || mask & 1 == 1;
    let masks = (0..1u32 << n).filter(|mask| mask.count_ones() as usize == before);
    let masks = masks.filter(|mask| *mask != observed).filter(is_new);
    thinned(masks.map(|mask| divided(&|run| mask >> run & 1 == 1)).collect())
}

/// Some of very many, each once: neither the observed division nor the same one the other way round.
fn drawn(before: usize, n: usize) -> Vec<[Vec<usize>; 2]> {
    let mut seen = HashSet::from([(0..before).collect::<Vec<usize>>()]);
    if 2 * before == n {
        seen.insert((before..n).collect());
    }
    let mut divisions = Vec::new();
    // of one run against many there are few, which are soon all drawn
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

/// The same where each run after belongs to one before: in each, other pairs are exchanged. The first
/// never is, which would be another division the other way round.
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

/// At most [`MOST`], evenly chosen.
fn thinned<T>(all: Vec<T>) -> Vec<T> {
    let n = all.len();
    let is_kept = |index: usize| index * MOST / n != (index + 1) * MOST / n;
    let kept = all.into_iter().enumerate();
    kept.filter(|(index, _)| n <= MOST || is_kept(*index)).map(|(_, item)| item).collect()
}

/// Which of those found still are, with `p` of the observed division and of the others. Confirmed are
/// the ones up to the largest p for which the others find at most `rate` as many on average. One more
/// is counted than they find: the nine others of three runs a side cannot show that something is rarer
/// than one in ten, so with them at least four have to be found. That takes false alarms to come singly;
/// where one disturbed run makes many at once, it is another division of many that would show it. The
/// others are `worth` so many independent ones; by none, nothing is confirmed.
pub(super) fn confirmed(
    found: &[bool],
    p: &[f64],
    others: &[Vec<Option<f64>>],
    worth: usize,
    rate: f64,
) -> Vec<bool> {
    if worth == 0 || others.is_empty() {
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
        let worth = worth as f64;
        (found_in_each * worth + 1.0) / (worth + 1.0) <= rate * (index + 1) as f64
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
