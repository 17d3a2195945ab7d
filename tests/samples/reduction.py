"""Sums, extrema, moments, norms and scans."""

from __future__ import annotations

import firesteel as fs
import numpy as np

from .spec import F, Row, S, V
from .unary import quiet

ROWS: dict[str, Row] = {}


def axes(dim):
    """An axis argument of NumPy."""
    if dim is None or dim == []:
        return None
    return tuple(dim) if isinstance(dim, list) else dim


def lift(x):
    """A 0-d array with a dim, so that dims 0 and -1 exist."""
    return x.reshape(1) if x.ndim == 0 else x


def over(f):
    """A NumPy reduction as one of ours."""

    def run(x, dim=None, keepdim=False, dtype=None):
        if x.ndim == 0 and dim is not None:
            return f(lift(x), axis=None, keepdims=False)
        return f(x, axis=axes(dim), keepdims=keepdim)

    return quiet(run)


def calls(*more, empty=True):
    found = [
        S(F(3)),
        S(F(2, 3), 1),
        S(F(2, 3, 4), [0, 2], True),
        S(F(2, 3, 4), [-1, 1]),
        S(F(2, 3), 0, keepdim=True),
        S(F(2, 3), []),
        S(F()),
        S(F(), 0),
        *more,
    ]
    return found + ([S(F(0)), S(F(2, 0, 3), 1), S(F(2, 0, 3), 0)] if empty else [])


BIG = [S(F(100003)), S(F(301, 97), 1), S(F(301, 97), 0), S(F(19, 23, 29), [0, 2])]
ONE = [S(F(301, 97), 1), S(F(301, 97), 0), S(F(19, 23, 29), 1)]


def truth(f):
    def run(x, dim=None, keepdim=False):
        if dim == []:
            return x != 0
        return over(lambda x, axis, keepdims: f(x != 0, axis=axis, keepdims=keepdims))(x, dim, keepdim)

    return run


def mean(x, axis, keepdims):
    n = x.size if axis is None else np.prod([x.shape[a] for a in np.atleast_1d(axis)])
    return np.divide(np.sum(x, axis=axis, keepdims=keepdims), n)


def sum_to(x, size):
    pad = x.ndim - len(size)
    x = x.sum(axis=tuple(range(pad)))
    return x.sum(axis=tuple(i for i, n in enumerate(size) if n == 1), keepdims=True).reshape(size)


def logsumexp(x, axis, keepdims):
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0.0)
    total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


ROWS.update(
    {
        "sum": Row(over(np.sum), calls(S(F(2, 3), dtype=fs.float64)), "fib", "sum", medium=BIG),
        "_nansum": Row(over(np.nansum), calls(S(V([1.0, np.nan, 2.0])), S(V([[np.nan, 1.0]]), 1)), "f", medium=BIG),
        "mean": Row(over(mean), calls(), "f", medium=BIG),
        "prod": Row(
            lambda x, dtype=None: np.prod(x),
            [S(F(3)), S(F(2, 3)), S(V([2.0, 0.0, 3.0])), S(V([2.0, 0.0, 0.0])), S(F()), S(F(0))],
            "fib",
            "sum",
            domain=(-2, 3),
            medium=[S(F(20003, low=0.999, high=1.001))],
        ),
        "prod.dim": Row(
            over(np.prod),
            [S(F(2, 2), 1), S(F(2, 3), 0, True), S(V([[2.0, 0.0], [1.0, 3.0]]), 1), S(F(), 0), S(F(2, 0), 1)],
            "fib",
            "sum",
            domain=(-2, 3),
            medium=[S(F(31, 97, low=0.99, high=1.01), 1)],
        ),
        "any": Row(truth(np.any), calls(), "fib", "truth", domain=(-0.9, 1.9), medium=BIG),
        "all": Row(truth(np.all), calls(), "fib", "truth", domain=(-0.9, 1.9), medium=BIG),
        "count_nonzero": Row(
            lambda x, dim=None: np.asarray(np.count_nonzero(x, axis=axes(dim))),
            [S(F(3)), S(F(2, 3), 1), S(F(2, 3, 4), [0, 2]), S(F()), S(F(0)), S(F(2, 0), 1)],
            "fib",
            "int64",
            medium=BIG[:1],
        ),
        "logsumexp": Row(
            over(logsumexp),
            [S(F(3), 0), S(F(2, 3), 1, True), S(F(2, 3, 4), [0, 2]), S(F(), 0), S(F(2, 0), 1)],
            "f",
            medium=BIG[1:],
        ),
        "_sum_to": Row(
            sum_to, [S(F(2, 3), [3]), S(F(2, 3), [2, 1]), S(F(2, 3), []), S(F(2, 3), [2, 3]), S(F(0, 3), [1, 3])], "fi"
        ),
        "_equal": Row(
            lambda a, b: np.asarray(a.shape == b.shape and np.array_equal(a, b)),
            [
                S(F(3), F(3)),
                S(V([1.0, 2.0]), V([1.0, 2.0])),
                S(F(2), F(3)),
                S(F(), F()),
                S(F(0), F(0)),
                S(V([np.nan]), V([np.nan])),
            ],
            "f",
            "bool",
        ),
    }
)


