use std::path::{Path, PathBuf};

use alpha_flops::files::{create_folder_in, remove_temporary_files};
use alpha_flops::record::PassedOver;
use alpha_flops::settings::parse_budget;
use alpha_flops::sweep::Sweep;
use alpha_flops::terminal::remark;
use alpha_flops_analysis::compare::{Options, compare, sides};
use alpha_flops_analysis::import::{Imported, criterion};
use alpha_flops_analysis::model::{FlopConvention, KernelTerm};
use alpha_flops_analysis::replicate::alternate::{Builds, RunSide};
use alpha_flops_analysis::replicate::{self, OpenedSweep};
use alpha_flops_analysis::replicate::{series, series::Series, series::SeriesRun};
use alpha_flops_analysis::report::{self, Input, Report};
use alpha_flops_analysis::run::provenance;
use clap::Args;

use super::compare::LEVELS;
use super::data::warn_of_unreadable;
use crate::output::{Format, formats, print_summary};
use crate::values::{Budget, kernel_terms};
use crate::{Context, Exit, Result, progress};

/// Measure a sweep and experiments A–G, fit α-FLOPs, and write a report
///
/// α-FLOPs is fitted to the sweep and evaluated on A–G. The report has figures, tables and answers to the
/// research objectives RO1–RO3. ALPHA_FLOPS_… variables or bench.toml set what is measured and how (see
/// docs/settings.md). Repeat the command to resume an interrupted run.
#[derive(Args)]
pub struct ReplicateArgs {
    /// Folder to write the report to [default: `report` in the run's folder], or the comparison of
    /// --alternate [default: `comparison` in the first run's folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Measure A–G N times, each time in a new process, with N/2 measuring orders (seeds) that take
    /// turns. The sweep is measured once, before the runs; the report is about the first run. The time
    /// budget applies to each run
    #[arg(long, value_name = "N", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Measure two builds in turns, N runs of each (A B B A …), and compare them as `compare --paired` does:
    /// B is AFTER, and the exit status is 1 if something is slower. A build is a program, a folder of
    /// libraries that the loader searches first, or sh:COMMAND, which a shell runs before each run. Every
    /// run's record says which side it is. There is no sweep and no report
    #[arg(long, num_args = 2, value_names = ["BUILD_A", "BUILD_B"], requires = "runs",
          conflicts_with_all = ["sweep_budget", "no_sweep", "s_k"])]
    alternate: Vec<String>,
    /// Compare the output of every configuration with a direct sum before measuring
    #[arg(long)]
    verify: bool,
    /// Time for measuring the sweep, such as 90s or 2h [default: a quarter of the time budget of A–G,
    /// in addition to it; 60s if A–G have none]
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    sweep_budget: Option<Budget>,
    /// Skip the sweep: fit α-FLOPs to A–G and evaluate it on the same data
    #[arg(long, conflicts_with = "sweep_budget")]
    no_sweep: bool,
    /// Definition of S_K in the fit
    #[arg(long, value_parser = kernel_terms(), default_value_t = KernelTerm::Side)]
    s_k: KernelTerm,
    /// Output format; with `json`, progress goes to standard error
    #[arg(long, value_parser = formats(Format::SUMMARY), default_value = "table")]
    format: Format,
    /// Measure only configurations whose id matches this regular expression, such as '^D/'
    filter: Option<String>,
}

pub fn run(args: &ReplicateArgs) -> Result<Exit> {
    let verify = args.verify.then(|| "--verify".to_owned());
    let arguments: Vec<String> = args.filter.iter().cloned().chain(verify).collect();
    if let [a, b] = &args.alternate[..] {
        return run_alternating(args, &arguments, Builds::parse(a, b)?);
    }
    let as_json = args.format == Format::Json;
    let mut series = Series::open(args.runs as usize, &arguments)?;
    say_what_is_done(&series);
    let has_sweep = match series.runs().first() {
        Some(first) => replicate::kept_sweep(&first.run)?.is_some(),
        None => false,
    };
    let sweep = (!args.no_sweep && !has_sweep).then(|| measure_sweep(args)).transpose()?;
    measure_all(&mut series, as_json)?;
    let runs = series.runs();
    let folders: Vec<&Path> = runs.iter().map(|run| run.run.as_path()).collect();
    let Analysed { imported, report, out } = analyse(args, &folders, sweep)?;
    if let [_] = runs {
        print_summary(args.format, &report.summary(&out), &report)?;
    } else {
        print_series(args.format, runs, &imported[0], &report, &out)?;
    }
    let is_complete = runs.iter().all(|run| run.complete);
    series.finish()?;
    let is_sound = imported.iter().all(|run| run.rejected.is_empty());
    Ok(Exit::success_if(is_complete && is_sound))
}

