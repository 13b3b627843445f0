//! The fixed set of threads that a backend computes with.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use gemm::Parallelism;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::backend::BackendError;

/// Threads to share work among; one of them is, where possible, the thread that made the team.
///
/// A worker has to be woken for each launch, and the calling thread again when all is done. Making
/// the calling thread a member saves one of the two, which small layers notice. Rayon allows that
/// once per thread: a second team of another size on the same thread has workers only.
#[derive(Clone)]
pub(super) struct Team {
    threads: NonZeroUsize,
    /// `None`: the calling thread alone. `Rc`, so that a team stays on the thread it was made for.
    pool: Option<Rc<ThreadPool>>,
}

thread_local! {
    /// Pools are kept until their thread ends, for the next team of the same size.
    static POOLS: RefCell<Vec<Rc<ThreadPool>>> = const { RefCell::new(Vec::new()) };
}

impl Team {
    /// A team of so many threads.
    ///
    /// # Errors
    /// [`BackendError::Threads`] where the system refuses to start them.
    pub(super) fn new(threads: NonZeroUsize) -> Result<Self, BackendError> {
        let pool = match threads.get() {
            1 => None,
            count => Some(POOLS.with_borrow_mut(|pools| pool_of(count, pools))?),
        };
        Ok(Self { threads, pool })
    }

    pub(super) fn size(&self) -> NonZeroUsize {
        self.threads
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.get()
    }

    /// Calls `work` once on each part, on different threads where there are several parts.
    pub(super) fn for_each<P: Send>(&self, parts: &mut [P], work: impl Fn(&mut P) + Sync + Send) {
        match &self.pool {
            Some(pool) if parts.len() > 1 => {
                pool.install(|| parts.par_iter_mut().with_max_len(1).for_each(work));
            }
            _ => parts.iter_mut().for_each(work),
        }
    }

    /// How `gemm` is told to use the whole team, inside [`Team::install`].
    pub(super) fn parallelism(&self) -> Parallelism {
        match self.threads.get() {
            1 => Parallelism::None,
            threads => Parallelism::Rayon(threads),
        }
    }

    /// Calls `work` once, from inside the pool, for code that starts its own parallel work.
    pub(super) fn install(&self, work: impl FnOnce() + Send) {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

fn pool_of(count: usize, pools: &mut Vec<Rc<ThreadPool>>) -> Result<Rc<ThreadPool>, BackendError> {
    if let Some(pool) = pools.iter().find(|pool| pool.current_num_threads() == count) {
        return Ok(Rc::clone(pool));
    }
    let mut builder = ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|index| format!("convolution-{index}"));
    // a thread can be a member of one pool only
    if rayon::current_thread_index().is_none() {
        builder = builder.use_current_thread();
    }
    let pool = builder
        .build()
        .map_err(|error| BackendError::Threads { threads: count, reason: error.to_string() })?;
    let pool = Rc::new(pool);
    pools.push(Rc::clone(&pool));
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(team: &Team, parts: usize) -> Vec<usize> {
        let mut counts = vec![0; parts];
        team.for_each(&mut counts, |count| *count += 1);
        counts
    }

    #[test]
    fn teams_of_any_size_can_follow_one_another_on_one_thread() {
        for threads in [1, 2, 3, 2, 1, 4] {
            let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
            assert_eq!(team.threads(), threads);
            for parts in [0, 1, 2, 5] {
                assert_eq!(visits(&team, parts), vec![1; parts]);
            }
        }
    }

    #[test]
    fn a_team_can_be_made_inside_a_rayon_pool() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let counts =
            pool.install(|| visits(&Team::new(NonZeroUsize::MIN.saturating_add(1)).unwrap(), 3));
        assert_eq!(counts, [1, 1, 1]);
    }
}
