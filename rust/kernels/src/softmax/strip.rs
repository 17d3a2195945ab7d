//! Lines that lie side by side: element k of all of them is contiguous, and a vector holds one element of many lines.
//!
//! Sums are chains over k, line by line, whatever the width of a strip.

use super::row::Soft;

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

/// Softmax or its gradient for `width` lines; forward and without logarithm `scratch` holds `n * WIDTH` elements.
///
/// # Safety
/// The lines lie in memory of their own, outputs apart from inputs.
#[inline(always)]
pub(crate) unsafe fn run<T: Soft>(lines: Lines<T>, width: usize, backward: bool, log: bool, scratch: &mut [T]) {
    // SAFETY: the caller's promise, for each part.
    unsafe {
        if backward {
            by_parts!(T, width, |at| gradient(lines.from(at), log))
        } else if log {
            by_parts!(T, width, |at| log_softmax(lines.from(at)))
        } else {
            by_parts!(T, width, |at| softmax(lines.from(at), scratch))
        }
    }
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
unsafe fn softmax<T: Soft, const W: usize>(l: Lines<T>, scratch: &mut [T]) {
    // SAFETY: the caller's promise.
    let top = unsafe { tops::<T, W>(l.x, l.n, l.step[0]) };
    let mut sum = [T::ZERO; W];
    let scratch = &mut scratch.as_chunks_mut::<W>().0[..l.n];
    for (k, to) in scratch.iter_mut().enumerate() {
        // SAFETY: as above.
        let x = unsafe { across::<T, W>(l.x, k, l.step[0]) };
        let mut e = [T::ZERO; W];
        for i in 0..W {
            e[i] = (x[i] - top[i]).exp_raised();
        }
        *to = e;
        for i in 0..W {
            sum[i] = sum[i] + e[i];
        }
    }
    for s in &mut sum {
        *s = T::ONE / *s;
    }
    for (k, e) in scratch.iter().enumerate() {
        let mut out = *e;
        for i in 0..W {
            out[i] = out[i] * sum[i];
        }
        // SAFETY: as above.
        unsafe { *across_mut::<T, W>(l.y, k, l.step[2]) = out };
    }
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn log_softmax<T: Soft, const W: usize>(l: Lines<T>) {
    // SAFETY: the caller's promise.
    let (top, mut log) = unsafe {
        let top = tops::<T, W>(l.x, l.n, l.step[0]);
        (top, sums(l.x, l.n, l.step[0], &top))
    };
    for v in &mut log {
        *v = v.log_lowered();
    }
    for k in 0..l.n {
        // SAFETY: as above.
        let mut out = unsafe { *across::<T, W>(l.x, k, l.step[0]) };
        for i in 0..W {
            out[i] = (out[i] - top[i]) - log[i];
        }
        // SAFETY: as above.
        unsafe { *across_mut::<T, W>(l.y, k, l.step[2]) = out };
    }
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn gradient<T: Soft, const W: usize>(l: Lines<T>, log: bool) {
    let mut sum = [T::ZERO; W];
    for k in 0..l.n {
        // SAFETY: the caller's promise.
        let (x, g) = unsafe { (across::<T, W>(l.x, k, l.step[0]), across::<T, W>(l.g, k, l.step[1])) };
        for i in 0..W {
            sum[i] = if log { sum[i] + g[i] } else { g[i].fma(x[i], sum[i]) };
        }
    }
    for k in 0..l.n {
        // SAFETY: as above.
        let (x, g) = unsafe { (across::<T, W>(l.x, k, l.step[0]), across::<T, W>(l.g, k, l.step[1])) };
        let mut out = [T::ZERO; W];
        for i in 0..W {
            out[i] = if log {
                T::exp(x[i]).fma(-sum[i], g[i])
            } else {
                (g[i] - sum[i]) * x[i]
            };
        }
        // SAFETY: as above.
        unsafe { *across_mut::<T, W>(l.y, k, l.step[2]) = out };
    }
}
