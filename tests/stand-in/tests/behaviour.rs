//! What the stand-in computes, what its faults do, and what it reports.
//!
//! It reads its environment once, and keeps one state: every test runs in a process of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

mod library;

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use library::number::*;
use library::{Cudnn, function};

/// The stand-in as all three libraries, with a current context and a handle.
struct Device {
    cudnn: Cudnn,
    context: u64,
    stream: u64,
}

type OnPointer = unsafe extern "C" fn(*mut u64) -> i32;
type OnValue = unsafe extern "C" fn(u64) -> i32;
type CreateWithFlags = unsafe extern "C" fn(*mut u64, u32) -> i32;

impl Device {
    /// As [`Device::new`], but only loaded.
    fn loaded() -> Self {
        Self { cudnn: Cudnn::load(&library::stand_in()), context: 0, stream: 0 }
    }

    fn new() -> Self {
        let mut device = Self::loaded();
        assert_eq!(device.init(), 0);
        // SAFETY: the types are those of cuda.h and cudnn.h
        unsafe {
            let retain: unsafe extern "C" fn(*mut u64, i32) -> i32 =
                device.get("cuDevicePrimaryCtxRetain");
            assert_eq!(retain(&mut device.context, 0), 0);
            assert_eq!(device.on_value("cuCtxSetCurrent", device.context), 0);
            let create: CreateWithFlags = device.get("cuStreamCreate");
            assert_eq!(create(&mut device.stream, 1), 0);
            let create: OnPointer = device.get("cudnnCreate");
            assert_eq!(create(&mut device.cudnn.handle), 0);
            let set: unsafe extern "C" fn(u64, u64) -> i32 = device.get("cudnnSetStream");
            assert_eq!(set(device.cudnn.handle, device.stream), 0);
        }
        device
    }

    /// Releases all that [`Device::new`] made; statuses of the driver and of cuDNN.
    fn close(self) -> [i32; 3] {
        let statuses = [
            self.on_value("cudnnDestroy", self.cudnn.handle),
            self.on_value("cuStreamDestroy_v2", self.stream),
            self.on_value("cuDevicePrimaryCtxRelease_v2", 0),
        ];
        drop(self.cudnn);
        statuses
    }

    /// # Safety
    /// `F` must be the type of the function `name`.
    unsafe fn get<F: Copy>(&self, name: &str) -> F {
        // SAFETY: the caller knows the type
        unsafe { function(self.cudnn.library(), name) }
    }

    /// A function of one integer or opaque pointer.
    fn on_value(&self, name: &str, value: u64) -> i32 {
        // SAFETY: such a function takes an integer in a register, whatever its width
        unsafe { self.get::<OnValue>(name)(value) }
    }

    fn init(&self) -> i32 {
        self.on_value("cuInit", 0)
    }

    /// A function that fills in one number of a device of NVML.
    fn nvml(&self, name: &str) -> (i32, u64) {
        let mut value = 0;
        // SAFETY: the types are those of nvml.h; eight bytes are room for all of these numbers
        let status = unsafe {
            let mut nvml_device = 0;
            let by_index: unsafe extern "C" fn(u32, *mut u64) -> i32 =
                self.get("nvmlDeviceGetHandleByIndex_v2");
            assert_eq!(by_index(0, &mut nvml_device), 0);
            if name == "nvmlDeviceGetClockInfo" {
                let ask: unsafe extern "C" fn(u64, u32, *mut u64) -> i32 = self.get(name);
                ask(nvml_device, 1, &mut value)
            } else {
                let ask: unsafe extern "C" fn(u64, *mut u64) -> i32 = self.get(name);
                ask(nvml_device, &mut value)
            }
        };
        (status, value)
    }

    fn try_allocate(&self, size: usize) -> (i32, u64) {
        let mut address = 0;
        // SAFETY: the type is that of cuda.h
        let status = unsafe {
            let allocate: unsafe extern "C" fn(*mut u64, usize) -> i32 = self.get("cuMemAlloc_v2");
            allocate(&mut address, size)
        };
        (status, address)
    }

