use super::*;
use crate::backend::cudnn;
use crate::budget::{CostModel, Shares};
use crate::disturbance::Threads;
use crate::experiment::{Experiment, Resolution};
use crate::null_backend::NullConv;
use crate::protocol::Profile;
use crate::units::Bytes;

/// Launches whose latencies a script says, and time that passes by nothing else.
struct Scripted<F: FnMut(usize) -> f64> {
    latency_ns: F,
    launches: usize,
    elapsed_ns: f64,
    clock_mhz: Option<fn(usize) -> u32>,
    /// Time that threads have waited for a core after so many launches.
    waited_ns: Option<fn(usize) -> u64>,
}

impl<F: FnMut(usize) -> f64> Launcher for Scripted<F> {
    fn sample(&mut self) -> Result<LaunchTime, MeasureError> {
        let host_ns = (self.latency_ns)(self.launches);
        self.launches += 1;
        self.elapsed_ns += host_ns;
        Ok(LaunchTime { host_ns, device_ns: None, submission_ns: None })
    }

    fn device(&mut self) -> Result<Option<DeviceSample>, MeasureError> {
        Ok(self.clock_mhz.map(|clock| DeviceSample {
            sm_clock_mhz: Some(clock(self.launches)),
            ..DeviceSample::default()
        }))
    }

    fn waited_ns(&mut self) -> Option<u64> {
        self.waited_ns.map(|waited_ns| waited_ns(self.launches))
    }

    fn machine(&mut self) -> MachineReading {
        MachineReading::now(&Threads::default())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns as u64)
    }
}

fn scripted<F: FnMut(usize) -> f64>(latency_ns: F) -> Scripted<F> {
    Scripted { latency_ns, launches: 0, elapsed_ns: 0.0, clock_mhz: None, waited_ns: None }
}

const WARM_UP: WarmUpRule = WarmUpRule {
    window: 5,
    window_time: Duration::ZERO,
    from: Duration::ZERO,
    tolerance: 0.02,
    limit: Duration::from_secs(1),
    at_least: Duration::ZERO,
};

fn method(
    warm_up: WarmUpRule,
    stopping: StoppingRule,
    allowance: Option<Duration>,
    clock_step_ns: f64,
) -> Method {
    let protocol = Protocol::HOST_LATENCY_WARM;
    Method { protocol, warm_up, stopping, allowance, clock_step_ns }
}

fn warmed(launcher: &mut impl Launcher, rule: WarmUpRule, allowance: Option<u64>) -> WarmUp {
    let allowance = allowance.map(Duration::from_millis);
    warm_up(launcher, &method(rule, StoppingRule::exactly(10), allowance, 1.0)).unwrap()
}

/// 50 launches and more of the standard profile, warmed up by ten.
fn standard(
    latency_ns: impl FnMut(usize) -> f64,
    allowance: Option<Duration>,
    clock_step_ns: f64,
) -> Measurement {
    let mut launcher = scripted(latency_ns);
    let rule = Profile::Standard.stopping_rule();
    let method = method(WARM_UP, rule, allowance, clock_step_ns);
    let measured = collect(&mut launcher, &method).unwrap();
    assert_eq!(launcher.launches, measured.warm_up.launches + measured.times.len());
    measured
}

#[test]
fn falling_times_keep_the_warm_up_going_until_they_settle() {
    let falling = |launch: usize| 1e6 / (1 + launch.min(15)) as f64;
    let warm_up = warmed(&mut scripted(falling), WARM_UP, None);
    // launches 16–20 and 21–25 are the first windows whose medians are those of launch 16 on
    assert_eq!(warm_up, WarmUp { launches: 25, ended: WarmUpEnd::Steady });
    assert!(warm_up.is_steady());
}

#[test]
fn a_warm_up_goes_on_while_the_devices_clock_rises_though_the_times_are_steady() {
    let mut launcher = scripted(|_| 1e6);
    // 100 MHz more with every launch until the 30th
    launcher.clock_mhz = Some(|launches| 300 + 100 * launches.min(30) as u32);
    // the windows that end with launches 30 and 35 are the first with equal clocks
    let steady = WarmUp { launches: 35, ended: WarmUpEnd::Steady };
    assert_eq!(warmed(&mut launcher, WARM_UP, None), steady);
}

