//! Which cores a team's threads run on.
//!
//! Without pinning, the scheduler may keep two threads of a team on one core for the whole life of the
//! process. Small launches then take several times as long, in some processes and not in others. Two
//! processes that both chose the first cores would halve each other's speed as well: each claims its
//! cores, and takes unclaimed ones as long as there are any.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};

use crate::disturbance::cpu_quota;

thread_local! {
    static PINNED: RefCell<Weak<PinGuard>> = const { RefCell::new(Weak::new()) };
}

pub(super) struct Placement {
    /// One for each thread, the calling one first; `None` where threads are not pinned.
    cores: Option<Vec<usize>>,
    /// The cores that the calling thread may run on while it is not pinned.
    allowed: Vec<usize>,
    /// What a user should know of it, a line each.
    notes: Vec<String>,
    /// For as long as this lives, other processes leave these cores alone.
    _claims: Vec<system::Claim>,
}

/// Keeps a thread pinned to one core until the last `Rc` of it is dropped.
pub(super) struct PinGuard {
    /// The cores it could run on before.
    allowed: Vec<usize>,
}

impl Placement {
    /// A core for each thread; none if there are fewer cores than threads, under a limit on CPU time (a
    /// pinned thread could not use what others of the group leave), or if the system does not support
    /// pinning.
    pub(super) fn new(threads: usize) -> Self {
        let allowed = pin_guard().map_or_else(system::allowed, |guard| guard.allowed.clone());
        Self::within(threads, allowed, cpu_quota(), |core| system::run_on(&[core]))
    }

    fn within(
        threads: usize,
        allowed: Vec<usize>,
        quota: Option<f64>,
        run_on: impl Fn(usize) -> bool,
    ) -> Self {
        let available = allowed.len();
        let too_many = || format!("{threads} threads on {available} cores");
        let mut notes = Vec::new();
        let mut not_pinned = |reason: &str| {
            notes.push(format!("threads are not pinned: {reason}"));
            None
        };
        let cores = match quota {
            Some(quota) => {
                not_pinned(&format!("CPU time is limited to that of {quota:.1} cores"));
                if 0 < available && available < threads {
                    notes.push(too_many());
                }
                None
            }
            None if available == 0 => not_pinned("this system does not say on which cores"),
            None if available < threads => not_pinned(&too_many()),
            None => {
                let (mut cores, taken): (Vec<usize>, Vec<usize>) =
                    allowed.iter().partition(|&&core| system::claim(core).is_some());
                let shared = cores.len() < threads;
                if shared {
                    cores.extend(taken);
                }
                let chosen = choose(&cores, threads, system::siblings).unwrap_or_default();
                match elsewhere(|| chosen.iter().copied().find(|core| !run_on(*core))) {
                    Some(core) => not_pinned(&format!("the system refuses core {core}")),
                    None => {
                        if shared {
                            let other =
                                "another run computes on the same cores: each disturbs the other";
                            notes.push(other.to_owned());
                        }
                        Some(chosen)
                    }
                }
            }
        };
        let claims = cores.iter().flatten().filter_map(|&core| system::claim(core)).collect();
        Self { cores, allowed, notes, _claims: claims }
    }

    /// Why threads are not pinned, or share their cores.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(super) fn cores(&self) -> Option<&[usize]> {
        self.cores.as_deref()
    }

    /// Calls `start`, which starts thread `index`, so that the thread is on its core from the beginning:
    /// a thread inherits the cores of the one that starts it.
    pub(super) fn starting<T>(&self, index: usize, start: impl FnOnce() -> T) -> T {
        let cores = self.cores.as_ref().map_or(&self.allowed[..], |cores| &cores[index..=index]);
        elsewhere(|| {
            system::run_on(cores);
            start()
        })
    }

    /// Pins the calling thread to its core until all guards that this returned to it are dropped.
    pub(super) fn pin_caller(&self) -> Option<Rc<PinGuard>> {
        let core = *self.cores()?.first()?;
        pin_guard().or_else(|| {
            let new = Rc::new(PinGuard { allowed: system::allowed() });
            PINNED.try_with(|pinned| *pinned.borrow_mut() = Rc::downgrade(&new)).ok()?;
            system::run_on(&[core]);
            Some(new)
        })
    }
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        system::run_on(&self.allowed);
    }
}

/// The guard of the calling thread; `None` also for a thread that is ending.
fn pin_guard() -> Option<Rc<PinGuard>> {
    PINNED.try_with(|pinned| pinned.borrow().upgrade()).ok().flatten()
}

/// Calls `visit`, which changes where the calling thread may run, and undoes that.
fn elsewhere<T>(visit: impl FnOnce() -> T) -> T {
    let before = system::allowed();
    let result = visit();
    system::run_on(&before);
    result
}

