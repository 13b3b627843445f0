//! A run being written: its folder, its lock, and what is left when a process is killed.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    ConfigurationRecord, Part, RecordError, RunHeader, RunPlan, RunStatus, SCHEMA_VERSION, Session,
    launches, now, part_path, read_header, read_part, run_folders,
};
use crate::atomic_file::write_atomically;
use crate::file_error::FileError;
use crate::measure::SampleTimes;

/// A run being written by this process.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    header: RunHeader,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl RunFolder {
    /// A new run under `runs`.
    ///
    /// # Errors
    /// [`RecordError`] where the folder cannot be written.
    pub fn create(
        runs: &Path,
        plan: RunPlan,
        seed: u64,
        session: Session,
    ) -> Result<Self, RecordError> {
        let (run_id, path) = new_folder(runs, session.started)?;
        let lock = lock(&path)?;
        create_folder(&path.join("parts"))?;
        let header = RunHeader {
            schema_version: SCHEMA_VERSION,
            run_id,
            status: RunStatus::Unfinished,
            started: session.started,
            ended: None,
            seed,
            plan,
            sessions: vec![session],
            criterion_home: PathBuf::from("criterion"),
            criterion_baseline: "new".to_owned(),
            configurations: Vec::new(),
        };
        let folder = Self { path, header, _lock: lock };
        folder.write_header()?;
        Ok(folder)
    }

    /// The latest unfinished run under `runs` with an equal plan that no process works on.
    ///
    /// Folders that cannot be read are passed over: they can't be continued.
    ///
    /// # Errors
    /// [`RecordError`] where the run that was found cannot be taken up.
    pub fn resume(
        runs: &Path,
        plan: &RunPlan,
        session: &Session,
    ) -> Result<Option<Self>, RecordError> {
        for path in run_folders(runs).into_iter().rev() {
            let continues =
                |header: &RunHeader| header.status == RunStatus::Unfinished && header.plan == *plan;
            // finished runs have none, and their `run.json` may be of many megabytes
            let may_be_unfinished = path.join("parts").exists();
            if !may_be_unfinished || !read_header(&path).is_ok_and(|header| continues(&header)) {
                continue;
            }
            let lock = match lock(&path) {
                Err(RecordError::Locked { .. }) => continue,
                other => other?,
            };
            // once more: whoever had the lock may have finished it meanwhile
            let header = read_header(&path)?;
            if !continues(&header) {
                continue;
            }
            let mut folder = Self { path, header, _lock: lock };
            folder.header.sessions.push(session.clone());
            folder.write_header()?;
            return Ok(Some(folder));
        }
        Ok(None)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `run.json` says.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Says where criterion keeps this run's measurements.
    ///
    /// # Errors
    /// [`RecordError`] where `run.json` cannot be written.
    pub fn set_criterion(&mut self, home: PathBuf, baseline: &str) -> Result<(), RecordError> {
        self.header.criterion_home = home;
        self.header.criterion_baseline = baseline.to_owned();
        self.write_header()
    }

    /// Keeps one configuration's outcome; what was kept before is safe whatever happens.
    ///
    /// # Errors
    /// [`RecordError`] where the file cannot be written.
    pub fn keep(&self, part: &Part) -> Result<(), RecordError> {
        debug_assert_eq!(part.run_id, self.header.run_id);
        write_atomically(&part_path(&self.path, &part.record.id), |out| {
            serde_json::to_writer(out, part).map_err(io::Error::from)
        })?;
        Ok(())
    }

    /// What was kept of a configuration, if anything.
    ///
    /// # Errors
    /// [`RecordError`] where a file is there but cannot be read.
    pub fn part(&self, id: &str) -> Result<Option<Part>, RecordError> {
        let part = read_part(&self.path, id)?;
        match part {
            Some(part) if part.run_id != self.header.run_id => Err(RecordError::Content {
                path: part_path(&self.path, id),
                reason: format!("is of run {}, expected {}", part.run_id, self.header.run_id),
            }),
            part => Ok(part),
        }
    }

    /// Puts a configuration's file out of the way, so that it is measured again.
    ///
    /// # Errors
    /// [`RecordError`] where it cannot be renamed.
    pub fn set_aside(&self, id: &str) -> Result<(), RecordError> {
        let path = part_path(&self.path, id);
        fs::rename(&path, path.with_extension("json.damaged"))
            .map_err(|error| FileError::new("rename", &path, error).into())
    }

    /// Joins the parts into `launches.parquet` and marks the run finished.
    ///
    /// # Errors
    /// [`RecordError`] where a planned configuration has no outcome or a file cannot be written;
    /// the parts stay then.
    pub fn finish(&mut self) -> Result<(), RecordError> {
        let mut parts = Vec::with_capacity(self.header.plan.ids.len());
        for id in &self.header.plan.ids {
            parts.push(self.part(id)?.ok_or_else(|| RecordError::Content {
                path: part_path(&self.path, id),
                reason: "missing, expected one file a configuration".to_owned(),
            })?);
        }
        parts.sort_by_key(|part| part.position);
        let launches = parts.iter().map(|part| (part.record.id.as_str(), &part.times));
        launches::write(&self.path.join("launches.parquet"), launches)?;
        self.header.configurations = parts.into_iter().map(|part| part.record).collect();
        self.header.ended = Some(now());
        self.header.status = RunStatus::Finished;
        self.write_header()?;
        remove_leftovers(&self.path)
    }

    fn write_header(&self) -> Result<(), RecordError> {
        write_header(&self.path, &self.header)
    }
}