# ---- extrema ---------------------------------------------------------------------------------------------------------


def extremum(f, where):
    def run(x, dim, keepdim=False):
        x, small = lift(x), x.ndim == 0
        at = where(x, axis=dim, keepdims=True)
        values = np.take_along_axis(x, at, dim)
        if keepdim and not small:
            return values, at
        return values.squeeze(dim), at.squeeze(dim)

    return run


DIMS = [S(F(3), 0), S(F(2, 3), 1), S(F(2, 3, 4), 1, True), S(F(), 0), S(F(0, 3), 1)]
for _name, _f, _at, _pair in (("max", np.max, np.argmax, np.maximum), ("min", np.min, np.argmin, np.minimum)):
    ROWS[_name] = Row(
        _f, [S(F(3)), S(F(2, 3)), S(F()), S(V([1.0, 3.0, 3.0, 1.0])).once()], "fib", medium=[S(F(100003))]
    )
    ROWS[f"{_name}.dim"] = Row(extremum(_f, _at), DIMS, "fib", ("same", "int64"), medium=ONE)
    ROWS[f"{_name}.other"] = Row(
        _pair, [S(F(3), F(3)), S(F(3, 1), F(4)), S(F(), F()), S(F(0), F(0))], "fib", medium=[S(F(91, 33), F(33))]
    )
    ROWS[f"a{_name}"] = Row(over(_f), [*calls(empty=False), S(F(0, 3), 1)], "fib", medium=BIG)
    ROWS[f"arg{_name}"] = Row(
        lambda x, dim=None, keepdim=False, f=_at: np.asarray(
            f(x, axis=dim, keepdims=keepdim) if x.ndim else f(lift(x), axis=0)
        ),
        [S(F(3)), S(F(2, 3), 1), S(F(2, 3, 4), 1, True), S(F(2, 3), None, True), S(F()), S(F(), 0), S(F(0, 3), 1)],
        "fi",
        "int64",
        medium=ONE,
    )


ROWS["_aminmax"] = Row(
    lambda x, dim=(), keepdim=False: tuple(over(f)(x, list(dim), keepdim) for f in (np.min, np.max)),
    [S(F(3)), S(F(2, 3), [1]), S(F(2, 3, 4), [0, 2], True), S(F(2, 3), []), S(F()), S(F(0, 3), [1])],
    "fib",
    ("same", "same"),
    medium=[S(F(100003)), S(F(301, 97), [1]), S(F(301, 97), [0]), S(F(19, 23, 29), [0, 2])],
)


def scan_extremum(better):
    def run(x, dim):
        y = lift(x)
        values, at = y.copy(), np.zeros(y.shape, np.int64)
        v, a = np.moveaxis(values, dim, 0), np.moveaxis(at, dim, 0)
        for i in range(1, len(v)):
            keep = ~better(v[i], v[i - 1])
            v[i] = np.where(keep, v[i - 1], v[i])
            a[i] = np.where(keep, a[i - 1], i)
        return values.reshape(x.shape), at.reshape(x.shape)

    return run


