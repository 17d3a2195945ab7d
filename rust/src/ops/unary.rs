//! Elementwise ops of one tensor.

use super::def::{Builder, Call, op};
use super::infer;
use crate::device::cpu::{dst, operand};
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
}

pub fn ops() -> Vec<Builder> {
    vec![
        unary!("neg", Neg, negated, "Negates each element. `-x` is the same; bool is refused."),
        unary!("abs", Abs, same, "Absolute value of each element."),
        unary!("sign", Sign, same, "-1, 0 or 1 by the sign of each element."),
        unary!("reciprocal", Reciprocal, to_float, "1 / x for each element; integers become floats."),
        unary!("sqrt", Sqrt, to_float, "Square root of each element; NaN below zero."),
        unary!("rsqrt", Rsqrt, to_float, "1 / sqrt(x) for each element."),
        unary!("square", Square, squared, "x * x for each element."),
        unary!("exp", Exp, to_float, "e to the power of each element.\n\n>>> firesteel.tensor([0., 1.]).exp()\ntensor([1.0000, 2.7183])"),
        unary!("exp2", Exp2, to_float, "2 to the power of each element."),
        unary!("expm1", Expm1, to_float, "exp(x) - 1, exact near zero."),
        unary!("log", Log, to_float, "Natural logarithm of each element."),
        unary!("log2", Log2, to_float, "Logarithm to base 2 of each element."),
        unary!("log10", Log10, to_float, "Logarithm to base 10 of each element."),
        unary!("log1p", Log1p, to_float, "log(1 + x), exact near zero."),
        unary!("sin", Sin, to_float, "Sine of each element, in radians."),
        unary!("cos", Cos, to_float, "Cosine of each element, in radians."),
        unary!("tan", Tan, to_float, "Tangent of each element, in radians."),
        unary!("asin", Asin, to_float, "Inverse sine of each element."),
        unary!("acos", Acos, to_float, "Inverse cosine of each element."),
        unary!("atan", Atan, to_float, "Inverse tangent of each element."),
        unary!("sinh", Sinh, to_float, "Hyperbolic sine of each element."),
        unary!("cosh", Cosh, to_float, "Hyperbolic cosine of each element."),
        unary!("tanh", Tanh, to_float, "Hyperbolic tangent of each element."),
        unary!("asinh", Asinh, to_float, "Inverse hyperbolic sine of each element."),
        unary!("acosh", Acosh, to_float, "Inverse hyperbolic cosine of each element."),
        unary!("atanh", Atanh, to_float, "Inverse hyperbolic tangent of each element."),
        unary!("erf", Erf, to_float, "The error function of each element."),
        unary!("erfc", Erfc, to_float, "1 - erf(x) of each element."),
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
        unary!("sigmoid", Sigmoid, to_float, "1 / (1 + exp(-x)) for each element."),
        unary!("relu", Relu, same_no_bool, "max(x, 0) for each element."),
        unary!("relu6", Relu6, same_no_bool, "min(max(x, 0), 6) for each element.").function_only(),
        unary!("silu", Silu, float_only, "x * sigmoid(x) for each element.").function_only(),
        unary!("mish", Mish, float_only, "x * tanh(softplus(x)) for each element.").function_only(),
        unary!("hardswish", Hardswish, float_only, "x * relu6(x + 3) / 6 for each element.").function_only(),
        unary!("hardsigmoid", Hardsigmoid, float_only, "relu6(x + 3) / 6 for each element.").function_only(),
        unary!("logsigmoid", LogSigmoid, float_only, "log(sigmoid(x)) for each element.").no_inplace().function_only(),
        unary!("softsign", Softsign, float_only, "x / (1 + |x|) for each element.").no_inplace().function_only(),
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
            .function_only(),
        unary!("floor", Floor, same_no_bool, "Largest integer not above each element."),
        unary!("ceil", Ceil, same_no_bool, "Smallest integer not below each element."),
        unary!("trunc", Trunc, same_no_bool, "Each element without its fraction."),
        op("round(input, *, decimals: int = 0)", "Each element rounded to the nearest integer, halves to even; `decimals` digits are kept.")
            .compute(infer::same_no_bool, round)
            .elementwise(),
        unary!("frac", Frac, float_only, "The fraction of each element, with its sign."),
        unary!("isnan", IsNan, predicate, "True where an element is NaN.").no_inplace(),
        unary!("isinf", IsInf, predicate, "True where an element is infinite.").no_inplace(),
        unary!("isfinite", IsFinite, predicate, "True where an element is neither infinite nor NaN.").no_inplace(),
        unary!("isposinf", IsPosInf, predicate, "True where an element is positive infinity.").no_inplace(),
        unary!("isneginf", IsNegInf, predicate, "True where an element is negative infinity.").no_inplace(),
        unary!("signbit", Signbit, predicate, "True where the sign bit is set (-0. too).").no_inplace(),
        unary!("logical_not", LogicalNot, predicate, "True where an element is zero."),
        op("bitwise_not(input)", "Inverts each bit; logical not for bool.")
            .compute(|a| infer::integral(a, 0..1), |c| run(Unary::BitwiseNot, c))
            .elementwise(),
    ]
}
