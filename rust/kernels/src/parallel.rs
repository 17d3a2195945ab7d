//! The thread pool: a small one of our own, because starting work must cost less than a small matrix product.
//!
//! A caller publishes its job in one of a few slots, wakes sleeping workers and claims chunks itself: its own stretch of
//! the job first, large chunks before small ones, then what is left of the others' ([`job`]). It waits only for chunks that
//! a worker has already claimed, so a worker that wakes late costs nothing; where that takes long, because the system has
//! stopped the worker, the caller sleeps, so that its own core is free for the worker. Workers spin for a moment after their
//! last chunk, then sleep; they wake on another core than the caller's ([`place`]). Several threads may call at once; nested
//! calls run on the calling thread.
//!
//! In a forked child only the forking thread exists: the child starts with a pool of one thread.

mod job;
mod place;

use self::job::Job;
use self::place::Asleep;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long an idle worker spins before it sleeps: about the gap between two kernels of a Python program.
pub(crate) const SPIN: Duration = Duration::from_micros(100);
/// A longer gap between two looks at the clock means that another process had the core: that is no idling.
const PREEMPTED: Duration = Duration::from_micros(20);
/// A worker that has computed for so long offers its core to others between two jobs. Where another process waits for the
/// core it would else be stopped inside a chunk, and everybody would wait for it.
const OFFER: Duration = Duration::from_millis(2);
/// Jobs that can run at the same time; a caller that finds no free slot works alone.
const SLOTS: usize = 8;
/// How long a caller spins for workers that are inside chunks before it sleeps: several times the usual difference.
const PATIENCE: Duration = Duration::from_micros(100);

const OPEN: usize = 1;
const WAITED_FOR: usize = 2;
const USER: usize = 4;

/// A place for one running job. `state` holds the bit `OPEN`, in units of `USER` the workers inside, and the bit
/// `WAITED_FOR` while the caller sleeps until they have left; a worker goes in only while the slot is open, so once it is
/// closed and empty no one else can see the job.
#[repr(align(64))]
struct Slot {
    taken: AtomicBool,
    state: AtomicUsize,
    job: UnsafeCell<*const Job<'static>>,
}

// SAFETY: `job` is written by the thread that set `taken`, while `OPEN` is unset; it is read only by threads that
// entered while it was set (release/acquire on `state`).
unsafe impl Sync for Slot {}

struct Pool {
    slots: [Slot; SLOTS],
    /// Counts published jobs; workers watch it.
    epoch: AtomicU32,
    sleepers: AtomicUsize,
    /// Threads asked for; 0 until first asked.
    threads: AtomicUsize,
    /// Workers started so far; changed under `lock`.
    workers: AtomicUsize,
    /// Guards starting and sleeping, and knows who sleeps; held across a fork.
    lock: Mutex<Asleep>,
    wake: Condvar,
    /// Tells callers that sleep that a slot is empty.
    done: Condvar,
}

static POOL: Pool = Pool {
    slots: [const {
        Slot {
            taken: AtomicBool::new(false),
            state: AtomicUsize::new(0),
            job: UnsafeCell::new(std::ptr::null()),
        }
    }; SLOTS],
    epoch: AtomicU32::new(0),
    sleepers: AtomicUsize::new(0),
    threads: AtomicUsize::new(0),
    workers: AtomicUsize::new(0),
    lock: Mutex::new(Asleep::NOBODY),
    wake: Condvar::new(),
    done: Condvar::new(),
};

