//! Sweeps over one row of contiguous elements: maximum, exponentials with their sum, and what is made of them.
//!
//! Sums have 64 virtual lanes (of float64 32): element i of a row goes into lane i modulo their number. Lanes are joined by
//! halves and begin anew every [`BLOCK`] elements. Vectors are named, not left to the compiler, which kept lanes and
//! values in memory: a third of a softmax was that.

#![allow(clippy::needless_range_loop, reason = "loops over lanes, which become vectors")]

use super::wave::Wave;
use crate::elementwise::math;
use crate::reduce::real::{Real, TAYLOR};
use crate::simd::cache::stream;
use crate::simd::sweep::{load, store};
use crate::simd::vec::Scalar;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};

/// Elements whose sum is taken by lanes; the sums of blocks are added in order.
pub(crate) const BLOCK: usize = 2048;

/// How far memory is asked for in advance, in elements: two rows of a thousand.
const LATER: usize = 2048;

/// Joins `$w` lanes in memory by halves. Written out, because a loop over widths is not made into vectors.
macro_rules! joined {
    ($lanes:expr, $w:expr, |$x:ident, $y:ident| $value:expr) => {{
        let mut lanes = $lanes;
        macro_rules! half {
            ($h:literal) => {
                if $w > $h {
                    for l in 0..$h {
                        let ($x, $y) = (lanes[l], lanes[(l + $h) % $w]);
                        lanes[l] = $value;
                    }
                }
            };
        }
        half!(32);
        half!(16);
        half!(8);
        half!(4);
        half!(2);
        half!(1);
        lanes[0]
    }};
}
pub(crate) use joined;

/// Floats with an exponential for numbers up to 0, the only ones that are left when a row's maximum is subtracted.
pub(crate) trait Soft: Real {
    #[cfg(target_arch = "x86_64")]
    type Avx512: Wave<Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx2: Wave<Self>;
    #[cfg(target_arch = "aarch64")]
    type Neon: Wave<Self>;
    type One: Wave<Self>;
    /// What [`Soft::exp_raised`] multiplies by: a power of 2, so that nothing but underflow is changed by it.
    const RAISE: Self;
    /// Smaller numbers have the same exponential: 0, once it is lowered.
    const LEAST: Self;
    /// 1.5 * 2^23 (2^52) rounds to an integer; the exponent's bias and that of [`Soft::RAISE`] more make the low bits the
    /// exponent of 2^k times that.
    const MAGIC: Self;
    const LOG2_E: Self;
    /// ln 2, negative, in two parts.
    const LN_2: [Self; 2];
    /// The polynomial of e^r, |r| <= ln 2 / 2: those of `elementwise::math` and `reduce::real`.
    const C: &'static [Self];

    /// 2^(k - bias) from a number whose last bits are k.
    fn power(self) -> Self;
    /// e^x times [`Soft::RAISE`] for x <= 0. The smallest subnormal result of e^x is normal here: one multiplication by 2^k
    /// does, where the general function needs two.
    #[inline(always)]
    fn exp_raised(self) -> Self {
        let x = if self < Self::LEAST { Self::LEAST } else { self };
        let t = x.fma(Self::LOG2_E, Self::MAGIC);
        let n = t - Self::MAGIC;
        let r = n.fma(Self::LN_2[1], n.fma(Self::LN_2[0], x));
        let mut e = Self::C[0];
        for &c in &Self::C[1..] {
            e = e.fma(r, c);
        }
        e * t.power()
    }
    /// The logarithm of a sum of raised exponentials.
    fn log_lowered(self) -> Self;
}

impl Soft for f32 {
    #[cfg(target_arch = "x86_64")]
    type Avx512 = Avx512;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = Avx2;
    #[cfg(target_arch = "aarch64")]
    type Neon = crate::simd::vec::Neon;
    type One = Scalar;
    const RAISE: f32 = 67_108_864.0;
    const LEAST: f32 = -105.0;
    const MAGIC: f32 = 12_582_912.0 + 153.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN_2: [f32; 2] = [-std::f32::consts::LN_2, 1.904_654_3e-9];
    const C: &'static [f32] = &[1.392_625e-3, 8.363_233e-3, 4.166_655e-2, 1.666_657_6e-1, 0.5, 1.0, 1.0];
    #[inline(always)]
    fn power(self) -> f32 {
        f32::from_bits(self.to_bits() << 23)
    }
    #[inline(always)]
    fn log_lowered(self) -> f32 {
        math::log(self / Self::RAISE)
    }
}

