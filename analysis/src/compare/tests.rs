use alpha_flops::statistics::{quantile, sorted};
use serde::Deserialize;

use super::contrast::{Contrast, benjamini_hochberg};
use super::estimate::{Design, Samples};
use super::grouping::{Grouping, LnMedians};
use super::hypothesis_tests::{Decision, Decisions, Levels, Verdict, test};
use super::run_noise::{Layout, RunNoise};
use super::run_variances::RunVariances;
use super::serial::Serial;
use super::within_run::Location;
use crate::fixtures::random::Random;
use crate::moderated_variance::trigamma;

mod generators;

use generators::{Own, Sides, Truth, blocks, few_or_all, turns};

#[derive(Deserialize)]
struct Golden {
    before: Vec<Vec<f64>>,
    after: Vec<Vec<f64>>,
    sizes: Vec<usize>,
    prior: [f64; 2],
    ln_ratio: Vec<f64>,
    df: Vec<f64>,
    p_different: Vec<f64>,
    p_equivalent: Vec<f64>,
    p_beyond: Vec<f64>,
    variance_ratio: f64,
    correlated: Vec<Vec<f64>>,
    serial: [f64; 2],
    spreads: Vec<[f64; 3]>,
    interval: Vec<[f64; 2]>,
    group_p: Vec<f64>,
    trigamma: Vec<[f64; 2]>,
    many_p: Vec<f64>,
    adjusted: Vec<f64>,
}

/// Written by tests/goldens/compare.py.
fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/goldens/compare.json")).unwrap()
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

fn runs(values: &[Vec<f64>]) -> Vec<LnMedians> {
    values.iter().map(|run| run.iter().copied().map(Some).collect()).collect()
}

/// Two experiments, the first of two series.
fn grouping(sizes: &[usize]) -> Grouping {
    let names = ["A", "B"].into_iter().zip(sizes);
    Grouping::new(names.flat_map(|(name, n)| std::iter::repeat_n((name, "only"), *n)))
}

fn ask(
    grouping: &Grouping,
    before: &[LnMedians],
    after: &[LnMedians],
    design: Design<'_>,
) -> Decisions {
    let floors = vec![1e-14; grouping.len()];
    let order: Vec<usize> = (0..before.len() + after.len()).collect();
    let samples = Samples { grouping, before, after, floors: &floors, order: &order, design };
    test(&samples, Levels { threshold: 0.02, false_discovery_rate: 0.05 })
}

#[test]
fn tests_between_runs_agree_with_scipy() {
    let golden = golden();
    let (before, after) = (runs(&golden.before), runs(&golden.after));
    let grouping = grouping(&golden.sizes);
    let answers = ask(&grouping, &before, &after, Design::Independent);
    let prior = answers.variances.as_ref().unwrap().prior;
    assert!(close(prior.value, golden.prior[0], 1e-9) && close(prior.df, golden.prior[1], 1e-7));
    for (index, answer) in answers.configurations.iter().enumerate() {
        let contrast = answer.contrast.unwrap();
        assert!(close(contrast.ln_ratio, golden.ln_ratio[index], 1e-9));
        assert!(close(contrast.df, golden.df[index], 1e-7));
        assert!(close(contrast.p_different(), golden.p_different[index], 1e-6), "{index}");
        let equivalent = contrast.p_equivalent(0.02f64.ln_1p());
        assert!(close(equivalent, golden.p_equivalent[index], 1e-6), "{index}");
        let beyond = contrast.p_beyond(0.02f64.ln_1p());
        assert!(close(beyond, golden.p_beyond[index], 1e-6), "{index}");
        let [low, high] = contrast.interval();
        assert!(close(low, golden.interval[index][0], 1e-8), "{index}");
        assert!(close(high, golden.interval[index][1], 1e-8), "{index}");
    }
    // the median of F is found by bisection
    assert!(close(answers.noise.variance_ratio, golden.variance_ratio, 1e-6));
    assert_eq!(answers.noise.serial, Serial::default());
    let groups: Vec<f64> =
        answers.groups.iter().map(|answer| answer.contrast.unwrap().p_different()).collect();
    assert_eq!(groups.len(), golden.group_p.len());
    assert!(groups.iter().zip(&golden.group_p).all(|(a, b)| close(*a, *b, 1e-8)), "{groups:?}");
    for index in [2, 13] {
        assert_eq!(answers.configurations[index].verdict, Verdict::Slower);
    }
}

