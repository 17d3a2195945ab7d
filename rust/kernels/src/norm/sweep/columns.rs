//! Channels side by side: a row of memory has one element of each.

use super::planes::DOTS;
use crate::reduce::real::Real;
use crate::simd::cache::stream;
use crate::simd::sweep::{AHEAD, Fold, ahead, grouped, load, mul, store, sub};

/// Element by element along the channels: `y = x * a + b`, or what [`Blend`] says with a number of each kind per element.
pub(in crate::norm) struct Across<T> {
    pub x: *const T,
    pub g: *const T,
    pub y: *mut T,
    /// gain (null: without g), slope, center (null: none), shift
    pub k: [*const T; 4],
    pub len: usize,
}

/// One row across the channels. What follows it in memory is asked for.
///
/// # Safety
/// The row lies in live memory, and may be written; each list has `len` numbers.
#[inline(always)]
pub(super) unsafe fn across<T: Real, L: Fold<T>, const U: usize>(l: L, r: &Across<T>) {
    let [gain, slope, center, shift] = r.k;
    let by = stream(AHEAD);
    // SAFETY: the caller's promise.
    unsafe {
        if gain.is_null() {
            return grouped!(l: L, T, U; 0, r.len; |u, i, n, whole| {
                if u == 0 && whole {
                    ahead(l, r.x, 0, by, r.len, i, U);
                }
                l.prefetch_write(r.y.wrapping_add(i + by));
                let v = l.fma(load(l, r.x.add(i), n, whole), load(l, slope.add(i), n, whole), load(l, shift.add(i), n, whole));
                store(l, r.y.add(i), v, n, whole);
            });
        }
        grouped!(l: L, T, U; 0, r.len; |u, i, n, whole| {
            if u == 0 && whole {
                ahead(l, r.x, 0, by, r.len, i, U);
                ahead(l, r.g, 0, by, r.len, i, U);
            }
            l.prefetch_write(r.y.wrapping_add(i + by));
            let d = sub::<T, L>(l, load(l, r.x.add(i), n, whole), load(l, center.add(i), n, whole));
            let inner = l.fma(load(l, slope.add(i), n, whole), d, load(l, shift.add(i), n, whole));
            let v = l.fma(load(l, gain.add(i), n, whole), load(l, r.g.add(i), n, whole), inner);
            store(l, r.y.add(i), v, n, whole);
        });
    }
}

/// Rows of which each has one element of each channel, `steps` apart in x and g.
#[derive(Clone, Copy)]
pub(in crate::norm) struct Columns<T> {
    pub x: *const T,
    pub g: *const T,
    pub steps: [isize; 2],
    pub rows: usize,
    pub len: usize,
    /// How many rows ahead memory is asked for.
    pub later: usize,
    /// A number for each column.
    pub center: *const T,
    /// Two lists of as many sums, added to.
    pub sums: [*mut f64; 2],
}

/// Rows whose elements are added up in the type they have.
pub(in crate::norm) const CHAIN: usize = 32;
/// Vectors of columns that one walk down takes.
const WIDE: usize = 4;

/// Per column the sums of `x - center` and of its square, or of `g` and `g * (x - center)`: chains over [`CHAIN`] rows,
/// these in order in float64.
///
/// # Safety
/// The rows and lists lie in live memory.
#[inline(always)]
pub(super) unsafe fn column_sums<T: Real, L: Fold<T>, const KIND: bool>(l: L, r: &Columns<T>) {
    let mut from = 0;
    while from < r.rows {
        let to = r.rows.min(from + CHAIN);
        let mut i = 0;
        // SAFETY: the caller's promise.
        unsafe {
            while i + WIDE * L::N <= r.len {
                walk::<T, L, WIDE, KIND>(l, r, from, to, i, L::N, true);
                i += WIDE * L::N;
            }
            while i < r.len {
                let n = (r.len - i).min(L::N);
                walk::<T, L, 1, KIND>(l, r, from, to, i, n, false);
                i += L::N;
            }
        }
        from = to;
    }
}

/// Adds rows `from..to` of W vectors of columns (whole) or of `n` columns, from column `i` on.
///
/// # Safety
/// As for `column_sums`.
#[inline(always)]
unsafe fn walk<T: Real, L: Fold<T>, const W: usize, const KIND: bool>(
    l: L,
    r: &Columns<T>,
    from: usize,
    to: usize,
    i: usize,
    n: usize,
    whole: bool,
) {
    let zero = l.splat(T::ZERO);
    let (mut first, mut second, mut away) = ([zero; W], [zero; W], [zero; W]);
    let later = r.later as isize;
    // SAFETY: the caller's promise.
    unsafe {
        for w in 0..W {
            away[w] = mul::<T, L>(l, load(l, r.center.add(i + w * L::N), n, whole), l.splat(-T::ONE));
        }
        for row in from..to {
            let row = row as isize;
            let x = r.x.wrapping_offset(row * r.steps[0] + i as isize);
            let g = r.g.wrapping_offset(row * r.steps[1] + i as isize);
            // The same columns of later rows: the processor does not see so wide a stride by itself.
            for w in 0..W {
                l.prefetch(x.wrapping_offset(later * r.steps[0]).wrapping_add(w * L::N));
                if KIND == DOTS {
                    l.prefetch(g.wrapping_offset(later * r.steps[1]).wrapping_add(w * L::N));
                }
            }
            for w in 0..W {
                let d = l.add(load(l, x.add(w * L::N), n, whole), away[w]);
                let v = if KIND == DOTS {
                    load(l, g.add(w * L::N), n, whole)
                } else {
                    d
                };
                first[w] = l.add(first[w], v);
                second[w] = l.fma(v, d, second[w]);
            }
        }
        for w in 0..W {
            for (lanes, to) in [(first[w], r.sums[0]), (second[w], r.sums[1])] {
                let mut held = [T::ZERO; 16];
                l.store(held.as_mut_ptr(), lanes);
                for j in 0..n {
                    *to.add(i + w * L::N + j) += held[j].to_f64();
                }
            }
        }
    }
}
