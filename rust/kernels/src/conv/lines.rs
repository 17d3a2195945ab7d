//! The register tile of the convolutions: a product whose k runs over lines of an image, so that an operand may be read
//! where it lies, line by line.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::gemm::{Kernels, Panels};
use crate::simd::opaque;
use crate::simd::vec::Lanes;

/// `c[i][j] = (from_c ? c[i][j] : 0) + sum over lines and p of a[i][line][p] * b[line][p][j]`, in order, then the bias.
#[derive(Clone, Copy)]
pub(crate) struct LineTile<T> {
    pub lines: usize,
    pub k: usize,
    /// Strides of row, p and line. A packed A has its rows side by side.
    pub a: *const T,
    pub a_rs: isize,
    pub a_cs: isize,
    pub a_line: isize,
    /// Null, or where the lines of A begin, instead.
    pub a_starts: *const isize,
    /// Strides of p and line; whole vectors are read.
    pub b: *const T,
    pub b_rs: isize,
    pub b_line: isize,
    pub c: *mut T,
    pub c_rs: isize,
    /// Columns of C that exist; at most the width of the tile.
    pub n: usize,
    pub from_c: bool,
    /// Added to each row after the sum, unless null.
    pub row_bias: *const T,
    /// Added to each column likewise.
    pub col_bias: *const T,
    /// The tile of C that comes next, and memory needed soon: one address for each p. They are fetched meanwhile, the latter
    /// into the second-level cache; null for none.
    pub next: *const T,
    pub ahead: *const T,
    pub ahead_step: isize,
    /// The latter with every second step only: memory gives lines no faster, and what waits for it would wait for those.
    /// Packed A.
    pub ahead_half: bool,
    /// The sum is added to what C holds, in the end. No bias, and not `from_c`.
    pub adds: bool,
}

pub(crate) type LineFn<T> = unsafe fn(&LineTile<T>);

impl<T> LineTile<T> {
    /// A tile of nothing, to be filled in.
    pub fn empty() -> Self {
        let null = std::ptr::null();
        Self {
            lines: 1,
            k: 0,
            a: null,
            a_rs: 1,
            a_cs: 0,
            a_line: 0,
            a_starts: std::ptr::null(),
            b: null,
            b_rs: 0,
            b_line: 0,
            c: std::ptr::null_mut(),
            c_rs: 0,
            n: 0,
            from_c: false,
            row_bias: null,
            col_bias: null,
            next: null,
            ahead: null,
            ahead_step: 0,
            ahead_half: false,
            adds: false,
        }
    }
}

impl<T: Copy> LineTile<T> {
    /// These columns of C in `rows` rows, tile by tile. No bias of rows.
    ///
    /// # Safety
    /// All addresses that the fields describe lie in live memory; `kernels` fit the CPU.
    pub unsafe fn column(&self, kernels: &Kernels<T>, rows: usize) {
        let tiles = kernels.line_tiles[(self.a_rs == 1) as usize];
        for (i, some) in Panels::of(rows, tiles.len()).each() {
            let tile = LineTile {
                a: self.a.wrapping_offset(i as isize * self.a_rs),
                c: self.c.wrapping_offset(i as isize * self.c_rs),
                ..*self
            };
            // SAFETY: the caller's promise.
            unsafe { tiles[some - 1][(self.n > kernels.narrow) as usize](&tile) };
        }
    }
}

/// Steps of k ahead of which B's rows are asked for, and a packed A's: a first-level cache of 32 KB does not hold a panel.
const AHEAD: isize = 8;
const AHEAD_A: isize = 16;
/// Rows of a tile whose multiply-adds leave time for so many hints.
const HIGH: usize = 10;
/// Steps that go through a cache line of a row of A.
const LINE: usize = 16;