thread_local! {
    /// This thread is inside a chunk.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

/// Threads that kernels may use, the calling one included.
pub fn threads() -> usize {
    match POOL.threads.load(Ordering::Relaxed) {
        0 => {
            // On Linux the CPU affinity, further limited by the control group's quota; FIRESTEEL_NUM_THREADS overrides it.
            let asked = std::env::var("FIRESTEEL_NUM_THREADS").ok().and_then(|v| v.parse().ok());
            let n = asked
                .filter(|n| *n > 0)
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
            match POOL
                .threads
                .compare_exchange(0, n, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => n,
                Err(set) => set,
            }
        }
        n => n,
    }
}

/// Sets the number of threads; at least 1.
pub fn set_threads(n: usize) {
    POOL.threads.store(n.max(1), Ordering::Relaxed);
}

/// Calls `f` on disjoint ranges that cover `0..n`, on several threads when `n > grain`.
///
/// Ranges start at multiples of `grain` (at least 1), so a kernel whose result depends on block borders can make its own
/// blocks a divisor of it. Nested calls run on the calling thread. A panic in `f` reaches the caller after all claimed
/// ranges have ended; the others are then not run.
pub fn for_range(n: usize, grain: usize, f: impl Fn(Range<usize>) + Sync) {
    if n == 0 {
        return;
    }
    let grain = grain.max(1);
    if n <= grain || threads() == 1 || INSIDE.get() {
        return f(0..n);
    }
    run(n, grain, &f);
}

fn run(n: usize, grain: usize, f: &(dyn Fn(Range<usize>) + Sync)) {
    let threads = threads();
    start_workers(threads - 1);
    let free = |s: &&Slot| {
        s.taken
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    };
    let Some(slot) = POOL.slots.iter().find(free) else {
        return f(0..n);
    };
    let job = Job::new(f, n, grain, threads);
    // SAFETY: this thread took the slot and it is closed, so nobody reads `job`; the lifetime is only erased: the wait
    // below outlasts every reader.
    unsafe { *slot.job.get() = (&raw const job).cast() };
    slot.state.store(OPEN, Ordering::Release);
    publish(job.useful());
    let was_inside = INSIDE.replace(true);
    job.work(0);
    INSIDE.set(was_inside);
    slot.state.fetch_and(!OPEN, Ordering::Relaxed);
    wait_for_workers(slot);
    slot.taken.store(false, Ordering::Release);
    if let Some(payload) = job.panic() {
        resume_unwind(payload);
    }
}

/// Returns when no worker is inside the closed slot.
fn wait_for_workers(slot: &Slot) {
    let mut began = None;
    let mut spins = 0u32;
    while slot.state.load(Ordering::Acquire) != 0 {
        spins += 1;
        std::hint::spin_loop();
        if !spins.is_multiple_of(256) {
            continue;
        }
        if began.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            continue;
        }
        let mut guard = lock(&POOL.lock);
        slot.state.fetch_or(WAITED_FOR, Ordering::Acquire);
        while slot.state.load(Ordering::Acquire) != WAITED_FOR {
            guard = POOL.done.wait(guard).unwrap_or_else(|e| e.into_inner());
        }
        slot.state.store(0, Ordering::Relaxed);
    }
}

/// A worker leaves a slot; whoever waits for the last one is woken.
fn leave(slot: &Slot) {
    if slot.state.fetch_sub(USER, Ordering::Release) == USER | WAITED_FOR {
        drop(lock(&POOL.lock));
        POOL.done.notify_all();
    }
}

/// Mean seconds for a job of nothing, one chunk per thread: as it is, and where each chunk waits until all have been begun,
/// so that every thread takes part (at most a millisecond).
pub fn fork_join_times(rounds: usize) -> [f64; 2] {
    let n = threads();
    let mean = |f: &dyn Fn()| {
        let start = Instant::now();
        (0..rounds).for_each(|_| f());
        start.elapsed().as_secs_f64() / rounds.max(1) as f64
    };
    let alone = mean(&|| {
        for_range(n, 1, |chunk| {
            std::hint::black_box(chunk);
        })
    });
    let together = mean(&|| {
        let begun = AtomicUsize::new(0);
        for_range(n, 1, |chunk| {
            let (now, start) = (
                begun.fetch_add(chunk.len(), Ordering::SeqCst) + chunk.len(),
                Instant::now(),
            );
            while now < n && begun.load(Ordering::SeqCst) < n && start.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
        })
    });
    [alone, together]
}

/// Lets workers see a new job and wakes up to `useful` of those that sleep.
fn publish(useful: usize) {
    POOL.epoch.fetch_add(1, Ordering::SeqCst);
    if POOL.sleepers.load(Ordering::SeqCst) > 0 {
        lock(&POOL.lock).move_away();
        if useful >= POOL.threads.load(Ordering::Relaxed) - 1 {
            POOL.wake.notify_all();
        } else {
            (0..useful).for_each(|_| POOL.wake.notify_one());
        }
    }
}

/// Workers started so far.
pub(crate) fn workers() -> usize {
    POOL.workers.load(Ordering::Relaxed)
}

