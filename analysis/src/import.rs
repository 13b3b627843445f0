//! Other people's measurements as a [`Dataset`](crate::dataset::Dataset), one module a source.

pub mod asperti;
mod pickle;
