//! Which backend a run gets, and why.

use thiserror::Error;

use crate::backend::cpu::CpuBackend;
use crate::backend::cudnn::CudnnBackend;
use crate::backend::{Backend, BackendError};
use crate::settings::{
    BackendKind, BackendRequest, BackendSettings, Requested, Settings, SettingsError,
};

/// A backend, opened as the settings say.
pub struct Selected {
    /// The settings in force with it.
    pub settings: Settings,
    /// What computes.
    pub backend: Box<dyn Backend>,
    /// Why it is the CPU, where it might have been a GPU.
    pub why_cpu: Option<String>,
}

/// Why there is no backend.
#[derive(Debug, Error)]
pub enum SelectionError {
    /// A setting has no usable value.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The backend that was asked for cannot be opened.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is a GPU, but it cannot be used.
    #[error("{0}\nto measure on the CPU instead, set ALPHA_FLOPS_BACKEND=cpu")]
    Broken(BackendError),
}

/// Opens what was asked for; by default cuDNN where there is a CUDA device, else the CPU.
///
/// # Errors
/// [`SelectionError`] where a setting is unusable or the backend that was asked for, or the CPU,
/// cannot be opened.
pub fn select(requested: &Requested) -> Result<Selected, SelectionError> {
    match requested.backend()? {
        BackendRequest::Only(kind) => {
            let settings = requested.settings(kind)?;
            let backend = open(&settings)?;
            Ok(Selected { settings, backend, why_cpu: None })
        }
        BackendRequest::Auto => {
            let settings = requested.settings(BackendKind::Cudnn)?;
            let why_cpu = match open(&settings) {
                Ok(backend) => return Ok(Selected { settings, backend, why_cpu: None }),
                Err(BackendError::Gpu { source, .. }) if source.is_absence() => source.to_string(),
                // a run that shall be on a GPU does not become one of hours on a CPU unasked
                Err(error) => return Err(SelectionError::Broken(error)),
            };
            let settings = requested.settings(BackendKind::Cpu)?;
            let backend = open(&settings)?;
            Ok(Selected { settings, backend, why_cpu: Some(why_cpu) })
        }
    }
}

fn open(settings: &Settings) -> Result<Box<dyn Backend>, BackendError> {
    Ok(match &settings.backend {
        BackendSettings::Cpu { threads, algorithm } => {
            Box::new(CpuBackend::new(*threads, *algorithm)?)
        }
        BackendSettings::Cudnn(options) => Box::new(CudnnBackend::open(
            options.clone(),
            settings.protocol.cache,
            settings.memory_limit,
        )?),
    })
}
