//! Criterion's command line, understood as far as measuring depends on it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::files::is_plain_name;

#[derive(Debug)]
pub struct Arguments {
    pub mode: Mode,
    /// Whether outputs are compared with a direct sum before measuring.
    pub verify: bool,
    /// Criterion's own arguments, as given; where it compares, without the baseline to save, which it refuses.
    pub for_criterion: Vec<String>,
    /// The filter and the flags that go with it, for a `--list` of what it selects.
    pub filter: Vec<String>,
    /// `CRITERION_HOME`, as an absolute path.
    pub criterion_home: Option<PathBuf>,
    pub save_baseline: Option<String>,
    /// The name given with `--baseline`, which every configuration must have.
    pub baseline_needed: Option<String>,
    /// The name given with `--baseline` or `--baseline-lenient`.
    pub compared_baseline: Option<String>,
    pub load_baseline: Option<String>,
    pub show_criterion: bool,
}

/// Who launches convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// This process, keeping a record.
    Measure,
    /// Criterion, keeping nothing: `--test`, `--profile-time`, and `--ignored`, which selects
    /// nothing.
    Launch,
    /// Nobody: criterion compares what it has on disk, for `--load-baseline`.
    Compare,
    /// Nobody: criterion lists.
    List,
}

#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    #[error("{flag} is refused: {reason}")]
    Refused { flag: String, reason: &'static str },
    /// An argument that neither clap nor criterion can read; positions count from 1.
    #[error("argument {position}, `{lossy}`, is not UTF-8")]
    NotUtf8 { position: usize, lossy: String },
}

fn refused(flag: impl Into<String>, reason: &'static str) -> ArgumentError {
    ArgumentError::Refused { flag: flag.into(), reason }
}

/// Flags that take the number of launches, or what a launch is, out of the profile's hands: name,
/// whether it takes a value, and why it is refused.
const REFUSED: [(&str, bool, &str); 6] = [
    (
        "quick",
        false,
        "it replaces the record of every configuration by two batches of launches; for a quick \
         run, set ALPHA_FLOPS_PROFILE=smoke",
    ),
    (
        "sample-size",
        true,
        "the profile decides how many launches there are; set ALPHA_FLOPS_PROFILE",
    ),
    (
        "measurement-time",
        true,
        "with it criterion batches launches, and the spread of single launches is lost; set \
         ALPHA_FLOPS_TIME_BUDGET",
    ),
    ("warm-up-time", true, "each configuration is warmed up until its times are steady"),
    ("discard-baseline", false, "the record is made from the files it would discard"),
    (
        "plotting-backend",
        true,
        "criterion's plots take 11 files per configuration; `alpha-flops report` draws the figures",
    ),
];

/// The largest number of bootstrap resamples that criterion may be asked for.
const MOST_RESAMPLES: u64 = 1_000_000;

/// Names of criterion's own folders: a baseline of that name would overwrite them with partial
/// files.
const RESERVED: [&str; 4] = ["new", "base", "change", "report"];

impl Arguments {
    /// Reads what follows the program's name, which is `program` in help and usage. `--help` and
    /// unknown flags end the process.
    ///
    /// # Errors
    /// [`ArgumentError`] for arguments that are not UTF-8 and flags that would corrupt a record.
    pub fn parse(
        program: &'static str,
        given: impl Iterator<Item = OsString>,
    ) -> Result<Self, ArgumentError> {
        let given = utf_8(given)?;
        let with_program = std::iter::once(program).chain(given.iter().map(String::as_str));
        let matches = command(program).get_matches_from(with_program);
        check_flags(&matches)?;
        check_baseline_names(&matches)?;
        let value = |name: &str| matches.get_one::<String>(name).cloned();
        let compared_baseline = value("baseline").or_else(|| value("baseline-lenient"));
        let mut filter: Vec<String> = value("FILTER").into_iter().collect();
        filter.extend(matches.get_flag("exact").then(|| "--exact".to_owned()));
        filter.extend(matches.get_flag("ignored").then(|| "--ignored".to_owned()));
        let mode = mode(&matches);
        let mut for_criterion: Vec<String> =
            given.into_iter().filter(|argument| argument != "--verify").collect();
        if mode == Mode::Measure && compared_baseline.is_some() {
            for_criterion = without_save_baseline(for_criterion);
        }
        Ok(Self {
            mode,
            verify: matches.get_flag("verify"),
            for_criterion,
            filter,
            criterion_home: criterion_home()?,
            save_baseline: value("save-baseline"),
            baseline_needed: value("baseline"),
            show_criterion: compared_baseline.is_some() || matches.get_flag("verbose"),
            compared_baseline,
            load_baseline: value("load-baseline"),
        })
    }

