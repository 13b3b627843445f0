//! Criterion's command line, understood as far as measuring depends on it.

use std::path::PathBuf;

use alpha_flops::settings::target_directory;
use clap::{Arg, ArgAction, ArgMatches, Command};
use thiserror::Error;

/// What the command line asks for.
#[derive(Debug)]
pub struct Arguments {
    /// Whether launches are measured and kept.
    pub mode: Mode,
    /// Compare outputs with a direct sum before measuring.
    pub verify: bool,
    /// Criterion's own arguments, as given.
    pub for_criterion: Vec<String>,
    /// The filter and what goes with it, for a `--list` of what it selects.
    pub filter: Vec<String>,
    /// Absolute path of the criterion home where results of several runs meet, if there is one.
    pub shared_home: Option<PathBuf>,
    /// The name given with `--save-baseline`.
    pub save_baseline: Option<String>,
    /// The name given with `--baseline`, which every configuration must have.
    pub baseline_needed: Option<String>,
    /// The name given with `--baseline` or `--baseline-lenient`.
    pub compared_baseline: Option<String>,
    /// The name given with `--load-baseline`.
    pub load_baseline: Option<String>,
    /// Whether criterion's own account of each benchmark is wanted.
    pub show_criterion: bool,
}

/// Who launches.
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

/// A command line that cannot be followed.
#[derive(Debug, Error)]
pub enum ArgumentError {
    /// A flag that would corrupt records.
    #[error("{flag} is refused: {reason}")]
    Refused {
        /// The flag, with its value where that is the trouble.
        flag: String,
        /// Why.
        reason: &'static str,
    },
    /// An argument that neither clap nor criterion can read.
    #[error("argument {position}, `{lossy}`, is not UTF-8")]
    NotUtf8 {
        /// Counted from 1.
        position: usize,
        /// The argument, as far as it can be shown.
        lossy: String,
    },
}

fn refused(flag: impl Into<String>, reason: &'static str) -> ArgumentError {
    ArgumentError::Refused { flag: flag.into(), reason }
}

/// Flags that take the number of launches, or what a launch is, out of the profile's hands.
const REFUSED: [(&str, bool, &str); 6] = [
    (
        "quick",
        false,
        "it stores two batches of launches over the record of every configuration; use \
         ALPHA_FLOPS_PROFILE=smoke to be quick",
    ),
    (
        "sample-size",
        true,
        "the profile decides how many launches there are; set ALPHA_FLOPS_PROFILE",
    ),
    (
        "measurement-time",
        true,
        "with it criterion batches launches, and the spread of single ones is lost; set \
         ALPHA_FLOPS_TIME_BUDGET",
    ),
    ("warm-up-time", true, "a configuration is warmed up until its times are steady"),
    ("discard-baseline", false, "the record is made from what it would discard"),
    (
        "plotting-backend",
        true,
        "criterion's plots cost 11 files a configuration; `cargo analyze report` draws the figures",
    ),
];

/// Bootstrap resamples that criterion may be asked for.
const MOST_RESAMPLES: u64 = 1_000_000;

/// Names of criterion's own folders: a baseline of that name overwrites them with cut files.
const RESERVED: [&str; 4] = ["new", "base", "change", "report"];

impl Arguments {
    /// Reads the command line of this process.
    ///
    /// `--help` and unknown flags end the process, as clap does.
    ///
    /// # Errors
    /// [`ArgumentError`] for arguments that are not UTF-8 and flags that would corrupt a record.
    pub fn parse() -> Result<Self, ArgumentError> {
        let given = given()?;
        let name = std::iter::once("cargo bench");
        let matches = command().get_matches_from(name.chain(given.iter().map(String::as_str)));
        check_flags(&matches)?;
        check_baseline_names(&matches)?;
        let value = |name: &str| matches.get_one::<String>(name).cloned();
        let save_baseline = value("save-baseline");
        let compared_baseline = value("baseline").or_else(|| value("baseline-lenient"));
        let load_baseline = value("load-baseline");
        let names_baseline =
            compared_baseline.is_some() || save_baseline.is_some() || load_baseline.is_some();
        let mut filter: Vec<String> = value("FILTER").into_iter().collect();
        filter.extend(matches.get_flag("exact").then(|| "--exact".to_owned()));
        filter.extend(matches.get_flag("ignored").then(|| "--ignored".to_owned()));
        Ok(Self {
            mode: mode(&matches),
            verify: matches.get_flag("verify"),
            for_criterion: given.into_iter().filter(|argument| argument != "--verify").collect(),
            filter,
            shared_home: shared_home(names_baseline)?,
            save_baseline,
            baseline_needed: value("baseline"),
            show_criterion: compared_baseline.is_some() || matches.get_flag("verbose"),
            compared_baseline,
            load_baseline,
        })
    }

