//! Gradient of the weights where a plane of gradients belongs to one plane of the image and windows are square: each line
//! of the image is read once and serves all rows of the gradient that it meets, which stay in registers. Planes are read
//! where they lie and in the order in which they lie; borders are masks.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::inplace::ahead;
use super::plane::{Column, inside};
use super::ring::unrolled;
use crate::simd::vec::Lanes;
use std::ops::Add;

/// Some pairs of planes of one image: for each pair the sums of the products of the gradient with the image, shifted by
/// each tap.
pub(crate) struct TapSums<'a, T> {
    pub planes: usize,
    /// First plane of the image; from plane to plane, from line to line; lines and columns.
    pub x: *const T,
    pub x_plane: isize,
    pub x_row: isize,
    pub x_size: [usize; 2],
    pub gy: *const T,
    pub gy_plane: isize,
    pub gy_row: isize,
    pub grid: [usize; 2],
    /// Row r of the gradient meets line `r * step + low + tap`, column c column `c * step + cols[tap]`.
    pub low: isize,
    pub cols: &'a [isize],
    /// `[plane][tap][lane]`; lanes fill 64 bytes.
    pub sums: *mut T,
    /// The sums begin with this image, and end with it: then they are joined, `[plane][tap]`, unless this is null.
    pub first: bool,
    pub out: *mut T,
}

/// Windows of `K` by `K` taps, rows and columns with step `S`. Column c of a line is added in lane c mod lanes; blocks of
/// columns follow each other, then images; in each, lines; the lanes are joined in halves.
///
/// # Safety
/// All planes, sums and results lie in live memory.
#[inline(always)]
pub(crate) unsafe fn tap_sums<T, L: Lanes<T>, const K: usize, const S: usize>(l: L, g: &TapSums<T>)
where
    T: Copy + Default + Add<Output = T>,
{
    let lanes = 64 / size_of::<T>();
    let next = [
        ahead::<T>(g.x_plane, g.x_size[0] * g.x_size[1]),
        ahead::<T>(g.gy_plane, g.grid[0] * g.grid[1]),
    ];
    let first = columns::<T, L, K, S>(l, g, 0);
    for plane in 0..g.planes {
        let some = Plane {
            g,
            next,
            x: g.x.wrapping_offset(plane as isize * g.x_plane),
            gy: g.gy.wrapping_offset(plane as isize * g.gy_plane),
            sums: g.sums.wrapping_add(plane * K * K * lanes),
        };
        // SAFETY: the caller's promise; so below.
        unsafe {
            match K {
                3 => some.lines::<L, 3, K, S>(l, &first, 0),
                5 => some.lines::<L, 5, K, S>(l, &first, 0),
                _ => {
                    // As many sums as there are registers for.
                    some.lines::<L, 3, K, S>(l, &first, 0);
                    some.lines::<L, 4, K, S>(l, &first, 3);
                }
            }
            if !g.out.is_null() {
                join::<T>(some.sums, K * K, g.out.add(plane * K * K));
            }
        }
    }
}

/// Adds up the lanes of each of some sums.
///
/// # Safety
/// As for [`tap_sums`].
#[inline(always)]
pub(super) unsafe fn join<T: Copy + Default + Add<Output = T>>(sums: *const T, count: usize, out: *mut T) {
    let lanes = 64 / size_of::<T>();
    for t in 0..count {
        let mut all = [T::default(); 16];
        // SAFETY: the caller's promise.
        unsafe {
            for i in 0..lanes {
                all[i] = *sums.add(t * lanes + i);
            }
            for half in [8, 4, 2, 1] {
                if half < lanes {
                    for i in 0..half {
                        all[i] = all[i] + all[i + half];
                    }
                }
            }
            *out.add(t) = all[0];
        }
    }
}

/// One pair of planes.
struct Plane<'a, T> {
    g: &'a TapSums<'a, T>,
    /// How far what is fetched meanwhile lies ahead, in the image and in the gradient.
    next: [isize; 2],
    x: *const T,
    gy: *const T,
    sums: *mut T,
}

/// A vector of columns: the taps' columns, and those of the gradient.
struct Block<T, L: Lanes<T>, const K: usize> {
    cols: [Column<T, L>; K],
    own: L::Mask,
    at: usize,
}

/// The vector that begins at column `at`.
#[inline(always)]
fn columns<T, L: Lanes<T>, const K: usize, const S: usize>(l: L, g: &TapSums<T>, at: usize) -> Block<T, L, K> {
    let left = (g.grid[1] - at).min(L::N);
    let mut cols = [Column::<T, L>::new::<1>(l, 0, (0, 0)); K];
    for c in 0..K {
        let offset = (at * S) as isize + g.cols[c];
        let (from, to) = inside(offset, S, g.x_size[1], L::N);
        // Columns past the end of the gradient's line are of no use.
        cols[c] = Column::new::<S>(l, offset, (from, to.min(left).max(from)));
    }
    Block {
        cols,
        own: l.mask(0, left),
        at,
    }
}

