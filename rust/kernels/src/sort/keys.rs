//! Elements as unsigned keys in sorting order, packed with their index: ties then go by index, so every sort is stable.

use crate::dtype::Element;

/// Elements that can be sorted.
pub(crate) trait Sortable: Element {
    /// Bits of the key.
    const BITS: u32;
    /// NaN is greatest; -0 and 0 are equal.
    fn key(self) -> u64;
    fn nan(self) -> bool {
        false
    }
}

impl Sortable for f32 {
    const BITS: u32 = 32;
    #[inline(always)]
    fn key(self) -> u64 {
        if self.is_nan() {
            return u32::MAX as u64;
        }
        // Adding 0 turns -0 into 0.
        let bits = (self + 0.0).to_bits();
        (if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }) as u64
    }
    #[inline(always)]
    fn nan(self) -> bool {
        self.is_nan()
    }
}

impl Sortable for f64 {
    const BITS: u32 = 64;
    #[inline(always)]
    fn key(self) -> u64 {
        if self.is_nan() {
            return u64::MAX;
        }
        let bits = (self + 0.0).to_bits();
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    }
    #[inline(always)]
    fn nan(self) -> bool {
        self.is_nan()
    }
}

impl Sortable for i64 {
    const BITS: u32 = 64;
    #[inline(always)]
    fn key(self) -> u64 {
        self as u64 ^ 1 << 63
    }
}

impl Sortable for crate::dtype::Bool {
    const BITS: u32 = 8;
    #[inline(always)]
    fn key(self) -> u64 {
        self.get() as u64
    }
}

/// A key and an index in one integer, whose order is that of the pair.
pub(crate) trait Entry: Copy + Ord + Send + Sync + Default {
    fn pack(key: u64, index: usize) -> Self;
    fn index(self) -> usize;
    fn key(self) -> u64;
}

/// For keys of 32 bits in lines shorter than 2^32.
impl Entry for u64 {
    #[inline(always)]
    fn pack(key: u64, index: usize) -> u64 {
        key << 32 | index as u64
    }
    #[inline(always)]
    fn index(self) -> usize {
        self as u32 as usize
    }
    #[inline(always)]
    fn key(self) -> u64 {
        self >> 32
    }
}

impl Entry for u128 {
    #[inline(always)]
    fn pack(key: u64, index: usize) -> u128 {
        (key as u128) << 64 | index as u128
    }
    #[inline(always)]
    fn index(self) -> usize {
        self as u64 as usize
    }
    #[inline(always)]
    fn key(self) -> u64 {
        (self >> 64) as u64
    }
}

/// Below this a comparison sort is faster (measured).
const RADIX: usize = 512;
const DIGIT: u32 = 11;
const BUCKETS: usize = 1 << DIGIT;

/// Sorts entries whose indices ascend, by the low `bits` of their keys.
pub(crate) fn sort_entries<E: Entry>(entries: &mut Vec<E>, spare: &mut Vec<E>, bits: u32) {
    let n = entries.len();
    if n < RADIX || n > u32::MAX as usize {
        entries.sort_unstable();
        return;
    }
    let passes = bits.div_ceil(DIGIT) as usize;
    let digit = |e: E, pass: usize| (e.key() >> (pass as u32 * DIGIT)) as usize & (BUCKETS - 1);
    let mut counts = vec![0u32; passes * BUCKETS];
    for &e in entries.iter() {
        for (pass, counts) in counts.chunks_exact_mut(BUCKETS).enumerate() {
            counts[digit(e, pass)] += 1;
        }
    }
    spare.clear();
    spare.resize(n, E::default());
    for (pass, counts) in counts.chunks_exact_mut(BUCKETS).enumerate() {
        if counts[digit(entries[0], pass)] as usize == n {
            continue;
        }
        let mut next = 0;
        for c in counts.iter_mut() {
            (next, *c) = (next + *c, next);
        }
        for &e in entries.iter() {
            let place = &mut counts[digit(e, pass)];
            spare[*place as usize] = e;
            *place += 1;
        }
        std::mem::swap(entries, spare);
    }
}
