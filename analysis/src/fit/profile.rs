//! How far a parameter can go, the others following, before the sum of squares exceeds a threshold.

use super::problem::{LeastSquares, Position};

impl LeastSquares {
    /// How far component `index` can go from `best` in the direction of `step` until the sum of
    /// squares, minimised over the others, exceeds `threshold`; the bound where it never does.
    pub(super) fn profile_end(
        &self,
        best: Position,
        index: usize,
        mut step: f64,
        threshold: f64,
    ) -> f64 {
        let (low, high) = self.bounds()[index];
        let bound = if step < 0.0 { low } else { high };
        // Each search starts from the last position below the threshold: from one above it, where
        // other components may have run into their bounds, it would not always come back.
        let mut from = best;
        let mut exceeds = |value: f64| match self.holding(index, value).descend(from) {
            Ok(end) if end.sum <= threshold => {
                from = end.position;
                false
            }
            _ => true,
        };
        let (mut inside, mut outside) = (best[index], bound);
        for _ in 0..60 {
            let next = (inside + step).clamp(low, high);
            if exceeds(next) {
                outside = next;
                break;
            }
            if next == bound {
                return bound;
            }
            (inside, step) = (next, 2.0 * step);
        }
        // to a ten-thousandth of the last step
        for _ in 0..14 {
            let middle = f64::midpoint(inside, outside);
            match exceeds(middle) {
                true => outside = middle,
                false => inside = middle,
            }
        }
        inside
    }
}
