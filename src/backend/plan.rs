//! How a GPU library computes one convolution, as records keep it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::reference::Arithmetic;
use crate::units::Bytes;

/// An execution plan of cuDNN: what was chosen, and what was passed over for it.
///
/// The numbers are cuDNN's own. Newer versions add to them, so any number is valid here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRecord {
    /// cuDNN's number of the engine, unique among the engines of this kind of operation.
    pub engine: i64,
    /// The engine's settings, in cuDNN's order.
    pub knobs: Vec<Knob>,
    /// What the engine's arithmetic is like: see [`numerical_note`].
    pub numerical_notes: Vec<i64>,
    /// What else the engine does, for instance compile at run time.
    pub behavior_notes: Vec<i64>,
    /// Scratch memory a launch needs.
    pub workspace_bytes: Bytes,
    /// Rank in the heuristics' answer; 0 is presumably the fastest.
    pub rank: usize,
    /// Why one of the heuristics' two lists could not be obtained, where that happened.
    pub heuristics_failure: Option<String>,
    /// The configurations of better rank that were refused, and why.
    pub refused: Vec<RefusedPlan>,
    /// The plans that were timed against each other, by rank; empty where none were.
    pub timed: Vec<TimedPlan>,
}

/// One setting of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knob {
    /// What is set, by cuDNN's number.
    pub kind: i64,
    /// To what: meaningful to the engine only.
    pub value: i64,
}

/// An engine configuration that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedPlan {
    /// Its place in the heuristics' answer, from 0.
    pub rank: usize,
    /// cuDNN's number of the engine, where it could be read.
    pub engine: Option<i64>,
    /// Why.
    pub reason: String,
}

/// A plan that was timed against others, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TimedPlan {
    /// Its place in the heuristics' answer, from 0.
    pub rank: usize,
    /// Its engine and knobs, as [`PlanRecord::algorithm`] names them.
    pub algorithm: String,
    pub workspace_bytes: Bytes,
    /// Median of a few launches by the device's clock, in nanoseconds; `None` where it failed.
    pub device_ns: Option<f64>,
    pub failure: Option<String>,
}

impl PlanRecord {
    /// Knobs by their names, in the order of their kinds: `split_k=1 tile_size=3`.
    pub fn knobs_by_name(&self) -> String {
        let mut knobs = self.knobs.clone();
        knobs.sort_unstable();
        let named = knobs.iter().map(|knob| format!("{}={}", knob_name(knob.kind), knob.value));
        Vec::from_iter(named).join(" ")
    }

    /// Engine and knobs, by kind, in `[a-z0-9-]`: `engine-38-k2-1-k13-0`. Two plans of one cuDNN
    /// with the same name run the same kernels.
    pub fn algorithm(&self) -> String {
        let mut knobs = self.knobs.clone();
        knobs.sort_unstable();
        let engine = format!("engine-{}", self.engine);
        knobs.iter().fold(engine, |name, knob| format!("{name}-k{}-{}", knob.kind, knob.value))
    }
}

/// The number of the engine in a name by [`PlanRecord::algorithm`]: `38` in `engine-38-k2-1-k13-0`; `None` where
/// it is no such name.
pub fn engine_in(algorithm: &str) -> Option<&str> {
    algorithm.strip_prefix("engine-")?.split('-').next()
}

/// cuDNN's names of the kinds of knobs, by their numbers.
const KNOBS: [&str; 37] = [
    "split_k",
    "swizzle",
    "tile_size",
    "use_tex",
    "edge",
    "kblock",
    "ldga",
    "ldgb",
    "chunk_k",
    "split_h",
    "wino_tile",
    "multiply",
    "split_k_buf",
    "tilek",
    "stages",
    "reduction_mode",
    "cta_split_k_mode",
    "split_k_slc",
    "idx_mode",
    "sliced",
    "split_rs",
    "singlebuffer",
    "ldgc",
    "specfilt",
    "kernel_cfg",
    "workspace",
    "tile_cga",
    "tile_cga_m",
    "tile_cga_n",
    "block_size",
    "occupancy",
    "array_size_per_thread",
    "num_c_per_block",
    "split_cols",
    "tile_rows",
    "tile_cols",
    "load_size",
];

/// What cuDNN calls a kind of knob, or its number where cuDNN is newer than this list.
fn knob_name(kind: i64) -> Cow<'static, str> {
    let known = usize::try_from(kind).ok().and_then(|kind| KNOBS.get(kind));
    known.map_or_else(|| format!("knob_{kind}").into(), |name| (*name).into())
}

impl TimedPlan {
    /// The record of this plan as one that was not taken.
    pub(super) fn as_refused(&self) -> RefusedPlan {
        let reason = self.failure.as_deref().unwrap_or("slower");
        let reason = format!("{}: {reason}", self.algorithm);
        RefusedPlan { rank: self.rank, engine: None, reason }
    }
}

/// How an engine with these numerical notes rounds, as far as they say.
///
/// The rounding of Winograd's transforms grows with the tile: simulated with the usual points, the
/// largest errors in 3×3 kernels were 1.4 (4×4) and 2.4 times (6×6) eight times those of the direct
/// form; in 5×5 kernels on 13×13 tiles a thousand times.
pub(super) fn arithmetic(numerical_notes: &[i64]) -> Arithmetic {
    let amplification = numerical_notes.iter().map(|note| match note {
        // fft, winograd of whatever tile, of 4×4, of 6×6
        3 | 5..=7 => 32.0,
        8 => 4e4,
        _ => 1.0,
    });
    Arithmetic {
        tf32: numerical_notes.contains(&0),
        amplification: amplification.fold(1.0, f64::max),
    }
}

/// A numerical note in words, or its number where cuDNN is newer than this list.
pub fn numerical_note(note: i64) -> Cow<'static, str> {
    match note {
        0 => "tensor core".into(),
        1 => "inputs converted down".into(),
        2 => "reduced-precision sums".into(),
        3 => "fft".into(),
        4 => "nondeterministic".into(),
        5 => "winograd".into(),
        6 => "winograd 4×4".into(),
        7 => "winograd 6×6".into(),
        8 => "winograd 13×13".into(),
        9 => "strict NaN".into(),
        unknown => unknown.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> PlanRecord {
        PlanRecord {
            engine: 38,
            knobs: vec![Knob { kind: 13, value: 0 }, Knob { kind: 2, value: 1 }],
            // numbers that no cuDNN has yet
            numerical_notes: vec![0, 4711],
            behavior_notes: vec![i64::from(i32::MAX)],
            workspace_bytes: Bytes(1 << 40),
            rank: 1,
            heuristics_failure: None,
            refused: vec![RefusedPlan { rank: 0, engine: None, reason: "no".to_owned() }],
            timed: vec![],
        }
    }

    #[test]
    fn the_algorithm_is_engine_and_knobs_by_kind() {
        assert_eq!(record().algorithm(), "engine-38-k2-1-k13-0");
        assert_eq!(engine_in(&record().algorithm()), Some("38"));
        assert_eq!(PlanRecord { knobs: vec![], ..record() }.algorithm(), "engine-38");
        let negative = PlanRecord { knobs: vec![Knob { kind: 2, value: -1 }], ..record() };
        assert_eq!(negative.algorithm(), "engine-38-k2--1");
    }

    #[test]
    fn records_with_unknown_numbers_read_back() {
        let json = serde_json::to_string(&record()).unwrap();
        assert_eq!(serde_json::from_str::<PlanRecord>(&json).unwrap(), record());
        assert_eq!(numerical_note(4711), "4711");
        assert_eq!(numerical_note(-1), "-1");
    }
}
