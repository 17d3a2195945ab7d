//! Products of narrow numbers with a wide sum: bfloat16 into float32, 8-bit integers into 32-bit ones.
//!
//! Elements that follow each other in k are put together into one of 32 bits; then the packing, blocking and tiles of
//! float32 products do the work, with an instruction that multiplies all of them at once ([`crate::simd::dot`]).

use super::epilogue::{Summand, pointer};
use super::{Epilogue, Gemm, Plus, batch_offset, product};
use crate::dtype::bf16;
use crate::simd::isa;
use crate::view::{Dst, Src};

#[cfg(target_arch = "x86_64")]
mod tables {
    use super::super::micro::{Products, Tile, dot, finish, products, tile};
    use super::super::pack::{PackArgs, pack};
    use crate::simd::dot::{Bf16Dot, ByteDot};
    use crate::simd::vec::Lanes;
    use std::num::Wrapping;

    products!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c,avx512bf16")]
        bf16_dot, f32, Bf16Dot, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
    products!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c,avx512vnni")]
        byte_dot, Wrapping<i32>, ByteDot, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
}

/// A narrow element as bits of a wide one.
trait Part: Copy {
    const BITS: usize;
    fn bits(self) -> u32;
}
impl Part for bf16 {
    const BITS: usize = 16;
    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits() as u32
    }
}
impl Part for i8 {
    const BITS: usize = 8;
    #[inline(always)]
    fn bits(self) -> u32 {
        self as u8 as u32
    }
}

crate::multiversion! {
    fn put<T: Part>(out: &mut [u32], line: &[T], shift: usize) {
        for (o, v) in out.iter_mut().zip(line) {
            *o |= v.bits() << shift;
        }
    }
}

crate::multiversion! {
    fn add_bytes(sums: &mut [i32], line: &[i8]) {
        for (sum, &v) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(v as i32);
        }
    }
}

crate::multiversion! {
    fn sum_of_bytes(line: &[i8]) -> i32 {
        line.iter().fold(0i32, |sum, &v| sum.wrapping_add(v as i32))
    }
}

/// An operand with its elements put together along k: lines of it, and the strides of line and (wide) k.
struct Joined {
    /// Keeps the elements; empty when the operand itself reads as such.
    _data: Vec<u32>,
    start: *const u32,
    line_stride: isize,
    k_stride: isize,
}

impl Joined {
    /// # Safety
    /// All elements lie in live memory.
    unsafe fn new<T: Part>(src: *const T, lines: usize, line_stride: isize, k: usize, k_stride: isize) -> Self {
        let parts = 32 / T::BITS;
        let whole = line_stride.unsigned_abs().is_multiple_of(parts) && k.is_multiple_of(parts);
        if k_stride == 1 && whole && src.addr().is_multiple_of(4) && cfg!(target_endian = "little") {
            return Self {
                _data: Vec::new(),
                start: src.cast(),
                line_stride: line_stride / parts as isize,
                k_stride: 1,
            };
        }
        // SAFETY: the caller's promise.
        unsafe { Self::copy(src, lines, line_stride, k, k_stride, 0) }
    }

    /// [`Joined::new`] in memory of its own, with the bits of `flip` turned over.
    ///
    /// # Safety
    /// As for `new`.
    unsafe fn copy<T: Part>(
        src: *const T,
        lines: usize,
        line_stride: isize,
        k: usize,
        k_stride: isize,
        flip: u32,
    ) -> Self {
        let parts = 32 / T::BITS;
        let wide = k.div_ceil(parts);
        let mut data = vec![0u32; lines * wide];
        if k_stride == 1 {
            for (i, out) in data.chunks_mut(wide.max(1)).enumerate() {
                let line = src.wrapping_offset(i as isize * line_stride);
                // SAFETY: the caller's promise; `out` has room for k elements. The first of them are the low bits: the
                // processors with these instructions are little-endian.
                unsafe { std::ptr::copy_nonoverlapping(line, out.as_mut_ptr().cast(), k) };
            }
            data.iter_mut().for_each(|v| *v ^= flip);
            return Self {
                start: data.as_ptr(),
                _data: data,
                line_stride: wide as isize,
                k_stride: 1,
            };
        }
        for p in 0..k {
            let (out, shift) = (&mut data[p / parts * lines..][..lines], p % parts * T::BITS);
            let from = src.wrapping_offset(p as isize * k_stride);
            if line_stride == 1 {
                // SAFETY: the caller's promise.
                put(out, unsafe { std::slice::from_raw_parts(from, lines) }, shift);
            } else {
                for (i, o) in out.iter_mut().enumerate() {
                    // SAFETY: as above.
                    *o |= unsafe { *from.wrapping_offset(i as isize * line_stride) }.bits() << shift;
                }
            }
        }
        data.iter_mut().for_each(|v| *v ^= flip);
        Self {
            start: data.as_ptr(),
            _data: data,
            line_stride: 1,
            k_stride: lines as isize,
        }
    }
}

