//! A bounded thread pool: a fixed number of workers, tasks pulled as they come, nothing allocated per run.
//!
//! ```
//! use optc_runtime::pool::Pool;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! let pool = Pool::new(2);
//! let sum = AtomicU64::new(0);
//! pool.run(100, &|_worker, task| {
//!     sum.fetch_add(task as u64, Ordering::Relaxed);
//! })?;
//! assert_eq!(sum.into_inner(), 4950);
//! # Ok::<(), optc_runtime::pool::Panicked>(())
//! ```
//!
//! Which worker runs which task is not determined; callers give each task its own output, so results are. A run does
//! not wait for workers that are still asleep when the last task is taken.

mod shared;

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What a run executes: called with the worker's number, below [`Pool::threads`], and the task's.
pub type Task<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// A task panicked. The others ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task of the thread pool panicked")]
pub struct Panicked;

/// Threads that run tasks, and the caller's among them.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held during a run; a second caller works alone meanwhile.
    busy: Mutex<()>,
    /// The process that has the workers: a fork of it has none, and runs every task on the calling thread.
    process: u32,
}

impl Pool {
    /// A pool of `threads` workers, the calling thread counted as one; 0 is taken as 1.
    ///
    /// Where the system refuses a thread, the pool has fewer. Returns when every worker runs: what a thread allocates
    /// to start is allocated here, not during somebody's step.
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared::default());
        let spawn = |worker: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("optc-{worker}"))
                .spawn(move || shared.work(worker))
                .ok()
        };
        let workers: Vec<_> = (1..threads.max(1)).map_while(spawn).collect();
        while shared.started.load(Ordering::Acquire) < workers.len() {
            std::thread::yield_now();
        }
        Pool {
            shared,
            workers,
            busy: Mutex::new(()),
            process: std::process::id(),
        }
    }

    /// A pool with as many workers as the machine lets this process use.
    pub fn with_available_parallelism() -> Pool {
        Pool::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Workers, the caller among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs tasks `0..tasks` and returns when all are done.
    ///
    /// # Errors
    ///
    /// [`Panicked`] if any task panicked; the others have run all the same.
    pub fn run(&self, tasks: usize, task: Task<'_>) -> Result<(), Panicked> {
        let alone = self.workers.is_empty() || tasks <= 1 || self.is_of_another_process();
        match self.busy.try_lock() {
            Ok(_busy) if !alone => self.run_together(tasks, task),
            _ => run_alone(tasks, task),
        }
    }

    /// This process is a fork of the one that has the workers.
    fn is_of_another_process(&self) -> bool {
        std::process::id() != self.process
    }

    fn run_together(&self, tasks: usize, task: Task<'_>) -> Result<(), Panicked> {
        // SAFETY: `busy` is held, and the last run ended with `close`, after which no worker touches the job.
        unsafe { self.shared.open(tasks, task) };
        self.shared.wake(tasks - 1);
        self.shared.pull(0, tasks, task);
        self.shared.close();
        if self.shared.panicked.load(Ordering::Relaxed) {
            Err(Panicked)
        } else {
            Ok(())
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.is_of_another_process() {
            // There is nobody to wait for.
            self.workers.drain(..).for_each(std::mem::forget);
            return;
        }
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake(usize::MAX);
        for worker in self.workers.drain(..) {
            // A worker contains every panic of a task, so there is nothing to report here.
            let _ = worker.join();
        }
    }
}

fn run_alone(tasks: usize, task: Task<'_>) -> Result<(), Panicked> {
    let mut result = Ok(());
    for n in 0..tasks {
        if catch_unwind(AssertUnwindSafe(|| task(0, n))).is_err() {
            result = Err(Panicked);
        }
    }
    result
}

/// How long a worker looks for the next run before it sleeps; runs of one step follow each other within this time.
const SPINS: u32 = 2_000;
/// Set in [`Shared::state`] while a run takes workers.
const OPEN: u64 = 1 << 31;
/// Workers inside the current run: the low bits of [`Shared::state`].
const INSIDE: u64 = OPEN - 1;
/// One run later: the high half of [`Shared::state`].
const NEXT_RUN: u64 = 1 << 32;

#[derive(Debug, Default)]
struct Shared {
    /// Run number, whether it is open, and how many workers are inside.
    state: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    next: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Workers whose thread runs.
    started: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    opened: Condvar,
}

// SAFETY: `job` is written only in `open`, while no worker is inside a run, and read only by workers inside one;
// `state` orders the two. Everything else is atomic or locked.
unsafe impl Sync for Shared {}
// SAFETY: a job points to a task that is `Sync`, so another thread may hold it.
unsafe impl Send for Shared {}

#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    /// Valid while the run is open or a worker is inside it.
    task: *const (dyn Fn(usize, usize) + Sync),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job {{ tasks: {} }}", self.tasks)
    }
}

