//! Joining the shards of one sweep.

use std::path::{Path, PathBuf};

use super::order::Shard;
use super::point::SweepPoint;
use super::store::write_part;
use super::{Counts, PART_ROWS, SweepError, SweepFolder, SweepHeader, SweepStatus};
use crate::file_error::FileError;
use crate::files;
use crate::store;

/// Opens the shards in `folders`, in their order, and checks that they are all shards of one sweep: of
/// the same grid, seed, protocol, kind of machine and versions, each given once, and ended.
///
/// # Errors
/// [`SweepError`] names the shards that are missing, given twice, unfinished or of another sweep.
pub fn shards(folders: &[PathBuf]) -> Result<Vec<SweepFolder>, SweepError> {
    let mut shards = folders
        .iter()
        .map(|path| SweepFolder::open(path))
        .collect::<Result<Vec<_>, FileError>>()?;
    let Some(first) = shards.first() else {
        return Err(SweepError::Merge("no shards given".to_owned()));
    };
    for other in &shards[1..] {
        let differences = differences(&first.header, &other.header);
        if !differences.is_empty() {
            let (first, other) = (first.path.display(), other.path.display());
            let differences = differences.join("; ");
            return Err(SweepError::Merge(format!("{first} and {other} differ: {differences}")));
        }
    }
    let unfinished = |shard: &&SweepFolder| shard.header.status == SweepStatus::Unfinished;
    if let Some(shard) = shards.iter().find(unfinished) {
        let (number, path) = (shard.header.plan.shard, shard.path.display());
        let reason = format!("shard {number} in {path} is unfinished: repeat its command first");
        return Err(SweepError::Merge(reason));
    }
    shards.sort_by_key(|shard| shard.header.plan.shard.number());
    each_once(&shards)?;
    Ok(shards)
}

fn each_once(shards: &[SweepFolder]) -> Result<(), SweepError> {
    let shard = |folder: &SweepFolder| folder.header.plan.shard;
    if let Some(pair) = shards.windows(2).find(|pair| shard(&pair[0]) == shard(&pair[1])) {
        let [this, next] = [0, 1].map(|index| pair[index].path.display());
        let shard = shard(&pair[0]);
        return Err(SweepError::Merge(format!("shard {shard} is both in {this} and in {next}")));
    }
    let of = shards.first().map_or(0, |first| shard(first).count());
    let there = |number: &u32| shards.iter().any(|folder| shard(folder).number() == *number);
    let missing: Vec<String> =
        (1..=of).filter(|number| !there(number)).map(|number| format!("{number}/{of}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let plural = if missing.len() == 1 { "" } else { "s" };
    Err(SweepError::Merge(format!("shard{plural} {} missing", missing.join(", "))))
}

/// The differences because of which two shards are not of one sweep.
fn differences(one: &SweepHeader, other: &SweepHeader) -> Vec<String> {
    let differing = one.plan.differing(&other.plan).into_iter();
    let mut differences: Vec<String> = differing
        .filter(|(what, ..)| *what != "shard")
        .map(|(what, this, that)| format!("{what} `{this}` against `{that}`"))
        .collect();
    for header in [one, other] {
        if !header.shards.is_empty() {
            differences.push(format!("{} is merged already", header.sweep_id));
        }
    }
    differences
}

/// Joins the shards in `folders` into a sweep in the new folder `out`, which appears whole or not at
/// all. The shards are left as they are.
///
/// # Errors
/// As [`shards`], and [`SweepError`] where `out` is there already or cannot be written.
pub fn merge(folders: &[PathBuf], out: &Path) -> Result<SweepHeader, SweepError> {
    let shards = shards(folders)?;
    if out.symlink_metadata().is_ok() {
        return Err(SweepError::Merge(format!("{} is there already", out.display())));
    }
    let mut header = joined(&shards)?;
    files::write_folder(out, |folder| {
        write_parts(&shards, &mut header, folder)?;
        store::write_header(folder, &header)
    })?;
    Ok(header)
}

/// The header of the merged sweep.
fn joined(shards: &[SweepFolder]) -> Result<SweepHeader, SweepError> {
    let headers: Vec<SweepHeader> = shards.iter().map(|shard| shard.header.clone()).collect();
    let Some(first) = headers.first() else {
        return Err(SweepError::Merge("no shards given".to_owned()));
    };
    let is = |status: SweepStatus| move |header: &SweepHeader| header.status == status;
    let status = match &headers {
        all if all.iter().any(is(SweepStatus::BudgetUsed)) => SweepStatus::BudgetUsed,
        all if all.iter().all(is(SweepStatus::NothingMeasured)) => SweepStatus::NothingMeasured,
        _ => SweepStatus::Finished,
    };
    let mut plan = first.plan.clone();
    plan.shard = Shard::ALL;
    Ok(SweepHeader {
        sweep_id: format!("{}-merged", first.sweep_id),
        status,
        started: headers.iter().map(|header| header.started).min().unwrap_or(first.started),
        ended: headers.iter().filter_map(|header| header.ended).max(),
        plan,
        counts: None,
        sessions: headers.iter().flat_map(|header| header.sessions.clone()).collect(),
        shards: headers.clone(),
        ..first.clone()
    })
}

/// Copies the points, shard by shard. Parts are named by the number of rows before; positions are still
/// those in the order of the grid.
fn write_parts(
    shards: &[SweepFolder],
    header: &mut SweepHeader,
    folder: &Path,
) -> Result<(), FileError> {
    store::create_parts::<SweepHeader>(folder)?;
    let (mut counts, mut first) = (Counts::default(), 0);
    let mut collected: Vec<SweepPoint> = Vec::new();
    let mut failed = None;
    let mut write = |collected: &mut Vec<SweepPoint>| {
        let written = write_part(folder, &header.sweep_id, first, collected);
        first += collected.len() as u32;
        collected.clear();
        written
    };
    let mut sessions_before = 0;
    for shard in shards {
        shard.read(|mut point| {
            point.session += sessions_before;
            counts.add(&point);
            collected.push(point);
            if collected.len() >= PART_ROWS && failed.is_none() {
                failed = write(&mut collected).err();
            }
        })?;
        sessions_before += shard.header.sessions.len() as u32;
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if !collected.is_empty() {
        write(&mut collected)?;
    }
    counts.unvisited = u64::from(header.plan.grid.configurations()) - counts.visited();
    header.counts = Some(counts);
    Ok(())
}
