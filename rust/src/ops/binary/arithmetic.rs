//! Arithmetic: sums, products, quotients and remainders, powers, and the fused forms of three operands.

use super::{no_bool, promoted, run, run3};
use crate::args::{Arg, Args};
use crate::device::cpu::{dst, operand, src};
use crate::device::gpu::float;
use crate::dtype::{DType, Scalar, category};
use crate::error::{Error, Result};
use crate::ops::def::{Builder, Call, Metas, Quick, op};
use crate::ops::infer;
use crate::ops::support::{float_only, shade, shade_first};
use firesteel_kernels::elementwise::{self, Binary, Operand, Ternary};

/// The `alpha` of `add` and `sub`; operators leave it out.
fn alpha(a: &Args) -> Scalar {
    match a.items.get(2) {
        Some(Arg::Scalar(s)) => *s,
        _ => Scalar::Int(1),
    }
}

/// The `rounding_mode` of `div`; the operator leaves it out.
fn rounding(a: &Args) -> &Arg {
    a.items.get(2).unwrap_or(&Arg::None)
}

/// `input ± alpha * other`.
fn run_scaled(c: &Call, sign: i64) -> Result<()> {
    let out = &c.outs[0];
    let s = out.shape();
    let (a, b) = (operand(c.args, 0, s), operand(c.args, 1, s));
    match alpha(c.args) {
        Scalar::Int(1) if c.compute == DType::Bool => elementwise::binary(Binary::LogicalOr, c.compute, a, b, dst(out)),
        Scalar::Int(1) if sign > 0 => elementwise::binary(Binary::Add, c.compute, a, b, dst(out)),
        Scalar::Int(1) => elementwise::binary(Binary::Sub, c.compute, a, b, dst(out)),
        alpha => {
            let alpha = match alpha {
                Scalar::Float(v) => Scalar::Float(v * sign as f64),
                v => Scalar::Int(v.to_i64().wrapping_mul(sign)),
            };
            let compute = if c.compute == DType::Bool {
                DType::I64
            } else {
                c.compute
            };
            elementwise::ternary(Ternary::AddScaled, compute, a, b, Operand::Scalar(alpha), dst(out));
        }
    }
    Ok(())
}

/// The quick rule where `alpha` is 1.
fn unscaled(a: &Args, rule: Quick) -> Option<(DType, DType)> {
    if matches!(alpha(a), Scalar::Int(1)) {
        rule(a)
    } else {
        None
    }
}

fn check_alpha(a: &Args, metas: Metas) -> Result<Metas> {
    let d = metas[0].dtype;
    match alpha(a) {
        Scalar::Bool(_) if d != DType::Bool => Error::runtime("Boolean alpha only supported for Boolean results."),
        Scalar::Float(_) if category(d) < 2 => {
            Error::runtime("For integral input tensors, argument alpha must not be a floating point number.")
        }
        _ => Ok(metas),
    }
}

fn sub_infer(a: &Args) -> Result<Metas> {
    let is_bool = |i: usize| match &a[i] {
        Arg::Tensor(c) => c.dtype == DType::Bool,
        Arg::Scalar(s) => matches!(s, Scalar::Bool(_)),
        _ => false,
    };
    if is_bool(0) || is_bool(1) {
        return Error::runtime(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use \
             the `~` or `logical_not()` operator instead.",
        );
    }
    check_alpha(a, infer::promoted(a, 0..2)?)
}

/// A quotient or remainder; where an integer would be divided by zero it raises, as PyTorch does.
fn divide(kind: Binary, c: &Call) -> Result<()> {
    let zero = c.compute == DType::I64
        && match &c.args[1] {
            Arg::Tensor(t) => elementwise::any_zero(src(t)),
            Arg::Scalar(s) => s.to_i64() == 0,
            _ => false,
        };
    if zero {
        return Error::runtime("ZeroDivisionError");
    }
    run(kind, c)
}

fn div_infer(a: &Args) -> Result<Metas> {
    match rounding(a) {
        Arg::None => infer::promoted_float(a, 0..2),
        Arg::Str(m) if matches!(&**m, "floor" | "trunc") => no_bool(a),
        Arg::Str(m) => Error::runtime(format!(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{m}'"
        )),
        _ => Error::runtime("rounding_mode must be None, 'trunc' or 'floor'"),
    }
}

