//! One or several runs of the experiments, one after the other, each in processes of its own.
//!
//! The seed decides the order in which a run measures. A series of n runs cycles through ⌈n/2⌉ seeds.
//! So each order is measured twice where possible, which separates the effect of the order from that of
//! the run, and the two are apart in time, so that a slow drift of the machine does not affect only one
//! order. Where two builds take turns ([`super::alternate`]), that goes for pairs of runs.

use std::fmt;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alpha_flops::backend::BACKENDS;
use alpha_flops::environment::Platform;
use alpha_flops::files::{self, Lock, write_atomically};
use alpha_flops::record::{FinishedRun, Outcome, PassedOver, RunPlan, check_gpu, differences};
use alpha_flops::selection::{Selected, select};
use alpha_flops::settings::{BackendRequest, Requested};
use alpha_flops::sweep::request::PrepareError;
use alpha_flops::units::format_duration;
use alpha_flops::workspace;
use serde::{Deserialize, Serialize};

use super::alternate::{AlternateError, Builds, RunSide};
use super::{ReplicateError, announced, bench, runs, this_program};
use crate::dataset::Provenance;
use crate::table::Table;

/// The first seed if the settings name none; it is fixed so that series before and after a change
/// measure in the same orders.
const FIRST_SEED: u64 = 1;

/// A series, begun or resumed.
#[derive(Debug)]
pub struct Series {
    /// The folder of runs.
    runs: PathBuf,
    /// The path of `kept`, which is on disk until the series is done.
    file: PathBuf,
    kept: SeriesFile,
    /// No other process measures the same series; it is there from [`Self::take_up`] on.
    lock: Option<Lock>,
    /// Runs that were measured before this process began.
    pub done_before: usize,
    /// Where it is new: the one that is nearest to it and not resumed.
    pub passed_over: Option<PassedOver>,
}

/// The file of a series: what identifies it, and its runs so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SeriesFile {
    /// Settings, platform and program; the seed is that of the settings, and there are no ids. `None` where
    /// builds take turns: each has its own.
    plan: Option<RunPlan>,
    /// The builds that take turns, and all that the user set.
    turns: Option<(Builds, String)>,
    /// The arguments of `alpha-flops bench`.
    arguments: Vec<String>,
    /// The seed of each run, in the order measured.
    seeds: Vec<u64>,
    runs: Vec<SeriesRun>,
}

/// A finished run of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesRun {
    /// The run's folder.
    pub run: PathBuf,
    /// Seed of the measuring order.
    pub seed: u64,
    /// The build that was measured, where two take turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<RunSide>,
    /// How long the run took, in seconds; not known if it was interrupted.
    pub wall_s: Option<f64>,
    /// Configurations measured.
    pub measured: usize,
    /// Configurations skipped or failed.
    pub not_measured: usize,
    /// Whether no configuration failed.
    pub complete: bool,
}

/// The run that comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Next {
    /// Counts from 1, as `order` does.
    number: usize,
    of: usize,
    side: Option<RunSide>,
    order: u64,
    orders: u64,
    seed: u64,
    /// How long all remaining runs take, judged by the finished ones.
    time_left: Option<Duration>,
}

fn read(file: &Path) -> Option<SeriesFile> {
    serde_json::from_slice(&files::read(file).ok()?).ok()
}

/// The seed of each run, in the order measured: `⌈n/2⌉` seeds from `first` on, in turn.
pub fn seeds(runs: usize, first: u64) -> Vec<u64> {
    let orders = runs.div_ceil(2).max(1);
    (0..runs).map(|run| first.wrapping_add((run % orders) as u64)).collect()
}

/// The same of pairs of runs, two after one another with the same seed.
fn of_pairs(pairs: usize, first: u64) -> Vec<u64> {
    seeds(pairs, first).into_iter().flat_map(|seed| [seed, seed]).collect()
}

