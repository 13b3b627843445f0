//! The two sides of a comparison: which runs may be compared, and what differs between them.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use alpha_flops::record::RunHeader;

use regex::Regex;

use super::CompareError;
use crate::archive::{self, UnreadableRun};
use crate::differences::{self, Difference};
use crate::in_order::try_map;
use crate::run::Run;

/// A name for each side in messages.
pub const SIDES: [&str; 2] = ["BEFORE", "AFTER"];

/// Opens the runs of both sides, each given by its folder or by the file of its archived dataset.
///
/// # Errors
/// [`CompareError`] where a side has none, or one is not a sound finished run.
pub fn read(before: &[PathBuf], after: &[PathBuf]) -> Result<[Vec<Run>; 2], CompareError> {
    for (side, paths) in SIDES.into_iter().zip([before, after]) {
        if paths.is_empty() {
            return Err(CompareError::Empty { side });
        }
    }
    let paths: Vec<&PathBuf> = before.iter().chain(after).collect();
    let mut runs = try_map(&paths, |path| read_run(path))?;
    let after = runs.split_off(before.len());
    Ok([runs, after])
}

fn read_run(path: &Path) -> Result<Run, CompareError> {
    match path.extension().is_some_and(|extension| extension == "csv") {
        true => Ok(archive::read_run(path)?),
        false => Ok(Run::open(path)?),
    }
}

/// What of archived runs is used.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// Configurations whose ids match.
    pub filter: Option<Regex>,
    /// At most so many of the newest runs that can be used.
    pub last: Option<NonZeroUsize>,
}

/// Archived runs in the folder of a target that tell how runs differ: comparable with both sides, with the same
/// configurations and as many launches by the same rule, in groups measured in the same environment. The
/// compared runs themselves are left out. Of the others, all or the newest, and the configurations that pass.
/// Runs that cannot be read come second.
pub fn history(
    target: &Path,
    before: &[Run],
    after: &[Run],
    chosen: &Chosen,
) -> Result<(Vec<Vec<Run>>, Vec<UnreadableRun>), CompareError> {
    let Some(first) = before.first() else { return Ok(Default::default()) };
    let own = first.header.plan.comparable();
    // medians of fewer launches differ more
    let how_many = |run: &Run| {
        let settings = &run.header.plan.settings;
        (settings.profile, settings.launches)
    };
    let tells = |archived: &Run| {
        let mut compared = before.iter().chain(after);
        let is_compared = compared.clone().any(|run| run.header.run_id == archived.header.run_id);
        let is_alike = archived.header.plan.comparable() == own
            && archived.header.plan.ids == first.header.plan.ids
            && compared.all(|run| how_many(archived) == how_many(run));
        is_alike && !is_compared
    };
    let (mut archived, unreadable) = archive::read(target)?;
    if let Some(filter) = &chosen.filter {
        archived.iter_mut().for_each(|run| run.keep_only(filter));
    }
    archived.retain(tells);
    let older = chosen.last.map_or(0, |last| archived.len().saturating_sub(last.get()));
    Ok((by_environment(archived.into_iter().skip(older)), unreadable))
}

/// Groups of at least two runs that were measured in the same environment.
pub fn by_environment(runs: impl IntoIterator<Item = Run>) -> Vec<Vec<Run>> {
    let mut groups: Vec<Vec<Run>> = Vec::new();
    for run in runs {
        let is_same_environment = |group: &&mut Vec<Run>| changed(&group[0], &run).is_empty();
        match groups.iter_mut().find(is_same_environment) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// The runs before and then those after, each side in order of time, and every run's rank in time among all;
/// pairs stay together. What is computed of them so never depends on the order in which they are given.
pub(super) fn in_time<'r>(
    before: &'r [Run],
    after: &'r [Run],
    paired: bool,
) -> (Vec<&'r Run>, Vec<usize>) {
    let time = |run: &&Run| (run.header.started, run.header.run_id.clone());
    let mut sides = [before, after].map(|side| side.iter().collect::<Vec<&Run>>());
    if paired && before.len() == after.len() {
        let [first, second] = &sides;
        let mut pairs: Vec<_> = first.iter().copied().zip(second.iter().copied()).collect();
        pairs.sort_by_key(|(before, after)| time(before).min(time(after)));
        sides = [
            pairs.iter().map(|(run, _)| *run).collect(),
            pairs.iter().map(|(_, run)| *run).collect(),
        ];
    } else {
        sides.iter_mut().for_each(|side| side.sort_by_key(time));
    }
    let runs = sides.concat();
    let mut times: Vec<_> = runs.iter().map(time).collect();
    let own = times.clone();
    times.sort();
    let rank = |own| times.iter().position(|time| time == own).unwrap_or_default();
    let order = own.iter().map(rank).collect();
    (runs, order)
}

/// What to do where only the device differs.
const ACROSS: &str = "\nhint: `compare --across` shows ratios between devices, without a verdict";

/// Checks that all runs may be compared.
///
/// # Errors
/// [`CompareError`] where a run is given twice, a side mixes environments, or the sides differ in what a
/// latency means, or in their configurations, unless `common` ones suffice.
pub fn check(before: &[Run], after: &[Run], common: bool) -> Result<(), CompareError> {
    let (first, other) = firsts(before, after)?;
    check_comparable(first, before.iter().chain(after))?;
    check_sides(before, after)?;
    check_configurations(before, after, other, common)
}

/// The same for runs on two devices: each side by itself, and both by one protocol.
///
/// # Errors
/// As [`check`], and where both are of one device, or only one of them was measured at all.
pub fn check_across(first: &[Run], second: &[Run], common: bool) -> Result<(), CompareError> {
    let (one, other) = firsts(first, second)?;
    for side in [first, second] {
        check_comparable(&side[0], side)?;
    }
    let [own, others] = [one, other].map(|run| run.header.plan.comparable());
    if own.backend == others.backend && own.device == others.device {
        return Err(CompareError::OneDevice { device: own.device });
    }
    let is_measured = |run: &Run| !run.dataset.provenance.is_stand_in();
    let mut differences = own.differences(&others);
    let is_alike = own.method == others.method && is_measured(one) == is_measured(other);
    if !is_alike {
        differences.retain(|difference| {
            own.method == others.method || difference.starts_with("protocol ")
        });
        let (before, after) = (one.path.clone(), other.path.clone());
        return Err(CompareError::NotComparable { before, after, differences, hint: "" });
    }
    check_sides(first, second)?;
    check_configurations(first, second, other, common)
}

/// The first run of each side, where each has one and none is given twice.
fn firsts<'r>(before: &'r [Run], after: &'r [Run]) -> Result<(&'r Run, &'r Run), CompareError> {
    let mut seen = HashSet::new();
    if let Some(run) = before.iter().chain(after).find(|run| !seen.insert(&run.header.run_id)) {
        return Err(CompareError::Repeated { run_id: run.header.run_id.clone() });
    }
    match [before.first(), after.first()] {
        [Some(first), Some(other)] => Ok((first, other)),
        [first, _] => Err(CompareError::Empty { side: SIDES[usize::from(first.is_some())] }),
    }
}

