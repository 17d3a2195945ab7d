//! Lines that lie side by side: element k of all of them is contiguous, and a vector holds one element of many lines.
//!
//! Sums are chains over k, line by line, whatever the width of a strip.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::row::{Soft, get, put, raised};
use super::wave::Wave;

/// Lines in a strip, at most.
pub(crate) const WIDTH: usize = 64;

/// `n` elements of several lines: of the input `x` (backward: the result), the gradient `g` (or `x` again), the output `y`.
#[derive(Clone, Copy)]
pub(crate) struct Lines<T> {
    pub n: usize,
    pub x: *const T,
    pub g: *const T,
    pub y: *mut T,
    /// Distances between elements of a line, of x, g and y.
    pub step: [isize; 3],
}

/// Element k of `W` lines.
///
/// # Safety
/// They lie in memory that nothing writes while the array is used.
#[inline(always)]
pub(crate) unsafe fn across<'a, T, const W: usize>(at: *const T, k: usize, step: isize) -> &'a [T; W] {
    // SAFETY: the caller's promise.
    unsafe { &*at.offset(k as isize * step).cast() }
}

/// As [`across`], to be written.
///
/// # Safety
/// They lie in memory that nothing else uses while the array is.
#[inline(always)]
pub(crate) unsafe fn across_mut<'a, T, const W: usize>(at: *mut T, k: usize, step: isize) -> &'a mut [T; W] {
    // SAFETY: the caller's promise.
    unsafe { &mut *at.offset(k as isize * step).cast() }
}

/// Calls `$f::<T, W>(from, …)` for parts of `$width` lines that begin at `from`: as wide as they can be.
macro_rules! by_parts {
    ($t:ty, $width:expr, |$from:ident| $f:ident($($a:expr),* $(,)?)) => {{
        let width = $width;
        let mut $from = 0;
        while $from < width {
            $from += match width - $from {
                n if n >= 64 && size_of::<$t>() == 4 => { $f::<$t, 64>($($a),*); 64 }
                n if n >= 16 => { $f::<$t, 16>($($a),*); 16 }
                n if n >= 4 => { $f::<$t, 4>($($a),*); 4 }
                _ => { $f::<$t, 1>($($a),*); 1 }
            };
        }
    }};
}
pub(crate) use by_parts;

impl<T> Lines<T> {
    /// The lines from the given one on.
    ///
    /// # Safety
    /// There are as many.
    #[inline(always)]
    unsafe fn from(self, at: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                x: self.x.add(at),
                g: self.g.add(at),
                y: self.y.add(at),
                ..self
            }
        }
    }
}

/// Rows of a strip that memory is asked for in advance: the processor does not see so wide a stride by itself.
const LATER: isize = 12;

/// Softmax or its gradient for `width` lines; forward and without logarithm `scratch` holds `n * WIDTH` elements.
///
/// # Safety
/// The lines lie in memory of their own, outputs apart from inputs.
#[inline(always)]
pub(crate) unsafe fn run<T: Soft, L: Wave<T>>(
    l: L,
    lines: Lines<T>,
    width: usize,
    backward: bool,
    log: bool,
    scratch: &mut [T],
) {
    // SAFETY: the caller's promise, for each part.
    unsafe {
        if backward && log {
            return by_parts!(T, width, |at| log_gradient(lines.from(at)));
        }
        let mut at = 0;
        while at + 4 * L::N <= width {
            some::<T, L, 4>(l, lines.from(at), [L::N, 1], backward, log, scratch);
            at += 4 * L::N;
        }
        while at < width {
            let n = (width - at).min(L::N);
            some::<T, L, 1>(l, lines.from(at), [n, 0], backward, log, scratch);
            at += L::N;
        }
    }
}

/// What [`run`] makes of W vectors of lines, or (`whole` is 0) of `n` lines.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn some<T: Soft, L: Wave<T>, const W: usize>(
    l: L,
    lines: Lines<T>,
    [n, whole]: [usize; 2],
    backward: bool,
    log: bool,
    scratch: &mut [T],
) {
    let whole = whole == 1;
    // SAFETY: the caller's promise.
    unsafe {
        if backward {
            gradient::<T, L, W>(l, lines, n, whole)
        } else if log {
            log_softmax::<T, L, W>(l, lines, n, whole)
        } else {
            softmax::<T, L, W>(l, lines, n, whole, scratch)
        }
    }
}

