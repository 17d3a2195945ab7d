"""Derivatives of elementwise ops. Source of the less usual ones: DLMF (dlmf.nist.gov), by section."""

from __future__ import annotations

from math import log, pi, sqrt

from ... import _C

where = _C.where
TWO_BY_SQRT_PI = 2 / sqrt(pi)


def zero(n, g):
    """Zeros, not the lack of a gradient: PyTorch's `.grad` of what went through `floor` or was written over."""
    return _C._full_like(g, 0)


def _pow_input(n, g):
    e = n.exponent
    if not isinstance(e, _C.Tensor):
        return zero(n, g) if e == 0 else g * (n.input.pow(e - 1) * e)
    return where(e == 0, 0.0, g * (e * n.input.pow(e - 1)))


def _pow_exponent(n, g):
    x, e = n.input, n.exponent
    # x^e does not change with e at x = 0 where e is not negative.
    return g * where((x == 0) & (e >= 0), 0.0, n.result * _C.log(x))


def _pow_scalar(n, g):
    base = n.input
    if base == 0:
        return g * where(n.exponent >= 0, 0.0, n.result * float("-inf"))
    return g * (n.result * (log(base) if base > 0 else float("nan")))


def _ties(chosen):
    """Gradient of a maximum: all of it to the larger, half to each of two equals."""

    def row(n, g):
        x, y = n.input, n.other
        return where(x == y, g / 2, where(chosen(x, y), g, 0.0))

    return row


_MAXIMUM = {"saves": "input other", "input": _ties(lambda x, y: x > y), "other": _ties(lambda x, y: x < y)}
_MINIMUM = {"saves": "input other", "input": _ties(lambda x, y: x < y), "other": _ties(lambda x, y: x > y)}


def _div_other(n, g):
    return -g * ((n.input / n.other) / n.other)


def _rounded(f):
    return lambda n, g: zero(n, g) if n.rounding_mode is not None else f(n, g)


def _copysign(n, g):
    x = n.input
    return where(x == 0, 0.0, g * (n.result / x))


def _sinc(n, g):
    """Near zero by the Taylor series, where the terms of the quotient cancel."""
    z = n.input * pi
    near = z.abs() < 0.5
    small, large = where(near, z, 0.0), where(near, 1.0, z)
    q = small * small
    series = ((((q / -172972800 + 1 / 1330560) * q - 1 / 15120) * q + 1 / 280) * q - 0.1) * q + 1
    quotient = (large * large.cos() - large.sin()) / (large * large)
    return g * where(near, series * small * (-pi / 3), quotient * pi)


def _i1(n, g):
    x = n.input
    return g * where(x == 0, 0.5, _C.i0(x) - n.result / x)


def _i1e(n, g):
    x = n.input
    return g * where(x == 0, 0.5, _C.special_i0e(x) - n.result * (x.sign() + x.reciprocal()))


def _xlogy_input(n, g):
    x, y = n.input, n.other
    return g * where((x == 0) & (y <= 0) if isinstance(x, _C.Tensor) else y != y, 0.0, _log(y))


def _log(v):
    return v.log() if isinstance(v, _C.Tensor) else (log(v) if v > 0 else float("-inf") if v == 0 else float("nan"))


def _log1p(v):
    return v.log1p() if isinstance(v, _C.Tensor) else _log(1 + v)


def _xlog1py_input(n, g):
    x, y = n.input, n.other
    return g * where((x == 0) & (y <= -1), 0.0, _log1p(y))


def _clamp_mask(n):
    x, lo, hi = n.input, n.min, n.max
    if lo is None:
        return x <= hi
    if hi is None:
        return x >= lo
    return (x >= lo) & (x <= hi)


def _clamp_min(n, g):
    x, lo, hi = n.input, n.min, n.max
    mask = x < lo
    return where(mask if hi is None else mask & (lo < hi), g, 0.0)


