//! Elements as unsigned keys in sorting order, packed with their index: ties then go by index, so every sort is stable.

use crate::dtype::Element;
use crate::scratch::Plain;

/// Elements that can be sorted.
pub(crate) trait Sortable: Element {
    /// Bits of the key.
    const BITS: u32;
    /// NaN is greatest; -0 and 0 are equal.
    fn key(self) -> u64;
    /// The element that has a key, where `plain` elements have it.
    fn of_key(key: u64) -> Self;
    /// No other element has its key.
    fn plain(self) -> bool {
        true
    }
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
    fn of_key(key: u64) -> f32 {
        let key = key as u32;
        f32::from_bits(if key >> 31 == 1 { key & 0x7fff_ffff } else { !key })
    }
    #[inline(always)]
    fn plain(self) -> bool {
        !self.is_nan() && self.to_bits() != 1 << 31
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
    fn of_key(key: u64) -> f64 {
        f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
    }
    #[inline(always)]
    fn plain(self) -> bool {
        !self.is_nan() && self.to_bits() != 1 << 63
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
    #[inline(always)]
    fn of_key(key: u64) -> i64 {
        (key ^ 1 << 63) as i64
    }
}

impl Sortable for crate::dtype::Bool {
    const BITS: u32 = 8;
    #[inline(always)]
    fn key(self) -> u64 {
        self.get() as u64
    }
    #[inline(always)]
    fn of_key(key: u64) -> Self {
        (key != 0).into()
    }
}

/// A key and an index in one integer, whose order is that of the pair.
pub(crate) trait Entry: Copy + Ord + Send + Sync + Default + Plain {
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
/// Of keys of 64 bits.
const MOST_PASSES: usize = 6;

/// Sorts entries whose indices ascend, by the low `bits` of their keys. `spare` is as long; the result lies in one of the
/// two.
pub(crate) fn sort_entries<'a, E: Entry>(mut entries: &'a mut [E], mut spare: &'a mut [E], bits: u32) -> &'a mut [E] {
    let n = entries.len();
    if n < RADIX || n > u32::MAX as usize {
        entries.sort_unstable();
        return entries;
    }
    let passes = bits.div_ceil(DIGIT).max(1);
    // As few bits a pass as there must be.
    let width = bits.div_ceil(passes).max(1);
    let (passes, buckets) = (passes as usize, 1usize << width);
    let digit = |e: E, pass: usize| (e.key() >> (pass as u32 * width)) as usize & (buckets - 1);
    let mut all = [0u32; MOST_PASSES * BUCKETS];
    let counts = &mut all[..passes * buckets];
    for &e in entries.iter() {
        for (pass, counts) in counts.chunks_exact_mut(buckets).enumerate() {
            counts[digit(e, pass)] += 1;
        }
    }
    for (pass, counts) in counts.chunks_exact_mut(buckets).enumerate() {
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
        std::mem::swap(&mut entries, &mut spare);
    }
    entries
}
