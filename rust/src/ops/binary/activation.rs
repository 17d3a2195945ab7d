//! Activations with parameters, and the gradients of activations (names start with an underscore).

use super::float_same;
use crate::args::Args;
use crate::device::gpu::float;
use crate::error::Result;
use crate::ops::def::{Builder, Metas};
use crate::ops::infer;
use crate::ops::support::{float_only, shade};

/// Floats of the first tensor's dtype; the second may be a number.
fn float_pair(a: &Args) -> Result<Metas> {
    let d = float_only(a.tensor(0).dtype)?;
    infer::elementwise(a, 0..2, d, d)
}

pub fn ops() -> Vec<Builder> {
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
            infer::same,
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
            float_pair,
            "log(1 + exp(beta * x)) / beta; x itself where beta * x is above the threshold."
        )
        .gpu(|c| shade(c, &float("fs_softplus(a, b, c)")))
        .no_inplace()
        .function_only(),
        ternary!(
            "elu(input, alpha: Scalar = 1.0, scale: Scalar = 1.0)",
            Elu,
            float_pair,
            "scale * (x above zero, alpha * (exp(x) - 1) below)."
        )
        .gpu(|c| shade(c, &float("c * select(b * fs_expm1(a), a, fs_lt(0.0, a))")))
        .function_only(),
        ternary!(
            "_leaky_relu_backward(grad, input, negative_slope: Scalar)",
            LeakyReluBackward,
            float_pair,
            "Gradient of `leaky_relu`."
        )
        .gpu(|c| shade(c, &float("select(a * c, a, fs_lt(0.0, b))")))
        .no_inplace()
        .function_only(),
        ternary!(
            "_elu_backward(grad, input, alpha: Scalar)",
            EluBackward,
            float_pair,
            "Gradient of `elu`."
        )
        .gpu(|c| shade(c, &float("select(a, a * c * fs_exp(b), fs_le(b, 0.0))")))
        .no_inplace()
        .function_only(),
        ternary!(
            "_softplus_backward(grad, input, beta: Scalar)",
            SoftplusBackward,
            float_pair,
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
