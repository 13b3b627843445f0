//! Baselines outlive runs: they are kept in a folder that runs share.
//!
//! Criterion itself always works in a run's own folder, so that no later run can overwrite the files
//! that the record of this one is made from. The baseline to compare with is copied there before
//! criterion begins, and criterion's results are copied to the shared folder afterwards.

use std::fs;
use std::path::Path;

use crate::backend::Backend;
use crate::experiment::Configuration;
use crate::file_error::FileError;
use crate::files::{self, write_atomically};
use crate::measure::does_not_fit;
use crate::record::{Comparable, RunFolder, RunPlan};
use crate::store;

use super::AnyError;
use super::arguments::Arguments;
use super::criterion_process::Criterion;

/// The file beside criterion's files of a benchmark that says what their times may be compared with.
const COMPARABLE: &str = "alpha-flops.json";

/// Checks that everything that will be measured has the baseline, of comparable times. Criterion
/// itself would look for it only after the measurement, and compares anything.
pub fn check(
    criterion: &Criterion<'_>,
    selected: &[Configuration],
    backend: &dyn Backend,
    plan: &RunPlan,
) -> Result<(), AnyError> {
    let Arguments { baseline_needed, compared_baseline, .. } = criterion.arguments;
    let (Some(home), Some(name)) = (criterion.shared_home(), compared_baseline) else {
        return Ok(());
    };
    for id in selected.iter().map(Configuration::id) {
        let baseline = home.join(&id).join(name);
        if baseline.is_dir() {
            check_comparable(&id, name, &plan.comparable(), &read_comparable(&baseline)?)?;
        }
    }
    let missing = selected.iter().find(|configuration| {
        baseline_needed.is_some()
            && does_not_fit(backend, configuration, &plan.settings).is_none()
            && !home.join(configuration.id()).join(name).is_dir()
    });
    match missing {
        Some(configuration) => Err(format!(
            "{} has no baseline `{name}` in {}\nhint: measure one first with `--save-baseline \
             {name}`, or compare only what has one with `--baseline-lenient {name}`",
            configuration.id(),
            home.display()
        )
        .into()),
        None => Ok(()),
    }
}

/// Checks that two stored baselines, `--load-baseline` and the one that it is compared with, are of
/// comparable times.
pub fn check_stored(criterion: &Criterion<'_>, selected: &[Configuration]) -> Result<(), AnyError> {
    let Arguments { load_baseline, compared_baseline, .. } = criterion.arguments;
    let (Some(home), Some(loaded), Some(name)) =
        (criterion.shared_home(), load_baseline, compared_baseline)
    else {
        return Ok(());
    };
    for id in selected.iter().map(Configuration::id) {
        let [loaded, compared] = [loaded, name].map(|name| home.join(&id).join(name));
        if loaded.is_dir() && compared.is_dir() {
            let [loaded, compared] = [read_comparable(&loaded)?, read_comparable(&compared)?];
            check_comparable(&id, name, &loaded, &compared)?;
        }
    }
    Ok(())
}

fn check_comparable(
    id: &str,
    name: &str,
    this: &Comparable,
    baseline: &Comparable,
) -> Result<(), AnyError> {
    let differences = this.differences(baseline);
    if differences.is_empty() {
        return Ok(());
    }
    let differences = differences.join("; ");
    Err(format!("{id} is not comparable with its baseline `{name}`: {differences}").into())
}

fn read_comparable(baseline: &Path) -> Result<Comparable, FileError> {
    store::read_json(&baseline.join(COMPARABLE)).map_err(|error| {
        error.with_hint(
            "without this file nothing can be compared with the baseline: measure it again with \
             `--save-baseline`",
        )
    })
}

/// Notes beside everything that criterion keeps of this run what it may be compared with.
pub fn mark(criterion: &Criterion<'_>, run: &RunFolder, own: &Path) -> Result<(), AnyError> {
    let plan = &run.header().plan;
    let comparable = serde_json::to_vec(&plan.comparable())?;
    for id in &plan.ids {
        for name in ["new", criterion.arguments.baseline()] {
            let folder = own.join(id).join(name);
            if folder.is_dir() {
                write_atomically(&folder.join(COMPARABLE), |out| out.write_all(&comparable))?;
            }
        }
    }
    Ok(())
}

/// Copies the baseline to compare with, where there is one, from the shared home to `own`.
pub fn bring_in(criterion: &Criterion<'_>, run: &RunFolder, own: &Path) -> Result<(), AnyError> {
    match (criterion.shared_home(), &criterion.arguments.compared_baseline) {
        (Some(home), Some(name)) => copy_of_each(run, &home, own, [name, name]),
        _ => Ok(()),
    }
}

/// Copies what criterion made of this run from `own` to the shared home, if this run shares any.
pub fn hand_out(criterion: &Criterion<'_>, run: &RunFolder, own: &Path) -> Result<(), AnyError> {
    let Some(home) = criterion.shared_home() else { return Ok(()) };
    copy_of_each(run, own, &home, ["new"; 2])?;
    let Arguments { save_baseline, .. } = criterion.arguments;
    let Some(saved) = save_baseline else { return Ok(()) };
    copy_of_each(run, own, &home, [criterion.arguments.baseline(), saved])
}

/// Copies a folder of every configuration of the run that has it, by its name in `from` and in `to`.
fn copy_of_each(
    run: &RunFolder,
    from: &Path,
    to: &Path,
    [name, name_there]: [&str; 2],
) -> Result<(), AnyError> {
    for id in &run.header().plan.ids {
        let source = from.join(id).join(name);
        if source.is_dir() {
            copy_files(&source, to, &format!("{id}/{name_there}")).map_err(|error| {
                error.with_hint("what was measured is safe: repeat the command to resume")
            })?;
        }
    }
    Ok(())
}

fn copy_files(from: &Path, home: &Path, within: &str) -> Result<(), FileError> {
    let unread = |error| FileError::read(from, error);
    files::create_folder(home)?;
    let to = files::create_folder_in(home, within)?;
    for entry in fs::read_dir(from).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        if entry.file_type().map_err(unread)?.is_file() {
            files::copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
