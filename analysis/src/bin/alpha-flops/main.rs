//! The `alpha-flops` command: reads arguments, calls the library, prints. Nothing is computed here.

mod arguments;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use alpha_flops::atomic_file::write_atomically;
use alpha_flops::experiment::Experiment;
use alpha_flops::host::leave_without_waiting;
use alpha_flops::sweep::merge::merge;
use alpha_flops_analysis::archive;
use alpha_flops_analysis::compare;
use alpha_flops_analysis::crossvalidate::cross_validate;
use alpha_flops_analysis::fit::{Fit, PUBLISHED_START, Sample, Variant, fit_variant, intervals};
use alpha_flops_analysis::history::History;
use alpha_flops_analysis::import::criterion::Imported;
use alpha_flops_analysis::import::{self, asperti, criterion, load};
use alpha_flops_analysis::metrics::evaluate;
use alpha_flops_analysis::model::{Coefficients, FlopConvention, GroupCoefficients};
use alpha_flops_analysis::plot;
use alpha_flops_analysis::replicate::{self, series, series::Series};
use alpha_flops_analysis::report::{self, Input, Report};
use alpha_flops_analysis::selftest::measured::SelfTest;
use alpha_flops_analysis::suite;
use alpha_flops_analysis::sweep;
use alpha_flops_analysis::table::OutputFormat;
use alpha_flops_analysis::variance::Variance;
use anyhow::Context;
use clap::Parser;
use indicatif::ProgressBar;

use arguments::{
    ArchiveArgs, Cli, Command, CompareArgs, ComparisonFormat, CrossvalidateArgs, DataArgs,
    EvaluateArgs, ExperimentsArgs, FitArgs, HistoryArgs, ImportAspertiArgs, ImportCommand,
    ImportCriterionArgs, ImportSweepArgs, ReplicateArgs, ReportArgs, SelftestArgs, SummaryFormat,
    SweepArgs, SweepCommand, SweepMergeArgs, UncertaintyArgs, VarianceArgs, VariantArgs,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(&cli).unwrap_or_else(|error| {
        complain(&error);
        let replicate = error.downcast_ref::<replicate::ReplicateError>();
        let sweep = error.downcast_ref::<sweep::SweepCommandError>();
        let lost = sweep.is_some_and(|error| error.is_device_lost());
        let status = match cli.command {
            _ if lost => sweep::DEVICE_LOST,
            // 1 says that something is slower
            Command::Compare(_) | Command::Selftest(_) => compare::NOT_COMPARABLE,
            _ => 1,
        };
        if sweep.is_some_and(|e| e.hangs()) || replicate.is_some_and(|e| e.hangs()) {
            leave_without_waiting(status);
        }
        ExitCode::from(status)
    })
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Replicate(args) => run_replicate(args),
        Command::Experiments(args) => run_experiments(args),
        Command::Fit(args) => run_fit(args),
        Command::Evaluate(args) => run_evaluate(args),
        Command::Crossvalidate(args) => run_crossvalidate(args),
        Command::Uncertainty(args) => run_uncertainty(args),
        Command::Import(ImportCommand::Criterion(args)) => run_import_criterion(args),
        Command::Import(ImportCommand::Asperti(args)) => run_import_asperti(args),
        Command::Import(ImportCommand::Sweep(args)) => run_import_sweep(args),
        Command::Report(args) => run_report(args),
        Command::Sweep(args) => run_sweep(args),
        Command::Compare(args) => run_compare(args),
        Command::Selftest(args) => run_selftest(args),
        Command::Archive(args) => run_archive(args),
        Command::History(args) => run_history(args),
        Command::Variance(args) => run_variance(args),
    }
}

