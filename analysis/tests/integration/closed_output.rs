//! Standard output and standard error that are closed, or whose reader goes away: every command ends as it
//! would have, and what it measures is kept.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use alpha_flops::protocol::Profile;
use alpha_flops::record::FinishedRun;

use crate::fixtures::data_files::archived_target;
use crate::fixtures::runs::write_run;
use crate::fixtures::{alpha_flops, said, stdout, text};

/// Launches of microseconds.
const SHORT: &str = "^A/h=2_w=2_in=50_out=50_k=1$";

#[derive(Clone, Copy, Debug)]
enum Closed {
    BeforeStart,
    /// By a reader that has gone before anything is written.
    Unread,
    /// By a reader that goes after the first line.
    AfterFirstLine,
}

const EVERY: [Closed; 3] = [Closed::BeforeStart, Closed::Unread, Closed::AfterFirstLine];
/// Standard output, standard error.
const STREAMS: [[bool; 2]; 3] = [[true, false], [false, true], [true, true]];
const BOTH: [[bool; 2]; 1] = [[true, true]];

/// The exit status of a command of which these streams are closed, and what it wrote to those that are not.
fn with_closed(command: &Command, closed: Closed, [output, error]: [bool; 2]) -> (i32, String) {
    let mut command = again(command, closed, [output, error]);
    let open = tempfile::NamedTempFile::new().unwrap();
    let to_open = || Stdio::from(File::options().append(true).open(open.path()).unwrap());
    let (reader, writer) = pipe().unwrap();
    let stdio = |is_closed| match is_closed {
        true => Stdio::from(writer.try_clone().unwrap()),
        false => to_open(),
    };
    command.stdin(Stdio::null()).stdout(stdio(output)).stderr(stdio(error));
    drop(writer);
    let mut kept: Option<PipeReader> = matches!(closed, Closed::AfterFirstLine).then_some(reader);
    let mut process = command.spawn().unwrap();
    // the other writers
    drop(command);
    if let Some(reader) = kept.take() {
        BufReader::with_capacity(1, reader).read_line(&mut String::new()).unwrap();
    }
    let status = process.wait().unwrap().code().unwrap();
    (status, fs::read_to_string(open.path()).unwrap())
}

/// The command once more; through a shell, where it has to close streams itself.
fn again(command: &Command, closed: Closed, [output, error]: [bool; 2]) -> Command {
    let mut again = match closed {
        Closed::BeforeStart => {
            let mut shell = Command::new("sh");
            let close = [(output, " >&-"), (error, " 2>&-")];
            let close: String = close.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
            shell.arg("-c").arg(format!("exec \"$0\" \"$@\"{close}")).arg(command.get_program());
            shell
        }
        Closed::Unread | Closed::AfterFirstLine => Command::new(command.get_program()),
    };
    again.args(command.get_args());
    again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    again
}

fn assert_ends_alike(command: &Command, ways: &[Closed], streams: &[[bool; 2]], expected: i32) {
    for &closed in ways {
        for &which in streams {
            let (status, open) = with_closed(command, closed, which);
            let name: Vec<&OsStr> = command.get_args().collect();
            assert_eq!(status, expected, "{name:?}, {closed:?} {which:?}: {open}");
            assert!(!open.contains("panicked"), "{name:?}, {closed:?} {which:?}: {open}");
        }
    }
}

/// Measures next to nothing.
fn measuring(runs: &Path, arguments: &[&str]) -> Command {
    let mut command = alpha_flops(arguments);
    command
        .env("ALPHA_FLOPS_RUNS", runs)
        .env("ALPHA_FLOPS_BACKEND", "cpu")
        .env("ALPHA_FLOPS_THREADS", "1")
        .env("ALPHA_FLOPS_PROFILE", "smoke")
        .env("ALPHA_FLOPS_EXPERIMENTS", "A");
    command
}

fn runs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("run.json").exists()).collect()
}

