//! Products of float16 and bfloat16 by float32's tiles. Each thread widens what it packs: a widened copy of the operands
//! would be written by one core and read by another, which takes longer than the widening.

use super::ahead::Runs;
use super::epilogue::{Summand, pointer};
use super::pack::{PackArgs, pack_a, panel_width};
use super::packed::{Operands, Panels};
use super::{Epilogue, Gemm, HasProducts, Products, batch_offset};
use crate::dtype::{DType, Element};
use crate::elementwise::convert::{Load, Rect, loader};
use crate::scratch;
use crate::simd::isa;
use crate::view::{Dst, Src};
use std::ops::Range;

/// Least rows, columns and k: below, a product may have another order of additions (`Order`), or is not worth it.
const LEAST: usize = 256;
/// Elements that are widened at a time lie in the first-level cache: so many neighbours, of so many lines.
const NEAR: usize = 128;
const LINES: usize = 32;
/// What packing may read behind an operand.
const SLACK: usize = 64;

/// Whether [`matmul_widened`] is for products of this size.
pub fn widens([m, n, k]: [usize; 3]) -> bool {
    m.min(n).min(k) >= LEAST
}

/// One matrix: address, bytes of an element, strides of row and column.
struct Side {
    at: *const u8,
    size: usize,
    strides: [isize; 2],
}

impl Side {
    fn new<S>(v: &Src<S>, shape: &[usize], index: usize) -> Self {
        let d = shape.len();
        Self {
            at: v.ptr().wrapping_offset(batch_offset(shape, v.strides(), index)).cast(),
            size: size_of::<S>(),
            strides: [v.strides()[d], v.strides()[d + 1]],
        }
    }

    /// Calls `f` with a part of the matrix in float32 and its strides: dims lie in the same order.
    ///
    /// # Safety
    /// The part lies in live memory; `load` is for its dtype.
    unsafe fn widened(
        &self,
        load: Load,
        rows: Range<usize>,
        cols: Range<usize>,
        f: impl FnOnce(*const f32, [isize; 2]),
    ) {
        let [rs, cs] = self.strides;
        let first = (rows.start as isize * rs + cols.start as isize * cs) * self.size as isize;
        let (m, n) = (rows.len(), cols.len());
        let upright = rs.unsigned_abs() < cs.unsigned_abs();
        let ((rows, row_stride), (cols, col_stride)) = if upright {
            ((n, cs), (m, rs))
        } else {
            ((m, rs), (n, cs))
        };
        let rect = Rect {
            rows,
            row_stride,
            cols,
            col_stride,
        };
        // One vector more, so that lines can begin at cache lines.
        scratch::with(m * n + SLACK + 16, |near: &mut [f32]| {
            let near = near.as_mut_ptr();
            let near = near.wrapping_add(near.align_offset(64));
            // SAFETY: the caller's promise; the buffer holds the part.
            unsafe { load(self.at.wrapping_offset(first), rect, near.cast()) };
            f(near, if upright { [1, m as isize] } else { [n as isize, 1] });
        });
    }
}

impl Side {
    fn runs(&self, rows: Range<usize>, cols: Range<usize>) -> Runs {
        let [rs, cs] = self.strides;
        let first = (rows.start as isize * rs + cols.start as isize * cs) * self.size as isize;
        Runs::of(
            self.at.wrapping_offset(first),
            self.size,
            [rows.len(), cols.len()],
            self.strides,
        )
    }
}

struct Widened {
    a: Side,
    b: Side,
    load: Load,
}
// SAFETY: addresses of what is only read.
unsafe impl Sync for Widened {}

impl Operands<f32> for Widened {
    unsafe fn pack_a(&self, kernels: &Products<f32>, rows: Range<usize>, ks: Range<usize>, dst: *mut f32) {
        let (m, k) = (rows.len(), ks.len());
        let [rs, cs] = self.a.strides;
        if rs.unsigned_abs() < cs.unsigned_abs() {
            // SAFETY: the caller's promise. So below.
            return unsafe {
                self.a
                    .widened(self.load, rows, ks, |a, [rs, cs]| pack_a(kernels, a, rs, cs, m, k, dst))
            };
        }
        for (i, height) in Panels::of(m, kernels.tiles.len()).each() {
            for p in (0..k).step_by(NEAR) {
                let some = NEAR.min(k - p);
                let (lines, near) = (rows.start + i, ks.start + p);
                let dst = dst.wrapping_add(i * k + p * height);
                // SAFETY: as above; what is behind a piece is packed after it.
                unsafe {
                    self.a
                        .widened(self.load, lines..lines + height, near..near + some, |src, strides| {
                            pack_piece(kernels, src, strides, [height, height, some], dst)
                        });
                }
            }
        }
    }

