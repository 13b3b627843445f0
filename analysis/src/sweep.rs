//! A sweep on the backend that the settings say.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alpha_flops::backend::{Backend, BackendError};
use alpha_flops::environment::Platform;
use alpha_flops::protocol::{Cache, Protocol};
use alpha_flops::record::Session;
use alpha_flops::selection::{Selected, SelectionError, select};
use alpha_flops::settings::{Requested, Settings, SettingsError};
use alpha_flops::sweep::grid::Grid;
use alpha_flops::sweep::order::Shard;
use alpha_flops::sweep::{
    Counts, Progress, Status, Sweep, SweepError, SweepPlan, WARM_UP_LAUNCHES,
};
use thiserror::Error;

/// What is asked for on the command line; the rest is settings.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Which convolutions.
    pub grid: Grid,
    /// Seed of the order and of the tensors.
    pub seed: u64,
    /// Which part of the order.
    pub shard: Shard,
    /// What a time means.
    pub protocol: SweepProtocol,
    /// Launches of a configuration.
    pub launches: NonZeroU32,
    /// What all of it may take.
    pub budget: Option<Duration>,
    /// How often what was measured is written.
    pub part_interval: Duration,
}

/// What a time of a sweep means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepProtocol {
    /// Launches back to back, one time for all of them, as in the published code.
    Throughput,
    /// Launches one by one.
    Latency,
}

impl SweepProtocol {
    /// `throughput` or `latency`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency",
        }
    }
}

/// Why there is no sweep.
#[derive(Debug, Error)]
pub enum SweepCommandError {
    /// A setting has no usable value.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no backend.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The backend is there, but does not work.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Launches back to back warm the cache for each other.
    #[error(
        "--protocol throughput cannot start cold: set ALPHA_FLOPS_CACHE=warm, or --protocol latency"
    )]
    Cold,
    /// The sweep cannot go on.
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

impl SweepCommandError {
    /// Whether another process could continue: what the device did not survive is recorded.
    pub fn is_device_lost(&self) -> bool {
        matches!(self, Self::Sweep(SweepError::DeviceLost { .. }))
    }

    /// Whether the device has work that never ends, for which the process would wait at its end.
    pub fn hangs(&self) -> bool {
        matches!(self, Self::Sweep(SweepError::DeviceLost { hangs: true, .. }))
    }
}

/// How a sweep ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// Where it is.
    pub folder: PathBuf,
    /// Whether anything is unvisited.
    pub status: Status,
    /// What became of the configurations.
    pub counts: Counts,
}

/// `measured 412 configurations in 58.9 s, skipped 96 (budget 90, memory 6), …`.
impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { measured, skipped, failed, unvisited, used_s } = &self.counts;
        write!(f, "measured {measured} configurations in {used_s:.1} s, skipped ")?;
        let all: u64 = skipped.values().sum();
        write!(f, "{all}")?;
        if all > 0 {
            let each: Vec<String> =
                skipped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            write!(f, " ({})", each.join(", "))?;
        }
        write!(f, ", failed {failed}, unvisited {unvisited}")?;
        if self.status == Status::BudgetUsed {
            write!(f, " (budget used)")?;
        }
        writeln!(f, "; sweep: {}", self.folder.display())
    }
}

/// A sweep on a backend that is there.
pub struct Prepared {
    plan: SweepPlan,
    backend: Box<dyn Backend>,
    why_cpu: Option<String>,
    part_interval: Duration,
}

/// Finds the backend, and what is to be measured on it with its settings.
///
/// # Errors
/// [`SweepCommandError`] where there is no backend, or it cannot do what is asked for.
pub fn prepare(request: impl FnOnce(&Settings) -> Request) -> Result<Prepared, SweepCommandError> {
    let Selected { settings, backend, why_cpu } = select(&Requested::of_workspace()?)?;
    let request = request(&settings);
    let launches = match request.protocol {
        SweepProtocol::Throughput => request.launches,
        SweepProtocol::Latency => NonZeroU32::MIN,
    };
    if settings.protocol.cache == Cache::Cold && launches > NonZeroU32::MIN {
        return Err(SweepCommandError::Cold);
    }
    let plan = SweepPlan {
        grid: request.grid,
        seed: request.seed,
        shard: request.shard,
        protocol: Protocol { launches, ..settings.protocol },
        launches: request.launches,
        warm_up_launches: WARM_UP_LAUNCHES,
        budget: request.budget,
        memory_limit: settings.memory_limit,
        backend: settings.backend.clone(),
        platform: Platform::of(backend.as_ref()),
    };
    Ok(Prepared { plan, backend, why_cpu, part_interval: request.part_interval })
}

impl Prepared {
    /// A number that tells this sweep from any that may not continue it.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.plan).hash(&mut hasher);
        hasher.finish()
    }

    /// Begins the sweep in `folder`, or continues it.
    ///
    /// # Errors
    /// [`SweepCommandError`] where the folder holds another sweep, or cannot be written.
    pub fn open(mut self, folder: &Path) -> Result<OpenSweep, SweepCommandError> {
        let session = Session::now(self.backend.empty_launch()?, self.why_cpu);
        let sweep = Sweep::open(folder, self.plan, session, self.part_interval)?;
        Ok(OpenSweep { sweep, backend: self.backend, folder: folder.to_owned() })
    }
}

/// A sweep in its folder, ready to be measured.
pub struct OpenSweep {
    sweep: Sweep,
    backend: Box<dyn Backend>,
    folder: PathBuf,
}

impl OpenSweep {
    /// What was measured so far, and what is to be.
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// Where it is kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Measures until the grid or the budget ends.
    ///
    /// # Errors
    /// [`SweepCommandError`] where an outcome cannot be kept; what was measured before is safe.
    pub fn measure(
        mut self,
        on_progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Done, SweepCommandError> {
        let status = self.sweep.measure(self.backend.as_mut(), on_progress)?;
        Ok(Done { folder: self.folder, status, counts: self.sweep.counts().clone() })
    }
}

/// `4m 10s`: to the second, and no finer.
pub fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}
