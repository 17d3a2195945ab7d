//! A job and how its chunks are claimed: each thread has a stretch of its own, and then helps the others.
//!
//! A thread's own stretch is the same share of every job, so what it wrote in one kernel lies in its own caches in the next:
//! between cores that share no last-level cache a line takes some 30 ns to change hands, several times as long as from
//! memory nearby.

use std::any::Any;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stretches of a job; beyond so many, threads share one.
const STRETCHES: usize = 16;
/// No job has more chunks than about this many per thread.
const MOST_PER_THREAD: usize = 16;
/// A claim takes what is left of a stretch divided by this: so that a thread that was held up, or shares its core, does not
/// hold up the others at the end.
const SHARE: u32 = 2;

/// First and last chunk of a stretch that nobody has claimed, `begin..end`, as halves of a word.
#[derive(Default)]
#[repr(align(64))]
struct Stretch(AtomicU64);

fn packed(begin: u32, end: u32) -> u64 {
    (begin as u64) << 32 | end as u64
}

fn unpacked(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

pub(super) struct Job<'a> {
    run: &'a (dyn Fn(Range<usize>) + Sync),
    n: usize,
    /// Elements of a chunk.
    least: usize,
    stretches: [Stretch; STRETCHES],
    count: usize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl<'a> Job<'a> {
    /// `n` elements in chunks of multiples of `grain`, for so many threads.
    pub fn new(run: &'a (dyn Fn(Range<usize>) + Sync), n: usize, grain: usize, threads: usize) -> Self {
        let least = grain * n.div_ceil(grain).div_ceil(threads * MOST_PER_THREAD);
        let (chunks, count) = (n.div_ceil(least), threads.min(STRETCHES));
        let mut stretches: [Stretch; STRETCHES] = Default::default();
        for (i, stretch) in stretches.iter_mut().enumerate().take(count) {
            let border = |i: usize| (i * chunks / count) as u32;
            *stretch.0.get_mut() = packed(border(i), border(i + 1));
        }
        Self {
            run,
            n,
            least,
            stretches,
            count,
            panic: Mutex::new(None),
        }
    }

    /// Chunks that threads besides the caller can have.
    pub fn useful(&self) -> usize {
        self.n.div_ceil(self.least) - 1
    }

    /// Some chunk is left.
    pub fn is_open(&self) -> bool {
        let left = |s: &Stretch| {
            let (begin, end) = unpacked(s.0.load(Ordering::Relaxed));
            begin < end
        };
        self.stretches[..self.count].iter().any(left)
    }

    /// The next chunks of a stretch, if any are left: from its front for its owner, else from its end.
    fn claim(&self, stretch: &Stretch, mine: bool) -> Option<Range<usize>> {
        let mut word = stretch.0.load(Ordering::Relaxed);
        loop {
            let (begin, end) = unpacked(word);
            let share = (end.checked_sub(begin).filter(|&left| left > 0)? / SHARE).max(1);
            let (taken, left) = match mine {
                true => (begin..begin + share, packed(begin + share, end)),
                false => (end - share..end, packed(begin, end - share)),
            };
            match stretch
                .0
                .compare_exchange_weak(word, left, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(taken.start as usize * self.least..self.n.min(taken.end as usize * self.least)),
                Err(now) => word = now,
            }
        }
    }

    /// Claims chunks until none is left, thread `who`'s own first. A panic ends the job and is kept for the caller.
    pub fn work(&self, who: usize) {
        let own = who % self.count;
        for i in (own..self.count).chain(0..own) {
            while let Some(range) = self.claim(&self.stretches[i], i == own) {
                let run = std::panic::AssertUnwindSafe(|| (self.run)(range));
                if let Err(payload) = std::panic::catch_unwind(run) {
                    for stretch in &self.stretches[..self.count] {
                        stretch.0.store(0, Ordering::Relaxed);
                    }
                    *super::lock(&self.panic) = Some(payload);
                }
            }
        }
    }

    /// What a chunk panicked with.
    pub fn panic(&self) -> Option<Box<dyn Any + Send>> {
        super::lock(&self.panic).take()
    }
}