#[test]
fn serial_correlation_drift_and_what_they_do_to_errors_agree_with_scipy() {
    let golden = golden();
    let runs = runs(&golden.correlated);
    let (before, after) = runs.split_at(6);
    let order: Vec<usize> = (0..12).collect();
    let found = Serial::estimate([before, after], &order, &|_| 1.0);
    // the search ends within a thousandth of its range
    assert!((found.correlation - golden.serial[0]).abs() < 5e-3, "{found:?}");
    assert!((found.drift.sqrt() - golden.serial[1].sqrt()).abs() < 0.1, "{found:?}");
    let spread = |correlation, drift, weights: Vec<f64>, is_after: &[bool]| {
        let of = |side| (0..is_after.len()).filter(|i| is_after[*i] == side).collect::<Vec<_>>();
        let serial = Serial { correlation, drift };
        RunNoise::with(weights, serial, is_after.len()).spread(&of(false), &of(true))
    };
    let mixed = [false, true, true, false, false, true, false, false];
    let weights = mixed.map(|is| if is { 3.0 } else { 1.0 / 3.0 }).to_vec();
    let spreads = [
        spread(0.5, 0.0, vec![1.0; 12], &blocks(6, 6)),
        spread(0.3, 4.0, vec![1.0; 12], &blocks(6, 6)),
        spread(0.6, 1.0, weights, &mixed),
    ];
    for (spread, golden) in spreads.into_iter().zip(golden.spreads) {
        assert!(close(spread.of_difference, golden[0], 1e-9), "{spread:?} for {golden:?}");
        assert!(close(spread.serial_inflation, golden[1], 1e-9), "{spread:?} for {golden:?}");
        assert!(close(spread.df_share, golden[2], 1e-9), "{spread:?} for {golden:?}");
    }
}

/// Share of pairs in which something is said of what is asked.
fn share(
    pairs: u64,
    truth: Truth,
    is_after: &[bool],
    factor: impl Fn(usize) -> f64,
    asked: impl Fn(&Decision) -> bool,
) -> f64 {
    let grouping = few_or_all(105);
    let floors = vec![0.0; grouping.len()];
    let said = (0..pairs).filter(|seed| {
        let sides = truth.sides(&grouping, is_after, &mut Random::new(*seed), &factor);
        let decisions = sides.test(&grouping, &floors, Design::Independent);
        decisions.configurations.iter().chain(&decisions.groups).any(&asked)
    });
    said.count() as f64 / pairs as f64
}

fn is_change(decision: &Decision) -> bool {
    decision.verdict.is_shown_change()
}

/// By so much 6% of 40 pairs are exceeded by chance once in a hundred times.
const LIMIT: f64 = 0.06 + 2.3 * 0.038;

#[test]
fn sides_measured_one_after_the_other_raise_no_alarm_where_runs_resemble_their_neighbours() {
    for truth in [
        Truth { correlation: 0.5, ..Truth::default() },
        Truth { own_drift: 0.01, ..Truth::default() },
    ] {
        for (pairs, is_after) in [(40, blocks(5, 5)), (10, blocks(10, 10))] {
            let alarms = share(pairs, truth, &is_after, |_| 1.0, is_change);
            assert!(alarms <= LIMIT, "{alarms} with {truth:?}, {} runs", is_after.len());
        }
    }
}

#[test]
fn a_side_that_is_noisier_raises_no_alarm() {
    let truth = Truth { after_times: 3.0, ..Truth::default() };
    for (before, after) in [(10, 3), (3, 10), (8, 2), (5, 5)] {
        let alarms = share(30, truth, &blocks(before, after), |_| 1.0, is_change);
        assert!(alarms <= LIMIT, "{alarms} in {before} v {after}");
    }
}

