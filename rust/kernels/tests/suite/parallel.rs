//! The thread pool.

use crate::testing::with_threads;
use firesteel_kernels::internals::parallel::{SPIN, workers};
use firesteel_kernels::parallel::{for_range, set_threads, threads};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn sum_to(n: usize, grain: usize) -> u64 {
    let sum = AtomicU64::new(0);
    for_range(n, grain, |r| {
        assert_eq!(r.start % grain, 0);
        sum.fetch_add(r.map(|i| i as u64).sum(), Ordering::Relaxed);
    });
    sum.into_inner()
}

#[test]
fn covers_every_index_once() {
    for threads in [1, 2, 3, 5] {
        let _turn = with_threads(threads);
        for n in [0usize, 1, 7, 64, 1000, 100_003] {
            for grain in [1, 3, 64, 4096] {
                assert_eq!(
                    sum_to(n, grain),
                    (n as u64 * n.saturating_sub(1) as u64) / 2,
                    "{n} {grain}"
                );
            }
        }
    }
}

#[test]
fn many_callers_and_nested_calls() {
    let _turn = with_threads(3);
    std::thread::scope(|s| {
        for _ in 0..12 {
            s.spawn(|| {
                for _ in 0..200 {
                    let sum = AtomicU64::new(0);
                    for_range(16, 1, |r| {
                        let part = r.map(|_| sum_to(100, 7)).sum();
                        sum.fetch_add(part, Ordering::Relaxed);
                    });
                    assert_eq!(sum.into_inner(), 16 * 4950);
                }
            });
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    let _turn = with_threads(2);
    for bad in [0, 50, 99] {
        let caught = catch_unwind(|| {
            for_range(100, 1, |r| {
                if r.contains(&bad) {
                    resume_unwind(Box::new("bad chunk"));
                }
            })
        });
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"bad chunk"));
        assert_eq!(sum_to(1000, 1), 499_500);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_woken_worker_may_use_the_cores_that_its_caller_may() {
    let _turn = with_threads(2);
    for _ in 0..3 {
        std::thread::sleep(20 * SPIN);
        let begun = AtomicUsize::new(0);
        let counts = [const { AtomicUsize::new(0) }; 2];
        for_range(2, 1, |chunk| {
            begun.fetch_add(chunk.len(), Ordering::SeqCst);
            let start = Instant::now();
            while begun.load(Ordering::SeqCst) < 2 && start.elapsed() < Duration::from_secs(5) {
                std::hint::spin_loop();
            }
            // SAFETY: a set of cores is plain data, and lives during the call; 0 is the calling thread.
            let cores = unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
                libc::CPU_COUNT(&set)
            };
            for i in chunk {
                counts[i].store(cores as usize, Ordering::SeqCst);
            }
        });
        let [mine, other] = counts.map(AtomicUsize::into_inner);
        assert!(mine > 0 && mine == other, "{mine} and {other} cores");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_computes_with_a_pool_of_its_own() {
    let _turn = with_threads(2);
    assert_eq!(sum_to(1000, 1), 499_500);
    // SAFETY: the child only computes and leaves with `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let alone = threads() == 1 && sum_to(1000, 1) == 499_500;
        set_threads(2);
        let ok = alone && sum_to(1000, 1) == 499_500 && workers() == 1;
        // SAFETY: ends the child without running the test harness's exit code.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(status, 0);
    assert_eq!(sum_to(1000, 1), 499_500);
    set_threads(2);
}
