//! Rows of layer norm and RMS norm, some at a time.

use super::runs::{Runs, far, squares, variance};
use crate::reduce::real::Real;
use crate::simd::sweep::{Fold, SEGMENT, Sum, ahead, first, grouped, load, mul, store, sub};

/// What the gradients of rows need. Rows together, because numbers of a row that were passed in memory would be waited for
/// until all that was stored before them has left.
#[derive(Clone, Copy)]
pub(in crate::norm) struct RowGrad<T> {
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

/// Rows to be normalised.
#[derive(Clone, Copy)]
pub(in crate::norm) struct RowNorm<T> {
    pub x: *const T,
    pub y: *mut T,
    /// Null where there is none.
    pub weight: *const T,
    pub bias: *const T,
    pub eps: f64,
    pub center: bool,
    pub rows: usize,
    pub len: usize,
    /// From one row of x and y to the next.
    pub steps: [isize; 2],
    /// A mean (0 where rows are not centred) and a reciprocal of the deviation for each row.
    pub mean: *mut T,
    pub rstd: *mut T,
}

/// Bytes of a row up to which four go together. Longer ones wait little, and more streams of memory cost more.
const FOUR: usize = 2 << 10;

/// Calls `$some` with four rows at a time or one: what is waited for in one row, the sums and roots, hides behind the others,
/// and weights are loaded once for all of them.
macro_rules! together {
    ($rows:expr, $bytes:expr; $some:ident::<$($g:ty),*; $u:ident $(, $flag:tt)?>($l:ident, $r:ident)) => {{
        let (mut row, rows, bytes) = (0, $rows, $bytes);
        while bytes <= FOUR && row + 4 <= rows {
            $some::<$($g,)* $u, 4 $(, $flag)?>($l, $r, row);
            row += 4;
        }
        while row < rows {
            $some::<$($g,)* $u, 1 $(, $flag)?>($l, $r, row);
            row += 1;
        }
    }};
}

/// Normalises rows.
///
/// # Safety
/// They lie in live memory, and may be written; the lists are as long as they say.
#[inline(always)]
pub(super) unsafe fn norm_rows<T: Real, L: Fold<T>, const U: usize>(l: L, r: &RowNorm<T>) {
    // SAFETY: the caller's promise.
    unsafe { together!(r.rows, r.len * size_of::<T>(); norm_some::<T, L; U>(l, r)) }
}

/// Normalises R rows.
///
/// # Safety
/// As for `norm_rows`.
#[inline(always)]
unsafe fn norm_some<T: Real, L: Fold<T>, const U: usize, const R: usize>(l: L, r: &RowNorm<T>, row: usize) {
    let count = r.len as f64;
    let (mut x, mut y) = ([r.x; R], [r.y; R]);
    let (mut center, mut sums) = ([T::ZERO; R], [[0.0; 2]; R]);
    let (mut m, mut s) = ([l.splat(T::ZERO); R], [l.splat(T::ZERO); R]);
    // SAFETY: the caller's promise.
    unsafe {
        for k in 0..R {
            x[k] = r.x.wrapping_offset((row + k) as isize * r.steps[0]);
            y[k] = r.y.wrapping_offset((row + k) as isize * r.steps[1]);
            if r.center && r.len > 0 {
                center[k] = *x[k];
            }
            sums[k] = row_squares::<T, L, U>(l, x[k], r.len, center[k]).map(|v| v / count);
        }
        if r.center {
            for k in 0..R {
                if far(sums[k]) {
                    center[k] = T::from_f64(center[k].to_f64() + sums[k][0]);
                    sums[k] = row_squares::<T, L, U>(l, x[k], r.len, center[k]).map(|v| v / count);
                }
            }
        }
        for k in 0..R {
            let [rest, squares] = sums[k];
            let (mean, var) = if r.center {
                (T::from_f64(center[k].to_f64() + rest), variance(squares, rest))
            } else {
                (T::ZERO, squares)
            };
            let rstd = T::from_f64(1.0 / (var + r.eps).sqrt());
            (m[k], s[k]) = (l.splat(mean), l.splat(rstd));
            *r.mean.add(row + k) = mean;
            *r.rstd.add(row + k) = rstd;
        }
        match (r.weight.is_null(), r.bias.is_null()) {
            (false, false) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let (weight, bias) = (load(l, r.weight.add(i), n, whole), load(l, r.bias.add(i), n, whole));
                for k in 0..R {
                    let v = l.fma(centred(l, x[k].add(i), n, whole, m[k], s[k]), weight, bias);
                    store(l, y[k].add(i), v, n, whole);
                }
            }),
            (false, true) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let weight = load(l, r.weight.add(i), n, whole);
                for k in 0..R {
                    let v = mul::<T, L>(l, centred(l, x[k].add(i), n, whole, m[k], s[k]), weight);
                    store(l, y[k].add(i), v, n, whole);
                }
            }),
            (true, false) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let bias = load(l, r.bias.add(i), n, whole);
                for k in 0..R {
                    let v = l.add(centred(l, x[k].add(i), n, whole, m[k], s[k]), bias);
                    store(l, y[k].add(i), v, n, whole);
                }
            }),
            (true, true) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                for k in 0..R {
                    store(l, y[k].add(i), centred(l, x[k].add(i), n, whole, m[k], s[k]), n, whole);
                }
            }),
        }
    }
}

