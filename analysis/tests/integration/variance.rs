//! The variance of made-up runs on disk, golden values of its statistics, and coverage in small.

use std::fs;
use std::path::{Path, PathBuf};

use alpha_flops::protocol::Profile;
use alpha_flops::statistics::{median_interval_ranks, quantile, sorted};
use alpha_flops_analysis::plot;
use alpha_flops_analysis::run::Run;
use alpha_flops_analysis::variance::components::{RunMedian, Squares};
use alpha_flops_analysis::variance::dependence::{Dependence, autocorrelation};
use alpha_flops_analysis::variance::drift::{mann_kendall, theil_sen};
use alpha_flops_analysis::variance::flag::FlagKind;
use alpha_flops_analysis::variance::interval::median_interval;
use alpha_flops_analysis::variance::modes::dip;
use alpha_flops_analysis::variance::{Variance, VarianceError};
use proptest::prelude::*;
use serde::Deserialize;

use crate::fixtures::assert_close;
use crate::fixtures::launches::{Coverage, Launches, SCENARIOS};
use crate::fixtures::random::Random;
use crate::fixtures::runs;

#[derive(Deserialize)]
struct Goldens {
    samples: Vec<Sample>,
    designs: Vec<Design>,
}

#[derive(Deserialize)]
struct Sample {
    name: String,
    values: Vec<f64>,
    autocorrelation: Vec<f64>,
    dip: f64,
    theil_sen: f64,
    mann_kendall: f64,
}

#[derive(Deserialize)]
struct Design {
    runs: Vec<(u64, f64, f64)>,
    orders: f64,
    within_orders: f64,
    within: f64,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../goldens/variance.json")).unwrap()
}

#[test]
fn statistics_agree_with_statsmodels_diptest_and_scipy() {
    for sample in goldens().samples {
        let Sample { name, values, .. } = &sample;
        for (lag, expected) in (1..).zip(&sample.autocorrelation) {
            let found = autocorrelation(values, lag).unwrap();
            assert_close(found, *expected, &format!("{name}: autocorrelation at {lag}"));
        }
        assert_close(dip(&sorted(values)), sample.dip, &format!("{name}: dip"));
        assert_close(theil_sen(values).unwrap(), sample.theil_sen, &format!("{name}: Theil–Sen"));
        let found = mann_kendall(values);
        assert_close(found, sample.mann_kendall, &format!("{name}: Mann–Kendall"));
    }
}

#[test]
fn components_agree_with_the_formulas_written_out_in_numpy() {
    for design in goldens().designs {
        let medians: Vec<RunMedian> = design
            .runs
            .iter()
            .map(|&(seed, ln_median, squared_error)| RunMedian { seed, ln_median, squared_error })
            .collect();
        let found = Squares::from_medians(&medians).components().unwrap();
        let (orders, runs) = (found.orders.unwrap(), found.runs.unwrap());
        let all =
            [(orders, design.orders), (runs, design.within_orders), (found.within, design.within)];
        for (component, expected) in all {
            assert_eq!(component.truncated, expected < 0.0);
            assert!((component.variance - expected.max(0.0)).abs() <= 1e-12, "{component:?}");
        }
        assert_eq!(found.orders_and_runs, None);
    }
}

#[test]
fn orders_and_runs_are_told_apart_only_where_seeds_repeat() {
    let of = |seeds: &[u64]| {
        let run = |(i, seed): (usize, &u64)| RunMedian {
            seed: *seed,
            ln_median: i as f64 * 0.01,
            squared_error: 1e-6,
        };
        Squares::from_medians(&seeds.iter().enumerate().map(run).collect::<Vec<_>>()).components()
    };
    let parts =
        |seeds| of(seeds).map(|c| [c.orders, c.runs, c.orders_and_runs].map(|c| c.is_some()));
    assert_eq!(parts(&[1, 2, 1]), Some([true, true, false]));
    assert_eq!(parts(&[1, 2, 3]), Some([false, false, true]));
    assert_eq!(parts(&[1, 1, 1]), Some([false, true, false]));
    assert_eq!(parts(&[1]), None);
}

#[test]
fn intervals_without_a_doubt_cover_what_they_should() {
    // the last keeps to a mode for longer than most of these runs: what was not seen cannot be told
    for (name, launches) in &SCENARIOS[..SCENARIOS.len() - 1] {
        for (n, samples) in [(20, 20), (200, 80), (2000, 10)] {
            let found = Coverage::of(*launches, n, samples, 7);
            // four standard deviations above the 8% that may be wrong
            let allowed =
                |of: u32| 0.08 * f64::from(of) + 4.0 * (f64::from(of) * 0.08 * 0.92).sqrt();
            let wrong = f64::from(found.unmarked - found.unmarked_held);
            assert!(wrong <= allowed(found.all), "{name}, {n} launches: {found:?}");
            // where few are trusted, these are those that chance makes look better than they are
            if found.unmarked * 10 >= found.all {
                assert!(wrong <= allowed(found.unmarked), "{name}, {n} launches: {found:?}");
            }
            assert!(n > 20 || found.unmarked == 0, "{name}: too few to know");
        }
    }
    let certain = Coverage::of(Launches::Autoregressive(0.0), 300, 50, 3);
    assert!(certain.unmarked > 45, "independent launches are trusted: {certain:?}");
}

