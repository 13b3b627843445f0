//! What state the machine is in: three quick measurements that have nothing to do with convolutions.
//!
//! The same code on the same cores takes different times when a hypervisor moves virtual cores apart,
//! when neighbours use the memory, or when clocks fall. A convolution's latency cannot tell these
//! apart; these measurements can.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::team::Team;
use crate::backend::Probe;

/// Multiply–adds of the loop: 0.4 ms where a core makes twelve in a nanosecond.
const MULTIPLY_ADDS: usize = LANES * CHAINS * 100_000;
/// Numbers in the smallest vectors that processors compute with.
const LANES: usize = 4;
/// Vectors that do not wait for each other: enough to keep a core busy, and few enough to stay in
/// registers.
const CHAINS: usize = 12;
/// Round trips between two cores: 50 µs where a round trip takes 100 ns.
const ROUND_TRIPS: usize = 500;
/// The most that the round trips with one core may take.
const LONGEST_PING_PONG: Duration = Duration::from_millis(1);
/// Numbers of 8 bytes that are read from memory at a time, in two places of the buffer: 2 MiB.
const READ: usize = 1 << 17;
/// Such pairs of places in the buffer: 64 MiB, more than a last-level cache holds, so that what was
/// read before has left it.
const PLACES: usize = 32;

/// Measures the state of the machine again and again.
pub(super) struct MachineProbe {
    /// Empty where there is no memory for it.
    buffer: Vec<u64>,
    next: usize,
    /// What was measured last, and until when it counts.
    last: Option<(Probe, Instant)>,
}

/// So many times as long as measuring took, what was measured counts: states last for seconds, and probing
/// never takes more than a twentieth of the time, however short visits are.
const COUNTS_FOR: u32 = 20;

impl MachineProbe {
    pub(super) fn new() -> Self {
        let (mut buffer, len) = (Vec::new(), 2 * PLACES * READ);
        if buffer.try_reserve_exact(len).is_ok() {
            // written by copying: pages that were never written are all one page, which is in cache
            buffer.push(1);
            while buffer.len() < len {
                buffer.extend_from_within(..);
            }
        }
        Self { buffer, next: 0, last: None }
    }

    /// The state now, or some 20 to 40 ms ago. The calling thread must be on its core.
    pub(super) fn state(&mut self, team: &Team) -> Probe {
        let begun = Instant::now();
        if let Some((probe, until)) = self.last
            && begun < until
        {
            return probe;
        }
        let probe = self.measure(team);
        let ended = Instant::now();
        self.last = Some((probe, ended + COUNTS_FOR * (ended - begun)));
        probe
    }

    /// Some 1 to 2 ms of measuring.
    fn measure(&mut self, team: &Team) -> Probe {
        let ping_pongs = (1..team.threads()).filter_map(|other| ping_pong_ns(team, other));
        Probe {
            multiply_add_ns: Some(multiply_add_ns(team)),
            ping_pong_ns: ping_pongs.reduce(f64::max),
            read_gb_s: self.read_gb_s(),
            ..Probe::default()
        }
    }

    /// How fast the calling thread's core reads what is in no cache.
    fn read_gb_s(&mut self) -> Option<f64> {
        let (first, second) = self.buffer.split_at(self.buffer.len() / 2);
        let place = self.next * READ..(self.next + 1) * READ;
        self.next = (self.next + 1) % PLACES;
        let (first, second) = (first.get(place.clone())?, second.get(place)?);
        let start = Instant::now();
        // comparing is reading, as fast as the system's library can
        black_box(black_box(first) == black_box(second));
        let took_ns = start.elapsed().as_nanos().max(1) as f64;
        Some((size_of_val(first) + size_of_val(second)) as f64 / took_ns)
    }
}

/// The time of a multiply–add where many are independent, on the slowest of the cores while all compute:
/// cores that share what computes, as the hyperthreads of one do, show as slow.
fn multiply_add_ns(team: &Team) -> f64 {
    let mut each = vec![0.0; team.threads()];
    team.for_each(&mut each, |took_ns| {
        let start = Instant::now();
        let mut values = black_box([[1.0f32; LANES]; CHAINS]);
        for _ in 0..MULTIPLY_ADDS / (LANES * CHAINS) {
            for value in values.as_flattened_mut() {
                *value = *value * 0.999_999 + 1e-6;
            }
        }
        black_box(values);
        *took_ns = start.elapsed().as_nanos() as f64 / MULTIPLY_ADDS as f64;
    });
    each.into_iter().fold(0.0, f64::max)
}

/// The time of a round trip of a cache line between the calling thread's core and another thread's;
/// `None` where they do not run at once.
fn ping_pong_ns(team: &Team, other: usize) -> Option<f64> {
    // even: the caller's turn
    let turn = AtomicUsize::new(0);
    let rallied = AtomicUsize::new(0);
    let begun = Instant::now();
    let mut roles: Vec<(usize, Duration)> =
        (0..=other).map(|thread| (thread, Duration::ZERO)).collect();
    team.for_each(&mut roles, |(thread, took)| {
        let own = match *thread {
            0 => 0,
            last if last == other => 1,
            _ => return,
        };
        let start = Instant::now();
        for trip in 0..ROUND_TRIPS {
            while turn.load(Ordering::Acquire) != 2 * trip + own {
                if begun.elapsed() > LONGEST_PING_PONG {
                    return;
                }
                spin_loop();
            }
            turn.store(2 * trip + own + 1, Ordering::Release);
            if own == 0 {
                rallied.store(trip + 1, Ordering::Relaxed);
                *took = start.elapsed();
            }
        }
    });
    let trips = rallied.load(Ordering::Relaxed).checked_sub(1)?;
    (trips > ROUND_TRIPS / 10).then(|| roles[0].1.as_nanos() as f64 / trips as f64)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn a_probe_gives_finite_times_and_rates_above_zero_for_any_number_of_threads() {
        for threads in 1..=3 {
            let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
            let _pinned = team.pin_caller();
            let probe = MachineProbe::new().measure(&team);
            let known = [probe.multiply_add_ns, probe.ping_pong_ns, probe.read_gb_s];
            assert!(known.iter().flatten().all(|value| value.is_finite() && *value > 0.0));
            assert!(probe.multiply_add_ns.is_some());
            assert!(threads > 1 || probe.ping_pong_ns.is_none());
        }
    }

    #[test]
    fn a_state_that_was_just_measured_is_not_measured_again() {
        let team = Team::new(NonZeroUsize::MIN).unwrap();
        let _pinned = team.pin_caller();
        let mut probe = MachineProbe::new();
        // several times, since this thread may have to wait for its core between the two
        assert!((0..20).any(|_| probe.state(&team) == probe.state(&team)));
        let (first, until) = probe.last.unwrap();
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        assert_ne!(probe.state(&team), first);
    }
}
