//! Which configurations and which groups changed: the statistics of a comparison, without files and
//! words.
//!
//! The run is the unit of replication, because all launches of a run share its environment, however many
//! there are. A configuration's ratio is that of the geometric means of its run medians on the two sides;
//! its error comes from how the runs of a side differ ([`RunVariances`]). Groups (all, each experiment, each
//! series) are tested by Student's t on each run's mean over the group's configurations: a shift too small to
//! show in any single configuration is found where all of them share it.
//!
//! The false discovery rate is controlled over all configurations and groups together: half of it goes to the
//! configurations and half to the groups, each by Benjamini and Hochberg. The share of false discoveries
//! in the union is at most the sum of the two. A change must also be rare in a permutation test
//! (`permutation`). Equivalence is tested separately, at the full rate for
//! configurations and again for groups.
//!
//! That a change exceeds the threshold is a hypothesis of its own, tested one-sided at the same rates: a
//! significant change of +1% that happens to be measured as +2.1% is none beyond 2%. Where nothing truly
//! exceeds the threshold, anything is said to do so with at most the probability of the rate.

use alpha_flops::choice::choices;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

use super::contrast::{Contrast, benjamini_hochberg};
use super::estimate::{Contrasts, Design, Samples};
use super::permutation::{confirmed, independent_permutations, permuted};
use super::run_noise::{RunNoise, Spread};
use super::run_variances::RunVariances;

choices! {
    /// What the tests say of a ratio of latencies, in the order of tables.
    #[derive(Hash, serde::Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Verdict {
        /// Significantly slower.
        Slower = "slower",
        /// Significantly faster.
        Faster = "faster",
        /// Slower by more than nearly all others, or than archived runs explain that are too few to confirm it.
        CandidateSlower = "candidate-slower",
        /// The same, faster.
        CandidateFaster = "candidate-faster",
        /// The difference is significantly below the threshold.
        Same = "same",
        /// None of these.
        Undecided = "undecided",
    }
}

/// What is tested for, and how surely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// Relative changes up to this count as none: 0.02.
    pub threshold: f64,
    /// The expected share of false discoveries among all that is called slower or faster, at most.
    pub false_discovery_rate: f64,
}

/// What the tests say of a configuration or a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The ratio; `None` where a side has no median, or the error is unknown.
    pub contrast: Option<Contrast>,
    /// What is said of it.
    pub verdict: Verdict,
    /// Whether it is a change that significantly exceeds the threshold, in its direction.
    pub beyond: bool,
}

/// All decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions {
    /// One per configuration.
    pub configurations: Vec<Decision>,
    /// One per group, in the grouping's order.
    pub groups: Vec<Decision>,
    /// How runs differ, where that is known.
    pub variances: Option<RunVariances>,
    /// How the runs' noise is shaped.
    pub noise: RunNoise,
    /// What that makes of the error of a ratio.
    pub spread: Spread,
    /// Permutations that the changes found by t were checked against; 0 where t found none.
    pub permutations: usize,
    /// Configurations and groups that t found, and the permutation test did not confirm.
    pub unconfirmed: usize,
}

/// What t tests say of all configurations, or of all groups.
struct Tested {
    df: Vec<f64>,
    p_different: Vec<f64>,
    /// By t alone.
    found: Vec<bool>,
    differs: Vec<bool>,
    beyond: Vec<bool>,
    equivalent: Vec<bool>,
}

impl Verdict {
    /// Whether it is a change, shown or suspected.
    pub fn is_change(self) -> bool {
        self.is_shown_change() || matches!(self, Self::CandidateSlower | Self::CandidateFaster)
    }

    /// Whether it is a change that is shown.
    pub fn is_shown_change(self) -> bool {
        matches!(self, Self::Slower | Self::Faster)
    }
}

