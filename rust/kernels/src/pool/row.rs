//! Rows of output positions whose windows lie inside the input, a block at a time.
//!
//! Each position meets its taps in the order of the definition, so the results are those of the position-by-position
//! walk.

use super::avg::quotient;
use super::block::{BLOCK, Row, every, picked};
use super::max::MaxElement;
use super::{PoolShape, Window};
use crate::dtype::Element;
use crate::multiversion;
use crate::simd::Aligned;
use std::ops::{Add, Range};

/// The output positions along one dim whose windows have all their `kernel` taps in the input.
pub(super) fn whole(windows: &[Window], s: &PoolShape) -> Range<usize> {
    let full = |w: &Window| w.len == s.kernel[2] && w.step == s.dilation[2];
    let first = windows.iter().position(full).unwrap_or(0);
    let count = windows[first.min(windows.len())..]
        .iter()
        .take_while(|w| full(w))
        .count();
    first..first + count
}

/// Whether places of maxima are wanted.
pub(super) trait Places {
    const WANTED: bool;
}
pub(super) struct Wanted;
pub(super) struct Unwanted;
impl Places for Wanted {
    const WANTED: bool = true;
}
impl Places for Unwanted {
    const WANTED: bool = false;
}

/// Maxima of a block, and how far in the plane they lie from their positions' first columns.
///
/// # Safety
/// The row's windows lie in memory; whole vectors of stride `S` are [`Row::open`], or `S` is 0.
#[inline(always)]
unsafe fn max_block<T: MaxElement, P: Places, const S: usize, const K: usize>(
    row: &Row<T>,
    begin: usize,
    n: usize,
) -> ([T; BLOCK], [i32; BLOCK]) {
    let kernel = if K == 0 { row.kernel } else { K };
    let stride = if S == 0 { row.stride } else { S };
    let mut best = [T::LEAST; BLOCK];
    let mut at = [row.taps[0].1; BLOCK];
    for &(base, offset) in row.taps {
        for k in 0..kernel {
            let skip = k * row.dilation;
            let x = base.wrapping_add(begin * stride + skip);
            // SAFETY: the caller's promise.
            let v = unsafe { if S == 0 { picked(x, stride, n) } else { every::<T, S>(x) } };
            let place = offset + skip as i32;
            for j in 0..BLOCK {
                let replaces = v[j].replaces(best[j]);
                best[j] = if replaces { v[j] } else { best[j] };
                if P::WANTED {
                    at[j] = if replaces { place } else { at[j] };
                }
            }
        }
    }
    (best, at)
}

/// Calls `f` with each block of `n` positions: where it begins, its length, maxima and places.
///
/// # Safety
/// The row's windows lie in memory.
#[inline(always)]
pub(super) unsafe fn max_blocks<T: MaxElement, P: Places>(
    row: &Row<T>,
    n: usize,
    mut f: impl FnMut(usize, usize, [T; BLOCK], [i32; BLOCK]),
) {
    let mut begin = 0;
    while begin < n {
        let count = BLOCK.min(n - begin);
        // SAFETY: the caller's promise; `open` was asked.
        let (best, at) = unsafe {
            match (row.stride, row.kernel) {
                (2, 2) if row.open::<2>(begin) => max_block::<T, P, 2, 2>(row, begin, count),
                (2, 3) if row.open::<2>(begin) => max_block::<T, P, 2, 3>(row, begin, count),
                (2, _) if row.open::<2>(begin) => max_block::<T, P, 2, 0>(row, begin, count),
                (1, _) if row.open::<1>(begin) => max_block::<T, P, 1, 0>(row, begin, count),
                _ => max_block::<T, P, 0, 0>(row, begin, count),
            }
        };
        f(begin, count, best, at);
        begin += BLOCK;
    }
}

/// Output positions of an average taken together.
const STRIP: usize = 64;

multiversion! {
    /// Sums of `y.len()` positions' windows in double precision, divided by `count`; the row's windows lie in memory.
    pub(super) fn mean_row<T: Element>(row: &Row<T>, count: f64, y: &mut [T]) {
        match row.stride {
            1 => mean_strips::<T, 1>(row, count, y),
            2 => mean_strips::<T, 2>(row, count, y),
            _ => mean_strips::<T, 0>(row, count, y),
        }
    }
}

#[inline(always)]
fn mean_strips<T: Element, const S: usize>(row: &Row<T>, count: f64, y: &mut [T]) {
    let stride = if S == 0 { row.stride } else { S };
    for (strip, out) in y.chunks_mut(STRIP).enumerate() {
        let n = out.len();
        let begin = strip * STRIP;
        let mut sums = Aligned([0f64; STRIP]);
        for &(base, _) in row.taps {
            let mut line = Aligned([0f64; STRIP]);
            for k in 0..row.kernel {
                let x = base.wrapping_add(begin * stride + k * row.dilation);
                for (j, sum) in line[..n].iter_mut().enumerate() {
                    // SAFETY: the caller's promise: the row reaches to the last position's last tap.
                    *sum += unsafe { *x.add(j * stride) }.to_f64();
                }
            }
            for (sum, line) in sums[..n].iter_mut().zip(line.iter()) {
                *sum += line;
            }
        }
        for (y, sum) in out.iter_mut().zip(sums.iter()) {
            *y = quotient(*sum, count);
        }
    }
}

multiversion! {
    /// What each output of a row gives to each element of its window.
    pub(super) fn share_row<T: Element>(g: &[T], count: f64, shares: &mut [T]) {
        for (share, g) in shares.iter_mut().zip(g) {
            *share = quotient(g.to_f64(), count);
        }
    }
}

multiversion! {
    /// Adds a line of shares to a row of the gradient.
    pub(super) fn add_row<T: Adds>(row: &mut [T], line: &[T]) {
        for (x, share) in row.iter_mut().zip(line) {
            *x = *x + *share;
        }
    }
}

/// What [`add_row`] needs.
pub(super) trait Adds: Element + Add<Output = Self> {}
impl<T: Element + Add<Output = T>> Adds for T {}

/// Lanes of a sum over a run of memory.
const LANES: usize = 16;

multiversion! {
    /// The sum of a dense run: 16 lanes, then a halving tree.
    pub(super) fn sum_run<T: Element>(x: &[T]) -> f64 {
        let mut lanes = [0f64; LANES];
        let groups = x.chunks_exact(LANES);
        let rest = groups.remainder();
        for group in groups {
            for (l, v) in lanes.iter_mut().zip(group) {
                *l += v.to_f64();
            }
        }
        for (l, v) in lanes.iter_mut().zip(rest) {
            *l += v.to_f64();
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}
