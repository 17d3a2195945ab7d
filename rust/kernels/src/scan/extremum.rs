//! The largest or smallest elements so far, and where they are.
//!
//! Elements are compared as integers of the same order, in which NaN is the greatest: one comparison decides, and what
//! waits for the element before is that comparison and a choice.

use super::Job;
use crate::dtype::{Bool, DType};
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Walk, grain};
use crate::simd::Aligned;
use crate::view::{AnyDst, AnySrc, Dst, Src};

/// Most lines side by side that are walked at once.
const COLUMNS: usize = 256;

/// Those of a type: as many as measured best on 1000x1000.
const fn columns<T>() -> usize {
    if size_of::<T>() > 4 { COLUMNS } else { COLUMNS / 4 }
}

/// Elements with a key whose order is theirs: NaN greatest, -0 and 0 equal.
trait Keyed: Copy + Default + Send + Sync {
    fn key(self) -> i64;
    /// Chosen between as integers, which needs no branch.
    fn bits(self) -> u64;
    fn of_bits(bits: u64) -> Self;
    fn nan(self) -> bool {
        false
    }
    /// Walks `n` elements that lie side by side, from a place on, if this CPU has vectors for that.
    fn run(_max: bool, _from: *const Self, _values: *mut Self, _places: *mut i64, _n: usize) -> bool {
        false
    }
}

/// [`Keyed::run`] by a walk in AVX-512.
macro_rules! run_by {
    ($t:ty, |$max:ident, $from:ident, $values:ident| $walk:ident($($given:expr),*)) => {
        #[cfg(target_arch = "x86_64")]
        fn run($max: bool, $from: *const $t, $values: *mut $t, places: *mut i64, n: usize) -> bool {
            let fast = crate::simd::isa() == crate::simd::Isa::Avx512;
            if fast {
                // SAFETY: the CPU has AVX-512; the caller's line.
                unsafe { avx512::$walk($($given,)* places, n) };
            }
            fast
        }
    };
}

macro_rules! float_key {
    ($t:ty, $int:ty, $unsigned:ty, { $($wide:item)* }) => {
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
float_key!(f32, i32, u32, {
    run_by!(f32, |max, from, values| words(max, from, values));
});
float_key!(f64, i64, u64, {
    run_by!(f64, |max, from, values| longs(max, true, from.cast(), values.cast()));
});

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
    run_by!(i64, |max, from, values| longs(max, false, from, values));
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
        let strips = width.div_ceil(columns::<T>());
        parallel::for_range(
            outer.count() * strips,
            grain(4 * n * width.min(columns::<T>())),
            |range| {
                for j in range {
                    let first = j % strips * columns::<T>();
                    let at = outer.at(j / strips).map(|a| a + first as isize);
                    strip(&job, max, at, columns::<T>().min(width - first));
                }
            },
        );
    } else {
        parallel::for_range(lines.count(), grain(4 * n), |range| {
            lines.each(range, |_, at| line(&job, max, at));
        });
    }
}

/// Elements of a line whose keys are made at once.
const BLOCK: usize = 256;

/// Elements of which it is asked first whether any is better.
const PIECE: usize = 16;

