//! Parsers for the values of arguments.

use std::time::Duration;

use alpha_flops_analysis::model::{FlopConvention, GroupCoefficients, KernelTerm, Objective};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A time budget; `None` is unlimited. (An alias, because clap takes a plain `Option` for an optional
/// argument.)
pub type Budget = Option<Duration>;

/// A parser for one of `values`, each with its help text.
pub fn choice<T, const N: usize>(
    name: fn(T) -> &'static str,
    values: [(T, &'static str); N],
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let possible = values.map(|(value, help)| PossibleValue::new(name(value)).help(help));
    PossibleValuesParser::new(possible).try_map(move |chosen| {
        let found = values.iter().find(|(value, _)| name(*value) == chosen);
        found.map(|(value, _)| *value).ok_or("not one of the possible values")
    })
}

pub fn kernel_terms() -> impl TypedValueParser<Value = KernelTerm> {
    choice(
        KernelTerm::name,
        [
            (
                KernelTerm::Area,
                "`S_K = ln(K·K) + 1`, from the kernel's area, as in the original study",
            ),
            (KernelTerm::Side, "`S_K = ln(K) + 1`, from the kernel's side, as in the replication"),
        ],
    )
}

pub fn flop_conventions() -> impl TypedValueParser<Value = FlopConvention> {
    choice(
        FlopConvention::name,
        [
            (
                FlopConvention::Macs,
                "One per multiply–add: `H·W·K²·C_in·C_out / 10⁶`, as in both studies' code",
            ),
            (
                FlopConvention::TwoPerMac,
                "Two per multiply–add: `2·H·W·K²·C_in·C_out / 10⁶`, as stated in the paper",
            ),
        ],
    )
}

pub fn objectives() -> impl TypedValueParser<Value = Objective> {
    choice(
        Objective::name,
        [
            (
                Objective::Absolute,
                "Error in milliseconds, `T̂ − T`, as in both studies; long convolutions dominate",
            ),
            (
                Objective::Relative,
                "Relative error, `T̂/T − 1`; penalises estimates that are too low less",
            ),
            (Objective::Log, "Logarithmic error, `ln T̂ − ln T`; half and double are equally wrong"),
        ],
    )
}

/// `0.01,0.8,0.3`.
pub fn parse_start(text: &str) -> Result<GroupCoefficients, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[beta, gamma, final_scale]) => {
            Ok(GroupCoefficients { beta, gamma, final_scale, constant_ms: 0.0 })
        }
        _ => Err("expected three numbers, e.g. 0.01,0.8,0.3".into()),
    }
}

/// `2%`, as 0.02.
pub fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if percent > 0.0 && percent < 100.0 => Ok(percent / 100.0),
        _ => Err("expected more than 0% and less than 100%, e.g. 2%".into()),
    }
}
