//! Sums and values of one channel: runs of contiguous elements, a fixed distance apart.

use crate::reduce::real::Real;
use crate::simd::cache::stream;
use crate::simd::sweep::{AHEAD, Fold, SEGMENT, Sum, ahead, first, grouped, head, later, load, put};

/// `count` runs of `len` contiguous elements in up to three views, `steps` apart.
#[derive(Clone, Copy)]
pub(in crate::norm) struct Runs<T> {
    pub x: *const T,
    pub g: *const T,
    pub y: *mut T,
    /// Of x, g and y.
    pub steps: [isize; 3],
    pub count: usize,
    pub len: usize,
    /// Whether y is stored past the caches; whoever says so calls `fence`.
    pub past: bool,
}

/// `y = gain * g + (slope * (x - center) + shift)`
#[derive(Clone, Copy)]
pub(in crate::norm) struct Blend<T> {
    pub gain: T,
    pub slope: T,
    pub center: T,
    pub shift: T,
}
impl<T: Real> Blend<T> {
    /// `y = slope * x + shift`
    pub(in crate::norm) fn of(slope: T, shift: T) -> Self {
        Self {
            gain: T::ZERO,
            slope,
            center: T::ZERO,
            shift,
        }
    }
}

impl<T> Runs<T> {
    /// Runs that [`later`] asks for.
    #[inline(always)]
    fn short(&self, step: isize) -> bool {
        step != 0 && (1..AHEAD).contains(&self.len)
    }
}
/// The mean of what goes into the lanes first: a number near the mean of all, in most data.
///
/// # Safety
/// The runs lie in live memory. So for all functions here; written runs are the caller's.
#[inline(always)]
pub(super) unsafe fn near<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>) -> T {
    let mut sum = Sum::<T, L, U>::new(l);
    let len = r.len.min(U * L::N);
    grouped!(l: L, T, U; 0, len; |u, i, n, whole| {
        // SAFETY: the caller's promise.
        sum.lanes[u] = unsafe { load(l, r.x.add(i), n, whole) };
    });
    sum.count = len;
    T::from_f64(sum.finish(l) / len as f64)
}

/// Whether the distances were taken from a number too far from the mean, given their mean and that of their squares: the
/// difference that gives the variance would lose more than two bits.
#[inline(always)]
pub(in crate::norm) fn far([rest, squares]: [f64; 2]) -> bool {
    rest * rest > 4.0 * variance(squares, rest) || squares == f64::INFINITY
}

/// Mean and variance. One sweep, where the first elements tell roughly where the mean is; else two.
///
/// # Safety
/// As for `near`.
#[inline(always)]
pub(super) unsafe fn moments<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>) -> [f64; 2] {
    let count = (r.count * r.len) as f64;
    if count == 0.0 {
        return [f64::NAN; 2];
    }
    // SAFETY: the caller's promise.
    unsafe {
        let mut center = near::<T, L, U>(l, r);
        let mut sums = squares::<T, L, U>(l, r, center).map(|v| v / count);
        if far(sums) {
            center = T::from_f64(center.to_f64() + sums[0]);
            sums = squares::<T, L, U>(l, r, center).map(|v| v / count);
        }
        [center.to_f64() + sums[0], variance(sums[1], sums[0])]
    }
}

/// From the means of squared distances and of distances from a number near the mean; NaN stays.
#[inline(always)]
pub(in crate::norm) fn variance(squares: f64, rest: f64) -> f64 {
    let var = squares - rest * rest;
    if var < 0.0 { 0.0 } else { var }
}
/// Sums of `x - mean`, which corrects the mean, and of `(x - mean)^2`.
///
/// # Safety
/// As for `near`.
#[inline(always)]
pub(super) unsafe fn squares<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, mean: T) -> [f64; 2] {
    let (mut rest, mut sum) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
    let (all, by) = (l.splat(-mean), stream(AHEAD));
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
                    ahead(l, x, r.steps[0], by, r.len, i, U);
                }
                let away = if whole { all } else { first(l, -mean, n) };
                // SAFETY: the caller's promise.
                let d = l.add(unsafe { load(l, x.add(i), n, whole) }, away);
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
/// As for `near`.
#[inline(always)]
pub(super) unsafe fn dots<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, center: T) -> [f64; 2] {
    let (mut sum, mut dot) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
    let (all, by) = (l.splat(-center), stream(AHEAD));
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
                    ahead(l, x, r.steps[0], by, r.len, i, U);
                    ahead(l, g, r.steps[1], by, r.len, i, U);
                }
                let away = if whole { all } else { first(l, -center, n) };
                // SAFETY: the caller's promise.
                let (x, g) = unsafe { (load(l, x.add(i), n, whole), load(l, g.add(i), n, whole)) };
                sum.lanes[u] = l.add(sum.lanes[u], g);
                dot.lanes[u] = l.fma(g, l.add(x, away), dot.lanes[u]);
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

/// Writes a value of each vector of x and g to y, from the last run to the first: from the end, which was read last.
macro_rules! written {
    ($l:ident: $lanes:ty, $t:ty, $groups:ident; $r:ident; |$x:ident, $g:ident, $n:ident, $whole:ident| $value:expr) => {{
        let ahead = stream(AHEAD);
        for run in (0..$r.count).rev() {
            let x = $r.x.wrapping_offset(run as isize * $r.steps[0]);
            let g = $r.g.wrapping_offset(run as isize * $r.steps[1]);
            let y = $r.y.wrapping_offset(run as isize * $r.steps[2]);
            let head = if $r.past { head(y, $r.len) } else { 0 };
            for (from, to, past) in [(0, head, false), (head, $r.len, $r.past)] {
                grouped!($l: $lanes, $t, $groups; from, to; |_u, i, $n, $whole| {
                    if $whole && !past {
                        // In this run only, for the next one's begin is soon found.
                        $l.prefetch_write(y.wrapping_add(i + ahead));
                    }
                    let ($x, $g) = (x.add(i), g.wrapping_add(i));
                    put($l, y.add(i), $value, $n, $whole, past);
                });
            }
        }
    }};
}

/// `y = x * a + b`, one fused multiply-add per element.
///
/// # Safety
/// As for `near`.
#[inline(always)]
pub(super) unsafe fn scale<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, a: T, b: T) {
    let (a, b) = (l.splat(a), l.splat(b));
    // SAFETY: the caller's promise.
    unsafe { written!(l: L, T, U; r; |x, _g, n, whole| l.fma(load(l, x, n, whole), a, b)) }
}

/// What [`Blend`] says.
///
/// # Safety
/// As for `near`.
#[inline(always)]
pub(super) unsafe fn blend<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Runs<T>, k: &Blend<T>) {
    let [gain, slope, away, shift] = [k.gain, k.slope, -k.center, k.shift].map(|v| l.splat(v));
    // SAFETY: the caller's promise.
    unsafe {
        written!(l: L, T, U; r; |x, g, n, whole| {
            let d = l.add(load(l, x, n, whole), away);
            l.fma(gain, load(l, g, n, whole), l.fma(slope, d, shift))
        })
    }
}
