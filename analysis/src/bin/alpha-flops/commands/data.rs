//! What several commands take: the data and the fit.

use std::path::{Path, PathBuf};

use alpha_flops_analysis::fit::{Fit, Sample, Variant, fit_variant};
use alpha_flops_analysis::import::criterion::Imported;
use alpha_flops_analysis::import::load;
use alpha_flops_analysis::model::{
    Coefficients, FlopConvention, GroupCoefficients, KernelTerm, Objective,
};
use clap::Args;

use crate::values::{flop_conventions, kernel_terms, objectives};
use crate::{Context, Result};

// What is fitted, and by which conventions. No doc comment: it would become that of the command.
#[derive(Args)]
pub struct DataArgs {
    /// A run's folder, or a dataset (.csv or .parquet)
    #[arg(value_name = "RUN|DATASET")]
    pub dataset: PathBuf,
    /// How S_K is computed
    #[arg(long, value_parser = kernel_terms())]
    pub s_k: KernelTerm,
    /// How FLOPs, in millions, are counted
    #[arg(long, value_parser = flop_conventions())]
    pub flops: FlopConvention,
}

// Which fit.
#[derive(Args)]
pub struct VariantArgs {
    /// What the fit makes small
    #[arg(long, value_parser = objectives(), default_value_t)]
    pub objective: Objective,
    /// Also fit T₀ ≥ 0 (ms), a time that every convolution takes: T = T₀ + final · α · FLOPs
    #[arg(long)]
    pub constant: bool,
}

impl DataArgs {
    /// Of a Parquet dataset, which may have millions of rows, only the columns that a fit needs.
    pub fn sample(&self) -> Result<Sample> {
        let Self { dataset: path, s_k, flops } = self;
        if path.extension().is_some_and(|extension| extension == "parquet") && path.is_file() {
            return Ok(Sample::read_parquet(path, *s_k, *flops)?);
        }
        let Imported { dataset, .. } = load(path)?;
        Sample::of(&dataset, *s_k, *flops).with_context(|| format!("cannot fit {}", path.display()))
    }

    /// The variant of the fit that is asked for.
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

/// Published coefficients by name, or those of a file.
pub fn coefficients(name: &str) -> Result<Coefficients> {
    match name {
        "published-t2000" => Ok(Coefficients::published_t2000()),
        "published-rtx4090" => Ok(Coefficients::published_rtx4090()),
        file => Coefficients::read(Path::new(file)).context(
            "--coefficients takes `published-t2000`, `published-rtx4090` or a coefficients file",
        ),
    }
}
