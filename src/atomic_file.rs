//! Files that are written whole or not at all: a reader never sees half of one, whenever the writer was
//! killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file_error::FileError;

/// Creates or replaces the file at `path` with what `write` writes.
///
/// The content goes to a temporary file in the same directory (a rename is atomic only within one file
/// system), which is synced to the disk and then takes the file's name. On any error the old file stays
/// as it was and the temporary one is removed.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> Result<(), FileError> {
    let (temporary, file) =
        create_temporary(path).map_err(|error| FileError::write(path, error))?;
    let replaced = write_durably(file, write)
        .and_then(|()| fs::rename(&temporary, path))
        // the rename itself must survive a power cut, too
        .and_then(|()| sync_directory(path));
    replaced.map_err(|error| {
        // after a successful rename there is nothing under this name, which is as well
        let _ = fs::remove_file(&temporary);
        FileError::write(path, error)
    })
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

fn write_durably(
    file: File,
    write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffered = BufWriter::new(file);
    write(&mut buffered)?;
    buffered.into_inner()?.sync_all()
}

/// Creates `.measurements.csv.4711-0.tmp` beside `measurements.csv`, hidden from listings.
fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"));
    };
    loop {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{count}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            // left behind by a killed process of the same number, as containers reuse them
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (temporary, file)),
        }
    }
}

/// Makes the directory's entry for `path` durable, where the system lets a directory be opened.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(directory) {
        Ok(directory) if cfg!(unix) => directory.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_created_and_then_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        write_atomically(&path, |out| out.write_all(b"first, and longer")).unwrap();
        write_atomically(&path, |out| out.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names_in(directory.path()), ["a.txt"]);
    }

    #[test]
    fn a_failing_writer_leaves_the_old_file_and_no_temporary_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        write_atomically(&path, |out| out.write_all(b"old")).unwrap();
        let error = write_atomically(&path, |out| {
            out.write_all(b"half of the ne")?;
            Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
        })
        .unwrap_err();
        assert_eq!(error.kind(), Some(io::ErrorKind::StorageFull));
        assert!(error.to_string().contains("a.txt: no space left"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names_in(directory.path()), ["a.txt"]);
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("absent/a.txt");
        let error = write_atomically(&path, |out| out.write_all(b"x")).unwrap_err();
        assert_eq!(error.kind(), Some(io::ErrorKind::NotFound));
        assert!(error.to_string().contains("absent/a.txt"), "{error}");
        assert!(write_atomically(Path::new("/"), |_| Ok(())).is_err());
    }
}
