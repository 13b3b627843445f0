//! The experiments as criterion benchmarks.
fn main() {}