    fn allocate(&self, size: usize) -> u64 {
        let (status, address) = self.try_allocate(size);
        assert_eq!(status, 0);
        address
    }

    fn free(&self, address: u64) -> i32 {
        self.on_value("cuMemFree_v2", address)
    }

    fn upload(&self, to: u64, values: &[f32]) {
        // SAFETY: the type is that of cuda.h, and the values are there
        let status = unsafe {
            let copy: unsafe extern "C" fn(u64, *const f32, usize) -> i32 =
                self.get("cuMemcpyHtoD_v2");
            copy(to, values.as_ptr(), size_of_val(values))
        };
        assert_eq!(status, 0);
    }

    fn try_download(&self, from: u64, count: usize) -> (i32, Vec<f32>) {
        let mut values = vec![0.0; count];
        // SAFETY: the type is that of cuda.h, and there is room
        let status = unsafe {
            let copy: unsafe extern "C" fn(*mut f32, u64, usize) -> i32 =
                self.get("cuMemcpyDtoH_v2");
            copy(values.as_mut_ptr(), from, count * 4)
        };
        (status, values)
    }

    fn download(&self, from: u64, count: usize) -> Vec<f32> {
        let (status, values) = self.try_download(from, count);
        assert_eq!(status, 0);
        values
    }

    fn fill(&self, to: u64, byte: u8, size: usize) {
        // SAFETY: the type is that of cuda.h
        let status = unsafe {
            let fill: unsafe extern "C" fn(u64, u8, usize) -> i32 = self.get("cuMemsetD8_v2");
            fill(to, byte, size)
        };
        assert_eq!(status, 0);
    }

    /// Milliseconds between two events recorded one after the other.
    fn elapsed(&self) -> (i32, f32) {
        let mut milliseconds = 0.0;
        // SAFETY: the types are those of cuda.h
        unsafe {
            let create: CreateWithFlags = self.get("cuEventCreate");
            let record: unsafe extern "C" fn(u64, u64) -> i32 = self.get("cuEventRecord");
            let elapsed: unsafe extern "C" fn(*mut f32, u64, u64) -> i32 =
                self.get("cuEventElapsedTime");
            let mut events = [0; 2];
            for event in &mut events {
                assert_eq!(create(event, 0), 0);
                assert_eq!(record(*event, self.stream), 0);
            }
            let status = elapsed(&mut milliseconds, events[0], events[1]);
            for event in events {
                assert_eq!(self.on_value("cuEventDestroy_v2", event), 0);
            }
            (status, milliseconds)
        }
    }

    /// A plan for the convolution of [`Example`] by the `nth` configuration, and its workspace.
    fn plan(&self, nth: usize) -> (u64, usize) {
        self.plan_of(self.example_graph(), nth)
    }

    fn plan_of(&self, graph: u64, nth: usize) -> (u64, usize) {
        let plan = self.raw_plan(graph, nth);
        assert_eq!(self.cudnn.finalize(plan), 0);
        let (status, workspace) = self.cudnn.get_one(plan, 402, INT64);
        assert_eq!(status, 0);
        (plan, workspace as usize)
    }

    fn raw_plan(&self, graph: u64, nth: usize) -> u64 {
        let c = &self.cudnn;
        c.raw_plan(c.configs_of(c.heuristics_of(graph, MODE_A))[nth])
    }

    fn example_graph(&self) -> u64 {
        self.graph_of(self.cudnn.raw_convolution([[2, 0], [1, 3]], [2, 1]))
    }

    fn graph_of(&self, raw_convolution: u64) -> u64 {
        let c = &self.cudnn;
        let [x, w, y] = [Example::INPUT, Example::WEIGHTS, Example::OUTPUT];
        let [x, w, y] = [c.tensor(1, &x), c.tensor(2, &w), c.tensor(3, &y)];
        let operation = c.raw_operation(x, w, y, c.finalized(raw_convolution));
        c.graph_of(c.finalized(operation))
    }
}

/// A convolution padded by 2 above, 1 below, 0 left, 3 right, with a stride of 2 rows; in memory.
struct Example {
    input: Vec<f32>,
    weights: Vec<f32>,
    /// Of input, weights, output.
    pointers: [u64; 3],
    workspace: u64,
}