    /// The name under which criterion will keep the measurements of this run: it either compares or saves.
    pub fn baseline(&self) -> &str {
        let saves = self.compared_baseline.is_none();
        self.save_baseline.as_deref().filter(|_| saves).unwrap_or("new")
    }

    /// Whether results of this run go to, or are compared with, those of other runs.
    pub fn shares_baselines(&self) -> bool {
        self.criterion_home.is_some()
            || self.save_baseline.is_some()
            || self.compared_baseline.is_some()
            || self.load_baseline.is_some()
    }
}

fn without_save_baseline(given: Vec<String>) -> Vec<String> {
    let mut given = given.into_iter();
    let mut kept = Vec::new();
    while let Some(argument) = given.next() {
        let short = argument.starts_with("-s");
        match argument.as_str() {
            "--save-baseline" | "-s" => drop(given.next()),
            _ if short || argument.starts_with("--save-baseline=") => {}
            "--" => {
                kept.push(argument);
                kept.extend(given.by_ref());
            }
            _ => kept.push(argument),
        }
    }
    kept
}

fn utf_8(given: impl Iterator<Item = OsString>) -> Result<Vec<String>, ArgumentError> {
    let numbered = (1..).zip(given);
    let text = numbered.map(|(position, argument)| {
        argument.into_string().map_err(|argument| {
            let lossy = argument.to_string_lossy().into_owned();
            ArgumentError::NotUtf8 { position, lossy }
        })
    });
    text.collect()
}

/// As criterion decides, and in its order.
fn mode(matches: &ArgMatches) -> Mode {
    let has = |name: &str| matches.get_one::<String>(name).is_some();
    if matches.get_flag("list") {
        return Mode::List;
    }
    // without `--bench`, cargo is testing
    let testing = matches.get_flag("test") || !matches.get_flag("bench");
    if testing || has("profile-time") || matches.get_flag("ignored") {
        Mode::Launch
    } else if has("load-baseline") {
        Mode::Compare
    } else {
        Mode::Measure
    }
}

fn check_flags(matches: &ArgMatches) -> Result<(), ArgumentError> {
    for (flag, takes_value, reason) in REFUSED {
        let present = match takes_value {
            true => matches.get_one::<String>(flag).is_some(),
            false => matches.get_flag(flag),
        };
        if present {
            return Err(refused(format!("--{flag}"), reason));
        }
    }
    // criterion explains what is not a number
    let resamples = matches.get_one::<String>("nresamples").and_then(|text| text.parse().ok());
    if resamples.is_some_and(|resamples: u64| resamples > MOST_RESAMPLES) {
        let reason = "expected at most 1000000: more would take hours after the measurement";
        return Err(refused("--nresamples", reason));
    }
    if std::env::var_os("CARGO_CRITERION_PORT").is_some() {
        let reason = "it keeps measurements in a format that no record can be made from; use \
                      `cargo bench`";
        return Err(refused("cargo criterion", reason));
    }
    Ok(())
}

/// A baseline is a folder beside criterion's own in the folder of each benchmark.
fn check_baseline_names(matches: &ArgMatches) -> Result<(), ArgumentError> {
    let loads = matches.get_one::<String>("load-baseline").is_some();
    for flag in ["save-baseline", "baseline", "baseline-lenient", "load-baseline"] {
        let Some(name) = matches.get_one::<String>(flag) else { continue };
        if !is_plain_name(name) {
            let reason = "expected a name that can be a folder's: not empty, `.` or `..`, of at most \
                          200 bytes, and without `/` and `\\`";
            return Err(refused(format!("--{flag} `{name}`"), reason));
        }
        // comparing what is on disk may well be about the latest, `new`
        let reserved = RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved));
        if reserved && (flag == "save-baseline" || !loads) {
            let reason = "criterion keeps its own files under that name; choose another";
            return Err(refused(format!("--{flag} {name}"), reason));
        }
    }
    Ok(())
}

fn criterion_home() -> Result<Option<PathBuf>, ArgumentError> {
    // later readers may be started in another folder
    let home = std::env::var_os("CRITERION_HOME").map(std::path::absolute).transpose();
    home.map_err(|_| refused("CRITERION_HOME", "expected a path, got nothing"))
}