/// Element k of W vectors of lines; those of a later row are asked for.
///
/// # Safety
/// They lie in live memory.
#[inline(always)]
unsafe fn row<T: Soft, L: Wave<T>, const W: usize>(
    l: L,
    x: *const T,
    k: usize,
    step: isize,
    n: usize,
    whole: bool,
) -> [L::V; W] {
    let p = x.wrapping_offset(k as isize * step);
    // SAFETY: the caller's promise.
    unsafe { get(l, p, n, whole) }
}

/// Asks for a later row.
#[inline(always)]
fn ask<T, L: Wave<T>, const W: usize>(l: L, x: *const T, k: usize, step: isize) {
    for w in 0..W {
        l.prefetch(x.wrapping_offset((k as isize + LATER) * step).wrapping_add(w * L::N));
    }
}

/// As [`ask`], of a row to be written.
#[inline(always)]
fn ask_written<T, L: Wave<T>, const W: usize>(l: L, x: *const T, k: usize, step: isize) {
    for w in 0..W {
        l.prefetch_write(x.wrapping_offset((k as isize + LATER) * step).wrapping_add(w * L::N));
    }
}

/// A number for each line, one by one.
#[inline(always)]
pub(super) fn mapped<T: Soft, L: Wave<T>, const W: usize>(l: L, v: [L::V; W], f: impl Fn(T) -> T) -> [L::V; W] {
    let (mut held, mut to) = ([T::ZERO; WIDTH], v);
    // SAFETY: four vectors are no longer than the array.
    unsafe {
        for w in 0..W {
            l.store(held.as_mut_ptr().add(w * L::N), v[w]);
        }
        for v in &mut held {
            *v = f(*v);
        }
        for w in 0..W {
            to[w] = l.load(held.as_ptr().add(w * L::N));
        }
    }
    to
}

/// The maxima of the lines, for each place `k` asking for a later row.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
pub(super) unsafe fn highest<T: Soft, L: Wave<T>, const W: usize>(
    l: L,
    lines: Lines<T>,
    n: usize,
    whole: bool,
) -> [L::V; W] {
    let mut top = [l.splat(-T::INF); W];
    for k in 0..lines.n {
        ask::<T, L, W>(l, lines.x, k, lines.step[0]);
        // SAFETY: the caller's promise.
        let v = unsafe { row::<T, L, W>(l, lines.x, k, lines.step[0], n, whole) };
        for w in 0..W {
            top[w] = l.larger(v[w], top[w]);
        }
    }
    top
}

/// The maxima of `W` lines of `n` elements.
///
/// # Safety
/// As for [`across`].
#[inline(always)]
pub(crate) unsafe fn tops<T: Soft, const W: usize>(x: *const T, n: usize, step: isize) -> [T; W] {
    let mut top = [-T::INF; W];
    for k in 0..n {
        // SAFETY: the caller's promise.
        let x = unsafe { across::<T, W>(x, k, step) };
        for i in 0..W {
            top[i] = if x[i] > top[i] { x[i] } else { top[i] };
        }
    }
    top
}