impl Example {
    const INPUT: [i64; 4] = [1, 3, 7, 6];
    const WEIGHTS: [i64; 4] = [5, 3, 3, 2];
    // rows: (7 + 2 + 1 − 3) / 2 + 1; columns: 6 + 0 + 3 − 2 + 1
    const OUTPUT: [i64; 4] = [1, 5, 4, 8];
    const OUTPUT_LEN: usize = 5 * 4 * 8;

    fn new(device: &Device, workspace: usize) -> Self {
        let values = |len: usize, seed: usize| {
            // no pattern, all 24 bits of the significand in use
            let value = |i: usize| ((i * 7919 + seed) % 1009) as f32 / 1009.0 - 0.5;
            (0..len).map(value).collect::<Vec<f32>>()
        };
        let (input, weights) = (values(3 * 7 * 6, 1), values(5 * 3 * 3 * 2, 500));
        let lens = [input.len(), weights.len(), Self::OUTPUT_LEN];
        let pointers = lens.map(|len| device.allocate(4 * len));
        device.upload(pointers[0], &input);
        device.upload(pointers[1], &weights);
        let workspace = if workspace == 0 { 0 } else { device.allocate(workspace) };
        Self { input, weights, pointers, workspace }
    }

    fn execute(&self, device: &Device, plan: u64) -> i32 {
        let pack = device.cudnn.pack(self.pointers, self.workspace);
        device.cudnn.execute(device.cudnn.handle, plan, pack)
    }

    fn output(&self, device: &Device) -> Vec<f32> {
        device.download(self.pointers[2], Self::OUTPUT_LEN)
    }

    fn free(&self, device: &Device) {
        for address in self.pointers.into_iter().chain([self.workspace]) {
            assert_eq!(device.free(address), 0);
        }
    }

    /// The definition, in f64; `taps` of the 18 are summed.
    fn expected(&self, taps: usize) -> Vec<f64> {
        self.dilated(taps, 1)
    }

    fn dilated(&self, taps: usize, dilation: usize) -> Vec<f64> {
        let mut output = Vec::new();
        for (channel, row, column) in
            (0..5).flat_map(|c| (0..4).flat_map(move |r| (0..8).map(move |x| (c, r, x))))
        {
            let terms = (0..taps).map(|tap| {
                let (in_channel, y, x) = (tap / 6, tap / 2 % 3, tap % 2);
                let in_row = (2 * row + dilation * y) as isize - 2;
                let in_column = column + dilation * x;
                if !(0..7).contains(&in_row) || in_column >= 6 {
                    return 0.0;
                }
                let pixel = (in_channel * 7 + in_row as usize) * 6 + in_column;
                f64::from(self.weights[channel * 18 + tap]) * f64::from(self.input[pixel])
            });
            output.push(terms.sum());
        }
        output
    }

    /// The largest difference from what is expected, of sums with terms of up to 1/4.
    fn error(&self, output: &[f32]) -> f64 {
        let differences =
            self.expected(18).into_iter().zip(output).map(|(e, got)| (e - f64::from(*got)).abs());
        differences.fold(0.0, |max, d| if d <= max { max } else { d })
    }
}

/// 18 products and sums below 18/4, each rounded by at most 2⁻²⁴ of that.
const ROUNDING: f64 = 18.0 * 4.5 / 16_777_216.0;

/// Configurations, in the order of the stand-in's heuristics.
const DOWN_CONVERTING: usize = 0;
const TENSOR_CORE: usize = 1;
const PLAIN: usize = 3;