#[test]
fn windows_of_a_warm_up_take_at_least_their_time() {
    let rule = WarmUpRule { window_time: Duration::from_millis(20), ..WARM_UP };
    // two windows of 20 ms in launches of 0.1 ms
    let steady = WarmUp { launches: 400, ended: WarmUpEnd::Steady };
    assert_eq!(warmed(&mut scripted(|_| 1e5), rule, None), steady);
}

#[test]
fn the_devices_state_is_read_before_between_and_after_launches() {
    let mut launcher = scripted(|_| 1e7);
    launcher.clock_mhz = Some(|launches| 2000 + launches as u32);
    let method = method(WARM_UP, StoppingRule::exactly(50), None, 1.0);
    let states = collect(&mut launcher, &method).unwrap().device.unwrap();
    // 500 ms after a warm-up of 10: before, at 100, 200, 300 and 400 ms, and after
    assert_eq!(states.samples, 6);
    let clock = states.sm_clock_mhz.unwrap();
    assert_eq!((clock.min, clock.max), (2010, 2060));
}

#[test]
fn samples_during_which_a_thread_was_switched_out_are_kept_and_do_not_count() {
    // of 0.4 ms each, so that three make a block; in the block that begins with launch 20 threads
    // wait, in every other for less than matters
    let mut launcher = scripted(|launch| 4e5 + launch as f64);
    let waited = |launches: usize| if launches > 20 { 100_000 } else { 100 * launches as u64 };
    launcher.waited_ns = Some(waited);
    let method = method(WARM_UP, StoppingRule::exactly(50), None, 1.0);
    let measured = collect(&mut launcher, &method).unwrap();
    let SampleTimes { host_ns, dropped, .. } = &measured.times;
    assert_eq!((host_ns.len(), dropped.len()), (50, 3));
    // the warm-up took launches 0 to 9
    assert_eq!(
        dropped[0],
        DroppedSample { after: 9, pass: 1, host_ns: 400_019.0, device_ns: None }
    );
    assert!(dropped.iter().all(|sample| sample.after == 9));
    assert!(!host_ns.contains(&400_020.0) && host_ns[8..10] == [400_018.0, 400_022.0]);
    let Disturbance { switched_out, samples, .. } = measured.disturbance;
    assert_eq!((switched_out, samples), (3, 53));
}

#[test]
fn where_threads_never_have_their_cores_measuring_ends_and_all_samples_count() {
    let mut launcher = scripted(|_| 1e6);
    launcher.waited_ns = Some(|launches| 500_000 * launches as u64);
    let method = method(WARM_UP, StoppingRule::exactly(20), None, 1.0);
    let measured = collect(&mut launcher, &method).unwrap();
    assert_eq!((measured.times.len(), measured.times.dropped.len()), (40, 0));
    assert!(measured.disturbance.is_disturbed());
}

proptest::proptest! {
    #[test]
    fn samples_that_do_not_count_and_are_taken_back_are_where_they_were(
        drops in proptest::collection::vec((1usize..5, proptest::bool::ANY), 0..20),
        has_device: bool,
    ) {
        let (mut times, mut expected) = (SampleTimes::default(), Vec::new());
        for (block, dropped) in drops {
            for _ in 0..block {
                let host_ns = expected.len() as f64;
                let device_ns = has_device.then_some(-host_ns);
                times.push(LaunchTime { host_ns, device_ns, submission_ns: None });
                expected.push(host_ns);
            }
            if dropped {
                times.drop_last(block);
            }
        }
        times.take_back();
        proptest::prop_assert_eq!(&times.host_ns, &expected);
        let device_ns = expected.iter().map(|ns| -ns).filter(|_| has_device);
        proptest::prop_assert!(times.device_ns.iter().copied().eq(device_ns));
    }
}

