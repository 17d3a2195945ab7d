//! The largest or smallest elements so far, and where they are.
//!
//! Elements are compared as integers of the same order, in which NaN is the greatest: one comparison decides, and what
//! waits for the element before is that comparison and a choice.

use super::{Job, STRIP};
use crate::dtype::{Bool, DType};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Walk, grain};
use crate::simd::transpose::{Band, transpose};
use crate::view::{AnyDst, AnySrc, Dst, Src};

/// Elements with a key whose order is theirs: NaN greatest, -0 and 0 equal.
trait Keyed: Copy + Default + Send + Sync {
    fn key(self) -> i64;
    /// Chosen between as integers, which needs no branch.
    fn bits(self) -> u64;
    fn of_bits(bits: u64) -> Self;
    fn nan(self) -> bool {
        false
    }
    /// Walks the first `n` rows of a bundle, whose places begin at `first`, if this CPU does that fast.
    fn side_by_side(_max: bool, _first: i64, _n: usize, _bundle: &mut Bundle<Self>) {}
    fn bundles() -> bool {
        false
    }
}

macro_rules! float_key {
    ($t:ty, $int:ty, $unsigned:ty $(, $wide:item)*) => {
        impl Keyed for $t {
            #[inline(always)]
            fn key(self) -> i64 {
                // Adding 0 turns -0 into 0. Negative ones are ordered the other way round.
                let bits = (self + 0.0).to_bits() as $int;
                let key = bits ^ ((bits >> (<$int>::BITS - 1)) as $unsigned >> 1) as $int;
                if self.is_nan() { i64::MAX } else { key as i64 }
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                self.to_bits() as u64
            }
            #[inline(always)]
            fn of_bits(bits: u64) -> Self {
                Self::from_bits(bits as $unsigned)
            }
            #[inline(always)]
            fn nan(self) -> bool {
                self.is_nan()
            }
            $($wide)*
        }
    };
}
float_key!(
    f32,
    i32,
    u32,
    #[cfg(target_arch = "x86_64")]
    fn side_by_side(max: bool, first: i64, n: usize, bundle: &mut Bundle<f32>) {
        // SAFETY: bundles are made only where the CPU has AVX-512.
        unsafe { avx512::best_so_far(max, first, n, bundle) }
    },
    #[cfg(target_arch = "x86_64")]
    fn bundles() -> bool {
        crate::simd::isa() == crate::simd::Isa::Avx512
    }
);
float_key!(f64, i64, u64);

impl Keyed for i64 {
    #[inline(always)]
    fn bits(self) -> u64 {
        self as u64
    }
    #[inline(always)]
    fn of_bits(bits: u64) -> Self {
        bits as i64
    }
    #[inline(always)]
    fn key(self) -> i64 {
        self
    }
}

impl Keyed for u8 {
    #[inline(always)]
    fn bits(self) -> u64 {
        self as u64
    }
    #[inline(always)]
    fn of_bits(bits: u64) -> Self {
        bits as u8
    }
    #[inline(always)]
    fn key(self) -> i64 {
        self as i64
    }
}

/// Greatest for what is sought.
#[inline(always)]
fn rank<T: Keyed>(x: T, max: bool) -> i64 {
    if max || x.nan() { x.key() } else { !x.key() }
}

/// The running largest (`max`) or smallest elements along `axis` and their places: the last of equal ones; a NaN stays.
pub fn scan_extremum(max: bool, src: AnySrc, axis: usize, values: AnyDst, indices: AnyDst) {
    let indices = indices.typed::<i64>();
    match src.dtype() {
        DType::F32 => extremum::<f32>(max, &src.typed(), axis, &values.typed(), &indices),
        DType::F64 => extremum::<f64>(max, &src.typed(), axis, &values.typed(), &indices),
        DType::I64 => extremum::<i64>(max, &src.typed(), axis, &values.typed(), &indices),
        DType::Bool => {
            // As bytes; the values written are elements.
            let (s, v) = (src.typed::<Bool>(), values.typed::<Bool>());
            // SAFETY: the same memory, one byte an element.
            let (s, v) = unsafe {
                (
                    Src::<u8>::new(s.ptr().cast(), s.shape(), s.strides()),
                    Dst::<u8>::new(v.ptr().cast(), v.shape(), v.strides()),
                )
            };
            extremum::<u8>(max, &s, axis, &v, &indices)
        }
        other => panic!("cummax of {}", other.name()),
    }
}

