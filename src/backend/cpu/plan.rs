//! Which algorithm computes which shape, and why: the one place that decides.

use super::AlgorithmChoice;
use super::explicit::Explicit;
use super::skinny::Skinny;
use super::slab::Slab;
use super::team::Team;
use super::tiled::Tiled;
use crate::shape::ConvShape;

/// An algorithm with its tile sizes and division of work, fixed for one shape and thread count.
pub(super) enum Plan {
    Explicit(Explicit),
    Slab(Slab),
    Tiled(Tiled),
    Skinny(Skinny),
}

impl Plan {
    pub(super) fn new(choice: AlgorithmChoice, shape: ConvShape, threads: usize) -> Self {
        let tiled = || Self::Tiled(Tiled::new(shape, threads));
        match choice {
            AlgorithmChoice::Auto => Self::fastest(shape, threads),
            AlgorithmChoice::Explicit => Self::Explicit(Explicit::new(shape)),
            AlgorithmChoice::Slab => Self::Slab(Slab::new(shape, threads)),
            AlgorithmChoice::Tiled => tiled(),
            AlgorithmChoice::Skinny => Skinny::new(shape, threads).map_or_else(tiled, Self::Skinny),
        }
    }

    fn fastest(shape: ConvShape, threads: usize) -> Self {
        if let Some(skinny) = Skinny::new(shape, threads) {
            return Self::Skinny(skinny);
        }
        if shape.kernel() == 1 {
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
            Self::Skinny(_) => "skinny",
        }
    }

    /// Elements of scratch memory.
    pub(super) fn workspace_len(&self) -> usize {
        match self {
            Self::Explicit(explicit) => explicit.workspace_len(),
            Self::Slab(slab) => slab.workspace_len(),
            Self::Tiled(tiled) => tiled.workspace_len(),
            Self::Skinny(skinny) => skinny.workspace_len(),
        }
    }

    /// One forward pass: `[input, weights]` to `output`.
    pub(super) fn run(
        &self,
        team: &Team,
        tensors: [&[f32]; 2],
        workspace: &mut [f32],
        output: &mut [f32],
    ) {
        match self {
            Self::Explicit(explicit) => explicit.run(team, tensors, workspace, output),
            Self::Slab(slab) => slab.run(team, tensors, workspace, output),
            Self::Tiled(tiled) => tiled.run(team, tensors, workspace, output),
            Self::Skinny(skinny) => skinny.run(team, tensors, workspace, output),
        }
    }
}