#[test]
fn only_changes_that_significantly_exceed_the_threshold_are_beyond_it() {
    let is_regression = |d: &Decision| d.beyond && d.verdict == Verdict::Slower;
    let of = |pairs, by: f64, few: bool| {
        let factor = move |i: usize| if few && i % 50 != 7 { 1.0 } else { 1.0 + by };
        share(pairs, Truth::default(), &turns(5), factor, is_regression)
    };
    // noise of 0.5% measures half of the first ones, or none of them, beyond 2%
    assert!(of(12, 0.01, false) <= LIMIT);
    assert!(of(12, 0.015, true) <= LIMIT);
    assert!(of(6, 0.05, true) >= 0.75);
    assert!(of(6, 0.1, true) >= 0.95);
}

#[test]
fn no_verdict_depends_on_the_order_of_runs_and_swapped_sides_mirror_it() {
    let grouping = few_or_all(42);
    let floors = vec![0.0; grouping.len()];
    let truth = Truth { own: Own::TwoSpeeds(0.5), ..Truth::default() };
    let verdicts = |sides: &Sides| -> Vec<Verdict> {
        let decisions = sides.test(&grouping, &floors, Design::Independent);
        decisions.configurations.iter().chain(&decisions.groups).map(|d| d.verdict).collect()
    };
    let mut changes = 0;
    for seed in 0..9 {
        let mut random = Random::new(seed);
        let is_after = if seed % 3 == 0 { blocks(6, 4) } else { turns(7) };
        let sides = truth.sides(&grouping, &is_after, &mut random, |i| 1.0 + 0.01 * (i % 8) as f64);
        let expected = verdicts(&sides);
        changes += expected.iter().filter(|verdict| verdict.is_change()).count();
        let Sides { before, after, order } = &sides;
        let n = before.len();
        let reversed = |runs: &[LnMedians]| runs.iter().rev().cloned().collect::<Vec<_>>();
        let other = Sides {
            before: reversed(before),
            after: reversed(after),
            order: order[..n].iter().rev().chain(order[n..].iter().rev()).copied().collect(),
        };
        assert_eq!(verdicts(&other), expected, "{seed}");
        let swapped = Sides {
            before: after.clone(),
            after: before.clone(),
            order: order[n..].iter().chain(&order[..n]).copied().collect(),
        };
        let mirrored = verdicts(&swapped).into_iter().map(|verdict| match verdict {
            Verdict::Slower => Verdict::Faster,
            Verdict::Faster => Verdict::Slower,
            other => other,
        });
        assert_eq!(mirrored.collect::<Vec<_>>(), expected, "{seed}");
    }
    assert!(changes > 20, "{changes} changes to depend on an order");
}

#[test]
fn one_run_against_one_or_several_names_few_candidates_and_nothing_more() {
    let grouping = few_or_all(210);
    let floors = vec![0.0; grouping.len()];
    let se = vec![Some(1e-4); grouping.len()];
    let named = |before: usize, after: usize, truth: Truth, by: f64| -> (f64, f64) {
        let (mut right, mut wrong) = (0, 0);
        for seed in 0..10 {
            let is_after = blocks(before, after);
            let is_slowed = |i: usize| by > 0.0 && i % 50 == 7;
            let factor = |i: usize| if is_slowed(i) { 1.0 + by } else { 1.0 };
            let sides = truth.sides(&grouping, &is_after, &mut Random::new(seed), factor);
            let within = Design::WithinRuns([&se, &se]);
            let design = if before + after == 2 { within } else { Design::Independent };
            let decisions = sides.test(&grouping, &floors, design);
            assert!(!decisions.configurations.iter().chain(&decisions.groups).any(is_change));
            for (index, decision) in decisions.configurations.iter().enumerate() {
                match (decision.verdict.is_change(), is_slowed(index)) {
                    (true, true) => right += 1,
                    (true, false) => wrong += 1,
                    (false, _) => {}
                }
            }
        }
        // four of 210 are slowed
        (f64::from(right) / 40.0, f64::from(wrong) / 2060.0)
    };
    let lognormal = Truth { own: Own::Lognormal, ..Truth::default() };
    let disturbed = Truth { disturbed: 0.2, ..Truth::default() };
    for (before, after) in [(1, 1), (1, 5), (5, 1)] {
        for truth in [Truth::default(), lognormal, disturbed] {
            let (_, wrong) = named(before, after, truth, 0.0);
            assert!(wrong <= 0.02, "{wrong} in {before} v {after} of {truth:?}");
        }
        let (right, _) = named(before, after, Truth::default(), 0.1);
        assert!(right >= 0.9, "{right} in {before} v {after}");
    }
}