fn run_replicate(args: &ReplicateArgs) -> anyhow::Result<ExitCode> {
    let verify = args.verify.then(|| "--verify".to_owned());
    let arguments: Vec<String> = args.filter.iter().cloned().chain(verify).collect();
    if args.runs > 1 {
        return run_series(args, &arguments);
    }
    let swept =
        (!args.no_sweep).then(|| replicate::measure_sweep(sweep_budget(args))).transpose()?;
    let measured = replicate::measure(&arguments, args.format == SummaryFormat::Json)?;
    let imported = criterion::read(&measured.run)?;
    imported.dataset.write(&measured.run.join("dataset.csv"))?;
    if let Some(swept) = &swept {
        replicate::keep_sweep(swept, &measured.run)?;
    }
    let (report, out) = report_of_run(args, &measured.run, &imported)?;
    print(&match args.format {
        SummaryFormat::Table => report.summary(&out),
        SummaryFormat::Json => json(&report)?,
    })?;
    Ok(status(measured.complete && imported.rejected.is_empty()))
}

fn sweep_budget(args: &ReplicateArgs) -> Option<Duration> {
    args.sweep_budget.flatten()
}

/// The report of a run just measured, fitted to the sweep that was measured for it.
fn report_of_run(
    args: &ReplicateArgs,
    run: &Path,
    imported: &Imported,
) -> anyhow::Result<(Report, PathBuf)> {
    let swept = replicate::kept_sweep(run)?;
    let out = args.out.clone().unwrap_or_else(|| run.join("report"));
    let mut input = Input::of(imported);
    if let Some(swept) = &swept {
        input.fit_to(swept, args.s_k, FlopConvention::Macs);
    }
    input.fit_in_sample(args.s_k, FlopConvention::Macs);
    Ok((report::write(&[input], &out)?, out))
}

/// Several runs, and the report of the first.
fn run_series(args: &ReplicateArgs, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let as_json = args.format == SummaryFormat::Json;
    let mut series = Series::open(args.runs as usize, arguments)?;
    if series.done_before > 0 {
        let (done, of) = (series.done_before, args.runs);
        say(&format!("series: going on, {done} of {of} runs are measured"));
    }
    let has_sweep = match series.runs().first() {
        Some(first) => replicate::kept_sweep(&first.run)?.is_some(),
        None => false,
    };
    let swept = (!args.no_sweep && !has_sweep)
        .then(|| replicate::measure_sweep(sweep_budget(args)))
        .transpose()?;
    while let Some(next) = series.next() {
        say(&format!("series: {next}"));
        series.measure(&next, as_json)?;
    }
    let runs = series.runs().to_vec();
    let Some(first) = runs.first() else { anyhow::bail!("no run in the series") };
    let imported =
        runs.iter().map(|run| criterion::read(&run.run)).collect::<Result<Vec<_>, _>>()?;
    for (run, imported) in runs.iter().zip(&imported) {
        imported.dataset.write(&run.run.join("dataset.csv"))?;
    }
    if let Some(swept) = &swept {
        replicate::keep_sweep(swept, &first.run)?;
    }
    let (report, out) = report_of_run(args, &first.run, &imported[0])?;
    let table = series::table(&runs, &imported[0].dataset.provenance);
    print(&match args.format {
        SummaryFormat::Table => format!(
            "\nrun 1 of {}:\n{}\n{}\n{}",
            runs.len(),
            report.summary(&out),
            table.to_text(),
            series::next_commands(&runs)
        ),
        SummaryFormat::Json => json(&serde_json::json!({ "runs": runs, "report": report }))?,
    })?;
    series.finish()?;
    let is_sound = imported.iter().all(|imported| imported.rejected.is_empty());
    Ok(status(is_sound && runs.iter().all(|run| run.complete)))
}

fn run_experiments(args: &ExperimentsArgs) -> anyhow::Result<ExitCode> {
    let all = Experiment::ALL.to_vec();
    let chosen = if args.experiment.is_empty() { &all } else { &args.experiment };
    print(&match args.format {
        OutputFormat::Table => suite::table(chosen, args.resolution).to_text(),
        OutputFormat::Csv => suite::table(chosen, args.resolution).to_csv(),
        OutputFormat::Json => json(&suite::list(chosen, args.resolution))?,
    })
}