fn pow_infer(a: &Args) -> Result<Metas> {
    let m = no_bool(a)?;
    if let Arg::Scalar(s) = &a[1]
        && category(m[0].dtype) < 2
        && s.to_i64() < 0
    {
        return Error::runtime("Integers to negative integer powers are not allowed.");
    }
    Ok(m)
}

fn pow_run(c: &Call) -> Result<()> {
    // The common powers are plain products: exact, and far cheaper.
    if let (Arg::Scalar(s), DType::F32 | DType::F64) = (&c.args[1], c.compute) {
        let out = &c.outs[0];
        let kind = match s.to_f64() {
            2.0 => Some(elementwise::Unary::Square),
            0.5 => Some(elementwise::Unary::Sqrt),
            -1.0 => Some(elementwise::Unary::Reciprocal),
            _ => None,
        };
        if let Some(kind) = kind {
            elementwise::unary(kind, c.compute, operand(c.args, 0, out.shape()), dst(out));
            return Ok(());
        }
    }
    run(Binary::Pow, c)
}

fn lerp_infer(a: &Args) -> Result<Metas> {
    let d = a.tensor(0).dtype;
    for i in 1..3 {
        if let Arg::Tensor(t) = &a[i]
            && t.dtype != d
        {
            return Error::runtime(format!(
                "expected dtype {} for `{}` but got dtype {}",
                d.name(),
                ["end", "weight"][i - 1],
                t.dtype.name()
            ));
        }
    }
    infer::elementwise(a, 0..3, float_only(d)?, d)
}

fn addc(a: &Args, divide: bool) -> Result<Metas> {
    let m = infer::promoted(a, 0..3)?;
    let d = m[0].dtype;
    if divide && category(infer::result_type(a.items[1..3].iter())?) < 2 {
        return Error::runtime(
            "Integer division with addcdiv is no longer supported, and in a future release addcdiv will perform a true \
             division of tensor1 and tensor2.",
        );
    }
    if category(d) < 2 && matches!(a.scalar(3), Scalar::Float(_)) {
        return Error::runtime(format!(
            "value cannot be converted to type {} without overflow",
            d.name()
        ));
    }
    Ok(m)
}

fn addc_run(c: &Call, divide: bool) -> Result<()> {
    let out = &c.outs[0];
    let s = out.shape();
    let [a, x, y] = [0, 1, 2].map(|i| operand(c.args, i, s));
    let f = if divide {
        elementwise::addcdiv
    } else {
        elementwise::addcmul
    };
    f(c.compute, a, x, y, c.args.scalar(3), dst(out));
    Ok(())
}

/// `input ± alpha * other` on the gpu.
fn shade_scaled(c: &Call, sign: i64) -> Result<()> {
    match (alpha(c.args), sign > 0) {
        (Scalar::Int(1), true) => shade_first(c, &float("a + b").int("a + b").bools("a || b"), 2),
        (Scalar::Int(1), false) => shade_first(c, &float("a - b").int("a - b"), 2),
        (_, true) => shade(c, &float("fma(c, b, a)").int("a + c * b")),
        (_, false) => shade(c, &float("fma(-c, b, a)").int("a - c * b")),
    }
}

fn shade_pow(c: &Call) -> Result<()> {
    let exponent = match &c.args[1] {
        Arg::Scalar(s) if c.compute == DType::F32 => s.to_f64(),
        _ => f64::NAN,
    };
    let simple = match exponent {
        2.0 => float("a * a"),
        3.0 => float("a * a * a"),
        0.5 => float("sqrt(a)"),
        -1.0 => float("1.0 / a"),
        _ => return shade(c, &float("fs_pow(a, b)").int("fs_int_pow(a, b)")),
    };
    shade_first(c, &simple, 1)
}

