"""Elementwise ops of two or three operands."""

from __future__ import annotations

import numpy as np

from . import special
from .spec import B, F, Row, S, V
from .unary import quiet, sigmoid, softplus

ROWS: dict[str, Row] = {}
EXACT = "fib"


def operands(*domains, number=None, tail=()):
    """Calls with operands of equal shape, of shapes to broadcast, 0-d and empty; `number`: one with a Python number."""
    n = len(domains)

    def one(*shapes):
        return S(*(F(*s, low=lo, high=hi) for s, (lo, hi) in zip(shapes, domains, strict=True)), *tail)

    cycle = ((3, 1), (1, 4), (4,))
    calls = [
        one(*[(3,)] * n),
        one(*cycle[:n]),
        one(*[(2, 3)] * n),
        one((2, 3), *[()] * (n - 1)),
        one(*[()] * n),
        one(*[(0,)] * n),
        one((2, 0, 3), *[(3,)] * (n - 1)),
    ]
    if number is not None:
        calls.append(S(F(2, 3, low=domains[0][0], high=domains[0][1]), *[number] * (n - 1), *tail))
    return calls


def binary(reference, dtypes="f", out="same", a=(-3.0, 3.0), b=(-3.0, 3.0), number=None, more=(), **known) -> Row:
    big = [S(F(211, 97, low=a[0], high=a[1]), F(211, 97, low=b[0], high=b[1]))]
    big.append(S(F(33, 1, 7, low=a[0], high=a[1]), F(29, 1, low=b[0], high=b[1])))
    return Row(quiet(reference), operands(a, b, number=number) + list(more), dtypes, out, a, medium=big, **known)


def scalar_first(reference, value, dtypes="f", out="same", domain=(-3.0, 3.0), **known) -> Row:
    calls = [S(value, F(3)), S(value, F(2, 3)), S(value, F()), S(value, F(0))]
    return Row(quiet(reference), calls, dtypes, out, domain, medium=[S(value, F(101, 33))], **known)


def add(x, y, alpha=1):
    return np.logical_or(x, y) if np.result_type(x, y) == np.bool_ else x + alpha * np.asarray(y)


def mul(x, y):
    return np.multiply(x, y)


def div(x, y, rounding_mode=None):
    if rounding_mode is None:
        return np.true_divide(x, y)
    if rounding_mode == "floor":
        return np.floor_divide(x, y)
    if np.result_type(x, y).kind == "f":
        return np.trunc(np.divide(x, y))
    # Truncated division of integers: of magnitudes, with the sign put back.
    return (np.abs(x) // np.abs(y)) * np.sign(x) * np.sign(y)


def power(x, e):
    return np.power(x, e)


def clamp(x, low=None, high=None):
    out = x
    if low is not None:
        out = np.maximum(out, low)
    return out if high is None else np.minimum(out, high)


def lerp(x, end, weight):
    return x + np.asarray(weight) * (end - x)


def xlogy(x, y):
    return np.where(np.equal(x, 0), 0.0, x * np.log(np.asarray(y, np.float64)))


def elu(x, alpha=1.0, scale=1.0):
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x, alpha=1.0):
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def softshrink(x, lambd=0.5):
    return np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, 0.0))


def nextafter(x, y):
    return np.nextafter(x, y)