impl Soft for f64 {
    #[cfg(target_arch = "x86_64")]
    type Avx512 = Avx512;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = Avx2;
    #[cfg(target_arch = "aarch64")]
    type Neon = crate::simd::vec::Neon;
    type One = Scalar;
    const RAISE: f64 = 18_014_398_509_481_984.0;
    const LEAST: f64 = -746.0;
    const MAGIC: f64 = 6_755_399_441_055_744.0 + 1077.0;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN_2: [f64; 2] = [-6.931_471_803_691_238e-1, -1.908_214_929_270_587_7e-10];
    const C: &'static [f64] = &TAYLOR;
    #[inline(always)]
    fn power(self) -> f64 {
        f64::from_bits(self.to_bits() << 52)
    }
    #[inline(always)]
    fn log_lowered(self) -> f64 {
        (self / Self::RAISE).ln()
    }
}

/// [`Soft::exp_raised`] of W vectors, side by side because each waits for itself.
#[inline(always)]
pub(super) fn raised<T: Soft, L: Wave<T>, const W: usize>(l: L, mut x: [L::V; W]) -> [L::V; W] {
    let magic = l.splat(T::MAGIC);
    let (mut t, mut e) = (x, [l.splat(T::C[0]); W]);
    for w in 0..W {
        x[w] = l.larger(l.splat(T::LEAST), x[w]);
    }
    for w in 0..W {
        t[w] = l.fma(x[w], l.splat(T::LOG2_E), magic);
    }
    for w in 0..W {
        let n = l.add(t[w], l.splat(-T::MAGIC));
        x[w] = l.fma(n, l.splat(T::LN_2[1]), l.fma(n, l.splat(T::LN_2[0]), x[w]));
    }
    for &c in &T::C[1..] {
        for w in 0..W {
            e[w] = l.fma(e[w], x[w], l.splat(c));
        }
    }
    for w in 0..W {
        e[w] = l.mul(e[w], l.power(t[w]));
    }
    e
}

/// Goes through `$count` elements, W vectors at a time: four in whole groups, then single ones, the last of which may be a
/// part. The body is given the place of the first in its group, where it begins, how many lanes it has and whether these
/// are known to be all.
macro_rules! walked {
    ($l:ident: $lanes:ty, $t:ty; $count:expr; |$u:ident, $i:ident, $n:ident, $w:ident, $whole:ident| $body:block) => {{
        let (count, lanes) = ($count, <$lanes as crate::simd::vec::Lanes<$t>>::N);
        let vectors = <$lanes as Wave<$t>>::U;
        let mut at = 0;
        while at + vectors * lanes <= count {
            for $u in (0..vectors).step_by(4) {
                const $w: usize = 4;
                let ($i, $n, $whole) = (at + $u * lanes, lanes, true);
                $body
            }
            at += vectors * lanes;
        }
        if at < count {
            for $u in 0..vectors {
                const $w: usize = 1;
                let $i = at + $u * lanes;
                if $i < count {
                    let ($n, $whole) = ((count - $i).min(lanes), false);
                    $body
                }
            }
        }
    }};
}

/// # Safety
/// W vectors (whole) or `n` lanes lie at `p`.
#[inline(always)]
pub(super) unsafe fn get<T: Soft, L: Wave<T>, const W: usize>(l: L, p: *const T, n: usize, whole: bool) -> [L::V; W] {
    let mut v = [l.splat(T::ZERO); W];
    for w in 0..W {
        // SAFETY: the caller's promise.
        v[w] = unsafe { load(l, p.add(w * L::N), n, whole) };
    }
    v
}

