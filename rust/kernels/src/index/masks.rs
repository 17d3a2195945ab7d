//! Elements where a mask is true: picked out, put in, or told by their coordinates.
//!
//! A mask is read 64 elements at a time as the bits of a word, so that stretches of false cost next to nothing; AVX-512
//! packs and spreads the elements themselves.

use super::{Number, by_size, raw, raw_mut};
use crate::dtype::{Bool, with_computed};
use crate::parallel;
use crate::reduce::walk::{Share, Walk};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Isa, isa};
use crate::view::{AnyDst, AnySrc, Src};

/// Elements of a mask that one thread takes; what lies before each such part is counted first.
const PART: usize = 64 * 1024;

/// Which of up to 64 elements are not zero.
#[inline(always)]
fn word<T: Copy + PartialEq + Default>(part: &[T]) -> u64 {
    let mut flags = [0u8; 64];
    for (f, x) in flags.iter_mut().zip(part) {
        *f = (*x != T::default()) as u8;
    }
    pack(&flags)
}

/// 64 bytes, each 0 or 1, as bits: a product moves eight of them side by side.
#[inline(always)]
fn pack(flags: &[u8; 64]) -> u64 {
    let (bytes, _) = flags.as_chunks::<8>();
    let mut word = 0;
    for (i, b) in bytes.iter().enumerate() {
        word |= (u64::from_le_bytes(*b).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    word
}

crate::multiversion! {
    /// A word for each 64 elements.
    fn words<T: Flagged>(all: &[T], to: &mut [u64]) {
        for (to, part) in to.iter_mut().zip(all.chunks(64)) {
            *to = if let Ok(full) = <&[T; 64]>::try_from(part) { word(&full[..]) } else { word(part) };
        }
    }
}

/// What can be compared with zero.
trait Flagged: Copy + PartialEq + Default {}
impl<T: Copy + PartialEq + Default> Flagged for T {}

/// Calls `f` with the first position and the word of each 64 elements of which some are not zero.
fn each_word<T: Flagged>(all: &[T], mut f: impl FnMut(usize, u64)) {
    let mut block = [0u64; 64];
    for (b, part) in all.chunks(64 * 64).enumerate() {
        let block = &mut block[..part.len().div_ceil(64)];
        words(part, block);
        for (i, &w) in block.iter().enumerate() {
            if w != 0 {
                f(b * 64 * 64 + i * 64, w);
            }
        }
    }
}

fn count(mask: &[Bool]) -> usize {
    let mut n = 0;
    each_word(mask, |_, w| n += w.count_ones() as usize);
    n
}

/// The elements of a view as a slice, if they lie so.
fn dense<'a, T>(src: &Src<'a, T>) -> Option<&'a [T]> {
    // SAFETY: a contiguous view has its elements side by side.
    src.is_contiguous()
        .then(|| unsafe { std::slice::from_raw_parts(src.ptr(), src.numel()) })
}

/// The elements where `mask` (of `src`'s shape) is true, in row-major order; stops when `dst`, of rank 1, is full.
/// Returns how many there were. Any dtype.
pub fn masked_select(src: AnySrc, mask: Src<Bool>, dst: AnyDst) -> usize {
    let room = dst.shape()[0];
    let step = dst.strides()[0];
    by_size!(src.dtype(), T => {
        let (from, to) = (raw::<T>(&src), raw_mut::<T>(&dst).ptr());
        if let (Some(from), Some(mask), true) = (dense(&from), dense(&mask), step == 1 || room <= 1) {
            return select_dense(from, mask, to, room);
        }
        let walk = Walk::of(src.shape(), [src.strides(), mask.strides()]).coalesce();
        let (from, mut n) = (from.ptr(), 0);
        walk.runs(0..walk.count(), |_, [s, m], run, [ss, ms]| {
            for j in 0..run as isize {
                if n == room {
                    return;
                }
                // Written whether or not it is wanted: the next one then takes its place. No branch on the mask.
                // SAFETY: the walk stays inside the views; `n < room`.
                unsafe {
                    *to.offset(n as isize * step) = *from.offset(s + j * ss);
                    n += (*mask.ptr().offset(m + j * ms)).get() as usize;
                }
            }
        });
        n
    })
}

