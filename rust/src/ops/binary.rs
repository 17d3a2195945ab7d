//! Elementwise ops of two or three operands: arithmetic, comparison, choice.

use super::def::{Builder, Call, Metas, Quick, op};
use super::infer;
use super::support::{shade, shade_first};
use crate::args::{Arg, Args};
use crate::device::cpu::{dst, operand, src};
use crate::device::gpu::{self, Map, bools, float};
use crate::dtype::{DType, Scalar, category};
use crate::error::{Error, Result};
use firesteel_kernels::elementwise::{self, Binary, Operand, Ternary};

fn run(kind: Binary, c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let shape = out.shape();
    elementwise::binary(
        kind,
        c.compute,
        operand(c.args, 0, shape),
        operand(c.args, 1, shape),
        dst(out),
    );
    Ok(())
}

pub fn run3(kind: Ternary, c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let s = out.shape();
    let [a, b, d] = [0, 1, 2].map(|i| operand(c.args, i, s));
    elementwise::ternary(kind, c.compute, a, b, d, dst(out));
    Ok(())
}

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

/// Raises as PyTorch does where an integer would be divided by zero.
fn no_zero_divisor(c: &Call) -> Result<()> {
    if c.compute != DType::I64 {
        return Ok(());
    }
    let zero = match &c.args[1] {
        Arg::Tensor(t) => elementwise::any_zero(src(t)),
        Arg::Scalar(s) => s.to_i64() == 0,
        _ => false,
    };
    if zero {
        Error::runtime("ZeroDivisionError")
    } else {
        Ok(())
    }
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

fn no_bool(a: &Args) -> Result<Metas> {
    let m = infer::promoted(a, 0..2)?;
    if m[0].dtype == DType::Bool {
        return Error::unsupported("not implemented for 'Bool'");
    }
    Ok(m)
}

fn promoted(a: &Args) -> Result<Metas> {
    infer::promoted(a, 0..2)
}

fn promoted_float(a: &Args) -> Result<Metas> {
    infer::promoted_float(a, 0..2)
}

fn compared(a: &Args) -> Result<Metas> {
    infer::compared(a, 0..2)
}

fn ordered(a: &Args) -> Result<Metas> {
    infer::arithmetic(infer::result_type(a.items[0..2].iter())?)?;
    infer::compared(a, 0..2)
}

fn logical(a: &Args) -> Result<Metas> {
    infer::compared(a, 0..2)
}

fn integral(a: &Args) -> Result<Metas> {
    infer::integral(a, 0..2)
}

fn shift(a: &Args) -> Result<Metas> {
    let m = infer::integral(a, 0..2)?;
    if m[0].dtype == DType::Bool {
        return Error::unsupported("not implemented for 'Bool'");
    }
    Ok(m)
}

fn float_same(a: &Args) -> Result<Metas> {
    let m = infer::promoted(a, 0..2)?;
    if !m[0].dtype.is_float() {
        return Error::unsupported(format!(
            "not implemented for '{}'",
            crate::dtype::legacy_name(m[0].dtype)
        ));
    }
    Ok(m)
}

fn pow_infer(a: &Args) -> Result<Metas> {
    let m = infer::promoted(a, 0..2)?;
    if m[0].dtype == DType::Bool {
        return Error::unsupported("not implemented for 'Bool'");
    }
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

/// condition, then two operands.
fn where_infer(a: &Args) -> Result<Metas> {
    if !matches!(a.tensor(0).dtype, DType::Bool | DType::U8) {
        return Error::runtime(format!(
            "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
            crate::dtype::legacy_name(a.tensor(0).dtype)
        ));
    }
    let d = infer::result_type(a.items[1..3].iter())?;
    a.items[1..3].iter().try_for_each(|v| infer::check_fits(v, d))?;
    infer::elementwise(a, 0..3, d, d)
}

fn clamp_infer(a: &Args) -> Result<Metas> {
    if matches!((&a[1], &a[2]), (Arg::None, Arg::None)) {
        return Error::runtime("At least one of 'min' or 'max' must not be None");
    }
    let m = infer::promoted(a, 0..3)?;
    if m[0].dtype == DType::Bool {
        return Error::unsupported("not implemented for 'Bool'");
    }
    Ok(m)
}

fn clamp_run(c: &Call) -> Result<()> {
    let out = &c.outs[0];
    let s = out.shape();
    let bound = |i: usize, open: f64| match &c.args[i] {
        Arg::None => Operand::Scalar(Scalar::Float(open)),
        _ => operand(c.args, i, s),
    };
    let (lo, hi) = (bound(1, f64::NEG_INFINITY), bound(2, f64::INFINITY));
    elementwise::ternary(Ternary::Clamp, c.compute, operand(c.args, 0, s), lo, hi, dst(out));
    Ok(())
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
    if !d.is_float() {
        return Error::unsupported(format!("not implemented for '{}'", crate::dtype::legacy_name(d)));
    }
    infer::elementwise(a, 0..3, d, d)
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

/// Condition, what is taken where it holds, what else; by their positions.
fn shade_where(c: &Call, order: [usize; 3]) -> Result<()> {
    let out = &c.outs[0];
    let seen = gpu::Input::core(out)?.seen;
    let input = |at: usize, seen| match &c.args[at] {
        Arg::Tensor(t) => gpu::Input {
            value: gpu::Value::Core(t),
            seen,
        },
        Arg::Scalar(s) => gpu::Input {
            value: gpu::Value::Number(*s),
            seen,
        },
        _ => gpu::Input::number(0.0),
    };
    let operands = [
        input(order[0], gpu::Word::Bool),
        input(order[1], seen),
        input(order[2], seen),
    ];
    gpu::elementwise(out, seen, "select(c, b, a)", &operands)
}

fn shade_clamp(c: &Call) -> Result<()> {
    match (&c.args[1], &c.args[2]) {
        // A bound that is not there leaves the other as the second operand.
        (Arg::None, _) => shade(c, &float("fs_min(a, b)").int("min(a, b)").long()),
        (_, Arg::None) => shade(c, &float("fs_max(a, b)").int("max(a, b)").long()),
        _ => shade(c, &float("fs_clamp(a, b, c)").int("min(max(a, b), c)").long()),
    }
}

/// A comparison of floats (NaN told by its bits), integers and truth values.
const fn compare(real: &'static str, int: &'static str, bools: &'static str) -> Map {
    Map {
        truth: true,
        ..float(real).int(int).bools(bools)
    }
}

/// Whether a float is not zero; NaN is not.
macro_rules! t {
    ($name:literal) => {
        concat!("((bitcast<u32>(", $name, ") & 0x7fffffffu) != 0u)")
    };
}

fn three_float(a: &Args) -> Result<Metas> {
    let d = infer::arithmetic(a.tensor(0).dtype)?;
    if !d.is_float() {
        return Error::unsupported(format!("not implemented for '{}'", crate::dtype::legacy_name(d)));
    }
    infer::elementwise(a, 0..2, d, d)
}

fn three_same(a: &Args) -> Result<Metas> {
    let d = infer::arithmetic(a.tensor(0).dtype)?;
    infer::elementwise(a, 0..1, d, d)
}

macro_rules! binary {
    ($sig:literal, $kind:ident, $rule:ident, $doc:literal) => {
        op($sig, $doc)
            .compute($rule, |c| run(Binary::$kind, c))
            .elementwise()
            .quick(infer::quick::$rule)
    };
}
macro_rules! ternary {
    ($sig:literal, $kind:ident, $rule:ident, $doc:literal) => {
        op($sig, $doc).compute($rule, |c| run3(Ternary::$kind, c)).elementwise()
    };
}

pub fn ops() -> Vec<Builder> {
    let mut all = arithmetic_ops();
    all.extend(comparison_ops());
    all.extend(choice_ops());
    all.extend(activation_ops());
    all
}

fn arithmetic_ops() -> Vec<Builder> {
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
            Arg::Str(m) => {
                no_zero_divisor(c)?;
                run(
                    if &**m == "floor" {
                        Binary::FloorDivide
                    } else {
                        Binary::TruncDivide
                    },
                    c,
                )
            }
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
        .compute(no_bool, |c| {
            no_zero_divisor(c)?;
            run(Binary::FloorDivide, c)
        })
        .gpu(|c| shade(c, &float("fs_floor_divide(a, b)")))
        .elementwise(),
        op(
            "remainder(input, other: Operand)",
            "Python's input % other: the sign is the divisor's.",
        )
        .compute(no_bool, |c| {
            no_zero_divisor(c)?;
            run(Binary::Remainder, c)
        })
        .gpu(|c| shade(c, &float("fs_remainder(a, b)")))
        .elementwise(),
        op(
            "remainder.scalar(input: Scalar, other)",
            "Python's input % other for a number and a tensor.",
        )
        .compute(no_bool, |c| {
            no_zero_divisor(c)?;
            run(Binary::Remainder, c)
        })
        .gpu(|c| shade(c, &float("fs_remainder(a, b)")))
        .function_only(),
        op("fmod(input, other: Operand)", "C's fmod: the sign is the dividend's.")
            .compute(no_bool, |c| {
                no_zero_divisor(c)?;
                run(Binary::Fmod, c)
            })
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
        binary!(
            "maximum(input, other)",
            Maximum,
            promoted,
            "The larger of two elements; NaN if either is."
        )
        .gpu(|c| shade(c, &float("fs_max(a, b)").int("max(a, b)").bools("a || b").long()))
        .no_inplace(),
        binary!(
            "minimum(input, other)",
            Minimum,
            promoted,
            "The smaller of two elements; NaN if either is."
        )
        .gpu(|c| shade(c, &float("fs_min(a, b)").int("min(a, b)").bools("a && b").long()))
        .no_inplace(),
        binary!(
            "fmax(input, other)",
            Fmax,
            promoted,
            "The larger of two elements; a NaN loses."
        )
        .gpu(|c| {
            shade(
                c,
                &float("select(select(fs_max(a, b), a, fs_isnan(b)), b, fs_isnan(a))")
                    .int("max(a, b)")
                    .long(),
            )
        })
        .no_inplace(),
        binary!(
            "fmin(input, other)",
            Fmin,
            promoted,
            "The smaller of two elements; a NaN loses."
        )
        .gpu(|c| {
            shade(
                c,
                &float("select(select(fs_min(a, b), a, fs_isnan(b)), b, fs_isnan(a))")
                    .int("min(a, b)")
                    .long(),
            )
        })
        .no_inplace(),
        binary!(
            "atan2(input, other)",
            Atan2,
            promoted_float,
            "Angle of the point (other, input), in radians."
        )
        .gpu(|c| shade(c, &float("fs_atan2(a, b)"))),
        binary!(
            "hypot(input, other)",
            Hypot,
            float_same,
            "sqrt(input² + other²) without overflow."
        )
        .gpu(|c| shade(c, &float("fs_hypot(a, b)"))),
        binary!(
            "copysign(input, other: Operand)",
            Copysign,
            promoted_float,
            "input with the sign of other."
        )
        .gpu(|c| shade(c, &float("fs_copysign(a, b)"))),
        binary!(
            "nextafter(input, other)",
            Nextafter,
            float_same,
            "The next float after input towards other."
        ),
        binary!(
            "logaddexp(input, other)",
            Logaddexp,
            float_same,
            "log(exp(input) + exp(other)), without overflow."
        )
        .gpu(|c| shade(c, &float("fs_logaddexp(a, b)")))
        .no_inplace(),
        binary!(
            "logaddexp2(input, other)",
            Logaddexp2,
            float_same,
            "log2(2^input + 2^other), without overflow."
        )
        .no_inplace(),
        binary!(
            "xlogy(input, other: Operand)",
            Xlogy,
            promoted_float,
            "input * log(other), 0 where input is 0."
        )
        .gpu(|c| shade(c, &float("fs_xlogy(a, b)"))),
        binary!(
            "xlogy.scalar(input: Scalar, other)",
            Xlogy,
            promoted_float,
            "input * log(other) for a number and a tensor."
        )
        .gpu(|c| shade(c, &float("fs_xlogy(a, b)")))
        .no_inplace()
        .function_only(),
        binary!(
            "special_xlog1py(input, other: Operand)",
            Xlog1py,
            promoted_float,
            "input * log1p(other), 0 where input is 0."
        )
        .gpu(|c| shade(c, &float("fs_xlog1py(a, b)")))
        .no_inplace()
        .function_only(),
        binary!(
            "special_xlog1py.scalar(input: Scalar, other)",
            Xlog1py,
            promoted_float,
            "input * log1p(other) for a number and a tensor."
        )
        .gpu(|c| shade(c, &float("fs_xlog1py(a, b)")))
        .no_inplace()
        .function_only(),
        binary!(
            "special_zeta(input, other: Operand)",
            Zeta,
            promoted_float,
            "Hurwitz zeta function."
        )
        .no_inplace()
        .function_only(),
        binary!(
            "special_zeta.scalar(input: Scalar, other)",
            Zeta,
            promoted_float,
            "Hurwitz zeta function of a number and a tensor."
        )
        .no_inplace()
        .function_only(),
        binary!(
            "polygamma(n: Scalar, input)",
            Polygamma,
            promoted_float,
            "The n-th derivative of `digamma`."
        )
        .no_inplace()
        .function_only(),
        binary!(
            "heaviside(input, values)",
            Heaviside,
            promoted,
            "0 below zero, 1 above, `values` at zero."
        )
        .gpu(|c| {
            shade(
                c,
                &float("select(select(0.0, 1.0, fs_lt(0.0, a)), b, a == 0.0)")
                    .int("select(select(0, 1, a > 0), b, a == 0)")
                    .bools("a || b"),
            )
        }),
        binary!(
            "igamma(input, other)",
            Igamma,
            float_same,
            "Regularised lower incomplete gamma function."
        ),
        binary!(
            "igammac(input, other)",
            Igammac,
            float_same,
            "Regularised upper incomplete gamma function."
        ),
        binary!(
            "gcd(input, other)",
            Gcd,
            integral,
            "Greatest common divisor, never negative."
        ),
        binary!(
            "lcm(input, other)",
            Lcm,
            integral,
            "Least common multiple, never negative."
        ),
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

fn comparison_ops() -> Vec<Builder> {
    vec![
        binary!(
            "eq(input, other: Operand)",
            Eq,
            compared,
            "True where elements are equal."
        )
        .gpu(|c| shade(c, &compare("fs_eq(a, b)", "a == b", "a == b"))),
        binary!("ne(input, other: Operand)", Ne, compared, "True where elements differ.")
            .gpu(|c| shade(c, &compare("fs_ne(a, b)", "a != b", "a != b"))),
        binary!("lt(input, other: Operand)", Lt, ordered, "True where input is less.")
            .gpu(|c| shade(c, &compare("fs_lt(a, b)", "a < b", "!a && b"))),
        binary!(
            "le(input, other: Operand)",
            Le,
            ordered,
            "True where input is less or equal."
        )
        .gpu(|c| shade(c, &compare("fs_le(a, b)", "a <= b", "!a || b"))),
        binary!("gt(input, other: Operand)", Gt, ordered, "True where input is greater.")
            .gpu(|c| shade(c, &compare("fs_lt(b, a)", "a > b", "a && !b"))),
        binary!(
            "ge(input, other: Operand)",
            Ge,
            ordered,
            "True where input is greater or equal."
        )
        .gpu(|c| shade(c, &compare("fs_le(b, a)", "a >= b", "a || !b"))),
        binary!(
            "logical_and(input, other)",
            LogicalAnd,
            logical,
            "True where both are non-zero."
        )
        .gpu(|c| {
            shade(
                c,
                &compare(concat!(t!("a"), " && ", t!("b")), "a != 0 && b != 0", "a && b"),
            )
        }),
        binary!(
            "logical_or(input, other)",
            LogicalOr,
            logical,
            "True where either is non-zero."
        )
        .gpu(|c| {
            shade(
                c,
                &compare(concat!(t!("a"), " || ", t!("b")), "a != 0 || b != 0", "a || b"),
            )
        }),
        binary!(
            "logical_xor(input, other)",
            LogicalXor,
            logical,
            "True where just one is non-zero."
        )
        .gpu(|c| {
            shade(
                c,
                &compare(concat!(t!("a"), " != ", t!("b")), "(a != 0) != (b != 0)", "a != b"),
            )
        }),
    ]
}

fn choice_ops() -> Vec<Builder> {
    vec![
        ternary!("where(condition, input: Operand, other: Operand)", Where, where_infer, "Elements of input where the condition holds, else of other.\n\n>>> firesteel.where(firesteel.tensor([True, False]), 1., 0.)\ntensor([1., 0.])")
            .gpu(|c| shade_where(c, [0, 1, 2]))
            .no_inplace()
            .function_only(),
        op("clamp(input, min: Operand? = None, max: Operand? = None)", "Elements moved into [min, max].")
            .compute(clamp_infer, clamp_run)
            .elementwise()
            .gpu(shade_clamp)
            .quick(|a| match (&a[1], &a[2]) {
                (Arg::None, Arg::None) => None,
                _ => infer::quick::same(a),
            }),
        op("masked_fill(input, mask, value: Operand)", "input with `value` where the mask is true.")
            .compute(
                |a| {
                    if a.tensor(1).dtype != DType::Bool {
                        return Error::runtime("masked_fill_ only supports boolean masks");
                    }
                    if let Arg::Tensor(v) = &a[2]
                        && v.rank() > 0
                    {
                        return Error::runtime(format!(
                            "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {} dimension(s).",
                            v.rank()
                        ));
                    }
                    let d = a.tensor(0).dtype;
                    infer::check_fits(&a[2], d)?;
                    infer::elementwise(a, 0..2, d, d)
                },
                |c| {
                    let out = &c.outs[0];
                    let s = out.shape();
                    let [x, m, v] = [0, 1, 2].map(|i| operand(c.args, i, s));
                    elementwise::ternary(Ternary::Where, c.compute, m, v, x, dst(out));
                    Ok(())
                },
            )
            .elementwise()
            .gpu(|c| shade_where(c, [1, 2, 0])),
    ]
}

/// Activations with parameters, and the fused backward formulas (names start with an underscore).
fn activation_ops() -> Vec<Builder> {
    let mut all = vec![
        binary!(
            "leaky_relu(input, negative_slope: Scalar = 0.01)",
            LeakyRelu,
            float_same,
            "x above zero, negative_slope * x below."
        )
        .gpu(|c| shade(c, &float("select(a * b, a, fs_lt(0.0, a))")))
        .function_only(),
        binary!(
            "hardshrink(input, lambd: Scalar = 0.5)",
            Hardshrink,
            float_same,
            "0 within [-lambd, lambd], else x."
        )
        .gpu(|c| shade(c, &float("select(a, 0.0, fs_le(-b, a) && fs_le(a, b))")))
        .no_inplace(),
        binary!(
            "softshrink(input, lambd: Scalar = 0.5)",
            Softshrink,
            float_same,
            "x moved towards zero by lambd."
        )
        .gpu(|c| {
            shade(
                c,
                &float("select(select(select(0.0, a, fs_isnan(a)), a + b, fs_lt(a, -b)), a - b, fs_lt(b, a))"),
            )
        })
        .no_inplace()
        .function_only(),
        binary!(
            "celu(input, alpha: Scalar = 1.0)",
            Celu,
            float_same,
            "max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."
        )
        .gpu(|c| shade(c, &float("select(b * fs_expm1(a / b), a, fs_lt(0.0, a))")))
        .function_only(),
        binary!(
            "_prelu(input, weight)",
            LeakyRelu,
            float_same,
            "x above zero, weight * x below, weight broadcast."
        )
        .gpu(|c| shade(c, &float("select(a * b, a, fs_lt(0.0, a))")))
        .no_inplace()
        .function_only(),
        ternary!(
            "threshold(input, threshold: Scalar, value: Scalar)",
            Threshold,
            three_same,
            "x above the threshold, else value."
        )
        .gpu(|c| {
            shade(
                c,
                &float("select(a, c, fs_le(a, b))").int("select(a, c, a <= b)").long(),
            )
        })
        .function_only(),
        ternary!(
            "softplus(input, beta: Scalar = 1, threshold: Scalar = 20)",
            Softplus,
            three_float,
            "log(1 + exp(beta * x)) / beta; x itself where beta * x is above the threshold."
        )
        .gpu(|c| shade(c, &float("fs_softplus(a, b, c)")))
        .no_inplace()
        .function_only(),
        ternary!(
            "elu(input, alpha: Scalar = 1.0, scale: Scalar = 1.0)",
            Elu,
            three_float,
            "scale * (x above zero, alpha * (exp(x) - 1) below)."
        )
        .gpu(|c| shade(c, &float("c * select(b * fs_expm1(a), a, fs_lt(0.0, a))")))
        .function_only(),
        ternary!(
            "_leaky_relu_backward(grad, input, negative_slope: Scalar)",
            LeakyReluBackward,
            three_float,
            "Gradient of `leaky_relu`."
        )
        .gpu(|c| shade(c, &float("select(a * c, a, fs_lt(0.0, b))")))
        .no_inplace()
        .function_only(),
        ternary!(
            "_elu_backward(grad, input, alpha: Scalar)",
            EluBackward,
            three_float,
            "Gradient of `elu`."
        )
        .gpu(|c| shade(c, &float("select(a, a * c * fs_exp(b), fs_le(b, 0.0))")))
        .no_inplace()
        .function_only(),
        ternary!(
            "_softplus_backward(grad, input, beta: Scalar)",
            SoftplusBackward,
            three_float,
            "Gradient of `softplus`."
        )
        .gpu(|c| shade(c, &float("select(a * fs_sigmoid(b * c), a, fs_lt(20.0, b * c))")))
        .no_inplace()
        .function_only(),
    ];
    macro_rules! backward {
        ($($sig:literal $kind:ident $of:literal $gpu:literal),* $(,)?) => {
            all.extend([$(
                binary!($sig, $kind, float_same, $of).no_inplace().function_only().gpu(|c| shade(c, &float($gpu)))
            ),*])
        };
    }
    backward! {
        "_relu_backward(grad, result)" ReluBackward "Gradient of `relu` from its result." "select(a, 0.0, fs_le(b, 0.0))",
        "_sigmoid_backward(grad, result)" SigmoidBackward "Gradient of `sigmoid` from its result." "a * (1.0 - b) * b",
        "_tanh_backward(grad, result)" TanhBackward "Gradient of `tanh` from its result." "a * fma(-b, b, 1.0)",
        "_gelu_backward(grad, input)" GeluBackward "Gradient of `gelu`." "a * fs_gelu_slope(b)",
        "_gelu_tanh_backward(grad, input)" GeluTanhBackward "Gradient of `gelu(approximate='tanh')`." "a * fs_gelu_tanh_slope(b)",
        "_silu_backward(grad, input)" SiluBackward "Gradient of `silu`." "a * fs_silu_slope(b)",
        "_mish_backward(grad, input)" MishBackward "Gradient of `mish`." "a * fs_mish_slope(b)",
        "_hardswish_backward(grad, input)" HardswishBackward "Gradient of `hardswish`." "a * select(select(1.0, b / 3.0 + 0.5, fs_lt(b, 3.0)), 0.0, fs_le(b, -3.0))",
        "_hardsigmoid_backward(grad, input)" HardsigmoidBackward "Gradient of `hardsigmoid`." "a * select(0.0, 0.166666667, fs_lt(-3.0, b) && fs_lt(b, 3.0))",
        "_logsigmoid_backward(grad, input)" LogSigmoidBackward "Gradient of `logsigmoid`." "a * fs_logsigmoid_slope(b)",
    }
    all
}
