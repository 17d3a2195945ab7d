//! Memory: aligned blocks from a pool, memory that someone else owns (NumPy, DLPack, a mapped file), or the gpu's.
//!
//! The pool is a free list per thread and size class, so it needs no lock (and nothing to mend after `fork`). Freed
//! activations are handed out again, so that a training step after the first touches no fresh pages.
//!
//! While a graph is recorded on a thread ([`watch`]), the buffers made there carry a serial number: the recorder names
//! memory by it, holds nobody's memory itself, and sees at the end which of it is still alive.

use crate::device::{Device, wgpu};
use crate::error::{Error, ErrorKind, Result};
use crate::shared::Shared;
use std::alloc::Layout as Block;
use std::any::Any;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Alignment of every block, in bytes: one cache line, one AVX-512 vector.
pub const ALIGN: usize = 64;
/// Blocks from this size on are aligned to it and lie in large pages where the system has them.
const HUGE: usize = 2 << 20;
/// Bytes that one thread's pool keeps at most.
const KEEP: usize = 2 << 30;
/// Blocks of one class that a pool keeps at most.
const KEEP_BLOCKS: usize = 256;
pub(crate) const CLASSES: usize = 224;
/// Blocks below this do not count in the statistics: counting costs as much as a small block itself.
const COUNTED: usize = 4096;

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
    Gpu(Box<wgpu::Memory>),
    Nobody,
}

/// A block of memory that tensors share.
pub struct Buffer {
    ptr: NonNull<u8>,
    bytes: usize,
    owner: Owner,
    device: Device,
    writable: bool,
    /// New at each allocation while a graph is recorded, else 0.
    serial: u64,
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
    watched: bool,
    /// Blocks taken from the system, and blocks handed out again.
    made: u64,
    reused: u64,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { free: [const { Vec::new() }; CLASSES], kept: 0, watched: false, made: 0, reused: 0 }) };
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

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
    let align = if bytes >= HUGE { HUGE } else { ALIGN };
    // SAFETY: both are powers of two and sizes are bounded by isize::MAX (checked in `Buffer::new`).
    unsafe { Block::from_size_align_unchecked(bytes, align) }
}

