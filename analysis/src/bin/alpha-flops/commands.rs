//! The commands, one file each: its arguments, whose doc comments are its `--help`, and its `run`.

pub mod archive;
pub mod bench;
pub mod compare;
pub mod crossvalidate;
mod data;
pub mod doctor;
pub mod evaluate;
pub mod experiments;
pub mod export;
pub mod fit;
pub mod history;
pub mod import;
pub mod plans;
pub mod replicate;
pub mod report;
pub mod selftest;
pub mod sweep;
pub mod uncertainty;
pub mod variance;
