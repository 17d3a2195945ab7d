//! Sums over square windows of planes read where they lie, line by line as in [`super::ring`]; borders are masks, and the
//! planes that come later are fetched meanwhile.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::plane::{Column, inside};
use super::ring::unrolled;
use crate::simd::vec::Lanes;

/// Bytes that planes are fetched ahead at least.
pub(super) const AHEAD: usize = 4 << 10;

/// Some rows of some planes of the result: sums over taps in order, then the bias.
#[derive(Clone, Copy)]
pub(crate) struct InPlaceArgs<'a, T> {
    pub planes: usize,
    /// First plane; from plane to plane, from line to line; lines and columns.
    pub src: *const T,
    pub src_plane: isize,
    pub src_row: isize,
    pub size: [usize; 2],
    /// Row r reads lines from `r * step + low` on, column c columns `c * step + cols[tap]`.
    pub low: isize,
    pub cols: &'a [isize],
    /// `[line][column]`, contiguous.
    pub weights: *const T,
    pub weights_plane: usize,
    /// One number for each plane, or null.
    pub bias: *const T,
    pub dst: *mut T,
    pub dst_plane: isize,
    pub dst_row: isize,
    pub rows: usize,
    pub width: usize,
}

/// How far planes of so many elements, `plane` apart, are fetched ahead.
#[inline(always)]
pub(super) fn ahead<T>(plane: isize, elements: usize) -> isize {
    plane * (AHEAD / (elements * size_of::<T>()).max(1)).max(1) as isize
}

/// What the taps of the vector at column `at` read of a line.
#[inline(always)]
fn columns<T, L: Lanes<T>, const K: usize, const S: usize>(l: L, g: &InPlaceArgs<T>, at: usize) -> [Column<T, L>; K] {
    let mut cols = [Column::<T, L>::new::<1>(l, 0, (0, 0)); K];
    for c in 0..K {
        let offset = (at * S) as isize + g.cols[c];
        cols[c] = Column::new::<S>(l, offset, inside(offset, S, g.size[1], L::N));
    }
    cols
}

/// Windows of `K` by `K` taps, rows and columns with step `S`.
///
/// # Safety
/// The planes, the weights and the result lie in live memory.
#[inline(always)]
pub(crate) unsafe fn in_place<T: Copy + Default, L: Lanes<T>, const K: usize, const S: usize>(
    l: L,
    g: &InPlaceArgs<T>,
) {
    // What a full vector writes behind a row belongs to rows that are written later, but for the last ones.
    let room = match (g.width >= L::N, g.dst_row == g.width as isize) {
        (true, _) => g.rows,
        (_, true) => (g.rows + 1).saturating_sub(L::N.div_ceil(g.width.max(1))),
        _ => 0,
    };
    let first = columns::<T, L, K, S>(l, g, 0);
    let next = ahead::<T>(g.src_plane, g.size[0] * g.size[1]);
    let dst_next = ahead::<T>(g.dst_plane, g.rows * g.width);
    for plane in 0..g.planes {
        let mut by = [[l.splat(T::default()); K]; K];
        let weights = g.weights.wrapping_add(plane * g.weights_plane);
        for j in 0..K {
            for c in 0..K {
                // SAFETY: the caller's promise; so below.
                by[j][c] = l.splat(unsafe { *weights.add(j * K + c) });
            }
        }
        // SAFETY: as above.
        let bias = (!g.bias.is_null()).then(|| l.splat(unsafe { *g.bias.add(plane) }));
        let some = Plane {
            g,
            by,
            bias,
            src: g.src.wrapping_offset(plane as isize * g.src_plane),
            dst: g.dst.wrapping_offset(plane as isize * g.dst_plane),
            next,
            dst_next,
            room,
        };
        for at in (0..g.width).step_by(L::N) {
            // The last vector steps back rather than be part of one.
            let at = at.min(g.width.saturating_sub(L::N));
            let cols = if at == 0 {
                first
            } else {
                columns::<T, L, K, S>(l, g, at)
            };
            // SAFETY: as above.
            unsafe { some.rows::<L, S>(l, &cols, at) };
        }
    }
}