fn select_dense<T: Copy + Send + Sync>(from: &[T], mask: &[Bool], to: *mut T, room: usize) -> usize {
    let parts = from.len().div_ceil(PART);
    if parts <= 1 {
        // SAFETY: `room` elements at `to`.
        return unsafe { select_part(from, mask, to, room) };
    }
    let mut starts = vec![0; parts];
    let counts = Share::new(starts.as_mut_ptr());
    let part = |p: usize| p * PART..from.len().min((p + 1) * PART);
    parallel::for_range(parts, 1, |range| {
        for p in range {
            // SAFETY: one element for each part.
            unsafe { *counts.at(p) = count(&mask[part(p)]) };
        }
    });
    let mut all = 0;
    for start in &mut starts {
        (*start, all) = (all, all + *start);
    }
    let (to, starts) = (Share::new(to), &starts);
    let found = std::sync::atomic::AtomicUsize::new(0);
    parallel::for_range(parts, 1, |range| {
        for p in range {
            let end = starts.get(p + 1).copied().unwrap_or(all).min(room);
            let start = starts[p].min(end);
            // SAFETY: what was counted for this part, inside the room.
            let n = unsafe { select_part(&from[part(p)], &mask[part(p)], to.at(start), end - start) };
            found.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        }
    });
    found.into_inner()
}

/// Returns how many were written, at most `room`.
///
/// # Safety
/// There is such room at `to`.
unsafe fn select_part<T: Copy>(from: &[T], mask: &[Bool], to: *mut T, room: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction set was found; the rest is the caller's promise. The elements are moved by size.
    unsafe {
        match (size_of::<T>(), isa()) {
            (4, Isa::Avx512) => return x86::select_four(from.as_ptr().cast(), mask, to.cast(), room),
            (8, Isa::Avx512) => return x86::select_eight(from.as_ptr().cast(), mask, to.cast(), room),
            _ => {}
        }
    }
    let mut n = 0;
    each_word(mask, |first, mut w| {
        while w != 0 && n < room {
            // SAFETY: `n < room`.
            unsafe { *to.add(n) = from[first + w.trailing_zeros() as usize] };
            w &= w - 1;
            n += 1;
        }
    });
    n
}

/// Puts the elements of `src`, in row-major order, where `mask` (of `dst`'s shape) is true. False, and nothing written,
/// when `src` has too few. Any dtype.
pub fn masked_scatter(dst: AnyDst, mask: Src<Bool>, src: AnySrc) -> bool {
    let kept;
    let mask = match dense(&mask) {
        Some(mask) => mask,
        None => {
            kept = crate::reduce::walk::collect(&mask);
            &kept[..]
        }
    };
    let need = count(mask);
    if need > src.numel() {
        return false;
    }
    let walk = Walk::of(dst.shape(), [dst.strides()]).coalesce();
    by_size!(dst.dtype(), T => {
        let kept;
        let given = raw::<T>(&src);
        let values = match dense(&given) {
            Some(values) => values,
            None => {
                kept = crate::reduce::walk::collect(&given);
                &kept[..]
            }
        };
        let to = raw_mut::<T>(&dst);
        let mut next = 0;
        if to.is_contiguous() {
            // SAFETY: as many elements as the mask has.
            unsafe { spread(mask, values, to.ptr()) };
            return true;
        }
        walk.runs(0..mask.len(), |first, [d], n, [step]| {
            for (j, flag) in mask[first..first + n].iter().enumerate() {
                // None is left where the mask was changed since it was counted.
                if let (true, Some(v)) = (flag.get(), values.get(next)) {
                    // SAFETY: the walk stays inside the view.
                    unsafe { *to.ptr().offset(d + j as isize * step) = *v };
                    next += 1;
                }
            }
        });
    });
    true
}