impl Shared {
    /// Starts a run.
    ///
    /// # Safety
    ///
    /// No run is open and no worker is inside one; the caller keeps `task` alive until [`Shared::close`] returns.
    unsafe fn open(&self, tasks: usize, task: Task<'_>) {
        type Erased<'a> = *const (dyn Fn(usize, usize) + Sync + 'a);
        let erased: Erased<'_> = task;
        // SAFETY: only the lifetime changes; `close` returns after the last use.
        let task = unsafe { std::mem::transmute::<Erased<'_>, Erased<'static>>(erased) };
        // SAFETY: no worker is inside a run, so nobody reads the job.
        unsafe { *self.job.get() = Some(Job { tasks, task }) };
        self.next.store(0, Ordering::Relaxed);
        self.panicked.store(false, Ordering::Relaxed);
        let run = self.state.load(Ordering::Relaxed) & !(OPEN | INSIDE);
        self.state.store((run + NEXT_RUN) | OPEN, Ordering::SeqCst);
    }

    /// Takes no further worker and waits for those inside.
    fn close(&self) {
        let mut inside = self.state.fetch_and(!OPEN, Ordering::AcqRel) & INSIDE;
        let mut spins = 0u32;
        while inside != 0 {
            // The tasks still running are the tail of this run; yielding helps when threads outnumber cores.
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop()
            } else {
                std::thread::yield_now()
            }
            inside = self.state.load(Ordering::Acquire) & INSIDE;
        }
    }

    fn pull(&self, worker: usize, tasks: usize, task: Task<'_>) {
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            if n >= tasks {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| task(worker, n))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
        }
    }

    fn work(&self, worker: usize) {
        self.started.fetch_add(1, Ordering::Release);
        let mut seen = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let state = self.state.load(Ordering::Acquire);
            if state & OPEN == 0 || state >> 32 == seen {
                self.wait(seen);
            } else if self.enter(state) {
                seen = state >> 32;
                self.take_part(worker);
            }
        }
    }

    /// Counts this worker into the run of `state`, unless that has changed.
    fn enter(&self, state: u64) -> bool {
        self.state
            .compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    fn take_part(&self, worker: usize) {
        // SAFETY: this worker is inside a run, so the job is set, stays, and its task is alive.
        let job = unsafe { (*self.job.get()).map(|job| (job.tasks, &*job.task)) };
        if let Some((tasks, task)) = job {
            self.pull(worker, tasks, task);
        }
        self.state.fetch_sub(1, Ordering::AcqRel);
    }

    fn has_news(&self, seen: u64) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        (state & OPEN != 0 && state >> 32 != seen) || self.stop.load(Ordering::SeqCst)
    }

    /// Returns when a run other than `seen` is open, first spinning, then asleep.
    fn wait(&self, seen: u64) {
        for _ in 0..SPINS {
            if self.has_news(seen) {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.guard();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !self.has_news(seen) {
            guard = self
                .opened
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes up to `count` sleeping workers.
    fn wake(&self, count: usize) {
        let sleepers = self.sleepers.load(Ordering::SeqCst);
        if sleepers == 0 && count != usize::MAX {
            return;
        }
        let _guard = self.guard();
        if count >= sleepers {
            self.opened.notify_all();
        } else {
            (0..count).for_each(|_| self.opened.notify_one());
        }
    }

    fn guard(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pool: &Pool, tasks: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|worker, task| {
            assert!(worker < pool.threads());
            counts[task].fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_task_runs_once() {
        for threads in [0, 1, 2, 3, 8] {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 1000] {
                assert_eq!(counts(&pool, tasks), vec![1; tasks], "{threads} threads");
            }
        }
    }

    #[test]
    fn many_short_runs_lose_nothing() {
        let pool = Pool::new(4);
        let sum = AtomicUsize::new(0);
        for run in 0..20_000 {
            if run % 5_000 == 0 {
                // Long enough for the workers to fall asleep.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let add = |_: usize, task: usize| {
                sum.fetch_add(task + 1, Ordering::Relaxed);
            };
            pool.run(3, &add).unwrap();
        }
        assert_eq!(sum.into_inner(), 20_000 * 6);
    }

    #[test]
    fn a_worker_number_is_never_shared() {
        let pool = Pool::new(4);
        let inside: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        pool.run(10_000, &|worker, _| {
            assert_eq!(inside[worker].fetch_add(1, Ordering::SeqCst), 0);
            inside[worker].fetch_sub(1, Ordering::SeqCst);
        })
        .unwrap();
    }

    #[test]
    fn a_panic_is_reported_and_the_pool_survives() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let ran = AtomicUsize::new(0);
            let outcome = pool.run(100, &|_, task| {
                ran.fetch_add(1, Ordering::Relaxed);
                assert_ne!(task, 50);
            });
            assert_eq!((outcome, ran.into_inner()), (Err(Panicked), 100));
            assert_eq!(counts(&pool, 10), vec![1; 10]);
        }
    }

    #[test]
    fn two_callers_and_a_nested_run_make_progress() {
        let pool = Pool::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| assert_eq!(counts(&pool, 9), vec![1; 9])));
            }
        });
        pool.run(4, &|_, _| assert_eq!(counts(&pool, 5), vec![1; 5]))
            .unwrap();
    }
}
