//! Elementwise ops of one tensor.

use super::def::{Builder, Call, op};
use super::infer;
use super::support::shade;
use crate::device::cpu::{dst, operand};
use crate::device::gpu::{self, Map, bools, float};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use firesteel_kernels::elementwise::{self, Binary, Operand, Unary};

fn run(kind: Unary, c: &Call) -> Result<()> {
    let out = &c.outs[0];
    elementwise::unary(kind, c.compute, operand(c.args, 0, out.shape()), dst(out));
    Ok(())
}

fn round(c: &Call) -> Result<()> {
    let decimals = c.args.int(1);
    if decimals == 0 || !c.outs[0].dtype.is_float() {
        return run(Unary::Round, c);
    }
    // As PyTorch: scaled by a power of ten (whole, so that it is exact), rounded, scaled back.
    let out = &c.outs[0];
    let ten = Operand::Scalar(Scalar::Float(10f64.powi(decimals.unsigned_abs().min(400) as i32)));
    let (there, back) = if decimals > 0 {
        (Binary::Mul, Binary::Div)
    } else {
        (Binary::Div, Binary::Mul)
    };
    elementwise::binary(there, c.compute, operand(c.args, 0, out.shape()), ten, dst(out));
    elementwise::unary(Unary::Round, c.compute, Operand::View(dst(out).as_src()), dst(out));
    elementwise::binary(back, c.compute, Operand::View(dst(out).as_src()), ten, dst(out));
    Ok(())
}

macro_rules! unary {
    ($name:literal, $kind:ident, $rule:ident, $doc:literal) => {
        op(concat!($name, "(input)"), $doc)
            .compute(infer::$rule, |c| run(Unary::$kind, c))
            .elementwise()
            .quick(infer::quick::$rule)
    };
    ($name:literal, $kind:ident, $rule:ident, $doc:literal, $gpu:expr) => {
        unary!($name, $kind, $rule, $doc).gpu(|c| shade(c, &$gpu))
    };
}

/// Truth about a float, and about an integer.
const fn predicate(real: &'static str, int: &'static str) -> Map {
    Map {
        truth: true,
        ..float(real).int(int).bools(int)
    }
}

