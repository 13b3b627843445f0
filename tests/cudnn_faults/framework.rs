//! What frameworks execute around a convolution.

use super::{Machine, Outcome, outcomes};

const FRAMEWORK: (&str, &str) = ("ALPHA_FLOPS_CONVOLUTION", "framework");

/// With 30 on 10×10 pixels, most of the kernel lies on padding.
const EVEN: &str = "^B/h=10_w=10_in=100_out=100_k=30";
const ODD: &str = "^D/h=100_w=[0-9]{1,2}_in=50_";

fn measure(machine: &Machine, faults: &str, filter: &str, protocol: &str) -> Outcome {
    let mut command = machine.command(super::benchmarks(), faults);
    command
        .args(["--bench", filter, "--verify"])
        .env("ALPHA_FLOPS_PROFILE", "smoke")
        .env("ALPHA_FLOPS_RESOLUTION", "original")
        .env("ALPHA_FLOPS_SEED", "1")
        .env("ALPHA_FLOPS_PROTOCOL", protocol)
        .env(FRAMEWORK.0, FRAMEWORK.1);
    machine.outcome(command, faults)
}

#[test]
fn an_image_is_copied_for_even_kernels_and_a_bias_added_to_every_output() {
    for (protocol, name) in [
        ("latency", "device-queued-latency-warm-framework"),
        ("throughput", "device-throughput-50-warm-framework"),
        ("graph", "device-graph-50-warm-framework"),
    ] {
        for (filter, copies) in [(EVEN, true), (ODD, false)] {
            let machine = Machine::whole();
            let outcome = measure(&machine, "no-nvml", filter, protocol);
            let outcome = outcome.succeeded(&[name]).leaked_nothing();
            let run = machine.run();
            assert_eq!(run["plan"]["settings"]["protocol"], name);
            let (_, record) = outcomes(&run).into_values().next().unwrap();
            let workspace = record["outcome"]["workspace_bytes"].as_u64().unwrap();
            // layouts of bias and output, and of the image twice where it is copied
            let layouts = outcome.calls("cudnnCreateTensorDescriptor");
            let prepared = layouts / if copies { 4 } else { 2 };
            // each plan is tried once on the copy, without what comes after it
            let biases = outcome.calls("cudnnBackendExecute") - prepared;
            assert!(prepared > 0 && biases > 0);
            assert_eq!(outcome.calls("cudnnAddTensor"), biases);
            let expected = if copies { prepared + biases } else { 0 };
            assert_eq!(outcome.calls("cudnnTransformTensor"), expected);
            assert!(!copies || workspace >= 100 * 11 * 11 * 4, "{workspace}");
        }
    }
}

#[test]
fn a_copy_or_a_bias_that_fails_fails_its_configuration_and_leaves_nothing() {
    for call in [
        "cudnnCreateTensorDescriptor:2",
        "cudnnSetTensor4dDescriptorEx:3",
        "cudnnTransformTensor",
        "cudnnTransformTensor:5",
        "cudnnAddTensor",
        "cudnnAddTensor:5",
    ] {
        let machine = Machine::whole();
        let outcome = measure(&machine, &format!("no-nvml,fail-call={call}"), EVEN, "latency");
        let (function, _) = call.split_once(':').unwrap_or((call, ""));
        outcome.leaked_nothing().failed(&[&format!("{function} returned")]);
    }
}

#[test]
fn a_wrong_output_is_noticed_beside_its_bias() {
    let machine = Machine::whole();
    measure(&machine, "no-nvml,wrong-output", ODD, "latency").failed(&["expected", "k=3"]);
}

#[test]
fn a_plain_convolution_calls_nothing_else() {
    let machine = Machine::whole();
    let outcome = machine.measure("no-nvml").succeeded(&["device-queued-latency-warm"]);
    for function in ["cudnnCreateTensorDescriptor", "cudnnAddTensor", "cudnnTransformTensor"] {
        assert_eq!(outcome.calls(function), 0, "{function}");
    }
}

#[test]
fn a_cudnn_without_its_older_functions_serves_for_plain_convolutions() {
    let folder = tempfile::tempdir().unwrap();
    for function in ["cudnnAddTensor", "cudnnTransformTensor"] {
        let library = super::without_function(folder.path(), function);
        let machine = Machine::with(&super::NAMES, &library);
        let words = format!("has no function {function}: install");
        machine.measure_with("no-nvml", &[FRAMEWORK], &[]).failed(&[&words]).leaked_nothing();
        machine.measure("no-nvml").succeeded(&["device-queued-latency-warm"]);
    }
}
