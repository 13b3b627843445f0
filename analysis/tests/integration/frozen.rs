//! Words that the command prints on recorded inputs, as `tests/frozen` keeps them: the cheapest cases.
//! `.ci/frozen.py` checks all of them, and data and figures, too.

use std::path::Path;

use serde::Deserialize;

use crate::fixtures::{alpha_flops, said};

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    run: String,
    #[serde(default)]
    formats: Vec<String>,
    #[serde(default)]
    rust: bool,
}

#[test]
fn words_are_as_they_were() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/frozen");
    let cases = std::fs::read_to_string(frozen.join("cases.toml")).unwrap();
    let cases: Cases = toml::from_str(&cases).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let (mut checked, mut differ) = (0, String::new());
    for case in cases.case.iter().filter(|case| case.rust) {
        let (suffix, arguments) = match case.formats.is_empty() {
            true => ("", ""),
            false => (".table", " --format table"),
        };
        let path = frozen.join(format!("expected/words/{}{suffix}.txt", case.name));
        let expected = std::fs::read_to_string(&path).unwrap();
        // its first line is the command
        let (_, expected) = expected.split_once('\n').unwrap();
        let now = words(&format!("{}{arguments}", case.run), empty.path());
        if now != expected {
            differ += &format!("{}: was\n{expected}is\n{now}\n", case.name);
        }
        checked += 1;
    }
    assert!(checked > 80, "{checked}");
    assert!(differ.is_empty(), "{differ}if for the better: .ci/frozen.py update-words");
}

/// What the command says in a folder without files, and how it ends.
fn words(arguments: &str, folder: &Path) -> String {
    let mut command = alpha_flops(arguments.split_whitespace());
    let environment = [("ALPHA_FLOPS_BACKEND", "cpu"), ("NO_COLOR", "1")];
    let said = said(command.current_dir(folder).env_clear().envs(environment));
    let mut words = String::new();
    for (name, text) in [("stdout", said.stdout), ("stderr", said.stderr)] {
        if !text.is_empty() {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            words += &format!("── {name}\n{text}{end}");
        }
    }
    words + &format!("── status {}\n", said.status)
}