#[test]
fn a_time_that_is_none_is_an_error_whichever_clock_it_is_by() {
    let method = method(WARM_UP, StoppingRule::exactly(10), None, 1.0);
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let time = LaunchTime { host_ns: 1e3, device_ns: Some(wrong), submission_ns: None };
        let error = measure(&mut NullConv(time), &method).unwrap_err().to_string();
        assert!(error.contains("by the device's clock, expected a finite time"), "{error}");
    }
}

#[test]
fn a_warm_up_that_never_settles_ends_at_its_limit_and_says_which() {
    // 5 launches of 1 ms, 5 of 2 ms, 5 of 4 ms …: 60 ms are over with the 19th, 20 ms with
    // the 12th
    let doubling = |launch: usize| 1e6 * f64::from(1 << (launch / 5));
    let rule = WarmUpRule { limit: Duration::from_millis(60), ..WARM_UP };
    let ended = |allowance| warmed(&mut scripted(doubling), rule, allowance);
    let at_limit = WarmUp { launches: 19, ended: WarmUpEnd::TimeLimit };
    assert_eq!(ended(None), at_limit);
    assert_eq!(ended(Some(300)), at_limit);
    let at_share = WarmUp { launches: 12, ended: WarmUpEnd::BudgetShare };
    assert_eq!(ended(Some(100)), at_share);
    assert!(!at_share.is_steady());
}

/// A made-up GPU whose clocks rise once, from 0.2 s after the first launch to 1 s: 10 T multiply–adds a second
/// at full clocks, and 5 µs a launch.
struct Rising {
    now_s: f64,
    begun_s: f64,
    launch_s: f64,
}

impl Rising {
    const FULL_MHZ: f64 = 2520.0;

    fn clock_mhz(&self) -> f64 {
        300.0 + (Self::FULL_MHZ - 300.0) * ((self.now_s - 0.2) / 0.8).clamp(0.0, 1.0)
    }
}

impl Launcher for Rising {
    fn sample(&mut self) -> Result<LaunchTime, MeasureError> {
        let took_s = self.launch_s * Self::FULL_MHZ / self.clock_mhz();
        self.now_s += took_s;
        Ok(LaunchTime { host_ns: 1e9 * took_s, device_ns: None, submission_ns: None })
    }

    fn device(&mut self) -> Result<Option<DeviceSample>, MeasureError> {
        let sm_clock_mhz = Some(self.clock_mhz() as u32);
        Ok(Some(DeviceSample { sm_clock_mhz, ..DeviceSample::default() }))
    }

    fn waited_ns(&mut self) -> Option<u64> {
        None
    }

    fn machine(&mut self) -> MachineReading {
        MachineReading::now(&Threads::default())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs_f64(self.now_s - self.begun_s)
    }
}

/// With windows of 50 ms for each, in a fifth of its time, none of A, B and C could.
#[test]
fn of_a_full_run_in_an_hour_nearly_all_warm_ups_on_a_gpu_end_steady() {
    /// Preparing a configuration, while the device is idle.
    const PREPARED_S: f64 = 0.003;
    let kind = &cudnn::KIND;
    // every 16th, in as much less time
    let all = Experiment::all().iter().flat_map(|e| e.configurations(Resolution::Full));
    let shapes: Vec<_> = all.step_by(16).map(|configuration| configuration.shape).collect();
    let budget = kind.time_budget.mul_f64(shapes.len() as f64 / 9105.0);
    let mut shares = Shares::new(Some(budget), 0.1, CostModel::for_run(kind));
    let passes = kind.passes;
    let visits = || (1..=passes.get()).flat_map(|pass| shapes.iter().map(move |s| (pass, *s)));
    shares.expect(visits().map(|(_, shape)| shape));
    let mut device = Rising { now_s: 0.0, begun_s: 0.0, launch_s: 0.0 };
    let (mut clocks, mut steady, mut used_s) = (Clocks::Cold, 0, 0.0);
    for (pass, shape) in visits() {
        let prepared = Duration::from_secs_f64(PREPARED_S);
        let allowance = shares.allowance(shape).unwrap().saturating_sub(prepared);
        let rule = Profile::Standard.warm_up_rule(kind.settle_time, clocks);
        let stopping = Profile::Standard.stopping_rule().of_pass(pass, passes);
        let method = method(rule, stopping, Some(allowance), 500.0);
        device.begun_s = device.now_s;
        device.launch_s = 5e-6 + shape.macs().0 as f64 / 10e12;
        let measured = collect(&mut device, &method).unwrap();
        let took = device.elapsed() + prepared;
        shares.account(shape, took);
        used_s += took.as_secs_f64();
        steady += usize::from(measured.warm_up.is_steady());
        // what the first is measured at, all others are
        assert!(clocks == Clocks::Ramped || device.clock_mhz() > 0.97 * Rising::FULL_MHZ);
        clocks = Clocks::Ramped;
    }
    let share = steady as f64 / visits().count() as f64;
    assert!(share >= 0.95, "{share}");
    assert!(used_s < 1.1 * budget.as_secs_f64(), "{used_s} s of {budget:?}");
}