NONZERO = (0.4, 3.0)
ROWS.update(
    {
        "add": binary(add, EXACT, "weak", number=2, more=[S(F(3), F(3), alpha=2)], special=True),
        "sub": binary(
            lambda x, y, alpha=1: x - alpha * np.asarray(y), "fi", number=2, more=[S(F(3), F(3), alpha=2)], special=True
        ),
        "mul": binary(mul, EXACT, "weak", number=2, special=True),
        "div": binary(
            div,
            "f",
            b=NONZERO,
            number=2,
            more=[S(F(7), F(7, low=0.4, high=2), rounding_mode=m) for m in ("floor", "trunc")],
            special=True,
        ),
        "floor_divide": binary(lambda x, y: np.floor_divide(x, y), "fi", b=(1, 4), number=2),
        "remainder": binary(lambda x, y: np.remainder(x, y), "fi", b=(1, 4), number=2),
        "remainder.scalar": scalar_first(np.remainder, 7, "fi", domain=(1, 4)),
        "fmod": binary(lambda x, y: np.fmod(x, y), "fi", b=(1, 4), number=2),
        "pow": binary(
            power,
            "f",
            a=(0.3, 3),
            more=[S(F(3, low=-3), e) for e in (2, 3, 1, 0)] + [S(F(3), e) for e in (0.5, -1, 1.7)],
        ),
        "pow.scalar": scalar_first(lambda x, e: np.power(float(x), e), 2, "f"),
        "maximum": binary(np.maximum, EXACT, special=True),
        "minimum": binary(np.minimum, EXACT, special=True),
        "fmax": binary(np.fmax, EXACT, special=True),
        "fmin": binary(np.fmin, EXACT, special=True),
        "atan2": binary(np.arctan2, "f", special=True),
        "hypot": binary(np.hypot, "f", special=True),
        "copysign": binary(lambda x, y: np.copysign(x, y), "f", number=-1.0, special=True),
        "nextafter": binary(nextafter, "F"),
        "logaddexp": binary(np.logaddexp, "F", special=True),
        "logaddexp2": binary(np.logaddexp2, "F", special=True),
        "xlogy": binary(xlogy, "f", b=(0.2, 3), number=2.0),
        "xlogy.scalar": scalar_first(xlogy, 2.0, "f", domain=(0.2, 3)),
        "special_xlog1py": binary(
            lambda x, y: np.where(np.equal(x, 0), 0.0, x * np.log1p(y)), "F", b=(-0.8, 3), number=2.0
        ),
        "special_xlog1py.scalar": scalar_first(lambda x, y: x * np.log1p(y), 2.0, "F", domain=(-0.8, 3)),
        "special_zeta": Row(
            special.elementwise(special.zeta),
            [
                S(F(*s, low=1.3, high=6, grad=False), F(*t))
                for s, t in (((3,), (3,)), ((3, 1), (4,)), ((), ()), ((0,), (0,)))
            ],
            "F",
            domain=(0.2, 5),
            medium=[S(F(33, 21, low=1.3, high=6, grad=False), F(33, 21))],
        ),
        "special_zeta.scalar": scalar_first(special.elementwise(special.zeta), 2.5, "F", domain=(0.2, 5)),
        "polygamma": Row(
            special.elementwise(special.polygamma),
            [S(n, F(*shape)) for n, shape in ((1, (3,)), (2, (2, 3)), (3, ()), (1, (0,)), (0, (4,)))],
            "F",
            domain=(0.3, 5),
            medium=[S(1, F(33, 21))],
        ),
        "heaviside": binary(np.heaviside, "f"),
        "igamma": Row(
            special.elementwise(special.igamma),
            [S(F(*s, grad=False), F(*t)) for s, t in (((3,), (3,)), ((3, 1), (4,)), ((), ()), ((0,), (0,)))],
            "F",
            domain=(0.3, 5),
            medium=[S(F(33, 21, grad=False), F(33, 21))],
            tolerance={"float32": (2e-5, 1e-6), "float64": (1e-11, 1e-12)},
            why="the series is scaled by exp(a log x - x - lgamma a), whose argument's rounding error it keeps",
        ),
        "igammac": Row(
            special.elementwise(special.igammac),
            [S(F(*s, grad=False), F(*t)) for s, t in (((3,), (3,)), ((3, 1), (4,)), ((), ()), ((0,), (0,)))],
            "F",
            domain=(0.3, 5),
            medium=[S(F(33, 21, grad=False), F(33, 21))],
            tolerance={"float32": (2e-5, 1e-6), "float64": (1e-11, 1e-12)},
            why="the fraction is scaled by exp(a log x - x - lgamma a), whose argument's rounding error it keeps",
        ),
        "gcd": binary(np.gcd, "i", a=(-50, 50), b=(-50, 50)),
        "lcm": binary(np.lcm, "i", a=(-9, 9), b=(-9, 9)),
        "bitwise_and": binary(np.bitwise_and, "ib", "weak", a=(-50, 50), b=(-50, 50), number=1),
        "bitwise_or": binary(np.bitwise_or, "ib", "weak", a=(-50, 50), b=(-50, 50), number=1),
        "bitwise_xor": binary(np.bitwise_xor, "ib", "weak", a=(-50, 50), b=(-50, 50), number=1),
        "bitwise_left_shift": binary(np.left_shift, "i", a=(-9, 9), b=(0, 4), number=1),
        "bitwise_right_shift": binary(np.right_shift, "i", a=(-50, 50), b=(0, 4), number=1),
        "bitwise_and.scalar": scalar_first(np.bitwise_and, 6, "i"),
        "bitwise_or.scalar": scalar_first(np.bitwise_or, 6, "i"),
        "bitwise_xor.scalar": scalar_first(np.bitwise_xor, 6, "i"),
        "bitwise_left_shift.scalar": scalar_first(np.left_shift, 6, "i", domain=(0, 4)),
        "bitwise_right_shift.scalar": scalar_first(np.right_shift, 60, "i", domain=(0, 4)),
        "addcmul": Row(
            lambda x, a, b, value=1: x + value * a * b,
            [*operands(*([(-3, 3)] * 3)), S(F(3), F(3), F(3), value=2)],
            "fi",
            medium=[S(F(91, 33), F(91, 33), F(91, 33), value=2)],
        ),
        "addcdiv": Row(
            lambda x, a, b, value=1: x + value * a / b,
            [*operands((-3, 3), (-3, 3), NONZERO), S(F(3), F(3), F(3, low=0.4), value=2)],
            "f",
            medium=[S(F(91, 33), F(91, 33), F(91, 33, low=0.4), value=2)],
        ),
        "lerp": Row(
            lerp,
            [
                S(F(2), F(2), F(2)),
                S(F(3, 1), F(1, 4), F(4)),
                S(F(2, 3), F(2, 3), 0.7),
                S(F(2, 3), F(2, 3), 0.2),
                S(F(), F(), F()),
                S(F(0), F(0), 0.5),
            ],
            "f",
            medium=[S(F(91, 33), F(91, 33), 0.3)],
        ),
    }
)

