//! Sweeps over runs of memory, written once for all instruction sets: sums, scalings, and rows of layer norm.
//!
//! A sum has 256 bytes of virtual lanes: element i of a run belongs to lane i modulo their number. Lanes are joined in a
//! halving tree once 4096 elements or more have gone into them, and these sums in float64, in order. Sums of small
//! distances keep float32's accuracy that way; the mean of many numbers has that of float64 nearly.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::reduce::real::Real;
use crate::scratch::Plain;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::vec::{Lanes, Scalar};
use crate::simd::{Isa, isa};

/// Elements after which lanes are joined.
const SEGMENT: usize = 4096;

/// `count` runs of `len` contiguous elements in up to three views, `steps` apart.
#[derive(Clone, Copy)]
pub(super) struct Runs<T> {
    pub x: *const T,
    pub g: *const T,
    pub y: *mut T,
    /// Of x, g and y.
    pub steps: [isize; 3],
    pub count: usize,
    pub len: usize,
}

/// `y = gain * g + (slope * (x - center) + shift)`
#[derive(Clone, Copy)]
pub(super) struct Blend<T> {
    pub gain: T,
    pub slope: T,
    pub center: T,
    pub shift: T,
}

/// What the gradients of rows need. Rows together, because numbers of a row that were passed in memory would be waited for
/// until all that was stored before them has left.
#[derive(Clone, Copy)]
pub(super) struct RowGrad<T> {
    pub g: *const T,
    pub x: *const T,
    /// Null: no weight.
    pub weight: *const T,
    /// One for each row; null where rows are not centred.
    pub mean: *const T,
    pub rstd: *const T,
    pub rows: usize,
    pub len: usize,
    /// From one row of g, x and gx to the next.
    pub steps: [isize; 3],
    /// Null where they are not wanted: the rows of the gradient, and the sums over rows.
    pub gx: *mut T,
    pub gweight: *mut T,
    pub gbias: *mut T,
}

/// A row to be normalised.
#[derive(Clone, Copy)]
pub(super) struct RowNorm<T> {
    pub x: *const T,
    pub y: *mut T,
    /// Null where there is none.
    pub weight: *const T,
    pub bias: *const T,
    pub eps: f64,
    pub center: bool,
    pub len: usize,
}

