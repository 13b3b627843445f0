//! A finished run, read from its folder.

use std::path::{Path, PathBuf};

use super::launches::LaunchesFile;
use super::{MachineState, RunHeader, RunStatus};
use crate::file_error::FileError;
use crate::store::{Header, read_header};

/// A finished run, read from its folder.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct FinishedRun {
    pub header: RunHeader,
    pub path: PathBuf,
}

impl FinishedRun {
    /// Reads the header of a run that has finished.
    ///
    /// # Errors
    /// [`FileError`] where there is no run, or one of another schema, unfinished or incomplete.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let mut header: RunHeader = read_header(path)?;
        let wrong = |cause: String| FileError::read(&path.join(RunHeader::FILE), cause);
        if header.status == RunStatus::Unfinished {
            return Err(wrong(
                "the run is unfinished: repeat the command that began it to resume it".to_owned(),
            ));
        }
        let mut recorded: Vec<_> = header.configurations.iter().map(|c| &c.id).collect();
        let mut planned: Vec<_> = header.plan.ids.iter().collect();
        recorded.sort();
        planned.sort();
        if recorded != planned {
            let (recorded, planned) = (recorded.len(), planned.len());
            return Err(wrong(format!(
                "{recorded} configurations, expected the {planned} planned ones"
            )));
        }
        // records that have probes, and not yet their summary
        header.machine = header.machine.or_else(|| MachineState::new(&header.configurations));
        Ok(Self { header, path: path.to_owned() })
    }

    /// The raw launches, to be read a row group at a time.
    pub fn launches_file(&self) -> Result<LaunchesFile, FileError> {
        LaunchesFile::open(&self.path.join("launches.parquet"))
    }
}
