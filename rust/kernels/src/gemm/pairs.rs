//! Packing of bytes as pairs of 16 bits, for processors that multiply two pairs at once ([`crate::simd::dot::PairDot`]) but
//! have no instruction for bytes.

use super::ahead::Runs;
use super::micro::Products;
use super::pack::{PackArgs, panel_width};
use super::packed::{Operands, Panels};
use crate::multiversion;
use crate::simd::Aligned;
use crate::view::Src;
use std::num::Wrapping;
use std::ops::Range;

/// Pairs of a line that are made at a time.
const NEAR: usize = 128;
/// Lines of the highest or widest panel, at most.
const MOST_LINES: usize = 32;

/// One operand: lines (rows of A, columns of B) of bytes along k.
#[derive(Clone, Copy)]
struct Side {
    start: *const i8,
    line_stride: isize,
    k_stride: isize,
}

/// Two matrices of bytes, whose k is counted in pairs.
pub(super) struct Pairs {
    a: Side,
    b: Side,
    /// Bytes along k.
    k: usize,
}
// SAFETY: addresses of what is only read.
unsafe impl Sync for Pairs {}

impl Pairs {
    pub fn new(a: &Src<i8>, b: &Src<i8>, k: usize) -> Self {
        let side = |v: &Src<i8>, line: usize| Side {
            start: v.ptr(),
            line_stride: v.strides()[line],
            k_stride: v.strides()[1 - line],
        };
        Self {
            a: side(a, 0),
            b: side(b, 1),
            k,
        }
    }
}

multiversion! {
    fn widen(bytes: &[i8], to: &mut [i16]) {
        for (to, &v) in to.iter_mut().zip(bytes) {
            *to = v as i16;
        }
    }
}

multiversion! {
    fn join(even: &[i8], odd: &[i8], to: &mut [Wrapping<i32>]) {
        for ((to, &x), &y) in to.iter_mut().zip(even).zip(odd) {
            *to = Wrapping((y as i32) << 16 | x as i32 & 0xffff);
        }
    }
}

impl Side {
    /// Packs `lines` lines from `first` on, `width` side by side, the pairs `ks` of `k` bytes.
    ///
    /// # Safety
    /// They lie in live memory; `dst` holds the panel, and the slack. What lies behind it is overwritten.
    unsafe fn pack(
        &self,
        kernels: &Products<Wrapping<i32>>,
        [first, lines, width]: [usize; 3],
        [ks, k]: [&Range<usize>; 2],
        dst: *mut Wrapping<i32>,
    ) {
        let start = self.start.wrapping_offset(first as isize * self.line_stride);
        let at = |i: usize, p: usize| start.wrapping_offset(i as isize * self.line_stride + p as isize * self.k_stride);
        if self.k_stride == 1 {
            let mut near = Aligned([[Wrapping(0i32); NEAR]; MOST_LINES]);
            for p in ks.clone().step_by(NEAR) {
                let pairs = NEAR.min(ks.end - p);
                let bytes = (k.end - 2 * p).min(2 * pairs);
                for (i, near) in near.iter_mut().enumerate().take(lines) {
                    // SAFETY: the caller's promise; two numbers of 16 bits in each of 32.
                    let (from, to) = unsafe {
                        (
                            std::slice::from_raw_parts(at(i, 2 * p), bytes),
                            std::slice::from_raw_parts_mut(near.as_mut_ptr().cast::<i16>(), 2 * pairs),
                        )
                    };
                    widen(from, to);
                    to[bytes..].fill(0);
                }
                let args = PackArgs {
                    src: near.as_ptr().cast(),
                    line_stride: NEAR as isize,
                    k_stride: 1,
                    lines,
                    width,
                    k: pairs,
                    dst: dst.wrapping_add((p - ks.start) * width),
                };
                // SAFETY: as above; what is behind a piece is packed after it.
                unsafe { (kernels.pack)(&args) };
            }
            return;
        }
        for p in ks.clone() {
            // SAFETY: as above.
            let to = unsafe { std::slice::from_raw_parts_mut(dst.wrapping_add((p - ks.start) * width), width) };
            let two = 2 * p + 1 < k.end;
            if self.line_stride == 1 && two {
                // SAFETY: as above.
                let row = |p: usize| unsafe { std::slice::from_raw_parts(at(0, p), lines) };
                join(row(2 * p), row(2 * p + 1), to);
            } else {
                for (i, to) in to.iter_mut().enumerate().take(lines) {
                    // SAFETY: as above.
                    let (x, y) = unsafe { (*at(i, 2 * p), if two { *at(i, 2 * p + 1) } else { 0 }) };
                    *to = Wrapping((y as i32) << 16 | x as i32 & 0xffff);
                }
            }
            to[lines..].fill(Wrapping(0));
        }
    }

    fn runs(&self, lines: Range<usize>, ks: Range<usize>, k: usize) -> Runs {
        let (from, to) = (2 * ks.start, k.min(2 * ks.end));
        let first = lines.start as isize * self.line_stride + from as isize * self.k_stride;
        let sizes = [lines.len(), to.saturating_sub(from)];
        Runs::of(
            self.start.wrapping_offset(first),
            1,
            sizes,
            [self.line_stride, self.k_stride],
        )
    }
}

impl Operands<Wrapping<i32>> for Pairs {
    unsafe fn pack_a(
        &self,
        kernels: &Products<Wrapping<i32>>,
        rows: Range<usize>,
        ks: Range<usize>,
        dst: *mut Wrapping<i32>,
    ) {
        for (i, height) in Panels::of(rows.len(), kernels.tiles.len()).each() {
            let (sizes, dst) = ([rows.start + i, height, height], dst.wrapping_add(i * ks.len()));
            // SAFETY: the caller's promise. A panel is packed before the one behind it.
            unsafe { self.a.pack(kernels, sizes, [&ks, &(0..self.k)], dst) };
        }
    }

    unsafe fn pack_b(
        &self,
        kernels: &Products<Wrapping<i32>>,
        cols: Range<usize>,
        ks: Range<usize>,
        dst: *mut Wrapping<i32>,
    ) {
        for j in (0..cols.len()).step_by(kernels.nr) {
            let lines = kernels.nr.min(cols.len() - j);
            let (sizes, dst) = (
                [cols.start + j, lines, panel_width(kernels, lines)],
                dst.wrapping_add(j * ks.len()),
            );
            // SAFETY: the caller's promise.
            unsafe { self.b.pack(kernels, sizes, [&ks, &(0..self.k)], dst) };
        }
    }

    fn rows_stay(&self, _kernels: &Products<Wrapping<i32>>) -> bool {
        false
    }

    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs {
        self.a.runs(rows, ks, self.k)
    }

    fn runs_b(&self, cols: Range<usize>, ks: Range<usize>) -> Runs {
        self.b.runs(cols, ks, self.k)
    }
}
