//! Any number of rows of one `S_K/S` as two rows: exact, in one pass.
//!
//! The formula sees a row as `(r, F)` with `r = S_K/S`, and is linear in `final` and T₀ given the
//! others: `T̂ = final·α(r)·F + T₀`. Rows of equal r share `α`, so the residuals of a cluster are
//!
//! ```text
//! e = A·x − T,   A = [F 1] (a row per configuration),   x = (final·α, T₀)
//! ```
//!
//! With the QR decomposition `[A T] = Q·U`, `U` upper triangular and 3×3,
//!
//! ```text
//!     ⎡u₁ c₁ t₁⎤
//! U = ⎢ 0 c₂ t₂⎥   |e|² = (u₁·final·α + c₁·T₀ − t₁)² + (c₂·T₀ − t₂)² + ρ²
//!     ⎣ 0  0  ρ⎦
//! ```
//!
//! because Q keeps lengths. U is `ΣF²`, `ΣF`, `n`, `ΣT·F`, `ΣT` and `ΣT²` of the cluster in another
//! form (`UᵀU` are those sums): u₁² = ΣF², t₁/u₁ = ΣT·F/ΣF². Rows are rotated into it one by one
//! (Givens, as in Gentleman 1974), which adds squares and never subtracts sums: ΣT² − (ΣT·F)²/ΣF²,
//! the textbook form, loses all digits where the formula fits well.
//!
//! What follows from residuals and derivatives follows from U: each derivative of T̂ by β, γ or
//! `final` is F times something that depends on r alone, so `JᵀJ`, `Jᵀe` and second derivatives
//! weighted with residuals are the same sums over the rows of U. A fit therefore treats a cluster as
//! the one row `(u₁, t₁)`, with `t₂² + ρ²` beside it that no parameter changes. With T₀ it is two.

/// The triangle U of one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reduction {
    /// u₁, in millions of FLOPs.
    pub flops: f64,
    /// c₁ and c₂: what T₀ is multiplied with.
    pub constant: [f64; 2],
    /// t₁ and t₂, in milliseconds.
    pub measured_ms: [f64; 2],
    /// ρ², in ms².
    pub residual_sum: f64,
}

impl Reduction {
    /// Takes in a configuration, whose residual counts `weight` times (its square, `weight²`).
    pub(super) fn add(&mut self, flops: f64, measured_ms: f64, weight: f64) {
        self.rotate_in(flops * weight, weight, measured_ms * weight);
    }

    /// Takes in the rows of another cluster of the same `S_K/S`.
    #[cfg(test)]
    pub(super) fn merge(&mut self, other: &Self) {
        self.rotate_in(other.flops, other.constant[0], other.measured_ms[0]);
        self.rotate_in(0.0, other.constant[1], other.measured_ms[1]);
        self.residual_sum += other.residual_sum;
    }

    /// What stays of the residual sum without T₀, whatever the parameters: `t₂² + ρ²`, in ms².
    pub(super) fn rest_without_constant(&self) -> f64 {
        self.measured_ms[1] * self.measured_ms[1] + self.residual_sum
    }

    pub(super) fn rotate_in(&mut self, flops: f64, constant: f64, measured_ms: f64) {
        let [first, second] = &mut self.measured_ms;
        let (mut constant, mut measured_ms) = (constant, measured_ms);
        if let Some(rotation) = Rotation::onto_first(&mut self.flops, flops) {
            rotation.turn(&mut self.constant[0], &mut constant);
            rotation.turn(first, &mut measured_ms);
        }
        if let Some(rotation) = Rotation::onto_first(&mut self.constant[1], constant) {
            rotation.turn(second, &mut measured_ms);
        }
        self.residual_sum += measured_ms * measured_ms;
    }
}

struct Rotation {
    cosine: f64,
    sine: f64,
}

impl Rotation {
    /// The one that makes `(above, below)` into `(length, 0)`; `None` where there is nothing to turn.
    fn onto_first(above: &mut f64, below: f64) -> Option<Self> {
        // values lie between 1e-6 and 1e12, so that squares neither overflow nor vanish
        let length = (*above * *above + below * below).sqrt();
        if length == 0.0 {
            return None;
        }
        let rotation = Self { cosine: *above / length, sine: below / length };
        *above = length;
        Some(rotation)
    }

    fn turn(&self, above: &mut f64, below: &mut f64) {
        let turned = self.cosine * *above + self.sine * *below;
        *below = self.cosine * *below - self.sine * *above;
        *above = turned;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reduced(rows: &[(f64, f64)]) -> Reduction {
        let mut reduction = Reduction::default();
        rows.iter().for_each(|&(flops, ms)| reduction.add(flops, ms, 1.0));
        reduction
    }

    fn sum_of(reduction: &Reduction, slope: f64, constant: f64) -> f64 {
        let Reduction { flops, constant: c, measured_ms: t, residual_sum } = reduction;
        (flops * slope + c[0] * constant - t[0]).powi(2)
            + (c[1] * constant - t[1]).powi(2)
            + residual_sum
    }

    proptest! {
        #[test]
        fn residual_sums_are_those_of_the_rows(
            rows in prop::collection::vec((1e-4f64..1e6, 1e-4f64..1e3), 1..60),
            slope in 0.0f64..0.1,
            constant in 0.0f64..5.0,
            cut in 0usize..60,
        ) {
            let direct: f64 =
                rows.iter().map(|(f, t)| (slope * f + constant - t).powi(2)).sum();
            let (first, second) = rows.split_at(cut.min(rows.len()));
            let mut merged = reduced(first);
            merged.merge(&reduced(second));
            let size: f64 = rows.iter().map(|(f, t)| (slope * f).powi(2) + t * t).sum();
            for reduction in [reduced(&rows), merged] {
                let sum = sum_of(&reduction, slope, constant);
                // where all residuals are small beside what they are differences of, theirs is the
                // rounding that counts
                prop_assert!((sum - direct).abs() <= 1e-10 * direct + 1e-24 * size);
            }
        }

        #[test]
        fn what_fits_exactly_leaves_nothing(
            flops in prop::collection::vec(1e-4f64..1e6, 1..60),
            slope in 1e-6f64..0.1,
        ) {
            let rows: Vec<_> = flops.iter().map(|f| (*f, slope * f)).collect();
            let size: f64 = rows.iter().map(|(_, t)| t * t).sum();
            // squares of roundings, not roundings of squares
            prop_assert!(reduced(&rows).rest_without_constant() <= 1e-26 * size);
        }
    }
}
