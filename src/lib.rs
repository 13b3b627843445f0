//! Benchmarks of 2-D convolutions that show what FLOPs hide.
//!
//! Data flows one way, and a module uses only what stands above it here:
//!
//! ```text
//! file_error          which file could not be used, why, and what to do
//! files               all that is written, moved or removed
//! checksum            checksums in our JSON and Parquet files
//! plain_text          names and messages of others, fit to be shown
//! terminal            all that is written to standard output and standard error
//! choice              names of the values of an enum, in settings, records and tables
//! columns             tables in Parquet files, whose columns are declared once
//! units, shape        what a convolution is, and how much of it
//! experiment          which convolutions are measured, and why: a table
//! protocol            what one timed launch means, and how many are enough
//! random, reference   reproducible tensors, and the sums to compare with
//! statistics          quantiles, fences, intervals of latencies
//! host                this machine's memory and clock
//! disturbance         what else the machine did meanwhile
//! backend             the backends there are; each prepares a convolution and launches it
//! workspace           where results go, in a checkout and elsewhere
//! settings            what this run is asked to do
//! selection           which backend it gets, and why
//! environment         on what it does it
//! budget              what a convolution should cost, and how a time budget is divided
//! measure             latencies of one convolution
//! store               folders that survive being killed
//! record              a run on disk
//! run                 every configuration, in a random order, resumable
//! sweep               a grid for the regression, as far as a time budget goes
//! bench               the experiments as criterion benchmarks: a run, replayed by criterion
//! ```
//!
//! The analysis crate takes it from there. `bench` is a default feature: without it, the library
//! needs neither criterion nor clap.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

// what tests and benches include names the library as they do
#[cfg(test)]
extern crate self as alpha_flops;

pub mod backend;
#[cfg(feature = "bench")]
pub mod bench;
mod budget;
pub mod checksum;
pub mod choice;
pub mod columns;
pub mod disturbance;
pub mod doctor;
pub mod environment;
pub mod experiment;
pub mod file_error;
pub mod files;
#[cfg(test)]
#[path = "../tests/fixtures/flipped_bits.rs"]
mod flipped_bits;
pub mod host;
pub mod measure;
#[cfg(test)]
#[path = "../tests/fixtures/null_backend.rs"]
mod null_backend;
pub mod plain_text;
pub mod plans;
pub mod protocol;
pub mod random;
pub mod record;
pub mod reference;
pub mod run;
pub mod selection;
pub mod settings;
pub mod shape;
pub mod statistics;
mod store;
pub mod sweep;
pub mod terminal;
pub mod units;
pub mod workspace;