/// # Safety
/// `to` has the mask's elements; `values` are no fewer than it is true.
unsafe fn spread<T: Copy>(mask: &[Bool], values: &[T], to: *mut T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction set was found; the rest is the caller's promise. The elements are moved by size.
    unsafe {
        match (size_of::<T>(), isa()) {
            (4, Isa::Avx512) => return x86::spread_four(mask, values.as_ptr().cast(), values.len(), to.cast()),
            (8, Isa::Avx512) => return x86::spread_eight(mask, values.as_ptr().cast(), values.len(), to.cast()),
            _ => {}
        }
    }
    let mut values = values.iter();
    each_word(mask, |first, mut w| {
        while let (true, Some(v)) = (w != 0, values.as_slice().first()) {
            // SAFETY: the word's bits are elements of the mask.
            unsafe { *to.add(first + w.trailing_zeros() as usize) = *v };
            values.next();
            w &= w - 1;
        }
    });
}

/// Writes the coordinates of the elements that are not zero to `rows`, one row of `rank` numbers each, in row-major
/// order, until it is full. Returns how many rows were written.
pub fn nonzero(src: AnySrc, rows: &mut [i64]) -> usize {
    with_computed!(src.dtype(), T => nonzero_typed::<T>(&src.typed(), rows))
}

fn nonzero_typed<T: Number>(src: &Src<T>, rows: &mut [i64]) -> usize {
    let rank = src.rank();
    if rank == 0 || src.numel() == 0 {
        return 0;
    }
    let room = rows.len() / rank;
    // Not coalesced, and with dims of size 1: positions must be those of the view's own dims.
    let last = rank - 1;
    let (width, step) = (src.shape()[last], src.strides()[last]);
    let outer = Walk::of(&src.shape()[..last], [&src.strides()[..last]]);
    let mut coord = [0i64; 8];
    let (mut n, mut keep) = (0, Vec::new());
    outer.each(0..outer.count(), |_, [at]| {
        // SAFETY: a line of the walk.
        let line: &[T] = unsafe { crate::reduce::walk::line(src.ptr().offset(at), width, step, &mut keep) };
        let mut places = [0i64; 64 + 8];
        each_word(line, |first, w| {
            let found = (w.count_ones() as usize).min(room - n);
            if rank == 1 && n + 64 + 8 <= room {
                places_of(w, first as i64, &mut rows[n..]);
            } else {
                places_of(w, first as i64, &mut places);
                match rank {
                    1 => rows[n..n + found].copy_from_slice(&places[..found]),
                    2 => {
                        for (row, at) in rows[2 * n..].chunks_exact_mut(2).zip(&places[..found]) {
                            (row[0], row[1]) = (coord[0], *at);
                        }
                    }
                    _ => {
                        for (row, at) in rows[n * rank..].chunks_exact_mut(rank).zip(&places[..found]) {
                            row[..last].copy_from_slice(&coord[..last]);
                            row[last] = *at;
                        }
                    }
                }
            }
            n += found;
        });
        for d in (0..last).rev() {
            coord[d] += 1;
            if coord[d] < src.shape()[d] as i64 {
                break;
            }
            coord[d] = 0;
        }
    });
    n
}

