//! Sweeps over one row of contiguous elements: maximum, exponentials with their sum, and what is made of them.
//!
//! A row is taken in blocks of 64 float32 (32 float64), a short one in blocks of 16, 4 or 1; that many exponentials at
//! once hide each other's latency. The last block ends with the row, so it may repeat elements of the one before: they
//! are written twice with the same values, and left out of sums. Sums have one lane for each place in a block, joined by
//! halves, and begin anew every [`BLOCK`] elements.

#![allow(clippy::needless_range_loop, reason = "loops over lanes, which become vectors")]

use crate::elementwise::math;
use crate::reduce::real::Real;

/// Elements whose sum is taken by lanes; the sums of blocks are added in order.
pub(crate) const BLOCK: usize = 2048;

/// Joins `$w` lanes by halves. Written out, because a loop over widths is not made into vectors.
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
    /// What [`Soft::exp_raised`] multiplies by: a power of 2, so that nothing but underflow is changed by it.
    const RAISE: Self;
    /// e^x times [`Soft::RAISE`] for x <= 0. The smallest subnormal result of e^x is normal here: one multiplication by 2^k
    /// does, where the general function needs two. The polynomials are those of `elementwise::math` and `reduce::real`.
    fn exp_raised(self) -> Self;
    /// The logarithm of a sum of raised exponentials.
    fn log_lowered(self) -> Self;
    /// The sum of 16 lanes by halves.
    #[inline(always)]
    fn total(lanes: [Self; 16]) -> Self {
        joined!(lanes, 16, |x, y| x + y)
    }
    /// The largest of 16 lanes by halves.
    #[inline(always)]
    fn largest(lanes: [Self; 16]) -> Self {
        joined!(lanes, 16, |x, y| if y > x { y } else { x })
    }
}

impl Soft for f32 {
    const RAISE: f32 = 67_108_864.0;
    #[inline(always)]
    fn exp_raised(self) -> f32 {
        // 1.5 * 2^23 rounds to an integer; 127 + 26 more make the low bits the exponent of 2^(k + 26).
        const MAGIC: f32 = 12_582_912.0 + 153.0;
        const C: [f32; 7] = [1.392_625e-3, 8.363_233e-3, 4.166_655e-2, 1.666_657_6e-1, 0.5, 1.0, 1.0];
        let x = if self < -105.0 { -105.0 } else { self };
        let t = x.mul_add(std::f32::consts::LOG2_E, MAGIC);
        let n = t - MAGIC;
        let r = n.mul_add(1.904_654_3e-9, n.mul_add(-std::f32::consts::LN_2, x));
        let mut e = C[0];
        let mut i = 1;
        while i < C.len() {
            e = e.mul_add(r, C[i]);
            i += 1;
        }
        e * f32::from_bits(t.to_bits() << 23)
    }
    #[inline(always)]
    fn log_lowered(self) -> f32 {
        math::log(self / Self::RAISE)
    }
    // Vectors by name: from the scalar tree LLVM makes pairs of lanes, and carries them back into the caller's loop.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn total(lanes: [f32; 16]) -> f32 {
        use std::arch::x86_64::*;
        // SAFETY: four vectors are as large as 16 numbers, and every x86-64 has SSE.
        unsafe {
            let [a, b, c, d]: [__m128; 4] = std::mem::transmute::<[f32; 16], [__m128; 4]>(lanes);
            let v = _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
        }
    }
    // `max(y, x)` is y if y > x, else x.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn largest(lanes: [f32; 16]) -> f32 {
        use std::arch::x86_64::*;
        // SAFETY: as above.
        unsafe {
            let [a, b, c, d]: [__m128; 4] = std::mem::transmute::<[f32; 16], [__m128; 4]>(lanes);
            let v = _mm_max_ps(_mm_max_ps(d, b), _mm_max_ps(c, a));
            let v = _mm_max_ps(_mm_movehl_ps(v, v), v);
            _mm_cvtss_f32(_mm_max_ss(_mm_shuffle_ps::<1>(v, v), v))
        }
    }
}

impl Soft for f64 {
    const RAISE: f64 = 18_014_398_509_481_984.0;
    #[inline(always)]
    fn exp_raised(self) -> f64 {
        // As above: 1.5 * 2^52 and 1023 + 54.
        const MAGIC: f64 = 6_755_399_441_055_744.0 + 1077.0;
        const C: [f64; 14] = [
            1.0 / 6_227_020_800.0,
            1.0 / 479_001_600.0,
            1.0 / 39_916_800.0,
            1.0 / 3_628_800.0,
            1.0 / 362_880.0,
            1.0 / 40_320.0,
            1.0 / 5_040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ];
        let x = if self < -746.0 { -746.0 } else { self };
        let t = x.mul_add(std::f64::consts::LOG2_E, MAGIC);
        let n = t - MAGIC;
        let r = n.mul_add(-6.931_471_803_691_238e-1, x);
        let r = n.mul_add(-1.908_214_929_270_587_7e-10, r);
        let mut e = C[0];
        let mut i = 1;
        while i < C.len() {
            e = e.mul_add(r, C[i]);
            i += 1;
        }
        e * f64::from_bits(t.to_bits() << 52)
    }
    #[inline(always)]
    fn log_lowered(self) -> f64 {
        (self / Self::RAISE).ln()
    }
}