#[test]
fn what_reads_and_computes_ends_with_its_status_whoever_reads_what_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, archive) = (folder.path().join("runs"), folder.path().join("archive"));
    let launches = |factor: f64| vec![vec![1e6 * factor, 1.1e6, 1.2e6, 1.3e6, 1.2e6]; 3];
    let [before, after] = [1.0, 2.0].map(|by| write_run(&runs, Profile::Smoke, 1, &launches(by)));
    let (before, after) = (text(&before), text(&after));
    fs::create_dir(&archive).unwrap();
    let archived = "2026-11-25t15-38-14z-063f";
    for name in [format!("{archived}.csv"), format!("{archived}.environment.json")] {
        fs::copy(archived_target().join(&name), archive.join(&name)).unwrap();
    }
    let rows = fs::read_to_string(archive.join(format!("{archived}.csv"))).unwrap();
    let few: Vec<&str> = rows.lines().take(60).collect();
    let dataset = folder.path().join("d.csv");
    fs::write(&dataset, few.join("\n")).unwrap();
    let (dataset, archive) = (text(&dataset), text(&archive));
    let fit = ["fit", dataset, "--s-k", "side", "--flops", "macs"];
    let evaluate = ["evaluate", dataset, "--coefficients", "published-t2000"];
    let export = ["export", before, "--to", "github-action-benchmark"];
    let cases: [(&[&str], i32); 11] = [
        (&["--help"], 0),
        (&["no-such-command"], 2),
        (&["experiments"], 0),
        (&fit, 0),
        (&["fit", "no-such-file", "--s-k", "side", "--flops", "macs"], 1),
        (&evaluate, 0),
        (&export, 0),
        (&["variance", before], 0),
        (&["compare", before, after], 0),
        (&["compare", before, "no-such-run"], 2),
        (&["history", archive], 0),
    ];
    for (arguments, expected) in cases {
        let command = alpha_flops(arguments);
        assert_eq!(said(alpha_flops(arguments)).status, expected, "{arguments:?}");
        assert_ends_alike(&command, &EVERY, &STREAMS, expected);
    }
}

#[test]
fn what_is_measured_is_kept_whoever_reads_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    assert_ends_alike(&measuring(runs, &["doctor"]), &[Closed::Unread], &BOTH, 0);
    assert_ends_alike(&measuring(runs, &["bench", "--list"]), &[Closed::Unread], &STREAMS, 0);
    // criterion itself prints these
    let test = measuring(runs, &["bench", SHORT, "--test"]);
    assert!(stdout(again(&test, Closed::Unread, [false; 2])).contains("Testing A/h=2"));
    assert_ends_alike(&test, &[Closed::Unread], &STREAMS, 0);
    assert_ends_alike(&test, &EVERY, &BOTH, 0);

    for (number, closed) in [Closed::BeforeStart, Closed::AfterFirstLine].into_iter().enumerate() {
        assert_ends_alike(&measuring(runs, &["bench", SHORT, "--verbose"]), &[closed], &BOTH, 0);
        let runs = runs_in(runs);
        assert_eq!(runs.len(), number + 1);
        for run in runs {
            let record = FinishedRun::open(&run).unwrap();
            assert!(record.header.configurations[0].outcome.measured().is_some());
        }
    }
    let replicated = folder.path().join("replicated");
    let replicate = measuring(&replicated, &["replicate", "--no-sweep", SHORT]);
    assert_ends_alike(&replicate, &[Closed::AfterFirstLine], &BOTH, 0);
    let [run] = &runs_in(&replicated)[..] else { panic!("one run") };
    assert!(run.join("report/report.md").is_file());

    let swept = folder.path().join("swept");
    let arguments = ["sweep", "--grid", "published", "--budget", "1s", "--out", text(&swept)];
    assert_ends_alike(&measuring(runs, &arguments), &[Closed::AfterFirstLine], &BOTH, 0);
    let header = fs::read_to_string(swept.join("sweep.json")).unwrap();
    assert!(!header.contains("unfinished"), "{header}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_a_full_disk_does_not_take_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for command in [
        alpha_flops(["experiments"]),
        measuring(folder.path(), &["bench", "--list"]),
        measuring(folder.path(), &["bench", SHORT, "--test"]),
    ] {
        let mut command = again(&command, Closed::Unread, [false; 2]);
        let output = command.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write to standard output") && !said.contains("panicked"));
    }
}

#[test]
fn the_page_and_the_help_list_the_same_statuses() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/exit-status.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|row| row.strip_prefix("| ")?.split(" |").next());
    let on_page: Vec<u8> = rows.filter_map(|status| status.parse().ok()).collect();
    let help = stdout(alpha_flops(["--help"]));
    let listed = help.lines().skip_while(|line| *line != "Exit status:").skip(1);
    let statuses = listed.filter_map(|line| line.split_whitespace().next()?.parse().ok());
    assert_eq!(on_page, statuses.collect::<Vec<u8>>());
    assert_eq!(on_page, [0, 1, 2, 3, 75]);
}
