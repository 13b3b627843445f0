//! An estimated change with its error: p values and interval of one, false discovery rate of many.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// An estimated logarithm of a ratio of latencies, after over before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// The estimate.
    pub ln_ratio: f64,
    /// Its standard error, > 0.
    pub se: f64,
    /// Degrees of freedom of the error; infinite where it is known.
    pub df: f64,
}

/// From this many degrees on, Student's distribution equals the normal one in every digit that is shown.
const NORMAL_FROM: f64 = 1e6;

impl Contrast {
    /// p value of no change: Student's two-sided test.
    pub fn p_different(&self) -> f64 {
        2.0 * self.below(-self.ln_ratio.abs() / self.se)
    }

    /// p value of a change by the threshold or more: the larger of two one-sided tests (Schuirmann 1987).
    /// The threshold is a logarithm, > 0.
    pub fn p_equivalent(&self, ln_threshold: f64) -> f64 {
        self.below((self.ln_ratio.abs() - ln_threshold) / self.se)
    }

    /// p value of a change by the threshold or less in the direction found: a one-sided test. The threshold is
    /// a logarithm, > 0.
    pub fn p_beyond(&self, ln_threshold: f64) -> f64 {
        self.below((ln_threshold - self.ln_ratio.abs()) / self.se)
    }

    /// The 95% interval of the ratio.
    pub fn interval(&self) -> [f64; 2] {
        let half = self.quantile(0.975) * self.se;
        [(self.ln_ratio - half).exp(), (self.ln_ratio + half).exp()]
    }

    fn below(&self, t: f64) -> f64 {
        match StudentsT::new(0.0, 1.0, self.df) {
            Ok(student) if self.df < NORMAL_FROM => student.cdf(t),
            _ => Normal::standard().cdf(t),
        }
    }

    pub(super) fn quantile(&self, p: f64) -> f64 {
        match StudentsT::new(0.0, 1.0, self.df) {
            Ok(student) if self.df < NORMAL_FROM => student.inverse_cdf(p),
            _ => Normal::standard().inverse_cdf(p),
        }
    }
}

/// Which of the hypotheses with these p values are rejected at a false discovery rate (Benjamini and
/// Hochberg 1995): all up to the largest p₍ᵢ₎ ≤ i·rate/m.
pub fn benjamini_hochberg(p: &[f64], rate: f64) -> Vec<bool> {
    let mut sorted = p.to_vec();
    sorted.sort_by(f64::total_cmp);
    let m = p.len() as f64;
    let last = (1..).zip(&sorted).filter(|(i, p)| **p <= f64::from(*i) * rate / m).last();
    let limit = last.map_or(f64::NEG_INFINITY, |(_, p)| *p);
    p.iter().map(|p| *p <= limit).collect()
}