/// The raised sums of the exponentials of what is left above the maxima.
///
/// # Safety
/// As for [`across`].
#[inline(always)]
pub(crate) unsafe fn sums<T: Soft, const W: usize>(x: *const T, n: usize, step: isize, top: &[T; W]) -> [T; W] {
    let mut sum = [T::ZERO; W];
    for k in 0..n {
        // SAFETY: the caller's promise.
        let x = unsafe { across::<T, W>(x, k, step) };
        let mut e = [T::ZERO; W];
        for i in 0..W {
            e[i] = (x[i] - top[i]).exp_raised();
        }
        for i in 0..W {
            sum[i] = sum[i] + e[i];
        }
    }
    sum
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn softmax<T: Soft, L: Wave<T>, const W: usize>(
    l: L,
    lines: Lines<T>,
    n: usize,
    whole: bool,
    scratch: &mut [T],
) {
    let less = l.splat(-T::ONE);
    assert!(scratch.len() >= lines.n * W * L::N);
    // SAFETY: the caller's promise; the scratch has room for all.
    unsafe {
        let top = highest::<T, L, W>(l, lines, n, whole);
        let mut sum = [l.splat(T::ZERO); W];
        for k in 0..lines.n {
            let v = row::<T, L, W>(l, lines.x, k, lines.step[0], n, whole);
            let e = raised(l, lowered(l, v, top, less));
            for w in 0..W {
                l.store(scratch.as_mut_ptr().add((k * W + w) * L::N), e[w]);
                sum[w] = l.add(sum[w], e[w]);
            }
        }
        let by = mapped::<T, L, W>(l, sum, |s| T::ONE / s);
        for k in 0..lines.n {
            ask_written::<T, L, W>(l, lines.y, k, lines.step[2]);
            let mut v: [L::V; W] = get(l, scratch.as_ptr().add(k * W * L::N), L::N, true);
            for w in 0..W {
                v[w] = l.mul(v[w], by[w]);
            }
            put(l, lines.y.offset(k as isize * lines.step[2]), v, n, whole);
        }
    }
}

/// `x - y`, with minus one in all lanes of `less`.
#[inline(always)]
pub(super) fn lowered<T, L: Wave<T>, const W: usize>(l: L, mut x: [L::V; W], y: [L::V; W], less: L::V) -> [L::V; W] {
    for w in 0..W {
        x[w] = l.fma(y[w], less, x[w]);
    }
    x
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn log_softmax<T: Soft, L: Wave<T>, const W: usize>(l: L, lines: Lines<T>, n: usize, whole: bool) {
    let less = l.splat(-T::ONE);
    // SAFETY: the caller's promise.
    unsafe {
        let top = highest::<T, L, W>(l, lines, n, whole);
        let mut sum = [l.splat(T::ZERO); W];
        for k in 0..lines.n {
            let v = row::<T, L, W>(l, lines.x, k, lines.step[0], n, whole);
            let e = raised(l, lowered(l, v, top, less));
            for w in 0..W {
                sum[w] = l.add(sum[w], e[w]);
            }
        }
        let log = mapped::<T, L, W>(l, sum, |s| s.log_lowered());
        for k in 0..lines.n {
            ask_written::<T, L, W>(l, lines.y, k, lines.step[2]);
            let v = row::<T, L, W>(l, lines.x, k, lines.step[0], n, whole);
            let v = lowered(l, lowered(l, v, top, less), log, less);
            put(l, lines.y.offset(k as isize * lines.step[2]), v, n, whole);
        }
    }
}

/// The gradient of softmax: `(g - sum of g * p) * p`.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn gradient<T: Soft, L: Wave<T>, const W: usize>(l: L, lines: Lines<T>, n: usize, whole: bool) {
    let less = l.splat(-T::ONE);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = [l.splat(T::ZERO); W];
        for k in 0..lines.n {
            ask::<T, L, W>(l, lines.x, k, lines.step[0]);
            ask::<T, L, W>(l, lines.g, k, lines.step[1]);
            let p = row::<T, L, W>(l, lines.x, k, lines.step[0], n, whole);
            let g = row::<T, L, W>(l, lines.g, k, lines.step[1], n, whole);
            for w in 0..W {
                sum[w] = l.fma(g[w], p[w], sum[w]);
            }
        }
        for k in 0..lines.n {
            ask_written::<T, L, W>(l, lines.y, k, lines.step[2]);
            let p = row::<T, L, W>(l, lines.x, k, lines.step[0], n, whole);
            let g = row::<T, L, W>(l, lines.g, k, lines.step[1], n, whole);
            let mut v = lowered(l, g, sum, less);
            for w in 0..W {
                v[w] = l.mul(v[w], p[w]);
            }
            put(l, lines.y.offset(k as isize * lines.step[2]), v, n, whole);
        }
    }
}

/// The gradient of log-softmax: `g - e^y * sum of g`.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn log_gradient<T: Soft, const W: usize>(l: Lines<T>) {
    let mut sum = [T::ZERO; W];
    for k in 0..l.n {
        // SAFETY: the caller's promise.
        let g = unsafe { across::<T, W>(l.g, k, l.step[1]) };
        for i in 0..W {
            sum[i] = sum[i] + g[i];
        }
    }
    for k in 0..l.n {
        // SAFETY: as above.
        let (x, g) = unsafe { (across::<T, W>(l.x, k, l.step[0]), across::<T, W>(l.g, k, l.step[1])) };
        let mut out = [T::ZERO; W];
        for i in 0..W {
            out[i] = T::exp(x[i]).fma(-sum[i], g[i]);
        }
        // SAFETY: as above.
        unsafe { *across_mut::<T, W>(l.y, k, l.step[2]) = out };
    }
}