/// The places of a word's bits, from `first` on. What lies behind them may be written to: there is room for 72.
#[inline(always)]
fn places_of(mut w: u64, first: i64, to: &mut [i64]) {
    assert!(to.len() >= 64 + 8);
    #[cfg(target_arch = "x86_64")]
    if w.count_ones() >= 8 && isa() == Isa::Avx512 {
        // SAFETY: the instruction set was found, and there is room.
        return unsafe { x86::places_of(w, first, to.as_mut_ptr()) };
    }
    let mut n = 0;
    while w != 0 {
        to[n] = first + w.trailing_zeros() as i64;
        w &= w - 1;
        n += 1;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Bool;
    use std::arch::x86_64::*;

    /// # Safety
    /// There is room for 72; the CPU has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi1,bmi2,lzcnt")]
    pub(super) unsafe fn places_of(w: u64, first: i64, to: *mut i64) {
        let mut at = _mm512_add_epi64(_mm512_set1_epi64(first), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
        let (mut w, mut n) = (w, 0);
        for _ in 0..8 {
            let m = w as u8;
            // SAFETY: at most 56 lie in front of eight more.
            unsafe { _mm512_storeu_si512(to.add(n).cast(), _mm512_maskz_compress_epi64(m, at)) };
            at = _mm512_add_epi64(at, _mm512_set1_epi64(8));
            n += m.count_ones() as usize;
            w >>= 8;
        }
    }

    macro_rules! packed {
        ($select:ident, $spread:ident, $t:ty, $lanes:literal, $mask:ty, $flags:ident, $load:ident, $store:ident, $masked:ident,
         $compress:ident, $expand:ident, $loadz:ident) => {
            /// Returns how many were written, at most `room`.
            ///
            /// # Safety
            /// `from` has the mask's elements, `to` has `room`; the CPU has AVX-512.
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi1,bmi2,lzcnt")]
            pub(super) unsafe fn $select(from: *const $t, mask: &[Bool], to: *mut $t, room: usize) -> usize {
                let (chunks, rest) = mask.as_chunks::<$lanes>();
                let mut n = 0;
                // SAFETY: whole vectors of the source; of the result where they fit, else what fits.
                unsafe {
                    for (c, flags) in chunks.iter().enumerate() {
                        let m = $flags(flags);
                        let v = $compress(m, $load(from.add(c * $lanes).cast()));
                        let found = m.count_ones() as usize;
                        if n + $lanes <= room {
                            $store(to.add(n).cast(), v);
                            n += found;
                        } else {
                            let found = found.min(room - n);
                            $masked(to.add(n).cast(), ((1u32 << found) - 1) as $mask, v);
                            n += found;
                        }
                    }
                    let first = chunks.len() * $lanes;
                    for (j, flag) in rest.iter().enumerate() {
                        if flag.get() && n < room {
                            *to.add(n) = *from.add(first + j);
                            n += 1;
                        }
                    }
                }
                n
            }

            /// # Safety
            /// `to` has the mask's elements, `values` are `len`, no fewer than it is true; the CPU has AVX-512.
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,bmi1,bmi2,lzcnt")]
            pub(super) unsafe fn $spread(mask: &[Bool], values: *const $t, len: usize, to: *mut $t) {
                let (chunks, rest) = mask.as_chunks::<$lanes>();
                let mut n = 0;
                // SAFETY: whole vectors of the result; of the values what there is.
                unsafe {
                    for (c, flags) in chunks.iter().enumerate() {
                        let m = $flags(flags);
                        let v = if n + $lanes <= len {
                            $load(values.add(n).cast())
                        } else {
                            $loadz(
                                ((1u32 << len.saturating_sub(n)) - 1) as $mask,
                                values.add(n).cast(),
                            )
                        };
                        let to = to.add(c * $lanes);
                        $store(to.cast(), $expand($load(to.cast_const().cast()), m, v));
                        n += m.count_ones() as usize;
                    }
                    let first = chunks.len() * $lanes;
                    for (j, flag) in rest.iter().enumerate() {
                        if flag.get() && n < len {
                            *to.add(first + j) = *values.add(n);
                            n += 1;
                        }
                    }
                }
            }
        };
    }

    /// The flags of 16 elements.
    ///
    /// # Safety
    /// The CPU has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    unsafe fn sixteen(flags: &[Bool; 16]) -> u16 {
        // SAFETY: 16 bytes.
        unsafe {
            let v = _mm_loadu_si128(flags.as_ptr().cast());
            _mm_test_epi8_mask(v, v)
        }
    }

    /// The flags of 8 elements.
    ///
    /// # Safety
    /// The CPU has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    unsafe fn eight(flags: &[Bool; 8]) -> u8 {
        // SAFETY: 8 bytes.
        unsafe {
            let v = _mm_loadl_epi64(flags.as_ptr().cast());
            _mm_test_epi8_mask(v, v) as u8
        }
    }

    packed!(
        select_four,
        spread_four,
        u32,
        16,
        u16,
        sixteen,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_mask_storeu_epi32,
        _mm512_maskz_compress_epi32,
        _mm512_mask_expand_epi32,
        _mm512_maskz_loadu_epi32
    );
    packed!(
        select_eight,
        spread_eight,
        u64,
        8,
        u8,
        eight,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_mask_storeu_epi64,
        _mm512_maskz_compress_epi64,
        _mm512_mask_expand_epi64,
        _mm512_maskz_loadu_epi64
    );
}
