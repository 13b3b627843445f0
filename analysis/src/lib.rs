//! Reads what was measured, fits α-FLOPs to it and judges the fit.

pub mod archive;
pub mod compare;
pub mod criterion_json;
pub mod crossvalidate;
pub mod dataset;
pub mod differences;
pub mod fit;
pub mod grouping;
pub mod history;
pub mod import;
pub mod metrics;
pub mod model;
pub mod objectives;
pub mod plot;
pub mod replicate;
pub mod report;
pub mod run;
pub mod selftest;
pub mod simulate;
pub mod suite;
pub mod table;
pub mod variance;