/// Options that the help shows: name, short name, whether it takes a value, and help.
const OPTIONS: [(&str, Option<char>, bool, &str); 17] = [
    ("exact", None, false, "Measure only the configuration whose id is FILTER"),
    ("verify", None, false, "Compare the outputs of every configuration with a direct sum first"),
    ("list", None, false, "List the configurations and measure nothing"),
    ("format", None, true, "Format of --list: `pretty` or `terse`"),
    ("test", None, false, "Prepare, verify and launch each configuration once and keep nothing"),
    (
        "profile-time",
        None,
        true,
        "Launch each configuration for this many seconds and keep nothing",
    ),
    ("save-baseline", Some('s'), true, "Keep the measurements as a baseline of this name"),
    ("baseline", Some('b'), true, "Compare with the baseline of this name"),
    ("baseline-lenient", None, true, "Compare with the baseline of this name where it exists"),
    ("load-baseline", None, true, "Compare two baselines and measure nothing"),
    ("verbose", Some('v'), false, "Also show criterion's own report of each benchmark"),
    ("color", Some('c'), true, "Passed on to criterion"),
    ("nresamples", None, true, "Passed on to criterion"),
    ("noise-threshold", None, true, "Passed on to criterion"),
    ("confidence-level", None, true, "Passed on to criterion"),
    ("significance-level", None, true, "Passed on to criterion"),
    ("output-format", None, true, "Passed on to criterion"),
];

/// Flags that criterion takes and the help doesn't mention.
const HIDDEN: [&str; 6] =
    ["bench", "ignored", "quiet", "nocapture", "show-output", "include-ignored"];

fn command(program: &'static str) -> Command {
    let option = |name: &'static str, takes_value: bool| match takes_value {
        true => Arg::new(name).long(name).value_name("VALUE"),
        false => Arg::new(name).long(name).action(ArgAction::SetTrue),
    };
    let filter = "Measure only configurations whose id matches this regular expression, e.g. '^D/'";
    Command::new(program)
        .bin_name(program)
        .display_name("alpha-flops")
        .max_term_width(80)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Measure experiments A–G as set by ALPHA_FLOPS_… variables or bench.toml")
        .arg(Arg::new("FILTER").help(filter))
        .args(OPTIONS.map(|(name, short, takes_value, help)| {
            option(name, takes_value).short(short).help(help)
        }))
        .mut_arg("color", |color| color.alias("colour"))
        .args(HIDDEN.map(|name| option(name, false).hide(true)))
        .arg(option("noplot", false).short('n').hide(true))
        .args(REFUSED.map(|(name, takes_value, _)| option(name, takes_value).hide(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> Option<String> {
        let given = arguments.iter().map(OsString::from);
        Arguments::parse("bench", given).err().map(|error| error.to_string())
    }

    #[test]
    fn names_of_baselines_that_are_no_folders_are_refused_whatever_takes_them() {
        let longest = "ä".repeat(100);
        for flag in ["--save-baseline", "--baseline", "--baseline-lenient", "--load-baseline"] {
            for name in ["main", "2026-01 before", longest.as_str()] {
                assert_eq!(refusal(&[flag, name]), None, "{flag} {name}");
            }
            let longer = format!("{longest}b");
            for name in ["", " ", ".", "..", "a/b", "/tmp", "a\\b", longer.as_str()] {
                let refused = refusal(&[flag, name]);
                let named = format!("{flag} `{name}` is refused: expected a name");
                assert!(
                    refused.as_ref().is_some_and(|refused| refused.contains(&named)),
                    "{refused:?}"
                );
            }
        }
        assert!(refusal(&["--save-baseline", "new"]).is_some());
    }

    #[test]
    fn a_baseline_to_save_is_kept_from_criterion_where_it_compares() {
        for save in [&["--save-baseline", "x"][..], &["--save-baseline=x"], &["-s", "x"], &["-sx"]]
        {
            let parsed = |others: &[&str]| {
                let given = [others, save, &["^A/"]].concat();
                Arguments::parse("bench", given.iter().map(OsString::from)).unwrap()
            };
            let both = parsed(&["--bench", "--baseline", "y"]);
            assert_eq!(both.for_criterion, ["--bench", "--baseline", "y", "^A/"]);
            assert_eq!((both.baseline(), both.save_baseline.as_deref()), ("new", Some("x")));
            let saved = parsed(&["--bench"]);
            assert_eq!((saved.baseline(), saved.for_criterion.len()), ("x", 2 + save.len()));
            // criterion explains what does not go together
            let loaded = parsed(&["--bench", "--load-baseline", "z", "--baseline", "y"]);
            assert_eq!(loaded.for_criterion.len(), 6 + save.len());
        }
    }
}