#[test]
fn a_used_up_allowance_stops_at_the_floor() {
    let measured = standard(|_| 1e6, Some(Duration::from_nanos(1)), 1.0);
    assert_eq!((measured.times.len(), measured.stopped), (10, Stopped::Budget));
    assert_eq!(measured.warm_up.ended, WarmUpEnd::BudgetShare);
}

#[test]
fn an_allowance_stops_between_the_floor_and_the_cap() {
    let two_modes = |launch: usize| if launch.is_multiple_of(2) { 1e6 } else { 2e6 };
    let measured = standard(two_modes, Some(Duration::from_millis(60)), 1.0);
    // 1 ms and 2 ms in turn: 60 ms are over after 40 launches, warm-up included
    assert_eq!(measured.warm_up.launches + measured.times.len(), 40);
    assert_eq!(measured.stopped, Stopped::Budget);
}

#[test]
fn a_narrow_interval_stops_where_it_is_first_judged() {
    // 1% between launches, but most of them within 0.4%
    let narrow = |launch: usize| 1e6 + 1e3 * [0.0, 1.0, 2.0, 3.0, 10.0][launch % 5];
    let measured = standard(narrow, None, 1.0);
    assert_eq!((measured.times.len(), measured.stopped), (50, Stopped::Precise));
    // of 50 launches the ranks 17 and 32 (from 0) are the second and fourth latency of the
    // five, ten of each
    let interval = measured.relative_interval.unwrap();
    assert_eq!(interval, (2e3 / 2.0 + 1.0) / 1.002e6);
}

#[test]
fn two_modes_are_never_precise() {
    let measured = standard(|launch| if launch.is_multiple_of(2) { 1e6 } else { 2e6 }, None, 1.0);
    assert_eq!((measured.times.len(), measured.stopped), (2000, Stopped::Cap));
}

#[test]
fn launches_of_few_steps_of_the_clock_are_never_precise_however_equal() {
    let equal = |latency_ns: f64| {
        let measured = standard(|_| latency_ns, None, 10.0);
        assert_eq!(measured.relative_interval, Some(10.0 / latency_ns));
        measured.stopped
    };
    assert_eq!(equal(1000.0), Stopped::Cap);
    assert_eq!(equal(1999.0), Stopped::Cap);
    assert_eq!(equal(2001.0), Stopped::Precise);
}

/// A convolution that takes one step of the host's clock.
struct OneStep {
    launches: usize,
}

impl PreparedConv for OneStep {
    fn launch(&mut self) -> Result<(), BackendError> {
        self.launches += 1;
        let start = Instant::now();
        while start.elapsed().is_zero() {}
        Ok(())
    }

    fn synchronize(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn algorithm(&self) -> &str {
        "scripted"
    }

    fn workspace_bytes(&self) -> Bytes {
        Bytes(0)
    }

    fn verify(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

#[test]
fn the_paper_profile_makes_exactly_its_launches() {
    let mut conv = OneStep { launches: 0 };
    let method = method(WARM_UP, StoppingRule::exactly(50), None, 1.0);
    let measured = measure(&mut conv, &method).unwrap();
    assert_eq!((measured.times.len(), measured.stopped), (50, Stopped::Cap));
    assert_eq!(conv.launches, 50 + measured.warm_up.launches);
    assert!(measured.times.host_ns.iter().all(|&latency| latency > 0.0));
}
