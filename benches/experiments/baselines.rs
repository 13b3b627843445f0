//! Baselines outlive runs: they are kept in a home that runs share.
//!
//! Criterion itself always works in a run's own folder, so that no later run can overwrite what the
//! record of this one rests on. What is compared with is copied there before it begins, and what it
//! made is copied to the shared home afterwards.

use std::fs;
use std::path::Path;

use alpha_flops::backend::Backend;
use alpha_flops::experiment::Configuration;
use alpha_flops::record::RunFolder;
use alpha_flops::run::does_not_fit;
use alpha_flops::settings::Settings;

use crate::AnyError;
use crate::arguments::Arguments;

/// Whether everything that will be measured has the baseline; criterion would look for it only
/// when everything is measured.
pub fn check(
    arguments: &Arguments,
    selected: &[Configuration],
    backend: &dyn Backend,
    settings: &Settings,
) -> Result<(), AnyError> {
    let (Some(home), Some(name)) = (&arguments.shared_home, &arguments.baseline_needed) else {
        return Ok(());
    };
    let missing = selected.iter().find(|configuration| {
        does_not_fit(backend, configuration, settings).is_none()
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
