//! A run being written: taken up or begun, kept part by part, and finished.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    ConfigurationRecord, MachineState, Part, Quiet, RunHeader, RunPlan, RunStatus, SCHEMA_VERSION,
    Session, launches, now, passes,
};
use crate::checksum::sealed_json;
use crate::file_error::FileError;
use crate::files;
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
        store::create_folder::<RunHeader>(runs)?;
        let (run_id, path) = new_place(runs, session.started);
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
            quiet: None,
            usual_multiply_add_ns: None,
            machine: None,
            configurations: Vec::new(),
        };
        let mut lock = None;
        // a start that fails, at whatever moment, leaves no folder without a header behind
        files::write_folder(&path, |folder| {
            lock = store::try_lock::<RunHeader>(folder)?;
            store::create_parts::<RunHeader>(folder)?;
            store::write_header(folder, &header)
        })
        .map_err(hinted)?;
        let lock = lock.ok_or_else(|| FileError::new("lock", &path, "another process has it"))?;
        Ok(Self(Store::new(path, lock, header)))
    }

    /// Takes up the latest unfinished run under `runs` that has an equal plan and that no process works
    /// on. Why others are not, `passed_over` says.
    pub fn resume(
        runs: &Path,
        plan: &RunPlan,
        session: &Session,
    ) -> Result<Option<Self>, FileError> {
        let continues = |header: &RunHeader| {
            header.schema_version == SCHEMA_VERSION
                && header.status == RunStatus::Unfinished
                && header.plan.can_be_continued_by(plan)
        };
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
            store.remove_temporary_files()?;
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

    /// What there is to say where nothing keeps other processes from working on it, too.
    pub fn without_lock(&self) -> Option<&'static str> {
        self.0.without_lock()
    }

    /// Removes the run if nothing was kept of it: there is nothing to resume.
    #[cfg(feature = "bench")]
    pub(crate) fn discard_if_empty(self) -> Result<(), FileError> {
        match store::entries(&self.path().join("parts"))?.is_empty() {
            true => files::remove_folder(self.path()),
            false => Ok(()),
        }
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

    /// Records how fast cores usually are, so that slower visits are known as such.
    pub(crate) fn set_usual_speed(
        &mut self,
        multiply_add_ns: Option<f64>,
    ) -> Result<(), FileError> {
        self.0.header.usual_multiply_add_ns = multiply_add_ns;
        self.0.write_header()
    }

    /// Writes one configuration's outcome to its part.
    pub fn keep(&self, part: &Part) -> Result<(), FileError> {
        debug_assert_eq!(part.run_id, self.header().run_id);
        let path = part_path(self.path(), &part.record.id, part.pass);
        store::write::<RunHeader>(&path, |out| out.write_all(&sealed_json(part)?))
    }

    /// The part of a configuration in a pass, if it has an outcome there.
    pub fn part(&self, id: &str, pass: u32) -> Result<Option<Part>, FileError> {
        part_of_run(self.path(), self.header(), id, pass)
    }

    /// What became of a configuration in all passes; `None` before it has an outcome in each.
    pub(crate) fn joined(&self, id: &str) -> Result<Option<ConfigurationRecord>, FileError> {
        match parts(self.path(), self.header(), id)? {
            Ok(parts) => {
                let clock = self.header().plan.settings.protocol.clock;
                Ok(passes::join(parts, clock).map(|(record, _)| record))
            }
            Err(_) => Ok(None),
        }
    }

    /// The number of a configuration's samples in all passes; `None` where it was not measured.
    #[cfg(feature = "bench")]
    pub(crate) fn samples(&self, id: &str) -> Result<Option<usize>, FileError> {
        let Ok(parts) = parts(self.path(), self.header(), id)? else { return Ok(None) };
        let clock = self.header().plan.settings.protocol.clock;
        let times = passes::join(parts, clock).map(|(_, times)| times);
        Ok(times.filter(|times| !times.is_empty()).map(|times| times.len()))
    }

    /// Sets damaged parts aside, so that what was in them is measured again. Returns the number of sound
    /// parts, and what is wrong with each damaged one.
    pub(crate) fn check_parts(
        &self,
        ids_and_passes: impl Iterator<Item = (String, u32)>,
    ) -> Result<(usize, Vec<String>), FileError> {
        let (mut sound, mut damaged) = (0, Vec::new());
        for (id, pass) in ids_and_passes {
            match self.part(&id, pass) {
                Ok(part) => sound += usize::from(part.is_some()),
                Err(error) if store::is_damage(&error) => {
                    store::set_aside(&part_path(self.path(), &id, pass))?;
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
    /// [`FileError`] where a planned configuration has no outcome in a pass or a file cannot be
    /// written; the parts stay then.
    pub fn finish(&mut self) -> Result<(), FileError> {
        let Store { path, header, .. } = &self.0;
        let joined = joined_parts(path, header)?;
        let launches = joined.iter().map(|(record, times)| (record.id.as_str(), times));
        launches::write(&path.join("launches.parquet"), launches)?;
        let header = &mut self.0.header;
        header.configurations = joined.into_iter().map(|(record, _)| record).collect();
        header.quiet = Quiet::new(&header.configurations);
        header.machine = MachineState::new(&header.configurations);
        header.ended = Some(now());
        header.status = RunStatus::Finished;
        self.0.write_header()?;
        remove_leftovers(self.path())
    }
}

/// Plan and outcomes of a run that is measured and not yet finished: every configuration with its
/// launches, in the order first measured.
///
/// # Errors
/// [`FileError`] where there is no run, or one of another schema, or a part is missing or damaged.
pub fn read_measured(
    folder: &Path,
) -> Result<(RunPlan, Vec<(ConfigurationRecord, SampleTimes)>), FileError> {
    let header = read_header(folder)?;
    let joined = joined_parts(folder, &header)?;
    Ok((header.plan, joined))
}

/// Every configuration with its launches, in the order first measured.
fn joined_parts(
    folder: &Path,
    header: &RunHeader,
) -> Result<Vec<(ConfigurationRecord, SampleTimes)>, FileError> {
    let clock = header.plan.settings.protocol.clock;
    let mut joined = Vec::with_capacity(header.plan.ids.len());
    for id in &header.plan.ids {
        let parts = parts(folder, header, id)?.map_err(|missing| {
            let cause = "missing, expected one file for each configuration and pass";
            FileError::read(&part_path(folder, id, missing), cause)
        })?;
        let position = parts.iter().map(|part| part.position).min();
        joined.extend(passes::join(parts, clock).map(|joined| (position, joined)));
    }
    joined.sort_by_key(|(position, _)| *position);
    Ok(joined.into_iter().map(|(_, joined)| joined).collect())
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
    files::create_new_folder(folder)?;
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

/// The part of a configuration in a pass of an unfinished run, if it has an outcome there.
pub fn read_part(folder: &Path, id: &str, pass: u32) -> Result<Option<Part>, FileError> {
    let path = part_path(folder, id, pass);
    if !path.exists() {
        return Ok(None);
    }
    let part: Part = read_json(&path)?;
    if part.record.id == id && part.pass == pass {
        return Ok(Some(part));
    }
    let cause = format!("holds {} in pass {}, expected {id} in {pass}", part.record.id, part.pass);
    Err(FileError::read(&path, cause))
}

/// The parts of a configuration in the order of the passes, or the first pass without one.
fn parts(folder: &Path, header: &RunHeader, id: &str) -> Result<Result<Vec<Part>, u32>, FileError> {
    let passes = 1..=header.plan.settings.passes.get();
    let part = |pass| Ok(part_of_run(folder, header, id, pass)?.ok_or(pass));
    passes.map(part).collect()
}

fn part_of_run(
    folder: &Path,
    header: &RunHeader,
    id: &str,
    pass: u32,
) -> Result<Option<Part>, FileError> {
    let (part, expected) = (read_part(folder, id, pass)?, &header.run_id);
    match part {
        Some(Part { run_id, .. }) if run_id != *expected => {
            let cause = format!("is of run {run_id}, expected {expected}");
            Err(FileError::read(&part_path(folder, id, pass), cause))
        }
        Some(mut part) => {
            part.record.outcome.note_core_speed(header.usual_multiply_add_ns);
            Ok(Some(part))
        }
        None => Ok(None),
    }
}

fn part_path(folder: &Path, id: &str, pass: u32) -> PathBuf {
    store::part_path(folder, &format!("{}.{pass}.json", id.replace('/', "-")))
}

/// Folders with a `run.json`, oldest first (their names begin with the time), without those being created.
fn run_folders(runs: &Path) -> Vec<PathBuf> {
    let mut folders = store::entries(runs).unwrap_or_default();
    let is_hidden = |path: &Path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    folders.retain(|path| !is_hidden(path) && path.join(RunHeader::FILE).is_file());
    folders.sort();
    folders
}

/// The runs under `runs`, latest first, of which something was measured and that are not finished, or whose
/// `run.json` cannot be read; and whether another process works on them.
pub(super) fn unfinished(runs: &Path) -> Vec<(PathBuf, Result<RunHeader, FileError>, bool)> {
    let mut found = Vec::new();
    for path in run_folders(runs).into_iter().rev() {
        if store::entries(&path.join("parts")).is_ok_and(|parts| !parts.is_empty()) {
            let header = read_header::<RunHeader>(&path);
            if header.as_ref().map_or(true, |header| header.status == RunStatus::Unfinished) {
                let is_in_use = matches!(store::try_lock::<RunHeader>(&path), Ok(None));
                found.push((path, header, is_in_use));
            }
        }
    }
    found
}

/// Removes what a finished run no longer needs: its parts, whose launches `launches.parquet` has, and
/// temporary files. Only the process with the lock may call it.
fn remove_leftovers(folder: &Path) -> Result<(), FileError> {
    files::remove_temporary_files(folder)?;
    // last: while it is there, `tidy_up` knows that there is something left
    files::remove_folder(&folder.join("parts"))
}

/// Removes what is left over in finished runs whose process was killed before it could do so, and what is
/// left of runs whose start was killed.
pub fn tidy_up(runs: &Path) -> Result<(), FileError> {
    let is_finished = |header: RunHeader| header.status == RunStatus::Finished;
    for path in run_folders(runs) {
        if path.join("parts").exists()
            && read_header(&path).is_ok_and(is_finished)
            && let Some(_lock) = store::try_lock::<RunHeader>(&path)?
        {
            remove_leftovers(&path)?;
        }
    }
    for path in files::temporary_folders(runs) {
        // its process may be one of another machine
        if store::try_lock::<RunHeader>(&path)?.is_some_and(|lock| lock.is_held) {
            files::remove_folder(&path)?;
        }
    }
    Ok(())
}

/// Removes the unfinished runs under `runs` of which nothing was measured and that no process works on: starts that
/// were killed.
pub(crate) fn remove_empty(runs: &Path) -> Result<(), FileError> {
    let is_empty = |path: &Path| {
        let own = ["run.json", "lock", "parts"].map(|name| path.join(name));
        store::entries(path).is_ok_and(|all| all.iter().all(|entry| own.contains(entry)))
            && store::entries(&own[2]).is_ok_and(|parts| parts.is_empty())
    };
    for path in run_folders(runs) {
        let is_unfinished = |header: RunHeader| header.status == RunStatus::Unfinished;
        if is_empty(&path)
            && read_header(&path).is_ok_and(is_unfinished)
            && store::try_lock::<RunHeader>(&path)?.is_some_and(|lock| lock.is_held)
        {
            files::remove_folder(&path)?;
        }
    }
    Ok(())
}

/// An id that no run has yet, even of those that begin in the same second, and the place for its folder.
fn new_place(runs: &Path, started: Timestamp) -> (String, PathBuf) {
    loop {
        let run_id = store::new_id(started);
        let path = runs.join(&run_id);
        if path.symlink_metadata().is_err() {
            return (run_id, path);
        }
    }
}