/// Goes through elements `from..to` in groups of U vectors: the body is given the vector's number in its group, where it
/// begins, how many lanes it has, and whether these are known to be all. (A closure might not be inlined, and would then
/// lack the instruction set.)
macro_rules! grouped {
    ($l:ident: $lanes:ty, $t:ty, $groups:ident; $from:expr, $to:expr; |$u:ident, $i:ident, $n:ident, $whole:ident| $body:block) => {{
        let (mut at, to, lanes) = ($from, $to, <$lanes as Lanes<$t>>::N);
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

/// Vectors whose lanes can be added up.
pub(super) trait Fold<T>: Lanes<T> {
    /// The sum of the lanes, in a halving tree: lane i and lane i + N / 2 first.
    fn fold(self, v: Self::V) -> T;
}

impl<T> Fold<T> for Scalar
where
    Scalar: Lanes<T, V = T>,
{
    #[inline(always)]
    fn fold(self, v: T) -> T {
        v
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Avx2, Avx512, Fold};
    use std::arch::x86_64::*;

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
}

impl<T> Runs<T> {
    /// Runs that [`later`] asks for.
    #[inline(always)]
    fn short(&self, step: isize) -> bool {
        step != 0 && (1..AHEAD).contains(&self.len)
    }
}

/// A sum's lanes, and what was joined.
struct Sum<T, L: Fold<T>, const U: usize> {
    lanes: [L::V; U],
    count: usize,
    total: f64,
}

impl<T: Real, L: Fold<T>, const U: usize> Sum<T, L, U> {
    #[inline(always)]
    fn new(l: L) -> Self {
        Self {
            lanes: [l.splat(T::ZERO); U],
            count: 0,
            total: 0.0,
        }
    }

    #[inline(always)]
    fn join(&mut self, l: L) {
        let mut width = U / 2;
        while width > 0 {
            for i in 0..width {
                self.lanes[i] = l.add(self.lanes[i], self.lanes[i + width]);
            }
            width /= 2;
        }
        self.total += l.fold(self.lanes[0]).to_f64();
        self.lanes = [l.splat(T::ZERO); U];
        self.count = 0;
    }

    #[inline(always)]
    fn finish(mut self, l: L) -> f64 {
        if self.count > 0 {
            self.join(l);
        }
        self.total
    }
}

/// The first `n` lanes of `v` in all lanes, zero in the others.
#[inline(always)]
fn first<T: Real, L: Fold<T>>(l: L, v: T, n: usize) -> L::V {
    let all = [v; 16];
    // SAFETY: no vector is longer than the array.
    unsafe { l.load_n(all.as_ptr(), n) }
}

#[inline(always)]
fn sub<T: Real, L: Fold<T>>(l: L, a: L::V, b: L::V) -> L::V {
    l.fma(b, l.splat(-T::ONE), a)
}

#[inline(always)]
fn mul<T: Real, L: Fold<T>>(l: L, a: L::V, b: L::V) -> L::V {
    l.fma(a, b, l.splat(-T::ZERO))
}

/// How far memory is asked for in advance, in elements.
const AHEAD: usize = 1024;

/// Asks for the `count` vectors of a run that lie `AHEAD` of its element `i`: beyond its end, for those of the next run.
#[inline(always)]
fn ahead<T, L: Fold<T>>(l: L, run: *const T, step: isize, len: usize, i: usize, count: usize) {
    let at = i + AHEAD;
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
fn later<T, L: Fold<T>>(l: L, runs: *const T, step: isize, count: usize, len: usize, run: usize) {
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
unsafe fn load<T, L: Fold<T>>(l: L, p: *const T, n: usize, whole: bool) -> L::V {
    // SAFETY: the caller's promise.
    unsafe { if whole { l.load(p) } else { l.load_n(p, n) } }
}

/// # Safety
/// As for `load`.
#[inline(always)]
unsafe fn store<T, L: Fold<T>>(l: L, p: *mut T, v: L::V, n: usize, whole: bool) {
    // SAFETY: the caller's promise.
    unsafe { if whole { l.store(p, v) } else { l.store_n(p, v, n) } }
}

/// Sum of `x`.
///
/// # Safety
/// The runs lie in live memory. So for all functions here; written runs are the caller's.
#[inline(always)]
pub(super) unsafe fn sum<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>) -> f64 {
    let mut sum = Sum::<T, L, U>::new(l);
    for run in 0..r.count {
        let x = r.x.wrapping_offset(run as isize * r.steps[0]);
        if r.short(r.steps[0]) {
            later(l, r.x, r.steps[0], r.count, r.len, run);
        }
        let mut from = 0;
        while from < r.len {
            let to = r.len.min(from + SEGMENT);
            grouped!(l: L, T, U; from, to; |u, i, n, whole| {
                if u == 0 && whole && !r.short(r.steps[0]) {
                    ahead(l, x, r.steps[0], r.len, i, U);
                }
                // SAFETY: the caller's promise.
                let v = unsafe { load(l, x.add(i), n, whole) };
                sum.lanes[u] = l.add(sum.lanes[u], v);
            });
            sum.count += to - from;
            if sum.count >= SEGMENT {
                sum.join(l);
            }
            from = to;
        }
    }
    sum.finish(l)
}

/// From the means of squared distances and of distances from a number near the mean; NaN stays.
#[inline(always)]
pub(super) fn variance(squares: f64, rest: f64) -> f64 {
    let var = squares - rest * rest;
    if var < 0.0 { 0.0 } else { var }
}

/// Sums of `x - mean`, which corrects the mean, and of `(x - mean)^2`.
///
/// # Safety
/// As for `sum`.
#[inline(always)]
pub(super) unsafe fn squares<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, mean: T) -> [f64; 2] {
    let (mut rest, mut sum) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
    let center = l.splat(mean);
    for run in 0..r.count {
        let x = r.x.wrapping_offset(run as isize * r.steps[0]);
        let mut from = 0;
        while from < r.len {
            let to = r.len.min(from + SEGMENT);
            grouped!(l: L, T, U; from, to; |u, i, n, whole| {
                let center = if whole { center } else { first(l, mean, n) };
                // SAFETY: the caller's promise.
                let d = sub::<T, L>(l, unsafe { load(l, x.add(i), n, whole) }, center);
                rest.lanes[u] = l.add(rest.lanes[u], d);
                sum.lanes[u] = l.fma(d, d, sum.lanes[u]);
            });
            sum.count += to - from;
            rest.count = sum.count;
            if sum.count >= SEGMENT {
                rest.join(l);
                sum.join(l);
            }
            from = to;
        }
    }
    [rest.finish(l), sum.finish(l)]
}

/// Sums of `g` and of `g * (x - center)`.
///
/// # Safety
/// As for `sum`.
#[inline(always)]
pub(super) unsafe fn dots<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, center: T) -> [f64; 2] {
    let (mut sum, mut dot) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
    let all = l.splat(center);
    for run in 0..r.count {
        let x = r.x.wrapping_offset(run as isize * r.steps[0]);
        let g = r.g.wrapping_offset(run as isize * r.steps[1]);
        if r.short(r.steps[0]) {
            later(l, r.x, r.steps[0], r.count, r.len, run);
        }
        if r.short(r.steps[1]) {
            later(l, r.g, r.steps[1], r.count, r.len, run);
        }
        let mut from = 0;
        while from < r.len {
            let to = r.len.min(from + SEGMENT);
            grouped!(l: L, T, U; from, to; |u, i, n, whole| {
                if u == 0 && whole && !r.short(r.steps[0]) {
                    ahead(l, x, r.steps[0], r.len, i, U);
                    ahead(l, g, r.steps[1], r.len, i, U);
                }
                let center = if whole { all } else { first(l, center, n) };
                // SAFETY: the caller's promise.
                let (x, g) = unsafe { (load(l, x.add(i), n, whole), load(l, g.add(i), n, whole)) };
                sum.lanes[u] = l.add(sum.lanes[u], g);
                dot.lanes[u] = l.fma(g, sub::<T, L>(l, x, center), dot.lanes[u]);
            });
            sum.count += to - from;
            dot.count = sum.count;
            if sum.count >= SEGMENT {
                sum.join(l);
                dot.join(l);
            }
            from = to;
        }
    }
    [sum.finish(l), dot.finish(l)]
}

/// `y = x * a + b`, one fused multiply-add per element.
///
/// # Safety
/// As for `sum`.
#[inline(always)]
pub(super) unsafe fn scale<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, a: T, b: T) {
    let (a, b) = (l.splat(a), l.splat(b));
    for run in 0..r.count {
        let x = r.x.wrapping_offset(run as isize * r.steps[0]);
        let y = r.y.wrapping_offset(run as isize * r.steps[2]);
        grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
            // SAFETY: the caller's promise.
            unsafe { store(l, y.add(i), l.fma(load(l, x.add(i), n, whole), a, b), n, whole) };
        });
    }
}