/// Tests every configuration and every group.
pub fn test(samples: &Samples<'_>, levels: Levels) -> Decisions {
    let Contrasts { configurations, groups, variances, shared, spread } = samples.contrasts(None);
    let mut families = [&configurations, &groups].map(|family| Tested::new(family, levels));
    let count = |families: &[Tested; 2]| {
        families.iter().flat_map(|family| &family.differs).filter(|differs| **differs).count()
    };
    let found = count(&families);
    // permutations matter only where something was found
    let is_candidate = samples.has_only_candidates();
    let others = match found > 0 && !is_candidate {
        true => permuted(samples, &shared),
        false => Vec::new(),
    };
    // candidates are not called changes, so there is nothing to confirm
    if !is_candidate {
        let rate = levels.false_discovery_rate / 2.0;
        let design = samples.design;
        families[0].confirm(&others, |others| &others.configurations, design, rate);
        families[1].confirm(&others, |others| &others.groups, design, rate);
    }
    let unconfirmed = found - count(&families);
    // what archived runs are too few to confirm is worth a look
    let keeps_unconfirmed = is_candidate || matches!(samples.design, Design::History(_));
    let [of_configurations, of_groups] = families;
    Decisions {
        configurations: of_configurations.decide(&configurations, is_candidate, keeps_unconfirmed),
        groups: of_groups.decide(&groups, is_candidate, keeps_unconfirmed),
        variances,
        noise: shared.noise,
        spread,
        permutations: others.len(),
        unconfirmed,
    }
}

impl Tested {
    /// Tests a family, before any permutation.
    fn new(family: &[Option<Contrast>], levels: Levels) -> Self {
        let p = |of: &dyn Fn(&Contrast) -> f64| -> Vec<f64> {
            // where nothing is known, nothing is found
            family.iter().map(|contrast| contrast.as_ref().map_or(1.0, of)).collect()
        };
        let rate = levels.false_discovery_rate;
        let ln_threshold = levels.threshold.ln_1p();
        let p_different = p(&Contrast::p_different);
        let found = benjamini_hochberg(&p_different, rate / 2.0);
        Self {
            df: family.iter().map(|contrast| contrast.map_or(1.0, |c| c.df)).collect(),
            differs: found.clone(),
            found,
            beyond: benjamini_hochberg(&p(&|c| c.p_beyond(ln_threshold)), rate / 2.0),
            equivalent: benjamini_hochberg(&p(&|c| c.p_equivalent(ln_threshold)), rate),
            p_different,
        }
    }

    /// Takes back the changes that are as common among permutations.
    fn confirm(
        &mut self,
        others: &[Contrasts],
        of: fn(&Contrasts) -> &[Option<Contrast>],
        design: Design<'_>,
        rate: f64,
    ) {
        // pairs of a history are tested with fewer runs than the observed one, and would seem less sure
        let has_fewer_runs = matches!(design, Design::History(_));
        let found = self.differs.iter().zip(&self.p_different).filter(|(differs, _)| **differs);
        // what is less likely by chance than anything found matters, and has at least this t: Student's p is
        // no less than the normal one
        let largest = found.map(|(_, p)| *p).fold(f64::MIN_POSITIVE, f64::max);
        let least_t = -Normal::standard().inverse_cdf(largest / 2.0) * (1.0 - 1e-6);
        let p = |(contrast, observed_df): (&Option<Contrast>, &f64)| {
            let contrast = contrast.as_ref()?;
            if contrast.ln_ratio.abs() < least_t * contrast.se {
                return None;
            }
            let df = if has_fewer_runs { *observed_df } else { contrast.df };
            Some(Contrast { df, ..*contrast }.p_different())
        };
        let independent = independent_permutations(design, others.len());
        let p = |others: &Contrasts| -> Vec<Option<f64>> {
            of(others).iter().zip(&self.df).map(p).collect()
        };
        let others: Vec<_> = others.par_iter().map(p).collect();
        self.differs = confirmed(&self.differs, &self.p_different, &others, independent, rate);
    }

    /// Whether changes are only candidates, and whether unconfirmed ones are.
    fn decide(
        self,
        family: &[Option<Contrast>],
        is_candidate: bool,
        keeps_unconfirmed: bool,
    ) -> Vec<Decision> {
        let tests = self.differs.into_iter().zip(self.found).zip(self.equivalent).zip(self.beyond);
        family
            .iter()
            .zip(tests)
            .map(|(&contrast, (((differs, found), equivalent), beyond))| {
                let is_candidate = is_candidate || (keeps_unconfirmed && found && !differs);
                let differs = differs || is_candidate && found;
                let is_longer = contrast.is_some_and(|contrast| contrast.ln_ratio > 0.0);
                let verdict = match (differs, is_longer, is_candidate) {
                    (true, true, false) => Verdict::Slower,
                    (true, false, false) => Verdict::Faster,
                    (true, true, true) => Verdict::CandidateSlower,
                    (true, false, true) => Verdict::CandidateFaster,
                    (false, _, false) if equivalent => Verdict::Same,
                    (false, ..) => Verdict::Undecided,
                };
                Decision { contrast, verdict, beyond: differs && beyond }
            })
            .collect()
    }
}
