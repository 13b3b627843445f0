//! The fixed set of threads that a backend computes with.
//!
//! This is not a general thread pool. A launch of a small layer takes a few microseconds, less than it
//! takes to wake a sleeping thread. In a pool with sleeping workers, the latency of such launches is
//! bimodal: it depends on whether a worker happened to be awake. Workers here stay awake for a while
//! after each launch, so that back-to-back launches are never delayed.

use std::any::Any;
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::cores::{PinGuard, Placement};
use crate::backend::BackendError;
use crate::disturbance::{Threads, thread_id};

/// How long a waiting thread spins before it offers its core to others.
///
/// It is short, because the thread it waits for may need this very core: if there are more threads than
/// cores, or if threads cannot be pinned and the scheduler has put two of them on one core. Every
/// such wait then delays the work by this time. On a core that no other thread wants, yielding returns
/// at once and costs nothing.
const SPIN: Duration = Duration::from_micros(5);
/// How long a worker without work stays awake, offering its core to others.
const STAY_AWAKE: Duration = Duration::from_millis(5);

/// Threads to share work among, the calling thread being one of them.
///
/// Each thread has its own core if the calling thread may run on enough of them. More threads than
/// idle cores are allowed but slow: all of them wait for the last one to be scheduled.
///
/// Only the thread that created it can use it (`Rc`), for one piece of work at a time.
#[derive(Clone)]
pub(super) struct Team {
    threads: NonZeroUsize,
    workers: Rc<Workers>,
}

/// All threads but the calling one. They end with it.
struct Workers {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    busy: Cell<bool>,
    placement: Placement,
    /// All threads', as the system numbers them, the calling one's among them.
    ids: Vec<u32>,
}

#[derive(Default)]
struct Shared {
    /// Counts pieces of work; a worker looks for `work` when this changes.
    announced: AtomicUsize,
    work: Mutex<Option<Work>>,
    /// Workers that have not finished the current piece.
    unfinished: AtomicUsize,
    /// What workers panicked with in the current piece.
    panics: Mutex<Vec<Box<dyn Any + Send>>>,
}

/// What every thread calls with its number. The pointee lives until `unfinished` is 0.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn(usize) + Sync));

// SAFETY: the pointee is `Sync`, so that a reference to it may be used on any thread; that it is
// alive whenever one does is `Workers::run`'s duty.
unsafe impl Send for Work {}

impl Team {
    /// A team of so many threads, the workers pinned to their cores where that is possible.
    pub(super) fn new(threads: NonZeroUsize) -> Result<Self, BackendError> {
        let mut workers = Workers {
            shared: Arc::default(),
            handles: Vec::new(),
            busy: Cell::new(false),
            placement: Placement::new(threads.get()),
            ids: Vec::new(),
        };
        for index in 1..threads.get() {
            let shared = Arc::clone(&workers.shared);
            let name = format!("convolution-{index}");
            let worker = thread::Builder::new().name(name);
            let start = || worker.spawn(move || shared.serve(index));
            let handle = workers.placement.starting(index, start);
            workers.handles.push(handle.map_err(|error| BackendError::Threads {
                threads: threads.get(),
                reason: error.to_string(),
            })?);
        }
        let ids = Mutex::default();
        workers.run(&|_| lock::<Vec<u32>>(&ids).extend(thread_id()));
        workers.ids = ids.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { threads, workers: Rc::new(workers) })
    }

    /// All threads, the calling one among them.
    pub(super) fn thread_ids(&self) -> Threads {
        let known = self.workers.ids.len() == self.threads();
        Threads {
            ids: if known { self.workers.ids.clone() } else { Vec::new() },
            cores: self.cores().map(<[usize]>::to_vec),
        }
    }

    pub(super) fn size(&self) -> NonZeroUsize {
        self.threads
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.get()
    }

    pub(super) fn cores(&self) -> Option<&[usize]> {
        self.workers.placement.cores()
    }

    pub(super) fn placement_notes(&self) -> &[String] {
        self.workers.placement.notes()
    }

    pub(super) fn pin_caller(&self) -> Option<Rc<PinGuard>> {
        self.workers.placement.pin_caller()
    }

    /// Calls `work` once on each part: part 0 on the calling thread, part 1 on the first worker,
    /// and so on, around again where there are more parts than threads.
    ///
    /// # Panics
    /// Where `work` does, on whichever thread.
    pub(super) fn for_each<P: Send>(&self, parts: &mut [P], work: impl Fn(&mut P) + Sync) {
        if parts.len() < 2 || self.threads() == 1 {
            return parts.iter_mut().for_each(work);
        }
        // never contended: each is locked once, by one thread
        let parts = parts.iter_mut().map(Mutex::new).collect::<Vec<_>>();
        let threads = self.threads();
        self.workers.run(&|thread| {
            for part in parts.iter().skip(thread).step_by(threads) {
                work(&mut lock(part));
            }
        });
    }
}

