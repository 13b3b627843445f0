//! Where NVIDIA's libraries are. In this order:
//!
//! 1. of what comes with another library, beside that: packages have what fits;
//! 2. by the loader's own rules, the versioned name first: an unversioned one may be a link to another
//!    version, or a toolkit's stub, which is for building programs;
//! 3. below `$VIRTUAL_ENV` and `$CONDA_PREFIX`: in their `lib`, and in NVIDIA's packages for Python;
//! 4. `/usr/local/cuda*/lib64`, `/usr/local/nvidia/lib64`, and WSL's folder;
//! 5. in NVIDIA's packages of the `python3` on the path, which is asked only now: it has to be run.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::error::{GpuError, Library};
use super::loader::{self, Fault};

/// What `python3` gets to say where its packages are.
const PYTHON_TIMEOUT: Duration = Duration::from_secs(5);

/// Where containers have the driver's libraries mounted.
pub(super) const DRIVERS_OF_CONTAINERS: [&str; 2] =
    ["/usr/local/nvidia/lib64", "/usr/local/nvidia/lib"];

/// Where WSL puts the driver's libraries.
pub(super) const WSL: &str = "/usr/lib/wsl/lib";

/// A library that is open.
pub(super) struct Opened {
    library: libloading::Library,
    /// Where it is; `None` where that cannot be told.
    path: Option<PathBuf>,
}

/// Why a file is not open.
pub(super) struct NotOpened {
    /// The file and, unless it is simply not there, the reason in brackets.
    pub(super) tried: String,
    /// It is there, but not whole.
    is_damaged: bool,
}

/// Where a library is looked for.
enum Place {
    /// By name, wherever the loader looks.
    Loader,
    Folder(PathBuf),
    /// Whatever it is called.
    File(PathBuf),
}

impl Library {
    /// The names of its file, the best first; `cuda` is the major version of the CUDA that it is for.
    fn file_names(self, cuda: usize) -> Vec<String> {
        match (self, std::env::consts::OS) {
            (Self::Driver, "windows") => vec!["nvcuda.dll".to_owned()],
            (Self::Cudnn, "windows") => vec!["cudnn64_9.dll".to_owned()],
            (Self::CublasLt, "windows") => vec![format!("cublasLt64_{cuda}.dll")],
            (Self::Driver, _) => ["libcuda.so.1", "libcuda.so"].map(str::to_owned).into(),
            (Self::Cudnn, _) => ["libcudnn.so.9", "libcudnn.so"].map(str::to_owned).into(),
            (Self::CublasLt, _) => vec![format!("libcublasLt.so.{cuda}")],
        }
    }

    /// Where it lies below the folder that Python's packages are in.
    fn folders_of_packages(self, cuda: usize) -> Vec<String> {
        let below = if cfg!(windows) { "bin" } else { "lib" };
        match self {
            Self::Driver => Vec::new(),
            Self::Cudnn => vec![format!("nvidia/cudnn/{below}")],
            // for CUDA 12 and before, and from CUDA 13 on
            Self::CublasLt => {
                vec![format!("nvidia/cublas/{below}"), format!("nvidia/cu{cuda}/{below}")]
            }
        }
    }

    /// Folders to look in where the loader does not find it; each is asked for only then.
    fn folders(self, cuda: usize, root: &Path) -> impl Iterator<Item = PathBuf> {
        let packages = self.folders_of_packages(cuda);
        let of_driver = self == Self::Driver;
        let in_packages = move |of_python: Vec<PathBuf>| {
            let below = |folder: PathBuf| packages.iter().map(move |package| folder.join(package));
            of_python.into_iter().flat_map(below).collect::<Vec<_>>()
        };
        let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].map(std::env::var_os);
        let environments = environments.into_iter().flatten();
        // one that is set to nothing is not set
        let environments =
            environments.filter(move |prefix| !of_driver && Path::new(prefix).is_absolute());
        let of_environment = {
            let in_packages = in_packages.clone();
            move |prefix: OsString| {
                let prefix = PathBuf::from(prefix);
                [vec![prefix.join("lib")], in_packages(site_packages(&prefix))].concat()
            }
        };
        // containers on Kubernetes have the driver's libraries there, too
        let of_containers = DRIVERS_OF_CONTAINERS.map(|folder| below(root, folder));
        let of_system = if of_driver { Vec::new() } else { toolkits(root) };
        let of_python = std::iter::once_with(move || match of_driver {
            true => Vec::new(),
            false => in_packages(folders_of_python()),
        });
        environments
            .flat_map(of_environment)
            .chain(of_system)
            .chain(of_containers)
            .chain([below(root, WSL)])
            .chain(of_python.flatten())
            .filter(|folder| folder.is_dir())
    }
}

