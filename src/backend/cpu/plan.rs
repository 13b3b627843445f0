//! Decides which algorithm computes a shape, and says why.

use super::AlgorithmChoice;
use super::explicit::Explicit;
use super::gemv::Gemv;
use super::shift::Image;
use super::slab::Slab;
use super::team::Team;
use super::tiled::Tiled;
use crate::shape::ConvShape;

/// An algorithm with its tile sizes and division of work, fixed for one shape and thread count.
pub(super) enum Plan {
    Explicit(Explicit),
    Slab(Slab),
    Tiled(Tiled),
    Gemv(Gemv),
}

impl Plan {
    pub(super) fn new(choice: AlgorithmChoice, shape: ConvShape, threads: usize) -> Self {
        let tiled = || Self::Tiled(Tiled::new(shape, threads));
        match choice {
            AlgorithmChoice::Auto => Self::fastest(shape, threads),
            AlgorithmChoice::Explicit => Self::Explicit(Explicit::new(shape)),
            AlgorithmChoice::Slab => Self::Slab(Slab::new(shape, threads)),
            AlgorithmChoice::Tiled => tiled(),
            AlgorithmChoice::Gemv => Gemv::new(shape, threads).map_or_else(tiled, Self::Gemv),
        }
    }

    /// The algorithm that measured fastest on the shapes of the experiments; the choice affects only
    /// speed.
    fn fastest(shape: ConvShape, threads: usize) -> Self {
        // Few pixels, 1×1: each weight is used a few times only, so time is that of reading the
        // weights, and dot products read them as they lie.
        if let Some(gemv) = Gemv::new(shape, threads) {
            return Self::Gemv(gemv);
        }
        // 1×1: the input is its own im2col matrix, there is nothing for a slab to save.
        if shape.kernel() == 1 || tiled_cost(shape) < slab_cost(shape) {
            return Self::Tiled(Tiled::new(shape, threads));
        }
        Self::Slab(Slab::new(shape, threads))
    }

    /// In `[a-z-]`, for the record.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Explicit(_) => "explicit",
            Self::Slab(slab) => slab.name(),
            Self::Tiled(tiled) => tiled.name(),
            Self::Gemv(_) => "skinny",
        }
    }

    /// Elements of scratch memory.
    pub(super) fn workspace_len(&self) -> usize {
        match self {
            Self::Explicit(explicit) => explicit.workspace_len(),
            Self::Slab(slab) => slab.workspace_len(),
            Self::Tiled(tiled) => tiled.workspace_len(),
            Self::Gemv(gemv) => gemv.workspace_len(),
        }
    }

    /// One forward pass: `(input, weights)` to `output`.
    pub(super) fn run(
        &self,
        team: &Team,
        tensors: (Image<'_>, &[f32]),
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        match self {
            Self::Explicit(explicit) => explicit.run(team, tensors, workspace, output),
            Self::Slab(slab) => slab.run(team, tensors, workspace, output),
            Self::Tiled(tiled) => tiled.run(team, tensors, workspace, output),
            Self::Gemv(gemv) => gemv.run(team, tensors, workspace, output),
        }
    }
}

/// Time per multiply–add of the slab algorithm, relative to its time on a large image.
///
/// It skips work that touches only padding; that is most of the work if the kernel is larger than the
/// image. The cost per weight (repacking, and one product per kernel row) is shared by all pixels,
/// and equals the cost of 150 pixels.
fn slab_cost(shape: ConvShape) -> f64 {
    Slab::executed_share(shape) * (1.0 + 150.0 / shape.pixels() as f64)
}

/// The same for the tiled algorithm with K > 1.
///
/// Its products are a quarter slower on a large image, because im2col is `K` times as large as the
/// slab and does not stay in the caches. The cost of filling a block is shared by all output channels,
/// and equals the cost of 30 of them.
fn tiled_cost(shape: ConvShape) -> f64 {
    1.25 * (1.0 + 30.0 / shape.out_channels() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_shape_gets_the_algorithm_that_was_fastest_for_it() {
        let planned = |id: &str, threads| {
            Plan::new(AlgorithmChoice::Auto, id.parse().unwrap(), threads).name()
        };
        // weights of a gigabyte on two pixels
        assert_eq!(planned("h=1_w=2_in=25600_out=12800_k=1", 1), "skinny");
        assert_eq!(planned("h=4_w=4_in=6400_out=6400_k=1", 1), "tiled-channels");
        assert_eq!(planned("h=300_w=300_in=50_out=50_k=1", 2), "tiled-pixels");
        // many weights, each for a hundred pixels
        assert_eq!(planned("h=10_w=10_in=900_out=1000_k=5", 2), "tiled-depth");
        // most taps see only padding
        assert_eq!(planned("h=10_w=10_in=150_out=150_k=30", 2), "slab-depth");
        assert_eq!(planned("h=100_w=640_in=150_out=100_k=3", 2), "slab-pixels");
    }

    #[test]
    fn algorithms_that_cannot_take_a_shape_leave_it_to_tiled() {
        let shape = "h=3_w=3_in=2_out=2_k=1".parse().unwrap();
        assert_eq!(Plan::new(AlgorithmChoice::Gemv, shape, 1).name(), "tiled-channels");
    }
}