/// Calls a function of `(T, W)` with the block that suits `n` elements.
macro_rules! by_width {
    ($t:ty, $n:expr, $f:ident($($a:expr),* $(,)?)) => {
        match $n {
            n if n >= 64 && size_of::<$t>() == 4 => $f::<$t, 64>($($a),*),
            n if n >= 32 && size_of::<$t>() == 8 => $f::<$t, 32>($($a),*),
            n if n >= 16 => $f::<$t, 16>($($a),*),
            n if n >= 4 => $f::<$t, 4>($($a),*),
            _ => $f::<$t, 1>($($a),*),
        }
    };
}
pub(crate) use by_width;

/// The lanes of a block joined by halves: down to 16 as arrays, then by the type's own function.
macro_rules! lanes_joined {
    ($lanes:expr, $w:expr, $t:ty, $of_16:ident, |$x:ident, $y:ident| $value:expr) => {{
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
        match lanes.first_chunk::<16>() {
            Some(first) => <$t as Soft>::$of_16(*first),
            None => joined!(lanes, $w, |$x, $y| $value),
        }
    }};
}

/// `to[i] = value` block by block, with elements of the rows under their names. The rows are as long as `to`.
macro_rules! each {
    ($w:expr, $to:expr, ($($x:ident in $row:expr),+) => $value:expr) => {{
        let to = $to;
        let n = to.len();
        let mut at = 0;
        while at < n {
            let start = at.min(n - $w);
            let mut block = [<T as Real>::ZERO; $w];
            $(let $x = $row[start..].first_chunk::<$w>().expect("a row of the length of the result");)+
            for l in 0..$w {
                $(let $x = $x[l];)+
                block[l] = $value;
            }
            *to[start..].first_chunk_mut::<$w>().expect("a block inside the row") = block;
            at += $w;
        }
    }};
}
pub(crate) use each;

/// The sum of a value of two rows' elements by lanes. The rows are of one length.
macro_rules! summed {
    ($t:ty, $w:expr, ($x:ident in $a:expr, $y:ident in $b:expr) => $value:expr) => {{
        let (a, b) = ($a, $b);
        let mut lanes = [<$t as Real>::ZERO; $w];
        let ((blocks, rest), (others, _)) = (a.as_chunks::<$w>(), b.as_chunks::<$w>());
        for ($x, $y) in blocks.iter().zip(others) {
            // Values first: in one loop with their sums they would be made one vector after another.
            let mut values = [<$t as Real>::ZERO; $w];
            for l in 0..$w {
                let ($x, $y) = ($x[l], $y[l]);
                values[l] = $value;
            }
            for l in 0..$w {
                lanes[l] = lanes[l] + values[l];
            }
        }
        if let (false, Some($x), Some($y)) = (rest.is_empty(), a.last_chunk::<$w>(), b.last_chunk::<$w>()) {
            for l in 0..$w {
                let ($x, $y) = ($x[l], $y[l]);
                let v = $value;
                lanes[l] = lanes[l] + if l >= $w - rest.len() { v } else { <$t as Real>::ZERO };
            }
        }
        lanes_joined!(lanes, $w, $t, total, |x, y| x + y)
    }};
}

/// The sum of a value of two rows' elements.
macro_rules! row_sum {
    ($(#[$doc:meta])* $name:ident($($k:ident),*) ($x:ident, $y:ident) => $value:expr) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<T: Soft>(x: &[T], y: &[T] $(, $k: T)*) -> T {
            #[inline(always)]
            fn block<T: Soft, const W: usize>(x: &[T], y: &[T] $(, $k: T)*) -> T {
                summed!(T, W, ($x in x, $y in y) => $value)
            }
            let y = &y[..x.len()];
            let mut total = T::ZERO;
            for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
                total = total + by_width!(T, x.len(), block(x, y $(, $k)*));
            }
            total
        }
    };
}
row_sum!(
    /// Sum of products.
    dot() (x, y) => x * y
);
row_sum!(
    /// The sum of a row, given twice.
    sum() (x, _y) => x
);
row_sum!(
    /// Sum of `y * (x - shift)`.
    shifted_dot(shift) (x, y) => y * (x - shift)
);

/// Lane by lane. A result of its own: stored into `m` lane by lane, it stays in memory, under masks that no load waits for
/// in less than a dozen cycles.
#[inline(always)]
fn larger<T: Soft, const W: usize>(b: &[T; W], m: [T; W]) -> [T; W] {
    let mut to = m;
    for l in 0..W {
        let (b, m) = (b[l], m[l]);
        to[l] = if b > m { b } else { m };
    }
    to
}

