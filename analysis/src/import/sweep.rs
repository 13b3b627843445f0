//! A sweep's folder, or those of all its shards, as a dataset.
//!
//! The experiment is `sweep`, a line of it `K = 3`, and the independent variable the multiply–adds in
//! millions: what the regression fits is the time against them, a kernel size at a time.

use std::path::{Path, PathBuf};

use alpha_flops::protocol::Clock;
use alpha_flops::record::Comparable;
use alpha_flops::sweep::merge;
use alpha_flops::sweep::{Counts, PointOutcome, SweepError, SweepFolder, SweepHeader, SweepPoint};

use super::Imported;
use crate::dataset::{Dataset, Latency, Observation, Provenance};
use crate::run::{Missing, Status};

/// Skipped and failed configurations that are named one by one: of a large sweep there are hundreds
/// of thousands, and the sweep's parts have them all.
const NAMED: usize = 20;

/// The name of the one experiment that a sweep is.
pub const EXPERIMENT: &str = "sweep";

/// Reads the sweep in `folder`, ended or not.
///
/// # Errors
/// [`SweepError`] where there is none, or a part of it is not sound.
pub fn read(folder: &Path) -> Result<Imported, SweepError> {
    let sweep = SweepFolder::open(folder)?;
    import(&sweep.header, std::slice::from_ref(&sweep))
}

/// Reads all shards of one sweep, which must agree.
///
/// # Errors
/// [`SweepError`] where they do not, one is missing, or a part is not sound.
pub fn read_shards(folders: &[PathBuf]) -> Result<Imported, SweepError> {
    let shards = merge::shards(folders)?;
    match shards.first() {
        Some(first) => import(&first.header, &shards),
        None => Err(SweepError::Merge("no shards given".to_owned())),
    }
}

fn import(header: &SweepHeader, folders: &[SweepFolder]) -> Result<Imported, SweepError> {
    let clock = header.plan.protocol.clock;
    let (mut observations, mut not_measured, mut left_out) = (Vec::new(), Vec::new(), 0usize);
    for folder in folders {
        folder.read(|visit| match observation(&visit, clock) {
            Ok(observation) => observations.push(observation),
            Err(missing) if not_measured.len() < NAMED => not_measured.push(missing),
            Err(_) => left_out += 1,
        })?;
    }
    if left_out > 0 {
        not_measured.push(Missing {
            id: format!("{left_out} more"),
            status: Status::SkippedOrFailed,
            reason: "the sweep's parts name each with its reason".to_owned(),
        });
    }
    observations.sort_by(|a, b| {
        let kernels = a.shape.kernel().cmp(&b.shape.kernel());
        kernels.then(a.x.total_cmp(&b.x)).then(a.shape.cmp(&b.shape))
    });
    let dataset = Dataset { provenance: provenance(header, folders), observations };
    let environment = environment(header, &dataset, folders);
    Ok(Imported { not_measured, environment, ..dataset.into() })
}

/// What was measured, or why nothing was.
fn observation(visit: &SweepPoint, clock: Clock) -> Result<Observation, Missing> {
    let missing = |status, reason: String| Missing { id: visit.shape.to_string(), status, reason };
    let (algorithm, launches, host_ns, device_ns, spread) = match &visit.outcome {
        PointOutcome::Measured { algorithm, launches, host_ns, device_ns, spread } => {
            (algorithm, *launches, *host_ns, *device_ns, *spread)
        }
        PointOutcome::Skipped { reason, detail } => {
            return Err(missing(Status::Skipped, format!("{}: {detail}", reason.name())));
        }
        PointOutcome::Failed { detail } => return Err(missing(Status::Failed, detail.clone())),
    };
    let by_clock = match clock {
        Clock::Host => Some(host_ns),
        Clock::Device | Clock::DeviceQueued => device_ns,
    };
    let launches = Some(u64::from(launches));
    let latency = match spread {
        Some(spread) => Latency {
            median_ns: by_clock,
            mean_ns: Some(spread.mean_ns),
            q1_ns: Some(spread.q1_ns),
            q3_ns: Some(spread.q3_ns),
            launches,
            outliers_mild: Some(spread.outliers_mild),
            outliers_severe: Some(spread.outliers_severe),
            ..Latency::default()
        },
        // launches back to back have one time for all of them
        None => Latency { mean_ns: by_clock, launches, ..Latency::default() },
    };
    Ok(Observation {
        experiment: EXPERIMENT.to_owned(),
        series: format!("K = {}", visit.shape.kernel()),
        x: visit.shape.macs().0 as f64 / 1e6,
        shape: visit.shape,
        latency,
        algorithm: Some(algorithm.clone()),
    })
}

fn provenance(header: &SweepHeader, folders: &[SweepFolder]) -> Provenance {
    let Comparable { backend, device, .. } = header.plan.comparable();
    let shards = folders.len().max(header.shards.len());
    let of = if shards > 1 { format!(" and its {shards} shards") } else { String::new() };
    Provenance {
        source: format!("{}{of}, grid {}", header.sweep_id, header.plan.grid),
        backend,
        device,
        versions: header.plan.platform.versions(),
        protocol: header.plan.protocol_line(),
    }
}

/// How large the sweep was, and of what.
fn environment(
    header: &SweepHeader,
    dataset: &Dataset,
    folders: &[SweepFolder],
) -> Vec<(String, String)> {
    let plan = &header.plan;
    let sum = |of: fn(&Counts) -> u64| -> u64 {
        folders.iter().filter_map(|folder| folder.header.counts.as_ref()).map(of).sum()
    };
    let ended = folders.iter().all(|folder| folder.header.counts.is_some());
    let line = |name: &str, value: String| (name.to_owned(), value);
    let mut lines = vec![
        line("sweep", header.sweep_id.clone()),
        line("grid", format!("{}, {} configurations", plan.grid, plan.grid.configurations())),
        line("seed", plan.seed.to_string()),
        line("measured", dataset.observations.len().to_string()),
        line("protocol", plan.protocol_line()),
    ];
    if ended {
        lines.push(line("skipped", sum(|counts| counts.skipped.values().sum()).to_string()));
        lines.push(line("failed", sum(|counts| counts.failed).to_string()));
        lines.push(line("unvisited", sum(|counts| counts.unvisited).to_string()));
    }
    lines
}
