//! What the records say differs between runs: driver, compiler, commit, machine and its state, settings.

use std::collections::BTreeSet;
use std::fmt;

use alpha_flops::record::RunHeader;
use serde::Serialize;

mod machine;

/// Something recorded about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    what: String,
    value: String,
    decides_latencies: bool,
}

/// Something recorded that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `rustc`, `driver`, `kernel`, …
    pub what: String,
    /// Its value before; of several runs, all values that occurred.
    pub before: String,
    /// Its value after.
    pub after: String,
    /// Whether it affects latencies: driver, library, compiler, code and how launches were made. The
    /// rest is the system, which of several equal cards, and the limits of measuring.
    pub decides_latencies: bool,
    /// Whether it makes latencies longer, where that is known: of the machine's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slower: Option<bool>,
}

/// `kernel 6.1 → 6.2`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} → {}", self.what, self.before, self.after)
    }
}

/// Shown for what is not recorded.
const NOTHING: &str = "nothing";

/// What differs between the runs before and those after, what affects latencies first and the state that the
/// machine was in last. The seed, and which of several equal cores were used, are left out.
pub fn differences(before: &[&RunHeader], after: &[&RunHeader]) -> Vec<Difference> {
    let mut differences = declared(before, after);
    differences.extend(machine::differences(before, after));
    differences
}

/// The same without the state of the machine: what somebody has chosen or changed.
pub fn declared(before: &[&RunHeader], after: &[&RunHeader]) -> Vec<Difference> {
    let [was, is] =
        [before, after].map(|runs| runs.iter().flat_map(|run| facts(run)).collect::<Vec<_>>());
    let mut names: Vec<(&str, bool)> = Vec::new();
    for fact in is.iter().chain(&was) {
        let name = (fact.what.as_str(), fact.decides_latencies);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort_by_key(|(_, decides_latencies)| !decides_latencies);
    let values = |facts: &[Fact], what: &str| -> String {
        let of_name = facts.iter().filter(|fact| fact.what == what);
        let values: BTreeSet<&str> = of_name.map(|fact| fact.value.as_str()).collect();
        match values.is_empty() {
            true => NOTHING.to_owned(),
            false => values.into_iter().collect::<Vec<_>>().join(" and "),
        }
    };
    names
        .into_iter()
        .map(|(what, decides_latencies)| Difference {
            what: what.to_owned(),
            before: values(&was, what),
            after: values(&is, what),
            decides_latencies,
            slower: None,
        })
        .filter(|difference| difference.before != difference.after)
        .collect()
}

/// Whether it is known what state the machine was in during a run.
pub fn is_machine_known(header: &RunHeader) -> bool {
    machine::is_known(header)
}

/// Whether the machine is known to have been in another state.
pub fn is_in_another_state(before: &RunHeader, after: &RunHeader) -> bool {
    !machine::differences(&[before], &[after]).is_empty()
}

/// Something that affects latencies, and of which the records of all runs say the same, but not enough to tell
/// that it was the same: a commit with changes that were not committed, or what could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// `commit`, `frequency governor`, …
    pub what: String,
    /// What the records say.
    pub value: String,
}

/// `commit (abc123-dirty)`.
impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.value)
    }
}

/// What affects latencies and may differ between runs although the records say the same.
pub fn unknown(runs: &[&RunHeader]) -> Vec<Unknown> {
    let is_unknown = |value: &str| {
        let one =
            |value: &str| value.ends_with("-dirty") || ["unknown", "not readable"].contains(&value);
        value.split(" and ").any(one)
    };
    let facts = runs.iter().flat_map(|run| facts(run));
    let mut found: Vec<Unknown> = Vec::new();
    for Fact { what, value, .. } in facts.filter(|fact| fact.decides_latencies) {
        if is_unknown(&value) && !found.iter().any(|unknown| unknown.what == what) {
            found.push(Unknown { what, value });
        }
    }
    found.extend(machine::unknown(runs));
    found
}

