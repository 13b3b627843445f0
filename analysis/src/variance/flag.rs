//! What a reviewer should know about a configuration, in plain words.

use alpha_flops::choice::choices;
use alpha_flops::units::Nanoseconds;
use serde::Serialize;

use super::ConfigurationVariance;
use super::interval::{Doubt, LEAST_LAUNCHES};

/// Something that a median and its quartiles hide.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flag {
    pub kind: FlagKind,
    /// `bimodal: 83% at 41.20 µs, 17% at 55.01 µs`.
    pub text: String,
}

choices! {
    /// Kinds of flags, in the order of tables and as their headings name them.
    #[derive(PartialOrd, Ord, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum FlagKind {
        /// More than one mode, at least [`MATERIAL_PERCENT`] apart.
        Bimodal = "bimodal",
        /// A trend with p under [`LEVEL`] of at least [`MATERIAL_PERCENT`] between quarters.
        Drift = "drifts",
        /// Launches are worth half as many independent ones or fewer, and those in a row correlate by
        /// more than 3/√n.
        Autocorrelated = "autocorr.",
        /// Not steady when launches began to count.
        Cold = "cold",
        /// Medians of passes are at least [`PASSES_DIFFER_PERCENT`] apart.
        PassesDiffer = "passes",
        /// A step of the clock is at least [`MATERIAL_PERCENT`] of the median.
        CoarseTimer = "timer",
        /// The median's interval is not to be trusted, though there are launches enough.
        Untrustworthy = "doubtful",
        /// There are too few launches to say.
        FewLaunches = "too few",
    }
}

/// Differences under this part of the median, in percent, are not reported: the precision that runs
/// stop at.
pub const MATERIAL_PERCENT: f64 = 0.5;

/// Medians of passes that are so far apart, in percent, are not of one state of the machine: launches
/// within a pass agree far better.
pub const PASSES_DIFFER_PERCENT: f64 = 10.0;

/// A trend is reported where chance alone makes one in 1,000 configurations.
pub const LEVEL: f64 = 0.001;

/// Everything to be said of a configuration.
pub(super) fn flags(of: &ConfigurationVariance) -> Vec<Flag> {
    let texts = [
        (FlagKind::Bimodal, bimodal(of)),
        (FlagKind::Drift, drift(of)),
        (FlagKind::Autocorrelated, autocorrelated(of)),
        (FlagKind::Cold, cold(of)),
        (FlagKind::PassesDiffer, passes_differ(of)),
        (FlagKind::CoarseTimer, coarse_timer(of)),
        (FlagKind::Untrustworthy, untrustworthy(of)),
        (FlagKind::FewLaunches, few_launches(of)),
    ];
    texts.into_iter().filter_map(|(kind, text)| Some(Flag { kind, text: text? })).collect()
}

fn bimodal(of: &ConfigurationVariance) -> Option<String> {
    let split = of.modes?.split.filter(|split| split.apart_percent() >= MATERIAL_PERCENT)?;
    let modes = [split.lower, split.upper]
        .map(|mode| format!("{:.0}% at {}", mode.share_percent, Nanoseconds(mode.at_ns)));
    Some(format!("bimodal: {}", modes.join(", ")))
}

fn drift(of: &ConfigurationVariance) -> Option<String> {
    let drift = of.drift?;
    let is_found = drift.p_value? < LEVEL && drift.quarters_percent.abs() >= MATERIAL_PERCENT;
    is_found.then(|| format!("drifts: {:+.1}% from first to last quarter", drift.quarters_percent))
}

fn autocorrelated(of: &ConfigurationVariance) -> Option<String> {
    let beyond_chance = of.sides_autocorrelation? > 3.0 / (of.launches as f64).sqrt();
    (beyond_chance && of.integrated_time_launches >= 2.0).then(|| {
        let (n, effective) = (with_commas(of.launches), of.effective_launches.round() as u64);
        let effective = with_commas(effective);
        format!("autocorrelated: {n} launches are worth {effective} independent ones")
    })
}

fn cold(of: &ConfigurationVariance) -> Option<String> {
    let first = of.warm_up.first.filter(|first| first.differ).map(|first| {
        let longer = if first.percent > 0.0 { "longer" } else { "less" };
        let (n, percent) = (first.launches, first.percent.abs());
        format!("the first {n} launches took {percent:.1}% {longer} than the rest")
    });
    let unsteady = (!of.warm_up.was_steady).then(|| {
        format!("latencies were not steady after {} warm-up launches", of.warm_up.launches)
    });
    let reasons: Vec<String> = unsteady.into_iter().chain(first).collect();
    (!reasons.is_empty()).then(|| format!("not warm: {}", reasons.join("; ")))
}

fn passes_differ(of: &ConfigurationVariance) -> Option<String> {
    let [fastest, slowest] = of.pass_medians_ns;
    let (passes, limit) = (of.passes, 1.0 + PASSES_DIFFER_PERCENT / 100.0);
    (slowest > limit * fastest).then(|| {
        let [fastest, slowest] = [fastest, slowest].map(Nanoseconds);
        format!("passes differ: medians of {passes} passes from {fastest} to {slowest}")
    })
}

fn coarse_timer(of: &ConfigurationVariance) -> Option<String> {
    (of.timer_step_percent >= MATERIAL_PERCENT).then(|| {
        let (step, percent) = (Nanoseconds(of.timer_step_ns), of.timer_step_percent);
        format!("timer too coarse: a step of {step} is {percent:.1}% of the median")
    })
}

fn untrustworthy(of: &ConfigurationVariance) -> Option<String> {
    let doubted = of.interval.is_some_and(|i| i.doubt == Some(Doubt::FewEffectiveLaunches));
    doubted.then(|| {
        let effective = (of.launches as f64 / of.longest_time_launches).round();
        let n = with_commas(of.launches);
        format!(
            "interval not trustworthy: {n} launches may be worth only {effective} independent \
                 ones"
        )
    })
}

fn few_launches(of: &ConfigurationVariance) -> Option<String> {
    if of.passes > 1 {
        return None;
    }
    (of.launches < LEAST_LAUNCHES as u64).then(|| {
        let what = if of.interval.is_some() { "interval not trustworthy" } else { "no interval" };
        match of.launches {
            1 => format!("{what}: a single launch"),
            n => format!("{what}: only {n} launches"),
        }
    })
}

/// `2,000`.
fn with_commas(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}
