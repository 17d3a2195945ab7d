//! Products of float16 and bfloat16 by float32's tiles. Each thread widens what it packs: a widened copy of the operands
//! would be written by one core and read by another, which takes longer than the widening.

use super::ahead::Runs;
use super::epilogue::{Summand, pointer};
use super::packed::{Operands, pack_a, pack_b};
use super::{Epilogue, Gemm, HasProducts, Products, batch_offset};
use crate::dtype::{DType, Element};
use crate::elementwise::convert::{Load, Rect, loader};
use crate::scratch;
use crate::simd::isa;
use crate::view::{Dst, Src};
use std::ops::Range;

/// Least rows, columns and k: below, a product may have another order of additions (`Order`), or is not worth it.
const LEAST: usize = 256;
/// Columns of B that are widened at a time.
const COLS: usize = 128;
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
        scratch::with(m * n + SLACK, |near: &mut [f32]| {
            // SAFETY: the caller's promise; the buffer holds the part.
            unsafe { load(self.at.wrapping_offset(first), rect, near.as_mut_ptr().cast()) };
            f(near.as_ptr(), if upright { [1, m as isize] } else { [n as isize, 1] });
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
        // SAFETY: the caller's promise. So below.
        unsafe {
            self.a
                .widened(self.load, rows, ks, |a, [rs, cs]| pack_a(kernels, a, rs, cs, m, k, dst));
        }
    }

    unsafe fn pack_b(&self, kernels: &Products<f32>, cols: Range<usize>, ks: Range<usize>, dst: *mut f32) {
        let k = ks.len();
        let step = COLS.next_multiple_of(kernels.nr);
        for from in cols.clone().step_by(step) {
            let some = from..cols.end.min(from + step);
            let (n, to) = (some.len(), dst.wrapping_add((from - cols.start) * k));
            // SAFETY: as above.
            unsafe {
                self.b.widened(self.load, ks.clone(), some, |b, [rs, cs]| {
                    pack_b(kernels, b, rs, cs, k, n, to)
                });
            }
        }
    }

    fn rows_stay(&self) -> bool {
        false
    }

    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs {
        self.a.runs(rows, ks)
    }

    fn runs_b(&self, cols: Range<usize>, ks: Range<usize>) -> Runs {
        self.b.runs(ks, cols)
    }
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
