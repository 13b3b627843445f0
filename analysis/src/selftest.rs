//! How often verdicts about two sets of launches are right, where the truth is known.

pub mod criterion;