impl Workers {
    /// Calls `work` with 0 here and with 1, 2, … on the workers; returns when all are done.
    ///
    /// # Panics
    /// Where `work` does, or calls this in turn.
    fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        assert!(!self.busy.replace(true), "work inside of work");
        // SAFETY: only the lifetime changes. Workers use the pointee between the announcement below
        // and their decrement of `unfinished`, and this function, and so the borrow of `work`, does
        // not end before that is 0: of what lies between, only `work` can panic, and that is caught.
        let erased = unsafe {
            std::mem::transmute::<
                *const (dyn Fn(usize) + Sync + '_),
                *const (dyn Fn(usize) + Sync + 'static),
            >(std::ptr::from_ref(work))
        };
        *lock(&self.shared.work) = Some(Work(erased));
        self.shared.unfinished.store(self.handles.len(), Ordering::Relaxed);
        self.announce();
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        self.wait_until_finished();
        self.busy.set(false);
        let mut panics = std::mem::take(&mut *lock(&self.shared.panics));
        panics.extend(own.err());
        if let Some(panic) = panics.pop() {
            resume_unwind(panic);
        }
    }

    /// Wakes the workers: they find work or, if there is none, end.
    fn announce(&self) {
        self.shared.announced.fetch_add(1, Ordering::Release);
        for handle in &self.handles {
            handle.thread().unpark();
        }
    }

    fn wait_until_finished(&self) {
        let mut waiting = Waiting::new();
        // acquires what each worker wrote before its decrement
        while self.shared.unfinished.load(Ordering::Acquire) != 0 {
            waiting.pause();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        *lock(&self.shared.work) = None;
        self.announce();
        for handle in self.handles.drain(..) {
            // a worker catches the panics of its work; nothing else in it fails
            let _ = handle.join();
        }
    }
}

impl Shared {
    fn serve(&self, index: usize) {
        let mut seen = 0;
        loop {
            seen = self.next_announcement(seen);
            let Some(Work(work)) = *lock(&self.work) else { return };
            // SAFETY: `Workers::run` keeps the pointee alive until this worker decrements
            // `unfinished`, below.
            let work = unsafe { &*work };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(index))) {
                // kept, not dropped: dropping could panic in turn, and the caller would wait forever
                lock(&self.panics).push(panic);
            }
            self.unfinished.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until `announced` is no longer `seen`: awake at first, then asleep.
    fn next_announcement(&self, seen: usize) -> usize {
        let mut waiting = Waiting::new();
        loop {
            let announced = self.announced.load(Ordering::Acquire);
            if announced != seen {
                return announced;
            }
            if waiting.pause() > STAY_AWAKE {
                // returns at once where `unpark` came before it
                thread::park();
            }
        }
    }
}

/// Waits without sleeping: spins for a moment, then yields the core to other threads.
struct Waiting {
    since: Instant,
}

impl Waiting {
    fn new() -> Self {
        Self { since: Instant::now() }
    }

    /// Passes a little time; returns how long it has been in all.
    fn pause(&mut self) -> Duration {
        let waited = self.since.elapsed();
        if waited < SPIN {
            std::hint::spin_loop()
        } else {
            thread::yield_now()
        }
        waited
    }
}

/// A poisoned lock is safe to use: a panic leaves no inconsistent state behind, and `run` reports it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn team(threads: usize) -> Team {
        Team::new(NonZeroUsize::new(threads).unwrap()).unwrap()
    }

