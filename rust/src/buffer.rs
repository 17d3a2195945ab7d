//! Memory: aligned blocks from a pool, or memory that someone else owns (NumPy, DLPack, a mapped file).
//!
//! The pool is a free list per thread and size class, so it needs no lock (and nothing to mend after `fork`). Freed
//! activations are handed out again, so that a training step after the first touches no fresh pages.

use crate::error::{Error, ErrorKind, Result};
use crate::shared::Shared;
use std::alloc::Layout as Block;
use std::any::Any;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Alignment of every block, in bytes: one cache line, one AVX-512 vector.
pub const ALIGN: usize = 64;
/// Bytes that one thread's pool keeps at most.
const KEEP: usize = 2 << 30;
/// Blocks of one class that a pool keeps at most.
const KEEP_BLOCKS: usize = 256;
const CLASSES: usize = 224;
/// Blocks below this do not count in the statistics: counting costs as much as a small block itself.
const COUNTED: usize = 4096;
/// A huge page. Blocks of at least two are aligned to it and ask for such pages: one fault then brings 2 MiB instead of
/// 4 KiB.
const HUGE: usize = 2 << 20;

/// Counts writes to memory, and remembers the op that wrote last; saved values are checked against it.
#[derive(Default, Debug)]
pub struct Version {
    count: AtomicU32,
    /// Index into the op table plus one; 0: none.
    last: AtomicU32,
}

impl Version {
    #[inline(always)]
    pub fn get(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
    #[inline(always)]
    pub fn bump(&self, op: u32) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.last.store(op + 1, Ordering::Relaxed);
    }
    /// The op that wrote last, as an index into the op table.
    pub fn last_op(&self) -> Option<u32> {
        self.last.load(Ordering::Relaxed).checked_sub(1)
    }
}

enum Owner {
    Pool { class: u8, thread_bytes: usize },
    Foreign(#[allow(dead_code)] Box<dyn Any + Send + Sync>),
    Nobody,
}

/// A block of memory that tensors share.
pub struct Buffer {
    ptr: NonNull<u8>,
    bytes: usize,
    owner: Owner,
    meta: bool,
    writable: bool,
    pub version: Version,
}

// SAFETY: the memory is plain bytes; who may write when is decided above (dispatch, under the GIL or with clones of the
// Arc), exactly as for a Vec<u8> behind a lock.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

struct Pool {
    free: [Vec<NonNull<u8>>; CLASSES],
    kept: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { free: [const { Vec::new() }; CLASSES], kept: 0 }) };
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static FROM_SYSTEM: AtomicUsize = AtomicUsize::new(0);
static FROM_POOL: AtomicUsize = AtomicUsize::new(0);

impl Drop for Pool {
    fn drop(&mut self) {
        self.empty();
    }
}

impl Pool {
    fn empty(&mut self) {
        for (class, list) in self.free.iter_mut().enumerate() {
            for p in list.drain(..) {
                // SAFETY: the block came from `alloc` with the layout of its class.
                unsafe { std::alloc::dealloc(p.as_ptr(), block(class_bytes(class))) };
            }
        }
        self.kept = 0;
    }
}

fn block(bytes: usize) -> Block {
    let align = if bytes >= 2 * HUGE { HUGE } else { ALIGN };
    // SAFETY: both are powers of two and sizes are bounded by isize::MAX (checked in `Buffer::new`).
    unsafe { Block::from_size_align_unchecked(bytes, align) }
}

/// Fresh memory of a class's size; null when there is none.
fn fresh(size: usize) -> *mut u8 {
    // SAFETY: the size is not zero.
    let p = unsafe { std::alloc::alloc(block(size)) };
    #[cfg(target_os = "linux")]
    if size >= 2 * HUGE && !p.is_null() {
        // SAFETY: advice on the block's own whole pages; where the system has no huge pages it says so, and nothing changes.
        unsafe { libc::madvise(p.cast(), size & !(HUGE - 1), libc::MADV_HUGEPAGE) };
    }
    p
}

/// Size class of a block: steps of 64 bytes to 512, then four per power of two.
fn class_of(bytes: usize) -> usize {
    let bytes = bytes.max(1);
    if bytes <= 512 {
        return bytes.div_ceil(64) - 1;
    }
    let log = (usize::BITS - 1 - (bytes - 1).leading_zeros()) as usize; // 2^log < bytes <= 2^(log+1)
    let quarter = (bytes - 1 - (1 << log)) >> (log - 2);
    8 + (log - 9) * 4 + quarter
}

fn class_bytes(class: usize) -> usize {
    if class < 8 {
        return (class + 1) * 64;
    }
    let (log, quarter) = (9 + (class - 8) / 4, (class - 8) % 4);
    (1 << log) + (quarter + 1) * (1 << (log - 2))
}