/// Chooses one of the `allowed` logical cores for each thread: first one of each physical
/// core, then the second ones, and so on. `None` where there are too few.
///
/// `siblings` returns, in Linux's list format, the logical cores that share a physical core with a given
/// one. If it returns nothing, that core is taken to have no siblings.
fn choose(
    allowed: &[usize],
    threads: usize,
    siblings: impl Fn(usize) -> Option<String>,
) -> Option<Vec<usize>> {
    let allowed_siblings_before = |&core: &usize| {
        let siblings = siblings(core).and_then(|list| parse_list(&list)).unwrap_or_default();
        allowed.iter().filter(|&&other| other < core && siblings.contains(&other)).count()
    };
    let mut cores = allowed.to_vec();
    cores.sort_by_cached_key(allowed_siblings_before);
    (cores.len() >= threads).then(|| {
        cores.truncate(threads);
        cores
    })
}

/// Reads Linux's format for sets of cores, as in `0-2,8`.
fn parse_list(list: &str) -> Option<BTreeSet<usize>> {
    let mut ids = BTreeSet::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        ids.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(ids)
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeMap;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::sync::{Arc, Mutex, PoisonError, Weak};

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The logical cores that the calling thread may run on, ascending; none where the system does
    /// not say, as on machines with more than [`CpuSet::MAX_CPU`] of them.
    pub(super) fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
    }

    /// Restricts the calling thread to these cores; returns whether that succeeded.
    pub(super) fn run_on(cores: &[usize]) -> bool {
        let mut set = CpuSet::new();
        cores.iter().for_each(|&core| set.set(core));
        sched_setaffinity(None, &set).is_ok()
    }

    /// A core claimed: a name that only one process can have, which the system takes back when the
    /// process ends, however it ends.
    pub(super) type Claim = Arc<UnixListener>;

    /// This process's, which its backends share.
    static CLAIMS: Mutex<BTreeMap<usize, Weak<UnixListener>>> = Mutex::new(BTreeMap::new());

    /// Claims a core; `None` if another process has.
    pub(super) fn claim(core: usize) -> Option<Claim> {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(claim) = claims.get(&core).and_then(Weak::upgrade) {
            return Some(claim);
        }
        let address = SocketAddr::from_abstract_name(format!("alpha-flops-core-{core}")).ok()?;
        let claim = Arc::new(UnixListener::bind_addr(&address).ok()?);
        claims.insert(core, Arc::downgrade(&claim));
        Some(claim)
    }

    pub(super) fn siblings(core: usize) -> Option<String> {
        let topology = format!("/sys/devices/system/cpu/cpu{core}/topology");
        std::fs::read_to_string(format!("{topology}/thread_siblings_list")).ok()
    }
}

