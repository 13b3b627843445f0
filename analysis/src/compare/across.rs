//! Two devices side by side: ratios of their latencies. No verdict: a device is no update, and everything else
//! that differs between two machines is in the ratio, too.

use std::collections::HashMap;

use serde::Serialize;

use super::aligned::{Aligned, Row, rows};
use super::grouping::mean;
use super::{CompareError, NotCompared, Side, not_compared, sides};
use crate::differences::Difference;
use crate::run::{Measurement, Run};

/// Runs on one device against runs on another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Across {
    /// The devices, in the order given; ratios are of the second to the first.
    pub sides: [Side; 2],
    /// What else differs.
    pub differences: Vec<Difference>,
    /// All, each experiment, each series.
    pub groups: Vec<GroupRatio>,
    /// Every configuration measured on both, in the suite's order.
    pub configurations: Vec<ConfigurationRatio>,
    /// The others of any run's plan.
    pub not_compared: Vec<NotCompared>,
}

/// The ratios of a group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupRatio {
    /// The experiment, or `all`.
    pub experiment: String,
    /// The series, where it is one of several.
    pub series: Option<String>,
    /// Configurations in it.
    pub configurations: usize,
    /// The geometric mean of their ratios.
    pub ratio: f64,
    /// The least and the greatest of them.
    pub range: [f64; 2],
}

/// The ratio of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct ConfigurationRatio {
    pub id: String,
    pub experiment: String,
    pub series: String,
    /// Value of the independent variable.
    pub x: f64,
    /// Geometric mean of the runs' medians on each device, in nanoseconds.
    pub median_ns: [f64; 2],
    /// The second to the first.
    pub ratio: f64,
    /// The least and the greatest ratio of a run's median to another's; `None` where each device has one run.
    pub range: Option<[f64; 2]>,
}

/// Puts runs on two devices side by side.
///
/// # Errors
/// [`CompareError`] where launches are damaged, a side mixes environments, both sides are of one device, or their
/// latencies are different quantities.
pub fn across(first: &[Run], second: &[Run], common: bool) -> Result<Across, CompareError> {
    sides::check_across(first, second, common)?;
    for run in first.iter().chain(second).filter(|run| !run.header.configurations.is_empty()) {
        // decoded to be checked: medians in records are to be those of the launches
        run.map_launches(|_, _| ())?;
    }
    let runs: Vec<&Run> = first.iter().chain(second).collect();
    let is_on_both = |row: &Row<'_>| {
        let (first, second) = row.runs.split_at(first.len());
        [first, second].iter().all(|side| side.iter().any(Option::is_some))
    };
    let (compared, not): (Vec<Row<'_>>, _) = rows(&runs).into_iter().partition(is_on_both);
    let not_compared = not_compared(&not, first, second);
    if compared.is_empty() {
        let reason = not_compared.first().map(|n| format!("{}: {}", n.id, n.reason));
        return Err(CompareError::Nothing { reason: reason.unwrap_or_default() });
    }
    let configurations: Vec<ConfigurationRatio> =
        compared.iter().filter_map(|row| ConfigurationRatio::new(row, first.len())).collect();
    let no_locations: [HashMap<_, _>; 0] = [];
    let Aligned { grouping, .. } = Aligned::new(&compared, &runs, &no_locations);
    let group = |group: &super::grouping::Group| {
        let ratios = || group.members.iter().map(|member| configurations[*member].ratio);
        GroupRatio {
            experiment: group.experiment.clone(),
            series: group.series.clone(),
            configurations: group.members.len(),
            ratio: mean(ratios().map(f64::ln)).map_or(f64::NAN, f64::exp),
            range: range(ratios()),
        }
    };
    Ok(Across {
        sides: [first, second].map(Side::new),
        differences: sides::differences(first, second),
        groups: grouping.groups().iter().map(group).collect(),
        configurations,
        not_compared,
    })
}

fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[least, most], value| {
        [least.min(value), most.max(value)]
    })
}

impl ConfigurationRatio {
    fn new(row: &Row<'_>, first: usize) -> Option<Self> {
        let (first, second) = row.runs.split_at(first);
        let [first, second] =
            [first, second].map(|runs| runs.iter().copied().flatten().collect::<Vec<_>>());
        let medians = |side: &[Measurement<'_>]| {
            side.iter().map(|measured| measured.median_ns).collect::<Vec<f64>>()
        };
        let [first_ns, second_ns] = [medians(&first), medians(&second)];
        let typical = |ns: &[f64]| Some(mean(ns.iter().map(|ns| ns.ln()))?.exp());
        let median_ns = [typical(&first_ns)?, typical(&second_ns)?];
        let is_single = first_ns.len() == 1 && second_ns.len() == 1;
        let [of_first, of_second] = [range(first_ns.into_iter()), range(second_ns.into_iter())];
        let observation = first.first()?.observation;
        Some(Self {
            id: row.id.to_owned(),
            experiment: observation.experiment.clone(),
            series: observation.series.clone(),
            x: observation.x,
            median_ns,
            ratio: median_ns[1] / median_ns[0],
            range: (!is_single).then(|| [of_second[0] / of_first[1], of_second[1] / of_first[0]]),
        })
    }
}

impl Across {
    /// The two devices, with their backends.
    pub fn devices(&self) -> [String; 2] {
        self.sides.each_ref().map(|side| side.provenance.place())
    }
}