fn extremum<T: Keyed>(max: bool, src: &Src<T>, axis: usize, values: &Dst<T>, indices: &Dst<i64>) {
    if src.numel() == 0 {
        return;
    }
    let strides = [src.strides(), values.strides(), indices.strides()];
    let (n, step, mut lines) = Walk::along(src.shape(), strides, axis);
    let job = Job {
        src: src.ptr(),
        dst: values.ptr(),
        index: indices.ptr(),
        n,
        step,
    };
    lines.sort();
    let lines = lines.coalesce();
    let mut outer = lines;
    let (width, side) = outer.pop();
    if width > 1 && side == [1; 3] {
        let strips = width.div_ceil(STRIP);
        parallel::for_range(outer.count() * strips, grain(4 * n * width.min(STRIP)), |range| {
            for j in range {
                let first = j % strips * STRIP;
                let at = outer.at(j / strips).map(|a| a + first as isize);
                strip(&job, max, at, STRIP.min(width - first));
            }
        });
    } else if width >= LINES && job.step == [1; 3] && n < i32::MAX as usize && T::bundles() {
        let bundles = width.div_ceil(LINES);
        parallel::for_range(outer.count() * bundles, grain(4 * n * LINES), |range| {
            let mut keep = Bundle::new();
            for j in range {
                let first = j % bundles * LINES;
                let at = outer.at(j / bundles);
                if first + LINES <= width {
                    keep.run(&job, max, [0, 1, 2].map(|k| at[k] + first as isize * side[k]), side);
                } else {
                    for i in first as isize..width as isize {
                        line(&job, max, [0, 1, 2].map(|k| at[k] + i * side[k]));
                    }
                }
            }
        });
    } else {
        parallel::for_range(lines.count(), grain(4 * n), |range| {
            lines.each(range, |_, at| line(&job, max, at));
        });
    }
}

/// Elements of a line whose keys are made at once.
const BLOCK: usize = 256;

fn line<T: Keyed>(job: &Job<T>, max: bool, at: [isize; 3]) {
    let (mut given, mut ranks) = ([T::default(); BLOCK], [0i64; BLOCK]);
    let mut places = [0i64; BLOCK];
    let (mut best, mut value, mut place) = (i64::MIN, 0u64, 0i64);
    for first in (0..job.n).step_by(BLOCK) {
        let n = BLOCK.min(job.n - first);
        let start = [0, 1, 2].map(|k| at[k] + first as isize * job.step[k]);
        // SAFETY: elements of a line of the walk.
        unsafe {
            let from = job.src.offset(start[0]);
            if job.step[0] == 1 {
                given[..n].copy_from_slice(std::slice::from_raw_parts(from, n));
            } else {
                for (i, x) in given[..n].iter_mut().enumerate() {
                    *x = *from.offset(i as isize * job.step[0]);
                }
            }
        }
        rank_all(&given[..n], max, &mut ranks[..n]);
        for (i, ((x, place_out), rank)) in given[..n].iter_mut().zip(&mut places).zip(&ranks).enumerate() {
            let better = *rank >= best;
            best = std::hint::select_unpredictable(better, *rank, best);
            place = std::hint::select_unpredictable(better, (first + i) as i64, place);
            value = std::hint::select_unpredictable(better, x.bits(), value);
            *x = T::of_bits(value);
            *place_out = place;
        }
        // SAFETY: as above.
        unsafe {
            let (to, index) = (job.dst.offset(start[1]), job.index.offset(start[2]));
            if job.step[1..] == [1, 1] {
                std::slice::from_raw_parts_mut(to, n).copy_from_slice(&given[..n]);
                std::slice::from_raw_parts_mut(index, n).copy_from_slice(&places[..n]);
            } else {
                for i in 0..n as isize {
                    *to.offset(i * job.step[1]) = given[i as usize];
                    *index.offset(i * job.step[2]) = places[i as usize];
                }
            }
        }
    }
}

