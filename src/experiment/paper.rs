//! The paper's experiments (section 4.1, Table 1), each with its question (section 5.2).
//!
//! Ranges follow the replication's code and the original data, not Table 1, which misprints some of
//! them (see docs/paper-differences.md). Every range of the code is half-open: `range(1, 650)` has
//! 649 values.

use super::{Definition, EqualFlops, LatencySlope, Resolution, Series, Variable};

pub(super) const EXPERIMENTS: [Definition; 7] = [
    Definition {
        name: "A",
        question: "At equal FLOPs and K = 1, is it cheaper to spend them on pixels or on channels?",
        variable: Variable {
            label: "x (channels double with each step)",
            in_title: "channels",
            has_whole_ticks: true,
        },
        equal_flops: EqualFlops::AtEachValue,
        slope: Some(LatencySlope::Pixels),
        values: |_| (0..9).collect(),
        series: &[
            Series { name: "H×W = 1×2", shape: |x| [1, 2, 100 << x, 50 << x, 1] },
            Series { name: "H×W = 2×2", shape: |x| [2, 2, 50 << x, 50 << x, 1] },
            Series { name: "H×W = 4×4", shape: |x| [4, 4, 25 << x, 25 << x, 1] },
        ],
    },
    Definition {
        name: "B",
        question: "At equal FLOPs, what does a larger kernel on a smaller image cost?",
        variable: KERNEL,
        equal_flops: EqualFlops::AlongSeries,
        slope: Some(LatencySlope::PixelsToKernel),
        values: |_| (1..=30).collect(),
        series: &[
            Series { name: "C = 50", shape: |k| smaller_image(50, k) },
            Series { name: "C = 70", shape: |k| smaller_image(70, k) },
            Series { name: "C = 100", shape: |k| smaller_image(100, k) },
            Series { name: "C = 150", shape: |k| smaller_image(150, k) },
        ],
    },
    Definition {
        name: "C",
        question: "At equal FLOPs, what does a larger kernel with fewer channels cost?",
        variable: KERNEL,
        equal_flops: EqualFlops::AlongSeries,
        slope: Some(LatencySlope::ChannelsToKernel),
        values: |_| (1..=30).collect(),
        series: &[
            Series { name: "C·K = 1500", shape: |k| fewer_channels(1500, k) },
            Series { name: "C·K = 2100", shape: |k| fewer_channels(2100, k) },
            Series { name: "C·K = 3000", shape: |k| fewer_channels(3000, k) },
            Series { name: "C·K = 4500", shape: |k| fewer_channels(4500, k) },
        ],
    },
    Definition {
        name: "D",
        question: "Does latency grow linearly with FLOPs added by the width of the input?",
        variable: Variable::new("input width W"),
        equal_flops: EqualFlops::Nowhere,
        slope: Some(LatencySlope::Variable),
        values: up_to_649,
        series: &[
            Series { name: "C_in = 50", shape: |w| [100, w, 50, 100, 3] },
            Series { name: "C_in = 100", shape: |w| [100, w, 100, 100, 3] },
            Series { name: "C_in = 150", shape: |w| [100, w, 150, 100, 3] },
        ],
    },
    Definition {
        name: "E",
        question: "Does latency grow linearly with FLOPs added by output channels, K = 3?",
        variable: OUT_CHANNELS,
        equal_flops: EqualFlops::Nowhere,
        slope: None,
        values: up_to_649,
        series: &[
            Series { name: "C_in = 50", shape: |o| [100, 100, 50, o, 3] },
            Series { name: "C_in = 100", shape: |o| [100, 100, 100, o, 3] },
            Series { name: "C_in = 150", shape: |o| [100, 100, 150, o, 3] },
        ],
    },
    Definition {
        name: "F",
        question: "Does latency grow linearly with FLOPs added by output channels, K = 1, and how \
                   does that depend on the height?",
        variable: OUT_CHANNELS,
        equal_flops: EqualFlops::Nowhere,
        slope: None,
        values: up_to_649,
        series: &[
            Series { name: "H = 100", shape: |o| [100, 100, 50, o, 1] },
            Series { name: "H = 200", shape: |o| [200, 100, 50, o, 1] },
            Series { name: "H = 300", shape: |o| [300, 100, 50, o, 1] },
        ],
    },
    Definition {
        name: "G",
        question: "Does latency grow linearly with FLOPs added by input channels, by kernel?",
        variable: Variable::new("input channels C_in"),
        equal_flops: EqualFlops::Nowhere,
        slope: None,
        values: |resolution| match resolution {
            Resolution::Full => (1..=999).collect(),
            Resolution::Original => (100..=900).step_by(100).collect(),
        },
        series: &[
            Series { name: "K = 1", shape: |i| [10, 10, i, 1000, 1] },
            Series { name: "K = 3", shape: |i| [10, 10, i, 1000, 3] },
            Series { name: "K = 5", shape: |i| [10, 10, i, 1000, 5] },
        ],
    },
];

const KERNEL: Variable = Variable::new("kernel size K");
const OUT_CHANNELS: Variable = Variable::new("output channels C_out");

/// The values of D, E and F.
fn up_to_649(resolution: Resolution) -> Vec<u32> {
    match resolution {
        Resolution::Full => (1..=649).collect(),
        Resolution::Original => std::iter::once(10).chain((20..=640).step_by(20)).collect(),
    }
}

/// B: `H·K` and `W·K` stay about 300.
fn smaller_image(channels: u32, kernel: u32) -> [u32; 5] {
    let side = round_like_python(300, kernel);
    [side, side, channels, channels, kernel]
}

/// C: `C·K` stays about the same.
fn fewer_channels(channels_by_kernel: u32, kernel: u32) -> [u32; 5] {
    let channels = round_like_python(channels_by_kernel, kernel);
    [10, 10, channels, channels, kernel]
}

/// `round(numerator / denominator)` as Python has it: halves go to the even neighbour.
fn round_like_python(numerator: u32, denominator: u32) -> u32 {
    // both fit f64 exactly and so do their halves, so the division rounds as Python's does
    (f64::from(numerator) / f64::from(denominator)).round_ties_even() as u32
}

#[cfg(test)]
mod tests {
    use super::round_like_python;

    #[test]
    fn halves_round_to_even_as_in_python() {
        // Python: round(1500 / 24) == 62, round(300 / 8) == 38, round(2100 / 24) == 88
        assert_eq!(round_like_python(1500, 24), 62);
        assert_eq!(round_like_python(300, 8), 38);
        assert_eq!(round_like_python(2100, 24), 88);
        assert_eq!(round_like_python(300, 24), 12);
    }
}
