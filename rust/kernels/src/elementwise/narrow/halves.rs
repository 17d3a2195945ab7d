//! Light functions of bfloat16 in one loop, widened and rounded on the way, and those of both halves that only touch bits.

use super::super::binary::{maximum, minimum};
use super::super::float::Float;
use super::super::map::{Map1, Map2, Map3, Map4, table};
use super::super::ternary::{Fused, clamp, lerp, nan_to_num};
use super::super::walk::Kernel;
use super::super::{Binary, Ternary, Unary};
use super::map::{
    light1, light2, of_half, of_half_float, of_half_floats, of_half_three, of_halves, of_halves_float, of_three_float,
};
use crate::dtype::Bool;

const SIGN: u16 = 0x8000;

table! {
    fn bits1(Unary) u16 => u16, light1 Map1 {
        Neg => |x| x ^ SIGN;
        Abs => |x| x & !SIGN;
    }
}

table! {
    fn bit_tests1(Unary) u16 => Bool, light1 Map1 {
        Signbit => |x| Bool::from(x & SIGN != 0);
        LogicalNot => |x| Bool::from(x & !SIGN == 0);
    }
}

table! {
    fn bits2(Binary) u16 => u16, light2 Map2 {
        Copysign => |a, b| a & !SIGN | b & SIGN;
    }
}

table! {
    fn floats1(Unary) f32 => f32, of_half Map1 {
        Sign => |x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 };
        Reciprocal => |x| 1.0 / x;
        Sqrt => |x| Float::sqrt(x);
        Rsqrt => |x| 1.0 / Float::sqrt(x);
        Square => |x| x * x;
        Relu => |x| if x < 0.0 { 0.0 } else { x };
        Floor => |x| Float::floor(x);
        Ceil => |x| Float::ceil(x);
        Round => |x| Float::round_even(x);
        Trunc => |x| Float::trunc(x);
        Frac => |x| x - Float::trunc(x);
        Hardswish => |x| x * between(x + 3.0, 6.0) / 6.0;
    }
}

/// At least zero; NaN stays.
#[inline(always)]
fn between(x: f32, hi: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > hi { hi } else { x }
}

table! {
    fn tests1(Unary) f32 => Bool, of_half Map1 {
        IsNan => |x| Bool::from(Float::nan(x));
        IsInf => |x| Bool::from(Float::abs(x) == f32::INFINITY);
        IsFinite => |x| Bool::from(Float::abs(x) < f32::INFINITY);
    }
}

table! {
    fn floats2(Binary) f32 => f32, of_halves Map2 {
        Add => |a, b| a + b;
        Sub => |a, b| a - b;
        Mul => |a, b| a * b;
        Div => |a, b| a / b;
        Maximum => |a, b| maximum(a, b);
        Minimum => |a, b| minimum(a, b);
        ReluBackward => |g, y| if y <= 0.0 { 0.0 } else { g };
    }
}

table! {
    fn tests2(Binary) f32 => Bool, of_halves Map2 {
        Eq => |a, b| Bool::from(a == b);
        Ne => |a, b| Bool::from(a != b);
        Lt => |a, b| Bool::from(a < b);
        Le => |a, b| Bool::from(a <= b);
    }
}

table! {
    fn by_number(Binary) f32 => f32, of_half_float Map2 {
        Add => |a, b| a + b;
        Sub => |a, b| a - b;
        Mul => |a, b| a * b;
        Div => |a, b| a / b;
        LeakyRelu => |x, slope| if x > 0.0 { x } else { x * slope };
    }
}

table! {
    fn by_numbers(Ternary) f32 => f32, of_half_floats Map3 {
        Clamp => |x, lo, hi| clamp(x, lo, hi);
    }
}

table! {
    fn two_by_number(Ternary) f32 => f32, of_halves_float Map3 {
        AddScaled => |a, b, alpha| Float::mul_add(alpha, b, a);
        Lerp => |a, b, w| lerp(a, b, w);
    }
}

table! {
    fn three_by_number(Fused) f32 => f32, of_three_float Map4 {
        AddCmul => |a, b, c, value| Float::mul_add(value * b, c, a);
        AddCdiv => |a, b, c, value| a + value * b / c;
    }
}

table! {
    fn by_three_numbers(Fused) f32 => f32, of_half_three Map4 {
        NanToNum => |x, nan, high, low| nan_to_num(x, nan, high, low);
    }
}

/// Of either half: what is done with its bits.
pub(super) fn bits(op: Unary) -> Option<Kernel> {
    bits1(op).or_else(|| bit_tests1(op))
}

pub(super) fn copysign(op: Binary) -> Option<Kernel> {
    bits2(op)
}

pub(super) fn unary(op: Unary) -> Option<Kernel> {
    floats1(op).or_else(|| tests1(op))
}

pub(super) fn binary(op: Binary) -> Option<Kernel> {
    floats2(op).or_else(|| tests2(op))
}

/// The second operand is read as f32.
pub(super) fn binary_by_number(op: Binary) -> Option<Kernel> {
    by_number(op)
}

/// The kernel, and how many of its operands are halves: the others are read as f32.
pub(super) fn ternary(op: Ternary) -> Option<(Kernel, usize)> {
    by_numbers(op)
        .map(|k| (k, 1))
        .or_else(|| two_by_number(op).map(|k| (k, 2)))
}

/// As [`ternary`].
pub(super) fn fused(op: Fused) -> Option<(Kernel, usize)> {
    three_by_number(op)
        .map(|k| (k, 3))
        .or_else(|| by_three_numbers(op).map(|k| (k, 1)))
}
