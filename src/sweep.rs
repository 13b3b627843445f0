//! The sweep that α-FLOPs is fitted on: a large grid, measured in an order that may be stopped
//! anywhere, and kept so that nothing is measured twice.

pub mod grid;
pub mod order;
