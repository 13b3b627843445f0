//! What the files in `target-data/plans` say, as this project's own code reads and counts it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use alpha_flops_analysis::in_order::grouped;
use alpha_flops_analysis::plans::{PlanChange, PlanRow, read, switches};

/// A line an experiment: how often each engine is chosen, and where along its lines what is another.
fn counts(path: &Path) -> String {
    let rows = read(path).unwrap();
    let all_switches = switches(&rows);
    let PlanRow { device, compute_capability, cudnn, cudnn_cuda, math, .. } = &rows[0];
    let mut text =
        format!("{device} ({compute_capability}), cuDNN {cudnn} ({cudnn_cuda}), {math}\n");
    for (experiment, of_it) in grouped(&rows, |row| row.experiment.clone()) {
        let mut engines: BTreeMap<Option<u64>, usize> = BTreeMap::new();
        of_it.iter().for_each(|row| *engines.entry(row.engine).or_default() += 1);
        let engines: Vec<String> = engines
            .iter()
            .map(|(engine, n)| {
                format!("{}×{n}", engine.map_or("none".to_owned(), |e| e.to_string()))
            })
            .collect();
        let switched = |change: PlanChange| {
            let of_it =
                all_switches.iter().filter(|switch| switch.changed.experiment == experiment);
            of_it.filter(|switch| switch.changed.change == change).count()
        };
        writeln!(
            text,
            "{experiment} {:>4}: engines {}; switches of engine {}, knobs {}, workspace {}",
            of_it.len(),
            engines.join(" "),
            switched(PlanChange::Engine),
            switched(PlanChange::Knobs),
            switched(PlanChange::Workspace),
        )
        .unwrap();
    }
    text
}

#[test]
fn engines_and_switches_of_the_plans_in_this_project_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target-data/plans");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "parquet")).collect();
    files.sort();
    let counted = std::thread::scope(|scope| {
        let threads: Vec<_> = files.iter().map(|path| scope.spawn(|| counts(path))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    insta::assert_snapshot!(counted.join("\n"));
}
