//! Sweeps in a folder of runs that are not continued by another one there.

use std::path::{Path, PathBuf};

use super::header::SweepHeader;
use super::plan::SweepPlan;
use crate::record::{GpuGone, PassedOver};
use crate::store;

/// The sweeps of which something was measured whose folders in `runs` have such names, and that no process
/// works on.
fn kept(runs: &Path) -> Vec<(PathBuf, SweepHeader)> {
    let mut folders = store::entries(runs).unwrap_or_default();
    folders.retain(|path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"sweep-"))
            && store::entries(&path.join("parts")).is_ok_and(|parts| !parts.is_empty())
    });
    folders.sort();
    let header = |path: PathBuf| Some((store::read_header(&path).ok()?, path));
    let headers = folders.into_iter().filter_map(header);
    headers
        .filter(|(_, path)| !matches!(store::try_lock::<SweepHeader>(path), Ok(None)))
        .map(|(header, path)| (path, header))
        .collect()
}

/// What keeps the sweep that is nearest to this plan from being continued.
///
/// # Errors
/// [`GpuGone`] where it was measured on a GPU of this machine, and this plan is for the CPU only because that is
/// gone.
pub(super) fn passed_over(
    runs: &Path,
    plan: &SweepPlan,
    why_cpu: Option<&str>,
) -> Result<Option<PassedOver>, GpuGone> {
    let mut all = Vec::new();
    for (path, header) in kept(runs) {
        GpuGone::check(&path, &header.plan.platform, &plan.platform, why_cpu)?;
        let why = header.plan.differing(plan).into_iter();
        let why = why.map(|(what, there, now)| format!("{what}: there {there}, now {now}"));
        all.push(PassedOver { path, why: why.collect() });
    }
    Ok(PassedOver::nearest(all))
}