    /// Name under which criterion will keep the measurements of this run.
    pub fn baseline(&self) -> &str {
        self.save_baseline.as_deref().unwrap_or("new")
    }
}

fn given() -> Result<Vec<String>, ArgumentError> {
    let arguments = std::env::args_os().enumerate().skip(1);
    arguments
        .map(|(position, argument)| {
            argument.into_string().map_err(|argument| {
                let lossy = argument.to_string_lossy().into_owned();
                ArgumentError::NotUtf8 { position, lossy }
            })
        })
        .collect()
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
        let present = if takes_value {
            matches.get_one::<String>(flag).is_some()
        } else {
            matches.get_flag(flag)
        };
        if present {
            return Err(refused(format!("--{flag}"), reason));
        }
    }
    // what is no number at all is for criterion to explain
    let resamples = matches.get_one::<String>("nresamples").and_then(|text| text.parse().ok());
    if resamples.is_some_and(|resamples: u64| resamples > MOST_RESAMPLES) {
        let reason = "expected at most 1000000: more take hours after everything is measured";
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
        // `/` and `\` whatever the system, so that a name that works here works everywhere
        let plain = !name.trim().is_empty() && name != "." && name != "..";
        if !plain || name.contains(['/', '\\', '\0']) {
            let reason = "expected a name that can be a folder's: not empty, `.` or `..`, and \
                          without `/` and `\\`";
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

/// Where a baseline is named, it is kept in the home that criterion's users know.
fn shared_home(names_baseline: bool) -> Result<Option<PathBuf>, ArgumentError> {
    let Some(set) = std::env::var_os("CRITERION_HOME") else {
        return Ok(names_baseline.then(|| target_directory().join("criterion")));
    };
    // the child and later readers may stand elsewhere
    let absolute = std::path::absolute(set);
    absolute.map(Some).map_err(|_| refused("CRITERION_HOME", "expected a path, got nothing"))
}

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value = |name: &'static str| Arg::new(name).long(name).value_name("VALUE");
    let refused = REFUSED.map(|(name, takes_value, _)| {
        if takes_value { value(name) } else { flag(name) }.hide(true)
    });
    Command::new("cargo bench")
        .bin_name("cargo bench --")
        .display_name("alpha-flops")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Measures experiments A–G; what and how much is set by ALPHA_FLOPS_… variables or bench.toml")
        .arg(Arg::new("FILTER").help("Regular expression: measure only ids that match, e.g. '^D/'"))
        .arg(flag("exact").help("Measure only the configuration whose id is FILTER"))
        .arg(flag("verify").help("Compare outputs of every configuration with a direct sum first"))
        .arg(flag("list").help("List the configurations, measure nothing"))
        .arg(value("format").help("With --list: `pretty` or `terse`"))
        .arg(flag("test").help("Prepare, verify and launch each configuration once, keep nothing"))
        .arg(value("profile-time").help("Launch each configuration for so many seconds, keep nothing"))
        .arg(value("save-baseline").short('s').help("Keep the measurements under a name, in target/criterion"))
        .arg(value("baseline").short('b').help("Compare with the measurements kept under a name"))
        .arg(value("baseline-lenient").help("The same, where there are any"))
        .arg(value("load-baseline").help("Compare two baselines, measure nothing"))
        .arg(flag("verbose").short('v').help("Show criterion's own account of each benchmark, too"))
        .arg(value("color").short('c').alias("colour").help("As criterion has it"))
        .args(["nresamples", "noise-threshold", "confidence-level", "significance-level", "output-format"]
            .map(|name| value(name).help("As criterion has it")))
        .arg(flag("noplot").short('n').hide(true))
        .args(["bench", "ignored", "quiet", "nocapture", "show-output", "include-ignored"]
            .map(|name| flag(name).hide(true)))
        .args(refused)
}