fn line<T: Keyed>(job: &Job<T>, max: bool, at: [isize; 3]) {
    if job.step == [1; 3] {
        // SAFETY: a line of the walk.
        let (from, to, index) = unsafe { (job.src.offset(at[0]), job.dst.offset(at[1]), job.index.offset(at[2])) };
        if T::run(max, from, to, index, job.n) {
            return;
        }
    }
    let (mut given, mut ranks) = ([T::default(); BLOCK], [0i64; BLOCK]);
    let mut places = Aligned([0i64; BLOCK]);
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
        let mut tops = [i64::MIN; BLOCK / PIECE];
        greatest(&ranks[..n], &mut tops);
        let pieces = given[..n].chunks_mut(PIECE).zip(places.chunks_mut(PIECE));
        for (k, ((xs, places), ranks)) in pieces.zip(ranks[..n].chunks(PIECE)).enumerate() {
            if tops[k] < best {
                xs.fill(T::of_bits(value));
                places[..xs.len()].fill(place);
                continue;
            }
            for (i, ((x, place_out), rank)) in xs.iter_mut().zip(places).zip(ranks).enumerate() {
                let better = *rank >= best;
                best = std::hint::select_unpredictable(better, *rank, best);
                place = std::hint::select_unpredictable(better, (first + k * PIECE + i) as i64, place);
                value = std::hint::select_unpredictable(better, x.bits(), value);
                *x = T::of_bits(value);
                *place_out = place;
            }
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
    /// The greatest rank of each piece.
    fn greatest(ranks: &[i64], tops: &mut [i64]) {
        let most = |most: i64, r: &i64| if *r > most { *r } else { most };
        let (pieces, rest) = ranks.as_chunks::<PIECE>();
        for (top, piece) in tops.iter_mut().zip(pieces) {
            *top = piece.iter().fold(i64::MIN, most);
        }
        if !rest.is_empty() {
            tops[pieces.len()] = rest.iter().fold(i64::MIN, most);
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

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    /// The keys of [`super::Keyed`] in 32 bits, turned round where the smallest is sought.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn keys(x: __m512, flip: __m512i) -> __m512i {
        let bits = _mm512_castps_si512(_mm512_add_ps(x, _mm512_setzero_ps()));
        let low = _mm512_srli_epi32::<1>(_mm512_srai_epi32::<31>(bits));
        let key = _mm512_xor_si512(_mm512_xor_si512(bits, low), flip);
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        _mm512_mask_mov_epi32(key, nan, _mm512_set1_epi32(i32::MAX))
    }

    /// Each lane's largest key so far.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn largest_so_far(key: __m512i) -> __m512i {
        let least = _mm512_set1_epi32(i32::MIN);
        let key = _mm512_max_epi32(key, _mm512_alignr_epi32::<15>(key, least));
        let key = _mm512_max_epi32(key, _mm512_alignr_epi32::<14>(key, least));
        let key = _mm512_max_epi32(key, _mm512_alignr_epi32::<12>(key, least));
        _mm512_max_epi32(key, _mm512_alignr_epi32::<8>(key, least))
    }

    /// Sixteen elements at a time. Where none of them is better, which is soon the rule in numbers without a trend, the
    /// best is only written again; else it is found in each lane by doubling distances.
    ///
    /// # Safety
    /// `n` elements lie at each pointer; the CPU has AVX-512 F and CD.
    #[target_feature(enable = "avx512f,avx512cd")]
    pub(super) unsafe fn words(max: bool, from: *const f32, values: *mut f32, places: *mut i64, n: usize) {
        let flip = _mm512_set1_epi32(if max { 0 } else { -1 });
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        // The lanes up to each one, as bits.
        let up_to = _mm512_sub_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(2), lanes), _mm512_set1_epi32(1));
        let last = _mm512_set1_epi32(15);
        let (mut rank, mut best, mut place) =
            (_mm512_set1_epi32(i32::MIN), _mm512_setzero_ps(), _mm512_setzero_si512());
        for at in (0..n).step_by(16) {
            let here = ((1u32 << (n - at).min(16)) - 1) as u16;
            // SAFETY: the masks let through only what the line has.
            unsafe {
                let x = _mm512_maskz_loadu_ps(here, from.wrapping_add(at));
                let key = keys(x, flip);
                let (mut value, mut low, mut high) = (best, place, place);
                if _mm512_mask_cmpge_epi32_mask(here, key, rank) != 0 {
                    let so_far = _mm512_max_epi32(largest_so_far(key), rank);
                    let better = _mm512_cmpeq_epi32_mask(key, so_far);
                    let seen = _mm512_and_si512(_mm512_set1_epi32(better as i32), up_to);
                    let found = _mm512_test_epi32_mask(seen, seen);
                    let lane = _mm512_sub_epi32(_mm512_set1_epi32(31), _mm512_lzcnt_epi32(seen));
                    value = _mm512_mask_permutexvar_ps(best, found, lane, x);
                    let base = _mm512_set1_epi64(at as i64);
                    let wide = |half: __m256i| _mm512_add_epi64(_mm512_cvtepi32_epi64(half), base);
                    low = _mm512_mask_mov_epi64(place, found as u8, wide(_mm512_castsi512_si256(lane)));
                    high = _mm512_mask_mov_epi64(place, (found >> 8) as u8, wide(_mm512_extracti64x4_epi64::<1>(lane)));
                    rank = _mm512_permutexvar_epi32(last, so_far);
                    best = _mm512_permutexvar_ps(last, value);
                    place = _mm512_permutexvar_epi64(_mm512_set1_epi64(7), high);
                }
                _mm512_mask_storeu_ps(values.wrapping_add(at), here, value);
                _mm512_mask_storeu_epi64(places.wrapping_add(at), here as u8, low);
                _mm512_mask_storeu_epi64(places.wrapping_add(at + 8), (here >> 8) as u8, high);
            }
        }
    }

    /// As [`keys`], of 64 bits: of floats, or of integers, which are keys themselves.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    fn long_keys(bits: __m512i, flip: __m512i, floats: bool) -> __m512i {
        if !floats {
            return _mm512_xor_si512(bits, flip);
        }
        let x = _mm512_castsi512_pd(bits);
        let bits = _mm512_castpd_si512(_mm512_add_pd(x, _mm512_setzero_pd()));
        let low = _mm512_srli_epi64::<1>(_mm512_srai_epi64::<63>(bits));
        let key = _mm512_xor_si512(_mm512_xor_si512(bits, low), flip);
        let nan = _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(x, x);
        _mm512_mask_mov_epi64(key, nan, _mm512_set1_epi64(i64::MAX))
    }

    /// As [`words`], of eight elements of 64 bits: floats or integers.
    ///
    /// # Safety
    /// As there; DQ too.
    #[target_feature(enable = "avx512f,avx512cd,avx512dq")]
    pub(super) unsafe fn longs(
        max: bool,
        floats: bool,
        from: *const i64,
        values: *mut i64,
        places: *mut i64,
        n: usize,
    ) {
        let flip = _mm512_set1_epi64(if max { 0 } else { -1 });
        let up_to = _mm512_setr_epi64(1, 3, 7, 15, 31, 63, 127, 255);
        let (last, least) = (_mm512_set1_epi64(7), _mm512_set1_epi64(i64::MIN));
        let (mut rank, mut best, mut place) = (least, _mm512_setzero_si512(), _mm512_setzero_si512());
        for at in (0..n).step_by(8) {
            let here = ((1u32 << (n - at).min(8)) - 1) as u8;
            // SAFETY: the masks let through only what the line has.
            unsafe {
                let x = _mm512_maskz_loadu_epi64(here, from.wrapping_add(at));
                let key = long_keys(x, flip, floats);
                let (mut value, mut found_at) = (best, place);
                if _mm512_mask_cmpge_epi64_mask(here, key, rank) != 0 {
                    let so_far = _mm512_max_epi64(key, _mm512_alignr_epi64::<7>(key, least));
                    let so_far = _mm512_max_epi64(so_far, _mm512_alignr_epi64::<6>(so_far, least));
                    let so_far = _mm512_max_epi64(so_far, _mm512_alignr_epi64::<4>(so_far, least));
                    let so_far = _mm512_max_epi64(so_far, rank);
                    let better = _mm512_cmpeq_epi64_mask(key, so_far);
                    let seen = _mm512_and_si512(_mm512_set1_epi64(better as i64), up_to);
                    let found = _mm512_test_epi64_mask(seen, seen);
                    let lane = _mm512_sub_epi64(_mm512_set1_epi64(63), _mm512_lzcnt_epi64(seen));
                    value = _mm512_mask_permutexvar_epi64(best, found, lane, x);
                    found_at = _mm512_mask_add_epi64(place, found, lane, _mm512_set1_epi64(at as i64));
                    rank = _mm512_permutexvar_epi64(last, so_far);
                    best = _mm512_permutexvar_epi64(last, value);
                    place = _mm512_permutexvar_epi64(last, found_at);
                }
                _mm512_mask_storeu_epi64(values.wrapping_add(at), here, value);
                _mm512_mask_storeu_epi64(places.wrapping_add(at), here, found_at);
            }
        }
    }
}

