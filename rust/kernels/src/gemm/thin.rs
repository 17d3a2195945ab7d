//! The last columns of a product, too few to fill a vector: with vectors along A's rows instead, so that each costs what it is
//! worth. (49 columns, the places of a plane of 7x7, would take as long as 64.)

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use super::ahead::Ahead;
use super::driver::Gemm;
use super::micro::{Number, Products, Tile};
use super::pack::{PackArgs, SLACK};
use super::packed::Panels;
use crate::simd::Aligned;
use crate::simd::vec::Lanes;

/// Columns at most; sums that are held in registers, and vectors of rows: panels of A begin whole pages apart, and more of them
/// than half of what a set of the first-level cache holds push each other out.
const MOST: usize = 4;
const SUMS: usize = 8;
const VECTORS: usize = 4;

/// Vectors of rows at a time, for a number of columns.
const fn vectors(cols: usize) -> usize {
    if SUMS / cols < VECTORS { SUMS / cols } else { VECTORS }
}
/// Steps by which vectors of A are asked for.
const AHEAD: isize = 16;
/// Lanes of the longest vector.
const LANES: usize = 16;
/// Elements of A that are turned at a time where its rows are read in place.
const NEAR: usize = 4096;
/// Shorter k, and fewer rows, are not worth it.
const LEAST_K: usize = 32;
const LEAST_ROWS: usize = LANES;

/// `sums[x][e] += sum over p of a[x][p] * b[p][e]`, `a[x]` being vectors, `step` elements from one `p` to the next; each lane a
/// chain in the order of p.
pub(crate) struct ThinArgs<T> {
    pub a: [*const T; VECTORS],
    pub step: isize,
    pub b: *const T,
    pub b_rs: usize,
    pub k: usize,
    /// Vectors one after another.
    pub sums: *mut T,
}

/// Of `E` columns and [`vectors`] of A.
///
/// # Safety
/// The arguments describe live memory.
#[inline(always)]
pub(super) unsafe fn thin<T: Copy + Default, L: Lanes<T>, const E: usize>(l: L, g: &ThinArgs<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [l.splat(T::default()); SUMS];
        for s in 0..vectors(E) * E {
            sums[s] = l.load(g.sums.add(s * L::N));
        }
        let (mut offset, mut b) = (0, g.b);
        for _ in 0..g.k {
            let mut column = [l.splat(T::default()); E];
            for e in 0..E {
                column[e] = l.splat(*b.add(e));
            }
            for x in 0..vectors(E) {
                let at = g.a[x].wrapping_offset(offset);
                l.prefetch(at.wrapping_offset(AHEAD * g.step));
                let a = l.load(at);
                for e in 0..E {
                    sums[x * E + e] = l.fma(a, column[e], sums[x * E + e]);
                }
            }
            offset += g.step;
            b = b.wrapping_add(g.b_rs);
        }
        for s in 0..vectors(E) * E {
            l.store(g.sums.add(s * L::N), sums[s]);
        }
    }
}

/// A vector of A's rows: where it begins, the row of its first lane, and the lanes whose sums are wanted.
#[derive(Clone, Copy)]
struct Rows<T> {
    at: *const T,
    first: usize,
    lanes: (usize, usize),
}

impl<T: Number> Gemm<T> {
    /// How many of the last `n` columns of a product are made by [`Gemm::run_thin`].
    pub fn thin(&self, kernels: &Products<T>, n: usize) -> usize {
        let rest = n % kernels.narrow;
        let few = rest <= MOST.min(kernels.narrow / 4);
        let worth = self.k >= LEAST_K && self.m >= LEAST_ROWS && self.c_cs == 1;
        if few && worth { rest } else { 0 }
    }

