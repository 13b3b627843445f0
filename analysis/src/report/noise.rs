//! How noisy a dataset's latencies are, from archived runs that were measured as it was.

use std::path::PathBuf;

use alpha_flops::workspace;

use super::Input;
use crate::archive::{self, ArchiveError, UnreadableRun};
use crate::compare::aligned::{Aligned, rows};
use crate::compare::grouping::LnMedians;
use crate::compare::run_variances::RunVariances;
use crate::compare::sides;
use crate::dataset::{Dataset, Provenance};
use crate::objectives::{ArchivedNoise, noise_is_known_from_passes};
use crate::run::Run;

impl Input<'_> {
    /// Takes noise from the archived runs of the device, or of a folder. Those of a dataset whose passes tell
    /// how noisy it is are not looked for: it needs none.
    ///
    /// # Errors
    /// [`ArchiveError`] where the folder cannot be read. Single runs that cannot are left out, and returned.
    pub fn find_noise(
        &mut self,
        folder: Option<PathBuf>,
    ) -> Result<Vec<UnreadableRun>, ArchiveError> {
        let Provenance { backend, device, .. } = &self.dataset.provenance;
        let own =
            || Some(workspace::archive()?.join(archive::slug(&format!("{backend} {device}"))));
        let folder = folder.or_else(|| own().filter(|own| own.is_dir()));
        if let (Some(folder), false) = (folder, noise_is_known_from_passes(self.dataset)) {
            let (runs, unreadable) = archive::read(&folder)?;
            self.archived_noise = of_runs(runs, self.dataset);
            return Ok(unreadable);
        }
        Ok(Vec::new())
    }
}

/// How runs differ within groups of one environment, of those runs that were measured as a dataset was: by the
/// same versions on the same device, with the same protocol. `None` where no two runs are of one group.
pub fn of_runs(runs: Vec<Run>, dataset: &Dataset) -> Option<ArchivedNoise> {
    let origin =
        |provenance: &Provenance| Provenance { source: String::new(), ..provenance.clone() };
    let own = origin(&dataset.provenance);
    let alike = runs.into_iter().filter(|run| origin(&run.dataset.provenance) == own);
    let groups = sides::by_environment(alike);
    let runs: Vec<&Run> = groups.iter().flatten().collect();
    let rows: Vec<_> =
        rows(&runs).into_iter().filter(|row| row.runs.iter().any(Option::is_some)).collect();
    let Aligned { grouping, ln_medians, floors, .. } = Aligned::new(&rows, &runs, &[]);
    let mut of_groups: Vec<(&[LnMedians], Vec<f64>)> = Vec::new();
    let mut rest = ln_medians.as_slice();
    for group in &groups {
        let (own, others) = rest.split_at(group.len());
        of_groups.push((own, vec![1.0; own.len()]));
        rest = others;
    }
    let variances = RunVariances::estimate(&of_groups, &grouping, &floors, None)?;
    let ids = rows.iter().map(|row| row.id.to_owned());
    Some(ArchivedNoise { runs: runs.len(), variances: ids.zip(variances.own).collect() })
}

#[cfg(test)]
mod tests {
    use alpha_flops::experiment::Resolution;

    use super::*;
    use crate::dataset::{Latency, Observation};
    use crate::fixtures::random::Random;
    use crate::run;
    use crate::simulate::{Simulation, Truth, base_ns};

    /// Runs that differ by 10% together, and by 2% each configuration by itself.
    fn runs(n: u64) -> Vec<Run> {
        let truth = Truth { resolution: Resolution::Original, ..Truth::default() };
        let simulation = Simulation::new(truth);
        let mut random = Random::new(3);
        let mut run = |number| {
            let header = simulation.header(number);
            let shared = 0.1 * random.normal();
            let observation = |configuration: &alpha_flops::experiment::Configuration| {
                let ns = base_ns(configuration) * (shared + 0.02 * random.normal()).exp();
                Observation {
                    experiment: configuration.experiment.to_string(),
                    series: configuration.series.clone(),
                    x: f64::from(configuration.x),
                    shape: configuration.shape,
                    latency: Latency { median_ns: Some(ns), ..Latency::default() },
                    algorithm: None,
                }
            };
            let observations = simulation.configurations().iter().map(observation).collect();
            let dataset = Dataset { provenance: run::provenance(&header), observations };
            Run { path: PathBuf::new(), header, dataset, missing: Vec::new() }
        };
        (0..n).map(&mut run).collect()
    }

    #[test]
    fn noise_of_archived_runs_is_what_configurations_do_not_share_in_one_environment() {
        let mut archived = runs(12);
        let dataset = archived[0].dataset.clone();
        // another environment, where everything takes twice as long, and one with another protocol
        for run in &mut archived[6..] {
            run.header.plan.platform.git_commit = "0123456".into();
            for observation in &mut run.dataset.observations {
                observation.latency.median_ns = observation.latency.median_ns.map(|ns| 2.0 * ns);
            }
        }
        archived[11].dataset.provenance.protocol = "another".to_owned();
        let noise = of_runs(archived.clone(), &dataset).unwrap();
        assert_eq!((noise.runs, noise.variances.len()), (11, 591));
        let mean = noise.variances.values().map(|v| v.value).sum::<f64>() / 591.0;
        // 9 degrees of freedom each: known to 2%
        assert!((mean.sqrt() - 0.02).abs() < 0.001, "{mean}");
        archived.truncate(1);
        assert_eq!(of_runs(archived, &dataset), None);
    }

    #[test]
    fn archived_runs_are_asked_only_where_a_dataset_has_no_passes() {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = runs(1).remove(0).dataset;
        let nowhere = Some(folder.path().join("missing"));
        assert!(Input::new(&dataset).find_noise(nowhere.clone()).is_err());
        let here = || Some(folder.path().to_owned());
        assert!(Input::new(&dataset).find_noise(here()).unwrap().is_empty());
        std::fs::write(folder.path().join("2026-01-31t12-00-00z-5eed.csv"), "cut").unwrap();
        assert_eq!(Input::new(&dataset).find_noise(here()).unwrap().len(), 1);
        let mut has_passes = |configurations| {
            for observation in dataset.observations.iter_mut().take(configurations) {
                observation.latency.passes = Some(5);
                observation.latency.between_pass_sd = Some(0.01);
            }
            Input::new(&dataset).find_noise(nowhere.clone())
        };
        assert!(has_passes(1).is_err(), "one configuration tells nothing of the others");
        assert!(has_passes(400).is_ok());
    }
}
