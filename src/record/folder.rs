//! A run being written: taken up or begun, kept part by part, and finished.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    ConfigurationRecord, Part, RunHeader, RunPlan, RunStatus, SCHEMA_VERSION, Session, launches,
    now,
};
use crate::file_error::FileError;
use crate::measure::SampleTimes;
use crate::store::{self, Header, Store, read_header, read_json};

/// A run being written by this process.
#[derive(Debug)]
pub struct RunFolder(Store<RunHeader>);

impl RunFolder {
    /// Begins a run in a new folder under `runs`.
    pub fn create(
        runs: &Path,
        plan: RunPlan,
        seed: u64,
        session: Session,
    ) -> Result<Self, FileError> {
        let (run_id, path, lock) = new_folder(runs, session.started)?;
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
        let store = Store::new(path, lock, header);
        store.write_header()?;
        Ok(Self(store))
    }

    /// Takes up the latest unfinished run under `runs` that has an equal plan and that no process works
    /// on. Folders that cannot be read are ignored: they can't be continued.
    pub fn resume(
        runs: &Path,
        plan: &RunPlan,
        session: &Session,
    ) -> Result<Option<Self>, FileError> {
        let continues =
            |header: &RunHeader| header.status == RunStatus::Unfinished && header.plan == *plan;
        for path in run_folders(runs).into_iter().rev() {
            // finished runs have none, and their `run.json` may be of many megabytes
            let may_be_unfinished = path.join("parts").exists();
            if !may_be_unfinished || !read_header(&path).is_ok_and(|header| continues(&header)) {
                continue;
            }
            let Some(lock) = store::lock::<RunHeader>(&path)? else { continue };
            // once more: whoever had the lock may have finished it meanwhile
            let header = read_header(&path)?;
            if !continues(&header) {
                continue;
            }
            let mut store = Store::new(path, lock, header);
            store.header.sessions.push(session.clone());
            store.write_header()?;
            return Ok(Some(Self(store)));
        }
        Ok(None)
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What `run.json` says.
    pub fn header(&self) -> &RunHeader {
        &self.0.header
    }

    /// Records where criterion keeps this run's measurements.
    pub fn set_criterion(&mut self, home: PathBuf, baseline: &str) -> Result<(), FileError> {
        self.0.header.criterion_home = home;
        self.0.header.criterion_baseline = baseline.to_owned();
        self.0.write_header()
    }

    /// Writes one configuration's outcome to its part.
    pub fn keep(&self, part: &Part) -> Result<(), FileError> {
        debug_assert_eq!(part.run_id, self.header().run_id);
        let path = part_path(self.path(), &part.record.id);
        store::write::<RunHeader>(&path, |out| Ok(serde_json::to_writer(out, part)?))
    }

    /// The part of a configuration, if it has an outcome.
    pub fn part(&self, id: &str) -> Result<Option<Part>, FileError> {
        let (part, expected) = (read_part(self.path(), id)?, &self.header().run_id);
        match part {
            Some(Part { run_id, .. }) if run_id != *expected => {
                let cause = format!("is of run {run_id}, expected {expected}");
                Err(FileError::read(&part_path(self.path(), id), cause))
            }
            part => Ok(part),
        }
    }

    /// Sets damaged parts aside, so that their configurations are measured again. Returns the number of
    /// sound parts, and what is wrong with each damaged one.
    pub(crate) fn check_parts(
        &self,
        ids: impl Iterator<Item = String>,
    ) -> Result<(usize, Vec<String>), FileError> {
        let (mut sound, mut damaged) = (0, Vec::new());
        for id in ids {
            match self.part(&id) {
                Ok(part) => sound += usize::from(part.is_some()),
                Err(error) if store::is_damage(&error) => {
                    store::set_aside(&part_path(self.path(), &id))?;
                    damaged.push(error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok((sound, damaged))
    }

    /// Joins the parts into `launches.parquet` and marks the run finished.
    ///
    /// # Errors
    /// [`FileError`] where a planned configuration has no outcome or a file cannot be written;
    /// the parts stay then.
    pub fn finish(&mut self) -> Result<(), FileError> {
        let Store { path, header, .. } = &self.0;
        let mut parts = Vec::with_capacity(header.plan.ids.len());
        for id in &header.plan.ids {
            parts.push(self.part(id)?.ok_or_else(|| {
                let cause = "missing, expected one file for each configuration";
                FileError::read(&part_path(path, id), cause)
            })?);
        }
        parts.sort_by_key(|part| part.position);
        let launches = parts.iter().map(|part| (part.record.id.as_str(), &part.times));
        launches::write(&path.join("launches.parquet"), launches)?;
        let header = &mut self.0.header;
        header.configurations = parts.into_iter().map(|part| part.record).collect();
        header.ended = Some(now());
        header.status = RunStatus::Finished;
        self.0.write_header()?;
        remove_leftovers(self.path())
    }
}

/// Writes a finished run that was simulated or joined from others into a new `folder`, without
/// criterion's files. Configurations come one by one, so that their launches need not all be in memory;
/// they replace those of `header`, and its status.
///
/// # Errors
/// [`FileError`] where the folder exists or cannot be written.
pub fn write_finished(
    folder: &Path,
    header: RunHeader,
    configurations: impl Iterator<Item = (ConfigurationRecord, SampleTimes)>,
) -> Result<(), FileError> {
    if let Some(runs) = folder.parent() {
        store::create_folder::<RunHeader>(runs)?;
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
    store::write_header(folder, &RunHeader { status, configurations: records, ..header })
}

/// Adds what to do where a run's folder cannot be written.
pub fn hinted(error: FileError) -> FileError {
    store::hinted::<RunHeader>(error)
}

/// The plan of the run in `folder`, finished or not.
///
/// # Errors
/// [`FileError`] where there is no run, or one of another schema.
pub fn read_plan(folder: &Path) -> Result<RunPlan, FileError> {
    Ok(read_header::<RunHeader>(folder)?.plan)
}

/// The part of a configuration in an unfinished run, if it has an outcome.
pub fn read_part(folder: &Path, id: &str) -> Result<Option<Part>, FileError> {
    let path = part_path(folder, id);
    if !path.exists() {
        return Ok(None);
    }
    let part: Part = read_json(&path)?;
    if part.record.id == id {
        return Ok(Some(part));
    }
    Err(FileError::read(&path, format!("holds {}, expected {id}", part.record.id)))
}

fn part_path(folder: &Path, id: &str) -> PathBuf {
    store::part_path(folder, &format!("{}.json", id.replace('/', "-")))
}

/// Folders with a `run.json`, oldest first (their names begin with the time).
fn run_folders(runs: &Path) -> Vec<PathBuf> {
    let mut folders = store::entries(runs).unwrap_or_default();
    folders.retain(|path| path.join(RunHeader::FILE).is_file());
    folders.sort();
    folders
}

/// Removes what a finished run no longer needs: its parts, whose launches `launches.parquet` has, and
/// temporary files. Only the process with the lock may call it.
fn remove_leftovers(folder: &Path) -> Result<(), FileError> {
    store::remove_temporary_files(folder)?;
    // last: while it is there, `tidy_up` knows that there is something left
    let parts = folder.join("parts");
    match fs::remove_dir_all(&parts) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", &parts, error))
        }
        _ => Ok(()),
    }
}

/// Removes what is left over in finished runs whose process was killed before it could do so.
pub fn tidy_up(runs: &Path) -> Result<(), FileError> {
    let is_finished = |header: RunHeader| header.status == RunStatus::Finished;
    for path in run_folders(runs) {
        if path.join("parts").exists()
            && read_header(&path).is_ok_and(is_finished)
            && let Some(_lock) = store::lock::<RunHeader>(&path)?
        {
            remove_leftovers(&path)?;
        }
    }
    Ok(())
}

/// A new folder, locked; no two runs get the same, even if they begin in the same second.
fn new_folder(runs: &Path, started: Timestamp) -> Result<(String, PathBuf, File), FileError> {
    store::create_folder::<RunHeader>(runs)?;
    loop {
        let run_id = store::new_id(started);
        let path = runs.join(&run_id);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created.map_err(|error| hinted(FileError::create(&path, error)))?,
        }
        // nobody else takes a folder without a header
        if let Some(lock) = store::lock::<RunHeader>(&path)? {
            store::create_folder::<RunHeader>(&path.join("parts"))?;
            return Ok((run_id, path, lock));
        }
    }
}