impl Buffer {
    /// Uninitialised memory of `bytes` bytes.
    pub fn new(bytes: usize) -> Result<Shared<Buffer>> {
        if bytes > isize::MAX as usize / 4 {
            return Err(out_of_memory(bytes));
        }
        let class = class_of(bytes);
        let size = class_bytes(class);
        let reused = POOL
            .try_with(|p| {
                let mut p = p.borrow_mut();
                let found = p.free[class].pop();
                if found.is_some() {
                    p.kept -= size;
                }
                found
            })
            .ok()
            .flatten();
        let ptr = match reused {
            Some(p) => p,
            None => NonNull::new(fresh(size)).ok_or_else(|| out_of_memory(bytes))?,
        };
        if size >= COUNTED {
            let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
            if live > PEAK.load(Ordering::Relaxed) {
                PEAK.fetch_max(live, Ordering::Relaxed);
            }
            let source = if reused.is_some() { &FROM_POOL } else { &FROM_SYSTEM };
            source.fetch_add(1, Ordering::Relaxed);
        }
        let owner = Owner::Pool {
            class: class as u8,
            thread_bytes: size,
        };
        Ok(Shared::new(|| Buffer {
            ptr,
            bytes,
            owner,
            meta: false,
            writable: true,
            version: Version::default(),
        }))
    }

    /// No memory at all: a tensor on the `meta` device.
    pub fn meta(bytes: usize) -> Shared<Buffer> {
        let ptr = NonNull::<u64>::dangling().cast();
        Shared::new(|| Buffer {
            ptr,
            bytes,
            owner: Owner::Nobody,
            meta: true,
            writable: true,
            version: Version::default(),
        })
    }

    /// Memory of someone else, alive as long as `owner`.
    ///
    /// # Safety
    /// `ptr` addresses `bytes` readable bytes (writable ones if `writable`) until `owner` is dropped.
    pub unsafe fn foreign(
        ptr: *mut u8,
        bytes: usize,
        writable: bool,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Shared<Buffer> {
        let ptr = NonNull::new(ptr).unwrap_or(NonNull::<u64>::dangling().cast());
        let owner = Owner::Foreign(owner);
        Shared::new(|| Buffer {
            ptr,
            bytes,
            owner,
            meta: false,
            writable,
            version: Version::default(),
        })
    }

    #[inline(always)]
    pub fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// Bytes that tensors may use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline(always)]
    pub fn is_meta(&self) -> bool {
        self.meta
    }

    /// False for memory that was handed over read-only.
    pub fn is_writable(&self) -> bool {
        self.writable
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Owner::Pool {
            class,
            thread_bytes: size,
        } = self.owner
        else {
            return;
        };
        if size >= COUNTED {
            LIVE.fetch_sub(size, Ordering::Relaxed);
        }
        let ptr = self.ptr;
        let kept = POOL
            .try_with(|p| {
                let mut p = p.borrow_mut();
                if p.kept + size > KEEP || p.free[class as usize].len() >= KEEP_BLOCKS {
                    return false;
                }
                p.kept += size;
                p.free[class as usize].push(ptr);
                true
            })
            .unwrap_or(false);
        if !kept {
            // SAFETY: allocated by `new` with this layout, and nobody else holds it.
            unsafe { std::alloc::dealloc(ptr.as_ptr(), block(size)) };
        }
    }
}

#[cold]
fn out_of_memory(bytes: usize) -> Error {
    Error::new(
        ErrorKind::OutOfMemory,
        format!(
            "[enforce fail at alloc_cpu] DefaultCPUAllocator: can't allocate memory: you tried to allocate {bytes} bytes"
        ),
    )
}

/// Gives this thread's unused blocks back to the system.
pub fn empty_cache() {
    POOL.with(|p| p.borrow_mut().empty());
}

/// What the pool has done; blocks below 4 KiB are left out, but for `kept`.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Bytes in tensors now.
    pub live: usize,
    /// The most there were, since the start or [`reset_peak`].
    pub peak: usize,
    /// Bytes that the calling thread's pool keeps for later.
    pub kept: usize,
    /// Blocks that came from the system.
    pub from_system: usize,
    /// Blocks that came from a pool.
    pub from_pool: usize,
}

/// See [`Stats`].
pub fn stats() -> Stats {
    Stats {
        live: LIVE.load(Ordering::Relaxed),
        peak: PEAK.load(Ordering::Relaxed),
        kept: POOL.with(|p| p.borrow().kept),
        from_system: FROM_SYSTEM.load(Ordering::Relaxed),
        from_pool: FROM_POOL.load(Ordering::Relaxed),
    }
}

/// The peak is counted anew from here.
pub fn reset_peak() {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size_with_at_most_a_quarter_wasted() {
        let mut bytes = 1usize;
        while bytes < 1 << 44 {
            for b in [bytes, bytes + 1, bytes * 3 / 2 + 7] {
                let c = class_of(b);
                assert!(
                    c < CLASSES && class_bytes(c) >= b,
                    "{b} bytes in class {c} of {}",
                    class_bytes(c)
                );
                assert!(
                    b <= 512 || class_bytes(c) <= b + b / 4 + 1,
                    "{b} bytes waste in {}",
                    class_bytes(c)
                );
                assert!(c == 0 || class_bytes(c - 1) < b);
            }
            bytes = bytes * 5 / 4 + 1;
        }
    }

    #[test]
    fn freed_blocks_are_reused() {
        let a = Buffer::new(1 << 20).unwrap();
        let p = a.ptr();
        drop(a);
        assert_eq!(Buffer::new(1 << 20).unwrap().ptr(), p);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(Buffer::new(usize::MAX / 2).is_err());
        assert!(Buffer::new(1 << 60).is_err());
    }
}