impl Series {
    /// Resumes the series that was begun with the same settings, filter, number of runs and program, or
    /// begins one.
    ///
    /// # Errors
    /// [`ReplicateError`] where there is no backend, or the folder of runs cannot be written.
    pub fn open(number: usize, arguments: &[String]) -> Result<Self, ReplicateError> {
        let folder = runs()?;
        let requested = Requested::from_workspace()?;
        let selected = select(&requested).map_err(PrepareError::from)?;
        let Selected { settings, backend, why_cpu, .. } = selected;
        let first = settings.seed.unwrap_or(FIRST_SEED);
        let mut plan = RunPlan::new(&settings, Platform::new(backend.as_ref()), &[]);
        check_gpu(&folder, &plan.platform, why_cpu.as_deref())?;
        // a run is continued on others, too
        plan.platform.pinned_cores = None;
        let kept = SeriesFile {
            plan: Some(plan),
            turns: None,
            arguments: arguments.to_vec(),
            seeds: seeds(number, first),
            runs: Vec::new(),
        };
        let mut series = Self::new(kept, folder);
        series.take_up()?;
        Ok(series)
    }

    /// The same of two builds that take turns, with so many runs of each.
    ///
    /// # Errors
    /// [`ReplicateError`] where a build refuses to measure, they would measure different configurations, or
    /// the folder of runs cannot be written.
    pub fn alternating(
        pairs: usize,
        arguments: &[String],
        builds: Builds,
    ) -> Result<Self, ReplicateError> {
        if pairs < 2 {
            return Err(AlternateError::OnePair.into());
        }
        let folder = runs()?;
        let requested = Requested::from_workspace()?;
        builds.check(arguments)?;
        // no backend is opened here: it may be there for the builds alone
        let kind = match requested.backend()? {
            BackendRequest::Only(kind) => kind,
            BackendRequest::Auto => BACKENDS[0],
        };
        let first = requested.settings(kind)?.seed.unwrap_or(FIRST_SEED);
        let kept = SeriesFile {
            plan: None,
            turns: Some((builds, format!("{requested:?}"))),
            arguments: arguments.to_vec(),
            seeds: of_pairs(pairs, first),
            runs: Vec::new(),
        };
        let mut series = Self::new(kept, folder);
        series.take_up()?;
        Ok(series)
    }

    fn new(kept: SeriesFile, runs: PathBuf) -> Self {
        let mut hasher = DefaultHasher::new();
        format!("{kept:?}").hash(&mut hasher);
        let file = runs.join(format!("series-{:016x}.json", hasher.finish()));
        Self { runs, file, kept, lock: None, done_before: 0, passed_over: None }
    }

    /// Locks the series, and reads the file that an interrupted process has left.
    fn take_up(&mut self) -> Result<(), ReplicateError> {
        self.lock = files::lock(&self.file.with_extension("lock"))?;
        if self.lock.is_none() {
            return Err(ReplicateError::Busy { runs: self.runs.clone() });
        }
        // a damaged file, or that of another series, has nothing to continue
        let kept = read(&self.file);
        let is_of_this =
            |kept: &SeriesFile| SeriesFile { runs: Vec::new(), ..kept.clone() } == self.kept;
        if let Some(kept) = kept.filter(is_of_this) {
            // a run whose folder is gone is measured again, and so are those after it
            let there = |run: &&SeriesRun| self.has_finished(&run.run);
            self.kept.runs = kept.runs.iter().take_while(there).cloned().collect();
        }
        // a run may have finished after the process that waited for it was killed
        let announced = announced(&self.announcement());
        let announced = announced.filter(|run| self.has_finished(run));
        if let (Some(next), Some(run)) = (self.next(), announced) {
            self.keep(&next, &run, None)?;
        }
        self.done_before = self.kept.runs.len();
        self.passed_over = (self.done_before == 0).then(|| self.nearest_other()).flatten();
        Ok(())
    }

