//! Arguments that several commands share: the data, and the variant of the fit.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use alpha_flops::terminal::remark;
use alpha_flops_analysis::archive::UnreadableRun;
use alpha_flops_analysis::fit::{Fit, Sample, Variant, fit_variant};
use alpha_flops_analysis::import::{self, Imported};
use alpha_flops_analysis::model::{
    Coefficients, FlopConvention, GroupCoefficients, KernelTerm, Objective,
};
use clap::Args;

use crate::values::{flop_conventions, kernel_terms, objectives};
use crate::{Context, Result};

// No doc comment: it would become the help of the command.
#[derive(Args)]
pub struct DataArgs {
    /// Folder of a run, or dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    pub dataset: PathBuf,
    /// Definition of S_K
    #[arg(long, value_parser = kernel_terms())]
    pub s_k: KernelTerm,
    /// How FLOPs are counted, in millions
    #[arg(long, value_parser = flop_conventions())]
    pub flops: FlopConvention,
}

#[derive(Args)]
pub struct VariantArgs {
    /// Residual to minimise (the sum of its squares)
    #[arg(long, value_parser = objectives(), default_value_t)]
    pub objective: Objective,
    /// Also fit a constant time T₀ ≥ 0 (ms): T = T₀ + final · α · FLOPs
    #[arg(long)]
    pub constant: bool,
}

impl DataArgs {
    /// Reads what a fit needs. A file may have millions of rows: they are not kept.
    pub fn sample(&self) -> Result<Sample> {
        let Self { dataset: path, s_k, flops } = self;
        if path.is_file() {
            let sample = Sample::read(path, *s_k, *flops)?;
            say_ignored(path, &sample.ignored_columns);
            return Ok(sample);
        }
        let Imported { dataset, .. } = load(path)?;
        Sample::from_dataset(&dataset, *s_k, *flops)
            .with_context(|| format!("cannot fit {}", path.display()))
    }

    pub fn fit(
        &self,
        sample: &Sample,
        variant: &VariantArgs,
        start: GroupCoefficients,
    ) -> Result<Fit> {
        let &VariantArgs { objective, constant } = variant;
        fit_variant(sample, Variant { objective, constant }, start)
            .with_context(|| format!("cannot fit {}", self.dataset.display()))
    }
}

/// Reads a run, a sweep or a dataset, and says which columns of it were ignored.
pub fn load(path: &Path) -> Result<Imported> {
    let imported = import::load(path)?;
    say_ignored(path, &imported.ignored_columns);
    Ok(imported)
}

fn say_ignored(path: &Path, columns: &[String]) {
    if !columns.is_empty() {
        let names = columns.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        remark(&format!("note: {}: ignored columns that no dataset has: {names}", path.display()));
    }
}

/// The archived runs, or what was made of them, after a warning for each that cannot be read.
pub fn without_unreadable<T>((runs, unreadable): (T, Vec<UnreadableRun>)) -> T {
    unreadable.iter().for_each(|(_, error)| warn_of_unreadable(error));
    runs
}

pub fn warn_of_unreadable(error: impl Display) {
    remark(&format!("warning: a run is left out: {error}"));
}

/// The published coefficients of that name, or those in the file of that name.
pub fn coefficients(name: &str) -> Result<Coefficients> {
    match name {
        "published-t2000" => Ok(Coefficients::published_t2000()),
        "published-rtx4090" => Ok(Coefficients::published_rtx4090()),
        file => Coefficients::read(Path::new(file)).context(
            "--coefficients expects `published-t2000`, `published-rtx4090` or a file written by \
             `fit --out`",
        ),
    }
}