fn write_run(runs: &Path, seed: u64, launches: &[Vec<f64>]) -> PathBuf {
    runs::write_run(runs, Profile::Paper, seed, launches)
}

fn variance(runs: &[PathBuf]) -> Result<Variance, VarianceError> {
    let records: Vec<Run> = runs.iter().map(|path| Run::open(path).unwrap()).collect();
    Variance::from_records(&records)
}

/// One configuration of each kind that is worth a flag, and others that are not.
fn conspicuous() -> Vec<Vec<f64>> {
    let mut random = Random::new(11);
    let mut draw = |launches: Launches, n| launches.draw(n, &mut random);
    let mut cold = draw(Launches::Autoregressive(0.0), 1000);
    cold[..50].iter_mut().for_each(|ns| *ns *= 1.3);
    vec![
        draw(Launches::Autoregressive(0.0), 1000),
        draw(Launches::Bimodal(0.0), 1000),
        draw(Launches::Drifting(0.03), 1000),
        draw(Launches::Autoregressive(0.9), 1000),
        draw(Launches::Autoregressive(0.95), 300),
        cold,
        draw(Launches::Autoregressive(0.0), 1000)
            .iter()
            .map(|ns| (ns / 1e3).round() * 10.0)
            .collect(),
        draw(Launches::Autoregressive(0.0), 20),
        vec![500.0],
        vec![5e3; 200],
        Vec::new(),
    ]
}

#[test]
fn what_is_conspicuous_is_flagged_and_nothing_else() {
    let runs = tempfile::tempdir().unwrap();
    let found = variance(&[write_run(runs.path(), 1, &conspicuous())]).unwrap();
    let kinds: Vec<Vec<FlagKind>> = found.runs[0]
        .configurations
        .iter()
        .map(|of| of.flags.iter().map(|flag| flag.kind).collect())
        .collect();
    use FlagKind::*;
    let expected: [&[FlagKind]; 10] = [
        &[],
        &[Bimodal],
        &[Drift, Autocorrelated, Untrustworthy],
        &[Autocorrelated, Untrustworthy],
        &[Autocorrelated, Untrustworthy],
        &[Cold, Untrustworthy],
        &[CoarseTimer],
        &[FewLaunches],
        &[CoarseTimer, FewLaunches],
        &[],
    ];
    for (index, (found, expected)) in kinds.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "configuration {index}");
    }
    assert_eq!((kinds.len(), found.runs[0].not_measured), (10, 1));
}

#[test]
fn the_summary_says_what_was_found_where() {
    let runs = tempfile::tempdir().unwrap();
    let found = variance(&[write_run(runs.path(), 1, &conspicuous())]).unwrap();
    let text = found.summary().replace(&found.runs[0].run, "RUN");
    insta::assert_snapshot!(text);
}

