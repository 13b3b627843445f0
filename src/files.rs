//! All that is written, moved or removed: nothing else in these crates changes a file or a folder; and how files
//! that a user names are opened.
//!
//! - Only a regular file is replaced, whole or not at all, and keeps its permissions: a reader never sees
//!   half of one, whenever the writer was killed. Links, devices and pipes are refused. The system's names
//!   of streams (`/dev/null`, `/dev/stdout`, `/dev/fd/3`) are written through.
//! - Files that stay open, such as locks, are not opened through links, and not truncated.
//! - What this program names by itself inside a folder is never followed out of it by a link. The folder
//!   that a user names may be a link.
//! - Removed is what this program has made: its temporary files, `.NAME.PID-N.tmp`, only where the process
//!   that wrote them is gone.
#![allow(clippy::disallowed_methods, reason = "the one place that may")]

use std::ffi::OsStr;
use std::fs::{self, File, FileType, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};
use std::{process, thread};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::file_error::FileError;

/// Creates or replaces the file at `path` with what `write` writes.
///
/// The content goes to a temporary file in the same directory (a rename is atomic only within one file
/// system), which is synced to the disk and then takes the file's name. On any error the old file stays
/// as it was and the temporary one is removed.
///
/// # Errors
/// [`FileError`] where `path` is something else than a regular file, or cannot be written.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> Result<(), FileError> {
    if is_stream(path) {
        let stream = OpenOptions::new().write(true).open(path);
        let written = stream.and_then(|stream| written(stream, write));
        return written.map(drop).map_err(|error| FileError::write(path, error));
    }
    replace(path, |file| written(file, write)?.sync_all())
}

/// Opens a file to read it.
///
/// # Errors
/// [`FileError`] where `path` is a device or a pipe, which may never end, or cannot be opened. The system's names
/// of streams (`/dev/stdin`, `/dev/fd/3`) are read as they are.
pub fn open(path: &Path) -> Result<File, FileError> {
    let may_wait = |found: &Metadata| !found.is_file() && !found.is_dir();
    if fs::metadata(path).is_ok_and(|found| may_wait(&found)) && !is_readable_stream(path) {
        return Err(FileError::read(path, "it is a device or a pipe, expected a file"));
    }
    File::open(path).map_err(|error| FileError::read(path, error))
}

/// Reads all of a file, which is opened as by [`open`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = open(path)?.read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| FileError::read(path, error))
}

/// Writes texts into files of these names in a directory, each as [`write_atomically`] does.
///
/// # Errors
/// As [`write_atomically`], for the first file that cannot be written; those before it are written.
pub fn write_texts(directory: &Path, texts: &[(&str, String)]) -> Result<(), FileError> {
    texts.iter().try_for_each(|(name, text)| {
        write_atomically(&directory.join(name), |out| out.write_all(text.as_bytes()))
    })
}

/// Copies a file as [`write_atomically`] writes one. It is not synced: there is still the other one.
pub fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    let mut source = open(from)?;
    replace(to, |file| written(file, |out| io::copy(&mut source, out).map(drop)).map(drop))
}

/// Writes to a temporary file, which then takes the place of the one at `path`.
fn replace(path: &Path, write: impl FnOnce(File) -> io::Result<()>) -> Result<(), FileError> {
    let permissions = check_replaceable(path)?;
    let unwritten = |error| FileError::write(path, error);
    let (temporary, file) = create_temporary(path, |temporary| {
        OpenOptions::new().write(true).create_new(true).open(temporary)
    })
    .map_err(unwritten)?;
    // first, so that nobody else reads what they must not; where a file system has no permissions, none
    // are lost
    let _ = permissions.map(|permissions| file.set_permissions(permissions));
    let replaced = write(file)
        .and_then(|()| fs::rename(&temporary, path))
        // the rename itself must survive a power cut, too
        .and_then(|()| sync_directory(path));
    replaced.map_err(|error| {
        // after a successful rename there is nothing under this name, which is as well
        let _ = fs::remove_file(&temporary);
        unwritten(error)
    })
}

fn written(
    file: File,
    write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> io::Result<File> {
    let mut buffered = BufWriter::new(file);
    write(&mut buffered)?;
    Ok(buffered.into_inner()?)
}

/// The permissions of the regular file at `path`; `None` where there is nothing.
fn check_replaceable(path: &Path) -> Result<Option<Permissions>, FileError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata.permissions())),
        Ok(metadata) => Err(not_a_file(path, metadata.file_type())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::write(path, error)),
    }
}