/// In a child: runs `body`, returns nothing. In the parent: starts the child, which runs this same
/// test again with the faults, and returns how it ended, its stderr and its report.
fn in_child(test: &str, faults: &str, body: fn()) -> Option<(ExitStatus, String, String)> {
    const CHILD: &str = "STAND_IN_CHILD";
    if let Some(child) = std::env::var_os(CHILD) {
        // a test may have several children
        if child == *format!("{test} {faults}") {
            body();
        }
        return None;
    }
    let file = format!("{test}-{}.json", faults.replace(|c: char| !c.is_alphanumeric(), "-"));
    let report = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, format!("{test} {faults}"))
        .env("STAND_IN_FAULTS", faults)
        .env("STAND_IN_REPORT", &report)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&child.stderr).into_owned();
    let text = std::fs::read_to_string(&report).unwrap_or_default();
    // a report of an earlier run must not pass for one of the next
    let _ = std::fs::remove_file(&report);
    Some((child.status, stderr, text))
}

/// Runs `body` in a child, which must end well; returns its report.
fn expect_success(test: &str, faults: &str, body: fn()) -> Option<String> {
    let (status, stderr, report) = in_child(test, faults, body)?;
    assert!(status.success(), "{faults}: {stderr}");
    assert!(report.contains("\"cu"), "{faults}: the child has called nothing");
    Some(report)
}