fn run_import_criterion(args: &ImportCriterionArgs) -> anyhow::Result<ExitCode> {
    let imported = criterion::read(&args.run)?;
    if let Some(path) = &args.environment {
        criterion::write_environment(&args.run, path)?;
    }
    write_dataset(&imported, &args.out, args.format)
}

fn run_import_asperti(args: &ImportAspertiArgs) -> anyhow::Result<ExitCode> {
    write_dataset(&asperti::read(&args.file)?.into(), &args.out, args.format)
}

fn write_dataset(
    imported: &Imported,
    out: &Path,
    format: SummaryFormat,
) -> anyhow::Result<ExitCode> {
    imported.dataset.write(out)?;
    let summary = import::Summary::new(imported, out);
    print(&match format {
        SummaryFormat::Table => summary.to_string(),
        SummaryFormat::Json => json(&summary)?,
    })?;
    Ok(status(imported.rejected.is_empty()))
}

fn status(success: bool) -> ExitCode {
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_fit(args: &FitArgs) -> anyhow::Result<ExitCode> {
    let sample = sample(&args.data)?;
    let start = args.start.unwrap_or(PUBLISHED_START);
    let fit = fitted(&sample, &args.data.dataset, &args.variant, start)?;
    if let Some(path) = &args.out {
        let json = json(&fit)?;
        write_atomically(path, |out| out.write_all(json.as_bytes()))?;
    }
    print(&match args.format {
        OutputFormat::Table => fit.table().to_text(),
        OutputFormat::Csv => fit.precise_table().to_csv(),
        OutputFormat::Json => json(&fit)?,
    })
}

/// Of a Parquet dataset, which may have millions of rows, only the columns that a fit needs.
fn sample(data: &DataArgs) -> anyhow::Result<Sample> {
    let DataArgs { dataset: path, s_k, flops } = data;
    let (s_k, flops) = (*s_k, *flops);
    if path.extension().is_some_and(|extension| extension == "parquet") && path.is_file() {
        return Ok(Sample::read_parquet(path, s_k, flops)?);
    }
    let Imported { dataset, .. } = load(path)?;
    Sample::of(&dataset, s_k, flops).with_context(|| format!("cannot fit {}", path.display()))
}

fn fitted(
    sample: &Sample,
    path: &Path,
    variant: &VariantArgs,
    start: GroupCoefficients,
) -> anyhow::Result<Fit> {
    let &VariantArgs { objective, constant } = variant;
    fit_variant(sample, Variant { objective, constant }, start)
        .with_context(|| format!("cannot fit {}", path.display()))
}

fn run_evaluate(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let Imported { dataset, .. } = load(&args.dataset)?;
    let coefficients = coefficients(&args.coefficients)?;
    let evaluation = evaluate(&dataset, &coefficients)?;
    print(&match args.format {
        OutputFormat::Table => evaluation.table().to_text(),
        OutputFormat::Csv => evaluation.table().to_csv(),
        OutputFormat::Json => json(&evaluation)?,
    })
}

fn run_uncertainty(args: &UncertaintyArgs) -> anyhow::Result<ExitCode> {
    let sample = sample(&args.data)?;
    let fit = fitted(&sample, &args.data.dataset, &args.variant, PUBLISHED_START)?;
    let intervals = intervals::intervals(&sample, &fit, args.refits, args.seed);
    print(&match args.format {
        OutputFormat::Table => intervals::table(&fit, &intervals).to_text(),
        OutputFormat::Csv => intervals::table(&fit, &intervals).to_csv(),
        OutputFormat::Json => json(&intervals)?,
    })
}

fn run_crossvalidate(args: &CrossvalidateArgs) -> anyhow::Result<ExitCode> {
    let DataArgs { dataset: dataset_path, s_k, flops } = &args.data;
    let Imported { mut dataset, .. } = load(dataset_path)?;
    let chosen = &args.experiment;
    dataset.observations.retain(|o| chosen.is_empty() || chosen.contains(&o.experiment));
    let validation = cross_validate(&dataset, *s_k, *flops, args.leave_out)
        .with_context(|| format!("cannot cross-validate {}", dataset_path.display()))?;
    print(&match args.format {
        OutputFormat::Table => validation.table().to_text(),
        OutputFormat::Csv => validation.table().to_csv(),
        OutputFormat::Json => json(&validation)?,
    })
}

/// Published coefficients by name, or those of a file.
fn coefficients(name: &str) -> anyhow::Result<Coefficients> {
    match name {
        "published-t2000" => Ok(Coefficients::published_t2000()),
        "published-rtx4090" => Ok(Coefficients::published_rtx4090()),
        file => Coefficients::read(Path::new(file)).context(
            "--coefficients takes `published-t2000`, `published-rtx4090` or a coefficients file",
        ),
    }
}

fn run_report(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let imported = args.inputs.iter().map(|path| load(path)).collect::<Result<Vec<_>, _>>()?;
    let fit_to = args.fit_to.as_ref().map(|path| load(path)).transpose()?;
    let mut inputs: Vec<Input<'_>> = imported.iter().map(Input::of).collect();
    for input in &mut inputs {
        if let Some(fit_to) = &fit_to {
            input.fit_to(fit_to, args.s_k, args.flops);
        }
    }
    for name in &args.coefficients {
        for input in &mut inputs {
            match name.as_str() {
                "fitted" => input.fit_in_sample(args.s_k, args.flops),
                name => input.coefficients.push(coefficients(name)?.into()),
            }
        }
    }
    let report = report::write(&inputs, &args.out)?;
    print(&match args.format {
        SummaryFormat::Table => report.summary(&args.out),
        SummaryFormat::Json => json(&report)?,
    })
}

fn run_sweep(args: &SweepArgs) -> anyhow::Result<ExitCode> {
    if let Some(SweepCommand::Merge(args)) = &args.command {
        return run_sweep_merge(args);
    }
    let args = &args.measure;
    let (Some(grid), Some(out)) = (args.grid, &args.out) else {
        anyhow::bail!("--grid and --out say what to measure, and where to keep it");
    };
    let request = sweep::Request {
        grid,
        seed: args.seed,
        shard: args.shard,
        protocol: args.protocol,
        launches: args.launches,
        budget: args.budget.flatten(),
        part_interval: args.part_interval.unwrap_or(Duration::MAX),
    };
    let done = sweep::prepare(|_| request)?.measure(out)?;
    print(&done.to_string())?;
    let failed = done.counts.failed > 0;
    Ok(if failed { ExitCode::from(sweep::SOME_FAILED) } else { ExitCode::SUCCESS })
}

fn run_sweep_merge(args: &SweepMergeArgs) -> anyhow::Result<ExitCode> {
    if args.out.extension().is_some_and(|extension| extension == "csv" || extension == "parquet") {
        let imported = import::sweep::read_shards(&args.shards)?;
        return write_dataset(&imported, &args.out, SummaryFormat::Table);
    }
    let header = merge(&args.shards, &args.out)?;
    let counts = header.counts.unwrap_or_default();
    print(&sweep::Done { folder: args.out.clone(), status: header.status, counts }.to_string())
}

fn run_import_sweep(args: &ImportSweepArgs) -> anyhow::Result<ExitCode> {
    write_dataset(&import::sweep::read(&args.sweep)?, &args.out, args.format)
}

fn run_compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let (before, after) = match (args.before.as_slice(), args.after.as_slice()) {
        ([before, after], []) => (std::slice::from_ref(before), std::slice::from_ref(after)),
        sides => sides,
    };
    let options = compare::Options {
        threshold: args.threshold,
        false_discovery_rate: args.fdr,
        paired: args.paired,
        common: args.common,
    };
    let [before, after] = compare::sides::read(before, after)?;
    let history = match (before.as_slice(), after.as_slice(), &args.history) {
        ([before], [after], named) => {
            let own = archive::root().join(archive::target_name(&before.header));
            let folder = match named {
                Some(target) => Some(archive::target(target)),
                None => own.is_dir().then_some(own),
            };
            folder.map(|folder| compare::sides::history(&folder, before, after)).transpose()?
        }
        _ => None,
    }
    .unwrap_or_default();
    if let (Some(path), true) = (args.history.clone(), history.is_empty()) {
        let reason = match before.len() + after.len() {
            2 => "no two archived runs of one kind have the same protocol and configurations",
            _ => "only one run a side is judged by archived ones",
        };
        return Err(compare::CompareError::History { path, reason }.into());
    }
    let comparison = compare::compare(&before, &after, &history, options)?;
    if let Some(out) = &args.out {
        comparison.write(out)?;
    }
    print(&match args.format {
        ComparisonFormat::Table => comparison.summary(),
        ComparisonFormat::Markdown => comparison.to_markdown(),
        ComparisonFormat::Csv => comparison.to_csv(),
        ComparisonFormat::Json => json(&comparison)?,
    })?;
    Ok(status(!comparison.has_regression()))
}