/// Where one of a stack's matrices begins, and its strides.
fn matrix<T>(v: &Src<T>, shape: &[usize], index: usize) -> (*const T, isize, isize) {
    let d = shape.len();
    let at = v.ptr().wrapping_offset(batch_offset(shape, v.strides(), index));
    (at, v.strides()[d], v.strides()[d + 1])
}

/// Whether [`matmul_bf16`] has an instruction for it on this CPU.
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        crate::simd::dot::has_bf16_dot()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// [`super::matmul`] of bfloat16 into float32. Where [`has_bf16`], sums are those of the processor's instruction, which
/// are not the same bits as elsewhere; else operands are widened.
pub fn matmul_bf16(a: Src<bf16>, b: Src<bf16>, c: Dst<f32>, ep: Epilogue<f32>) {
    let d = c.rank() - 2;
    let (m, n, k) = (c.shape()[d], c.shape()[d + 1], a.shape()[d + 1]);
    let shape = &c.shape()[..d];
    let batch: usize = shape.iter().product();
    #[cfg(target_arch = "x86_64")]
    if has_bf16() && k > 0 && c.numel() > 0 {
        let (row_bias, col_bias) = ep.bias.vectors(m, n);
        let mut right: Option<(*const bf16, Joined)> = None;
        for i in 0..batch {
            let ((x, x_rs, x_cs), (y, y_rs, y_cs)) = (matrix(&a, shape, i), matrix(&b, shape, i));
            // SAFETY: views promise that what their shapes span is live.
            let left = unsafe { Joined::new(x, m, x_rs, k, x_cs) };
            if right.as_ref().is_none_or(|(at, _)| *at != y) {
                // SAFETY: as above.
                right = Some((y, unsafe { Joined::new(y, n, y_cs, k, y_rs) }));
            }
            let Some((_, right)) = &right else { continue };
            let g = Gemm {
                m,
                n,
                k: k.div_ceil(2),
                a: left.start.cast(),
                a_rs: left.line_stride,
                a_cs: left.k_stride,
                b: right.start.cast(),
                b_rs: right.k_stride,
                b_cs: right.line_stride,
                c: c.ptr().wrapping_offset(batch_offset(shape, c.strides(), i)),
                c_rs: c.strides()[d],
                c_cs: c.strides()[d + 1],
                from_c: ep.accumulate,
                plus: ep.plus.map_or(Summand::none(0.0), |p| {
                    p.summand().moved(batch_offset(shape, p.of.strides(), i))
                }),
                row_bias: pointer(&row_bias),
                col_bias: pointer(&col_bias),
                relu: ep.relu,
                ..Gemm::empty()
            };
            // SAFETY: as above; the CPU has the instruction.
            unsafe { g.run(&tables::bf16_dot::TABLE) };
        }
        return;
    }
    let widen = |v: &Src<bf16>, lines: usize, wide: usize| -> Vec<f32> {
        let mut all = Vec::with_capacity(batch * lines * wide);
        for index in 0..batch {
            let (p, rs, cs) = matrix(v, shape, index);
            for (i, j) in (0..lines as isize).flat_map(|i| (0..wide as isize).map(move |j| (i, j))) {
                // SAFETY: as above.
                all.push(unsafe { *p.wrapping_offset(i * rs + j * cs) }.to_f32());
            }
        }
        all
    };
    let (x, y) = (widen(&a, m, k), widen(&b, k, n));
    stack(isa(), shape, [m, k, n], &x, &y, c, ep);
}

/// The product of row-major stacks.
fn stack(
    isa: crate::simd::Isa,
    shape: &[usize],
    [m, k, n]: [usize; 3],
    x: &[f32],
    y: &[f32],
    c: Dst<f32>,
    ep: Epilogue<f32>,
) {
    let batch: usize = shape.iter().product();
    let d = shape.len();
    for i in 0..batch {
        let ends = [c.strides()[d], c.strides()[d + 1]];
        let to = c.ptr().wrapping_offset(batch_offset(shape, c.strides(), i));
        // SAFETY: the slices hold all matrices; C is the caller's view.
        unsafe {
            let a = Src::new(x[i * m * k..].as_ptr(), &[m, k], &[k as isize, 1]);
            let b = Src::new(y[i * k * n..].as_ptr(), &[k, n], &[n as isize, 1]);
            let plus = ep.plus.map(|p| Plus {
                of: Src::new(
                    p.of.ptr().wrapping_offset(batch_offset(shape, p.of.strides(), i)),
                    &[m, n],
                    &p.of.strides()[d..],
                ),
                ..p
            });
            product(isa, a, b, Dst::new(to, &[m, n], &ends), Epilogue { plus, ..ep });
        }
    }
}