/// Other systems have no such call, or treat it only as a hint.
#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn run_on(_: &[usize]) -> bool {
        false
    }

    pub(super) type Claim = ();

    pub(super) fn claim(_: usize) -> Option<Claim> {
        Some(())
    }

    pub(super) fn siblings(_: usize) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read_and_other_text_is_not() {
        let ids = |list| parse_list(list).map(Vec::from_iter);
        assert_eq!(ids("0\n"), Some(vec![0]));
        assert_eq!(ids("0,4\n"), Some(vec![0, 4]));
        assert_eq!(ids("6-8,2,12-13\n"), Some(vec![2, 6, 7, 8, 12, 13]));
        for wrong in ["", "\n", "0,", "a", "1-", "-1", "1-2-3"] {
            assert_eq!(ids(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn physical_cores_come_before_their_second_threads() {
        // siblings far apart, as on most PCs
        let apart = |core: usize| Some(format!("{},{}\n", core % 4, core % 4 + 4));
        let all = Vec::from_iter(0..8);
        assert_eq!(choose(&all, 3, apart), Some(vec![0, 1, 2]));
        assert_eq!(choose(&all, 6, apart), Some(vec![0, 1, 2, 3, 4, 5]));
        // siblings side by side, as in many virtual machines
        let adjacent = |core: usize| Some(format!("{}-{}\n", core & !1, core | 1));
        assert_eq!(choose(&all, 4, adjacent), Some(vec![0, 2, 4, 6]));
        assert_eq!(choose(&all, 6, adjacent), Some(vec![0, 2, 4, 6, 1, 3]));
        // where the first thread of a core is not allowed, its second one is as good
        assert_eq!(choose(&[1, 2, 3, 5], 3, adjacent), Some(vec![1, 2, 5]));
        assert_eq!(choose(&all, 3, |_| None), Some(vec![0, 1, 2]));
        assert_eq!(choose(&all, 3, |_| Some("?".to_owned())), Some(vec![0, 1, 2]));
    }

    #[test]
    fn too_few_allowed_cores_are_none() {
        assert_eq!(choose(&[0, 1], 3, |_| None), None);
        assert_eq!(choose(&[], 1, |_| None), None);
        assert_eq!(choose(&[3], 1, |_| None), Some(vec![3]));
    }

    #[cfg(target_os = "linux")]
    mod on_linux {
        use std::thread;

        use super::super::{Placement, system};

        fn cores_of_thread(placement: &Placement, index: usize) -> Vec<usize> {
            placement.starting(index, || thread::spawn(system::allowed)).join().unwrap()
        }

        #[test]
        fn threads_are_on_distinct_allowed_cores_and_the_caller_is_let_go() {
            let before = system::allowed();
            for threads in 1..=before.len() {
                let placement = Placement::new(threads);
                let cores = placement.cores().unwrap().to_vec();
                assert_eq!(cores.len(), threads);
                assert!(cores.iter().all(|core| before.contains(core)), "{cores:?} of {before:?}");
                assert_eq!(system::allowed(), before);
                let guard = placement.pin_caller();
                for (index, &core) in cores.iter().enumerate() {
                    assert!(!cores[..index].contains(&core), "{cores:?}");
                    assert_eq!(cores_of_thread(&placement, index), [core]);
                    assert_eq!(system::allowed(), [cores[0]]);
                }
                drop(guard);
                assert_eq!(system::allowed(), before);
            }
        }

        #[test]
        fn under_a_limit_on_cpu_time_nothing_is_pinned_and_a_note_says_so() {
            let limited = "threads are not pinned: CPU time is limited to that of 1.5 cores";
            for (threads, expected) in
                [(1, &[limited][..]), (3, &[limited, "3 threads on 2 cores"])]
            {
                let placement = Placement::within(threads, vec![0, 1], Some(1.5), |_| true);
                assert_eq!(
                    (placement.cores(), placement.notes()),
                    (None, strings(expected).as_slice())
                );
            }
        }

        #[test]
        fn whatever_keeps_threads_from_being_pinned_is_said_in_one_line() {
            // numbers that no machine has: what is claimed here is nobody else's
            let allowed = || vec![1021, 1022];
            for (threads, cores, refused, reason) in [
                (3, allowed(), None, "3 threads on 2 cores"),
                (2, Vec::new(), None, "this system does not say on which cores"),
                (2, allowed(), Some(1022), "the system refuses core 1022"),
            ] {
                let run_on = |core| Some(core) != refused;
                let placement = Placement::within(threads, cores, None, run_on);
                assert_eq!(placement.cores(), None);
                assert_eq!(placement.notes(), [format!("threads are not pinned: {reason}")]);
            }
            let placement = Placement::within(2, allowed(), None, |_| true);
            assert_eq!(placement.cores(), Some(&allowed()[..]));
            assert!(placement.notes().is_empty());
        }

        fn strings(texts: &[&str]) -> Vec<String> {
            texts.iter().map(ToString::to_string).collect()
        }

        #[test]
        fn a_core_that_another_process_has_claimed_is_not_taken_while_others_are_free() {
            use std::os::linux::net::SocketAddrExt;
            use std::os::unix::net::{SocketAddr, UnixListener};
            let core = 1023;
            let address = SocketAddr::from_abstract_name(format!("alpha-flops-core-{core}"));
            let other = UnixListener::bind_addr(&address.unwrap()).unwrap();
            assert!(system::claim(core).is_none());
            drop(other);
            let claim = system::claim(core);
            assert!(claim.is_some());
            // this process's own are free for it
            assert!(system::claim(core).is_some());
        }

        #[test]
        fn more_threads_than_cores_run_anywhere_even_if_the_caller_is_pinned_to_one() {
            let before = system::allowed();
            let placement = Placement::new(before.len() + 1);
            assert_eq!(placement.cores(), None);
            assert!(placement.pin_caller().is_none());
            assert_eq!(cores_of_thread(&placement, 1), before);
            assert_eq!(system::allowed(), before);

            let one = Placement::new(1);
            let _guard = one.pin_caller();
            let placement = Placement::new(before.len() + 1);
            assert_eq!(cores_of_thread(&placement, 1), before);
            assert_eq!(system::allowed(), one.cores().unwrap());
        }

        #[test]
        fn placements_of_one_thread_share_its_core_whichever_is_dropped_first() {
            let before = system::allowed();
            for first_dropped in [0, 1] {
                let one = Placement::new(1);
                let mut guards = vec![one.pin_caller().unwrap()];
                let all = Placement::new(before.len());
                assert_eq!(all.cores().unwrap()[0], one.cores().unwrap()[0]);
                guards.push(all.pin_caller().unwrap());
                drop(guards.remove(first_dropped));
                assert_eq!(system::allowed(), one.cores().unwrap());
                drop(guards);
                assert_eq!(system::allowed(), before);
            }
        }
    }
}
