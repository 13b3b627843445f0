use super::*;

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_file_is_created_and_then_replaced() {
    let directory = directory();
    let path = directory.path().join("a.txt");
    write_atomically(&path, |out| out.write_all(b"first, and longer")).unwrap();
    write_atomically(&path, |out| out.write_all(b"second")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(names_in(directory.path()), ["a.txt"]);
}

#[test]
fn a_failing_writer_leaves_the_old_file_and_no_temporary_one() {
    let directory = directory();
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
    let directory = directory();
    let path = directory.path().join("absent/a.txt");
    let error = write_atomically(&path, |out| out.write_all(b"x")).unwrap_err();
    assert_eq!(error.kind(), Some(io::ErrorKind::NotFound));
    assert!(error.to_string().contains("absent/a.txt"), "{error}");
    assert!(write_atomically(Path::new("/"), |_| Ok(())).is_err());
}

#[cfg(unix)]
#[test]
fn a_replaced_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let path = directory.path().join("a.txt");
    fs::write(&path, "old").unwrap();
    for mode in [0o640, 0o600, 0o755] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        write_atomically(&path, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_and_stays() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("victim"), "do not lose me").unwrap();
    symlink("victim", at("link")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let source = at("source");
    fs::write(&source, "new").unwrap();
    for (name, is) in [
        ("link", "a link to victim"),
        ("dangling", "a link to nothing"),
        ("folder", "a folder"),
        ("socket", "a device or a pipe"),
    ] {
        let path = at(name);
        let before = fs::symlink_metadata(&path).unwrap().file_type();
        let refused = [
            write_atomically(&path, |out| out.write_all(b"new")),
            copy(&source, &path),
            open_in_place(&path).map(drop),
            open_log(&path).map(drop),
        ];
        for refused in refused {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(&format!("{name}: it is {is}, expected a file")), "{error}");
        }
        assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before);
    }
    assert_eq!(fs::read(at("victim")).unwrap(), b"do not lose me");
    assert!(!at("nothing").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_is_written_through_by_the_name_that_the_system_gives_it() {
    use std::os::fd::AsRawFd;
    let (mut reader, writer) = io::pipe().unwrap();
    let path = PathBuf::from(format!("/dev/fd/{}", writer.as_raw_fd()));
    write_atomically(&path, |out| out.write_all(b"seen")).unwrap();
    drop(writer);
    assert_eq!(io::read_to_string(&mut reader).unwrap(), "seen");
    // to a file, its own path leads
    let directory = directory();
    let file = File::create(directory.path().join("a.txt")).unwrap();
    let path = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
    let error = write_atomically(&path, |out| out.write_all(b"lost")).unwrap_err();
    assert!(error.to_string().contains("a.txt, expected a file"), "{error}");
}

#[test]
fn what_is_written_in_place_is_not_truncated_and_a_log_begins_anew() {
    let directory = directory();
    let path = directory.path().join("a.txt");
    open_in_place(&path).unwrap().write_all(b"longer").unwrap();
    open_in_place(&path).unwrap().write_all(b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newger");
    open_log(&path).unwrap().write_all(b"log").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"log");
}

#[test]
#[ignore = "a process that another test starts, which reads what never comes"]
fn a_process_that_waits() {
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}

#[test]
fn only_temporary_files_of_processes_that_are_gone_are_removed() {
    use std::process::{Command, Stdio};
    let this_program = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "a_process_that_waits"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    };
    let (mut gone, mut waits) = (this_program(), this_program());
    assert!(gone.wait().unwrap().success());
    let directory = directory();
    let of = |process: u32| format!(".a.csv.{process}-0.tmp");
    let removed = [of(gone.id()), of(process::id()), ".b.c.parquet.4294967295-12.tmp".to_owned()];
    let kept = [
        of(waits.id()),
        "thesis.tmp".to_owned(),
        ".thesis.tmp".to_owned(),
        ".a.csv.12-.tmp".to_owned(),
        ".a.csv.-1.tmp".to_owned(),
        ".12-0.tmp".to_owned(),
        format!("a.csv.{}-0.tmp", gone.id()),
        format!(".a.csv.{}-0.tmp.csv", gone.id()),
    ];
    for name in removed.iter().chain(&kept) {
        fs::write(directory.path().join(name), "half").unwrap();
    }
    let folder = format!(".folder.{}-0.tmp", gone.id());
    fs::create_dir(directory.path().join(&folder)).unwrap();
    remove_temporary_files(directory.path()).unwrap();
    drop(waits.stdin.take());
    waits.wait().unwrap();
    let mut expected: Vec<String> = kept.into_iter().chain([folder]).collect();
    expected.sort();
    let mut left = names_in(directory.path());
    left.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_folder_within_another_one_is_no_way_out_of_it() {
    let directory = directory();
    let within = |name: &str| create_folder_in(directory.path(), name);
    for _ in 0..2 {
        assert_eq!(within("A/h=1/new").unwrap(), directory.path().join("A/h=1/new"));
    }
    fs::write(directory.path().join("file"), "").unwrap();
    for name in ["..", "A/../../elsewhere", "/", "file"] {
        let error = within(name).unwrap_err().to_string();
        assert!(error.contains("it is no folder in"), "{error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("A", directory.path().join("link")).unwrap();
        assert!(within("link").is_err() && within("link/h=1").is_err());
    }
}

#[test]
fn a_folder_appears_whole_or_not_at_all_and_replaces_nothing() {
    let directory = directory();
    let path = directory.path().join("above/a");
    let fill = |folder: &Path| write_texts(folder, &[("b.txt", "text".to_owned())]);
    let failing = |folder: &Path| {
        fill(folder)?;
        Err(FileError::write(folder, "no space left"))
    };
    assert!(write_folder(&path, failing).is_err());
    assert!(names_in(&directory.path().join("above")).is_empty());
    write_folder(&path, fill).unwrap();
    assert_eq!(names_in(&path), ["b.txt"]);
    fs::remove_file(path.join("b.txt")).unwrap();
    // the system itself would replace an empty folder
    let error = write_folder(&path, fill).unwrap_err().to_string();
    assert!(error.contains("is there already"), "{error}");
    assert!(names_in(&path).is_empty());
    assert_eq!(names_in(&directory.path().join("above")), ["a"]);
}

#[test]
fn a_lock_that_is_about_to_be_free_is_waited_for_and_another_is_not_had() {
    let directory = directory();
    let path = directory.path().join("lock");
    let first = lock(&path).unwrap().unwrap();
    assert!(first.is_held);
    assert!(try_lock(&path).unwrap().is_none());
    let ends = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        drop(first);
    });
    let second = lock(&path).unwrap().unwrap();
    ends.join().unwrap();
    assert!(lock(&path).unwrap().is_none());
    // who waits for a file that is removed with its lock gets the next one of its name
    let removed = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    second.remove().unwrap();
    assert!(!is_still_there(&path, &removed));
    assert!(lock(&path).unwrap().is_some_and(|lock| is_still_there(&path, &lock.file)));
}

#[cfg(unix)]
#[test]
fn a_file_system_without_locks_is_none_that_fails() {
    // of Linux and macOS: ENOSYS, EOPNOTSUPP, ENOLCK; then EIO, EBADF, EACCES
    let without = if cfg!(target_os = "macos") { [78, 102, 77] } else { [38, 95, 37] };
    let classified = |number| is_without_locks(&io::Error::from_raw_os_error(number));
    assert!(without.into_iter().all(classified));
    assert!(![5, 9, 13].into_iter().any(classified));
}

#[test]
fn folders_of_processes_that_are_gone_are_told_from_others() {
    let directory = directory();
    for name in [".run.4294967295-0.tmp", ".run.tmp", "run.4294967295-0.tmp", "run"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join(".file.4294967295-0.tmp"), "").unwrap();
    let expected = [directory.path().join(".run.4294967295-0.tmp")];
    assert_eq!(temporary_folders(directory.path()), expected);
    assert!(temporary_folders(&directory.path().join("absent")).is_empty());
}
