//! The register tile of the convolutions: a product whose k runs over lines of an image, so that an operand may be read
//! where it lies, line by line.

#![allow(
    clippy::needless_range_loop,
    reason = "indices over registers, unrolled by the compiler, read best as such"
)]

use crate::simd::vec::Lanes;

/// `c[i][j] = (from_c ? c[i][j] : 0) + sum over lines and p of a[i][line][p] * b[line][p][j]`, in order, then the bias.
pub(crate) struct LineTile<T> {
    pub lines: usize,
    pub k: usize,
    /// Strides of row, p and line. A packed A has its rows interleaved, its lines one after another.
    pub a: *const T,
    pub a_rs: isize,
    pub a_cs: isize,
    pub a_line: isize,
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
    /// The tile of C that comes next, and memory needed soon: one address for each p. They are fetched meanwhile; null
    /// for none.
    pub next: *const T,
    pub ahead: *const T,
    pub ahead_step: isize,
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
            b: null,
            b_rs: 0,
            b_line: 0,
            c: std::ptr::null_mut(),
            c_rs: 0,
            n: 0,
            from_c: false,
            row_bias: null,
            next: null,
            ahead: null,
            ahead_step: 0,
        }
    }
}

/// # Safety
/// All addresses that the fields describe lie in live memory, B's to the tile's full width.
#[inline(always)]
pub(crate) unsafe fn line_tile<T: Copy + Default, L: Lanes<T>, const MR: usize, const NV: usize, const PACKED: bool>(
    l: L,
    t: &LineTile<T>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if !t.next.is_null() {
            for i in 0..MR {
                for v in 0..NV {
                    l.prefetch(t.next.wrapping_offset(i as isize * t.c_rs).wrapping_add(v * L::N));
                }
            }
        }
        let mut acc = [[l.splat(T::default()); NV]; MR];
        let left = |v: usize| t.n.saturating_sub(v * L::N);
        if t.from_c {
            for i in 0..MR {
                for v in 0..NV {
                    acc[i][v] = l.load_n(t.c.offset(i as isize * t.c_rs).wrapping_add(v * L::N), left(v));
                }
            }
        }
        let (a_rs, a_cs) = if PACKED { (1, MR as isize) } else { (t.a_rs, t.a_cs) };
        // What was read a moment ago is as good as nothing.
        let mut ahead = if t.ahead.is_null() { t.a } else { t.ahead };
        let step = if t.ahead.is_null() { 0 } else { t.ahead_step };
        for line in 0..t.lines as isize {
            let (mut a, mut b) = (
                t.a.wrapping_offset(line * t.a_line),
                t.b.wrapping_offset(line * t.b_line),
            );
            for _ in 0..t.k {
                l.prefetch(ahead);
                ahead = ahead.wrapping_offset(step);
                let mut row = [l.splat(T::default()); NV];
                for v in 0..NV {
                    row[v] = l.load(b.wrapping_add(v * L::N));
                }
                for i in 0..MR {
                    let x = l.splat(*a.offset(i as isize * a_rs));
                    for v in 0..NV {
                        acc[i][v] = l.fma(x, row[v], acc[i][v]);
                    }
                }
                a = a.wrapping_offset(a_cs);
                b = b.wrapping_offset(t.b_rs);
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