pub fn ops() -> Vec<Builder> {
    vec![
        unary!("neg", Neg, negated, "Negates each element. `-x` is the same; bool is refused.", float("-a").int("-a")),
        unary!("abs", Abs, same, "Absolute value of each element.", float("abs(a)").int("abs(a)").bools("a")),
        unary!("sign", Sign, same, "-1, 0 or 1 by the sign of each element.", float("fs_sign(a)").int("sign(a)").bools("a")),
        unary!("reciprocal", Reciprocal, to_float, "1 / x for each element; integers become floats.", float("1.0 / a")),
        unary!("sqrt", Sqrt, to_float, "Square root of each element; NaN below zero.", float("sqrt(a)")),
        unary!("rsqrt", Rsqrt, to_float, "1 / sqrt(x) for each element.", float("1.0 / sqrt(a)")),
        unary!("square", Square, squared, "x * x for each element.", float("a * a").int("a * a")),
        unary!("exp", Exp, to_float, "e to the power of each element.\n\n>>> firesteel.tensor([0., 1.]).exp()\ntensor([1.0000, 2.7183])", float("fs_exp(a)")),
        unary!("exp2", Exp2, to_float, "2 to the power of each element.", float("fs_exp2(a)")),
        unary!("expm1", Expm1, to_float, "exp(x) - 1, exact near zero.", float("fs_expm1(a)")),
        unary!("log", Log, to_float, "Natural logarithm of each element.", float("fs_log(a)")),
        unary!("log2", Log2, to_float, "Logarithm to base 2 of each element.", float("fs_log2(a)")),
        unary!("log10", Log10, to_float, "Logarithm to base 10 of each element.", float("fs_log10(a)")),
        unary!("log1p", Log1p, to_float, "log(1 + x), exact near zero.", float("fs_log1p(a)")),
        unary!("sin", Sin, to_float, "Sine of each element, in radians.", float("fs_sin(a)")),
        unary!("cos", Cos, to_float, "Cosine of each element, in radians.", float("fs_cos(a)")),
        unary!("tan", Tan, to_float, "Tangent of each element, in radians.", float("fs_tan(a)")),
        unary!("asin", Asin, to_float, "Inverse sine of each element.", float("fs_asin(a)")),
        unary!("acos", Acos, to_float, "Inverse cosine of each element.", float("fs_acos(a)")),
        unary!("atan", Atan, to_float, "Inverse tangent of each element.", float("fs_atan(a)")),
        unary!("sinh", Sinh, to_float, "Hyperbolic sine of each element.", float("fs_sinh(a)")),
        unary!("cosh", Cosh, to_float, "Hyperbolic cosine of each element.", float("fs_cosh(a)")),
        unary!("tanh", Tanh, to_float, "Hyperbolic tangent of each element.", float("fs_tanh(a)")),
        unary!("asinh", Asinh, to_float, "Inverse hyperbolic sine of each element.", float("fs_asinh(a)")),
        unary!("acosh", Acosh, to_float, "Inverse hyperbolic cosine of each element.", float("fs_acosh(a)")),
        unary!("atanh", Atanh, to_float, "Inverse hyperbolic tangent of each element.", float("fs_atanh(a)")),
        unary!("erf", Erf, to_float, "The error function of each element.", float("fs_erf(a)")),
        unary!("erfc", Erfc, to_float, "1 - erf(x) of each element.", float("fs_erfc(a)")),
        unary!("erfinv", Erfinv, to_float, "Inverse of the error function, for elements in (-1, 1)."),
        unary!("lgamma", Lgamma, to_float, "Logarithm of the absolute value of the gamma function of each element."),
        unary!("digamma", Digamma, to_float, "Derivative of `lgamma` at each element."),
        unary!("i0", I0, to_float, "Modified Bessel function of the first kind of order 0."),
        unary!("special_i0e", I0e, to_float, "exp(-|x|) * i0(x) for each element.").no_inplace().function_only(),
        unary!("special_i1", I1, to_float, "Modified Bessel function of the first kind of order 1.").no_inplace().function_only(),
        unary!("special_i1e", I1e, to_float, "exp(-|x|) * i1(x) for each element.").no_inplace().function_only(),
        unary!("special_ndtri", Ndtri, to_float, "Inverse of the standard normal distribution function.").no_inplace().function_only(),
        unary!("special_log_ndtr", LogNdtr, to_float, "Logarithm of the standard normal distribution function.").no_inplace().function_only(),
        unary!("sinc", Sinc, to_float, "sin(pi x) / (pi x), 1 at zero."),
        unary!("sigmoid", Sigmoid, to_float, "1 / (1 + exp(-x)) for each element.", float("fs_sigmoid(a)")),
        unary!("relu", Relu, same_no_bool, "max(x, 0) for each element.", float("select(a, 0.0, fs_lt(a, 0.0))").int("max(a, 0)")),
        unary!("relu6", Relu6, same_no_bool, "min(max(x, 0), 6) for each element.", float("fs_clamp(a, 0.0, 6.0)").int("clamp(a, 0, 6)")).function_only(),
        unary!("silu", Silu, float_only, "x * sigmoid(x) for each element.", float("a / (1.0 + fs_exp(-a))")).function_only(),
        unary!("mish", Mish, float_only, "x * tanh(softplus(x)) for each element.", float("a * fs_tanh_softplus(a)")).function_only(),
        unary!("hardswish", Hardswish, float_only, "x * relu6(x + 3) / 6 for each element.", float("a * fs_clamp(a + 3.0, 0.0, 6.0) / 6.0")).function_only(),
        unary!("hardsigmoid", Hardsigmoid, float_only, "relu6(x + 3) / 6 for each element.", float("fs_clamp(a + 3.0, 0.0, 6.0) / 6.0")).function_only(),
        unary!("logsigmoid", LogSigmoid, float_only, "log(sigmoid(x)) for each element.", float("fs_logsigmoid(a)")).no_inplace().function_only(),
        unary!("softsign", Softsign, float_only, "x / (1 + |x|) for each element.", float("a / (1.0 + abs(a))")).no_inplace().function_only(),
        op("gelu(input, *, approximate: str = 'none')", "x times the normal distribution function of x (Hendrycks and Gimpel, 2016); `approximate='tanh'` uses their approximation.")
            .compute(
                |a| {
                    if !matches!(a.str(1), "none" | "tanh") {
                        return Error::runtime(format!("approximate argument must be either none or tanh, got '{}'", a.str(1)));
                    }
                    infer::float_only(a)
                },
                |c| run(if c.args.str(1) == "tanh" { Unary::GeluTanh } else { Unary::Gelu }, c),
            )
            .elementwise()
            .gpu(|c| match c.args.str(1) {
                "tanh" => shade(c, &float("a * fs_gelu_gate(a)")),
                _ => shade(c, &float("a * fs_ndtr(a)")),
            })
            .function_only(),
        unary!("floor", Floor, same_no_bool, "Largest integer not above each element.", float("floor(a)").int("a")),
        unary!("ceil", Ceil, same_no_bool, "Smallest integer not below each element.", float("ceil(a)").int("a")),
        unary!("trunc", Trunc, same_no_bool, "Each element without its fraction.", float("trunc(a)").int("a")),
        op("round(input, *, decimals: int = 0)", "Each element rounded to the nearest integer, halves to even; `decimals` digits are kept.")
            .compute(infer::same_no_bool, round)
            .elementwise()
            .gpu(|c| match c.args.int(1) {
                0 => shade(c, &float("round(a)").int("a")),
                _ => gpu::not_for(c.outs[0].dtype),
            }),
        unary!("frac", Frac, float_only, "The fraction of each element, with its sign.", float("a - trunc(a)")),
        unary!("isnan", IsNan, predicate, "True where an element is NaN.", predicate("fs_isnan(a)", "false")).no_inplace(),
        unary!("isinf", IsInf, predicate, "True where an element is infinite.", predicate("fs_isinf(a)", "false")).no_inplace(),
        unary!("isfinite", IsFinite, predicate, "True where an element is neither infinite nor NaN.", predicate("fs_isfinite(a)", "true")).no_inplace(),
        unary!("isposinf", IsPosInf, predicate, "True where an element is positive infinity.", predicate("fs_isinf(a) && !fs_negative(a)", "false")).no_inplace(),
        unary!("isneginf", IsNegInf, predicate, "True where an element is negative infinity.", predicate("fs_isinf(a) && fs_negative(a)", "false")).no_inplace(),
        unary!("signbit", Signbit, predicate, "True where the sign bit is set (-0. too).", predicate("fs_negative(a)", "a < 0").bools("false")).no_inplace(),
        unary!("logical_not", LogicalNot, predicate, "True where an element is zero.", predicate("(bitcast<u32>(a) & 0x7fffffffu) == 0u", "a == 0").bools("!a")),
        op("bitwise_not(input)", "Inverts each bit; logical not for bool.")
            .compute(|a| infer::integral(a, 0..1), |c| run(Unary::BitwiseNot, c))
            .elementwise()
            .gpu(|c| shade(c, &bools("!a").int("~a"))),
    ]
}