/// Where to look for a library.
pub(super) enum Where<'a> {
    /// By the loader's rules, and where users have it.
    Anywhere,
    /// The same but, before all, in these folders, which are beside what it comes with.
    Beside(Vec<PathBuf>),
    /// In this folder, or this file.
    Only(&'a Path),
}

impl Where<'_> {
    fn places(self, library: Library, cuda: usize) -> Box<dyn Iterator<Item = Place>> {
        let anywhere = |beside: Vec<PathBuf>| {
            let beside = beside.into_iter().filter(|folder| folder.is_dir()).map(Place::Folder);
            let elsewhere = library.folders(cuda, Path::new("/")).map(Place::Folder);
            beside.chain([Place::Loader]).chain(elsewhere)
        };
        match self {
            Self::Anywhere => Box::new(anywhere(Vec::new())),
            Self::Beside(folders) => Box::new(anywhere(folders)),
            Self::Only(path) if path.is_dir() => {
                Box::new(std::iter::once(Place::Folder(path.to_owned())))
            }
            Self::Only(path) => Box::new(std::iter::once(Place::File(path.to_owned()))),
        }
    }
}

/// Why a library is not used.
pub(super) enum Refused {
    /// Nothing of it was called: closed again, it leaves nothing behind, and another may be tried.
    Untouched(GpuError),
    /// It has run: what it opened itself stays open, and would mix with what another brings.
    Called(GpuError),
}

impl From<GpuError> for Refused {
    fn from(error: GpuError) -> Self {
        Self::Untouched(error)
    }
}

/// Opens the first file of a library that `accept` takes, and keeps it open until the process ends.
/// `cuda` is the major version of the CUDA that it is for.
///
/// # Errors
/// Why the one that was called, or else the first that could be opened, was not accepted;
/// [`GpuError::Absent`] with what was tried where none could be opened.
pub(super) fn first_usable<T>(
    library: Library,
    cuda: usize,
    place: Where<'_>,
    mut accept: impl FnMut(&Opened) -> Result<T, Refused>,
) -> Result<(T, Option<PathBuf>), GpuError> {
    let names = library.file_names(cuda);
    let (mut tried, mut unusable, mut damaged) = (Vec::new(), None, false);
    for place in place.places(library, cuda) {
        let mut files: Vec<PathBuf> = names.iter().flat_map(|name| place.files(name)).collect();
        files.dedup();
        if files.is_empty() {
            tried.push(place.to_string());
        }
        for file in files {
            match Opened::open(&file) {
                Ok(opened) => match accept(&opened) {
                    Ok(accepted) => return Ok((accepted, opened.keep())),
                    Err(Refused::Called(error)) => {
                        opened.keep();
                        return Err(error);
                    }
                    Err(Refused::Untouched(error)) => {
                        tried.push(file.display().to_string());
                        unusable.get_or_insert(error);
                    }
                },
                Err(not_opened) => {
                    damaged |= not_opened.is_damaged;
                    tried.push(not_opened.tried);
                }
            }
        }
    }
    Err(unusable.unwrap_or(GpuError::Absent { library, tried, damaged }))
}

impl Opened {
    /// Opens a file, or what the loader finds by a name.
    fn open(file: &Path) -> Result<Self, NotOpened> {
        may_open(file)?;
        let is_name = loader::is_name(file);
        let before = if is_name { mapped_files() } else { Vec::new() };
        // SAFETY: loading runs the library's own initialisers; it is the vendor's library, or what
        // the loader's search path or the user's environment has in its place.
        let library = unsafe { libloading::Library::new(file) };
        let library = library.map_err(|error| {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            NotOpened { tried: why_not(file, &reason), is_damaged: false }
        })?;
        let path = match is_name {
            true => newly_mapped(file, &before),
            false => Some(file.to_owned()),
        };
        Ok(Self { library, path })
    }

