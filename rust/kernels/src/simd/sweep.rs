//! What all sweeps are made of: vectors whose lanes are joined in a fixed order, loads and stores of parts, memory asked for
//! in advance.

use crate::reduce::real::Real;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::vec::{Lanes, Scalar};

/// Elements after which lanes are joined.
pub(crate) const SEGMENT: usize = 4096;
/// Goes through elements `from..to` in groups of U vectors: the body is given the vector's number in its group, where it
/// begins, how many lanes it has, and whether these are known to be all. (A closure might not be inlined, and would then
/// lack the instruction set.)
macro_rules! grouped {
    ($l:ident: $lanes:ty, $t:ty, $groups:ident; $from:expr, $to:expr; |$u:ident, $i:ident, $n:ident, $whole:ident| $body:block) => {{
        let (mut at, to, lanes) = ($from, $to, <$lanes as crate::simd::vec::Lanes<$t>>::N);
        while at + $groups * lanes <= to {
            for $u in 0..$groups {
                let ($i, $n, $whole) = (at + $u * lanes, lanes, true);
                $body
            }
            at += $groups * lanes;
        }
        if at < to {
            for $u in 0..$groups {
                let $i = at + $u * lanes;
                if $i < to {
                    let ($n, $whole) = ((to - $i).min(lanes), false);
                    $body
                }
            }
        }
    }};
}
pub(crate) use grouped;

/// Vectors whose lanes can be added up.
pub(crate) trait Fold<T>: Lanes<T> {
    /// The sum of the lanes, in a halving tree: lane i and lane i + N / 2 first.
    fn fold(self, v: Self::V) -> T;
    /// [`Fold::fold`] of eight vectors.
    #[inline(always)]
    fn fold_eight(self, v: [Self::V; 8]) -> [T; 8]
    where
        T: Real,
    {
        let mut sums = [T::ZERO; 8];
        for (sum, v) in sums.iter_mut().zip(v) {
            *sum = self.fold(v);
        }
        sums
    }
    /// The first `n` lanes of `v`, zero in the others.
    fn keep(self, v: Self::V, n: usize) -> Self::V;
    /// Stores past the caches, where there is such an instruction; [`fence`] comes before anyone reads it.
    ///
    /// # Safety
    /// As for a store; `p` is aligned to the vector.
    #[inline(always)]
    unsafe fn store_past(self, p: *mut T, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { self.store(p, v) }
    }
}

/// By way of memory.
#[allow(unused_macros, reason = "not all sets lack an instruction")]
macro_rules! keep_in_memory {
    ($t:ty) => {
        #[inline(always)]
        fn keep(self, v: Self::V, n: usize) -> Self::V {
            let mut all = [<$t>::ZERO; 16];
            // SAFETY: no vector is longer than the array.
            unsafe {
                self.store(all.as_mut_ptr(), v);
                self.load_n(all.as_ptr(), n)
            }
        }
    };
}