/// Rows of `len` elements that follow each other in x and y, each by its own factor and summand.
pub(super) struct Rows<T> {
    pub x: *const T,
    pub y: *mut T,
    pub rows: usize,
    pub len: usize,
    /// Lists of `channels` numbers; the first row has number `first`.
    pub a: *const T,
    pub b: *const T,
    pub channels: usize,
    pub first: usize,
}

/// `y = x * a + b`, one fused multiply-add per element.
///
/// # Safety
/// As for `sum`.
#[inline(always)]
pub(super) unsafe fn scale_rows<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Rows<T>) {
    let end = r.rows * r.len;
    let mut c = r.first;
    for row in 0..r.rows {
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (l.splat(*r.a.add(c)), l.splat(*r.b.add(c)));
            let (mut i, to) = (row * r.len, row * r.len + r.len);
            while i + U * L::N <= to {
                for u in 0..U {
                    let at = i + u * L::N;
                    l.store(r.y.add(at), l.fma(l.load(r.x.add(at)), a, b));
                }
                i += U * L::N;
            }
            // What is stored beyond the row is the next one's, and written again.
            while i < to && i + L::N <= end {
                l.store(r.y.add(i), l.fma(l.load(r.x.add(i)), a, b));
                i += L::N;
            }
            if i < to {
                l.store_n(r.y.add(i), l.fma(l.load_n(r.x.add(i), to - i), a, b), to - i);
            }
        }
        c += 1;
        if c == r.channels {
            c = 0;
        }
    }
}

