//! What the loader would open, looked into before it does: it maps as much of a file as the headers promise, and
//! touching what is behind the end of a file that was cut off ends the process (SIGBUS).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What is wrong with a library's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is for another kind of machine: the loader passes over it, too.
    Foreign,
    /// It is not whole, or no library at all; how so.
    Damaged(String),
}

impl Fault {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Foreign => "is for another kind of machine",
            Self::Damaged(how) => how,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Whether it is a name, by which the loader finds a file, and no path.
pub(super) fn is_name(file: &Path) -> bool {
    file.parent() == Some(Path::new(""))
}

/// Whether a file, or the one that the loader finds by a name, may be opened.
///
/// # Errors
/// The file, and what is wrong with it. What is not there, or may not be read, the loader explains.
pub(super) fn may_open(file: &Path) -> Result<(), (PathBuf, Fault)> {
    let to_be_mapped = if is_name(file) { choice(file) } else { Some(file.to_owned()) };
    to_be_mapped.map_or(Ok(()), |file| check(&file).map_err(|fault| (file, fault)))
}

/// Files of this name that the loader passes over, or would if it opened its choice, in its order.
pub(super) fn others(name: &Path) -> Vec<PathBuf> {
    let mut files = known(name);
    if let Some(choice) = files.iter().position(|file| is_chosen(file)) {
        files.remove(choice);
    }
    files
}

/// The file that the loader finds by a name, as far as that is known.
fn choice(name: &Path) -> Option<PathBuf> {
    known(name).into_iter().find(|file| is_chosen(file))
}

fn is_chosen(file: &Path) -> bool {
    check(file) != Err(Fault::Foreign)
}

/// The files of this name on `LD_LIBRARY_PATH`, in the loader's cache and in the system's folders, in the
/// loader's order. It may find others: in what a program's own `RUNPATH` names, say.
fn known(name: &Path) -> Vec<PathBuf> {
    let path = std::env::var_os("LD_LIBRARY_PATH").filter(|path| !path.is_empty());
    let path = path.iter().flat_map(std::env::split_paths);
    // an empty one is the current folder
    let on_path = path.map(|folder| Path::new(".").join(folder).join(name));
    // strings, each of which ends with a zero, behind a table that is not needed
    let cache = std::fs::read("/etc/ld.so.cache").unwrap_or_default();
    let cached = cache.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    let cached = cached.map(PathBuf::from);
    let cached = cached.filter(|file| file.is_absolute() && file.file_name() == name.file_name());
    let of_system = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(|f| Path::new(f).join(name));
    let mut files: Vec<PathBuf> = Vec::new();
    for file in on_path.chain(cached).chain(of_system).filter(|file| file.exists()) {
        // by folders: files that are links to one may have other parts beside them
        let folder = |file: &Path| file.parent().and_then(|folder| folder.canonicalize().ok());
        if !files.iter().any(|other| folder(other) == folder(&file)) {
            files.push(file);
        }
    }
    files
}

/// Whether a file is a library for this machine, as long as its headers say.
fn check(path: &Path) -> Result<(), Fault> {
    let layout =
        cfg!(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"));
    let Some(about) = path.metadata().ok().filter(|_| layout) else { return Ok(()) };
    if !about.is_file() {
        return Err(Fault::Damaged("is not a file".to_owned()));
    }
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let length = about.len();
    let promised = match length {
        0 => return Err(Fault::Damaged("is empty".to_owned())),
        _ => promised_length(&mut file, length)?,
    };
    match promised <= length {
        true => Ok(()),
        false => Err(Fault::Damaged(format!("ends after {length} of {promised} bytes or more"))),
    }
}

/// Where the last segment ends that the program headers of an ELF file describe or, where the file ends before
/// them, where they end.
fn promised_length(file: &mut File, length: u64) -> Result<u64, Fault> {
    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    let no_library = || Fault::Damaged("is no library".to_owned());
    let mut header = [0; HEADER];
    if length < HEADER as u64 {
        return Err(no_library());
    }
    file.read_exact(&mut header)?;
    if !header.starts_with(b"\x7fELF") {
        return Err(no_library());
    }
    let machine = match std::env::consts::ARCH {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        _ => None,
    };
    // 64 bits, little-endian
    if header[4..6] != [2, 1] || machine.is_some_and(|own| own != number(&header[18..20])) {
        return Err(Fault::Foreign);
    }
    let (start, count) = (number(&header[32..40]), number(&header[56..58]));
    if number(&header[54..56]) != PROGRAM_HEADER as u64 {
        return Err(no_library());
    }
    let end = start.saturating_add(count * PROGRAM_HEADER as u64);
    if end > length {
        return Ok(end);
    }
    let mut table = vec![0; count as usize * PROGRAM_HEADER];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut table)?;
    let segments = table.chunks_exact(PROGRAM_HEADER);
    let ends = segments.map(|one| number(&one[8..16]).saturating_add(number(&one[32..40])));
    Ok(ends.fold(end, u64::max))
}

/// A little-endian number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// A header of a library with one segment, which ends there.
    fn library(offset: u64, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"\x7fELF\x02\x01");
        put(18, &[62]);
        put(32, &64_u64.to_le_bytes());
        put(54, &[56, 0, 1]);
        put(64 + 8, &offset.to_le_bytes());
        put(64 + 32, &size.to_le_bytes());
        bytes
    }

    fn checked(bytes: &[u8]) -> Result<(), Fault> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        check(file.path())
    }

    #[test]
    fn a_file_is_to_be_as_long_as_its_headers_say() {
        assert_eq!(checked(&library(0, 120)), Ok(()));
        let short = |promised: u64| {
            Err(Fault::Damaged(format!("ends after 120 of {promised} bytes or more")))
        };
        assert_eq!(checked(&library(100, 21)), short(121));
        assert_eq!(checked(&library(u64::MAX, u64::MAX)), short(u64::MAX));
        let changed = |at: usize, value: u8| {
            let mut bytes = library(0, 120);
            bytes[at] = value;
            checked(&bytes)
        };
        // more program headers than there is room for, and such headers far behind the end
        assert_eq!(changed(57, 0xff), short(64 + 56 * 0xff01));
        assert_eq!(changed(39, 0xff), short((0xff << 56) + 64 + 56));
        for (at, value) in [(4, 1), (5, 2), (18, 3)] {
            assert_eq!(changed(at, value), Err(Fault::Foreign));
        }
        for at in [0, 54] {
            assert_eq!(changed(at, 0), Err(Fault::Damaged("is no library".to_owned())));
        }
        assert_eq!(checked(b""), Err(Fault::Damaged("is empty".to_owned())));
        assert_eq!(checked(b"\x7fELF"), Err(Fault::Damaged("is no library".to_owned())));
    }
}
