//! A fit as tables: for people, and with every digit.

use super::uncertainty::StandardErrors;
use super::{Fit, GroupFit, Variant};
use crate::model::{Coefficients, GroupCoefficients, KernelGroup};
use crate::table::{Digits, Table, rounded, with_error};

impl Fit {
    /// A row per group, as precise as the standard errors; correlations and warnings as notes.
    pub fn table(&self) -> Table {
        let constant = self.variant.constant;
        let published = "final · ((S_K + β(S − S_K))/S)^γ · FLOPs";
        let with = if constant { "T₀ + " } else { "" };
        let title = format!("α-FLOPs fitted: T = {with}{published}");
        let groups = self.fitted_groups();
        let mut columns = Table::with_rows(title, &groups)
            .text("group", |row| row.group)
            .count("n", |row| row.fit.errors.n)
            .written("β", |row| row.estimate("beta", row.parameters.beta, row.errors.beta))
            .written("γ", |row| row.estimate("gamma", row.parameters.gamma, row.errors.gamma))
            .written("final (ms/MFLOP)", |row| {
                row.estimate("final", row.parameters.final_scale, row.errors.final_scale)
            });
        if constant {
            columns = columns.written("T₀ (ms)", |row| {
                row.estimate("constant_ms", row.parameters.constant_ms, row.errors.constant_ms)
            });
        }
        let mut table = columns
            .number("RMSE (ms)", Digits::Decimals(4), |row| row.fit.errors.rmse_ms)
            .number("NRMSE by range (%)", Digits::Decimals(2), |row| {
                row.fit.errors.nrmse_range_percent
            })
            .number("MAPE (%)", Digits::Decimals(2), |row| row.fit.errors.mape_percent)
            .build();
        for group in KernelGroup::ALL {
            let Some(fit) = self.group(group) else {
                table.note(format!("{group}: not fitted, the dataset has no such configurations"));
                continue;
            };
            if let Some(correlations) = correlations(group, fit) {
                table.note(correlations);
            }
            for warning in &fit.warnings {
                table.note(format!("{group}: warning: {warning}"));
            }
        }
        self.finished(table)
    }

    /// The same with all digits, and standard errors in columns of their own: for CSV.
    pub fn precise_table(&self) -> Table {
        let groups = self.fitted_groups();
        let table = Table::with_rows("α-FLOPs fitted", &groups)
            .text("group", |row| row.group)
            .count("n", |row| row.fit.errors.n)
            .number("beta", Digits::Exact, |row| row.parameters.beta)
            .number("beta_standard_error", Digits::Exact, |row| row.errors.beta)
            .number("gamma", Digits::Exact, |row| row.parameters.gamma)
            .number("gamma_standard_error", Digits::Exact, |row| row.errors.gamma)
            .number("final", Digits::Exact, |row| row.parameters.final_scale)
            .number("final_standard_error", Digits::Exact, |row| row.errors.final_scale)
            .number("constant_ms", Digits::Exact, |row| row.parameters.constant_ms)
            .number("constant_ms_standard_error", Digits::Exact, |row| row.errors.constant_ms)
            .number("rmse_ms", Digits::Exact, |row| row.fit.errors.rmse_ms)
            .number("nrmse_range_percent", Digits::Exact, |row| row.fit.errors.nrmse_range_percent)
            .number("mape_percent", Digits::Exact, |row| row.fit.errors.mape_percent)
            .build();
        self.finished(table)
    }

    fn fitted_groups(&self) -> Vec<Row<'_>> {
        let row = |group| {
            let fit = self.group(group)?;
            let errors = fit.uncertainty.standard_errors;
            Some(Row { group, fit, parameters: fit.estimate, errors })
        };
        KernelGroup::ALL.into_iter().filter_map(row).collect()
    }

    /// With provenance and conventions.
    fn finished(&self, mut table: Table) -> Table {
        let Coefficients { s_k, flops, fitted_on, .. } = &self.coefficients;
        if let Some(fitted_on) = fitted_on {
            table = table.with_provenance(&fitted_on.provenance);
        }
        table.note(format!("S_K = {}, FLOPs = {flops}, in millions", s_k.formula()));
        if self.variant != Variant::PUBLISHED {
            table.note(format!("least squares of {} residuals", self.variant.objective));
        }
        table.note(
            "in-sample: errors are against the fitted data; ± is one standard error, assuming \
             independent deviations from the formula",
        );
        table
    }
}

struct Row<'a> {
    group: KernelGroup,
    fit: &'a GroupFit,
    parameters: GroupCoefficients,
    errors: StandardErrors,
}

impl Row<'_> {
    /// A parameter as precise as its standard error, or at which bound it is.
    fn estimate(&self, parameter: &str, value: f64, error: Option<f64>) -> String {
        let at_bound = self.fit.active_bounds.iter().any(|at| at.parameter == parameter);
        match error {
            _ if at_bound => format!("{} (at bound)", rounded(value, 5)),
            Some(error) => with_error(value, error),
            None => rounded(value, 5),
        }
    }
}

/// The correlations that are known, if any.
fn correlations(group: KernelGroup, fit: &GroupFit) -> Option<String> {
    let pairs = [("β–γ", 0, 1), ("β–final", 0, 2), ("γ–final", 1, 2)];
    let known = pairs.into_iter().filter_map(|(name, i, j)| {
        Some(format!("{name} {:+.4}", fit.uncertainty.correlation[i][j]?))
    });
    let known: Vec<String> = known.collect();
    (!known.is_empty()).then(|| format!("{group}: correlations {}", known.join(", ")))
}
