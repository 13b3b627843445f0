//! Launches that are queued before the device begins with them.

use serde_json::Value;

use super::{Machine, outcomes, statuses};

fn protocol(run: &Value) -> &str {
    run["plan"]["settings"]["protocol"].as_str().unwrap()
}

#[test]
fn the_time_of_a_queued_launch_is_the_devices_own() {
    let machine = Machine::whole();
    let outcome = machine.measure("").succeeded(&["device-queued-latency-warm"]).leaked_nothing();
    assert!(outcome.calls("cuStreamWaitValue32_v2") > 30);
    let run = machine.run();
    assert_eq!(protocol(&run), "device-queued-latency-warm");
    for (_, record) in outcomes(&run).into_values() {
        // between events that nothing waits for; submitting takes several times as long
        let median_ns = record["outcome"]["summary"]["median_ns"].as_f64().unwrap();
        assert!((median_ns - 1500.0).abs() < 1.0, "{median_ns}");
        assert!(record["outcome"]["submission_ns"].is_null());
    }
    // launches of several need it not, and it can be turned off
    for (name, value, protocol_name) in [
        ("ALPHA_FLOPS_PROTOCOL", "throughput", "device-throughput-50-warm"),
        ("ALPHA_FLOPS_CLOCK", "device", "device-latency-warm"),
        ("ALPHA_FLOPS_CLOCK", "device-queued", "device-queued-latency-warm"),
    ] {
        let machine = Machine::whole();
        machine.measure_with("", &[(name, value)], &[]).succeeded(&[protocol_name]);
        assert_eq!(protocol(&machine.run()), protocol_name);
    }
    let variables =
        [("ALPHA_FLOPS_PROTOCOL", "throughput"), ("ALPHA_FLOPS_CLOCK", "device-queued")];
    let words = ["launches back to back are queued anyway"];
    Machine::whole().measure_with("", &variables, &[]).failed(&words);
}

#[test]
fn where_streams_cannot_wait_launches_are_timed_as_they_are_submitted_and_that_is_said() {
    let note = "note: short launches take as long as submitting them, as they cannot be queued: ";
    let machine = Machine::whole();
    let words = [note, "cuStreamWaitValue32_v2 returned CUDA_ERROR_NOT_SUPPORTED (801)"];
    machine.measure("no-stream-wait").succeeded(&words).leaked_nothing();
    let run = machine.run();
    assert_eq!(protocol(&run), "device-latency-warm");
    assert!(run["sessions"][0]["why_not_queued"].as_str().unwrap().starts_with(words[1]));
    // asked for, it is an error
    let queued = [("ALPHA_FLOPS_CLOCK", "device-queued")];
    let machine = Machine::whole();
    machine.measure_with("no-stream-wait", &queued, &[]).failed(&words[1..]).leaked_nothing();
    assert!(!machine.runs().exists());
    for function in ["cuMemHostAlloc", "cuMemHostGetDevicePointer_v2", "cuStreamWaitValue32_v2"] {
        let machine = Machine::whole();
        let words = [note, &format!("{function} returned")];
        machine.measure(&format!("fail-call={function}")).succeeded(&words).leaked_nothing();
    }
}

#[test]
fn a_launch_that_waits_for_the_stream_that_waits_for_it_is_let_go() {
    let machine = Machine::whole();
    // one tries the plan of the first configuration out, one verifies it; then a plan is tried out, and the
    // fourth is the first that is timed
    let outcome = machine.measure("no-nvml,block-launch=4");
    let words =
        ["a launch did not return for 1s", "set ALPHA_FLOPS_CLOCK=device", "measured 2 of 3"];
    outcome.failed(&words).leaked_nothing();
    let statuses = statuses(&machine.run());
    assert_eq!(statuses.iter().filter(|status| *status == "failed").count(), 1);
}

#[test]
fn a_launch_that_fails_while_the_stream_is_held_back_lets_it_go() {
    // four thousand events are recorded about empty launches, then two about each probe and each launch
    for call in ["cudnnBackendExecute:5", "cuEventRecord:4010", "cuStreamWaitValue32_v2:5"] {
        let machine = Machine::whole();
        let outcome = machine.measure(&format!("no-nvml,fail-call={call}")).leaked_nothing();
        let (function, _) = call.split_once(':').unwrap();
        outcome.failed(&[&format!("{function} returned")]);
        let statuses = statuses(&machine.run());
        assert_eq!(statuses.iter().filter(|status| *status == "failed").count(), 1, "{call}");
    }
}

#[test]
fn replays_of_a_captured_launch_are_timed_back_to_back() {
    let graph = [("ALPHA_FLOPS_PROTOCOL", "graph"), ("ALPHA_FLOPS_THROUGHPUT_LAUNCHES", "7")];
    let machine = Machine::whole();
    let outcome = machine.measure_with("no-nvml", &graph, &["--verify"]);
    let outcome = outcome.succeeded(&["device-graph-7-warm"]).leaked_nothing();
    let run = machine.run();
    assert_eq!(protocol(&run), "device-graph-7-warm");
    for (_, record) in outcomes(&run).into_values() {
        assert_eq!(record["outcome"]["summary"]["launches"], 10);
        assert!(record["outcome"]["submission_ns"].as_f64().unwrap() > 0.0);
    }
    // a sample to warm up and ten that count, of each of three
    assert_eq!(outcome.calls("cuGraphLaunch"), 3 * 11 * 7);
    assert_eq!(outcome.calls("cuStreamBeginCapture_v2"), 3);
    // the call that fails fails its configuration, and leaves nothing
    for function in [
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
        "cuGraphLaunch",
        "cudnnBackendExecute:4",
    ] {
        let machine = Machine::whole();
        let faults = format!("no-nvml,fail-call={function}");
        let outcome = machine.measure_with(&faults, &graph, &[]).leaked_nothing();
        let (function, _) = function.split_once(':').unwrap_or((function, ""));
        outcome.failed(&[&format!("{function} returned")]);
        let statuses = statuses(&machine.run());
        assert_eq!(statuses.iter().filter(|status| *status == "failed").count(), 1, "{function}");
    }
    let cpu = [graph[0], ("ALPHA_FLOPS_BACKEND", "cpu")];
    let words = ["the cpu backend has no graphs to replay"];
    Machine::whole().measure_with("", &cpu, &[]).failed(&words);
}
