"""Order: sort, topk, median and the like. Where equals may come in any order, the check says what must hold."""

from __future__ import annotations

import numpy as np

from .spec import F, Row, S, V

ROWS: dict[str, Row] = {}


def lift(x):
    return x.reshape(1) if x.ndim == 0 else x


def names_its_values(outs, args):
    """Each index points at its value, and no two along the dim are the same where all are asked for."""
    x, (values, indices) = lift(args[0]), outs[:2]
    dim = next((a for a in args[1:] if isinstance(a, int) and not isinstance(a, bool)), -1)
    if values.ndim < x.ndim:
        values, indices = np.expand_dims(values, dim), np.expand_dims(indices, dim)
    values, indices = values.reshape(indices.shape), indices
    found = np.take_along_axis(x, indices, dim)
    assert np.array_equal(found, values, equal_nan=x.dtype.kind == "f")


def ordered(x, dim=-1, descending=False):
    y = np.sort(lift(x), dim)
    return (np.flip(y, dim) if descending else y).reshape(x.shape)


def sort(x, dim=-1, descending=False):
    return ordered(x, dim, descending), None


def stable(x, stable=None, dim=-1, descending=False):
    y = lift(x)
    if descending:
        at = y.shape[dim] - 1 - np.flip(np.argsort(np.flip(y, dim), dim, kind="stable"), dim)
    else:
        at = np.argsort(y, dim, kind="stable")
    return np.take_along_axis(y, at, dim).reshape(x.shape), at.reshape(x.shape)


def topk(x, k, dim=-1, largest=True, sorted=True):
    if x.ndim == 0:
        return x, None
    y = np.take(ordered(x, dim, largest), np.arange(k), dim)
    return (y if sorted else None), None


def dropped(y, dim, keepdim, x):
    if x.ndim == 0:
        return y.reshape(())
    return y if keepdim else y.squeeze(dim)


def kth(x, k, dim=-1, keepdim=False):
    return dropped(np.take(ordered(lift(x), dim), [k - 1], dim), dim, keepdim, x), None


def mode(x, dim=-1, keepdim=False):
    def of(v):
        found, counts = np.unique(v, return_counts=True)
        return found[counts.argmax()]

    y = lift(x)
    return dropped(np.expand_dims(np.apply_along_axis(of, dim, y), dim), dim, keepdim, x), None


def median(x, dim, keepdim=False):
    y = lift(x)
    middle = np.take(np.sort(y, dim), [(y.shape[dim] - 1) // 2], dim)
    if x.dtype.kind == "f":
        middle = np.where(np.isnan(y).any(dim, keepdims=True), np.nan, middle)
    return dropped(middle, dim, keepdim, x), None


def nanmedian(x, dim, keepdim=False):
    y = lift(x)
    if y.dtype.kind != "f":
        return median(x, dim, keepdim)
    last = np.maximum((~np.isnan(y)).sum(dim, keepdims=True) - 1, 0) // 2
    return dropped(np.take_along_axis(np.sort(y, dim), last, dim), dim, keepdim, x), None


def flat(f):
    return lambda x: f(x.reshape(-1), 0)[0]


def unique(x):
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return values, inverse.reshape(x.shape), counts


PAIR = ("same", "int64")
DIMS = [S(F(3), 0), S(F(2, 5), 1), S(F(3, 4), 0, True), S(F(), 0)]
KNOWN = {"check": names_its_values}
ROWS.update(
    {
        "sort": Row(
            sort,
            [S(F(3)), S(F(2, 5), 1, True), S(F(3, 4), 0), S(F()), S(F(0)), S(V([2.0, np.nan, 1.0]))],
            "fib",
            PAIR,
            medium=[S(F(31, 301), 1), S(F(20011))],
            **KNOWN,
        ),
        "sort.stable": Row(
            stable,
            [
                S(F(3), stable=True),
                S(F(2, 9), stable=True, descending=True),
                S(F(9, 2), stable=True, dim=0),
                S(F(0), stable=True),
            ],
            "fib",
            PAIR,
            medium=[S(F(31, 301), stable=True)],
        ),
        "topk": Row(
            topk,
            [S(F(4), 2), S(F(2, 5), 3, 1), S(F(4, 3), 2, 0, False), S(F(), 1), S(F(4), 0), S(F(4), 4)],
            "fi",
            PAIR,
            medium=[S(F(31, 301), 7, 1)],
        ),
        "kthvalue": Row(
            kth,
            [S(F(4), 2), S(F(2, 5), 3, 1), S(F(4, 3), 1, 0, True), S(F(), 1)],
            "fi",
            PAIR,
            medium=[S(F(31, 301), 7, 1)],
        ),
        "mode": Row(
            mode,
            [
                S(F(3)),
                S(F(2, 5), 1),
                S(V([1.0, 2.0, 2.0, 1.0, 3.0], grad=False)),
                S(V([[1.0, 2.0], [3.0, 2.0]], grad=False), 0, True),
                S(F()),
            ],
            "fi",
            PAIR,
        ),
        "median.dim": Row(
            median, [*DIMS, S(V([[1.0, np.nan], [3.0, 2.0]]), 1)], "fi", PAIR, medium=[S(F(31, 301), 1)], **KNOWN
        ),
        "nanmedian.dim": Row(
            nanmedian, [*DIMS, S(V([[1.0, np.nan], [3.0, 2.0]]), 1)], "fi", PAIR, medium=[S(F(31, 301), 1)], **KNOWN
        ),
        "median": Row(flat(median), [S(F(3)), S(F(2, 4)), S(F())], "fi", medium=[S(F(20011))]),
        "nanmedian": Row(
            flat(nanmedian), [S(F(3)), S(F(2, 4)), S(F()), S(V([np.nan, 2.0, 1.0]))], "fi", medium=[S(F(20011))]
        ),
        "_unique": Row(
            unique, [S(V([3.0, 1.0, 3.0, 2.0])), S(F(2, 3)), S(F()), S(F(0))], "fib", ("same", "int64", "int64")
        ),
    }
)