    /// Of other series that have runs and are not done, the one that differs least.
    fn nearest_other(&self) -> Option<PassedOver> {
        let is_series = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
            name.starts_with(b"series-") && name.ends_with(b".json") && *path != self.file
        };
        let entries = fs::read_dir(&self.runs).into_iter().flatten().flatten();
        let mut others: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(is_series).collect();
        others.sort();
        PassedOver::nearest(others.into_iter().filter_map(|path| {
            let there = read(&path)?;
            let is_there = there.runs.iter().any(|run| self.has_finished(&run.run));
            let is_in_use = match files::try_lock(&path.with_extension("lock")) {
                Ok(lock) => lock.is_none_or(|lock| lock.remove().is_err()),
                Err(_) => false,
            };
            let now = SeriesFile { runs: there.runs.clone(), ..self.kept.clone() };
            let why = differences(&there, &now);
            (is_there && !is_in_use).then_some(PassedOver { path, why })
        }))
    }

    /// Whether a run is one of this folder of runs, and finished.
    fn has_finished(&self, run: &Path) -> bool {
        run.parent() == Some(self.runs.as_path()) && FinishedRun::open(run).is_ok()
    }

    /// The file that says that the next run has finished.
    fn announcement(&self) -> PathBuf {
        self.file.with_extension(format!("{}.finished", self.kept.runs.len() + 1))
    }

    /// The run to measure now, unless the series is done.
    pub fn next(&self) -> Option<Next> {
        let SeriesFile { seeds, runs, .. } = &self.kept;
        let index = runs.len();
        let &seed = seeds.get(index)?;
        let order = |seed: u64| seed.wrapping_sub(seeds[0]) + 1;
        let took: Vec<f64> = runs.iter().filter_map(|run| run.wall_s).collect();
        let each_s = (!took.is_empty()).then(|| took.iter().sum::<f64>() / took.len() as f64);
        let left_s = each_s.map(|each_s| each_s * (seeds.len() - index) as f64);
        Some(Next {
            number: index + 1,
            of: seeds.len(),
            side: self.builds().map(|_| RunSide::of(index)),
            order: order(seed),
            orders: seeds.iter().map(|seed| order(*seed)).max()?,
            seed,
            time_left: left_s.and_then(|s| Duration::try_from_secs_f64(s).ok()),
        })
    }

    /// Measures a run, or what is left of it.
    ///
    /// # Errors
    /// [`ReplicateError`] where the benchmarks cannot be started or finish no run.
    pub fn measure(&mut self, next: &Next, to_stderr: bool) -> Result<(), ReplicateError> {
        let began = Instant::now();
        self.check_sides()?;
        let program = match (self.builds(), next.side) {
            (Some(builds), Some(side)) => builds.command(side)?,
            _ => this_program()?,
        };
        let (arguments, finished) = (&self.kept.arguments, self.announcement());
        // one run has the settings' seed, or else one of its own
        let seed = (self.number() > 1).then_some(next.seed);
        let run = bench(program, &self.runs, &finished, arguments, seed, to_stderr)?;
        self.keep(next, &run, Some(began.elapsed().as_secs_f64()))
    }

    fn keep(&mut self, next: &Next, run: &Path, wall_s: Option<f64>) -> Result<(), ReplicateError> {
        let finished = FinishedRun::open(run).map_err(ReplicateError::Record)?;
        if let (Some(builds), Some(side)) = (self.builds(), next.side) {
            let (found, expected) = (&finished.header.plan.side, builds.label(side));
            if found.as_ref() != Some(&expected) {
                let found = found.clone().unwrap_or_else(|| "none".to_owned());
                return Err(
                    AlternateError::OtherSide { run: run.to_owned(), found, expected }.into()
                );
            }
        }
        let outcomes = || finished.header.configurations.iter().map(|record| &record.outcome);
        let measured = outcomes().filter(|o| matches!(o, Outcome::Measured { .. })).count();
        // an interrupted process has not left how long it took
        let whole = finished.header.sessions.len() == 1;
        let announcement = self.announcement();
        self.kept.runs.push(SeriesRun {
            run: run.to_owned(),
            seed: next.seed,
            side: next.side,
            wall_s: wall_s.filter(|_| whole),
            measured,
            not_measured: outcomes().count() - measured,
            complete: !outcomes().any(|o| matches!(o, Outcome::Failed { .. })),
        });
        write_atomically(&self.file, |out| {
            serde_json::to_writer_pretty(out, &self.kept).map_err(std::io::Error::from)
        })?;
        // only now: until the file is written, only the announcement says that the run is done
        let _ = files::remove_file(&announcement);
        Ok(())
    }

    /// Runs in all, measured or not.
    pub fn number(&self) -> usize {
        self.kept.seeds.len()
    }

    fn builds(&self) -> Option<&Builds> {
        self.kept.turns.as_ref().map(|(builds, _)| builds)
    }

    /// Checks that the first run of B can be compared with that of A, before there are many.
    fn check_sides(&self) -> Result<(), ReplicateError> {
        let [a, b, ..] = &self.kept.runs[..] else { return Ok(()) };
        if self.builds().is_none() {
            return Ok(());
        }
        let plan = |run: &SeriesRun| FinishedRun::open(&run.run).map(|run| run.header.plan);
        let (a, b) =
            (plan(a).map_err(ReplicateError::Record)?, plan(b).map_err(ReplicateError::Record)?);
        let mut differences = a.comparable().differences(&b.comparable());
        if differences.is_empty() && a.settings != b.settings {
            differences.push(format!("settings `{}` against `{}`", a.settings, b.settings));
        }
        if a.ids != b.ids {
            differences.push("they measure different configurations".to_owned());
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(AlternateError::NotComparable { differences }.into()),
        }
    }

    /// The folders of the finished runs of a side, in order of their pairs.
    pub fn folders(&self, side: RunSide) -> Vec<PathBuf> {
        let of_side = self.kept.runs.iter().filter(|run| run.side == Some(side));
        of_side.map(|run| run.run.clone()).collect()
    }

    /// The finished runs.
    pub fn runs(&self) -> &[SeriesRun] {
        &self.kept.runs
    }

    /// Removes the file of a series whose results have been shown: the same command begins another.
    pub fn finish(self) -> Result<(), ReplicateError> {
        Ok(files::remove_file(&self.file)?)
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        // what a killed process leaves is taken over by the next
        let _ = self.lock.take().map(Lock::remove);
    }
}

