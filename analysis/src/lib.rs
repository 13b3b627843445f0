//! Reads what was measured, fits α-FLOPs to it and judges the fit.

pub mod dataset;
pub mod plot;
