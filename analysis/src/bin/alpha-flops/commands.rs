//! The commands, one file each: its arguments, as `--help` shows them, and what it does with them.

pub mod archive;
pub mod compare;
pub mod crossvalidate;
mod data;
pub mod evaluate;
pub mod experiments;
pub mod fit;
pub mod history;
pub mod import;
pub mod replicate;
pub mod report;
pub mod selftest;
pub mod sweep;
pub mod uncertainty;
pub mod variance;