/// A plane of the result, its weights and bias in vectors.
struct Plane<'a, T, V, const K: usize> {
    g: &'a InPlaceArgs<'a, T>,
    by: [[V; K]; K],
    bias: Option<V>,
    src: *const T,
    dst: *mut T,
    next: isize,
    dst_next: isize,
    room: usize,
}

impl<T: Copy + Default, V: Copy, const K: usize> Plane<'_, T, V, K> {
    /// # Safety
    /// As for [`in_place`].
    #[inline(always)]
    unsafe fn rows<L: Lanes<T, V = V>, const S: usize>(&self, l: L, cols: &[Column<T, L>; K], at: usize) {
        let (g, active) = (self.g, K.div_ceil(S));
        let size = g.size[0] as isize;
        let mut sums = [l.splat(T::default()); 7];
        // The steps for which all rows exist, may be stored as full vectors, and all lines lie inside.
        let start = ((-g.low).max(0) as usize).div_ceil(S).max(active - 1);
        let end = ((size - g.low).max(0) as usize / S)
            .min(g.rows)
            .min((self.room + active).saturating_sub(1))
            .max(start);
        let all = g.rows + active - 1;
        // SAFETY: the caller's promise.
        unsafe {
            for t in 0..start.min(all) {
                self.step::<L, S, false>(l, cols, at, t, &mut sums);
            }
            for t in start..end {
                self.step::<L, S, true>(l, cols, at, t, &mut sums);
            }
            for t in end..all {
                self.step::<L, S, false>(l, cols, at, t, &mut sums);
            }
        }
    }

    /// The lines with which row `t` begins; `sums` are those of the rows that they belong to, the newest first. `ALL`: all
    /// these rows and lines exist, and full vectors may be stored.
    ///
    /// # Safety
    /// As for [`in_place`].
    #[inline(always)]
    unsafe fn step<L: Lanes<T, V = V>, const S: usize, const ALL: bool>(
        &self,
        l: L,
        cols: &[Column<T, L>; K],
        at: usize,
        t: usize,
        sums: &mut [V; 7],
    ) {
        let (g, active) = (self.g, K.div_ceil(S));
        let zero = l.splat(T::default());
        unrolled!(a < active, {
            let a = active - 1 - a;
            sums[a] = if a > 0 { sums[a - 1] } else { zero };
        });
        for s in 0..S {
            let line = g.low + (S * t + s) as isize;
            let known = ALL || (line >= 0 && line < g.size[0] as isize);
            let from = self.src.wrapping_offset(line * g.src_row);
            for c in 0..S {
                l.prefetch(from.wrapping_offset(self.next).wrapping_add(at * S + c * L::N));
            }
            unrolled!(c < K, {
                // SAFETY: the caller's promise; so below.
                let x = match known {
                    true => unsafe { cols[c].load::<S>(l, from, true) },
                    false => zero,
                };
                unrolled!(a < active, {
                    if s + S * a < K && (ALL || (a <= t && t - a < g.rows)) {
                        sums[a] = l.fma(self.by[s + S * a][c], x, sums[a]);
                    }
                });
            });
        }
        if t + 1 >= active {
            let row = t + 1 - active;
            let to = self.dst.wrapping_offset(row as isize * g.dst_row).wrapping_add(at);
            l.prefetch_write(to.wrapping_offset(self.dst_next));
            let sum = sums[active - 1];
            let sum = self.bias.map_or(sum, |b| l.add(sum, b));
            // SAFETY: the caller's promise; what a full vector writes behind the row lies in later rows.
            unsafe {
                if ALL || row < self.room {
                    l.store(to, sum);
                } else {
                    l.store_n(to, sum, g.width);
                }
            }
        }
    }
}
