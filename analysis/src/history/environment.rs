//! What differs between the circumstances of two runs.

use std::fmt;

use alpha_flops::record::RunHeader;
use serde::Serialize;

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `rustc`, `driver`, `kernel`, …
    pub what: String,
    /// As it was; of a list, what is gone.
    pub before: String,
    /// As it is; of a list, what is new.
    pub after: String,
}

/// `kernel 6.1 → 6.2`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} → {}", self.what, self.before, self.after)
    }
}

/// Shown where there is nothing.
const NOTHING: &str = "nothing";

/// What differs: whatever decides latencies (`Platform::kind`), each recorded crate by itself, the
/// system, its memory and governor, and what was asked for. Which card or cores of several equal
/// ones, and the seed, are left out.
pub fn changes(before: &RunHeader, after: &RunHeader) -> Vec<Change> {
    let (was, is) = (facts(before), facts(after));
    let find = |facts: &[(String, String)], what: &str| {
        facts.iter().find(|(name, _)| name == what).map(|(_, value)| value.clone())
    };
    let gone = was.iter().filter(|(what, _)| find(&is, what).is_none()).map(|(what, _)| what);
    let names = is.iter().map(|(what, _)| what).chain(gone);
    names.filter_map(|what| change(what, find(&was, what), find(&is, what))).collect()
}

/// The parts of a list that are only on one side, where it is none the whole.
fn change(what: &str, before: Option<String>, after: Option<String>) -> Option<Change> {
    if before == after {
        return None;
    }
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let only_in = |this: &str, other: &str| {
        let others: Vec<&str> = other.split(", ").collect();
        let own: Vec<&str> = this.split(", ").filter(|part| !others.contains(part)).collect();
        if own.iter().all(|part| part.is_empty()) { NOTHING.to_owned() } else { own.join(", ") }
    };
    let (before, after) = (only_in(&before, &after), only_in(&after, &before));
    Some(Change { what: what.to_owned(), before, after })
}

/// What is compared, by name.
fn facts(header: &RunHeader) -> Vec<(String, String)> {
    let (plan, platform) = (&header.plan, &header.plan.platform);
    let kind = platform.kind().into_iter().filter(|(what, _)| *what != "crates");
    let crates = platform.crates.iter().map(|name| name.split_once(' ').unwrap_or((name, "")));
    let governor = header.sessions.first().and_then(|session| session.conditions.governor.clone());
    let others = [
        ("operating system", platform.os.clone()),
        ("kernel", platform.kernel.clone()),
        ("memory", platform.memory.to_string()),
        ("logical cores", platform.logical_cores.to_string()),
        ("frequency governor", governor.unwrap_or_else(|| "not readable".to_owned())),
        ("settings", plan.settings.to_string()),
    ];
    kind.map(|(what, value)| (what.to_owned(), value))
        .chain(crates.map(|(name, version)| (name.to_owned(), version.to_owned())))
        .chain(others.map(|(what, value)| (what.to_owned(), value)))
        .collect()
}

/// What may have disturbed a run, or is to be known of it.
pub fn remarks(header: &RunHeader) -> Vec<String> {
    let mut remarks = Vec::new();
    match header.sessions.len() {
        0 | 1 => {}
        2 => remarks.push("interrupted and resumed once".to_owned()),
        n => remarks.push(format!("interrupted and resumed {} times", n - 1)),
    }
    let cores = header.plan.platform.logical_cores;
    let loads = header.sessions.iter().filter_map(|session| session.conditions.load_average);
    let load = loads.fold(0.0, f64::max);
    // a run just before this one leaves as much as the cores can do
    if load > cores as f64 {
        remarks.push(format!("load average {load:.1} on {cores} logical cores at its start"));
    }
    if header.plan.platform.git_commit.ends_with("-dirty") {
        remarks.push("built from sources that no commit has".to_owned());
    }
    remarks
}
