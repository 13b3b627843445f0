//! A sweep on disk.
//!
//! ```text
//! DIR/
//!   sweep.json     header: schema, id, plan, sessions with their machines; at the end counts and
//!                  status
//!   parts/         0000000-0000411.parquet: the shard's configurations from the first to the last,
//!                  in the order measured; one that cannot be read is set aside as `.damaged` and
//!                  measured again
//!   at             which session began which configuration last
//!   lock           held while a process works on the sweep
//! ```
//!
//! Every file is written to a temporary name, synced and renamed: a sweep that is killed loses at most
//! the part that it was collecting. A part's name says what it covers, and its metadata which sweep it
//! is of, so nothing is measured twice and nothing of another sweep is taken for its own.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::rows::{self, Visit};
use super::{Status, SweepError, SweepHeader, SweepPlan, SweepSession};
use crate::atomic_file::write_atomically;
use crate::file_error::FileError;
use crate::record::now;

/// The file that makes a folder one of a sweep.
pub const HEADER: &str = "sweep.json";

/// Version of the folder's layout, of `sweep.json` and of the parts' columns.
pub const SCHEMA_VERSION: u32 = 2;

/// A sweep's folder, for as long as this process works on it.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) path: PathBuf,
    pub(super) header: SweepHeader,
    /// `at`.
    at: File,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl Store {
    /// Takes up the sweep in `path`, or begins it. Nothing is written before
    /// [`Self::begin_session`].
    pub(super) fn open(path: &Path, plan: SweepPlan) -> Result<Self, SweepError> {
        create_folder(&path.join("parts"))?;
        let lock = lock(path)?;
        let header = match path.join("sweep.json").exists() {
            true => continued(path, &plan)?,
            false => begun(path, plan)?,
        };
        let at = path.join("at");
        let at = File::options().create(true).truncate(false).read(true).write(true).open(&at);
        let at = at.map_err(|error| FileError::write(&path.join("at"), error))?;
        let store = Self { path: path.to_owned(), header, at, _lock: lock };
        store.remove_leftovers()?;
        Ok(store)
    }

    /// From now on, what is kept is of `session`.
    pub(super) fn begin_session(&mut self, session: SweepSession) -> Result<(), SweepError> {
        // of one that had ended, a part was lost: killed now, it still has to be continued
        (self.header.status, self.header.ended) = (Status::Unfinished, None);
        self.header.counts = None;
        self.header.sessions.push(session);
        self.write_header()
    }

    /// Notes that the configuration is begun. It is not synced: that would take longer than measuring,
    /// and what the death of a process leaves is enough.
    pub(super) fn begin(&self, ordinal: u32) -> Result<(), SweepError> {
        let session = self.header.sessions.len();
        let line = format!("{session:010} {ordinal:010}\n");
        let written = (&self.at).rewind().and_then(|()| (&self.at).write_all(line.as_bytes()));
        written.map_err(|error| FileError::write(&self.path.join("at"), error).into())
    }

    /// The configuration that the last session began last.
    pub(super) fn last_begun(&self) -> Option<u32> {
        let line = io::read_to_string(&self.at).ok()?;
        let (session, ordinal) = line.trim_end().split_once(' ')?;
        let last = session.parse() == Ok(self.header.sessions.len());
        ordinal.parse().ok().filter(|_| last)
    }

    pub(super) fn write_header(&self) -> Result<(), SweepError> {
        write_header(&self.path, &self.header)
    }

    /// Reads every part, setting damaged ones aside; says which ordinals are covered, sorted, and
    /// which files were damaged.
    pub(super) fn read_parts(
        &self,
        mut take: impl FnMut(&Visit),
    ) -> Result<(Vec<Range<u32>>, Vec<String>), SweepError> {
        let mut covered: Vec<Range<u32>> = Vec::new();
        let mut damaged = Vec::new();
        for (range, path) in parts(&self.path)? {
            let visits = match read_part(&path, &self.header, &range) {
                Ok(visits) => visits,
                Err(error @ SweepError::Content { .. }) => {
                    let aside = path.with_extension("parquet.damaged");
                    fs::rename(&path, aside)
                        .map_err(|error| FileError::new("rename", &path, error))?;
                    damaged.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if covered.last().is_some_and(|before| before.end > range.start) {
                let reason = "covers configurations that another part has, too".to_owned();
                return Err(SweepError::content(&path, reason));
            }
            visits.iter().for_each(&mut take);
            match covered.last_mut() {
                Some(before) if before.end == range.start => before.end = range.end,
                _ => covered.push(range),
            }
        }
        Ok((covered, damaged))
    }

    pub(super) fn keep(&self, first: u32, visits: &[Visit]) -> Result<(), SweepError> {
        let last = first + visits.len() as u32 - 1;
        let path = self.path.join("parts").join(format!("{first:07}-{last:07}.parquet"));
        rows::write(&path, &self.header.sweep_id, visits)
    }

    /// What killed processes were writing.
    fn remove_leftovers(&self) -> Result<(), SweepError> {
        for folder in [self.path.clone(), self.path.join("parts")] {
            for path in entries(&folder)? {
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    fs::remove_file(&path)
                        .map_err(|error| FileError::new("remove", &path, error))?;
                }
            }
        }
        Ok(())
    }
}

fn begun(path: &Path, plan: SweepPlan) -> Result<SweepHeader, SweepError> {
    if let Some((_, part)) = parts(path)?.into_iter().next() {
        let reason = "is of a sweep whose sweep.json is missing; choose another folder".to_owned();
        return Err(SweepError::content(&part, reason));
    }
    // std's hasher is seeded from the system's randomness
    let random = RandomState::new().hash_one(std::process::id()) as u16;
    let started = now();
    Ok(SweepHeader {
        schema_version: SCHEMA_VERSION,
        sweep_id: format!("sweep-{}-{random:04x}", started.strftime("%Y-%m-%dt%H-%M-%Sz")),
        status: Status::Unfinished,
        started,
        ended: None,
        plan,
        counts: None,
        sessions: Vec::new(),
        shards: Vec::new(),
    })
}

fn continued(path: &Path, plan: &SweepPlan) -> Result<SweepHeader, SweepError> {
    let header = read_header(path)?;
    if !header.shards.is_empty() {
        let reason = "is merged from shards and cannot be continued: continue those".to_owned();
        return Err(SweepError::content(&path.join("sweep.json"), reason));
    }
    let differences = header.plan.differences(plan);
    if !differences.is_empty() {
        let path = path.to_owned();
        return Err(SweepError::OtherPlan { path, differences: differences.join("; ") });
    }
    Ok(header)
}

/// A part, with the check that it holds what its name says, of the sweep that it lies in.
pub(super) fn read_part(
    path: &Path,
    header: &SweepHeader,
    range: &Range<u32>,
) -> Result<Vec<Visit>, SweepError> {
    let mut visits = Vec::with_capacity(range.len());
    rows::read(path, &header.sweep_id, |visit| {
        visits.push(visit);
        Ok(())
    })?;
    let wrong = |reason: String| Err(SweepError::content(path, reason));
    if visits.len() != range.len() {
        return wrong(format!("{} rows, expected {}", visits.len(), range.len()));
    }
    for (ordinal, visit) in range.clone().zip(&visits) {
        // of a merged sweep, ordinals say nothing about positions
        let expected = header.plan.shard.position(ordinal);
        if header.shards.is_empty() && visit.position != expected {
            return wrong(format!("position {}, expected {expected}", visit.position));
        }
        let sessions = header.sessions.len();
        if visit.session as usize >= sessions {
            return wrong(format!("session {}, expected one of {sessions}", visit.session));
        }
    }
    Ok(visits)
}

/// Parts with what their names say that they cover, in order.
pub(super) fn parts(folder: &Path) -> Result<Vec<(Range<u32>, PathBuf)>, SweepError> {
    let mut parts = Vec::new();
    for path in entries(&folder.join("parts"))? {
        if path.extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        let range = path.file_stem().and_then(|stem| {
            let (first, last) = stem.to_str()?.split_once('-')?;
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(first..last.checked_add(1)?)
        });
        let Some(range) = range else {
            let reason = "no part's name; move the file elsewhere".to_owned();
            return Err(SweepError::content(&path, reason));
        };
        parts.push((range, path));
    }
    parts.sort_by_key(|(range, _)| range.start);
    Ok(parts)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SweepError> {
    let error = |error| FileError::read(folder, error);
    let entries = fs::read_dir(folder).map_err(error)?;
    entries.map(|entry| Ok(entry.map_err(error)?.path())).collect()
}

/// What `sweep.json` in a folder says.
pub(super) fn read_header(folder: &Path) -> Result<SweepHeader, SweepError> {
    /// The one field that every schema has.
    #[derive(Deserialize)]
    struct Schema {
        schema_version: u32,
    }
    let path = folder.join("sweep.json");
    let bytes = fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SweepError::NoSweep { path: folder.to_owned() },
        _ => FileError::read(&path, source).into(),
    })?;
    let content = |error: serde_json::Error| SweepError::content(&path, error.to_string());
    let Schema { schema_version } = serde_json::from_slice(&bytes).map_err(content)?;
    if schema_version != SCHEMA_VERSION {
        let reason = format!(
            "schema_version is {schema_version}, expected {SCHEMA_VERSION}: it is of another version \
             of alpha-flops, which can read and continue it"
        );
        return Err(SweepError::content(&path, reason));
    }
    serde_json::from_slice(&bytes).map_err(content)
}

pub(super) fn write_header(folder: &Path, header: &SweepHeader) -> Result<(), SweepError> {
    write_atomically(&folder.join("sweep.json"), |out| {
        serde_json::to_writer_pretty(out, header).map_err(io::Error::from)
    })?;
    Ok(())
}

pub(super) fn create_folder(path: &Path) -> Result<(), SweepError> {
    fs::create_dir_all(path).map_err(|error| FileError::create(path, error).into())
}

pub(super) fn lock(folder: &Path) -> Result<File, SweepError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| FileError::write(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(SweepError::Locked { path }),
        Err(fs::TryLockError::Error(error)) => Err(FileError::new("lock", &path, error).into()),
    }
}

/// The end of a sweep or of its budget.
pub(super) fn end(store: &mut Store, status: Status) -> Result<(), SweepError> {
    store.header.status = status;
    store.header.ended = Some(now());
    store.write_header()
}