#[test]
fn several_runs_are_taken_apart_into_components() {
    let runs = tempfile::tempdir().unwrap();
    let folders: Vec<PathBuf> = [(1, 1.0), (2, 1.1), (1, 1.02), (2, 1.08)]
        .into_iter()
        .map(|(seed, slower)| {
            let mut random = Random::new(seed);
            let launches = Launches::Autoregressive(0.0).draw(500, &mut random);
            write_run(runs.path(), seed, &[launches.iter().map(|ns| ns * slower).collect()])
        })
        .collect();
    let found = variance(&folders).unwrap();
    let mut text = found.summary();
    for (run, name) in found.runs.iter().zip(["FIRST", "SECOND", "THIRD", "FOURTH"]) {
        text = text.replace(&run.run, name);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn no_number_is_missing_its_meaning_in_json_and_csv() {
    let runs = tempfile::tempdir().unwrap();
    let found = variance(&[write_run(runs.path(), 1, &conspicuous())]).unwrap();
    let csv = found.csv_table().to_csv();
    assert!(!csv.contains("NaN") && !csv.contains("inf"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 10);
    let json = serde_json::to_value(&found).unwrap();
    let single = &json["runs"][0]["configurations"][8];
    assert_eq!((single["median_ns"].as_f64(), &single["interval"]), (Some(500.0), &json["none"]));
    let equal = &json["runs"][0]["configurations"][9];
    assert_eq!(equal["autocorrelation"], json["none"]);
    assert_eq!(equal["interval"]["low_ns"], 5e3);
    for figure in plot::variance::figures(&found) {
        let svg = plot::draw::svg(&figure).unwrap();
        assert!(!svg.contains("NaN"), "{}", figure.name);
    }
}

#[test]
fn records_that_cannot_be_used_say_why() {
    let runs = tempfile::tempdir().unwrap();
    let good = write_run(runs.path(), 1, &[vec![1e3; 20], vec![1e3; 20]]);
    let message = |runs: &[PathBuf]| variance(runs).unwrap_err().to_string();
    assert!(message(&[]).contains("at least one run"));
    let twice = message(&[good.clone(), good.clone()]);
    assert!(twice.contains("given twice"), "{twice}");
    let nothing = message(&[write_run(runs.path(), 1, &[Vec::new(), Vec::new()])]);
    assert!(nothing.contains("none of 2 configurations was measured"), "{nothing}");
    let other = write_run(runs.path(), 1, &[vec![1e3; 20]]);
    let header = fs::read_to_string(other.join("run.json")).unwrap();
    fs::write(
        other.join("run.json"),
        header.replace("A processor", "Another").replace("checksum", "none"),
    )
    .unwrap();
    let differs = message(&[good.clone(), other]);
    assert!(differs.contains("device `A processor") && differs.contains("`Another"), "{differs}");
    let launches = good.join("launches.parquet");
    let bytes = fs::read(&launches).unwrap();
    fs::write(&launches, &bytes[..bytes.len() / 2]).unwrap();
    let cut = message(std::slice::from_ref(&good));
    assert!(cut.contains("launches.parquet") && cut.contains("damaged"), "{cut}");
    fs::remove_file(launches).unwrap();
    assert!(message(&[good]).contains("launches.parquet"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_dip_is_the_same_whatever_the_unit_and_between_its_bounds(
        values in prop::collection::vec(1u32..400, 1..120)
    ) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let n = values.len() as f64;
        let found = dip(&sorted(&values));
        prop_assert!((0.5 / n..=0.25 + 0.5 / n).contains(&found), "{}", found);
        let scaled: Vec<f64> = values.iter().map(|value| 1e6 - value * 1024.0).collect();
        prop_assert!((dip(&sorted(&scaled)) - found).abs() < 1e-9, "mirrored and scaled");
    }

    #[test]
    fn intervals_lie_around_the_median_and_are_no_narrower_than_of_independent_launches(
        values in prop::collection::vec(1.0f64..1e9, 6..300)
    ) {
        let ordered = sorted(&values);
        let found = median_interval(&ordered, &Dependence::new(&values, &ordered)).unwrap();
        let (low, high) = median_interval_ranks(ordered.len()).unwrap();
        let median = quantile(&ordered, 0.5);
        prop_assert!(ordered[low] <= median && median <= ordered[high]);
        prop_assert!(found.low_ns <= ordered[low] && ordered[high] <= found.high_ns);
    }
}

/// Launches of five passes, whose medians scatter around 100 µs by `deviation` while the launches of
/// each agree to 0.2%.
fn five_passes(deviation: f64, random: &mut Random) -> Vec<Vec<f64>> {
    let mut pass = || {
        let median_ns = 1e5 * (deviation * random.normal()).exp();
        (0..30).map(|_| median_ns * (0.002 * random.normal()).exp()).collect()
    };
    (0..5).map(|_| pass()).collect()
}

#[test]
fn intervals_from_passes_cover_the_median_where_launches_of_a_pass_share_a_state() {
    let (mut random, mut intervals, mut covering) = (Random::new(5), 0, 0);
    for seed in 0..12 {
        let runs = tempfile::tempdir().unwrap();
        let launches: Vec<_> = (0..20).map(|_| five_passes(0.03, &mut random)).collect();
        let run = runs::write_run_in_passes(runs.path(), Profile::Paper, seed, &launches);
        for of in &variance(&[run]).unwrap().runs[0].configurations {
            let interval = of.interval.unwrap();
            assert_eq!((of.passes, interval.doubt), (5, None));
            intervals += 1;
            covering += usize::from(interval.low_ns <= 1e5 && 1e5 <= interval.high_ns);
        }
    }
    // 95% of 240, less three standard deviations; intervals by launches alone would be 30 times too
    // narrow
    assert!(intervals == 240 && covering >= 218, "{covering} of {intervals}");
}

#[test]
fn passes_at_two_speeds_are_flagged_and_neither_drift_nor_few_launches_are() {
    let mut random = Random::new(6);
    let mut two_speeds = five_passes(0.001, &mut random);
    two_speeds[3].iter_mut().for_each(|ns| *ns *= 1.8);
    let mut launches: Vec<_> = (0..9).map(|_| five_passes(0.001, &mut random)).collect();
    launches.push(two_speeds);
    let runs = tempfile::tempdir().unwrap();
    let run = runs::write_run_in_passes(runs.path(), Profile::Paper, 1, &launches);
    let found = variance(&[run]).unwrap();
    let (last, others) = found.runs[0].configurations.split_last().unwrap();
    assert!(others.iter().all(|of| of.flags.is_empty()), "{others:?}");
    // one pass in five moves the robust mean by less than a percent
    assert!((last.median_ns / 1e5 - 1.0).abs() < 0.01, "{}", last.median_ns);
    assert!(last.has(FlagKind::PassesDiffer) && !last.has(FlagKind::Drift), "{:?}", last.flags);
    let text = &last.flags.iter().find(|flag| flag.kind == FlagKind::PassesDiffer).unwrap().text;
    assert!(
        text.starts_with("passes differ: medians of 5 passes from 99.") || text.contains("100.")
    );
}
