//! Baselines outlive runs: they are kept in a home that runs share.
//!
//! Criterion itself always works in a run's own folder, so that no later run can overwrite what the
//! record of this one rests on. What is compared with is copied there before it begins, and what it
//! made is copied to the shared home afterwards.

use std::fs;
use std::path::Path;

use alpha_flops::atomic_file::write_atomically;
use alpha_flops::backend::Backend;
use alpha_flops::experiment::Configuration;
use alpha_flops::measure::does_not_fit;
use alpha_flops::record::{Comparable, RunFolder, RunPlan};

use crate::AnyError;
use crate::arguments::Arguments;

/// Beside criterion's files of a benchmark: what their times may be compared with.
const COMPARABLE: &str = "alpha-flops.json";

/// Whether everything that will be measured has the baseline, of comparable times; criterion would
/// look for it only when everything is measured, and compares anything.
pub fn check(
    arguments: &Arguments,
    selected: &[Configuration],
    backend: &dyn Backend,
    plan: &RunPlan,
) -> Result<(), AnyError> {
    if let (Some(home), Some(name)) = (&arguments.shared_home, &arguments.compared_baseline) {
        for id in selected.iter().map(Configuration::id) {
            let baseline = home.join(&id).join(name);
            if baseline.is_dir() {
                check_comparable(&id, name, &plan.comparable(), &read_comparable(&baseline)?)?;
            }
        }
    }
    let (Some(home), Some(name)) = (&arguments.shared_home, &arguments.baseline_needed) else {
        return Ok(());
    };
    let missing = selected.iter().find(|configuration| {
        does_not_fit(backend, configuration, &plan.settings).is_none()
            && !home.join(configuration.id()).join(name).is_dir()
    });
    match missing {
        Some(configuration) => Err(format!(
            "{} has no baseline `{name}` in {}; measure one first with `--save-baseline {name}`, \
             or compare where there is one with `--baseline-lenient {name}`",
            configuration.id(),
            home.display()
        )
        .into()),
        None => Ok(()),
    }
}

/// Whether two baselines in the shared home, `--load-baseline` and the one that it is compared
/// with, are of comparable times.
pub fn check_stored(arguments: &Arguments, selected: &[Configuration]) -> Result<(), AnyError> {
    let names = (&arguments.load_baseline, &arguments.compared_baseline);
    let (Some(home), (Some(loaded), Some(name))) = (&arguments.shared_home, names) else {
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

fn read_comparable(baseline: &Path) -> Result<Comparable, AnyError> {
    let path = baseline.join(COMPARABLE);
    let read = fs::read(&path).map_err(|error| error.to_string());
    read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        .map_err(|error| {
            let path = path.display();
            format!(
                "{path}: {error}; what this baseline is of is not known, so nothing is compared \
                 with it: measure it again with `--save-baseline`"
            )
            .into()
        })
}

/// Says of everything that criterion keeps of this run what it may be compared with.
pub fn mark(arguments: &Arguments, run: &RunFolder, own: &Path) -> Result<(), AnyError> {
    let plan = &run.header().plan;
    let comparable = serde_json::to_vec(&plan.comparable())?;
    for id in &plan.ids {
        for name in ["new", arguments.baseline()] {
            let folder = own.join(id).join(name);
            if folder.is_dir() {
                write_atomically(&folder.join(COMPARABLE), |out| out.write_all(&comparable))?;
            }
        }
    }
    Ok(())
}

/// Copies the baseline to compare with from the shared home to `own`, where it is there.
pub fn bring_in(arguments: &Arguments, run: &RunFolder, own: &Path) -> Result<(), AnyError> {
    let (Some(home), Some(name)) = (&arguments.shared_home, &arguments.compared_baseline) else {
        return Ok(());
    };
    copy_of_each(run, home, own, name)
}

/// Copies what criterion made of this run from `own` to the shared home, where there is one.
pub fn hand_out(arguments: &Arguments, run: &RunFolder, own: &Path) -> Result<(), AnyError> {
    let Some(home) = &arguments.shared_home else { return Ok(()) };
    copy_of_each(run, own, home, "new")?;
    match &arguments.save_baseline {
        Some(name) => copy_of_each(run, own, home, name),
        None => Ok(()),
    }
}

/// Copies the folder `name` of every configuration of the run that has one.
fn copy_of_each(run: &RunFolder, from: &Path, to: &Path, name: &str) -> Result<(), AnyError> {
    for id in &run.header().plan.ids {
        let source = from.join(id).join(name);
        if source.is_dir() {
            let target = to.join(id).join(name);
            copy_files(&source, &target).map_err(|error| {
                format!(
                    "copying {} to {}: {error}; what was measured is safe: repeat the command to \
                     resume",
                    source.display(),
                    target.display()
                )
            })?;
        }
    }
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
