//! Which configurations are also tested together: all, those of an experiment, those of a series.

use std::collections::HashMap;

/// By configuration: the logarithm of a run's median latency in ns; `None` if the run has none.
pub type LnMedians = Vec<Option<f64>>;

/// Which configurations belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    names: Vec<String>,
    experiment_of: Vec<usize>,
    groups: Vec<Group>,
}

/// Configurations that are also tested together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The experiment, or `all`.
    pub experiment: String,
    /// The series, where it is one of several.
    pub series: Option<String>,
    /// Indices of its configurations.
    pub members: Vec<usize>,
}

impl Grouping {
    /// Groups configurations by their experiments and series, given in order.
    pub fn new<'a>(places: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut experiment_of = Vec::new();
        let mut index_of: HashMap<(String, Option<String>), usize> = HashMap::new();
        let mut groups: Vec<Group> = Vec::new();
        for (index, (experiment, series)) in places.into_iter().enumerate() {
            let number = names.iter().position(|name| name == experiment).unwrap_or_else(|| {
                names.push(experiment.to_owned());
                names.len() - 1
            });
            experiment_of.push(number);
            for (experiment, series) in
                [("all", None), (experiment, None), (experiment, Some(series.to_owned()))]
            {
                let key = (experiment.to_owned(), series);
                let group = *index_of.entry(key.clone()).or_insert_with(|| {
                    groups.push(Group { experiment: key.0, series: key.1, members: Vec::new() });
                    groups.len() - 1
                });
                groups[group].members.push(index);
            }
        }
        // two groups of the same configurations would be tested twice
        let mut seen: Vec<Vec<usize>> = Vec::new();
        groups.retain(|group| {
            let is_new = group.members.len() > 1 && !seen.contains(&group.members);
            seen.push(group.members.clone());
            is_new
        });
        Self { names, experiment_of, groups }
    }

    /// How many configurations there are.
    pub fn len(&self) -> usize {
        self.experiment_of.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.experiment_of.is_empty()
    }

    /// How many experiments.
    pub fn experiments(&self) -> usize {
        self.names.len()
    }

    /// A configuration's experiment, by number.
    pub fn experiment_of(&self, configuration: usize) -> usize {
        self.experiment_of[configuration]
    }

    /// The groups that are tested, each with at least two configurations.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}