def _clamp_max(n, g):
    x, lo, hi = n.input, n.min, n.max
    mask = x > hi
    return where(mask if lo is None else mask | (hi < lo), g, 0.0)


def _igamma(sign):
    def row(n, g):
        a, x = n.input, n.other
        return g * (sign * ((a - 1) * x.log() - x - a.lgamma()).exp())

    return row


def _no_igamma(n, g):
    raise NotImplementedError("the derivative for 'igamma: input' is not implemented.")


def _no_zeta(n, g):
    raise NotImplementedError("the derivative for 'special_zeta: input' is not implemented.")


def _hypot(which):
    return lambda n, g: g * (getattr(n, which) / n.result)


def _atan2(other, sign):
    def row(n, g):
        x, y = n.input, n.other
        square = x * x + y * y
        return g * ((other(x, y) * sign) / square).masked_fill(square == 0, 0)

    return row


ZERO = {"input": zero}
NONDIFF = {"nondiff": True}

ROWS = {
    # arithmetic
    "add": {"input": lambda n, g: g, "other": lambda n, g: g if n.alpha == 1 else g * n.alpha},
    "sub": {"input": lambda n, g: g, "other": lambda n, g: -g if n.alpha == 1 else g * -n.alpha},
    "mul": {"saves": "input>other other>input", "input": lambda n, g: g * n.other, "other": lambda n, g: g * n.input},
    "div": {
        "saves": "input>other other",
        "input": _rounded(lambda n, g: g / n.other),
        "other": _rounded(_div_other),
    },
    "floor_divide": {"input": zero, "other": zero},
    "remainder": {
        "saves": "input>other other>other",
        "input": lambda n, g: g,
        "other": lambda n, g: -g * _C.div(n.input, n.other, rounding_mode="floor"),
    },
    "remainder.scalar": {
        "saves": "other",
        "other": lambda n, g: -g * _C.div(_C._full_like(n.other, n.input), n.other, rounding_mode="floor"),
    },
    "fmod": {
        "saves": "input>other other>other",
        "input": lambda n, g: g,
        "other": lambda n, g: -g * _C.div(n.input, n.other, rounding_mode="trunc"),
    },
    "pow": {"saves": "input exponent result>exponent", "input": _pow_input, "exponent": _pow_exponent},
    "pow.scalar": {"saves": "exponent result", "exponent": _pow_scalar},
    "maximum": _MAXIMUM,
    "minimum": _MINIMUM,
    "max.other": _MAXIMUM,
    "min.other": _MINIMUM,
    "fmax": {
        "saves": "input other",
        "input": lambda n, g: where((n.input >= n.other) | n.other.isnan(), g, 0.0),
        "other": lambda n, g: where((n.input >= n.other) | n.other.isnan(), 0.0, g),
    },
    "fmin": {
        "saves": "input other",
        "input": lambda n, g: where((n.input <= n.other) | n.other.isnan(), g, 0.0),
        "other": lambda n, g: where((n.input <= n.other) | n.other.isnan(), 0.0, g),
    },
    "atan2": {
        "saves": "input other",
        "input": _atan2(lambda x, y: y, 1),
        "other": _atan2(lambda x, y: x, -1),
    },
    "hypot": {"saves": "input>input other>other result", "input": _hypot("input"), "other": _hypot("other")},
    "copysign": {"saves": "input>input result>input", "input": _copysign, "other": zero},
    "nextafter": {"input": lambda n, g: g, "other": zero},
    "logaddexp": {
        "saves": "input other",
        "input": lambda n, g: g / (1 + (n.other - n.input).exp()),
        "other": lambda n, g: g / (1 + (n.input - n.other).exp()),
    },
    "logaddexp2": {
        "saves": "input other",
        "input": lambda n, g: g / (1 + (n.other - n.input).exp2()),
        "other": lambda n, g: g / (1 + (n.input - n.other).exp2()),
    },
    "xlogy": {"saves": "input other", "input": _xlogy_input, "other": lambda n, g: g * n.input / n.other},
    "xlogy.scalar": {"saves": "other", "other": lambda n, g: g * n.input / n.other},
    "special_xlog1py": {
        "saves": "input other",
        "input": _xlog1py_input,
        "other": lambda n, g: g * n.input / (n.other + 1),
    },
    "special_xlog1py.scalar": {"saves": "other", "other": lambda n, g: g * n.input / (n.other + 1)},
    "special_zeta": {
        "saves": "input other",
        "input": _no_zeta,
        "other": lambda n, g: g * -n.input * _C.special_zeta(n.input + 1, n.other),
    },
    "special_zeta.scalar": {
        "saves": "other",
        "other": lambda n, g: g * -n.input * _C.special_zeta(n.input + 1.0, n.other),
    },
    "heaviside": {"input": zero, "values": zero},
    "igamma": {"saves": "input other", "input": _no_igamma, "other": _igamma(1)},
    "igammac": {"saves": "input other", "input": _no_igamma, "other": _igamma(-1)},
    "polygamma": {"saves": "input", "input": lambda n, g: g * _C.polygamma(n.n + 1, n.input)},
    "addcmul": {
        "saves": "tensor1>tensor2 tensor2>tensor1",
        "input": lambda n, g: g,
        "tensor1": lambda n, g: g * (n.tensor2 * n.value),
        "tensor2": lambda n, g: g * (n.tensor1 * n.value),
    },
    "addcdiv": {
        "saves": "tensor1>tensor2 tensor2",
        "input": lambda n, g: g,
        "tensor1": lambda n, g: g * (n.value / n.tensor2),
        "tensor2": lambda n, g: -g * (n.value * n.tensor1 / (n.tensor2 * n.tensor2)),
    },
    "lerp": {
        "saves": "input>weight end>weight weight",
        "input": lambda n, g: g * (1 - n.weight),
        "end": lambda n, g: g * n.weight,
        "weight": lambda n, g: g * (n.end - n.input),
    },
    # powers and logarithms
    "neg": {"input": lambda n, g: -g},
    "abs": {"saves": "input", "input": lambda n, g: g * n.input.sign()},
    "sign": ZERO,
    "reciprocal": {"saves": "result", "input": lambda n, g: -g * (n.result * n.result)},
    "sqrt": {"saves": "result", "input": lambda n, g: g / (n.result * 2)},
    "rsqrt": {"saves": "result", "input": lambda n, g: g * (n.result.pow(3) * -0.5)},
    "square": {"saves": "input", "input": lambda n, g: g * (n.input * 2)},
    "exp": {"saves": "result", "input": lambda n, g: g * n.result},
    "exp2": {"saves": "result", "input": lambda n, g: g * (n.result * log(2))},
    "expm1": {"saves": "result", "input": lambda n, g: g * (n.result + 1)},
    "log": {"saves": "input", "input": lambda n, g: g / n.input},
    "log2": {"saves": "input", "input": lambda n, g: g / (n.input * log(2))},
    "log10": {"saves": "input", "input": lambda n, g: g / (n.input * log(10))},
    "log1p": {"saves": "input", "input": lambda n, g: g / (n.input + 1)},
    # trigonometric and hyperbolic
    "sin": {"saves": "input", "input": lambda n, g: g * n.input.cos()},
    "cos": {"saves": "input", "input": lambda n, g: g * -n.input.sin()},
    "tan": {"saves": "result", "input": lambda n, g: g * (1 + n.result * n.result)},
    "asin": {"saves": "input", "input": lambda n, g: g * (1 - n.input * n.input).rsqrt()},
    "acos": {"saves": "input", "input": lambda n, g: g * -((1 - n.input * n.input).rsqrt())},
    "atan": {"saves": "input", "input": lambda n, g: g / (n.input * n.input + 1)},
    "sinh": {"saves": "input", "input": lambda n, g: g * n.input.cosh()},
    "cosh": {"saves": "input", "input": lambda n, g: g * n.input.sinh()},
    "tanh": {"saves": "result", "input": lambda n, g: _C._tanh_backward(g, n.result)},
    "asinh": {"saves": "input", "input": lambda n, g: g * (n.input * n.input + 1).rsqrt()},
    "acosh": {"saves": "input", "input": lambda n, g: g * (n.input * n.input - 1).rsqrt()},
    "atanh": {"saves": "input", "input": lambda n, g: g / (1 - n.input * n.input)},
    # special functions
    "erf": {"saves": "input", "input": lambda n, g: g * ((-n.input * n.input).exp() * TWO_BY_SQRT_PI)},
    "erfc": {"saves": "input", "input": lambda n, g: g * ((-n.input * n.input).exp() * -TWO_BY_SQRT_PI)},
    "erfinv": {"saves": "result", "input": lambda n, g: g * ((n.result * n.result).exp() / TWO_BY_SQRT_PI)},
    "lgamma": {"saves": "input", "input": lambda n, g: g * n.input.digamma()},
    "digamma": {"saves": "input", "input": lambda n, g: g * _C.polygamma(1, n.input)},
    "i0": {"saves": "input", "input": lambda n, g: g * _C.special_i1(n.input)},
    "special_i0e": {
        "saves": "input result",
        "input": lambda n, g: g * (_C.special_i1e(n.input) - n.input.sign() * n.result),
    },
    "special_i1": {"saves": "input result", "input": _i1},
    "special_i1e": {"saves": "input result", "input": _i1e},
    "special_ndtri": {"saves": "result", "input": lambda n, g: g * ((n.result * n.result / 2).exp() * sqrt(2 * pi))},
    "special_log_ndtr": {
        "saves": "input result",
        "input": lambda n, g: g * ((-n.input * n.input / 2 - n.result).exp() / sqrt(2 * pi)),
    },
    "sinc": {"saves": "input", "input": _sinc},
    # rounding
    "floor": ZERO,
    "ceil": ZERO,
    "trunc": ZERO,
    "round": ZERO,
    "frac": {"input": lambda n, g: g},
    # choice
    "where": {
        "saves": "condition",
        "input": lambda n, g: where(n.condition, g, 0.0),
        "other": lambda n, g: where(n.condition, 0.0, g),
    },
    "_nan_to_num": {"saves": "input", "input": lambda n, g: where(n.input.isfinite(), g, 0.0)},
    "clamp": {
        "saves": "input min max",
        "input": lambda n, g: where(_clamp_mask(n), g, 0.0),
        "min": _clamp_min,
        "max": _clamp_max,
    },
    "masked_fill": {
        "saves": "mask",
        "input": lambda n, g: g.masked_fill(n.mask, 0),
        "value": lambda n, g: where(n.mask, g, 0.0).sum(),
    },
    # copies
    "clone": {"input": lambda n, g: g},
    "_to_copy": {"input": lambda n, g: g},
    # The engine brings gradients to the devices of their inputs.
    "_to_device": {"input": lambda n, g: g},
    "fill": {"input": zero, "value": lambda n, g: g.sum()},
    "zero": ZERO,
    "copy": {"input": zero, "src": lambda n, g: g},
    # results without gradients
    **dict.fromkeys(
        (
            "isnan isinf isfinite isposinf isneginf signbit logical_not bitwise_not gcd lcm bitwise_and bitwise_or "
            "bitwise_xor bitwise_and.scalar bitwise_or.scalar bitwise_xor.scalar bitwise_left_shift bitwise_right_shift "
            "bitwise_left_shift.scalar bitwise_right_shift.scalar eq ne lt le gt ge logical_and logical_or logical_xor "
            "empty_like _full_like"
        ).split(),
        NONDIFF,
    ),
}
