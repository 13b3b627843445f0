use super::*;

/// An executable file of these lines of shell.
#[cfg(unix)]
fn program(folder: &Path, name: &str, lines: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Answers as `alpha-flops` does, and lists `list`.
#[cfg(unix)]
fn stub(folder: &Path, name: &str, list: &str) -> String {
    let lines = format!(
        "case $1 in --version) echo alpha-flops 9.9;; replicate) echo '  --alternate <A> <B>';; bench) \
         echo \"$SIDE_OF_ALPHA_FLOPS\" > \"$0.side\"; {list};; esac"
    );
    program(folder, name, &lines)
}

fn refusal(a: &str, b: &str) -> String {
    Builds::parse(a, b).unwrap_err().to_string()
}

#[test]
fn pairs_are_mirrored() {
    let sides: Vec<&str> = (0..8).map(|index| RunSide::of(index).name()).collect();
    assert_eq!(sides.concat(), "ABBAABBA");
    // of a drift by one a run, the differences B − A of two pairs cancel
    let drift = |side| (0..4).filter(|i| RunSide::of(*i) == side).sum::<usize>();
    assert_eq!(drift(RunSide::A), drift(RunSide::B));
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    let words = refusal("absent/alpha-flops", "sh:true");
    assert!(words.contains("absent/alpha-flops`: neither a program nor a folder: "), "{words}");
    assert!(words.contains("hint: sh:COMMAND"), "{words}");
    assert!(refusal(empty, empty).contains("no shared library"));
    assert!(refusal("sh:true", "sh: ").contains("expected a command after sh:"));
    let text = folder.path().join("notes.txt");
    fs::write(&text, "no program").unwrap();
    let words = refusal(text.to_str().unwrap(), "sh:true");
    assert!(words.contains("cannot start it: "), "{words}");
    fs::write(folder.path().join("libcudnn.so.9"), "").unwrap();
    let words = refusal(empty, "sh:true");
    assert!(words.contains("of different kinds\nhint: give two programs"), "{words}");
}

#[cfg(unix)]
#[test]
fn a_program_has_to_be_one_that_writes_sides_into_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let other = program(folder.path(), "other", "echo something else");
    assert!(refusal(&other, &other).contains("is no alpha-flops program"));
    let old = program(folder.path(), "old", "echo alpha-flops 0.0.1");
    let words = refusal(&old, &old);
    assert!(words.contains("it has no --alternate") && words.contains("hint: build it"), "{words}");
    let new = stub(folder.path(), "new", "echo A/x: benchmark");
    assert_eq!(Builds::parse(&new, &new).unwrap().label(RunSide::B), format!("B: program {new}"));
}

#[cfg(unix)]
#[test]
fn both_sides_are_asked_what_they_would_measure_before_anything_is() {
    let folder = tempfile::tempdir().unwrap();
    let one = stub(folder.path(), "one", "echo A/x: benchmark");
    let two = stub(folder.path(), "two", "echo A/x: benchmark; echo A/y: benchmark");
    let none = stub(folder.path(), "none", "echo error: no such device >&2; exit 1");
    Builds::parse(&one, &one).unwrap().check(&[]).unwrap();
    assert_eq!(fs::read_to_string(format!("{one}.side")).unwrap(), format!("B: program {one}\n"));
    let words = Builds::parse(&one, &two).unwrap().check(&[]).unwrap_err().to_string();
    assert_eq!(words, "A and B are not comparable: configurations: 1 against 2");
    let words = Builds::parse(&one, &none).unwrap().check(&[]).unwrap_err().to_string();
    assert_eq!(words, format!("B: program {none}: it cannot measure: error: no such device"));
}

#[cfg(unix)]
#[test]
fn a_command_is_run_first_and_its_failure_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let builds = Builds::parse(&format!("sh: touch '{}'", mark.display()), "sh:exit 3").unwrap();
    assert!(!mark.exists());
    let command = builds.command(RunSide::A).unwrap();
    assert!(mark.exists());
    let side = command.get_envs().find(|(name, _)| *name == SIDE).unwrap().1.unwrap();
    assert_eq!(side.to_str().unwrap(), builds.label(RunSide::A));
    let words = builds.command(RunSide::B).unwrap_err().to_string();
    assert!(
        words.starts_with("B: after `exit 3`: the command ended with exit status: 3"),
        "{words}"
    );
    assert!(words.contains("hint: what was measured is kept; repeat the command"), "{words}");
}

#[test]
fn libraries_are_searched_before_those_that_were_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("libcudnn.so.9"), "").unwrap();
    let path = folder.path().to_str().unwrap();
    let command = Builds::parse(path, path).unwrap().command(RunSide::A).unwrap();
    let searched = command.get_envs().find(|(name, _)| *name == LIBRARY_PATH).unwrap().1.unwrap();
    assert_eq!(env::split_paths(searched).next().unwrap(), folder.path());
}