/// The largest element; NaN is passed over, and of nothing the result is -inf.
#[inline(always)]
pub(crate) fn top<T: Soft>(x: &[T]) -> T {
    #[inline(always)]
    fn block<T: Soft, const W: usize>(x: &[T]) -> T {
        let mut m = [-T::INF; W];
        let (blocks, rest) = x.as_chunks::<W>();
        for b in blocks {
            m = larger(b, m);
        }
        if let (false, Some(b)) = (rest.is_empty(), x.last_chunk::<W>()) {
            m = larger(b, m);
        }
        lanes_joined!(m, W, T, largest, |x, y| if y > x { y } else { x })
    }
    by_width!(T, x.len(), block(x))
}

/// The raised exponentials of `x - top` in `to`, and their sum.
#[inline(always)]
pub(crate) fn exponentials<T: Soft>(x: &[T], top: T, to: &mut [T]) -> T {
    #[inline(always)]
    fn block<T: Soft, const W: usize>(x: &[T], top: T, to: &mut [T]) -> T {
        let mut lanes = [T::ZERO; W];
        let (blocks, rest) = x.as_chunks::<W>();
        for (b, to) in blocks.iter().zip(to.as_chunks_mut::<W>().0) {
            let mut e = *b;
            for l in 0..W {
                e[l] = (e[l] - top).exp_raised();
            }
            *to = e;
            for l in 0..W {
                lanes[l] = lanes[l] + e[l];
            }
        }
        if let (false, Some(b), Some(to)) = (rest.is_empty(), x.last_chunk::<W>(), to.last_chunk_mut::<W>()) {
            let mut e = *b;
            for l in 0..W {
                e[l] = (e[l] - top).exp_raised();
            }
            *to = e;
            for l in 0..W {
                lanes[l] = lanes[l] + if l >= W - rest.len() { e[l] } else { T::ZERO };
            }
        }
        lanes_joined!(lanes, W, T, total, |x, y| x + y)
    }
    let mut total = T::ZERO;
    for (x, to) in x.chunks(BLOCK).zip(to[..x.len()].chunks_mut(BLOCK)) {
        total = total + by_width!(T, x.len(), block(x, top, to));
    }
    total
}

row_sum!(
    /// The sum of the raised exponentials of `x - shift`; the row is given twice.
    exponential_sum(shift) (x, _y) => (x - shift).exp_raised()
);

/// The raised sum of the exponentials above the maximum `top`.
#[inline(always)]
pub(crate) fn sum_above<T: Soft>(x: &[T], top: T) -> T {
    // Of -inf alone the exponentials are 0, not NaN.
    exponential_sum(x, x, if top == -T::INF { T::ZERO } else { top })
}

/// The maximum and the raised sum of the exponentials of what is left, in one pass: each block is read while it lies in
/// the first-level cache, and the sum is scaled when a later block has a larger maximum (Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", arXiv 1805.02867).
#[inline(always)]
pub(crate) fn top_and_sum<T: Soft>(x: &[T]) -> (T, T) {
    let (mut best, mut total) = (-T::INF, T::ZERO);
    for block in x.chunks(BLOCK) {
        let now = top(block);
        if now > best {
            // Nothing but -inf and NaN was seen before the first maximum: 0 or NaN, whatever the factor.
            if best > -T::INF {
                total = total * ((best - now).exp_raised() / T::RAISE);
            }
            best = now;
        }
        total = total + sum_above(block, best);
    }
    (best, total)
}

/// `to = x * by`
#[inline(always)]
pub(crate) fn scaled<T: Soft>(x: &[T], by: T, to: &mut [T]) {
    #[inline(always)]
    fn blocks<T: Soft, const W: usize>(x: &[T], by: T, to: &mut [T]) {
        each!(W, to, (x in x) => x * by);
    }
    by_width!(T, to.len(), blocks(x, by, to))
}

/// `to = (x - top) - log`
#[inline(always)]
pub(crate) fn lowered<T: Soft>(x: &[T], top: T, log: T, to: &mut [T]) {
    #[inline(always)]
    fn blocks<T: Soft, const W: usize>(x: &[T], top: T, log: T, to: &mut [T]) {
        each!(W, to, (x in x) => (x - top) - log);
    }
    by_width!(T, to.len(), blocks(x, top, log, to))
}

/// `to = (g - dot) * y`
#[inline(always)]
pub(crate) fn softmax_gradient<T: Soft>(g: &[T], y: &[T], dot: T, to: &mut [T]) {
    #[inline(always)]
    fn blocks<T: Soft, const W: usize>(g: &[T], y: &[T], dot: T, to: &mut [T]) {
        each!(W, to, (g in g, y in y) => (g - dot) * y);
    }
    by_width!(T, to.len(), blocks(g, y, dot, to))
}

/// `to = g - e^y * sum`; `y` may be any number.
#[inline(always)]
pub(crate) fn log_softmax_gradient<T: Soft>(g: &[T], y: &[T], sum: T, to: &mut [T]) {
    #[inline(always)]
    fn blocks<T: Soft, const W: usize>(g: &[T], y: &[T], sum: T, to: &mut [T]) {
        each!(W, to, (g in g, y in y) => Real::exp(y).fma(-sum, g));
    }
    by_width!(T, to.len(), blocks(g, y, sum, to))
}