#[test]
fn a_clock_with_steps_makes_no_change_beyond_the_threshold() {
    // 4 to 40 µs by a clock of 0.5 µs, as launches are read, and as their medians are
    let grouping = few_or_all(70);
    let median_ns = |index: usize| 4000.0 * 10f64.powf(index as f64 / 69.0);
    let compared = |by: f64, of_launches: bool, seed: u64| {
        let mut random = Random::new(seed);
        let mut floors = vec![0.0f64; 70];
        let mut runs: Vec<LnMedians> = vec![vec![None; 70]; 6];
        for (run, index) in (0..6).flat_map(|run| (0..70).map(move |index| (run, index))) {
            let factor = if run < 3 { 1.0 } else { 1.0 + by };
            let of_run = median_ns(index) * factor * (0.002 * random.normal()).exp();
            let read = |random: &mut Random| {
                let start = 500.0 * random.uniform();
                500.0 * ((start + of_run * (0.02 * random.normal()).exp()) / 500.0).floor()
            };
            let launches: Vec<f64> = (0..60).map(|_| read(&mut random)).collect();
            let launches = sorted(&launches);
            let location = match of_launches {
                true => Location::of_launches(&launches, 500.0).unwrap(),
                false => Location::of_median(quantile(&launches, 0.5), 500.0),
            };
            floors[index] = floors[index].max(location.rounding);
            runs[run][index] = Some(location.ns.ln());
        }
        let (before, after) = runs.split_at(3);
        let sides =
            Sides { before: before.to_vec(), after: after.to_vec(), order: (0..6).collect() };
        sides.test(&grouping, &floors, Design::Independent)
    };
    for seed in 0..6 {
        for (by, of_launches) in [(0.004, true), (0.01, true), (0.004, false), (0.01, false)] {
            let decisions = compared(by, of_launches, seed);
            let all = || decisions.configurations.iter().chain(&decisions.groups);
            assert!(!all().any(|d| d.beyond), "{by}, {of_launches}, {seed}");
        }
        let found = compared(0.06, true, seed);
        let slower = found.configurations.iter().filter(|d| d.verdict == Verdict::Slower);
        assert!(slower.count() > 40, "means of launches show what medians hide");
    }
}

#[test]
fn runs_follow_each_other_in_blocks_in_turns_or_neither() {
    let layout = |is_after: &[bool]| {
        let of = |side| (0..is_after.len()).filter(move |i| is_after[*i] == side);
        let order: Vec<usize> = of(false).chain(of(true)).collect();
        Layout::new(of(false).count(), &order)
    };
    assert_eq!(layout(&blocks(2, 2)), Layout::Blocks);
    assert_eq!(layout(&blocks(1, 5)), Layout::Blocks);
    assert_eq!(layout(&turns(5)), Layout::Turns);
    assert_eq!(layout(&[false, true, false, true]), Layout::Turns);
    assert_eq!(layout(&[false, true, true, true, false]), Layout::Mixed);
}

