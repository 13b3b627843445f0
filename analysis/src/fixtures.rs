//! What unit tests share. Files of `tests/integration/fixtures` are shared with the tests there.

#[path = "../tests/integration/fixtures/data_files.rs"]
pub mod data_files;
#[path = "../tests/integration/fixtures/datasets.rs"]
pub mod datasets;
#[path = "../tests/integration/fixtures/random.rs"]
pub mod random;
pub mod replayed;
#[path = "../tests/integration/fixtures/runs.rs"]
pub mod runs;
#[path = "../tests/integration/fixtures/trends.rs"]
pub mod trends;