/// Sums of `x - center` and of its square.
///
/// # Safety
/// The row lies in live memory.
#[inline(always)]
unsafe fn row_squares<T: Real, L: Fold<T>, const U: usize>(l: L, x: *const T, len: usize, center: T) -> [f64; 2] {
    let run = Runs {
        x,
        g: x,
        y: x.cast_mut(),
        steps: [0; 3],
        count: 1,
        len,
        past: false,
    };
    // SAFETY: the caller's promise.
    unsafe { squares::<T, L, U>(l, &run, center) }
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

/// The gradients of rows: their own, and what they add to those of weight and bias.
///
/// # Safety
/// As for `norm_rows`.
#[inline(always)]
pub(super) unsafe fn grad_rows<T: Real, L: Fold<T>, const U: usize>(l: L, r: &RowGrad<T>) {
    let all = !(r.weight.is_null() || r.gx.is_null() || r.gweight.is_null() || r.gbias.is_null());
    // SAFETY: the caller's promise.
    unsafe {
        if all {
            together!(r.rows, r.len * size_of::<T>(); grad_some::<T, L; U, true>(l, r));
        } else {
            together!(r.rows, r.len * size_of::<T>(); grad_some::<T, L; U, false>(l, r));
        }
    }
}

/// R rows from row `row` on; `ALL`: no pointer is null but perhaps that of the means.
///
/// # Safety
/// As for `grad_rows`.
#[inline(always)]
unsafe fn grad_some<T: Real, L: Fold<T>, const U: usize, const R: usize, const ALL: bool>(
    l: L,
    r: &RowGrad<T>,
    row: usize,
) {
    let (mut g, mut x, mut gx) = ([r.g; R], [r.x; R], [r.gx; R]);
    let zero = [l.splat(T::ZERO); R];
    let (mut m, mut s, mut a, mut b) = (zero, zero, zero, zero);
    let (weight, gweight, gbias) = (r.weight, r.gweight, r.gbias);
    let [weighted, wants_x, wants_weight, wants_bias] =
        [weight.is_null(), gx[0].is_null(), gweight.is_null(), gbias.is_null()].map(|null| ALL || !null);
    // SAFETY: the caller's promise.
    unsafe {
        for k in 0..R {
            let at = r.steps.map(|s| (row + k) as isize * s);
            g[k] = r.g.wrapping_offset(at[0]);
            x[k] = r.x.wrapping_offset(at[1]);
            gx[k] = r.gx.wrapping_offset(at[2]);
            let centred = !r.mean.is_null();
            let (mean, rstd) = (
                if centred { *r.mean.add(row + k) } else { T::ZERO },
                *r.rstd.add(row + k),
            );
            (m[k], s[k]) = (l.splat(mean), l.splat(rstd));
            if !wants_x {
                continue;
            }
            let [sum, dot] = row_dots::<T, L, U>(l, [g[k], x[k]], weight, weighted, mean, r.len);
            let (count, rstd) = (r.len as f64, rstd.to_f64());
            // The row minus its mean minus its share along the normalised row.
            let along = if centred { sum / count } else { 0.0 };
            a[k] = l.splat(T::from_f64(-along * rstd));
            b[k] = l.splat(T::from_f64(-(dot / count * rstd * rstd) * rstd));
        }
        grouped!(l: L, T, U; 0, r.len; |u, i, n, whole| {
            if u == 0 && whole {
                for k in 0..R {
                    ahead(l, x[k].wrapping_add((R - 1) * r.len), 0, r.len, i, U);
                    ahead(l, gx[k].cast_const().wrapping_add((R - 1) * r.len), 0, r.len, i, U);
                }
            }
            let w = if weighted { load(l, weight.add(i), n, whole) } else { zero[0] };
            let mut of_weight = if wants_weight { load(l, gweight.add(i), n, whole) } else { zero[0] };
            let mut of_bias = if wants_bias { load(l, gbias.add(i), n, whole) } else { zero[0] };
            for k in 0..R {
                let d = sub::<T, L>(l, load(l, x[k].add(i), n, whole), m[k]);
                let g = load(l, g[k].add(i), n, whole);
                if wants_weight {
                    of_weight = l.fma(g, mul::<T, L>(l, d, s[k]), of_weight);
                }
                if wants_bias {
                    of_bias = l.add(g, of_bias);
                }
                if wants_x {
                    let v = if weighted { mul::<T, L>(l, g, w) } else { g };
                    store(l, gx[k].add(i), l.fma(d, b[k], l.fma(v, s[k], a[k])), n, whole);
                }
            }
            if wants_weight {
                store(l, gweight.add(i), of_weight, n, whole);
            }
            if wants_bias {
                store(l, gbias.add(i), of_bias, n, whole);
            }
        });
    }
}

/// Sums of a row's gradient times the weight, and of this times `x - mean`.
///
/// # Safety
/// As for `grad_rows`.
#[inline(always)]
unsafe fn row_dots<T: Real, L: Fold<T>, const U: usize>(
    l: L,
    [g, x]: [*const T; 2],
    weight: *const T,
    weighted: bool,
    mean: T,
    len: usize,
) -> [f64; 2] {
    let (mut sum, mut dot) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
    let m = l.splat(mean);
    let mut from = 0;
    while from < len {
        let to = len.min(from + SEGMENT);
        grouped!(l: L, T, U; from, to; |u, i, n, whole| {
            if u == 0 && whole {
                ahead(l, g, 0, len, i, U);
            }
            let m = if whole { m } else { first(l, mean, n) };
            // SAFETY: the caller's promise.
            unsafe {
                let d = sub::<T, L>(l, load(l, x.add(i), n, whole), m);
                let g = load(l, g.add(i), n, whole);
                let v = if weighted { mul::<T, L>(l, g, load(l, weight.add(i), n, whole)) } else { g };
                sum.lanes[u] = l.add(sum.lanes[u], v);
                dot.lanes[u] = l.fma(v, d, dot.lanes[u]);
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
    [sum.finish(l), dot.finish(l)]
}
