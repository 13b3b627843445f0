//! The backends there are. A backend is a folder and a line here; nobody outside asks which one it is.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::cpu::{self, CpuOptions};
use super::cudnn::{self, CudnnOptions};
use super::kind::{BackendKind, BackendOptions, InvalidSetting, SettingTexts};

/// Registers each backend by one line: the variant of its settings, their type, and what is known of
/// it before.
macro_rules! backends {
    ($($(#[$about:meta])* $variant:ident($options:ty): $kind:expr,)+) => {
        /// Every backend. The setting `auto` takes the first whose device is there; the last always
        /// works.
        pub static BACKENDS: [&BackendKind; [$(stringify!($variant)),+].len()] = [$(&$kind),+];

        /// Where the convolutions run, with what only that backend has settings for.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "lowercase")]
        pub enum BackendSettings {
            $($(#[$about])* $variant($options),)+
        }

        impl BackendSettings {
            /// What the settings that only this kind of backend has ask it to do.
            pub(crate) fn read(
                kind: &BackendKind,
                texts: SettingTexts<'_>,
            ) -> Result<Self, InvalidSetting> {
                type Read = fn(SettingTexts<'_>) -> Result<BackendSettings, InvalidSetting>;
                let read: [Read; BACKENDS.len()] =
                    [$(|texts| <$options>::read(texts).map(Self::$variant)),+];
                let index = BACKENDS.iter().position(|one| one.name == kind.name);
                read[index.unwrap_or(BACKENDS.len() - 1)](texts)
            }
        }

        impl Deref for BackendSettings {
            type Target = dyn BackendOptions;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$variant(options) => options,)+
                }
            }
        }
    };
}

backends! {
    /// On a CUDA device, by cuDNN.
    Cudnn(CudnnOptions): cudnn::KIND,
    /// On the CPU of this machine.
    Cpu(CpuOptions): cpu::KIND,
}