impl<T: Real> Fold<T> for Scalar
where
    Scalar: Lanes<T, V = T>,
{
    #[inline(always)]
    fn fold(self, v: T) -> T {
        v
    }
    #[inline(always)]
    fn keep(self, v: T, n: usize) -> T {
        if n == 0 { T::ZERO } else { v }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use super::{Avx2, Avx512, Fold};
    use crate::simd::vec::Lanes;
    use std::arch::x86_64::*;

    /// Lanes of eight vectors of sixteen joined in halving trees, whose steps lie side by side: 24 instructions, not 64.
    macro_rules! eight_of_16 {
        ($v:expr, $join:ident) => {{
            let v = $v;
            let (mut halves, mut quarters) = ([v[0]; 4], [v[0]; 2]);
            for (i, half) in halves.iter_mut().enumerate() {
                let (a, b) = (v[2 * i], v[2 * i + 1]);
                *half = $join(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b));
            }
            for (i, quarter) in quarters.iter_mut().enumerate() {
                let (a, b) = (halves[2 * i], halves[2 * i + 1]);
                *quarter = $join(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
            }
            // Quarter i now has what is left of the vectors i and i + 4.
            let [a, b] = quarters;
            let two = $join(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xEE>(a, b));
            let one = $join(two, _mm512_movehdup_ps(two));
            let places = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
            let mut joined = [0.0; 8];
            let all = _mm512_castps512_ps256(_mm512_permutexvar_ps(places, one));
            _mm256_storeu_ps(joined.as_mut_ptr(), all);
            joined
        }};
    }
    pub(crate) use eight_of_16;

    /// The same of vectors of eight: 22 instructions.
    macro_rules! eight_of_8 {
        ($v:expr, $join:ident) => {{
            let v = $v;
            let (mut halves, mut quarters) = ([v[0]; 4], [v[0]; 2]);
            for (i, half) in halves.iter_mut().enumerate() {
                let (a, b) = (v[2 * i], v[2 * i + 1]);
                *half = $join(
                    _mm256_permute2f128_ps::<0x20>(a, b),
                    _mm256_permute2f128_ps::<0x31>(a, b),
                );
            }
            for (i, quarter) in quarters.iter_mut().enumerate() {
                let (a, b) = (halves[2 * i], halves[2 * i + 1]);
                *quarter = $join(_mm256_shuffle_ps::<0x44>(a, b), _mm256_shuffle_ps::<0xEE>(a, b));
            }
            let [a, b] = quarters;
            let one = $join(_mm256_shuffle_ps::<0x88>(a, b), _mm256_shuffle_ps::<0xDD>(a, b));
            let places = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let mut joined = [0.0; 8];
            _mm256_storeu_ps(joined.as_mut_ptr(), _mm256_permutevar8x32_ps(one, places));
            joined
        }};
    }
    pub(crate) use eight_of_8;

    impl Fold<f32> for Avx2 {
        #[inline(always)]
        fn fold(self, v: __m256) -> f32 {
            // SAFETY: the token proves the instruction set; so in every method here.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }
        #[inline(always)]
        fn fold_eight(self, v: [__m256; 8]) -> [f32; 8] {
            // SAFETY: as above.
            unsafe { eight_of_8!(v, _mm256_add_ps) }
        }
        #[inline(always)]
        fn keep(self, v: __m256, n: usize) -> __m256 {
            // SAFETY: as above.
            unsafe { _mm256_and_ps(v, _mm256_castsi256_ps(Lanes::<f32>::mask(self, 0, n.min(8)))) }
        }
        #[inline(always)]
        unsafe fn store_past(self, p: *mut f32, v: __m256) {
            // SAFETY: the caller's promise.
            unsafe { _mm256_stream_ps(p, v) }
        }
    }
    impl Fold<f64> for Avx2 {
        #[inline(always)]
        fn fold(self, v: __m256d) -> f64 {
            // SAFETY: as above.
            unsafe {
                let two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
                _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
            }
        }
        #[inline(always)]
        fn keep(self, v: __m256d, n: usize) -> __m256d {
            // SAFETY: as above.
            unsafe { _mm256_and_pd(v, _mm256_castsi256_pd(Lanes::<f64>::mask(self, 0, n.min(4)))) }
        }
        #[inline(always)]
        unsafe fn store_past(self, p: *mut f64, v: __m256d) {
            // SAFETY: the caller's promise.
            unsafe { _mm256_stream_pd(p, v) }
        }
    }
    impl Fold<f32> for Avx512 {
        #[inline(always)]
        fn fold(self, v: __m512) -> f32 {
            // SAFETY: as above.
            unsafe {
                let eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
                let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }
        #[inline(always)]
        fn fold_eight(self, v: [__m512; 8]) -> [f32; 8] {
            // SAFETY: as above.
            unsafe { eight_of_16!(v, _mm512_add_ps) }
        }
        #[inline(always)]
        fn keep(self, v: __m512, n: usize) -> __m512 {
            // SAFETY: as above.
            unsafe { _mm512_maskz_mov_ps(((1u32 << n.min(16)) - 1) as u16, v) }
        }
        #[inline(always)]
        unsafe fn store_past(self, p: *mut f32, v: __m512) {
            // SAFETY: the caller's promise.
            unsafe { _mm512_stream_ps(p, v) }
        }
    }
    impl Fold<f64> for Avx512 {
        #[inline(always)]
        fn fold(self, v: __m512d) -> f64 {
            // SAFETY: as above.
            unsafe {
                let four = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd::<1>(v));
                let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
                _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
            }
        }
        #[inline(always)]
        fn keep(self, v: __m512d, n: usize) -> __m512d {
            // SAFETY: as above.
            unsafe { _mm512_maskz_mov_pd(((1u32 << n.min(8)) - 1) as u8, v) }
        }
        #[inline(always)]
        unsafe fn store_past(self, p: *mut f64, v: __m512d) {
            // SAFETY: the caller's promise.
            unsafe { _mm512_stream_pd(p, v) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
impl<T: Real> Fold<T> for Neon
where
    Neon: Lanes<T>,
{
    #[inline(always)]
    fn fold(self, v: Self::V) -> T {
        let mut one = [T::ZERO; 16];
        // SAFETY: no vector is longer than the array.
        unsafe { self.store(one.as_mut_ptr(), v) };
        let mut width = <Self as Lanes<T>>::N / 2;
        while width > 0 {
            for i in 0..width {
                one[i] = one[i] + one[i + width];
            }
            width /= 2;
        }
        one[0]
    }
    keep_in_memory!(T);
}
/// A sum's lanes, and what was joined.
pub(crate) struct Sum<T, L: Fold<T>, const U: usize> {
    pub lanes: [L::V; U],
    pub count: usize,
    total: f64,
}

impl<T: Real, L: Fold<T>, const U: usize> Sum<T, L, U> {
    #[inline(always)]
    pub(crate) fn new(l: L) -> Self {
        Self {
            lanes: [l.splat(T::ZERO); U],
            count: 0,
            total: 0.0,
        }
    }

    /// The lanes' sum in one vector.
    #[inline(always)]
    pub(crate) fn halved(&mut self, l: L) -> L::V {
        let mut width = U / 2;
        while width > 0 {
            for i in 0..width {
                self.lanes[i] = l.add(self.lanes[i], self.lanes[i + width]);
            }
            width /= 2;
        }
        self.lanes[0]
    }

    #[inline(always)]
    pub(crate) fn join(&mut self, l: L) {
        self.total += l.fold(self.halved(l)).to_f64();
        self.lanes = [l.splat(T::ZERO); U];
        self.count = 0;
    }

    #[inline(always)]
    pub(crate) fn finish(mut self, l: L) -> f64 {
        if self.count > 0 {
            self.join(l);
        }
        self.total
    }
}

/// The first `n` lanes of `v` in all lanes, zero in the others.
#[inline(always)]
pub(crate) fn first<T: Real, L: Fold<T>>(l: L, v: T, n: usize) -> L::V {
    l.keep(l.splat(v), n)
}

#[inline(always)]
pub(crate) fn sub<T: Real, L: Fold<T>>(l: L, a: L::V, b: L::V) -> L::V {
    l.fma(b, l.splat(-T::ONE), a)
}

#[inline(always)]
pub(crate) fn mul<T: Real, L: Fold<T>>(l: L, a: L::V, b: L::V) -> L::V {
    l.mul(a, b)
}

/// How far memory is asked for in advance, in elements, unless the processor does it ([`stream`](super::cache::stream)).
pub(crate) const AHEAD: usize = 1024;

/// Asks for the `count` vectors of a run that lie `by` of its element `i`: beyond its end, for those of the next run.
#[inline(always)]
pub(crate) fn ahead<T, L: Fold<T>>(l: L, run: *const T, step: isize, by: usize, len: usize, i: usize, count: usize) {
    let at = i + by;
    let at = if at < len || step == 0 {
        run.wrapping_add(at)
    } else {
        run.wrapping_offset(step).wrapping_add(at - len)
    };
    let bytes = count * L::N * size_of::<T>();
    (0..bytes.div_ceil(64)).for_each(|line| l.prefetch(at.wrapping_byte_add(64 * line)));
}

/// Asks for short runs in advance: those that lie `AHEAD` elements after run `run` of `count`, beyond the last one those of
/// the next channel, which lies behind this one. The processor does not see such a stride by itself.
#[inline(always)]
pub(crate) fn later<T, L: Fold<T>>(l: L, runs: *const T, step: isize, count: usize, len: usize, run: usize) {
    let at = run + (AHEAD / len).clamp(1, count);
    let at = if at < count {
        runs.wrapping_offset(at as isize * step)
    } else {
        runs.wrapping_offset((at - count) as isize * step).wrapping_add(len)
    };
    let bytes = len * size_of::<T>();
    (0..=bytes / 64).for_each(|line| l.prefetch(at.wrapping_byte_add(64 * line)));
}

/// # Safety
/// `n` (whole: all) lanes lie at `p`.
#[inline(always)]
pub(crate) unsafe fn load<T, L: Fold<T>>(l: L, p: *const T, n: usize, whole: bool) -> L::V {
    // SAFETY: the caller's promise.
    unsafe { if whole { l.load(p) } else { l.load_n(p, n) } }
}

/// # Safety
/// As for `load`.
#[inline(always)]
pub(crate) unsafe fn store<T, L: Fold<T>>(l: L, p: *mut T, v: L::V, n: usize, whole: bool) {
    // SAFETY: the caller's promise.
    unsafe { if whole { l.store(p, v) } else { l.store_n(p, v, n) } }
}

/// As [`store`]; with `past` vectors go past the caches, which are aligned then, all but the parts at both ends of a run.
///
/// # Safety
/// As for `store`, and for [`Fold::store_past`].
#[inline(always)]
pub(crate) unsafe fn put<T, L: Fold<T>>(l: L, p: *mut T, v: L::V, n: usize, whole: bool, past: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        if past && (whole || n == L::N) {
            l.store_past(p, v)
        } else {
            store(l, p, v, n, whole)
        }
    }
}

/// Orders what was stored past the caches before later stores. Not after each run: it waits for memory.
#[inline(always)]
pub(crate) fn fence(past: bool) {
    #[cfg(target_arch = "x86_64")]
    if past {
        // SAFETY: every x86-64 has SSE.
        unsafe { std::arch::x86_64::_mm_sfence() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = past;
}

/// Elements of a run before the first line of the cache that begins in it.
#[inline(always)]
pub(crate) fn head<T>(run: *const T, len: usize) -> usize {
    (run.addr().wrapping_neg() % 64 / size_of::<T>()).min(len)
}
