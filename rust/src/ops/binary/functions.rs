//! Functions of two numbers: extrema, angles, logarithms of sums, special functions, divisors.

use super::{float_same, integral, promoted, promoted_float};
use crate::device::gpu::float;
use crate::ops::def::Builder;
use crate::ops::support::shade;

pub fn ops() -> Vec<Builder> {
    vec![
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
    ]
}
