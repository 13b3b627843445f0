//! What each backend needs, whether it is there, and which backend a run would get.

use crate::backend::{BACKENDS, Check};
use crate::selection::{Selected, SelectionError, select};
use crate::settings::{Requested, SettingsError};

/// What was found.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Diagnosis {
    /// In order of preference.
    pub backends: Vec<Examined>,
    /// What a run would be measured on or, as an error, why it could not begin.
    pub would_measure_on: Result<String, SelectionError>,
    /// Why that is the CPU, where it might have been a GPU.
    pub why_cpu: Option<String>,
}

/// A backend, by its name, with what it needs.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Examined {
    pub name: &'static str,
    pub checks: Vec<Check>,
}

/// Looks for all that each backend needs, and opens the one that the settings ask for.
///
/// # Errors
/// [`SettingsError`] where a setting has no usable value.
pub fn examine(requested: &Requested) -> Result<Diagnosis, SettingsError> {
    let examined = BACKENDS.iter().map(|kind| {
        let checks = requested.backend_settings(kind)?.examine();
        Ok(Examined { name: kind.name, checks })
    });
    let backends = examined.collect::<Result<Vec<_>, SettingsError>>()?;
    let (would_measure_on, why_cpu) = match select(requested) {
        Ok(Selected { settings, why_cpu, .. }) => (Ok(settings.backend.description()), why_cpu),
        Err(error) => (Err(error), None),
    };
    Ok(Diagnosis { backends, would_measure_on, why_cpu })
}
