"""Elementwise ops of one tensor."""

from __future__ import annotations

from math import erf, erfc, lgamma, pi, sqrt

import numpy as np

from . import special
from .spec import F, Row, S, V

ROWS: dict[str, Row] = {}
SHAPES = ((3,), (2, 3), (), (0,), (2, 0, 3), (2, 3, 7))


def unary(reference, dtypes="f", out="same", domain=(-3.0, 3.0), medium=True, more=(), **known) -> Row:
    """A row for an op of one tensor; `more`: samples with further arguments."""
    samples = [S(F(*shape)) for shape in SHAPES] + list(more)
    big = [S(F(101, 333)), S(F(17, 5, 9))] if medium else []
    return Row(reference, samples, dtypes, out, domain, medium=big, **known)


def shrunk(low=-5.0, high=5.0):
    """Domain for activations: wide enough to meet each of their pieces."""
    return {"domain": (low, high)}


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def softplus(x):
    return np.logaddexp(0.0, x)


def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


@special.elementwise
def normal(x):
    return erfc(-x / sqrt(2)) / 2


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))
    return x * normal(x)


def quiet(f):
    """A NumPy function outside of its domain, without its warnings."""

    def run(*args, **kwargs):
        with np.errstate(all="ignore"):
            return f(*args, **kwargs)

    return run


def sinc(x):
    return np.where(x == 0, 1.0, np.sin(pi * x) / np.where(x == 0, 1.0, pi * x))


EXACT = "fib"
ANY = {"dtypes": EXACT, "out": "float"}

ROWS.update(
    neg=unary(np.negative, "fi", special=True),
    abs=unary(np.abs, "fi", special=True),
    sign=unary(lambda x: np.sign(x) if x.dtype != bool else x, EXACT),
    reciprocal=unary(quiet(lambda x: 1 / x), "f", domain=(0.3, 3), special=True),
    sqrt=unary(quiet(np.sqrt), **ANY, domain=(0.1, 4), special=True),
    rsqrt=unary(quiet(lambda x: 1 / np.sqrt(x)), "f", domain=(0.1, 4), special=True),
    square=unary(np.square, "fi", special=True),
    exp=unary(quiet(np.exp), **ANY, special=True),
    exp2=unary(quiet(np.exp2), **ANY, special=True),
    expm1=unary(quiet(np.expm1), **ANY, special=True),
    log=unary(quiet(np.log), "f", domain=(0.1, 4), special=True),
    log2=unary(quiet(np.log2), "f", domain=(0.1, 4), special=True),
    log10=unary(quiet(np.log10), "f", domain=(0.1, 4), special=True),
    log1p=unary(quiet(np.log1p), **ANY, domain=(-0.9, 4), special=True),
    sin=unary(quiet(np.sin), **ANY, special=True),
    cos=unary(quiet(np.cos), **ANY, special=True),
    tan=unary(quiet(np.tan), **ANY, domain=(-1.3, 1.3), special=True),
    asin=unary(quiet(np.arcsin), "f", domain=(-0.95, 0.95), special=True),
    acos=unary(quiet(np.arccos), "f", domain=(-0.95, 0.95), special=True),
    atan=unary(np.arctan, **ANY, special=True),
    sinh=unary(quiet(np.sinh), **ANY, special=True),
    cosh=unary(quiet(np.cosh), **ANY, special=True),
    tanh=unary(np.tanh, **ANY, special=True),
    asinh=unary(np.arcsinh, **ANY, special=True),
    acosh=unary(quiet(np.arccosh), "f", domain=(1.1, 4), special=True),
    atanh=unary(quiet(np.arctanh), "f", domain=(-0.95, 0.95), special=True),
    erf=unary(special.elementwise(erf), **ANY, special=True),
    erfc=unary(special.elementwise(erfc), **ANY, special=True),
    erfinv=unary(special.elementwise(special.erfinv), "f", domain=(-0.95, 0.95)),
    lgamma=unary(special.elementwise(lgamma), "f", domain=(0.2, 6)),
    digamma=unary(special.elementwise(special.digamma), "f", domain=(0.2, 6)),
    i0=unary(special.elementwise(special.i0), "f"),
    special_i0e=unary(special.elementwise(lambda x: special.i0(x) * np.exp(-abs(x))), "F"),
    special_i1=unary(special.elementwise(special.i1), "F"),
    special_i1e=unary(special.elementwise(lambda x: special.i1(x) * np.exp(-abs(x))), "F"),
    special_ndtri=unary(special.elementwise(special.ndtri), "F", domain=(0.02, 0.98)),
    special_log_ndtr=unary(special.elementwise(special.log_ndtr), "F"),
    sinc=unary(sinc, "f"),
    sigmoid=unary(sigmoid, **ANY, special=True),
    relu=unary(lambda x: np.maximum(x, 0), "fi", special=True),
    relu6=unary(relu6, "fi", domain=(-3, 9), special=True),
    silu=unary(lambda x: x * sigmoid(x)),
    mish=unary(lambda x: x * np.tanh(softplus(x))),
    hardswish=unary(lambda x: x * relu6(x + 3) / 6, **shrunk()),
    hardsigmoid=unary(lambda x: relu6(x + 3) / 6, **shrunk()),
    logsigmoid=unary(lambda x: -softplus(-x), special=True),
    softsign=unary(lambda x: x / (1 + np.abs(x))),
    gelu=unary(gelu, more=[S(F(3), approximate="tanh"), S(F(4, 5), approximate="tanh")]),
    floor=unary(np.floor, "fi", special=True),
    ceil=unary(np.ceil, "fi", special=True),
    trunc=unary(np.trunc, "fi", special=True),
    round=unary(
        np.round,
        "f",
        special=True,
        more=[S(V([0.5, 1.5, 2.5, -0.5], grad=False)), S(F(3), decimals=1), S(F(3, high=99), decimals=-1)],
    ),
    frac=unary(lambda x: x - np.trunc(x), "f"),
    bitwise_not=unary(np.invert, "ib"),
    logical_not=unary(np.logical_not, EXACT, "bool", special=True),
)
#: What the predicates are asked about, in addition to ordinary numbers.
ODD = [S(V([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0]))]
for _name, _f in {
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    "isposinf": lambda x: x == np.inf,
    "isneginf": lambda x: x == -np.inf,
    "signbit": lambda x: np.signbit(x.astype(np.float64)) & (x.dtype != bool),
}.items():
    ROWS[_name] = unary(_f, "f", "bool", more=ODD)