/// # Safety
/// As for [`get`].
#[inline(always)]
pub(super) unsafe fn put<T, L: Wave<T>, const W: usize>(l: L, p: *mut T, v: [L::V; W], n: usize, whole: bool) {
    for w in 0..W {
        // SAFETY: the caller's promise.
        unsafe { store(l, p.add(w * L::N), v[w], n, whole) };
    }
}

/// `x + by`
#[inline(always)]
pub(super) fn lifted<T, L: Wave<T>, const W: usize>(l: L, mut x: [L::V; W], by: L::V) -> [L::V; W] {
    for w in 0..W {
        x[w] = l.add(x[w], by);
    }
    x
}

/// `x * y`
#[inline(always)]
fn times<T, L: Wave<T>, const W: usize>(l: L, mut x: [L::V; W], y: [L::V; W]) -> [L::V; W] {
    for w in 0..W {
        x[w] = l.mul(x[w], y[w]);
    }
    x
}

/// Adds vectors to those of a group from place `u` on, of the last one `n` lanes.
#[inline(always)]
fn gather<T, L: Wave<T>, const W: usize>(l: L, sums: &mut L::Group, u: usize, v: [L::V; W], n: usize, whole: bool) {
    for w in 0..W {
        let sum = &mut sums.as_mut()[u + w];
        *sum = l.add(*sum, if whole { v[w] } else { l.keep(v[w], n) });
    }
}

/// The vectors of a group added up by halves.
#[inline(always)]
fn halved<T, L: Wave<T>>(l: L, mut sums: L::Group) -> L::V {
    let sums = sums.as_mut();
    let mut width = L::U / 2;
    while width > 0 {
        for u in 0..width {
            sums[u] = l.add(sums[u], sums[u + width]);
        }
        width /= 2;
    }
    sums[0]
}

/// The sum of all lanes, by halves.
#[inline(always)]
fn total<T, L: Wave<T>>(l: L, sums: L::Group) -> T {
    l.fold(halved(l, sums))
}

/// What [`halved`] gives of a group in which one vector was gathered, of that `n` lanes.
#[inline(always)]
pub(super) fn only<T: Soft, L: Wave<T>>(l: L, v: L::V, n: usize) -> L::V {
    l.add(l.splat(T::ZERO), l.keep(v, n))
}

