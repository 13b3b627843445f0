use std::path::{Path, PathBuf};

use alpha_flops::backend::BackendSettings;
use alpha_flops::backend::cudnn::{self, DEVICES, Math};
use alpha_flops::experiment::{Configuration, Experiment, Resolution};
use alpha_flops::files;
use alpha_flops::plans::{Asked, Planner};
use alpha_flops::settings::Requested;
use alpha_flops::terminal::remark;
use alpha_flops_analysis::plans::{self, PlanRow, compare, filter_for};
use clap::{Args, Subcommand};
use regex::Regex;

use crate::output::{Format, formats, print, print_table};
use crate::{Context, Exit, Result, progress};

/// Write down what cuDNN would run for each configuration, without launching anything
///
/// Of each configuration's plans the first is kept that cuDNN finalises, as a measurement takes it: engine,
/// knobs, workspace and what its arithmetic is like. With --device, the GPU need not be there: cuDNN is
/// told its properties. Without it, the GPU at hand is asked and, where one of its compute capability is
/// described here, how its plans differ from those for the described one.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct PlansArgs {
    #[command(subcommand)]
    command: Option<PlansCommand>,
    /// A described device (t4, a100, rtx3090, rtx4090, h100, b200, rtx5090), or a JSON file of properties
    /// as cuDNN writes them [default: the device at hand]
    #[arg(long, value_name = "NAME|FILE")]
    device: Option<String>,
    /// cuDNN's library, or the folder that it is in [default: searched for, see `doctor`]
    #[arg(long, value_name = "PATH", requires = "device")]
    cudnn: Option<PathBuf>,
    /// `tf32` or `fp32`
    #[arg(long, default_value = "tf32")]
    math: Math,
    /// `original` (591 configurations) or `full` (9,105, as in the replication)
    #[arg(long, default_value = "full")]
    resolution: Resolution,
    /// Only configurations whose id matches this regular expression, such as '^D/'
    #[arg(long, value_name = "REGEX")]
    filter: Option<Regex>,
    /// File to write, .csv or .parquet
    #[arg(long, value_name = "FILE", required = true)]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum PlansCommand {
    Compare(PlansCompareArgs),
    Switches(PlansSwitchesArgs),
}

/// Compare two files of plans: what changes with a newer cuDNN, another device or arithmetic
#[derive(Args)]
struct PlansCompareArgs {
    /// File that `plans` wrote
    before: PathBuf,
    /// Another one
    after: PathBuf,
    /// List the configurations that changed, with both plans, instead of counting them
    #[arg(long)]
    list: bool,
    /// Print a filter for `bench` and `replicate` that chooses the configurations that changed, and nothing
    /// else
    #[arg(long, conflicts_with_all = ["list", "format"])]
    filter: bool,
    /// Output format
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
}

/// List where along each line the plan is another than for the value before
///
/// In the order of the experiments: x, what changes there (engine, knobs or only the workspace), and both
/// plans.
#[derive(Args)]
struct PlansSwitchesArgs {
    /// File that `plans` wrote
    file: PathBuf,
    /// What the plans are where the replication reports steps of D and E (on an RTX 4090), instead
    #[arg(long)]
    reported: bool,
    /// Output format
    #[arg(long, value_parser = formats(Format::TABULAR), default_value = "table")]
    format: Format,
}

pub fn run(args: &PlansArgs) -> Result<Exit> {
    match &args.command {
        Some(PlansCommand::Compare(args)) => return run_compare(args),
        Some(PlansCommand::Switches(args)) => return run_switches(args),
        None => {}
    }
    let out = args.out.as_ref().context("--out is required")?;
    plans::check_name(out)?;
    let configurations = configurations(args)?;
    let planner = match &args.device {
        Some(device) => described(device, args.cudnn.as_deref(), args.math)?,
        None => Planner::at_hand(device_at_hand()?, args.math)?,
    };
    let rows = planned(&planner, configurations.clone());
    let summary = summary(&planner, &rows, out);
    plans::write(out, rows.clone())?;
    if args.device.is_none() {
        remark(&how_the_described_differs(&planner, configurations, &rows));
    }
    print(&summary)
}