fn write_header(folder: &Path, header: &RunHeader) -> Result<(), RecordError> {
    write_atomically(&folder.join("run.json"), |out| {
        serde_json::to_writer_pretty(out, header).map_err(io::Error::from)
    })?;
    Ok(())
}

/// Writes a finished run that no benchmark measured into a new `folder`, without criterion's files:
/// one that is simulated, or joined from others. Its configurations, with what `header` says of the run,
/// come one by one, so that their launches need not be in memory; the `status` and `configurations` of
/// `header` are replaced.
///
/// # Errors
/// [`RecordError`] where the folder exists or cannot be written.
pub fn write_finished(
    folder: &Path,
    header: RunHeader,
    configurations: impl Iterator<Item = (ConfigurationRecord, SampleTimes)>,
) -> Result<(), RecordError> {
    if let Some(runs) = folder.parent() {
        create_folder(runs)?;
    }
    fs::create_dir(folder).map_err(|error| FileError::create(folder, error))?;
    let mut records = Vec::new();
    let launches = configurations.map(|(record, times)| {
        let id = record.id.clone();
        records.push(record);
        (id, times)
    });
    launches::write(&folder.join("launches.parquet"), launches)?;
    let status = RunStatus::Finished;
    write_header(folder, &RunHeader { status, configurations: records, ..header })
}

/// Removes what a finished run no longer needs: parts, which `launches.parquet` owns now, and what
/// killed processes were writing. Whoever calls it holds the run's lock.
fn remove_leftovers(folder: &Path) -> Result<(), RecordError> {
    let unread = |error| FileError::read(folder, error);
    for entry in fs::read_dir(folder).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path).map_err(|error| FileError::new("remove", &path, error))?;
        }
    }
    // last: while it is there, `tidy_up` knows that there is something left
    let parts = folder.join("parts");
    match fs::remove_dir_all(&parts) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", &parts, error).into())
        }
        _ => Ok(()),
    }
}

/// Removes the leftovers of finished runs whose process was killed before it could.
///
/// # Errors
/// [`RecordError`] where they cannot be removed.
pub fn tidy_up(runs: &Path) -> Result<(), RecordError> {
    for path in run_folders(runs) {
        let finished = || read_header(&path).is_ok_and(|run| run.status == RunStatus::Finished);
        if path.join("parts").exists() && finished() {
            match lock(&path) {
                Ok(_lock) => remove_leftovers(&path)?,
                Err(RecordError::Locked { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// A folder that no other run has, however many begin in one second.
fn new_folder(runs: &Path, started: Timestamp) -> Result<(String, PathBuf), RecordError> {
    create_folder(runs)?;
    loop {
        // std's hasher is seeded from the system's randomness
        let random = RandomState::new().hash_one(std::process::id()) as u16;
        let run_id = format!("{}-{random:04x}", started.strftime("%Y-%m-%dt%H-%M-%Sz"));
        let path = runs.join(&run_id);
        match fs::create_dir(&path) {
            Ok(()) => return Ok((run_id, path)),
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(FileError::create(&path, error).into()),
        }
    }
}

fn create_folder(path: &Path) -> Result<(), RecordError> {
    fs::create_dir_all(path).map_err(|error| FileError::create(path, error).into())
}

fn lock(folder: &Path) -> Result<File, RecordError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(|error| FileError::write(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(RecordError::Locked { path }),
        Err(fs::TryLockError::Error(error)) => Err(FileError::new("lock", &path, error).into()),
    }
}
