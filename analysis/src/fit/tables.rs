//! A fit as tables: for people, and with every digit.

use super::{Fit, GroupFit, Variant};
use crate::model::{Coefficients, GroupCoefficients, KernelGroup};
use crate::table::{Column, Table, rounded, with_error};

impl Fit {
    /// A row per group, as precise as the standard errors; correlations and warnings as notes.
    pub fn table(&self) -> Table {
        let constant = self.variant.constant;
        let published = "final · ((S_K + β(S − S_K))/S)^γ · FLOPs";
        let with = if constant { "T₀ + " } else { "" };
        let mut columns = vec![
            Column::text("group", "group"),
            Column::number("n", "n", ""),
            Column::number("beta", "β", ""),
            Column::number("gamma", "γ", ""),
            Column::number("final", "final", "ms/MFLOP"),
        ];
        columns.extend(constant.then(|| Column::number("constant_ms", "T₀", "ms")));
        columns.extend([
            Column::number("rmse_ms", "RMSE", "ms"),
            Column::number("nrmse_range_percent", "NRMSE by range", "%"),
            Column::number("mape_percent", "MAPE", "%"),
        ]);
        let mut table = Table::new(format!("α-FLOPs fitted: T = {with}{published}"), columns);
        for group in KernelGroup::ALL {
            match self.group(group) {
                Some(fit) => {
                    table.push(row(group, fit, constant));
                    if let Some(correlations) = correlations(group, fit) {
                        table.note(correlations);
                    }
                    for warning in &fit.warnings {
                        table.note(format!("{group}: warning: {warning}"));
                    }
                }
                None => table.note(format!("{group}: not fitted, the dataset has none")),
            }
        }
        self.finish(&mut table);
        table
    }

    /// The same with all digits, and standard errors in columns of their own: for CSV.
    pub fn precise_table(&self) -> Table {
        let keys = [
            "n",
            "beta",
            "beta_standard_error",
            "gamma",
            "gamma_standard_error",
            "final",
            "final_standard_error",
            "constant_ms",
            "constant_ms_standard_error",
            "rmse_ms",
            "nrmse_range_percent",
            "mape_percent",
        ];
        let numbers = keys.map(|key| Column::number(key, key, ""));
        let columns = std::iter::once(Column::text("group", "group")).chain(numbers);
        let mut table = Table::new("α-FLOPs fitted", columns);
        for group in KernelGroup::ALL {
            let Some(fit) = self.group(group) else { continue };
            let GroupCoefficients { beta, gamma, final_scale, constant_ms } = fit.estimate;
            let errors = fit.uncertainty.standard_errors;
            let absent = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
            table.push([
                group.to_string(),
                fit.errors.n.to_string(),
                beta.to_string(),
                absent(errors.beta),
                gamma.to_string(),
                absent(errors.gamma),
                final_scale.to_string(),
                absent(errors.final_scale),
                constant_ms.to_string(),
                absent(errors.constant_ms),
                fit.errors.rmse_ms.to_string(),
                absent(fit.errors.nrmse_range_percent),
                fit.errors.mape_percent.to_string(),
            ]);
        }
        self.finish(&mut table);
        table
    }

    /// Provenance and conventions.
    fn finish(&self, table: &mut Table) {
        let Coefficients { s_k, flops, fitted_on, .. } = &self.coefficients;
        if let Some(fitted_on) = fitted_on {
            table.set_provenance(&fitted_on.provenance);
        }
        table.note(format!("S_K = {}, FLOPs = {flops}, in millions", s_k.formula()));
        if self.variant != Variant::PUBLISHED {
            table.note(format!("least squares of {} residuals", self.variant.objective));
        }
        table.note(
            "in-sample: errors are against the data that were fitted; ± is one standard error, \
             deviations from the formula taken as independent",
        );
    }
}

fn row(group: KernelGroup, fit: &GroupFit, constant: bool) -> Vec<String> {
    let errors = fit.uncertainty.standard_errors;
    let errors = [errors.beta, errors.gamma, errors.final_scale, errors.constant_ms];
    let cell = |((parameter, value), error): ((&str, f64), Option<f64>)| match (
        error,
        fit.active_bounds.iter().any(|at| at.parameter == parameter),
    ) {
        (_, true) => format!("{} (at bound)", rounded(value, 5)),
        (Some(error), _) => with_error(value, error),
        (None, _) => rounded(value, 5),
    };
    let mut cells = vec![group.to_string(), fit.errors.n.to_string()];
    let last = constant.then_some(("constant_ms", fit.estimate.constant_ms));
    cells.extend(fit.estimate.named().into_iter().chain(last).zip(errors).map(cell));
    let nrmse = fit.errors.nrmse_range_percent;
    cells.extend([
        format!("{:.4}", fit.errors.rmse_ms),
        nrmse.map_or_else(String::new, |percent| format!("{percent:.2}")),
        format!("{:.2}", fit.errors.mape_percent),
    ]);
    cells
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
