//! Which backend a run gets, and why.

use thiserror::Error;

use crate::backend::{BACKENDS, Backend, BackendError, BackendKind};
use crate::protocol::Clock;
use crate::settings::{BackendRequest, Requested, Settings, SettingsError};

/// A backend, opened as the settings say.
#[allow(missing_docs, reason = "the names say it")]
pub struct Selected {
    pub settings: Settings,
    pub backend: Box<dyn Backend>,
    /// Why it is the CPU, where it might have been a GPU.
    pub why_cpu: Option<String>,
    /// Why launches are not queued before the device begins with them, where it might have been so.
    pub why_not_queued: Option<String>,
}

/// Why there is no backend.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the sources and the message say it")]
pub enum SelectionError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The device of a preferred backend is there, but does not work.
    #[error("{error}{}", on_the_cpu(.error))]
    Broken { error: BackendError },
}

/// What to do where a GPU is there that cannot be used, unless the error says so itself.
fn on_the_cpu(error: &BackendError) -> &'static str {
    match error.to_string().contains("ALPHA_FLOPS_BACKEND=cpu") {
        true => "",
        false => "\nto measure on the CPU instead, set ALPHA_FLOPS_BACKEND=cpu",
    }
}

/// Opens the backend that was asked for; by default, the first of [`BACKENDS`] whose device is there.
pub fn select(requested: &Requested) -> Result<Selected, SelectionError> {
    let open = |kind: &BackendKind, why_cpu: Option<String>| {
        let mut settings = requested.settings(kind)?;
        let backend = settings.backend.open(settings.protocol, settings.memory_limit)?;
        let mut why_not_queued = None;
        if settings.protocol.clock == Clock::DeviceQueued
            && let Err(error) = backend.queues()
        {
            if requested.has_clock() {
                return Err(error.into());
            }
            settings.protocol.clock = Clock::Device;
            why_not_queued = Some(error.to_string());
        }
        Ok(Selected { settings, backend, why_cpu, why_not_queued })
    };
    let (last, preferred) = match requested.backend()? {
        BackendRequest::Only(kind) => (kind, &[][..]),
        BackendRequest::Auto => (BACKENDS[BACKENDS.len() - 1], &BACKENDS[..BACKENDS.len() - 1]),
    };
    let mut absent = Vec::new();
    for kind in preferred {
        match open(kind, None) {
            Err(SelectionError::Backend(error)) if error.is_absence() => {
                absent.push(error.to_string());
            }
            // a run that shall be on a GPU does not become one of hours on a CPU unasked
            Err(SelectionError::Backend(error)) => return Err(SelectionError::Broken { error }),
            opened_or_unusable => return opened_or_unusable,
        }
    }
    open(last, (!absent.is_empty()).then(|| absent.join("; ")))
}
