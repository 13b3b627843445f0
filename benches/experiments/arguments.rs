//! Criterion's command line, understood as far as measuring depends on it.

use std::path::PathBuf;

use alpha_flops::settings::target_directory;
use clap::{Arg, ArgAction, Command};
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
    /// Criterion's home where results of several runs meet; `None`: the run's own folder.
    pub shared_home: Option<PathBuf>,
    /// The name given with `--save-baseline`.
    pub save_baseline: Option<String>,
    /// The name given with `--baseline`, which every configuration must have.
    pub baseline_needed: Option<String>,
    /// Whether criterion's own account of each benchmark is wanted.
    pub show_criterion: bool,
}

/// Who launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// This process, keeping a record.
    Measure,
    /// Criterion: `--list`, `--test`, `--profile-time`, `--load-baseline`. No record.
    Criterion,
}

/// A flag that would corrupt records.
#[derive(Debug, Error)]
#[error("{flag} is refused: {reason}")]
pub struct Refused {
    flag: String,
    reason: &'static str,
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

/// Names of criterion's own folders: a baseline of that name overwrites them with cut files.
const RESERVED: [&str; 4] = ["new", "base", "change", "report"];

impl Arguments {
    /// Reads the command line of this process.
    ///
    /// `--help` and unknown flags end the process, as clap does.
    ///
    /// # Errors
    /// [`Refused`] for flags that would corrupt a record.
    pub fn parse() -> Result<Self, Refused> {
        let given: Vec<String> = std::env::args().skip(1).collect();
        let matches = command().get_matches();
        for (flag, takes_value, reason) in REFUSED {
            let present = if takes_value {
                matches.get_one::<String>(flag).is_some()
            } else {
                matches.get_flag(flag)
            };
            if present {
                return Err(Refused { flag: format!("--{flag}"), reason });
            }
        }
        let value = |name: &str| matches.get_one::<String>(name).cloned();
        let save_baseline = value("save-baseline");
        if let Some(name) = save_baseline.as_deref().filter(|name| RESERVED.contains(name)) {
            return Err(Refused {
                flag: format!("--save-baseline {name}"),
                reason: "criterion keeps its own files under that name; choose another",
            });
        }
        if std::env::var_os("CARGO_CRITERION_PORT").is_some() {
            return Err(Refused {
                flag: "cargo criterion".to_owned(),
                reason: "it keeps measurements in a format that no record can be made from; use \
                         `cargo bench`",
            });
        }
        let compares = ["baseline", "baseline-lenient", "load-baseline"]
            .into_iter()
            .any(|name| value(name).is_some());
        // as criterion decides: without `--bench`, cargo is testing
        let testing = matches.get_flag("test") || !matches.get_flag("bench");
        let alone = testing
            || matches.get_flag("list")
            || value("profile-time").is_some()
            || value("load-baseline").is_some();
        let mut filter: Vec<String> = value("FILTER").into_iter().collect();
        filter.extend(matches.get_flag("exact").then(|| "--exact".to_owned()));
        filter.extend(matches.get_flag("ignored").then(|| "--ignored".to_owned()));
        Ok(Self {
            mode: if alone { Mode::Criterion } else { Mode::Measure },
            verify: matches.get_flag("verify"),
            for_criterion: given.into_iter().filter(|argument| argument != "--verify").collect(),
            filter,
            shared_home: shared_home(compares || save_baseline.is_some()),
            save_baseline,
            baseline_needed: value("baseline"),
            show_criterion: compares || matches.get_flag("verbose"),
        })
    }

    /// Name under which criterion will keep the measurements of this run.
    pub fn baseline(&self) -> &str {
        self.save_baseline.as_deref().unwrap_or("new")
    }
}

/// Baselines outlive runs, so where one is named criterion works in the home that its users know.
fn shared_home(names_baseline: bool) -> Option<PathBuf> {
    let set = std::env::var_os("CRITERION_HOME").map(PathBuf::from);
    set.or_else(|| names_baseline.then(|| target_directory().join("criterion")))
}

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value = |name: &'static str| Arg::new(name).long(name).value_name("VALUE");
    let refused = REFUSED.map(|(name, takes_value, _)| {
        if takes_value { value(name) } else { flag(name) }.hide(true)
    });
    Command::new("cargo bench")
        .bin_name("cargo bench --")
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
        .args(["color", "nresamples", "noise-threshold", "confidence-level", "significance-level", "output-format"]
            .map(|name| value(name).help("As criterion has it")))
        .args(["bench", "ignored", "noplot", "quiet", "nocapture", "show-output", "include-ignored"]
            .map(|name| flag(name).hide(true)))
        .args(refused)
}