    unsafe fn pack_b(&self, kernels: &Products<f32>, cols: Range<usize>, ks: Range<usize>, dst: *mut f32) {
        let (n, k, nr) = (cols.len(), ks.len(), kernels.nr);
        let [rs, cs] = self.b.strides;
        let (wide, deep) = match rs.unsigned_abs() < cs.unsigned_abs() {
            true => (LINES.next_multiple_of(nr), NEAR),
            false => (NEAR.next_multiple_of(nr), LINES),
        };
        for from in (0..n).step_by(wide) {
            let here = wide.min(n - from);
            for p in (0..k).step_by(deep) {
                let some = deep.min(k - p);
                let (near, lines) = (ks.start + p, cols.start + from);
                // SAFETY: as above; panels are as wide as vectors, so nothing is written behind them.
                unsafe {
                    self.b
                        .widened(self.load, near..near + some, lines..lines + here, |src, [rs, cs]| {
                            for j in (0..here).step_by(nr) {
                                let lines = nr.min(here - j);
                                let width = panel_width(kernels, lines);
                                let dst = dst.wrapping_add((from + j) * k + p * width);
                                let src = src.wrapping_offset(j as isize * cs);
                                pack_piece(kernels, src, [cs, rs], [lines, width, some], dst);
                            }
                        });
                }
            }
        }
    }

    fn rows_stay(&self, _kernels: &Products<f32>) -> bool {
        false
    }

    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs {
        self.a.runs(rows, ks)
    }

    fn runs_b(&self, cols: Range<usize>, ks: Range<usize>) -> Runs {
        self.b.runs(ks, cols)
    }
}

/// Packs `k` elements of each of some lines, `width` side by side; strides of lines and of k.
///
/// # Safety
/// As for what it calls.
unsafe fn pack_piece(
    kernels: &Products<f32>,
    src: *const f32,
    [line_stride, k_stride]: [isize; 2],
    [lines, width, k]: [usize; 3],
    dst: *mut f32,
) {
    let args = PackArgs {
        src,
        line_stride,
        k_stride,
        lines,
        width,
        k,
        dst,
    };
    // SAFETY: the caller's promise.
    unsafe { (kernels.pack)(&args) };
}

/// [`super::matmul`] of float16 or bfloat16 into float32, for sizes that [`widens`] accepts: the same bits as of widened
/// operands.
pub fn matmul_widened<S: Element>(a: Src<S>, b: Src<S>, c: Dst<f32>, ep: Epilogue<f32>) {
    let d = c.rank() - 2;
    let (m, n, k) = (c.shape()[d], c.shape()[d + 1], a.shape()[d + 1]);
    assert!(widens([m, n, k]));
    let shape = &c.shape()[..d];
    let (row_bias, col_bias) = ep.bias.vectors(m, n);
    for i in 0..shape.iter().product() {
        let offset = |strides: &[isize]| batch_offset(shape, strides, i);
        let g = Gemm {
            m,
            n,
            k,
            c: c.ptr().wrapping_offset(offset(c.strides())),
            c_rs: c.strides()[d],
            c_cs: c.strides()[d + 1],
            from_c: ep.accumulate,
            plus: ep
                .plus
                .map_or(Summand::none(0.0), |p| p.summand().moved(offset(p.of.strides()))),
            row_bias: pointer(&row_bias),
            col_bias: pointer(&col_bias),
            relu: ep.relu,
            ..Gemm::empty()
        };
        let operands = Widened {
            a: Side::new(&a, shape, i),
            b: Side::new(&b, shape, i),
            load: loader(S::DTYPE, DType::F32),
        };
        // SAFETY: views promise that what their shapes span is live; the kernels fit the CPU.
        unsafe { g.run_with(&operands, f32::products(isa())) };
    }
}
