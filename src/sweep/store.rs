//! A sweep being written.
//!
//! ```text
//! DIR/
//!   sweep.json     header: schema, id, plan, sessions with their machines; at the end counts and
//!                  status
//!   parts/         0000000-0000411.parquet: the shard's configurations from the first to the last,
//!                  in the order measured
//!   at             which session began which configuration last
//!   lock
//! ```
//!
//! How it survives being killed is the [folder store](crate::store)'s: a sweep loses at most the part
//! that it was collecting. A part's name says what it covers, and its metadata which sweep it is of, so
//! nothing is measured twice and nothing of another sweep is taken for its own.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::SweepError;
use super::folder::{part_files, read_part};
use super::header::{HEADER, SCHEMA_VERSION, SweepHeader, SweepSession, SweepStatus};
use super::order::Order;
use super::plan::SweepPlan;
use super::point::SweepPoint;
use super::rows;
use crate::file_error::FileError;
use crate::files;
use crate::record::now;
use crate::store::{self, Store};

impl Store<SweepHeader> {
    /// Continues the sweep in `path`, or begins it. Nothing is written before
    /// [`Self::begin_session`].
    pub(super) fn open(path: &Path, plan: SweepPlan) -> Result<Self, SweepError> {
        store::create_folder::<SweepHeader>(path)?;
        store::create_parts::<SweepHeader>(path)?;
        let Some(lock) = store::lock::<SweepHeader>(path)? else {
            return Err(SweepError::Locked { path: path.to_owned() });
        };
        let header = match path.join(HEADER).exists() {
            true => continued(path, &plan)?,
            false => begun(path, plan)?,
        };
        let store = Self::new(path.to_owned(), lock, header);
        store.remove_temporary_files()?;
        Ok(store)
    }

    /// Records that this process works on the sweep.
    pub(super) fn begin_session(&mut self, session: SweepSession) -> Result<(), FileError> {
        // of one that had ended, a part was lost: killed now, it still has to be continued
        (self.header.status, self.header.ended) = (SweepStatus::Unfinished, None);
        self.header.counts = None;
        self.header.sessions.push(session);
        self.write_header()
    }

    /// Records that the grid or the budget has ended.
    pub(super) fn end(&mut self, status: SweepStatus) -> Result<(), FileError> {
        self.header.status = status;
        self.header.ended = Some(now());
        self.write_header()
    }

    /// Reads every part, setting damaged ones aside. Returns the ordinals that sound parts cover, sorted,
    /// and what is wrong with damaged ones.
    pub(super) fn read_parts(
        &self,
        order: &Order,
        mut take: impl FnMut(&SweepPoint),
    ) -> Result<(Vec<Range<u32>>, Vec<String>), FileError> {
        let mut covered: Vec<Range<u32>> = Vec::new();
        let mut damaged = Vec::new();
        for (range, path) in part_files(&self.path, &self.header.plan)? {
            match read_part(&path, &self.header, order, &range) {
                Ok(points) => points.iter().for_each(&mut take),
                Err(error) if store::is_damage(&error) => {
                    store::set_aside(&path)?;
                    damaged.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            }
            match covered.last_mut() {
                Some(before) if before.end == range.start => before.end = range.end,
                _ => covered.push(range),
            }
        }
        Ok((covered, damaged))
    }

    pub(super) fn keep(&self, first: u32, points: &[SweepPoint]) -> Result<(), FileError> {
        write_part(&self.path, &self.header.sweep_id, first, points)
    }
}

/// Writes the part that begins with the configuration `first`.
pub(super) fn write_part(
    folder: &Path,
    sweep_id: &str,
    first: u32,
    points: &[SweepPoint],
) -> Result<(), FileError> {
    let last = first + points.len() as u32 - 1;
    rows::write(
        &store::part_path(folder, &format!("{first:07}-{last:07}.parquet")),
        sweep_id,
        points,
    )
}

fn begun(path: &Path, plan: SweepPlan) -> Result<SweepHeader, FileError> {
    if let Some((_, part)) = part_files(path, &plan)?.into_iter().next() {
        let error = FileError::read(&part, "it is of a sweep whose sweep.json is missing");
        return Err(error.with_hint("choose another folder with --out"));
    }
    let started = now();
    Ok(SweepHeader {
        schema_version: SCHEMA_VERSION,
        sweep_id: format!("sweep-{}", store::new_id(started)),
        status: SweepStatus::Unfinished,
        started,
        ended: None,
        plan,
        counts: None,
        sessions: Vec::new(),
        shards: Vec::new(),
    })
}

fn continued(path: &Path, plan: &SweepPlan) -> Result<SweepHeader, SweepError> {
    let header: SweepHeader = store::read_header(path)?;
    if !header.shards.is_empty() {
        let cause = "the sweep is merged from shards and cannot be continued";
        let error = FileError::new("continue", path, cause);
        return Err(error.with_hint("continue its shards, and merge them again").into());
    }
    let differences = header.plan.differences(plan);
    if !differences.is_empty() {
        let path = path.to_owned();
        return Err(SweepError::OtherPlan { path, differences: differences.join("; ") });
    }
    Ok(header)
}

/// The file `at`: which session began which configuration last. After a process died, it says which
/// configuration that was measuring.
pub(super) struct LastBegun {
    file: File,
    path: PathBuf,
}

impl LastBegun {
    /// Opens the mark in the folder of a sweep; there is none yet if the sweep `is_new`.
    pub(super) fn open(folder: &Path, is_new: bool) -> Result<Self, FileError> {
        let path = folder.join("at");
        let file = files::open_in_place(&path)?;
        let length = file.metadata().map_err(|error| FileError::read(&path, error))?.len();
        if is_new && length > 0 {
            let error = FileError::write(&path, "it is not of a sweep, expected no file");
            return Err(error.with_hint("choose another folder with --out"));
        }
        Ok(Self { file, path })
    }

    /// Records that the configuration is begun. The file is not synced, which would take longer than
    /// measuring: it outlives the process, and need not outlive the system.
    pub(super) fn set(&mut self, sessions: usize, ordinal: u32) -> Result<(), FileError> {
        let line = format!("{sessions:010} {ordinal:010}\n");
        let written = self.file.rewind().and_then(|()| self.file.write_all(line.as_bytes()));
        written.map_err(|error| FileError::write(&self.path, error))
    }

    /// The configuration that the last of so many sessions began last.
    pub(super) fn get(&self, sessions: usize) -> Option<u32> {
        let line = io::read_to_string(&self.file).ok()?;
        let (session, ordinal) = line.trim_end().split_once(' ')?;
        ordinal.parse().ok().filter(|_| session.parse() == Ok(sessions))
    }
}
