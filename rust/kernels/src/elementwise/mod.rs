//! Elementwise work: copies, conversions, fills, and functions of one to four elements.
//!
//! An op is computed in one of four types (f32, f64, i64, bool). Operands of other dtypes are converted on the way in,
//! results on the way out, a block at a time (light ops of narrow integers and bfloat16 have kernels of their own, see
//! `narrow`); results of predicates and comparisons are truth values. Operands are views of the output's shape (broadcast
//! dims have stride 0) or scalars.
//!
//! ```ignore
//! binary(Binary::Add, DType::F32, Operand::View(a), Operand::Scalar(Scalar::Float(1.0)), out);
//! ```
//! Every function is exact in the sense of "same bits": no result depends on where blocks or threads begin.

mod binary;
pub(crate) mod by_row;
pub(crate) mod convert;
mod copy;
pub(crate) mod division;
pub(crate) mod float;
pub(crate) mod map;
pub(crate) mod math;
pub(crate) mod math64;
pub(crate) mod narrow;
pub(crate) mod plan;
mod ramp;
pub(crate) mod rows;
pub(crate) mod special;
mod ternary;
mod unary;
pub(crate) mod walk;

pub use binary::Binary;
pub use copy::{copy, fill};
pub use ramp::{Ramp, ramp, triangle};
pub use ternary::Ternary;
pub use unary::Unary;

use crate::dtype::{DType, Scalar};
use crate::view::{AnyDst, AnySrc};
use ternary::Fused;
use walk::{GRAIN, Kernels, run};

/// What an op reads: memory, or one number for all elements.
#[derive(Clone, Copy)]
pub enum Operand<'a> {
    View(AnySrc<'a>),
    Scalar(Scalar),
}

/// Elements worth a second thread, for functions that take longer than the memory.
const HEAVY: usize = 8 * 1024;

/// An op that has no kernel in this type is a mistake of the caller's: loud in tests, harmless otherwise.
fn missing(op: impl std::fmt::Debug, compute: DType) {
    debug_assert!(false, "{op:?} is not computed in {}", compute.name());
}

fn execute(kernel: Kernels, inputs: &[(&Operand, DType)], result: DType, out: &AnyDst, heavy: bool) {
    run(kernel, inputs, result, out, if heavy { HEAVY } else { GRAIN });
}

/// `out = op(a)`, computed in `compute`.
pub fn unary(op: Unary, compute: DType, a: Operand, out: AnyDst) {
    if !compute.is_float() {
        match (narrow::always(op), &a) {
            (Some(truth), _) => return fill(out, Scalar::Bool(truth)),
            (_, Operand::View(v)) if narrow::changes_nothing(op, &a) => return copy(*v, out),
            _ => {}
        }
    }
    if let Some(native) = narrow::unary(op, compute, &a, &out) {
        let inputs = [(&a, native.reads[0])];
        return execute(native.kernels, &inputs, native.writes, &out, false);
    }
    let Some(kernel) = unary::kernel(op, compute) else {
        return missing(op, compute);
    };
    let result = if op.is_predicate() { DType::Bool } else { compute };
    let heavy = compute.is_float() && !op.is_predicate() && op as u8 >= Unary::Exp as u8;
    let over = unary::in_place(op, compute);
    let kernels = Kernels { over, ..kernel.into() };
    execute(kernels, &[(&a, compute)], result, &out, heavy);
}

/// `out = op(a, b)`, computed in `compute`.
pub fn binary(op: Binary, compute: DType, a: Operand, b: Operand, out: AnyDst) {
    if op == Binary::Pow
        && let Operand::Scalar(exponent) = b
        && let Some(cheaper) = binary::pow_by_scalar(exponent.to_f64())
        && (compute.is_float() || compute == DType::I64 && matches!(cheaper, Unary::Square | Unary::Cube))
    {
        return unary(cheaper, compute, a, out);
    }
    if let Some((native, [a, b])) = narrow::binary(op, compute, &a, &b, &out) {
        let inputs = [(a, native.reads[0]), (b, native.reads[1])];
        return execute(native.kernels, &inputs, native.writes, &out, op.divides());
    }
    let Some(kernel) = binary::kernel(op, compute) else {
        return missing(op, compute);
    };
    let result = if op.is_predicate() { DType::Bool } else { compute };
    let light = op.is_predicate() || matches!(op, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div);
    let kernels = Kernels {
        plain: kernel,
        over: binary::in_place(op, compute),
        rows: binary::of_rows(op, compute),
    };
    let inputs = [(&a, compute), (&b, compute)];
    execute(kernels, &inputs, result, &out, !light);
}

/// `out = op(a, b, c)`, computed in `compute`; the condition of `Where` is read as truth values.
pub fn ternary(op: Ternary, compute: DType, a: Operand, b: Operand, c: Operand, out: AnyDst) {
    if let Some((native, [a, b, c])) = narrow::ternary(op, compute, [&a, &b, &c], &out) {
        let inputs = [(&a, native.reads[0]), (&b, native.reads[1]), (&c, native.reads[2])];
        return execute(native.kernels, &inputs, native.writes, &out, false);
    }
    let Some(kernel) = ternary::kernel(op, compute) else {
        return missing(op, compute);
    };
    let first = if op == Ternary::Where { DType::Bool } else { compute };
    let over = ternary::in_place(op, compute);
    let inputs = [(&a, first), (&b, compute), (&c, compute)];
    let kernels = Kernels { over, ..kernel.into() };
    execute(kernels, &inputs, compute, &out, false);
}

/// `out = a + value·b·c`
pub fn addcmul(compute: DType, a: Operand, b: Operand, c: Operand, value: Scalar, out: AnyDst) {
    fused(Fused::AddCmul, compute, [a, b, c, Operand::Scalar(value)], out);
}

/// `out = a + value·b/c`, of floats.
pub fn addcdiv(compute: DType, a: Operand, b: Operand, c: Operand, value: Scalar, out: AnyDst) {
    fused(Fused::AddCdiv, compute, [a, b, c, Operand::Scalar(value)], out);
}

/// Of floats, with what stands in for NaN, for positive and for negative infinity.
pub fn nan_to_num(compute: DType, a: Operand, [nan, high, low]: [Scalar; 3], out: AnyDst) {
    let [nan, high, low] = [nan, high, low].map(Operand::Scalar);
    fused(Fused::NanToNum, compute, [a, nan, high, low], out);
}

fn fused(op: Fused, compute: DType, operands: [Operand; 4], out: AnyDst) {
    let each = operands.each_ref();
    let (kernel, reads, writes) = match narrow::fused(op, compute, each, &out) {
        Some(native) => (native.kernels, native.reads, native.writes),
        None => match ternary::fused_kernel(op, compute) {
            Some(kernel) => (kernel.into(), [compute; 4], compute),
            None => return missing("an op of four operands", compute),
        },
    };
    let inputs = [0, 1, 2, 3].map(|i| (each[i], reads[i]));
    execute(kernel, &inputs, writes, &out, false);
}

/// Some element is zero (asked before an integer division).
pub fn any_zero(src: AnySrc) -> bool {
    use std::sync::atomic::{AtomicBool, Ordering};
    let found = AtomicBool::new(false);
    walk::each_block(&src, |block| {
        if block.contains(&0) {
            found.store(true, Ordering::Relaxed);
        }
    });
    found.load(Ordering::Relaxed)
}
