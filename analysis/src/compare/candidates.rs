//! How much two single runs differ, judged by how the configurations' ratios scatter: for candidates.
//!
//! Where nothing else tells how runs differ, most configurations are taken as unchanged, and their ratios as
//! the noise (an empirical null, Efron 2004): Student's t through the median and the 90% quantile of |ln
//! ratio|, not about their centre but about 0, because a run that is slower in everything may as well have
//! been disturbed. If more than a tenth of the configurations changed, few candidates or none are named.

use alpha_flops::statistics::{quantile, sorted};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::contrast::Contrast;
use super::grouping::Grouping;

/// The heaviest tails, those of Cauchy's distribution, and nearly normal ones.
const DF: [f64; 2] = [1.0, 100.0];

/// Makes no error smaller than what ratios scatter by.
pub(super) fn widen(configurations: &mut [Option<Contrast>]) {
    let sizes: Vec<f64> = configurations.iter().flatten().map(|c| c.ln_ratio.abs()).collect();
    let sizes = sorted(&sizes);
    let [half, most] = [0.5, 0.9].map(|p| quantile(&sizes, p));
    let quantiles = |df: f64| {
        let t = StudentsT::new(0.0, 1.0, df);
        t.map_or([f64::NAN; 2], |t| [t.inverse_cdf(0.75), t.inverse_cdf(0.95)])
    };
    let ratio = |df: f64| quantiles(df)[1] / quantiles(df)[0];
    // the ratio of the quantiles falls with the degrees of freedom
    let [mut low, mut high] = DF;
    for _ in 0..30 {
        let middle = (low * high).sqrt();
        if ratio(middle) * half > most { low = middle } else { high = middle }
    }
    let df = high;
    let scale = half / quantiles(df)[0];
    for contrast in configurations.iter_mut().flatten().filter(|c| c.se <= scale) {
        *contrast = Contrast { se: scale, df: df.min(contrast.df), ..*contrast };
    }
}

/// Adds to the variance of each group what whole experiments scatter by, about 0.
pub(super) fn widen_groups(groups: &mut [Option<Contrast>], grouping: &Grouping) {
    let is_experiment =
        |group: &super::grouping::Group| group.series.is_none() && group.experiment != "all";
    let ratios: Vec<f64> = groups
        .iter()
        .zip(grouping.groups())
        .filter_map(|(contrast, group)| contrast.filter(|_| is_experiment(group)))
        .map(|contrast| contrast.ln_ratio)
        .collect();
    if ratios.is_empty() {
        return groups.fill(None);
    }
    let df = ratios.len() as f64;
    let shared = ratios.iter().map(|ln_ratio| ln_ratio * ln_ratio).sum::<f64>() / df;
    for contrast in groups.iter_mut().flatten() {
        let se = (contrast.se * contrast.se + shared).sqrt();
        *contrast = Contrast { se, df: df.min(contrast.df), ..*contrast };
    }
}
