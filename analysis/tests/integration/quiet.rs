//! What becomes of answers where the machine was not quiet.

use std::fs;

use alpha_flops_analysis::import::load;
use alpha_flops_analysis::objectives::{ClaimVerdict, Objectives};
use alpha_flops_analysis::report::{self, Input};
use serde_json::{Value, json};

use crate::fixtures::data_files::archived_target;

#[test]
fn answers_of_a_run_that_was_not_quiet_are_left_open_and_an_archived_run_is_known_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let archived = archived_target().join("2026-11-25t13-02-46z-46de.csv");
    let own = folder.path().join("2026-11-25t13-02-46z-46de.csv");
    fs::copy(&archived, &own).unwrap();
    let verdicts = |never_quiet: Option<usize>, run_id: &str| {
        let environment = own.with_extension("environment.json");
        let text = fs::read(archived.with_extension("environment.json")).unwrap();
        let mut json: Value = serde_json::from_slice(&text).unwrap();
        json["run_id"] = run_id.into();
        json["quiet"] = never_quiet.map_or(Value::Null, |never_quiet| {
            json!({
                "switched_out_percent": 4.0, "steal_percent": 9.5, "throttled_percent": null,
                "never_quiet": never_quiet, "configurations": 591,
            })
        });
        fs::write(environment, serde_json::to_vec(&json).unwrap()).unwrap();
        let imported = load(&own).unwrap();
        let mut report = report::compute(&[Input::from_import(&imported)]);
        let target = report.targets.remove(0);
        let Objectives { ro1, ro2, ro3, noise: _ } = target.objectives;
        let said =
            [(ro1.verdict, ro1.sentence), (ro2.verdict, ro2.sentence), (ro3.verdict, ro3.sentence)];
        (target.quiet.is_some(), said)
    };
    let run_id = "2026-11-25t13-02-46z-46de";
    let (is_known, undisturbed) = verdicts(None, run_id);
    assert!(!is_known);
    // one in twenty, and the environment of another run
    assert_eq!(verdicts(Some(29), run_id), (true, undisturbed.clone()));
    assert_eq!(verdicts(Some(591), "2026-11-25t13-02-46z-0000"), (false, undisturbed.clone()));
    let (_, disturbed) = verdicts(Some(30), run_id);
    for (verdict, sentence) in &disturbed[..2] {
        assert_eq!(*verdict, ClaimVerdict::NotShown);
        let why = "the machine was not quiet enough while this was measured (4.0% of launches switched \
                   out, steal 9.5%, 30 of 591 configurations never quiet)";
        assert!(sentence.starts_with("Not shown on ") && sentence.contains(why), "{sentence}");
    }
    // without coefficients there is no answer, quiet or not
    assert_eq!(disturbed[2], undisturbed[2]);
    assert_eq!(disturbed[2].0, ClaimVerdict::CannotBeAnswered);
}
