//! Reproducible pseudo-random numbers for tensors and for choosing positions to check.

/// The 64 random bits at `index` of the stream `seed`: SplitMix64 (Steele, Lea and Flood, 2014),
/// whose state is a counter, so that any element can be had without those before it.
pub fn random_bits(seed: u64, index: u64) -> u64 {
    let mut bits = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// An odd multiple of 2⁻²⁴ in (−1, 1): exact in `f32`, symmetric, and never zero.
pub fn random_value(seed: u64, index: u64) -> f32 {
    const HALF_RANGE: i32 = 1 << 23;
    // 23 random bits, so that the odd number below fits the 24 bits of an f32's significand
    let bits = (random_bits(seed, index) >> 40) as i32;
    let odd = 2 * (bits - HALF_RANGE) + 1;
    odd as f32 / (2 * HALF_RANGE) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_are_in_range_never_zero_and_centred() {
        let stream = |seed| (0..100_000).map(|i| random_value(seed, i)).collect::<Vec<f32>>();
        let values = stream(7);
        assert!(values.iter().all(|v| v.abs() < 1.0 && *v != 0.0));
        // uniform in (−1, 1): variance 1/3, so the mean of n has a deviation of 1/√(3n) = 0.0018
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.01, "{mean}");
        let square = values.iter().map(|v| f64::from(v * v)).sum::<f64>() / values.len() as f64;
        assert!((square - 1.0 / 3.0).abs() < 0.01, "{square}");
        assert_ne!(values, stream(8));
    }
}
