//! The report on one or several datasets: everything computed first ([`Report`], which is also
//! `report.json`), then formatted (`report.md`), with the figures drawn beside it.

#![allow(missing_docs, reason = "fields whose names say what they are have no docs")]

use std::path::Path;

use alpha_flops::file_error::FileError;
use alpha_flops::files::{create_folder, create_folder_in, remove_temporary_files, write_texts};
use alpha_flops::record::Quiet;
use serde::Serialize;
use thiserror::Error;

use crate::dataset::{Dataset, Provenance};
use crate::fit::Fit;
use crate::fit::intervals::Intervals;
use crate::fit::region::Region;
use crate::import::Imported;
use crate::metrics::{Evaluation, evaluate};
use crate::model::{Coefficients, FlopConvention, GroupCoefficients, KernelTerm};
use crate::objectives::{ArchivedNoise, Objectives, answer};
use crate::plot::figure::Figure;
use crate::plot::paper::{self, Estimate, Target};
use crate::plot::{self, PlotError, region};

mod fitted;
mod markdown;
pub mod noise;
mod summary;
mod variance;

pub use fitted::{Basis, Fitted};
pub use variance::{LaunchSpread, Worst};

/// Version of `report.json`: raised when a field changes its name or meaning.
pub const SCHEMA_VERSION: u32 = 2;

/// One dataset with what is known beside it.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    pub dataset: &'a Dataset,
    /// Coefficients to judge; the first decides RO3 and the residual figures.
    pub coefficients: Vec<CoefficientSet>,
    /// Why the dataset could not be fitted, where that was tried.
    pub not_fitted: Option<String>,
    /// What the run recorded beside its latencies.
    pub extras: Extras,
    /// How archived runs in its environment differ, where its own passes do not tell.
    pub archived_noise: Option<ArchivedNoise>,
}

/// What a run records beside latencies; empty where the source has none.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// The machine and its settings, in the order to be shown.
    pub environment: Vec<(String, String)>,
    pub skipped: Vec<Skipped>,
    /// How quiet the machine was, where that is known.
    pub quiet: Option<Quiet>,
}

/// A configuration that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    pub id: String,
    pub reason: String,
}

/// Coefficients with the statistics of their fit, where they were fitted here.
#[derive(Clone, Debug)]
pub struct CoefficientSet {
    pub coefficients: Coefficients,
    pub fitted: Option<Box<Fitted>>,
}

/// A report: the content of `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub schema_version: u32,
    /// One a dataset, in the order given.
    pub targets: Vec<TargetReport>,
    pub figures: Vec<FigureFiles>,
}

/// What the report says of one dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetReport {
    pub provenance: Provenance,
    /// The machine and its settings, in the record's order.
    pub environment: Vec<Setting>,
    pub configurations: usize,
    pub skipped: Vec<Skipped>,
    /// Every set of coefficients, judged; the first decides RO3.
    pub coefficients: Vec<JudgedCoefficients>,
    /// Why the dataset could not be fitted, where that was tried and failed.
    pub not_fitted: Option<String>,
    /// IQR over median and outliers: over all experiments, then of each; empty where no quartiles
    /// are known.
    pub variance: Vec<LaunchSpread>,
    /// How quiet the machine was, where that was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    pub objectives: Objectives,
}

/// One line of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `os`, `seed`, …
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgedCoefficients {
    /// Who determined them.
    pub source: String,
    /// Whether they were fitted to these very data.
    pub in_sample: bool,
    pub flops: FlopConvention,
    pub s_k: KernelTerm,
    pub k_equal_1: Option<GroupCoefficients>,
    pub k_above_1: Option<GroupCoefficients>,
    /// The content of `fit --format json`, standard errors, correlations, active bounds and
    /// warnings included, where they were fitted here.
    pub fit: Option<Fit>,
    /// 95% intervals of each parameter, where they were fitted here.
    pub intervals: Vec<Intervals>,
    /// Joint 95% regions of β and γ, where they were fitted here.
    pub regions: Vec<Region>,
    /// What they were fitted to, where that was done here and to other data than these.
    pub basis: Option<Basis>,
    /// Errors overall, per experiment and per series; `None` with `not_evaluated` set where nothing
    /// can be compared.
    pub evaluation: Option<Evaluation>,
    pub not_evaluated: Option<String>,
}

/// One figure on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FigureFiles {
    pub title: String,
    /// Whose measurements it shows: indices into [`Report::targets`].
    pub targets: Vec<usize>,
    /// Path relative to the report.
    pub svg: String,
    /// Path relative to the report.
    pub png: String,
}