/// The best of each column of a strip so far.
struct Best<T> {
    ranks: [i64; COLUMNS],
    places: [i64; COLUMNS],
    values: [T; COLUMNS],
    /// Of the row at hand: its ranks, and whether they are better.
    new: [i64; COLUMNS],
    better: [u64; COLUMNS],
}

fn strip<T: Keyed>(job: &Job<T>, max: bool, at: [isize; 3], w: usize) {
    let mut best = Best {
        ranks: [i64::MIN; COLUMNS],
        places: [0; COLUMNS],
        values: [T::default(); COLUMNS],
        new: [0; COLUMNS],
        better: [0; COLUMNS],
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
        let (new, better) = (&mut best.new[..w], &mut best.better[..w]);
        // SAFETY: a row of the strip.
        unsafe {
            let from = std::slice::from_raw_parts(job.src.offset(at[0]), w);
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
            for (((b, r), new), place) in better.iter_mut().zip(&mut *ranks).zip(&*new).zip(&mut *places) {
                let is = *new >= *r;
                *b = is as u64;
                *r = if is { *new } else { *r };
                *place = if is { k } else { *place };
            }
            for ((v, x), b) in values.iter_mut().zip(from).zip(&*better) {
                *v = if *b != 0 { *x } else { *v };
            }
            std::slice::from_raw_parts_mut(job.dst.offset(at[1]), w).copy_from_slice(values);
            std::slice::from_raw_parts_mut(job.index.offset(at[2]), w).copy_from_slice(places);
        }
    }
}