SCANS = [S(F(3), 0), S(F(2, 3), 1), S(F(2, 3, 4), 1), S(F(), 0), S(F(0), 0), S(F(2, 0), 0)]
ROWS.update(
    cummax=Row(scan_extremum(np.greater_equal), SCANS, "fib", ("same", "int64"), medium=ONE),
    cummin=Row(scan_extremum(np.less_equal), SCANS, "fib", ("same", "int64"), medium=ONE),
    cumsum=Row(lambda x, dim, dtype=None: np.cumsum(lift(x), dim).reshape(x.shape), SCANS, "fib", "sum", medium=ONE),
    cumprod=Row(
        lambda x, dim, dtype=None: np.cumprod(lift(x), dim).reshape(x.shape),
        [*SCANS, S(V([2.0, 0.0, 3.0, 4.0]), 0), S(V([[2.0, 0.0], [0.0, 3.0]]), 1)],
        "fib",
        "sum",
        domain=(-2, 2),
        medium=[S(F(31, 97, low=0.99, high=1.01), 1), S(F(301, 17, low=0.99, high=1.01), 0)],
    ),
    logcumsumexp=Row(
        lambda x, dim: np.logaddexp.accumulate(lift(x), dim).reshape(x.shape) if x.size else x, SCANS, "f", medium=ONE
    ),
)


# ---- moments and norms -----------------------------------------------------------------------------------------------


def moment(root):
    def f(x, dim, correction, keepdim):
        if x.ndim == 0:
            x, dim, keepdim = lift(x), None, False
        dim = axes(dim)
        n = x.size if dim is None else int(np.prod([x.shape[a] for a in np.atleast_1d(dim)]))
        centred = x - np.divide(np.sum(x, axis=dim, keepdims=True), n)
        out = (
            np.sum(centred**2, axis=dim, keepdims=keepdim) / max(n - correction, 0)
            if n
            else np.sum(x, axis=dim, keepdims=keepdim) * np.nan
        )
        return np.sqrt(out) if root else out

    return f


for _name, _root in (("var", False), ("std", True)):
    _f = moment(_root)
    ROWS[_name] = Row(
        quiet(
            lambda x, dim=None, correction=None, keepdim=False, f=_f: f(
                x, dim, 1 if correction is None else correction, keepdim
            )
        ),
        [
            S(F(3)),
            S(F(2, 3), 1),
            S(F(2, 3, 4), [0, 2], correction=0),
            S(F(2, 3), 0, keepdim=True),
            S(F(3), correction=2),
            S(F()),
            S(F(0)),
            S(F(2, 0), 1),
        ],
        "f",
        medium=BIG,
    )
    ROWS[f"{_name}.unbiased"] = Row(
        quiet(lambda x, unbiased, f=_f: f(x, None, int(unbiased), False)),
        [S(F(3), False), S(F(2, 3), True), S(F(), False).once(), S(F(0), True)],
        "f",
    )
    ROWS[f"{_name}.dim"] = Row(
        quiet(lambda x, dim, unbiased, keepdim=False, f=_f: f(x, dim, int(unbiased), keepdim)),
        [S(F(2, 3), 1, False), S(F(2, 3, 4), [0, 2], True, True), S(F(), 0, False).once()],
        "f",
    )


def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    if x.ndim == 0:
        x, dim, keepdim = lift(x), None, False
    a, dim = np.abs(x), axes(dim)
    if ord == 0:
        return np.sum(a != 0, axis=dim, keepdims=keepdim).astype(np.float64)
    if ord == np.inf:
        return np.max(a, axis=dim, keepdims=keepdim)
    if ord == -np.inf:
        return np.min(a, axis=dim, keepdims=keepdim)
    return np.sum(a**ord, axis=dim, keepdims=keepdim) ** (1 / ord)


ROWS["linalg_vector_norm"] = Row(
    quiet(vector_norm),
    [S(F(3))]
    + [S(F(2, 3), o, 1) for o in (2, 1, 0, np.inf, -np.inf, 3, 0.5, 1.5, -1)]
    + [
        S(F(2, 3, 4), 2, [0, 2], True),
        S(F(2, 3), 2),
        S(F(), 2),
        S(F(0), 2),
        S(V([0.0, 0.0]), 2).once(),
        S(V([0.0, 1.0]), 1).once(),
    ],
    "f",
    medium=[S(F(100003)), S(F(301, 97), 3, 1), S(F(301, 97), 2, 0)],
)