/// The number that the report has for `name`.
fn reported(report: &str, name: &str) -> u64 {
    let (_, rest) = report.split_once(&format!("\"{name}\": ")).unwrap_or(("", "0"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

const LIVE: [&str; 8] = [
    "contexts",
    "streams",
    "events",
    "allocations",
    "bytes",
    "handles",
    "descriptors",
    "nvml_sessions",
];

fn assert_clean(report: &str) {
    let names = LIVE.into_iter().chain(["releases_of_what_was_not_live", "uses_after_release"]);
    for name in names {
        assert_eq!(reported(report, name), 0, "{name} in {report}");
    }
}

#[test]
fn a_convolution_with_asymmetric_padding_is_the_direct_sum_and_leaves_nothing() {
    let name = "a_convolution_with_asymmetric_padding_is_the_direct_sum_and_leaves_nothing";
    let report = expect_success(name, "", || {
        let device = Device::new();
        let mut errors = Vec::new();
        for nth in [DOWN_CONVERTING, TENSOR_CORE, PLAIN] {
            let (plan, workspace) = device.plan(nth);
            let example = Example::new(&device, workspace);
            assert_eq!(example.execute(&device, plan), 0);
            assert_eq!(device.on_value("cuStreamSynchronize", device.stream), 0);
            errors.push(example.error(&example.output(&device)));
            example.free(&device);
        }
        // 23 bits of significand; ten, cut off; seven, rounded
        assert!(errors[PLAIN - 1] <= ROUNDING, "{errors:?}");
        assert!(errors[1] > 10.0 * ROUNDING && errors[0] > 2.0 * errors[1], "{errors:?}");
        let (status, milliseconds) = device.elapsed();
        assert!(status == 0 && (1e-6..1000.0).contains(&milliseconds));
        assert_eq!(device.close(), [0; 3]);
    });
    if let Some(report) = report {
        assert_clean(&report);
        assert_eq!(reported(&report, "cudnnBackendExecute"), 3);
        assert!(reported(&report, "peak_bytes") > 32 << 20, "{report}");
    }
}

#[test]
fn mirrored_and_dilated_convolutions_are_direct_sums() {
    let name = "mirrored_and_dilated_convolutions_are_direct_sums";
    expect_success(name, "", || {
        let device = Device::new();
        let c = &device.cudnn;
        // more padding behind for the wider reach: the output is as large as without dilation
        let convolution = c.raw_convolution([[2, 0], [3, 4]], [2, 1]);
        c.must_set(convolution, 102, INT64, &[2, 2]);
        c.must_set(convolution, 101, CONVOLUTION_MODE, &[0]);
        let (plan, _) = device.plan_of(device.graph_of(convolution), PLAIN);
        let example = Example::new(&device, 0);
        let mirrored: Vec<f32> =
            example.weights.chunks(6).flat_map(|kernel| kernel.iter().rev().copied()).collect();
        device.upload(example.pointers[1], &mirrored);
        assert_eq!(example.execute(&device, plan), 0);
        for (expected, got) in example.dilated(18, 2).iter().zip(example.output(&device)) {
            assert!((expected - f64::from(got)).abs() <= ROUNDING, "{expected} {got}");
        }
    });
}

#[test]
fn outputs_are_those_of_the_launch_whatever_happens_to_memory_before_they_are_read() {
    let name = "outputs_are_those_of_the_launch_whatever_happens_to_memory_before_they_are_read";
    expect_success(name, "", || {
        let device = Device::new();
        let (plan, _) = device.plan(PLAIN);
        let example = Example::new(&device, 0);
        let [input, weights, output] = example.pointers;
        // fresh memory is no zeros
        assert!(example.output(&device).iter().all(|value| value.is_nan()));

        assert_eq!(example.execute(&device, plan), 0);
        device.upload(input + 8, &[7.0; 20]);
        assert_eq!(device.free(weights), 0);
        // a part is read, a part overwritten before all is read
        let part = device.download(output + 4 * 50, 3);
        // at an end, then in the middle
        device.upload(output, &[9.0; 2]);
        device.upload(output + 4 * 30, &[9.0]);
        let all = example.output(&device);
        assert_eq!((&all[..2], &all[50..53]), (&[9.0, 9.0][..], &part[..]));
        let mut without = example.expected(18);
        without[..2].fill(9.0);
        without[30] = 9.0;
        for (expected, got) in without.iter().zip(&all) {
            assert!((expected - f64::from(*got)).abs() <= ROUNDING);
        }

        device.fill(output, 0, 4 * Example::OUTPUT_LEN);
        assert!(example.output(&device).iter().all(|value| *value == 0.0));
        // weights are freed
        assert_eq!(example.execute(&device, plan), 5000);
        assert_eq!((device.free(input), device.free(output)), (0, 0));
        assert_eq!(device.close(), [0; 3]);
    });
}

#[test]
fn memory_is_used_only_inside_live_allocations() {
    let name = "memory_is_used_only_inside_live_allocations";
    let report = expect_success(name, "", || {
        let device = Device::new();
        let address = device.allocate(64);
        assert_eq!(device.try_download(address, 16).0, 0);
        assert_eq!(device.try_download(address, 17).0, 1);
        assert_eq!(device.try_download(address + 4, 16).0, 1);
        assert_eq!(
            (device.free(address + 4), device.free(address), device.free(address)),
            (1, 0, 1)
        );
        assert_eq!(device.try_download(address, 1).0, 1);
        assert_eq!(device.try_allocate(0).0, 1);
        let (plan, workspace) = device.plan(TENSOR_CORE);
        let mut example = Example::new(&device, workspace - 1);
        assert_eq!(example.execute(&device, plan), 5000, "the workspace is too small");
        assert_eq!(device.free(std::mem::take(&mut example.workspace)), 0);
        assert_eq!(example.execute(&device, plan), 2000, "there is no workspace");
        example.free(&device);
        assert_eq!(device.close(), [0; 3]);
    });
    if let Some(report) = report {
        assert_eq!(reported(&report, "releases_of_what_was_not_live"), 2);
        assert_eq!(reported(&report, "uses_after_release"), 1);
    }
}

#[test]
fn the_driver_wants_to_be_initialised_and_a_current_context() {
    let name = "the_driver_wants_to_be_initialised_and_a_current_context";
    expect_success(name, "", || {
        let device = Device::loaded();
        assert_eq!(device.on_value("cuDevicePrimaryCtxRelease_v2", 0), 3);
        assert_eq!(device.try_allocate(4).0, 3);
        assert_eq!(device.on_value("cuInit", 1), 1);
        assert_eq!(device.init(), 0);
        assert_eq!(device.try_allocate(4).0, 201);
        assert_eq!(device.on_value("cuStreamSynchronize", 0), 201);
        assert_eq!(device.on_value("cuDevicePrimaryCtxRelease_v2", 1), 101);
        drop(device);
        let device = Device::new();
        assert_eq!(device.on_value("cuStreamSynchronize", 77), 400);
        assert_eq!(device.close(), [0; 3]);
        let device = Device::loaded();
        assert_eq!(device.try_allocate(4).0, 709, "the context that is current is gone");
    });
}

#[test]
fn the_report_counts_what_is_left_even_if_the_process_exits_in_the_middle() {
    let name = "the_report_counts_what_is_left_even_if_the_process_exits_in_the_middle";
    let report = expect_success(name, "", || {
        let device = Device::new();
        device.allocate(1000);
        device.cudnn.create(TENSOR);
        assert_eq!(device.on_value("nvmlInit_v2", 0), 0);
        std::process::exit(0);
    });
    if let Some(report) = report {
        let live = LIVE.map(|name| reported(&report, name));
        assert_eq!(live, [1, 1, 0, 1, 1000, 1, 1, 1], "{report}");
        assert_eq!(reported(&report, "peak_bytes"), 1000);
    }
}

#[test]
fn an_unknown_fault_makes_every_call_fail_and_says_so() {
    let name = "an_unknown_fault_makes_every_call_fail_and_says_so";
    let ended = in_child(name, "no-devise", || {
        let device = Device::loaded();
        assert_eq!((device.init(), device.cudnn.try_create(TENSOR).0), (999, 4000));
        assert_eq!(device.on_value("nvmlInit_v2", 0), 999);
    });
    if let Some((status, stderr, _)) = ended {
        assert!(status.success() && stderr.contains("`no-devise` is no fault"), "{stderr}");
    }
}

/// Faults, and what they do.
const FAULTS: [(&str, fn()); 21] = [
    ("no-device", || assert_eq!(Device::loaded().init(), 100)),
    ("driver-version=11080,cudnn-version=8907,cudart-version=13000", || {
        let device = Device::loaded();
        let mut version = 0i32;
        // SAFETY: the types are those of cuda.h and cudnn.h
        unsafe {
            let get: unsafe extern "C" fn(*mut i32) -> i32 = device.get("cuDriverGetVersion");
            assert_eq!((get(&mut version), version), (0, 11080));
            let get: unsafe extern "C" fn() -> usize = device.get("cudnnGetVersion");
            assert_eq!(get(), 8907);
            let get: unsafe extern "C" fn() -> usize = device.get("cudnnGetCudartVersion");
            assert_eq!(get(), 13000);
        }
    }),
    ("memory=1000", || {
        let device = Device::new();
        let address = device.allocate(600);
        assert_eq!(device.try_allocate(401).0, 2);
        assert_eq!((device.free(address), device.try_allocate(1000).0), (0, 0));
    }),
    ("fail-allocation=2", || {
        let device = Device::new();
        assert_eq!([1, 2, 3].map(|_| device.try_allocate(8).0), [0, 2, 0]);
    }),
    ("refuse-plans=2", || {
        let device = Device::new();
        for _ in 0..2 {
            let graph = device.example_graph();
            let refused = [0, 1, 2].map(|n| device.cudnn.finalize(device.raw_plan(graph, n)));
            assert_eq!(refused, [3000, 3000, 0]);
        }
    }),
    ("refuse-plans=all", || {
        let device = Device::new();
        let graph = device.example_graph();
        let refused = [0, 1, 2, 3].map(|n| device.cudnn.finalize(device.raw_plan(graph, n)));
        assert_eq!(refused, [3000; 4]);
    }),
    ("workspace=12345", || assert_eq!(Device::new().plan(PLAIN).1, 12345)),
    ("fail-execution=2", || {
        let device = Device::new();
        let (plan, example) = (device.plan(PLAIN).0, Example::new(&device, 0));
        assert_eq!([1, 2, 3].map(|_| example.execute(&device, plan)), [0, 5000, 0]);
    }),
    ("sticky=2", || {
        let device = Device::new();
        let (plan, example) = (device.plan(PLAIN).0, Example::new(&device, 0));
        assert_eq!(example.execute(&device, plan), 0);
        assert_eq!(device.on_value("cuStreamQuery", device.stream), 0);
        assert_eq!(example.execute(&device, plan), 0);
        assert_eq!(device.on_value("cuStreamQuery", device.stream), 700);
        assert_eq!(device.on_value("cuStreamSynchronize", device.stream), 700);
        assert_eq!(
            (device.try_allocate(8).0, device.try_download(example.pointers[2], 1).0),
            (700, 700)
        );
        assert_eq!(example.execute(&device, plan), 5000);
        for address in example.pointers {
            assert_eq!(device.free(address), 700);
        }
        assert_eq!(device.close(), [4000, 700, 0]);
    }),
    ("event-time=nan", || assert!(Device::new().elapsed().1.is_nan())),
    ("event-time=zero,event-time-from=2", || {
        let device = Device::new();
        assert!(device.elapsed().1 > 0.0);
        assert_eq!(device.elapsed(), (0, 0.0));
    }),
    ("event-time=negative", || assert!(Device::new().elapsed().1 < 0.0)),
    ("throttle=2", || {
        let device = Device::new();
        assert_eq!(device.on_value("nvmlInit_v2", 0), 0);
        let reasons = || device.nvml("nvmlDeviceGetCurrentClocksThrottleReasons").1;
        assert_eq!([reasons(), reasons(), reasons()], [0x20, 0x20, 1]);
    }),
    ("clock=ramp", || {
        let device = Device::new();
        assert_eq!(device.on_value("nvmlInit_v2", 0), 0);
        let clocks: Vec<_> = (0..22).map(|_| device.nvml("nvmlDeviceGetClockInfo").1).collect();
        assert!(clocks[0] == 300 && clocks[..20].is_sorted() && clocks[20..] == [2520, 2520]);
    }),
    ("hang=1", || {
        let device = Device::new();
        assert_eq!(device.on_value("cuStreamQuery", device.stream), 0);
        let (plan, example) = (device.plan(PLAIN).0, Example::new(&device, 0));
        assert_eq!(example.execute(&device, plan), 0);
        assert_eq!(device.on_value("cuStreamQuery", device.stream), 600);
        // SAFETY: the types are those of cuda.h
        let [enter, wait] = unsafe {
            ["cuCtxSetCurrent", "cuCtxSynchronize"].map(|name| device.get::<OnValue>(name))
        };
        let context = device.context;
        // SAFETY: as above; the library stays loaded
        let waiting = std::thread::spawn(move || unsafe { (enter(context), wait(0)) });
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waiting.is_finished());
        // a thread that never returns keeps no process from exiting, nor others from the report
        std::process::exit(0);
    }),
    ("wrong-output", || {
        let device = Device::new();
        let (plan, example) = (device.plan(PLAIN).0, Example::new(&device, 0));
        assert_eq!(example.execute(&device, plan), 0);
        let output = example.output(&device);
        assert!(example.error(&output) > 0.01);
        for (expected, got) in example.expected(17).iter().zip(&output) {
            assert!((expected - f64::from(*got)).abs() <= ROUNDING);
        }
    }),
    ("no-nvml", || assert_eq!(Device::new().on_value("nvmlInit_v2", 0), 9)),
    ("fail-call=cuMemAlloc_v2:2", || {
        let device = Device::new();
        assert_eq!([1, 2, 3].map(|_| device.try_allocate(8).0), [0, 999, 0]);
    }),
    ("fail-call=cudnnBackendFinalize", || {
        let device = Device::loaded();
        let tensor = device.cudnn.raw_tensor(1, &[1]);
        assert_eq!([tensor; 2].map(|tensor| device.cudnn.finalize(tensor)), [4000, 0]);
    }),
    ("fail-call=nvmlInit_v2,fail-call=cuInit", || {
        let device = Device::loaded();
        assert_eq!(
            [device.on_value("nvmlInit_v2", 0), device.init(), device.init()],
            [999, 999, 0]
        );
    }),
    ("fail-call=cuMemFree_v2", || {
        let device = Device::new();
        let address = device.allocate(8);
        assert_eq!(device.free(address), 999);
        assert_eq!(device.close(), [0; 3]);
    }),
];

#[test]
fn every_fault_does_what_the_documentation_says() {
    for (faults, body) in FAULTS {
        let name = "every_fault_does_what_the_documentation_says";
        let report = expect_success(name, faults, body);
        // what is freed in vain is not the client's fault
        if let Some(report) = report.filter(|_| faults.contains("Free") || faults == "sticky=2") {
            assert_clean(&report);
        }
    }
}
