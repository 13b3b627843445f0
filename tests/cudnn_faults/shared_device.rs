//! Another process on the device.

use serde_json::Value;

use super::{Machine, outcomes};

fn attempts(run: &Value) -> Vec<u64> {
    let records = outcomes(run).into_values();
    let mut attempts: Vec<u64> =
        records.map(|(_, record)| record["attempts"].as_u64().unwrap()).collect();
    attempts.sort_unstable();
    attempts
}

#[test]
fn a_configuration_measured_beside_another_process_is_measured_again_and_flagged_if_that_stays() {
    let machine = Machine::whole();
    let words = ["disturbed: every configuration quiet at least once", "measured 3 of 3"];
    machine.measure("other-process=2").succeeded(&words).leaked_nothing();
    let run = machine.run();
    assert_eq!(attempts(&run), [1, 1, 2]);
    assert_eq!(
        (&run["quiet"]["never_quiet"], &run["quiet"]["shared_percent"]),
        (&0.into(), &0.0.into())
    );
    let machine = Machine::whole();
    let words = [
        "disturbed: another process on the device 100.0%, 3 of 3 configurations never quiet",
        "the machine was not quiet enough",
        "SM clock 2520 MHz (2520–2520)",
    ];
    machine.measure("other-process=always").succeeded(&words).leaked_nothing();
    let run = machine.run();
    assert_eq!(attempts(&run), [3, 3, 3]);
    for (_, record) in outcomes(&run).into_values() {
        assert_eq!(record["outcome"]["device"]["other_processes"]["min"], 1);
    }
}

#[test]
fn processes_that_cannot_be_counted_are_unknown_and_not_none() {
    let machine = Machine::whole();
    machine.measure("no-nvml").succeeded(&["measured 3 of 3"]).leaked_nothing();
    let run = machine.run();
    assert!(run["quiet"].is_null() && run["machine"]["sm_clock_mhz"].is_null(), "{run}");
}