for _name, _f in {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    ROWS[_name] = binary(_f, EXACT, "bool", number=1, special=True, more=[S(V([1.0, 2.0, 3.0]), V([1.0, 3.0, 2.0]))])
for _name, _f in {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}.items():
    ROWS[_name] = binary(_f, EXACT, "bool", more=[S(V([0.0, 1.0, 0.0, 2.0]), V([0.0, 0.0, 1.0, 3.0]))])

ROWS.update(
    {
        "where": Row(
            np.where,
            [
                S(B(3), F(3), F(3)),
                S(B(3, 1), F(1, 4), F(4)),
                S(B(), F(2, 3), F()),
                S(B(2, 3), F(2, 3), 0),
                S(B(2, 3), 1, F(2, 3)),
                S(B(0), F(0), F(0)),
                S(B(), F(), F()),
            ],
            EXACT,
            "weak",
            medium=[S(B(91, 33), F(91, 33), F(33))],
        ),
        "_nan_to_num": Row(
            lambda x, nan, posinf, neginf: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
            [
                S(V([1.0, np.nan, np.inf, -np.inf, -2.0]), 3.0, 100.0, -50.0),
                S(F(2, 3), 0.5, 1.5, -1.5),
                S(F(), 0.0, 1.0, -1.0),
                S(F(0), 0.0, 1.0, -1.0),
            ],
            "f",
            exact=True,
        ),
        "clamp": Row(
            clamp,
            [
                S(F(4), -1, 1),
                S(F(2, 3), -1),
                S(F(2, 3), None, 1),
                S(F(2, 3), F(2, 3, low=-2, high=-1), F(2, 3, low=1, high=2)),
                S(F(2, 3), F(3), F()),
                S(F(), 0, 1),
                S(F(0), 0, 1),
            ],
            "fi",
            medium=[S(F(91, 33), -1, 1)],
            special=True,
        ),
        "masked_fill": Row(
            lambda x, m, v: np.where(m, v, x),
            [S(F(3), B(3), 1), S(F(2, 3), B(3), 1), S(F(2, 3), B(2, 1), F()), S(F(), B(), 1), S(F(0), B(0), 1)],
            EXACT,
            medium=[S(F(91, 33), B(91, 33), 1)],
        ),
    }
)


# ---- activations -----------------------------------------------------------------------------------------------------


def activation(reference, *tails, **known) -> Row:
    """An activation with numbers after the tensor; without the optional ones first."""
    calls = [S(F(4), *tails[0])] + [S(F(2, 3), *t) for t in tails] + [S(F(), *tails[0]), S(F(0), *tails[0])]
    return Row(quiet(reference), calls, "f", domain=(-4, 4), medium=[S(F(91, 33), *tails[0])], **known)


ROWS.update(
    leaky_relu=activation(lambda x, s=0.01: np.where(x > 0, x, s * x), (), (0.2,), (-0.5,)),
    hardtanh=activation(lambda x, low=-1.0, high=1.0: np.clip(x, low, high), (), (0.0, 6.0), (-0.5, 2.0)),
    hardshrink=activation(lambda x, a=0.5: np.where(np.abs(x) <= a, 0.0, x), (), (1.0,)),
    softshrink=activation(softshrink, (), (1.0,)),
    celu=activation(celu, (), (0.7,)),
    threshold=activation(lambda x, t, v: np.where(x > t, x, v), (0.5, -1.0), (0, 0)),
    softplus=activation(lambda x, b=1, t=20: np.where(x * b > t, x, softplus(x * b) / b), (), (2,), (1.0, 2.0)),
    elu=activation(elu, (), (0.7,), (1.2, 1.05)),
)
ROWS["_prelu"] = Row(
    lambda x, w: np.where(x > 0, x, w * x),
    [S(F(4), F(1)), S(F(2, 3), F(3)), S(F(2, 3, 2), F(3, 1)), S(F(), F()), S(F(0), F(1))],
    "f",
    medium=[S(F(91, 33), F(33))],
)


def backward(derivative, domain=(-4.0, 4.0), tail=()) -> Row:
    """A fused backward formula: the gradient times a derivative."""
    calls = [S(F(*s, low=-3, high=3), F(*s, low=domain[0], high=domain[1]), *tail) for s in ((3,), (2, 3), (), (0,))]
    calls.append(S(F(3, 1, low=-3, high=3), F(4), *tail))
    big = [S(F(91, 33, low=-3, high=3), F(91, 33), *tail)]
    return Row(quiet(lambda g, x, *rest: g * derivative(x, *rest)), calls, "f", domain=domain, medium=big)


def _gelu_slope(x):
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    return special.elementwise(lambda v: special.erfc(-v / np.sqrt(2)) / 2)(x) + x * density


def _gelu_tanh_slope(x):
    k, c = np.sqrt(2 / np.pi), 0.044715
    t = np.tanh(k * (x + c * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * c * x * x)


def _silu_slope(x):
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


def _mish_slope(x):
    t = np.tanh(softplus(x))
    return t + x * (1 - t * t) * sigmoid(x)


ROWS.update(
    _relu_backward=backward(lambda r: (r > 0) * 1.0),
    _sigmoid_backward=backward(lambda r: r * (1 - r), (0.1, 0.9)),
    _tanh_backward=backward(lambda r: 1 - r * r, (-0.9, 0.9)),
    _gelu_backward=backward(_gelu_slope),
    _gelu_tanh_backward=backward(_gelu_tanh_slope),
    _silu_backward=backward(_silu_slope),
    _mish_backward=backward(_mish_slope),
    _hardswish_backward=backward(lambda x: np.where(x < -3, 0.0, np.where(x <= 3, x / 3 + 0.5, 1.0))),
    _hardsigmoid_backward=backward(lambda x: (np.abs(x) < 3) / 6),
    _logsigmoid_backward=backward(lambda x: sigmoid(-x)),
    _leaky_relu_backward=backward(lambda x, s: np.where(x > 0, 1.0, s), tail=(0.2,)),
    _elu_backward=backward(lambda x, a: np.where(x > 0, 1.0, a * np.exp(x)), tail=(0.7,)),
    _softplus_backward=backward(lambda x, b: sigmoid(x * b), tail=(2.0,)),
)
