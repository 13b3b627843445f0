//! Unfinished work that is not continued, and why: it is never passed over in silence.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::folder::unfinished;
use super::{RunPlan, SCHEMA_VERSION};
use crate::environment::Platform;

/// What is unfinished and is not continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Where it is kept.
    pub path: PathBuf,
    /// What [differs](differences), or what else keeps it from being continued.
    pub why: Vec<String>,
}

impl PassedOver {
    /// Of what is passed over, that which differs least: the first of several.
    pub fn nearest(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().min_by_key(|passed_over| passed_over.why.len())
    }
}

/// `runs/2026-01-31t12-00-00z-5eed is unfinished and not resumed: seed: there 1, now 2`.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 8;
        let Self { path, why } = self;
        let more = match why.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let shown = why[..why.len().min(MOST)].join("; ");
        write!(f, "{} is unfinished and not resumed: {shown}{more}", path.display())
    }
}

/// What keeps the unfinished run that is nearest to this plan from being continued by a process with it.
/// Those whose `run.json` cannot be read come first.
pub(crate) fn passed_over(runs: &Path, plan: &RunPlan) -> Vec<PassedOver> {
    let (mut unreadable, mut others) = (Vec::new(), Vec::new());
    for (path, header, is_in_use) in unfinished(runs) {
        let why = match &header {
            Ok(header) if header.schema_version != SCHEMA_VERSION => {
                let there = header.schema_version;
                vec![format!("schema_version: there {there}, now {SCHEMA_VERSION}")]
            }
            Ok(header) => header.plan.differences(plan),
            Err(error) => vec![error.to_string()],
        };
        match (why.is_empty(), is_in_use) {
            // not to be resumed while that goes on
            (false, true) => {}
            (true, _) => {
                others.push(PassedOver { path, why: vec!["another process works on it".into()] });
            }
            (false, false) if header.is_err() => unreadable.push(PassedOver { path, why }),
            (false, false) => others.push(PassedOver { path, why }),
        }
    }
    unreadable.extend(PassedOver::nearest(others));
    unreadable
}

/// A GPU that was there when something was begun that is unfinished, and is not there now.
#[derive(Debug, Error)]
#[error(
    "{path} is unfinished, and was measured on {gpu}, which is gone: {reason}\n\
     hint: repeat the command when the GPU is there again, to resume; to begin anew on the CPU, set \
     ALPHA_FLOPS_BACKEND=cpu"
)]
#[allow(missing_docs, reason = "the message says what the fields are")]
pub struct GpuGone {
    pub path: PathBuf,
    pub gpu: String,
    pub reason: String,
}

impl GpuGone {
    /// Checks that what is unfinished was not measured on a GPU of this machine, where it is the CPU's turn only
    /// because no GPU is there: `why_cpu` then.
    ///
    /// # Errors
    /// [`GpuGone`] where it was: a run on a GPU does not become one of hours on a CPU unasked.
    pub fn check(
        path: &Path,
        there: &Platform,
        here: &Platform,
        why_cpu: Option<&str>,
    ) -> Result<(), Self> {
        let machine = |platform: &Platform| (platform.cpu.clone(), platform.logical_cores);
        match (&there.gpu, why_cpu) {
            (Some(gpu), Some(reason)) if machine(there) == machine(here) => Err(Self {
                path: path.to_owned(),
                gpu: gpu.name.clone(),
                reason: reason.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// [`GpuGone::check`] of the unfinished runs under `runs`.
///
/// # Errors
/// As there.
pub fn check_gpu(runs: &Path, here: &Platform, why_cpu: Option<&str>) -> Result<(), GpuGone> {
    if why_cpu.is_none() {
        return Ok(());
    }
    for (path, header, is_in_use) in unfinished(runs) {
        if let (Ok(header), false) = (header, is_in_use) {
            GpuGone::check(&path, &header.plan.platform, here, why_cpu)?;
        }
    }
    Ok(())
}

/// What differs between what is recorded `there` and what would be recorded now, by the names that the record has:
/// `platform.gpu.driver: there 580.65, now 581.2`.
pub fn differences(there: &impl Serialize, now: &impl Serialize) -> Vec<String> {
    let values = (serde_json::to_value(there), serde_json::to_value(now));
    let mut found = Vec::new();
    if let (Ok(there), Ok(now)) = values {
        compare("", &there, &now, &mut found);
    }
    found
}

fn compare(name: &str, there: &Value, now: &Value, found: &mut Vec<String>) {
    match (there, now) {
        (there, now) if there == now => {}
        (Value::Object(before), Value::Object(after)) => {
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for of in names {
                let name = if name.is_empty() { of.clone() } else { format!("{name}.{of}") };
                let value = |object: &serde_json::Map<String, Value>| {
                    object.get(of).cloned().unwrap_or_default()
                };
                compare(&name, &value(before), &value(after), found);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            found.push(format!("{name}: {}", compare_lists(before, after)));
        }
        (there, now) => found.push(format!("{name}: there {}, now {}", shown(there), shown(now))),
    }
}

fn compare_lists(there: &[Value], now: &[Value]) -> String {
    let [only_there, only_now] = [(there, now), (now, there)]
        .map(|(one, other)| one.iter().filter(|item| !other.contains(item)).collect::<Vec<_>>());
    match only_there.is_empty() && only_now.is_empty() {
        true => format!("{} there, {} now, in another order", there.len(), now.len()),
        false => {
            format!("only there {}, only now {}", shown_list(&only_there), shown_list(&only_now))
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("name") {
            Some(Value::String(name)) => name.clone(),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

fn shown_list(items: &[&Value]) -> String {
    match items {
        [] => "none".to_owned(),
        [first] => shown(first),
        [first, others @ ..] => format!("{} and {} more", shown(first), others.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_named_with_both_values_and_nothing_else() {
        let there = json!({"a": 1, "b": {"c": "x", "d": null}, "ids": ["p", "q", "r"], "seeds": [1, 2], "same": [1]});
        let now = json!({"a": 2, "b": {"c": "x", "d": {"name": "RTX"}, "e": 0.5}, "ids": ["p", "s"], "seeds": [1, 2, 1], "same": [1]});
        let expected = [
            "a: there 1, now 2",
            "b.d: there none, now RTX",
            "b.e: there none, now 0.5",
            "ids: only there q and 1 more, only now s",
            "seeds: 2 there, 3 now, in another order",
        ];
        assert_eq!(differences(&there, &now), expected);
        assert!(differences(&now, &now).is_empty());
    }

    #[test]
    fn what_differs_least_is_named_and_no_more_than_eight_differences() {
        let of = |name: &str, number| PassedOver {
            path: name.into(),
            why: (0..number).map(|n| format!("{n}: there 1, now 2")).collect(),
        };
        let nearest = PassedOver::nearest([of("a", 12), of("b", 10), of("c", 10)]).unwrap();
        let text = nearest.to_string();
        assert!(
            text.starts_with("b is unfinished and not resumed: 0: there 1, now 2; 1: "),
            "{text}"
        );
        assert!(text.ends_with("7: there 1, now 2; and 2 more"), "{text}");
    }
}