/// What [`Blend`] says.
///
/// # Safety
/// As for `sum`.
#[inline(always)]
pub(super) unsafe fn blend<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, k: &Blend<T>) {
    let [gain, slope, center, shift] = [k.gain, k.slope, k.center, k.shift].map(|v| l.splat(v));
    for run in 0..r.count {
        let x = r.x.wrapping_offset(run as isize * r.steps[0]);
        let g = r.g.wrapping_offset(run as isize * r.steps[1]);
        let y = r.y.wrapping_offset(run as isize * r.steps[2]);
        grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
            // SAFETY: the caller's promise.
            unsafe {
                let (x, g) = (load(l, x.add(i), n, whole), load(l, g.add(i), n, whole));
                let v = l.fma(gain, g, l.fma(slope, sub::<T, L>(l, x, center), shift));
                store(l, y.add(i), v, n, whole);
            }
        });
    }
}

/// `(x - m) * s`
///
/// # Safety
/// As for `load`.
#[inline(always)]
unsafe fn centred<T: Real, L: Fold<T>>(l: L, x: *const T, n: usize, whole: bool, m: L::V, s: L::V) -> L::V {
    // SAFETY: the caller's promise.
    mul::<T, L>(l, sub::<T, L>(l, unsafe { load(l, x, n, whole) }, m), s)
}

/// A row's gradient times the weight.
///
/// # Safety
/// As for `load`.
#[inline(always)]
unsafe fn weighted<T: Real, L: Fold<T>>(l: L, g: *const T, weight: *const T, n: usize, whole: bool) -> L::V {
    // SAFETY: the caller's promise.
    unsafe { mul::<T, L>(l, load(l, g, n, whole), load(l, weight, n, whole)) }
}

/// Normalises a row; its mean (0 where it is not centred) and the reciprocal of its deviation.
///
/// # Safety
/// As for `sum`.
#[inline(always)]
pub(super) unsafe fn norm_row<T: Real, L: Fold<T>, const U: usize>(l: L, r: &RowNorm<T>) -> [T; 2] {
    let runs = Runs {
        x: r.x,
        g: r.x,
        y: r.y,
        steps: [0; 3],
        count: 1,
        len: r.len,
    };
    // SAFETY: the caller's promise.
    unsafe {
        let count = r.len as f64;
        let near = if r.center {
            T::from_f64(sum::<T, L, U>(l, &runs) / count)
        } else {
            T::ZERO
        };
        let [rest, squares] = squares::<T, L, U>(l, &runs, near).map(|v| v / count);
        let (mean, var) = if r.center {
            (T::from_f64(near.to_f64() + rest), variance(squares, rest))
        } else {
            (near, squares)
        };
        let rstd = T::from_f64(1.0 / (var + r.eps).sqrt());
        let (m, s) = (l.splat(mean), l.splat(rstd));
        match (r.weight.is_null(), r.bias.is_null()) {
            (false, false) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let v = l.fma(centred(l, r.x.add(i), n, whole, m, s), load(l, r.weight.add(i), n, whole), load(l, r.bias.add(i), n, whole));
                store(l, r.y.add(i), v, n, whole);
            }),
            (false, true) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let v = mul::<T, L>(l, centred(l, r.x.add(i), n, whole, m, s), load(l, r.weight.add(i), n, whole));
                store(l, r.y.add(i), v, n, whole);
            }),
            (true, false) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let v = l.add(centred(l, r.x.add(i), n, whole, m, s), load(l, r.bias.add(i), n, whole));
                store(l, r.y.add(i), v, n, whole);
            }),
            (true, true) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                store(l, r.y.add(i), centred(l, r.x.add(i), n, whole, m, s), n, whole);
            }),
        }
        [mean, rstd]
    }
}

/// The gradients of rows: their own, and what they add to those of weight and bias.
///
/// # Safety
/// As for `sum`; the lists are as long as they say.
#[inline(always)]
pub(super) unsafe fn grad_rows<T: Real, L: Fold<T>, const U: usize>(l: L, r: &RowGrad<T>) {
    let all = !(r.weight.is_null() || r.gx.is_null() || r.gweight.is_null() || r.gbias.is_null());
    for row in 0..r.rows {
        // SAFETY: the caller's promise.
        unsafe {
            if all {
                grad_row::<T, L, U, true>(l, r, row);
            } else {
                grad_row::<T, L, U, false>(l, r, row);
            }
        }
    }
}

