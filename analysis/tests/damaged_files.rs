//! Whatever happened to a file, its reader accepts or refuses it: no panic, no endless loop, no gigabyte.
//!
//! Each reader has a process of its own, which changes sound files at random and reads them. A case is
//! made of a seed and a number alone. Variables, for longer searches and for one case:
//!
//! - `ALPHA_FLOPS_FUZZ_SECONDS`: seconds for each reader
//! - `ALPHA_FLOPS_FUZZ_CASES`: cases of each reader, however long they take
//! - `ALPHA_FLOPS_FUZZ_SEED`: another seed than 1
//! - `ALPHA_FLOPS_FUZZ_CASE`: this one case; its files are kept, and named

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it says what it did")]

use std::env;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "damaged_files/mutation.rs"]
mod mutation;
#[path = "damaged_files/readers.rs"]
mod readers;

use mutation::{Format, Random, changed};
use readers::{READERS, Reader};

/// What tells a process that it is one reader's.
const READER: &str = "ALPHA_FLOPS_FUZZ_READER";
/// Where it says which case it has begun.
const BEGUN: &str = "ALPHA_FLOPS_FUZZ_BEGUN";

/// Seconds of a reader if nobody asks for more.
const SECONDS: f64 = 0.5;
/// A case that takes longer hangs. On a machine with much else to do, one of milliseconds takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const MOST_MEMORY: u64 = 1 << 30;

fn main() -> ExitCode {
    if let Ok(name) = env::var(READER) {
        let reader = READERS.iter().find(|reader| reader.name == name).unwrap();
        return search(reader);
    }
    let trial = |reader: &'static Reader| {
        let name = format!("a_damaged_{}_is_accepted_or_refused", reader.name);
        Trial::test(name, || in_process(reader))
    };
    let trials = READERS.iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn seed() -> u64 {
    number("ALPHA_FLOPS_FUZZ_SEED").unwrap_or(1)
}

/// Has a process search, whatever may become of that.
fn in_process(reader: &Reader) -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    let begun = folder.path().join("begun");
    fs::write(&begun, "").unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .env(READER, reader.name)
        .env(BEGUN, &begun)
        .status()
        .unwrap();
    if status.success() {
        return Ok(());
    }
    let case = fs::read_to_string(begun).unwrap_or_default();
    let case: u64 = case.parse().map_err(|_| format!("{status} before the first case"))?;
    Err(format!("{status} in case {case}; again: {}", again(reader, case)).into())
}

fn again(reader: &Reader, case: u64) -> String {
    let (name, seed) = (reader.name, seed());
    format!(
        "ALPHA_FLOPS_FUZZ_SEED={seed} ALPHA_FLOPS_FUZZ_CASE={case} cargo test --test damaged_files {name}"
    )
}

/// Reads changed files, as many as there is time for.
fn search(reader: &'static Reader) -> ExitCode {
    // in memory where there is such a place: each case writes two files
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let files: Vec<_> = (reader.write)(folder.path())
        .into_iter()
        .map(|(format, path)| {
            let whole = folder.path().join(&path);
            let bytes = unsealed(fs::read(&whole).unwrap());
            fs::write(whole, &bytes).unwrap();
            (format, bytes, path)
        })
        .collect();
    assert!((reader.read)(folder.path()), "the files are not sound to begin with");
    let only = number("ALPHA_FLOPS_FUZZ_CASE");
    if let Some(case) = only {
        println!("{}: the files of case {case} are in {}", reader.name, folder.path().display());
    }
    let cases: Option<u64> = number("ALPHA_FLOPS_FUZZ_CASES");
    let seconds = number("ALPHA_FLOPS_FUZZ_SECONDS").unwrap_or(SECONDS);
    let begun = Instant::now();
    let is_enough = |done: u64| match (only, cases) {
        (Some(_), _) => done == 1,
        (_, Some(cases)) => done == cases,
        _ => begun.elapsed().as_secs_f64() > seconds,
    };
    watch(reader);
    let mut marked = File::options().write(true).open(env::var_os(BEGUN).unwrap()).unwrap();
    let (mut done, mut accepted, mut memory, mut failed) = (0, 0, 0, false);
    while !failed && !is_enough(done) {
        let case = only.unwrap_or(done);
        match one(reader, folder.path(), &files, &mut marked, case) {
            Ok((is_accepted, most)) => {
                accepted += u64::from(is_accepted);
                memory = most.max(memory);
            }
            Err(what) => {
                eprintln!("{}, case {case}: {what}", reader.name);
                failed = true;
            }
        }
        done += 1;
    }
    let memory = memory >> 20;
    println!("{}: {done} cases, {accepted} of them accepted, at most {memory} MiB", reader.name);
    if only.is_some() {
        let _ = folder.keep();
    }
    ExitCode::from(u8::from(failed))
}