    /// The last `cols` columns, with B's at `b`, rows `b_rs` apart in which [`MOST`] elements may be read; with A as for
    /// `run_tiles`.
    ///
    /// # Safety
    /// As for `run_tiles`; `cols` comes of [`Gemm::thin`].
    pub unsafe fn run_thin(&self, kernels: &Products<T>, a: *const T, cols: usize, b: (*const T, usize)) {
        let (n, at_once) = (kernels.narrow, vectors(cols.next_power_of_two()));
        let panels = Panels::of(self.m, kernels.tiles.len());
        let mut group = [Rows {
            at: a,
            first: 0,
            lanes: (0, 0),
        }; VECTORS];
        let (mut held, mut step) = (0, 0);
        // SAFETY: the caller's promise.
        let mut put = |rows: Option<Rows<T>>, rows_step: isize| unsafe {
            if held == at_once || held > 0 && (rows.is_none() || rows_step != step) {
                self.thin_rows(kernels, &group[..held], (step, a.is_null()), cols, b);
                held = 0;
            }
            if let Some(rows) = rows {
                (group[held], step) = (rows, rows_step);
                held += 1;
            }
        };
        if a.is_null() {
            // The last vector begins with rows of the one before.
            for i in (0..self.m).step_by(n) {
                let first = i.min(self.m - n);
                let at = self.a.wrapping_offset(first as isize * self.a_rs);
                put(
                    Some(Rows {
                        at,
                        first,
                        lanes: (i - first, n),
                    }),
                    self.a_cs,
                );
            }
        } else {
            for (i, rows) in panels.each() {
                for v in (0..rows).step_by(n) {
                    let at = a.wrapping_add(i * self.k + v);
                    put(
                        Some(Rows {
                            at,
                            first: i + v,
                            lanes: (0, n.min(rows - v)),
                        }),
                        rows as isize,
                    );
                }
            }
        }
        put(None, 0);
        let plain = self.plus.of.is_null() && self.row_bias.is_null() && self.col_bias.is_null() && !self.relu;
        for (i, rows) in panels.each().take(if plain { 0 } else { panels.count }) {
            let part = self.part(i..i + rows, self.n - cols..self.n);
            let tile = Tile {
                k: 0,
                a: part.a,
                a_rs: 0,
                a_cs: 0,
                b: b.0,
                b_rs: 0,
                packed_b: std::ptr::null_mut(),
                c: part.c,
                c_rs: self.c_rs,
                next: std::ptr::null(),
                ahead: Ahead::NONE,
                n: cols,
                from_c: true,
                plus: part.plus,
                row_bias: part.row_bias,
                col_bias: part.col_bias,
                relu: part.relu,
            };
            // SAFETY: a tile without steps of k, which are done.
            unsafe { tile.run(kernels, kernels.tall[rows - 1][0], rows) };
        }
    }

    /// Adds to C what some vectors of rows give; `(step, in_place)` for A.
    ///
    /// # Safety
    /// As for [`Gemm::run_thin`].
    unsafe fn thin_rows(
        &self,
        kernels: &Products<T>,
        rows: &[Rows<T>],
        (step, in_place): (isize, bool),
        cols: usize,
        (b, b_rs): (*const T, usize),
    ) {
        let (n, e) = (kernels.narrow, cols.next_power_of_two());
        let run = kernels.thin[e.trailing_zeros() as usize];
        let mut sums = Aligned([T::default(); SUMS * LANES]);
        let c = |row: usize, col: usize| {
            let at = row as isize * self.c_rs + (self.n - cols + col) as isize;
            self.c.wrapping_offset(at)
        };
        // SAFETY: the caller's promise. A vector that is missing is one that is there.
        unsafe {
            let each =
                |x: usize| (rows[x].lanes.0..rows[x].lanes.1).flat_map(move |i| (0..cols).map(move |col| (i, col)));
            for x in 0..if self.from_c { rows.len() } else { 0 } {
                for (i, col) in each(x) {
                    sums[(x * e + col) * n + i] = *c(rows[x].first + i, col);
                }
            }
            let mut args = ThinArgs {
                a: std::array::from_fn(|x| rows[x.min(rows.len() - 1)].at),
                step,
                b,
                b_rs,
                k: self.k,
                sums: sums.as_mut_ptr(),
            };
            if in_place && self.a_rs != 1 {
                let mut near = Aligned([T::default(); NEAR + SLACK]);
                let near = near.as_mut_ptr();
                let deep = NEAR / (n * rows.len());
                args.a = std::array::from_fn(|x| near.wrapping_add(x.min(rows.len() - 1) * n * deep).cast_const());
                args.step = n as isize;
                for p in (0..self.k).step_by(deep) {
                    (args.k, args.b) = (deep.min(self.k - p), b.wrapping_add(p * b_rs));
                    for (x, rows) in rows.iter().enumerate() {
                        (kernels.pack)(&PackArgs {
                            src: rows.at.wrapping_offset(p as isize * self.a_cs),
                            line_stride: self.a_rs,
                            k_stride: self.a_cs,
                            lines: n,
                            width: n,
                            k: args.k,
                            dst: near.wrapping_add(x * n * deep),
                        });
                    }
                    run(&args);
                }
            } else {
                run(&args);
            }
            for x in 0..rows.len() {
                for (i, col) in each(x) {
                    *c(rows[x].first + i, col) = sums[(x * e + col) * n + i];
                }
            }
        }
    }
}