/// The sum of a value of two rows' elements, which are as long as the first.
macro_rules! row_sum {
    ($(#[$doc:meta])* $name:ident, $lanes:ident($($k:ident),*) |$l:ident, $x:ident, $y:ident| $value:expr) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<T: Soft, L: Wave<T>>(l: L, x: &[T], y: &[T] $(, $k: T)*) -> T {
            let mut all = T::ZERO;
            for (x, y) in x.chunks(BLOCK).zip(y[..x.len()].chunks(BLOCK)) {
                all = all + l.fold($lanes(l, x, y $(, $k)*));
            }
            all
        }

        $(#[$doc])*
        /// Of at most [`BLOCK`] elements, its lanes in one vector.
        #[inline(always)]
        pub(super) fn $lanes<T: Soft, L: Wave<T>>($l: L, x: &[T], y: &[T] $(, $k: T)*) -> L::V {
            let y = &y[..x.len()];
            $(let $k = $l.splat($k);)*
            if x.len() <= L::N {
                // SAFETY: lanes of both rows.
                let ($x, $y): ([L::V; 1], [L::V; 1]) =
                    unsafe { (get($l, x.as_ptr(), x.len(), false), get($l, y.as_ptr(), x.len(), false)) };
                let [v] = $value;
                return only($l, v, x.len());
            }
            let mut sums = $l.group($l.splat(T::ZERO));
            walked!($l: L, T; x.len(); |u, i, n, W, whole| {
                // SAFETY: lanes of both rows.
                let ($x, $y): ([L::V; W], [L::V; W]) =
                    unsafe { (get($l, x.as_ptr().add(i), n, whole), get($l, y.as_ptr().add(i), n, whole)) };
                gather($l, &mut sums, u, $value, n, whole);
            });
            halved($l, sums)
        }
    };
}
row_sum!(
    /// Sum of products.
    dot, dot_lanes() |l, x, y| times(l, x, y)
);
row_sum!(
    /// The sum of a row, given twice.
    sum, sum_lanes() |l, x, _y| x
);
row_sum!(
    /// Sum of `y * (x + lift)`.
    lifted_dot, lifted_dot_lanes(lift) |l, x, y| times(l, y, lifted(l, x, lift))
);
row_sum!(
    /// The sum of the raised exponentials of `x + lift`; the row is given twice.
    exponential_sum, exponential_lanes(lift) |l, x, _y| raised(l, lifted(l, x, lift))
);

/// Puts W vectors from `p` on into the places from `u` on where they are larger.
///
/// # Safety
/// As for [`get`].
#[inline(always)]
unsafe fn rise<T: Soft, L: Wave<T>>(l: L, tops: &mut L::Group, u: usize, p: *const T, w: usize, n: usize, whole: bool) {
    for w in 0..w {
        // SAFETY: the caller's promise.
        let v = unsafe {
            let p = p.add(w * L::N);
            if whole {
                l.load(p)
            } else {
                l.load_or(p, n, l.splat(-T::INF))
            }
        };
        let to = &mut tops.as_mut()[u + w];
        *to = l.larger(v, *to);
    }
}

/// The vectors of a group joined by halves: the larger of each two lanes.
#[inline(always)]
fn highest_lanes<T, L: Wave<T>>(l: L, mut tops: L::Group) -> L::V {
    let tops = tops.as_mut();
    let mut width = L::U / 2;
    while width > 0 {
        for u in 0..width {
            tops[u] = l.larger(tops[u + width], tops[u]);
        }
        width /= 2;
    }
    tops[0]
}

/// The largest element; NaN is passed over, and of nothing the result is -inf.
#[inline(always)]
pub(crate) fn top<T: Soft, L: Wave<T>>(l: L, x: &[T]) -> T {
    l.largest(top_lanes(l, x))
}

/// Lanes of which the largest is that of the row.
#[inline(always)]
pub(super) fn top_lanes<T: Soft, L: Wave<T>>(l: L, x: &[T]) -> L::V {
    if x.len() <= L::N {
        let least = l.splat(-T::INF);
        // SAFETY: lanes of the row.
        let v = unsafe { l.load_or(x.as_ptr(), x.len(), least) };
        return l.larger(v, least);
    }
    let mut all = l.group(l.splat(-T::INF));
    walked!(l: L, T; x.len(); |u, i, n, W, whole| {
        // SAFETY: lanes of the row.
        unsafe { rise(l, &mut all, u, x.as_ptr().add(i), W, n, whole) };
    });
    highest_lanes(l, all)
}

/// The raised exponentials of `x - top` in `to`, and their sum.
#[inline(always)]
pub(crate) fn exponentials<T: Soft, L: Wave<T>>(l: L, x: &[T], top: T, to: &mut [T]) -> T {
    let mut all = T::ZERO;
    for (x, to) in x.chunks(BLOCK).zip(to[..x.len()].chunks_mut(BLOCK)) {
        all = all + l.fold(exponentials_lanes(l, x, top, to));
    }
    all
}

/// [`exponentials`] of at most [`BLOCK`] elements, with the lanes of their sum.
#[inline(always)]
pub(super) fn exponentials_lanes<T: Soft, L: Wave<T>>(l: L, x: &[T], top: T, to: &mut [T]) -> L::V {
    let (lift, mut sums) = (l.splat(-top), l.group(l.splat(T::ZERO)));
    let to = to[..x.len()].as_mut_ptr();
    walked!(l: L, T; x.len(); |u, i, n, W, whole| {
        // SAFETY: lanes of both rows.
        unsafe {
            let x: [L::V; W] = get(l, x.as_ptr().add(i), n, whole);
            let e = raised(l, lifted(l, x, lift));
            put(l, to.add(i), e, n, whole);
            gather(l, &mut sums, u, e, n, whole);
        }
    });
    halved(l, sums)
}

/// The softmax of a row of at most one vector: what [`exponentials`] and [`scaled`] give.
#[inline(always)]
pub(crate) fn narrow<T: Soft, L: Wave<T>>(l: L, x: &[T], to: &mut [T]) {
    let (n, top) = (to.len(), top(l, x));
    // SAFETY: lanes of both rows, which are as long as each other.
    unsafe {
        let x: [L::V; 1] = get(l, x[..n].as_ptr(), n, false);
        let [e] = raised(l, lifted(l, x, l.splat(-top)));
        let by = T::ONE / l.fold(only(l, e, n));
        store(l, to.as_mut_ptr(), l.mul(e, l.splat(by)), n, false);
    }
}

/// What a [`step`] makes of the row before.
pub(crate) mod before {
    /// Nothing.
    pub(crate) const GONE: u8 = 0;
    /// Its exponentials times a number: the softmax.
    pub(crate) const SCALED: u8 = 1;
    /// The row less two numbers: the logarithm of that.
    pub(crate) const LOWERED: u8 = 2;
}

/// Three rows of one length, one step each: the next one's maximum, this one's sum of exponentials above
/// `top`, and the result of the one before. Alone each of these waits, the one for memory, the other for itself; what they
/// give is that of [`top`], [`exponentials`] or [`sum_above`], and [`scaled`] or [`lowered`].
#[inline(always)]
pub(crate) fn step<T: Soft, L: Wave<T>, const BEFORE: u8>(
    l: L,
    next: &[T],
    x: &[T],
    top: T,
    exponentials: &mut [T],
    old: &[T],
    by: [T; 2],
    y: &mut [T],
) -> [T; 2] {
    let (count, has_y) = (x.len(), BEFORE != before::GONE);
    let next = &next[..count];
    let (old, y) = (
        &old[..if has_y { count } else { 0 }],
        &mut y[..if has_y { count } else { 0 }],
    );
    let keep = BEFORE == before::SCALED;
    let exponentials = &mut exponentials[..if keep { count } else { 0 }];
    let lift = l.splat(if !keep && top == -T::INF { T::ZERO } else { -top });
    let by = [l.splat(by[0]), l.splat(by[1])];
    let mut tops = l.group(l.splat(-T::INF));
    let (mut all, mut from, later) = (T::ZERO, 0, stream(LATER));
    while from < count {
        let mut sums = l.group(l.splat(T::ZERO));
        walked!(l: L, T; (count - from).min(BLOCK); |u, i, n, W, whole| {
            let i = from + i;
            // SAFETY: lanes of all rows.
            unsafe {
                if has_y {
                    let mut v: [L::V; W] = get(l, old.as_ptr().add(i), n, whole);
                    for w in 0..W {
                        v[w] = if keep { l.mul(v[w], by[0]) } else { l.add(l.add(v[w], by[0]), by[1]) };
                        if whole {
                            l.prefetch_write(y.as_ptr().wrapping_add(later + i + w * L::N));
                        }
                    }
                    put(l, y.as_mut_ptr().add(i), v, n, whole);
                }
                let v: [L::V; W] = get(l, x.as_ptr().add(i), n, whole);
                let e = raised(l, lifted(l, v, lift));
                if keep {
                    put(l, exponentials.as_mut_ptr().add(i), e, n, whole);
                }
                gather(l, &mut sums, u, e, n, whole);
                if whole {
                    for w in 0..W {
                        l.prefetch(next.as_ptr().wrapping_add(later + i + w * L::N));
                    }
                }
                rise(l, &mut tops, u, next.as_ptr().add(i), W, n, whole);
            }
        });
        all = all + total(l, sums);
        from += BLOCK;
    }
    [all, l.largest(highest_lanes(l, tops))]
}

/// The gradient of a row, and the sum of products of the next one with its own gradient: `y = (g - dot) * p`.
#[inline(always)]
pub(crate) fn gradient_step<T: Soft, L: Wave<T>>(l: L, next: [&[T]; 2], [g, p]: [&[T]; 2], dot: T, y: &mut [T]) -> T {
    let (count, less) = (y.len(), l.splat(-dot));
    let (next, g, p) = (next.map(|v| &v[..count]), &g[..count], &p[..count]);
    let (mut all, mut from, later) = (T::ZERO, 0, stream(LATER));
    while from < count {
        let mut sums = l.group(l.splat(T::ZERO));
        walked!(l: L, T; (count - from).min(BLOCK); |u, i, n, W, whole| {
            // SAFETY: lanes of all rows.
            unsafe {
                let at = from + i;
                let a: [L::V; W] = get(l, next[0].as_ptr().add(at), n, whole);
                let b: [L::V; W] = get(l, next[1].as_ptr().add(at), n, whole);
                gather(l, &mut sums, u, times(l, a, b), n, whole);
                let v: [L::V; W] = get(l, g.as_ptr().add(at), n, whole);
                let v = times(l, lifted(l, v, less), get(l, p.as_ptr().add(at), n, whole));
                if whole {
                    for w in 0..W {
                        l.prefetch(next[0].as_ptr().wrapping_add(later + at + w * L::N));
                        l.prefetch(next[1].as_ptr().wrapping_add(later + at + w * L::N));
                        l.prefetch_write(y.as_ptr().wrapping_add(later + at + w * L::N));
                    }
                }
                put(l, y.as_mut_ptr().add(at), v, n, whole);
            }
        });
        all = all + total(l, sums);
        from += BLOCK;
    }
    all
}

/// The raised sum of the exponentials above the maximum `top`.
#[inline(always)]
pub(crate) fn sum_above<T: Soft, L: Wave<T>>(l: L, x: &[T], top: T) -> T {
    exponential_sum(l, x, x, lift(top))
}

/// What is added to the elements of a row with the maximum `top`: of -inf alone the exponentials are 0, not NaN.
#[inline(always)]
pub(super) fn lift<T: Soft>(top: T) -> T {
    if top == -T::INF { T::ZERO } else { -top }
}

/// The maximum and the raised sum of the exponentials of what is left, in one pass: each block is read while it lies in
/// the first-level cache, and the sum is scaled when a later block has a larger maximum (Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", arXiv 1805.02867).
#[inline(always)]
pub(crate) fn top_and_sum<T: Soft, L: Wave<T>>(l: L, x: &[T]) -> (T, T) {
    top_and_sum_after::<T, L, { before::GONE }>(l, x, &[], [T::ZERO; 2], &mut [])
}

/// [`top_and_sum`], and on the way what BEFORE makes of the row before, as in [`step`]: nothing, or it lowered.
#[inline(always)]
pub(crate) fn top_and_sum_after<T: Soft, L: Wave<T>, const BEFORE: u8>(
    l: L,
    x: &[T],
    old: &[T],
    by: [T; 2],
    y: &mut [T],
) -> (T, T) {
    let (mut best, mut all) = (-T::INF, T::ZERO);
    let mut now = top(l, &x[..x.len().min(BLOCK)]);
    for (i, block) in x.chunks(BLOCK).enumerate() {
        if now > best {
            // Nothing but -inf and NaN was seen before the first maximum: 0 or NaN, whatever the factor.
            if best > -T::INF {
                all = all * ((best - now).exp_raised() / T::RAISE);
            }
            best = now;
        }
        let next = &x[x.len().min((i + 1) * BLOCK)..x.len().min((i + 2) * BLOCK)];
        let part = i * BLOCK..if BEFORE == before::GONE {
            i * BLOCK
        } else {
            i * BLOCK + block.len()
        };
        let (old, y) = if part.is_empty() {
            (&[][..], &mut [][..])
        } else {
            (&old[part.clone()], &mut y[part])
        };
        if next.len() == block.len() {
            let [sum, top] = step::<T, L, BEFORE>(l, next, block, best, &mut [], old, by, y);
            (all, now) = (all + sum, top);
        } else {
            (all, now) = (all + sum_above(l, block, best), top(l, next));
            lowered(l, old, -by[0], -by[1], y);
        }
    }
    (best, all)
}

/// `to[i] = value`, with vectors of the rows under their names, and numbers in all lanes. The rows are as long as `to`.
macro_rules! each {
    ($l:ident, $to:expr, ($($x:ident in $row:expr),+), ($($k:ident),*) => $value:expr) => {{
        let to = $to;
        let count = to.len();
        $(let $x = &$row[..count];)+
        $(let $k = $l.splat($k);)*
        let to = to.as_mut_ptr();
        walked!($l: L, T; count; |_u, i, n, W, whole| {
            for w in 0..W {
                let i = i + w * L::N;
                // SAFETY: lanes of all rows.
                unsafe {
                    $(let $x = load($l, $x.as_ptr().add(i), n, whole);)+
                    store($l, to.add(i), $value, n, whole);
                }
            }
        });
    }};
}

/// `to = x * by`
#[inline(always)]
pub(crate) fn scaled<T: Soft, L: Wave<T>>(l: L, x: &[T], by: T, to: &mut [T]) {
    each!(l, to, (x in x), (by) => l.mul(x, by));
}

/// `to = (x - top) - log`
#[inline(always)]
pub(crate) fn lowered<T: Soft, L: Wave<T>>(l: L, x: &[T], top: T, log: T, to: &mut [T]) {
    let (top, log) = (-top, -log);
    each!(l, to, (x in x), (top, log) => l.add(l.add(x, top), log));
}

/// `to = (g - dot) * y`
#[inline(always)]
pub(crate) fn softmax_gradient<T: Soft, L: Wave<T>>(l: L, g: &[T], y: &[T], dot: T, to: &mut [T]) {
    let dot = -dot;
    each!(l, to, (g in g, y in y), (dot) => l.mul(l.add(g, dot), y));
}

/// `to = e^(x - top) * scale * g`, of raised exponentials.
#[inline(always)]
pub(crate) fn probabilities<T: Soft, L: Wave<T>>(l: L, x: &[T], [top, scale, g]: [T; 3], to: &mut [T]) {
    let (lift, scale, g, count) = (l.splat(-top), l.splat(scale), l.splat(g), to.len());
    let (x, to) = (&x[..count], to.as_mut_ptr());
    let x_from = x.as_ptr();
    let later = stream(LATER);
    walked!(l: L, T; count; |_u, i, n, W, whole| {
        // SAFETY: lanes of both rows.
        unsafe {
            let x: [L::V; W] = get(l, x.as_ptr().add(i), n, whole);
            let e = raised(l, lifted(l, x, lift));
            let p = times(l, times(l, e, [scale; W]), [g; W]);
            if whole {
                for w in 0..W {
                    l.prefetch(x_from.wrapping_add(later + i + w * L::N));
                    l.prefetch_write(to.wrapping_add(later + i + w * L::N));
                }
            }
            put(l, to.add(i), p, n, whole);
        }
    });
}

/// `to = e^(x - top) * scale * g - q * by`, of raised exponentials.
#[inline(always)]
pub(crate) fn differences<T: Soft, L: Wave<T>>(l: L, x: &[T], q: &[T], [top, scale, g, by]: [T; 4], to: &mut [T]) {
    probabilities(l, x, [top, scale, g], to);
    let (by, count) = (l.splat(-by), to.len());
    let (q, to) = (&q[..count], to.as_mut_ptr());
    walked!(l: L, T; count; |_u, i, n, W, whole| {
        for w in 0..W {
            let i = i + w * L::N;
            // SAFETY: lanes of both rows.
            unsafe {
                let (p, q) = (load(l, to.add(i), n, whole), load(l, q.as_ptr().add(i), n, whole));
                store(l, to.add(i), l.fma(q, by, p), n, whole);
            }
        }
    });
}

/// `to = g - e^y * sum`; `y` may be any number. (What a compiler makes of it is as fast.)
#[inline(always)]
pub(crate) fn log_softmax_gradient<T: Soft>(g: &[T], y: &[T], sum: T, to: &mut [T]) {
    for ((to, &g), &y) in to.iter_mut().zip(g).zip(y) {
        *to = Real::exp(y).fma(-sum, g);
    }
}
