//! A sweep as it is asked for, and the backend that the settings select for it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use super::grid::Grid;
use super::order::Shard;
use super::passed_over::passed_over;
use super::{Sweep, SweepError, SweepPlan, WARM_UP_LAUNCHES};
use crate::backend::{Backend, BackendError};
use crate::choice::choices;
use crate::environment::Platform;
use crate::protocol::Cache;
use crate::record::{GpuGone, PassedOver, Session};
use crate::selection::{Selected, SelectionError, select};
use crate::settings::{Requested, Settings, SettingsError};

/// What a sweep shall measure; where and how the convolutions run is up to the settings.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "`SweepPlan` says what these mean")]
pub struct SweepRequest {
    pub grid: Grid,
    pub seed: u64,
    pub shard: Shard,
    pub protocol: SweepProtocol,
    pub launches: NonZeroU32,
    pub budget: Option<Duration>,
    /// What was measured is written this often: a killed sweep loses no more.
    pub part_interval: Duration,
}

choices! {
    /// What a time of a sweep means.
    pub enum SweepProtocol: "protocol" {
        /// Launches back to back, one time for all of them, as in the published code.
        Throughput = "throughput",
        /// Launches one by one.
        Latency = "latency",
    }
}

/// Why a sweep cannot begin.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each says what it is about")]
pub enum PrepareError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Selection(#[from] SelectionError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Each of several launches back to back warms the cache for the next.
    #[error(
        "--protocol throughput cannot start with a cold cache\n\
         hint: set ALPHA_FLOPS_CACHE=warm, or use --protocol latency"
    )]
    Cold,
}

/// A sweep with the backend that will measure it.
pub struct PreparedSweep {
    plan: SweepPlan,
    backend: Box<dyn Backend>,
    session: Session,
    part_interval: Duration,
}

/// Opens the backend that the settings select, and plans what `request` asks for with these settings.
pub fn prepare(
    request: impl FnOnce(&Settings) -> SweepRequest,
) -> Result<PreparedSweep, PrepareError> {
    let selected = select(&Requested::from_workspace()?)?;
    let Selected { settings, mut backend, why_cpu, why_not_queued } = selected;
    let request = request(&settings);
    let launches = match request.protocol {
        SweepProtocol::Throughput => request.launches,
        SweepProtocol::Latency => NonZeroU32::MIN,
    };
    if settings.protocol.cache == Cache::Cold && launches > NonZeroU32::MIN {
        return Err(PrepareError::Cold);
    }
    let plan = SweepPlan {
        grid: request.grid,
        seed: request.seed,
        shard: request.shard,
        protocol: settings.protocol.with_launches(launches),
        launches: request.launches,
        warm_up_launches: WARM_UP_LAUNCHES,
        budget: request.budget,
        memory_limit: settings.memory_limit,
        backend: settings.backend.clone(),
        platform: Platform::new(backend.as_ref()),
    };
    // launches back to back are not queued anyway
    let why_not_queued = why_not_queued.filter(|_| plan.protocol.is_latency());
    let session = Session { why_not_queued, ..Session::now(backend.empty_launch()?, why_cpu) };
    Ok(PreparedSweep { plan, backend, session, part_interval: request.part_interval })
}

impl PreparedSweep {
    /// A number that only sweeps share which may continue each other.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.plan.facts().hash(&mut hasher);
        hasher.finish()
    }

    /// What keeps the sweep in a folder of `runs` that is nearest to this one from being continued.
    ///
    /// # Errors
    /// [`GpuGone`] where it was measured on a GPU of this machine, and only because that is gone it is the
    /// CPU's turn.
    pub fn passed_over(&self, runs: &Path) -> Result<Option<PassedOver>, GpuGone> {
        passed_over(runs, &self.plan, self.session.why_cpu.as_deref())
    }

    /// Begins the sweep in `folder`, or continues it.
    pub fn open(self, folder: &Path) -> Result<(Sweep, Box<dyn Backend>), SweepError> {
        let Self { plan, backend, session, part_interval } = self;
        Ok((Sweep::open(folder, plan, session, part_interval)?, backend))
    }
}
