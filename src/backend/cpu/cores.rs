//! Which cores a team's threads run on.
//!
//! Left alone, the system may keep two threads of a team on one core for as long as the process
//! lives, because each of them seems content with its half: small launches then take a multiple of
//! their time, in some processes and not in others.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};

thread_local! {
    /// Set while teams that this thread made keep it on a core.
    static KEPT: RefCell<Weak<Kept>> = const { RefCell::new(Weak::new()) };
}

/// Where the threads of one team run. While it lives, the calling thread is on the first core.
pub(super) struct Placement {
    /// One for each thread, the calling one first; none where they run wherever the system likes.
    cores: Option<Vec<usize>>,
    /// Shared by all teams of the calling thread; none where no team keeps it on a core.
    kept: Option<Rc<Kept>>,
}

/// A thread on one core, until this is dropped.
struct Kept {
    core: usize,
    /// The cores it could run on before.
    allowed: Vec<usize>,
}

impl Placement {
    /// A core for each of so many threads, and the calling thread on its own; no cores where there
    /// are fewer than threads, or where the system does not let threads choose.
    pub(super) fn new(threads: usize) -> Self {
        // a thread that ends has lost KEPT, and what it does is not worth pinning for
        let kept = KEPT.try_with(|kept| kept.borrow().upgrade()).ok().flatten();
        let allowed = kept.as_ref().map_or_else(system::allowed, |kept| kept.allowed.clone());
        let cores = choose(&allowed, threads, system::siblings);
        let Some(cores) = cores.filter(|cores| can_run_on_each(cores)) else {
            return_to(kept.as_deref(), &allowed);
            return Self { cores: None, kept };
        };
        let core = cores[0];
        let kept = kept.unwrap_or_else(|| Rc::new(Kept { core, allowed }));
        // a thread whose end has begun stays on its core until `kept` is dropped all the same
        let _ = KEPT.try_with(|current| *current.borrow_mut() = Rc::downgrade(&kept));
        system::run_on(&[kept.core]);
        Self { cores: Some(cores), kept: Some(kept) }
    }

    /// The cores of the threads, the calling one first; none where they are not pinned.
    pub(super) fn cores(&self) -> Option<&[usize]> {
        self.cores.as_deref()
    }

    /// Calls `start`, which starts a thread, in such a way that the thread has the core of thread
    /// `index` from its beginning: threads inherit where they may run from the one that starts them.
    pub(super) fn starting<T>(&self, index: usize, start: impl FnOnce() -> T) -> T {
        let Some(kept) = &self.kept else { return start() };
        match &self.cores {
            Some(cores) => system::run_on(&cores[index..=index]),
            None => system::run_on(&kept.allowed),
        };
        let started = start();
        system::run_on(&[kept.core]);
        started
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        system::run_on(&self.allowed);
    }
}

/// Whether the system lets this thread run on each; leaves it on one of them.
fn can_run_on_each(cores: &[usize]) -> bool {
    cores.iter().all(|&core| system::run_on(&[core]))
}

/// Undoes what [`can_run_on_each`] did.
fn return_to(kept: Option<&Kept>, allowed: &[usize]) {
    match kept {
        Some(kept) => system::run_on(&[kept.core]),
        None => system::run_on(allowed),
    };
}

/// So many of the `allowed` logical cores (ascending): one of each physical core as far as these
/// go, then the second ones, and so on. None where there are too few.
///
/// `siblings` says in Linux's list format which logical cores are one physical core with a given
/// one; where it does not know, that one is taken to be alone.
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
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The logical cores that the calling thread may run on, ascending; none where the system does
    /// not say, as on machines with more than [`CpuSet::MAX_CPU`] of them.
    pub(super) fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
    }

    /// Has the calling thread run on these cores only; returns whether the system does so.
    pub(super) fn run_on(cores: &[usize]) -> bool {
        let mut set = CpuSet::new();
        cores.iter().for_each(|&core| set.set(core));
        sched_setaffinity(None, &set).is_ok()
    }

    pub(super) fn siblings(core: usize) -> Option<String> {
        let topology = format!("/sys/devices/system/cpu/cpu{core}/topology");
        std::fs::read_to_string(format!("{topology}/thread_siblings_list")).ok()
    }
}

/// Other systems have no call for this, or take it as a hint.
#[cfg(not(target_os = "linux"))]
mod system {
    pub(super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn run_on(_: &[usize]) -> bool {
        false
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
        fn threads_are_on_distinct_allowed_cores_until_the_placement_is_dropped() {
            let before = system::allowed();
            for threads in 1..=before.len() {
                let placement = Placement::new(threads);
                let cores = placement.cores().unwrap().to_vec();
                assert_eq!(cores.len(), threads);
                assert!(cores.iter().all(|core| before.contains(core)), "{cores:?} of {before:?}");
                for (index, &core) in cores.iter().enumerate() {
                    assert!(!cores[..index].contains(&core), "{cores:?}");
                    assert_eq!(cores_of_thread(&placement, index), [core]);
                    assert_eq!(system::allowed(), [cores[0]]);
                }
                drop(placement);
                assert_eq!(system::allowed(), before);
            }
        }

        #[test]
        fn more_threads_than_cores_run_anywhere() {
            let before = system::allowed();
            let placement = Placement::new(before.len() + 1);
            assert_eq!(placement.cores(), None);
            assert_eq!(cores_of_thread(&placement, 1), before);
            assert_eq!(system::allowed(), before);
        }

        #[test]
        fn placements_of_one_thread_share_its_core_whichever_is_dropped_first() {
            let before = system::allowed();
            for first_dropped in 0..3 {
                let sizes = [1, before.len() + 1, before.len()];
                let mut placements = sizes.map(Placement::new).map(Some);
                let [Some(one), Some(unpinned), Some(all)] = &placements else { unreachable!() };
                assert_eq!(one.cores().unwrap(), &all.cores().unwrap()[..1]);
                assert_eq!(unpinned.cores(), None);
                assert_eq!(cores_of_thread(unpinned, 1), before);
                let own = all.cores().unwrap()[0];
                placements[first_dropped] = None;
                assert_eq!(system::allowed(), [own]);
                placements = [None, None, None];
                assert!(placements.iter().all(Option::is_none));
                assert_eq!(system::allowed(), before);
            }
        }
    }
}
