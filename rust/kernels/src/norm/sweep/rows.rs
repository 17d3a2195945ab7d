//! Rows of layer norm and RMS norm, some at a time.

use super::runs::{Runs, far, squares, variance};
use crate::reduce::real::Real;
use crate::simd::cache::{first_is_small, stream};
use crate::simd::sweep::{AHEAD, Fold, SEGMENT, Sum, first, grouped, load, mul, store};

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
    /// How many elements ahead lines are asked for ([`row_ahead`]).
    pub ahead: usize,
}

/// How far ahead the gradients of rows ask for lines: six rows at once, three of them memory's, leave a small first-level
/// cache less room than others.
pub(in crate::norm) fn row_ahead() -> usize {
    stream(if first_is_small() { AHEAD / 2 } else { AHEAD })
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
    let ahead = stream(AHEAD);
    let (mut x, mut y) = ([r.x; R], [r.y; R]);
    let mut center = [T::ZERO; R];
    // SAFETY: the caller's promise.
    unsafe {
        for k in 0..R {
            x[k] = r.x.wrapping_offset((row + k) as isize * r.steps[0]);
            y[k] = r.y.wrapping_offset((row + k) as isize * r.steps[1]);
            // Of one element alone, each twentieth of normal numbers would be far from the mean.
            if r.center && r.len >= 4 {
                let share = T::from_f64(0.25);
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| *x[k].add(i) * share);
                center[k] = (a + b) + (c + d);
            } else if r.center && r.len > 0 {
                center[k] = *x[k];
            }
        }
        let [mut rest, mut squares] = squares_of::<T, L, U, R>(l, &x, r.len, &center);
        // One question for all, for hardly any row is far.
        let mut any = false;
        for k in 0..R {
            any |= r.center & far([rest[k], squares[k]]);
        }
        if any {
            for k in 0..R {
                if far([rest[k], squares[k]]) {
                    center[k] = T::from_f64(center[k].to_f64() + rest[k]);
                    let [[again], [squared]] = squares_of::<T, L, U, 1>(l, &[x[k]], r.len, &[center[k]]);
                    (rest[k], squares[k]) = (again, squared);
                }
            }
        }
        let (mut mean, mut rstd) = ([T::ZERO; R], [T::ZERO; R]);
        for k in 0..R {
            let var = if r.center {
                variance(squares[k], rest[k])
            } else {
                squares[k]
            };
            rstd[k] = T::from_f64(1.0 / (var + r.eps).sqrt());
            if r.center {
                mean[k] = T::from_f64(center[k].to_f64() + rest[k]);
            }
        }
        let (mut away, mut s) = ([l.splat(T::ZERO); R], [l.splat(T::ZERO); R]);
        for k in 0..R {
            (away[k], s[k]) = (l.splat(-mean[k]), l.splat(rstd[k]));
            *r.mean.add(row + k) = mean[k];
            *r.rstd.add(row + k) = rstd[k];
        }
        // The lines to be written are asked for: stores that wait for them hold up what comes after.
        match (r.weight.is_null(), r.bias.is_null()) {
            (false, false) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let (weight, bias) = (load(l, r.weight.add(i), n, whole), load(l, r.bias.add(i), n, whole));
                for k in 0..R {
                    let v = l.fma(centred(l, x[k].add(i), n, whole, away[k], s[k]), weight, bias);
                    l.prefetch_write(y[k].wrapping_add(i + ahead));
                    store(l, y[k].add(i), v, n, whole);
                }
            }),
            (false, true) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let weight = load(l, r.weight.add(i), n, whole);
                for k in 0..R {
                    let v = mul::<T, L>(l, centred(l, x[k].add(i), n, whole, away[k], s[k]), weight);
                    l.prefetch_write(y[k].wrapping_add(i + ahead));
                    store(l, y[k].add(i), v, n, whole);
                }
            }),
            (true, false) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                let bias = load(l, r.bias.add(i), n, whole);
                for k in 0..R {
                    let v = l.add(centred(l, x[k].add(i), n, whole, away[k], s[k]), bias);
                    l.prefetch_write(y[k].wrapping_add(i + ahead));
                    store(l, y[k].add(i), v, n, whole);
                }
            }),
            (true, true) => grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
                for k in 0..R {
                    l.prefetch_write(y[k].wrapping_add(i + ahead));
                    store(l, y[k].add(i), centred(l, x[k].add(i), n, whole, away[k], s[k]), n, whole);
                }
            }),
        }
    }
}