#[test]
fn trigamma_and_false_discovery_rates_agree_with_scipy() {
    let golden = golden();
    for [x, value] in golden.trigamma {
        assert!(close(trigamma(x), value, 1e-10), "{x}: {} for {value}", trigamma(x));
    }
    for rate in [0.01, 0.05, 0.2, 0.5] {
        let expected: Vec<bool> = golden.adjusted.iter().map(|p| *p <= rate).collect();
        assert_eq!(benjamini_hochberg(&golden.many_p, rate), expected);
    }
    assert!(benjamini_hochberg(&[], 0.05).is_empty());
}

#[test]
fn a_contrast_of_known_error_is_normal() {
    // scipy.stats.norm.sf(1.96) * 2
    let contrast = Contrast { ln_ratio: -0.0196, se: 0.01, df: f64::INFINITY };
    assert!(close(contrast.p_different(), 0.049_995_790_296_440_87, 1e-9));
}

/// Runs whose configurations differ by 0.5%, and by `common` together.
fn random_runs(random: &mut Random, n: usize, grouping: &Grouping, common: f64) -> Vec<LnMedians> {
    let run = |_| {
        let shared: Vec<f64> =
            (0..grouping.experiments()).map(|_| common * random.normal()).collect();
        (0..grouping.len())
            .map(|i| Some(10.0 + shared[grouping.experiment_of(i)] + 0.005 * random.normal()))
            .collect()
    };
    (0..n).map(run).collect()
}

/// In how many pairs without any change something is called changed.
fn alarms(pairs: u32, seed: u64, mut judged: impl FnMut(&mut Random) -> Decisions) -> u32 {
    let mut random = Random::new(seed);
    let mut is_alarmed = || {
        let answers = judged(&mut random);
        answers.configurations.iter().chain(&answers.groups).any(is_change)
    };
    (0..pairs).map(|_| u32::from(is_alarmed())).sum()
}

/// Share of pairs without any change in which something is called changed.
fn false_alarms(pairs: u32, common: f64, runs: usize, design: Design<'_>) -> f64 {
    let grouping = grouping(&[100, 60]);
    let alarms = alarms(pairs, 5, |random| {
        let [before, after] = [(); 2].map(|()| random_runs(random, runs, &grouping, common));
        ask(&grouping, &before, &after, design)
    });
    f64::from(alarms) / f64::from(pairs)
}

#[test]
fn without_a_change_few_pairs_raise_any_alarm_whatever_runs_share() {
    // 5% is promised; 400 pairs have a standard error of 1.1%
    for (common, runs) in [(0.0, 5), (0.002, 3), (0.02, 5), (0.02, 2)] {
        let rate = false_alarms(400, common, runs, Design::Independent);
        assert!(rate <= 0.05 + 2.5 * 0.011, "{rate} with {common}, {runs} runs");
    }
    let rate = false_alarms(400, 0.02, 4, Design::Paired);
    assert!(rate <= 0.05 + 2.5 * 0.011, "{rate} paired");
}

#[test]
fn slowdowns_are_found_in_single_configurations_and_small_ones_in_a_whole_group() {
    let grouping = grouping(&[100, 60]);
    let mut random = Random::new(6);
    let before = random_runs(&mut random, 5, &grouping, 0.0);
    let mut after = random_runs(&mut random, 5, &grouping, 0.0);
    for run in &mut after {
        run[7] = run[7].map(|ln| ln + 0.05);
        for ln in run[100..].iter_mut().flatten() {
            *ln += 0.003;
        }
    }
    let answers = ask(&grouping, &before, &after, Design::Independent);
    assert_eq!(answers.configurations[7].verdict, Verdict::Slower);
    let same = answers.configurations.iter().filter(|a| a.verdict == Verdict::Same).count();
    assert!(same > 140, "{same}");
    let of = |name: &str| {
        let group = grouping.groups().iter().position(|g| g.experiment == name).unwrap();
        answers.groups[group].verdict
    };
    assert_eq!(of("B"), Verdict::Slower);
}

