//! The two grids of the regression: which convolutions α-FLOPs is fitted on.
//!
//! Both are full products of their axes, so an index says by arithmetic which configuration it is,
//! and nothing holds a list of them.

use serde::{Deserialize, Serialize};

use crate::choice::choices;
use crate::shape::ConvShape;

/// Heights and widths, in pixels.
const SIDES: [u32; 10] = [1, 2, 4, 8, 16, 32, 64, 96, 128, 256];

/// Kernel sizes: 1 to so many.
const KERNELS: u32 = 14;

choices! {
    /// A grid of convolutions, by the name of who describes it.
    #[derive(Hash, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Grid: "grid" {
        /// The replication's published code: square inputs, 31 numbers of channels, 134,540
        /// configurations.
        Published = "published",
        /// The paper's text: every height with every width, 32 numbers of channels, 1,433,600
        /// configurations.
        Paper = "paper",
    }
}

/// Where a configuration lies on the grid's axes, each counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say which axis")]
pub struct Place {
    pub height: u32,
    /// Equal to `height` where inputs are square.
    pub width: u32,
    /// K − 1.
    pub kernel: u32,
    pub in_channels: u32,
    pub out_channels: u32,
}

impl Grid {
    /// Numbers of channels on each of the two axes: 31 or 32.
    pub fn channel_values(self) -> u32 {
        match self {
            Self::Published => 31,
            Self::Paper => 32,
        }
    }

    /// Pairs of channels: the number of configurations that share height, width and kernel.
    pub fn channel_pairs(self) -> u32 {
        self.channel_values() * self.channel_values()
    }

    /// Pairs of height and width.
    pub fn areas(self) -> u32 {
        let sides = SIDES.len() as u32;
        match self {
            Self::Published => sides,
            Self::Paper => sides * sides,
        }
    }

    /// Combinations of height, width and kernel, each with [`channel_pairs`](Self::channel_pairs)
    /// configurations.
    pub fn strata(self) -> u32 {
        self.areas() * KERNELS
    }

    /// Configurations in all: 134,540 or 1,433,600.
    pub fn configurations(self) -> u32 {
        self.strata() * self.channel_pairs()
    }

    /// The place of the configuration at `index`; indices past the last one start over.
    pub fn place(self, index: u32) -> Place {
        let (values, sides) = (self.channel_values(), SIDES.len() as u32);
        let (stratum, pair) = (index / self.channel_pairs(), index % self.channel_pairs());
        let (area, kernel) = (stratum / KERNELS % self.areas(), stratum % KERNELS);
        let (height, width) = match self {
            Self::Published => (area, area),
            Self::Paper => (area / sides, area % sides),
        };
        Place { height, width, kernel, in_channels: pair / values, out_channels: pair % values }
    }

    /// The configuration at `index`, in the order of height, width, kernel, input and output channels;
    /// indices past the last one start over.
    pub fn shape(self, index: u32) -> ConvShape {
        let place = self.place(index);
        let shape = ConvShape::new(
            SIDES[place.height as usize].into(),
            SIDES[place.width as usize].into(),
            self.channels(place.in_channels).into(),
            self.channels(place.out_channels).into(),
            (place.kernel + 1).into(),
        );
        #[expect(clippy::expect_used, reason = "a test builds every configuration there is")]
        shape.expect("the grids' dimensions are positive and small")
    }

    /// The index of a shape; `None` if it is not in the grid.
    pub fn index(self, shape: ConvShape) -> Option<u32> {
        let side = |side: usize| SIDES.iter().position(|&value| value as usize == side);
        let (height, width) = (side(shape.height())? as u32, side(shape.width())? as u32);
        let area = match self {
            Self::Published if height == width => height,
            Self::Published => return None,
            Self::Paper => height * SIDES.len() as u32 + width,
        };
        let kernel = u32::try_from(shape.kernel()).ok().filter(|kernel| *kernel <= KERNELS)? - 1;
        let channels = |wanted: usize| {
            (0..self.channel_values()).find(|&i| self.channels(i) as usize == wanted)
        };
        let (inner, outer) = (channels(shape.in_channels())?, channels(shape.out_channels())?);
        let stratum = area * KERNELS + kernel;
        Some(stratum * self.channel_pairs() + inner * self.channel_values() + outer)
    }

    /// The channels at place `i` of the axis: tens to 90, fifties from 100 on, then 1,600 and 3,200.
    fn channels(self, i: u32) -> u32 {
        // the code ends at 1,050; the paper's text has 100 + 50·i up to i = 20
        let fifties = match self {
            Self::Published => 20,
            Self::Paper => 21,
        };
        match i {
            0..9 => 10 * (i + 1),
            _ if i < 9 + fifties => 100 + 50 * (i - 9),
            _ => 1600 << (i - 9 - fifties),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grids_have_the_published_sizes_and_ends() {
        let ends = |grid: Grid| {
            let last = grid.configurations() - 1;
            [grid.shape(0).to_string(), grid.shape(last).to_string()]
        };
        assert_eq!(Grid::Published.configurations(), 134_540);
        assert_eq!(Grid::Paper.configurations(), 1_433_600);
        for grid in Grid::ALL {
            let expected = ["h=1_w=1_in=10_out=10_k=1", "h=256_w=256_in=3200_out=3200_k=14"];
            assert_eq!(ends(grid), expected);
        }
        let channels =
            |grid: Grid| (0..grid.channel_values()).map(|i| grid.channels(i)).collect::<Vec<_>>();
        let fifties = |last: u32| (100..=last).step_by(50);
        let all = |last| (10..100).step_by(10).chain(fifties(last)).chain([1600, 3200]);
        assert_eq!(channels(Grid::Published), all(1050).collect::<Vec<_>>());
        assert_eq!(channels(Grid::Paper), all(1100).collect::<Vec<_>>());
    }

    #[test]
    fn index_and_shape_are_each_others_inverse() {
        for grid in Grid::ALL {
            // every one of the smaller grid, and some hundred thousand of the larger
            let step = if grid == Grid::Published { 1 } else { 13 };
            for index in (0..grid.configurations()).step_by(step) {
                assert_eq!(grid.index(grid.shape(index)), Some(index));
            }
        }
        let foreign = ["h=1_w=2_in=10_out=10_k=1", "h=3_w=3_in=10_out=10_k=1"];
        for id in foreign {
            assert_eq!(Grid::Published.index(id.parse().unwrap()), None, "{id}");
        }
        for id in ["h=1_w=1_in=10_out=10_k=15", "h=1_w=1_in=11_out=10_k=1"] {
            assert_eq!(Grid::Paper.index(id.parse().unwrap()), None, "{id}");
        }
        assert_eq!(Grid::Published.index("h=1_w=1_in=1100_out=10_k=1".parse().unwrap()), None);
        assert!(Grid::Paper.index("h=1_w=2_in=1100_out=10_k=1".parse().unwrap()).is_some());
    }

    #[test]
    fn names_read_back_and_others_are_refused() {
        for grid in Grid::ALL {
            assert_eq!(grid.to_string().parse(), Ok(grid));
        }
        let error = "full".parse::<Grid>().unwrap_err().to_string();
        assert_eq!(error, "no such grid, expected `published` or `paper`");
    }
}
