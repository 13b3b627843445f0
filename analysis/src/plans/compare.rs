//! What a newer cuDNN, another device or another arithmetic changes in the plans.

use std::collections::HashMap;

use alpha_flops::choice::choices;
use serde::Serialize;

use super::PlanRow;
use crate::in_order::grouped;
use crate::table::Table;

choices! {
    /// What differs in a configuration's plan, the most important first.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PlanChange {
        /// Another engine, or one instead of none
        Engine = "engine",
        /// The same engine with other knobs
        Knobs = "knobs",
        /// Another workspace alone
        Workspace = "workspace",
        /// Nothing
        Nothing = "nothing",
    }
}

/// A configuration in both files.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Changed {
    pub experiment: String,
    pub series: String,
    pub id: String,
    pub change: PlanChange,
    pub before: String,
    pub after: String,
}

/// How two files of plans differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct PlansComparison {
    /// What differs in what decides plans: `cuDNN 9.20.0 → 9.28.0`.
    pub origins: Vec<String>,
    pub configurations: Vec<Changed>,
    /// Of configurations that only one file has.
    pub only_before: usize,
    pub only_after: usize,
}

/// Compares the configurations that both have.
pub fn compare(before: &[PlanRow], after: &[PlanRow]) -> PlansComparison {
    let key = |row: &PlanRow| (row.series.clone(), row.id.clone());
    let known: HashMap<_, &PlanRow> = before.iter().map(|row| (key(row), row)).collect();
    let pairs: Vec<_> =
        after.iter().filter_map(|row| Some((*known.get(&key(row))?, row))).collect();
    PlansComparison {
        origins: pairs.first().map_or_else(Vec::new, |(before, after)| origins(before, after)),
        only_before: known.len().saturating_sub(pairs.len()),
        only_after: after.len() - pairs.len(),
        configurations: pairs.into_iter().map(|(before, after)| changed(before, after)).collect(),
    }
}

fn origins(before: &PlanRow, after: &PlanRow) -> Vec<String> {
    let compared = [
        ("device", &before.device, &after.device),
        ("compute capability", &before.compute_capability, &after.compute_capability),
        ("asked by", &before.asked, &after.asked),
        ("cuDNN", &before.cudnn, &after.cudnn),
        ("cuDNN's CUDA", &before.cudnn_cuda, &after.cudnn_cuda),
        ("math", &before.math, &after.math),
    ];
    let differ = compared.into_iter().filter(|(_, before, after)| before != after);
    differ.map(|(name, before, after)| format!("{name} {before} → {after}")).collect()
}

/// What differs between two plans, named as the second.
pub(super) fn changed(before: &PlanRow, after: &PlanRow) -> Changed {
    let change = match () {
        () if before.engine != after.engine => PlanChange::Engine,
        () if before.knobs != after.knobs => PlanChange::Knobs,
        () if before.workspace_bytes != after.workspace_bytes => PlanChange::Workspace,
        () => PlanChange::Nothing,
    };
    Changed {
        experiment: after.experiment.clone(),
        series: after.series.clone(),
        id: after.id.clone(),
        change,
        before: in_words(before),
        after: in_words(after),
    }
}

/// `engine 38 (tile_size=3 split_k=1), 1024 B`.
fn in_words(row: &PlanRow) -> String {
    let PlanRow { engine: Some(engine), knobs, workspace_bytes, .. } = row else {
        return format!("no plan: {}", row.failure.as_deref().unwrap_or("unknown why"));
    };
    let knobs = knobs.as_ref().filter(|knobs| !knobs.is_empty());
    let knobs = knobs.map_or_else(String::new, |knobs| format!(" ({knobs})"));
    format!("engine {engine}{knobs}, {} B", workspace_bytes.unwrap_or(0))
}

/// One line of an experiment, or an experiment, or all, with how many of its configurations changed what.
struct Count<'a> {
    experiment: &'a str,
    series: &'a str,
    configurations: usize,
    changes: [usize; 3],
}

impl<'a> Count<'a> {
    fn of(experiment: &'a str, series: &'a str, those: &[&Changed]) -> Self {
        let count = |change| those.iter().filter(|one| one.change == change).count();
        let changes = [PlanChange::Engine, PlanChange::Knobs, PlanChange::Workspace].map(count);
        Self { experiment, series, configurations: those.len(), changes }
    }
}

impl PlansComparison {
    /// The configurations whose plan is another.
    pub fn changed(&self) -> impl Iterator<Item = &Changed> {
        self.configurations.iter().filter(|one| one.change != PlanChange::Nothing)
    }

    /// How many configurations change what, in all, by experiment and by series.
    pub fn counts(&self) -> Table {
        let all: Vec<&Changed> = self.configurations.iter().collect();
        let mut counts = vec![Count::of("all", "", &all)];
        for (experiment, of_experiment) in grouped(&all, |one| one.experiment.as_str()) {
            counts.push(Count::of(experiment, "", &of_experiment));
            for (series, of_series) in grouped(&of_experiment, |one| one.series.as_str()) {
                counts.push(Count::of(experiment, series, &of_series));
            }
        }
        let mut table = Table::with_rows("Plans that changed", &counts)
            .text("experiment", |row| row.experiment)
            .text("series", |row| row.series)
            .count("configurations", |row| row.configurations)
            .count("engine", |row| row.changes[0])
            .count(("knobs_only", "knobs only"), |row| row.changes[1])
            .count(("workspace_only", "workspace only"), |row| row.changes[2])
            .build();
        table.note(match self.origins.is_empty() {
            true => "both are of the same device, cuDNN and arithmetic".to_owned(),
            false => self.origins.join("; "),
        });
        for (count, which) in [(self.only_before, "BEFORE"), (self.only_after, "AFTER")] {
            if count > 0 {
                table.note(format!("{count} configurations are only in {which}, and not compared"));
            }
        }
        table
    }

    /// The configurations whose plan is another, with both plans.
    pub fn list(&self) -> Table {
        let changed: Vec<&Changed> = self.changed().collect();
        Table::with_rows("Changed plans", &changed)
            .text("id", |row| &row.id)
            .text("series", |row| &row.series)
            .text("change", |row| row.change)
            .text("before", |row| &row.before)
            .text("after", |row| &row.after)
            .build()
    }
}