    /// The function `symbol`, whose name ends with a zero; `None` where there is none.
    ///
    /// # Safety
    /// As [`libloading::Library::get`]: the type is that of the library's header.
    pub(super) unsafe fn function<T: Copy>(&self, symbol: &str) -> Option<T> {
        // SAFETY: by this function's own contract.
        unsafe { self.library.get::<T>(symbol.as_bytes()) }.ok().map(|found| *found)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Never closed: its functions are called until the process ends.
    fn keep(self) -> Option<PathBuf> {
        std::mem::forget(self.library);
        self.path
    }
}

/// Opens a file for good, so that whoever asks for its name gets it.
pub(super) fn open_for_good(file: &Path) -> Result<(), NotOpened> {
    Opened::open(file).map(|opened| drop(opened.keep()))
}

/// Whether the loader finds a library by this name; an error where what has the name is not to be opened.
pub(super) fn is_found_by_loader(name: &str) -> Result<bool, NotOpened> {
    let name = Path::new(name);
    match Opened::open(name) {
        Ok(_) => Ok(true),
        Err(not_opened) if not_opened.is_damaged => Err(not_opened),
        Err(_) => {
            loader::others(name).first().map_or(Ok(false), |file| may_open(file).map(|()| false))
        }
    }
}

/// Whether the loader may open a file, or what it finds by a name, without harm.
pub(super) fn may_open(file: &Path) -> Result<(), NotOpened> {
    loader::may_open(file).map_err(|(file, fault)| NotOpened {
        tried: format!("{} ({})", file.display(), fault.reason()),
        is_damaged: fault != Fault::Foreign,
    })
}

impl Place {
    /// The files of this name that may be here: of the loader's, its own choice first.
    fn files(&self, name: &str) -> Vec<PathBuf> {
        match self {
            Self::Loader => {
                let name = PathBuf::from(name);
                let others = loader::others(&name);
                [vec![name], others].concat()
            }
            Self::Folder(folder) => {
                let file = Some(folder.join(name)).filter(|file| file.exists());
                file.into_iter().collect()
            }
            Self::File(file) => vec![file.clone()],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader => f.write_str("the loader's path"),
            Self::Folder(path) | Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What was tried, and in brackets why it cannot be opened, unless it is simply not there.
fn why_not(file: &Path, error: &str) -> String {
    let shown = file.display().to_string();
    let reason = error.strip_prefix(&format!("{shown}: ")).unwrap_or(error);
    match error.starts_with(&shown) && reason.contains("No such file") {
        true => shown,
        false => format!("{shown} ({reason})"),
    }
}

/// `lib/python3.12/site-packages` below an environment, on Windows `Lib/site-packages`.
fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let versions = folders_in(&prefix.join("lib"), "python3");
    let unix = versions.into_iter().map(|folder| folder.join("site-packages"));
    unix.chain([prefix.join("Lib/site-packages")]).collect()
}

/// The toolkits' folders, the newest first.
fn toolkits(root: &Path) -> Vec<PathBuf> {
    let toolkits = folders_in(&below(root, "/usr/local"), "cuda").into_iter().rev();
    toolkits.map(|toolkit| toolkit.join("lib64")).collect()
}

fn below(root: &Path, absolute: &str) -> PathBuf {
    root.join(absolute.trim_start_matches('/'))
}

/// Folders in `parent` whose names begin so, in order of their names; none where it cannot be read.
fn folders_in(parent: &Path, beginning: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let begins = |name: &OsStr| name.to_string_lossy().starts_with(beginning);
    let named = entries.flatten().filter(|entry| begins(&entry.file_name()));
    let mut folders: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

/// Where `python3` looks for packages; nothing where there is none, or where it does not answer in time.
fn folders_of_python() -> Vec<PathBuf> {
    let mut command = Command::new("python3");
    command.args(["-c", "import sys; print(*sys.path, sep='\\n')"]);
    let printed = output_in_time(command, PYTHON_TIMEOUT).unwrap_or_default();
    printed.lines().map(PathBuf::from).filter(|path| path.is_absolute()).collect()
}

/// What a command that prints little prints; `None` where it fails or takes longer.
fn output_in_time(mut command: Command, limit: Duration) -> Option<String> {
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < limit => {
                std::thread::sleep(Duration::from_millis(10));
            }
            _ => {
                // nothing can be done where even that fails
                let _ = child.kill().and_then(|()| child.wait().map(|_| ()));
                return None;
            }
        }
    };
    let mut printed = String::new();
    child.stdout.take()?.read_to_string(&mut printed).ok()?;
    status.success().then_some(printed)
}

/// The files that are mapped into this process; none where this system does not tell.
fn mapped_files() -> Vec<PathBuf> {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return Vec::new() };
    let mut files: Vec<PathBuf> = Vec::new();
    for file in
        maps.lines().filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
    {
        if files.last().is_none_or(|last| last != file) {
            files.push(file.to_owned());
        }
    }
    files
}

/// The file that the loader found by a name: one that was not mapped before or, of a library that was
/// open already, one whose name begins as the library's.
fn newly_mapped(name: &Path, before: &[PathBuf]) -> Option<PathBuf> {
    let name = name.to_string_lossy();
    let stem = name.split(".so").next().unwrap_or(&name);
    let is_of_library = |file: &&PathBuf| {
        file.file_name().is_some_and(|own| own.to_string_lossy().starts_with(&format!("{stem}.")))
    };
    let after = mapped_files();
    let mut of_library = after.iter().filter(is_of_library);
    let new = of_library.clone().find(|file| !before.contains(file));
    new.or_else(|| of_library.next()).cloned()
}