impl<T: Copy + Default> Plane<'_, T> {
    /// The sums of `G` lines of taps from `tap` on.
    ///
    /// # Safety
    /// As for [`tap_sums`].
    #[inline(always)]
    unsafe fn lines<L: Lanes<T>, const G: usize, const K: usize, const S: usize>(
        &self,
        l: L,
        first: &Block<T, L, K>,
        tap: usize,
    ) {
        let lanes = 64 / size_of::<T>();
        let (g, width) = (self.g, self.g.grid[1]);
        let sums = self.sums.wrapping_add(tap * K * lanes);
        let low = g.low + tap as isize;
        for v in 0..lanes / L::N {
            let mut acc = [[l.splat(T::default()); K]; G];
            let place = |t: usize, c: usize| sums.wrapping_add((t * K + c) * lanes + v * L::N);
            if !g.first {
                for t in 0..G {
                    for c in 0..K {
                        // SAFETY: the caller's promise; so below.
                        acc[t][c] = unsafe { l.load(place(t, c)) };
                    }
                }
            }
            for at in (v * L::N..width).step_by(lanes) {
                let other;
                let block = if at == 0 {
                    first
                } else {
                    other = columns::<T, L, K, S>(l, g, at);
                    &other
                };
                // SAFETY: the caller's promise. So below.
                unsafe { self.block::<L, G, K, S>(l, block, low, &mut acc) };
            }
            for t in 0..G {
                for c in 0..K {
                    // SAFETY: sums have room for all taps.
                    unsafe { l.store(place(t, c), acc[t][c]) };
                }
            }
        }
    }

    /// # Safety
    /// As for [`tap_sums`].
    #[inline(always)]
    unsafe fn block<L: Lanes<T>, const G: usize, const K: usize, const S: usize>(
        &self,
        l: L,
        block: &Block<T, L, K>,
        low: isize,
        sums: &mut [[L::V; K]; G],
    ) {
        let (rows, size) = (self.g.grid[0], self.g.x_size[0] as isize);
        let active = G.div_ceil(S);
        let mut acc = *sums;
        let mut y = [l.splat(T::default()); 7];
        // The steps for which all rows exist and all lines lie inside.
        let start = ((-low).max(0) as usize).div_ceil(S).max(active - 1);
        let end = ((size - low).max(0) as usize / S).min(rows).max(start);
        let all = rows + active - 1;
        // SAFETY: the caller's promise.
        unsafe {
            for t in 0..start.min(all) {
                self.step::<L, G, K, S, false>(l, block, low, t, &mut y, &mut acc);
            }
            for t in start..end {
                self.step::<L, G, K, S, true>(l, block, low, t, &mut y, &mut acc);
            }
            for t in end..all {
                self.step::<L, G, K, S, false>(l, block, low, t, &mut y, &mut acc);
            }
        }
        *sums = acc;
    }

    /// The lines that row `t` meets first; `y` are the rows that meet them too, the newest first. `ALL`: all these rows
    /// and lines exist.
    ///
    /// # Safety
    /// As for [`tap_sums`].
    #[inline(always)]
    unsafe fn step<L: Lanes<T>, const G: usize, const K: usize, const S: usize, const ALL: bool>(
        &self,
        l: L,
        block: &Block<T, L, K>,
        low: isize,
        t: usize,
        y: &mut [L::V; 7],
        acc: &mut [[L::V; K]; G],
    ) {
        let g = self.g;
        let (rows, active) = (g.grid[0], G.div_ceil(S));
        unrolled!(a < active, {
            let a = active - 1 - a;
            y[a] = y[a.saturating_sub(1)];
        });
        if ALL || t < rows {
            let from = self.gy.wrapping_offset(t as isize * g.gy_row).wrapping_add(block.at);
            l.prefetch(from.wrapping_offset(self.next[1]));
            // SAFETY: the caller's promise; so below.
            y[0] = unsafe { l.load_more(l.splat(T::default()), from, block.own) };
        }
        for s in 0..S {
            let line = low + (S * t + s) as isize;
            if !ALL && (line < 0 || line >= g.x_size[0] as isize) {
                continue;
            }
            let from = self.x.wrapping_offset(line * g.x_row);
            for c in 0..S {
                l.prefetch(from.wrapping_offset(self.next[0]).wrapping_add(block.at * S + c * L::N));
            }
            unrolled!(c < K, {
                // SAFETY: the line exists, and the block's masks keep to its columns.
                let x = unsafe { block.cols[c].load::<S>(l, from, true) };
                unrolled!(a < active, {
                    if s + S * a < G && (ALL || (a <= t && t - a < rows)) {
                        acc[s + S * a][c] = l.fma(y[a], x, acc[s + S * a][c]);
                    }
                });
            });
        }
    }
}
