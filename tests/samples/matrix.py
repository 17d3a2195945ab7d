"""Matrix products."""

from __future__ import annotations

import numpy as np

from .spec import F, Row, S, T

ROWS: dict[str, Row] = {}
SUMS = {"float32": (1e-5, 1e-5), "float64": (1e-12, 1e-12), "float16": (2e-3, 4e-3), "bfloat16": (1.6e-2, 3e-2)}
WHY = "terms of a sum cancel: the error is relative to the terms, not to their sum"


def product(reference, samples, medium=(), dtypes="fi") -> Row:
    return Row(reference, samples, dtypes, tolerance=SUMS, why=WHY, medium=list(medium))


def linear(x, w, b=None):
    out = x @ w.T
    return out if b is None else out + b


def bytes_(*shape):
    """All of int8's values, the dtype whatever is under test."""
    return T(shape, -128, 128, "int8", False)


ROWS["_int_mm"] = Row(
    lambda a, b: np.matmul(a, b).astype(np.int32),
    [
        S(bytes_(2, 2), bytes_(2, 2)),
        S(bytes_(3, 5), bytes_(5, 4)),
        S(bytes_(2, 0), bytes_(0, 3)),
        S(bytes_(0, 2), bytes_(2, 1)),
    ],
    "1",
    "int32",
    medium=[
        S(bytes_(65, 1001), bytes_(1001, 67)),
        S(bytes_(1, 64), bytes_(64, 17)),
        S(bytes_(128, 30), bytes_(30, 130)),
        S(bytes_(400, 260), bytes_(260, 200)),
    ],
)
LAYERS = [
    S(F(2, 3), F(2, 3), F(2)),
    S(F(2, 3), F(4, 3)),
    S(F(3), F(4, 3), F(4)),
    S(F(2, 2, 3), F(4, 3), F(4)),
    S(F(2, 3), F(3)),
    S(F(0, 3), F(4, 3), F(4)),
    S(F(2, 0), F(4, 0), F(4)),
]
LARGE_LAYERS = [S(F(64, 784), F(128, 784), F(128)), S(F(64, 128), F(10, 128), F(10))]

ROWS.update(
    matmul=product(
        np.matmul,
        [
            S(F(2, 2), F(2, 2)),
            S(F(3), F(3)),
            S(F(3), F(3, 2)),
            S(F(2, 3), F(3)),
            S(F(2, 3, 4), F(4, 2)),
            S(F(2, 3, 4), F(4)),
            S(F(4), F(2, 4, 3)),
            S(F(2, 1, 3, 4), F(5, 4, 2)),
            S(F(3, 4), F(2, 4, 3)),
            S(F(2, 0), F(0, 3)),
            S(F(0, 2), F(2, 3)),
            S(F(0, 2, 3), F(3, 2)),
            S(F(1, 3, 4), F(2, 4, 1)),
        ],
        [
            S(F(61, 67), F(67, 71)),
            S(F(257, 300), F(300, 65)),
            S(F(4, 33, 29), F(4, 29, 31)),
            S(F(300), F(300)),
            S(F(129, 513), F(513)),
            S(F(3, 4000), F(4000, 5)),
        ],
    ),
    mm=product(
        np.matmul,
        [S(F(2, 2), F(2, 2)), S(F(2, 3), F(3, 4)), S(F(2, 0), F(0, 3)), S(F(0, 2), F(2, 1)), S(F(17, 33), F(33, 15))],
        [S(F(128, 96), F(96, 130)), S(F(64, 784), F(784, 10))],
    ),
    bmm=product(
        np.matmul,
        [S(F(1, 2, 2), F(1, 2, 2)), S(F(2, 3, 4), F(2, 4, 3)), S(F(0, 2, 3), F(0, 3, 2)), S(F(2, 2, 0), F(2, 0, 3))],
        [S(F(5, 33, 29), F(5, 29, 31))],
    ),
    _addmm=product(
        lambda c, a, b, beta=1.0, alpha=1.0: beta * c + alpha * np.matmul(a, b),
        [
            S(F(2, 2), F(2, 2), F(2, 2)),
            S(F(4), F(2, 3), F(3, 4), 2.0, -0.5),
            S(F(2, 1), F(2, 3), F(3, 4), -1.5),
            S(F(2, 3), F(2, 0), F(0, 3)),
            S(F(2, 1, 4), F(2, 2, 3), F(2, 3, 4), 0.5, 3.0),
        ],
        [S(F(65), F(128, 96), F(96, 65), 0.5, 2.0), S(F(5, 33, 31), F(5, 33, 29), F(5, 29, 31))],
        "f",
    ),
    mv=product(
        np.matmul,
        [S(F(2, 3), F(3)), S(F(3, 0), F(0)), S(F(0, 3), F(3))],
        [S(F(129, 513), F(513)), S(F(513, 64), F(64))],
    ),
    dot=product(np.dot, [S(F(3), F(3)), S(F(0), F(0)), S(F(100), F(100))], [S(F(10007), F(10007))]),
    linear=product(linear, LAYERS, LARGE_LAYERS, "f"),
)