fn run_variance(args: &VarianceArgs) -> anyhow::Result<ExitCode> {
    let variance = Variance::read(&args.records)?;
    if let Some(out) = &args.out {
        variance.write(out)?;
    }
    print(&match args.format {
        OutputFormat::Table => variance.summary(),
        OutputFormat::Csv => variance.csv_table().to_csv(),
        OutputFormat::Json => json(&variance)?,
    })
}

fn run_selftest(args: &SelftestArgs) -> anyhow::Result<ExitCode> {
    let options = compare::Options {
        threshold: args.threshold,
        false_discovery_rate: args.fdr,
        paired: false,
        common: false,
    };
    let bar = ProgressBar::new(0);
    let test = SelfTest::of(&args.runs, options, &|done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let test = test?;
    print(&match args.format {
        ComparisonFormat::Table => test.summary(),
        ComparisonFormat::Markdown => test.to_markdown(),
        ComparisonFormat::Csv => test.to_csv(),
        ComparisonFormat::Json => json(&test)?,
    })
}

fn run_archive(args: &ArchiveArgs) -> anyhow::Result<ExitCode> {
    let root = args.into.clone().unwrap_or_else(archive::root);
    let mut success = true;
    for record in &args.records {
        match archive::add(record, &root, args.target.as_deref()) {
            Ok(added) => {
                print(&format!("{added}\n"))?;
            }
            Err(error) => {
                success = false;
                complain(&error.into());
            }
        }
    }
    Ok(status(success))
}

fn run_history(args: &HistoryArgs) -> anyhow::Result<ExitCode> {
    let folder = &archive::target(&args.target);
    if !folder.is_dir() {
        anyhow::bail!("{}: no such target; `archive` makes it", folder.display());
    }
    let archived = archive::read(folder)?;
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
    let history = History::of(&name, &archived)
        .with_context(|| format!("no runs in {}; `archive` adds some", folder.display()))?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        for figure in plot::history::figures(&history) {
            plot::write(&figure, out)?;
        }
    }
    print(&match args.format {
        OutputFormat::Table => history.to_text(),
        OutputFormat::Csv => history.to_csv(),
        OutputFormat::Json => json(&history)?,
    })
}

/// Says on standard error how a series goes on: standard output is for results.
#[allow(clippy::print_stderr, reason = "progress of several processes, seen between theirs")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Says on standard error what went wrong, and what caused it where that is not said yet.
#[allow(clippy::print_stderr, reason = "the one place that complains")]
fn complain(error: &anyhow::Error) {
    let mut message = format!("error: {error}");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message += &format!("\n  caused by: {cause}");
        }
    }
    eprintln!("{message}");
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