/// Asks for large pages: fresh memory then costs one fault in 2 MiB instead of one in 4 KiB.
fn use_huge_pages(at: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= HUGE {
        // SAFETY: the range is one fresh block; the call is advice and changes no contents.
        unsafe { libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (at, bytes);
}

/// Size class of a block: steps of 64 bytes to 512, then four per power of two.
pub(crate) fn class_of(bytes: usize) -> usize {
    let bytes = bytes.max(1);
    if bytes <= 512 {
        return bytes.div_ceil(64) - 1;
    }
    let log = (usize::BITS - 1 - (bytes - 1).leading_zeros()) as usize; // 2^log < bytes <= 2^(log+1)
    let quarter = (bytes - 1 - (1 << log)) >> (log - 2);
    8 + (log - 9) * 4 + quarter
}

pub(crate) fn class_bytes(class: usize) -> usize {
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
        let (reused, watched) = POOL
            .try_with(|p| {
                let mut p = p.borrow_mut();
                let found = p.free[class].pop();
                match found {
                    Some(_) => {
                        p.kept -= size;
                        p.reused += 1;
                    }
                    None => p.made += 1,
                }
                (found, p.watched)
            })
            .unwrap_or((None, false));
        let ptr = match reused {
            Some(p) => p,
            None => {
                // SAFETY: the size is not zero.
                let p = unsafe { std::alloc::alloc(block(size)) };
                let p = NonNull::new(p).ok_or_else(|| out_of_memory(bytes))?;
                use_huge_pages(p, size);
                p
            }
        };
        if size >= COUNTED {
            let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
            if live > PEAK.load(Ordering::Relaxed) {
                PEAK.fetch_max(live, Ordering::Relaxed);
            }
        }
        let owner = Owner::Pool {
            class: class as u8,
            thread_bytes: size,
        };
        Ok(Shared::new(|| Buffer {
            ptr,
            bytes,
            owner,
            device: Device::Cpu,
            writable: true,
            serial: if watched { alive::enter() } else { 0 },
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
            device: Device::Meta,
            writable: true,
            serial: serial(),
            version: Version::default(),
        })
    }

    /// Memory on the gpu: a word for each of `elements`, which count as `bytes` bytes.
    pub fn gpu(elements: usize, bytes: usize) -> Result<Shared<Buffer>> {
        let memory = Box::new(wgpu::get()?.allocate(elements)?);
        // An address that no memory of the host has, for comparisons (`data_ptr`); nothing may follow it.
        static NEXT: AtomicU64 = AtomicU64::new(1 << 60);
        let at = NEXT.fetch_add(
            (bytes as u64).next_multiple_of(ALIGN as u64).max(ALIGN as u64),
            Ordering::Relaxed,
        );
        let ptr = std::ptr::without_provenance_mut::<u8>(at as usize);
        let ptr = NonNull::new(ptr).unwrap_or(NonNull::<u64>::dangling().cast());
        Ok(Shared::new(|| Buffer {
            ptr,
            bytes,
            owner: Owner::Gpu(memory),
            device: Device::Gpu,
            writable: true,
            serial: serial(),
            version: Version::default(),
        }))
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
            device: Device::Cpu,
            writable,
            serial: serial(),
            version: Version::default(),
        })
    }

    /// A whole file, mapped: pages are read when touched, writes stay in this process and never reach the file.
    ///
    /// As with every mapping, somebody who cuts the file short in place ends the process at the next touch; programs
    /// that replace a file (as `save` does) leave the mapping whole.
    pub fn mapped(file: &std::fs::File) -> std::io::Result<Shared<Buffer>> {
        // SAFETY: the mapping is private, so writes through it are ours alone; that the file shrinks is said above.
        let mut map = unsafe { memmap2::MmapOptions::new().map_copy(file)? };
        let (ptr, bytes) = (map.as_mut_ptr(), map.len());
        // SAFETY: the mapping stays where it is when `map` moves, and lives as long as the buffer.
        Ok(unsafe { Buffer::foreign(ptr, bytes, true, Box::new(map)) })
    }

    /// A part of a buffer as one of its own, with its own version counter: for memory that holds several things which
    /// have nothing to do with each other (the records of a file). `None` when it reaches outside.
    pub fn part(whole: &Shared<Buffer>, offset: usize, bytes: usize) -> Option<Shared<Buffer>> {
        if whole.device != Device::Cpu || offset.checked_add(bytes)? > whole.bytes {
            return None;
        }
        let ptr = whole.ptr().wrapping_add(offset);
        // SAFETY: inside the whole, which stays alive as the part's owner.
        Some(unsafe { Buffer::foreign(ptr, bytes, whole.writable, Box::new(whole.clone())) })
    }

    #[inline(always)]
    pub fn ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// Bytes that tensors may use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of memory that was made while a graph was recorded; 0 for other memory.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The memory belongs to someone else.
    pub fn is_foreign(&self) -> bool {
        matches!(self.owner, Owner::Foreign(_))
    }

    #[inline(always)]
    pub fn device(&self) -> Device {
        self.device
    }

    /// The gpu's memory, where it is that.
    pub fn on_gpu(&self) -> Option<&wgpu::Memory> {
        match &self.owner {
            Owner::Gpu(m) => Some(m),
            _ => None,
        }
    }

    /// False for memory that was handed over read-only.
    pub fn is_writable(&self) -> bool {
        self.writable
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.serial != 0 {
            alive::leave(self.serial);
        }
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

/// The numbers of watched buffers that are still alive.
mod alive {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    static ALIVE: Mutex<(u64, BTreeSet<u64>)> = Mutex::new((0, BTreeSet::new()));

    #[cold]
    pub fn enter() -> u64 {
        let mut alive = ALIVE.lock().unwrap_or_else(|e| e.into_inner());
        alive.0 += 1;
        let serial = alive.0;
        alive.1.insert(serial);
        serial
    }

    #[cold]
    pub fn leave(serial: u64) {
        ALIVE.lock().unwrap_or_else(|e| e.into_inner()).1.remove(&serial);
    }

    pub fn since(first: u64) -> Vec<u64> {
        let alive = ALIVE.lock().unwrap_or_else(|e| e.into_inner());
        alive.1.range(first..).copied().collect()
    }

    pub fn next() -> u64 {
        ALIVE.lock().unwrap_or_else(|e| e.into_inner()).0 + 1
    }
}

/// Whether this thread's new buffers get numbers from now on; the next number.
pub fn watch(on: bool) -> u64 {
    POOL.with(|p| p.borrow_mut().watched = on);
    alive::next()
}

fn serial() -> u64 {
    let watched = POOL.try_with(|p| p.borrow().watched).unwrap_or(false);
    if watched { alive::enter() } else { 0 }
}

/// Numbers of the buffers from number `first` on that are alive.
pub fn alive_since(first: u64) -> Vec<u64> {
    alive::since(first)
}

/// Gives this thread's unused blocks back to the system.
pub fn empty_cache() {
    POOL.with(|p| p.borrow_mut().empty());
}

/// What memory there is.
pub struct Stats {
    /// Bytes in tensors of all threads, blocks below 4 KiB left out.
    pub live: usize,
    /// The most there were at a time.
    pub peak: usize,
    /// Bytes that the calling thread keeps for reuse.
    pub kept: usize,
    /// Blocks that the calling thread took from the system.
    pub made: u64,
    /// Blocks that it handed out again.
    pub reused: u64,
}

pub fn stats() -> Stats {
    POOL.with(|p| {
        let p = p.borrow();
        Stats {
            live: LIVE.load(Ordering::Relaxed),
            peak: PEAK.load(Ordering::Relaxed),
            kept: p.kept,
            made: p.made,
            reused: p.reused,
        }
    })
}

/// The peak counts from now on.
pub fn reset_peak() {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
}
