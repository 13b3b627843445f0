//! A folder on disk that one process at a time works on, and that may be killed at any moment.
//!
//! [Runs](crate::record) and [sweeps](crate::sweep) are kept in such folders:
//!
//! ```text
//! FOLDER/
//!   HEADER     JSON that begins with a `schema_version`; written anew whenever something in it changes
//!   parts/     what was measured; a file is written once, and set aside as `.damaged` if it cannot be
//!              read
//!   lock       locked by the process that works on the folder, until that ends, however it ends
//! ```
//!
//! Every file is [written to a temporary name, synced and renamed](crate::files): a killed process
//! leaves behind at most a temporary file, which the next one with the lock removes. Header and parts have
//! [checksums](crate::checksum); a part that is not as it was written counts as damaged.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::checksum::sealed_json_in_lines;
use crate::file_error::FileError;
use crate::files::{self, Lock, write_atomically};
use crate::plain_text::from_json;

pub(crate) mod parquet;

/// What a folder says about itself, in a file of its own.
pub(crate) trait Header: Serialize + DeserializeOwned {
    const FILE: &'static str;
    /// Version of the folder's layout and of the header's fields, which this code writes and reads.
    const SCHEMA_VERSION: u32;
    /// The oldest version that this code reads, as if it had written it.
    const OLDEST_READ: u32 = Self::SCHEMA_VERSION;
    /// What to do where the folder cannot be written.
    const ELSEWHERE: &'static str;

    /// What is wrong with the names in it, if anything is: they become parts of paths.
    fn check_names(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A folder for as long as this process works on it.
#[derive(Debug)]
pub(crate) struct Store<H> {
    pub(crate) path: PathBuf,
    pub(crate) header: H,
    /// Held until the process ends, however it ends.
    lock: Lock,
}

impl<H: Header> Store<H> {
    /// A folder that [`lock`] gave `lock` for. Its header is written by [`Self::write_header`] alone.
    pub(crate) fn new(path: PathBuf, lock: Lock, header: H) -> Self {
        Self { path, header, lock }
    }

    /// What there is to say where nothing keeps other processes away.
    pub(crate) fn without_lock(&self) -> Option<&'static str> {
        (!self.lock.is_held).then_some(files::NO_LOCKS)
    }

    /// Removes what killed processes were writing.
    pub(crate) fn remove_temporary_files(&self) -> Result<(), FileError> {
        files::remove_temporary_files(&self.path)?;
        files::remove_temporary_files(&self.path.join("parts"))
    }

    pub(crate) fn write_header(&self) -> Result<(), FileError> {
        write_header(&self.path, &self.header)
    }
}

/// Locks a folder; `None` where another process has it. One that is about to end is waited for.
pub(crate) fn lock<H: Header>(folder: &Path) -> Result<Option<Lock>, FileError> {
    files::lock(&folder.join("lock")).map_err(hinted::<H>)
}

/// The same without waiting.
pub(crate) fn try_lock<H: Header>(folder: &Path) -> Result<Option<Lock>, FileError> {
    files::try_lock(&folder.join("lock")).map_err(hinted::<H>)
}

/// The header of a folder, if it is of this code's schema.
pub(crate) fn read_header<H: Header>(folder: &Path) -> Result<H, FileError> {
    /// The one field that every schema has.
    #[derive(Deserialize)]
    struct Schema {
        schema_version: u32,
    }
    let path = folder.join(H::FILE);
    let bytes = files::read(&path)?;
    let Schema { schema_version } = from_json(&path, &bytes)?;
    if !(H::OLDEST_READ..=H::SCHEMA_VERSION).contains(&schema_version) {
        let expected = match (H::OLDEST_READ, H::SCHEMA_VERSION) {
            (oldest, newest) if oldest < newest => format!("{oldest} to {newest}"),
            (_, only) => only.to_string(),
        };
        let cause = format!(
            "schema_version is {schema_version}, expected {expected}: another version of \
             alpha-flops wrote it, and can read and continue it"
        );
        return Err(FileError::read(&path, cause));
    }
    let header: H = from_json(&path, &bytes)?;
    header.check_names().map_err(|cause| FileError::read(&path, cause))?;
    Ok(header)
}

pub(crate) fn write_header<H: Header>(folder: &Path, header: &H) -> Result<(), FileError> {
    write::<H>(&folder.join(H::FILE), |out| out.write_all(&sealed_json_in_lines(header)?))
}

/// Writes a file of the folder, whole or not at all.
pub(crate) fn write<H: Header>(
    path: &Path,
    content: impl FnOnce(&mut (dyn io::Write + Send)) -> io::Result<()>,
) -> Result<(), FileError> {
    write_atomically(path, content).map_err(hinted::<H>)
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = files::read(path)?;
    from_json(path, &bytes)
}

/// Creates a folder and those above it, as far as they are missing.
pub(crate) fn create_folder<H: Header>(path: &Path) -> Result<(), FileError> {
    files::create_folder(path).map_err(hinted::<H>)
}

/// An id of what was started then: the time in UTC and four random digits.
pub(crate) fn new_id(started: Timestamp) -> String {
    // std's hasher is seeded from the system's randomness
    let random = RandomState::new().hash_one(std::process::id()) as u16;
    format!("{}-{random:04x}", started.strftime("%Y-%m-%dt%H-%M-%Sz"))
}

/// Whether an id is one as [`new_id`] makes them: `2026-01-31t12-00-00z-5eed`.
pub(crate) fn is_id(id: &str) -> bool {
    const FORM: &str = "0000-00-00t00-00-00z-xxxx";
    id.len() == FORM.len()
        && id.chars().zip(FORM.chars()).all(|(c, form)| match form {
            '0' => c.is_ascii_digit(),
            'x' => c.is_ascii_hexdigit(),
            form => c == form,
        })
}

/// Creates `parts/` in a folder, unless it is there.
pub(crate) fn create_parts<H: Header>(folder: &Path) -> Result<PathBuf, FileError> {
    files::create_folder_in(folder, "parts").map_err(hinted::<H>)
}

/// A file under `parts/`.
pub(crate) fn part_path(folder: &Path, name: &str) -> PathBuf {
    folder.join("parts").join(name)
}

/// Whether a part that could not be read is damaged, so that what was in it is to be measured again:
/// the system could read it.
pub(crate) fn is_damage(error: &FileError) -> bool {
    error.kind().is_none()
}

/// Puts a damaged part out of the way, and leaves those alone that are there already.
pub(crate) fn set_aside(part: &Path) -> Result<(), FileError> {
    let name = |count: u32| match count {
        1 => part.with_added_extension("damaged"),
        _ => part.with_added_extension(format!("damaged-{count}")),
    };
    let free = (1..).map(name).find(|aside| fs::symlink_metadata(aside).is_err());
    free.map_or(Ok(()), |aside| files::rename(part, &aside))
}

pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let unread = |error| FileError::read(folder, error);
    let entries = fs::read_dir(folder).map_err(unread)?;
    entries.map(|entry| Ok(entry.map_err(unread)?.path())).collect()
}

/// The error with what to do where a folder cannot be written.
pub(crate) fn hinted<H: Header>(error: FileError) -> FileError {
    match error.kind() {
        Some(io::ErrorKind::StorageFull) => error.with_hint(
            "what was measured is safe: free some space and repeat the command to resume",
        ),
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            error.with_hint(H::ELSEWHERE)
        }
        _ => error,
    }
}
