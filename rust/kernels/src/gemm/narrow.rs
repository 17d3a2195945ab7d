//! Products of narrow numbers with a wide sum: bfloat16 into float32, 8-bit integers into 32-bit ones.
//!
//! Elements that follow each other in k are put together into one of 32 bits; then the packing, blocking and tiles of
//! float32 products do the work, with an instruction that multiplies all of them at once ([`crate::simd::dot`]).

use super::{Epilogue, Plus, batch_offset, product};
#[cfg(target_arch = "x86_64")]
use super::{
    Gemm,
    epilogue::{Summand, pointer},
    pairs, words,
};
use crate::dtype::bf16;
use crate::simd::{Isa, isa};
use crate::view::{Dst, Src};

#[cfg(target_arch = "x86_64")]
mod tables {
    use super::super::few::{FewArgs, few, few_turned};
    use super::super::micro::{Products, Tile, dots, finish, products, tile};
    use super::super::pack::{PackArgs, pack};
    use super::super::thin::{ThinArgs, thin};
    use crate::simd::dot::{Bf16Dot, ByteDot, PairDot};
    use crate::simd::vec::Lanes;
    use std::num::Wrapping;

    products!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c,avx512bf16")]
        bf16_dot, f32, Bf16Dot, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
    products!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c,avx512vnni")]
        byte_dot, Wrapping<i32>, ByteDot, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
    products!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
        pair_dot, Wrapping<i32>, PairDot, [1 2 3 4 5 6] x 2, [1 2 3 4] x 2);
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
        for i in 0..batch {
            let g = Gemm {
                m,
                n,
                k: k.div_ceil(2),
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
            let (left, right) = (words::Side::new(&a, shape, i), words::Side::new(&b, shape, i).turned());
            let operands = words::Words::new(left, right, k);
            // SAFETY: views promise that what their shapes span is live; the CPU has the instruction.
            unsafe { g.run_with(&operands, &tables::bf16_dot::Table::<false>::PRODUCTS) };
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
fn stack(isa: Isa, shape: &[usize], [m, k, n]: [usize; 3], x: &[f32], y: &[f32], c: Dst<f32>, ep: Epilogue<f32>) {
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
    bytes(isa(), a, b, c);
}

/// The same on an instruction set that the CPU has.
pub fn bytes(isa: Isa, a: Src<i8>, b: Src<i8>, c: Dst<i32>) {
    let (m, n, k) = (c.shape()[0], c.shape()[1], a.shape()[1]);
    let (c_rs, c_cs) = (c.strides()[0], c.strides()[1]);
    let at = |i: usize, j: usize| c.ptr().wrapping_offset(i as isize * c_rs + j as isize * c_cs);
    let ((x, x_rs, x_cs), (y, y_rs, y_cs)) = (matrix(&a, &[], 0), matrix(&b, &[], 0));
    if c.numel() == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if crate::simd::dot::has_byte_dot(isa) && k > 0 {
        // The instruction takes one side as unsigned: 128 is added to it, and 128 times the other's sums taken off.
        let (left, right) = (words::Side::new(&a, &[], 0), words::Side::new(&b, &[], 0).turned());
        // SAFETY: views promise that what their shapes span is live; the CPU has the instructions.
        let offsets = unsafe { words::offsets(&right, n, k) };
        let operands = words::Words::new(left, right, k).unsigned();
        let g = Gemm {
            m,
            n,
            k: k.div_ceil(4),
            c: c.ptr().cast::<std::num::Wrapping<i32>>(),
            c_rs,
            c_cs,
            col_bias: offsets.as_ptr().cast(),
            ..Gemm::empty()
        };
        // SAFETY: as above.
        return unsafe { g.run_with(&operands, &tables::byte_dot::Table::<false>::PRODUCTS) };
    }
    #[cfg(target_arch = "x86_64")]
    if crate::simd::dot::has_pair_dot(isa) && k > 0 {
        let g = Gemm {
            m,
            n,
            k: k.div_ceil(2),
            c: c.ptr().cast::<std::num::Wrapping<i32>>(),
            c_rs,
            c_cs,
            ..Gemm::empty()
        };
        // SAFETY: as above.
        return unsafe {
            g.run_with(
                &pairs::Pairs::new(&a, &b, k),
                &tables::pair_dot::Table::<false>::PRODUCTS,
            )
        };
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
        stack(isa, &[], [m, depth, n], &left, &right, to, Epilogue::default());
        for (index, &v) in part.iter().enumerate() {
            // SAFETY: as above.
            unsafe { *at(index / n, index % n) = (*at(index / n, index % n)).wrapping_add(v as i32) };
        }
    }
}