fn configurations(args: &PlansArgs) -> Result<Vec<Configuration>> {
    let all = Experiment::all().iter().flat_map(|e| e.configurations(args.resolution));
    let chosen: Vec<_> = match &args.filter {
        Some(filter) => all.filter(|configuration| filter.is_match(&configuration.id())).collect(),
        None => all.collect(),
    };
    match chosen.is_empty() {
        true => anyhow::bail!("no configuration passes the filter"),
        false => Ok(chosen),
    }
}

fn described(device: &str, cudnn: Option<&Path>, math: Math) -> Result<Planner> {
    if let Some((name, json)) = DEVICES.iter().find(|(name, _)| *name == device) {
        return Ok(Planner::described(name, json, cudnn, math)?);
    }
    let names = DEVICES.map(|(name, _)| name).join(", ");
    let json = files::read(Path::new(device))
        .with_context(|| format!("{device}: neither a described device ({names}) nor a file"))?;
    let json = String::from_utf8(json).with_context(|| format!("cannot read {device}"))?;
    Ok(Planner::described(device, &json, cudnn, math)?)
}

/// Which one the settings ask for.
fn device_at_hand() -> Result<u32> {
    match Requested::from_workspace()?.settings(&cudnn::KIND)?.backend {
        BackendSettings::Cudnn(options) => Ok(options.device),
        BackendSettings::Cpu(_) => Ok(0),
    }
}

fn planned(planner: &Planner, configurations: Vec<Configuration>) -> Vec<PlanRow> {
    let of = configurations.len() as u64;
    let planned = progress::of(|progress| planner.plans(configurations, |done| progress(done, of)));
    plans::rows(planner.origin(), &planned)
}

fn summary(planner: &Planner, rows: &[PlanRow], out: &Path) -> String {
    let origin = planner.origin();
    let without = rows.iter().filter(|row| row.engine.is_none()).count();
    format!(
        "{}: plans of {} configurations on {} ({}, compute capability {}), cuDNN {} for CUDA {}, {}; \
         {without} without a plan\n",
        out.display(),
        rows.len(),
        origin.device,
        match origin.asked {
            Asked::Properties => "described, not there",
            Asked::Device => "at hand",
        },
        origin.compute_capability,
        origin.cudnn,
        origin.cudnn_cuda,
        origin.math,
    )
}

fn how_the_described_differs(
    planner: &Planner,
    configurations: Vec<Configuration>,
    rows: &[PlanRow],
) -> String {
    match planner.like_described() {
        Ok(Some((name, described))) => {
            let comparison = compare(&planned(&described, configurations), rows);
            let (changed, all) = (comparison.changed().count(), rows.len());
            format!("{changed} of {all} plans differ from those for the described {name}")
        }
        Ok(None) => "no described device has this compute capability to compare with".to_owned(),
        Err(error) => format!("not compared with a described device: {error}"),
    }
}

fn run_compare(args: &PlansCompareArgs) -> Result<Exit> {
    let comparison = compare(&plans::read(&args.before)?, &plans::read(&args.after)?);
    if comparison.configurations.is_empty() {
        anyhow::bail!(
            "{} and {} have no configuration in common",
            args.before.display(),
            args.after.display()
        );
    }
    if args.filter {
        return print(&(filter_for(comparison.changed().map(|one| one.id.as_str())) + "\n"));
    }
    let table = if args.list { comparison.list() } else { comparison.counts() };
    print_table(args.format, &table, &comparison)
}

fn run_switches(args: &PlansSwitchesArgs) -> Result<Exit> {
    let rows = plans::read(&args.file)?;
    if args.reported {
        let reported = plans::at_reported(&rows);
        return print_table(args.format, &plans::reported_table(&reported), &reported);
    }
    let switches = plans::switches(&rows);
    print_table(args.format, &plans::switches_table(&switches), &switches)
}
