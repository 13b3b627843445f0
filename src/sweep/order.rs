//! The order in which a grid is measured: one that may be stopped anywhere.
//!
//! A grid is a product, so all its strata (height × width × kernel) have equally many members (pairs
//! of channels). The order goes through them in rounds: a round visits every stratum once, and takes
//! the next member of each. Of any stretch of the order, every stratum therefore has its share to
//! within one configuration at either end.
//!
//! Within a round, heights, widths and kernels turn like wheels of 10, 10 and 14 teeth: ten strata in a
//! row have every height and every width, fourteen have every kernel. The members of a stratum come in
//! the order of a lattice: sorted by the fractional part of `i·α + o·α²`, `i` and `o` being places on
//! the axes of channels and `α` the constant of the R2 sequence (M. Roberts, "The unreasonable
//! effectiveness of quasirandom sequences", 2018). A stretch of it is spread over both axes, and over
//! their diagonals, which are lines of about equal FLOPs. The seed decides where a stretch begins; each
//! round begins at another stratum, and each stratum at another of its members.
//!
//! The order is computed from a short table: no list of configurations is ever held.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::grid::Grid;
use crate::random::random_bits;

/// 1/φ, where φ is the golden ratio: the additive constant in one dimension.
const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// The constants in two dimensions: 1/p and 1/p², where p is the real solution of `p³ = p + 1`.
const PLANE: [f64; 2] = [0.754_877_666_246_692_7, 0.569_840_290_998_053_3];
/// Teeth of the wheels of heights and widths, and of kernels.
const SIDES: u32 = 10;
const KERNELS: u32 = 14;
/// After so many strata, heights and kernels meet as they did before: the least common multiple.
const CYCLE: u32 = 70;

/// A permutation of a grid.
#[derive(Clone, Debug)]
pub struct Order {
    grid: Grid,
    /// Where rounds and members begin: random numbers in [0, 1) from the seed.
    shifts: [f64; 2],
    /// Pairs of channels in the order of the lattice.
    members: Vec<u32>,
}

/// One of several equal parts of an order: every n-th position from the i-th on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// From 1.
    number: u32,
    of: u32,
}

/// The text names no shard.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no shard, expected i/n with 1 ≤ i ≤ n ≤ {most}, e.g. `3/8`", most = Shard::MOST)]
pub struct ShardError(String);

impl Order {
    /// The order of `grid` by `seed`.
    pub fn new(grid: Grid, seed: u64) -> Self {
        let members = sorted_by(grid.channel_pairs(), |pair| {
            let place = grid.place(pair);
            let (inner, outer) = (f64::from(place.in_channels), f64::from(place.out_channels));
            (inner * PLANE[0] + outer * PLANE[1]).fract()
        });
        Self { grid, shifts: [0, 1].map(|index| unit(random_bits(seed, index))), members }
    }

    /// The grid that is ordered.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The index in the grid of the configuration at a position; positions past the last one start over.
    pub fn index(&self, position: u32) -> u32 {
        let (strata, pairs) = (self.grid.strata(), self.grid.channel_pairs());
        let (round, slot) = (position / strata, position % strata);
        let [turn, begin] = self.shifts;
        let wheel = (slot + scattered(round, turn, strata)) % strata;
        let member = (round + scattered(wheel, begin, pairs)) % pairs;
        stratum(self.grid, wheel) * pairs + self.members[member as usize]
    }
}

/// The stratum at a position of the wheels, each once in a round.
fn stratum(grid: Grid, wheel: u32) -> u32 {
    let (cycle, height) = (wheel / CYCLE, wheel % SIDES);
    // both are even or odd at once: every second cycle is a tooth on, to meet the others
    let kernel = (wheel + cycle % 2) % KERNELS;
    let area = match grid {
        Grid::Published => height,
        // a tooth on from block to block of ten, and from one pair of cycles to the next
        Grid::Paper => {
            let block = wheel % CYCLE / SIDES;
            height * SIDES + (3 * height + 3 * block + cycle / 2) % SIDES
        }
    };
    area * KERNELS + kernel
}

/// Spreads successive numbers over `0..count`, as multiples of the golden ratio are.
fn scattered(number: u32, shift: f64, count: u32) -> u32 {
    ((f64::from(number) * GOLDEN + shift).fract() * f64::from(count)) as u32
}

/// 0 to `count`, sorted by what `key` says; equal keys stay in order.
fn sorted_by(count: u32, key: impl Fn(u32) -> f64) -> Vec<u32> {
    let mut keyed: Vec<(f64, u32)> = (0..count).map(|item| (key(item), item)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    keyed.into_iter().map(|(_, item)| item).collect()
}

/// Random bits as a number in [0, 1).
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

impl Shard {
    /// The only shard, which is the whole order.
    pub const ALL: Self = Self { number: 1, of: 1 };
    /// Most shards: more than a cluster has devices.
    const MOST: u32 = 10_000;

    /// Shard `number`, from 1, of `of`.
    pub fn new(number: u32, of: u32) -> Result<Self, ShardError> {
        if (1..=of).contains(&number) && of <= Self::MOST {
            return Ok(Self { number, of });
        }
        Err(ShardError(format!("{number}/{of}")))
    }

    /// Which shard it is, from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The number of shards.
    pub fn count(self) -> u32 {
        self.of
    }

    /// The number of positions that the shard has in an order of `total`.
    pub fn len(self, total: u32) -> u32 {
        (total + self.of - self.number) / self.of
    }

    /// The position of the shard's configuration `ordinal`, from 0.
    pub fn position(self, ordinal: u32) -> u32 {
        self.number - 1 + ordinal * self.of
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.number, self.of))
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let error = || ShardError(text.to_owned());
        let (number, of) = text.split_once('/').ok_or_else(error)?;
        let parse = |text: &str| text.parse().map_err(|_| error());
        Self::new(parse(number)?, parse(of)?).map_err(|_| error())
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl TryFrom<String> for Shard {
    type Error = ShardError;

    fn try_from(text: String) -> Result<Self, ShardError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