multiversion! {
    fn rank_all<T: Keyed>(given: &[T], max: bool, ranks: &mut [i64]) {
        if max {
            for (r, x) in ranks.iter_mut().zip(given) {
                *r = rank(*x, true);
            }
        } else {
            for (r, x) in ranks.iter_mut().zip(given) {
                *r = rank(*x, false);
            }
        }
    }
}

/// Lines that are walked side by side.
const LINES: usize = 16;
/// Elements of each that are turned at once.
const TILE: usize = 64;

/// Blocks of several lines, turned so that the lines lie side by side, and the best so far of each line.
struct Bundle<T> {
    values: [[T; LINES]; TILE],
    places: [[i32; LINES]; TILE],
    /// The places again, line by line.
    turned: [[i32; TILE]; LINES],
    best: [T; LINES],
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only the AVX-512 walk keeps it")
    )]
    last: [i32; LINES],
}

impl<T: Keyed> Bundle<T> {
    fn new() -> Self {
        Self {
            values: [[T::default(); LINES]; TILE],
            places: [[0; LINES]; TILE],
            turned: [[0; TILE]; LINES],
            best: [T::default(); LINES],
            last: [0; LINES],
        }
    }

    /// The lines that begin at `at` and `apart` from one another.
    fn run(&mut self, job: &Job<T>, max: bool, at: [isize; 3], apart: [isize; 3]) {
        for first in (0..job.n).step_by(TILE) {
            let n = TILE.min(job.n - first);
            let start = at.map(|a| a + first as isize);
            let side = LINES as isize;
            // SAFETY: elements of the lines of the walk, and the rows of the block.
            unsafe {
                let values = self.values.as_mut_ptr().cast::<T>();
                turn(job.src.offset(start[0]), apart[0], LINES, n, values, side);
                if first == 0 {
                    self.best = self.values[0];
                }
                T::side_by_side(max, first as i64, n, self);
                let places = self.places.as_ptr().cast::<i32>();
                turn(values.cast_const(), side, n, LINES, job.dst.offset(start[1]), apart[1]);
                turn(places, side, n, LINES, self.turned.as_mut_ptr().cast(), TILE as isize);
                for (i, line) in self.turned.iter().enumerate() {
                    let to = job.index.offset(start[2] + i as isize * apart[2]);
                    widen(&line[..n], std::slice::from_raw_parts_mut(to, n));
                }
            }
        }
    }
}

/// `to[i·row + c] = from[c·apart + i]` for `lines` c and `len` i.
///
/// # Safety
/// All those elements lie in live memory, and the two sides do not overlap.
unsafe fn turn<T: Copy>(from: *const T, apart: isize, lines: usize, len: usize, to: *mut T, row: isize) {
    let band = Band {
        from,
        apart,
        lines,
        len,
        to,
        row,
    };
    // SAFETY: the caller's promise.
    unsafe {
        let done = if row > 0 { transpose(&band) } else { 0 };
        for c in done as isize..lines as isize {
            for i in 0..len as isize {
                *to.offset(i * row + c) = *from.offset(c * apart + i);
            }
        }
    }
}