/// Everything that is compared, in a fixed order.
fn facts(header: &RunHeader) -> Vec<Fact> {
    let (settings, platform) = (&header.plan.settings, &header.plan.platform);
    let fact = |what: &str, value: String, decides_latencies| Fact {
        what: what.to_owned(),
        value,
        decides_latencies,
    };
    let deciding = |what: &str, value: String| fact(what, value, true);
    let other = |what: &str, value: String| fact(what, value, false);
    let kind = platform.kind().into_iter().filter(|(what, _)| *what != "crates");
    let mut facts: Vec<Fact> = kind.map(|(what, value)| deciding(what, value)).collect();
    // one by one, so that a new crate does not hide a changed one
    let crates = platform.crates.iter().map(|name| name.split_once(' ').unwrap_or((name, "")));
    facts.extend(crates.map(|(name, version)| deciding(name, version.to_owned())));
    facts.extend(header.plan.side.iter().map(|side| deciding("side", side.clone())));
    facts.push(deciding("profile", settings.profile.to_string()));
    let launches = settings.launches.map_or("by the profile".to_owned(), |n| n.to_string());
    facts.push(deciding("launches", launches));
    facts.push(deciding("passes", settings.passes.to_string()));
    let of_backend = settings.backend.facts().into_iter();
    facts.extend(of_backend.map(|(what, value)| deciding(what, value)));
    let sessions = header.sessions.iter().map(|session| session.conditions.governor.as_deref());
    let governors: BTreeSet<&str> = sessions.map(|name| name.unwrap_or("not readable")).collect();
    facts.push(deciding(
        "frequency governor",
        governors.into_iter().collect::<Vec<_>>().join(" and "),
    ));
    let budget = settings.time_budget.map(|budget| format!("{} s", budget.as_secs_f64()));
    facts.extend(platform.gpu.iter().map(|gpu| other("card", gpu.uuid.clone())));
    facts.extend([
        other("operating system", platform.os.clone()),
        other("kernel", platform.kernel.clone()),
        other("memory", platform.memory.to_string()),
        other("logical cores", platform.logical_cores.to_string()),
        other("resolution", settings.resolution.to_string()),
        other("time budget", budget.unwrap_or_else(|| "none".to_owned())),
    ]);
    facts
}

#[cfg(test)]
mod tests {
    use alpha_flops::protocol::Profile;

    use super::*;
    use crate::simulate::{Simulation, Truth};

    #[test]
    fn what_is_unknown_may_differ_even_if_the_records_say_the_same() {
        let mut before = Simulation::new(Truth::default()).header(0);
        before.plan.platform.git_commit = "0123456-dirty".into();
        for session in &mut before.sessions {
            session.conditions.governor = None;
        }
        let after = before.clone();
        assert!(differences(&[&before], &[&after]).is_empty());
        let words: Vec<String> =
            unknown(&[&before, &after]).iter().map(ToString::to_string).collect();
        let expected = [
            "commit (0123456-dirty)",
            "frequency governor (not readable)",
            "state of the machine (not probed)",
        ];
        assert_eq!(words, expected);
        before.plan.platform.git_commit = "unknown".into();
        assert_eq!(unknown(&[&before])[0].value, "unknown");
        before.plan.platform.git_commit = "0123456".into();
        assert_eq!(unknown(&[&before]).len(), 2);
    }

    #[test]
    fn each_crate_is_named_by_itself_and_what_decides_latencies_comes_first() {
        let mut before = Simulation::new(Truth::default()).header(0);
        before.plan.platform.crates = vec!["criterion 0.8.2".into(), "gemm 0.19.0".into()];
        let mut after = before.clone();
        after.plan.platform.crates = vec!["alpha-flops 0.1.0".into(), "gemm 0.20.0".into()];
        after.plan.platform.kernel = "6.2".into();
        after.plan.settings.profile = Profile::Standard;
        let changed = differences(&[&before], &[&after]);
        let words: Vec<String> = changed.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "alpha-flops nothing → 0.1.0",
                "gemm 0.19.0 → 0.20.0",
                "profile paper → standard",
                "criterion 0.8.2 → nothing",
                "kernel simulated → 6.2",
            ]
        );
        assert!(changed.iter().take(4).all(|difference| difference.decides_latencies));
        let both = differences(&[&before, &after], &[&after]);
        assert!(both.iter().any(|difference| difference.before == "0.19.0 and 0.20.0"));
        assert!(differences(&[&before], &[&before]).is_empty());
    }
}