/// Row `row`; `ALL`: no pointer is null but perhaps that of the means.
///
/// # Safety
/// As for `grad_rows`.
#[inline(always)]
unsafe fn grad_row<T: Real, L: Fold<T>, const U: usize, const ALL: bool>(l: L, r: &RowGrad<T>, row: usize) {
    let (mut sum, mut dot) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
    let at = r.steps.map(|s| row as isize * s);
    let (g, x, gx) = (
        r.g.wrapping_offset(at[0]),
        r.x.wrapping_offset(at[1]),
        r.gx.wrapping_offset(at[2]),
    );
    let (weight, gweight, gbias) = (r.weight, r.gweight, r.gbias);
    // SAFETY: the caller's promise.
    unsafe {
        let center = !r.mean.is_null();
        let (mean, scale) = (if center { *r.mean.add(row) } else { T::ZERO }, *r.rstd.add(row));
        let (m, s) = (l.splat(mean), l.splat(scale));
        let mut from = 0;
        while from < r.len {
            let to = r.len.min(from + SEGMENT);
            grouped!(l: L, T, U; from, to; |u, i, n, whole| {
                if u == 0 && whole {
                    ahead(l, x, 0, r.len, i, U);
                    ahead(l, g, 0, r.len, i, U);
                    if ALL || !r.gx.is_null() {
                        ahead(l, gx.cast_const(), 0, r.len, i, U);
                    }
                }
                let m = if whole { m } else { first(l, mean, n) };
                let d = sub::<T, L>(l, load(l, x.add(i), n, whole), m);
                let g = load(l, g.add(i), n, whole);
                let v = if ALL || !weight.is_null() {
                    mul::<T, L>(l, g, load(l, weight.add(i), n, whole))
                } else {
                    g
                };
                sum.lanes[u] = l.add(sum.lanes[u], v);
                dot.lanes[u] = l.fma(v, d, dot.lanes[u]);
                if ALL || !gweight.is_null() {
                    let part = load(l, gweight.add(i), n, whole);
                    store(l, gweight.add(i), l.fma(g, mul::<T, L>(l, d, s), part), n, whole);
                }
                if ALL || !gbias.is_null() {
                    let part = load(l, gbias.add(i), n, whole);
                    store(l, gbias.add(i), l.add(g, part), n, whole);
                }
            });
            sum.count += to - from;
            dot.count = sum.count;
            if sum.count >= SEGMENT {
                sum.join(l);
                dot.join(l);
            }
            from = to;
        }
        if r.gx.is_null() {
            return;
        }
        let count = r.len as f64;
        let rstd = scale.to_f64();
        // The row minus its mean minus its share along the normalised row.
        let a = if center { sum.finish(l) / count } else { 0.0 };
        let b = dot.finish(l) / count * rstd * rstd;
        let (a, b) = (l.splat(T::from_f64(-a * rstd)), l.splat(T::from_f64(-b * rstd)));
        if ALL || !weight.is_null() {
            grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let d = sub::<T, L>(l, load(l, x.add(i), n, whole), m);
                let v = l.fma(d, b, l.fma(weighted(l, g.add(i), weight.add(i), n, whole), s, a));
                store(l, gx.add(i), v, n, whole);
            });
        } else {
            grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let d = sub::<T, L>(l, load(l, x.add(i), n, whole), m);
                store(l, gx.add(i), l.fma(d, b, l.fma(load(l, g.add(i), n, whole), s, a)), n, whole);
            });
        }
    }
}

/// Element by element along the channels: `y = x * a + b`, or what [`Blend`] says with a number of each kind per element.
pub(super) struct Across<T> {
    pub x: *const T,
    pub g: *const T,
    pub y: *mut T,
    /// gain (null: without g), slope, center (null: none), shift
    pub k: [*const T; 4],
    pub len: usize,
}

/// One row across the channels.
///
/// # Safety
/// As for `sum`; each list has `len` numbers.
#[inline(always)]
pub(super) unsafe fn across<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Across<T>) {
    let [gain, slope, center, shift] = r.k;
    // SAFETY: the caller's promise.
    unsafe {
        if gain.is_null() {
            return grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let v = l.fma(load(l, r.x.add(i), n, whole), load(l, slope.add(i), n, whole), load(l, shift.add(i), n, whole));
                store(l, r.y.add(i), v, n, whole);
            });
        }
        grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
            let d = sub::<T, L>(l, load(l, r.x.add(i), n, whole), load(l, center.add(i), n, whole));
            let inner = l.fma(load(l, slope.add(i), n, whole), d, load(l, shift.add(i), n, whole));
            let v = l.fma(load(l, gain.add(i), n, whole), load(l, r.g.add(i), n, whole), inner);
            store(l, r.y.add(i), v, n, whole);
        });
    }
}

