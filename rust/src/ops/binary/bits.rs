//! Bits of integers and truth values: and, or, exclusive or, shifts.

use super::{integral, not_bool};
use crate::args::Args;
use crate::device::gpu::bools;
use crate::error::Result;
use crate::ops::def::{Builder, Metas};
use crate::ops::infer;
use crate::ops::support::shade;

fn shift(a: &Args) -> Result<Metas> {
    not_bool(infer::integral(a, 0..2)?)
}

pub fn ops() -> Vec<Builder> {
    vec![
        binary!(
            "bitwise_and(input, other: Operand)",
            BitwiseAnd,
            integral,
            "Bits set in both; `a & b`."
        )
        .gpu(|c| shade(c, &bools("a && b").int("a & b").long())),
        binary!(
            "bitwise_or(input, other: Operand)",
            BitwiseOr,
            integral,
            "Bits set in either; `a | b`."
        )
        .gpu(|c| shade(c, &bools("a || b").int("a | b").long())),
        binary!(
            "bitwise_xor(input, other: Operand)",
            BitwiseXor,
            integral,
            "Bits set in just one; `a ^ b`."
        )
        .gpu(|c| shade(c, &bools("a != b").int("a ^ b").long())),
        binary!(
            "bitwise_and.scalar(input: Scalar, other)",
            BitwiseAnd,
            integral,
            "Bits set in both."
        )
        .gpu(|c| shade(c, &bools("a && b").int("a & b").long()))
        .no_inplace()
        .function_only(),
        binary!(
            "bitwise_or.scalar(input: Scalar, other)",
            BitwiseOr,
            integral,
            "Bits set in either."
        )
        .gpu(|c| shade(c, &bools("a || b").int("a | b").long()))
        .no_inplace()
        .function_only(),
        binary!(
            "bitwise_xor.scalar(input: Scalar, other)",
            BitwiseXor,
            integral,
            "Bits set in just one."
        )
        .gpu(|c| shade(c, &bools("a != b").int("a ^ b").long()))
        .no_inplace()
        .function_only(),
        binary!(
            "bitwise_left_shift(input, other: Operand)",
            LeftShift,
            shift,
            "Bits moved left; `a << b`."
        ),
        binary!(
            "bitwise_right_shift(input, other: Operand)",
            RightShift,
            shift,
            "Bits moved right, the sign kept; `a >> b`."
        ),
        binary!(
            "bitwise_left_shift.scalar(input: Scalar, other)",
            LeftShift,
            shift,
            "Bits of a number moved left."
        )
        .no_inplace()
        .function_only(),
        binary!(
            "bitwise_right_shift.scalar(input: Scalar, other)",
            RightShift,
            shift,
            "Bits of a number moved right."
        )
        .no_inplace()
        .function_only(),
    ]
}