/// `c = a @ b` for matrices of 8-bit integers; sums are 32 bits wide and wrap. Exact, so the same bits everywhere.
pub fn matmul_i8(a: Src<i8>, b: Src<i8>, c: Dst<i32>) {
    let (m, n, k) = (c.shape()[0], c.shape()[1], a.shape()[1]);
    let (c_rs, c_cs) = (c.strides()[0], c.strides()[1]);
    let at = |i: usize, j: usize| c.ptr().wrapping_offset(i as isize * c_rs + j as isize * c_cs);
    let ((x, x_rs, x_cs), (y, y_rs, y_cs)) = (matrix(&a, &[], 0), matrix(&b, &[], 0));
    if c.numel() == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if crate::simd::dot::has_byte_dot() && k > 0 {
        // SAFETY: views promise that what their shapes span is live; so below.
        let right = unsafe { Joined::new(y, n, y_cs, k, y_rs) };
        // The instruction takes one side as unsigned: 128 is added to it, and 128 times the other's sums taken off.
        // SAFETY: as above.
        let left = unsafe { Joined::copy(x, m, x_rs, k, x_cs, 0x8080_8080) };
        let quads = k.div_ceil(4);
        let mut sums = vec![0i32; n];
        // SAFETY: as above.
        unsafe {
            match (y_rs, y_cs) {
                (_, 1) => (0..k as isize)
                    .for_each(|p| add_bytes(&mut sums, std::slice::from_raw_parts(y.wrapping_offset(p * y_rs), n))),
                (1, _) => (0..n).for_each(|j| {
                    sums[j] = sum_of_bytes(std::slice::from_raw_parts(y.wrapping_offset(j as isize * y_cs), k));
                }),
                _ => (0..k * n).for_each(|i| {
                    let (p, j) = (i / n, i % n);
                    sums[j] += *y.wrapping_offset(p as isize * y_rs + j as isize * y_cs) as i32;
                }),
            }
        }
        sums.iter_mut().for_each(|sum| *sum = sum.wrapping_mul(-128));
        for i in 0..m {
            for (j, &sum) in sums.iter().enumerate() {
                // SAFETY: as above.
                unsafe { *at(i, j) = sum };
            }
        }
        let g = Gemm {
            m,
            n,
            k: quads,
            a: left.start.cast(),
            a_rs: left.line_stride,
            a_cs: left.k_stride,
            b: right.start.cast(),
            b_rs: right.k_stride,
            b_cs: right.line_stride,
            c: c.ptr().cast(),
            c_rs,
            c_cs,
            from_c: true,
            ..Gemm::empty()
        };
        // SAFETY: as above; the CPU has the instruction.
        return unsafe { g.run(&tables::byte_dot::TABLE) };
    }
    // Sums of 512 products stay below 2^24: float32 holds them exactly.
    const EXACT: usize = 512;
    let mut part = vec![0f32; m * n];
    for i in 0..m {
        // SAFETY: as above.
        (0..n).for_each(|j| unsafe { *at(i, j) = 0 });
    }
    for p in (0..k).step_by(EXACT) {
        let depth = EXACT.min(k - p);
        let index =
            |rows: usize, cols: usize| (0..rows).flat_map(move |i| (0..cols).map(move |j| (i as isize, j as isize)));
        let (x, y) = (
            x.wrapping_offset(p as isize * x_cs),
            y.wrapping_offset(p as isize * y_rs),
        );
        // SAFETY: as above.
        let (left, right): (Vec<f32>, Vec<f32>) = unsafe {
            (
                index(m, depth)
                    .map(|(i, j)| *x.wrapping_offset(i * x_rs + j * x_cs) as f32)
                    .collect(),
                index(depth, n)
                    .map(|(i, j)| *y.wrapping_offset(i * y_rs + j * y_cs) as f32)
                    .collect(),
            )
        };
        // SAFETY: a view of the whole vector.
        let to = unsafe { Dst::new(part.as_mut_ptr(), &[m, n], &[n as isize, 1]) };
        stack(isa(), &[], [m, depth, n], &left, &right, to, Epilogue::default());
        for (index, &v) in part.iter().enumerate() {
            // SAFETY: as above.
            unsafe { *at(index / n, index % n) = (*at(index / n, index % n)).wrapping_add(v as i32) };
        }
    }
}
