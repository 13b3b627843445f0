//! Where along an experiment's lines cuDNN's plan is another than for the value before, and whether that is where
//! the replication reports a jump.

use serde::Serialize;

use super::PlanRow;
use super::compare::{Changed, PlanChange, changed};
use crate::in_order::grouped;
use crate::table::Table;

/// Where the replication reports the larger steps on an RTX 4090: experiment and x (Barba Roque and Cruz 2026,
/// section 4, about figures 4b and 5b).
pub const REPORTED: [(&str, u64); 9] = [
    ("D", 164),
    ("D", 246),
    ("D", 328),
    ("D", 492),
    ("E", 101),
    ("E", 192),
    ("E", 257),
    ("E", 385),
    ("E", 513),
];

/// A plan that is another than for the value of x before.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Switch {
    pub x: u64,
    /// The value of x before it in the file.
    pub x_before: u64,
    #[serde(flatten)]
    pub changed: Changed,
}

/// What the plans are where a step is reported, along one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct AtReported {
    pub experiment: String,
    pub x: u64,
    pub series: String,
    /// What changes from the value of x before to this one.
    pub change: PlanChange,
    /// What is another, in short.
    pub plans: String,
    /// Where another engine is chosen first, after this x.
    pub next_engine_at: Option<u64>,
}

/// The switches along each line, in its order.
pub fn switches(rows: &[PlanRow]) -> Vec<Switch> {
    let lines = grouped(rows, |row| (row.experiment.clone(), row.series.clone()));
    lines.into_iter().flat_map(|(_, line)| of_line(line)).collect()
}

fn of_line(mut line: Vec<PlanRow>) -> Vec<Switch> {
    line.sort_by_key(|row| row.x);
    let switch = |pair: &[PlanRow]| {
        let [before, after] = pair else { return None };
        let changed = changed(before, after);
        let switch = Switch { x: after.x, x_before: before.x, changed };
        (switch.changed.change != PlanChange::Nothing).then_some(switch)
    };
    line.windows(2).filter_map(switch).collect()
}

/// What the plans are where the replication reports steps, on the lines that have the value before, too.
pub fn at_reported(rows: &[PlanRow]) -> Vec<AtReported> {
    let lines = grouped(rows, |row| (row.experiment.clone(), row.series.clone()));
    let switches = switches(rows);
    let mut all = Vec::new();
    for (experiment, x) in REPORTED {
        for ((_, series), line) in lines.iter().filter(|((name, _), _)| name == experiment) {
            let at = |x: u64| line.iter().find(|row| row.x == x);
            let (Some(before), Some(after)) = (at(x - 1), at(x)) else { continue };
            let changed = changed(before, after);
            let is_later = |Switch { x: at, changed, .. }: &&Switch| {
                let of_line = changed.experiment == experiment && changed.series == *series;
                of_line && *at > x && changed.change == PlanChange::Engine
            };
            let later = switches.iter().find(is_later);
            all.push(AtReported {
                experiment: experiment.to_owned(),
                x,
                series: series.clone(),
                change: changed.change,
                plans: in_short(before, after, changed.change),
                next_engine_at: later.map(|switch| switch.x),
            });
        }
    }
    all
}

/// `engine 12 → 38`, or what else is another of the same engine.
fn in_short(before: &PlanRow, after: &PlanRow, change: PlanChange) -> String {
    let engine = |row: &PlanRow| row.engine.map_or_else(|| "none".to_owned(), |n| n.to_string());
    let bytes = |row: &PlanRow| row.workspace_bytes.unwrap_or(0);
    match change {
        PlanChange::Engine => format!("engine {} → {}", engine(before), engine(after)),
        PlanChange::Knobs => format!("engine {} with other knobs", engine(after)),
        PlanChange::Workspace => {
            format!("engine {}, {} → {} B", engine(after), bytes(before), bytes(after))
        }
        PlanChange::Nothing => format!("engine {}", engine(after)),
    }
}

/// The switches, with both plans.
pub fn switches_table(switches: &[Switch]) -> Table {
    Table::with_rows("Where the plan is another than for the value before", switches)
        .text("experiment", |row| &row.changed.experiment)
        .text("series", |row| &row.changed.series)
        .count("x", |row| row.x)
        .text("change", |row| row.changed.change)
        .text("before", |row| &row.changed.before)
        .text("after", |row| &row.changed.after)
        .build()
}

/// The plans where steps are reported.
pub fn reported_table(reported: &[AtReported]) -> Table {
    let mut table = Table::with_rows("Plans where the replication reports steps", reported)
        .text("experiment", |row| &row.experiment)
        .count("x", |row| row.x)
        .text("series", |row| &row.series)
        .text("change", |row| row.change)
        .text("plan", |row| &row.plans)
        .number(("next_engine_at", "next engine at"), crate::table::Digits::Decimals(0), |row| {
            row.next_engine_at.map(|x| x as f64)
        })
        .build();
    table.note("change: what differs from the plan for x − 1; that they coincide does not say that one causes the other");
    table
}