/// Per row the means of `x - center` and of its square. Four rows, which are below a segment, join their lanes together.
///
/// # Safety
/// The rows lie in live memory.
#[inline(always)]
unsafe fn squares_of<T: Real, L: Fold<T>, const U: usize, const R: usize>(
    l: L,
    x: &[*const T; R],
    len: usize,
    center: &[T; R],
) -> [[f64; R]; 2] {
    let (mut sums, mut lanes) = ([[0.0; R]; 2], [l.splat(T::ZERO); 8]);
    for k in 0..R {
        // SAFETY: the caller's promise.
        unsafe {
            if R == 4 {
                [lanes[k], lanes[k + 4]] = square_lanes::<T, L, U>(l, x[k], len, -center[k]);
            } else {
                [sums[0][k], sums[1][k]] = row_squares::<T, L, U>(l, x[k], len, center[k]);
            }
        }
    }
    if R == 4 {
        let all = l.fold_eight(lanes);
        for k in 0..R {
            (sums[0][k], sums[1][k]) = (all[k].to_f64(), all[k + 4].to_f64());
        }
    }
    for k in 0..R {
        sums[0][k] /= len as f64;
        sums[1][k] /= len as f64;
    }
    sums
}

/// The lanes of the sums that `row_squares` makes of a row below a segment; `away` is the negated center.
///
/// # Safety
/// The row lies in live memory.
#[inline(always)]
unsafe fn square_lanes<T: Real, L: Fold<T>, const U: usize>(l: L, x: *const T, len: usize, away: T) -> [L::V; 2] {
    let (mut rest, mut sum) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
    let (all, ahead) = (l.splat(away), stream(AHEAD));
    grouped!(l: L, T, U; 0, len; |u, i, n, whole| {
        // One line with each vector: a group's at once are waited for where they are more than the processor can ask for.
        l.prefetch(x.wrapping_add(i + ahead));
        let away = if whole { all } else { first(l, away, n) };
        // SAFETY: the caller's promise.
        let d = l.add(unsafe { load(l, x.add(i), n, whole) }, away);
        rest.lanes[u] = l.add(rest.lanes[u], d);
        sum.lanes[u] = l.fma(d, d, sum.lanes[u]);
    });
    [rest.halved(l), sum.halved(l)]
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

/// `(x + away) * s`
///
/// # Safety
/// As for `load`.
#[inline(always)]
unsafe fn centred<T: Real, L: Fold<T>>(l: L, x: *const T, n: usize, whole: bool, away: L::V, s: L::V) -> L::V {
    // SAFETY: the caller's promise.
    mul::<T, L>(l, l.add(unsafe { load(l, x, n, whole) }, away), s)
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
    let (mut away, mut s, mut a, mut b) = (zero, zero, zero, zero);
    let (weight, gweight, gbias) = (r.weight, r.gweight, r.gbias);
    let [weighted, wants_x, wants_weight, wants_bias] =
        [weight.is_null(), gx[0].is_null(), gweight.is_null(), gbias.is_null()].map(|null| ALL || !null);
    // SAFETY: the caller's promise.
    unsafe {
        let (mut mean, mut rstd) = ([T::ZERO; R], [T::ZERO; R]);
        let centred = !r.mean.is_null();
        for k in 0..R {
            let at = r.steps.map(|s| (row + k) as isize * s);
            g[k] = r.g.wrapping_offset(at[0]);
            x[k] = r.x.wrapping_offset(at[1]);
            gx[k] = r.gx.wrapping_offset(at[2]);
            rstd[k] = *r.rstd.add(row + k);
            if centred {
                mean[k] = *r.mean.add(row + k);
            }
            (away[k], s[k]) = (l.splat(-mean[k]), l.splat(rstd[k]));
        }
        if wants_x {
            let [sum, dot] = dots_of::<T, L, U, R>(l, [&g, &x], weight, weighted, &mean, [r.len, r.ahead]);
            let (mut shift, mut slope) = ([T::ZERO; R], [T::ZERO; R]);
            // The row minus its mean minus its share along the normalised row.
            for k in 0..R {
                let (count, rstd) = (r.len as f64, rstd[k].to_f64());
                let along = if centred { sum[k] / count } else { 0.0 };
                shift[k] = T::from_f64(-along * rstd);
                slope[k] = T::from_f64(-(dot[k] / count * rstd * rstd) * rstd);
            }
            for k in 0..R {
                (a[k], b[k]) = (l.splat(shift[k]), l.splat(slope[k]));
            }
        }
        grouped!(l: L, T, U; 0, r.len; |_u, i, n, whole| {
            if R == 1 {
                l.prefetch(x[0].wrapping_add(i + r.ahead));
            }
            let w = if weighted { load(l, weight.add(i), n, whole) } else { zero[0] };
            let mut of_weight = if wants_weight { load(l, gweight.add(i), n, whole) } else { zero[0] };
            let mut of_bias = if wants_bias { load(l, gbias.add(i), n, whole) } else { zero[0] };
            for k in 0..R {
                let d = l.add(load(l, x[k].add(i), n, whole), away[k]);
                let g = load(l, g[k].add(i), n, whole);
                if wants_weight {
                    of_weight = l.fma(g, mul::<T, L>(l, d, s[k]), of_weight);
                }
                if wants_bias {
                    of_bias = l.add(g, of_bias);
                }
                if wants_x {
                    let v = if weighted { mul::<T, L>(l, g, w) } else { g };
                    l.prefetch_write(gx[k].wrapping_add(i + r.ahead));
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

/// Per row the sums of the gradient times the weight, and of this times `x - mean`. Four rows as in `squares_of`.
///
/// # Safety
/// As for `grad_rows`.
#[inline(always)]
unsafe fn dots_of<T: Real, L: Fold<T>, const U: usize, const R: usize>(
    l: L,
    [g, x]: [&[*const T; R]; 2],
    weight: *const T,
    weighted: bool,
    mean: &[T; R],
    [len, ahead]: [usize; 2],
) -> [[f64; R]; 2] {
    let (mut sums, mut lanes) = ([[0.0; R]; 2], [l.splat(T::ZERO); 8]);
    for k in 0..R {
        let (mut sum, mut dot) = (Sum::<T, L, U>::new(l), Sum::<T, L, U>::new(l));
        let all = l.splat(-mean[k]);
        let mut from = 0;
        while from < len {
            let to = len.min(from + SEGMENT);
            grouped!(l: L, T, U; from, to; |u, i, n, whole| {
                // One long row has its second pass for x: both at once are more than can be under way.
                l.prefetch(g[k].wrapping_add(i + ahead));
                if R == 4 {
                    l.prefetch(x[k].wrapping_add(i + ahead));
                }
                let away = if whole { all } else { first(l, -mean[k], n) };
                // SAFETY: the caller's promise.
                unsafe {
                    let d = l.add(load(l, x[k].add(i), n, whole), away);
                    let g = load(l, g[k].add(i), n, whole);
                    let v = if weighted { mul::<T, L>(l, g, load(l, weight.add(i), n, whole)) } else { g };
                    sum.lanes[u] = l.add(sum.lanes[u], v);
                    dot.lanes[u] = l.fma(v, d, dot.lanes[u]);
                }
            });
            sum.count += to - from;
            dot.count = sum.count;
            if R != 4 && sum.count >= SEGMENT {
                sum.join(l);
                dot.join(l);
            }
            from = to;
        }
        if R == 4 {
            (lanes[k], lanes[k + 4]) = (sum.halved(l), dot.halved(l));
        } else {
            (sums[0][k], sums[1][k]) = (sum.finish(l), dot.finish(l));
        }
    }
    if R == 4 {
        let all = l.fold_eight(lanes);
        for k in 0..R {
            (sums[0][k], sums[1][k]) = (all[k].to_f64(), all[k + 4].to_f64());
        }
    }
    sums
}