fn not_a_file(path: &Path, found: FileType) -> FileError {
    if found.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        let cause = format!("it is a link to {}, expected a file or a new name", target.display());
        return FileError::write(path, cause)
            .with_hint("give the file that it points to, or remove the link");
    }
    let found = if found.is_dir() { "a folder" } else { "a device or a pipe" };
    FileError::write(path, format!("it is {found}, expected a file or a new name"))
}

/// Whether a path is the system's name of an open file.
fn is_descriptor(path: &Path) -> bool {
    ["/dev/fd", "/proc/self/fd"].map(Path::new).contains(&parent(path))
}

/// Whether a path is the system's name of a stream to read: who gives it knows whether it ends.
fn is_readable_stream(path: &Path) -> bool {
    ["/dev/null", "/dev/stdin"].map(Path::new).contains(&path) || is_descriptor(path)
}

/// Whether a path is the system's name of a stream, and leads to no file: who gives it wants to see what is
/// written, pass it on, or have none of it.
fn is_stream(path: &Path) -> bool {
    let is_named = ["/dev/null", "/dev/stdout", "/dev/stderr"].map(Path::new).contains(&path);
    (is_named || is_descriptor(path))
        && fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Creates `.measurements.csv.4711-0.tmp` beside `measurements.csv`, hidden from listings.
fn create_temporary<T>(
    path: &Path,
    create: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not the path of a file"));
    };
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{count}.tmp", process::id()));
        let temporary = path.with_file_name(temporary);
        match create(&temporary) {
            // left behind by a killed process of the same number, as containers reuse them
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(|created| (temporary, created)),
        }
    }
}

/// The process that gave a file this temporary name; `None` where it is no such name.
fn writer_of(name: &OsStr) -> Option<u32> {
    let (name, writer) =
        name.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let (process, count) = writer.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (!name.is_empty() && is_number(process) && is_number(count)).then(|| process.parse().ok())?
}

/// Removes from a folder the temporary files of processes that are gone. Those of this process count among
/// them: it must not be writing there.
pub fn remove_temporary_files(folder: &Path) -> Result<(), FileError> {
    let unread = |error| FileError::read(folder, error);
    for entry in fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let Some(writer) = writer_of(&entry.file_name()) else { continue };
        // not following links; one that is gone already was another process's to remove
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() && !may_be_writing(writer, &metadata) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// The folders in a folder that [`write_folder`] of a process which is gone has left.
pub fn temporary_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_left = |entry: &fs::DirEntry| {
        let writer = writer_of(&entry.file_name());
        writer.zip(entry.metadata().ok()).is_some_and(|(writer, metadata)| {
            metadata.is_dir() && !may_be_writing(writer, &metadata)
        })
    };
    entries.filter(is_left).map(|entry| entry.path()).collect()
}

/// Whether the process of this number may be the one that wrote a temporary file: it is another one of this
/// program, and began before the file was last written.
fn may_be_writing(writer: u32, file: &Metadata) -> bool {
    /// By how much the two clocks may differ.
    const ROUNDING: Duration = Duration::from_secs(2);
    let Ok(mut system) = System::new() else { return true };
    let [this, writer] = [process::id(), writer].map(Pid::from_u32);
    let both = [this, writer];
    let kind = ProcessRefreshKind::nothing();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&both), true, kind);
    let [this_process, writing] = both.map(|pid| system.process(pid));
    writing.is_some_and(|writing| {
        let is_same_program = this_process.is_none_or(|this| this.name() == writing.name());
        let began = UNIX_EPOCH + Duration::from_secs(writing.start_time());
        let began_before = file.modified().is_ok_and(|written| began <= written + ROUNDING);
        this != writer && is_same_program && began_before
    })
}

/// Creates a folder and those above it, as far as they are missing. A link to a folder is one, too.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|error| FileError::create(path, error))
}

/// Creates a folder within another one, and those between them, as far as they are missing. A link among
/// them is refused, and so is a way out of the folder.
pub fn create_folder_in(folder: &Path, within: &str) -> Result<PathBuf, FileError> {
    let mut path = folder.to_owned();
    for component in Path::new(within).components() {
        path.push(component);
        let created = match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::symlink_metadata(&path),
            created => created.and_then(|()| fs::symlink_metadata(&path)),
        };
        let created = created.map_err(|error| FileError::create(&path, error))?;
        if !created.is_dir() || !matches!(component, Component::Normal(_)) {
            let cause = format!("it is no folder in {}: a link or a file", folder.display());
            return Err(FileError::create(&path, cause));
        }
    }
    Ok(path)
}

/// Bytes that the name of a file or folder may have: systems take 255, or somewhat less.
pub const LONGEST_NAME: usize = 200;