pub fn ops() -> Vec<Builder> {
    vec![
        op(
            "add(input, other: Operand, *, alpha: Scalar = 1)",
            "input + alpha * other, broadcast.\n\n>>> firesteel.add(firesteel.tensor([1, 2]), 10)\ntensor([11, 12])",
        )
        .compute(|a| check_alpha(a, infer::promoted(a, 0..2)?), |c| run_scaled(c, 1))
        .elementwise()
        .gpu(|c| shade_scaled(c, 1))
        .quick(|a| unscaled(a, infer::quick::same)),
        op(
            "sub(input, other: Operand, *, alpha: Scalar = 1)",
            "input - alpha * other, broadcast.",
        )
        .compute(sub_infer, |c| run_scaled(c, -1))
        .elementwise()
        .gpu(|c| shade_scaled(c, -1))
        .quick(|a| unscaled(a, infer::quick::same)),
        binary!("mul(input, other: Operand)", Mul, promoted, "input * other, broadcast.")
            .gpu(|c| shade(c, &float("a * b").int("a * b").bools("a && b"))),
        op(
            "div(input, other: Operand, *, rounding_mode: str? = None)",
            "input / other, broadcast; integers become floats unless `rounding_mode` is 'trunc' or 'floor'.",
        )
        .compute(div_infer, |c| match rounding(c.args) {
            Arg::Str(m) if &**m == "floor" => divide(Binary::FloorDivide, c),
            Arg::Str(_) => divide(Binary::TruncDivide, c),
            _ => run(Binary::Div, c),
        })
        .elementwise()
        .gpu(|c| match rounding(c.args) {
            Arg::Str(m) if &**m == "floor" => shade(c, &float("fs_floor_divide(a, b)")),
            Arg::Str(_) => shade(c, &float("trunc(a / b)")),
            _ => shade(c, &float("a / b")),
        }),
        op(
            "floor_divide(input, other: Operand)",
            "floor(input / other), broadcast.",
        )
        .compute(no_bool, |c| divide(Binary::FloorDivide, c))
        .gpu(|c| shade(c, &float("fs_floor_divide(a, b)")))
        .elementwise(),
        op(
            "remainder(input, other: Operand)",
            "Python's input % other: the sign is the divisor's.",
        )
        .compute(no_bool, |c| divide(Binary::Remainder, c))
        .gpu(|c| shade(c, &float("fs_remainder(a, b)")))
        .elementwise(),
        op(
            "remainder.scalar(input: Scalar, other)",
            "Python's input % other for a number and a tensor.",
        )
        .compute(no_bool, |c| divide(Binary::Remainder, c))
        .gpu(|c| shade(c, &float("fs_remainder(a, b)")))
        .function_only(),
        op("fmod(input, other: Operand)", "C's fmod: the sign is the dividend's.")
            .compute(no_bool, |c| divide(Binary::Fmod, c))
            .gpu(|c| shade(c, &float("fs_fmod(a, b)")))
            .elementwise(),
        op(
            "pow(input, exponent: Operand)",
            "input to the power of exponent, broadcast.",
        )
        .compute(pow_infer, pow_run)
        .elementwise()
        .gpu(shade_pow),
        op(
            "pow.scalar(input: Scalar, exponent)",
            "A number to the power of each element.",
        )
        .compute(pow_infer, |c| run(Binary::Pow, c))
        .gpu(|c| shade(c, &float("fs_pow(a, b)").int("fs_int_pow(a, b)")))
        .function_only(),
        op(
            "addcmul(input, tensor1, tensor2, *, value: Scalar = 1)",
            "input + value * tensor1 * tensor2.",
        )
        .compute(|a| addc(a, false), |c| addc_run(c, false))
        .elementwise()
        .gpu(|c| shade(c, &float("fma(d * b, c, a)").int("a + d * b * c"))),
        op(
            "addcdiv(input, tensor1, tensor2, *, value: Scalar = 1)",
            "input + value * tensor1 / tensor2.",
        )
        .compute(|a| addc(a, true), |c| addc_run(c, true))
        .elementwise()
        .gpu(|c| shade(c, &float("a + d * b / c"))),
        op("lerp(input, end, weight: Operand)", "input + weight * (end - input).")
            .compute(lerp_infer, |c| run3(Ternary::Lerp, c))
            .elementwise()
            .gpu(|c| shade(c, &float("fs_lerp(a, b, c)"))),
    ]
}