    #[test]
    fn every_part_is_worked_on_once_by_teams_of_any_size() {
        for threads in [1, 2, 3, 2, 1, 8] {
            let team = team(threads);
            assert_eq!(team.threads(), threads);
            for parts in [0, 1, 2, 5, 20] {
                let mut counts = vec![0; parts];
                team.for_each(&mut counts, |count| *count += 1);
                assert_eq!(counts, vec![1; parts], "{threads} threads");
            }
        }
    }

    #[test]
    fn parts_run_on_different_threads_and_the_first_on_the_calling_one() {
        let mut ids = vec![None; 3];
        team(3).for_each(&mut ids, |id| *id = Some(thread::current().id()));
        assert_eq!(ids[0], Some(thread::current().id()));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    }

    /// Fails instead of waiting forever where `work` does.
    fn within_a_minute(work: impl FnOnce() + Send + 'static) {
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            work();
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(60)).expect("hung, or panicked before");
    }

    /// Writes of each piece must be visible to the next one, whichever thread it runs on.
    fn add_up(team: &Team, pieces: u64, pause: impl Fn(u64)) {
        let mut sums = vec![0; team.threads()];
        for piece in 0..pieces {
            team.for_each(&mut sums, |sum| *sum += piece);
            sums.rotate_left(1);
            pause(piece);
        }
        assert_eq!(sums, vec![(0..pieces).sum::<u64>(); team.threads()]);
    }

    #[test]
    fn many_tiny_pieces_of_work_get_done_by_more_threads_than_cores_too() {
        within_a_minute(|| {
            for threads in 2..=8 {
                add_up(&team(threads), 200, |_| ());
            }
        });
    }

    #[test]
    fn workers_about_to_sleep_or_asleep_are_woken() {
        within_a_minute(|| {
            let around_falling_asleep = |piece| {
                thread::sleep(STAY_AWAKE * 9 / 10 + Duration::from_micros(20 * piece));
            };
            add_up(&team(3), 60, around_falling_asleep);
        });
    }

    #[test]
    fn a_team_ends_whatever_its_workers_are_doing() {
        within_a_minute(|| {
            for _ in 0..50 {
                drop(team(3));
            }
            let asleep = team(3);
            thread::sleep(STAY_AWAKE * 2);
            drop(asleep);
        });
    }

    #[test]
    fn a_panic_on_any_threads_reaches_the_caller_and_the_team_goes_on() {
        for panicking in [&[0][..], &[1], &[2], &[1, 2], &[0, 1, 2]] {
            let team = team(3);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                team.for_each(&mut [0, 1, 2], |part| {
                    if panicking.contains(part) {
                        std::panic::panic_any(*part);
                    }
                });
            }));
            let payload = *panic.unwrap_err().downcast::<i32>().unwrap();
            assert!(panicking.contains(&payload), "{payload} of {panicking:?}");
            let mut counts = [0; 3];
            team.for_each(&mut counts, |count| *count += 1);
            assert_eq!(counts, [1; 3]);
        }
    }

    #[test]
    fn work_inside_of_work_is_refused_and_the_team_goes_on() {
        thread_local! { static TEAM: Team = team(2); }
        TEAM.with(|team| {
            let nested = catch_unwind(AssertUnwindSafe(|| {
                team.for_each(&mut [true, false], |on_calling_thread| {
                    if *on_calling_thread {
                        TEAM.with(|team| team.for_each(&mut [0, 0], |_| ()));
                    }
                });
            }));
            assert!(nested.is_err());
            add_up(team, 3, |_| ());
        });
    }
}
