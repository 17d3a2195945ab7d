//! Rows of output positions whose windows lie inside the input, many at a time.
//!
//! Where the innermost dim is dense in memory the taps of a row's windows are taken one after another, each for a strip of
//! output positions: these loops vectorize. Each position still meets its taps in the order of the definition, so the
//! results are those of the position-by-position walk.

use super::max::MaxElement;
use super::{PoolShape, Window};
use crate::dtype::Element;
use crate::multiversion;
use std::ops::{Add, Range};

/// Output positions taken together.
const STRIP: usize = 64;

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

/// One row of outputs: where its windows' input rows begin, and what tap (d, h) adds to a place in the plane.
pub(super) struct Row<'a, T> {
    /// Input row of each (d, h) tap, from the first whole window's first element on, and its offset in the plane.
    pub taps: &'a [(*const T, i32)],
    /// Taps along the row, and the distance between them.
    pub kernel: usize,
    pub dilation: usize,
    pub stride: usize,
}

multiversion! {
    /// Maxima and places (in the plane) of `y.len()` positions; `first` is the place of the first window's first column.
    ///
    /// Each tap's row holds `(y.len() - 1)·stride + (kernel - 1)·dilation + 1` elements, which the caller vouches for.
    pub(super) fn max_row<T: MaxElement>(row: &Row<T>, first: i64, y: &mut [T], places: &mut [i64]) {
        match row.stride {
            1 => max_strips::<T, 1>(row, first, y, places),
            2 => max_strips::<T, 2>(row, first, y, places),
            _ => max_strips::<T, 0>(row, first, y, places),
        }
    }
}

#[inline(always)]
fn max_strips<T: MaxElement, const S: usize>(row: &Row<T>, first: i64, y: &mut [T], places: &mut [i64]) {
    let stride = if S == 0 { row.stride } else { S };
    for (strip, (y, places)) in y.chunks_mut(STRIP).zip(places.chunks_mut(STRIP)).enumerate() {
        let n = y.len();
        let begin = strip * STRIP;
        let mut best = [T::LEAST; STRIP];
        let mut at = [row.taps[0].1; STRIP];
        for &(base, offset) in row.taps {
            for k in 0..row.kernel {
                let skip = k * row.dilation;
                let x = base.wrapping_add(begin * stride + skip);
                let place = offset + skip as i32;
                for (j, (best, at)) in best[..n].iter_mut().zip(&mut at[..n]).enumerate() {
                    // SAFETY: the caller's promise: the row reaches to the last position's last tap.
                    let v = unsafe { *x.add(j * stride) };
                    let replaces = v.replaces(*best);
                    *best = if replaces { v } else { *best };
                    *at = if replaces { place } else { *at };
                }
            }
        }
        y.copy_from_slice(&best[..n]);
        let first = first + (begin * stride) as i64;
        for (j, (p, a)) in places.iter_mut().zip(&at).enumerate() {
            *p = first + (j * stride) as i64 + *a as i64;
        }
    }
}

multiversion! {
    /// Sums of `y.len()` positions' windows in double precision, divided by `count`; the row as for [`max_row`].
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
        let mut sums = [0f64; STRIP];
        for &(base, _) in row.taps {
            for k in 0..row.kernel {
                let x = base.wrapping_add(begin * stride + k * row.dilation);
                for (j, sum) in sums[..n].iter_mut().enumerate() {
                    // SAFETY: as in `max_strips`.
                    *sum += unsafe { *x.add(j * stride) }.to_f64();
                }
            }
        }
        for (y, sum) in out.iter_mut().zip(&sums) {
            *y = T::from_f64(sum / count);
        }
    }
}

multiversion! {
    /// What each output of a row gives to each element of its window.
    pub(super) fn share_row<T: Element>(g: &[T], count: f64, shares: &mut [T]) {
        for (share, g) in shares.iter_mut().zip(g) {
            *share = T::from_f64(g.to_f64() / count);
        }
    }
}

multiversion! {
    /// Adds each output's share to the `kernel` elements of its window, windows `stride` apart: the mirror of
    /// [`mean_row`]. Taps run backwards, so that an element meets its outputs in their order.
    pub(super) fn spread_row<T: Adds>(row: &mut [T], kernel: usize, stride: usize, shares: &[T]) {
        match (kernel, stride) {
            (2, 2) => {
                for (pair, share) in row.chunks_exact_mut(2).zip(shares) {
                    pair[0] = pair[0] + *share;
                    pair[1] = pair[1] + *share;
                }
            }
            (_, 1) => {
                for k in (0..kernel).rev() {
                    for (x, share) in row[k..].iter_mut().zip(shares) {
                        *x = *x + *share;
                    }
                }
            }
            _ => {
                for k in (0..kernel).rev() {
                    for (x, share) in row[k..].iter_mut().step_by(stride).zip(shares) {
                        *x = *x + *share;
                    }
                }
            }
        }
    }
}

/// What [`spread_row`] needs.
pub(super) trait Adds: Element + Add<Output = Self> {}
impl<T: Element + Add<Output = T>> Adds for T {}

/// Lanes of a sum over a run of memory.
const LANES: usize = 16;

multiversion! {
    /// The sum of a dense run: 16 lanes, then a halving tree, then what is left over in order.
    pub(super) fn sum_run<T: Element>(x: &[T]) -> f64 {
        let mut lanes = [0f64; LANES];
        let groups = x.chunks_exact(LANES);
        let rest = groups.remainder();
        for group in groups {
            for (l, v) in lanes.iter_mut().zip(group) {
                *l += v.to_f64();
            }
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        rest.iter().fold(lanes[0], |sum, v| sum + v.to_f64())
    }
}