fn start_workers(wanted: usize) {
    if workers() >= wanted {
        return;
    }
    #[cfg(unix)]
    fork::register();
    let _guard = lock(&POOL.lock);
    for index in workers()..wanted {
        let made = std::thread::Builder::new()
            .name(format!("firesteel-{index}"))
            .spawn(move || worker(index));
        if made.is_err() {
            // A machine out of threads still computes, with those there are.
            break;
        }
        POOL.workers.store(index + 1, Ordering::Relaxed);
    }
}

fn worker(index: usize) {
    INSIDE.set(true);
    let mut seen = POOL.epoch.load(Ordering::SeqCst);
    let mut offered = Instant::now();
    loop {
        let wanted = || index + 1 < POOL.threads.load(Ordering::Relaxed);
        while wanted() && help(index + 1) {}
        let mut now = Instant::now();
        if now - offered > OFFER {
            std::thread::yield_now();
            now = Instant::now();
            offered = now;
        }
        let mut idle = Duration::ZERO;
        while wanted() && POOL.epoch.load(Ordering::Relaxed) == seen && idle < SPIN {
            (0..32).for_each(|_| std::hint::spin_loop());
            let then = std::mem::replace(&mut now, Instant::now());
            let gap = now - then;
            if gap < PREEMPTED {
                idle += gap;
            }
        }
        if !wanted() || POOL.epoch.load(Ordering::SeqCst) == seen {
            let mut guard = lock(&POOL.lock);
            guard.add(index);
            POOL.sleepers.fetch_add(1, Ordering::SeqCst);
            while POOL.epoch.load(Ordering::SeqCst) == seen {
                guard = POOL.wake.wait(guard).unwrap_or_else(|e| e.into_inner());
            }
            POOL.sleepers.fetch_sub(1, Ordering::SeqCst);
            guard.remove(index);
        }
        seen = POOL.epoch.load(Ordering::SeqCst);
    }
}

/// Works on every open job as thread `who`; false when there was none.
fn help(who: usize) -> bool {
    let mut found = false;
    for slot in &POOL.slots {
        let mut state = slot.state.load(Ordering::Relaxed);
        while state & OPEN != 0 {
            match slot
                .state
                .compare_exchange_weak(state, state + USER, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => {
                    // SAFETY: entered while open, so the pointer is the published job, which lives until this worker
                    // has left.
                    let job = unsafe { &**slot.job.get() };
                    found |= job.is_open();
                    job.work(who);
                    leave(slot);
                    break;
                }
                Err(now) => state = now,
            }
        }
    }
    found
}

#[cfg(unix)]
mod fork {
    use super::*;

    struct Held(UnsafeCell<Option<MutexGuard<'static, Asleep>>>);
    // SAFETY: touched only by the forking thread between `prepare` and `parent`/`child`, while it holds the lock.
    unsafe impl Sync for Held {}
    static HELD: Held = Held(UnsafeCell::new(None));

    pub(super) fn register() {
        static ONCE: std::sync::Once = std::sync::Once::new();
        // SAFETY: the handlers only touch the pool's own statics.
        ONCE.call_once(|| unsafe {
            libc::pthread_atfork(Some(prepare), Some(parent), Some(child));
        });
    }

    extern "C" fn prepare() {
        let guard = lock(&POOL.lock);
        // SAFETY: the lock is held: no other thread is between its `prepare` and `parent`.
        unsafe { *HELD.0.get() = Some(guard) };
    }

    extern "C" fn parent() {
        // SAFETY: as in `prepare`; the guard is moved out before the lock opens.
        let guard = unsafe { (*HELD.0.get()).take() };
        drop(guard);
    }

    extern "C" fn child() {
        // SAFETY: the child has this one thread.
        let mut guard = unsafe { (*HELD.0.get()).take() };
        if let Some(asleep) = guard.as_mut() {
            **asleep = Asleep::NOBODY;
        }
        POOL.workers.store(0, Ordering::Relaxed);
        POOL.threads.store(1, Ordering::Relaxed);
        POOL.sleepers.store(0, Ordering::Relaxed);
        for slot in &POOL.slots {
            slot.state.store(0, Ordering::Relaxed);
            slot.taken.store(false, Ordering::Relaxed);
        }
        drop(guard);
    }
}