/// `run 2 of 5 (order 2 of 3, seed 2), about 12m left`; `run 2 of 10 (B, order 1 of 3, seed 1)`.
impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, of, side, order, orders, seed, time_left } = self;
        let side = side.map_or_else(String::new, |side| format!("{side}, "));
        write!(f, "run {number} of {of} ({side}order {order} of {orders}, seed {seed})")?;
        match time_left {
            Some(left) => write!(f, ", about {} left", format_duration(*left)),
            None => Ok(()),
        }
    }
}

/// The runs of a series with their folders.
pub fn table(runs: &[SeriesRun], provenance: &Provenance) -> Table {
    let rows: Vec<(usize, &SeriesRun)> = (1..).zip(runs).collect();
    let source = format!("{} runs, the first {}", runs.len(), provenance.source);
    let columns = Table::with_rows("Runs of this series", &rows).count("run", |(number, _)| number);
    let columns = match runs.iter().any(|run| run.side.is_some()) {
        true => columns.text("side", |(_, run)| run.side.map_or("", RunSide::name)),
        false => columns,
    };
    columns
        .count("seed of its order", |(_, run)| run.seed)
        .count("measured", |(_, run)| run.measured)
        .count("not measured", |(_, run)| run.not_measured)
        .text("folder", |(_, run)| run.run.display())
        .build()
        .with_provenance(&Provenance { source, ..provenance.clone() })
}

/// Commands to continue with where two builds took turns, ready to be copied.
pub fn next_commands_of_sides(before: &[PathBuf], after: &[PathBuf]) -> String {
    let folders =
        |runs: &[PathBuf]| runs.iter().map(|run| quoted(run)).collect::<Vec<_>>().join(" ");
    let (before, after, program) = (folders(before), folders(after), workspace::program());
    format!(
        "next:\n  {program} compare {before} --after {after} --paired\n  \
         {program} archive {before} {after}\n"
    )
}

/// Commands to continue with, ready to be copied.
pub fn next_commands(runs: &[SeriesRun]) -> String {
    let folders: Vec<String> = runs.iter().map(|run| quoted(&run.run)).collect();
    let (folders, program) = (folders.join(" "), workspace::program());
    format!(
        "next:\n  {program} variance {folders}\n  {program} compare {folders} --after AFTER…\n  \
         {program} archive {folders}\n"
    )
}

/// A path, quoted for a shell if necessary.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@".contains(c);
    match text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests;
