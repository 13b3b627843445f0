//! Benchmarks of 2-D convolutions that show what FLOPs hide.
//!
//! Data flows one way: [`experiment`] defines configurations of a [`shape`], a [`backend`] runs
//! them, and what was measured goes on as numbers with [`units`].

pub mod atomic_file;
pub mod backend;
pub mod experiment;
pub mod shape;
pub mod statistics;
pub mod units;