fn check_comparable<'r>(
    first: &Run,
    runs: impl IntoIterator<Item = &'r Run>,
) -> Result<(), CompareError> {
    let own = first.header.plan.comparable();
    for run in runs {
        let others = run.header.plan.comparable();
        let differences = own.differences(&others);
        if !differences.is_empty() {
            let is_stand_in = |run: &Run| run.dataset.provenance.is_stand_in();
            let is_only_device =
                own.method == others.method && is_stand_in(first) == is_stand_in(run);
            return Err(CompareError::NotComparable {
                before: first.path.clone(),
                after: run.path.clone(),
                differences,
                hint: if is_only_device { ACROSS } else { "" },
            });
        }
    }
    Ok(())
}

fn check_sides(before: &[Run], after: &[Run]) -> Result<(), CompareError> {
    SIDES.into_iter().zip([before, after]).try_for_each(|(side, runs)| check_alike(runs, side))
}

fn check_configurations(
    before: &[Run],
    after: &[Run],
    other: &Run,
    common: bool,
) -> Result<(), CompareError> {
    let first = &before[0];
    let plans = before.iter().chain(after).find(|run| run.header.plan.ids != first.header.plan.ids);
    match plans {
        Some(run) if !common => Err(configurations_differ(first, run)),
        _ => {
            let others: HashSet<&String> = other.header.plan.ids.iter().collect();
            match first.header.plan.ids.iter().any(|id| others.contains(id)) {
                true => Ok(()),
                false => Err(configurations_differ(first, other)),
            }
        }
    }
}

/// Leaves only the configurations whose ids match in all runs.
///
/// # Errors
/// [`CompareError::NoneChosen`] if that is none.
pub fn keep_only(sides: &mut [Vec<Run>; 2], filter: &Regex) -> Result<(), CompareError> {
    sides.iter_mut().flatten().for_each(|run| run.keep_only(filter));
    match sides.iter().flatten().all(|run| run.header.plan.ids.is_empty()) {
        true => Err(CompareError::NoneChosen { filter: filter.to_string() }),
        false => Ok(()),
    }
}

/// Checks that runs were measured in one environment, as far as it affects latencies.
///
/// # Errors
/// [`CompareError::Mixed`] where they were not; `side` is what they are together.
pub fn check_alike(runs: &[Run], side: &'static str) -> Result<(), CompareError> {
    let differences: Vec<String> = runs.iter().flat_map(|run| changed(&runs[0], run)).collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(CompareError::Mixed { side, differences }),
    }
}

fn configurations_differ(first: &Run, other: &Run) -> CompareError {
    let ids = |run: &Run| run.header.plan.ids.iter().cloned().collect::<BTreeSet<String>>();
    let (mine, others) = (ids(first), ids(other));
    CompareError::Configurations {
        before: first.path.clone(),
        after: other.path.clone(),
        only_before: mine.difference(&others).cloned().collect(),
        only_after: others.difference(&mine).cloned().collect(),
    }
}

/// What affects latencies and differs between two runs of a side. The state of the machine may differ: that it
/// does is part of how much runs differ.
fn changed(first: &Run, other: &Run) -> Vec<String> {
    let differences = differences::declared(&[&first.header], &[&other.header]);
    let deciding = differences.into_iter().filter(|difference| difference.decides_latencies);
    deciding
        .map(|Difference { what, before, after, .. }| {
            let (first, other) = (first.path.display(), other.path.display());
            format!("{what} `{before}` in {first} against `{after}` in {other}")
        })
        .collect()
}

/// What the records say differs between the sides, what affects latencies first.
pub fn differences(before: &[Run], after: &[Run]) -> Vec<Difference> {
    let [before, after] =
        [before, after].map(|runs| runs.iter().map(|run| &run.header).collect::<Vec<&RunHeader>>());
    differences::differences(&before, &after)
}