/// Without its checksum, because of which nearly every changed file would be refused before anything else
/// looks at it.
fn unsealed(mut bytes: Vec<u8>) -> Vec<u8> {
    for name in ["alpha_flops_crc32", "\"checksum\""] {
        let place = bytes.windows(name.len()).rposition(|window| window == name.as_bytes());
        if let Some(place) = place {
            bytes[place + 1] = b'_';
        }
    }
    bytes
}

/// Reads the files of a case and puts the sound ones back.
fn one(
    reader: &Reader,
    folder: &Path,
    files: &[(Format, Vec<u8>, PathBuf)],
    begun: &mut File,
    case: u64,
) -> Result<(bool, u64), String> {
    let file = |random: &mut Random| &files[random.below(files.len())];
    let make = || {
        let mut random = Random::new(seed(), case);
        let (format, sound, path) = file(&mut random);
        let other = &file(&mut random).1;
        (path, sound, changed(*format, sound, other, &mut random))
    };
    let (path, sound, bytes) = make();
    if case < 16 && make().2 != bytes {
        return Err("the same numbers make another file".to_owned());
    }
    fs::write(folder.join(path), bytes).unwrap();
    begin(begun, case);
    // from now on: making the file is not reading it
    let _ = fs::write("/proc/self/clear_refs", "5");
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (reader.read)(folder)));
    NOW.store(IDLE, Ordering::Relaxed);
    if number::<u64>("ALPHA_FLOPS_FUZZ_CASE").is_none() {
        fs::write(folder.join(path), sound).unwrap();
    }
    let is_accepted = outcome.map_err(|_| "a panic, see above".to_owned())?;
    match peak_memory() {
        memory if memory > MOST_MEMORY => Err(format!("{memory} bytes of memory")),
        memory => Ok((is_accepted, memory)),
    }
}

const IDLE: u64 = u64::MAX;
/// The case that is being read.
static NOW: AtomicU64 = AtomicU64::new(IDLE);

/// Says so to whoever waits for this process, which may not come to an end of its own.
fn begin(begun: &mut File, case: u64) {
    // over the number before: shortening files may wait for the disk
    begun.rewind().and_then(|()| write!(begun, "{case:020}")).unwrap();
    NOW.store(case, Ordering::Relaxed);
}

/// Ends the process when a case does not end.
fn watch(reader: &'static Reader) {
    thread::spawn(move || {
        let (mut last, mut since) = (IDLE, Instant::now());
        loop {
            thread::sleep(Duration::from_millis(200));
            let case = NOW.load(Ordering::Relaxed);
            if case != last || case == IDLE {
                (last, since) = (case, Instant::now());
            } else if since.elapsed() > PATIENCE {
                eprintln!("{}, case {case}: not read after {PATIENCE:?}", reader.name);
                process::abort();
            }
        }
    });
}

/// The most memory that this process had since it began to read, in bytes; 0 where the system doesn't say.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}