/// # Safety
/// All addresses that the fields describe lie in live memory, B's to the tile's full width.
#[inline(always)]
pub(crate) unsafe fn line_tile<T: Copy + Default, L: Lanes<T>, const MR: usize, const NV: usize, const PACKED: bool>(
    l: L,
    t: &LineTile<T>,
) {
    const { assert!(MR <= 14) };
    // SAFETY: the caller's promise.
    unsafe {
        let zero = l.splat(T::default());
        let mut acc = [[zero; NV]; MR];
        let left = |v: usize| t.n.saturating_sub(v * L::N);
        if t.from_c {
            for i in 0..MR {
                for v in 0..NV {
                    acc[i][v] = l.load_n(t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N), left(v));
                }
            }
        }
        let a_rs = if PACKED { 1 } else { t.a_rs };
        // What was read a moment ago is as good as nothing.
        let mut ahead = if t.ahead.is_null() { t.a } else { t.ahead };
        let step = if t.ahead.is_null() { 0 } else { t.ahead_step };
        let first_step = if t.ahead_half { 0 } else { step };
        // One row of the next tile after another: all at once would keep B's lines waiting. More where there are few steps.
        let (mut next, mut asked) = (t.next, if t.next.is_null() { MR } else { 0 });
        let at_once = match t.lines * (t.k / 2) {
            asks if asks >= MR => 1,
            asks => MR.div_ceil(asks.max(1)),
        };
        // Of short lines the next tile's columns.
        let b_ahead = match t.k as isize >= AHEAD || t.b_line == t.k as isize * t.b_rs {
            true => AHEAD * t.b_rs,
            false => (NV * L::N) as isize,
        };
        for line in 0..t.lines as isize {
            let mut b = t.b.wrapping_offset(line * t.b_line);
            // Rows of A in threes, with one address each: the others are those plus a row or two.
            let start = match t.a_starts.is_null() {
                true => line * t.a_line,
                false => *t.a_starts.offset(line),
            };
            let mut p0 = t.a.wrapping_offset(start);
            let (mut p1, mut p2) = (p0.wrapping_offset(3 * a_rs), p0.wrapping_offset(6 * a_rs));
            let (mut p3, mut p4) = (p0.wrapping_offset(9 * a_rs), p0.wrapping_offset(12 * a_rs));
            macro_rules! row {
                ($u:ident $row:ident: $($i:literal = $p:ident + $o:literal),*) => {$(
                    if $i < MR {
                        let at = if PACKED { p0.wrapping_add($i) } else { $p.wrapping_offset($o * a_rs).wrapping_add($u) };
                        let x = l.splat(*at);
                        for v in 0..NV {
                            acc[$i][v] = l.fma(x, $row[v], acc[$i][v]);
                        }
                    }
                )*};
            }
            // A step of k, its elements of A `$u` behind the addresses; `$far` is what is asked for of A, `$step` how far to
            // go on in memory that is needed soon.
            macro_rules! multiply {
                ($u:expr, $far:expr, $step:expr) => {{
                    let u: usize = $u;
                    let mut row = [zero; NV];
                    for v in 0..NV {
                        let at = b.wrapping_add(v * L::N);
                        row[v] = l.load(at);
                        if v * L::N * size_of::<T>() % 64 == 0 {
                            l.prefetch(at.wrapping_offset(b_ahead));
                        }
                    }
                    if MR >= HIGH {
                        l.prefetch($far);
                    }
                    l.prefetch_far(ahead);
                    ahead = opaque(ahead.wrapping_offset($step));
                    b = opaque(b.wrapping_offset(t.b_rs));
                    row!(u row: 0 = p0 + 0, 1 = p0 + 1, 2 = p0 + 2, 3 = p1 + 0, 4 = p1 + 1, 5 = p1 + 2, 6 = p2 + 0,
                        7 = p2 + 1, 8 = p2 + 2, 9 = p3 + 0, 10 = p3 + 1, 11 = p3 + 2, 12 = p4 + 0, 13 = p4 + 1);
                }};
            }
            macro_rules! advance {
                ($by:expr) => {
                    p0 = p0.wrapping_offset($by);
                    if !PACKED {
                        p1 = p1.wrapping_offset($by);
                        p2 = p2.wrapping_offset($by);
                        p3 = p3.wrapping_offset($by);
                        p4 = p4.wrapping_offset($by);
                    }
                };
            }
            macro_rules! hold {
                () => {
                    p0 = opaque(p0);
                    if !PACKED && MR > 3 {
                        p1 = opaque(p1);
                    }
                    if !PACKED && MR > 6 {
                        p2 = opaque(p2);
                    }
                    if !PACKED && MR > 9 {
                        p3 = opaque(p3);
                    }
                    if !PACKED && MR > 12 {
                        p4 = opaque(p4);
                    }
                };
            }
            macro_rules! ask {
                () => {
                    if asked < MR {
                        for _ in 0..at_once {
                            for v in 0..NV {
                                if v * L::N * size_of::<T>() % 64 == 0 {
                                    l.prefetch_write(next.wrapping_add(v * L::N));
                                }
                            }
                            next = next.wrapping_offset(t.c_rs);
                        }
                        asked += at_once;
                    }
                };
            }
            // Rows far apart are an image's, which memory gives later.
            let next_line = if a_rs.unsigned_abs() * size_of::<T>() > 4096 {
                128
            } else {
                64
            };
            let mut steps = t.k;
            if !PACKED && t.a_cs == 1 {
                while steps >= LINE {
                    // The next line of each row, one with each step.
                    let mut far = p0.wrapping_byte_add(next_line);
                    for _ in 0..LINE / 4 {
                        hold!();
                        ask!();
                        multiply!(0, far, step);
                        far = opaque(far.wrapping_offset(a_rs));
                        multiply!(1, far, step);
                        far = opaque(far.wrapping_offset(a_rs));
                        multiply!(2, far, step);
                        far = opaque(far.wrapping_offset(a_rs));
                        multiply!(3, far, step);
                        far = opaque(far.wrapping_offset(a_rs));
                        advance!(4);
                    }
                    steps -= LINE;
                }
                while steps > 0 {
                    hold!();
                    multiply!(0, p0, step);
                    advance!(1);
                    steps -= 1;
                }
                continue;
            }
            let far = AHEAD_A * t.a_cs;
            while steps >= 2 {
                hold!();
                ask!();
                multiply!(0, p0.wrapping_offset(far), first_step);
                advance!(t.a_cs);
                multiply!(0, p0.wrapping_offset(far), step);
                advance!(t.a_cs);
                steps -= 2;
            }
            if steps > 0 {
                hold!();
                multiply!(0, p0.wrapping_offset(far), step);
            }
        }
        if !t.row_bias.is_null() {
            for i in 0..MR {
                let bias = l.splat(*t.row_bias.add(i));
                for v in 0..NV {
                    acc[i][v] = l.add(acc[i][v], bias);
                }
            }
        }
        if !t.col_bias.is_null() {
            for v in 0..NV {
                let bias = l.load_n(t.col_bias.wrapping_add(v * L::N), left(v));
                for i in 0..MR {
                    acc[i][v] = l.add(acc[i][v], bias);
                }
            }
        }
        if t.adds {
            for i in 0..MR {
                for v in 0..NV {
                    let to = t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N);
                    acc[i][v] = l.add(l.load_n(to, left(v)), acc[i][v]);
                }
            }
        }
        for i in 0..MR {
            for v in 0..NV {
                let to = t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N);
                l.store_n(to, acc[i][v], left(v));
            }
        }
    }
}

/// Writes `len` elements two apart.
///
/// # Safety
/// Both sides lie in live memory.
#[inline(always)]
pub(crate) unsafe fn spread_line<T: Copy, L: Lanes<T>>(l: L, src: *const T, len: usize, dst: *mut T) {
    for at in (0..len).step_by(L::N) {
        let left = len - at;
        // SAFETY: the caller's promise; the other elements are not touched.
        unsafe {
            let v = l.load_n(src.wrapping_add(at), left);
            l.store_even(dst.wrapping_add(2 * at), v, l.even(0, left.min(L::N)));
        }
    }
}