multiversion! {
    fn widen(from: &[i32], to: &mut [i64]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from as i64;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::Bundle;
    use std::arch::x86_64::*;

    /// The keys of [`super::Keyed`] in 32 bits, turned round where the smallest is sought.
    ///
    /// # Safety
    /// The CPU has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    fn keys(x: __m512, max: bool) -> __m512i {
        let bits = _mm512_castps_si512(_mm512_add_ps(x, _mm512_setzero_ps()));
        let low = _mm512_srli_epi32::<1>(_mm512_srai_epi32::<31>(bits));
        let flip = if max {
            _mm512_setzero_si512()
        } else {
            _mm512_set1_epi32(-1)
        };
        let key = _mm512_xor_si512(_mm512_xor_si512(bits, low), flip);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        _mm512_mask_mov_epi32(key, nan, _mm512_set1_epi32(i32::MAX))
    }

    /// # Safety
    /// The CPU has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub(super) fn best_so_far(max: bool, first: i64, n: usize, bundle: &mut Bundle<f32>) {
        // SAFETY: all loads and stores are of whole arrays of `LINES` elements.
        unsafe {
            let mut best = _mm512_loadu_ps(bundle.best.as_ptr());
            let mut last = _mm512_loadu_si512(bundle.last.as_ptr().cast());
            let mut rank = keys(best, max);
            for (k, (values, places)) in bundle.values[..n].iter_mut().zip(&mut bundle.places).enumerate() {
                let x = _mm512_loadu_ps(values.as_ptr());
                let key = keys(x, max);
                let better = _mm512_cmpge_epi32_mask(key, rank);
                rank = _mm512_max_epi32(rank, key);
                best = _mm512_mask_mov_ps(best, better, x);
                last = _mm512_mask_mov_epi32(last, better, _mm512_set1_epi32(first as i32 + k as i32));
                _mm512_storeu_ps(values.as_mut_ptr(), best);
                _mm512_storeu_si512(places.as_mut_ptr().cast(), last);
            }
            _mm512_storeu_ps(bundle.best.as_mut_ptr(), best);
            _mm512_storeu_si512(bundle.last.as_mut_ptr().cast(), last);
        }
    }
}

/// The best of each column of a strip so far.
struct Best<T> {
    ranks: [i64; STRIP],
    places: [i64; STRIP],
    values: [T; STRIP],
}

fn strip<T: Keyed>(job: &Job<T>, max: bool, at: [isize; 3], w: usize) {
    let mut best = Best {
        ranks: [i64::MIN; STRIP],
        places: [0; STRIP],
        values: [T::default(); STRIP],
    };
    for k in 0..job.n as isize {
        let at = [0, 1, 2].map(|i| at[i] + k * job.step[i]);
        row(job, max, at, k as i64, w, &mut best);
    }
}

multiversion! {
    /// Row `k` of a strip, `w` columns wide.
    fn row<T: Keyed>(job: &Job<T>, max: bool, at: [isize; 3], k: i64, w: usize, best: &mut Best<T>) {
        let (ranks, places, values) = (&mut best.ranks[..w], &mut best.places[..w], &mut best.values[..w]);
        // SAFETY: a row of the strip.
        unsafe {
            let from = std::slice::from_raw_parts(job.src.offset(at[0]), w);
            let (mut new, mut better) = ([0i64; STRIP], [0u64; STRIP]);
            // One loop for each kind of element, which vectorizes.
            if max {
                for (r, x) in new.iter_mut().zip(from) {
                    *r = rank(*x, true);
                }
            } else {
                for (r, x) in new.iter_mut().zip(from) {
                    *r = rank(*x, false);
                }
            }
            for (((b, r), new), place) in better.iter_mut().zip(&mut *ranks).zip(&new).zip(&mut *places) {
                let is = *new >= *r;
                *b = is as u64;
                *r = if is { *new } else { *r };
                *place = if is { k } else { *place };
            }
            for ((v, x), b) in values.iter_mut().zip(from).zip(&better) {
                *v = if *b != 0 { *x } else { *v };
            }
            std::slice::from_raw_parts_mut(job.dst.offset(at[1]), w).copy_from_slice(values);
            std::slice::from_raw_parts_mut(job.index.offset(at[2]), w).copy_from_slice(places);
        }
    }
}
