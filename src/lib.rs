//! Benchmarks of 2-D convolutions that show what FLOPs hide.
//!
//! Data flows one way: [`experiment`] defines configurations of a [`shape`], a [`backend`] runs
//! them, and what was measured goes on as numbers with [`units`].

pub mod atomic_file;
pub mod backend;
pub mod environment;
pub mod experiment;
pub mod measure;
pub mod protocol;
pub mod random;
pub mod record;
pub mod reference;
pub mod run;
pub mod settings;
pub mod shape;
pub mod statistics;
pub mod units;
