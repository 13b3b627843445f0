//! The experiments as a table: the configurations that `cargo bench` measures.

use alpha_flops::experiment::{Configuration, Experiment, Resolution};
use serde::Serialize;

use crate::table::Table;

/// One configuration, as listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the other fields say what they are")]
pub struct Listed {
    pub experiment: Experiment,
    /// The line of the figure that it is on.
    pub series: String,
    /// Criterion's benchmark id.
    pub id: String,
    /// Input (and output) rows.
    pub height: usize,
    /// Input (and output) columns.
    pub width: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Multiply–adds of one forward pass.
    pub macs: u64,
}

impl From<&Configuration> for Listed {
    fn from(configuration: &Configuration) -> Self {
        let shape = configuration.shape;
        Self {
            experiment: configuration.experiment,
            series: configuration.series.clone(),
            id: configuration.id(),
            height: shape.height(),
            width: shape.width(),
            in_channels: shape.in_channels(),
            out_channels: shape.out_channels(),
            kernel: shape.kernel(),
            macs: shape.macs().0,
        }
    }
}

/// The configurations of some experiments, in their order.
pub fn list(experiments: &[Experiment], resolution: Resolution) -> Vec<Listed> {
    experiments
        .iter()
        .flat_map(|experiment| experiment.configurations(resolution))
        .map(|configuration| Listed::from(&configuration))
        .collect()
}

/// The list as a table, with each experiment's question below it.
pub fn table(experiments: &[Experiment], resolution: Resolution) -> Table {
    let listed = list(experiments, resolution);
    let title = format!("{} configurations at {resolution} resolution", listed.len());
    let mut table = Table::with_rows(title, &listed)
        .text("experiment", |row| row.experiment)
        .text("series", |row| &row.series)
        .text("id", |row| &row.id)
        .count("height", |row| row.height)
        .count("width", |row| row.width)
        .count("in_channels", |row| row.in_channels)
        .count("out_channels", |row| row.out_channels)
        .count("kernel", |row| row.kernel)
        .count("macs", |row| row.macs)
        .build();
    for experiment in experiments {
        let x = experiment.variable.label;
        table.note(format!("{experiment}, against {x}: {}", experiment.question));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_at_original_resolution_is_as_it_was() {
        insta::assert_snapshot!(table(Experiment::all(), Resolution::Original).to_csv());
    }

    #[test]
    fn the_table_names_each_experiments_question() {
        insta::assert_snapshot!(table(&[Experiment::A], Resolution::Original).to_text());
    }
}