/// Whether a name, which a file or a user says, names something within a folder, and is not too long for one.
/// `/` and `\` are refused whatever the system, so that a name that works here works everywhere.
pub fn is_plain_name(name: &str) -> bool {
    let is_short = name.len() <= LONGEST_NAME;
    let is_way = name == "." || name == ".." || name.contains(['/', '\\', '\0']);
    is_short && !name.trim().is_empty() && !is_way
}

/// Creates a folder at a path where nothing may be yet.
pub fn create_new_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir(path).map_err(|error| FileError::create(path, error))
}

/// Has a new folder written under a temporary name, and gives it its own then.
pub fn write_folder(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Result<(), FileError> {
    create_folder(parent(path))?;
    let created = create_temporary(path, |temporary| fs::create_dir(temporary));
    let (temporary, ()) = created.map_err(|error| FileError::create(path, error))?;
    let written = write(&temporary).and_then(|()| rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    written
}

/// Gives a file or folder another name in the same file system, at which nothing may be yet.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(FileError::write(to, "something of that name is there already"));
    }
    let renamed = fs::rename(from, to).and_then(|()| sync_directory(to));
    renamed.map_err(|error| FileError::write(to, error))
}

/// Removes a regular file, if it is there.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(FileError::new("remove", path, "it is a link or a folder, expected a file"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ => if_there(fs::remove_file(path)).map_err(|error| FileError::new("remove", path, error)),
    }
}

/// Removes a folder with all that is in it, if it is there. Links are removed, and not followed.
pub fn remove_folder(path: &Path) -> Result<(), FileError> {
    if_there(fs::remove_dir_all(path)).map_err(|error| FileError::new("remove", path, error))
}

fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Opens a regular file to be read and written in place, or creates it. What is in it stays.
pub fn open_in_place(path: &Path) -> Result<File, FileError> {
    check_replaceable(path)?;
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        // whatever has come there since it was checked
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }
    options.open(path).map_err(|error| FileError::write(path, error))
}

/// A lock on a file of ours, until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    /// Whether it keeps others away: some network file systems have no locks.
    pub is_held: bool,
}

/// What to say where [`Lock::is_held`] is false.
pub const NO_LOCKS: &str = "this file system has no locks: nothing keeps other processes from working on \
                            the same run or sweep";

/// Locks a file, which is created if need be. `None` if another process has it, and still had it after two
/// seconds: one that was killed may take a moment to end.
pub fn lock(path: &Path) -> Result<Option<Lock>, FileError> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    loop {
        match try_lock(path)? {
            None if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            locked => return Ok(locked),
        }
    }
}

/// As [`lock`], without waiting.
pub fn try_lock(path: &Path) -> Result<Option<Lock>, FileError> {
    let file = open_in_place(path)?;
    let is_held = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) if is_without_locks(&error) => false,
        Err(TryLockError::Error(error)) => return Err(FileError::new("lock", path, error)),
    };
    // whoever had it may have removed it meanwhile
    Ok(is_still_there(path, &file).then(|| Lock { file, path: path.to_owned(), is_held }))
}

/// Whether a file could not be locked because its file system has no locks: ENOSYS, EOPNOTSUPP, or ENOLCK
/// of NFS without the service for it.
fn is_without_locks(error: &io::Error) -> bool {
    const ENOLCK: i32 = if cfg!(target_os = "macos") { 77 } else { 37 };
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(ENOLCK)
}

#[cfg(unix)]
fn is_still_there(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ids = [fs::symlink_metadata(path), file.metadata()]
        .map(|found| found.ok().map(|found| (found.dev(), found.ino())));
    ids[0].is_some() && ids[0] == ids[1]
}

#[cfg(not(unix))]
fn is_still_there(path: &Path, _: &File) -> bool {
    path.exists()
}

impl Lock {
    /// Removes the file with the lock.
    pub fn remove(self) -> Result<(), FileError> {
        remove_file(&self.path)?;
        drop(self.file);
        Ok(())
    }
}

/// Opens a file of ours that is written from its beginning, line by line.
pub fn open_log(path: &Path) -> Result<File, FileError> {
    let log = open_in_place(path)?;
    log.set_len(0).map_err(|error| FileError::write(path, error))?;
    Ok(log)
}

/// Makes the directory's entry for `path` durable, where the system lets a directory be opened, and where
/// the file system can.
fn sync_directory(path: &Path) -> io::Result<()> {
    let synced = match File::open(parent(path)) {
        Ok(directory) if cfg!(unix) => directory.sync_all(),
        _ => return Ok(()),
    };
    // EINVAL, ENOSYS and EOPNOTSUPP: file systems that cannot, or make entries durable by themselves
    let cannot = |error: &io::Error| {
        matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
    };
    match synced {
        Err(error) if cannot(&error) => Ok(()),
        synced => synced,
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
