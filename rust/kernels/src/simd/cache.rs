//! How large the caches are: the last one, for results that would not stay in it, and the first one, for operands; and what
//! is asked of them ahead.
//!
//! A store reads the line that it writes to, unless it goes past the caches; and what is larger than the cache is gone when
//! it is read again. Copies of 26 MB and more take 0.6 of the time that way, smaller results would be missed by their
//! readers (docs/performance.md). On Intel Cascade Lake they take a tenth longer: a core has so few lines on their way at a time
//! that each has to be quick, and one that the store asks for itself is; there lines are asked for ahead instead.
//!
//! AMD's cores with a first-level cache of 32 KiB (Zen 4 was measured) follow a stream by themselves and are held up by hints: a
//! bare sum of 1.2 MB reads 99 GB/s, with its lines asked for ahead 86; a layer norm of 13 MB takes 0.71 ms and 1.49
//! (docs/performance.md). Where lines lie apart, short planes or the rows of a table, hints help there too.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the processor does not tell.
const UNKNOWN: usize = 32 << 20;

static MOST: AtomicUsize = AtomicUsize::new(0);

/// Whether a result of so many bytes is stored past the caches: more than three quarters of the last one, and not where
/// [`stores_wait`].
pub fn exceeds(bytes: usize) -> bool {
    let most = match MOST.load(Ordering::Relaxed) {
        0 => {
            let most = match stores_wait() {
                true => usize::MAX,
                false => most_of(last().unwrap_or(UNKNOWN)),
            };
            MOST.store(most, Ordering::Relaxed);
            most
        }
        most => most,
    };
    bytes > most
}

fn most_of(last: usize) -> usize {
    last / 4 * 3
}

/// Takes the last cache for one of so many bytes: for tests, whose results are to be on both sides of it wherever they run.
pub fn assume_last(bytes: usize) {
    MOST.store(most_of(bytes), Ordering::Relaxed);
}

/// Bytes of a first-level cache that does not keep what products read of B again and again.
const SMALL: usize = 32 << 10;

/// Whether the first-level cache is a small one, so that lines in the second one are to be asked for ahead: with
/// 32 KiB (Intel Cascade Lake) products of packed operands reach 91 to 92 % of the limit instead of 81 to 84
/// (docs/performance.md).
pub(crate) fn first_is_small() -> bool {
    static FIRST: OnceLock<bool> = OnceLock::new();
    *FIRST.get_or_init(|| size_of_level(1).is_some_and(|bytes| bytes <= SMALL))
}

/// Whether stores wait for their lines, of which a core has few on their way at a time: Intel's with a small first-level
/// cache. They are asked for ahead then.
pub(crate) fn stores_wait() -> bool {
    first_is_small() && !is_amd()
}

/// How far ahead a stream that wants its lines `distance` early asks for them: not at all where the processor follows streams
/// better by itself, which is to ask for the line at hand.
#[inline]
pub(crate) fn stream(distance: usize) -> usize {
    match first_is_small() && is_amd() {
        true => 0,
        false => distance,
    }
}

/// Asked once: under a hypervisor the instruction leaves the guest, which takes microseconds.
#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    static AMD: OnceLock<bool> = OnceLock::new();
    *AMD.get_or_init(|| {
        let name = std::arch::x86_64::__cpuid(0);
        [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

pub fn last() -> Option<usize> {
    size_of_level(3)
}

/// The bytes of the cache for data of some level, by the processor's table of its caches (leaf 4, with AMD 0x8000_001D).
#[cfg(target_arch = "x86_64")]
pub fn size_of_level(wanted: u32) -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let extended = __cpuid(0x8000_0000).eax >= 0x8000_001d;
    for leaf in [0x8000_001d, 4] {
        if leaf == 0x8000_001d && !extended || leaf == 4 && __cpuid(0).eax < 4 {
            continue;
        }
        for i in 0..8 {
            let r = __cpuid_count(leaf, i);
            let (kind, level) = (r.eax & 31, r.eax >> 5 & 7);
            if kind == 0 {
                break;
            }
            // Kind 2 holds instructions.
            if level == wanted && kind != 2 {
                let part = |shift: u32, bits: u32| (r.ebx >> shift & ((1 << bits) - 1)) as usize + 1;
                return Some(part(22, 10) * part(12, 10) * part(0, 12) * (r.ecx as usize + 1));
            }
        }
    }
    None
}

#[cfg(not(target_arch = "x86_64"))]
pub fn size_of_level(_wanted: u32) -> Option<usize> {
    None
}