/// The sweeps of one instruction set.
pub(super) struct Sweeps<T: 'static> {
    pub sum: unsafe fn(&Runs<T>) -> f64,
    pub squares: unsafe fn(&Runs<T>, T) -> [f64; 2],
    pub dots: unsafe fn(&Runs<T>, T) -> [f64; 2],
    pub scale: unsafe fn(&Runs<T>, T, T),
    pub scale_rows: unsafe fn(&Rows<T>),
    pub blend: unsafe fn(&Runs<T>, &Blend<T>),
    pub across: unsafe fn(&Across<T>),
    pub norm_row: unsafe fn(&RowNorm<T>) -> [T; 2],
    pub grad_rows: unsafe fn(&RowGrad<T>),
}

macro_rules! sweeps {
    ($(#[$feature:meta])* $name:ident, $t:ty, $l:ty, $u:literal) => {
        mod $name {
            use super::*;
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn sum(r: &Runs<$t>) -> f64 {
                // SAFETY: the caller's promise.
                unsafe { super::sum::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn squares(r: &Runs<$t>, mean: $t) -> [f64; 2] {
                // SAFETY: the caller's promise.
                unsafe { super::squares::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r, mean) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn dots(r: &Runs<$t>, center: $t) -> [f64; 2] {
                // SAFETY: the caller's promise.
                unsafe { super::dots::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r, center) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn scale(r: &Runs<$t>, a: $t, b: $t) {
                // SAFETY: the caller's promise.
                unsafe { super::scale::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r, a, b) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn scale_rows(r: &Rows<$t>) {
                // SAFETY: the caller's promise.
                unsafe { super::scale_rows::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn blend(r: &Runs<$t>, k: &Blend<$t>) {
                // SAFETY: the caller's promise.
                unsafe { super::blend::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r, k) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn across(r: &Across<$t>) {
                // SAFETY: the caller's promise.
                unsafe { super::across::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn norm_row(r: &RowNorm<$t>) -> [$t; 2] {
                // SAFETY: the caller's promise.
                unsafe { super::norm_row::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r) }
            }
            /// # Safety
            /// As for what it calls; the CPU has the instruction set.
            $(#[$feature])*
            unsafe fn grad_rows(r: &RowGrad<$t>) {
                // SAFETY: the caller's promise.
                unsafe { super::grad_rows::<$t, $l, $u>(<$l as Lanes<$t>>::assume(), r) }
            }
            pub(super) static SWEEPS: Sweeps<$t> =
                Sweeps { sum, squares, dots, scale, scale_rows, blend, across, norm_row, grad_rows };
        }
    };
}

macro_rules! sweeps_of {
    ($t:ty: $portable:ident $scalar:ident $avx2:ident $avx512:ident $neon:ident, $one:literal) => {
        sweeps!($portable, $t, Scalar, $one);
        #[cfg(target_arch = "x86_64")]
        sweeps!(
            #[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
            $scalar,
            $t,
            Scalar,
            $one
        );
        #[cfg(target_arch = "x86_64")]
        sweeps!(
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx2,
            $t,
            Avx2,
            8
        );
        #[cfg(target_arch = "x86_64")]
        sweeps!(
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
            $avx512,
            $t,
            Avx512,
            4
        );
        #[cfg(target_arch = "aarch64")]
        sweeps!($neon, $t, Neon, 16);

        impl HasSweeps for $t {
            #[inline]
            fn sweeps() -> &'static Sweeps<$t> {
                match isa() {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => &$avx512::SWEEPS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => &$avx2::SWEEPS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Scalar => &$scalar::SWEEPS,
                    #[cfg(target_arch = "aarch64")]
                    Isa::Avx512 | Isa::Avx2 => &$neon::SWEEPS,
                    _ => &$portable::SWEEPS,
                }
            }
        }
    };
}

/// Types with sweeps.
pub(super) trait HasSweeps: Real + Plain {
    /// Those of the instruction set in use.
    fn sweeps() -> &'static Sweeps<Self>;
}

sweeps_of!(f32: portable_f32 scalar_f32 avx2_f32 avx512_f32 neon_f32, 64);
sweeps_of!(f64: portable_f64 scalar_f64 avx2_f64 avx512_f64 neon_f64, 32);
