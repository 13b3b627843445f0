use super::*;
use crate::experiment::{Experiment, Resolution};
use crate::measure::DroppedSample;
use crate::units::Bytes;

pub(in crate::record) fn part(pass: u32, host_ns: &[f64], switched_out: u64) -> Part {
    let configuration = Experiment::A.configurations(Resolution::Original).remove(0);
    let times = SampleTimes { host_ns: host_ns.to_vec(), ..SampleTimes::default() };
    let outcome = match Summary::from_latencies(host_ns) {
        None => Outcome::Failed { reason: format!("pass {pass}"), device_lost: false },
        Some(summary) => Outcome::Measured(Measured {
            algorithm: format!("of pass {pass}"),
            plan: None,
            workspace_bytes: Bytes(pass.into()),
            verified: true,
            warm_up: WarmUp { launches: 10, ended: WarmUpEnd::Steady },
            stopped: if pass == 2 { Stopped::Budget } else { Stopped::Precise },
            relative_interval: Some(0.03),
            submission_ns: Some(f64::from(pass)),
            device: None,
            disturbance: Some(Disturbance {
                switched_out,
                samples: host_ns.len() as u64 + switched_out,
                waited_percent: None,
                steal_percent: Some(f64::from(pass)),
                least_steal_percent: None,
                pressure_percent: None,
                throttled_percent: None,
                throttled_periods: None,
                clock_mhz: None,
                core_speed_percent: None,
            }),
            probe: None,
            summary,
        }),
    };
    let started = crate::record::now();
    let record = ConfigurationRecord::new(&configuration, started, 0.5, 1, outcome);
    Part { run_id: "run".to_owned(), pass, position: 10 * pass as usize, record, times }
}

#[test]
fn one_pass_is_what_it_was() {
    let one = part(1, &[1.0, 2.0, 3.0], 0);
    let expected = (one.record.clone(), one.times.clone());
    assert_eq!(join(vec![one], Clock::Host), Some(expected));
    assert_eq!(join(Vec::new(), Clock::Host), None);
}

#[test]
fn passes_make_one_record_with_their_visits_and_all_their_samples() {
    let parts = vec![part(1, &[1.0; 9], 1), part(2, &[3.0; 4], 0), part(3, &[2.0; 5], 0)];
    let (record, times) = join(parts, Clock::Host).unwrap();
    let measured = record.outcome.measured().unwrap();
    assert_eq!((measured.summary.median_ns, measured.summary.passes), (2.0, 3));
    assert_eq!((measured.summary.launches, measured.warm_up.launches), (18, 30));
    assert_eq!(measured.stopped, Stopped::Budget);
    assert_eq!((measured.workspace_bytes, measured.submission_ns), (Bytes(3), Some(2.0)));
    assert!((measured.relative_interval.unwrap() - 0.03 / 3f64.sqrt()).abs() < 1e-12);
    let disturbance = measured.disturbance.as_ref().unwrap();
    assert_eq!((disturbance.switched_out, disturbance.samples), (1, 19));
    assert_eq!(disturbance.steal_percent, Some(2.0));
    assert_eq!((record.wall_s, record.visits.len()), (1.5, 3));
    let lengths: Vec<usize> = times.by_pass(Clock::Host).iter().map(|pass| pass.len()).collect();
    assert_eq!(lengths, [9, 4, 5]);
    let medians: Vec<f64> = record
        .visits
        .iter()
        .map(|visit| visit.outcome.measured().unwrap().summary.median_ns)
        .collect();
    assert_eq!(medians, [1.0, 3.0, 2.0]);
}

#[test]
fn passes_that_failed_or_were_disturbed_do_not_count_where_others_were_quiet() {
    let mut disturbed = part(2, &[30.0, 31.0, 32.0], 9);
    let between = DroppedSample { after: 1, pass: 1, host_ns: 90.0, device_ns: None };
    disturbed.times.dropped.push(between);
    let parts = vec![part(1, &[1.0; 10], 1), disturbed.clone(), part(3, &[], 0)];
    let (record, times) = join(parts, Clock::Host).unwrap();
    let summary = record.outcome.measured().unwrap().summary;
    assert_eq!((summary.median_ns, summary.passes, summary.between_pass_sd), (1.0, 1, None));
    assert!(!record.outcome.is_disturbed());
    assert_eq!(times.len(), 10);
    assert!(times.dropped.iter().all(|sample| sample.pass == 2 && sample.after == 10));
    let in_order: Vec<f64> = times.dropped.iter().map(|sample| sample.host_ns).collect();
    assert_eq!(in_order, [30.0, 90.0, 31.0, 32.0]);
    assert_eq!(record.visits.len(), 3);
    assert!(record.visits[1].outcome.is_disturbed());
    // with too little that is better, it counts, and says what it is
    let (record, times) =
        join(vec![disturbed.clone(), part(2, &[1.0; 9], 0)], Clock::Host).unwrap();
    assert!(record.outcome.is_disturbed());
    assert_eq!((times.len(), times.dropped.len()), (12, 1));
}

#[test]
fn too_few_samples_for_criterion_are_a_failure_that_keeps_them() {
    let (record, times) = join(vec![part(1, &[1.0; 9], 0), part(2, &[], 0)], Clock::Host).unwrap();
    let Outcome::Failed { reason, .. } = record.outcome else { panic!("{:?}", record.outcome) };
    assert_eq!(reason, "only 9 samples in all passes, expected at least 10");
    assert_eq!((times.len(), times.dropped.len()), (0, 9));
}

#[test]
fn where_every_pass_failed_so_has_the_configuration() {
    let (record, times) = join(vec![part(1, &[], 0), part(2, &[], 0)], Clock::Host).unwrap();
    let expected = Outcome::Failed { reason: "pass 2".to_owned(), device_lost: false };
    assert_eq!(record.outcome, expected);
    assert!(times.is_empty() && record.visits.len() == 2);
}