fn print_series(
    format: Format,
    runs: &[SeriesRun],
    first: &Imported,
    report: &Report,
    out: &Path,
) -> Result<Exit> {
    let summary = format!(
        "\nrun 1 of {}:\n{}\n{}\n{}",
        runs.len(),
        report.summary(out),
        series::table(runs, &first.dataset.provenance).to_text(),
        series::next_commands(runs)
    );
    print_summary(format, &summary, &serde_json::json!({ "runs": runs, "report": report }))
}

const PAIRED: Options = Options { levels: LEVELS, paired: true, common: false };

/// Measures two builds in turns, and compares them in pairs.
fn run_alternating(args: &ReplicateArgs, arguments: &[String], builds: Builds) -> Result<Exit> {
    let mut series = Series::alternating(args.runs as usize, arguments, builds)?;
    say_what_is_done(&series);
    measure_all(&mut series, args.format == Format::Json)?;
    let [a, b] = RunSide::ALL.map(|side| series.folders(side));
    let [before, after] = sides::read(&a, &b)?;
    let comparison = compare(&before, &after, &[], PAIRED)?;
    let runs = series.runs();
    let first = runs.first().context("no run was measured")?;
    let out = args.out.clone().unwrap_or_else(|| first.run.join("comparison"));
    super::compare::write(&comparison, &out)?;
    let provenance = provenance(&before[0].header);
    let summary = format!(
        "\n{}\n{}\ncomparison: {}\n{}",
        series::table(runs, &provenance).to_text(),
        comparison.summary(),
        out.display(),
        series::next_commands_of_sides(&a, &b)
    );
    let json = serde_json::json!({ "runs": runs, "comparison": comparison });
    print_summary(args.format, &summary, &json)?;
    let is_complete = runs.iter().all(|run| run.complete);
    series.finish()?;
    Ok(Exit::success_if(is_complete && !comparison.has_regression()))
}

fn say_passed_over(passed_over: Option<&PassedOver>) {
    if let Some(passed_over) = passed_over {
        remark(&format!("note: {passed_over}"));
    }
}

fn say_what_is_done(series: &Series) {
    say_passed_over(series.passed_over.as_ref());
    match (series.runs(), series.number()) {
        ([], _) => {}
        ([run], 1) => remark(&format!(
            "{} is measured, and its report was not finished: it is made now",
            run.run.display()
        )),
        (done, of) => {
            remark(&format!("series: continuing, {} of {of} runs are measured", done.len()))
        }
    }
}

fn measure_all(series: &mut Series, as_json: bool) -> Result<()> {
    while let Some(next) = series.next() {
        if series.number() > 1 {
            remark(&format!("series: {next}"));
        }
        series.measure(&next, as_json)?;
    }
    Ok(())
}

/// Measures the sweep, which nobody else takes as long as this process has it.
fn measure_sweep(args: &ReplicateArgs) -> Result<Sweep> {
    let opened = replicate::open_sweep(args.sweep_budget.flatten())?;
    let OpenedSweep { mut sweep, mut backend, passed_over } = opened;
    say_passed_over(passed_over.as_ref());
    progress::measure(&mut sweep, backend.as_mut())?;
    Ok(sweep)
}

struct Analysed {
    imported: Vec<Imported>,
    /// About the first run, and the folder that it is written to.
    report: Report,
    out: PathBuf,
}

/// Writes the datasets of the runs, and the report on the first, which gets the sweep if there is one.
fn analyse(args: &ReplicateArgs, runs: &[&Path], sweep: Option<Sweep>) -> Result<Analysed> {
    let read = |run: &&Path| {
        let unusable =
            |_: &_| remark(&format!("note: to measure it anew, remove {}", run.display()));
        criterion::read(run).inspect_err(unusable)
    };
    let imported = runs.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    for (run, imported) in runs.iter().zip(&imported) {
        remove_temporary_files(run)?;
        imported.dataset.write(&run.join("dataset.csv"))?;
    }
    let first = runs.first().context("no run was measured")?;
    if let Some(sweep) = sweep {
        replicate::keep_sweep(&sweep, first)?;
    }
    let mut input = Input::from_import(&imported[0]);
    input.find_noise(None)?.iter().for_each(|(_, error)| warn_of_unreadable(error));
    let sweep = replicate::kept_sweep(first)?;
    if let Some(sweep) = &sweep {
        input.fit_to(sweep, args.s_k, FlopConvention::Macs);
    }
    input.fit_in_sample(args.s_k, FlopConvention::Macs);
    let out = match &args.out {
        Some(out) => out.clone(),
        None => create_folder_in(first, "report")?,
    };
    Ok(Analysed { report: report::write(&[input], &out)?, imported, out })
}
