//! Quantities with their units. Values are kept in base units; scaling happens only in `Display`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Multiply–adds of a convolution (a multiply–add counts once).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MultiplyAdds(pub u64);

/// Floating-point operations (a multiply–add counts twice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flops(pub u64);

/// A size in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A duration in nanoseconds. Floating point, because medians and device events fall between
/// whole nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanoseconds(pub f64);

/// `4m 10s`: a duration as people read it, to the second and to the minute from an hour on.
pub fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

impl From<MultiplyAdds> for Flops {
    fn from(macs: MultiplyAdds) -> Self {
        Flops(macs.0.saturating_mul(2))
    }
}

impl Nanoseconds {
    /// The same duration in milliseconds, the unit of the published α-FLOPs coefficients.
    pub fn as_ms(self) -> f64 {
        self.0 / 1e6
    }
}

impl fmt::Display for MultiplyAdds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&scaled(self.0 as f64, 1e3, &["MAC", "kMAC", "MMAC", "GMAC", "TMAC"]))
    }
}

impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&scaled(self.0 as f64, 1e3, &["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"]))
    }
}

impl Bytes {
    /// The size of so many `f32` values.
    pub(crate) fn of_f32(values: usize) -> Self {
        Self((values as u64).saturating_mul(size_of::<f32>() as u64))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&scaled(self.0 as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"]))
    }
}

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&scaled(self.0, 1e3, &["ns", "µs", "ms", "s"]))
    }
}

/// Four significant digits in the largest unit that keeps the number at or above one.
fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    // 999.95 would print as 1000.0 of the smaller unit
    while value.abs() >= step * 0.99995 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let whole = unit == 0 && value.fract() == 0.0;
    let decimals = match value.abs() {
        _ if whole => 0,
        v if v < 9.9995 => 3,
        v if v < 99.995 => 2,
        _ => 1,
    };
    format!("{value:.decimals$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_scales_to_a_readable_unit() {
        assert_eq!(Nanoseconds(999.0).to_string(), "999 ns");
        assert_eq!(Nanoseconds(1_500.0).to_string(), "1.500 µs");
        assert_eq!(Nanoseconds(999_996.0).to_string(), "1.000 ms");
        assert_eq!(Nanoseconds(5.25e9).to_string(), "5.250 s");
        assert_eq!(Bytes(1536).to_string(), "1.500 KiB");
        assert_eq!(MultiplyAdds(8_640_000_000).to_string(), "8.640 GMAC");
        assert_eq!(Flops::from(MultiplyAdds(3)).to_string(), "6 FLOP");
        assert_eq!(format!("{:>10}", Nanoseconds(1.0)), "      1 ns");
    }
}
