//! What the CPU backend can be asked, and what is known of it beforehand.

use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CpuBackend;
use crate::backend::kind::{BackendKind, BackendOptions, Check, InvalidSetting, SettingTexts};
use crate::backend::{Backend, BackendError};
use crate::choice::choices;
use crate::experiment::Resolution;
use crate::host::cpu_name;
use crate::protocol::Protocol;
use crate::units::{Bytes, MultiplyAdds};

/// More threads than any machine this is for has; the system refuses to start many more.
const MOST_THREADS: usize = 1024;

/// The CPU of this machine.
pub static KIND: BackendKind = BackendKind {
    name: "cpu",
    settings: &["algorithm", "threads"],
    resolution: Resolution::Original,
    // about what three launches of every configuration take in each pass; slow cores need more than that
    time_budget: Duration::from_secs(240),
    passes: NonZeroU32::new(5).unwrap(),
    // 3.5 GiB
    memory_limit: Some(Bytes(7 << 29)),
    device_clock_step_ns: None,
    flushes_cache: false,
    replays_graphs: false,
    settle_time: Duration::ZERO,
    // enough for the smallest shapes to get launches that say something about noise
    constant_cost: MultiplyAdds(50_000_000),
    // taps on padding are left out
    executed_macs: |shape| shape.macs_on_image(),
};

choices! {
    /// The algorithm to compute convolutions with.
    #[derive(Default, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum AlgorithmChoice: "algorithm" {
        /// Whichever of the others should be fastest for the shape.
        #[default]
        Auto = "auto",
        /// The whole im2col matrix, then one product: simple, slow, and large.
        Explicit = "explicit",
        /// im2col along the kernel's columns only; its rows are offsets.
        Slab = "slab",
        /// im2col in blocks that stay in cache.
        Tiled = "tiled",
        /// A matrix times a few vectors, as dot products, for 1×1 kernels on at most 8 pixels; `tiled`
        /// takes all other shapes.
        #[serde(rename = "skinny")]
        Gemv = "skinny",
    }
}

/// What the backend is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct CpuOptions {
    pub threads: NonZeroUsize,
    pub algorithm: AlgorithmChoice,
}

fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= MOST_THREADS => Ok(threads),
        _ => Err(format!("expected a whole number from 1 to {MOST_THREADS}")),
    }
}

impl CpuOptions {
    pub(crate) fn read(texts: SettingTexts<'_>) -> Result<Self, InvalidSetting> {
        let available = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let most = NonZeroUsize::new(MOST_THREADS).unwrap_or(available);
        Ok(Self {
            threads: texts.parse("threads", parse_threads)?.unwrap_or(available.min(most)),
            algorithm: texts.parse("algorithm", AlgorithmChoice::from_str)?.unwrap_or_default(),
        })
    }

    fn threads_in_words(&self) -> String {
        let plural = if self.threads.get() == 1 { "" } else { "s" };
        format!("{} thread{plural}", self.threads)
    }
}

impl BackendOptions for CpuOptions {
    fn kind(&self) -> &'static BackendKind {
        &KIND
    }

    fn description(&self) -> String {
        format!("cpu with {} (algorithm {})", self.threads_in_words(), self.algorithm)
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![("threads", self.threads.to_string()), ("algorithm", self.algorithm.to_string())]
    }

    fn device_line(&self, device: &str) -> String {
        format!("{device}, {}", self.threads_in_words())
    }

    fn examine(&self) -> Vec<Check> {
        let opened = CpuBackend::new(self.threads, self.algorithm);
        let name = cpu_name().unwrap_or_else(|| "unknown".to_owned());
        vec![Check::new("CPU", opened.map(|_| self.device_line(&name)))]
    }

    fn open(&self, protocol: Protocol, _: Option<Bytes>) -> Result<Box<dyn Backend>, BackendError> {
        let backend = CpuBackend::new(self.threads, self.algorithm)?;
        Ok(Box::new(backend.with_convolution(protocol.convolution)))
    }
}
