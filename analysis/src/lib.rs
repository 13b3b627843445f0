//! Reads what was measured, fits α-FLOPs to it and judges the fit.
//!
//! Data flows one way, and a module uses only what stands above it here:
//!
//! ```text
//! in_order            names, items by name and errors, in the order of their first appearance
//! dataset             configurations with their latencies, and where these come from
//! table               a table as data: text, Markdown, CSV
//! experiments         the experiments as a table
//! run, simulate       a run as every analysis reads it; runs made up from a known truth
//! criterion_json      the only reader of criterion's files
//! model               the formula of α-FLOPs, its conventions, its coefficients
//! metrics             how far estimates are from measurements
//! import              runs, sweeps and other people's data as datasets
//! export              datasets and launches in the formats of other tools
//! fit, crossvalidate  coefficients of a dataset, how sure they are, how well they predict
//! moderated_variance  variances of many configurations, each from few values
//! objectives          the answers RO1–RO3
//! differences         what differs between the environments of runs
//! archive             runs kept for each target
//! variance            how launches and runs vary
//! compare, selftest   which configurations an update made slower; how often that is wrong
//! history             a target's runs over time
//! plans               what cuDNN would run: files, and how two of them differ
//! plot                figures of all of these
//! report              figures, tables and answers in one folder
//! replicate           the main job: measure, import, report
//! ```
//!
//! What is computed is data first; tables and figures are made of it, and the binary prints and draws.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

// what tests include names the library as they do
#[cfg(test)]
extern crate self as alpha_flops_analysis;

pub mod archive;
pub mod compare;
pub mod criterion_json;
pub mod crossvalidate;
pub mod dataset;
pub mod differences;
pub mod experiments;
pub mod export;
pub mod fit;
#[cfg(test)]
mod fixtures;
pub mod history;
pub mod import;
pub mod in_order;
pub mod metrics;
pub mod model;
pub mod moderated_variance;
pub mod objectives;
pub mod plans;
pub mod plot;
pub mod replicate;
pub mod report;
pub mod run;
pub mod selftest;
pub mod simulate;
pub mod table;
pub mod variance;