#[test]
fn one_run_a_side_is_judged_by_history_and_gives_only_candidates_without() {
    let grouping = grouping(&[100, 60]);
    let mut random = Random::new(8);
    let history = [
        random_runs(&mut random, 10, &grouping, 0.001),
        random_runs(&mut random, 3, &grouping, 0.001),
    ];
    let before = random_runs(&mut random, 1, &grouping, 0.001);
    let mut after = random_runs(&mut random, 1, &grouping, 0.001);
    for ln in after[0][3..13].iter_mut().flatten() {
        *ln += 0.2;
    }
    let judged = ask(&grouping, &before, &after, Design::History(&history));
    assert_eq!(judged.configurations[3].verdict, Verdict::Slower);
    let few = ask(&grouping, &before, &after, Design::History(&history[1..]));
    let unconfirmed = few.configurations[3].verdict;
    assert_eq!(unconfirmed, Verdict::CandidateSlower, "three runs cannot confirm ten");
    let se = vec![Some(1e-4); grouping.len()];
    let guessed = ask(&grouping, &before, &after, Design::WithinRuns([&se, &se]));
    assert_eq!(guessed.configurations[3].verdict, Verdict::CandidateSlower);
    let all = guessed.configurations.iter().chain(&guessed.groups);
    assert!(all.clone().all(|a| !a.verdict.is_shown_change() && a.verdict != Verdict::Same));
}

#[test]
fn configurations_at_one_of_two_speeds_a_run_raise_no_alarm() {
    // in 7% of them the three runs of a side happen to be the slow ones
    let grouping = grouping(&[100, 60]);
    let alarms = alarms(100, 10, |random| {
        let mut sides = [(); 2].map(|()| random_runs(random, 3, &grouping, 0.001));
        for ln in sides.iter_mut().flatten().flatten().flatten() {
            *ln += if random.normal() > 0.0 { 0.3 } else { 0.0 };
        }
        ask(&grouping, &sides[0], &sides[1], Design::Independent)
    });
    assert!(alarms <= 5, "{alarms} of 100");
}

#[test]
fn runs_that_are_slow_now_and_then_raise_no_alarm_by_a_history_of_quiet_ones() {
    // one run in eight takes 30% longer in one experiment, as when another program has a core
    let grouping = grouping(&[100, 60]);
    let alarms = alarms(100, 11, |random| {
        let mut runs = random_runs(random, 10, &grouping, 0.001);
        for run in &mut runs {
            if random.normal() > 1.15 {
                run[..100].iter_mut().flatten().for_each(|ln| *ln += 0.3);
            }
        }
        let after = vec![runs.remove(0)];
        let before = vec![runs.remove(0)];
        ask(&grouping, &before, &after, Design::History(&[runs]))
    });
    assert!(alarms <= 10, "{alarms} of 100");
}

#[test]
fn missing_measurements_leave_the_others_alone_and_make_no_verdicts() {
    let grouping = grouping(&[10, 10]);
    let mut random = Random::new(9);
    let [mut before, mut after] = [(); 2].map(|()| random_runs(&mut random, 3, &grouping, 0.001));
    before[0][0] = None;
    for run in &mut after {
        run[1] = None;
    }
    let answers = ask(&grouping, &before, &after, Design::Independent);
    assert!(answers.configurations[0].contrast.is_some());
    assert_eq!(answers.configurations[1].contrast, None);
    assert_eq!(answers.configurations[1].verdict, Verdict::Undecided);
    assert!(answers.groups.iter().all(|answer| answer.contrast.is_some()));
    let nothing =
        RunVariances::estimate(&[(&before[..1], vec![1.0])], &grouping, &[1e-9; 20], None);
    assert_eq!(nothing, None);
}

#[test]
fn equal_medians_are_the_same_within_the_clocks_resolution() {
    let grouping = grouping(&[10, 10]);
    let run: LnMedians = vec![Some(9.0); 20];
    let answers =
        ask(&grouping, &[run.clone(), run.clone()], &[run.clone(), run], Design::Independent);
    assert!(answers.configurations.iter().all(|answer| answer.verdict == Verdict::Same));
}