#[derive(Debug, Error)]
pub enum ReportError {
    #[error("nothing to report: no dataset was given")]
    NoDataset,
    #[error(
        "{stand_in}: its times are not measurements and are not shown beside those of {measured}; \
         report each separately"
    )]
    StandIn { stand_in: String, measured: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Plot(#[from] PlotError),
    #[error("cannot express the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl<'a> Input<'a> {
    pub fn new(dataset: &'a Dataset) -> Self {
        Self {
            dataset,
            coefficients: Vec::new(),
            not_fitted: None,
            extras: Extras::default(),
            archived_noise: None,
        }
    }

    pub fn from_import(imported: &'a Imported) -> Self {
        let rejected = imported.rejected.iter().map(|r| (&r.id, &r.reason));
        let not_measured = imported.not_measured.iter().map(|n| (&n.id, &n.reason));
        let skipped = not_measured
            .chain(rejected)
            .map(|(id, reason)| Skipped { id: id.clone(), reason: reason.clone() })
            .collect();
        let (environment, quiet) = (imported.environment.clone(), imported.quiet.clone());
        let extras = Extras { environment, skipped, quiet };
        Self { extras, ..Self::new(&imported.dataset) }
    }

    /// Adds coefficients fitted to the dataset itself or, where that is impossible, the reason: a
    /// report without a fit still has measurements to show.
    pub fn fit_in_sample(&mut self, s_k: KernelTerm, flops: FlopConvention) {
        match Fitted::to(self.dataset, s_k, flops) {
            Ok(fitted) => self.coefficients.push(fitted.into()),
            Err(error) => self.add_reason(error.to_string()),
        }
    }

    /// The same with coefficients fitted to `other` data.
    pub fn fit_to(&mut self, other: &Imported, s_k: KernelTerm, flops: FlopConvention) {
        match Fitted::to(&other.dataset, s_k, flops) {
            Ok(fitted) => {
                let basis = Some(Basis::new(other, self.dataset));
                self.coefficients.push(Fitted { basis, ..fitted }.into());
            }
            Err(error) => self.add_reason(format!("{}: {error}", other.dataset.provenance.source)),
        }
    }

    fn add_reason(&mut self, reason: String) {
        let before = self.not_fitted.take().map_or_else(String::new, |before| before + "; ");
        self.not_fitted = Some(before + &reason);
    }
}

struct FigureSet {
    /// Relative to the report.
    directory: String,
    targets: Vec<usize>,
    figures: Vec<Figure>,
}

/// Writes `report.md`, `report.json` and `figures/` into a directory, which is created.
///
/// Files are replaced one by one, each wholly or not at all; the two reports come last, so that
/// they never name a figure that is not there. Figures of an earlier report that this one lacks
/// stay; no report names them. Equal input gives equal files.
///
/// # Errors
/// [`ReportError`] where there is no dataset, measurements are mixed with a stand-in's times, or
/// something cannot be drawn or written.
pub fn write(inputs: &[Input<'_>], directory: &Path) -> Result<Report, ReportError> {
    if inputs.is_empty() {
        return Err(ReportError::NoDataset);
    }
    check_not_mixed(inputs)?;
    let sets = figure_sets(inputs);
    create_folder(directory)?;
    remove_temporary_files(directory)?;
    for set in &sets {
        let figures = create_folder_in(directory, &set.directory)?;
        remove_temporary_files(&figures)?;
        plot::write(&set.figures, &figures)?;
    }
    let report = report(inputs, &sets);
    let json = serde_json::to_string_pretty(&report)? + "\n";
    let texts = [("report.json", json), ("report.md", report.to_markdown())];
    write_texts(directory, &texts)?;
    Ok(report)
}

/// Nothing that a stand-in computed stands beside measurements.
fn check_not_mixed(inputs: &[Input<'_>]) -> Result<(), ReportError> {
    let mut provenances = inputs.iter().map(|input| &input.dataset.provenance);
    let stand_in = provenances.clone().find(|p| p.is_stand_in());
    match (stand_in, provenances.find(|p| !p.is_stand_in())) {
        (Some(stand_in), Some(measured)) => Err(ReportError::StandIn {
            stand_in: format!("{} is {}", stand_in.source, stand_in.device),
            measured: measured.source.clone(),
        }),
        _ => Ok(()),
    }
}

/// Computes the report without drawing or writing anything.
pub fn compute(inputs: &[Input<'_>]) -> Report {
    report(inputs, &figure_sets(inputs))
}

/// The figures that show all the inputs' latencies together, side by side where there are several.
pub fn figures(inputs: &[Input<'_>]) -> Vec<Figure> {
    paper::figures(&inputs.iter().map(target).collect::<Vec<_>>())
}

fn region_figures(input: &Input<'_>) -> Vec<Figure> {
    let figures = input.coefficients.iter().flat_map(|set| {
        let Some(fitted) = &set.fitted else { return Vec::new() };
        let provenance = set.coefficients.fitted_on.as_ref().map(|fitted| &fitted.provenance);
        let name = if fitted.basis.is_some() { "sweep" } else { "in-sample" };
        let origin = set.origin(input.dataset);
        provenance.map(|p| region::figures(&fitted.regions, p, name, &origin)).unwrap_or_default()
    });
    figures.collect()
}

fn report(inputs: &[Input<'_>], sets: &[FigureSet]) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        targets: inputs.iter().map(target_report).collect(),
        figures: sets.iter().flat_map(FigureSet::files).collect(),
    }
}

/// The figures of each target and, of several, those that show them side by side.
fn figure_sets(inputs: &[Input<'_>]) -> Vec<FigureSet> {
    let targets: Vec<Target<'_>> = inputs.iter().map(target).collect();
    if let [_] = targets.as_slice() {
        let directory = "figures".to_owned();
        let mut figures = paper::figures(&targets);
        figures.extend(inputs.iter().flat_map(region_figures));
        return vec![FigureSet { directory, targets: vec![0], figures }];
    }
    let mut sets = vec![FigureSet {
        directory: "figures/side-by-side".to_owned(),
        targets: (0..targets.len()).collect(),
        figures: paper::figures(&targets),
    }];
    sets.extend(targets.iter().zip(inputs).enumerate().map(|(index, (target, input))| {
        let mut figures = paper::figures(std::slice::from_ref(target));
        figures.extend(region_figures(input));
        let directory = format!("figures/target-{}", index + 1);
        FigureSet { directory, targets: vec![index], figures }
    }));
    sets
}

impl FigureSet {
    fn files(&self) -> impl Iterator<Item = FigureFiles> {
        self.figures.iter().map(|figure| FigureFiles {
            title: figure.title.clone(),
            targets: self.targets.clone(),
            svg: format!("{}/{}.svg", self.directory, figure.name),
            png: format!("{}/{}.png", self.directory, figure.name),
        })
    }
}

fn target<'a>(input: &Input<'a>) -> Target<'a> {
    let estimates = input.coefficients.iter().map(|set| {
        let coefficients = &set.coefficients;
        let observations = input.dataset.observations.iter();
        // a configuration without an estimate is no point of the dashed line
        let estimate = |shape| coefficients.predict(shape).map_or(f64::NAN, |time| time.as_ms());
        Estimate {
            name: format!("α-FLOPs, {}", set.origin(input.dataset)),
            milliseconds: observations.map(|o| estimate(&o.shape)).collect(),
        }
    });
    Target { dataset: input.dataset, estimates: estimates.collect() }
}

fn target_report(input: &Input<'_>) -> TargetReport {
    let first = input.coefficients.first();
    let bootstrap = first.and_then(|set| Some(&set.fitted.as_ref()?.bootstrap));
    TargetReport {
        provenance: input.dataset.provenance.clone(),
        environment: input.extras.environment.iter().map(Setting::from).collect(),
        configurations: input.dataset.observations.len(),
        skipped: input.extras.skipped.clone(),
        coefficients: input.coefficients.iter().map(|set| judged(set, input.dataset)).collect(),
        not_fitted: input.not_fitted.clone(),
        variance: LaunchSpread::by_experiment(input.dataset),
        quiet: input.extras.quiet.clone(),
        objectives: answer(
            input.dataset,
            input.archived_noise.as_ref(),
            first.map(|set| &set.coefficients),
            bootstrap,
        )
        .unless_disturbed(input.extras.quiet.as_ref(), &input.dataset.provenance),
    }
}

fn judged(set: &CoefficientSet, dataset: &Dataset) -> JudgedCoefficients {
    let coefficients = &set.coefficients;
    let (evaluation, not_evaluated) = match evaluate(dataset, coefficients) {
        Ok(evaluation) => (Some(evaluation), None),
        Err(error) => (None, Some(error.to_string())),
    };
    JudgedCoefficients {
        source: coefficients.source.clone(),
        in_sample: coefficients.is_in_sample(&dataset.provenance),
        flops: coefficients.flops,
        s_k: coefficients.s_k,
        k_equal_1: coefficients.k_equal_1,
        k_above_1: coefficients.k_above_1,
        fit: set.fitted.as_ref().map(|fitted| fitted.fit.clone()),
        intervals: set.fitted.as_ref().map_or_else(Vec::new, |fitted| fitted.intervals.clone()),
        regions: set.fitted.as_ref().map_or_else(Vec::new, |fitted| fitted.regions.clone()),
        basis: set.fitted.as_ref().and_then(|fitted| fitted.basis.clone()),
        evaluation,
        not_evaluated,
    }
}

impl From<&(String, String)> for Setting {
    fn from((name, value): &(String, String)) -> Self {
        Self { name: name.clone(), value: value.clone() }
    }
}

impl From<Coefficients> for CoefficientSet {
    /// Coefficients that were not fitted here.
    fn from(coefficients: Coefficients) -> Self {
        Self { coefficients, fitted: None }
    }
}

impl From<Fitted> for CoefficientSet {
    fn from(fitted: Fitted) -> Self {
        Self { coefficients: fitted.fit.coefficients.clone(), fitted: Some(Box::new(fitted)) }
    }
}

impl CoefficientSet {
    /// Where they come from, for legends beside the latencies of `judged`.
    fn origin(&self, judged: &Dataset) -> String {
        let basis = self.fitted.as_ref().and_then(|fitted| fitted.basis.as_ref());
        match basis {
            _ if self.coefficients.is_in_sample(&judged.provenance) => {
                "fitted to these data (in-sample)".to_owned()
            }
            Some(basis) => format!("fitted to {} other configurations", basis.configurations),
            None => self.coefficients.source.clone(),
        }
    }
}
